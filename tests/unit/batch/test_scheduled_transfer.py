"""The state of a transfer while its job runs: its retries and its merged report."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from job_directory import Hosts
from reports import BAD, GOOD, REPORT

from transferpy.batch.job_file import JobTransfer
from transferpy.batch.scheduled_transfer import ScheduledTransfer, date_and_time, schedule_transfer
from transferpy.model.locations import Location


@pytest.fixture
def scheduled() -> ScheduledTransfer:
    """Return a transfer to two targets with one retry."""
    source, targets = Location(host="db1", path="/srv/x"), (GOOD.target, BAD.target)
    transfer = JobTransfer(name="t0", source=source, targets=targets, options={}, retries=1, retry_pause=1, keep=0)
    templates = {target.path: target.path for target in targets}
    return ScheduledTransfer(
        transfer=transfer, hosts=frozenset({"db1", "db2", "db3"}), targets=targets, templates=templates
    )


def test_a_retry_is_for_the_targets_without_a_copy_and_the_report_has_all_targets(scheduled: ScheduledTransfer) -> None:
    scheduled.add_report(replace(REPORT, status=6, replication_stopped_seconds=1.5))
    assert scheduled.schedule_retry()
    assert scheduled.targets == (BAD.target,)
    copied = replace(BAD, status=0)
    scheduled.add_report(replace(REPORT, targets=(copied,), replication_stopped_seconds=2.0))
    assert scheduled.report
    assert scheduled.report.replication_stopped_seconds == 3.5
    assert (scheduled.report.name, scheduled.report.status, scheduled.report.attempts) == ("t0", 0, 2)
    assert scheduled.report.targets == (GOOD, copied)
    assert not scheduled.schedule_retry()


def test_the_last_retry_is_the_last_attempt(scheduled: ScheduledTransfer) -> None:
    for _ in range(2):
        scheduled.add_report(replace(REPORT, status=6))
    assert not scheduled.schedule_retry()


@pytest.mark.parametrize("status", [2, 6])
def test_a_wrong_command_line_and_a_failure_after_all_copies_are_not_tried_again(
    scheduled: ScheduledTransfer, status: int
) -> None:
    scheduled.add_report(replace(REPORT, status=status, targets=(GOOD,) if status == 6 else ()))
    assert not scheduled.schedule_retry()


def test_placeholders_are_filled_in_once(scheduled: ScheduledTransfer) -> None:
    target = replace(GOOD.target, path="/srv/{name}/{date}-{time}")
    transfer = replace(scheduled.transfer, name="{date}", targets=(target,))
    filled = schedule_transfer(transfer, Hosts(), datetime(2026, 11, 22, 1, 30, tzinfo=UTC))
    assert [each.path for each in filled.targets] == ["/srv/{date}/2026-11-22-013000"]
    assert filled.templates == {"/srv/{date}/2026-11-22-013000": "/srv/{name}/{date}-{time}"}


ZONES = {  # the end of summer time, by zone: the seconds since 1970 at which the clock is set back
    "Europe/Berlin": 1792890000,  # 03:00 to 02:00
    "Atlantic/Azores": 1792890000,  # 01:00 to 00:00
    "America/Sao_Paulo": 1550368800,  # 00:00 to 23:00 of the day before
    "Australia/Lord_Howe": 1775314800,  # 02:00 to 01:30
    "Antarctica/Troll": 1792890000,  # 03:00 to 01:00
}


@pytest.fixture(params=ZONES)
def set_back(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return the time at which the clock is set back, in a time zone where it is."""
    with monkeypatch.context() as context:
        context.setenv("TZ", request.param)
        time.tzset()
        yield ZONES[request.param]
    time.tzset()


def test_names_with_a_time_neither_collide_nor_sort_wrongly_when_summer_time_ends(set_back: int) -> None:
    step = 2 if time.localtime(set_back).tm_gmtoff - time.localtime(set_back - 1).tm_gmtoff < -3600 else 1
    found = [
        "{date}-{time}".format_map(date_and_time(timestamp))
        for timestamp in range(set_back - 10_000, set_back + 10_000, step)
    ]
    assert found == sorted(set(found))
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}-\d{6}", name) for name in found)


def test_a_time_that_does_not_repeat_is_that_of_the_clock(set_back: int) -> None:
    for timestamp in (set_back - 1, set_back + 7200, set_back + 86400):
        expected = time.strftime("%Y-%m-%d %H%M%S", time.localtime(timestamp))
        assert "{date} {time}".format_map(date_and_time(timestamp)) == expected
