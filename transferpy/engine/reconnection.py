"""Continue a stream on a new connection after its connection broke, while the hosts and all its programs live.

The relay of the receiver reports the position from which it needs the stream, and that of the sender continues exactly
there. Positions travel between the hosts through the orchestration host. A stream is complete when the receiver has as
many bytes as the sender has read; the end of a connection proves nothing.

Each lane of a stream has its own relays, positions and connections. The other lanes go on while one reconnects.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto

from transferpy.agent import protocol
from transferpy.agent.session import Session
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.text import one_line, printable

logger = logging.getLogger(__name__)

_LONGEST_OUTAGE = 60.0
"""Seconds after which a stream without a connection fails."""
_ATTEMPT_TIME = 10.0
"""Seconds for one attempt to connect. Within it, the kernel sends its first packet four times."""
_LONGEST_PAUSE = 8.0
"""Seconds between two attempts; the second attempt begins a second after the first one."""
_ACCEPTANCE_REPORT_TIME = 2.0
"""Seconds in which the receiver reports that it has accepted the first connection; it looks once a second."""
_LAST_REPORT_TIME = 1.0
"""Seconds in which the end of the stream is known on the sender after the end of the connection on the receiver."""


class _State(Enum):
    CONNECTED = auto()
    PAUSED = auto()  # until the next attempt
    OPENING = auto()  # the receiver starts its listener
    CONNECTING = auto()  # the sender connects


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
        self._attempt = 0  # the number of attempts since the last byte
        self._broke = self._due = 0.0  # the times of the break, and of the next action
        self._cause = ""  # of the break
        self._last_served = 0  # the number of the last connection that carried bytes
        self._ended: float | None = None  # the time at which the end of the connection was seen, while its kind is open
        self._is_total_sent = self._is_finished = False

    @property
    def is_interrupted(self) -> bool:
        """True while the lane has no connection."""
        return self._state is not _State.CONNECTED and not self._is_accepted

    @property
    def is_lost(self) -> bool:
        """True if the lane has no connection, and no attempt is left."""
        if not self.is_interrupted:
            return False
        if self._clock() - self._broke >= _LONGEST_OUTAGE:
            return True
        is_last = self._is_log_overwritten or self._attempt >= self._run.plan.options.retries
        return is_last and self._state is _State.PAUSED

    @property
    def loss(self) -> str:
        """The message about a connection that is lost."""
        seconds = self._clock() - self._broke
        overwritten = f"; {self._run.sender.host}: the server has overwritten redo log that mariadb-backup had to read"
        return (
            f"{self._names}: the connection broke, and the stream could not continue: {self._attempt} attempts in"
            f" {seconds:.0f} s (--retries); it broke{self._cause}{overwritten if self._is_log_overwritten else ''}"
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
        if self._state is _State.CONNECTING and self._is_resumed:
            return self._report_resumed
        if receiver.last(protocol.Complete, self._lane):
            return self._finish
        if sender.last(protocol.Sent, self._lane) and not self._is_total_sent:
            return self._send_total
        return self._next_step()

    def _next_step(self) -> Callable[[], None] | None:
        """Return the action that the state of the connection demands."""
        if self._state is _State.CONNECTED:
            return self._step_after_break()
        has_failed = self._broken_end() or (self._is_due_time and not self._is_accepted)
        steps = {
            _State.PAUSED: (self._open, self._is_due_time and not self.is_lost),
            _State.OPENING: (self._connect, self._reopened),
        }
        step, is_due = steps.get(self._state, (self._pause, has_failed))
        if is_due:
            return step
        return self._pause if has_failed and self._state is _State.OPENING else None

    def _step_after_break(self) -> Callable[[], None] | None:
        """Return the action after the end of the connection; None while it serves, or may never have been made."""
        if not self._broken_end():
            return None
        if self._number > 0 or self._run.receiver.has(protocol.Connected):
            return self._begin
        self._ended = self._clock() if self._ended is None else self._ended
        return self._give_up if self._clock() - self._ended >= _ACCEPTANCE_REPORT_TIME else None

    @property
    def _is_log_overwritten(self) -> bool:
        """True if the server of a hot copy has overwritten its redo log since the last break."""
        event = self._run.sender.last(protocol.RedoOverwritten)
        return event is not None and event.connection > self._last_served

    @property
    def _is_due_time(self) -> bool:
        return self._clock() >= self._due

    @property
    def _reopened(self) -> protocol.Reopened | None:
        event = self._run.receiver.last(protocol.Reopened, self._lane)
        return event if event and event.connection == self._number else None

    @property
    def _is_resumed(self) -> bool:
        event = self._run.receiver.last(protocol.Resumed, self._lane)
        return event is not None and event.connection == self._number

    @property
    def _is_accepted(self) -> bool:
        """True if the receiver has accepted the connection; a slow source may not have sent a byte yet."""
        event = self._run.receiver.last(protocol.Reconnected, self._lane)
        return self._state is _State.CONNECTING and event is not None and event.connection == self._number

    def _broken_end(self) -> Session | None:
        """Return the session whose relay has reported the end of this connection; None while it serves."""
        for session in self._run.both:
            event = session.last(protocol.Broken, self._lane)
            if event and event.connection == self._number and not self._may_be_complete(session, event):
                return session
        return None

    def _may_be_complete(self, session: Session, event: protocol.Broken) -> bool:
        """Return whether the connection may have ended on the receiver because the stream is complete."""
        if session is self._run.sender:
            return False
        sent = self._run.sender.last(protocol.Sent, self._lane)
        if sent:
            return event.position == sent.bytes
        self._ended = self._clock() if self._ended is None else self._ended
        return self._clock() - self._ended < _LAST_REPORT_TIME

    def _begin(self) -> None:
        self._broke, self._attempt, self._cause = self._clock(), 0, self._reason()
        self._last_served = self._number
        self._pause()

    def _give_up(self) -> None:
        """Let the relays report a connection that was never made as a failure of their stage."""
        self._is_finished = True
        self.abandon()

    def _pause(self) -> None:
        logger.warning("%s: the connection broke%s", self._names, self._reason())
        self._state = _State.PAUSED
        self._due = self._clock() + min(2.0 ** (self._attempt - 1), _LONGEST_PAUSE) if self._attempt else 0.0

    def _reason(self) -> str:
        session = self._broken_end()
        event = session.last(protocol.Broken, self._lane) if session else None
        if session is None or event is None:
            return f" again: no connection within {_ATTEMPT_TIME:.0f} seconds"
        text = one_line(event.text) or f"the program of the transport ended with status {event.status}"
        return f" at byte {event.position}: {session.host}: {printable(text)}"

    def _open(self) -> None:
        self._attempt += 1
        self._number += 1
        self._state, self._due, self._ended = _State.OPENING, self._clock() + _ATTEMPT_TIME, None
        self._send(self._run.receiver, protocol.Reopen(self._lane, self._number))

    def _connect(self) -> None:
        position = self._reopened.position if self._reopened else 0
        self._state, self._due = _State.CONNECTING, self._clock() + _ATTEMPT_TIME
        limit = self._run.plan.options.retries
        text = "%s: attempt %d of %d to continue the stream at byte %d"
        logger.info(text, self._names, self._attempt, limit, position)
        self._send(self._run.sender, protocol.Resume(self._lane, self._number, position))

    def _report_resumed(self) -> None:
        self._state = _State.CONNECTED
        self._run.sender.moved = self._clock()
        seconds = self._clock() - self._broke
        self._run.add_interruption(seconds)
        position = self._reopened.position if self._reopened else 0
        logger.info("%s: the stream continues at byte %d, after %.1f s", self._names, position, seconds)

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

    @property
    def is_interrupted(self) -> bool:
        """True while a lane has no connection."""
        return any(lane.is_interrupted for lane in self._lanes)

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
