"""Compression: the codecs, and which of them has a stream arrive first.

One row of the table has both directions of a codec, so that they cannot grow apart. What ``choose`` decides from is
measured in each run: how small a sample of the data gets and how fast, and what the link carries.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from transferpy.commands import Command
from transferpy.options import Compressor, TransferOptions
from transferpy.session import Event, whole

NOTHING = "none"
"""The label of a stream that is not compressed."""

_WORTH = 1.1
"""Data that does not shrink by more than this is sent as it is; nor does a codec win that is faster by less."""


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
class Trial:
    """What a codec made of a sample: its size in bytes afterwards, and the seconds that took on one processor."""

    size: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is known of the data: bytes that were tried, and what each codec made of them, by its label."""

    size: int
    trials: Mapping[str, Trial]


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


def sample_of(event: Event) -> Sample:
    """Return what the source said of a sample; one without trials for what makes no sense."""
    try:
        size = whole(event.fields["size"])
        words = [word.split(":") for word in event.fields["trials"].split(",") if word]
        trials = {label: Trial(size=whole(rest), seconds=whole(time) / 1e6) for label, rest, time in words}
    except (KeyError, ValueError):
        return Sample(size=0, trials={})
    return Sample(size=size, trials=trials if size else {})


def link_of(event: Event) -> float | None:
    """Return how many bytes per second the target saw come, None if it saw too little to tell."""
    try:
        count, microseconds = whole(event.fields["bytes"]), whole(event.fields["microseconds"])
    except (KeyError, ValueError):
        return None
    return count / microseconds * 1e6 if microseconds else None


def shrinks(sample: Sample) -> bool:
    """Tell whether any codec made less of the sample; if none does, the link need not be known."""
    return any(_factor(sample, trial) > _WORTH for trial in sample.trials.values())


def choose(candidates: Iterable[Codec], sample: Sample, link: float | None, cores: int) -> Codec | None:
    """Return the codec with which most of the data passes in a second, or None for none.

    Args:
        candidates: those that both hosts have.
        sample: what they made of some of the data.
        link: bytes per second that it carries, with encryption if the stream has that; None if that is not known.
        cores: processors of the source.
    """
    if not sample.trials:
        return next(iter(candidates), None)  # most data shrinks
    tried = [codec for codec in candidates if codec.label in sample.trials]
    worth = [codec for codec in tried if _factor(sample, sample.trials[codec.label]) > _WORTH]
    if not worth:
        return None
    if link is None:
        return worth[0]

    def rate(codec: Codec) -> float:
        trial = sample.trials[codec.label]
        # What reads the data and what encrypts it want a processor, too.
        processors = min(codec.threads, max(1, cores - 1))
        return min(sample.size / max(trial.seconds, 1e-6) * processors, link * _factor(sample, trial))

    best = max(worth, key=rate)
    return best if rate(best) > link * _WORTH else None


def reason(chosen: Codec | None, sample: Sample, link: float | None) -> str:
    """Return a choice and what it was made from, for the log."""
    words = [chosen.words if chosen else "none"]
    if not sample.trials:
        words.append("no sample could be taken")
    elif chosen:
        trial = sample.trials[chosen.label]
        speed = sample.size / max(trial.seconds, 1e-6) / 1e6
        words.append(f"a sample shrinks to {trial.size / sample.size:.0%}, at {speed:.0f} MB/s on one core")
    else:
        words.append(
            f"a sample shrinks to {min(trial.size for trial in sample.trials.values()) / sample.size:.0%} at best"
        )
    if link is not None:
        words.append(f"the link carries {link / 1e6:.0f} MB/s")
    return "; ".join(words)


def _factor(sample: Sample, trial: Trial) -> float:
    return sample.size / max(trial.size, 1)
