"""Reports of runs, the progress of a copy, and the check that the JSON document of a report is valid."""

import json
from datetime import UTC, datetime
from pathlib import Path

import jsonschema

from transferpy.model.locations import Location
from transferpy.model.progress import Phase, Progress
from transferpy.model.report import TargetReport, TransferReport
from transferpy.output.json_report import from_json, to_json

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/report.schema.json").read_text())
STARTED = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)
GOOD = TargetReport(
    target=Location(host="db2", path="/srv"),
    final=Location(host="db2", path="/srv/x"),
    status=0,
    bytes=4_000_000,
    files=20,
    wire_bytes=1_000_000,
    stream_seconds=4.0,
    seconds=5.5,
)
BAD = TargetReport(target=Location(host="db3", path="/srv"), final=Location(host="db3", path="/srv/x"), status=6)
REPORT = TransferReport(
    source=Location(host="db1", path="/srv/x"), transfer_type="file", started=STARTED, seconds=10, targets=(GOOD, BAD)
)
HALF = Progress(
    target=Location(host="db2", path="/srv"),
    number=1,
    of=2,
    phase=Phase.COPYING,
    bytes=50_000_000,
    total=100_000_000,
    wire_bytes=25_000_000,
    seconds=10,
)


def assert_valid(*reports: TransferReport, job: str = "") -> None:
    """Assert that the JSON document of these reports matches the schema, and that each report can be read back."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(to_json(reports, job))
    jsonschema.validate(document, SCHEMA, format_checker=jsonschema.FormatChecker())
    assert all(from_json(to_json([report])) == report for report in reports)
