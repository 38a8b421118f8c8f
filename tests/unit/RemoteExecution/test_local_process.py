"""The handle of the process that runs a remote command, and the event that survives signal handlers."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from transferpy.RemoteExecution import local_process
from transferpy.RemoteExecution.local_process import LocalProcess, SignalSafeEvent


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


class Rang(Exception):  # noqa: N818 - it is no error
    """The exception of the alarm handler."""


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Raise Rang on SIGALRM while the main thread runs code of the event, or of the module threading.

    An exception in the code that measures the coverage would leave the lock of all threads locked.
    """
    # An alarm may strike within a destructor, where Python ignores it, and again in the hook that reports it.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    def ring(_signum: int, frame: FrameType | None) -> None:
        if frame and frame.f_code.co_filename in {local_process.__file__, threading.__file__}:
            raise Rang

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.signal(signal.SIGALRM, before)


def wait(event: SignalSafeEvent) -> int:
    """Wait in spite of alarms; return the number of alarms that raised an exception."""
    count = 0
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
            while not event.wait(5):
                pass
        except Rang:
            count += 1
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return count


def test_set_releases_all_threads_that_wait_now_or_later() -> None:
    event = SignalSafeEvent()
    waiters = [threading.Thread(target=event.wait, daemon=True) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    assert not event.is_set()
    event.set()
    for waiter in waiters:
        waiter.join(10)
        assert not waiter.is_alive()
    assert event.is_set()
    assert event.wait()
    assert event.wait(0)


def test_wait_returns_after_its_timeout() -> None:
    began = time.monotonic()
    assert not SignalSafeEvent().wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert not SignalSafeEvent().wait(0)
    assert not SignalSafeEvent().wait(-1)


@pytest.mark.usefixtures("alarms")
def test_threads_are_released_although_signal_handlers_raise() -> None:
    alarm_count = 0
    for _ in range(300):
        event = SignalSafeEvent()
        other = threading.Thread(target=event.wait, daemon=True)
        setter = threading.Timer(0.001, event.set)
        setter.daemon = True
        other.start()
        setter.start()
        alarm_count += wait(event)
        for thread in (setter, other):
            thread.join(10)
            assert not thread.is_alive()
    assert alarm_count > 0
