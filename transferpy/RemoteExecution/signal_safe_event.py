"""Waiting for another thread, safe from exceptions that handlers of signals raise."""

import time
from contextlib import suppress
from queue import Empty, SimpleQueue

_LOOK = 0.5
"""Seconds between two looks: one waiter may have taken the token of another one."""


class SignalSafeEvent:
    """What one thread sets and others wait for, as threading.Event.

    That one is made of locks in Python code: an exception that a handler of a signal raises in the midst of it may
    leave them taken, and then every thread that comes by waits for ever. A SimpleQueue is one step of the interpreter.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._tokens: SimpleQueue[None] = SimpleQueue()

    def is_set(self) -> bool:
        """Return whether it has been set."""
        return self._is_set

    def set(self) -> None:
        """Let everybody go who waits, now and later."""
        self._is_set = True
        self._tokens.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, ``timeout`` seconds at most; return whether it is."""
        end = None if timeout is None else time.monotonic() + timeout
        while not self._is_set:
            left = _LOOK if end is None else min(_LOOK, end - time.monotonic())
            if left <= 0:
                return False
            with suppress(Empty):
                self._tokens.get(timeout=left)
                self._tokens.put(None)  # for the next one who waits
        return True
