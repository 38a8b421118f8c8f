"""The state of a transfer while its job runs."""

import logging
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from transferpy.batch.copies import CopyRecord
from transferpy.batch.job_file import JobTransfer
from transferpy.Exceptions import RemoteExecutionError, UsageError
from transferpy.model.locations import Location
from transferpy.model.report import TargetReport, TransferReport
from transferpy.model.text import duration
from transferpy.RemoteExecution.interface import RemoteExecution

_MAXIMUM_PAUSE = 86400

logger = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class ScheduledTransfer:
    """A transfer of a job that runs."""

    transfer: JobTransfer
    hosts: frozenset[str]  # the source host and all target hosts
    targets: tuple[Location, ...]  # the targets of the next attempt, without placeholders
    templates: Mapping[str, str]  # the paths of the targets in the job file, by the paths without placeholders
    not_before: float = 0.0  # the monotonic time in seconds before which the next attempt must not start
    report: TransferReport | None = None  # the report of all attempts so far; None before the end of the first one
    finished: bool = False  # whether there will be no further attempt

    @property
    def name(self) -> str:
        """The name of the transfer."""
        return self.transfer.name

    @property
    def reported(self) -> tuple[TargetReport, ...]:
        """The results for the targets so far."""
        return self.report.targets if self.report else ()

    def add_report(self, report: TransferReport) -> None:
        """Add the report of another attempt, which was for the targets that have no copy yet."""
        report = replace(report, name=self.name)
        if earlier := self.report:
            retried = {target.target: target for target in report.targets}
            report = replace(
                report,
                targets=tuple(retried.get(target.target, target) for target in earlier.targets) or report.targets,
                started=earlier.started,
                seconds=(report.started - earlier.started).total_seconds() + report.seconds,
                replication_stopped_seconds=earlier.replication_stopped_seconds + report.replication_stopped_seconds,
                attempts=earlier.attempts + report.attempts,
            )
        self.report = report

    def schedule_retry(self) -> bool:
        """Prepare another attempt for the targets that have no copy; return False if there is to be none."""
        report, transfer = self.report, self.transfer
        if report is None or report.status in {0, UsageError.exit_status} or report.attempts > transfer.retries:
            return False
        if report.targets:
            # A target that has its copy would refuse another one.
            self.targets = tuple(target.target for target in report.targets if target.status != 0)
        if not self.targets:
            return False
        pause = min(transfer.retry_pause << (report.attempts - 1), _MAXIMUM_PAUSE)
        self.not_before = time.monotonic() + pause
        logger.warning("[%s] failed with status %d; next attempt in %s", self.name, report.status, duration(pause))
        return True

    def copy_records(self) -> list[CopyRecord]:
        """Return records of the directories that the transfer has made, and that hold a good copy."""
        return [
            CopyRecord(
                transfer=self.name,
                host=target.target.host,
                template=self.templates[target.target.path],
                path=target.target.path.rstrip("/"),  # pruning renames the directory, to a name beside this one
                inode=target.made_inode,
                born=target.made_born,
                published=target.made_published,
                filesystem=target.made_filesystem,
                # A copy without a name of its own fills the directory.
                holds="" if target.final == target.target else target.final.path.rpartition("/")[2],
            )
            for target in self.reported
            if target.status == 0 and target.made_inode is not None
        ]

    def target_labels(self) -> list[str]:
        """Return the targets in the report, as the metrics name them: with the placeholders of the job file."""
        return [f"{target.target.host}:{self.templates[target.target.path]}" for target in self.reported]


def schedule_transfer(transfer: JobTransfer, remote: RemoteExecution, started: datetime) -> ScheduledTransfer:
    """Return a transfer with its hosts resolved, and its placeholders replaced by the time of the start of the job."""
    hosts: set[str] = set()
    for word in (transfer.source.host, *(target.host for target in transfer.targets)):
        try:
            hosts |= set(remote.resolve_all(word))
        except RemoteExecutionError:
            hosts.add(word)  # the process of the transfer reports this error
    values = {**date_and_time(started.timestamp()), "name": transfer.name}
    targets = tuple(replace(target, path=target.path.format_map(values)) for target in transfer.targets)
    templates = {target.path: template.path for target, template in zip(targets, transfer.targets, strict=True)}
    return ScheduledTransfer(transfer=transfer, hosts=frozenset(hosts), targets=targets, templates=templates)


def date_and_time(timestamp: float) -> dict[str, str]:
    """Return the placeholders of a time, as names that sort by the time.

    When a clock is set back, as at the end of summer time, an hour repeats. In the repeated hour, the time has the hour
    of the last second before, and 6000 and more in place of minutes and seconds: it sorts before the next hour.

    Args:
        timestamp: seconds since 1970.
    """
    local = datetime.fromtimestamp(timestamp)  # noqa: DTZ006 # the time zone of this host
    if not local.fold:
        return {"date": f"{local:%Y-%m-%d}", "time": f"{local:%H%M%S}"}
    repeated = int(local.timestamp() - local.replace(fold=0).timestamp())
    first = bisect_left(range(repeated), 1, key=lambda ago: _repeats(timestamp - repeated + 1 + ago))
    begin = int(timestamp) - repeated + 1 + first
    last = datetime.fromtimestamp(begin - 1)  # noqa: DTZ006 # as above
    seconds = (int(timestamp) - begin) * 4000 // max(repeated, 4000)
    return {"date": f"{last:%Y-%m-%d}", "time": f"{last:%H}{6000 + seconds}"}


def _repeats(timestamp: float) -> int:
    """Return 1 if the clock of this host showed the same time before, 0 otherwise."""
    return datetime.fromtimestamp(timestamp).fold  # noqa: DTZ006 # as above
