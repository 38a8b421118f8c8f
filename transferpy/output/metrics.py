"""Metrics of runs in the text format of Prometheus, for the textfile collector of node_exporter.

A file has the series of many runs. A run replaces the series of its own source, targets and type only.
"""

import re
from collections.abc import Iterable, Mapping

from transferpy.model.report import TargetReport, TransferReport

_PREFIX = "transferpy_"
_HELP = {
    "last_success_timestamp_seconds": "When a copy last succeeded.",
    "last_failure_timestamp_seconds": "When a copy last failed.",
    "last_status": "Exit status of the last run, 0 for success.",
    "last_duration_seconds": "Wall time of the last copy that succeeded.",
    "last_bytes": "Bytes on disk of the last copy that succeeded.",
    "last_wire_bytes": "Bytes on the network of the last copy that succeeded.",
    "last_rate_bytes_per_second": "Bytes on disk per second while the stream of the last copy that succeeded ran.",
}
_SERIES = re.compile(rf"{_PREFIX}(\w+)(\{{[^\n]*\}}) ([0-9.e+-]+|NaN)")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Series = dict[tuple[str, str], str]
"""The values, as text, by name (without the prefix) and labels (in the text format)."""


def report_series(report: TransferReport, target_labels: Iterable[str] | None = None) -> Series:
    """Return the series of a run; none for a dry run and for an invalid request.

    The label of a target is its HOST:PATH, unless ``target_labels`` has labels that are the same in each run of a job.
    """
    series: Series = {}
    if report.dry_run or report.source is None:
        return series
    names = target_labels or [str(target.target) for target in report.targets]
    for name, target in zip(names, report.targets, strict=True):
        labels = format_labels(str(report.source), name, report.transfer_type)
        series |= {(metric, labels): f"{value:.15g}" for metric, value in _target_values(report, target).items()}
    return series


def _target_values(report: TransferReport, target: TargetReport) -> Mapping[str, float]:
    ended = report.started.timestamp() + report.seconds
    status = target.status if target.status is not None else report.status
    if status != 0:
        return {"last_failure_timestamp_seconds": ended, "last_status": status}
    return {
        "last_success_timestamp_seconds": ended,
        "last_status": 0,
        "last_duration_seconds": target.seconds,
        "last_bytes": target.bytes,
        "last_wire_bytes": target.wire_bytes,
        "last_rate_bytes_per_second": target.bytes / target.stream_seconds if target.stream_seconds else 0,
    }


def format_labels(source: str, target: str, transfer_type: str) -> str:
    """Return the labels of one target in the text format."""
    values = {"source": source, "target": target, "type": transfer_type}
    encodable = {name: value.encode("utf-8", "backslashreplace").decode() for name, value in values.items()}
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in encodable.items()) + "}"


def parse_series(text: str) -> Series:
    """Return the series in the text of a file; raise ValueError if a line is not a series of transferpy."""
    series: Series = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.startswith("#"):
            continue
        found = _SERIES.fullmatch(line)
        if not found or found[1] not in _HELP:
            raise ValueError(f"line {number} is not a metric of transferpy")
        series[found[1], found[2]] = found[3]
    return series


def render_series(series: Series) -> str:
    """Return the text of the file with these series."""
    lines: list[str] = []
    for name, meaning in _HELP.items():
        found = sorted((labels, value) for (key, labels), value in series.items() if key == name)
        if found:
            lines += [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} gauge"]
            lines += [f"{_PREFIX}{name}{labels} {value}" for labels, value in found]
    return "".join(f"{line}\n" for line in lines)
