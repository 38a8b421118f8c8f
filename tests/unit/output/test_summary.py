"""The summary of a run in the log."""

from dataclasses import replace

from reports import BAD, GOOD, REPORT

from transferpy.output.summary import summary_lines


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
