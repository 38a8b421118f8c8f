"""The process of this host that runs a remote command."""

import contextlib
import os
import signal
import threading

from transferpy.RemoteExecution.signal_safe_event import SignalSafeEvent


class LocalProcess:
    """A handle of the ssh process of a remote command, or of the bash process of a command on this host.

    The handle is a pidfd: it refers to the same process even after the kernel has reused the process ID.

    Attributes:
        killed: set when ``kill`` has been called.
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
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def detach(self) -> None:
        """Close the handle of a process that has ended."""
        with self._lock:
            if self._pidfd is not None:
                os.close(self._pidfd)
            self._pidfd = None
