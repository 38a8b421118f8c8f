"""The log lines of a run: the progress of each copy, and the summary."""

import logging
import time
from collections.abc import Callable, Iterator

from transferpy.model.options import UNCOMPRESSED
from transferpy.model.progress import Phase, Progress
from transferpy.model.report import TargetReport, TransferReport
from transferpy.model.text import duration, size

_STEPS = 10
_PAUSE = 60.0
"""Seconds. The log gets the next line after the pause, and after one of the steps into which the data is divided."""

logger = logging.getLogger(__name__)


class ProgressLog:
    """An observer that logs a line for every tenth of the data, and at most one line a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_line: tuple[float, float] | None = None

    def __call__(self, progress: Progress | None) -> None:
        """Log the progress, if the next line is due."""
        if progress is None or progress.phase is not Phase.COPYING:
            self._last_line = None
            return
        share, now = progress.share, self._clock()
        if self._last_line is None:
            self._last_line = (0.0, now)
        last_share, last_time = self._last_line
        if now - last_time < _PAUSE or (share is not None and int(share * _STEPS) <= int(last_share * _STEPS)):
            return
        self._last_line = (share or 0.0, now)
        total = f" of {size(progress.total)} ({share:.0%})" if share is not None else ""
        rate = format_rate(progress, progress.rate)
        logger.info("%s: %s%s sent, %s", progress.target, size(progress.bytes), total, rate)


def format_rate(progress: Progress, rate: float) -> str:
    """Return the rate in bytes per second, the time left, the compression ratio and the number of streams, as text."""
    text = f"{size(rate)}/s"
    if progress.total and rate:
        text += f", {duration(max(progress.total - progress.bytes, 0) / rate)} left"
    text += f", {progress.ratio:.2f}:1" if progress.ratio else ""
    return text + (f", {progress.streams} streams" if progress.streams > 1 else "")


def summary_lines(report: TransferReport) -> Iterator[str]:
    """Yield a line for each target and one for the run; no line if no target was tried."""
    tried = [target for target in report.targets if target.status is not None]
    if not tried:
        return
    for target in report.targets:
        yield f"{target.final}: {_format_target(report, target)}"
    succeeded = sum(target.status == 0 for target in tried)
    problem = ", but replication may not run again" if report.errors else ""
    yield f"{succeeded} of {len(report.targets)} target(s) succeeded in {report.seconds:.1f} s{problem}"


def _format_target(report: TransferReport, target: TargetReport) -> str:
    if target.status is None:
        return "not tried"
    if target.status != 0:
        return f"FAILED with status {target.status} after {duration(target.seconds)}"
    parts = [f"{size(target.bytes)} in {target.files} file(s)"] if target.files else []
    for count, place in ((target.bytes, "disk"), (target.wire_bytes, "the wire")):
        if target.stream_seconds and count:
            parts.append(f"{size(count / target.stream_seconds)}/s on {place}")
    if target.codec in {"", UNCOMPRESSED}:
        parts.append("not compressed")
    else:
        parts.append(f"{target.codec} {target.ratio:.2f}:1" if target.ratio else target.codec)
    parts += [f"{target.streams} streams"] if target.streams > 1 else []
    parts += [report.cipher or "not encrypted", *target.checks]
    return f"ok in {duration(target.seconds)}: {', '.join(parts)}"
