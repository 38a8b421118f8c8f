"""The number of pipelines that may carry the files of a tree at the same time."""

from collections.abc import Iterator
from dataclasses import dataclass

from transferpy.model.options import AUTO
from transferpy.model.text import one_line
from transferpy.planning.compression import is_compressed
from transferpy.planning.context import PlanContext
from transferpy.planning.topology import Edge
from transferpy.stream.lane_choice import LEAST_BYTES, LEAST_GAIN, choose_lanes, most_lanes, stage_costs

_LONGEST_TEXT = 300
"""Characters of an error that a message contains."""
_MOST_ENTRIES = 2_000_000
"""With a list of files, tar keeps about 120 bytes in memory for each of them."""
_MOST_DIRECTORIES = 20_000
"""tar looks for each directory in the list of those whose attributes it sets at its end: the time grows as a square."""


@dataclass(frozen=True, kw_only=True)
class StreamsLimit:
    """The largest number of pipelines of an edge."""

    most: int
    reason: str = ""  # the reason for which there is one, with ``auto`` or in spite of a number; else empty


def most_streams(context: PlanContext, edge: Edge) -> int:
    """Return the largest number of pipelines of an edge that a run can choose; 1 where there is no choice."""
    return streams_limit(context, edge).most


def streams_limit(context: PlanContext, edge: Edge) -> StreamsLimit:
    """Return the largest number of pipelines of an edge that a run can choose, and the reason if that is 1."""
    options, source = context.options, context.source
    several = options.type.distributes_files and options.streams not in {1, "1"}
    if several and source.links_error:
        error = one_line(source.links_error[:_LONGEST_TEXT])
        return StreamsLimit(most=1, reason=f"the source host cannot run tar so that it follows no links: {error}")
    if options.streams != AUTO:
        return StreamsLimit(most=min(int(options.streams), max(source.files, 1)))
    if not options.type.distributes_files:
        return StreamsLimit(most=1)
    if reason := next(_reasons_for_one(context), ""):
        return StreamsLimit(most=1, reason=reason)
    # No codec is cheaper than no compression, so a run chooses no more.
    costs = stage_costs(encrypt=options.encrypt, digests=options.checksum, codec=None, ratio=1.0, compression=1.0)
    cores = context.host(edge.sender).cores, context.host(edge.receiver).cores
    most = choose_lanes(costs, float("inf"), *cores, most_lanes(source.bytes, source.files, source.largest))
    reason = "" if most > 1 else "the hosts have {} and {} processors, too few for another stream".format(*cores)
    return StreamsLimit(most=most, reason=reason)


def _reasons_for_one(context: PlanContext) -> Iterator[str]:
    """Yield the reasons of the options and of the source for which ``--streams auto`` uses one pipeline."""
    options, source = context.options, context.source
    if options.port:
        yield "a firewall may admit only the port of --port"
    if is_compressed(context) and options.compressor != AUTO:
        yield f"the speed of --compressor {options.compressor} is not measured"
    if source.files <= 1:  # a file is not divided
        yield "the source has no second file"
    if source.bytes < 2 * LEAST_BYTES:
        yield "the source has less than 2 GiB of data"
    if source.inodes > _MOST_ENTRIES:
        yield f"with {source.inodes:,} entries, several streams need much memory on the source"
    if source.directories > _MOST_DIRECTORIES:
        yield f"with {source.directories:,} directories, several streams are slower"
    if source.bytes < source.largest * LEAST_GAIN:
        yield "one file has most of the data"
