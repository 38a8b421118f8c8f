"""Reports: the result of a run.

A run updates its ``ReportBuilder`` at each step, so that ``ReportBuilder.report`` is valid at any time, also after a
signal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from transferpy.model.locations import Location


@dataclass(frozen=True, kw_only=True)
class TargetReport:
    """The result for one target.

    Attributes:
        target: host and directory of the target.
        final: host and final path of the copy.
        status: 0, or the exit status of the failure; None if the target was not tried.
        error: the error message; empty without a failure.
        codec: the codec of the stream, ``none`` without compression; empty before the codec is chosen.
        bytes: the sum of the sizes of the copied files; 0 before it is known.
        files: the number of copied regular files; 0 before it is known.
        wire_bytes: the number of bytes that the target received from the network.
        stream_seconds: the duration of the stream.
        seconds: wall time for this target, from the start of its session to the end of its clean-up.
        checks: the comparisons that found no difference.
        position: the binary log position of a hot copy.
        made_inode: the inode number of the target directory, if this run made the directory.
        made_born: when this run made the directory, in seconds since 1970; 0 if the file system does not record that.
    """

    target: Location
    final: Location
    status: int | None = None
    error: str = ""
    codec: str = ""
    bytes: int = 0
    files: int = 0
    wire_bytes: int = 0
    stream_seconds: float = 0.0
    seconds: float = 0.0
    checks: tuple[str, ...] = ()
    position: str = ""
    made_inode: int | None = None
    made_born: int = 0

    @property
    def ratio(self) -> float | None:
        """Bytes on disk for each byte on the network; None before both are known."""
        return self.bytes / self.wire_bytes if self.bytes and self.wire_bytes else None


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """The result of a run.

    Attributes:
        name: the name of the transfer in its job file; empty for a single run.
        source: host and path of the source; None if the request was invalid.
        transfer_type: the type of the transfer.
        cipher: the encryption of the streams; empty without encryption, and before there is a plan.
        checksum: the algorithm that compares the data; empty without one, and before there is a plan.
        started: the time of the start, in UTC.
        seconds: wall time.
        status: the exit status of ``transfer.py``.
        errors: the errors of the run as a whole; each target has its own error.
        interrupted: the name of the signal that stopped the run; empty without one.
        dry_run: whether the run only asked the hosts.
        attempts: the number of attempts; only a job makes more than one.
        targets: the results for the targets, in the order of the copies.
        plan: the plan that a dry run prints, one line each.
    """

    name: str = ""
    source: Location | None = None
    transfer_type: str = ""
    cipher: str = ""
    checksum: str = ""
    started: datetime
    seconds: float = 0.0
    status: int = 0
    errors: tuple[str, ...] = ()
    interrupted: str = ""
    dry_run: bool = False
    attempts: int = 1
    targets: tuple[TargetReport, ...] = ()
    plan: tuple[str, ...] = ()


class ReportBuilder:
    """The report of a run in progress.

    Args:
        clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._report = TransferReport(started=datetime.now(UTC))

    @property
    def report(self) -> TransferReport:
        """The report so far."""
        return self._report

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run."""
        return self._clock() - self._began

    def update(self, **changes: Any) -> None:
        """Set attributes of the report, and its duration."""
        self._report = replace(self._report, **{"seconds": self.seconds, **changes})

    def update_target(self, index: int, **changes: Any) -> None:
        """Set attributes of the report of one target."""
        targets = list(self._report.targets)
        targets[index] = replace(targets[index], **changes)
        self.update(targets=tuple(targets))


def status_of(reports: Sequence[TransferReport]) -> int:
    """Return the exit status of several runs: of the first that a signal stopped, else of the first that failed."""
    interrupted = [report.status for report in reports if report.interrupted and report.status]
    return next((status for status in (*interrupted, *(report.status for report in reports)) if status), 0)
