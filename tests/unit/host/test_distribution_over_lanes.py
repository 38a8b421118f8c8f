"""The distribution of the entries of a tree over lanes, by the real programs."""

import signal
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from transferpy.host import perl_program

Entry = tuple[str, str, int, str, int]
"""Path, kind, number of names, device and inode, bytes."""
FILE_WORK = 32 << 10


def distributed(directory: Path, entries: list[Entry], lanes: int) -> tuple[list[list[str]], list[str]]:
    """Return the paths of each lane, and those of the directories."""
    records = (f"{path}//{kind} {links} {inode} {size}\0" for path, kind, links, inode, size in entries)
    (directory / "entries").write_bytes("".join(records).encode(errors="surrogateescape"))
    program = ["perl", "-e", perl_program("perl/distribute"), "--", "entries", "lane", str(lanes)]
    subprocess.run(program, cwd=directory, check=True, timeout=60)
    names = ["lane", *(f"lane-{number}" for number in range(1, lanes)), "lane.directories"]
    found = [(directory / name).read_bytes().decode(errors="surrogateescape").split("\0")[:-1] for name in names]
    return found[:-1], found[-1]


def files(sizes: list[int]) -> list[Entry]:
    return [(f"./x/{number:06}", "f", 1, f"1:{number}", size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize("lanes", [2, 3, 16])
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([], id="no files"),
        pytest.param([1], id="one file"),
        pytest.param([10] * 5000, id="small files"),
        pytest.param([10 << 30, *[1 << 20] * 4000], id="one huge file"),
        pytest.param([size << 20 for size in range(1, 300)], id="files of many sizes"),
    ],
)
def test_each_file_is_in_one_lane_and_the_lanes_have_equal_work(tmp_path: Path, sizes: list[int], lanes: int) -> None:
    entries = files(sizes)
    found, directories = distributed(tmp_path, [("./x", "d", 2, "1:1", 0), *entries], lanes)
    assert directories == ["./x"]
    assert Counter(path for lane in found for path in lane) == Counter(entry[0] for entry in entries)
    assert all(lane == sorted(lane) for lane in found)
    work = {path: size + FILE_WORK for path, *_, size in entries}
    of_lanes = [sum(work[path] for path in lane) for lane in found]
    largest = max(work.values(), default=0)
    assert max(of_lanes) <= max(largest, sum(of_lanes) / lanes * 1.02 + largest)


def test_all_names_of_an_inode_are_in_one_lane(tmp_path: Path) -> None:
    entries = [
        (f"./x/{name}{group:04}", "f", 3, f"1:{group}", size)
        for name in "abc"
        for group, size in enumerate([1 << 30, *[100] * 1000])
    ]
    found, _ = distributed(tmp_path, entries, 4)
    for group in range(1001):
        assert sum(any(path.endswith(f"{group:04}") for path in lane) for lane in found) == 1, group
    assert all(found)


def test_a_file_system_that_reports_no_links_is_distributed_too(tmp_path: Path) -> None:
    found, _ = distributed(tmp_path, [(f"./x/{n}", "f", 0, "1:1", 1 << 20) for n in range(10)], 2)
    assert [len(lane) for lane in found] == [5, 5]


def test_neighbours_in_a_directory_mostly_stay_together(tmp_path: Path) -> None:
    found, _ = distributed(tmp_path, files([1000] * 20_000), 4)
    numbers = [[int(path[-6:]) for path in lane] for lane in found]
    changes = sum(later != number + 1 for lane in numbers for number, later in pairwise(lane))
    assert changes <= 4 * 500


def test_the_first_lane_has_no_symbolic_link(tmp_path: Path) -> None:
    links: list[Entry] = [(f"./x/{n}", "l", 1 + n % 2, f"1:{n // 4}", 0) for n in range(1000)]
    found, _ = distributed(tmp_path, links, 3)
    assert found[0] == []
    assert all(found[1:])


def test_any_name_is_passed_on_unchanged(tmp_path: Path) -> None:
    paths = ["./-x", "./a\nb", "./a b", "./$(x)", "./\udcff\udcfe", "./ ", "./a\\n"]
    found, _ = distributed(tmp_path, [(path, "f", 1, "1:1", 1) for path in paths], 2)
    assert sorted(path for lane in found for path in lane) == sorted(paths)


def test_many_entries_need_little_memory(tmp_path: Path) -> None:
    number = 300_000
    with (tmp_path / "entries").open("w") as output:
        for entry in range(number):
            output.write(f"./a/rather/long/path/of/an/entry/{entry:09}//f {1 + entry % 2} 1:{entry // 4} {entry}\0")
    program = perl_program("perl/distribute") + ' open my $s, "<", "/proc/self/status"; print grep /VmHWM/, <$s>;'
    command = ["perl", "-e", program, "--", "entries", "lane", "16"]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300)
    assert int(done.stdout.split()[1]) < 30_000  # kB: the number of entries does not count


def names(directory: Path, lane: str) -> "subprocess.Popen[bytes]":
    program = ["perl", "-e", perl_program("perl/names"), "--", "lane", lane]
    return subprocess.Popen(program, cwd=directory, stdout=subprocess.PIPE)


def test_the_first_lane_waits_with_its_directories(tmp_path: Path) -> None:
    for name, content in (("lane", b"a\0"), ("lane-1", b"b\0"), ("lane.directories", b"d\0")):
        (tmp_path / name).write_bytes(content)
    with names(tmp_path, "-1") as further:
        assert further.communicate(timeout=30)[0] == b"b\0"
    with names(tmp_path, "") as first:
        assert first.stdout
        assert first.stdout.read(2) == b"a\0"
        assert first.poll() is None
        (tmp_path / "lane.unpacked").touch()
        assert first.communicate(timeout=30)[0] == b"d\0"
        assert first.returncode == 0


def test_the_first_lane_ends_with_its_tar(tmp_path: Path) -> None:
    (tmp_path / "lane").write_bytes(b"a\0")
    with names(tmp_path, "") as first:
        assert first.stdout
        assert first.stdout.read(2) == b"a\0"
        first.stdout.close()
        assert first.wait(timeout=30) == -signal.SIGPIPE


def read_list(file: Path) -> list[str]:
    return file.read_bytes().decode(errors="surrogateescape").split("\0")[:-1]


def test_each_lane_has_the_directories_of_its_files_each_after_the_one_that_contains_it(tmp_path: Path) -> None:
    paths = [f"./x/{a}/{b}/{n}\n" for a in "ab\n" for b in ("c", "c c", "\udcff") for n in range(30)]
    entries: list[Entry] = [(path, "f", 1, f"1:{n}", n << 20) for n, path in enumerate(sorted(paths))]
    found, _ = distributed(tmp_path, entries, 3)
    for number, lane in enumerate(found):
        parents = read_list(tmp_path / (f"lane-{number}.parents" if number else "lane.parents"))
        assert {path.rpartition("/")[0] for path in lane} <= {*parents}
        made = {"."}
        for parent in parents:
            assert parent.rpartition("/")[0] in made
            made.add(parent)
        assert len(parents) <= 2 * len({*parents})


SENT = ("perl", "-e", perl_program("perl/send_parents"), "--")
MADE = ("perl", "-e", perl_program("perl/make_parents"), "--")


def test_lanes_that_need_the_same_directories_at_the_same_time_all_unpack_them(tmp_path: Path) -> None:
    """Without the list, GNU tar fails: another tar makes the directory between two of its system calls."""
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    paths = [f"./x/{n // 100}/{n}/{lane}" for n in range(1200) for lane in range(4)]
    for path in paths:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(path)
    lanes: list[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]] = []
    for number in range(4):
        lane = [path for path in paths if path.endswith(f"/{number}")]
        parents = dict.fromkeys(
            parent for path in lane for parent in (path.rsplit("/", depth)[0] for depth in (3, 2, 1))
        )
        for name, listed in (("lane", lane), ("parents", parents)):
            (tmp_path / f"{name}{number}").write_text("".join(f"{path}\0" for path in listed))
        names = ("--null", "--no-recursion", f"--files-from={tmp_path}/lane{number}")
        sending = (*SENT, f"{tmp_path}/parents{number}", "tar", "--create", *names, "--file=-")
        sender = subprocess.Popen(sending, cwd=source, stdout=subprocess.PIPE)
        lanes.append((sender, subprocess.Popen((*MADE, "tar", "-x", "--file=-"), cwd=target, stdin=sender.stdout)))
    assert [each.wait(60) for pair in lanes for each in pair] == [0] * 8
    for path in paths:
        assert (target / path).read_text() == path


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "Unexpected EOF in the list of directories"),
        (b"0000000", "Unexpected EOF in the list of directories"),
        (b"00000006./a\0./", "Unexpected EOF in the list of directories"),
        (b"00000003./a00000000", "the list of directories is cut"),
        (b"00000009./file/b\x0000000000", "cannot make the directory ./file/b: Not a directory"),
        (b"00000007./file\x0000000000", "cannot make the directory ./file: File exists"),
        (b"00000007./link\x0000000000", "cannot make the directory ./link: File exists"),
    ],
)
def test_a_list_of_directories_that_is_wrong_ends_the_lane(tmp_path: Path, sent: bytes, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/")
    words = (*MADE, "touch", "ran")
    result = subprocess.run(words, cwd=tmp_path, input=sent, capture_output=True, check=False, timeout=60)
    assert result.returncode != 0
    assert result.stderr.decode() == f"{message}\n"
    assert not (tmp_path / "ran").exists()


def test_the_archive_follows_the_list_of_directories(tmp_path: Path) -> None:
    words = (*MADE, "cat")
    sent = b"00000004./a\x0000000007./a/b\n\x0000000000archive"
    result = subprocess.run(words, cwd=tmp_path, input=sent, capture_output=True, check=True, timeout=60)
    assert result.stdout == b"archive"
    assert (tmp_path / "a" / "b\n").is_dir()
