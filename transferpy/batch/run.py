"""A run of a job: its transfers, then pruning, the outputs and a hook."""

import logging
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from transferpy.batch.hooks import run_hook
from transferpy.batch.job_file import JobFile, read_job_file, select_transfers
from transferpy.batch.lock import job_lock, state_path
from transferpy.batch.pruning import prune
from transferpy.batch.registry import CopyRegistry
from transferpy.batch.scheduled_transfer import ScheduledTransfer, schedule_transfer
from transferpy.batch.scheduler import Scheduler
from transferpy.Exceptions import Interrupted, JobRunningError, PostRunError, UsageError, error_text
from transferpy.model.report import TransferReport, status_of
from transferpy.model.request import JobRequest
from transferpy.model.text import duration
from transferpy.output import metrics
from transferpy.output.json_report import to_json
from transferpy.output.outputs import write_outputs
from transferpy.RemoteExecution.CuminExecution import CuminExecution
from transferpy.RemoteExecution.interface import RemoteExecution

logger = logging.getLogger(__name__)


def run_job_file(request: JobRequest, received: Sequence[int], remote: RemoteExecution | None = None) -> int:
    """Run the transfers of a job file, and return the exit status.

    Args:
        request: the request to run the job.
        received: the list to which the signal handlers add the signals that they receive.
        remote: the hosts; by default those of cumin.

    Raises:
        UsageError: the job file is invalid, or has no transfer of a requested name.
        JobRunningError: another run of the job has not ended.
    """
    with ExitStack() as stack:
        try:
            job = read_job_file(request.path)
            lock = None if request.options.dry_run else stack.enter_context(job_lock(job, request.path))
            run = _JobRun(job, request, lock, remote or CuminExecution())
        except (UsageError, JobRunningError, Interrupted) as error:
            # Without this, the report of the previous run would stay and look like the report of this one.
            write_outputs(request.options, [_refusal_report(error)], {}, request.job_name)
            raise
        return run.run(received)


def _refusal_report(error: UsageError | JobRunningError | Interrupted) -> TransferReport:
    """Return the report of a job that was not started."""
    started = datetime.now(UTC)
    if isinstance(error, Interrupted):
        status, name = 128 + error.signum, error.signum.name
        return TransferReport(started=started, status=status, interrupted=name, errors=("the job was not started",))
    problems = tuple(map(str, getattr(error, "problems", (error,))))
    return TransferReport(started=started, status=error.exit_status, errors=problems)


class _JobRun:
    """One run of a job."""

    def __init__(self, job: JobFile, request: JobRequest, lock: int | None, remote: RemoteExecution) -> None:
        selected = select_transfers(job, request.names, request.path)
        self._job = job
        self._request = request
        self._lock = lock
        self._remote = remote
        self._registry = CopyRegistry(state_path(job, request.path, ".json"))
        self._registry_complete = True
        self._began = time.monotonic()
        self._started = datetime.now(UTC)
        self._transfers = [schedule_transfer(transfer, remote, self._started.astimezone()) for transfer in selected]

    def run(self, received: Sequence[int]) -> int:
        """Run the transfers and all later steps; return the exit status."""
        succeeded = False
        try:
            Scheduler(self._job, self._request, self._lock, self._record_copies).run(self._transfers)
            succeeded = self._registry_complete and self._prune()
        finally:
            reports = self._reports(received)
            status = status_of(reports)
            succeeded = self._finish(reports, status) and succeeded
        return status or (0 if succeeded else PostRunError.exit_status)

    def _record_copies(self, transfer: ScheduledTransfer) -> None:
        """Add the copies of a transfer to the registry."""
        records = transfer.copy_records()
        if self._request.options.dry_run or not records:
            return
        try:
            self._registry.add(records)
        except (OSError, ValueError) as error:
            self._log_registry_error(error)
            self._registry_complete = False

    def _prune(self) -> bool:
        """Remove the old copies of the transfers that succeeded; return whether all could be removed."""
        to_prune = [each for each in self._transfers if each.transfer.keep and each.report and each.report.status == 0]
        if self._request.options.dry_run or not to_prune:
            return True
        try:
            records = self._registry.read()
            results = [prune(self._remote, each.name, each.transfer.keep, records) for each in to_prune]
            self._registry.write(records)
        except (OSError, ValueError) as error:
            self._log_registry_error(error)
            return False
        return all(results)

    def _log_registry_error(self, error: Exception) -> None:
        logger.error("%s: the list of copies cannot be updated: %s", self._registry.path, error_text(error))

    def _reports(self, received: Sequence[int]) -> list[TransferReport]:
        """Return a report of each transfer; a transfer that a signal stopped has the status of the signal."""
        not_started = TransferReport(started=self._started, status=1, errors=("the transfer was not started",))
        reports = []
        for each in self._transfers:
            report = each.report or replace(not_started, name=each.name, source=each.transfer.source)
            if received and not each.finished and report.status:
                report = replace(report, status=128 + received[0], interrupted=signal.Signals(received[0]).name)
            reports.append(report)
        return reports

    def _finish(self, reports: Sequence[TransferReport], status: int) -> bool:
        """Write the outputs, log the result and run a hook; return whether all of that succeeded."""
        request = self._request
        series: metrics.Series = {}
        for transfer, report in zip(self._transfers, reports, strict=True):
            series |= metrics.report_series(report, transfer.target_labels())
        written = write_outputs(request.options, reports, series, request.job_name)
        count = f"{sum(report.status == 0 for report in reports)} of {len(reports)} transfer(s)"
        took = duration(time.monotonic() - self._began)
        if request.options.dry_run:
            logger.info("%s: dry run: %s passed all checks in %s", request.path, count, took)
            return written
        logger.info("%s: %s succeeded in %s", request.path, count, took)
        hook = self._job.on_failure if status else self._job.on_success
        return (not hook or run_hook(hook, to_json(reports, request.job_name))) and written
