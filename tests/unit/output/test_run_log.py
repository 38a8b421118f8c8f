"""The progress of a copy and the summary of a run in the log."""

import logging
from dataclasses import replace

import pytest
from reports import BAD, GOOD, HALF, REPORT

from transferpy.output.run_log import ProgressLog, summary_lines


def test_the_log_gets_a_line_after_a_tenth_of_the_data_and_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    now = [0.0]
    log = ProgressLog(lambda: now[0])
    for second in range(0, 601, 10):
        now[0] = second
        log(replace(HALF, bytes=second * 1_000_000 // 10, total=100_000_000))
    shares = [message.partition("(")[2].partition("%")[0] for message in caplog.messages]
    assert shares == ["10", "20", "30", "40", "50", "60"]
    caplog.clear()
    log(None)
    for second in (700, 705, 761):
        now[0] = second
        log(replace(HALF, total=0))
    assert caplog.messages == ["db2:/srv: 50 MB sent, 5 MB/s, 2.00:1"]


def test_the_progress_in_a_log_line(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("transferpy.output.run_log._PAUSE", 0.0)
    ProgressLog()(HALF)
    assert caplog.messages == ["db2:/srv: 50 MB of 100 MB (50%) sent, 5 MB/s, 10.0 s left, 2.00:1"]


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
    assert list(summary_lines(report)) == [
        f"db2:/srv/x: ok in 5.5 s: {', '.join(words)}",
        "db3:/srv/x: FAILED with status 6 after 0.0 s",
        "1 of 2 target(s) succeeded in 10.0 s",
    ]


def test_the_summary_reports_replication_that_may_be_stopped() -> None:
    report = replace(REPORT, targets=(GOOD,), errors=("db1: it is not known",))
    assert list(summary_lines(report))[-1] == "1 of 1 target(s) succeeded in 10.0 s, but replication may not run again"


def test_the_summary_has_a_line_for_a_target_that_was_not_tried_and_for_a_plain_copy() -> None:
    plain = replace(GOOD, files=0, bytes=0, wire_bytes=0)
    report = replace(REPORT, targets=(plain, replace(BAD, status=None)))
    assert list(summary_lines(report)) == [
        "db2:/srv/x: ok in 5.5 s: not compressed, not encrypted",
        "db3:/srv/x: not tried",
        "1 of 2 target(s) succeeded in 10.0 s",
    ]
