"""The differences of two lists: every different path is returned, and the message is short."""

import os
from itertools import chain, repeat

import pytest
from bash import any_text
from hypothesis import given
from hypothesis import strategies as st

from transferpy.engine.differences import differing_attributes, differing_entries, differing_paths, name_some

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


entries = st.lists(
    st.tuples(any_text.filter(lambda name: "/" not in name and name), st.sampled_from("fd"), st.sampled_from("123")),
    unique_by=lambda entry: entry[0],
)


@given(source=entries, target=entries)
def test_entries_are_compared_by_their_paths(
    source: list[tuple[str, str, str]], target: list[tuple[str, str, str]]
) -> None:
    ours, theirs = (
        sorted((f"./{name}//{kind} 644 0 0 {size} 1.5" for name, kind, size in some), key=os.fsencode)
        for some in (source, target)
    )
    expected = {each[0] for each in {*source} ^ {*target}}
    assert sorted(each.path for each in differing_entries(ours, theirs)) == sorted(expected)


@pytest.mark.parametrize(
    ("source", "target", "is_coarser"),
    [
        ("1.1234567890", "1.0000000000", True),
        ("1.1234567890", "1.1234567000", True),
        ("1.1234567890", "1.1234567", True),
        ("-1.1234567890", "-1.0000000000", True),
        ("1.1234567890", "1.1234568000", False),
        ("1.1234567890", "1.1234067890", False),
        ("1.0000000000", "1.1000000000", False),
        ("1.1234567890", "0.0000000000", False),
        ("2208988800.1", "2147483647.0", False),
        ("1.9", "2.0", False),
    ],
)
def test_a_time_is_coarser_if_it_lacks_digits_at_its_end_only(source: str, target: str, *, is_coarser: bool) -> None:
    (found,) = differing_entries([f"./x//f 644 0 0 5 {source}"], [f"./x//f 644 0 0 5 {target}"])
    assert (found.is_coarser_time, str(found)) == (is_coarser, "x (time)")
    (found,) = differing_entries([f"./x//f 644 0 0 5 {source}"], [f"./x//f 600 0 0 5 {target}"])
    assert (found.is_coarser_time, str(found)) == (False, "x (mode, time)")


def test_the_target_of_a_link_may_have_any_text() -> None:
    source, target = "./x//l - 0 0 5 1.0 -> a//b c ./d", "./x//l - 0 0 5 1.0 -> a//b c ./e"
    assert [str(each) for each in differing_entries([source], [target])] == ["x (link)"]


def test_an_attribute_is_named_with_its_file() -> None:
    assert list(differing_attributes(["./x/a//user.a b 00"], ["./x/a//user.a b 01", "./z//user.c "])) == [
        *["x/a (user.a b)"] * 2,
        "z (user.c)",
    ]
