"""Talks with the sessions of one run: starts them, gives them orders, takes their events, and sees them end.

Everything here happens in the thread that calls it; the threads of the jobs only fill the inbox.
"""

import gzip
import io
import logging
import os
import queue
import tempfile
import time
import zlib
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

from transferpy.agent.preflight_connection import PreflightConnection, dismiss
from transferpy.agent.protocol import parse_event
from transferpy.agent.session import Session
from transferpy.agent.session_script import finish_dead_runs_script, list_script
from transferpy.Exceptions import (
    RemoteExecutionError,
)
from transferpy.RemoteExecution.interface import CommandResult, Job, Outcome, RemoteExecution

logger = logging.getLogger(__name__)

_SILENCE = 120.0
"""Seconds without a sign of life after which a session that should send one each second is given up."""
_CLEAN_UP_TIME = 600.0
"""Seconds that a session gets to undo what it did: removing a large half copy takes a while."""
_PATIENCE = 0.5
"""Seconds between two looks at the deadlines while nobody says anything."""
_LAST_WORDS_TIME = 10.0
_DOUBTFUL_TIME = 5.0
"""Seconds to clean a host where, most likely, there is nothing: nobody shall wait longer for one that is cut off."""
_CHUNK = 1 << 16
_SIGNALLED = 128


class SessionManager:
    """All the sessions of one run.

    Args:
        remote: how to reach the hosts.
        run_id: the name of the run.
        tick: called several times a second while it waits.
    """

    def __init__(self, remote: RemoteExecution, run_id: str, tick: Callable[[], None] = lambda: None) -> None:
        self._remote = remote
        self._run_id = run_id
        self._tick = tick
        self._inbox: deque[tuple[Session, str | Outcome]] = deque()
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()
        """A token for each entry of the inbox."""
        self._waiting: dict[str, PreflightConnection] = {}
        self._jobs: dict[Session, Job] = {}
        self._sessions: list[Session] = []

    def start(self, host: str, script: str) -> Session:
        """Start a session on ``host``, in a shell that waits there if there is one, and return at once.

        Raises:
            RemoteExecutionError: the host's name is no good.
        """
        session = Session(host)
        self._sessions.append(session)
        listener = partial(self._put, session)
        shell = self._waiting.get(host)
        if shell is not None and shell.claim(listener):
            # In this order a signal in between leaves nobody's shell.
            self._jobs[session] = shell.job
            del self._waiting[host]
            try:
                self._remote.hand_script(host, shell.job, script)
            except RemoteExecutionError:
                return self.start(host, script)  # it has just died; of a script that is not whole it runs nothing
        else:
            job = self._remote.start_job(host, script, on_line=listener, on_end=listener, takes_input=True)
            self._jobs[session] = job
        return session

    def keep(self, waiting: Mapping[str, PreflightConnection]) -> None:
        """Remember the shells that wait on their hosts for a session."""
        self._waiting.update(waiting)

    def dismiss(self) -> None:
        """See those to their end that got none; raises nothing."""
        dismiss(self._waiting)
        self._waiting.clear()

    def order(self, session: Session, *words: str) -> None:
        """Give a session an order and return at once.

        Raises:
            RemoteExecutionError: the session has ended.
        """
        self._remote.write_job(session.host, self._jobs[session], f"order {' '.join(words)}\n")
        session.stopping = words == ("stop",)

    def stop(self, session: Session) -> None:
        """Tell a session to end, if it is not ending yet; do not wait for that."""
        if session.alive and not session.ending:
            with suppress(RemoteExecutionError):  # then it has ended
                self.order(session, "stop")

    def wait(self, *sessions: Session, until: Callable[[], bool], deadline: float | None = None) -> bool:
        """Take in what the hosts say until a condition holds; return whether it does.

        Args:
            sessions: those that must live on meanwhile.
            until: the condition, looked at after each event.
            deadline: monotonic seconds when to give up, or None.

        Raises:
            TransferpyError: one of the sessions ended, failed or fell silent.
        """
        while not until():
            for session in sessions:
                self._check(session)
            if deadline is not None and time.monotonic() >= deadline:
                return False
            self._take_in()
            self._tick()
        return True

    def _put(self, session: Session, item: str | Outcome) -> None:
        self._inbox.append((session, item))
        self._news.put(None)

    def _take_in(self) -> None:
        began = time.monotonic()
        with suppress(queue.Empty):
            self._news.get(timeout=0 if self._inbox else _PATIENCE)
        self._forgive(time.monotonic() - began - _PATIENCE)
        if not self._inbox:
            return
        # A handler of a signal may raise between any two steps. What was taken in twice does no harm; what got lost
        # would have the clean-up wait for the end of a session that has ended.
        session, item = self._inbox[0]
        if not isinstance(item, str):
            session.outcome = item
        elif (event := parse_event(item, self._run_id)) is not None:
            session.take(event)
        self._inbox.popleft()

    def _forgive(self, seconds: float) -> None:
        """Charge no session with time in which this process was stopped, by Ctrl-Z for instance."""
        if seconds > _PATIENCE:
            for session in self._jobs:
                session.heard += seconds
                session.moved += seconds

    def _check(self, session: Session) -> None:
        if session.error:
            raise session.error
        if isinstance(session.outcome, RemoteExecutionError):
            raise session.outcome
        if session.outcome is not None:
            status = session.outcome.returncode
            raise RemoteExecutionError(
                f"{session.host}: the session ended early, with status {status}{self._reason(session, session.outcome)}"
            )
        # What it has said while this thread was busy is still in the inbox.
        if not self._inbox and time.monotonic() - session.heard > _SILENCE:
            raise RemoteExecutionError(f"{session.host}: no sign of life for {_SILENCE:.0f} seconds")

    def broken_replication(self) -> str:
        """Return on which hosts replication is not known to run again, and why; empty if it is."""
        return "; ".join(
            f"{session.host}: {error}" for session in self._sessions if (error := session.replication_error)
        )

    def _reason(self, session: Session, end: CommandResult) -> str:
        """Return why a session is over, as far as can be told, for the end of a message."""
        if "ending" in session.seen:
            return ""
        said = [line for line in end.output.splitlines() if line.strip() and not parse_event(line, self._run_id)]
        if said:
            return f": {said[-1]}"
        # ssh says 255 for both of them, a shell on this host the second.
        return ": it was killed, or the connection was lost" if end.returncode > _SIGNALLED else ""

    def end_all(self) -> None:
        """See every session to its end, as ``end`` does."""
        try:
            self.end(*self._jobs)
        except BaseException:
            # A signal that comes in the midst of it has to wait: it asks for nothing else.
            self.end(*self._jobs)
            raise

    def end(self, *sessions: Session) -> None:
        """See sessions to their end, by force where they do not end by themselves; see that nothing is left behind.

        Raises nothing; what could not be undone is logged as a warning.
        """
        for session in sessions:
            if session in self._jobs:
                self._end(session, self._jobs[session])
                self._jobs.pop(session)

    def _end(self, session: Session, job: Job) -> None:
        try:
            if session.ending:
                deadline = time.monotonic() + _CLEAN_UP_TIME
                self.wait(until=lambda: session.outcome is not None or not session.ending, deadline=deadline)
            killed = session.outcome is None
            if killed:
                self._remote.kill_job(session.host, job, grace=_CLEAN_UP_TIME)
                # What it said last is in the inbox by now, or comes as fast as its ssh ends.
                self.wait(until=lambda: session.outcome is not None, deadline=time.monotonic() + _LAST_WORDS_TIME)
            if "hello" in session.seen and not session.undone:
                self._finish(session, _CLEAN_UP_TIME)
            elif killed and not session.undone:
                # What it said at its very beginning may have been lost.
                with suppress(RemoteExecutionError):
                    self._finish(session, _DOUBTFUL_TIME)
        except RemoteExecutionError as error:
            logger.warning(
                "%s: could not be cleaned up; the next run on this host will do it: %s (%s)",
                *(session.host, error, session.directory),
            )

    def _finish(self, session: Session, timeout: float) -> None:
        """Undo on its host what a session left that was killed itself.

        Raises:
            RemoteExecutionError: it could not be done.
        """

        def take(line: str) -> None:
            if (event := parse_event(line, self._run_id)) is not None:
                session.take(event)

        script = finish_dead_runs_script(self._run_id)
        result = self._remote.run(session.host, script, on_line=take, timeout=timeout)
        if result.returncode:
            raise RemoteExecutionError(f"{session.host}: the clean-up ended with status {result.returncode}")

    def records(self, session: Session, name: str) -> Iterator[str]:
        """Fetch a list that a session holds, and yield its records.

        Raises:
            RemoteExecutionError: it could not be fetched whole.
        """
        with tempfile.TemporaryFile() as file:

            def take(line: str) -> None:
                file.write(b64decode(line))

            result = self._remote.run(session.host, list_script(session.directory, name), on_line=take)
            if result.returncode != 0 or not file.tell():
                raise RemoteExecutionError(f"{session.host}: cannot read {session.directory}/{name}")
            file.seek(0)
            try:
                with gzip.open(file) as records:
                    yield from _split(records)
            except (OSError, EOFError, zlib.error) as error:
                raise RemoteExecutionError(f"{session.host}: {session.directory}/{name} arrived damaged") from error


def _split(stream: io.BufferedIOBase | gzip.GzipFile) -> Iterator[str]:
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from map(os.fsdecode, whole)
