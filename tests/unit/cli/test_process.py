"""Signals that end a run, and standard streams that are closed or cannot be written."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_lines import LOG_LINE, ROOT, WORDS, CommandLine, ScriptedTransferer, driver

from transferpy.transfer import main


class TestSignals:
    @pytest.fixture(autouse=True)
    def _no_signal_is_ignored(self) -> Iterator[None]:
        """Restore default handlers: in a background job of a shell INT is ignored, under nohup HUP is ignored."""
        handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
        for signum, handler in handlers.items():
            if handler is signal.SIG_IGN:
                signal.signal(signum, signal.SIG_DFL)
        yield
        for signum, handler in handlers.items():
            signal.signal(signum, handler)

    @pytest.fixture
    def run(self, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
        started = []

        def start(shell: str = "", script: str = "wait") -> "subprocess.Popen[str]":
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            process = driver(shell, script, tmp_path / "report", **pipes)
            started.append(process)
            assert process.stdout
            assert [process.stdout.readline() for _ in range(3)] == ["printed\n", "from a child\n", "ready\n"]
            return process

        yield start
        for process in started:
            process.kill()
            process.communicate()

    def finish(self, process: "subprocess.Popen[str]") -> list[str]:
        """Let the clean-up continue, and return the log lines without their times."""
        _output, errors = process.communicate("\n", timeout=30)
        return [line[20:] for line in errors.splitlines() if LOG_LINE.fullmatch(line + "\n")]

    def test_a_signal_before_the_run_begins_replaces_an_old_report(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        def begin(*_arguments: object, observer: object) -> None:
            assert callable(observer)
            os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(transferer, "__init__", begin)
        command_line("--report", str(tmp_path / "r.json"), *WORDS)
        assert main() == 143
        document = json.loads((tmp_path / "r.json").read_text())
        assert (document["status"], document["transfers"][0]["interrupted"]) == (143, "SIGTERM")

    @pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("script", ["wait", "return"])
    def test_a_signal_cleans_up_and_then_ends_the_run(
        self, run: Callable[..., "subprocess.Popen[str]"], signum: signal.Signals, script: str
    ) -> None:
        process = run(script=script)
        process.send_signal(signum)
        assert process.stdout
        assert process.stdout.readline() == "cleaning\n"
        assert self.finish(process) == [
            r"INFO  caf\udce9",
            f"WARNING {signum.name}: stopping the run and cleaning up",
            f"ERROR ended by {signum.name}",
        ]
        assert process.returncode == 128 + signum

    @staticmethod
    def wait_until_it_sleeps(process: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + 60
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_a_second_signal_does_not_end_the_clean_up(self, run: Callable[..., "subprocess.Popen[str]"]) -> None:
        process = run()
        assert process.stdout
        assert process.stderr
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "cleaning\n"
        for signum in (signal.SIGINT, signal.SIGTERM):
            # A message can be lost while another is being written, so wait until that is complete.
            self.wait_until_it_sleeps(process)
            process.send_signal(signum)
            while "already" not in process.stderr.readline():
                assert process.poll() is None
        assert self.finish(process) == ["ERROR ended by SIGINT"]
        assert process.returncode == 130

    @pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
    def test_a_signal_that_is_ignored_at_the_start_stays_ignored(
        self, run: Callable[..., "subprocess.Popen[str]"], signum: signal.Signals
    ) -> None:
        process = run(f"trap '' {signum.name}")
        process.send_signal(signum)
        process.send_signal(signal.SIGTERM)
        lines = self.finish(process)
        assert not [line for line in lines if signum.name in line]
        assert process.returncode == 143

    @pytest.mark.parametrize(("trap", "handler"), [("", "Handlers.SIG_DFL"), ("trap '' INT;", "Handlers.SIG_IGN")])
    def test_ctrl_c_before_the_start_of_main_has_no_handler_of_python(self, trap: str, handler: str) -> None:
        program = "import signal; import transferpy.__main__; print(repr(signal.getsignal(signal.SIGINT)))"
        command = ["bash", "-c", f'{trap} exec "$@"', "--", sys.executable, "-c", program]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert handler in printed

    def test_the_signal_handlers_are_restored(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer]
    ) -> None:
        handlers = [signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]
        within: list[object] = []

        def script() -> list[int]:
            within.extend(signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
            return [0]

        transferer.script = script
        command_line(*WORDS)
        main()
        assert len(set(within)) == 1
        assert [signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)] == handlers


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
