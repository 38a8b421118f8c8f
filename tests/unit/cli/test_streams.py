"""Standard streams that are closed or cannot be written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import ROOT, driver


class TestBrokenStreams:
    @pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "<&-"])
    def test_closed_streams_change_neither_the_run_nor_the_files_it_opens(self, tmp_path: Path, closed: str) -> None:
        report = tmp_path / "report"
        process = driver(f"exec {closed}", "succeed", report, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _output, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert re.fullmatch(r"opened as ([3-9]|\d\d+)", report.read_text())
        assert not (tmp_path / "report.lost").exists()
        assert "Traceback" not in errors
        assert "noise" not in errors
        assert ("from a child" in errors) == ("2>&-" not in closed)

    @pytest.mark.parametrize("broken", ["full disk", "broken pipe"])
    def test_log_lines_that_cannot_be_written_are_lost_without_a_message(self, tmp_path: Path, broken: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with Path("/dev/full").open("w") as full, os.fdopen(writer, "w") as pipe:
            stream = full if broken == "full disk" else pipe
            process = driver("", "succeed", tmp_path / "report", stdout=subprocess.PIPE, stderr=stream)
            output, _errors = process.communicate(timeout=30)
        assert output == "printed\nfrom a child\n"
        assert process.returncode == 0

    def test_help_with_closed_streams_ends_with_status_0(self) -> None:
        for closed in (">&-", ">&- 2>&-"):
            command = f'exec "$0" -m transferpy --help {closed}'
            process = subprocess.run(
                ["bash", "-c", command, sys.executable], cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert (process.returncode, process.stderr) == (0, "")

    def test_help_on_a_pipe_that_is_closed_early_ends_with_status_0(self) -> None:
        command = 'set -o pipefail; "$0" -m transferpy --help | :'
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        process = subprocess.run(
            ["bash", "-c", command, sys.executable],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (process.returncode, process.stderr) == (0, "")

    def test_a_command_line_that_is_not_utf8_is_refused_with_a_message(self) -> None:
        command = [sys.executable.encode(), b"-m", b"transferpy", b"caf\xe9", b"db2:/srv"]
        for language in ("C", "C.UTF-8"):
            process = subprocess.run(
                command, cwd=ROOT, env=os.environ | {"LC_ALL": language}, capture_output=True, check=False
            )
            assert process.returncode == 2
            assert b"ERROR 'caf\\udce9' is not HOST:PATH: " in process.stderr
