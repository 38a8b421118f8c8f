"""The differences of two lists: every different path is returned, and the message is short."""

import os
from itertools import chain, repeat

import pytest
from bash import any_text
from hypothesis import given
from hypothesis import strategies as st

from transferpy.engine.differences import differing_paths, name_some

records = st.lists(any_text.map(lambda path: f"f 644 0 0 5 ./{path}"), unique=True)


@pytest.mark.parametrize(
    ("source", "target", "paths"),
    [
        ([], [], []),
        (["d 755 0 0 - ./x"], ["d 755 0 0 - ./x"], []),
        (["f 644 0 0 5 ./x/a"], [], ["x/a"]),
        ([], ["f 644 0 0 5 ./x/a"], ["x/a"]),
        (["f 644 0 0 5 ./x/a"], ["f 644 0 0 6 ./x/a"], ["x/a", "x/a"]),
        (["d - ./x", "f 1 ./x/a", "f 2 ./x/c"], ["d - ./x", "f 2 ./x/c", "f 3 ./x/b"], ["x/a", "x/b"]),
        (["l - 0 0 3 ./x -> y"], ["l - 0 0 3 ./x -> z"], ["x -> y", "x -> z"]),
        (["0123  ./x/a ./b"], [], ["x/a ./b"]),
        # bytes that are no UTF-8 sort behind all that is, other than their surrogate escapes would
        (["f ./\udcff", "f ./z"][::-1], ["f ./\U0001f600", "f ./\udcff"], ["z", "\U0001f600"]),
    ],
)
def test_entries_of_one_side_are_returned(source: list[str], target: list[str], paths: list[str]) -> None:
    assert list(differing_paths(source, target)) == paths


@given(source=records, target=records)
def test_exactly_the_different_entries_are_returned(source: list[str], target: list[str]) -> None:
    found = differing_paths(sorted(source, key=os.fsencode), sorted(target, key=os.fsencode))
    assert sorted(found) == sorted(record.partition("./")[2] for record in {*source} ^ {*target})


@pytest.mark.parametrize(
    ("paths", "text"),
    [
        (["a"], "a"),
        (["a", "a"], "a"),
        (["e", "d", "c", "b", "a"], "e, d, c, b, a"),
        (["a", "b", "a", "c", "d", "e", "f", "f"], "a, b, c, d, e and 1 more"),
        ([str(number) for number in range(1000)], "0, 1, 2, 3, 4 and 995 more"),
        ([str(number) for number in range(5000)], "0, 1, 2, 3, 4 and more than 995 more"),
    ],
)
def test_a_few_paths_are_named_and_the_others_counted(paths: list[str], text: str) -> None:
    assert name_some(paths) == text


def test_a_list_of_any_length_is_not_kept_in_memory() -> None:
    endless = chain((str(number) for number in range(2000)), repeat("x"))
    assert name_some(endless).endswith("more than 995 more")
