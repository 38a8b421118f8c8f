"""Negotiate a stream: exchange certificates, choose the codec, let the receiver listen and the sender connect."""

import logging
import time

from transferpy.agent import protocol
from transferpy.agent.session import Session
from transferpy.engine.handshake import explain_handshake
from transferpy.engine.root_cause import await_other_end, raise_stream_failure
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import StreamError
from transferpy.model.options import UNCOMPRESSED
from transferpy.stream.codec_choice import choice_summary, choose_codec, measured_sample

logger = logging.getLogger(__name__)


def start_stream(run: StreamRun) -> None:
    """Let the receiver listen and the sender connect.

    Raises:
        TransferpyError: a session failed, or the link probe had no connection.
    """
    sender, receiver = run.both
    sender.forget(
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
    _wait_for(run, protocol.Ready, sender, receiver)
    if run.plan.options.encrypt:
        run.sessions.send(receiver, protocol.AcceptPeer(sender.expect(protocol.Ready).certificate))
    run.codec = _choose_codec(run)
    names = {codec.label: codec.display_name for codec in run.edge.codecs}
    run.update_report(codec=names.get(run.codec, UNCOMPRESSED))
    run.sessions.send(receiver, protocol.Receive(run.codec))
    _wait_for(run, protocol.Listening, receiver)
    opened = ", firewall opened" if run.edge.listening.firewall_rules else ""
    port = receiver.expect(protocol.Listening).port
    logger.info("%s: port %s listens for %s%s", receiver.host, port, sender.host, opened)
    sender.bytes = 0
    sender.moved = time.monotonic()
    run.sending = True
    run.sessions.send(sender, protocol.Send(run.edge.label, run.codec, *_listener(run, protocol.Listening)))


def no_connection(run: StreamRun, kind: type[protocol.Listening] | type[protocol.Probing]) -> StreamError:
    """Return the error for a sender that could not connect to the listener of that event.

    Raises:
        TransferpyError: one of the sessions ended, failed or fell silent, which is the root cause.
    """
    address, port, _ = _listener(run, kind)
    return StreamError(
        f"{run.names}: no connection to {address} port {port} within {run.plan.options.connect_timeout} seconds"
        f" (--connect-timeout); {explain_handshake(run) or 'is there a firewall between the two?'}"
    )


def _wait_for(
    run: StreamRun,
    kind: type[protocol.Ready | protocol.Listening | protocol.Probing | protocol.Probed],
    *sessions: Session,
) -> None:
    if not run.wait_for(kind, *sessions):
        raise_stream_failure(run)


def _listener(run: StreamRun, kind: type[protocol.Listening] | type[protocol.Probing]) -> tuple[str, int, str]:
    """Return the address, the port and the certificate of the receiver's listener."""
    return run.edge.address, run.receiver.expect(kind).port, run.receiver.expect(protocol.Ready).certificate


def _choose_codec(run: StreamRun) -> str:
    """Return the label of the codec, and log the reasons where there is a choice."""
    labels = tuple(run.edge.sending.pipelines)
    if len(labels) == 1:
        return labels[0]
    # The sample needs the list of all files. With millions of files, the list takes long.
    run.wait(*run.both, until=lambda: run.sender.has(protocol.SampleTaken))
    taken = run.sender.expect(protocol.SampleTaken)
    sample = measured_sample(taken.size, taken.trials)
    link: float | None = run.plan.options.bwlimit or None
    if run.edge.listening.probe and sample.is_compressible:
        link = _measure_link(run)
    codec = choose_codec(run.edge.codecs, sample, link, run.plan.sessions[run.edge.sender].cores)
    logger.info("%s: compression: %s", run.edge.target, choice_summary(codec, sample, link))
    return codec.label if codec else UNCOMPRESSED


def _measure_link(run: StreamRun) -> float | None:
    """Return the bytes per second that the link carries, or None if the probe could not measure that."""
    sender, receiver = run.both
    _wait_for(run, protocol.Probing, receiver)
    if receiver.has(protocol.LinkMeasured):
        return None  # the listener ended before the sender could connect; the listener of the stream reports the error
    run.sessions.send(sender, protocol.SendProbe(run.edge.label, *_listener(run, protocol.Probing)))
    deadline = time.monotonic() + run.plan.options.connect_timeout
    met = run.wait(
        *run.both, until=lambda: receiver.has(protocol.LinkMeasured) or sender.has(protocol.Probed), deadline=deadline
    )
    if not met:
        raise no_connection(run, protocol.Probing)
    _wait_for(run, protocol.Probed, sender)
    # Another program may have connected first and may send nothing; the receiver then waits for it.
    if not await_other_end(run, *run.both, until=lambda: receiver.has(protocol.LinkMeasured)):
        return None
    return receiver.expect(protocol.LinkMeasured).rate
