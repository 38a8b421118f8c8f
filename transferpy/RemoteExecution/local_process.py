"""The process of this host that runs a remote command, and an event to wait for it."""

import os
import signal
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

_POLL_INTERVAL = 0.5  # seconds between two checks of an event: another waiting thread may hold the token


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


class LocalProcess:
    """A handle of the ssh process of a remote command, or of the bash process of a command on this host.

    The handle is a pidfd: it refers to the same process even after the kernel has reused the process ID. The event
    ``killed`` is set when ``kill`` has been called.
    """

    def __init__(self) -> None:
        self.killed = SignalSafeEvent()
        self._lock = threading.Lock()
        self._pidfd: int | None = None

    def attach(self, pid: int) -> None:
        """Refer to ``pid``, a child process whose exit status has not been read; kill it if ``kill`` came before."""
        with self._lock:
            self._pidfd = os.pidfd_open(pid)
        if self.killed.is_set():
            self.kill()

    def kill(self) -> None:
        """Kill the process now, or as soon as it is attached."""
        with self._lock:
            self.killed.set()
            if self._pidfd is not None:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def detach(self) -> None:
        """Close the handle of a process that has ended."""
        with self._lock:
            if self._pidfd is not None:
                os.close(self._pidfd)
            self._pidfd = None
