"""Compression of a stream: the commands of a codec on both hosts."""

from dataclasses import dataclass, replace

from transferpy.model.codecs import CODECS, FALLBACK, Program
from transferpy.model.options import AUTO, TransferOptions
from transferpy.stream.commands import Argument, Command, Variable, join

_LANE_THREADS = Variable("lane_threads")
_THREADS = "{threads}"
"""It stands for the number of processors in the arguments of a program."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A codec at one level, between two hosts."""

    name: str  # the name of its row in the table of codecs
    label: str  # its name in session commands and events, a plain word
    display_name: str  # its name in messages
    compress: Command
    decompress: Command
    compress_lane: Command  # the same as compress, with the processors that the session sets for each of several lanes
    benchmark: Command  # compresses on one processor, to measure the codec on a sample
    threads: int  # how many processors it uses

    @property
    def in_lane(self) -> "Codec":
        """The codec of one of several lanes."""
        return replace(self, compress=self.compress_lane)


def codecs(
    options: TransferOptions, source_tools: frozenset[str], target_tools: frozenset[str], cores: int
) -> tuple[Codec, ...]:
    """Return the codecs that may compress the stream between two hosts; one, unless the run chooses.

    Args:
        options: the options of the run.
        source_tools: the programs that the source has.
        target_tools: the programs that the target has.
        cores: processors of the source.
    """
    threads = compressor_threads(options, cores)
    wanted = [(options.compressor, options.compress_level)]
    if options.compressor == AUTO:
        wanted = [(row.name, level) for row in CODECS.values() for level in row.automatic_levels]
    found = tuple(
        _codec(name, level, threads, compressor, decompressor)
        for name, level in wanted
        if (compressor := _program(name, source_tools)) and (decompressor := _program(name, target_tools))
    )
    if found:
        return found
    last_resort = CODECS[FALLBACK].programs[-1]
    compressor, decompressor = (_program(FALLBACK, tools) or last_resort for tools in (source_tools, target_tools))
    level = options.compress_level if options.compressor == FALLBACK else 0
    return (_codec(FALLBACK, level, threads, compressor, decompressor),)


def compressor_threads(options: TransferOptions, cores: int) -> int:
    """Return the number of processors for all compressors of a stream on a host with ``cores`` processors."""
    return options.compress_threads or cores


def _codec(name: str, level: int, threads: int, compressor: Program, decompressor: Program) -> Codec:
    level = level or CODECS[name].default_level
    return Codec(
        name=name,
        label=f"{name}{level}",
        display_name=f"{compressor.name} -{level}",
        compress=Command(compressor.compress(level, threads)),
        decompress=Command(decompressor.decompress),
        compress_lane=Command(tuple(map(_with_lane_threads, compressor.compress(level, _THREADS)))),
        benchmark=Command(compressor.compress(level, 1)),
        threads=threads if compressor.is_parallel else 1,
    )


def _with_lane_threads(argument: str) -> Argument:
    before, mark, after = argument.partition(_THREADS)
    parts: tuple[str | Variable, ...] = (before, _LANE_THREADS, after)
    return join(*(part for part in parts if part)) if mark else argument


def _program(name: str, tools: frozenset[str]) -> Program | None:
    return next((program for program in CODECS[name].programs if program.name in tools), None)
