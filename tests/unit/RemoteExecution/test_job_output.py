"""The output of commands: lines, the end that is kept, and the log."""

import logging
import os
import threading
from pathlib import Path

import pytest

from transferpy.RemoteExecution.job_output import LONGEST_LINE
from transferpy.RemoteExecution.LocalExecution import LocalExecution

HOST = "localhost"


@pytest.fixture
def execution() -> LocalExecution:
    return LocalExecution()


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
