"""Outputs of runs: plans on the console, the JSON report, and metrics for Prometheus.

An output that cannot be written does not change the result of a run. It is an error in the log.
"""

import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transferpy.Exceptions import error_text
from transferpy.model.options import ToolOptions
from transferpy.model.report import TransferReport
from transferpy.model.text import printable
from transferpy.output import metrics
from transferpy.output.atomic_file import write_atomically
from transferpy.output.json_report import to_json

_LOCK_TIMEOUT = 10.0
"""Seconds to wait for other runs that write metrics."""
_LOCK_POLL = 0.05

logger = logging.getLogger(__name__)


def write_outputs(
    options: ToolOptions, reports: Sequence[TransferReport], series: metrics.Series, job: str = ""
) -> bool:
    """Write all outputs of a run, or of the runs of a ``job``; return whether all could be written."""
    # A program that reads the report from standard output expects nothing else there.
    _print_plans(reports, sys.stderr if options.report == "-" else sys.stdout)
    document = to_json(reports, job)
    written = True
    with _deferred_signals():
        if options.metrics and series:
            written = write_metrics(options.metrics, series)
        if options.report and not _is_stream(options.report):
            written = write_report(options.report, document) and written
    if options.report and _is_stream(options.report):
        written = write_report(options.report, document) and written
    return written


def _print_plans(reports: Sequence[TransferReport], stream: Any) -> None:
    encoding = stream.encoding or "ascii"
    with suppress(OSError):  # the reader of the stream has gone
        for line in (line for report in reports for line in report.plan):
            print(printable(line).encode(encoding, "backslashreplace").decode(encoding), file=stream)
        stream.flush()


def _is_stream(path: str) -> bool:
    """Return whether the reader of a report can block this program: a pipe or a device. Signals must end that wait."""
    return path == "-" or (Path(path).exists() and not Path(path).is_file())


def write_report(path: str, document: str) -> bool:
    """Write a report to a file, or to standard output for ``-``; return whether it could be written."""
    try:
        if path == "-":
            sys.stdout.write(document)
            sys.stdout.flush()
        elif _is_stream(path):
            # To open a pipe without a reader fails, instead of blocking forever.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "w", encoding="utf-8") as file:
                os.set_blocking(file.fileno(), True)
                file.write(document)
        else:
            write_atomically(Path(path), document)
    except (OSError, ValueError) as error:
        logger.error("%s: the report cannot be written: %s", path, error_text(error))  # noqa: TRY400 # an expected failure
        return False
    return True


def write_metrics(path: str, series: metrics.Series) -> bool:
    """Write series to a file and keep all other series of the file; return whether they could be written."""
    file = Path(path)
    try:
        with _directory_lock(file.parent):
            known: metrics.Series = {}
            with suppress(FileNotFoundError):
                known = metrics.parse_series(file.read_text(encoding="utf-8"))
            write_atomically(file, metrics.render_series({**known, **series}), mode=0o644)
    except (OSError, ValueError) as error:
        logger.error("%s: the metrics cannot be written: %s", path, error_text(error))  # noqa: TRY400 # as above
        return False
    return True


@contextmanager
def _deferred_signals() -> Iterator[None]:
    """Defer signals until the block ends: the run has ended, so they could only prevent that its result is written."""
    received: list[int] = []
    previous = {signum: signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    handled = {signum: handler for signum, handler in previous.items() if callable(handler)}
    try:
        for signum in handled:
            signal.signal(signum, lambda signum, _frame: received.append(signum))
        yield
    finally:
        for signum, handler in handled.items():
            signal.signal(signum, handler)
        for late in received:
            signal.raise_signal(late)


@contextmanager
def _directory_lock(directory: Path) -> Iterator[None]:
    """Hold the lock that runs take to write metrics. It is on the directory itself, so no lock file is left behind."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + _LOCK_TIMEOUT
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOCK_POLL)
        yield
    finally:
        os.close(descriptor)
