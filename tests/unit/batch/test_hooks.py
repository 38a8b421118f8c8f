"""Hooks of a job."""

import json
import logging
import os
import signal
import time
from pathlib import Path

import pytest
from job_directory import JobDirectory, transfers

from transferpy.batch import hooks


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def run_with_hook(directory: JobDirectory, command: str) -> int:
    directory.write(f"on_success: {command}\n" + transfers(("a", "b")))
    return directory.run()


def test_a_hook_gets_the_report_on_its_standard_input(directory: JobDirectory) -> None:
    assert run_with_hook(directory, f"tee {directory.path}/hooked") == 0
    assert json.loads((directory.path / "hooked").read_text()) == directory.report


def test_a_hook_does_not_have_to_read_the_report(directory: JobDirectory) -> None:
    assert run_with_hook(directory, "sh -c 'exec <&-; exit 0'") == 0


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("false", "the hook false failed with status 1"),
        ("sh -c 'kill -TERM $$'", "the hook sh was ended by signal 15"),
        ("/nowhere/hook", "the hook /nowhere/hook could not be run: No such file or directory\n"),
    ],
)
def test_a_failed_hook_is_an_error_but_no_failed_transfer(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture, command: str, expected: str
) -> None:
    assert run_with_hook(directory, command) == 11
    assert expected in caplog.text
    assert directory.report["status"] == 0


def test_a_hook_that_exceeds_the_time_limit_is_killed_with_its_processes(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "_TIME_LIMIT", 0.5)
    assert run_with_hook(directory, f"sh -c 'sleep 60 & echo $! >{directory.path}/pid; wait'") == 11
    assert "the hook sh was killed after 0.5 s" in caplog.text
    pid = int((directory.path / "pid").read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":  # its new parent has not reaped it yet
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{pid}").exists()


def test_a_process_that_a_hook_leaves_in_the_background_does_not_delay_the_end(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert run_with_hook(directory, "sh -c 'sleep 1000 & echo text $!'") == 0
    (text,) = (message for message in caplog.messages if message.startswith("sh: text "))
    os.kill(int(text.split()[-1]), signal.SIGKILL)


def test_a_hook_runs_in_a_session_of_its_own(directory: JobDirectory) -> None:
    assert run_with_hook(directory, f"sh -c 'ps -o sid= -p $$ >{directory.path}/sid'") == 0
    assert int((directory.path / "sid").read_text()) != os.getsid(0)
