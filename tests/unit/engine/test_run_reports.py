"""The report of a run, however the run ends."""

from dataclasses import replace

import pytest
from fleet import source_host, target_facts, target_host
from reports import assert_valid
from scripted import END, ScriptedRemote, answer
from scripted_runs import LISTS, RECEIVED, fleet, source_session, target_session, transferer

from transferpy.Exceptions import Interrupted, RemoteExecutionError
from transferpy.model.digests import ALGORITHMS
from transferpy.model.report import TransferReport
from transferpy.output.run_log import summary_lines
from transferpy.Transferer import Transferer


def after(made: Transferer) -> TransferReport:
    made.run()
    assert_valid(made.report)
    return made.report


def test_a_run_that_succeeds_reports_each_target() -> None:
    peer = ("listening port=4400", "progress bytes=100", "progress bytes=1000100", RECEIVED)
    target = target_session(peer=(*peer, *LISTS), publish=("published inode=4711 born=1700000000", *END))
    report = after(transferer(fleet(source_session(), target), create_target=True))
    assert (report.status, report.cipher, report.transfer_type) == (0, "TLS 1.3", "file")
    assert report.checksum in ALGORITHMS
    assert str(report.source) == "db1:/srv/x"
    (found,) = report.targets
    assert (str(found.target), str(found.final), found.status) == ("db2:/srv/y", "db2:/srv/y/x", 0)
    assert (found.bytes, found.files, found.wire_bytes, found.ratio) == (4_000_000, 20, 1_000_000, 4)
    assert found.checks == (f"{report.checksum} checksums agree",)
    assert (found.made_inode, found.made_born) == (4711, 1_700_000_000)
    assert found.codec
    assert 0 < found.seconds <= report.seconds
    assert found.stream_seconds > 0


def test_a_target_that_failed_has_its_error_and_the_others_have_their_results() -> None:
    bad = target_session(peer=("listening port=4400", "stages job=receive statuses=1,0,0"))
    report = after(transferer(fleet(source_session(2), bad, target_session()), 2))
    assert [target.status for target in report.targets] == [6, 0]
    assert report.targets[0].error == "db2: socat failed with status 1"
    assert (report.status, report.errors) == (6, ())


def test_a_run_that_was_refused_has_every_reason_and_targets_that_were_not_tried() -> None:
    remote = ScriptedRemote(
        preflights={
            "db1": answer(source_host()),
            "db2": answer(target_host(targets={0: target_facts(taken=True, final_identity="7:77")}, uid=1)),
        }
    )
    report = after(transferer(remote))
    assert report.status == 4
    assert len(report.errors) == 2
    assert [target.status for target in report.targets] == [None]
    assert list(summary_lines(report)) == []


def test_the_report_of_an_invalid_request_has_its_error() -> None:
    report = after(Transferer("db1", "/", ["db2"], ["/srv"], remote=ScriptedRemote()))
    assert (report.status, report.source, report.targets) == (2, None, ())
    assert "has no name that the copy could get" in report.errors[0]


def test_a_run_that_a_signal_ends_has_a_report_up_to_there() -> None:
    target = target_session(peer=(Interrupted(15),))
    made = transferer(fleet(source_session(), target))
    with pytest.raises(Interrupted):
        made.run()
    assert [target.status for target in made.report.targets] == [None]
    assert_valid(replace(made.report, interrupted="SIGTERM", status=143))


def test_a_copy_that_got_its_name_before_a_signal_came_is_a_good_one() -> None:
    target = target_session(publish=("published inode=4711 born=1700000000", *END, Interrupted(15)))
    made = transferer(fleet(source_session(), target), create_target=True)
    with pytest.raises(Interrupted):
        made.run()
    assert [(found.status, found.made_inode) for found in made.report.targets] == [(0, 4711)]
    assert_valid(replace(made.report, interrupted="SIGTERM", status=143))


def test_a_host_that_is_not_found_is_an_error_of_the_run() -> None:
    report = after(transferer(ScriptedRemote(names={"db1": RemoteExecutionError("db1: no such host")})))
    assert (report.status, report.errors) == (3, ("db1: no such host",))
