"""The digests of hot copies: the real mbstream unpacks all streams, and every difference on the disk is found."""

import hashlib
import os
import random
import re
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from bash import FILE, run_bash
from host_text import TIMEOUT, session_script
from waiting import wait_until
from xbstream import REPLACES, chunk, end, file, part, remove, rename, seek

from transferpy import MariaDB
from transferpy.host import perl_program
from transferpy.stream.commands import Command
from transferpy.stream.digests import digest_command
from transferpy.stream.pipelines import receiver, sender
from transferpy.stream.renderer import render_pipeline_function

HEAD = 64 << 10
FOLIO = 2 << 20
PIECE = 16 << 20
SIZES = (0, 1, 1000, HEAD - 1, HEAD, HEAD + 1, 2 * HEAD, 200_000)


def data(size: int, seed: int = 0) -> bytes:
    return random.Random(f"{size} {seed}").randbytes(size)


@dataclass(frozen=True)
class Result:
    """What the two ends have made of a stream."""

    statuses: list[str]  # of the stages of the sender, and of those of the receiver
    lists: list[list[str]]  # the records of the source, and those of the target
    stderr: str

    def names_that_differ(self) -> set[str]:
        source, target = map(set, self.lists)
        return {record.partition("./")[2] for record in source ^ target}


def copied(directory: Path, stream: bytes, *, damage: str = "") -> Result:
    """Send a stream, unpack it in ``directory/copy``, and digest it at the same time, or after the damage."""
    (directory / "stream").write_bytes(stream)
    (directory / "copy").mkdir()
    digest = digest_command("md5")
    read = (Command(("cat", str(directory / "stream"))), MariaDB.digest_stream(digest, 2))
    unpack = (MariaDB.check_stream(indexed=True), MariaDB.unpack("mbstream"))
    script = f"""
        digest_tool=({" ".join(map(str, digest.argv))})
        {render_pipeline_function("send_0", sender(read, None, FILE, None))}
        {render_pipeline_function("receive", receiver(unpack, None, FILE, None))}
        keep() {{ sort_digests && mv -- "$lists/digests" {directory}/"$1.list" && rm -- "$lists/digests.unsorted"; }}
        send_0
        echo "${{statuses[*]}}"
        keep source
        cd copy
        {'digest_copy_xtrabackup 2>"$run_directory/digest.err" & digester=$!' if not damage else ""}
        receive
        echo "${{statuses[*]}}"
        {damage}
        : >"$lists/members.end"
        {"wait $digester" if not damage else 'digest_copy_xtrabackup 2>"$run_directory/digest.err"'}
        keep target
        cat "$run_directory"/*.err >&2
    """
    result = run_bash(session_script(directory, script), cwd=directory)
    lists = [
        path.read_bytes().decode().split("\0")[:-1] if (path := directory / f"{end}.list").exists() else []
        for end in ("source", "target")
    ]
    return Result(result.stdout.decode().splitlines(), lists, result.stderr.decode(errors="replace"))


def copied_well(directory: Path, stream: bytes) -> list[str]:
    """Return the records, which both ends have, of a stream that is unpacked without an error."""
    result = copied(directory, stream)
    assert (result.statuses, result.stderr) == (["0 0 0", "0 0 0"], "")
    assert result.lists[0] == result.lists[1]
    return result.lists[0]


def interleaved(files: dict[str, bytes], step: int) -> bytes:
    """Return a stream with all files at once, in parts of that size."""
    parts = [
        (offset, part(name, content[offset : offset + step], offset))
        for name, content in files.items()
        for offset in range(0, len(content), step)
    ]
    return b"".join([text for _, text in sorted(parts, key=lambda each: each[0])] + [end(name) for name in files])


# --- copies without a fault


@pytest.mark.parametrize("step", [1000, HEAD, 100_001, 1 << 20])
def test_the_records_cover_every_byte_of_every_file(tmp_path: Path, step: int) -> None:
    files = {f"d{size % 3}/t{size}.ibd": data(size) for size in SIZES}
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for record in copied_well(tmp_path, interleaved(files, step)):
        digest, text, name = record.split(" ", 2)
        name = name.removeprefix("./")
        offset, _, length = text.rpartition("+")
        place = (int(offset), int(length)) if offset else (0, min(int(length), HEAD))
        assert offset or int(length) == len(files[name])
        assert digest == hashlib.md5(files[name][place[0] : sum(place)]).hexdigest()
        found[name][place[0]] = place[1]
    assert found.keys() == files.keys()
    for name, pieces in found.items():
        ends = [offset + length for offset, length in sorted(pieces.items())]
        assert [0, *ends[:-1]] == sorted(pieces)
        assert ends[-1] == len(files[name])


def test_pieces_have_a_greatest_size(tmp_path: Path) -> None:
    records = copied_well(tmp_path, file("ibdata1", data(2 * PIECE + 5)))
    ranges = {f"{HEAD}+{PIECE - HEAD}", f"{PIECE}+{PIECE}", f"{2 * PIECE}+5"}
    assert {record.split(" ")[1] for record in records} == {str(2 * PIECE + 5), *ranges}


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        (rename("a", "c"), ["a"]),
        (rename("a", "b"), ["a", "b"]),
        (rename("b", "c") + rename("a", "b"), ["b", "a"]),
        (rename("a", "b") + remove("b"), ["a", "b", "b"]),
        (remove("a") + remove("a"), ["a"]),
        (rename("x", "a") + remove("x") + file("a", b"new", flags=REPLACES), []),
    ],
)
def test_the_names_that_files_lose_by_changes_are_listed_with_the_times_at_which_they_were_read(
    tmp_path: Path, changes: bytes, lost: list[str]
) -> None:
    before = time.time()
    stream = file("a", b"a") + file("b", b"b") + changes
    command = ["perl", "-e", perl_program("perl/digest_stream"), "digests", "lost", "2", "md5sum"]
    subprocess.run(command, cwd=tmp_path, input=stream, timeout=TIMEOUT, check=True)
    records = [record.split(" ") for record in (tmp_path / "lost").read_text().split("\0")[:-1]]
    assert [name for _, name in records] == lost
    assert all(before - 1 <= float(seconds) <= time.time() + 1 for seconds, _ in records)


def test_no_piece_ends_in_a_folio_that_a_later_part_of_its_file_writes(tmp_path: Path) -> None:
    size = 10_477_568  # of the parts of an Aria file
    records = copied_well(tmp_path, interleaved({"t.MAD": data(size + 5)}, size))
    end_of_first = size - size % FOLIO
    ranges = {f"{HEAD}+{end_of_first - HEAD}", f"{end_of_first}+{size + 5 - end_of_first}"}
    assert {record.split(" ")[1] for record in records} == {str(size + 5), *ranges}


def test_a_header_that_is_written_again_is_compared_as_it_is_at_last(tmp_path: Path) -> None:
    log = data(3 * HEAD)
    stream = part("aria_log.1", log) + seek("aria_log.1", 36) + part("aria_log.1", b"12345678", 36) + end("aria_log.1")
    head = hashlib.md5(log[:36] + b"12345678" + log[44:HEAD]).hexdigest()
    assert f"{head} {3 * HEAD} ./aria_log.1" in copied_well(tmp_path, stream)


CHANGES = {
    "renamed": (rename("d/a", "d/b"), {"d/b": "a"}),
    "renamed-twice": (rename("d/a", "d/b") + rename("d/b", "d/c"), {"d/c": "a"}),
    "renamed-and-made-again": (rename("d/a", "d/b") + file("d/a", data(70_000, 1)), {"d/b": "a", "d/a": "new"}),
    "renamed-over-another": (file("d/b", b"another") + rename("d/a", "d/b"), {"d/b": "a"}),
    "renamed-in-a-circle": (
        file("d/b", data(70_000, 1)) + rename("d/a", "d/c") + rename("d/b", "d/a") + rename("d/c", "d/b"),
        {"d/a": "new", "d/b": "a"},
    ),
    "removed": (remove("d/a"), {}),
    "removed-and-made-again": (remove("d/a") + file("d/a", data(70_000, 1)), {"d/a": "new"}),
    "replaced-by-a-shorter-one": (file("d/a", b"short", flags=REPLACES), {"d/a": "short"}),
    "replaced-twice": (
        file("d/a", b"short", flags=REPLACES) + file("d/a", data(70_000, 1), flags=REPLACES),
        {"d/a": "new"},
    ),
    "never-there": (rename("d/x", "d/y") + remove("d/z"), {"d/a": "a"}),
    "renamed-before-it-was-read": (rename("d/x", "d/a"), {"d/a": "a"}),
    "replaced-by-an-empty-one": (file("d/a", b""), {"d/a": "empty"}),
    "empty-twice": (file("d/b", b"") + file("d/b", b""), {"d/a": "a", "d/b": "empty"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_files_that_are_renamed_removed_and_replaced_are_compared_as_they_are_at_last(
    tmp_path: Path, change: str
) -> None:
    contents = {"a": data(200_000), "new": data(70_000, 1), "short": b"short", "empty": b""}
    stream, expected = CHANGES[change]
    records = copied_well(tmp_path, file("d/a", contents["a"]) + file("beside", b"x") + stream)
    heads = {name: f"{hashlib.md5(text[:HEAD]).hexdigest()} {len(text)}" for name, text in contents.items()}
    expected_heads = {f"{heads[content]} ./{name}" for name, content in expected.items()}
    assert expected_heads == {record for record in records if "+" not in record and "beside" not in record}
    assert {path.name for path in (tmp_path / "copy/d").iterdir()} == {name[2:] for name in expected}


def test_a_file_that_ends_behind_a_rename_is_unpacked(tmp_path: Path) -> None:
    """mbstream itself reports an invalid checksum of the new name."""
    stream = part("open", data(100)) + file("a", data(10)) + rename("a", "b") + end("open") + file("c", data(20))
    records = copied_well(tmp_path, stream + rename("c", "d") + file("empty", b"") + file("last", b"x"))
    assert {record.partition("./")[2] for record in records} == {"open", "b", "d", "empty", "last"}


@pytest.mark.parametrize("end", ["source", "target"])
def test_processes_share_no_file_where_the_number_of_memfd_create_is_unknown(tmp_path: Path, end: str) -> None:
    (tmp_path / "stream").write_bytes(file("f", b"x"))
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "index").write_text("P 1 0 1 0 f\0E 1 0 0 0 f\0")
    (tmp_path / "index.end").touch()
    (tmp_path / "digests.piece").touch()  # as if another process were making its file
    name, arguments = (
        ("digest_stream", ["digests", "lost"]) if end == "source" else ("digest_copy", ["index", "digests"])
    )
    program, count = re.subn(r"memfd_create => \d+,?", "", perl_program(f"perl/{name}"))
    assert count > 1
    with (tmp_path / "stream").open("rb") as stream:
        command = ["perl", "-e", program, *arguments, "2", "md5sum"]
        subprocess.run(command, cwd=tmp_path, stdin=stream, timeout=TIMEOUT, check=True)
    assert (tmp_path / "digests").read_text() == f"{hashlib.md5(b'x').hexdigest()} 1 ./f\0"
    assert list(tmp_path.glob("digests.piece.*")) == []


def page_compressed(size: int) -> bytes:
    """Return the beginning of a page-compressed file of InnoDB, whose last page ends with zeros."""
    content = bytearray(data(size))
    content[54:58] = b"\0\0\0\x35"  # the flags of the tablespace: pages of 16 KiB, compressed
    content[-8000:] = bytes(8000)
    return bytes(content)


def test_a_part_that_mbstream_ends_with_a_seek_is_digested_when_it_is_on_disk(tmp_path: Path) -> None:
    first, zeros, last = page_compressed(2 * FOLIO), bytes(FOLIO), data(FOLIO, 1)
    copy, index, digests, called = (tmp_path / name for name in ("copy", "index", "digests", "called"))
    copy.mkdir()
    tool = ["sh", "-c", f'touch {called} && exec md5sum "$@"', "md5sum"]
    # The digester digests each piece at once.
    program = perl_program("perl/digest_copy").replace("(5_000, 64 << 20, 5)", "(1, 1, 0)")
    assert "(1, 1, 0)" in program
    with subprocess.Popen(["mbstream", "-x"], cwd=copy, stdin=subprocess.PIPE) as mbstream:
        assert mbstream.stdin
        stream = part("f.ibd", first) + part("f.ibd", zeros, len(first)) + file("beside", b"x") + part("open", b"x")
        os.write(mbstream.stdin.fileno(), stream)
        wait_until((copy / "open").exists)
        assert (copy / "f.ibd").stat().st_size < len(first)
        index.write_text(
            f"P 5 0 {len(first)} 0 f.ibd\0P 5 {len(first)} {len(zeros)} 0 f.ibd\0P 6 0 1 0 beside\0E 6 0 0 0 beside\0"
        )
        command = ["timeout", str(TIMEOUT), "perl", "-e", program, str(index), str(digests), "1", *tool]
        digester = subprocess.Popen(command, cwd=copy)
        wait_until(called.exists)
        os.write(mbstream.stdin.fileno(), part("f.ibd", last, len(first + zeros)) + end("f.ibd") + end("open"))
        mbstream.stdin.close()
        assert mbstream.wait(TIMEOUT) == 0
    with index.open("a") as records:
        records.write(f"P 5 {len(first + zeros)} {len(last)} 0 f.ibd\0E 5 0 0 0 f.ibd\0E 4 0 0 0 open\0")
    index.with_suffix(".end").touch()
    assert digester.wait(TIMEOUT) == 0
    content = first + zeros + last
    ranges = [(HEAD, 2 * FOLIO - HEAD), (2 * FOLIO, FOLIO), (3 * FOLIO, FOLIO)]
    expected = {f"{hashlib.md5(content[at : at + size]).hexdigest()} {at}+{size} ./f.ibd" for at, size in ranges}
    assert expected < set(digests.read_text().split("\0"))


# --- faults of the disk


DAMAGE = {
    "the first byte": ("printf X | dd of=f bs=1 conv=notrunc status=none", "f"),
    "a byte in the middle": ("printf X | dd of=f bs=1 seek=150000 conv=notrunc status=none", "f"),
    "the last byte": ("printf X | dd of=f bs=1 seek=299999 conv=notrunc status=none", "f"),
    "a byte more": ("printf X >>f", "f"),
    "a byte less": ("truncate -s -1 f", "f"),
    "a byte less of a small one": ("truncate -s -1 d/small", "d/small"),
    "a block of zeros": ("fallocate --punch-hole --offset 131072 --length 4096 f", "f"),
    "a missing file": ("rm d/small", "d/small"),
    "a missing empty file": ("rm empty", "empty"),
    "an unknown file": ("touch d/other", "d/other"),
    "an unknown link": ("ln -s /etc/passwd link", "link"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_every_damage_is_found_and_its_file_named(tmp_path: Path, damage: str) -> None:
    stream = file("f", data(300_000)) + file("d/small", b"small") + file("d/é@0020 b", b"x") + file("empty", b"")
    script, named = DAMAGE[damage]
    result = copied(tmp_path, stream, damage=script)
    assert result.names_that_differ() == {named}


def test_a_file_of_another_kind_is_an_error(tmp_path: Path) -> None:
    result = copied(tmp_path, file("f", b"x"), damage="rm f; ln -s /etc/passwd f")
    assert "cannot open f: Too many levels of symbolic links" in result.stderr
    assert result.lists[1] == []


# --- streams of a hostile source


@pytest.mark.parametrize(
    "changes",
    [
        "take_name('f') for 1 .. $n; add_file('f'), take_name('f') for 1 .. $n",
        "add_file(0); take_name($_ - 1, $_) for 1 .. $n; $name_of = (keys %file_of)[0]; $name_of == $n or die",
    ],
    ids=["removed", "renamed"],
)
def test_many_changes_of_a_name_take_little_time(changes: str) -> None:
    program = f"{perl_program('perl/pieces')}\nalarm 10; my $n = 500_000; my $name_of; {changes};"
    subprocess.run(["perl", "-e", program], timeout=TIMEOUT, check=True)


def test_changes_of_very_many_names_are_an_error() -> None:
    changes = "add_file(0); take_name($_ - 1, $_) for 1 .. $most_changed + 1;"
    command = ["perl", "-e", f"{perl_program('perl/pieces')}\n$most_changed = 1000; {changes}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (done.returncode > 0, done.stderr) == (
        True,
        "too many files were renamed, removed or replaced during the backup\n",
    )


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize(
    "stream",
    [
        *(file(name, b"x") for name in ("../x", "/tmp/x", "d/../../x", "d//x", "./x", "d/.", "d/", "..", "", "a\0b")),
        file("x", b"x") + rename("x", "../x"),
        file("x", b"x") + rename("x", "/tmp/transferpy-x"),
        remove("../victim"),
        file("x" * 512, b"x"),
    ],
)
def test_a_name_outside_of_the_copy_is_refused_before_anything_is_done(
    tmp_path: Path, stream: bytes, *, indexed: bool
) -> None:
    """mbstream itself renames a file to any name, and removes any file."""
    (tmp_path / "victim").touch()
    (tmp_path / "copy").mkdir()
    checked = tmp_path / "checked"
    with checked.open("wb") as output:
        index = [str(tmp_path / "index")] if indexed else []
        program = subprocess.run(
            ["perl", "-e", perl_program("perl/pass_chunks"), *index],
            input=stream,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT,
            check=False,
        )
    assert program.returncode == 1
    assert re.search(rb"^the stream of the backup has a name that is (not allowed|too long)", program.stderr)
    with checked.open("rb") as input_:
        subprocess.run(["mbstream", "-x"], cwd=tmp_path / "copy", stdin=input_, timeout=TIMEOUT, check=True)
    assert {path.name for path in tmp_path.iterdir()} - {"index"} == {"victim", "copy", "checked"}


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"tar", "unexpected end of the stream of the backup"),
        (b"not a stream of a backup", "the stream is not one of mariadb-backup: unknown format"),
        (file("f", data(100_000))[:-40_000], "unexpected end of the stream of the backup"),
        (chunk("X", "f"), "the stream is not one of mariadb-backup: unknown format"),
        # A size that is only claimed needs no memory.
        (chunk("P", "f") + b"\xff\xff\xff\xff\xff\xff\xff\x3f" + b"\0" * 12, "unexpected end of the stream"),
    ],
    ids=["short", "other", "cut", "kind", "size"],
)
def test_a_stream_that_is_none_is_an_error_on_both_ends(tmp_path: Path, stream: bytes, message: str) -> None:
    for program in ("digest_stream", "pass_chunks"):
        arguments = (
            [str(tmp_path / "list"), str(tmp_path / "lost"), "2", "md5sum"] if program == "digest_stream" else []
        )
        script = 'ulimit -v 500000; exec perl -e "$1" "${@:2}" > >(cat >/dev/null)'
        result = subprocess.run(
            ["bash", "-c", script, "-", perl_program(f"perl/{program}"), *arguments],
            input=stream,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert result.returncode == 1
        assert message in result.stderr.decode()


def test_parts_in_an_unknown_order_are_an_error_on_the_source(tmp_path: Path) -> None:
    stream = part("f", data(200_000)) + seek("f", 100_000) + part("f", b"again", 100_000) + end("f")
    result = copied(tmp_path, stream)
    assert "mariadb-backup sent the parts of f in another order than expected" in result.stderr
    assert result.statuses[0].split()[1] == "1"


@pytest.mark.parametrize(
    "stream",
    [
        seek("f", 1 << 60) + part("f", b"", 1 << 60),
        part("f", data(100)) + seek("f", 1 << 60) + part("f", b"x", 1 << 60),
        part("f", data(200_000)) + seek("f", 100_000) + part("f", b"again", 100_000),
    ],
    ids=["empty", "behind", "again"],
)
def test_a_part_behind_the_end_of_its_file_is_not_listed_for_the_digester(tmp_path: Path, stream: bytes) -> None:
    """The digester would make a piece for each 16 MiB up to the part."""
    index = tmp_path / "index"
    program = ["perl", "-e", perl_program("perl/pass_chunks"), str(index)]
    result = subprocess.run(program, input=stream, capture_output=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 1
    assert result.stderr.decode() == "mariadb-backup sent the parts of f in another order than expected\n"
    assert not re.search(r"P 1 [^0]", index.read_text())
    assert len(result.stdout) < len(stream)


@pytest.mark.parametrize("small", [part("f" * 500, b""), seek("f" * 500, 0)], ids=["part", "seek"])
def test_small_parts_without_end_do_not_fill_the_list_of_chunks(tmp_path: Path, small: bytes) -> None:
    index = tmp_path / "index"
    program = ["perl", "-e", perl_program("perl/pass_chunks"), str(index)]
    result = subprocess.run(program, input=small * 30_000, capture_output=True, timeout=TIMEOUT, check=False)
    assert (result.returncode, result.stderr) == (1, b"the stream of the backup has too many small parts\n")
    assert index.stat().st_size < 6 << 20


def test_small_files_may_be_many(tmp_path: Path) -> None:
    program = ["perl", "-e", perl_program("perl/pass_chunks"), str(tmp_path / "index")]
    stream = b"".join(file(f"d/{number}", b"x") for number in range(30_000))
    result = subprocess.run(program, input=stream, capture_output=True, timeout=TIMEOUT, check=False)
    assert (result.returncode, result.stdout) == (0, stream)


def test_a_chunk_is_listed_when_the_next_one_is_read(tmp_path: Path) -> None:
    first, second, third = file("a", b"1"), part("b", b"2"), end("b")
    index = tmp_path / "index"
    process = subprocess.Popen(
        ["perl", "-e", perl_program("perl/pass_chunks"), str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    os.write(process.stdin.fileno(), first + second)
    # Only the first chunk and a byte of the next one.
    unread = part("a", b"1")
    assert process.stdout.read(len(first) + len(second))[: len(unread)] == unread
    os.write(process.stdin.fileno(), third)
    assert process.stdout.read(1) == b"X"
    process.stdin.close()
    process.stdout.read()
    assert process.wait(TIMEOUT) == 0
    kinds = [record.split(" ")[0] for record in index.read_text().split("\0")[:-1]]
    assert sorted(kinds) == ["E", "E", "P", "P", "end"]
    assert kinds.index("end") <= 3


def test_no_chunk_is_listed_before_the_next_one_is_read(tmp_path: Path) -> None:
    index = tmp_path / "index"
    read, write = os.pipe()
    try:
        program = ["perl", "-e", perl_program("perl/pass_chunks"), str(index)]
        stream = file("a", b"1") + file("b", b"2")
        subprocess.run(program, input=stream, stdout=write, timeout=TIMEOUT, check=True)
    finally:
        os.close(read)
        os.close(write)
    assert [record.split(" ")[0] for record in index.read_text().split("\0")] == ["end", "P", "E", "P", "E", ""]
