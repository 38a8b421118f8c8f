"""Asks the hosts of a run, all at once; the shells that answered wait there for the scripts of the sessions.

A login costs more than all the questions, so a session gets none of its own where such a shell waits.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from transferpy.agent.preflight import PreflightQuery, parse_facts, preflight_script
from transferpy.agent.protocol import parse_event
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.facts import HostFacts
from transferpy.RemoteExecution.interface import Job, Outcome, RemoteExecution

_ANSWER_TIME = 120.0
"""Seconds without a word from a host that is asked: it gives one with each answer, and while its tools get on."""
_PATIENCE = 0.5
"""Seconds between two looks at that."""
_WAITING_TIME = 240.0
"""Seconds for which a shell is taken to wait; a minute less than it does (await_script in preflight.sh)."""
_DISMISSAL_TIME = 5.0
"""Seconds for shells that wait to end when they are told to."""


class PreflightConnection:
    """The questions to one host, and the shell that answers them there.

    Args:
        remote: how to reach the host.
        run_id: the name of the run.
        host: the host.
        news: gets the host when it has said all, or will say no more.

    Attributes:
        job: the shell, once it has been started.
        lines: all that it has said.
        heard: when that last grew (monotonic seconds).
        answered: whether it has come to the end of its answers.
        ended: whether it has ended.
    """

    def __init__(self, remote: RemoteExecution, run_id: str, host: str, news: "SimpleQueue[str]") -> None:
        self.job: Job
        self.lines: list[str] = []
        self.heard = time.monotonic()
        self.answered = self.ended = False
        self._remote, self._run_id, self._host, self._news = remote, run_id, host, news
        self._lock = threading.Lock()
        self._listener: Callable[[str | Outcome], None] | None = None

    def start(self, questions: PreflightQuery, *, dry_run: bool) -> None:
        """Log in and ask; after a dry run no script follows, and the shell ends.

        Raises:
            RemoteExecutionError: the host's name is no good.
        """
        script = preflight_script(self._run_id, questions, dry_run=dry_run)
        self.job = self._remote.start_job(
            self._host, script, on_line=self._take, on_end=self._end, takes_input=not dry_run
        )

    def _take(self, line: str) -> None:
        if self._listener:
            self._listener(line)
            return
        self.heard = time.monotonic()
        self.lines.append(line)
        event = parse_event(line, self._run_id)
        if event and event.name == "asked":
            self.answered = True
            self._news.put(self._host)

    def _end(self, outcome: Outcome) -> None:
        with self._lock:
            self.ended = True
            if self._listener:
                self._listener(outcome)
        self._news.put(self._host)

    @property
    def silent(self) -> bool:
        """Whether nothing has come from the host for too long."""
        return time.monotonic() - self.heard > _ANSWER_TIME

    def facts(self, questions: PreflightQuery) -> HostFacts:
        """Return what it answered.

        Raises:
            RemoteExecutionError: it did not answer, or not the questions.
        """
        if not self.answered and not self.ended:
            told = (parse_event(line, self._run_id) for line in self.lines)
            about = ["", *(event.text("about") for event in told if event and event.name == "asking")][-1]
            where = f" while it looked at {about}: does a file system hang?" if about else ""
            raise RemoteExecutionError(f"{self._host}: no answer for {_ANSWER_TIME:.0f} seconds{where}")
        if found := parse_facts(self._host, self._run_id, questions, self.lines):
            return found
        self.tell_to_end()
        try:
            result = self._remote.wait_job(self._host, self.job, _DISMISSAL_TIME)
        except RemoteExecutionError as error:
            if self.ended:
                raise
            said = self._other_than_events(self.lines)
            raise RemoteExecutionError(
                f"{self._host}: the preflight answered something else and said: {said}"
            ) from error
        said = self._other_than_events(result.output.splitlines())
        raise RemoteExecutionError(
            f"{self._host}: the preflight ended with status {result.returncode} and said: {said}"
        )

    def _other_than_events(self, lines: Iterable[str]) -> str:
        return "; ".join(line for line in lines if not parse_event(line, self._run_id))[-500:] or "nothing"

    def claim(self, listener: Callable[[str | Outcome], None]) -> bool:
        """Have what the shell says from now on go to ``listener``; return whether it waits for a script."""
        with self._lock:
            waits = self.answered and not self.ended and time.monotonic() - self.heard < _WAITING_TIME
            if waits:
                self._listener = listener
        return waits

    def tell_to_end(self) -> None:
        """Tell the shell, if it still waits, that nothing comes."""
        with suppress(RemoteExecutionError):  # then it has ended
            if not self.ended:
                self._remote.write_job(self._host, self.job, "end\n")

    def see_end(self, deadline: float) -> None:
        """Wait until then (monotonic seconds) for a shell to end that was told to; raises nothing.

        One that does not has lost its connection: it ends by that, or by itself, and leaves nothing.
        """
        with suppress(RemoteExecutionError):
            self._remote.wait_job(self._host, self.job, max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """End the shell in the midst of its questions; raises nothing."""
        # What ended the questions must not be hidden; there is nothing to undo.
        with suppress(RemoteExecutionError):
            self._remote.kill_job(self._host, self.job)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the hosts of a run said.

    Attributes:
        facts: what each answered.
        silent: why the others did not.
        waiting: the shells that wait on those that answered.
    """

    facts: Mapping[str, HostFacts]
    silent: Mapping[str, str]
    waiting: Mapping[str, PreflightConnection]


def ask(remote: RemoteExecution, run_id: str, asked: Mapping[str, PreflightQuery], *, dry_run: bool) -> Answers:
    """Ask all hosts at once; those of a dry run are left alone afterwards.

    Raises:
        RemoteExecutionError: the name of a host is no good.
    """
    news: SimpleQueue[str] = SimpleQueue()
    started: dict[str, PreflightConnection] = {}
    facts: dict[str, HostFacts] = {}
    silent: dict[str, str] = {}
    try:
        for host, questions in asked.items():
            interview = PreflightConnection(remote, run_id, host, news)
            interview.start(questions, dry_run=dry_run)
            started[host] = interview
        for host in _answering(started, news):
            try:
                facts[host] = started[host].facts(asked[host])
            except RemoteExecutionError as error:
                silent[host] = str(error)
    except BaseException:
        dismiss({host: interview for host, interview in started.items() if interview.answered})
        raise
    finally:
        for host, interview in started.items():
            if host not in facts and not interview.ended:
                interview.kill()
    # The order in which they answered is chance; that of the request is the user's.
    return Answers(
        facts={host: facts[host] for host in asked if host in facts},
        silent={host: silent[host] for host in asked if host in silent},
        waiting={host: started[host] for host in asked if host in facts},
    )


def dismiss(waiting: Mapping[str, PreflightConnection]) -> None:
    """See the shells to their end that wait for a script; raises nothing."""
    for interview in waiting.values():
        interview.tell_to_end()
    deadline = time.monotonic() + _DISMISSAL_TIME
    for interview in waiting.values():
        interview.see_end(deadline)


def _answering(interviews: Mapping[str, PreflightConnection], news: "SimpleQueue[str]") -> Iterator[str]:
    """Yield each host as soon as it has ended its answers, or has been silent for too long."""
    waiting = set(interviews)
    while waiting:
        began = time.monotonic()
        with suppress(Empty):
            news.get(timeout=_PATIENCE)
        late = time.monotonic() - began - _PATIENCE
        for host in sorted(waiting):
            interview = interviews[host]
            if late > _PATIENCE:
                interview.heard += late  # this process was stopped, by Ctrl-Z for instance
            if interview.answered or interview.ended or interview.silent:
                waiting.remove(host)
                yield host
