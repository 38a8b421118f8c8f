"""The digest algorithms: one row for each; options, preflight, planning and completion derive from this table."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """A digest algorithm."""

    name: str  # the value of --checksum-algorithm
    argv: tuple[str, ...]  # the program that computes the digest, with its arguments
    package: str  # the Debian package of the program


_ROWS = (
    Algorithm(name="xxh128", argv=("xxh128sum",), package="xxhash"),
    # The session digests several files at the same time, so one thread for each is enough.
    Algorithm(name="b3", argv=("b3sum", "--num-threads", "1"), package="b3sum"),
    Algorithm(name="md5", argv=("md5sum",), package="coreutils"),
    Algorithm(name="sha256", argv=("sha256sum",), package="coreutils"),
)
ALGORITHMS: Mapping[str, Algorithm] = {row.name: row for row in _ROWS}
"""The algorithms by name, the fastest first (see docs/benchmarks.rst)."""

FALLBACK = "md5"
"""The algorithm that every host has."""
