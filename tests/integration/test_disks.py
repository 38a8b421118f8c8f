"""Sizes, holes and errors that disks and file systems report: no copy is damaged, and no memory depends on them."""

from __future__ import annotations

import re
import shlex
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import pytest
from helpers import SYSTEM_PYTHON, eventually, transfer, transfers
from lab import CHECKOUT
from xbstream import end, part

from transferpy.host import perl_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

_HUGE = (7 << 60) + 5
_FAULT = "this block cannot be written"
"""A disk of the manner "faults" cannot write a block that contains this text."""
_CHANGE, _WRONG = b"this text changes", b"this text CHANGES"
"""A disk of the manner "changes" stores the second text in place of the first one."""


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
def lying_disk(
    host: Host, directory: str, manner: str, file_system: str = "ext4", megabytes: int = 64
) -> Iterator[None]:
    """Mount a file system on a directory of a host; its disk is a file of lying_file_system.py."""
    with lying_file_system(host, "/var/lib/lying", manner, megabytes << 20):
        device = host.sh("losetup --find --show /var/lib/lying/file")
        try:
            if manner == "faults":  # a request of one block: the fault of a block damages no other one
                host.run(f"echo 4 >/sys/block/{device.removeprefix('/dev/')}/queue/max_sectors_kb")
            host.run(["mkfs", "--type", file_system, "-q", device])
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
    with lying_disk(clean_lab["db2"], "/srv/in", "faults"):
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


@pytest.fixture(params=[("ext4", 128), ("xfs", 320)], ids=["ext4", "xfs"])
def changing(request: pytest.FixtureRequest, clean_lab: Lab) -> Iterator[Lab]:
    """The clean lab; the disk of db2:/srv/in changes data without an error."""
    with lying_disk(clean_lab["db2"], "/srv/in", "changes", *request.param):
        yield clean_lab


def test_a_byte_that_the_disk_changed_is_found_anywhere_in_a_file(changing: Lab) -> None:
    """The kernel has the right data in memory; it can be a part of a folio of up to 2 MiB."""
    sizes = (200, 70_000, 3 << 20, (64 << 20) + 1_100_000)
    places = [(size, place) for size in sizes for place in (0, 40_000, 65_600, 1_000_000) if place < size]
    places += [(size, size - len(_CHANGE)) for size in sizes]
    make = f"""make() {{ # SIZE PLACE: a file that begins with a hole if it is larger than 3 MiB
        truncate -s $(($1 > 3 << 20 ? $1 - (3 << 20) : 0)) $1-$2
        head -c $(($1 > 3 << 20 ? 3 << 20 : $1)) /dev/zero | tr '\\0' x >>$1-$2
        printf '{_CHANGE.decode()}' | dd of=$1-$2 oflag=seek_bytes seek=$2 conv=notrunc status=none
    }}; mkdir /srv/tree; cd /srv/tree;"""
    changing["db1"].run(make + "; ".join(f"make {size} {place}" for size, place in places))
    result = transfer(changing, "db1:/srv/tree", "db2:/srv/in")
    assert result.status == 7
    message = re.search(r"the content differs: (.*) and (\d+) more", result.stderr)
    assert message, result.stderr
    assert len(message[1].split(", ")) + int(message[2]) == len(places)


def test_the_digests_of_a_hot_copy_are_those_of_the_disk_at_each_place(changing: Lab) -> None:
    block = b"x" * 100 + _CHANGE + b"y" * (4096 - 100 - len(_CHANGE))
    aria_part = 10_477_568  # the size of the parts of an Aria file, which is no multiple of that of a folio
    sizes = (200, 65_536, 65_600, 100_000, 1_000_000, 5 << 20, 2 * aria_part + 100_000)
    data = {str(size): (block * 6000)[:size] for size in sizes}
    stream = b"".join(
        b"".join(part(name, text[at : at + aria_part], at) for at in range(0, len(text), aria_part)) + end(name)
        for name, text in data.items()
    )
    db2 = changing["db2"]
    db2.run("mkdir /srv/in/copy")
    unpack = f"cd /srv/in/copy; {perl('pass_chunks')} ../index | mbstream -x && touch ../index.end"
    db2.run(unpack, input=stream)
    read = f"cd /srv/in/copy; {perl('digest_copy')} ../index /srv/target 2 md5sum; tr '\\0' '\\n' </srv/target"
    expect = f"{perl('digest_stream')} /srv/source /srv/lost 2 md5sum; tr '\\0' '\\n' </srv/source"
    expected = db2.run(expect, input=stream.replace(_CHANGE, _WRONG)).stdout
    assert {*db2.run(read).stdout.splitlines()} == {*expected.splitlines()}


def perl(name: str) -> str:
    return f"perl -e {shlex.quote(perl_program(f'perl/{name}'))} --"


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
