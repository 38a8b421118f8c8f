"""The standard input of commands."""

import select
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_until

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.job_input import JobInput
from transferpy.RemoteExecution.LocalExecution import LocalExecution

HOST = "localhost"


@pytest.fixture
def execution() -> LocalExecution:
    return LocalExecution()


def test_a_command_reads_input_that_was_written_before_and_after_its_start(execution: LocalExecution) -> None:
    lines: list[str] = []
    job = execution.start_job(
        HOST, "while read -r line; do echo got $line; done; echo over", on_line=lines.append, takes_input=True
    )
    execution.write_job(HOST, job, "first\n")
    wait_until(lambda: lines == ["got first"])
    execution.write_job(HOST, job, "second\n")
    wait_until(lambda: lines == ["got first", "got second"])
    assert execution.monitor_job(HOST, job) is None
    execution.kill_job(HOST, job)
    with pytest.raises(RemoteExecutionError, match="localhost: the command does not take input"):
        execution.write_job(HOST, job, "third\n")


def test_a_command_without_input_reads_the_end_of_file(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "cat; echo over")
    assert execution.wait_job(HOST, job, 10).output == "over"
    with pytest.raises(RemoteExecutionError, match="does not take input"):
        execution.write_job(HOST, job, "x\n")


def test_writing_to_a_command_that_does_not_read_raises_an_error(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "exec sleep 60", takes_input=True)

    def fill() -> None:
        for _ in range(100):
            execution.write_job(HOST, job, "x" * 4000)

    with pytest.raises(RemoteExecutionError, match="does not take input"):
        fill()
    execution.kill_job(HOST, job)


def test_the_input_ends_when_the_calling_process_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = f"echo started; exec >{output}; cat; echo ended"
    program = (
        "import time; from transferpy.RemoteExecution.LocalExecution import LocalExecution;"
        f"LocalExecution().start_job('localhost', {script!r}, takes_input=True,"
        " on_line=lambda line: print(line, flush=True)); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"started\n"
        process.kill()
    wait_until(lambda: output.exists() and output.read_text(encoding="utf-8") == "ended\n")


def test_input_for_a_command_that_has_not_started_is_limited() -> None:
    waiting = JobInput()
    waiting.write(b"x" * select.PIPE_BUF)
    with pytest.raises(BlockingIOError, match="it has not started"):
        waiting.write(b"x")
    waiting.disconnect()
    waiting.close()
    with pytest.raises(BrokenPipeError):
        waiting.write(b"x")
