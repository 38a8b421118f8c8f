"""The lock of a job."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from job_directory import JobDirectory, transfers

from transferpy.batch import attempt
from transferpy.Exceptions import JobRunningError, UsageError


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def test_a_run_is_refused_while_a_transfer_of_a_killed_run_is_in_progress(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b")), seconds=4)
    runner = (
        "import sys; sys.path[:0] = sys.argv[1].split(':'); from job_directory import *; from pathlib import Path\n"
        "directory = JobDirectory(Path(sys.argv[2]), None)\n"
        "attempt._PROGRAM = (sys.executable, sys.argv[2] + '/program.py')\n"
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
    monkeypatch.setattr(attempt, "_PROGRAM", (sys.executable, "-c", child))
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
