"""The state of a session on a host, as its events report it."""

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from transferpy.agent import protocol
from transferpy.Exceptions import (
    FirewallError,
    PublishError,
    RemoteExecutionError,
    ReplicationError,
    TransferpyError,
    VerificationError,
)
from transferpy.model.text import one_line

if TYPE_CHECKING:
    from transferpy.RemoteExecution.interface import CommandResult, Outcome

logger = logging.getLogger(__name__)

_UNKNOWN = "transferpy does not know if replication runs again; check it there, and start it by hand if it does not run"
_STOPPED = "replication is stopped and does not start again, start it by hand: "
_START = "start_replication "
"""The beginning of each entry of an undo list that starts replication."""

_SIGNALLED = 128
_STORAGE_FAULTS = {
    "full": "is full",
    "inodes": "has no free inodes",
    "quota": "has a quota, which is exceeded",
    "read-only": "is read-only",
}

_ERRORS: dict[str, type[TransferpyError]] = {
    "port": FirewallError,
    "firewall": FirewallError,
    "attributes": VerificationError,
    "publish": PublishError,
    "replication": ReplicationError,
    "content": VerificationError,
}
"""By the kind of a failed session; each other kind is a RemoteExecutionError."""
_Kind = TypeVar("_Kind", bound=protocol.Event)
_Key = TypeVar("_Key")
_Report = TypeVar("_Report")

_CUT_TIME = 2.0
"""Seconds in which the end of a lost connection is known after its last line, which may be incomplete."""
_LONGEST_TEXT = 4000
"""Characters of a text of a host that are kept."""
_MOST_REPORTS = 2000
"""Reports of tasks and their stages that a session may send."""
_FASTEST_STREAM = 1 << 40
"""Bytes per second that no stream reaches."""
_TOLERATED_DECREASE = 16 << 20
"""Bytes: the observed stage can be a program of which the pipeline has two, and the second one starts later."""


class MalformedEventError(RemoteExecutionError):
    """A session sent an event that is malformed, or incomplete because the connection was lost."""


class Session:
    """A session on a host."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.statuses: dict[str, tuple[int, ...]] = {}  # of the stages of each task that has ended, by its name
        self.errors: dict[tuple[str, str], str] = {}  # the end of standard error, by task and number of the stage
        self.bytes = 0  # bytes that the observed stage of the stream has read
        self._first_bytes: int | None = None
        self._total = 0  # bytes that all stages of the stream have read
        self.moved = self.heard = time.monotonic()  # of the last progress of the stream, and of the last event
        self._refused = 0.0  # time of the last malformed event
        self.outcome: Outcome | None = None  # the result of the process, once it has ended
        self.error: TransferpyError | None = None  # the reason for which the session cannot continue
        self.stopping = False  # True after the command to stop
        self.replication = ReplicationState(host)
        self._events: dict[tuple[type[protocol.Event], int], protocol.Event] = {}  # by kind and lane

    def last(self, kind: type[_Kind], lane: int = 0) -> _Kind | None:
        """Return the last event of that kind, or None; most kinds do not belong to a lane, and have the lane 0."""
        event = self._events.get((kind, lane))
        return event if isinstance(event, kind) else None

    def expect(self, kind: type[_Kind], lane: int = 0) -> _Kind:
        """Return the last event of that kind; the arguments are those of :meth:`last`.

        Raises:
            RemoteExecutionError: the session has sent none.
        """
        event = self.last(kind, lane)
        if event is None:
            raise RemoteExecutionError(f"{self.host}: the session sent no event {kind.event_name!r}")
        return event

    def has(self, *kinds: type[protocol.Event]) -> bool:
        """Return whether the session has sent an event of any of these kinds, which do not belong to a lane."""
        return any((kind, 0) in self._events for kind in kinds)

    def forget(self, *kinds: type[protocol.Event]) -> None:
        """Forget the events of these kinds, of all lanes, because the next stream will bring new ones."""
        self._events = {key: event for key, event in self._events.items() if key[0] not in kinds}

    @property
    def alive(self) -> bool:
        """True while the session can take commands."""
        return self.outcome is None and self.error is None

    @property
    def received_bytes(self) -> int:
        """Bytes of the stream, without those that the observed stage read before the stream, such as its libraries."""
        return self.bytes - (self._first_bytes or 0)

    @property
    def ending(self) -> bool:
        """True if the session is about to end by itself."""
        return self.stopping or self.has(protocol.Published, protocol.SessionFailed, protocol.Ending, protocol.End)

    @property
    def undone(self) -> bool:
        """True if the session reported that it has undone all of its changes."""
        end = self.last(protocol.End)
        return end is not None and end.undone

    @property
    def directory(self) -> str:
        """The run directory of the session; empty before its first event."""
        hello = self.last(protocol.Hello)
        return hello.directory if hello else ""

    @property
    def storage_fault(self) -> str:
        """The fault that the session found in the file system of its target after a failure; empty if it found none."""
        event = self.last(protocol.StorageFault)
        if event is None:
            return ""
        fault = _STORAGE_FAULTS.get(event.fault, f"cannot be written: {one_line(event.text[:_LONGEST_TEXT])}")
        return f"the file system of {one_line(event.path)} {fault}"

    def refuse(self, problem: protocol.ProtocolError) -> None:
        """Record a malformed event: the session cannot continue."""
        self.heard = self._refused = time.monotonic()
        self.error = self.error or MalformedEventError(f"{self.host}: the session sent a malformed event {problem}")

    def failure(self, run_id: str) -> TransferpyError | None:
        """Return the error of a session that has failed or ended; None while it can take commands."""
        if self.error and not self._may_be_cut:
            return self.error
        if self.outcome is None or isinstance(self.outcome, TransferpyError):
            return self.outcome
        cause = self._cause_of_end(self.outcome, run_id)
        return RemoteExecutionError(
            f"{self.host}: the session ended early, with status {self.outcome.returncode}{cause}"
        )

    @property
    def _may_be_cut(self) -> bool:
        """True if the last event is malformed because the connection was lost, or if that is not known yet."""
        if not isinstance(self.error, MalformedEventError):
            return False
        if self.outcome is None:
            # A session that sends further events has not lost its connection.
            return self.heard == self._refused and time.monotonic() - self._refused < _CUT_TIME
        return not isinstance(self.outcome, TransferpyError) and self.outcome.returncode > _SIGNALLED

    def _cause_of_end(self, result: "CommandResult", run_id: str) -> str:
        """Return the cause of the end of the process, as far as it is known, as the end of a message."""
        if self.has(protocol.Ending):
            return ""
        lines = [line for line in result.output.splitlines() if line.strip() and not protocol.is_event(line, run_id)]
        if lines:
            return f": {lines[-1]}"
        # ssh returns 255 for a lost connection or a killed process; a local shell returns 128 and the signal.
        return ": it was killed, or the connection was lost" if result.returncode > _SIGNALLED else ""

    def handle(self, event: protocol.Event) -> None:
        """Change the state as an event of the session demands, and log what an administrator has to know."""
        before, self.heard = self.heard, time.monotonic()
        self._events[type(event), getattr(event, "lane", 0)] = event
        match event:
            case protocol.ProgressMade(bytes=count, total=total):
                self._progress(count or 0, total, self.heard - before)
                # The count is then that of the bytes that the observed stage read before the stream.
                self._first_bytes = count if self._first_bytes is None else self._first_bytes
            case protocol.Stages(job=task, statuses=statuses):
                self._add_report(self.statuses, task, statuses)
                self.moved = self.heard
            case protocol.StandardError(job=task, stage=stage, text=text):
                self._add_report(self.errors, (task, stage), text.strip()[-_LONGEST_TEXT:])
            case protocol.SessionFailed(kind=kind, text=text):
                messages = [*filter(None, [self.storage_fault]), one_line(text[:_LONGEST_TEXT])]
                self.error = _ERRORS.get(kind, RemoteExecutionError)(f"{self.host}: {'; '.join(messages)}")
            case protocol.UndoFailed(entry=entry, text=text):
                log_not_undone(self.host, entry[:_LONGEST_TEXT], one_line(text[:_LONGEST_TEXT]))
            case protocol.Unconfined(text=text):
                log_unconfined(self.host, one_line(text[:_LONGEST_TEXT]))
            case protocol.UnknownOption(text=text):
                log_unknown_option(self.host, one_line(text[:_LONGEST_TEXT]))
            case protocol.SetAside(path=path):
                log_set_aside(self.host, path[:_LONGEST_TEXT])
            case protocol.StaleRunRecovered(run=run, replication=replication):
                log_recovered(self.host, run, replication=replication)
        self.replication.handle(event, self.directory)

    def _add_report(self, reports: dict[_Key, _Report], key: _Key, report: _Report) -> None:
        reports[key] = report
        if len(reports) > _MOST_REPORTS:
            self.error = RemoteExecutionError(f"{self.host}: the session reported more than {_MOST_REPORTS} tasks")

    def _progress(self, count: int, total: int, seconds: float) -> None:
        # Without a stream, the count is 0.
        growth = count - self.bytes
        if (count and growth < -_TOLERATED_DECREASE) or growth > _FASTEST_STREAM * (seconds + 1):
            self.error = RemoteExecutionError(
                f"{self.host}: the session reported {count} bytes of the stream after {self.bytes} bytes,"
                " which is not possible"
            )
            return
        # tar reads no data from empty files. Then only the stages behind it read something.
        if growth > 0 or total != self._total:
            self.moved = self.heard
        self._total = total
        self.bytes = max(count, self.bytes)

    def credit(self, seconds: float) -> None:
        """Move the times of the last event and of the last growth by a time in which this process did not run."""
        self.heard += seconds
        self.moved += seconds


class ReplicationState:
    """The state of replication on the host of a session, as far as transferpy knows it."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.error = ""  # the reason for which replication may not run; empty while it runs as before
        self.stopped_seconds = 0.0  # the time for which it was stopped, as far as the session has reported it

    def handle(self, event: protocol.Event, run_directory: str) -> None:
        """Change the state as an event demands; only a report that replication runs clears the error."""
        if isinstance(event, protocol.ReplicationEnd):
            self.stopped_seconds += event.milliseconds / 1000
        match event:
            case protocol.ReplicationWaits():
                logger.info(
                    "%s: the backup waits for a moment without open temporary tables of replication", self._host
                )
            case protocol.ReplicationStopping():
                self.error = _UNKNOWN
                logger.info("%s: transferpy stops replication", self._host)
            case protocol.ReplicationStopped(connections=0):
                logger.info("%s: replication does not run, so there is nothing to stop", self._host)
            case protocol.ReplicationStopped(connections=connections):
                self.error = _UNKNOWN
                logger.info("%s: replication stopped: %d connection(s)", self._host, connections)
            case protocol.UndoFailed(entry=entry, text=text) if entry.startswith(_START):
                self.error = _STOPPED + one_line(text[:_LONGEST_TEXT])
            case protocol.StaleRunRecovered(run=run, pid=pid) if f"/run.{run}.{pid}." in run_directory:
                self.error = ""
            case protocol.ReplicationRuns():
                self.error = ""
                logger.info("%s: replication runs as before", self._host)
            case protocol.ReplicationLeft():
                self.error = ""
                logger.info("%s: another transfer needs replication stopped, and will start it again", self._host)


def log_recovered(host: str, run: str, *, replication: bool) -> None:
    """Log that a host undid the changes of a stale run; ``replication`` if it started replication, too."""
    logger.info("%s: undid the changes of the stale run %s", host, run)
    if replication:
        # An administrator may have stopped replication on purpose since then.
        logger.warning("%s: started replication, which that run had stopped", host)


def log_not_undone(host: str, entry: str, text: str) -> None:
    """Log that a host could not run an entry of an undo list, and the error."""
    if entry.startswith(_START):
        logger.warning("%s: replication does not start, the next run tries again: %s", host, text)
        return
    logger.warning("%s: not undone, the next run tries again: %s: %s", host, entry, text)


def log_unconfined(host: str, reason: str) -> None:
    """Log that a host prepares a hot copy although it cannot keep the tool from writing outside of the copy."""
    logger.warning(
        "%s: the preparation can write outside of the copy, because the host cannot confine it: %s", host, reason
    )


def log_unknown_option(host: str, line: str) -> None:
    """Log that the option file of a hot copy has a line that no backup tool writes."""
    logger.warning(
        "%s: backup-my.cnf of the copy has an option that no backup tool writes, read it before you prepare the copy:"
        " %s",
        host,
        line,
    )


def log_set_aside(host: str, path: str) -> None:
    """Log that a host renamed an incomplete copy, which had its final name, to ``path``."""
    logger.warning("%s: an incomplete copy had its final name; it was renamed to %s, remove it there", host, path)
