"""The end of all processes of a command."""

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from waiting import wait_until

from transferpy.Exceptions import RemoteExecutionError
from transferpy.host import assemble
from transferpy.RemoteExecution import threaded_execution
from transferpy.RemoteExecution.LocalExecution import LocalExecution

HOST = "localhost"


@pytest.fixture
def execution() -> LocalExecution:
    return LocalExecution()


def lives(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_killed_command_cleans_up_and_none_of_its_processes_remain(execution: LocalExecution, tmp_path: Path) -> None:
    script = f"""
        trap 'echo cleaning; sleep 0.1; touch {tmp_path}/clean; kill %1; exit 9' TERM
        sleep 1000 & echo $!
        setsid sleep 1000 & echo $!
        (setsid bash -c 'sleep 1000 & echo $!') &
        (env -i sleep 1000 & echo $!; wait) &
        wait
    """
    pids: list[int] = []
    job = execution.start_job(HOST, script, on_line=lambda line: pids.append(int(line)) if line.isdigit() else None)
    wait_until(lambda: len(pids) == 4)
    result = execution.kill_job(HOST, job)
    assert result.returncode == 9
    assert result.output.endswith("cleaning")
    assert (tmp_path / "clean").exists()
    assert [pid for pid in pids if lives(pid)] == []


def test_a_command_that_ignores_term_is_killed_after_the_grace(execution: LocalExecution, tmp_path: Path) -> None:
    job = execution.start_job(HOST, f"trap '' TERM; echo ready; sleep 1000; touch {tmp_path}/went-on; sleep 1000")
    wait_until(lambda: job.result.output)
    began = time.monotonic()
    assert execution.kill_job(HOST, job, grace=0.5).returncode == 128 + 9
    assert time.monotonic() - began >= 0.5
    assert job.result.output == "ready"
    assert list(tmp_path.iterdir()) == []


def test_a_program_gets_term_itself_and_not_from_a_shell(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, ["sleep", "1000"])
    assert execution.kill_job(HOST, job).returncode == 128 + 15


def test_a_command_can_be_killed_at_once_and_twice_and_after_its_end(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "sleep 1000")
    assert execution.kill_job(HOST, job) == execution.kill_job(HOST, job)
    ended = execution.start_job(HOST, "echo done")
    result = execution.wait_job(HOST, ended)
    assert execution.kill_job(HOST, ended) == result


def test_the_processes_of_another_command_continue_to_run(execution: LocalExecution) -> None:
    one, other = execution.start_job(HOST, "sleep 1000"), execution.start_job(HOST, "echo ready; sleep 1000")
    wait_until(lambda: other.result.output)
    execution.kill_job(HOST, one)
    assert execution.monitor_job(HOST, other) is None
    execution.kill_job(HOST, other)


@pytest.mark.lab  # it needs no lab, but root: to be another user
@pytest.mark.parametrize("program", [["/bin/sleep", "1000"], ["/bin/su", "-c", "true"]], ids=["his own", "set-uid"])
def test_a_process_of_another_user_with_the_identifier_continues_to_run(
    execution: LocalExecution, program: list[str]
) -> None:
    job = execution.start_job(HOST, "echo ready; sleep 1000")
    wait_until(lambda: "ready" in job.result.output)
    environment = {"TRANSFERPY_JOB": job.identifier}
    posing = subprocess.Popen(
        program,
        user="nobody",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        execution.kill_job(HOST, job)
        assert posing.poll() is None
    finally:
        posing.kill()
        posing.wait()


def test_only_the_processes_of_the_command_have_its_identifier(execution: LocalExecution) -> None:
    """A process of the tool that ends the command would end itself."""
    job = execution.start_job(HOST, "trap '' TERM; echo ready; sleep 1000")
    wait_until(lambda: job.result.output)
    killing = threading.Thread(target=execution.kill_job, args=(HOST, job), kwargs={"grace": 0.5})
    killing.start()
    found: set[int] = set()
    while killing.is_alive():
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if job.identifier in f"{process.cmdline()} {process.environ()}":
                    found.add(process.ppid() if process.name() == "sleep" else process.pid)
    killing.join()
    assert found - {1} == {job.pid}  # 1 is the parent of a sleep that has outlived its shell


def test_the_error_has_the_processes_that_survive(execution: LocalExecution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        threaded_execution,
        "assemble",
        lambda *files, call: f"{assemble(*files)}\nkill() {{ :; }}\nsleep() {{ :; }}\n{call}",
    )
    monkeypatch.setattr(threaded_execution, "_KILL_HUNDREDTHS", 10)
    job = execution.start_job(HOST, ["sleep", "1000"])
    wait_until(lambda: job.pid)
    error = f"^localhost: the command could not be ended: processes that SIGKILL did not end: {job.pid}$"
    with pytest.raises(RemoteExecutionError, match=error):
        execution.kill_job(HOST, job, grace=0)
    monkeypatch.undo()
    wait_until(lambda: execution.monitor_job(HOST, job))


def test_the_error_warns_of_remaining_processes_if_the_tool_does_not_end(
    execution: LocalExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threaded_execution, "assemble", lambda *_, call: f"exec sleep 1000 # {call}")
    monkeypatch.setattr(threaded_execution, "_END_TIMEOUT", 0.1)
    job = execution.start_job(HOST, ["sleep", "1000"])
    wait_until(lambda: job.pid)
    error = r"^localhost: the command did not end within 0\.1 seconds; the command may still run there$"
    with pytest.raises(RemoteExecutionError, match=error):
        execution.kill_job(HOST, job, grace=0)
