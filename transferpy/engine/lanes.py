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
    """Return the number of lanes to request; with ``--streams auto``, choose it and log the reason.

    Args:
        run: the stream, whose codec is chosen.
        sample: the result of the sample; None where no sample was taken.
        rate: the bytes per second that the link probe measured; None if unknown.
    """
    most, obstacle = _affordable_lanes(run)
    if run.plan.options.streams != AUTO:
        if reason := run.edge.one_lane_reason or obstacle:
            requested = int(run.plan.options.streams)
            logger.info("%s: %d stream(s) instead of %d: %s", run.sender.host, most, requested, reason)
        return most
    lanes, reason = (1, run.edge.one_lane_reason or obstacle) if most == 1 else _chosen_lanes(run, most, sample, rate)
    if reason:
        logger.info("%s: streams: %d: %s", run.edge.target, lanes, reason)
    return lanes


def _affordable_lanes(run: StreamRun) -> tuple[int, str]:
    """Return the largest number of lanes whose relays fit into their memory, and the reason if there could be more."""
    edge = run.edge
    if not edge.relayed:
        return edge.most_lanes, ""
    lanes = lanes_within_memory(edge.sending.buffer, edge.listening.buffer, edge.most_lanes)
    if lanes == edge.most_lanes:
        return lanes, ""
    reason = f"more of them need over {size(MOST_HISTORY)} of memory to continue broken connections (--retries 0: none)"
    return lanes, reason


def _chosen_lanes(run: StreamRun, most: int, sample: Sample | None, rate: float | None) -> tuple[int, str]:
    """Return the number of lanes, at most ``most``, by the rates of the link and of the stages, and the reason."""
    options = run.plan.options
    codec = next((codec for codec in run.edge.codecs if codec.label == run.codec), None)
    if codec and not (sample and codec.label in sample.benchmarks):
        return 1, "no sample of the data could be taken, so the speed of the compressor is unknown"
    ratio, speed = (sample.ratio(codec.label), sample.speed(codec.label)) if codec and sample else (1.0, 1.0)
    link = link_of_data(rate, ratio, encrypt=options.encrypt, limit=options.bwlimit)
    if link is None:
        return 1, "the rate of the link is unknown"
    costs = stage_costs(encrypt=options.encrypt, digests=options.checksum, codec=codec, ratio=ratio, compression=speed)
    costs = costs.with_relays(ratio) if run.edge.relayed else costs
    source_cores, target_cores = (run.plan.sessions[node].cores for node in (run.edge.sender, run.edge.receiver))
    lanes = choose_lanes(costs, link.most, source_cores, target_cores, most)
    least = "at least " if link.most > link.measured else ""
    rates = ", ".join(
        f"{number} stream(s) {size(costs.rate(number, source_cores, target_cores))}/s" for number in sorted({1, lanes})
    )
    reason = f"the link carries {least}{size(link.measured)}/s of the data"
    return lanes, f"{reason}; calculated for {source_cores} and {target_cores} processors: {rates}"


def accept_lanes(run: StreamRun, requested: int) -> None:
    """Set and report the number of lanes that the receiver opened; log the reason if that are fewer than requested."""
    listening = run.receiver.expect(Listening)
    run.lanes = min(len(listening.ports), requested)
    run.directories_sent = False
    run.update_report(streams=run.lanes)
    if run.lanes < requested:
        reason = one_line(listening.obstacle[:_LONGEST_TEXT])
        logger.info("%s: %d stream(s) instead of %d: %s", run.receiver.host, run.lanes, requested, reason)
