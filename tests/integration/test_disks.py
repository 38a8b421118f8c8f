"""Sizes, holes and errors that disks and file systems report: no copy is damaged, and no memory depends on them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import SYSTEM_PYTHON, eventually, transfer
from lab import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

_HUGE = (7 << 60) + 5


@contextmanager
def lying_file_system(host: Host, directory: str, manner: str, size: int) -> Iterator[None]:
    """Mount the file system of lying_file_system.py on a directory of a host."""
    host.run(["mkdir", "-p", directory])
    program = f"{CHECKOUT}/tests/integration/lying_file_system.py"
    process = host.popen([SYSTEM_PYTHON, program, directory, manner, str(size)])
    try:
        assert eventually(lambda: host.run(["mountpoint", "-q", directory], check=False).returncode == 0)
        yield
    finally:
        host.run(["umount", directory])
        process.wait(30)


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


@pytest.mark.parametrize("options", [(), ("--no-checksum",), ("--parallel-checksum",)])
@pytest.mark.parametrize("size", [4 << 10, 1 << 20, 70 << 20])
def test_a_hole_that_a_file_system_only_claims_is_read(clean_lab: Lab, options: tuple[str, ...], size: int) -> None:
    db1, db2 = clean_lab["db1"], clean_lab["db2"]
    db1.run("mkdir /srv/tree; echo content >/srv/tree/beside")
    db2.run("mkdir /srv/in")
    with lying_file_system(db1, "/srv/tree/mounted here", "holes", size):
        assert db1.sh("stat -c %b '/srv/tree/mounted here/file'") == "0"
        result = transfer(clean_lab, *options, "db1:/srv/tree", "db2:/srv/in", check=True)
        sums = [
            host.sh(f"cd {top}; sha256sum beside 'mounted here/file'")
            for host, top in ((db1, "/srv/tree"), (db2, "/srv/in/tree"))
        ]
    assert sums[0] == sums[1]
    # A directory has more space on the disk than a small file claims not to have.
    assert size < 1 << 20 or "may report holes incorrectly (fuseblk)" in result.stderr


def test_the_space_for_holes_that_are_only_claimed_is_needed(clean_lab: Lab) -> None:
    clean_lab["db2"].small_disk("/srv/in", "60m")
    with lying_file_system(clean_lab["db1"], "/srv/lying", "holes", 90 << 20):
        result = transfer(clean_lab, "db1:/srv/lying", "db2:/srv/in")
    assert result.status == 4
    assert "bytes are needed, but only" in result.stderr
