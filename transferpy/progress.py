"""How far a copy is, as a value, and as lines in the log."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from transferpy.options import Location
from transferpy.report import duration, size

_PARTS, _PAUSE = 10, 60.0
"""Of the whole, and in seconds: one of each has to have passed before the log has the next line."""

logger = logging.getLogger(__name__)


class Phase(StrEnum):
    """What is being done for a target."""

    WAITING = "waiting"
    COPYING = "copying"
    CHECKING = "checking"
    PUBLISHING = "publishing"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the copy to one target is.

    Attributes:
        target: where to.
        number: which target that is, from 1 on.
        of: how many there are.
        phase: what is being done.
        bytes: of the source, how many are sent.
        total: how many there are, as far as is known; else 0.
        wire_bytes: how many have arrived, as the network carries them.
        seconds: since the phase began.
    """

    target: Location
    number: int
    of: int
    phase: Phase
    bytes: int
    total: int
    wire_bytes: int
    seconds: float

    @property
    def share(self) -> float | None:
        """Part of the whole that is sent, from 0 to 1; None if the whole is not known."""
        return min(self.bytes / self.total, 1.0) if self.total else None

    @property
    def rate(self) -> float:
        """Bytes of the source a second."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None if that cannot be said."""
        return max(self.total - self.bytes, 0) / self.rate if self.total and self.rate else None

    @property
    def ratio(self) -> float | None:
        """Bytes of the source for each on the wire, so far."""
        return self.bytes / self.wire_bytes if self.bytes and self.wire_bytes else None


Observer = Callable[[Progress | None], None]
"""Is told several times a second how far the copy is, and None when it has ended, well or not."""


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
