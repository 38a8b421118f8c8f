"""Tarballs from host to host: each format arrives complete; after a bad tarball, the target is empty again."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import transfer
from trees import census_on, plant_on
from watching import SLOW, Run, assert_as_before, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

DECOMPRESS = ("--type", "decompress")
SOURCE, INTO = "db1:/srv/made/tarball", "db2:/srv/into"
TAR = "cd /srv/made && tar --create --format=posix --acls --xattrs --xattrs-include='*' --sparse"
FORMATS = {
    "gzip": "--gzip",
    "zstd": "--zstd",
    "lz4": "--use-compress-program=lz4",
    "xz": "--use-compress-program='xz -0'",
    "plain": "--numeric-owner",
    "bzip2": "--bzip2",
    "lzip": "--lzip",
    "lzop": "--lzop",
}
"""The option of tar for the usual format of each program."""
OTHER_FORMATS = {
    "lzma": "--use-compress-program='xz -0 --format=lzma'",
    "compress": "--use-compress-program='compress -f'",  # -f: also if the result is larger
    "pzstd": "--use-compress-program='pzstd -p 2'",
    "zstd-long-27": "--use-compress-program='zstd --long=27'",
    "zstd-long-28": "--use-compress-program='zstd --long=28'",
    "zstd-long-31": "--use-compress-program='zstd --long=31'",
    "zstd-frames": "--use-compress-program='split --bytes=700K --filter=zstd'",
    "gzip-members": "--use-compress-program='split --bytes=700K --filter=gzip'",
    "gzip-padded": "--use-compress-program='gzip; head -c 5000 /dev/zero'",
    "xz-streams": "--use-compress-program='split --bytes=700K --filter=\"xz -0\"'",
    "bzip2-streams": "--use-compress-program='split --bytes=700K --filter=bzip2'",
    "lz4-frames": "--use-compress-program='split --bytes=700K --filter=lz4'",
    "lz4-legacy": "--use-compress-program='lz4 -l'",
    "lz4-skippable": "--use-compress-program='printf \"P*M\\030\\003\\0\\0\\0abc\"; lz4'",
}
"""The option of tar for the other formats that the programs read."""


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a directory /srv/made/sqldata on db1, and an empty one /srv/into on db2 and db3."""
    fill(clean_lab["db1"], "/srv/made/sqldata/table.ibd", megabytes=2)
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/into")
    return clean_lab


def make(lab: Lab, option: str = "--gzip", words: str = "sqldata") -> None:
    """Create the tarball, with a name that does not show its format."""
    lab["db1"].run(f"{TAR} {option} --file=tarball {words}")


def refused(lab: Lab, status: int, message: str, *options: str) -> None:
    """Transfer, and assert that the transfer fails with this message and changes nothing."""
    before = lab.snapshot()
    result = transfer(lab, *DECOMPRESS, *options, SOURCE, INTO)
    assert result.status == status, result.stderr
    assert re.search(f"ERROR .*{message}", result.stderr), result.stderr
    assert_as_before(lab, before)


@pytest.mark.parametrize("format_of_it", FORMATS)
def test_each_format_is_unpacked_as_it_was_packed(ready: Lab, format_of_it: str) -> None:
    ready["db1"].run("rm -r /srv/made/sqldata")
    plant_on(ready["db1"], "/srv/made/sqldata")
    before = census_on(ready["db1"], "/srv/made/sqldata")
    make(ready, FORMATS[format_of_it])
    result = transfer(ready, *DECOMPRESS, SOURCE, INTO, "db3:/srv/into", check=True)
    for host in ("db2", "db3"):
        arrived = census_on(ready[host], "/srv/into")
        # The user owns the target directory.
        arrived["."] = before["."]
        assert arrived == before
    assert "INFO  db2:/srv/into: complete" in result.stderr


@pytest.mark.parametrize("options", [(), ("--no-encrypt",), ("--no-compress", "--no-checksum")], ids=" ".join)
def test_a_large_one_arrives_whatever_the_options(ready: Lab, options: tuple[str, ...]) -> None:
    fill(ready["db1"], "/srv/made/sqldata/db/large.ibd", megabytes=60)
    make(ready)
    transfer(ready, *DECOMPRESS, *options, SOURCE, INTO, check=True)
    digests = "find . -type f | sort | xargs md5sum"
    assert ready["db2"].sh(f"cd /srv/into && {digests}") == ready["db1"].sh(f"cd /srv/made/sqldata && {digests}")


def test_a_link_to_the_latest_one_will_do(ready: Lab) -> None:
    make(ready)
    ready["db1"].run("cd /srv/made && mv tarball monday && ln -s monday tarball")
    transfer(ready, *DECOMPRESS, SOURCE, INTO, check=True)
    assert ready["db2"].sh("ls -A /srv/into") == "table.ibd"


def test_the_requested_owner_has_all_files(ready: Lab) -> None:
    ready["db1"].run("cd /srv/made/sqldata && mkdir db && touch db/file && ln -s file db/link && chown -hR 4001:4002 .")
    make(ready)
    transfer(ready, *DECOMPRESS, "--owner", "mysql:mysql", SOURCE, INTO, check=True)
    assert ready["db2"].sh("find /srv/into -printf '%u:%g\\n' | sort -u") == "mysql:mysql"


@pytest.mark.parametrize("format_of_it", [*OTHER_FORMATS, "v7", "oldgnu", "gnu", "ustar"])
def test_further_formats_of_the_programs_are_unpacked(ready: Lab, format_of_it: str) -> None:
    if format_of_it in OTHER_FORMATS:
        make(ready, OTHER_FORMATS[format_of_it])
    else:
        ready["db1"].run(f"cd /srv/made && tar --create --format={format_of_it} --file=tarball sqldata")
    result = transfer(ready, *DECOMPRESS, SOURCE, INTO, check=True)
    assert "INFO  db2:/srv/into: complete" in result.stderr
    assert ready["db2"].sh("md5sum </srv/into/table.ibd") == ready["db1"].sh("md5sum </srv/made/sqldata/table.ibd")


@pytest.mark.parametrize("format_of_it", FORMATS)
@pytest.mark.parametrize("share", ["9/10", "1/1000"])
def test_one_that_is_cut_is_refused(ready: Lab, format_of_it: str, share: str) -> None:
    make(ready, FORMATS[format_of_it])
    ready["db1"].run(f"cd /srv/made && truncate -s $(($(stat -c %s tarball) * {share})) tarball")
    refused(ready, 6, "db2: .* (failed with status|was ended by)|db2: the tarball has no end mark")


@pytest.mark.parametrize("format_of_it", ["gzip", "zstd", "lz4", "xz", "bzip2", "lzip", "lzop"])
def test_one_with_a_bit_that_flipped_is_refused(ready: Lab, format_of_it: str) -> None:
    make(ready, FORMATS[format_of_it])
    path = ready["db1"].root / "srv/made/tarball"
    content = bytearray(path.read_bytes())
    content[1 << 20] ^= 4
    path.write_bytes(content)
    refused(ready, 6, "db2: (gzip|zstd|lz4|xz|bzip2|lzip|lzop) failed with status")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("sqldata more", 7, "db2: the tarball has 2 top-level entries; exactly one directory is required"),
        ("sqldata/table.ibd --transform=s,.*/,,", 7, "db2: the tarball has 1 top-level entries"),
        ("--absolute-names /srv/made/sqldata", 7, "db2: the tarball has absolute names or names with"),
        ("--absolute-names sqldata --transform=s,table,../../owned,", 6, "db2: tar failed .*Member name contains '..'"),
        ("--absolute-names sqldata more --transform=s,^more,/srv/owned,", 7, "db2: the tarball has absolute names"),
    ],
    ids=["several", "a file", "absolute", "upwards", "one absolute"],
)
def test_one_that_is_not_one_directory_is_refused(ready: Lab, words: str, status: int, message: str) -> None:
    ready["db1"].run("touch /srv/made/more")
    make(ready, words=words)
    refused(ready, status, message)
    assert ready["db2"].sh("find / -xdev -name '*owned*'") == ""


def test_a_link_in_it_leads_nothing_out_of_the_target(ready: Lab) -> None:
    ready["db2"].run("mkdir /srv/outside")
    ready["db1"].run("cd /srv/made && mkdir -p one/sqldata two/sqldata/out && ln -s /srv/outside one/sqldata/out")
    ready["db1"].run(
        "cd /srv/made && touch two/sqldata/out/owned && tar -cf tarball -C one sqldata -C ../two sqldata/out/owned"
    )
    refused(ready, 6, "db2: tar failed with status 2")
    assert ready["db2"].sh("ls -A /srv/outside") == ""


def test_one_with_an_entry_of_an_unknown_kind_is_refused(ready: Lab) -> None:
    make(ready, FORMATS["plain"])
    path = ready["db1"].root / "srv/made/tarball"
    content = bytearray(path.read_bytes())
    header = content.index(b"sqldata/table.ibd")
    # The sum of the bytes of a header is at offset 148, the kind is at offset 156.
    total = int(content[header + 148 : header + 154], 8) + ord("Z") - content[header + 156]
    content[header + 148 : header + 154] = b"%06o" % total
    content[header + 156] = ord("Z")
    path.write_bytes(content)
    refused(ready, 7, "db2: the copy could not be unpacked completely: tar: sqldata/table.ibd: Unknown file type 'Z'")


@pytest.mark.parametrize(
    "content", ["", "no tarball", "\\x1f\\x8b no gzip behind it"], ids=["empty", "text", "mark only"]
)
def test_a_file_that_is_not_a_tarball_is_refused(ready: Lab, content: str) -> None:
    ready["db1"].run(f"printf %b '{content}' >/srv/made/tarball")
    status = 6 if content.startswith("\\") else 4
    refused(ready, status, "db2: gzip failed with status" if status == 6 else f"{SOURCE}: is not a tarball")


def test_a_target_that_is_not_empty_is_refused(ready: Lab) -> None:
    make(ready)
    ready["db2"].run("touch /srv/into/.hidden")
    refused(ready, 4, f"{INTO}: is not empty; --type decompress needs an empty directory")


def test_a_host_without_the_program_for_the_format_is_named(ready: Lab) -> None:
    make(ready, "--zstd")
    ready["db2"].hide("zstd")
    refused(ready, 4, r"db2: zstd is missing \(Debian package zstd\)")


@contextmanager
def free_memory(host: Host, mebibytes: int) -> Iterator[None]:
    """Let the kernel of a host report this free memory."""
    host.run(f"echo MemAvailable: {mebibytes << 10} kB >/srv/meminfo; mount --bind /srv/meminfo /proc/meminfo")
    try:
        yield
    finally:
        host.run("umount /proc/meminfo; rm /srv/meminfo")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--use-compress-program='zstd --long=31'", "zstd failed .* Window size larger than maximum : 2147483648 > "),
        ("--use-compress-program='xz --lzma2=dict=64MiB'", "xz failed .* Memory usage limit reached"),
    ],
    ids=["zstd", "xz"],
)
def test_one_that_needs_more_memory_than_the_target_has_is_refused(ready: Lab, option: str, message: str) -> None:
    make(ready, option)
    with free_memory(ready["db2"], 60):
        refused(ready, 6, f"db2: {message}")


@pytest.mark.parametrize(
    ("option", "status", "message"),
    [
        ("--gzip", 6, "db2: gzip failed with status 2: .* trailing garbage"),
        ("--zstd", 6, "db2: zstd failed with status 1: "),
        ("--bzip2", 7, "db2: the tarball has data after its end mark"),
        ("--numeric-owner", 6, "db2: tar failed with status 2: "),
    ],
    ids=["gzip", "zstd", "bzip2", "plain"],
)
def test_one_with_garbage_behind_it_is_refused(ready: Lab, option: str, status: int, message: str) -> None:
    make(ready, option)
    ready["db1"].run("yes garbage | head -c 5000 >>/srv/made/tarball")
    refused(ready, status, message)


def test_a_compressed_file_without_a_tar_is_refused(ready: Lab) -> None:
    ready["db1"].run("gzip -c /srv/made/sqldata/table.ibd >/srv/made/tarball")
    refused(ready, 6, "db2: tar failed with status 2: tar: This does not look like a tar archive")


def test_a_disk_that_is_full_leaves_the_directory_empty(ready: Lab) -> None:
    ready["db1"].run("head -c 60M /dev/zero >/srv/made/sqldata/zeros")
    make(ready)
    ready["db2"].small_disk("/srv/into", "16m")
    refused(ready, 6, "db2: the file system of /srv/into is full; db2: tar failed with status 2: ")


@pytest.mark.parametrize(("host", "command"), [("db1", "cat -- "), ("db2", "gzip"), ("db2", "socat"), ("db2", "tar")])
def test_a_stage_that_is_killed_leaves_the_directory_empty(ready: Lab, host: str, command: str) -> None:
    fill(ready["db1"], "/srv/made/sqldata/large")
    make(ready)
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *DECOMPRESS, "--retries", "0", SOURCE, INTO) as run:
        run.wait_for_stream(ready["db2"])
        ready[host].run(["pkill", "-KILL", "-f", f"^{command}"])
        run.assert_streaming()
        ready["db1"].shape(None)
        result = run.end()
    assert result.status == 6, result.stderr
    assert re.search(f"{host}: {command.split(maxsplit=1)[0]} was ended by signal 9", result.stderr), result.stderr
    assert_as_before(ready, before)


def test_one_that_changes_while_it_is_sent_is_refused(ready: Lab) -> None:
    fill(ready["db1"], "/srv/made/sqldata/large")
    make(ready)
    before = ready["db2"].snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *DECOMPRESS, SOURCE, INTO) as run:
        run.wait_for_stream(ready["db2"])
        ready["db1"].run("touch /srv/made/tarball")
        run.assert_streaming()
        ready["db1"].shape(None)
        result = run.end()
    assert result.status == 7, result.stderr
    assert f"ERROR {INTO}: failed: {SOURCE}: changed during the copy" in result.stderr
    assert ready["db2"].sh("ls -A /srv/into") == ""
    assert ready["db2"].snapshot() == before
