"""The output of a remote command."""

import logging
import os
from collections import deque

from transferpy.RemoteExecution.interface import LineHandler

logger = logging.getLogger(__name__)

LONGEST_LINE = 1 << 20
"""Maximum number of bytes of a line; a longer line arrives in pieces."""

_KEPT_BYTES = 64 << 10
_START_MARKER = "@transferpy-job"


class JobOutput:
    """Passes each line of output to a handler and keeps the end of the output.

    The command prints a start marker with its process ID first. The lines before the marker are messages of ssh or of
    the login shell: they are kept until the marker arrives, but not passed on.

    Args:
        host: the host, for log lines.
        identifier: the identifier of the command, which the start marker contains.
        on_line: the handler.

    Attributes:
        pid: process ID of the first process of the command on its host; None before the start marker.
        handler_error: the exception that the handler raised; the handler gets no more lines after it.
    """

    def __init__(self, host: str, identifier: str, on_line: LineHandler | None) -> None:
        self.pid: int | None = None
        self.handler_error: Exception | None = None
        self._host = host
        self._marker = f"{_START_MARKER} {identifier}"
        self._on_line = on_line
        self._lines: deque[str] = deque()
        self._size = 0

    @property
    def marker_command(self) -> str:
        """The shell command that prints the start marker."""
        # The marker needs a new line: a login shell may have printed text without a newline.
        return f"printf '\\n{self._marker} %s\\n' $$"

    @property
    def lines(self) -> tuple[str, ...]:
        """The end of the output."""
        return tuple(self._lines)

    def take_line(self, raw: bytes) -> bool:
        """Take one line without its newline; return True if it is the start marker."""
        line = os.fsdecode(raw)
        if self.pid is None:
            marker, _, pid = line.rpartition(" ")
            if marker == self._marker:
                self.pid = int(pid)
                self.clear()
                return True
            self._keep(line)
        else:
            self._keep(line)
            self._pass_on(line)
        return False

    def _keep(self, line: str) -> None:
        self._lines.append(line[-_KEPT_BYTES:])
        self._size += len(self._lines[-1]) + 1
        while self._size > _KEPT_BYTES + 1:
            self._size -= len(self._lines.popleft()) + 1

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


def encodable(text: str) -> str:
    """Return ``text`` with escape sequences for characters that UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
