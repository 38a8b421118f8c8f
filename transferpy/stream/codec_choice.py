"""The choice of a codec, from a sample of the data and the speed of the link."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transferpy.stream.codecs import Codec

_LEAST_GAIN = 1.1
"""The factor by which data must shrink to be compressed, and by which compression must increase the throughput."""


@dataclass(frozen=True, kw_only=True)
class CodecBenchmark:
    """The result of a codec on a sample: the compressed size in bytes, and the seconds on one processor."""

    size: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample of the data: its size in bytes, and the result of each codec by its label."""

    size: int
    benchmarks: Mapping[str, CodecBenchmark]

    @property
    def is_compressible(self) -> bool:
        """Whether any codec makes the sample smaller by enough to be used."""
        return any(self.ratio(label) > _LEAST_GAIN for label in self.benchmarks)

    def ratio(self, label: str) -> float:
        """Return the size of the sample, divided by its compressed size."""
        return self.size / max(self.benchmarks[label].size, 1)

    def speed(self, label: str) -> float:
        """Return the bytes of the sample that a codec compresses in a second on one processor."""
        return self.size / max(self.benchmarks[label].seconds, 1e-6)


def measured_sample(size: int, results: Iterable[tuple[str, int, int]]) -> Sample:
    """Return a sample of ``size`` bytes, from the label, the compressed size and the microseconds of each codec."""
    benchmarks = {label: CodecBenchmark(size=rest, seconds=time / 1e6) for label, rest, time in results}
    return Sample(size=size, benchmarks=benchmarks if size else {})


def choose_codec(candidates: Iterable[Codec], sample: Sample, link: float | None, cores: int) -> Codec | None:
    """Return the codec with the highest throughput; None for an uncompressed stream.

    Args:
        candidates: the codecs that both hosts have.
        sample: the sample of the data.
        link: the speed of the link in bytes per second, with encryption if the stream is encrypted; None if unknown.
        cores: the processors of the source.
    """
    if not sample.benchmarks:
        return next(iter(candidates), None)  # most data shrinks
    measured = (codec for codec in candidates if codec.label in sample.benchmarks)
    useful = [codec for codec in measured if sample.ratio(codec.label) > _LEAST_GAIN]
    if link is None or not useful:
        return next(iter(useful), None)

    def throughput(codec: Codec) -> float:
        # One processor is left for reading and encrypting.
        processors = min(codec.threads, max(1, cores - 1))
        return min(sample.speed(codec.label) * processors, link * sample.ratio(codec.label))

    best = max(useful, key=throughput)
    return best if throughput(best) > link * _LEAST_GAIN else None


def choice_summary(chosen: Codec | None, sample: Sample, link: float | None) -> str:
    """Return the chosen codec and the measurements behind the choice, for the log."""
    parts = [chosen.display_name if chosen else "none"]
    if not sample.benchmarks:
        parts.append("no sample could be taken")
    elif chosen:
        share, speed = 1 / sample.ratio(chosen.label), sample.speed(chosen.label) / 1e6
        parts.append(f"a sample shrinks to {share:.0%}, at {speed:.0f} MB/s on one core")
    else:
        share = 1 / max(map(sample.ratio, sample.benchmarks))
        parts.append(f"a sample shrinks to {share:.0%} at best")
    if link is not None:
        parts.append(f"the link carries {link / 1e6:.0f} MB/s")
    return "; ".join(parts)
