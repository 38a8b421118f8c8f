"""Talks with the sessions of one run: starts them, gives them orders, takes their events, and sees them end.

Everything here happens in the thread that calls it; the threads of the jobs only fill the inbox.
"""

import gzip
import io
import logging
import os
import queue
import re
import tempfile
import time
import zlib
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

from transferpy.Exceptions import (
    FirewallError,
    PublishError,
    RemoteExecutionError,
    ReplicationError,
    TransferpyError,
    VerificationError,
)
from transferpy.interview import Interview, dismiss
from transferpy.RemoteExecution.interface import CommandResult, Job, Outcome, RemoteExecution
from transferpy.session import Event, finish_dead_runs_script, list_script, one_line, parse_event, whole

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
_UNKNOWN = "it is not known whether replication runs again; look there, and start it by hand if it does not"
_STOPPED = "replication is stopped and does not start again, start it by hand: "
_SIGNALLED = 128
_START = "start_replication "
"""How those entries of an undo list begin that start replication."""

_ERRORS: dict[str, type[TransferpyError]] = {
    "port": FirewallError,
    "firewall": FirewallError,
    "attributes": VerificationError,
    "publish": PublishError,
    "replication": ReplicationError,
    "content": VerificationError,
}
# What the readers of an event rely on. A session that sends less is not one to work with.
_FIELDS = {
    "ready": {"certificate"},
    "listening": {"port"},
    "probing": {"port"},
    "stages": {"job", "statuses"},
    "stderr": {"job", "stage"},
    "manifest": {"digest", "entries"},
    "digests": {"digest", "entries"},
    "tables": {"digest", "entries"},
    "stream-digest": {"digest"},
    "error": {"kind"},
    "finished-dead-run": {"run"},
    "replication-stopped": {"connections"},
}


class Session:
    """A session on a host, as far as its events have told.

    Attributes:
        host: where it runs.
        seen: the last event of each name.
        statuses: the exit statuses of the stages of each job that has ended, by the job's name.
        errors: the end of what a stage wrote to its standard error, by job and number of the stage.
        bytes: how far the stream is, as the stage that reads it counts.
        moved: when that last grew (monotonic seconds).
        outcome: how the session's command ended, once it has.
        error: why the session cannot go on.
        stopping: whether it was told to stop.
        replication_error: why replication does not run again, as long as it is not known to.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.seen: dict[str, Event] = {}
        self.statuses: dict[str, tuple[int, ...]] = {}
        self.errors: dict[tuple[str, str], str] = {}
        self.bytes = self._first_bytes = 0
        self.moved = self.heard = time.monotonic()
        self.outcome: Outcome | None = None
        self.error: TransferpyError | None = None
        self.stopping = False
        self.replication_error = ""

    @property
    def alive(self) -> bool:
        """Whether the session can still take orders."""
        return self.outcome is None and self.error is None

    @property
    def flowed(self) -> int:
        """Bytes since the stage that reads the stream was first looked at: before, it has read its own files."""
        return self.bytes - self._first_bytes

    @property
    def ending(self) -> bool:
        """Whether the session is on its way to its end by itself."""
        return self.stopping or not self.seen.keys().isdisjoint({"published", "error", "ending", "end"})

    @property
    def undone(self) -> bool:
        """Whether the session said that it left nothing behind."""
        end = self.seen.get("end")
        return end is not None and end.fields.get("undone") == "yes"

    @property
    def directory(self) -> str:
        """Its run directory; empty until it has said hello."""
        return self.seen["hello"].text("directory") if "hello" in self.seen else ""

    def forget(self, *names: str) -> None:
        """Forget events that the next stream will bring anew."""
        for name in names:
            self.seen.pop(name, None)

    def take(self, event: Event) -> None:
        """Take an event in; one that makes no sense is an error of the session's."""
        self.heard = time.monotonic()
        try:
            self._take(event)
            self.seen[event.name] = event
        except ValueError:
            words = " ".join(f"{key}={value}" for key, value in event.fields.items())
            self.error = RemoteExecutionError(f"{self.host}: the session sent nonsense: {event.name} {words[:200]}")

    def _take(self, event: Event) -> None:
        _check_fields(event)
        self._take_replication(event)
        match event.name:
            case "progress":
                moved = whole(event.fields.get("bytes", "0"))
                if moved > self.bytes:
                    self.moved = self.heard
                self.bytes = max(moved, self.bytes)
                self._first_bytes = self._first_bytes or moved
            case "stages":
                words = event.fields["statuses"].split(",")
                self.statuses[event.fields["job"]] = tuple(int(word) for word in words)
            case "checked" | "published":
                for number in event.fields.values():
                    whole(number)
            case "stderr":
                self.errors[event.fields["job"], event.fields["stage"]] = event.text("text").strip()
            case "error":
                kind = _ERRORS.get(event.fields["kind"], RemoteExecutionError)
                self.error = kind(f"{self.host}: {one_line(event.text('text'))}")
            case "undo-failed":
                entry, text = event.text("entry"), one_line(event.text("text"))
                log_not_undone(self.host, entry, text)
            case "finished-dead-run":
                log_finished(self.host, event.fields["run"], replication="replication" in event.fields)

    def _take_replication(self, event: Event) -> None:
        match event.name:
            case "replication-stopping":
                self.replication_error = _UNKNOWN
            case "replication-stopped":
                # Only word that it runs takes this back: the session may die, or its host be cut off.
                if event.fields["connections"] != "0":
                    self.replication_error = _UNKNOWN
                    logger.info("%s: replication stopped: %s connection(s)", self.host, event.fields["connections"])
                else:
                    logger.info("%s: replication does not run, so there is nothing to stop", self.host)
            case "undo-failed" if event.text("entry").startswith(_START):
                self.replication_error = _STOPPED + one_line(event.text("text"))
            case "finished-dead-run" if f"/run.{event.fields['run']}." in self.directory:
                self.replication_error = ""
            case "replication-runs":
                self.replication_error = ""
                logger.info("%s: replication runs as before", self.host)
            case "replication-left":
                self.replication_error = ""
                logger.info("%s: another transfer needs replication stopped, and will start it again", self.host)


def _check_fields(event: Event) -> None:
    if not event.fields.keys() >= _FIELDS.get(event.name, set()):
        raise ValueError(f"not all fields of {event.name}")
    # The port goes to the other host, into an address of socat, and that can name a command to run.
    if event.name in {"listening", "probing"} and not re.fullmatch("[0-9]{1,5}", event.fields["port"]):
        raise ValueError("no port")


def log_finished(host: str, run: str, *, replication: bool) -> None:
    """Log that a host was cleaned of what a run had left there; ``replication`` if that was stopped, too."""
    logger.info("%s: undid what the run %s had left there", host, run)
    if replication:
        # Somebody may have stopped it on purpose since.
        logger.warning("%s: replication, which that run had stopped, was started", host)


def log_not_undone(host: str, entry: str, text: str) -> None:
    """Log that a host could not undo what an entry of an undo list says, and why."""
    if entry.startswith(_START):
        logger.warning("%s: replication does not start, the next run tries again: %s", host, text)
        return
    logger.warning("%s: not undone, the next run tries again: %s: %s", host, entry, text)


class Conversation:
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
        self._waiting: dict[str, Interview] = {}
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

    def keep(self, waiting: Mapping[str, Interview]) -> None:
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
