"""What both ends say of the data, and whether they agree.

The sessions send digests of their lists, not the lists: a list of millions of files stays on its host. Only where the
digests differ are the lists fetched, record by record, to name what is wrong.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from transferpy.commands import Command
from transferpy.options import ChecksumAlgorithm

ALGORITHMS: Mapping[ChecksumAlgorithm, Command] = {
    ChecksumAlgorithm.XXH128: Command(("xxh128sum",)),
    # Files are digested side by side anyway.
    ChecksumAlgorithm.B3: Command(("b3sum", "--num-threads", "1")),
    ChecksumAlgorithm.MD5: Command(("md5sum",)),
    ChecksumAlgorithm.SHA256: Command(("sha256sum",)),
}
"""What computes each digest, the fastest first (see docs/benchmarks.rst); every Debian system has the last two."""

STREAM_SIZE = Command(("wc", "-c"))
"""The least that both ends of a stream have to agree on where nothing else would show that its end is missing."""

_NAMED_DIFFERENCES = 5
_COUNTED_DIFFERENCES = 1000


def available_algorithm(wanted: ChecksumAlgorithm, tools: frozenset[str]) -> ChecksumAlgorithm:
    """Return the algorithm asked for, or the fastest, if that is not to be had or was not asked for.

    Args:
        wanted: an algorithm, or AUTO.
        tools: the programs that every host has.
    """
    if wanted in ALGORITHMS and ALGORITHMS[wanted].name in tools:
        return wanted
    there = (algorithm for algorithm, command in ALGORITHMS.items() if command.name in tools)
    return next(there, ChecksumAlgorithm.MD5)


def differing_paths(source: Iterable[str], target: Iterable[str]) -> Iterator[str]:
    """Yield the path of each record that only one of two lists has, once each time it differs.

    Args:
        source: records in byte order, as ``manifest`` and ``digests`` of a session hold them: any fields, then the
            path, which begins with ``./``.
        target: the other side's.
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
    """Return the first few of ``paths``, each once, and how many more there are, for a message.

    There may be millions: counting ends where the number no longer matters.
    """
    named: dict[str, None] = {}
    for path in paths:
        named[path] = None
        if len(named) > _COUNTED_DIFFERENCES:
            break
    text = ", ".join(islice(named, _NAMED_DIFFERENCES))
    more = min(len(named), _COUNTED_DIFFERENCES) - _NAMED_DIFFERENCES
    if more <= 0:
        return text
    return f"{text} and {'more than ' if len(named) > _COUNTED_DIFFERENCES else ''}{more} more"
