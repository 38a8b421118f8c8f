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
    """The result for one target."""

    target: Location  # the target directory
    final: Location  # the final path of the copy
    status: int | None = None  # 0, or the exit status of the failure; None if the target was not tried
    error: str = ""  # the error message; empty without a failure
    codec: str = ""  # the codec of the stream, "none" without compression; empty before the codec is chosen
    streams: int = 1  # the number of pipelines that carried the files
    bytes: int = 0  # the sum of the sizes of the copied files; 0 before it is known
    files: int = 0  # the number of copied regular files; 0 before it is known
    wire_bytes: int = 0  # the number of bytes that the target received from the network
    stream_seconds: float = 0.0  # the duration of the stream
    seconds: float = 0.0  # wall time for this target, from the start of its session to the end of its clean-up
    checks: tuple[str, ...] = ()  # the comparisons that found no difference
    link_rate: float = 0.0  # the bytes per second that the link probe measured; 0 without a probe
    round_trip_seconds: float = 0.0  # the round-trip time of the link; 0 if it is unknown
    send_buffer: int = 0  # the bytes of the send buffer of each connection; 0 if the kernel chose it
    receive_buffer: int = 0  # the same for the receive buffer
    reconnects: int = 0  # how often the stream continued on a new connection; the sum of all its connections
    interrupted_seconds: float = 0.0  # the sum of the times without a connection, from each break on
    position: str = ""  # the binary log position of a hot copy
    made_inode: int | None = None  # the inode number of the target directory, if this run made the directory
    # when this run made the directory, in seconds since 1970; 0 if the file system does not record that
    made_born: int = 0
    made_published: int = 0  # when the copy in this directory got its final name, in seconds since 1970
    made_filesystem: str = ""  # the identity of the file system of this directory

    @property
    def ratio(self) -> float | None:
        """Bytes on disk for each byte on the network; None before both are known."""
        return self.bytes / self.wire_bytes if self.bytes and self.wire_bytes else None


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """The result of a run."""

    name: str = ""  # the name of the transfer in its job file; empty for a single run
    source: Location | None = None  # None if the request was not valid
    transfer_type: str = ""
    cipher: str = ""  # the encryption of the streams; empty without encryption, and before there is a plan
    checksum: str = ""  # the algorithm that compares the data; empty without one, and before there is a plan
    started: datetime  # in UTC
    seconds: float = 0.0  # wall time
    replication_stopped_seconds: float = (
        0.0  # the time for which replication of the source was stopped, for all targets
    )
    status: int = 0  # the exit status of transfer.py
    errors: tuple[str, ...] = ()  # the errors of the run as a whole; each target has its own error
    interrupted: str = ""  # the name of the signal that stopped the run; empty without one
    dry_run: bool = False
    attempts: int = 1  # the number of attempts; only a job makes more than one
    targets: tuple[TargetReport, ...] = ()  # in the order of the copies
    plan: tuple[str, ...] = ()  # the lines of the plan that a dry run prints


class ReportBuilder:
    """The report of a run in progress."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self.report = TransferReport(started=datetime.now(UTC))

    @property
    def seconds(self) -> float:
        """Seconds since the start of the run."""
        return self._clock() - self._began

    def update(self, **changes: Any) -> None:
        """Set attributes of the report, and its duration."""
        self.report = replace(self.report, **{"seconds": self.seconds, **changes})

    def update_target(self, index: int, **changes: Any) -> None:
        """Set attributes of the report of one target."""
        targets = list(self.report.targets)
        targets[index] = replace(targets[index], **changes)
        self.update(targets=tuple(targets))


def status_of(reports: Sequence[TransferReport]) -> int:
    """Return the exit status of several runs: of the first that a signal stopped, else of the first that failed."""
    interrupted = [report.status for report in reports if report.interrupted]
    return next(filter(None, (*interrupted, *(report.status for report in reports))), 0)
