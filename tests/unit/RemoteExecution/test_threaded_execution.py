"""Waiting for commands, their handlers, and the end of a run."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.interface import CommandResult, Job, Outcome
from transferpy.RemoteExecution.LocalExecution import LocalExecution

HOST = "localhost"


@pytest.fixture
def execution() -> LocalExecution:
    return LocalExecution()


def test_a_command_continues_to_run_after_the_timeout_of_wait_job(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "sleep 1000")
    with pytest.raises(RemoteExecutionError, match=r"^localhost: the command did not end within 0\.1 seconds$"):
        execution.wait_job(HOST, job, 0.1)
    assert execution.monitor_job(HOST, job) is None
    execution.kill_job(HOST, job, grace=0)
    assert execution.monitor_job(HOST, job) is not None


def test_on_end_is_called_once_before_the_command_counts_as_ended(execution: LocalExecution) -> None:
    calls: list[tuple[Outcome, CommandResult | None]] = []
    jobs: list[Job] = []
    listed = threading.Event()

    def take_end(outcome: Outcome) -> None:
        listed.wait(10)
        calls.append((outcome, execution.monitor_job(HOST, jobs[0])))

    jobs.append(execution.start_job(HOST, "exit 4", on_end=take_end))
    listed.set()
    result = execution.wait_job(HOST, jobs[0])
    assert calls == [(result, result)]


def test_an_exception_in_a_handler_fails_the_command_but_does_not_stop_it(
    execution: LocalExecution, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ValueError("no good")

    job = execution.start_job(HOST, f"echo one; echo two; touch {tmp_path}/end", on_line=fail)
    with pytest.raises(RemoteExecutionError, match="no good") as raised:
        execution.wait_job(HOST, job)
    assert isinstance(raised.value.__cause__, ValueError)
    assert (tmp_path / "end").exists()
    assert len(caplog.records) == 1
    job = execution.start_job(HOST, "true", on_end=fail)
    with pytest.raises(RemoteExecutionError, match="no good"):
        execution.wait_job(HOST, job)


def test_the_command_of_another_host_is_rejected(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "true")
    with pytest.raises(ValueError, match="not a command on db1"):
        execution.monitor_job("db1", job)
    execution.wait_job(HOST, job)


def test_run_ends_the_command_after_its_timeout(execution: LocalExecution, tmp_path: Path) -> None:
    with pytest.raises(RemoteExecutionError, match="did not end within"):
        execution.run(HOST, f"trap 'touch {tmp_path}/clean; exit' TERM; sleep 1000 & wait", timeout=0.3)
    assert (tmp_path / "clean").exists()


def test_run_ends_the_command_after_an_exception_from_a_signal_handler(tmp_path: Path) -> None:
    program = f"""
import os, signal, threading
from transferpy.Exceptions import Interrupted
from transferpy.RemoteExecution.LocalExecution import LocalExecution
def interrupt(signum, frame):
    raise Interrupted(signum)
signal.signal(signal.SIGTERM, interrupt)
script = "trap 'touch {tmp_path}/clean; exit' TERM; echo ready; sleep 1000 & wait"
try:
    LocalExecution().run("localhost", script, on_line=lambda _: os.kill(os.getpid(), signal.SIGTERM))
except Interrupted as interrupted:
    print(interrupted.signum.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("SIGTERM\n", "")
    assert (tmp_path / "clean").exists()


def test_run_logs_a_failure_to_end_the_command_and_raises_its_first_error(
    execution: LocalExecution, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(host: str, job: Job, *, grace: float) -> CommandResult:
        kill_job(host, job, grace=grace)
        raise RemoteExecutionError("localhost: the command could not be ended")

    kill_job = execution.kill_job
    monkeypatch.setattr(execution, "kill_job", fail)
    with pytest.raises(RemoteExecutionError, match=r"did not end within 0\.1 seconds"):
        execution.run(HOST, "sleep 1000", timeout=0.1)
    assert caplog.messages == ["localhost: the command could not be ended"]
