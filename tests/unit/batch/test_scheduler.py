"""The scheduler: limits, retries, signals that stop a job, and the process of one attempt."""

import logging
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

import pytest
from job_directory import JobDirectory, most_at_once, transfers

from transferpy.batch import scheduler
from transferpy.batch.job_file import read_job_file
from transferpy.batch.run import job_lock
from transferpy.batch.scheduled_transfer import schedule_transfer
from transferpy.Exceptions import Interrupted


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def test_by_default_one_transfer_runs_at_a_time(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d"), ("e", "f")), seconds=0.2)
    assert directory.run() == 0
    assert [event[1] for event in directory.events] == ["a:/x", "a:/x", "c:/x", "c:/x", "e:/x", "e:/x"]


def test_the_limit_of_a_host_counts_transfers_from_it_and_to_it(directory: JobDirectory) -> None:
    pairs = (("a", "b"), ("a", "c"), ("d", "a"), ("e", "f"), ("g", "f"))
    directory.write("at_once: 9\nat_once_per_host: 1\n" + transfers(*pairs), seconds=0.3)
    assert directory.run() == 0
    assert len(directory.events) == 10
    assert most_at_once(directory.events) == 2
    assert all(most_at_once(directory.events, host) == 1 for host in "abcdefg")


def test_a_host_with_a_limit_of_two_has_two_transfers(directory: JobDirectory) -> None:
    directory.write("at_once: 3\nat_once_per_host: 2\n" + transfers(*(("a", host) for host in "bcd")), seconds=0.5)
    assert directory.run() == 0
    assert most_at_once(directory.events, "a") == 2


def test_names_select_transfers_and_their_order(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d"), ("e", "f")))
    assert directory.run("t2", "t0", "t2") == 0
    assert [event[1] for event in directory.events if event[0] == "begin"] == ["e:/x", "a:/x"]


def test_a_failed_transfer_is_tried_again_after_a_pause_and_the_last_status_counts(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), more=", retries: 2, retry_pause: 1"), statuses={"a:/x": [6, 0]})
    assert directory.run() == 0
    times = [float(event[3]) for event in directory.events]
    assert len(times) == 4
    assert times[2] - times[1] >= 1
    assert (directory.report["status"], directory.report["transfers"][0]["attempts"]) == (0, 2)


def test_a_dry_run_is_not_tried_again(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), more=", retries: 2, retry_pause: 60"), statuses={"a:/x": [4]})
    assert directory.run(dry_run=True) == 4
    assert directory.report["transfers"][0]["attempts"] == 1


def test_the_status_of_a_job_is_that_of_its_first_failed_transfer(directory: JobDirectory) -> None:
    directory.write("at_once: 3\n" + transfers(("a", "b"), ("c", "d"), ("e", "f")), statuses={"c:/x": [6], "e:/x": [3]})
    assert directory.run() == 6
    assert [run["status"] for run in directory.report["transfers"]] == [0, 6, 3]


@pytest.fixture
def _alarm() -> Iterator[None]:
    """Let SIGALRM raise Interrupted, as the signals that stop transfer.py do."""

    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_alarm")
class TestSignals:
    def test_a_signal_during_the_pause_before_a_retry_stops_the_job_with_a_report(
        self, directory: JobDirectory
    ) -> None:
        directory.write(
            transfers(("a", "b"), ("c", "d"), more=", retries: 1, retry_pause: 60"), statuses={"a:/x": [6], "c:/x": [0]}
        )
        directory.received = [signal.SIGTERM]
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        with pytest.raises(Interrupted):
            directory.run()
        assert directory.report["status"] == 143
        first, second = directory.report["transfers"]
        assert (first["status"], first["interrupted"]) == (143, "SIGTERM")
        assert (second["status"], second["interrupted"]) == (0, "")
        assert [copy["transfer"] for copy in directory.records] == ["t1"]

    def test_a_signal_before_the_start_replaces_the_old_report(
        self, directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def resolve_all(_word: str) -> tuple[str, ...]:
            raise Interrupted(signal.SIGTERM)

        directory.write(transfers(("a", "b")))
        monkeypatch.setattr(directory.remote, "resolve_all", resolve_all)
        with pytest.raises(Interrupted):
            directory.run()
        (run,) = directory.report["transfers"]
        assert (directory.report["status"], run["interrupted"]) == (143, "SIGTERM")
        assert directory.events == []

    def test_a_signal_stops_the_running_transfer_and_waits_for_its_end(self, directory: JobDirectory) -> None:
        directory.write(transfers(("a", "b"), ("c", "d")), seconds=30)
        directory.received = [signal.SIGINT]
        signal.setitimer(signal.ITIMER_REAL, 0.7)
        with pytest.raises(Interrupted):
            directory.run()
        assert [event[0] for event in directory.events] == ["begin"]
        assert [run["status"] for run in directory.report["transfers"]] == [130, 130]
        assert directory.report["transfers"][1]["errors"] == ["the transfer was not started"]
        job_path = str(directory.path / "j.yaml")
        with job_lock(read_job_file(job_path), job_path):
            pass  # no process holds it any more

    def test_a_signal_stops_a_running_hook(self, directory: JobDirectory) -> None:
        directory.write("on_success: sleep 1000\n" + transfers(("a", "b")))
        signal.setitimer(signal.ITIMER_REAL, 1)
        with pytest.raises(Interrupted):
            directory.run()


def test_a_process_that_cannot_be_started_is_a_failed_attempt(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b")))
    monkeypatch.setattr(scheduler, "_PROGRAM", ("/nowhere/python",))
    assert directory.run() == 1
    assert "the transfer process could not be run: " in directory.report["transfers"][0]["errors"][0]


def test_a_process_that_dies_without_a_report_is_a_failed_attempt(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b")))
    monkeypatch.setattr(scheduler, "_PROGRAM", ("bash", "-c", "kill -KILL $$"))
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
    monkeypatch.setattr(scheduler, "_PROGRAM", ("sleep", "1000"))
    job = read_job_file(str(directory.path / "j.yaml"))
    transfer = schedule_transfer(job.transfers[0], directory.remote, datetime.now(UTC))
    stopped = scheduler.Attempt(transfer, (), SimpleQueue(), None)
    stopped.terminate()
    stopped.run()
    assert transfer.report is not None
    assert transfer.report.errors == ("the transfer process ended with status -15 and wrote no report",)
