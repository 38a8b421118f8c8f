"""Commands on this host."""

import contextlib
import os
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.job_output import LONGEST_LINE
from transferpy.RemoteExecution.running_job import RunningJob
from transferpy.RemoteExecution.threaded_execution import ThreadedExecution

if TYPE_CHECKING:
    import psutil

LOCALHOST = "localhost"
_START_TIME = 5.0
"""Seconds within which a shell starts."""
_POLL_INTERVAL = 0.02
_KILL_TIME = 5.0
"""Seconds within which a process that got KILL is gone, unless the kernel holds it."""


class LocalExecution(ThreadedExecution):
    """Runs commands on ``localhost`` in the same way as CuminExecution runs them on other hosts."""

    def resolve(self, word: str) -> str:
        """Implement RemoteExecution.resolve: accept ``localhost`` only."""
        if word != LOCALHOST:
            raise RemoteExecutionError(f"{word}: only {LOCALHOST} can be used without cumin")
        return word

    def execute(self, job: RunningJob) -> int:
        """Implement ThreadedExecution.execute."""
        # Ctrl-C in the terminal must not reach the command, so it gets a process session of its own.
        with subprocess.Popen(  # noqa: S603 - this class exists to run the commands of its caller
            ("bash", "-c", job.command),  # noqa: S607 - found in PATH, as sshd finds the login shell's commands
            stdin=subprocess.DEVNULL if job.input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            if process.stdin is None:
                job.attach(process.pid, None)
            else:
                job.attach(process.pid, process.stdin.fileno())
                process.stdin.close()
            assert process.stdout is not None  # noqa: S101 - for mypy: it is a pipe
            for line in iter(partial(process.stdout.readline, LONGEST_LINE), b""):
                job.take_line(line.removesuffix(b"\n"))
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def end_processes(self, job: RunningJob, grace: float) -> None:
        """Implement ThreadedExecution.end_processes."""
        import psutil  # noqa: PLC0415 - slow to import and seldom needed

        job.started.wait(_START_TIME)
        processes = _processes(job)
        for process in processes:
            if process.pid == job.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()
                _wait_for_end({process}, grace)
        deadline = time.monotonic() + _KILL_TIME
        # Looked for anew each time, for what forked meanwhile; the old ones stay, for what has lost its parent.
        while processes := {process for process in processes | _processes(job) if _lives(process)}:
            if time.monotonic() > deadline:
                left = " ".join(str(process.pid) for process in processes)
                raise RemoteExecutionError(f"{job.host}: processes that survive SIGKILL: {left}")
            # Stopped first, or a shell would go on to its next command when its child is killed before it.
            for action in (psutil.Process.suspend, psutil.Process.kill):
                for process in processes:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        action(process)
            _wait_for_end(processes, 0.1)


def _processes(job: RunningJob) -> "set[psutil.Process]":
    """Return the job's processes: those that carry its identifier, and the descendants of any of them."""
    import psutil  # noqa: PLC0415 - as above

    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real != os.getuid():
                continue  # other users may have read the identifier, and have it in theirs, set-uid ones among them
            if job.identifier in process.cmdline() or process.environ().get("TRANSFERPY_JOB") == job.identifier:
                found |= {process, *process.children(recursive=True)}
    return found


def _lives(process: "psutil.Process") -> bool:
    """Whether ``process`` is still there and no zombie."""
    import psutil  # noqa: PLC0415 - as above

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_for_end(processes: "set[psutil.Process]", seconds: float) -> None:
    # psutil.wait_procs would take the exit status of our child away from the job's thread.
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_lives(process) for process in processes):
        time.sleep(_POLL_INTERVAL)
