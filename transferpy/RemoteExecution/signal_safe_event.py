"""An event between threads that survives exceptions from signal handlers."""

import time
from contextlib import suppress
from queue import Empty, SimpleQueue

_POLL_INTERVAL = 0.5
"""Seconds between two checks: another waiting thread may hold the token."""


class SignalSafeEvent:
    """A replacement for threading.Event that works while signal handlers raise exceptions.

    threading.Event takes locks in Python code. An exception that a signal handler raises there can leave a lock taken,
    and every thread that uses the event then waits forever. An operation of SimpleQueue is atomic.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._tokens: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        """Return True after ``set``."""
        return self._is_set

    def set(self) -> None:
        """Release all waiting threads; from now on ``wait`` returns at once."""
        self._is_set = True
        self._tokens.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for ``set``, ``timeout`` seconds at most; return True if the event is set."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = _POLL_INTERVAL if deadline is None else min(_POLL_INTERVAL, deadline - time.monotonic())
            if left <= 0:
                return False
            with suppress(Empty):
                self._tokens.get(timeout=left)
                self._tokens.put(None)  # for the next waiting thread
        return True
