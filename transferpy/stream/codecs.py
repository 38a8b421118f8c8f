"""Compression of a stream: the commands of a codec on both hosts."""

from dataclasses import dataclass

from transferpy.model.codecs import CODECS, FALLBACK, Program
from transferpy.model.options import AUTO, TransferOptions
from transferpy.stream.commands import Command


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A codec at one level, between two hosts.

    Attributes:
        name: the name of its row in the table of codecs.
        label: its name in session commands and events, a plain word.
        display_name: its name in messages.
        compress: the command for the source.
        decompress: the command for the target.
        benchmark: ``compress`` on one processor, to measure it on a sample.
        threads: how many processors it uses.
    """

    name: str
    label: str
    display_name: str
    compress: Command
    decompress: Command
    benchmark: Command
    threads: int


def available_codec(wanted: str, source_tools: frozenset[str], target_tools: frozenset[str]) -> str:
    """Return the codec asked for if both hosts have a program for it, else the fallback.

    Args:
        wanted: a codec, or ``auto``.
        source_tools: the programs that the source has.
        target_tools: the programs that the target has.
    """
    is_available = wanted in CODECS and _program(wanted, source_tools) and _program(wanted, target_tools)
    return wanted if is_available else FALLBACK


def codecs(
    options: TransferOptions, source_tools: frozenset[str], target_tools: frozenset[str], cores: int
) -> tuple[Codec, ...]:
    """Return the codecs that may compress the stream between two hosts; one, unless the run chooses.

    Args:
        options: those of the request.
        source_tools: the programs that the source has.
        target_tools: the programs that the target has.
        cores: processors of the source.
    """
    threads = options.compress_threads or cores
    if options.compressor != AUTO:
        name = available_codec(options.compressor, source_tools, target_tools)
        level = options.compress_level if name == options.compressor else 0
        return (_codec(name, level, threads, source_tools, target_tools),)
    found = tuple(
        _codec(row.name, level, threads, source_tools, target_tools)
        for row in CODECS.values()
        for level in row.automatic_levels
        if available_codec(row.name, source_tools, target_tools) == row.name
    )
    return found or (_codec(FALLBACK, 0, threads, source_tools, target_tools),)


def _codec(name: str, level: int, threads: int, source_tools: frozenset[str], target_tools: frozenset[str]) -> Codec:
    row = CODECS[name]
    level = level or row.default_level
    compressor = _program(name, source_tools) or row.programs[-1]
    decompressor = _program(name, target_tools) or row.programs[-1]
    return Codec(
        name=name,
        label=f"{name}{level}",
        display_name=f"{compressor.name} -{level}",
        compress=Command(compressor.compress(level, threads)),
        decompress=Command(decompressor.decompress),
        benchmark=Command(compressor.compress(level, 1)),
        threads=threads if compressor.is_parallel else 1,
    )


def _program(name: str, tools: frozenset[str]) -> Program | None:
    return next((program for program in CODECS[name].programs if program.name in tools), None)
