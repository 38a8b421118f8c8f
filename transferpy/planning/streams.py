"""The number of pipelines that may carry the files of a tree at the same time."""

from transferpy.model.options import AUTO
from transferpy.planning.compression import is_link_probed
from transferpy.planning.context import PlanContext
from transferpy.planning.topology import Edge
from transferpy.stream.lane_choice import choose_lanes, most_lanes, stage_costs


def most_streams(context: PlanContext, edge: Edge) -> int:
    """Return the largest number of pipelines of an edge that a run can choose; 1 where there is no choice."""
    options, source = context.options, context.source
    if options.streams != AUTO:
        return min(int(options.streams), max(source.files, 1))
    if not options.type.distributes_files or options.port or not is_link_probed(context):
        return 1
    # No codec is cheaper than no compression, so a run chooses no more.
    costs = stage_costs(encrypt=options.encrypt, digests=options.checksum, codec=None, ratio=1.0, compression=1.0)
    sender, receiver = context.host(edge.sender), context.host(edge.receiver)
    most = most_lanes(source.bytes, source.files)
    return choose_lanes(costs, float("inf"), sender.cores, receiver.cores, most)
