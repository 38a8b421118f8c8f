"""The scheduler of a job: it starts attempts at the transfers within the limits, and tries failed transfers again."""

import logging
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread

from transferpy.batch.job_file import JobFile
from transferpy.batch.scheduled_transfer import ScheduledTransfer
from transferpy.model.options import OPTIONS, TOOL_OPTIONS
from transferpy.model.report import TransferReport
from transferpy.model.request import JobRequest
from transferpy.output.json_report import from_json

_POLL_SECONDS = 0.5
_PROGRAM = (sys.executable, "-P", "-m", "transferpy")
_LOG_LINE = re.compile(r"[-\d]+ [:\d]+ (DEBUG|INFO|WARNING|ERROR) +(.*)")
_LEVELS = logging.getLevelNamesMapping()

logger = logging.getLogger(__name__)


class Scheduler:
    """Runs the transfers of a job within its limits, and tries failed transfers again.

    ``lock`` is the file descriptor of the job's lock, or None for a dry run. ``on_attempt_end`` is called after each
    attempt; if an exception interrupts that, it is called again.
    """

    def __init__(
        self, job: JobFile, request: JobRequest, lock: int | None, on_attempt_end: Callable[[ScheduledTransfer], None]
    ) -> None:
        self._job = job
        self._request = request
        self._lock = lock
        self._on_attempt_end = on_attempt_end
        self._ended: SimpleQueue[Attempt] = SimpleQueue()
        self._running: list[Attempt] = []

    def run(self, transfers: Sequence[ScheduledTransfer]) -> None:
        """Run the transfers to their last attempt. If an exception ends this early, no process stays behind."""
        waiting = list(transfers)
        try:
            while waiting or self._running:
                self._start_attempts(waiting)
                try:
                    attempt = self._ended.get(timeout=_POLL_SECONDS)
                except Empty:
                    continue
                transfer = attempt.transfer
                self._on_attempt_end(transfer)
                self._running.remove(
                    attempt
                )  # only now: if a signal interrupted on_attempt_end, it is called again below
                # A dry run reports what prevents the transfer now, and does not wait until that is gone.
                if not self._request.options.dry_run and transfer.schedule_retry():
                    waiting.append(transfer)
                else:
                    transfer.finished = True
        finally:
            for attempt in self._running:
                attempt.terminate()
            for attempt in self._running:
                if attempt.is_alive():
                    attempt.join()
                self._on_attempt_end(attempt.transfer)

    def _start_attempts(self, waiting: list[ScheduledTransfer]) -> None:
        """Start the waiting transfers that the limits allow, and remove them from the list."""
        for transfer in list(waiting):
            busy = Counter(host for attempt in self._running for host in attempt.transfer.hosts)
            if (
                len(self._running) < self._job.at_once
                and time.monotonic() >= transfer.not_before
                and all(busy[host] < self._job.at_once_per_host for host in transfer.hosts)
            ):
                waiting.remove(transfer)
                attempt = Attempt(transfer, attempt_arguments(self._request, transfer), self._ended, self._lock)
                self._running.append(attempt)
                attempt.start()


class Attempt(Thread):
    """A thread that runs one process of transfer.py, adds its report to the transfer, and itself to ``ended``.

    Signal handlers run in the main thread only. So no exception that a handler raises can come between the start of
    the process and the assignment that makes it known to ``terminate``. In a dry run there is no lock.
    """

    def __init__(
        self, transfer: ScheduledTransfer, arguments: Sequence[str], ended: SimpleQueue["Attempt"], lock: int | None
    ) -> None:
        super().__init__(daemon=True)
        self.transfer = transfer
        self._arguments = arguments
        self._ended = ended
        self._lock = lock
        self._terminated = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Run the process; the thread calls this method."""
        try:
            report = self._run_process()
        except Exception as error:  # noqa: BLE001 # the scheduler waits for the end of each attempt
            report = self._failure(f"the transfer process could not be run: {error}")
        self.transfer.add_report(report)
        self._ended.put(self)

    def terminate(self) -> None:
        """Send SIGTERM to the process; if it has not started yet, send it right after the start."""
        self._terminated = True
        if process := self._process:
            process.terminate()

    def _run_process(self) -> TransferReport:
        # The report is written to memory: a full disk cannot lose it, and no file stays if this process is killed.
        with os.fdopen(os.memfd_create("report"), "r+b") as document:
            # The lock is the standard input, which ssh does not inherit: an ssh that stays behind, as the master of a
            # shared connection does, would keep the job locked. Ctrl-C at the terminal must not reach the process
            # itself (start_new_session): this program forwards signals to it.
            self._process = process = subprocess.Popen(  # noqa: S603 # the arguments were validated
                [*_PROGRAM, *self._arguments],
                stdin=subprocess.DEVNULL if self._lock is None else self._lock,
                stdout=document,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            if self._terminated:
                process.terminate()
            for line in process.stderr or ():
                self._log(line.decode("utf-8", "backslashreplace").rstrip("\n"))
            status = process.wait()
            document.seek(0)
            try:
                return from_json(document.read().decode())
            except ValueError:
                return self._failure(f"the transfer process ended with status {status} and wrote no report")

    def _log(self, line: str) -> None:
        """Log a line of the process at its level; a line without a level is a line of the plan in a dry run."""
        found = _LOG_LINE.fullmatch(line)
        other = logging.DEBUG if self._lock is None else logging.WARNING  # the report has the plan, too
        level, message = (_LEVELS[found[1]], found[2]) if found else (other, line)
        logger.log(level, "[%s] %s", self.transfer.name, message)

    def _failure(self, text: str) -> TransferReport:
        with suppress(Exception):
            logger.error("[%s] %s", self.transfer.name, text)
        source = self.transfer.transfer.source
        return TransferReport(source=source, started=datetime.now(UTC), status=1, errors=(text,))


def attempt_arguments(request: JobRequest, transfer: ScheduledTransfer) -> list[str]:
    """Return the arguments of transfer.py for the next attempt at a transfer."""
    overrides = {name: value for name, value in request.overrides.items() if name not in TOOL_OPTIONS}
    options: dict[str, object] = {**transfer.transfer.options, **overrides}
    options |= {"verbose": request.options.verbose, "dry_run": request.options.dry_run, "quiet": False, "syslog": False}
    options |= {"report": "-", "metrics": "", "log_file": ""}
    config = [f"--config={request.config}"] if request.config is not None else []
    words = (_argument(OPTIONS[name].flag, value) for name, value in options.items())
    return [*config, *words, str(transfer.transfer.source), *map(str, transfer.targets)]


def _argument(flag: str, value: object) -> str:
    if isinstance(value, bool):
        return flag if value else f"--no-{flag[2:]}"
    return f"{flag}={value}"
