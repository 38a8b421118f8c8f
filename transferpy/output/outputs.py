"""Hands over what became of runs to who asked for it: reports as JSON, metrics for Prometheus.

Whether that can be written changes nothing about the runs: what cannot is an error in the log, and False.
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

from transferpy.Exceptions import error_text
from transferpy.model.options import ToolOptions
from transferpy.model.report import TransferReport
from transferpy.model.text import printable
from transferpy.output import metrics
from transferpy.output.atomic_file import write_atomically
from transferpy.output.json_report import to_json

_LOCK_TIME = 10.0
"""Seconds within which other runs have written their metrics; whoever else holds a lock there may do so for ever."""
_LOCK_LOOK = 0.05

logger = logging.getLogger(__name__)


def write_outputs(
    options: ToolOptions, reports: Sequence[TransferReport], series: metrics.Series, job: str = ""
) -> bool:
    """Write what the options ask for; return whether all of it could be written.

    Args:
        options: ``report`` and ``metrics`` name the files.
        reports: of all runs.
        series: their metrics.
        job: the name of the job that ran them, if one did.
    """
    # Whoever reads the document from standard output wants nothing else there.
    stream = sys.stderr if options.report == "-" else sys.stdout
    with suppress(OSError):  # nobody reads it
        for line in (line for report in reports for line in report.plan):
            visible = printable(line).encode(stream.encoding or "ascii", "backslashreplace")
            print(visible.decode(stream.encoding or "ascii"), file=stream)
        stream.flush()
    told = True
    with _signals_held():
        if options.metrics and series:
            told = write_metrics(options.metrics, series)
        if options.report and not _is_stream(options.report):
            told = write_report(options.report, to_json(reports, job)) and told
    if options.report and _is_stream(options.report):
        told = write_report(options.report, to_json(reports, job)) and told
    return told


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let signals wait until what became of the run is written: it has ended, there is nothing for them to end."""
    came: list[int] = []
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    handled = {signum: handler for signum, handler in before.items() if callable(handler)}
    try:
        for signum in handled:
            signal.signal(signum, lambda signum, _frame: came.append(signum))
        yield
    finally:
        for signum, handler in handled.items():
            signal.signal(signum, handler)
        for late in came:
            signal.raise_signal(late)


def _is_stream(path: str) -> bool:
    """Whether a report goes to somebody who reads it as it comes, and may keep us waiting: a pipe, for instance."""
    return path == "-" or (Path(path).exists() and not Path(path).is_file())


def write_report(path: str, document: str) -> bool:
    """Write a report to that file, or for ``-`` to standard output; return whether that was possible."""
    try:
        if path == "-":
            sys.stdout.write(document)
            sys.stdout.flush()
        elif _is_stream(path):
            # A pipe that nobody reads is an error, and no wait without end.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "w", encoding="utf-8") as file:
                os.set_blocking(file.fileno(), True)
                file.write(document)
        else:
            write_atomically(Path(path), document)
    except (OSError, ValueError) as error:
        logger.error("%s: the report cannot be written: %s", path, error_text(error))  # noqa: TRY400 # not a bug, no traceback
        return False
    return True


def write_metrics(path: str, series: metrics.Series) -> bool:
    """Put these series into that file, in which all others stay; return whether that was possible."""
    file = Path(path)
    try:
        with _locked(file.parent):
            known: metrics.Series = {}
            with suppress(FileNotFoundError):
                known = metrics.parse(file.read_text(encoding="utf-8"))
            write_atomically(file, metrics.render({**known, **series}), mode=0o644)
    except (OSError, ValueError) as error:
        logger.error("%s: the metrics cannot be written: %s", path, error_text(error))  # noqa: TRY400 # as above
        return False
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other runs from writing there; a lock on the directory itself leaves no file behind."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    deadline = time.monotonic() + _LOCK_TIME
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOCK_LOOK)
        yield
    finally:
        os.close(descriptor)
