"""A run of a job: its lock, dry runs, refusals, and the removal of old copies after the transfers."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_directory import Hosts, JobDirectory, transfers

from transferpy.batch import copies, scheduler
from transferpy.Exceptions import JobRunningError, UsageError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def test_a_dry_run_takes_no_lock_and_runs_no_hook(directory: JobDirectory) -> None:
    directory.write("on_success: touch " + str(directory.path / "hooked") + "\n" + transfers(("a", "b")))
    assert directory.run(dry_run=True) == 0
    assert not directory.state.exists()
    assert not (directory.path / "hooked").exists()


def test_a_dry_run_logs_no_success(directory: JobDirectory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    directory.write(transfers(("a", "b")))
    assert directory.run(dry_run=True) == 0
    assert ": dry run: 1 of 1 transfer(s) passed all checks in " in caplog.messages[-1]
    assert "succeeded" not in caplog.text


def test_old_copies_are_removed_only_after_a_success(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d"), more=", keep: 1"), statuses={"a:/x": [0, 6]})
    directory.remote = Hosts(lambda _: ["kept"])
    assert directory.run() == 0
    assert len(directory.remote.removals) == 2
    assert directory.run() == 6
    assert len(directory.remote.removals) == 3


def test_a_copy_that_does_not_exist_or_belongs_to_someone_else_loses_its_record(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d"), ("e", "f"), more=", keep: 1"))
    results = iter(["gone", "other", "shared"])
    directory.remote = Hosts(lambda _: [next(results)])
    assert directory.run() == 0
    assert directory.records == []


def test_a_host_that_cannot_prune_is_an_error_in_the_log(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    assert directory.run() == 11
    assert "[t0] old copies cannot be removed: b: status 1: no such thing" in caplog.text
    assert len(directory.records) == 1


def test_a_host_that_answers_nonsense_is_an_error_in_the_log(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    directory.remote = Hosts(lambda _: ["$(reboot)"])
    assert directory.run() == 11
    assert "[t0] old copies cannot be removed: b: pruning returned a malformed event 'pruned'" in caplog.text
    assert len(directory.records) == 1


def test_a_registry_that_cannot_be_written_after_pruning_is_an_error(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))

    def answer(_script: str) -> list[str]:
        monkeypatch.setattr(copies, "write_atomically", refuse)
        return ["kept"]

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    directory.remote = Hosts(answer)
    assert directory.run() == 11


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("transfers: [", "line 2: invalid YAML: "),
        ("x" * (1 << 20), "the job file cannot be read: it has more than 1048576 characters"),
    ],
)
def test_a_refused_job_replaces_the_old_report(directory: JobDirectory, text: str, expected: str) -> None:
    directory.write(text)
    (directory.path / "report.json").write_text("{}")
    with pytest.raises(UsageError):
        directory.run()
    assert directory.report["status"] == 2
    assert expected in directory.report["transfers"][0]["errors"][0]


def test_an_unknown_transfer_is_refused_with_the_names_in_the_file(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), ("c", "d")))
    with pytest.raises(UsageError, match="unknown transfer x; the transfers are t0, t1"):
        directory.run("x")


def test_a_run_is_refused_while_a_transfer_of_a_killed_run_is_in_progress(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b")), seconds=4)
    runner = (
        "import sys; sys.path[:0] = sys.argv[1].split(':'); from job_directory import *; from pathlib import Path\n"
        "directory = JobDirectory(Path(sys.argv[2]), None)\n"
        "scheduler._PROGRAM = (sys.executable, sys.argv[2] + '/program.py')\n"
        "directory.run()\n"
    )
    words = [sys.executable, "-c", runner, ":".join(sys.path), str(directory.path)]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 20
        while not directory.events and time.monotonic() < deadline:
            time.sleep(0.02)
        killed.kill()
    assert len(directory.events) == 1
    with pytest.raises(JobRunningError, match="another run of this job has not ended yet"):
        directory.run()
    assert (directory.report["status"], len(directory.report["transfers"])) == (12, 1)
    while len(directory.events) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    status = 0
    while time.monotonic() < deadline:
        try:
            status = directory.run()
            break
        except JobRunningError:  # the process of the transfer is about to end
            time.sleep(0.02)
    assert (status, directory.report["status"], len(directory.events)) == (0, 0, 4)


def test_a_process_that_a_transfer_leaves_behind_does_not_hold_the_lock(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # ClusterShell starts ssh like this: with its own pipes, and with all inheritable descriptors.
    directory.write(transfers(("a", "b")))
    child = (
        "import subprocess, sys; from subprocess import DEVNULL as null\n"
        f"exec(open({str(directory.path / 'program.py')!r}).read())\n"
        "subprocess.Popen(['sleep', '5'], stdin=null, stdout=null, stderr=null, close_fds=False)\n"
    )
    monkeypatch.setattr(scheduler, "_PROGRAM", (sys.executable, "-c", child))
    assert directory.run() == 0
    assert directory.run() == 0


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_state_directory_in_which_other_users_can_write_is_refused(directory: JobDirectory, mode: int) -> None:
    directory.write(transfers(("a", "b")))
    directory.state.mkdir()
    directory.state.chmod(mode)
    with pytest.raises(UsageError, match="the state directory cannot be used: another user"):
        directory.run()
    assert directory.report["status"] == 2
    assert list(directory.state.iterdir()) == []
