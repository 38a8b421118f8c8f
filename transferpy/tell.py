"""Hands over what became of runs to who asked for it: reports as JSON, metrics for Prometheus.

Whether that can be written changes nothing about the runs: what cannot is an error in the log, and False.
"""

import fcntl
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transferpy import metrics
from transferpy.console import printable
from transferpy.report import TransferReport, to_json

logger = logging.getLogger(__name__)


def tell(options: Mapping[str, Any], reports: Sequence[TransferReport], series: metrics.Series, job: str = "") -> bool:
    """Write what the options ask for; return whether all of it could be written.

    Args:
        options: ``report`` and ``metrics`` name the files.
        reports: of all runs.
        series: their metrics.
        job: the name of the job that ran them, if one did.
    """
    # Whoever reads the document from standard output wants nothing else there.
    stream = sys.stderr if options["report"] == "-" else sys.stdout
    with suppress(OSError):  # nobody reads it
        for line in (line for report in reports for line in report.plan):
            print(printable(line), file=stream)
        stream.flush()
    reported = not options["report"] or write_report(options["report"], to_json(reports, job))
    return (not options["metrics"] or not series or write_metrics(options["metrics"], series)) and reported


def write_report(path: str, document: str) -> bool:
    """Write a report to that file, or for ``-`` to standard output; return whether that was possible."""
    try:
        if path == "-":
            sys.stdout.write(document)
            sys.stdout.flush()
        elif Path(path).exists() and not Path(path).is_file():
            Path(path).write_text(document, encoding="utf-8")  # a pipe, for instance
        else:
            write_whole(Path(path), document)
    except (OSError, ValueError) as error:
        logger.error("%s: the report cannot be written: %s", path, error)  # noqa: TRY400 # not a bug, no traceback
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
            write_whole(file, metrics.render({**known, **series}), mode=0o644)
    except (OSError, ValueError) as error:
        logger.error("%s: the metrics cannot be written: %s", path, error)  # noqa: TRY400 # as above
        return False
    return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other runs from writing there; a lock on the directory itself leaves no file behind."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a file that whoever reads it sees as it was before or whole, also after a power cut; raises OSError."""
    if mode is None:
        umask = os.umask(0)
        os.umask(umask)
        mode = 0o666 & ~umask
    path = path.resolve()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 # mkstemp gives text
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 # as above
        raise
