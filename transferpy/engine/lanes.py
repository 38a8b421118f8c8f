"""The number of lanes of a stream: request it, and accept the number that the receiver opened."""

import logging

from transferpy.agent.protocol import Listening
from transferpy.engine.stream_run import StreamRun
from transferpy.model.options import AUTO
from transferpy.model.text import one_line, size
from transferpy.stream.codec_choice import Sample
from transferpy.stream.lane_choice import choose_lanes, link_of_data, stage_costs
from transferpy.stream.socket_buffers import MOST_HISTORY, lanes_within_memory

logger = logging.getLogger(__name__)

_LONGEST_TEXT = 300
"""Characters of the obstacle that a message contains."""


def requested_lanes(run: StreamRun, sample: Sample | None, rate: float | None) -> int:
    """Return the number of lanes to request, and log the reasons where there is a choice.

    Args:
        run: the stream, whose codec is chosen.
        sample: the result of the sample; None where no sample was taken.
        rate: the bytes per second that the link probe measured; None if unknown.
    """
    most, options = _affordable_lanes(run), run.plan.options
    if most == 1 or options.streams != AUTO:
        return most
    codec = next((codec for codec in run.edge.codecs if codec.label == run.codec), None)
    is_measured = codec is not None and sample is not None and codec.label in sample.benchmarks
    if codec and not (is_measured and sample):
        return 1  # the rate of the compressor is unknown
    ratio, speed = (sample.ratio(codec.label), sample.speed(codec.label)) if codec and sample else (1.0, 1.0)
    costs = stage_costs(encrypt=options.encrypt, digests=options.checksum, codec=codec, ratio=ratio, compression=speed)
    costs = costs.with_relays(ratio) if run.edge.relayed else costs
    source_cores, target_cores = (run.plan.sessions[node].cores for node in (run.edge.sender, run.edge.receiver))
    link = link_of_data(rate, ratio, encrypt=options.encrypt)
    lanes = choose_lanes(costs, link, source_cores, target_cores, most)
    one, several = (size(costs.rate(number, source_cores, target_cores)) for number in (1, lanes))
    link_text = size(link) + "/s" if link and link < float("inf") else "more" if link else "an unknown rate"
    logger.info(
        "%s: streams: %d; one carries %s/s of the data, %d %s/s, the link %s; the hosts have %d and %d processors",
        *(run.edge.target, lanes, one, lanes, several, link_text, source_cores, target_cores),
    )
    return lanes


def _affordable_lanes(run: StreamRun) -> int:
    """Return the largest number of lanes whose relays fit into their memory; log it if the user requested more."""
    edge = run.edge
    if not edge.relayed:
        return edge.most_lanes
    lanes = lanes_within_memory(edge.sending.buffer, edge.listening.buffer, edge.most_lanes)
    if lanes < edge.most_lanes and run.plan.options.streams != AUTO:
        reason = (
            f"more of them need over {size(MOST_HISTORY)} of memory to continue broken connections (--retries 0: none)"
        )
        logger.info("%s: %d stream(s) instead of %d: %s", run.sender.host, lanes, edge.most_lanes, reason)
    return lanes


def accept_lanes(run: StreamRun, requested: int) -> None:
    """Set and report the number of lanes that the receiver opened; log the reason if that are fewer than requested."""
    listening = run.receiver.expect(Listening)
    run.lanes = min(len(listening.ports), requested)
    run.directories_sent = False
    run.update_report(streams=run.lanes)
    if run.lanes < requested:
        reason = one_line(listening.obstacle[:_LONGEST_TEXT])
        logger.info("%s: %d stream(s) instead of %d: %s", run.receiver.host, run.lanes, requested, reason)
