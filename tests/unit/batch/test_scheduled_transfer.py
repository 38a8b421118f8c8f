"""A transfer of a job between its attempts."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from reports import BAD, GOOD, REPORT
from scripted import ScriptedRemote

from transferpy.batch.job_file import parse_job_file
from transferpy.batch.scheduled_transfer import ScheduledTransfer, merge_reports, schedule_transfer
from transferpy.Exceptions import RemoteExecutionError

TEXT = """\
transfers:
  night:
    source: db1:/srv/x
    targets: [db2:/srv, "db3:/srv/{date}"]
    retries: 2
    retry_pause: 60
"""
STARTED = datetime(2026, 11, 22, 1, 30, tzinfo=UTC)


def scheduled(remote: ScriptedRemote | None = None) -> ScheduledTransfer:
    (transfer,) = parse_job_file(TEXT, "j.yaml").transfers
    return schedule_transfer(transfer, remote or ScriptedRemote(), STARTED)


def test_a_transfer_has_the_hosts_that_its_words_select_and_its_placeholders_are_filled_in() -> None:
    unknown = RemoteExecutionError("db3: cumin cannot find this host: no")
    transfer = scheduled(ScriptedRemote(names={"db1": "db1.example.org", "db3": unknown}))
    assert transfer.hosts == {"db1.example.org", "db2", "db3"}
    assert [str(target) for target in transfer.targets] == ["db2:/srv", "db3:/srv/2026-11-22"]


def test_only_the_targets_without_a_copy_are_tried_again() -> None:
    transfer = scheduled()
    transfer.add_report(replace(REPORT, status=6, targets=(GOOD, BAD)))
    assert transfer.schedule_retry()
    assert transfer.targets == (BAD.target,)


def test_a_failure_after_all_copies_have_succeeded_is_not_tried_again() -> None:
    transfer = scheduled()
    transfer.add_report(replace(REPORT, status=11, targets=(GOOD,)))
    assert not transfer.schedule_retry()


@pytest.mark.parametrize(("status", "attempts"), [(0, 1), (2, 1), (6, 3)], ids=["success", "usage error", "all tried"])
def test_there_is_no_retry_after_success_or_a_usage_error_or_the_last_attempt(status: int, attempts: int) -> None:
    transfer = scheduled()
    transfer.add_report(replace(REPORT, status=status, attempts=attempts, targets=()))
    assert not transfer.schedule_retry()


def test_a_failure_before_any_target_is_tried_again_with_all_targets() -> None:
    transfer = scheduled()
    before = transfer.targets
    transfer.add_report(replace(REPORT, status=3, targets=()))
    assert transfer.schedule_retry()
    assert transfer.targets == before


def test_a_transfer_without_a_report_has_no_copy_and_no_retry() -> None:
    transfer = scheduled()
    assert (transfer.copy_records(), transfer.schedule_retry(), transfer.target_labels()) == ([], False, [])


def test_the_merged_report_has_the_targets_of_both_attempts() -> None:
    first = replace(REPORT, status=6, targets=(GOOD, BAD))
    second = replace(REPORT, status=0, targets=(replace(BAD, status=0),))
    merged = merge_reports(first, second)
    assert (merged.status, merged.attempts) == (0, 2)
    assert [target.status for target in merged.targets] == [0, 0]
