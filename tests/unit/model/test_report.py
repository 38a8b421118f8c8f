"""Reports: the status of several runs, and the clock of a run."""

from dataclasses import replace
from datetime import UTC, datetime

from reports import REPORT

from transferpy.model.report import ReportBuilder, status_of


def test_the_status_of_several_runs_is_that_of_the_first_failed_one() -> None:
    assert status_of([]) == status_of([REPORT]) == 0
    assert status_of([REPORT, replace(REPORT, status=6), replace(REPORT, status=3)]) == 6


def test_the_duration_of_a_run_is_measured_with_its_clock() -> None:
    now = [100.0]
    builder = ReportBuilder(lambda: now[0])
    now[0] = 103.5
    builder.update(status=0)
    assert builder.report.seconds == 3.5
    assert builder.report.started <= datetime.now(UTC)
