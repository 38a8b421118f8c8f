"""Metrics: the series of a run, and the series of other runs in the same file."""

import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports import GOOD, REPORT, STARTED

from transferpy.model.report import TargetReport, TransferReport
from transferpy.output.metrics import format_labels, parse_series, render_series, report_series
from transferpy.output.outputs import write_metrics

DB2, DB3 = (format_labels("db1:/srv/x", f"{host}:/srv", "file") for host in ("db2", "db3"))


def test_each_target_has_its_series() -> None:
    ended = f"{STARTED.timestamp() + 10:.15g}"
    assert report_series(REPORT) == {
        ("last_success_timestamp_seconds", DB2): ended,
        ("last_status", DB2): "0",
        ("last_duration_seconds", DB2): "5.5",
        ("last_bytes", DB2): "4000000",
        ("last_wire_bytes", DB2): "1000000",
        ("last_rate_bytes_per_second", DB2): "1000000",
        ("last_failure_timestamp_seconds", DB3): ended,
        ("last_status", DB3): "6",
    }


def test_a_target_that_was_not_tried_has_the_status_of_the_run() -> None:
    never = TransferReport(
        source=REPORT.source,
        transfer_type="file",
        started=STARTED,
        status=130,
        targets=(TargetReport(target=GOOD.target, final=GOOD.final),),
    )
    assert report_series(never)["last_status", DB2] == "130"


def test_a_dry_run_and_an_invalid_request_have_no_series() -> None:
    assert report_series(TransferReport(started=STARTED, dry_run=True, source=REPORT.source, targets=(GOOD,))) == {}
    assert report_series(TransferReport(started=STARTED, status=2)) == {}


def test_the_targets_of_a_job_have_the_labels_of_the_job_file() -> None:
    names = {labels for _, labels in report_series(REPORT, ["db2:/srv/{date}", "db3:/srv/{date}"])}
    assert all("{date}" in labels for labels in names)


def test_a_failure_keeps_the_series_of_the_last_success(tmp_path: Path) -> None:
    file = tmp_path / "transferpy.prom"
    assert write_metrics(str(file), report_series(REPORT))
    failed = replace(REPORT, targets=(replace(GOOD, status=6),))
    assert write_metrics(str(file), report_series(failed))
    text = file.read_text()
    assert f"transferpy_last_bytes{DB2} 4000000\n" in text
    assert f"transferpy_last_status{DB2} 6\n" in text
    assert f"transferpy_last_status{DB3} 6\n" in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_each_series_has_its_help_and_type_once_and_before_its_samples() -> None:
    lines = render_series(report_series(REPORT)).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 7
    for name in names:
        start = lines.index(f"# TYPE {name} gauge")
        assert lines[start - 1].startswith(f"# HELP {name} ")
        assert lines[start + 1].startswith(f"{name}{{")


@pytest.mark.parametrize("content", ["node_load1 0.5\n", "transferpy_colour{} 1\n", "transferpy_last_bytes 1\n", "x"])
def test_a_file_with_other_metrics_is_not_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    file = tmp_path / "other.prom"
    file.write_text(content)
    assert not write_metrics(str(file), report_series(REPORT))
    assert file.read_text() == content
    assert caplog.messages == [f"{file}: the metrics cannot be written: line 1 is not a metric of transferpy"]


def test_a_missing_directory_is_an_error_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not write_metrics(str(tmp_path / "none/x.prom"), report_series(REPORT))
    assert re.search("none/x.prom: the metrics cannot be written: No such file or directory", caplog.text)


@given(source=st.text(), target=st.text())
def test_any_name_survives_a_file(source: str, target: str) -> None:
    series = {("last_bytes", format_labels(source, target, "file")): "1"}
    text = render_series(series)
    assert parse_series(text) == series
    assert len(text.split("\n")) == 4
    assert text.encode()
