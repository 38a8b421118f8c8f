"""The lists of a tree: every name unchanged, every difference visible, equal lists for equal trees."""

import hashlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bash import HOSTILE_NAMES, NASTIEST_NAMES, output_of
from host_text import events, in_session

from transferpy.engine.differences import differing_attributes, differing_entries, differing_paths
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_argument, render_command
from transferpy.stream.tar import archive

TOP = "x 'y'\n"
SMALL = 64 << 10
BUNDLE = 2000
SEGMENT = 64 << 20


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


def listed(directory: Path, top: str = TOP, owner: str = "") -> list[str]:
    """Return the records that a session lists for ``directory/top``."""
    (directory / "run").mkdir(exist_ok=True)
    command = Command(("list_tree", top, str(directory / "run")))
    assert in_session(directory, f"owner={owner}; {render_command(command)}; echo $?") == b"0\n"
    return records_of(directory, "manifest")


def records_of(directory: Path, name: str) -> list[str]:
    """Return the records of a list that ``listed`` has made."""
    return (directory / "run" / name).read_bytes().decode(errors="surrogateescape").split("\0")[:-1]


def digested(
    directory: Path, top: str = TOP, *, tool: str = "md5sum", mode: str = "read", before: str = ""
) -> list[str]:
    """Return the records that a session digests, when tar has read ``directory/top``, and it has run ``before``."""
    (directory / "run").mkdir(exist_ok=True)
    # If /dev/null is the output itself, tar handles files with holes in another way.
    script = f"""
        digest_tool=({tool})
        {render_command(archive(top, indexed=True))} | cat >/dev/null
        : >"$lists/members.end"
        {before}
        digest_files {mode} 2>/dev/null && cp -- "$lists"/digests.{{marks,count}} run/ &&
            cat -- "$lists/digests"
    """
    return in_session(directory, script).decode(errors="surrogateescape").split("\0")[:-1]


def marked(directory: Path) -> list[str]:
    """Return the records that name the differences, of the files that were digested last."""
    return sorted((directory / "run" / "digests.marks").read_bytes().decode(errors="surrogateescape").split("\0")[:-1])


def bundle_digest(*files: tuple[str, bytes]) -> str:
    """Return the digest of small files, by name and content: each with its length before it, in base 128."""

    def framed(text: bytes) -> bytes:
        sevens = [len(text) >> shift & 127 for shift in (14, 7, 0)]
        while len(sevens) > 1 and not sevens[0]:
            del sevens[0]
        return bytes([*(seven | 128 for seven in sevens[:-1]), sevens[-1]]) + text

    return hashlib.md5(b"".join(framed(os.fsencode(name)) + framed(content) for name, content in files)).hexdigest()


def expected_record(path: Path, name: str) -> str:
    status = path.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):o}"
    owner = f"{status.st_uid} {status.st_gid}"
    time = f"{status.st_mtime_ns // 10**9}.{status.st_mtime_ns % 10**9:09}0"
    if path.is_symlink():
        return f"{name}//l - {owner} {status.st_size} {time} -> {path.readlink()}"
    if path.is_file():
        return f"{name}//f {mode} {owner} {status.st_size} {time}"
    return f"{name}//{'d' if path.is_dir() else 'p'} {mode} {owner} - {time}"


def in_the_order_of_tar(path: Path) -> list[Path]:
    entries = sorted(path.iterdir(), key=os.fsencode) if path.is_dir() and not path.is_symlink() else []
    return [path, *(each for entry in entries for each in in_the_order_of_tar(entry))]


def everything(directory: Path) -> list[tuple[Path, str]]:
    paths = [directory / TOP, *(directory / TOP).rglob("*")]
    return [(path, f"./{os.fspath(path.relative_to(directory))}") for path in paths]


def in_byte_order(records: list[str]) -> list[str]:
    return sorted(records, key=os.fsencode)


def test_the_manifest_has_a_record_of_everything(tmp_path: Path) -> None:
    make_tree(tmp_path / TOP)
    assert listed(tmp_path) == in_byte_order([expected_record(*entry) for entry in everything(tmp_path)])


@pytest.mark.parametrize("mode", ["read", "written"])
def test_the_digests_are_those_of_every_file(tmp_path: Path, mode: str) -> None:
    make_tree(tmp_path / TOP)
    (tmp_path / TOP / "mode 0").unlink()  # a user without root rights cannot read it
    for name in ("large", "nl\n"):
        (tmp_path / TOP / name).write_bytes(os.fsencode(name) * SMALL)
    large: list[str] = []
    small: list[tuple[str, bytes]] = []
    met: set[int] = set()
    for path in in_the_order_of_tar(tmp_path / TOP):
        # Of a file with several names, tar meets the first; the others are one more name of it.
        if path.is_file() and not path.is_symlink() and path.stat().st_ino not in met:
            met.add(path.stat().st_ino)
            name, content = f"./{os.fspath(path.relative_to(tmp_path))}", path.read_bytes()
            if len(content) <= SMALL:
                small.append((name, content))
            else:
                large.append(f"{hashlib.md5(content).hexdigest()} {name}")
    bundle = f"{bundle_digest(*small)} {small[0][0]} to {small[-1][0][2:]}"
    assert digested(tmp_path, mode=mode) == in_byte_order([*large, bundle])
    assert {*large} < {*marked(tmp_path)}
    assert sorted(record.partition(" ")[2] for record in {*marked(tmp_path)} - {*large}) == sorted(n for n, _ in small)


@pytest.mark.parametrize("tool", ["md5sum", "sha256sum", "xxh128sum", "b3sum --num-threads 1"])
@pytest.mark.parametrize("mode", ["read", "written"])
def test_every_tool_finds_the_differences(tmp_path: Path, tool: str, mode: str) -> None:
    make_tree(tmp_path / TOP)
    (tmp_path / TOP / "large").write_bytes(b"x" * (SMALL + 1))
    before, marks = digested(tmp_path, tool=tool, mode=mode), marked(tmp_path)
    assert len(before) == 2
    assert len({record.partition(" ")[0] for record in marks}) >= len(HOSTILE_NAMES)
    for name in ("-rf/-rf", "large"):
        path = tmp_path / TOP / name
        path.write_bytes(b"?" * path.stat().st_size)
    assert not {*before} & {*digested(tmp_path, tool=tool, mode=mode)}
    assert {*differing_paths(marks, marked(tmp_path))} == {f"{TOP}/-rf/-rf", f"{TOP}/large"}


def change_of_a_bit(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def change_of_places(content: bytes) -> bytes:
    return content[4096:8192] + content[:4096] + content[8192:]


@pytest.mark.parametrize("change", [change_of_a_bit, change_of_places])
def test_of_many_small_files_the_one_that_differs_is_named(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    (tmp_path / "x").mkdir()
    for number in range(2 * BUNDLE):
        (tmp_path / "x" / f"{number}").write_text(str(number))
    content = bytes(range(256)) * 16 + b"tail" * 1024 + b"odd"
    (tmp_path / "x" / "one").write_bytes(content)
    before, marks = digested(tmp_path, "x"), marked(tmp_path)
    (tmp_path / "x" / "one").write_bytes(change(content))
    # Of its bundle only.
    assert len({*before} - {*digested(tmp_path, "x")}) == 1
    assert list(differing_paths(marks, marked(tmp_path))) == ["x/one"] * 2


def test_bytes_that_move_from_a_small_file_to_the_next_change_the_digest(tmp_path: Path) -> None:
    digests = set()
    for number, contents in enumerate((("ab", "c"), ("a", "bc"), ("a", "b"))):
        directory = tmp_path / str(number)
        (directory / "x").mkdir(parents=True)
        for name, content in zip("pq", contents, strict=True):
            (directory / "x" / name).write_text(content)
        digests |= {*digested(directory, "x")}
    assert len(digests) == 3


def test_a_small_file_that_has_grown_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").write_text("content")
    script = f"""
        digest_tool=(md5sum)
        {render_command(archive("x", indexed=True))} >/dev/null
        : >"$lists/members.end"
        printf more >>x/file
        digest_files read && cat -- "$lists/digests"
    """
    assert in_session(tmp_path, script).decode() != f"{bundle_digest(('./x/file', b'content'))} ./x/file to x/file\0"


def test_which_small_files_share_a_digest_is_no_matter_of_time(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for number in range(9):
        (tmp_path / "x" / f"{number}").write_text(str(number))
    files = [(f"./x/{number}", str(number).encode()) for number in range(9)]
    # Longer than the second after which the digester processes an incomplete bundle.
    script = f"""
        digest_tool=(md5sum)
        {render_command(archive("x", indexed=True))} >/dev/null
        mv -- "$lists/members" "$lists/whole"
        head -n 5 -- "$lists/whole" >"$lists/members"
        {{
            sleep 2.5
            tail -n +6 -- "$lists/whole" >>"$lists/members"
            : >"$lists/members.end"
        }} &
        digest_files read && cat -- "$lists/digests"
    """
    assert in_session(tmp_path, script).decode() == f"{bundle_digest(*files)} ./x/0 to x/8\0"


def test_a_small_file_is_not_kept_waiting_by_all_the_large_ones_behind_it(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for name, size in (("a", 1), ("b", 64 << 20), ("c", 1)):
        with (tmp_path / "x" / name).open("wb") as file:
            file.truncate(size)
    names = [record.partition(" ")[2] for record in digested(tmp_path, "x")]
    assert sorted(names) == ["./x/a to x/a", "./x/b", "./x/c to x/c"]


def test_a_large_file_is_digested_in_segments_and_its_holes_by_a_word(tmp_path: Path) -> None:
    with (tmp_path / TOP).open("wb") as file:
        file.truncate(2 * SEGMENT + 5)
        file.seek(2 * SEGMENT + 1)
        file.write(b"x")
    end = hashlib.md5(b"\0x\0\0\0").hexdigest()
    assert digested(tmp_path) == in_byte_order([f"zeros 2 ./{TOP}", f"{end} 2 ./{TOP}"])


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


# With copy_file_range of the kernel, whose number is known for some machines, and without it.
@pytest.mark.parametrize("numbers", ["x86_64 => ", "another => "])
def test_every_byte_of_a_large_file_counts(tmp_path: Path, numbers: str) -> None:
    content = bytes(SEGMENT + 4321) + os.urandom(5_000_001) + bytes(SEGMENT) + os.urandom(70_001)
    (tmp_path / TOP).write_bytes(content)
    script = f"""
        digest_tool=(md5sum) perl_digest=${{perl_digest/x86_64 => /{numbers}}}
        {render_command(archive(TOP, indexed=True))} >/dev/null
        : >"$lists/members.end"
        digest_files read && cat -- "$lists/digests"
    """
    parts = (content[start : start + SEGMENT] for start in range(0, len(content), SEGMENT))
    digests = [f"{hashlib.md5(part).hexdigest()} {number} ./{TOP}" for number, part in enumerate(parts) if any(part)]
    expected = in_byte_order([f"zeros 1 ./{TOP}", *digests])
    assert in_session(tmp_path, script).decode().split("\0")[:-1] == expected


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A directory on a tmpfs, on which a file can have the maximum size."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


EXBIBYTE = 1 << 60
LIMITED = "ulimit -v 200000;"  # kilobytes: no process may use as much memory as the segments of a huge file need


@pytest.mark.parametrize("mode", ["read", "written"])
def test_the_memory_does_not_depend_on_the_size_that_a_file_claims_to_have(in_memory: Path, mode: str) -> None:
    (in_memory / "x").mkdir()
    # From 2^53 on, numbers with a fraction are no longer exact. Each piece is the last or the first byte of a segment.
    places = (SEGMENT, (1 << 53) + SEGMENT - 1, 3 * EXBIBYTE - 1, 5 * EXBIBYTE, 7 * EXBIBYTE - 2)
    for name in ("empty", "data"):
        with (in_memory / "x" / name).open("wb") as file:
            file.truncate(7 * EXBIBYTE - 1)
            for place in places if name == "data" else ():
                file.seek(place)
                file.write(b"x")
    count = 7 * EXBIBYTE // SEGMENT
    digests = []
    for place in places:
        number = place // SEGMENT
        length = SEGMENT - 1 if number == count - 1 else SEGMENT
        content = (bytes(place % SEGMENT) + b"x").ljust(length, b"\0")
        digests.append(f"{hashlib.md5(content).hexdigest()} {number} ./x/data")
    expected = [f"zeros {count} ./x/empty", f"zeros {count - len(places)} ./x/data", *digests]
    assert digested(in_memory, "x", mode=mode, before=LIMITED) == in_byte_order(expected)


@pytest.mark.parametrize("size", [7 * EXBIBYTE, 1 << 63, 10**30])
def test_a_size_that_only_the_index_claims_is_an_error(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_text("x")
    script = f"""
        digest_tool=(md5sum)
        echo '-rw-r--r-- 0/0 {size} 2026-01-01 00:00 ./x' >"$lists/members"
        : >"$lists/members.end"
        {LIMITED} digest_files written 2>&1; echo $?
    """
    assert in_session(tmp_path, script) == b"./x has become shorter\n1\n"


def test_a_line_of_the_index_without_an_end_is_an_error(tmp_path: Path) -> None:
    script = f"""
        digest_tool=(md5sum)
        head -c 1G /dev/zero | tr '\\0' x >members &
        ln -s "$PWD/members" "$lists/members"
        wait
        {LIMITED} digest_files written 2>&1 | sed 's,/.*/,,'; echo "${{PIPESTATUS[0]}}"
    """
    assert in_session(tmp_path, script) == b"a line of members is too long\n1\n"


def test_a_hole_that_is_read_and_one_that_is_passed_over_have_one_record(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(3 * SEGMENT)
        file.seek(2 * SEGMENT)
        file.write(b"x")
    records = digested(tmp_path, "x")
    assert (len(records), records[-1]) == (2, "zeros 2 ./x")
    assert digested(tmp_path, "x", before="perl_digest=${perl_digest/fstatfs =>/none =>}") == records


def test_a_file_of_just_a_segment_is_digested_as_one(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(SEGMENT)
    ((digest, name),) = (record.split(" ") for record in digested(tmp_path, "x"))
    assert (len(digest), name) == (32, "./x")


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1])
def test_an_entry_that_is_no_longer_a_file_is_reported(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "file").write_bytes(bytes(size))
    script = f"""
        digest_tool=(md5sum)
        {render_command(archive("x", indexed=True))} >/dev/null
        : >"$lists/members.end"
        rm x/file && mkfifo x/file
        digest_files read 2>&1; echo $?
    """
    assert in_session(tmp_path, script) == b"./x/file is no longer a regular file\n1\n"


def test_names_that_tar_truncates_are_an_error(tmp_path: Path) -> None:
    script = """
        digest_tool=(md5sum)
        printf %s '-rw-r--r-- 0/0 1 2026-01-01 00:00 ./cut sho' >"$lists/members"
        : >"$lists/members.end"
        digest_files read 2>&1 | sed 's,/.*/,,'; echo "${PIPESTATUS[0]}"
    """
    assert in_session(tmp_path, script) == b"the last line of members is incomplete\n1\n"


@pytest.mark.parametrize(
    "line",
    [
        "-rw-r--r-- 0/0 1 2026-01-01 00:00 x",  # without the directory
        "-rw-r--r-- root/root 1 2026-01-01 00:00 ./x",
        "-rw-r--r-- 0/0 1 01.01.2026 ./x",
        "Crw-r--r-- 0/0 1 2026-01-01 00:00 ./x",
        "tar: an odd thing happened",
        "",
    ],
)
def test_a_line_of_the_index_in_another_format_is_an_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "x").write_text("x")
    script = f"""
        digest_tool=(md5sum)
        printf '%s\n' {render_argument(line)} '-rw-r--r-- 0/0 1 2026-01-01 00:00 ./x' >"$lists/members"
        : >"$lists/members.end"
        digest_files read 2>&1; echo $?
    """
    assert in_session(tmp_path, script) == f"tar printed an unknown line: {line}\n1\n".encode()


def test_files_are_digested_whatever_their_times(in_memory: Path) -> None:
    top = in_memory / "x"
    top.mkdir()
    # tar prints the largest one as a number, and puts spaces behind those that follow it.
    times = [-(10**16), -1, 0, 1 << 31, 67768036191676800, 1]
    for number, seconds in enumerate(times):
        path = top / f"{number}  2026-01-01 00:00 .%"
        path.write_text(f"{number}")
        subprocess.run(["touch", "-d", f"@{seconds}", path], check=True)
    files = [(f"./x/{path.name}", path.read_bytes()) for path in in_the_order_of_tar(top) if path.is_file()]
    assert digested(in_memory, "x") == [f"{bundle_digest(*files)} {files[0][0]} to {files[-1][0][2:]}"]


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("tar: ./x: Warning: Cannot flistxattr: Operation not supported", []),
        ("tar: ./x: Warning: Cannot flistxattr: Input/output error", ["error"]),
        ("tar: an odd thing happened", ["error"]),
    ],
)
def test_a_file_system_without_attributes_is_no_fault_of_the_source(
    tmp_path: Path, printed: str, expected: list[str]
) -> None:
    script = f"""
        source_is_unchanged() {{ :; }}; report_lists() {{ :; }}
        echo {render_argument(printed)} >"$run_directory/send_0.0.err"
        (check_source_file send_0) || true
    """
    assert [event.name for event in events(in_session(tmp_path, script))] == expected


@pytest.mark.parametrize(("files", "expected"), [(1, ["digests"]), (2, ["error"]), (0, ["error"])])
def test_digests_of_other_files_than_there_are_count_for_nothing(
    tmp_path: Path, files: int, expected: list[str]
) -> None:
    script = f"""
        printf './x\\n.//d 755 0 0 - 1.0\\0./x/y//f 644 0 0 1 1.0\\0./x/z//l - 0 0 1 1.0 -> y//f \\0' >"$lists/manifest"
        : >"$lists/links"
        printf 'digest ./x/y\\0' >"$lists/digests"
        echo {files} >"$lists/digests.count"
        task_statuses[digest]=0
        (report_digests) || true
    """
    assert [event.name for event in events(in_session(tmp_path, script))] == expected


def test_digests_of_more_files_than_one_call_takes_are_all_there(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    for number in range(901):
        (tmp_path / TOP / f"{number}").write_text(str(number).rjust(SMALL + 1))
    names = {record.partition(" ")[2]: record.partition(" ")[0] for record in digested(tmp_path)}
    expected = {number: hashlib.md5(str(number).encode().rjust(SMALL + 1)).hexdigest() for number in range(901)}
    assert names == {f"./{TOP}/{number}": expected[number] for number in expected}


def test_small_files_of_more_than_one_bundle_are_all_there(tmp_path: Path) -> None:
    (tmp_path / TOP).mkdir()
    files = [(f"./{TOP}/{number:04}", str(number).encode()) for number in range(2 * BUNDLE + 1)]
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    bundles = [files[:BUNDLE], files[BUNDLE:-1], files[-1:]]
    expected = [f"{bundle_digest(*bundle)} {bundle[0][0]} to {bundle[-1][0][2:]}" for bundle in bundles]
    assert digested(tmp_path) == digested(tmp_path, mode="written") == in_byte_order(expected)
    assert (tmp_path / "run" / "digests.count").read_text() == f"{len(files)}\n"


@pytest.mark.parametrize("name", NASTIEST_NAMES)
def test_a_tree_can_be_one_file_of_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("content")
    (tmp_path / name).chmod(0o644)
    assert listed(tmp_path, name) == [expected_record(tmp_path / name, f"./{name}")]
    assert digested(tmp_path, name) == [f"{bundle_digest((f'./{name}', b'content'))} ./{name} to {name}"]


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
    script = 'list_tree none "$lists" 2>&1; echo $?'
    assert in_session(tmp_path, script).decode() == "find: './none': No such file or directory\n1\n"


@pytest.mark.parametrize("size", [1, SMALL + 1])
def test_a_tool_that_fails_fails_all_of_it(tmp_path: Path, size: int) -> None:
    (tmp_path / TOP).mkdir()
    for number in range(50):
        (tmp_path / TOP / f"{number}").write_text("x" * size)
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shutil.which("md5sum")
    (tools / "md5sum").write_text(f'#!/bin/sh\n{real} "$@"\nexit 3\n')
    (tools / "md5sum").chmod(0o755)
    script = f"""
        PATH={tools}:$PATH digest_tool=(md5sum)
        {render_command(archive(TOP, indexed=True))} >/dev/null
        : >"$lists/members.end"
        digest_files read 2>&1; echo $?; [ -e "$lists/digests" ] || echo no list
    """
    assert in_session(tmp_path, script) == b"md5sum failed with status 3, see above\n1\nno list\n"


@pytest.mark.parametrize(
    ("change", "differences"),
    [
        ("rm 'empty file'", [" (time)", "empty file (missing)"]),
        ("touch $'new\\nfile'", [" (time)", "new\nfile (not in the source)"]),
        ("truncate -s 1 '*/*'", ["*/* (size, time)", "*/second (size, time)"]),
        ("chmod 600 fifo", ["fifo (mode)"]),
        ("touch -d @1700000000.000000001 fifo", ["fifo (time)"]),
        ("touch -hd @-1.000000001 '*/link'", ["*/link (time)"]),
        ("touch -d '2040-01-01' 'empty directory'", ["empty directory (time)"]),
        ("ln -sfn elsewhere '*/link'", ["* (time)", "*/link (size, time, link)"]),
        ("rm fifo; touch fifo; chmod 640 fifo", [" (time)", "fifo (kind, size, time)"]),
        (
            "rmdir 'empty directory'; ln -s . 'empty directory'",
            [" (time)", "empty directory (kind, mode, size, time, link)"],
        ),
        (
            "rm -r '#comment'",
            [" (time)", *(f"#comment{n} (missing)" for n in ("", "/#comment", "/link", "/second"))],
        ),
    ],
)
def test_only_the_differences_are_named(tmp_path: Path, change: str, differences: list[str]) -> None:
    make_tree(tmp_path / TOP)
    before = listed(tmp_path)
    assert listed(tmp_path) == before
    assert output_of(change, cwd=tmp_path / TOP) == b""
    found = [str(each).removeprefix(TOP).removeprefix("/") for each in differing_entries(before, listed(tmp_path))]
    assert sorted(found) == sorted(differences)


def test_a_device_is_listed_with_its_number(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can make a device")
    numbers = {"a": 0x0105, "b": os.makedev(1, 300), "c": os.makedev(4095, 1)}
    for name, number in numbers.items():
        (tmp_path / TOP).mkdir(exist_ok=True)
        os.mknod(tmp_path / TOP / name, stat.S_IFBLK | 0o600, number)
    records = listed(tmp_path)[1:]
    assert [record.split(" ")[-2] for record in records] == [str(number) for number in numbers.values()]


@pytest.mark.parametrize(("owner", "columns"), [("daemon", ["-", "0"]), ("daemon:sys", ["-", "-"]), ("", ["0", "0"])])
def test_owners_that_the_copy_does_not_get_are_not_listed(tmp_path: Path, owner: str, columns: list[str]) -> None:
    (tmp_path / "x").mkdir()
    (record,) = listed(tmp_path, "x", owner)
    expected = [{"0": str(os.geteuid())}.get(column, column) for column in columns]
    assert record.split(" ")[2:4] == expected


def test_the_attributes_are_those_of_every_kind_of_entry(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can set attributes of all name spaces")
    top = tmp_path / TOP
    make_tree(top)
    os.setxattr(top / "empty file", "user.large", b"\0\n" * 1500)
    os.setxattr(top / "empty file", "user.a./b //c", b"")
    os.setxattr(top / "*" / "link", "trusted.of link", b"v", follow_symlinks=False)
    os.setxattr(top / "fifo", "trusted.x", b"1")
    os.setxattr(top / "empty directory", "user.x", b"2")
    commands: tuple[tuple[str | Path, ...], ...] = (
        ("setcap", "cap_net_raw+ep", top / "mode 0"),
        ("setfacl", "-m", "u:5:r", top / "-rf"),
        ("setfacl", "-d", "-m", "u:5:r", top / "-rf"),
    )
    for command in commands:
        subprocess.run([os.fspath(word) for word in command], check=True)
    listed(tmp_path)
    found = [record.removeprefix(f"./{TOP}/").rpartition(" ")[::2] for record in records_of(tmp_path, "attributes")]
    acls = [value for name, value in found if name.startswith("-rf//system.posix_acl_")]
    assert [name for name, _ in found if "acl" in name] == [
        "-rf//system.posix_acl_access",
        "-rf//system.posix_acl_default",
    ]
    assert all("02000400050000" in value for value in acls)
    assert dict(found) | {"-rf//system.posix_acl_access": "", "-rf//system.posix_acl_default": ""} == {
        "-rf//system.posix_acl_access": "",
        "-rf//system.posix_acl_default": "",
        "*/link//trusted.of link": "76",
        "empty directory//user.x": "32",
        "empty file//user.a./b //c": "",
        "empty file//user.large": "000a" * 1500,
        "fifo//trusted.x": "31",
        "mode 0//security.capability": "0100000200200000000000000000000000000000",
    }


def test_every_difference_of_attributes_is_named(tmp_path: Path) -> None:
    top = tmp_path / TOP
    make_tree(top)
    for name in ("-rf/-rf", "empty file"):
        os.setxattr(top / name, "user.a", b"1")
    listed(tmp_path)
    before = records_of(tmp_path, "attributes")
    os.setxattr(top / "-rf" / "-rf", "user.a", b"2")
    os.removexattr(top / "empty file", "user.a")
    os.setxattr(top / "empty directory", "user.a./b //c", b"")
    listed(tmp_path)
    found = {*differing_attributes(before, records_of(tmp_path, "attributes"))}
    names = {"-rf/-rf (user.a)", "-rf/second (user.a)", "empty file (user.a)", "empty directory (user.a./b //c)"}
    assert found == {f"{TOP}/{name}" for name in names}


# No file system of a test refuses to read an attribute. The number of a system call that does not exist fails.
@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("lgetxattr", "cannot read the extended attribute user.a of ./x: "),
        ("llistxattr", "cannot list the extended attributes of ./x: "),
    ],
)
def test_an_attribute_that_cannot_be_read_fails_the_list_and_its_file_is_named(
    tmp_path: Path, call: str, message: str
) -> None:
    (tmp_path / "x").touch()
    os.setxattr(tmp_path / "x", "user.a", b"1")
    script = f"""
        owner=
        perl_manifest=$(sed 's/{call} => [0-9]*/{call} => 4000/g' <<<"$perl_manifest")
        list_tree x "$lists" 2>&1; echo $?
    """
    reported, status = in_session(tmp_path, script).decode().splitlines()
    assert reported.startswith(message)
    assert status != "0"


def test_only_inode_numbers_that_stay_the_same_are_stamps(tmp_path: Path) -> None:
    record = "./x//{} 7:4711 1 8 1.5 f 644 0 0 5 2.5 \\0"
    stable, unstable = ("ext2", "ext4", "xfs", "btrfs", "tmpfs"), ("fuse.sshfs", "fuse", "nfs4", "overlay", "unknown")
    records = "".join(record.format(file_system) for file_system in (*stable, *unstable))
    script = f"""printf '{records}' | perl -e "$perl_manifest" /dev/null /dev/stdout /dev/null /dev/null"""
    stamps = in_session(tmp_path, script).decode().split("\0")[:-1]
    assert stamps == ["./x//4711 1.5"] * len(stable) + ["./x//- 1.5"] * len(unstable)


def test_the_same_size_with_another_content_shows_in_the_digests_only(tmp_path: Path) -> None:
    make_tree(tmp_path / TOP)
    (tmp_path / TOP / "mode 0").unlink()
    manifest, digests = listed(tmp_path), digested(tmp_path)
    path = tmp_path / TOP / "-rf" / "-rf"
    status = path.stat()
    path.write_bytes(b"?" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert listed(tmp_path) == manifest
    assert digested(tmp_path) != digests


def test_a_list_is_reported_by_its_digest_and_its_length(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\nb\0c\0")
    (event,) = events(in_session(tmp_path, "report_list manifest list"))
    assert (event.name, event.fields) == (
        "manifest",
        {"digest": hashlib.sha256(b"a\nb\0c\0").hexdigest(), "entries": "2"},
    )


def test_a_sample_is_no_larger_because_a_file_has_grown(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(1 << 43)
    script = """
        printf './x//f 644 0 0 %s 1.5\\0' "$((1 << 43))" >list
        perl -e "$perl_sample" -- list 4711 | wc -c
    """
    assert int(in_session(tmp_path, script)) == 4 << 20
