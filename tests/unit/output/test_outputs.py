"""Outputs: plans, reports and metrics that are written to streams and files."""

import fcntl
import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import REPORT

from transferpy.Exceptions import Interrupted
from transferpy.model.options import ToolOptions
from transferpy.output import metrics
from transferpy.output.atomic_file import write_atomically
from transferpy.output.outputs import write_metrics, write_outputs, write_report


def test_with_a_report_on_standard_output_the_plan_is_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    options = ToolOptions(report="-")
    assert write_outputs(options, [replace(REPORT, plan=("a line of the plan",))], {})
    output, errors = capsys.readouterr()
    assert json.loads(output)["version"] == 1
    assert errors == "a line of the plan\n"


def test_without_a_report_the_plan_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert write_outputs(ToolOptions(), [replace(REPORT, plan=("a\x1b[2J",))], {})
    assert capsys.readouterr() == ("a\\x1b[2J\n", "")


@pytest.mark.parametrize("path", ["/nowhere/at/all.json", "/proc/none.json", "/dev/full"])
def test_a_report_that_cannot_be_written_is_an_error_in_the_log(caplog: pytest.LogCaptureFixture, path: str) -> None:
    assert not write_report(path, "{}")
    assert caplog.messages[0].startswith(f"{path}: the report cannot be written: ")
    assert "Errno" not in caplog.text


def test_a_report_to_a_pipe_requires_a_reader(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not write_report(str(tmp_path / "pipe"), "new")
    assert "the report cannot be written" in caplog.text
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert write_report(str(tmp_path / "pipe"), "new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)


def test_a_signal_is_deferred_until_the_outputs_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ToolOptions(report=str(tmp_path / "r.json"), metrics=str(tmp_path / "m.prom"))

    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    def write_with_signal(*arguments: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        write_atomically(*arguments, **options)

    monkeypatch.setattr("transferpy.output.outputs.write_atomically", write_with_signal)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            write_outputs(options, [REPORT], metrics.report_series(REPORT))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads((tmp_path / "r.json").read_text())["version"] == 1
    assert metrics.parse_series((tmp_path / "m.prom").read_text())


def test_metrics_behind_a_lock_that_is_not_released_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transferpy.output.outputs._LOCK_TIMEOUT", 0.2)
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert not write_metrics(str(tmp_path / "m.prom"), metrics.report_series(REPORT))
    os.close(lock)
    assert "the metrics cannot be written" in caplog.text
    assert write_metrics(str(tmp_path / "m.prom"), metrics.report_series(REPORT))


def test_a_plan_is_escaped_for_the_encoding_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    assert write_outputs(ToolOptions(), [replace(REPORT, plan=("\xe9",))], {})
    assert stream.buffer.getvalue() == b"\\xe9\n"
