"""The choice of the number of lanes, the pipelines that carry one stream.

One pipeline has one process for each of its stages. Where the link carries more than the slowest stage, several
pipelines are faster, as long as the hosts have processors for them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from transferpy.stream.codecs import Codec

_GIB = 1 << 30
STAGE_SECONDS: Mapping[str, float] = {
    "source: tar --create": 0.53,
    "source: xxh128sum": 0.35,
    "source: socat, TLS": 0.99,
    "source: socat, not encrypted": 0.62,
    "target: socat, TLS": 1.27,
    "target: socat, not encrypted": 0.49,
    "target: zstd": 0.79,
    "target: lz4": 0.94,
    "target: tar --extract": 0.86,
    "target: xxh128sum": 0.39,
}
"""The processor seconds of each stage for each GiB, from the table of the stages in docs/benchmarks.rst."""
_SENDING_RELAY, _RECEIVING_RELAY = 0.3 / _GIB, 0.06 / _GIB
"""The processor seconds of a relay for each byte on the network."""
LEAST_BYTES = 1 << 30
"""A lane with less data gains less time than it needs to start."""
MOST_AUTOMATIC = 4
"""The largest number of lanes to choose: each needs a port, memory and processes, and one probe measures the link."""
LEAST_GAIN = 1.3
"""The factor by which several lanes must be faster than one: to read several files at once can make a disk slower."""
_LIMITED_BY_PROGRAM = 0.7
"""The share of the rate of its program above which the program, not the link, can be the limit of a probe."""
_LARGEST_LINK = 2
"""The assumed rate of a link that was not the limit of its probe, as a multiple of the rate of the program."""
_ENOUGH = 0.97
"""The share of the highest rate with which fewer lanes are preferred."""


@dataclass(frozen=True, kw_only=True)
class DataLink:
    """The bytes of the data per second that a link carries."""

    measured: float  # as the probe measured on one connection
    most: float  # the rate to count with; higher than the measured one if the link was not the limit of the probe


@dataclass(frozen=True, kw_only=True)
class StageCosts:
    """The processor seconds of the stages of one pipeline, for each byte of the data."""

    sender: tuple[float, ...]
    receiver: tuple[float, ...]
    parallel: float = 0.0  # those of the compressor of the sender, if it uses several processors

    def with_relays(self, ratio: float) -> "StageCosts":
        """Return the costs of a pipeline with relays; ``ratio`` is that of :func:`stage_costs`."""
        sender, receiver = (*self.sender, _SENDING_RELAY / ratio), (*self.receiver, _RECEIVING_RELAY / ratio)
        return replace(self, sender=sender, receiver=receiver)

    def rate(self, lanes: int, source_cores: int, target_cores: int) -> float:
        """Return the bytes per second of a number of pipelines on hosts with these numbers of processors."""
        of_sender, of_receiver = sum(self.sender) + self.parallel, sum(self.receiver)
        slowest = max(*self.sender, *self.receiver)
        # One processor of each host is left for the kernel and its other work.
        source, target = (max(1, cores - 1) for cores in (source_cores, target_cores))
        return min(lanes / slowest, source / of_sender, target / of_receiver)


def stage_costs(*, encrypt: bool, digests: bool, codec: Codec | None, ratio: float, compression: float) -> StageCosts:
    """Return the costs of a pipeline.

    Args:
        encrypt: whether the stream is encrypted.
        digests: whether the files are digested on both ends.
        codec: the codec; None for an uncompressed stream.
        ratio: the bytes of the data for each byte on the network.
        compression: the bytes of the data that the codec compresses in a second on one processor.
    """
    send, receive = _connection(encrypt=encrypt)
    compress = 1 / compression if codec else 0.0
    is_parallel = codec is not None and codec.threads > 1
    return StageCosts(
        sender=(
            _cost("source: tar --create"),
            send / ratio,
            _cost("source: xxh128sum") if digests else 0.0,
            0.0 if is_parallel else compress,
        ),
        receiver=(
            _cost("target: tar --extract"),
            receive / ratio,
            _cost("target: xxh128sum") if digests else 0.0,
            _decompression(codec) if codec else 0.0,
        ),
        parallel=compress if is_parallel else 0.0,
    )


def _cost(stage: str) -> float:
    """Return the processor seconds of a stage for each byte."""
    return STAGE_SECONDS[stage] / _GIB


def _connection(*, encrypt: bool) -> tuple[float, float]:
    """Return the processor seconds of both ends of a connection for each byte on the network."""
    kind = "TLS" if encrypt else "not encrypted"
    return _cost(f"source: socat, {kind}"), _cost(f"target: socat, {kind}")


def _decompression(codec: Codec) -> float:
    # Other codecs than these are not measured; they are not faster.
    return _cost("target: zstd" if codec.name == "zstd" else "target: lz4")


def most_lanes(data: int, files: int, largest: int) -> int:
    """Return the largest number of lanes to choose for a source.

    Args:
        data: the bytes of all files.
        files: the number of files.
        largest: the bytes of the largest file, which one lane has to carry.
    """
    if data < largest * LEAST_GAIN:
        return 1
    return max(1, min(MOST_AUTOMATIC, files, data // LEAST_BYTES, math.ceil(data / max(largest, 1))))


def link_of_data(rate: float | None, ratio: float, *, encrypt: bool, limit: int = 0) -> DataLink | None:
    """Return the link; None if it is unknown.

    Args:
        rate: the bytes per second that the probe measured on one connection; None if unknown.
        ratio: the bytes of the data for each byte on the network.
        encrypt: whether the connection is encrypted.
        limit: the bytes per second that all connections may carry together; 0 for no limit.
    """
    if rate is None:
        return None
    program = 1 / max(_connection(encrypt=encrypt))
    most = max(rate, _LARGEST_LINK * program) if rate > program * _LIMITED_BY_PROGRAM else rate
    return DataLink(measured=rate * ratio, most=min(most, limit or most) * ratio)


def choose_lanes(costs: StageCosts, link: float, source_cores: int, target_cores: int, most: int) -> int:
    """Return the number of lanes of a stream.

    Args:
        costs: the costs of one pipeline.
        link: the bytes of the data per second that the link carries.
        source_cores: the processors of the source.
        target_cores: the processors of the target.
        most: the largest number of lanes.
    """
    rates = {lanes: min(link, costs.rate(lanes, source_cores, target_cores)) for lanes in range(1, most + 1)}
    highest = max(rates.values())
    if highest < rates[1] * LEAST_GAIN:
        return 1
    return next(lanes for lanes, rate in rates.items() if rate >= highest * _ENOUGH)
