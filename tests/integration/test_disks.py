"""Sizes, holes and errors that disks and file systems report: no copy is damaged, and no memory depends on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from helpers import transfer

if TYPE_CHECKING:
    from lab import Lab

_HUGE = (7 << 60) + 5


def test_a_sparse_file_of_any_size_is_copied_with_its_data(clean_lab: Lab) -> None:
    db1, db2 = clean_lab["db1"], clean_lab["db2"]
    for host in (db1, db2):
        host.small_disk("/srv/memory", "64m")
    # The data is behind the last size that a number with a fraction can have exactly.
    place = (1 << 62) + 12345
    db1.run(
        f"cd /srv/memory; truncate -s {_HUGE} huge; printf data | dd of=huge oflag=seek_bytes seek={place} conv=notrunc"
    )
    transfer(clean_lab, "db1:/srv/memory/huge", "db2:/srv/memory", check=True)
    assert db2.sh("cd /srv/memory; stat -c %s huge; ls -A") == f"{_HUGE}\nhuge"
    read = f"dd if=/srv/memory/huge bs=4 count=1 iflag=skip_bytes skip={place} status=none"
    assert db2.run(read).stdout == b"data"
