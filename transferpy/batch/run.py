"""A run of a job, under its lock: its transfers, then pruning, the outputs and a hook."""

import fcntl
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from signal import Signals

from transferpy.batch.copies import CopyRecord, prune, update_registry
from transferpy.batch.hooks import run_hook
from transferpy.batch.job_file import JobFile, read_job_file, select_transfers
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


def run_job_file(request: JobRequest, received: Sequence[Signals], remote: RemoteExecution | None = None) -> int:
    """Run the transfers of a job file on hosts of cumin or of ``remote``, and return the exit status.

    Signal handlers add the signals that they receive to ``received``. Raise UsageError if the job file is invalid or
    has no transfer of a requested name, and JobRunningError if another run of the job has not ended.
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
    return TransferReport(started=started, status=error.exit_status, errors=error.problems)


@contextmanager
def job_lock(job: JobFile, job_path: str) -> Iterator[int]:
    """Hold the lock of a job, and yield its file descriptor; raise JobRunningError if another run holds it.

    The processes of the transfers inherit the descriptor: the job is locked until the last one has ended. Raise
    UsageError if the state directory cannot be used.
    """
    path = _state_path(job, job_path, ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.parent.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            # Pruning removes, as root on other hosts, the directories that are listed there.
            raise PermissionError("another user owns the directory, or can write to it")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(f"{path.parent}: the state directory cannot be used: {error_text(error)}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobRunningError(f"{job_path}: another run of this job has not ended yet") from error
        yield lock
    finally:
        os.close(lock)


def _state_path(job: JobFile, job_path: str, suffix: str) -> Path:
    """Return the file of a job in its state directory; job files of the same name have different ones."""
    digest = hashlib.sha256(os.fsencode(Path(job_path).resolve())).hexdigest()[:8]
    return Path(job.state_directory) / f"{Path(job_path).stem}-{digest}{suffix}"


class _JobRun:
    """One run of a job."""

    def __init__(self, job: JobFile, request: JobRequest, lock: int | None, remote: RemoteExecution) -> None:
        selected = select_transfers(job, request.names, request.path)
        self._job = job
        self._request = request
        self._lock = lock
        self._remote = remote
        self._registry = _state_path(job, request.path, ".json")
        self._registry_complete = True
        self._began = time.monotonic()
        self._started = datetime.now(UTC)
        self._transfers = [schedule_transfer(transfer, remote, self._started.astimezone()) for transfer in selected]

    def run(self, received: Sequence[Signals]) -> int:
        """Run the transfers and all later steps; return the exit status.

        The outputs come before pruning, in which a host may hang.
        """
        finished = succeeded = False
        try:
            Scheduler(self._job, self._request, self._lock, self._record_copies).run(self._transfers)
            finished = True
        finally:
            reports = self._reports(received)
            status = status_of(reports)
            written = self._write(reports)
            try:
                succeeded = finished and self._registry_complete and self._prune() and written
            finally:
                succeeded = self._run_hook(reports, status) and succeeded
        return status or (0 if succeeded else PostRunError.exit_status)

    def _record_copies(self, transfer: ScheduledTransfer) -> None:
        """Add the copies of a transfer to the registry."""
        made = transfer.copy_records()

        def add(records: list[CopyRecord]) -> bool:
            records += [record for record in made if record not in records]
            return True

        if made and not self._request.options.dry_run:
            self._registry_complete = update_registry(self._registry, add) and self._registry_complete

    def _prune(self) -> bool:
        """Remove the old copies of the transfers that succeeded; return whether all could be removed."""
        done = [each.transfer for each in self._transfers if each.report and each.report.status == 0]
        keep = {transfer.name: transfer.keep for transfer in done if transfer.keep}
        if self._request.options.dry_run or not keep:
            return True
        return update_registry(self._registry, partial(prune, self._remote, keep))

    def _reports(self, received: Sequence[Signals]) -> list[TransferReport]:
        """Return a report of each transfer; a transfer that a signal stopped has the status of the signal."""
        not_started = TransferReport(started=self._started, status=1, errors=("the transfer was not started",))
        reports = []
        for each in self._transfers:
            report = each.report or replace(not_started, name=each.name, source=each.transfer.source)
            if received and not each.finished and report.status:
                report = replace(report, status=128 + received[0], interrupted=received[0].name)
            reports.append(report)
        return reports

    def _write(self, reports: Sequence[TransferReport]) -> bool:
        """Write the outputs and log the result; return whether the outputs could be written."""
        request = self._request
        series: metrics.Series = {}
        for transfer, report in zip(self._transfers, reports, strict=True):
            series |= metrics.report_series(report, transfer.target_labels())
        written = write_outputs(request.options, reports, series, request.job_name)
        count = f"{sum(report.status == 0 for report in reports)} of {len(reports)} transfer(s)"
        took = duration(time.monotonic() - self._began)
        outcome = "passed all checks" if request.options.dry_run else "succeeded"
        logger.info("%s: %s%s %s in %s", request.path, "dry run: " * request.options.dry_run, count, outcome, took)
        return written

    def _run_hook(self, reports: Sequence[TransferReport], status: int) -> bool:
        """Run the hook for this status, if there is one; return whether it succeeded."""
        hook = self._job.on_failure if status else self._job.on_success
        return self._request.options.dry_run or not hook or run_hook(hook, to_json(reports, self._request.job_name))
