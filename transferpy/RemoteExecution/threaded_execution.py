"""Remote execution with one thread for each command."""

import logging
import os
import shlex
import threading
from abc import abstractmethod

from transferpy.Exceptions import RemoteExecutionError
from transferpy.host import assemble
from transferpy.RemoteExecution.interface import Command, CommandResult, EndHandler, Job, LineHandler, RemoteExecution
from transferpy.RemoteExecution.job_streams import encodable, without_script
from transferpy.RemoteExecution.running_job import RunningJob, pack_script

logger = logging.getLogger(__name__)

_START_TIMEOUT = 1.0  # seconds for a command to start before ``kill_job`` gives up its login
_END_TIMEOUT = 30.0  # seconds for the end of a command after its grace
_SEARCH_TIMEOUT = 5.0  # seconds for the search for a command that has probably not started: its host may be down
_LONGEST_GRACE_UNSTARTED = 2.0  # seconds for such a command to end by itself: if it runs, it has just started
_KILL_HUNDREDTHS = 2000  # hundredths of a second for processes to end after KILL
_RUN_GRACE = 2.0  # seconds for a command to end by itself when ``run`` gives up
_CLOSE_TIMEOUT = 5.0  # seconds from the end of the last process of a command to the end of its thread


class ThreadedExecution(RemoteExecution):
    """Runs each command in its own thread; a subclass implements how."""

    @abstractmethod
    def execute(self, job: RunningJob) -> int:
        """Run ``job`` in this thread and return its exit status.

        The implementation calls ``job.attach`` with the local process and ``job.take_line`` with each line of output.
        """

    def start_job(
        self,
        host: str,
        command: Command,
        *,
        on_line: LineHandler | None = None,
        on_end: EndHandler | None = None,
        takes_input: bool = False,
    ) -> RunningJob:
        """Implement RemoteExecution.start_job."""
        # With exec, the program itself gets the TERM of kill_job.
        script = command if isinstance(command, str) else f"exec -- {shlex.join(command)}"
        target = self.resolve(host)
        job = RunningJob(host, target, script, on_line=on_line, on_end=on_end, takes_input=takes_input)
        _log_script(job, "runs", script)
        threading.Thread(target=self._run_thread, args=(job,), name=f"transferpy {host}", daemon=True).start()
        return job

    def _run_thread(self, job: RunningJob) -> None:
        try:
            returncode = self.execute(job)
        except Exception as error:  # after any failure, other threads wait for the outcome
            logger.debug("%s: command %s failed", job.host, job.identifier, exc_info=True)
            failure = RemoteExecutionError(f"{job.host}: the command could not be run: {without_script(str(error))}")
            failure.__cause__ = error
            job.set_outcome(failure)
        else:
            job.finish(returncode)

    def monitor_job(self, host: str, job: Job) -> CommandResult | None:
        """Implement RemoteExecution.monitor_job."""
        outcome = _running_job(host, job).outcome
        if isinstance(outcome, RemoteExecutionError):
            raise outcome
        return outcome

    def write_job(self, host: str, job: Job, text: str) -> None:
        """Implement RemoteExecution.write_job."""
        try:
            _running_job(host, job).input.write(os.fsencode(text))
        except OSError as error:
            raise RemoteExecutionError(f"{host}: the command does not take input: {error.strerror}") from error

    def hand_script(self, host: str, job: Job, script: str) -> None:
        """Implement RemoteExecution.hand_script."""
        running = _running_job(host, job)
        _log_script(running, "continues with", script)
        # The output of the replaced command does not explain why the script ends.
        running.output.clear()
        line = pack_script(script, job.identifier, is_launched=True)
        self.write_job(host, job, f"{len(line)}\n{line}")

    def wait_job(self, host: str, job: Job, timeout: float | None = None) -> CommandResult:
        """Implement RemoteExecution.wait_job."""
        if not _running_job(host, job).ended.wait(timeout):
            raise RemoteExecutionError(f"{host}: the command did not end within {timeout:g} seconds")
        result = self.monitor_job(host, job)
        assert result is not None  # noqa: S101 - for mypy: the command has ended
        return result

    def kill_job(self, host: str, job: Job, *, grace: float = 10.0) -> CommandResult:
        """Implement RemoteExecution.kill_job."""
        running = _running_job(host, job)
        try:
            if not running.processes_ended:
                self._end_processes(running, grace)
                running.processes_ended = True
            running.ended.wait(_CLOSE_TIMEOUT)
        finally:
            running.process.kill()
        running.ended.wait(_CLOSE_TIMEOUT)
        return running.result

    def _end_processes(self, job: RunningJob, grace: float) -> None:
        if not job.started.wait(_START_TIMEOUT):
            job.process.kill()
        timeout = grace + _END_TIMEOUT
        if job.pid is None:
            grace, timeout = min(grace, _LONGEST_GRACE_UNSTARTED), _SEARCH_TIMEOUT
        # The identifier is in no argument list and no environment of the tool: the tool must not find itself.
        call = f"end_command {job.identifier} {job.pid or 0} {round(grace * 100)} {_KILL_HUNDREDTHS}"
        tool = self.start_job(job.target, assemble("tools/end_command", call=call))
        try:
            result = self.wait_job(job.target, tool, timeout)
        except RemoteExecutionError as error:
            if job.pid is not None:
                raise RemoteExecutionError(f"{error}; the command may still run there") from error
        else:
            if result.returncode != 0:
                raise RemoteExecutionError(f"{job.host}: the command could not be ended: {result.output}")
        finally:
            tool.process.kill()

    def run(
        self, host: str, command: Command, *, on_line: LineHandler | None = None, timeout: float | None = None
    ) -> CommandResult:
        """Implement RemoteExecution.run."""
        job = self.start_job(host, command, on_line=on_line)
        try:
            return self.wait_job(host, job, timeout)
        finally:
            if not job.ended.is_set():
                # A signal handler may raise in this thread. The other thread kills the command all the same.
                killer = threading.Thread(target=self._kill_abandoned, args=(job,), daemon=True)
                killer.start()
                killer.join()

    def _kill_abandoned(self, job: RunningJob) -> None:
        try:
            self.kill_job(job.host, job, grace=_RUN_GRACE)
        except RemoteExecutionError as error:
            logger.warning("%s", error)  # it must not hide the first error


def _log_script(job: RunningJob, action: str, script: str) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s: command %s %s: %s", job.host, job.identifier, action, encodable(script))


def _running_job(host: str, job: Job) -> RunningJob:
    if not isinstance(job, RunningJob) or job.host != host:
        raise ValueError(f"not a command on {host}: {job!r}")
    return job
