"""Reports: the result of a run, as values.

A run keeps its ``ReportBuilder`` up to date. ``ReportBuilder.report`` is available at any time, also after a signal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from transferpy.model.locations import Location


@dataclass(frozen=True, kw_only=True)
class TargetReport:
    """What became of one target.

    Attributes:
        target: host and directory.
        final: where the copy stands, or would.
        status: 0, or the exit status of its failure; None if it was not tried.
        error: why it failed, else empty.
        codec: what the stream was compressed with, ``none`` for nothing; empty while that is not decided.
        bytes: sum of the sizes of the files that arrived; 0 while that is not known.
        files: how many regular files arrived; 0 while that is not known.
        wire_bytes: what came through the network, as it came.
        stream_seconds: how long the stream ran.
        seconds: wall time for this target, from its session to the end of its clean-up.
        checks: what was compared and agreed.
        position: of a hot copy, where it stands in the binary logs of its server.
        made_inode: of the target directory, if this run made it.
        made_born: when that was made, in seconds since 1970; 0 if its file system does not know.
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
        """How many bytes on disk went into one on the wire."""
        return self.bytes / self.wire_bytes if self.bytes and self.wire_bytes else None


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """What became of a run.

    Attributes:
        name: of the transfer in its job file, else empty.
        source: host and path as the user gave them.
        transfer_type: what was copied.
        cipher: what the streams were encrypted with; empty if they were not, or nothing was planned.
        checksum: what the content of the data was compared by; as cipher.
        started: when, in UTC.
        seconds: wall time.
        status: what ``transfer.py`` exits with.
        errors: why the run as a whole failed; what failed for one target stands there.
        interrupted: the signal that ended it, else empty.
        dry_run: whether nothing was to be copied.
        attempts: how often it was tried; more than once by jobs only.
        targets: in the order in which they are served.
        plan: of a dry run, what would be done, a line each.
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
    """The report of a run that is at work.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._report = TransferReport(started=datetime.now(UTC))

    @property
    def report(self) -> TransferReport:
        """What is known by now."""
        return self._report

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return self._clock() - self._began

    def update(self, **changes: Any) -> None:
        """Set attributes of the report."""
        self._report = replace(self._report, **{"seconds": self.seconds, **changes})

    def update_target(self, index: int, **changes: Any) -> None:
        """Set attributes of one target's report."""
        targets = list(self._report.targets)
        targets[index] = replace(targets[index], **changes)
        self.update(targets=tuple(targets))


def status_of(reports: Sequence[TransferReport]) -> int:
    """Return the exit status of several runs: that of the first that a signal ended, or else that failed."""
    ended = [report.status for report in reports if report.interrupted and report.status]
    return next((status for status in (*ended, *(report.status for report in reports)) if status), 0)
