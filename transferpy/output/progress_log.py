"""The progress of a copy, as lines in the log."""

import logging
import time
from collections.abc import Callable

from transferpy.model.progress import Phase, Progress
from transferpy.model.units import duration, size

_PARTS, _PAUSE = 10, 60.0
"""Of the whole, and in seconds: one of each has to have passed before the log has the next line."""

logger = logging.getLogger(__name__)


class ProgressLog:
    """An observer that logs a line for every tenth of the data, but none within a minute of the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: tuple[float, float] | None = None

    def __call__(self, progress: Progress | None) -> None:
        """Log how far the copy is, if it is time to."""
        if progress is None or progress.phase is not Phase.COPYING:
            self._told = None
            return
        share, now = progress.share, self._clock()
        if self._told is None:
            self._told = (0.0, now)
        told_share, told_at = self._told
        if now - told_at < _PAUSE or (share is not None and int(share * _PARTS) <= int(told_share * _PARTS)):
            return
        self._told = (share or 0.0, now)
        logger.info("%s: %s", progress.target, describe(progress))


def describe(progress: Progress) -> str:
    """Return how far the copy is, in words."""
    words = size(progress.bytes)
    if progress.share is not None:
        words += f" of {size(progress.total)} ({progress.share:.0%})"
    words += f" sent, {size(progress.rate)}/s"
    if progress.seconds_left is not None:
        words += f", {duration(progress.seconds_left)} left"
    return words + (f", {progress.ratio:.2f}:1 so far" if progress.ratio else "")
