"""What both ends say of the data, and whether they agree.

The sessions send digests of their lists, not the lists: a list of millions of files stays on its host. Only where the
digests differ are the lists fetched, record by record, to name what is wrong.
"""

from collections.abc import Mapping

from transferpy.model.options import ChecksumAlgorithm
from transferpy.stream.commands import Command

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
