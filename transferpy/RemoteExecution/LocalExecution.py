"""Commands on this host."""

import subprocess
from functools import partial

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.job_streams import LONGEST_LINE
from transferpy.RemoteExecution.running_job import RunningJob
from transferpy.RemoteExecution.threaded_execution import ThreadedExecution

LOCALHOST = "localhost"


class LocalExecution(ThreadedExecution):
    """Runs commands on ``localhost`` in the same way as CuminExecution runs them on other hosts."""

    def resolve(self, word: str) -> str:
        """Implement RemoteExecution.resolve: accept ``localhost`` only."""
        if word != LOCALHOST:
            raise RemoteExecutionError(f"{word}: only {LOCALHOST} can be used without cumin")
        return word

    def execute(self, job: RunningJob) -> int:
        """Implement ThreadedExecution.execute."""
        return execute_locally(job)


def execute_locally(job: RunningJob) -> int:
    """Run ``job`` on this host, wait for its end and return its exit status."""
    # Ctrl-C in the terminal must not reach the command, so it gets a process session of its own.
    with subprocess.Popen(  # noqa: S603 - this function exists to run the commands of its caller
        ("/bin/bash", "-c", job.command),
        env={},  # as at a login; the connection of a person to this host is not one of transferpy
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None  # noqa: S101 - for mypy: it is a pipe
        assert process.stdout is not None  # noqa: S101 - as above
        job.attach(process.pid, process.stdin.fileno())
        process.stdin.close()
        for line in iter(partial(process.stdout.readline, LONGEST_LINE), b""):
            job.take_line(line.removesuffix(b"\n"))
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
