"""The choice of the number of lanes, the pipelines that carry one stream.

One pipeline has one process for each of its stages. Where the link carries more than the slowest stage, several
pipelines are faster, as long as the hosts have processors for them.
"""

import math
from dataclasses import dataclass, replace

from transferpy.model.options import MOST_STREAMS
from transferpy.stream.codecs import Codec

_GIB = 1 << 30
_READ, _UNPACK = 0.8 / _GIB, 1.65 / _GIB
"""Processor seconds of tar for each byte of the data; these figures and the next ones are measured."""
_SEND_TLS, _RECEIVE_TLS, _SEND_PLAIN, _RECEIVE_PLAIN = 0.9 / _GIB, 0.9 / _GIB, 0.5 / _GIB, 0.2 / _GIB
"""Processor seconds of socat for each byte on the network."""
_SENDING_RELAY, _RECEIVING_RELAY = 0.3 / _GIB, 0.06 / _GIB
"""Processor seconds of a relay for each byte on the network."""
_DECOMPRESS, _DIGEST = 0.7 / _GIB, 0.15 / _GIB
LEAST_BYTES = 1 << 30
"""A lane with less data gains less time than it needs to start."""
_LEAST_GAIN = 1.3
"""The factor by which several lanes must be faster than one: to read several files at once can make a disk slower."""
_LIMITED_BY_PROGRAM = 0.7
"""The share of the rate of one connection above which its program, not the link, is the limit of a probe."""
_ENOUGH = 0.97
"""The share of the highest rate with which fewer lanes are preferred."""


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
    send, receive = (_SEND_TLS, _RECEIVE_TLS) if encrypt else (_SEND_PLAIN, _RECEIVE_PLAIN)
    digest = (_DIGEST,) if digests else ()
    compress = 1 / compression if codec else 0.0
    is_parallel = codec is not None and codec.threads > 1
    return StageCosts(
        sender=(_READ, send / ratio, *digest, 0.0 if is_parallel else compress),
        receiver=(_UNPACK, receive / ratio, *digest, _DECOMPRESS if codec else 0.0),
        parallel=compress if is_parallel else 0.0,
    )


def most_lanes(data: int, files: int) -> int:
    """Return the largest number of lanes that an amount of data in bytes, and a number of files, are worth."""
    return max(1, min(MOST_STREAMS, files, data // LEAST_BYTES))


def link_of_data(rate: float | None, ratio: float, *, encrypt: bool) -> float | None:
    """Return the bytes of the data per second that a link carries; infinite if the link was not the limit of the probe.

    Args:
        rate: the bytes per second that the probe measured on one connection; None if unknown.
        ratio: the bytes of the data for each byte on the network.
        encrypt: whether the connection is encrypted.
    """
    if rate is None:
        return None
    one_connection = 1 / (max(_SEND_TLS, _RECEIVE_TLS) if encrypt else max(_SEND_PLAIN, _RECEIVE_PLAIN))
    return math.inf if rate > one_connection * _LIMITED_BY_PROGRAM else rate * ratio


def choose_lanes(costs: StageCosts, link: float | None, source_cores: int, target_cores: int, most: int) -> int:
    """Return the number of lanes of a stream.

    Args:
        costs: the costs of one pipeline.
        link: the bytes of the data per second that the link carries; None if unknown.
        source_cores: the processors of the source.
        target_cores: the processors of the target.
        most: the largest number of lanes.
    """
    if link is None:
        return 1
    rates = {lanes: min(link, costs.rate(lanes, source_cores, target_cores)) for lanes in range(1, most + 1)}
    highest = max(rates.values())
    if highest < rates[1] * _LEAST_GAIN:
        return 1
    return next(lanes for lanes, rate in rates.items() if rate >= highest * _ENOUGH)
