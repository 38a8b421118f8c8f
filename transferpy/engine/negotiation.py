"""Negotiate a stream: exchange certificates, choose the codec, let the receiver listen and the sender connect."""

import logging
import time

from transferpy.agent.protocol import (
    AcceptPeer,
    Checked,
    FileDigests,
    LinkMeasured,
    Listening,
    Manifest,
    Probed,
    Probing,
    Ready,
    Receive,
    SampleTaken,
    Send,
    Sending,
    SendProbe,
    SourceChanged,
    StreamDigest,
    Tables,
)
from transferpy.agent.session import Session
from transferpy.engine.root_cause import await_other_end, raise_stream_failure
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import StreamError
from transferpy.model.options import UNCOMPRESSED
from transferpy.stream.codec_choice import choose, measured_sample, reason, shrinks

logger = logging.getLogger(__name__)


def start_stream(run: StreamRun) -> None:
    """Let the receiver listen and the sender connect.

    Raises:
        TransferpyError: a session failed, or the two did not meet for the link probe.
    """
    sender, receiver = run.both
    sender.forget(Manifest, FileDigests, Tables, SourceChanged, StreamDigest, Checked, Sending, Probed)
    sender.statuses.clear()
    _wait_for(run, Ready, sender, receiver)
    if run.plan.options.encrypt:
        run.sessions.send(receiver, AcceptPeer(sender.expect(Ready).certificate))
    run.codec = _choose_codec(run)
    names = {codec.label: codec.words for codec in run.edge.codecs}
    run.update_report(codec=names.get(run.codec, UNCOMPRESSED))
    run.sessions.send(receiver, Receive(run.codec))
    _wait_for(run, Listening, receiver)
    opened = ", firewall opened" if run.edge.listening.firewall_rules else ""
    port = receiver.expect(Listening).port
    logger.info("%s: port %s listens for %s%s", receiver.host, port, sender.host, opened)
    sender.bytes = 0
    sender.moved = receiver.moved = time.monotonic()
    run.sending = True
    run.sessions.send(sender, Send(run.edge.label, run.codec, *_listener(run, Listening)))


def no_connection(run: StreamRun, kind: type[Listening] | type[Probing]) -> StreamError:
    """Return the error for a sender that could not connect to the listener of that event."""
    address, port, _ = _listener(run, kind)
    return StreamError(
        f"{run.names}: no connection to {address} port {port} within {run.plan.options.connect_timeout} seconds;"
        " is there a firewall between the two? (--connect-timeout)"
    )


def _wait_for(run: StreamRun, kind: type[Ready | Listening | Probing | Probed], *sessions: Session) -> None:
    if not run.wait_for(kind, *sessions):
        raise_stream_failure(run)


def _listener(run: StreamRun, kind: type[Listening] | type[Probing]) -> tuple[str, int, str]:
    """Return the address, the port and the certificate of the receiver's listener."""
    return run.edge.address, run.receiver.expect(kind).port, run.receiver.expect(Ready).certificate


def _choose_codec(run: StreamRun) -> str:
    """Return the label of the codec, and log the reasons where there is a choice."""
    labels = tuple(run.edge.sending.pipelines)
    if len(labels) == 1:
        return labels[0]
    # The sample needs the list of all files. With millions of files, the list takes long; its time has no limit.
    run.sessions.wait(*run.both, until=lambda: run.sender.has(SampleTaken))
    taken = run.sender.expect(SampleTaken)
    sample = measured_sample(taken.size, taken.trials)
    link: float | None = run.plan.options.bwlimit or None
    if run.edge.listening.probe and shrinks(sample):
        link = _measure_link(run)
    codec = choose(run.edge.codecs, sample, link, run.plan.sessions[run.edge.sender].cores)
    logger.info("%s: compression: %s", run.edge.target, reason(codec, sample, link))
    return codec.label if codec else UNCOMPRESSED


def _measure_link(run: StreamRun) -> float | None:
    """Return the bytes per second that the link carries, or None if the probe could not measure that."""
    sender, receiver = run.both
    _wait_for(run, Probing, receiver)
    if receiver.has(LinkMeasured):
        return None  # the listener ended before the sender could connect; the listener of the stream reports the error
    run.sessions.send(sender, SendProbe(run.edge.label, *_listener(run, Probing)))
    deadline = time.monotonic() + run.plan.options.connect_timeout
    met = run.sessions.wait(
        *run.both, until=lambda: receiver.has(LinkMeasured) or sender.has(Probed), deadline=deadline
    )
    if not met:
        raise no_connection(run, Probing)
    _wait_for(run, Probed, sender)
    # Another program may have connected first and may send nothing; the receiver then waits for it.
    if not await_other_end(run, *run.both, until=lambda: receiver.has(LinkMeasured)):
        return None
    return receiver.expect(LinkMeasured).rate
