"""The choice of a codec, from a sample of the data and the speed of the link."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transferpy.stream.codecs import Codec

_WORTH = 1.1
"""Data that does not shrink by more than this is sent as it is; nor does a codec win that is faster by less."""


@dataclass(frozen=True, kw_only=True)
class CodecBenchmark:
    """What a codec made of a sample: its size in bytes afterwards, and the seconds that took on one processor."""

    size: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is known of the data: bytes that were tried, and what each codec made of them, by its label."""

    size: int
    trials: Mapping[str, CodecBenchmark]


def measured_sample(size: int, trials: Iterable[tuple[str, int, int]]) -> Sample:
    """Return a sample of ``size`` bytes, from the label, the size in bytes and the microseconds of each codec."""
    benchmarks = {label: CodecBenchmark(size=rest, seconds=time / 1e6) for label, rest, time in trials}
    return Sample(size=size, trials=benchmarks if size else {})


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


def _factor(sample: Sample, trial: CodecBenchmark) -> float:
    return sample.size / max(trial.size, 1)
