"""The progress of a copy in the log."""

import logging
from dataclasses import replace

import pytest
from reports import HALF

from transferpy.output.progress_log import ProgressLog, format_progress


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
    assert caplog.messages == ["db2:/srv: 50 MB sent, 5 MB/s, 2.00:1 so far"]


def test_the_progress_in_a_log_line() -> None:
    assert format_progress(HALF) == "50 MB of 100 MB (50%) sent, 5 MB/s, 10.0 s left, 2.00:1 so far"
