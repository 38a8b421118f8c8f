"""The codecs: one row for each; options, preflight, planning, dry run and completion derive from this table."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that compresses and decompresses a format."""

    name: str
    package: str  # its Debian package
    # the arguments to compress to standard output, with {level} and, if it uses several processors, {threads}; none for
    # a program that only decompresses tarballs
    arguments: tuple[str, ...] = ()
    # bytes per second on one processor at the default level, for the estimate of a dry run: the median of five runs
    # over the tables of the benchmark, by processor time, on the machine of docs/benchmarks.rst
    rate: float = 0.0

    @property
    def is_parallel(self) -> bool:
        """Whether it uses several processors."""
        return any("{threads}" in argument for argument in self.arguments)

    def compress(self, level: int, threads: int) -> tuple[str, ...]:
        """Return the program and its arguments to compress at a level with some threads."""
        return (self.name, *(argument.format(level=level, threads=threads) for argument in self.arguments))

    @property
    def decompress(self) -> tuple[str, ...]:
        """The program and its arguments to decompress."""
        return (self.name, "--decompress", "--stdout")


@dataclass(frozen=True, kw_only=True)
class Format:
    """A compressed format."""

    magic: bytes  # the first bytes of a file
    programs: tuple[Program, ...]  # the programs that can stand in for each other, the best first


@dataclass(frozen=True, kw_only=True)
class CodecRow(Format):
    """A format that can compress the stream."""

    name: str  # the value of --compressor
    highest_level: int
    default_level: int = 1
    automatic_levels: tuple[int, ...] = ()  # the levels that --compressor auto measures; none to leave the codec out


_ROWS = (
    CodecRow(
        name="zstd",
        magic=b"\x28\xb5\x2f\xfd",
        programs=(
            Program(
                name="zstd", package="zstd", arguments=("--stdout", "--quiet", "-T{threads}", "-{level}"), rate=290e6
            ),
        ),
        highest_level=19,
        automatic_levels=(1, 3),
    ),
    CodecRow(
        name="pigz",
        magic=b"\x1f\x8b",
        programs=(
            Program(
                name="pigz", package="pigz", arguments=("--stdout", "-{level}", "--processes", "{threads}"), rate=97e6
            ),
            # Every Debian system has gzip.
            Program(name="gzip", package="gzip", arguments=("--stdout", "-{level}"), rate=68e6),
        ),
        highest_level=9,
    ),
    CodecRow(
        name="lz4",
        magic=b"\x04\x22\x4d\x18",
        programs=(Program(name="lz4", package="lz4", arguments=("--stdout", "--quiet", "-{level}"), rate=700e6),),
        highest_level=12,
        automatic_levels=(1,),
    ),
)
CODECS: Mapping[str, CodecRow] = {row.name: row for row in _ROWS}
"""The codecs by name."""

FALLBACK = "pigz"
"""The codec for hosts that have no other one in common."""

_TARBALL_FORMATS = (Format(magic=b"\xfd7zXZ\x00", programs=(Program(name="xz", package="xz-utils"),)),)
"""The formats of tarballs that are too slow for a stream."""


def formats() -> tuple[Format, ...]:
    """Return all formats that a tarball may have."""
    return (*CODECS.values(), *_TARBALL_FORMATS)


def programs() -> tuple[Program, ...]:
    """Return the programs of all formats."""
    return tuple(program for row in formats() for program in row.programs)
