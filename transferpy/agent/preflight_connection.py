"""Run the preflight query on all hosts of a run at once, over connections that stay open for the sessions.

A login costs more time than the whole query, so a session uses the connection of the query where that is still open.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from transferpy.agent.budget import BudgetExceededError, LineBudget
from transferpy.agent.inbox import Inbox
from transferpy.agent.preflight import PreflightQuery, preflight_script
from transferpy.agent.preflight_answers import parse_facts
from transferpy.agent.protocol import (
    Asked,
    Asking,
    Event,
    ProgressMade,
    ProtocolError,
    SessionFailed,
    is_event,
    parse_event,
)
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.facts import HostFacts
from transferpy.model.text import one_line
from transferpy.RemoteExecution.interface import Job, Outcome, RemoteExecution

_ANSWER_TIME = 120.0
"""Seconds without an event after which the query of a host has failed; its script sends one while its tools work."""
_NOT_STARTED = (
    ": the preflight query has not started. Does a start-up file of the login shell wait for input, or does sshd_config"
    " or authorized_keys force another command?"
)
_LOOK_INTERVAL = 0.5
"""Seconds between two looks at that."""
_WAITING_TIME = 240.0
"""Seconds for which a connection counts as open; the script waits a minute longer (await_script)."""
_DISMISSAL_TIME = 5.0
"""Seconds that a connection has to end after it was dismissed."""
_SIGNALLED = 128
_ALL_ANSWERS = 16 << 20
"""Bytes that the answers of all hosts may have together."""
_LARGEST_ANSWERS, _LEAST_ANSWERS = 2 << 20, 128 << 10
"""Bytes that the answers of one host may have, with few hosts and with many."""


class PreflightConnection:
    """The connection to one host that runs the preflight query there.

    Args:
        remote: runs commands on the host.
        run_id: the identifier of the run.
        host: the host.
        news: receives the host's name after the last answer, at the end of the connection, and if it failed.
        timeout: the number of seconds that the query may take.
        capacity: the number of bytes that the answers may have.
    """

    def __init__(  # noqa: PLR0913 - two of them are the limits
        self,
        remote: RemoteExecution,
        run_id: str,
        host: str,
        news: Inbox[str],
        *,
        timeout: float,
        capacity: int = _LARGEST_ANSWERS,
    ) -> None:
        self.job: Job  # the remote process, after ``start``
        self.lines: list[str] = []  # the lines that it has printed, without heartbeats
        self.began = self.heard = time.monotonic()  # time of the start, and of the last event
        self.answered = self.ended = False  # True after the last answer, after the end of the process
        self._timeout = timeout
        self._answers, self._heartbeats = LineBudget(host, capacity, rate=0), LineBudget(host)
        self._remote, self._run_id, self._host, self._news = remote, run_id, host, news
        self._lock = threading.Lock()
        self._listener: Callable[[str | Outcome], None] | None = None

    def start(self, query: PreflightQuery, *, dry_run: bool) -> None:
        """Log in and run the query; the connection of a dry run ends after the last answer.

        Raises:
            RemoteExecutionError: the name of the host is not valid.
        """
        script = preflight_script(self._run_id, query, dry_run=dry_run)
        self.job = self._remote.start_job(
            self._host, script, on_line=self._take_line, on_end=self._take_end, takes_input=not dry_run
        )

    def _take_line(self, line: str) -> None:
        if self._listener:
            self._listener(line)
            return
        if self.excess:
            return
        event = self._event(line)
        is_heartbeat = isinstance(event, ProgressMade)
        is_accepted = (self._heartbeats if is_heartbeat else self._answers).accept(line)
        if is_accepted and is_event(line, self._run_id):
            self.heard = time.monotonic()
        if is_accepted and not is_heartbeat:
            self.lines.append(line)
        self.answered = self.answered or isinstance(event, Asked)
        if self.answered or not is_accepted:
            self._news.put(self._host)

    @property
    def excess(self) -> BudgetExceededError | None:
        """The error of a host that has sent more than its budget."""
        return self._answers.error or self._heartbeats.error

    def _event(self, line: str) -> Event | None:
        """Return the event of a line; None for a malformed one, which ``facts`` reports."""
        with suppress(ProtocolError):
            return parse_event(line, self._run_id)
        return None

    def _take_end(self, outcome: Outcome) -> None:
        with self._lock:
            self.ended = True
            if self._listener:
                self._listener(outcome)
        self._news.put(self._host)

    @property
    def silent(self) -> bool:
        """True if the host has sent nothing for too long, too much, or no last answer in time."""
        now = time.monotonic()
        is_late = now - self.heard > _ANSWER_TIME or now - self.began > self._timeout
        return is_late or self.excess is not None

    def facts(self, query: PreflightQuery) -> HostFacts:
        """Return the answers of the host.

        Raises:
            RemoteExecutionError: the host did not answer, or its answers are malformed.
        """
        if self.excess:
            raise self.excess
        if not self.answered and not self.ended:
            paths = [event.about for line in self.lines if isinstance(event := self._event(line), Asking)]
            where = f" while it looked at {paths[-1]}: does a file system hang?" if paths and paths[-1] else ""
            where = where or ("" if self.lines else _NOT_STARTED)
            if time.monotonic() - self.began > self._timeout:
                raise RemoteExecutionError(
                    f"{self._host}: the preflight query took more than {self._timeout:.0f} seconds (--copy-timeout)"
                )
            raise RemoteExecutionError(f"{self._host}: no answer for {_ANSWER_TIME:.0f} seconds{where}")
        for event in map(self._event, self.lines):
            if isinstance(event, SessionFailed):
                raise RemoteExecutionError(f"{self._host}: {one_line(event.text)}")
        try:
            return parse_facts(self._host, self._run_id, query, self.lines)
        except ProtocolError as error:
            self.dismiss()
            raise self._failure(error) from error

    def _failure(self, problem: ProtocolError) -> RemoteExecutionError:
        """Return the error for answers that are malformed: it has the exit status and the output of the script."""
        try:
            result = self._remote.wait_job(self._host, self.job, _DISMISSAL_TIME)
        except RemoteExecutionError as error:
            if self.ended:
                return error
            output = self._output(self.lines)
            return RemoteExecutionError(
                f"{self._host}: the preflight query returned a malformed event {problem}; output: {output}"
            )
        output = self._output(result.output.splitlines())
        if result.returncode > _SIGNALLED:
            return RemoteExecutionError(
                f"{self._host}: the preflight query was killed, or the connection was lost; output: {output}"
            )
        status = f"the preflight query ended with status {result.returncode} and returned a malformed event {problem}"
        return RemoteExecutionError(f"{self._host}: {status}; output: {output}")

    def _output(self, lines: Iterable[str]) -> str:
        return "; ".join(line for line in lines if not is_event(line, self._run_id))[-500:] or "nothing"

    def claim(self, listener: Callable[[str | Outcome], None]) -> bool:
        """Send all further lines to ``listener``, if the connection is still open; return whether it is."""
        with self._lock:
            is_open = (
                self.answered and not self.ended and not self.excess and time.monotonic() - self.heard < _WAITING_TIME
            )
            if is_open:
                self._listener = listener
        return is_open

    def dismiss(self) -> None:
        """Tell the script that no session follows, if the connection is still open; raises nothing."""
        with suppress(RemoteExecutionError):  # the connection has ended
            if not self.ended:
                self._remote.write_job(self._host, self.job, "end\n")

    def wait_for_end(self, deadline: float) -> None:
        """Wait for the end of a dismissed connection, until ``deadline`` (monotonic seconds); raises nothing.

        A connection that does not end is broken. Its script then ends by itself and leaves nothing behind.
        """
        with suppress(RemoteExecutionError):
            self._remote.wait_job(self._host, self.job, max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """End the query before its last answer; raises nothing."""
        # The error that ended the query must stay visible. The query has changed nothing that has to be undone.
        with suppress(RemoteExecutionError):
            self._remote.kill_job(self._host, self.job)


@dataclass(frozen=True, kw_only=True)
class PreflightAnswers:
    """The results of the preflight query."""

    facts: Mapping[str, HostFacts]  # the answers, by host
    silent: Mapping[str, str]  # the error of each host that did not answer, by host
    connections: Mapping[str, PreflightConnection]  # the open connections to the hosts that answered


def run_preflight(
    remote: RemoteExecution, run_id: str, queries: Mapping[str, PreflightQuery], *, timeout: float, dry_run: bool
) -> PreflightAnswers:
    """Run the query of each host, on all hosts at once, for ``timeout`` seconds; a dry run leaves no connection open.

    Raises:
        RemoteExecutionError: the name of a host is not valid.
    """
    news: Inbox[str] = Inbox()
    started: dict[str, PreflightConnection] = {}
    facts: dict[str, HostFacts] = {}
    silent: dict[str, str] = {}
    capacity = min(_LARGEST_ANSWERS, max(_LEAST_ANSWERS, _ALL_ANSWERS // len(queries)))
    try:
        for host, query in queries.items():
            connection = PreflightConnection(remote, run_id, host, news, timeout=timeout, capacity=capacity)
            connection.start(query, dry_run=dry_run)
            started[host] = connection
        for host in _finished(started, news):
            try:
                facts[host] = started[host].facts(queries[host])
            except RemoteExecutionError as error:
                silent[host] = str(error)
    except BaseException:
        dismiss({host: connection for host, connection in started.items() if connection.answered})
        raise
    finally:
        for host, connection in started.items():
            if host not in facts and not connection.ended:
                connection.kill()
    # The hosts answered in any order; the results have the order of the request.
    return PreflightAnswers(
        facts={host: facts[host] for host in queries if host in facts},
        silent={host: silent[host] for host in queries if host in silent},
        connections={host: started[host] for host in queries if host in facts},
    )


def dismiss(connections: Mapping[str, PreflightConnection]) -> None:
    """Dismiss open connections and wait for their end; raises nothing."""
    for connection in connections.values():
        connection.dismiss()
    deadline = time.monotonic() + _DISMISSAL_TIME
    for connection in connections.values():
        connection.wait_for_end(deadline)


def _finished(connections: Mapping[str, PreflightConnection], news: Inbox[str]) -> Iterator[str]:
    """Yield each host as soon as its query is answered or has ended, or has been silent for too long."""
    waiting = set(connections)
    while waiting:
        suspended = news.wait(_LOOK_INTERVAL)
        while news:
            news.remove_first()
        for host in sorted(waiting):
            connection = connections[host]
            connection.heard += suspended
            connection.began += suspended
            if connection.answered or connection.ended or connection.silent:
                waiting.remove(host)
                yield host
