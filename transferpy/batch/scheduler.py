"""The scheduler of a job: it starts the transfers within the limits, and tries failed transfers again."""

import queue
import time
from collections import Counter
from collections.abc import Callable, Sequence

from transferpy.batch.attempt import Attempt, attempt_arguments
from transferpy.batch.job_file import JobFile
from transferpy.batch.scheduled_transfer import ScheduledTransfer
from transferpy.model.request import JobRequest

_POLL_SECONDS = 0.5


class Scheduler:
    """Runs the transfers of a job within its limits, and tries failed transfers again.

    Args:
        job: the job, which has the limits.
        request: the request to run the job.
        lock: the file descriptor of the job's lock, or None for a dry run.
        on_attempt_end: called after each attempt; if an exception interrupts that, it is called again.
    """

    def __init__(
        self,
        job: JobFile,
        request: JobRequest,
        lock: int | None,
        on_attempt_end: Callable[[ScheduledTransfer], None],
    ) -> None:
        self._job = job
        self._request = request
        self._lock = lock
        self._on_attempt_end = on_attempt_end
        self._ended: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
        self._running: list[Attempt] = []

    def run(self, transfers: Sequence[ScheduledTransfer]) -> None:
        """Run the transfers to their last attempt. If an exception ends this early, no process stays behind."""
        waiting = list(transfers)
        try:
            while waiting or self._running:
                self._start_attempts(waiting)
                try:
                    attempt = self._ended.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                transfer = attempt.transfer
                self._on_attempt_end(transfer)
                self._running.remove(attempt)  # only now: after a signal, _stop calls on_attempt_end again
                # A dry run reports what prevents the transfer now, and does not wait until that is gone.
                if not self._request.options.dry_run and transfer.schedule_retry():
                    waiting.append(transfer)
                else:
                    transfer.finished = True
        finally:
            self._stop()

    def _start_attempts(self, waiting: list[ScheduledTransfer]) -> None:
        """Start the waiting transfers that the limits allow, and remove them from the list."""
        busy = Counter(host for attempt in self._running for host in attempt.transfer.hosts)
        for transfer in list(waiting):
            if self._may_start(transfer, busy):
                waiting.remove(transfer)
                busy.update(transfer.hosts)
                attempt = Attempt(transfer, attempt_arguments(self._request, transfer), self._ended, self._lock)
                self._running.append(attempt)
                attempt.start()

    def _may_start(self, transfer: ScheduledTransfer, busy: Counter[str]) -> bool:
        return (
            len(self._running) < self._job.at_once
            and time.monotonic() >= transfer.not_before
            and all(busy[host] < self._job.at_once_per_host for host in transfer.hosts)
        )

    def _stop(self) -> None:
        for attempt in self._running:
            attempt.terminate()
        for attempt in self._running:
            if attempt.is_alive():
                attempt.join()
            self._on_attempt_end(attempt.transfer)
