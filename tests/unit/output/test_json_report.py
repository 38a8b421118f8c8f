"""The report: what a run leaves, however it ends, and what is made of it."""

import fcntl
import io
import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fleet import source_host, target_facts, target_host
from scripted import END, ScriptedRemote, answer
from test_metrics import BAD, GOOD, REPORT
from test_transferer import RECEIVED, fleet, source_session, target_session, transferer

from transferpy.Exceptions import Interrupted, RemoteExecutionError
from transferpy.model.report import ReportBuilder, TransferReport, status_of
from transferpy.model.units import duration
from transferpy.output import metrics
from transferpy.output.atomic_file import write_atomically
from transferpy.output.json_report import from_json, to_json
from transferpy.output.outputs import write_metrics, write_outputs, write_report
from transferpy.output.summary import summary
from transferpy.stream.digests import ALGORITHMS
from transferpy.Transferer import Transferer

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/report.schema.json").read_text())


def is_as_promised(*reports: TransferReport, job: str = "") -> bool:
    """Whether the document of these reports is one of the schema; raises what is wrong with it."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    text = to_json(reports, job)
    jsonschema.validate(json.loads(text), SCHEMA, format_checker=jsonschema.FormatChecker())
    assert all(from_json(to_json([report])) == report for report in reports)
    return True


def after(made: Transferer) -> TransferReport:
    made.run()
    assert is_as_promised(made.report)
    return made.report


def test_a_run_that_succeeds_reports_what_went_where() -> None:
    peer = ("listening port=4400", "progress bytes=100", "progress bytes=1000100", RECEIVED)
    lists = ("manifest digest=m1 entries=3", "digests digest=d1 entries=2", "checked")
    target = target_session(peer=(*peer, *lists), publish=("published inode=4711 born=1700000000", *END))
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


def test_a_target_that_failed_has_its_error_and_the_others_what_became_of_them() -> None:
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
    assert list(summary(report)) == []


def test_a_run_that_made_no_sense_has_its_reason() -> None:
    report = after(Transferer("db1", "/", ["db2"], ["/srv"], remote=ScriptedRemote()))
    assert (report.status, report.source, report.targets) == (2, None, ())
    assert "has no name of its own" in report.errors[0]


def test_a_run_that_a_signal_ends_has_a_report_up_to_there() -> None:
    target = target_session(peer=(Interrupted(15),))
    made = transferer(fleet(source_session(), target))
    with pytest.raises(Interrupted):
        made.run()
    assert [target.status for target in made.report.targets] == [None]
    assert is_as_promised(replace(made.report, interrupted="SIGTERM", status=143))


def test_a_copy_that_got_its_name_before_a_signal_came_is_a_good_one() -> None:
    target = target_session(publish=("published inode=4711 born=1700000000", *END, Interrupted(15)))
    made = transferer(fleet(source_session(), target), create_target=True)
    with pytest.raises(Interrupted):
        made.run()
    assert [(found.status, found.made_inode) for found in made.report.targets] == [(0, 4711)]
    assert is_as_promised(replace(made.report, interrupted="SIGTERM", status=143))


def test_a_host_that_is_not_found_is_an_error_of_the_run() -> None:
    report = after(transferer(ScriptedRemote(names={"db1": RemoteExecutionError("db1: no such host")})))
    assert (report.status, report.errors) == (3, ("db1: no such host",))


def test_the_summary_has_a_line_for_each_target_and_one_for_the_run() -> None:
    good = replace(GOOD, codec="zstd -1", checks=("md5 checksums agree",))
    report = replace(REPORT, cipher="TLS 1.3", targets=(good, BAD))
    words = (
        "4 MB in 20 file(s)",
        "1 MB/s on disk",
        "250 kB/s on the wire",
        "zstd -1 4.00:1",
        "TLS 1.3",
        "md5 checksums agree",
    )
    assert list(summary(report)) == [
        f"db2:/srv/x: ok in 5.5 s: {', '.join(words)}",
        "db3:/srv/x: FAILED with status 6 after 0.0 s",
        "1 of 2 target(s) succeeded in 10.0 s",
    ]


def test_the_summary_says_what_is_not_known_to_run_again() -> None:
    report = replace(REPORT, targets=(GOOD,), errors=("db1: it is not known",))
    assert (
        list(summary(report))[-1] == "1 of 1 target(s) succeeded in 10.0 s, but replication is not known to run again"
    )


def test_a_name_that_is_no_text_is_a_document_all_the_same() -> None:
    place = replace(GOOD.target, path="/srv/\udcff\n")
    assert is_as_promised(replace(REPORT, source=place, targets=(replace(GOOD, target=place),)))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"transfers": []}', '{"transfers": [{}]}', '{"transfers": [1]}'])
def test_what_is_no_report_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(text)


def test_the_status_of_several_is_that_of_the_first_that_failed() -> None:
    assert status_of([]) == status_of([REPORT]) == 0
    assert status_of([REPORT, replace(REPORT, status=6), replace(REPORT, status=3)]) == 6


def test_the_time_of_a_record_is_that_of_its_clock() -> None:
    now = [100.0]
    record = ReportBuilder(lambda: now[0])
    now[0] = 103.5
    record.update(status=0)
    assert record.report.seconds == 3.5
    assert record.report.started <= datetime.now(UTC)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0.0 s"), (99.94, "99.9 s"), (100, "0:01:40"), (90061, "25:01:01")])
def test_a_duration_is_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class TestFiles:
    def test_a_report_is_written_whole_in_place_of_the_one_before(self, tmp_path: Path) -> None:
        file = tmp_path / "report.json"
        file.write_text("old and longer than what comes")
        assert write_report(str(file), "new")
        assert file.read_text() == "new"
        assert list(tmp_path.iterdir()) == [file]

    def test_standard_output_has_the_document_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        options = {"report": "-", "metrics": ""}
        assert write_outputs(options, [replace(REPORT, plan=("what would be done",))], {})
        output, errors = capsys.readouterr()
        assert json.loads(output)["version"] == 1
        assert errors == "what would be done\n"

    def test_without_a_report_the_plan_is_on_standard_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert write_outputs({"report": "", "metrics": ""}, [replace(REPORT, plan=("a\x1b[2J",))], {})
        assert capsys.readouterr() == ("a\\x1b[2J\n", "")

    @pytest.mark.parametrize("path", ["/nowhere/at/all.json", "/proc/none.json", "/dev/full"])
    def test_what_cannot_be_written_is_an_error_and_no_exception(
        self, caplog: pytest.LogCaptureFixture, path: str
    ) -> None:
        assert not write_report(path, "{}")
        assert caplog.messages[0].startswith(f"{path}: the report cannot be written: ")
        assert "Errno" not in caplog.text

    def test_one_that_is_replaced_hands_on_its_mode_and_owner(self, tmp_path: Path) -> None:
        file = tmp_path / "report.json"
        file.write_text("old")
        file.chmod(0o640)
        if os.geteuid() == 0:
            os.chown(file, 1, 2)
        before = file.stat()
        assert write_report(str(file), "new")
        after = file.stat()
        assert after.st_ino != before.st_ino
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)

    def test_a_link_of_ours_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("file")
        assert write_report(str(tmp_path / "link"), "new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_text() == "new"

    @pytest.mark.lab
    def test_a_link_of_another_user_is_not(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "file").write_text("precious")
        (tmp_path / "link").symlink_to("file")
        os.chown(tmp_path / "link", 1, 1, follow_symlinks=False)
        assert not write_report(str(tmp_path / "link"), "new")
        assert "this symbolic link is another user's" in caplog.text
        assert (tmp_path / "file").read_text() == "precious"

    def test_a_pipe_that_somebody_reads_gets_it_and_one_that_nobody_reads_is_an_error(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert not write_report(str(tmp_path / "pipe"), "new")
        assert "the report cannot be written" in caplog.text
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        assert write_report(str(tmp_path / "pipe"), "new")
        assert os.read(reader, 100) == b"new"
        os.close(reader)

    def test_a_signal_waits_until_all_of_it_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        options = {"report": str(tmp_path / "r.json"), "metrics": str(tmp_path / "m.prom")}

        def interrupt(signum: int, _frame: object) -> None:
            raise Interrupted(signum)

        def signalled(*words: Any, **more: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            write_atomically(*words, **more)

        monkeypatch.setattr("transferpy.output.outputs.write_atomically", signalled)
        before = signal.signal(signal.SIGTERM, interrupt)
        try:
            with pytest.raises(Interrupted):
                write_outputs(options, [REPORT], metrics.of_report(REPORT))
        finally:
            signal.signal(signal.SIGTERM, before)
        assert json.loads((tmp_path / "r.json").read_text())["version"] == 1
        assert metrics.parse((tmp_path / "m.prom").read_text())

    def test_metrics_that_somebody_locks_for_ever_are_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("transferpy.output.outputs._LOCK_TIME", 0.2)
        lock = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert not write_metrics(str(tmp_path / "m.prom"), metrics.of_report(REPORT))
        os.close(lock)
        assert "the metrics cannot be written" in caplog.text
        assert write_metrics(str(tmp_path / "m.prom"), metrics.of_report(REPORT))

    def test_a_plan_is_shown_in_what_the_terminal_can_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("sys.stdout", stream)
        assert write_outputs({"report": "", "metrics": ""}, [replace(REPORT, plan=("\xe9",))], {})
        assert stream.buffer.getvalue() == b"\\xe9\n"
