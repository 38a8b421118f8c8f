"""Conversion of reports to a JSON document and back."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from transferpy.model.locations import Location
from transferpy.model.report import TargetReport, TransferReport, status_of

VERSION = 1
"""The version of the JSON document. A version can get further fields; it never loses or redefines a field."""


def to_json(reports: Sequence[TransferReport], job: str = "") -> str:
    """Return the JSON document of one run, or of the transfers of a job."""
    transfers = [_transfer_values(report) for report in reports]
    document = {"version": VERSION, "job": job, "status": status_of(reports), "transfers": transfers}
    return json.dumps(document, indent=2) + "\n"


def _transfer_values(report: TransferReport) -> dict[str, Any]:
    values = asdict(report) | {"type": report.transfer_type, "started": report.started.isoformat()}
    del values["transfer_type"]
    for target_values, target in zip(values["targets"], report.targets, strict=True):
        target_values["ratio"] = target.ratio
    return values


def from_json(text: str) -> TransferReport:
    """Return the report in the document of one run; raise ValueError if the text is not such a document."""
    try:
        (values,) = json.loads(text)["transfers"]
        values["transfer_type"] = values.pop("type")
        values["started"] = datetime.fromisoformat(values["started"])
        values["source"] = values["source"] and Location(**values["source"])
        values |= {name: tuple(values[name]) for name in ("errors", "plan")}
        values["targets"] = tuple(_target_report(target) for target in values["targets"])
        return TransferReport(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the report of a run: {error}") from error


def _target_report(values: dict[str, Any]) -> TargetReport:
    del values["ratio"]
    places = {name: Location(**values[name]) for name in ("target", "final")}
    return TargetReport(**{**values, **places, "checks": tuple(values["checks"])})
