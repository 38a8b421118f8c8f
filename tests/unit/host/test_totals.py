"""The totals of a tree: the preflight query counts millions of files with little memory."""

import re

import pytest
from bash import output_of

from transferpy.host import perl_program

PROGRAM = perl_program("perl/totals")
COUNT = 'perl -e "$1"'


def totals(records: str) -> dict[str, int]:
    """Return the totals of the records that a bash command prints."""
    line = output_of(f"{records} | {COUNT}", PROGRAM).decode().splitlines()[0]
    return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}


@pytest.mark.parametrize("distance", [1, 2, 256, 4096, 1 << 20, 1 << 32])
def test_files_with_several_names_count_once_and_need_little_memory(distance: int) -> None:
    # A list of them all needs 60 MB.
    records = f"""
        for (1 .. 2) {{
            printf "f %d:%d 2 8 10\\0", 2049 + ($_ & 1), {distance} * $_ for 1 .. 300_000
        }}
    """
    found = totals(f"ulimit -v 50000; perl -e '{records}'")
    assert 299_900 <= found["files"] <= 300_000
    assert found == {
        **dict.fromkeys(("files", "inodes"), found["files"]),
        "disk": found["files"] * 4096,
        "bytes": found["files"] * 10,
        "directories": 0,
        "largest": 10,
        "sockets": 0,
    }


def test_files_of_two_file_systems_are_not_taken_for_each_other() -> None:
    assert totals(r"printf 'f 2049:17 2 8 10\0f 2050:17 2 8 10\0f 2049:17 2 8 10\0'")["files"] == 2


@pytest.mark.parametrize(
    ("printed", "error", "files"),
    [
        (r"f 1:1 1 8 10\0", "", 1),
        (r"find: a\nf 1:1 1 8 10\0", "find: a", 1),
        (r"find: a\nfind: b\nf 1:1 1 8 10\0f 1:2 1 8 10\0", "find: b", 2),
        (r"f 1:1 1 8 10\0find: a\n", "find: a", 1),
        (r"find: f 1:1 1 8 10\n", "find: f 1:1 1 8 10", 0),
    ],
)
def test_an_error_between_the_records_is_printed_and_no_record_is_lost(printed: str, error: str, files: int) -> None:
    lines = output_of(f"printf '{printed}' | {COUNT}", PROGRAM).decode().splitlines()
    assert lines[1] == error
    assert f" files={files} " in lines[0]


def test_the_totals_of_a_tree_of_files_larger_than_a_number_are_exact_enough() -> None:
    found = totals("for i in 1 2 3; do printf 'f 1:%d 1 0 %d\\0' $i $((7 << 60)); done")
    assert found["bytes"] == 3 * (7 << 60)
    assert found["largest"] == 7 << 60
