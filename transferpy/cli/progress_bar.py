"""The progress of a copy, as a line on a terminal that is drawn again."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from transferpy.model.progress import Phase, Progress
from transferpy.model.text import printable
from transferpy.model.units import duration, size

_WINDOW = 15.0
"""Seconds over which the rate on the terminal is taken: a stream that gets slow shows it soon."""
_REDRAW = 0.2
_WAITING = {
    Phase.WAITING: "waiting for the first byte",
    Phase.CHECKING: "comparing with the source",
    Phase.PUBLISHING: "writing to disk",
}


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
