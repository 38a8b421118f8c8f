"""The progress of a copy, as one line on a terminal that is redrawn."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from transferpy.model.progress import Phase, Progress
from transferpy.model.text import duration, printable, size
from transferpy.output.run_log import format_rate

WRITE_ERRORS = (OSError, ValueError, RuntimeError)
"""Errors of a write to a terminal or a log. RuntimeError: a signal handler writes while the interrupted code writes."""
_WINDOW = 15.0
"""Seconds over which the rate is averaged: short, so that a slow stream is soon visible."""
_REDRAW_INTERVAL = 0.2
_WAITING = {
    Phase.WAITING: "waiting for the first byte",
    Phase.CHECKING: "comparing with the source",
    Phase.PUBLISHING: "writing to disk",
}


class TerminalProgress:
    """An observer that draws one line on a terminal.

    Attributes:
        lock: every writer to the terminal holds it. The lock of tqdm is not used: an exception while it draws would
            leave that lock acquired.
    """

    def __init__(self, stream: TextIO, *, colours: bool) -> None:
        self.lock = threading.RLock()
        self._stream = stream
        self._colour = "green" if colours else None
        self._bar: Any = None
        self._drawn_at = 0.0
        self._history: deque[tuple[float, int]] = deque()

    def __call__(self, progress: Progress | None) -> None:
        """Redraw the line, unless it was drawn less than 0.2 seconds ago; remove the line if progress is None."""
        now = time.monotonic()
        if progress is None:
            if self._bar is not None:
                with self.lock, suppress(*WRITE_ERRORS):
                    self._bar.close()
            self._bar = None
            self._history.clear()
        elif now - self._drawn_at >= _REDRAW_INTERVAL:
            self._drawn_at = now
            with self.lock, suppress(*WRITE_ERRORS):
                self._draw(progress, self._recent_rate(now, progress))

    def _recent_rate(self, now: float, progress: Progress) -> float:
        if progress.phase is not Phase.COPYING:
            self._history.clear()
        elif not self._history:
            self._history.append((now - progress.seconds, 0))
        self._history.append((now, progress.bytes))
        while now - self._history[0][0] > _WINDOW:
            self._history.popleft()
        then, bytes_then = self._history[0]
        return (progress.bytes - bytes_then) / (now - then) if now > then else progress.rate

    def _draw(self, progress: Progress, rate: float) -> None:
        # In the format of tqdm, braces are doubled.
        left, right = (printable(t).replace("{", "{{").replace("}", "}}") for t in terminal_line(progress, rate))
        bar = "|{bar}| " if progress.phase is Phase.COPYING and progress.total else ""
        line = f"{left} {bar}{right}"
        if self._bar is None:
            from tqdm import tqdm  # noqa: PLC0415 # only a terminal needs it

            tqdm.monitor_interval = 0  # without its monitor thread, which redraws unasked
            settings = {"leave": False, "dynamic_ncols": True, "colour": self._colour}
            self._bar = tqdm(total=1, file=self._stream, bar_format=line, **settings)
        self._bar.bar_format = line
        self._bar.n = progress.share or 0
        self._bar.refresh(nolock=True)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Remove the line while the caller writes to the terminal, and redraw it."""
        if self._bar is not None:
            self._bar.clear(nolock=True)
        yield
        if self._bar is not None:
            self._bar.refresh(nolock=True)


def terminal_line(progress: Progress, rate: float) -> tuple[str, str]:
    """Return the texts on the left and on the right of the bar; ``rate`` is in bytes per second."""
    left = f"{progress.number}/{progress.of} {progress.target}"
    if progress.phase is not Phase.COPYING:
        return left, f"{_WAITING[progress.phase]}, {duration(progress.seconds)}"
    copied = f"{progress.share:4.0%} of {size(progress.total)}" if progress.total else size(progress.bytes)
    return left, f"{copied}, {format_rate(progress, rate)}"
