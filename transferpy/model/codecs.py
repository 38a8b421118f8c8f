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
    # further arguments to decompress a tarball: {memory} is the memory that the program may use, in MiB, and {window}
    # is the same, but not more than the largest window of zstd
    tarball_arguments: tuple[str, ...] = ()

    @property
    def is_parallel(self) -> bool:
        """Whether it uses several processors."""
        return any("{threads}" in argument for argument in self.arguments)

    def compress(self, level: int, threads: int | str) -> tuple[str, ...]:
        """Return the program and its arguments to compress at a level with some threads, or a text in their place."""
        return (self.name, *(argument.format(level=level, threads=threads) for argument in self.arguments))

    @property
    def decompress(self) -> tuple[str, ...]:
        """The program and its arguments to decompress."""
        return (self.name, "--decompress", "--stdout")

    def decompress_tarball(self, memory: int) -> tuple[str, ...]:
        """Return the program and its arguments to decompress a tarball with at most ``memory`` bytes of memory."""
        limit = max(memory >> 20, 1)
        values = {"memory": limit, "window": min(limit, 2048)}
        return (*self.decompress, *(argument.format(**values) for argument in self.tarball_arguments))


@dataclass(frozen=True, kw_only=True)
class Format:
    """A compressed format."""

    magic: bytes  # a regular expression for the first bytes of a file
    # the programs that can stand in for each other, the best first; the last one unpacks tarballs
    programs: tuple[Program, ...]


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
        # A frame of this or an older version, or a skippable frame, with which pzstd begins. zstd also reads lz4 frames
        # behind skippable ones.
        magic=rb"[\x25-\x28]\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
        programs=(
            Program(
                name="zstd",
                package="zstd",
                arguments=("--stdout", "--quiet", "-T{threads}", "-{level}"),
                rate=290e6,
                tarball_arguments=("--memory={window}MB",),
            ),
        ),
        highest_level=19,
        automatic_levels=(1, 3),
    ),
    CodecRow(
        name="pigz",
        # The formats of gzip (now and before 1992), compress, pack, lzh and zip.
        magic=rb"\x1f[\x8b\x9e\x9d\x1e\xa0]|PK\x03\x04",
        programs=(
            Program(
                name="pigz", package="pigz", arguments=("--stdout", "-{level}", "--processes", "{threads}"), rate=97e6
            ),
            # Every Debian system has gzip. pigz does not read all of these formats, and exits with status 0 if garbage
            # is behind the data.
            Program(name="gzip", package="gzip", arguments=("--stdout", "-{level}"), rate=68e6),
        ),
        highest_level=9,
    ),
    CodecRow(
        name="lz4",
        magic=rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18",  # a frame, or a legacy frame
        programs=(Program(name="lz4", package="lz4", arguments=("--stdout", "--quiet", "-{level}"), rate=700e6),),
        highest_level=12,
        automatic_levels=(1,),
    ),
)
CODECS: Mapping[str, CodecRow] = {row.name: row for row in _ROWS}
"""The codecs by name."""

FALLBACK = "pigz"
"""The codec for hosts that have no other one in common."""

# .lzma has no magic: properties, the size of the dictionary, the size of the data (unknown, or below 1 TiB), and the
# first byte of the data, which is 0. xz decides about a file of another kind that looks like this.
_LZMA = rb"[\x00-\xe0](?!\x00{4}).{4}(?:\xff{8}|.{5}\x00{3})\x00"
_TARBALL_FORMATS = (
    Format(magic=rb"BZh[1-9]", programs=(Program(name="bzip2", package="bzip2"),)),
    Format(magic=rb"LZIP", programs=(Program(name="lzip", package="lzip", tarball_arguments=("--trailing-error",)),)),
    Format(magic=rb"\x89LZO\x00\r\n\x1a\n", programs=(Program(name="lzop", package="lzop"),)),
    Format(
        magic=rb"\xfd7zXZ\x00|" + _LZMA,
        programs=(Program(name="xz", package="xz-utils", tarball_arguments=("--memlimit-decompress={memory}MiB",)),),
    ),
)
"""The formats of tarballs that are not for a stream."""


def formats() -> tuple[Format, ...]:
    """Return all formats that a tarball may have."""
    return (*CODECS.values(), *_TARBALL_FORMATS)


def programs() -> tuple[Program, ...]:
    """Return the programs of all formats."""
    return tuple(program for row in formats() for program in row.programs)
