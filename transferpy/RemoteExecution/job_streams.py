"""The standard input and the output of a remote command."""

import errno
import logging
import os
import re
import select
import threading
import time
from collections import deque

from transferpy.RemoteExecution.interface import LineHandler

LONGEST_LINE = 1 << 18  # maximum number of bytes of a line; a longer line arrives in pieces
_WRITE_TIMEOUT = 5.0  # seconds to wait for a command that does not read a full pipe
_KEPT_BYTES = 64 << 10
SCRIPT_TIME = 1  # in the header of gzip: it tells a packed script from all other compressed output
# The header in base64. A login shell or a terminal may print a part of a packed script.
_PACKED_SCRIPT = re.compile(r"H4sIAAEAAAA[A-Za-z0-9+/]{25,}=*")
_PART_OF_SCRIPT = re.compile(r"[A-Za-z0-9+/]{64,}=*")

logger = logging.getLogger(__name__)


class JobInput:
    """Writes to the standard input of a command, and keeps the data until there is a pipe to it.

    All methods raise OSError if the command has ended, was started without input or does not read.
    """

    def __init__(self, *, is_open: bool) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._unsent = b""
        self._is_open = is_open

    def connect(self, descriptor: int) -> None:
        """Write to a duplicate of ``descriptor`` from now on, and write all kept data."""
        with self._lock:
            if self._is_open:
                self._descriptor = os.dup(descriptor)
                os.set_blocking(self._descriptor, False)
                self._flush()

    def write(self, data: bytes) -> None:
        """Write ``data``, or keep it until ``connect``."""
        with self._lock:
            if not self._is_open:
                raise BrokenPipeError(errno.EPIPE, "it has ended, or was started without input")
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
        self._is_open = False
        self.disconnect()


class JobOutput:
    """Passes each line of output to a handler and keeps the end of the output.

    The command prints a start marker with its process ID first. The lines before the marker are messages of ssh or of
    the login shell: they are kept until the marker arrives, but not passed on.

    ``pid`` is the process ID of the first process of the command on its host, or None before the start marker.
    ``handler_error`` is the exception that the handler raised; the handler gets no more lines after it.
    """

    def __init__(self, host: str, identifier: str, on_line: LineHandler | None) -> None:
        self.pid: int | None = None
        self.handler_error: Exception | None = None
        self._host = host
        self._marker = f"@transferpy-job {identifier}"
        self._on_line = on_line
        self._lines: deque[str] = deque()
        self._size = 0

    @property
    def marker_command(self) -> str:
        """The shell command that prints the start marker."""
        # The marker needs a new line: a login shell may have printed text without a newline.
        return f"printf '\\n{self._marker} %s\\n' $$"

    @property
    def text(self) -> str:
        """The end of the output."""
        return "\n".join(self._lines)

    def take_line(self, raw: bytes) -> bool:
        """Take one line without its newline; return True if it is the start marker."""
        line = os.fsdecode(raw)
        marker, _, pid = line.rpartition(" ")
        if self.pid is None and marker == self._marker:
            self.pid = int(pid)
            self.clear()
            return True
        line = without_script(line) if self.pid is not None else _PART_OF_SCRIPT.sub("...", line)
        self._lines.append(line[-_KEPT_BYTES:])
        self._size += len(self._lines[-1]) + 1
        while self._size > _KEPT_BYTES + 1:
            self._size -= len(self._lines.popleft()) + 1
        if self.pid is not None:
            self._pass_on(line)
        return False

    def _pass_on(self, line: str) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: %s", self._host, encodable(line))
        if self._on_line is None or self.handler_error is not None:
            return
        try:
            self._on_line(line)
        except Exception as error:  # a failed handler must not end the command
            logger.exception("%s: the handler of the output of a command failed", self._host)
            self.handler_error = error

    def clear(self) -> None:
        """Forget the kept output. The caller makes sure that no line arrives at the same time."""
        self._lines.clear()
        self._size = 0


def without_script(text: str) -> str:
    """Return ``text`` with an ellipsis for each packed script."""
    return _PACKED_SCRIPT.sub("...", text)


def encodable(text: str) -> str:
    """Return ``text`` with escape sequences for characters that UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
