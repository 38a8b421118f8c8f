"""Where log lines go, and how far a copy is, on a terminal.

Nothing that a host says can drive the terminal or fake a line.
"""

import logging
import logging.handlers
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from transferpy.cli.progress_bar import TerminalProgress, _lost
from transferpy.Exceptions import error_text
from transferpy.model.progress import Observer, Progress
from transferpy.model.text import printable
from transferpy.output.progress_log import ProgressLog

SYSLOG = "/dev/log"
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}

logger = logging.getLogger(__name__)


class Console:
    """The log lines of transferpy while the command line tool runs: on standard error, and where its options say.

    A context manager; with its end, logging is as it was.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        terminal = _is_terminal(self._stream)
        colours = terminal and not os.environ.get("NO_COLOR")
        self._bar = TerminalProgress(self._stream, colours=colours) if terminal else None
        self._handler = _ConsoleHandler(self._stream, self._bar)
        self._handler.setFormatter(_LineFormatter(colours=colours))
        self._more: list[logging.Handler] = []
        self._package = logging.getLogger("transferpy")

    def __enter__(self) -> Self:
        for name in ("cumin", "ClusterShell"):
            library = logging.getLogger(name)
            library.addHandler(logging.NullHandler())
            library.propagate = False
        self._before = self._package.level, self._package.propagate
        self._package.addHandler(self._handler)
        self._package.setLevel(logging.INFO)
        self._package.propagate = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handler in (self._handler, *self._more):
            self._package.removeHandler(handler)
        for handler in self._more:
            with suppress(OSError):  # what it could not write, it cannot write now
                handler.close()
        self._package.setLevel(self._before[0])
        self._package.propagate = self._before[1]

    def apply(self, options: Mapping[str, Any]) -> bool:
        """Do as the options say; return whether every log that they ask for could be opened."""
        if options["verbose"]:
            self._package.setLevel(logging.DEBUG)
        if options["quiet"]:
            self._handler.setLevel(logging.ERROR)
            self._bar = None
        opened = not options["log_file"] or self._open(options["log_file"], _file_handler)
        return (not options["syslog"] or self._open(SYSLOG, _syslog_handler)) and opened

    def _open(self, path: str, opener: Any) -> bool:
        try:
            handler = opener(path)
        except (OSError, ValueError) as error:
            logger.error("%s: cannot log there: %s", path, error_text(error))  # noqa: TRY400 # not a bug, no traceback
            return False
        self._more.append(handler)
        self._package.addHandler(handler)
        return True

    @property
    def observer(self) -> Observer:
        """What shows how far a copy is: a line on a terminal, which stays up to date, or lines in the log."""
        progress_log = ProgressLog()
        bar = self._bar

        def observe(progress: Progress | None) -> None:
            if bar:
                bar(progress)
            # The log has it too, where that is not the terminal.
            if not bar or self._more:
                progress_log(progress)

        return observe


def _is_terminal(stream: TextIO) -> bool:
    """Whether lines on it can be drawn anew."""
    try:
        return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except (AttributeError, OSError, ValueError):
        return False


class _ConsoleHandler(logging.StreamHandler):  # type: ignore[type-arg]  # not subscriptable at run time in Python 3.11
    """A handler that loses a line rather than the run.

    Nobody may read it, the disk behind it may be full, or a signal may come while one is written, when its handler
    may not write another.
    """

    def __init__(self, stream: TextIO, bar: TerminalProgress | None) -> None:
        super().__init__(stream)
        self._bar = bar
        if bar:
            self.lock = bar.lock  # one for both: with two, each of two threads could wait for that of the other

    def emit(self, record: logging.LogRecord) -> None:
        if self._bar is None:
            super().emit(record)
            return
        with _lost(), self._bar.hidden():
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name that logging calls
        pass


class _FileHandler(logging.handlers.WatchedFileHandler):
    """As the console's; the file may be moved away and made anew, as logrotate does."""

    def emit(self, record: logging.LogRecord) -> None:
        with _lost():  # nor can it be made anew where its directory is gone
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name that logging calls
        pass


class _SyslogHandler(logging.handlers.SysLogHandler):
    """As the console's."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name that logging calls
        pass


def _file_handler(path: str) -> logging.Handler:
    handler = _FileHandler(Path(path), encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_LineFormatter())
    return handler


def _syslog_handler(path: str) -> logging.Handler:
    if not Path(path).is_socket():  # otherwise the handler waits for it in silence
        raise OSError("there is no such socket")
    handler = _SyslogHandler(path)
    handler.ident = f"transfer.py[{os.getpid()}]: "
    handler.append_nul = False
    handler.setFormatter(_LineFormatter("%(message)s"))
    return handler


class _LineFormatter(logging.Formatter):
    """One line for each message: what a name on a host holds can neither fake a line nor drive the terminal."""

    def __init__(self, text: str = "%(asctime)s %(levelname)-5s %(message)s", *, colours: bool = False) -> None:
        super().__init__(text, "%Y-%m-%d %H:%M:%S")
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that logging calls
        line = printable(super().formatMessage(record))
        colour = _COLOURS.get(record.levelno) if self._colours else None
        return f"\x1b[{colour}m{line}\x1b[0m" if colour else line

    def formatException(  # noqa: N802  # the name that logging calls
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return "\n".join("    " + printable(line) for line in super().formatException(ei).splitlines())
