"""Reports, metrics and plans that are written to files and streams."""

import fcntl
import io
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import REPORT

from transferpy.Exceptions import Interrupted
from transferpy.model.options import ToolOptions
from transferpy.output import metrics
from transferpy.output.atomic_file import write_atomically
from transferpy.output.outputs import write_metrics, write_outputs, write_report


def test_a_report_is_written_whole_in_place_of_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old and longer than what comes")
    assert write_report(str(file), "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_standard_output_has_the_document_alone(capsys: pytest.CaptureFixture[str]) -> None:
    options = ToolOptions(report="-")
    assert write_outputs(options, [replace(REPORT, plan=("what would be done",))], {})
    output, errors = capsys.readouterr()
    assert json.loads(output)["version"] == 1
    assert errors == "what would be done\n"


def test_without_a_report_the_plan_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert write_outputs(ToolOptions(), [replace(REPORT, plan=("a\x1b[2J",))], {})
    assert capsys.readouterr() == ("a\\x1b[2J\n", "")


@pytest.mark.parametrize("path", ["/nowhere/at/all.json", "/proc/none.json", "/dev/full"])
def test_what_cannot_be_written_is_an_error_and_no_exception(caplog: pytest.LogCaptureFixture, path: str) -> None:
    assert not write_report(path, "{}")
    assert caplog.messages[0].startswith(f"{path}: the report cannot be written: ")
    assert "Errno" not in caplog.text


def test_one_that_is_replaced_hands_on_its_mode_and_owner(tmp_path: Path) -> None:
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


def test_a_link_of_ours_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    assert write_report(str(tmp_path / "link"), "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.lab
def test_a_link_of_another_user_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("file")
    os.chown(tmp_path / "link", 1, 1, follow_symlinks=False)
    assert not write_report(str(tmp_path / "link"), "new")
    assert "this symbolic link belongs to another user" in caplog.text
    assert (tmp_path / "file").read_text() == "precious"


def test_a_pipe_that_somebody_reads_gets_it_and_one_that_nobody_reads_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not write_report(str(tmp_path / "pipe"), "new")
    assert "the report cannot be written" in caplog.text
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert write_report(str(tmp_path / "pipe"), "new")
    assert os.read(reader, 100) == b"new"
    os.close(reader)


def test_a_signal_waits_until_all_of_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ToolOptions(report=str(tmp_path / "r.json"), metrics=str(tmp_path / "m.prom"))

    def interrupt(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    def signalled(*words: Any, **more: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        write_atomically(*words, **more)

    monkeypatch.setattr("transferpy.output.outputs.write_atomically", signalled)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with pytest.raises(Interrupted):
            write_outputs(options, [REPORT], metrics.report_series(REPORT))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert json.loads((tmp_path / "r.json").read_text())["version"] == 1
    assert metrics.parse_series((tmp_path / "m.prom").read_text())


def test_metrics_that_somebody_locks_for_ever_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("transferpy.output.outputs._LOCK_TIMEOUT", 0.2)
    lock = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert not write_metrics(str(tmp_path / "m.prom"), metrics.report_series(REPORT))
    os.close(lock)
    assert "the metrics cannot be written" in caplog.text
    assert write_metrics(str(tmp_path / "m.prom"), metrics.report_series(REPORT))


def test_a_plan_is_shown_in_what_the_terminal_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    assert write_outputs(ToolOptions(), [replace(REPORT, plan=("\xe9",))], {})
    assert stream.buffer.getvalue() == b"\\xe9\n"
