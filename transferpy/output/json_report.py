"""The report of a run as a JSON document, and back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from transferpy.model.locations import Location
from transferpy.model.report import TargetReport, TransferReport, status_of

VERSION = 1
"""Of the JSON document: a field may be added without a new one, but none removed or given another meaning."""


def to_json(reports: Sequence[TransferReport], job: str = "") -> str:
    """Return the document that ``--report`` writes, for one run or for those of a job."""
    transfers = [_plain(report) for report in reports]
    document = {"version": VERSION, "job": job, "status": status_of(reports), "transfers": transfers}
    return json.dumps(document, indent=2) + "\n"


def _plain(report: TransferReport) -> dict[str, Any]:
    """Return a report as what JSON knows, with what can be worked out from it."""
    values = asdict(report) | {"type": report.transfer_type, "started": report.started.isoformat()}
    del values["transfer_type"]
    for target, known in zip(values["targets"], report.targets, strict=True):
        target["ratio"] = known.ratio
    return values


def from_json(text: str) -> TransferReport:
    """Return the report in a document that holds one; a ValueError if it holds none."""
    try:
        (values,) = json.loads(text)["transfers"]
        values["transfer_type"] = values.pop("type")
        values["started"] = datetime.fromisoformat(values["started"])
        values["source"] = _location(values["source"])
        values |= {name: tuple(values[name]) for name in ("errors", "plan")}
        values["targets"] = tuple(_target_from(target) for target in values["targets"])
        return TransferReport(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no report of a run: {error}") from error


def _target_from(values: dict[str, Any]) -> TargetReport:
    del values["ratio"]
    places = {name: _location(values[name]) for name in ("target", "final")}
    return TargetReport(**{**values, **places, "checks": tuple(values["checks"])})


def _location(values: Mapping[str, str] | None) -> Location | None:
    return None if values is None else Location(**values)
