"""Manage the sessions of one run: start them, send them commands, handle their events, and end them.

All of this happens in the thread of the caller. The threads of the remote processes only fill the inbox.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from transferpy.agent.budget import LineBudget
from transferpy.agent.preflight_connection import PreflightConnection, dismiss
from transferpy.agent.protocol import Hello, SessionCommand, Stop
from transferpy.agent.session import Session
from transferpy.agent.session_events import SessionEvents
from transferpy.agent.session_script import recovery_script
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.interface import Job, RemoteExecution

logger = logging.getLogger(__name__)

_SILENCE = 120.0
"""Seconds without an event after which a session has failed; it sends one each second."""
_CLEAN_UP_TIME = 600.0
"""Seconds that a session has to undo its changes; the removal of a large partial copy takes some time."""
_LOOK_INTERVAL = 0.5
"""Seconds between two looks at the deadlines while no event arrives."""
_LAST_EVENTS_TIME = 10.0
"""Seconds for the last events of a session whose process was ended."""
_DOUBTFUL_TIME = 5.0
"""Seconds for the clean-up of a host that most likely was not changed; the host may be cut off."""


class SessionManager:
    """The sessions of one run.

    Args:
        remote: runs commands on the hosts.
        run_id: the identifier of the run.
        tick: called several times a second during a wait.
    """

    def __init__(self, remote: RemoteExecution, run_id: str, tick: Callable[[], None] = lambda: None) -> None:
        self._remote = remote
        self._run_id = run_id
        self._tick = tick
        self._events = SessionEvents(run_id)
        self._connections: dict[str, PreflightConnection] = {}
        self._jobs: dict[Session, Job] = {}
        self._sessions: list[Session] = []

    def start(self, host: str, script: str) -> Session:
        """Start a session on ``host``, over the open preflight connection if there is one, and return at once.

        Raises:
            RemoteExecutionError: the name of the host is not valid.
        """
        session = Session(host)
        self._sessions.append(session)

        listener = self._events.listener(session)
        connection = self._connections.get(host)
        if connection is not None and connection.claim(listener):
            # In this order, a signal between two steps leaves no connection that neither list contains.
            self._jobs[session] = connection.job
            del self._connections[host]
            try:
                self._remote.hand_script(host, connection.job, script)
            except RemoteExecutionError:
                # The connection broke at this moment. A host never runs an incomplete script.
                return self.start(host, script)
        else:
            self._jobs[session] = self._remote.start_job(
                host, script, on_line=listener, on_end=listener, takes_input=True
            )
        return session

    def keep_connections(self, connections: Mapping[str, PreflightConnection]) -> None:
        """Keep preflight connections open for the sessions on their hosts."""
        self._connections.update(connections)

    def dismiss_connections(self) -> None:
        """End the preflight connections that no session uses; raises nothing."""
        dismiss(self._connections)
        self._connections.clear()

    def send(self, session: Session, command: SessionCommand) -> None:
        """Send a session a command and return at once.

        Raises:
            RemoteExecutionError: the session has ended.
        """
        self._remote.write_job(session.host, self._jobs[session], command.line)
        session.stopping = isinstance(command, Stop)

    def stop(self, session: Session) -> None:
        """Tell a session to end, if it is not ending yet; do not wait for its end."""
        if session.alive and not session.ending:
            with suppress(RemoteExecutionError):  # the session has ended
                self.send(session, Stop())

    def wait(self, *sessions: Session, until: Callable[[], bool], deadline: float | None = None) -> bool:
        """Handle events until a condition holds; return the condition.

        Args:
            sessions: the sessions that must not end, fail or fall silent during the wait.
            until: the condition, evaluated after each event.
            deadline: time of the end of the wait (monotonic seconds), or None.

        Raises:
            TransferpyError: one of the sessions ended, failed or fell silent.
        """
        while not until():
            for session in sessions:
                self._check(session)
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._events.handle_next(self._jobs, _LOOK_INTERVAL)
            self._tick()
        return True

    def _check(self, session: Session) -> None:
        if failure := session.failure(self._run_id):
            raise failure
        # The inbox may hold events that arrived while this thread was busy.
        if not self._events and time.monotonic() - session.heard > _SILENCE:
            raise RemoteExecutionError(f"{session.host}: no heartbeat for {_SILENCE:.0f} seconds")

    def replication_errors(self) -> str:
        """Return the hosts on which replication may not run again, with the reasons; empty if there are none."""
        errors = ((session.host, session.replication.error) for session in self._sessions)
        return "; ".join(f"{host}: {error}" for host, error in errors if error)

    def stopped_seconds(self) -> float:
        """Return the time for which the sessions stopped replication, in seconds."""
        return sum(session.replication.stopped_seconds for session in self._sessions)

    def end_all(self) -> None:
        """End every session, as ``end`` does."""
        try:
            self.end(*self._jobs)
        except BaseException:
            # A signal during this has to wait: it asks for nothing else.
            self.end(*self._jobs)
            raise

    def end(self, *sessions: Session) -> None:
        """Wait for the end of sessions, kill those that do not end, and clean up behind those that were killed.

        Raises nothing. A change that could not be undone is logged as a warning.
        """
        for session in sessions:
            if session in self._jobs:
                try:
                    self._end(session, self._jobs[session])
                except RemoteExecutionError as error:
                    logger.warning(
                        "%s: could not be cleaned up; the next run on this host will do it: %s (%s)",
                        *(session.host, error, session.directory),
                    )
                self._jobs.pop(session)

    def _end(self, session: Session, job: Job) -> None:
        if session.ending:
            deadline = time.monotonic() + _CLEAN_UP_TIME
            self.wait(until=lambda: session.outcome is not None or not session.ending, deadline=deadline)
        killed = session.outcome is None
        if killed:
            self._remote.kill_job(session.host, job, grace=_CLEAN_UP_TIME)
            # Its last events are in the inbox by now, or arrive as soon as its ssh ends.
            self.wait(until=lambda: session.outcome is not None, deadline=time.monotonic() + _LAST_EVENTS_TIME)
        if session.has(Hello) and not session.undone:
            self._recover(session, _CLEAN_UP_TIME)
        elif killed and not session.undone:
            # The first event of the session may have been lost.
            with suppress(RemoteExecutionError):
                self._recover(session, _DOUBTFUL_TIME)

    def _recover(self, session: Session, timeout: float) -> None:
        """Undo, on its host, the changes of a session that was killed.

        Raises:
            RemoteExecutionError: the recovery failed.
        """
        script = recovery_script(self._run_id)
        budget = LineBudget(session.host)

        def handle_line(line: str) -> None:
            if budget.accept(line):
                self._events.handle_line(session, line)

        result = self._remote.run(session.host, script, on_line=handle_line, timeout=timeout)
        if result.returncode:
            raise RemoteExecutionError(f"{session.host}: the clean-up ended with status {result.returncode}")
