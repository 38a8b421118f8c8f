"""Copy over one edge: stream, verify, publish."""

import logging
from contextlib import suppress

from transferpy.agent.protocol import Position, Publish, Published
from transferpy.engine.negotiation import start_stream
from transferpy.engine.root_cause import await_other_end, raise_stream_failure
from transferpy.engine.stream_run import StreamRun
from transferpy.engine.streaming import await_stream
from transferpy.engine.verification import await_checks, verify
from transferpy.Exceptions import TransferpyError, VerificationError
from transferpy.model.progress import Phase

logger = logging.getLogger(__name__)


def copy(run: StreamRun, *, last: bool) -> None:
    """Copy over one edge.

    Args:
        run: the stream.
        last: the sender serves no other edge; it may end while the receiver publishes.

    Raises:
        TransferpyError: the copy failed.
    """
    start_stream(run)
    try:
        await_stream(run)
    except VerificationError:
        if run.receiver.error:
            # The received data is not complete. The sender may be about to report the root cause.
            await_other_end(run, until=run.has_ended)
            if run.has_failed():
                raise_stream_failure(run)
        raise
    run.enter(Phase.CHECKING)
    verify(run)
    if run.plan.options.prepare:
        logger.info("%s: preparing the copy", run.edge.final)
    if last:
        run.sessions.stop(run.sender)
    _publish(run)


def _publish(run: StreamRun) -> None:
    run.enter(Phase.PUBLISHING)
    run.sessions.send(run.receiver, Publish())
    await_checks(run, Published, run.receiver)
    report_published(run)
    _report_position(run)
    logger.info("%s: complete", run.edge.final)


def report_published(run: StreamRun) -> None:
    """Report that the copy is good, and the directory that was made for it, if the receiver has published it."""
    published = run.receiver.last(Published)
    if published is None:
        return
    run.update_report(status=0)
    if published.inode is not None:
        run.update_report(
            made_inode=published.inode,
            made_born=published.born,
            made_published=published.published,
            made_filesystem=published.filesystem,
        )


def _report_position(run: StreamRun) -> None:
    """Report the position of a hot copy in the binary logs, which the next command of the administrator needs."""
    position = run.receiver.last(Position)
    if position is None:
        return
    binlog, replica = (" ".join(text.split()) for text in (position.binlog, position.replica))
    if binlog:
        run.update_report(position=binlog)
        logger.info("%s: binary log file, position and GTID: %s", run.edge.final, binlog)
    if replica:
        logger.info("%s: replication position of its source: %s", run.edge.final, replica)


def await_sender(run: StreamRun) -> None:
    """Wait for the checks of a sender whose stream has ended: their result counts for the next edge, too.

    Raises nothing: a sender that fails here is not alive for the next edge.
    """
    if any(end.statuses for end in run.sending_ends):
        with suppress(TransferpyError):
            run.wait(run.sender, until=lambda: run.sender_is_free)
