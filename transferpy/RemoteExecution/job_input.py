"""The standard input of a remote command."""

import errno
import os
import select
import threading
import time

_WRITE_TIMEOUT = 5.0
"""Seconds to wait for a command that does not read a full pipe."""


class JobInput:
    """Writes to the standard input of a command, and keeps the data until there is a pipe to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._unsent = b""
        self._closed = False

    def connect(self, descriptor: int) -> None:
        """Write to a duplicate of ``descriptor`` from now on, and write all kept data.

        Raises:
            OSError: the command has ended or does not read.
        """
        with self._lock:
            self._descriptor = os.dup(descriptor)
            os.set_blocking(self._descriptor, False)
            self._flush()

    def write(self, data: bytes) -> None:
        """Write ``data``, or keep it until ``connect``.

        Raises:
            OSError: the command has ended or does not read.
        """
        with self._lock:
            if self._closed:
                raise BrokenPipeError
            if self._descriptor is None and len(self._unsent) + len(data) > select.PIPE_BUF:
                raise BlockingIOError(errno.EAGAIN, "it has not started")
            self._unsent += data
            self._flush()

    def _flush(self) -> None:
        if self._descriptor is None:
            return
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        deadline = time.monotonic() + _WRITE_TIMEOUT
        while self._unsent:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise BlockingIOError(errno.EAGAIN, "it does not read its input")
            # A pipe that is ready for writing accepts at least this number of bytes.
            self._unsent = self._unsent[os.write(self._descriptor, self._unsent[: select.PIPE_BUF]) :]

    def disconnect(self) -> None:
        """Close the pipe; the next ``connect`` opens another one."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        """Close the pipe; ``write`` raises an error from now on."""
        self._closed = True
        self.disconnect()
