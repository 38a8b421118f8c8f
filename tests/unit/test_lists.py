"""What sessions say of a tree: every name as it is, every difference shown, the same list for the same tree."""

import hashlib
import os
import shlex
import shutil
import socket
import stat
from importlib import resources
from pathlib import Path

import pytest
from bash import HOSTILE_NAMES, NASTIEST_NAMES, output_of
from host_text import events, in_session

from transferpy.checksum import differing_paths
from transferpy.commands import Command, render_command
from transferpy.pipelines import archive

TOP = "x 'y'\n"
DIGESTER = shlex.quote(str(resources.files("transferpy") / "digest.pl"))


def make_tree(top: Path) -> None:
    top.mkdir()
    for number, name in enumerate(HOSTILE_NAMES):
        (top / name).mkdir(mode=0o751)
        (top / name / name).write_bytes(os.fsencode(name) * number)
        (top / name / name).chmod(0o600 + number % 8)
        (top / name / "link").symlink_to(f"../{name}")
        (top / name / "second").hardlink_to(top / name / name)
    os.mkfifo(top / "fifo", 0o640)
    (top / "empty directory").mkdir(mode=0o1777)
    (top / "empty file").touch(mode=0o4755)
    (top / "mode 0").touch(mode=0)


def listed(directory: Path, top: str = TOP) -> list[str]:
    """Return the records that a session lists for ``directory/top``."""
    lists = [str(directory / "run" / name) for name in ("manifest", "stamps")]
    (directory / "run").mkdir(exist_ok=True)
    assert in_session(directory, f"{render_command(Command(('list_tree', top, *lists)))}; echo $?") == b"0\n"
    return Path(lists[0]).read_bytes().decode(errors="surrogateescape").split("\0")[:-1]


def digested(directory: Path, top: str = TOP, *, tool: str = "md5sum", role: str = "source") -> list[str]:
    """Return the records that a session digests, when tar has read ``directory/top``."""
    (directory / "run").mkdir(exist_ok=True)
    script = f"""
        digest_tool=({tool}) digester=$(<{DIGESTER})
        {render_command(archive(top, indexed=True))} >/dev/null
        : >"$run_directory/members.end"
        digest_files {role} 2>/dev/null && cat -- "$run_directory/digests"
    """
    return in_session(directory, script).decode(errors="surrogateescape").split("\0")[:-1]


def expected_record(path: Path, name: str) -> str:
    status = path.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    owner = f"{status.st_uid} {status.st_gid}"
    if path.is_symlink():
        return f"l - {owner} {status.st_size} {name} -> {path.readlink()}"
    if path.is_file():
        return f"f {mode} {owner} {status.st_size} {name}"
    return f"{'d' if path.is_dir() else 'p'} {mode} {owner} - {name}"


def everything(directory: Path) -> list[tuple[Path, str]]:
    paths = [directory / TOP, *(directory / TOP).rglob("*")]
    return [(path, f"./{os.fspath(path.relative_to(directory))}") for path in paths]


def in_byte_order(records: list[str]) -> list[str]:
    return sorted(records, key=os.fsencode)


def test_the_manifest_has_a_record_of_everything(tmp_path: Path) -> None:
    make_tree(tmp_path / TOP)
    assert listed(tmp_path) == in_byte_order([expected_record(*entry) for entry in everything(tmp_path)])


def test_the_digests_have_a_record_of_every_file(tmp_path: Path) -> None:
    make_tree(tmp_path / TOP)
    (tmp_path / TOP / "mode 0").unlink()  # who is not root cannot read it
    digest: dict[str, str] = {}
    met: set[int] = set()
    for path, name in sorted(everything(tmp_path), key=lambda entry: os.fsencode(entry[1])):
        # Of a file with several names, tar meets the first; the others are one more name of it.
        if path.is_file() and not path.is_symlink() and path.stat().st_ino not in met:
            met.add(path.stat().st_ino)
            digest[name] = hashlib.md5(path.read_bytes()).hexdigest()
    assert digested(tmp_path) == in_byte_order([f"{digest[name]} {name}" for name in digest])


@pytest.mark.parametrize("tool", ["md5sum", "sha256sum", "xxh128sum", "b3sum --num-threads 1"])
@pytest.mark.parametrize("role", ["source", "target"])
def test_every_tool_tells_what_differs(tmp_path: Path, tool: str, role: str) -> None:
    make_tree(tmp_path / TOP)
    before = digested(tmp_path, tool=tool, role=role)
    assert len({record.partition(" ")[0] for record in before}) >= len(HOSTILE_NAMES)
    (tmp_path / TOP / "-rf" / "-rf").write_bytes(b"?" * (tmp_path / TOP / "-rf" / "-rf").stat().st_size)
    assert {*differing_paths(before, digested(tmp_path, tool=tool, role=role))} == {f"{TOP}/-rf/-rf"}


SEGMENT = 256 << 20


def test_a_large_file_is_digested_in_segments_and_its_holes_by_a_word(tmp_path: Path) -> None:
    with (tmp_path / TOP).open("wb") as file:
        file.truncate(2 * SEGMENT + 5)
        file.seek(2 * SEGMENT + 1)
        file.write(b"x")
    end = hashlib.md5(b"\0x\0\0\0").hexdigest()
    assert digested(tmp_path) == in_byte_order([f"zeros {n} ./{TOP}" for n in (0, 1)] + [f"{end} 2 ./{TOP}"])


def test_zeros_that_are_written_are_no_other_than_a_hole(tmp_path: Path) -> None:
    (tmp_path / "hole").mkdir()
    (tmp_path / "written").mkdir()
    for directory in ("hole", "written"):
        with (tmp_path / directory / "x").open("wb") as file:
            file.truncate(SEGMENT + (3 << 20))
            file.seek(SEGMENT + (2 << 20))
            file.write(b"x")
            file.seek(SEGMENT)
            file.write(b"\0" * (2 << 20) if directory == "written" else b"")
    assert digested(tmp_path / "hole", "x") == digested(tmp_path / "written", "x")


def test_a_file_of_just_a_segment_is_one_of_the_small_ones(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(SEGMENT)
    ((digest, name),) = (record.split(" ") for record in digested(tmp_path, "x"))
    assert (len(digest), name) == (32, "./x")


def test_what_is_no_file_any_more_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").touch()
    script = f"""
        digest_tool=(md5sum) digester=$(<{DIGESTER})
        {render_command(archive("x", indexed=True))} >/dev/null
        : >"$run_directory/members.end"
        rm x/file && mkfifo x/file
        digest_files source 2>&1; echo $?
    """
    assert in_session(tmp_path, script) == b"./x/file is not a regular file any more\n1\n"


def test_names_that_tar_does_not_tell_whole_are_an_error(tmp_path: Path) -> None:
    script = f"""
        digest_tool=(md5sum) digester=$(<{DIGESTER})
        printf %s '-rw-r--r-- 0/0 1 2026-01-01 00:00 ./cut sho' >"$run_directory/members"
        : >"$run_directory/members.end"
        digest_files source 2>&1 | sed 's,/.*/,,'; echo "${{PIPESTATUS[0]}}"
    """
    assert in_session(tmp_path, script) == b"the last line of members is not whole\n1\n"


@pytest.mark.parametrize(("files", "says"), [(1, ["digests"]), (2, ["error"]), (0, ["error"])])
def test_digests_of_other_files_than_there_are_count_for_nothing(tmp_path: Path, files: int, says: list[str]) -> None:
    script = f"""
        printf 'd 755 0 0 - ./x\\nf y\\0f 644 0 0 1 ./x/y\\0' >"$run_directory/manifest"
        : >"$run_directory/manifest.links"
        printf 'digest ./x/y\\0' >"$run_directory/digests"
        echo {files} >"$run_directory/digests.count"
        ended[digest]=0
        (report_digests) || true
    """
    assert [event.name for event in events(in_session(tmp_path, script))] == says


def test_digests_of_more_files_than_one_call_takes_are_all_there(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    for number in range(1201):
        (tmp_path / TOP / f"{number}").write_text(str(number))
    names = {record.partition(" ")[2]: record.partition(" ")[0] for record in digested(tmp_path)}
    assert names == {f"./{TOP}/{n}": hashlib.md5(str(n).encode()).hexdigest() for n in range(1201)}


@pytest.mark.parametrize("name", NASTIEST_NAMES)
def test_a_tree_can_be_one_file_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("content")
    (tmp_path / name).chmod(0o644)
    assert listed(tmp_path, name) == [expected_record(tmp_path / name, f"./{name}")]
    assert digested(tmp_path, name) == [f"{hashlib.md5(b'content').hexdigest()} ./{name}"]


def test_a_tree_without_files_has_no_digests(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    (tmp_path / TOP / "link").symlink_to("/etc/passwd")
    assert digested(tmp_path) == []


def test_sockets_are_no_part_of_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / TOP).mkdir()
    monkeypatch.chdir(tmp_path / TOP)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    assert listed(tmp_path) == [expected_record(tmp_path / TOP, f"./{TOP}")]


def test_no_directory_is_no_list(tmp_path: Path) -> None:
    script = 'list_tree none "$run_directory/m" "$run_directory/s" 2>&1; echo $?'
    assert in_session(tmp_path, script).decode() == "find: './none': No such file or directory\n1\n"


def test_a_file_that_cannot_be_digested_fails_all_of_it(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    for number in range(50):
        (tmp_path / TOP / f"{number}").write_text("x" * (number != 7))
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shutil.which("md5sum")
    (tools / "md5sum").write_text(f'#!/bin/sh\nfor file; do [ -s "$file" ] || exit 1; done\nexec {real} "$@"\n')
    (tools / "md5sum").chmod(0o755)
    script = f"""
        PATH={tools}:$PATH digest_tool=(md5sum) digester=$(<{DIGESTER})
        {render_command(archive(TOP, indexed=True))} >/dev/null
        : >"$run_directory/members.end"
        digest_files source 2>/dev/null; echo $?; [ -e "$run_directory/digests" ] || echo no list
    """
    assert in_session(tmp_path, script) == b"1\nno list\n"


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ("rm 'empty file'", {"empty file"}),
        ("touch $'new\\nfile'", {"new\nfile"}),
        ("truncate -s 1 '*/*'", {"*/*", "*/second"}),
        ("chmod 600 fifo", {"fifo"}),
        ("ln -sfn elsewhere '*/link'", {"*/link -> ../*", "*/link -> elsewhere"}),
        ("rm fifo; touch fifo; chmod 640 fifo", {"fifo"}),
        ("rmdir 'empty directory'; ln -s . 'empty directory'", {"empty directory", "empty directory -> ."}),
        ("rm -r '#comment'", {"#comment", "#comment/#comment", "#comment/second", "#comment/link -> ../#comment"}),
    ],
)
def test_what_differs_is_named_and_nothing_else(tmp_path: Path, change: str, paths: set[str]) -> None:
    make_tree(tmp_path / TOP)
    before = listed(tmp_path)
    assert listed(tmp_path) == before
    assert output_of(change, cwd=tmp_path / TOP) == b""
    assert {*differing_paths(before, listed(tmp_path))} == {f"{TOP}/{path}" for path in paths}


def test_the_same_size_with_another_content_shows_in_the_digests_only(tmp_path: Path) -> None:
    make_tree(tmp_path / TOP)
    (tmp_path / TOP / "mode 0").unlink()
    manifest, digests = listed(tmp_path), digested(tmp_path)
    (tmp_path / TOP / "-rf" / "-rf").write_bytes(b"?" * (tmp_path / TOP / "-rf" / "-rf").stat().st_size)
    assert listed(tmp_path) == manifest
    assert {*differing_paths(digests, digested(tmp_path))} == {f"{TOP}/-rf/-rf"}


def test_a_list_is_reported_by_its_digest_and_its_length(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\nb\0c\0")
    (event,) = events(in_session(tmp_path, "report_list manifest list"))
    assert (event.name, event.fields) == (
        "manifest",
        {"digest": hashlib.sha256(b"a\nb\0c\0").hexdigest(), "entries": "2"},
    )
