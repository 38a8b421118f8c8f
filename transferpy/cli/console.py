"""The log lines of the command line tool, and the progress of a copy on a terminal.

Output of hosts can neither control the terminal nor imitate a log line.
"""

import logging
import logging.handlers
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TextIO

from transferpy.cli.progress_bar import WRITE_ERRORS, TerminalProgress
from transferpy.Exceptions import error_text
from transferpy.model.options import ToolOptions
from transferpy.model.progress import Observer, Progress
from transferpy.model.text import printable
from transferpy.output.run_log import ProgressLog

SYSLOG = "/dev/log"
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}

logger = logging.getLogger(__name__)


class Console:
    """The log handlers of the command line tool: standard error, and the logs that its options name.

    A line that cannot be written is lost, so that the run continues. At the end of this context manager, the
    configuration of logging is as before.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr
        terminal = _is_terminal(stream)
        colours = terminal and not os.environ.get("NO_COLOR")
        self._bar = TerminalProgress(stream, colours=colours) if terminal else None
        handler = _TerminalHandler(stream, self._bar) if self._bar else logging.StreamHandler(stream)
        handler.setFormatter(_LineFormatter(colours=colours))
        self._handlers: list[logging.Handler] = [handler]
        self._package = logging.getLogger("transferpy")

    def __enter__(self) -> Self:
        for name in ("cumin", "ClusterShell"):
            library = logging.getLogger(name)
            library.addHandler(logging.NullHandler())
            library.propagate = False
        self._previous = self._package.level, self._package.propagate, logging.raiseExceptions
        self._package.addHandler(self._handlers[0])
        self._package.setLevel(logging.INFO)
        self._package.propagate = False
        logging.raiseExceptions = False
        return self

    def __exit__(self, *_error: object) -> None:
        for handler in self._handlers:
            self._package.removeHandler(handler)
        for handler in self._handlers[1:]:
            with suppress(OSError):  # it cannot write its buffered lines
                handler.close()
        level, self._package.propagate, logging.raiseExceptions = self._previous
        self._package.setLevel(level)

    def apply(self, options: ToolOptions) -> bool:
        """Set levels and open logs as requested; return whether every requested log could be opened."""
        if options.verbose:
            self._package.setLevel(logging.DEBUG)
        if options.quiet:
            self._handlers[0].setLevel(logging.ERROR)
            self._bar = None
        is_file_open = not options.log_file or self._open(options.log_file, _file_handler)
        return (not options.syslog or self._open(SYSLOG, _syslog_handler)) and is_file_open

    def _open(self, path: str, make_handler: Callable[[str], logging.Handler]) -> bool:
        try:
            handler = make_handler(path)
        except (OSError, ValueError) as error:
            logger.error("%s: the log cannot be written: %s", path, error_text(error))  # noqa: TRY400 # not a bug
            return False
        self._handlers.append(handler)
        self._package.addHandler(handler)
        return True

    @property
    def observer(self) -> Observer:
        """Return an observer that shows the progress as a line on a terminal, or else as lines in the log."""
        progress_log = ProgressLog()
        bar = self._bar

        def show_progress(progress: Progress | None) -> None:
            if bar:
                bar(progress)
            if not bar or self._handlers[1:]:
                progress_log(progress)

        return show_progress


def _is_terminal(stream: TextIO) -> bool:
    """Return whether a line on the stream can be redrawn."""
    try:
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except (AttributeError, OSError, ValueError):
        return False


class _TerminalHandler(logging.StreamHandler):  # type: ignore[type-arg]  # not subscriptable in Python 3.11
    """A handler for a terminal that hides the progress bar while it writes a line."""

    def __init__(self, stream: TextIO, bar: TerminalProgress) -> None:
        super().__init__(stream)
        self._bar = bar
        self.lock = bar.lock  # one lock for both: with two, two threads could wait for each other

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(*WRITE_ERRORS), self._bar.hidden():
            super().emit(record)


class _FileHandler(logging.handlers.WatchedFileHandler):
    """A handler that reopens a file that was renamed, for example by logrotate."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(*WRITE_ERRORS):  # the file cannot be reopened if its directory was removed
            super().emit(record)


def _file_handler(path: str) -> logging.Handler:
    handler = _FileHandler(Path(path), encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_LineFormatter())
    return handler


def _syslog_handler(path: str) -> logging.Handler:
    if not Path(path).is_socket():  # the handler would wait for the socket without a message
        raise OSError("No such socket")
    handler = logging.handlers.SysLogHandler(path)
    handler.ident = f"transfer.py[{os.getpid()}]: "
    handler.append_nul = False
    handler.setFormatter(_LineFormatter("%(message)s"))
    return handler


class _LineFormatter(logging.Formatter):
    """A formatter that writes one line for each message and escapes control characters."""

    def __init__(self, text: str = "%(asctime)s %(levelname)-5s %(message)s", *, colours: bool = False) -> None:
        super().__init__(text, "%Y-%m-%d %H:%M:%S")
        self._colours = _COLOURS if colours else {}

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that logging calls
        line = printable(super().formatMessage(record))
        colour = self._colours.get(record.levelno)
        return f"\x1b[{colour}m{line}\x1b[0m" if colour else line

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name that logging calls
        return "\n".join("    " + printable(line) for line in super().formatException(ei).splitlines())
