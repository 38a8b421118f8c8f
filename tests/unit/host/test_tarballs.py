"""Tarballs as they may come: told by their first bytes, unpacked whole, or refused with nothing left behind."""

from __future__ import annotations

import io
import os
import subprocess
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

COMPRESSORS = {
    "gzip": ("gzip", ("pigz", "gzip")),
    "zstd": ("zstd", ("zstd",)),
    "lz4": ("lz4", ("lz4",)),
    "xz": ("xz", ("xz",)),
}
"""What makes each format, and what can read it."""
DECOMPRESSION = {program.name: program.decompress for program in programs()}
READERS = [(name, reader) for name, (_, readers) in COMPRESSORS.items() for reader in readers]


def readers_of(first: bytes, mark: bytes) -> tuple[str, ...] | None:
    """Return the names of the programs that can decompress a tarball."""
    found = decompressors(first, mark)
    return None if found is None else tuple(program.name for program in found)


class TestFormat:
    @pytest.mark.parametrize(
        ("name", "programs"),
        [("gzip", ("pigz", "gzip")), ("zstd", ("zstd",)), ("lz4", ("lz4",)), ("xz", ("xz",)), ("plain", ())],
    )
    def test_it_is_told_by_the_first_bytes(self, name: str, programs: tuple[str, ...]) -> None:
        assert readers_of(*TARBALLS[name]) == programs

    @pytest.mark.parametrize("name", COMPRESSORS)
    def test_what_the_tools_write_is_known(self, name: str) -> None:
        made = compressed(name, tarball({"sqldata/": None}))
        assert readers_of(made[:6], made[257:262]) == COMPRESSORS[name][1]

    @pytest.mark.parametrize("format_of_tar", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_a_plain_one_is_known_by_the_mark_in_its_header(self, format_of_tar: int) -> None:
        made = tarball({"sqldata/": None, "sqldata/é": b"x"}, format_of_tar)
        assert readers_of(made[:6], made[257:262]) == ()

    @given(first=st.binary(max_size=6), mark=st.binary(max_size=5))
    @example(first=b"", mark=b"")
    @example(first=b"\x1f", mark=b"usta")
    def test_no_bytes_make_it_stumble(self, first: bytes, mark: bytes) -> None:
        found = readers_of(first, mark)
        assert found is None or found == () or found in [programs for _, programs in COMPRESSORS.values()]
        assert (found is not None) >= (mark == b"ustar")


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


def compressed(name: str, plain: bytes) -> bytes:
    return subprocess.run([COMPRESSORS[name][0], "-c"], input=plain, capture_output=True, check=True).stdout


GOOD: dict[str, bytes | str | None] = {
    "sqldata/": None,
    "sqldata/db/": None,
    **{f"sqldata/{name}": os.fsencode(name) * 100 for name in HOSTILE_NAMES},
    "sqldata/db/large.ibd": bytes(range(256)) * 800,
    "sqldata/link": "db/large.ibd",
}


def unpack(directory: Path, stream: bytes, program: str | None = None) -> str:
    """Unpack a stream in a directory as a target does, and return what is wrong with it, or nothing."""
    (directory / "stream").write_bytes(stream)
    staging = directory / "staging"
    staging.mkdir()
    stages = (Command(DECOMPRESSION[program]), extract_tarball()) if program else (extract_tarball(),)
    script = [
        f'cp -- stream "$run_directory/stream"; {render_assignment("staging", str(staging))}; cd -- "$staging"',
        render_pipeline_function("receive", receiver(stages, None, FILE, None)),
        'receive; [[ ${statuses[*]} != *[!0\\ ]* ]] || fail host "${statuses[*]} $(cat -- "$run_directory"/*.err)"',
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


BEHIND = "the tarball has data after its end mark: it is damaged, or contains several tarballs"


class TestUnpacking:
    @pytest.mark.parametrize(("name", "reader"), READERS)
    def test_each_format_is_unpacked_whole(self, tmp_path: Path, name: str, reader: str) -> None:
        assert unpack(tmp_path, compressed(name, tarball(GOOD)), reader) == ""
        assert_good(tmp_path)

    @pytest.mark.parametrize("format_of_tar", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_a_plain_one_is_unpacked_whole(self, tmp_path: Path, format_of_tar: int) -> None:
        assert unpack(tmp_path, tarball(GOOD, format_of_tar)) == ""
        assert_good(tmp_path)

    def test_what_gnu_tar_makes_is_unpacked_whole(self, tmp_path: Path) -> None:
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

    @pytest.mark.parametrize(("name", "reader"), READERS)
    @pytest.mark.parametrize("kept", [0.999, 0.5, 20])
    def test_a_compressed_one_that_was_cut_is_refused(
        self, tmp_path: Path, name: str, reader: str, kept: float
    ) -> None:
        stream = compressed(name, tarball(GOOD))
        assert unpack(tmp_path, stream[: int(kept * len(stream)) if kept < 1 else int(kept)], reader) != ""

    @pytest.mark.parametrize(("name", "reader"), READERS)
    def test_a_compressed_one_of_a_tar_that_was_cut_is_refused(self, tmp_path: Path, name: str, reader: str) -> None:
        stream = compressed(name, cut_between_members(tarball(GOOD)))
        assert unpack(tmp_path, stream, reader) == "the tarball has no end mark: it is incomplete"

    @pytest.mark.parametrize(("name", "reader"), READERS)
    def test_a_compressed_one_that_was_damaged_is_refused(self, tmp_path: Path, name: str, reader: str) -> None:
        stream = bytearray(compressed(name, tarball(GOOD)))
        stream[len(stream) // 2] ^= 0x55
        assert unpack(tmp_path, bytes(stream), reader) != ""

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
            ({}, "the tarball has 0 top-level entries; exactly one directory is required"),
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

    @pytest.mark.parametrize("name", ["../gone", "sqldata/../../gone", "sqldata/../gone"])
    def test_one_with_a_name_that_leads_upwards_is_refused(self, tmp_path: Path, name: str) -> None:
        assert f"tar: {name}: Member name contains '..'" in unpack(tmp_path, tarball({"sqldata/": None, name: b""}))
        assert not [path for path in tmp_path.rglob("*") if path.name == "gone"]

    def test_one_directory_may_be_written_with_a_dot_before(self, tmp_path: Path) -> None:
        assert unpack(tmp_path, tarball({"./": None, "./sqldata/": None, "./sqldata/a": b"x"})) == ""

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
