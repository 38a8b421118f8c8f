"""The rate of one and of several pipelines on hosts with processors to spare, calculated from measured costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .contests import WHOLE_STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PIPELINES = (1, 2, 4, 8)
CORES = 16
LINKS_OF_MODEL = {"10 Gbit/s": 10e9, "25 Gbit/s": 25e9}
"""Bits per second, by name."""
_GIB = 1 << 30
_PAYLOAD = 1448 / 1538 / 8
"""Bytes of payload per bit of an Ethernet link: a frame of 1448 bytes of payload takes the time of 1538 bytes."""
_STAGES = {
    "--no-compress": ("source: tar --create", "source: socat, TLS", "target: socat, TLS", "target: tar --extract"),
    "--no-compress --no-encrypt": (
        "source: tar --create",
        "source: socat, not encrypted",
        "target: socat, not encrypted",
        "target: tar --extract",
    ),
    "--compressor lz4": ("source: tar --create", "source: lz4", "target: lz4", "target: tar --extract"),
    "--compressor zstd": ("source: tar --create", "target: zstd", "target: tar --extract"),
}
"""The programs through which a stream passes. zstd compresses on all processors, so it is no limit of one pipeline."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The costs of a pipeline in processor seconds per GiB of data.

    Attributes:
        slowest: the name of its slowest stage.
        slowest_cost: the cost of that stage.
        ends: the costs of the whole stream on each end, with the digests and everything else.
        ratio: the bytes on the link per byte of data.
    """

    slowest: str
    slowest_cost: float
    ends: Mapping[str, float]
    ratio: float = 1.0

    def rate(self, pipelines: int, cores: int, link: float) -> tuple[float, str]:
        """Return the bytes of data per second of several pipelines, and the cause of the limit.

        Args:
            pipelines: the number of pipelines.
            cores: the processors of each end.
            link: the bits per second of the link.
        """
        limits = {
            self.slowest: pipelines * _GIB / self.slowest_cost,
            "the link": link * _PAYLOAD / self.ratio,
            **{f"processors of the {end}": cores * _GIB / cost for end, cost in self.ends.items()},
        }
        cause = min(limits, key=lambda name: limits[name])
        return limits[cause], cause


def pipelines(costs: Mapping[str, Mapping[str, float]]) -> Iterator[tuple[str, Pipeline]]:
    """Yield each stream of which all costs are known.

    Args:
        costs: the processor seconds per GiB on each end, by contender of the contest "stages".
    """
    for options in WHOLE_STREAMS:
        names = _STAGES[options]
        if options in costs and all(name in costs for name in names):
            slowest = max(names, key=lambda name: sum(costs[name].values()))
            yield (
                options,
                Pipeline(
                    slowest=slowest,
                    slowest_cost=sum(costs[slowest].values()),
                    ends=costs[options],
                    ratio=_ratio(options),
                ),
            )


def _ratio(options: str) -> float:
    return 1.0 if "--no-compress" in options else 0.5
