"""The attempts to continue a stream whose connection broke, and their limits."""

from collections.abc import Callable
from dataclasses import dataclass

_LONGEST_OUTAGE = 60.0
"""Seconds after which a stream without a connection fails."""
_LONGEST_PAUSE = 8.0
"""Seconds between two attempts; the second attempt begins a second after the first one."""
_PROGRESS = 1 << 20
"""Bytes after which the next break is a new one: its attempts and its minute begin again."""
_LASTING = 10.0
"""Seconds of a connection after which the next break is a new one."""


@dataclass
class Attempts:
    """The attempts of one lane since its last progress.

    A connection that carries hardly any byte before it breaks again is no progress: a device on the way may let each
    connection through and then reset it, and a receiver may report anything.
    """

    limit: int  # the largest number of attempts without progress
    clock: Callable[[], float]  # returns the time in seconds, on a clock that nobody sets
    number: int = 0  # of the attempts since the last progress
    position: int = 0  # the byte at which the last attempt continued
    _began: float = 0.0  # the time of the first break since the last progress
    _broke: float = 0.0  # the time of the last break
    _connected: float | None = None  # the time of the last connection after a break; None without one

    def begin(self) -> None:
        """Record that the connection broke."""
        self._broke = self.clock()
        if self._connected is None or self._broke - self._connected >= _LASTING:
            self._begin_count(0)
        # Only the next attempt shows if there was progress: the receiver then reports its position.
        self.number = min(self.number, self.limit - 1)

    def add(self) -> None:
        """Record that an attempt begins."""
        self.number += 1

    def continue_at(self, position: int) -> None:
        """Record the byte at which the receiver needs the stream."""
        if position >= self.position + _PROGRESS:
            self._begin_count(1)
        self.position = position

    def succeed(self) -> float:
        """Record that there is a connection; return the seconds without one."""
        self._connected = self.clock()
        return self._connected - self._broke

    def _begin_count(self, number: int) -> None:
        self.number, self._began = number, self._broke

    @property
    def pause(self) -> float:
        """The seconds until the next attempt."""
        return min(2.0 ** (self.number - 1), _LONGEST_PAUSE) if self.number else 0.0

    @property
    def seconds(self) -> float:
        """The seconds since the first break without progress."""
        return self.clock() - self._began

    @property
    def are_used_up(self) -> bool:
        """True if no attempt is left."""
        return self.number >= self.limit

    @property
    def are_late(self) -> bool:
        """True if the time for all attempts is over."""
        return self.seconds >= _LONGEST_OUTAGE

    def outage_after(self, moment: float, *, is_interrupted: bool) -> float:
        """Return the seconds of the last interruption, at most a minute; 0 if it ended before ``moment``."""
        end = self.clock() if is_interrupted else self._connected
        return 0.0 if end is None or end <= moment else min(end - self._broke, _LONGEST_OUTAGE)
