"""Commands on this host."""

import contextlib
import os
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.jobs import (
    ENVIRONMENT_VARIABLE,
    LOCALHOST,
    LONGEST_LINE,
    RunningJob,
    ThreadedExecution,
)

if TYPE_CHECKING:
    import psutil

_START_TIME = 5.0
"""Seconds within which a shell starts."""
_POLL_INTERVAL = 0.02
_KILL_TIME = 5.0
"""Seconds within which a process that got KILL is gone, unless the kernel holds it."""


class LocalExecution(ThreadedExecution):
    """Runs commands on ``localhost``, just as CuminExecution does on other hosts."""

    def resolve(self, word: str) -> str:
        """As RemoteExecution.resolve; knows only ``localhost``."""
        if word != LOCALHOST:
            raise RemoteExecutionError(f"{word}: only {LOCALHOST} can be used without cumin")
        return word

    def carry_out(self, job: RunningJob) -> int:
        """As ThreadedExecution.carry_out."""
        # A session of its own: Ctrl-C at the terminal is for us, who then end the job in good order.
        with subprocess.Popen(  # noqa: S603 - to run what we are given is what we are for
            ("bash", "-c", job.command),  # noqa: S607 - as sshd would, by PATH
            stdin=subprocess.PIPE if job.takes_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            if process.stdin is None:
                job.attach(process.pid, None)
            else:
                job.attach(process.pid, process.stdin.fileno())
                process.stdin.close()
            assert process.stdout is not None  # noqa: S101 - it is a pipe: tells mypy
            for line in iter(partial(process.stdout.readline, LONGEST_LINE), b""):
                job.take_line(line.removesuffix(b"\n"))
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def end(self, job: RunningJob, grace: float) -> None:
        """As ThreadedExecution.end."""
        import psutil  # noqa: PLC0415 - slow to import and seldom needed

        job.started.wait(_START_TIME)
        processes = _processes(job)
        for process in processes:
            if process.pid == job.leader:
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
            if job.identifier in process.cmdline() or process.environ().get(ENVIRONMENT_VARIABLE) == job.identifier:
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
