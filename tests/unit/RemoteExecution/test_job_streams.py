"""The standard input and the output of commands: lines, the end that is kept, and the log."""

import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from waiting import wait_until

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.job_streams import LONGEST_LINE, JobInput
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
    waiting = JobInput(is_open=True)
    waiting.write(b"x" * select.PIPE_BUF)
    with pytest.raises(BlockingIOError, match="it has not started"):
        waiting.write(b"x")
    waiting.disconnect()
    waiting.close()
    with pytest.raises(BrokenPipeError):
        waiting.write(b"x")


def test_the_handler_gets_each_line_while_the_script_runs(execution: LocalExecution, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lines: list[str] = []
    first = threading.Event()

    def take(line: str) -> None:
        lines.append(line)
        first.set()

    job = execution.start_job(HOST, f"echo first; read -r word <{fifo}; echo second $word", on_line=take)
    assert first.wait(10)
    assert lines == ["first"]
    assert execution.monitor_job(HOST, job) is None
    fifo.write_text("go\n")
    assert execution.wait_job(HOST, job, 10).output == "first\nsecond go"
    assert lines == ["first", "second go"]


def test_the_result_keeps_the_end_of_the_output_and_the_handler_gets_every_line(execution: LocalExecution) -> None:
    lines: list[str] = []
    result = execution.run(HOST, "seq 100000", on_line=lines.append)
    assert len(lines) == 100_000
    assert len(result.output) <= 64 << 10
    assert result.output.endswith("\n99999\n100000")
    assert result.output.split("\n") == lines[-result.output.count("\n") - 1 :]


def test_the_handler_gets_a_line_that_is_too_long_in_pieces(execution: LocalExecution) -> None:
    pieces: list[str] = []
    execution.run(HOST, "head -c 5000000 /dev/zero | tr '\\0' x", on_line=pieces.append)
    assert len("".join(pieces)) == 5_000_000
    assert max(map(len, pieces)) == LONGEST_LINE


def test_scripts_and_their_output_are_logged_at_debug_level(
    execution: LocalExecution, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "transferpy")
    execution.run(HOST, "printf 'a \\377\\n'")
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    messages = [record.getMessage() for record in caplog.records]
    assert any("printf 'a " in message for message in messages)
    assert "localhost: a \\udcff" in messages
