"""A run of the command line tool: its exit status and its log."""

import logging
import sys
from pathlib import Path

import pytest
from command_lines import LOG_LINE, WORDS, CommandLine, ScriptedTransferer

from transferpy.batch import run
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.request import JobRequest
from transferpy.transfer import main


class TestExitStatus:
    @pytest.mark.parametrize(
        ("statuses", "expected"),
        [
            ([0], 0),
            ([0, 0, 0], 0),
            ([0, 7, 4], 7),
            ([5], 5),
            ([], 1),
            ([256], 1),
            ([0, -15], 1),
        ],
    )
    def test_only_success_on_every_target_is_0(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        statuses: list[int],
        expected: int,
    ) -> None:
        command_line(*WORDS)
        transferer.script = lambda: statuses
        assert main() == expected

    def test_the_transferer_gets_the_arguments_of_the_command_line(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer]
    ) -> None:
        command_line("--no-encrypt", "db1:/srv/a", "db2:/srv", "[::1]:/srv/b")
        transferer.script = lambda: [0, 0]
        main()
        assert transferer.made[:4] == ("db1", "/srv/a", ["db2", "::1"], ["/srv", "/srv/b"])
        assert transferer.made[4]["encrypt"] is False

    def test_a_job_gets_its_file_its_names_and_its_options(
        self, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests: list[JobRequest] = []

        def run_job_file(request: JobRequest, _received: object) -> int:
            requests.append(request)
            return 6

        monkeypatch.setattr(run, "run_job_file", run_job_file)
        command_line("--job", "/etc/transferpy/night.yaml", "--quiet", "--no-compress", "db1", "db2")
        assert main() == 6
        (request,) = requests
        assert (request.path, *request.names) == ("/etc/transferpy/night.yaml", "db1", "db2")
        assert (request.overrides["compress"], request.options.quiet, request.config) == (False, True, None)

    def test_a_log_that_cannot_be_opened_fails_a_run_that_succeeded(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], tmp_path: Path
    ) -> None:
        transferer.script = lambda: [0]
        command_line("--log-file", str(tmp_path / "missing/log"), *WORDS)
        assert main() == 11

    def test_an_invalid_command_line_ends_with_status_2_and_one_log_line(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], capsys: pytest.CaptureFixture[str]
    ) -> None:
        command_line("db1:/srv/a", "db2")
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert transferer.made == ()
        lines = capsys.readouterr().err
        assert LOG_LINE.fullmatch(lines)
        assert lines.endswith(" ERROR 'db2' is not HOST:PATH: there is no colon between host and path\n")

    def test_an_expected_error_is_logged_and_gives_the_exit_status(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> list[int]:
            raise RemoteExecutionError("db2: no route to host")

        command_line("--verbose", *WORDS)
        transferer.script = fail
        assert main() == 3
        assert capsys.readouterr().err.endswith(" ERROR db2: no route to host\n")

    def test_an_unexpected_error_is_one_line_with_status_1(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> list[int]:
            raise RuntimeError("boo\nhoo")

        transferer.script = fail
        command_line(*WORDS)
        assert main() == 1
        lines = capsys.readouterr().err
        assert LOG_LINE.fullmatch(lines)
        assert lines.endswith(
            r" ERROR unexpected error: RuntimeError: boo\nhoo (run it with --verbose for the traceback)" + "\n"
        )

    def test_with_verbose_an_unexpected_error_has_an_indented_traceback(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail() -> list[int]:
            raise RuntimeError("boo\n2026-11-22 13:40:49 INFO  all is well\x1b[2J")

        transferer.script = fail
        command_line("--verbose", *WORDS)
        assert main() == 1
        first, *rest = capsys.readouterr().err.splitlines()
        assert LOG_LINE.fullmatch(first + "\n")
        assert "    Traceback (most recent call last):" in rest
        assert all(line.startswith("    ") for line in rest)
        assert "    2026-11-22 13:40:49 INFO  all is well\\x1b[2J" in rest


class TestLogging:
    def log(
        self,
        transferer: type[ScriptedTransferer],
        capsys: pytest.CaptureFixture[str],
        *messages: tuple[int, str],
        name: str = "transferpy.session",
    ) -> str:
        def script() -> list[int]:
            for level, message in messages:
                logging.getLogger(name).log(level, "%s", message)
            return [0]

        transferer.script = script
        assert main() == 0
        return capsys.readouterr().err

    def test_info_is_shown_and_debug_only_with_verbose(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], capsys: pytest.CaptureFixture[str]
    ) -> None:
        messages = ((logging.INFO, "ready"), (logging.DEBUG, "detail"), (logging.ERROR, "broken"))
        command_line(*WORDS)
        lines = self.log(transferer, capsys, *messages).splitlines(keepends=True)
        assert [LOG_LINE.fullmatch(line) is not None for line in lines] == [True, True]
        assert [line[20:] for line in lines] == ["INFO  ready\n", "ERROR broken\n"]
        command_line("--verbose", *WORDS)
        lines = self.log(transferer, capsys, *messages).splitlines(keepends=True)
        assert [line[20:] for line in lines] == ["INFO  ready\n", "DEBUG detail\n", "ERROR broken\n"]

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("a\n2026-11-22 13:40:49 INFO  done", r"a\n2026-11-22 13:40:49 INFO  done"),
            ("a\x1b]0;title\x07\x1b[2J", r"a\x1b]0;title\x07\x1b[2J"),
            ("a\rb\x08\x7f\x9b31m", r"a\rb\x08\x7f\x9b31m"),
            ("a\u2028b\u202ec\u200d", r"a\u2028b\u202ec\u200d"),
            ("caf\udce9", r"caf\udce9"),
            ("café 文書", "café 文書"),
            ("%s %d {}", "%s %d {}"),
        ],
    )
    def test_a_name_can_neither_imitate_a_log_line_nor_control_the_terminal(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        capsys: pytest.CaptureFixture[str],
        name: str,
        shown: str,
    ) -> None:
        command_line(*WORDS)
        assert self.log(transferer, capsys, (logging.INFO, name)).endswith(f" INFO  {shown}\n")

    @pytest.mark.parametrize("option", ["--verbose", "--no-verbose"])
    @pytest.mark.parametrize("name", ["cumin.transports.clustershell", "ClusterShell.Task"])
    def test_log_lines_of_cumin_are_not_shown(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        capsys: pytest.CaptureFixture[str],
        option: str,
        name: str,
    ) -> None:
        command_line(option, *WORDS)
        assert self.log(transferer, capsys, (logging.CRITICAL, "noise"), name=name) == ""

    def test_a_handler_of_a_library_on_the_root_logger_gets_no_line(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(sys.stderr)])
        command_line(*WORDS)
        assert self.log(transferer, capsys, (logging.INFO, "ready")).count("ready") == 1
        assert self.log(transferer, capsys, (logging.ERROR, "noise"), name="cumin.backends.direct") == ""

    @pytest.mark.parametrize("error", [OSError("no space"), ValueError("closed file"), RuntimeError("reentrant call")])
    def test_a_write_error_on_standard_error_does_not_end_the_run(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
    ) -> None:
        class Broken:
            def write(self, _text: str) -> int:
                raise error

        def script() -> list[int]:
            logging.getLogger("transferpy.session").error("lost")
            return [0]

        transferer.script = script
        command_line(*WORDS)
        monkeypatch.setattr(sys, "stderr", Broken())
        assert main() == 0

    def test_the_configuration_of_logging_is_restored(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer]
    ) -> None:
        package = logging.getLogger("transferpy")
        before = (package.level, package.propagate, list(package.handlers))
        command_line("--verbose", *WORDS)
        transferer.script = lambda: [0]
        main()
        assert (package.level, package.propagate, list(package.handlers)) == before
