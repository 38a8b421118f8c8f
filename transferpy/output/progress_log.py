"""The progress of a copy in the log."""

import logging
import time
from collections.abc import Callable

from transferpy.model.progress import Phase, Progress
from transferpy.model.units import duration, size

_STEPS = 10
_PAUSE = 60.0
"""Seconds. The log gets the next line after the pause, and after one of the steps into which the data is divided."""

logger = logging.getLogger(__name__)


class ProgressLog:
    """An observer that logs a line for every tenth of the data, and at most one line a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_line: tuple[float, float] | None = None

    def __call__(self, progress: Progress | None) -> None:
        """Log the progress, if the next line is due."""
        if progress is None or progress.phase is not Phase.COPYING:
            self._last_line = None
            return
        share, now = progress.share, self._clock()
        if self._last_line is None:
            self._last_line = (0.0, now)
        last_share, last_time = self._last_line
        if now - last_time < _PAUSE or (share is not None and int(share * _STEPS) <= int(last_share * _STEPS)):
            return
        self._last_line = (share or 0.0, now)
        logger.info("%s: %s", progress.target, format_progress(progress))


def format_progress(progress: Progress) -> str:
    """Return the progress of a copy as text."""
    text = size(progress.bytes)
    if progress.share is not None:
        text += f" of {size(progress.total)} ({progress.share:.0%})"
    text += f" sent, {size(progress.rate)}/s"
    if progress.seconds_left is not None:
        text += f", {duration(progress.seconds_left)} left"
    return text + (f", {progress.ratio:.2f}:1 so far" if progress.ratio else "")
