"""What sessions say of a tree: every name as it is, every difference shown, the same list for the same tree."""

import hashlib
import os
import shutil
import socket
import stat
from pathlib import Path

import pytest
from bash import HOSTILE_NAMES, NASTIEST_NAMES, output_of
from host_text import events, in_session

from transferpy.checksum import differing_paths
from transferpy.commands import Command, render_command

TOP = "x 'y'\n"


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


def digested(directory: Path, top: str = TOP) -> list[str]:
    output = str(directory / "run" / "digests")
    (directory / "run").mkdir(exist_ok=True)
    assert in_session(directory, f"{render_command(Command(('digest_tree', top, output)))}; echo $?") == b"0\n"
    return Path(output).read_bytes().decode(errors="surrogateescape").split("\0")[:-1]


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
    files = [(path, name) for path, name in everything(tmp_path) if path.is_file() and not path.is_symlink()]
    digest = {name: hashlib.md5(path.read_bytes()).hexdigest() for path, name in files}
    assert digested(tmp_path) == in_byte_order([f"{digest[name]}  {name}" for _, name in files])


def test_digests_of_more_files_than_one_call_takes_are_all_there(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    for number in range(1201):
        (tmp_path / TOP / f"{number}").write_text(str(number))
    names = {record.partition("  ")[2]: record.partition("  ")[0] for record in digested(tmp_path)}
    assert names == {f"./{TOP}/{n}": hashlib.md5(str(n).encode()).hexdigest() for n in range(1201)}


@pytest.mark.parametrize("name", NASTIEST_NAMES)
def test_a_tree_can_be_one_file_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("content")
    (tmp_path / name).chmod(0o644)
    assert listed(tmp_path, name) == [expected_record(tmp_path / name, f"./{name}")]
    assert digested(tmp_path, name) == [f"{hashlib.md5(b'content').hexdigest()}  ./{name}"]


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
    script = """
        list_tree none "$run_directory/m" "$run_directory/s" 2>&1; echo $?
        digest_tree none "$run_directory/d" 2>&1; echo $?
    """
    complaint = "find: './none': No such file or directory"
    assert in_session(tmp_path, script).decode() == f"{complaint}\n1\n{complaint}\n1\n"


def test_a_file_that_cannot_be_digested_fails_all_of_it(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    for number in range(50):
        (tmp_path / TOP / f"{number}").touch()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "md5sum").write_text(f'#!/bin/sh\ncase "$*" in */7*) exit 1 ;; esac\nexec {shutil.which("md5sum")} "$@"\n')
    (tools / "md5sum").chmod(0o755)
    digest = render_command(Command(("digest_tree", TOP)))
    script = f'{digest} "$run_directory/d" 2>/dev/null; echo $?; [ -e "$run_directory/d" ] || echo no list'
    assert in_session(tmp_path, f"PATH={tools}:$PATH; {script}") == b"123\nno list\n"


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
    assert {*differing_paths(digests, digested(tmp_path))} == {f"{TOP}/-rf/-rf", f"{TOP}/-rf/second"}


def test_a_list_is_reported_by_its_digest_and_its_length(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\nb\0c\0")
    (event,) = events(in_session(tmp_path, "report_list manifest list"))
    assert (event.name, event.fields) == (
        "manifest",
        {"digest": hashlib.sha256(b"a\nb\0c\0").hexdigest(), "entries": "2"},
    )
