"""Where log lines go, and how far a copy is, on a terminal.

Nothing that a host says can drive the terminal or fake a line.
"""

import logging
import logging.handlers
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from transferpy.Exceptions import reason
from transferpy.progress import Observer, Phase, Progress, ProgressLog
from transferpy.report import duration, size

SYSLOG = "/dev/log"
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}
_WINDOW = 15.0
"""Seconds over which the rate on the terminal is taken: a stream that gets slow shows it soon."""
_REDRAW = 0.2
_WAITING = {
    Phase.WAITING: "waiting for the first byte",
    Phase.CHECKING: "comparing with the source",
    Phase.PUBLISHING: "writing to disk",
}

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
            logger.error("%s: cannot log there: %s", path, reason(error))  # noqa: TRY400 # not a bug, no traceback
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


class TerminalProgress:
    """An observer that keeps one line of a terminal up to date.

    Attributes:
        lock: whoever writes on that terminal holds it. That of tqdm would stay taken when a draw did not end well.
    """

    def __init__(self, stream: TextIO, *, colours: bool) -> None:
        self.lock = threading.RLock()
        self._stream = stream
        self._colour = "green" if colours else None
        self._bar: Any = None
        self._drawn = 0.0
        self._history: deque[tuple[float, int]] = deque()

    def __call__(self, progress: Progress | None) -> None:
        """Draw the line anew, unless that was done just now; without progress, take it away."""
        now = time.monotonic()
        if progress is None:
            if self._bar is not None:
                with self.lock, _lost():
                    self._bar.close()
            self._bar = None
            self._history.clear()
        elif now - self._drawn >= _REDRAW:
            self._drawn = now
            with self.lock, _lost():
                self._draw(progress, self._recent_rate(now, progress))

    def _recent_rate(self, now: float, progress: Progress) -> float:
        if progress.phase is not Phase.COPYING:
            self._history.clear()
        elif not self._history:
            self._history.append((now - progress.seconds, 0))
        self._history.append((now, progress.bytes))
        while now - self._history[0][0] > _WINDOW:
            self._history.popleft()
        (then, before), (_, after) = self._history[0], self._history[-1]
        return (after - before) / (now - then) if now > then else progress.rate

    def _draw(self, progress: Progress, rate: float) -> None:
        left, right = terminal_line(progress, rate)
        bar = "|{bar}| " if progress.phase is Phase.COPYING and progress.total else ""
        line = f"{_literal(left)} {bar}{_literal(right)}"
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 # only a terminal needs it

            tqdm.monitor_interval = 0  # no thread that draws when nothing is to be drawn
            how = {"leave": False, "dynamic_ncols": True, "colour": self._colour}
            self._bar = tqdm(total=1, file=self._stream, bar_format=line, **how)
        self._bar.bar_format = line
        self._bar.n = progress.share or 0
        self._bar.refresh(nolock=True)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the line away while something else is written, and put it back."""
        if self._bar is None:
            yield
            return
        self._bar.clear(nolock=True)
        yield
        self._bar.refresh(nolock=True)


def terminal_line(progress: Progress, rate: float) -> tuple[str, str]:
    """Return what stands left and right of the bar; ``rate`` is the one of the last seconds."""
    left = f"{progress.number}/{progress.of} {progress.target}"
    if progress.phase is not Phase.COPYING:
        return left, f"{_WAITING[progress.phase]}, {duration(progress.seconds)}"
    words = [f"{progress.share:4.0%} of {size(progress.total)}" if progress.total else size(progress.bytes)]
    words.append(f"{size(rate)}/s")
    if progress.total and rate:
        words.append(f"{duration(max(progress.total - progress.bytes, 0) / rate)} left")
    if progress.ratio:
        words.append(f"{progress.ratio:.2f}:1")
    return left, ", ".join(words)


def _literal(text: str) -> str:
    """Return a text as a format of tqdm that stands for it."""
    return printable(text).replace("{", "{{").replace("}", "}}")


@contextmanager
def _lost() -> Iterator[None]:
    """Give up what cannot be written, or not now: RuntimeError is a second writer, in the handler of a signal."""
    with suppress(OSError, ValueError, RuntimeError):
        yield


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


def printable(text: str) -> str:
    """Return a text in which everything that is no visible character is written as Python would."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
