"""The progress of a copy, as a value."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from transferpy.model.locations import Location


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
