"""One attempt at a transfer: its process, its log lines and its report."""

import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import pytest
from job_directory import JobDirectory, transfers

from transferpy.batch import attempt
from transferpy.batch.job_file import read_job_file
from transferpy.batch.scheduled_transfer import schedule_transfer


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


def test_terminate_before_the_start_of_the_process_stops_it(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b")))
    monkeypatch.setattr(attempt, "_PROGRAM", ("sleep", "1000"))
    job = read_job_file(str(directory.path / "j.yaml"))
    transfer = schedule_transfer(job.transfers[0], directory.remote, datetime.now(UTC))
    stopped = attempt.Attempt(transfer, (), SimpleQueue(), None)
    stopped.terminate()
    stopped.run()
    assert transfer.report is not None
    assert transfer.report.errors == ("the transfer process ended with status -15 and wrote no report",)
