"""Latches: whoever waits is let go, however often a handler of a signal raises in the midst of it."""

import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

import pytest

from transferpy.RemoteExecution.signal_safe_event import SignalSafeEvent


class Rang(Exception):  # noqa: N818 - what the handler of the alarm raises is no error
    pass


@pytest.fixture
def alarms() -> Iterator[None]:
    """Have a handler raise wherever the main thread is, but in this file: what is tested is what that calls."""

    def ring(_signum: int, frame: FrameType | None) -> None:
        if frame and frame.f_code.co_filename != __file__:
            raise Rang

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.signal(signal.SIGALRM, before)


def wait(latch: SignalSafeEvent) -> None:
    """Wait in spite of alarms."""
    while True:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
            while not latch.wait(5):
                pass
        except Rang:
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return


def test_who_waits_for_what_is_set_or_will_be_is_let_go() -> None:
    latch = SignalSafeEvent()
    waiters = [threading.Thread(target=latch.wait, daemon=True) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    assert not latch.is_set()
    latch.set()
    for waiter in waiters:
        waiter.join(10)
        assert not waiter.is_alive()
    assert latch.is_set()
    assert latch.wait()
    assert latch.wait(0)


def test_a_time_is_kept() -> None:
    began = time.monotonic()
    assert not SignalSafeEvent().wait(0.05)
    assert 0.05 <= time.monotonic() - began < 5
    assert not SignalSafeEvent().wait(0)
    assert not SignalSafeEvent().wait(-1)


@pytest.mark.usefixtures("alarms")
def test_handlers_that_raise_keep_nobody_waiting() -> None:
    for _ in range(300):
        latch = SignalSafeEvent()
        other = threading.Thread(target=latch.wait, daemon=True)
        setter = threading.Timer(0.001, latch.set)
        setter.daemon = True
        other.start()
        setter.start()
        wait(latch)
        for thread in (setter, other):
            thread.join(10)
            assert not thread.is_alive()
