"""Compression: the codecs, and which of them has a stream arrive first.

One row of the table has both directions of a codec, so that they cannot grow apart. What ``choose`` decides from is
measured in each run: how small a sample of the data gets and how fast, and what the link carries.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from transferpy.model.options import Compressor, TransferOptions
from transferpy.stream.commands import Command


@dataclass(frozen=True, kw_only=True)
class Codec:
    """One way to compress a stream.

    Attributes:
        compressor: whose language it speaks.
        label: names it in orders and events, a plain word.
        words: names it in messages.
        compress: the command, for the source.
        decompress: the command, for the target.
        trial: ``compress`` on one processor, for a sample.
        threads: how many processors it uses.
    """

    compressor: Compressor
    label: str
    words: str
    compress: Command
    decompress: Command
    trial: Command
    threads: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Both directions of a codec; ``programs`` can stand in for each other, the best first."""

    programs: tuple[str, ...]
    level: int
    argv: Callable[[str, int, int], tuple[str, ...]]  # of program, level and threads
    is_parallel: bool


_ROWS: Mapping[Compressor, _Row] = {
    Compressor.ZSTD: _Row(
        programs=("zstd",),
        level=1,
        argv=lambda program, level, threads: (program, "--stdout", "--quiet", f"-T{threads}", f"-{level}"),
        is_parallel=True,
    ),
    Compressor.LZ4: _Row(
        programs=("lz4",),
        level=1,
        argv=lambda program, level, _threads: (program, "--stdout", "--quiet", f"-{level}"),
        is_parallel=False,
    ),
    # Every Debian system has gzip, which speaks the same language on one processor.
    Compressor.PIGZ: _Row(
        programs=("pigz", "gzip"),
        level=1,
        argv=lambda program, level, threads: (
            *(program, "--stdout", f"-{level}"),
            *(("--processes", str(threads)) if program == "pigz" else ()),
        ),
        is_parallel=True,
    ),
}
_AUTOMATIC = ((Compressor.ZSTD, 1), (Compressor.ZSTD, 3), (Compressor.LZ4, 1))
"""What ``choose`` chooses from, beside nothing; pigz only where the hosts have nothing faster in common."""


def available_compressor(wanted: Compressor, source_tools: frozenset[str], target_tools: frozenset[str]) -> Compressor:
    """Return the compressor asked for if both hosts have it, else pigz, for which gzip can stand in."""
    if wanted in _ROWS and _program(wanted, source_tools) and _program(wanted, target_tools):
        return wanted
    return Compressor.PIGZ


def codecs(
    options: TransferOptions, source_tools: frozenset[str], target_tools: frozenset[str], cores: int
) -> tuple[Codec, ...]:
    """Return the codecs that may compress the stream between two hosts: one, unless the choice is left to the run.

    Args:
        options: those of the request.
        source_tools: the programs that the source has.
        target_tools: those that the target has.
        cores: processors of the source.
    """
    threads = options.compress_threads or cores
    if options.compressor is not Compressor.AUTO:
        compressor = available_compressor(options.compressor, source_tools, target_tools)
        level = options.compress_level if compressor is options.compressor else 0
        return (_codec(compressor, level, threads, source_tools, target_tools),)
    found = tuple(
        _codec(compressor, level, threads, source_tools, target_tools)
        for compressor, level in _AUTOMATIC
        if available_compressor(compressor, source_tools, target_tools) is compressor
    )
    return found or (_codec(Compressor.PIGZ, 0, threads, source_tools, target_tools),)


def _codec(
    compressor: Compressor, level: int, threads: int, source_tools: frozenset[str], target_tools: frozenset[str]
) -> Codec:
    row = _ROWS[compressor]
    level = level or row.level
    ours, theirs = _program(compressor, source_tools) or "gzip", _program(compressor, target_tools) or "gzip"
    return Codec(
        compressor=compressor,
        label=f"{compressor}{level}",
        words=f"{ours} -{level}",
        compress=Command(row.argv(ours, level, threads)),
        decompress=Command((theirs, "--decompress", "--stdout")),
        trial=Command(row.argv(ours, level, 1)),
        threads=threads if row.is_parallel and ours != "gzip" else 1,
    )


def _program(compressor: Compressor, tools: Iterable[str]) -> str | None:
    return next((program for program in _ROWS[compressor].programs if program in tools), None)
