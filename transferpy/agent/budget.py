"""The budget of a conversation: how much a host may send before the orchestration host refuses its output.

A host sends about one event in a second. A host that is broken, or that an attacker controls, can print without end.
"""

import time
from collections.abc import Callable

from transferpy.agent.protocol import ProgressMade
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.job_streams import LONGEST_LINE

_CAPACITY = 2 << 20
"""Bytes that a host may send at once."""
_RATE = 16 << 10
"""Bytes per second that a host may send all the time."""
_LINE_COST = 200
"""Bytes of memory that a line needs besides its text."""
_HEARTBEAT = f" {ProgressMade.event_name} "
"""A part of a heartbeat, which is handled at once. After a suspension of this program, thousands arrive together."""


class BudgetExceededError(RemoteExecutionError):
    """A host sent more than its budget."""


class LineBudget:
    """The budget for the lines of one conversation.

    Args:
        host: the host that sends them, for the error.
        capacity: the number of bytes that the host may send at once.
        rate: the number of bytes per second that the host may send all the time.
        clock: returns the seconds since a moment in the past.
    """

    def __init__(
        self, host: str, capacity: int = _CAPACITY, rate: int = _RATE, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.error: BudgetExceededError | None = None  # set once the host has sent too much
        self._host, self._capacity, self._rate, self._clock = host, capacity, rate, clock
        self._left, self._at = float(capacity), clock()

    def accept(self, line: str) -> bool:
        """Return whether a line is within the budget; after the first one that is not, none is."""
        if self.error is None:
            now = self._clock()
            cost = len(line) + (0 if _HEARTBEAT in line else _LINE_COST)
            self._left = min(self._capacity, self._left + (now - self._at) * self._rate) - cost
            self._at = now
            if len(line) >= LONGEST_LINE:
                self.error = BudgetExceededError(
                    f"{self._host}: the host sent a line of more than {LONGEST_LINE} bytes"
                )
            elif self._left < 0:
                self.error = BudgetExceededError(
                    f"{self._host}: the host sent more output than {self._capacity} bytes at once,"
                    f" or {self._rate} bytes per second"
                )
        return self.error is None
