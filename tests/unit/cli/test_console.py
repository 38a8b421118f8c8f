"""The console: log lines on each log, and the progress line."""

import fcntl
import io
import logging
import os
import pty
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reports import HALF

from transferpy.cli import console, progress_bar
from transferpy.cli.console import Console
from transferpy.cli.progress_bar import TerminalProgress, terminal_line
from transferpy.model.locations import Location
from transferpy.model.options import ToolOptions
from transferpy.model.progress import Phase
from transferpy.output import run_log

LOGGER = logging.getLogger("transferpy.test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def options(**changes: Any) -> ToolOptions:
    return ToolOptions(**changes)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(stream: io.StringIO, **changes: Any) -> list[str]:
    with Console(stream) as opened:
        assert opened.apply(options(**changes))
        for level in (logging.INFO, logging.WARNING, logging.ERROR):
            LOGGER.log(level, "said")
    return [line[20:] if line[0] == "2" else line for line in stream.getvalue().splitlines()]


def test_without_a_terminal_no_line_has_a_colour() -> None:
    assert shown(io.StringIO()) == ["INFO  said", "WARNING said", "ERROR said"]


def test_on_a_terminal_warnings_and_errors_have_a_colour() -> None:
    info, warning, error = shown(Terminal())
    assert info == "INFO  said"
    assert warning.startswith("\x1b[33m")
    assert error.startswith("\x1b[31m")
    assert error.endswith("ERROR said\x1b[0m")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_and_dumb_terminals_turn_colours_off(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert shown(Terminal()) == ["INFO  said", "WARNING said", "ERROR said"]


def test_quiet_prints_errors_only_and_the_log_file_has_all_lines(tmp_path: Path) -> None:
    file = tmp_path / "log"
    assert shown(io.StringIO(), quiet=True, log_file=str(file)) == ["ERROR said"]
    assert len(file.read_text().splitlines()) == 3


def test_a_log_file_that_was_renamed_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with Console(io.StringIO()) as opened:
        opened.apply(options(log_file=str(file)))
        LOGGER.info("before")
        file.rename(tmp_path / "log.1")
        LOGGER.info("after \udcff")
    assert file.read_text().endswith("after \\udcff\n")


def test_a_log_file_on_a_full_disk_loses_lines_and_the_run_continues() -> None:
    assert shown(io.StringIO(), log_file="/dev/full") == ["INFO  said", "WARNING said", "ERROR said"]


def test_a_log_file_whose_directory_is_removed_loses_lines_and_the_run_continues(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    stream = io.StringIO()
    with Console(stream) as opened:
        assert opened.apply(options(log_file=str(tmp_path / "logs/log")))
        shutil.rmtree(tmp_path / "logs")
        LOGGER.info("said")
    assert stream.getvalue().endswith("said\n")


class Unwilling(Terminal):
    """A terminal on which a write can fail."""

    error: BaseException | None = None

    def write(self, text: str) -> int:
        if self.error:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [BlockingIOError(11, "busy"), OSError(5, "hung up"), RuntimeError("reentrant call")])
def test_a_terminal_that_cannot_be_written_does_not_end_the_run(error: Exception) -> None:
    stream = Unwilling()
    with Console(stream) as opened:
        opened.apply(options())
        observer = opened.observer
        observer(HALF)
        stream.error = error
        LOGGER.info("said")
        time.sleep(progress_bar._REDRAW_INTERVAL)
        observer(HALF)
        stream.error = None
        LOGGER.info("said again")
        stream.error = error
        observer(None)
    assert "said again" in stream.getvalue()


@pytest.mark.parametrize("columns", [2, 10, 30, 80])
def test_the_line_is_no_wider_than_the_terminal(columns: int) -> None:
    shown, lines, errors = at_a_terminal(columns)
    assert errors == ""
    assert max(map(len, lines)) <= columns
    assert "1/2 db2:/srv"[: columns - 1] in shown


def at_a_terminal(columns: int) -> tuple[str, list[str], str]:
    """Return the output to a terminal of this width, its lines, and the standard output of the program."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    program = (
        "import sys; sys.path[:0] = sys.argv[1].split(':'); from test_console import *\n"
        "bar = TerminalProgress(sys.stderr, colours=False); bar(HALF); bar(None)\n"
    )
    words = [sys.executable, "-c", program, ":".join(sys.path)]
    run = subprocess.run(words, stderr=slave, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, check=False)
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 0)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    assert run.returncode == 0, shown
    text = shown.decode()
    return text, re.split(r"[\r\n]+", text), run.stdout.decode()


def test_syslog_gets_the_lines_with_their_level(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        path = f"{directory}/log"
        receiver.bind(path)
        monkeypatch.setattr(console, "SYSLOG", path)
        shown(io.StringIO(), syslog=True)
        lines = [receiver.recv(1000).decode() for _ in range(3)]
    assert [line.partition(">")[0] for line in lines] == ["<14", "<12", "<11"]
    assert all("transfer.py[" in line and line.endswith("]: said") for line in lines)


@pytest.mark.parametrize("terminal", [True, False])
def test_the_log_has_the_progress_unless_a_terminal_alone_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setattr(run_log, "_PAUSE", 0.0)
    line = f"INFO  {HALF.target}: 50 MB of 100 MB (50%) sent, "
    for log in ("", str(tmp_path / "log")):
        stream = Terminal() if terminal else io.StringIO()
        with Console(stream) as opened:
            assert opened.apply(options(log_file=log))
            opened.observer(HALF)
            opened.observer(None)
        assert (line in stream.getvalue()) == (bool(log) or not terminal)
    assert line in (tmp_path / "log").read_text()


def test_a_log_that_cannot_be_opened_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SYSLOG", "/nowhere/log")
    stream = io.StringIO()
    with Console(stream) as opened:
        assert not opened.apply(options(syslog=True))
        assert not opened.apply(options(log_file="/nowhere/x"))
    assert stream.getvalue().count(": the log cannot be written: ") == 2


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, " 50% of 100 MB, 7 MB/s, 7.1 s left, 2.00:1"),
        ({"total": 0}, "50 MB, 7 MB/s, 2.00:1"),
        ({"bytes": 0, "wire_bytes": 0}, "  0% of 100 MB, 7 MB/s, 14.3 s left"),
        ({"bytes": 200_000_000}, "100% of 100 MB, 7 MB/s, 0.0 s left, 8.00:1"),
        ({"phase": Phase.CHECKING}, "comparing with the source, 10.0 s"),
    ],
)
def test_the_progress_line_shows(changes: dict[str, Any], right: str) -> None:
    assert terminal_line(replace(HALF, **changes), 7e6) == ("1/2 db2:/srv", right)


def test_a_stalled_stream_shows_no_remaining_time() -> None:
    assert terminal_line(HALF, 0) == ("1/2 db2:/srv", " 50% of 100 MB, 0 B/s, 2.00:1")


def test_the_rate_is_an_average_over_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stream = Terminal()
    bar = TerminalProgress(stream, colours=False)
    rates = []
    bar(replace(HALF, phase=Phase.WAITING, bytes=0, seconds=30))
    # 10 MB/s for 40 seconds, then no progress
    for second, megabytes in ((1, 10), (1.5, 10), (40, 400), (48, 400), (60, 400)):
        now = 1000.0 + second
        bar(replace(HALF, bytes=megabytes * 1_000_000, total=10**9, wire_bytes=0, seconds=second))
        rates.append(re.findall(r"([\d.]+ [kM]?B)/s", stream.getvalue())[-1])
    bar(None)
    assert rates == ["10 MB", "6.67 MB", "10 MB", "0 B", "0 B"]


def test_a_hostile_name_neither_controls_the_terminal_nor_breaks_the_line() -> None:
    stream = Terminal()
    bar = TerminalProgress(stream, colours=False)
    bar(replace(HALF, target=Location(host="db2", path="/{x}{bar}\x1b[2J")))
    bar(None)
    assert "/{x}{bar}\\x1b[2J" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()


def test_a_log_line_is_on_a_line_of_its_own_while_the_progress_is_shown() -> None:
    stream = Terminal()
    with Console(stream) as opened:
        opened.apply(options())
        opened.observer(HALF)
        LOGGER.info("said")
        opened.observer(None)
    lines = stream.getvalue().split("\n")
    assert any(line.rpartition("\r")[2].endswith("INFO  said") for line in lines)


@pytest.mark.parametrize("fault", [BlockingIOError(), KeyboardInterrupt()])
def test_a_failed_draw_does_not_block_the_log_lines_of_other_threads(fault: BaseException) -> None:
    stream = Unwilling()
    with Console(stream) as opened:
        opened.observer(HALF)
        time.sleep(progress_bar._REDRAW_INTERVAL)
        stream.error = fault
        with suppress(KeyboardInterrupt):
            opened.observer(HALF)
        stream.error = None
        thread = threading.Thread(target=LOGGER.info, args=("heard",), daemon=True)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert "heard" in stream.getvalue()
