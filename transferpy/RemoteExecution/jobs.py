"""Jobs that each have a thread: what execution on this host and on others have in common."""

import contextlib
import errno
import logging
import os
import select
import shlex
import signal
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.interface import (
    Command,
    CommandResult,
    EndHandler,
    Job,
    LineHandler,
    Outcome,
    RemoteExecution,
)
from transferpy.RemoteExecution.packed_script import pack_script
from transferpy.RemoteExecution.signal_safe_event import SignalSafeEvent

logger = logging.getLogger(__name__)

LOCALHOST = "localhost"
ENVIRONMENT_VARIABLE = "TRANSFERPY_JOB"
LONGEST_LINE = 1 << 20
"""Bytes of a line that are read at once; what is longer arrives in pieces."""

_KEPT_OUTPUT = 64 << 10
_START_MARKER = "@transferpy-job"
SSH_FAILED = 255
_DROPPED = ("kex_exchange_identification", "Connection reset by")
_GRACE_AFTER_RUN = 2.0
"""Seconds that a command has to end by itself when nobody waits for it any more."""
_READING_TIME = 5.0
"""Seconds that a command has to read what it is given, once the pipe to it is full."""
_CLOSING_TIME = 5.0
"""Seconds from the end of a job's last process to the end of its thread."""


class RunningJob(Job):
    """A job as its thread sees it.

    Attributes:
        target: the host that the caller's word stands for.
        takes_input: whether its standard input stays open.
        command: one line of shell that starts the script; the same for every login shell.
        leader: the process ID of the job's first process on its host, as soon as that is known.
        started: set when the job's first process runs on its host, or never will.
        ended: set when the job has ended, for better or worse, and its handlers have run.
        gone: whether no process of the job can be left on its host.
    """

    def __init__(  # noqa: PLR0913 - start_job's arguments
        self,
        host: str,
        target: str,
        script: str,
        *,
        on_line: LineHandler | None,
        on_end: EndHandler | None,
        takes_input: bool,
    ) -> None:
        super().__init__(host)
        self.target = target
        self.takes_input = takes_input
        # The marker starts on a line of its own: a login shell may have printed half a line.
        first = f"printf '\\n{_START_MARKER} %s %s\\n' {self.identifier} $$\n"
        self.command = pack_script(f"{first}export {ENVIRONMENT_VARIABLE}={self.identifier}\n{script}", self.identifier)
        self.leader: int | None = None
        self.started = SignalSafeEvent()
        self.ended = SignalSafeEvent()
        self.gone = False
        self.outcome: Outcome | None = None
        self._returncode = SSH_FAILED
        self._on_line = on_line
        self._on_end = on_end
        self._handler_error: Exception | None = None
        self._lines: deque[str] = deque()
        self._kept = 0
        self._lock = threading.Lock()
        self._process: int | None = None
        self._input: int | None = None
        self._unsent = b""
        self._aborted = False
        self._given_up = SignalSafeEvent()

    @property
    def result(self) -> CommandResult:
        """How the job ended, or would have if it ended now."""
        return CommandResult(host=self.host, returncode=self._returncode, output="\n".join(self._lines))

    def attach(self, pid: int, standard_input: int | None) -> None:
        """Remember ``pid``, the process of this host that carries the job: a child that nobody has waited for yet.

        ``standard_input`` is the descriptor that leads there; the caller may close its own.
        """
        with self._lock:
            # A descriptor keeps meaning this process when the process ID has been given to another one.
            self._process = os.pidfd_open(pid)
            if self.takes_input and standard_input is not None:
                self._input = os.dup(standard_input)
                os.set_blocking(self._input, False)
                self._flush()
        if self._aborted:
            self.abort()

    def write(self, data: bytes) -> None:
        """Give ``data`` to the job's standard input; what comes before the job has one is given to it then.

        Raises:
            OSError: the job has ended, or does not read.
        """
        with self._lock:
            if self.ended.is_set() or not self.takes_input:
                raise BrokenPipeError
            if self._input is None and len(self._unsent) + len(data) > select.PIPE_BUF:
                raise BlockingIOError(errno.EAGAIN, "it has not begun")
            self._unsent += data
            self._flush()

    def _flush(self) -> None:
        if self._input is None:
            return
        poll = select.poll()
        poll.register(self._input, select.POLLOUT)
        deadline = time.monotonic() + _READING_TIME
        while self._unsent:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise BlockingIOError(errno.EAGAIN, "it does not read")
            # Where a pipe takes anything, it takes that much.
            self._unsent = self._unsent[os.write(self._input, self._unsent[: select.PIPE_BUF]) :]

    def abort(self) -> None:
        """Kill the process of this host that carries the job."""
        with self._lock:
            self._aborted = True
            self._given_up.set()
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def may_try_again(self, pause: float) -> bool:
        """Wait up to ``pause`` seconds and tell whether a login that the host dropped is worth another try.

        An sshd drops logins at random when many come at once (its MaxStartups), before it has said a word.
        """
        said = "\n".join(self._lines)
        if self.leader is not None or not any(words in said for words in _DROPPED):
            return False
        if self._given_up.wait(pause):
            return False
        with self._lock:
            self._close_descriptors()
        self.forget_output()
        return True

    def take_line(self, raw: bytes) -> None:
        """Take a line of output, without its newline; what came before the job's start is no output of the job."""
        line = os.fsdecode(raw)
        if self.leader is None:
            marker, _, leader = line.rpartition(" ")
            if marker == f"{_START_MARKER} {self.identifier}":
                self.leader = int(leader)
                self.forget_output()
                self.started.set()
            else:
                self._keep(line)
            return
        self._keep(line)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s", self.host, printable(line))
        if self._on_line is not None and self._handler_error is None:
            try:
                self._on_line(line)
            except Exception as error:  # the job must not end in the middle because of its spectator
                logger.exception("%s: the handler of a command's output failed", self.host)
                self._handler_error = error

    def _keep(self, line: str) -> None:
        self._lines.append(line[-_KEPT_OUTPUT:])
        self._kept += len(self._lines[-1]) + 1
        while self._kept > _KEPT_OUTPUT + 1:
            self._kept -= len(self._lines.popleft()) + 1

    def forget_output(self) -> None:
        """Drop what it has said so far; not to be called while it may be saying something."""
        self._lines.clear()
        self._kept = 0

    def finish(self, returncode: int) -> None:
        """Settle what became of the job whose carrier ended with ``returncode``."""
        self._returncode = returncode
        # ssh says 255 also when it lost the connection: then only kill_job knows what the host still runs.
        self.gone = self.gone or (not self._aborted and (returncode != SSH_FAILED or self.leader is None))
        if self._handler_error is not None:
            error = RemoteExecutionError(f"{self.host}: the output could not be handled: {self._handler_error}")
            error.__cause__ = self._handler_error
            self.settle(error)
        elif self.leader is not None:
            self.settle(self.result)
        else:
            what = "cannot be reached" if returncode == SSH_FAILED else "the command could not be started"
            said = [line.strip() for line in self._lines if line.strip()][-3:] or [f"exit status {returncode}"]
            self.settle(RemoteExecutionError(f"{self.host}: {what}: {printable('; '.join(said))}"))

    def _close_descriptors(self) -> None:
        for descriptor in (self._process, self._input):
            if descriptor is not None:
                os.close(descriptor)
        self._process = self._input = None

    def settle(self, outcome: Outcome) -> None:
        """Make ``outcome`` known."""
        with self._lock:
            self._close_descriptors()
        self.outcome = outcome
        if self._on_end is not None:
            try:
                self._on_end(outcome)
            except Exception as error:  # as for on_line
                logger.exception("%s: the handler of a command's end failed", self.host)
                self.outcome = RemoteExecutionError(f"{self.host}: the end could not be handled: {error}")
                self.outcome.__cause__ = error
        self.started.set()
        self.ended.set()


class ThreadedExecution(RemoteExecution):
    """Runs each command in a thread of its own; subclasses say how."""

    @abstractmethod
    def carry_out(self, job: RunningJob) -> int:
        """Run ``job`` to its end, hand over its output, return its exit status; called in the job's thread."""

    @abstractmethod
    def end(self, job: RunningJob, grace: float) -> None:
        """End every process of ``job`` on its host, as kill_job says."""

    def start_job(
        self,
        host: str,
        command: Command,
        *,
        on_line: LineHandler | None = None,
        on_end: EndHandler | None = None,
        takes_input: bool = False,
    ) -> RunningJob:
        """As RemoteExecution.start_job."""
        # exec, so that the program itself gets the TERM of kill_job.
        script = command if isinstance(command, str) else f"exec -- {shlex.join(command)}"
        target = self.resolve(host)
        job = RunningJob(host, target, script, on_line=on_line, on_end=on_end, takes_input=takes_input)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: job %s runs: %s", host, job.identifier, printable(script))
        threading.Thread(target=self._work, args=(job,), name=f"transferpy {host}", daemon=True).start()
        return job

    def _work(self, job: RunningJob) -> None:
        try:
            returncode = self.carry_out(job)
        except Exception as error:  # whatever happened, someone waits for the end of this job
            logger.debug("%s: job %s failed", job.host, job.identifier, exc_info=True)
            failure = RemoteExecutionError(f"{job.host}: the command could not be run: {error}")
            failure.__cause__ = error
            job.settle(failure)
        else:
            job.finish(returncode)

    def monitor_job(self, host: str, job: Job) -> CommandResult | None:
        """As RemoteExecution.monitor_job."""
        outcome = _own(host, job).outcome
        if isinstance(outcome, RemoteExecutionError):
            raise outcome
        return outcome

    def write_job(self, host: str, job: Job, text: str) -> None:
        """As RemoteExecution.write_job."""
        try:
            _own(host, job).write(os.fsencode(text))
        except OSError as error:
            raise RemoteExecutionError(
                f"{host}: the command takes no input: {error.strerror or 'it has ended'}"
            ) from error

    def hand_script(self, host: str, job: Job, script: str) -> None:
        """As RemoteExecution.hand_script."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: job %s goes on with: %s", host, job.identifier, printable(script))
        # Why a script ended is not to be looked for in what came before it.
        _own(host, job).forget_output()
        line = pack_script(script, job.identifier)
        self.write_job(host, job, f"{len(line)}\n{line}")

    def wait_job(self, host: str, job: Job, timeout: float | None = None) -> CommandResult:
        """As RemoteExecution.wait_job."""
        if not _own(host, job).ended.wait(timeout):
            raise RemoteExecutionError(f"{host}: the command did not end within {timeout:g} seconds")
        result = self.monitor_job(host, job)
        assert result is not None  # noqa: S101 - it has ended: tells mypy
        return result

    def kill_job(self, host: str, job: Job, *, grace: float = 10.0) -> CommandResult:
        """As RemoteExecution.kill_job."""
        running = _own(host, job)
        try:
            if not running.gone:
                self.end(running, grace)
                running.gone = True
            running.ended.wait(_CLOSING_TIME)
        finally:
            running.abort()
        running.ended.wait(_CLOSING_TIME)
        return running.result

    def run(
        self, host: str, command: Command, *, on_line: LineHandler | None = None, timeout: float | None = None
    ) -> CommandResult:
        """As RemoteExecution.run."""
        job = self.start_job(host, command, on_line=on_line)
        try:
            return self.wait_job(host, job, timeout)
        finally:
            self._abandon((job,))

    def run_many(self, commands: Mapping[str, str], *, timeout: float | None = None) -> dict[str, Outcome]:
        """As RemoteExecution.run_many."""
        deadline = None if timeout is None else time.monotonic() + timeout
        outcomes: dict[str, Outcome] = {}
        jobs: dict[str, RunningJob] = {}
        try:
            for host, command in commands.items():
                try:
                    jobs[host] = self.start_job(host, command)
                except RemoteExecutionError as error:
                    outcomes[host] = error
            for host, job in jobs.items():
                try:
                    left = None if deadline is None else max(0.0, deadline - time.monotonic())
                    outcomes[host] = self.wait_job(host, job, left)
                except RemoteExecutionError as error:
                    outcomes[host] = error
        finally:
            self._abandon(jobs.values())
        return {host: outcomes[host] for host in commands}

    def _abandon(self, jobs: Iterable[RunningJob]) -> None:
        """End those of ``jobs`` that still run, all at once: nobody will ask for them any more."""
        threads = [
            threading.Thread(target=self._abandon_one, args=(job,), daemon=True)
            for job in jobs
            if not job.ended.is_set()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _abandon_one(self, job: RunningJob) -> None:
        try:
            self.kill_job(job.host, job, grace=_GRACE_AFTER_RUN)
        except RemoteExecutionError as error:
            logger.warning("%s", error)


def printable(text: str) -> str:
    """Return ``text`` such that a log file of any kind can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _own(host: str, job: Job) -> RunningJob:
    if not isinstance(job, RunningJob) or job.host != host:
        raise ValueError(f"no job of {host}: {job!r}")
    return job
