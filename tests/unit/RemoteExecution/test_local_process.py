"""The handle of the process that runs a remote command."""

import signal
import subprocess
from collections.abc import Iterator

import pytest

from transferpy.RemoteExecution.local_process import LocalProcess


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def test_kill_before_the_start_kills_the_process_as_soon_as_it_is_attached(child: subprocess.Popen[bytes]) -> None:
    process = LocalProcess()
    process.kill()
    assert process.killed.is_set()
    assert child.poll() is None
    process.attach(child.pid)
    assert child.wait(10) == -signal.SIGKILL
    process.detach()


def test_kill_after_the_end_or_twice_or_after_detach_is_no_error(child: subprocess.Popen[bytes]) -> None:
    process = LocalProcess()
    process.attach(child.pid)
    process.kill()
    assert child.wait(10) == -signal.SIGKILL
    process.kill()
    process.detach()
    process.detach()
    process.kill()
