"""Continue a stream on a new connection after its connection broke, while the hosts and all its programs live.

The relay of the receiver reports the position from which it needs the stream, and that of the sender continues exactly
there. Positions travel between the hosts through the orchestration host. A stream is complete when the receiver has as
many bytes as the sender has read; the end of a connection proves nothing.

Each lane of a stream has its own relays, positions and connections. The other lanes go on while one reconnects.
"""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from transferpy.agent import protocol
from transferpy.agent.session import Session
from transferpy.engine.attempts import Attempts
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.text import one_line, printable

logger = logging.getLogger(__name__)

_ATTEMPT_TIME = 10.0
"""Seconds for one attempt to connect. Within it, the kernel sends its first packet four times."""
_REPORT_TIME = 2.0
"""Seconds in which the other end reports the end of the stream, or its greeting, after the end of a connection."""


class _State(Enum):
    CONNECTED = auto()
    PAUSED = auto()  # until the next attempt
    OPENING = auto()  # the receiver starts its listener
    CONNECTING = auto()  # the sender connects, and has not proven yet that it is the sender


def new_token() -> str:
    """Return the token of a connection: 32 characters that cannot be guessed."""
    return secrets.token_hex(16)


class Reconnection:
    """The connection of one lane of a stream, for which ``step`` takes the next action as soon as ``is_due``.

    Args:
        run: the stream.
        lane: the number of the lane.
        clock: the time in seconds, on a clock that nobody sets.
    """

    def __init__(self, run: StreamRun, lane: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._lane = lane
        self._names = f"{run.names}, stream {lane + 1} of {run.lanes}" if run.lanes > 1 else run.names
        self._clock = clock
        self._state = _State.CONNECTED
        self._number = 0  # of the connection
        self._attempts = Attempts(run.plan.options.retries, clock)
        self._due = 0.0  # the time of the next action
        self._cause = self._token = ""  # of the break, and of the connection
        self._last_served = 0  # the number of the last connection that carried bytes
        self._ended: float | None = None  # the time at which the end of the connection was seen, while its kind is open
        self._is_total_sent = self._is_finished = False

    @property
    def is_interrupted(self) -> bool:
        """True while the lane has no connection."""
        return self._state is not _State.CONNECTED

    def outage_after(self, moment: float) -> float:
        """Return the seconds of the last interruption, at most a minute; 0 if it ended before ``moment``."""
        return self._attempts.outage_after(moment, is_interrupted=self.is_interrupted)

    @property
    def is_lost(self) -> bool:
        """True if the lane has no connection, and no attempt is left."""
        if not self.is_interrupted:
            return False
        is_last = self._is_log_overwritten or self._attempts.are_used_up
        return self._attempts.are_late or (is_last and self._state is _State.PAUSED)

    @property
    def loss(self) -> str:
        """The message about a connection that is lost."""
        attempts = self._attempts
        overwritten = f"; {self._run.sender.host}: the server has overwritten redo log that mariadb-backup had to read"
        return (
            f"{self._names}: the connection broke, and the stream could not continue: attempts: {attempts.number}"
            f"{' (--retries)' if attempts.are_used_up else ''}, seconds: {attempts.seconds:.0f}; it broke{self._cause}"
            f"{overwritten if self._is_log_overwritten else ''}"
        )

    def is_due(self) -> bool:
        """Return whether an action is to be taken now."""
        return self._action() is not None

    def step(self) -> None:
        """Take the actions that are due."""
        while action := self._action():
            action()

    def abandon(self) -> None:
        """Let the relays of both ends treat a broken connection as a failure."""
        for session in self._run.both:
            self._send(session, protocol.Abandon(self._lane))

    def _action(self) -> Callable[[], None] | None:
        """Return the next action; None if there is nothing to do."""
        sender, receiver = self._run.both
        if not self._run.edge.relayed or self._is_finished:
            return None
        if self._state is _State.CONNECTING and self._is_established:
            return self._report_continued
        if receiver.last(protocol.Complete, self._lane) and self._is_total_sent:
            return self._finish
        if sender.last(protocol.Sent, self._lane) and not self._is_total_sent:
            return self._send_total
        return self._next_step()

    def _next_step(self) -> Callable[[], None] | None:
        """Return the action that the state of the connection demands."""
        if self._state is _State.CONNECTED:
            return self._step_after_break()
        if self._state is _State.PAUSED:
            return self._open if self._clock() >= self._due and not self.is_lost else None
        if self._broken_end() or self._clock() >= self._due:
            return self._pause
        return self._connect if self._state is _State.OPENING and self._reopened else None

    def _step_after_break(self) -> Callable[[], None] | None:
        """Return the action after the end of the connection; None while it serves, or may never have been made."""
        if not self._broken_end():
            return None
        if self._number > 0 or self._is_established:
            return self._begin
        return self._give_up if self._has_waited() else None

    @property
    def _is_log_overwritten(self) -> bool:
        """True if the server of a hot copy has overwritten its redo log since the last break."""
        event = self._run.sender.last(protocol.RedoOverwritten)
        return event is not None and event.connection > self._last_served

    @property
    def _reopened(self) -> protocol.Reopened | None:
        event = self._run.receiver.last(protocol.Reopened, self._lane)
        return event if event and event.connection == self._number else None

    @property
    def _is_established(self) -> bool:
        event = self._run.receiver.last(protocol.Established, self._lane)
        return event is not None and event.connection == self._number

    def _broken_end(self) -> Session | None:
        """Return the session whose relay has reported the end of this connection; None while it serves."""
        for session in self._run.both:
            event = session.last(protocol.Broken, self._lane)
            if (
                event
                and event.connection == self._number
                and not (self._is_established and self._may_be_complete(session, event))
            ):
                return session
        return None

    def _may_be_complete(self, session: Session, event: protocol.Broken) -> bool:
        """Return whether the connection may have ended because the stream is complete."""
        sent = self._run.sender.last(protocol.Sent, self._lane)
        is_sender = session is self._run.sender
        if (sent and event.position != sent.bytes) or (is_sender and not sent):
            return False
        if sent and not is_sender:
            return True
        return not self._has_waited()

    def _has_waited(self) -> bool:
        """Return whether the other end had enough time for its report, since the first call for this connection."""
        self._ended = self._clock() if self._ended is None else self._ended
        return self._clock() - self._ended >= _REPORT_TIME

    def _begin(self) -> None:
        self._attempts.begin()
        self._cause, self._last_served = self._reason(), self._number
        self._pause()

    def _give_up(self) -> None:
        """Let the relays report a connection that was never made as a failure of their stage."""
        self._is_finished = True
        self.abandon()

    def _pause(self) -> None:
        logger.warning("%s: the connection broke%s", self._names, self._reason())
        self._state = _State.PAUSED
        self._due = self._clock() + self._attempts.pause

    def _reason(self) -> str:
        session = self._broken_end()
        event = session.last(protocol.Broken, self._lane) if session else None
        if session is None or event is None:
            return f" again: no connection within {_ATTEMPT_TIME:.0f} seconds"
        text = one_line(event.text) or f"the program of the transport ended with status {event.status}"
        return f" at byte {event.position}: {session.host}: {printable(text)}"

    def _open(self) -> None:
        self._attempts.add()
        self._number += 1
        self._state, self._due, self._ended = _State.OPENING, self._clock() + _ATTEMPT_TIME, None
        self._token = new_token()
        self._send(self._run.receiver, protocol.Reopen(self._lane, self._number, self._token))

    def _connect(self) -> None:
        position = self._reopened.position if self._reopened else 0
        self._attempts.continue_at(position)
        self._state, self._due = _State.CONNECTING, self._clock() + _ATTEMPT_TIME
        text = "%s: attempt %d of %d to continue the stream at byte %d"
        logger.info(text, self._names, self._attempts.number, self._attempts.limit, position)
        self._send(self._run.sender, protocol.Resume(self._lane, self._number, position, self._token))

    def _report_continued(self) -> None:
        self._state, seconds = _State.CONNECTED, self._attempts.succeed()
        self._run.add_interruption(seconds)
        logger.info("%s: the stream continues at byte %d, after %.1f s", self._names, self._attempts.position, seconds)

    def _send_total(self) -> None:
        self._is_total_sent = True
        sent = self._run.sender.expect(protocol.Sent, self._lane)
        self._send(self._run.receiver, protocol.Total(self._lane, sent.bytes))

    def _finish(self) -> None:
        self._is_finished = True
        self._send(self._run.sender, protocol.Finish(self._lane))

    def _send(self, session: Session, command: protocol.SessionCommand) -> None:
        with suppress(RemoteExecutionError):  # the session has ended, and the next wait reports that
            self._run.sessions.send(session, command)


class Reconnections:
    """The connections of all lanes of a stream, which is lost when one lane is lost.

    Args:
        run: the stream, whose number of lanes is known.
    """

    def __init__(self, run: StreamRun) -> None:
        self._lanes = tuple(Reconnection(run, lane) for lane in range(run.lanes))

    def outage_after(self, moment: float) -> float:
        """Return the seconds of the longest last interruption of a lane; 0 if all ended before ``moment``."""
        return max(lane.outage_after(moment) for lane in self._lanes)

    @property
    def loss(self) -> str:
        """The message about the first lane whose connection is lost; empty if none is."""
        return next((lane.loss for lane in self._lanes if lane.is_lost), "")

    def is_due(self) -> bool:
        """Return whether an action is to be taken now."""
        return any(lane.is_due() for lane in self._lanes)

    def step(self) -> None:
        """Take the actions that are due."""
        for lane in self._lanes:
            lane.step()

    def abandon(self) -> None:
        """Let the relays of all lanes treat a broken connection as a failure."""
        for lane in self._lanes:
            lane.abandon()
