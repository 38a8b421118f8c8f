"""The summary of a run for the log."""

from collections.abc import Iterator

from transferpy.model.options import UNCOMPRESSED
from transferpy.model.report import TargetReport, TransferReport
from transferpy.model.units import duration, size


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
    if target.stream_seconds and target.bytes:
        parts.append(f"{size(target.bytes / target.stream_seconds)}/s on disk")
    if target.stream_seconds and target.wire_bytes:
        parts.append(f"{size(target.wire_bytes / target.stream_seconds)}/s on the wire")
    compressed = target.codec not in {"", UNCOMPRESSED}
    ratio = f" {target.ratio:.2f}:1" if target.ratio else ""
    parts.append(f"{target.codec}{ratio}" if compressed else "not compressed")
    parts += [report.cipher or "not encrypted", *target.checks]
    return f"ok in {duration(target.seconds)}: {', '.join(parts)}"
