"""Wait for the end of a stream, within its time limits."""

import logging
import time
from typing import NoReturn

from transferpy.agent.protocol import Connected, Listening, SendDirectories, Sent, StreamDigest, parse_count
from transferpy.engine.connection import no_connection
from transferpy.engine.reconnection import Reconnections
from transferpy.engine.root_cause import await_other_end, raise_stream_failure
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import StreamError
from transferpy.model.progress import Phase
from transferpy.model.text import size

logger = logging.getLogger(__name__)

_HANDSHAKE_BYTES = 1 << 16
"""More bytes than the two ends exchange before the first byte of the data."""
_BUFFER_TIME = 3600.0
"""Seconds that a target may need for the data in the buffers, after the end of the source."""


def await_stream(run: StreamRun) -> None:
    """Wait for the end of the stream on both ends.

    Raises:
        StreamError: a stage failed, there was no connection, or no byte moved for too long.
    """
    began = time.monotonic()
    started = None
    connections = Reconnections(run)
    while not run.has_ended() and not run.has_failed() and not connections.loss:
        connections.step()
        now = time.monotonic()
        if started is None and run.flows:
            # Before this, the sender has listed its files, or has waited for a server; that has no limit of its own.
            started = run.sender.moved = now
            run.enter(Phase.COPYING)
        if started is not None:
            moved = _last_progress(run)
            # An interruption has limits of its own. Without progress of the source, only the last one counts.
            _check_limits(run, now - started, now - moved - connections.outage_after(moved))
        _send_directories(run)
        run.wait(
            *run.both,
            until=lambda: run.has_ended() or run.has_failed() or run.waits_for_directories or connections.is_due(),
            deadline=now + 1,
        )
    if run.has_failed() or connections.loss:
        _raise_failure(run, connections)
    _report_received(run, max(time.monotonic() - began, 0.001))


def _raise_failure(run: StreamRun, connections: Reconnections) -> NoReturn:
    """Raise the error of a stream that has failed, or of which a lane has no connection any more."""
    lost = connections.loss
    if run.edge.relayed:
        connections.abandon()
    if not lost:
        raise_stream_failure(run)
    await_other_end(run, until=run.has_ended)
    raise StreamError(lost)


def _send_directories(run: StreamRun) -> None:
    """Let the first lane send the directories, once the files of all other lanes are unpacked."""
    if run.waits_for_directories:
        run.directories_sent = True
        run.sessions.send(run.sender, SendDirectories())


def _last_progress(run: StreamRun) -> float:
    """Return the time of the last progress (monotonic seconds).

    A target can report any progress. It does not count, because the source stops when the target takes no more data.
    But at the end of the source, the buffers between the two can hold hundreds of thousands of small files.
    """
    lanes = enumerate(run.sending_ends)
    # The first lane waits for the others, and then sends the directories.
    waits = run.lanes > 1 and not run.directories_sent
    has_sent = all(end.statuses or run.sender.last(Sent, lane) or (waits and lane == 0) for lane, end in lanes)
    return max(run.sender.moved, min(run.receiver.moved, run.sender.moved + _BUFFER_TIME) if has_sent else 0.0)


def _check_limits(run: StreamRun, since_start: float, since_moved: float) -> None:
    options = run.plan.options
    if not run.receiver.has(Connected) and since_start > options.connect_timeout:
        raise no_connection(run, Listening)
    # A tree is read at once. The first byte of a hot copy may take some time. All bytes that have left the sender may
    # be in the buffers between the two.
    moved = max(run.sender.bytes, run.receiver.received_bytes)
    flows = not options.type.may_start_late or moved > _HANDSHAKE_BYTES
    if flows and since_moved > options.idle_timeout:
        raise StreamError(
            f"{run.names}: the stream made no progress for {options.idle_timeout} seconds,"
            f" after {size(run.receiver.bytes)} (--idle-timeout)"
        )


def _report_received(run: StreamRun, seconds: float) -> None:
    text, count = _received(run)
    facts = run.plan.facts
    run.update_report(
        wire_bytes=run.receiver.received_bytes, stream_seconds=seconds, bytes=facts.bytes, files=facts.files
    )
    rate = f" ({size(count / seconds)}/s)" if count else ""
    logger.info("%s: received %s in %.1f s%s", run.receiver.host, text, seconds, rate)


def _received(run: StreamRun) -> tuple[str, int]:
    """Return the received amount as text and in bytes; 0 bytes where the amount is unknown."""
    options = run.plan.options
    if options.type.compares_files:
        return size(run.plan.facts.bytes), run.plan.facts.bytes
    # The size of a server's files is an estimate, that of a tarball's content is unknown. The bytes on the network are
    # counted: without --parallel-checksum, the digest of the stream is their number.
    counted = run.receiver.last(StreamDigest)
    if counted is None or options.parallel_checksum:
        return "the stream", 0
    try:
        count = parse_count(counted.digest)
    except ValueError:
        return "the stream", 0  # the comparison with the sender's digest reports this
    return f"a stream of {size(count)}", count
