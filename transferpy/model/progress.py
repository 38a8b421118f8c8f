"""The progress of a copy."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from transferpy.model.locations import Location


class Phase(StrEnum):
    """The current step of a copy to one target."""

    WAITING = "waiting"
    COPYING = "copying"
    CHECKING = "checking"
    PUBLISHING = "publishing"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of the copy to one target."""

    target: Location
    number: int  # the number of the target, from 1 on
    of: int  # the number of targets
    phase: Phase
    bytes: int  # bytes of the source that were sent
    total: int  # bytes of the source; 0 if that is unknown
    wire_bytes: int  # bytes that the target received from the network
    seconds: float  # seconds since the phase began
    streams: int = 1  # the number of pipelines that carry the files

    @property
    def share(self) -> float | None:
        """The share of the data that was sent, from 0 to 1; None if the total is unknown."""
        return min(self.bytes / self.total, 1.0) if self.total else None

    @property
    def rate(self) -> float:
        """Bytes of the source per second."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def ratio(self) -> float | None:
        """Bytes of the source for each byte on the network; None before both are known."""
        return self.bytes / self.wire_bytes if self.bytes and self.wire_bytes else None


Observer = Callable[[Progress | None], None]
"""Gets the progress of a copy several times a second, and None when the copy has ended or failed."""
