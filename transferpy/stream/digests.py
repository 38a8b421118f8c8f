"""The commands that digest data on both ends of a stream, which are then compared.

The sessions send digests of their lists, not the lists: a list of millions of files stays on its host. The lists are
fetched, record by record, only where the digests differ.
"""

from transferpy.model.digests import ALGORITHMS, FALLBACK
from transferpy.stream.commands import Command

STREAM_SIZE = Command(("wc", "-c"))
"""Counts a stream where nothing else would show that its end is missing."""


def digest_command(algorithm: str) -> Command:
    """Return the command that digests files or its standard input."""
    return Command(ALGORITHMS[algorithm].argv)


def available_algorithm(wanted: str, tools: frozenset[str]) -> str:
    """Return the algorithm asked for if every host has its program, else the fastest that every host has.

    Args:
        wanted: an algorithm, or ``auto``.
        tools: the programs that every host has.
    """
    available = [row.name for row in ALGORITHMS.values() if row.argv[0] in tools]
    return wanted if wanted in available else next(iter(available), FALLBACK)
