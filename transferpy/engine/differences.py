"""The differences between two sorted lists of records.

A session sends the digest of a list. A list of millions of files stays on its host. Only where two digests differ, the
lists are fetched, record by record, to name the paths that differ.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

_END_OF_PATH = "//"
_TIME = "time"
_FIELDS = ("kind", "mode", "owner", "group", "size", _TIME, "link")
_NAMED_DIFFERENCES = 5
_COUNTED_DIFFERENCES = 1000
_LONGEST_NAME = 1000
"""Characters of a path that a message has."""


def differing_paths(source: Iterable[str], target: Iterable[str]) -> Iterator[str]:
    """Yield the path of each record that only one of two lists has; a path that differs in both is yielded twice.

    Args:
        source: records in the order of their bytes, as the lists of a session: some fields, then the path, which begins
            with ``./``.
        target: the records of the other end.
    """
    for _, record in _differing_records(source, target):
        yield record.partition("./")[2]


def additional_paths(paths: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """Yield each path that only the first of two lists has, which are in the order of their bytes."""
    return (path for is_first, path in _differing_records(paths, others) if is_first)


def differing_attributes(source: Iterable[str], target: Iterable[str]) -> Iterator[str]:
    """Yield the path and the name of each extended attribute that only one of two lists of attributes has.

    Args:
        source: records of a session: ``./PATH//NAME VALUE``, in the order of their bytes.
        target: the records of the other end.
    """
    for _, record in _differing_records(source, target):
        path, _, attribute = record.partition(_END_OF_PATH)
        yield f"{path.removeprefix('./')} ({attribute.rpartition(' ')[0]})"


@dataclass(frozen=True, kw_only=True)
class EntryDifference:
    """A file or another entry that differs between two manifests."""

    path: str
    fields: tuple[str, ...]  # the names of the fields that differ, or a word for an entry that one end lacks
    is_coarser_time: bool = False  # whether only the time differs, and the target lacks digits of its fraction

    def __str__(self) -> str:
        """Return the path and the fields, for a message."""
        return f"{self.path} ({', '.join(self.fields)})"


def differing_entries(source: Iterable[str], target: Iterable[str]) -> Iterator[EntryDifference]:
    """Yield each entry that differs between two manifests.

    Args:
        source: records of a session: ``./PATH//KIND MODE USER GROUP SIZE TIME``, in the order of their bytes; a
            symbolic link has ``-> LINK`` at its end. No path has two slashes in sequence, so the records of one path
            are neighbours.
        target: the records of the other end.
    """
    for key, group in groupby(_differing_records(source, target), lambda each: each[1].partition(_END_OF_PATH)[0]):
        records = dict(group)
        path = key.removeprefix("./")
        if len(records) == 1:
            yield EntryDifference(path=path, fields=("missing" if True in records else "not in the source",))
        else:
            ours, theirs = (records[is_ours].partition(_END_OF_PATH)[2].split(" ", 6) for is_ours in (True, False))
            yield _difference(path, dict(zip(_FIELDS, ours, strict=False)), dict(zip(_FIELDS, theirs, strict=False)))


def _difference(path: str, ours: dict[str, str], theirs: dict[str, str]) -> EntryDifference:
    fields = tuple(name for name in _FIELDS if ours.get(name) != theirs.get(name))
    return EntryDifference(
        path=path,
        fields=fields,
        is_coarser_time=fields == (_TIME,) and _is_coarser(theirs[_TIME], ours[_TIME]),
    )


def _is_coarser(time: str, other: str) -> bool:
    """Return whether ``time`` is ``other`` without the last digits of its fraction."""
    seconds, _, fraction = time.partition(".")
    other_seconds, _, other_fraction = other.partition(".")
    return seconds == other_seconds and other_fraction.startswith(fraction.rstrip("0"))


def _differing_records(source: Iterable[str], target: Iterable[str]) -> Iterator[tuple[bool, str]]:
    """Yield each record that only one of two sorted lists has, and whether that is the list of the source."""
    ours, theirs = iter(source), iter(target)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if left == right:
            left, right = next(ours, None), next(theirs, None)
        elif right is None or (left is not None and os.fsencode(left) < os.fsencode(right)):
            yield True, str(left)
            left = next(ours, None)
        else:
            yield False, right
            right = next(theirs, None)


class NamedDifferences:
    """The number of differences, and the first few of them; there may be millions."""

    def __init__(self) -> None:
        self.number = 0
        self._named: list[str] = []

    def add(self, text: str) -> None:
        """Count a difference."""
        self.number += 1
        if len(self._named) < _NAMED_DIFFERENCES:
            self._named.append(text)

    def __str__(self) -> str:
        """Return the first few differences, and the number of the others, for a message."""
        more = self.number - len(self._named)
        return ", ".join(self._named) + (f" and {more} more" if more else "")


def name_some(paths: Iterable[str]) -> str:
    """Return the first few of ``paths``, each once, and the number of the others, for a message.

    There may be millions of paths: the count ends at a thousand.
    """
    named: dict[str, None] = {}
    for path in paths:
        named[path[:_LONGEST_NAME]] = None
        if len(named) > _COUNTED_DIFFERENCES:
            break
    text = ", ".join(islice(named, _NAMED_DIFFERENCES))
    more = min(len(named), _COUNTED_DIFFERENCES) - _NAMED_DIFFERENCES
    if more <= 0:
        return text
    return f"{text} and {'more than ' if len(named) > _COUNTED_DIFFERENCES else ''}{more} more"
