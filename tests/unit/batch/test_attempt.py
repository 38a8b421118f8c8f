"""One attempt at a transfer: its process, its log lines and its report."""

import logging
import threading
from pathlib import Path

import pytest
from job_directory import JobDirectory, transfers

from transferpy.batch import attempt


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def test_a_process_that_cannot_be_started_is_a_failed_attempt(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b")))
    monkeypatch.setattr(attempt, "_PROGRAM", ("/nowhere/python",))
    assert directory.run() == 1
    assert "the transfer process could not be run: " in directory.report["transfers"][0]["errors"][0]


def test_a_process_that_dies_without_a_report_is_a_failed_attempt(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b")))
    monkeypatch.setattr(attempt, "_PROGRAM", ("bash", "-c", "kill -KILL $$"))
    assert directory.run() == 1
    assert directory.report["transfers"][0]["errors"] == [
        "the transfer process ended with status -9 and wrote no report"
    ]


def test_a_log_line_of_a_transfer_has_its_name(directory: JobDirectory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    directory.write(transfers(("a", "b")))
    assert directory.run() == 0
    assert "[t0] a log line" in caplog.messages
    assert threading.active_count() < 20
