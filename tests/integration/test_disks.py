"""Sizes, holes and errors that disks and file systems report: no copy is damaged, and no memory depends on them."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest
from helpers import SYSTEM_PYTHON, eventually, transfer, transfers
from lab import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

_HUGE = (7 << 60) + 5
_FAULT = "this block cannot be written"
"""The disk of `faulty_disk` cannot write a block that contains this text."""


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
        # A disk whose file is here gives it back a moment after it is unmounted.
        assert eventually(lambda: host.run(["umount", directory], check=False).returncode == 0)
        process.wait(30)


@contextmanager
def faulty_disk(host: Host, directory: str) -> Iterator[None]:
    """Mount ext4 on a directory of a host; its disk is a file of lying_file_system.py."""
    with lying_file_system(host, "/var/lib/faulty", "faults", 64 << 20):
        device = host.sh("losetup --find --show /var/lib/faulty/file")
        try:
            # A request of one block: the fault of a block damages no other one.
            host.run(f"echo 4 >/sys/block/{device.removeprefix('/dev/')}/queue/max_sectors_kb; mkfs.ext4 -q {device}")
            host.run(["mkdir", "-p", directory])
            host.run(["mount", device, directory])
        finally:
            # The kernel detaches a disk that is mounted when it is unmounted, also if this process is killed.
            host.run(["losetup", "--detach", device])
        try:
            yield
        finally:
            host.run(["umount", directory])


@pytest.fixture
def faulty(clean_lab: Lab) -> Iterator[Lab]:
    """The clean lab, with trees and tarballs "good" and "bad" on db1; the disk of db2:/srv/in cannot write "bad"."""
    clean_lab["db1"].run(f"""
        mkdir -p /srv/good/sub /srv/bad/sub
        for tree in good bad; do
            seq 10000 >/srv/$tree/numbers
            head -c 100000 /dev/zero | tr '\\0' x | tee /srv/$tree/sub/1 /srv/$tree/sub/2 >/srv/$tree/last
            tar -C /srv -cf /srv/$tree.tar $tree
        done
        yes '{_FAULT}' | head -n 4000 >/srv/bad/sub/1
        tar -C /srv -cf /srv/bad.tar bad
    """)
    with faulty_disk(clean_lab["db2"], "/srv/in"):
        yield clean_lab


@contextmanager
def error_taker(host: Host, directory: str) -> Iterator[None]:
    """Take each write error of a file system, as another run does that writes its copy to disk at the same time."""
    syncfs = 306  # its number on x86_64
    loop = f'while (1) {{ open my $file, "<", "{directory}"; syscall {syncfs}, fileno $file }}'
    process = host.popen(["perl", "-e", loop])
    try:
        yield
    finally:
        process.kill()
        process.wait()


OPTIONS = pytest.mark.parametrize(
    "options", [(), ("--no-checksum",), ("--parallel-checksum",), ("--type", "decompress")]
)


def source_of(name: str, options: tuple[str, ...]) -> str:
    return f"db1:/srv/{name}.tar" if "decompress" in options else f"db1:/srv/{name}"


@OPTIONS
@pytest.mark.parametrize("taken", [False, True], ids=["alone", "beside-another"])
def test_a_copy_that_the_disk_could_not_write_is_not_published(
    faulty: Lab,
    options: tuple[str, ...],
    *,
    taken: bool,
) -> None:
    faulty["db2"].run("mkdir /srv/in/target")
    with error_taker(faulty["db2"], "/srv/in") if taken else nullcontext():
        result = transfer(faulty, *options, source_of("bad", options), "db2:/srv/in/target")
    assert result.status in {7, 8}, result.stderr
    assert re.search("cannot write .*/sub/1 to disk: Input/output error", result.stderr), result.stderr
    assert faulty["db2"].sh("ls -A /srv/in/target") == ""


@OPTIONS
def test_of_two_runs_at_once_the_one_that_the_disk_could_not_write_fails(faulty: Lab, options: tuple[str, ...]) -> None:
    db2 = faulty["db2"]
    db2.run("mkdir /srv/in/0 /srv/in/1 /srv/in/2 /srv/in/3")
    names = ("good", "bad", "good", "bad")
    runs = [(*options, source_of(name, options), f"db2:/srv/in/{number}") for number, name in enumerate(names)]
    results = transfers(faulty, *runs)
    assert {result.status for result in results[1::2]} <= {7, 8}, [result.stderr for result in results]
    assert db2.sh("find /srv/in/1 /srv/in/3 -mindepth 1") == ""
    # Without checksums of files, no run can find out whether an error of the file system is its own.
    if not options:
        assert [result.status for result in results[::2]] == [0, 0], results[0].stderr + results[2].stderr


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
        inode, blocks = db1.sh("stat -c '%i %b' '/srv/tree/mounted here/file'").split()
        assert db1.sh("stat -c %i '/srv/tree/mounted here/file'") != inode
        assert blocks == "0"
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
