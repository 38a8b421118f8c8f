"""Negotiate a stream: exchange certificates, choose the codec and the buffers, then connect.

The receiver listens before the sender connects.
"""

import logging
import time

from transferpy.agent import protocol
from transferpy.engine.connection import listener, wait_for
from transferpy.engine.lanes import accept_lanes, requested_lanes
from transferpy.engine.link import measure_link
from transferpy.engine.reconnection import new_token
from transferpy.engine.stream_run import StreamRun
from transferpy.model.options import UNCOMPRESSED
from transferpy.model.text import listed, size
from transferpy.stream.codec_choice import Sample, choice_summary, choose_codec, measured_sample
from transferpy.stream.socket_buffers import bytes_on_the_way, needed_buffer

logger = logging.getLogger(__name__)


def start_stream(run: StreamRun) -> None:
    """Let the receiver listen and the sender connect.

    Raises:
        TransferpyError: a session failed, or the link probe had no connection.
    """
    sender, receiver = run.both
    sender.forget(
        protocol.Broken,
        protocol.Sent,
        protocol.Manifest,
        protocol.FileDigests,
        protocol.Tables,
        protocol.SourceChanged,
        protocol.StreamDigest,
        protocol.Checked,
        protocol.Sending,
        protocol.Probed,
        protocol.Handshake,
    )
    sender.statuses.clear()
    sender.errors.clear()
    wait_for(run, protocol.Ready, sender, receiver)
    if run.plan.options.encrypt:
        run.sessions.send(receiver, protocol.AcceptPeer(sender.expect(protocol.Ready).certificate))
    sample = _taken_sample(run)
    link = measure_link(run) if run.edge.listening.probe else protocol.LinkMeasured()
    run.codec = _choose_codec(run, sample, link.rate)
    lanes = requested_lanes(run, sample, link.rate)
    send_buffer, receive_buffer = _choose_buffers(run, link, lanes)
    names = {codec.label: codec.display_name for codec in run.edge.codecs}
    run.update_report(codec=names.get(run.codec, UNCOMPRESSED))
    token = new_token()
    run.sessions.send(receiver, protocol.Receive(run.codec, receive_buffer, token, lanes if lanes > 1 else ""))
    wait_for(run, protocol.Listening, receiver)
    accept_lanes(run, lanes)
    opened = ", firewall opened" if run.edge.listening.firewall_rules else ""
    ports = receiver.expect(protocol.Listening).ports[: run.lanes]
    logger.info("%s: port %s listens for %s%s", receiver.host, listed(ports), sender.host, opened)
    sender.bytes = 0
    sender.moved = time.monotonic()
    run.sending = True
    address, _, certificate = listener(run, protocol.Listening)
    history = bytes_on_the_way(
        send_buffer or run.edge.sending.buffer.kernel, receive_buffer or run.edge.listening.buffer.kernel
    )
    words = run.edge.label, run.codec, address, ",".join(map(str, ports)), send_buffer, history, token, certificate
    run.sessions.send(sender, protocol.Send(*words))


def _taken_sample(run: StreamRun) -> Sample | None:
    """Return the result of the sample; None where there is no choice of a codec."""
    if len(run.edge.sending.pipelines) == 1:
        return None
    # The sample needs the list of all files. With millions of files, the list takes long.
    run.wait(*run.both, until=lambda: run.sender.has(protocol.SampleTaken))
    taken = run.sender.expect(protocol.SampleTaken)
    return measured_sample(taken.size, taken.trials)


def _choose_codec(run: StreamRun, sample: Sample | None, rate: float | None) -> str:
    """Return the label of the codec, and log the reasons where there is a choice."""
    if sample is None:
        return next(iter(run.edge.sending.pipelines))
    # The probe of a limited stream has the same limit.
    rate = rate or run.plan.options.bwlimit or None
    codec = choose_codec(run.edge.codecs, sample, rate, run.plan.sessions[run.edge.sender].cores)
    logger.info("%s: compression: %s", run.edge.target, choice_summary(codec, sample, rate))
    return codec.label if codec else UNCOMPRESSED


def _choose_buffers(run: StreamRun, link: protocol.LinkMeasured, lanes: int) -> tuple[int, int]:
    """Return the send buffer and the receive buffer of each lane, 0 for those of the kernel.

    The buffers are logged and reported with the link.
    """
    needed = needed_buffer(link.rate, link.round_trip)
    send, receive = run.edge.sending.buffer.fit(needed, lanes), run.edge.listening.buffer.fit(needed, lanes)
    if link.rate:
        run.update_report(
            link_rate=link.rate,
            round_trip_seconds=link.round_trip or 0.0,
            send_buffer=send,
            receive_buffer=receive,
        )
        time_text = f"{link.round_trip * 1e3:.1f} ms" if link.round_trip else "unknown"
        sizes = ", ".join(
            f"{name} {size(chosen) if chosen else 'as the kernel chooses'}"
            for name, chosen in (("send buffer", send), ("receive buffer", receive))
        )
        text = "%s: link: %s/s, round-trip time %s; %s"
        logger.info(text, run.edge.target, size(link.rate), time_text, sizes)
    return send, receive
