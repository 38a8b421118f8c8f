"""Metrics of runs in the text format of Prometheus, for the textfile collector of node_exporter.

A file holds series of many runs. Writing those of one leaves those of other sources, targets and types as they are.
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
    "last_rate_bytes_per_second": "Bytes on disk a second while the stream of that copy ran.",
}
_SERIES = re.compile(rf"{_PREFIX}(\w+)(\{{[^\n]*\}}) ([0-9.e+-]+|NaN)")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}

Series = dict[tuple[str, str], str]
"""Values by name, without the prefix, and labels, as they are written."""


def of_report(report: TransferReport, targets: Iterable[str] | None = None) -> Series:
    """Return what is to be told of a run; nothing of one that was to copy nothing.

    Args:
        report: of the run.
        targets: what the targets are called; those of a job have the same name every night.
    """
    series: Series = {}
    if report.dry_run or report.source is None:
        return series
    named = targets if targets is not None else [str(target.target) for target in report.targets]
    ended = report.started.timestamp() + report.seconds
    for name, target in zip(named, report.targets, strict=True):
        labels = labels_of(str(report.source), name, report.transfer_type)
        series |= {(key, labels): f"{value:.15g}" for key, value in _values(report, target, ended).items()}
    return series


def _values(report: TransferReport, target: TargetReport, ended: float) -> Mapping[str, float]:
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


def labels_of(source: str, target: str, transfer_type: str) -> str:
    """Return the labels of the series of one target, as they are written."""
    values = {"source": source, "target": target, "type": transfer_type}
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items()) + "}"


def _escaped(value: str) -> str:
    visible = value.encode("utf-8", "backslashreplace").decode()
    return "".join(_ESCAPES.get(c, c) for c in visible)


def parse(text: str) -> Series:
    """Return the series of a file; a ValueError if it is none of ours."""
    series: Series = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line or line.startswith("#"):
            continue
        found = _SERIES.fullmatch(line)
        if not found or found[1] not in _HELP:
            raise ValueError(f"line {number} is not of transferpy")
        series[found[1], found[2]] = found[3]
    return series


def render(series: Series) -> str:
    """Return the file that has these series."""
    lines: list[str] = []
    for name, meaning in _HELP.items():
        found = sorted((labels, value) for (key, labels), value in series.items() if key == name)
        if found:
            lines += [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} gauge"]
            lines += [f"{_PREFIX}{name}{labels} {value}" for labels, value in found]
    return "".join(f"{line}\n" for line in lines)
