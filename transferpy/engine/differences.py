"""The differences between two sorted lists of records.

A session sends the digest of a list. A list of millions of files stays on its host. Only where two digests differ, the
lists are fetched, record by record, to name the paths that differ.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice

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
    ours, theirs = iter(source), iter(target)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if left == right:
            left, right = next(ours, None), next(theirs, None)
        elif right is None or (left is not None and os.fsencode(left) < os.fsencode(right)):
            yield _path(str(left))
            left = next(ours, None)
        else:
            yield _path(right)
            right = next(theirs, None)


def _path(record: str) -> str:
    return record.partition("./")[2]


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
