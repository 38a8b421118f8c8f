"""The codecs that may compress a stream, and the measurements for the choice of one of them."""

from transferpy.model.options import AUTO, UNCOMPRESSED
from transferpy.planning.context import PlanContext
from transferpy.planning.topology import Edge
from transferpy.stream.codecs import Codec, codecs
from transferpy.stream.commands import Command

_LEAST_BYTES_TO_CHOOSE = 1 << 20
"""Below this size, starting a compressor takes longer than sending the data."""
_LEAST_BYTES_TO_PROBE = 64 << 20
"""Below this size, measuring the link costs more time than the best choice saves."""
_LEAST_LIMIT_TO_PROBE = 5_000_000
"""Bytes per second. Below this limit, the link is as fast as the limit with any buffers, if it is so fast at all."""
_MEMBER_BYTES = 1536
"""The bytes that tar adds to each file, half of them for the fractions of seconds."""


def is_compressed(context: PlanContext) -> bool:
    """Return whether streams may be compressed."""
    return context.options.compress and not context.options.type.is_compressed


def edge_codecs(context: PlanContext, edge: Edge) -> tuple[Codec, ...]:
    """Return the codecs that may compress the stream of an edge."""
    if not is_compressed(context) or (_is_automatic(context) and _stream_bytes(context) < _LEAST_BYTES_TO_CHOOSE):
        return ()
    sender, receiver = context.host(edge.sender), context.host(edge.receiver)
    return codecs(context.options, sender.tools, receiver.tools, sender.cores)


def codecs_by_label(context: PlanContext, edge: Edge) -> dict[str, Codec | None]:
    """Return the codecs of an edge by their labels; the value None stands for an uncompressed stream."""
    found: dict[str, Codec | None] = {codec.label: codec for codec in edge_codecs(context, edge)}
    return found if found and not _is_automatic(context) else {UNCOMPRESSED: None, **found}


def is_link_probed(context: PlanContext) -> bool:
    """Return whether the run measures the link, to choose a codec and the buffers of the sockets."""
    limit = context.options.bwlimit
    is_fast = not limit or limit >= _LEAST_LIMIT_TO_PROBE
    return is_fast and _stream_bytes(context) >= _LEAST_BYTES_TO_PROBE


def benchmarks(context: PlanContext) -> dict[str, Command]:
    """Return the commands to measure on a sample of the data, by codec; none where there is no choice."""
    found = (codec for edge in context.edges for codec in edge_codecs(context, edge))
    return {codec.label: codec.benchmark for codec in found} if _is_automatic(context) else {}


def _is_automatic(context: PlanContext) -> bool:
    return context.options.compressor == AUTO


def _stream_bytes(context: PlanContext) -> int:
    return context.source.bytes + context.source.inodes * _MEMBER_BYTES
