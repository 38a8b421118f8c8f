"""Tarballs: recognised by their first bytes, unpacked completely, or refused without remains."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from bash import FILE, HOSTILE_NAMES, run_bash
from fleet import TARBALLS
from host_text import events, session_script
from hypothesis import example, given
from hypothesis import strategies as st

from transferpy.model.codecs import programs
from transferpy.stream.commands import Command
from transferpy.stream.pipelines import receiver
from transferpy.stream.renderer import render_assignment, render_pipeline_function
from transferpy.stream.tar import decompressors, extract_tarball

if TYPE_CHECKING:
    from pathlib import Path

ZIP = f'{sys.executable} -c \'import sys, zipfile; zipfile.ZipFile(sys.argv[1], "w", 8).write(sys.argv[2], "tar")\''
FORMATS = {
    "gzip": ("gzip", "gzip"),
    "gzip-members": ("split --bytes=30K --filter=gzip", "gzip"),
    "gzip-padded": ("gzip; head -c 5000 /dev/zero", "gzip"),
    "pigz": ("pigz --processes 2 --blocksize 128", "gzip"),
    "compress": ("compress -f", "gzip"),  # -f: also if the result is larger
    "zip": (f"cat >tar; {ZIP} zip tar; cat zip", "gzip"),
    "zstd": ("zstd", "zstd"),
    "zstd-frames": ("split --bytes=30K --filter=zstd", "zstd"),
    "zstd-long": ("zstd --long=31 --ultra -1", "zstd"),
    "zstd-skippable": (r"printf 'P*M\030\003\0\0\0abc_*M\030\0\0\0\0'; zstd", "zstd"),
    "pzstd": ("pzstd -p 2", "zstd"),
    "lz4": ("lz4", "lz4"),
    "lz4-frames": ("split --bytes=30K --filter=lz4", "lz4"),
    "lz4-legacy": ("lz4 -l", "lz4"),
    "lz4-skippable": (r"printf 'P*M\030\003\0\0\0abc'; lz4", "zstd"),
    "xz": ("xz", "xz"),
    "xz-streams": ("split --bytes=30K --filter='xz -0'", "xz"),
    "xz-padded": ("xz -0; head -c 5000 /dev/zero", "xz"),
    "lzma": ("xz --format=lzma", "xz"),
    "lzma-unusual": ("xz --format=lzma --lzma1=dict=4KiB,lc=0,lp=0,pb=0", "xz"),
    "bzip2": ("bzip2", "bzip2"),
    "bzip2-streams": ("split --bytes=30K --filter=bzip2", "bzip2"),
    "lzip": ("lzip -0", "lzip"),
    "lzip-members": ("split --bytes=30K --filter='lzip -0'", "lzip"),
    "lzop": ("lzop", "lzop"),
}
"""The shell command that makes each format, and the program that reads it."""
WITHOUT_CHECKSUM = {"compress", "lz4-legacy", "lzma", "lzma-unusual"}
PROGRAMS = {program.name: program for program in programs()}
TAR_FORMATS = ["v7", "oldgnu", "gnu", "ustar", "pax"]


def reader_of(head: bytes) -> str | None:
    """Return the name of the program that decompresses a tarball; "" for a plain one, None for another file."""
    found = decompressors(head)
    return None if found is None else "".join(program.name for program in found)


class TestFormat:
    @pytest.mark.parametrize("name", TARBALLS)
    def test_it_is_recognized_by_the_first_bytes(self, name: str) -> None:
        assert reader_of(TARBALLS[name]) == name.replace("plain", "")

    @pytest.mark.parametrize("name", FORMATS)
    def test_the_output_of_the_tools_is_recognized(self, tmp_path: Path, name: str) -> None:
        made = compressed(tmp_path, name, tarball({"sqldata/": None}))
        assert reader_of(made[:512]) == FORMATS[name][1]

    @pytest.mark.parametrize(
        ("head", "program"),
        [
            (b"%\xb5\x2f\xfd", "zstd"),  # of zstd 0.5
            (b"$\xb5\x2f\xfd", None),  # of zstd 0.4, which the program of Debian does not read
            (b"\x1f\x1e", "gzip"),  # of pack
            (b"\x1f\xa0", "gzip"),  # of lzh
            (b"\x5d\0\0\0\x04\x00\x28\0\0\0\0\0\0\0", "xz"),  # .lzma with the size of its data
            (b"\0" * 14, None),
            (b"\0" * 512, None),
            (b"\n" * 512, None),
        ],
    )
    def test_formats_without_a_tool_that_makes_them(self, head: bytes, program: str | None) -> None:
        assert reader_of(head) == program

    @pytest.mark.parametrize("format_of_tar", TAR_FORMATS)
    @pytest.mark.parametrize("name", ["sqldata", "BZh9", "PK\x03\x04", "(\udcb5/\udcfd", "\udcff\udcfe"])
    def test_a_plain_one_is_recognized_by_its_checksum(self, tmp_path: Path, name: str, format_of_tar: str) -> None:
        (tmp_path / name).mkdir(parents=True)
        command = ["tar", "--create", f"--format={format_of_tar}", "--", name]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
        assert reader_of(made[:512]) == ""
        assert reader_of(made[:511]) != ""

    @given(st.binary(max_size=600))
    @example(b"")
    @example(b"\x1f")
    def test_no_bytes_are_an_error(self, head: bytes) -> None:
        assert reader_of(head) in {None, "", *PROGRAMS}

    @given(st.text(max_size=150), st.integers(0, 7))
    def test_a_header_of_tar_is_recognized_until_a_bit_flips(self, name: str, bit: int) -> None:
        head = bytearray(tarfile.TarInfo(name or "x").tobuf(tarfile.GNU_FORMAT)[:512])
        assert reader_of(bytes(head)) == ""
        head[500] ^= 1 << bit
        assert reader_of(bytes(head)) != ""


def tarball(members: dict[str, bytes | str | None], format_of_tar: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tarball of files, of directories (their names end with a slash), and of links (their value is text)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format_of_tar, errors="surrogateescape") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.uid, entry.gid = os.getuid(), os.getgid()
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
            elif name.endswith("/"):
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            else:
                entry.size = len(content or b"")
            archive.addfile(entry, io.BytesIO(content or b"") if not isinstance(content, str) else None)
    return stream.getvalue()


def compressed(directory: Path, name: str, plain: bytes) -> bytes:
    """Return a tarball in a format; its tools may create files in the directory."""
    command = ["sh", "-c", FORMATS[name][0]]
    return subprocess.run(command, input=plain, cwd=directory, capture_output=True, check=True).stdout


GOOD: dict[str, bytes | str | None] = {
    "sqldata/": None,
    "sqldata/db/": None,
    **{f"sqldata/{name}": os.fsencode(name) * 100 for name in HOSTILE_NAMES},
    "sqldata/db/large.ibd": bytes(range(256)) * 800,
    "sqldata/link": "db/large.ibd",
}


def unpack(directory: Path, stream: bytes, memory: int = 4 << 30) -> str:
    """Unpack a stream in a directory as a target does, and return the error, or nothing."""
    (directory / "stream").write_bytes(stream)
    staging = directory / "staging"
    staging.mkdir()
    found = decompressors(stream[:512])
    assert found is not None
    decompression = [Command(program.decompress_tarball(memory)) for program in found]
    script = [
        f'cp -- stream "$run_directory/stream"; {render_assignment("staging", str(staging))}; cd -- "$staging"',
        render_pipeline_function("receive", receiver((*decompression, extract_tarball()), None, FILE, None)),
        'receive; [[ ${statuses[*]} != *[!0\\ ]* ]] || fail host "${statuses[*]} $(cat -- "$run_directory"/*.err)"',
        "task_statuses[receive]=${statuses[*]}; fail_for_messages",
        'check_copy_decompress; emit top directory="$(encode "$PWD")"',
    ]
    result = run_bash(session_script(directory, "\n".join(script)), cwd=directory)
    assert result.stderr == b""
    (event,) = events(result.stdout)
    if event.name == "error":
        return event.text("text")
    assert event.text("directory") == str(staging / "sqldata")
    return ""


def assert_good(directory: Path) -> None:
    top = directory / "staging" / "sqldata"
    for name, content in GOOD.items():
        path = top / name.partition("/")[2]
        if isinstance(content, str):
            assert str(path.readlink()) == content
        elif content is None:
            assert path.is_dir()
        else:
            assert path.read_bytes() == content


NO_TAR = "tar: This does not look like a tar archive"
BEHIND = "the tarball has data after its end mark: it is damaged, or contains several tarballs"


class TestUnpacking:
    @pytest.mark.parametrize("name", FORMATS)
    def test_each_format_is_unpacked_whole(self, tmp_path: Path, name: str) -> None:
        assert unpack(tmp_path, compressed(tmp_path, name, tarball(GOOD))) == ""
        assert_good(tmp_path)

    @pytest.mark.parametrize("format_of_tar", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_a_plain_one_is_unpacked_whole(self, tmp_path: Path, format_of_tar: int) -> None:
        assert unpack(tmp_path, tarball(GOOD, format_of_tar)) == ""
        assert_good(tmp_path)

    @pytest.mark.parametrize(
        "options",
        [
            *[f"--format={name}" for name in TAR_FORMATS],
            *[f"--sparse --format={name}" for name in ("oldgnu", "gnu")],
            *[f"--sparse --format=posix --sparse-version={version}" for version in ("0.0", "0.1", "1.0")],
            "--label=backup",
            "--listed-incremental=../snapshot",
            "--format=posix --pax-option=LIBARCHIVE.creationtime=1",
            "--format=posix --pax-option=LIBARCHIVE.creationtime:=1",
            "--blocking-factor=1",
            "--blocking-factor=4096",
        ],
    )
    def test_each_format_of_gnu_tar_is_unpacked_whole(self, tmp_path: Path, options: str) -> None:
        made = tmp_path / "made" / "sqldata"
        made.mkdir(parents=True)
        (made / "table.ibd").write_bytes(b"x" * 100_000 + bytes(200_000) + b"x")
        os.truncate(made / "table.ibd", 10_000_000)
        command = ["tar", "--create", *options.split(), "sqldata"]
        stream = subprocess.run(command, cwd=made.parent, capture_output=True, check=True).stdout
        assert unpack(tmp_path, stream) == ""
        assert (tmp_path / "staging/sqldata/table.ibd").read_bytes() == (made / "table.ibd").read_bytes()

    def test_a_checksum_of_bytes_with_a_sign_is_valid(self) -> None:
        head = bytearray(tarball({"sqldata-\udcff/": None}, tarfile.GNU_FORMAT)[:512])
        head[148:156] = b" " * 8
        head[148:155] = b"%06o\0" % sum(memoryview(head).cast("b"))
        subprocess.run(["tar", "--list"], input=head + bytes(1024), stdout=subprocess.DEVNULL, check=True)
        assert reader_of(bytes(head)) == ""

    @pytest.mark.parametrize(
        ("name", "mebibytes", "reason"),
        [
            ("zstd-long", 2047, "Window size larger than maximum : 2147483648 > 2146435072"),
            ("xz", 8, "xz: (stdin): Memory usage limit reached"),
            ("lzma", 0, "xz: (stdin): Memory usage limit reached"),
        ],
    )
    def test_one_that_needs_more_memory_than_is_free_is_refused(
        self, tmp_path: Path, name: str, mebibytes: int, reason: str
    ) -> None:
        assert reason in unpack(tmp_path, compressed(tmp_path, name, tarball(GOOD)), mebibytes << 20)

    @pytest.mark.parametrize("name", ["zstd-long", "xz"])
    def test_memory_of_any_size_is_a_valid_limit(self, tmp_path: Path, name: str) -> None:
        assert unpack(tmp_path, compressed(tmp_path, name, tarball(GOOD)), 1 << 50) == ""

    def test_the_tarballs_of_gnu_tar_are_unpacked_completely(self, tmp_path: Path) -> None:
        made = tmp_path / "made" / "sqldata"
        made.mkdir(parents=True)
        (made / "sparse").write_bytes(b"")
        os.truncate(made / "sparse", 10_000_000)
        (made / ("long" * 50)).write_text("x")
        (made / "second").hardlink_to(made / ("long" * 50))
        stream = subprocess.run(["tar", "-cS", "sqldata"], cwd=made.parent, capture_output=True, check=True).stdout
        assert unpack(tmp_path, stream) == ""
        top = tmp_path / "staging" / "sqldata"
        assert (top / "sparse").stat().st_size == 10_000_000
        assert (top / "second").samefile(top / ("long" * 50))

    @pytest.mark.parametrize("how", ["--append", "--update"])
    def test_of_a_file_that_was_added_anew_the_last_one_counts(self, tmp_path: Path, how: str) -> None:
        made = tmp_path / "made" / "sqldata"
        made.mkdir(parents=True)
        for number, content in enumerate(["as it was at first", "as it was at last"]):
            (made / "file").write_text(content)
            os.utime(made / "file", (number, 2_000_000_000 + number))
            command = ["tar", how if number else "--create", "--file=../tarball", "sqldata"]
            subprocess.run(command, cwd=made.parent, check=True)
        stream = (tmp_path / "tarball").read_bytes()
        assert stream.count(b"sqldata/file") > 1
        assert unpack(tmp_path, stream) == ""
        assert (tmp_path / "staging" / "sqldata" / "file").read_text() == "as it was at last"

    @pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"gzip-padded", "xz-padded"}))
    @pytest.mark.parametrize("kept", [0.9, 0.5, 20])
    def test_a_compressed_one_that_was_cut_is_refused(self, tmp_path: Path, name: str, kept: float) -> None:
        stream = compressed(tmp_path, name, tarball(GOOD))
        assert unpack(tmp_path, stream[: int(kept * len(stream)) if kept < 1 else int(kept)]) != ""

    @pytest.mark.parametrize("name", FORMATS)
    def test_a_compressed_one_of_a_tar_that_was_cut_is_refused(self, tmp_path: Path, name: str) -> None:
        stream = compressed(tmp_path, name, cut_between_members(tarball(GOOD)))
        assert unpack(tmp_path, stream) == "the tarball has no end mark: it is incomplete"

    @pytest.mark.parametrize("name", sorted(FORMATS.keys() - WITHOUT_CHECKSUM))
    def test_a_compressed_one_that_was_damaged_is_refused(self, tmp_path: Path, name: str) -> None:
        stream = bytearray(compressed(tmp_path, name, tarball(GOOD)))
        stream[len(stream) // 2] ^= 0x55
        assert unpack(tmp_path, bytes(stream)) != ""

    # The index of a zip file is behind its data, and gzip reads only the data. In a .Z file, everything is data.
    @pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"compress", "zip"}))
    def test_any_garbage_behind_a_compressed_one_is_refused(self, tmp_path: Path, name: str) -> None:
        assert unpack(tmp_path, compressed(tmp_path, name, tarball(GOOD)) + b"x") != ""

    @pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"zip"}))
    def test_much_garbage_behind_a_compressed_one_is_refused(self, tmp_path: Path, name: str) -> None:
        assert unpack(tmp_path, compressed(tmp_path, name, tarball(GOOD)) + b"garbage " * 1000) != ""

    @pytest.mark.parametrize("length", [512, 513, 5000, 500_000])
    def test_garbage_behind_a_plain_one_is_refused(self, tmp_path: Path, length: int) -> None:
        assert unpack(tmp_path, tarball(GOOD) + b"x" * length) != ""

    @pytest.mark.parametrize("name", FORMATS)
    def test_a_compressed_file_of_another_kind_is_refused(self, tmp_path: Path, name: str) -> None:
        assert NO_TAR in unpack(tmp_path, compressed(tmp_path, name, b"no tar " * 999))

    @pytest.mark.parametrize("name", sorted({program for _, program in FORMATS.values()}))
    def test_a_compressed_file_without_content_is_refused(self, tmp_path: Path, name: str) -> None:
        assert NO_TAR in unpack(tmp_path, compressed(tmp_path, name, b""))

    @pytest.mark.parametrize("name", ["gzip", "zstd"])
    def test_one_that_was_compressed_twice_is_refused(self, tmp_path: Path, name: str) -> None:
        twice = compressed(tmp_path, name, compressed(tmp_path, name, tarball(GOOD)))
        assert "tar: Archive is compressed" in unpack(tmp_path, twice)

    @pytest.mark.parametrize("kept", [512, 1024, 1536, 5000, 20_000, 200_000])
    def test_a_plain_one_that_was_cut_is_refused(self, tmp_path: Path, kept: int) -> None:
        assert unpack(tmp_path, tarball(GOOD)[:kept]) != ""

    def test_a_plain_one_that_was_cut_between_two_members_is_refused(self, tmp_path: Path) -> None:
        stream = cut_between_members(tarball(GOOD))
        assert unpack(tmp_path, stream) == "the tarball has no end mark: it is incomplete"

    @pytest.mark.parametrize("large", [100, 1_000_000], ids=["small", "large"])
    @pytest.mark.parametrize("zeros", [1, 2, 3])
    def test_one_with_zeros_where_a_member_was_is_refused(self, tmp_path: Path, zeros: int, large: int) -> None:
        """The end mark is zeros too: tar takes them for the end, with status 0, and leaves out all that follows."""
        names = [f"sqldata/{number}" for number in range(4)]
        stream = tarball({"sqldata/": None, **dict.fromkeys(names, b""), "sqldata/z": b"x" * large})
        hole = stream.index(b"sqldata/1")
        holed = stream[:hole] + bytes(512 * zeros) + stream[hole + 512 * zeros :]
        assert subprocess.run(["tar", "-t"], input=holed, capture_output=True, check=True).stdout.count(b"\n") == 2
        assert unpack(tmp_path, holed) == BEHIND

    def test_several_in_one_are_refused(self, tmp_path: Path) -> None:
        assert unpack(tmp_path, tarball(GOOD) + tarball({"sqldata/more": b""})) == BEHIND

    @pytest.mark.parametrize("blocks", [0, 1])
    def test_one_that_was_cut_in_its_end_mark_is_refused(self, tmp_path: Path, blocks: int) -> None:
        stream = tarball({"sqldata/": None}, tarfile.USTAR_FORMAT)[: 512 + 512 * blocks]
        assert unpack(tmp_path, stream) == "the tarball has no end mark: it is incomplete"

    @pytest.mark.parametrize("blocks", [2, 3, 20, 5000])
    def test_as_many_zeros_as_are_wanted_may_fill_the_last_record(self, tmp_path: Path, blocks: int) -> None:
        stream = tarball({"sqldata/": None}, tarfile.USTAR_FORMAT)[:512] + bytes(512 * blocks)
        assert unpack(tmp_path, stream) == ""

    def test_a_file_of_an_archive_that_calls_itself_a_mark_is_none(self, tmp_path: Path) -> None:
        members: dict[str, bytes | str | None] = {"sqldata/": None, "sqldata/** Block of NULs **": b"Block of NULs"}
        stream = cut_between_members(tarball({**members, "sqldata/z": b""}))
        assert unpack(tmp_path, stream) == "the tarball has no end mark: it is incomplete"

    @pytest.mark.parametrize(
        ("members", "reason"),
        [
            ({"a": b"x"}, "the tarball has 1 top-level entries; exactly one directory is required"),
            ({"a": "/etc"}, "the tarball has 1 top-level entries; exactly one directory is required"),
            ({"a/": None, "b/": None}, "the tarball has 2 top-level entries; exactly one directory is required"),
            (
                {"a/": None, "a/x": b"", "b": b""},
                "the tarball has 2 top-level entries; exactly one directory is required",
            ),
            (
                {"./": None, "./a": b"", "./b": b""},
                "the tarball has 2 top-level entries; exactly one directory is required",
            ),
            ({"/sqldata/": None, "/sqldata/a": b""}, "the tarball has absolute names or names with .."),
            ({"sqldata/": None, "/tmp/gone": b""}, "the tarball has absolute names or names with .."),
        ],
    )
    def test_one_that_is_not_one_directory_is_refused(
        self, tmp_path: Path, members: dict[str, bytes | str | None], reason: str
    ) -> None:
        assert unpack(tmp_path, tarball(members)) == reason
        assert not (tmp_path / "gone").exists()

    def test_one_without_members_is_refused(self, tmp_path: Path) -> None:
        reason = "the tarball has 0 top-level entries; exactly one directory is required"
        assert unpack(tmp_path, compressed(tmp_path, "gzip", tarball({}))) == reason

    @pytest.mark.parametrize("name", ["../gone", "sqldata/../../gone", "sqldata/../gone"])
    def test_one_with_a_name_that_leads_upwards_is_refused(self, tmp_path: Path, name: str) -> None:
        assert f"tar: {name}: Member name contains '..'" in unpack(tmp_path, tarball({"sqldata/": None, name: b""}))
        assert not [path for path in tmp_path.rglob("*") if path.name == "gone"]

    def test_one_directory_may_be_written_with_a_dot_before(self, tmp_path: Path) -> None:
        assert unpack(tmp_path, tarball({"./": None, "./sqldata/": None, "./sqldata/a": b"x"})) == ""

    @pytest.mark.parametrize("target", ["/etc/passwd", "../../stream", "sqldata/../../../stream"])
    def test_a_hard_link_to_the_outside_is_refused(self, tmp_path: Path, target: str) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, kind in (("sqldata", tarfile.DIRTYPE), ("sqldata/link", tarfile.LNKTYPE)):
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode, entry.linkname = kind, 0o755, target
                archive.addfile(entry)
        assert unpack(tmp_path, stream.getvalue()) != ""
        assert (tmp_path / "stream").stat().st_nlink == 1

    def test_a_link_cannot_lead_a_file_elsewhere(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        members = {"sqldata/": None, "sqldata/out": str(outside), "sqldata/out/gone": b"x"}
        assert unpack(tmp_path, tarball(members)) != ""
        assert list(outside.iterdir()) == []


def cut_between_members(stream: bytes) -> bytes:
    """Return a tarball without its last member and the mark behind it."""
    with tarfile.open(fileobj=io.BytesIO(stream), errors="surrogateescape") as archive:
        return stream[: archive.getmembers()[-1].offset]
