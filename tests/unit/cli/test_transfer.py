"""The command line tool: what it reads, what it tells, what it exits with, and what cannot end it badly."""

import configparser
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferpy import __version__, transfer
from transferpy.cli.arguments import EXIT_STATUSES, argument_parser
from transferpy.Exceptions import RemoteExecutionError, TransferpyError, UsageError
from transferpy.model.options import OPTIONS, TransferOptions
from transferpy.model.report import TransferReport
from transferpy.transfer import assign_default_options, main, option_parse, parse_configurations, split_target

ROOT = Path(__file__).parents[3]
WORDS = ("db1:/srv/sqldata", "db2:/srv")
LATER_DEFAULTS = {
    **dict.fromkeys(("create_target", "dry_run", "quiet", "syslog"), False),
    **dict.fromkeys(("report", "metrics", "log_file"), ""),
}
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (DEBUG|INFO |WARNING|ERROR) [^\n]*\n")

CommandLine = Callable[..., None]


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the path of the default configuration file, which is not there."""
    path = tmp_path / "transferpy.conf"
    monkeypatch.setattr(transfer, "CONFIG_FILE", str(path))
    return path


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, config: Path) -> CommandLine:
    assert not config.exists()
    return lambda *words: monkeypatch.setattr(sys, "argv", ["transfer.py", *words])


class ScriptedTransferer:
    """Stands where Transferer is; does what the test says and nothing else."""

    script: Callable[[], list[int]] | None = None
    made: tuple[Any, ...] = ()

    def __init__(self, *arguments: object, observer: object) -> None:
        assert callable(observer)
        type(self).made = arguments
        self.report = TransferReport(started=datetime.now(UTC))

    def run(self) -> list[int]:
        assert self.script is not None, "run was not expected"
        return type(self).script()  # type: ignore[misc]  # not None, and no method


@pytest.fixture
def transferer(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ScriptedTransferer]]:
    module = types.ModuleType("transferpy.Transferer")
    module.Transferer = ScriptedTransferer  # type: ignore[attr-defined]  # that is what makes the module one
    monkeypatch.setitem(sys.modules, "transferpy.Transferer", module)
    ScriptedTransferer.script, ScriptedTransferer.made = None, ()
    yield ScriptedTransferer
    ScriptedTransferer.script = None


def parsed() -> dict[str, Any]:
    return option_parse()[4]


def refusal(path: Path, content: str | bytes) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as refused:
        parse_configurations(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


class TestConfigurationFile:
    def test_a_missing_file_sets_nothing(self, config: Path) -> None:
        assert parse_configurations(config) == {}

    @pytest.mark.parametrize("content", ["", "\n# nothing\n", "[DEFAULT]\n", "\ufeff[DEFAULT]\r\n\r\n"])
    def test_a_file_that_says_nothing_sets_nothing(self, config: Path, content: str) -> None:
        config.write_bytes(content.encode())
        assert parse_configurations(config) == {}

    def test_values_stay_text_and_percent_signs_mean_nothing(self, config: Path) -> None:
        config.write_text("[DEFAULT]\nPORT: 4444\nverbose = Yes\n")
        assert parse_configurations(config) == {"port": "4444", "verbose": "Yes"}
        assert refusal(config, "[DEFAULT]\nport = %(verbose)s\n").endswith("not '%(verbose)s'")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("[DEFAULT]\n\ncolour = red\n", "line 3: unknown key 'colour'; the keys are transfer_type, compress, "),
            ("[DEFAULT]\ntype = file\n", "line 2: unknown key 'type'; the keys are transfer_type, compress, "),
            ("[DEFAULT]\nstop-slave = 1\n", "line 2: unknown key 'stop-slave'; the keys are transfer_type, "),
            ("[DEFAULT]\n# x\nport = abc\n", "line 3: port must be a whole number from 0 to 65535, not 'abc'"),
            ("[DEFAULT]\nport = 4444 ; mine\n", "line 2: port must be a whole number from 0 to 65535, not '4444 ; "),
            ("[DEFAULT]\nport =\n", "line 2: port must be a whole number from 0 to 65535, not ''"),
            ("[DEFAULT]\nverbose = 1\n port = 2\n", "line 2: verbose must be true or false, not '1\\nport = 2'"),
            ('[DEFAULT]\nverbose = "true"\n', "line 2: verbose must be true or false, not '\"true\"'"),
            ("[DEFAULT]\nport = 1\nPort = 2\n", "line 3: port is set twice"),
            ("[DEFAULT]\nport = 1\n[db1]\nport = 2\n", "unknown section [db1]; all options belong to [DEFAULT]"),
            ("[default]\nport = 1\n", "unknown section [default]; all options belong to [DEFAULT]"),
            ("[DEFAULT] port = 1\n", "line 1: the line [DEFAULT] must come before '[DEFAULT] port = 1'"),
            ("[a]\n[a]\n", "While reading from 'the file' [line 2]: section 'a' already exists"),
            ("port = 1\n", "line 1: the line [DEFAULT] must come before 'port = 1'"),
            ("[DEFAULT]\nport\n", "line 2: no = in this line: 'port"),
            ("\x00\x01\x02", "line 1: the line [DEFAULT] must come before '\\x00\\x01\\x02'"),
            (b"[DEFAULT]\nport = \xff\n", "the configuration file cannot be read: 'utf-8' codec can't decode byte"),
        ],
    )
    def test_what_makes_no_sense_is_refused_with_file_and_place(
        self, config: Path, content: str | bytes, reason: str
    ) -> None:
        assert refusal(config, content).startswith(reason)

    def test_a_file_full_of_garbage_is_refused_in_one_short_line(self, config: Path) -> None:
        text = refusal(config, "[DEFAULT]\n" + "garbage\n" * 10000)
        assert len(text) <= 200
        assert "\n" not in text

    def test_a_directory_in_place_of_the_file_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=f"^{tmp_path}: the configuration file cannot be read: Is a directory$"):
            parse_configurations(tmp_path)

    def test_a_file_that_may_not_be_read_is_refused(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_arguments: object, **_options: object) -> str:
            raise PermissionError(13, "Permission denied")  # root, who runs the tests, may read everything

        monkeypatch.setattr(Path, "read_text", refuse)
        with pytest.raises(UsageError, match=f"^{config}: the configuration file cannot be read: Permission denied$"):
            parse_configurations(config)

    def test_a_file_name_that_no_file_can_have_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"the configuration file cannot be read: embedded null byte$"):
            parse_configurations("/etc/\0")

    @given(content=st.one_of(st.binary(), st.text().map(lambda text: f"[DEFAULT]\n{text}".encode(errors="replace"))))
    def test_any_file_is_understood_or_refused(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any.conf"
        path.write_bytes(content)
        try:
            assign_default_options(parse_configurations(path))
        except UsageError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  # not refusing is right as well

    @given(
        values=st.fixed_dictionaries(
            {},
            optional={
                "port": st.integers(0, 65535),
                "transfer_type": st.sampled_from(["file", "xtrabackup", "decompress"]),
                "firewall": st.sampled_from(["auto", "iptables", "nftables", "none"]),
                "connect_timeout": st.integers(1, 86400),
                **dict.fromkeys(("compress", "encrypt", "checksum", "stop_slave", "verbose"), st.booleans()),
            },
        )
    )
    def test_what_is_written_to_a_file_is_read_back(
        self, tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "written.conf"
        writer = configparser.ConfigParser(defaults={name: str(value) for name, value in values.items()})
        with path.open("w") as stream:
            writer.write(stream)
        read = assign_default_options(parse_configurations(path))
        assert read == assign_default_options({}) | values

    def test_the_example_changes_nothing_as_it_stands(self) -> None:
        assert parse_configurations(ROOT / "transferpy.conf") == {}

    def test_the_example_shows_the_default_of_every_option(self, config: Path) -> None:
        example = (ROOT / "transferpy.conf").read_text()
        config.write_text(re.sub(r"^#(?=\w+ =)", "", example, flags=re.MULTILINE))
        values = parse_configurations(config)
        assert list(values) == list(OPTIONS)
        assert assign_default_options(values) == assign_default_options({})


class TestAssignedDefaults:
    def test_every_option_is_there_as_a_plain_value(self) -> None:
        options = assign_default_options({})
        assert list(options) == list(OPTIONS)
        assert {type(value) for value in options.values()} == {bool, int, str}
        assert options == {name: getattr(TransferOptions(), name) for name in OPTIONS}

    def test_what_is_given_stays_and_the_dict_of_the_caller_too(self) -> None:
        given_options = {"port": "4444", "compress": False, "type": "xtrabackup"}
        options = assign_default_options(given_options)
        assert (options["port"], options["compress"], options["transfer_type"]) == (4444, False, "xtrabackup")
        assert given_options == {"port": "4444", "compress": False, "type": "xtrabackup"}

    def test_options_that_exclude_each_other_stay_for_the_program_to_decide(self) -> None:
        options = assign_default_options({"stop_slave": "true", "parallel_checksum": "true"})
        assert (options["stop_slave"], options["parallel_checksum"], options["checksum"]) == (True, True, True)

    @pytest.mark.parametrize("options", [{"port": "x"}, {"colour": "red"}])
    def test_nonsense_is_refused(self, options: dict[str, str]) -> None:
        with pytest.raises(UsageError):
            assign_default_options(options)


class TestSplitTarget:
    @given(st.text())
    def test_any_text_is_split_or_ends_the_program_with_status_2(self, word: str) -> None:
        try:
            host, path = split_target(word)
        except SystemExit as ended:
            assert ended.code == 2  # noqa: PT017  # not ending is right as well
        else:
            assert host
            assert path

    def test_the_reason_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(SystemExit):
            split_target("nonsense")
        assert caplog.messages == ["'nonsense' is no HOST:PATH: it has no colon between a host and a path"]


class TestCommandLine:
    def test_without_options_every_default_holds(self, command_line: CommandLine) -> None:
        command_line(*WORDS)
        assert option_parse() == (
            "db1",
            "/srv/sqldata",
            ["db2"],
            ["/srv"],
            {
                "port": 0,
                "type": "file",
                "compress": True,
                "encrypt": True,
                "checksum": True,
                "parallel_checksum": False,
                "stop_slave": False,
                "verbose": False,
                **LATER_DEFAULTS,
                "firewall": "auto",
                "connect_timeout": 60,
                "idle_timeout": 300,
                "defaults_file": "",
                "prepare": False,
                "owner": "",
                "compressor": "auto",
                "compress_level": 0,
                "compress_threads": 0,
                "checksum_algorithm": "auto",
                "bwlimit": 0,
                "priority": "normal",
            },
        )

    def test_every_option_is_read(self, command_line: CommandLine) -> None:
        switches = ["--no-compress", "--no-encrypt", "--no-checksum", "--parallel-checksum", "--stop-slave"]
        limits = ["--port=4444", "--firewall", "iptables", "--connect-timeout", "5", "--idle-timeout=7"]
        after = ["--prepare", "--owner", "mysql:mysql", "--defaults-file=/root/my.cnf"]
        told = ["--report", "-", "--metrics=m.prom", "--log-file=/var/log/t.log", "--syslog", "--quiet"]
        more = ["--create-target", "--dry-run", *told]
        speed = ["--compressor=zstd", "--compress-level=9", "--compress-threads", "4", "--bwlimit=1.5M"]
        speed += ["--checksum-algorithm", "b3", "--priority=low"]
        command_line("--verbose", *switches, *limits, *after, *speed, *more, "--type", "xtrabackup", *WORDS)
        assert parsed() == {
            "compressor": "zstd",
            "compress_level": 9,
            "compress_threads": 4,
            "checksum_algorithm": "b3",
            "bwlimit": 3 << 19,
            "priority": "low",
            "port": 4444,
            "type": "xtrabackup",
            "compress": False,
            "encrypt": False,
            "checksum": False,
            "parallel_checksum": True,
            "stop_slave": True,
            "verbose": True,
            "create_target": True,
            "dry_run": True,
            "quiet": True,
            "report": "-",
            "metrics": "m.prom",
            "log_file": "/var/log/t.log",
            "syslog": True,
            "firewall": "iptables",
            "connect_timeout": 5,
            "idle_timeout": 7,
            "defaults_file": "/root/my.cnf",
            "prepare": True,
            "owner": "mysql:mysql",
        }

    @pytest.mark.parametrize(
        "words",
        [
            ("db1:/a", "--port", "1", "db2:/b", "db3:/c"),
            ("db1:/a", "db2:/b", "--port", "1", "db3:/c"),
            ("db1:/a", "db2:/b", "db3:/c", "--port", "1"),
            ("--port", "1", "--", "db1:/a", "db2:/b", "db3:/c"),
        ],
    )
    def test_options_may_stand_anywhere(self, command_line: CommandLine, words: tuple[str, ...]) -> None:
        command_line(*words)
        assert option_parse()[:4] == ("db1", "/a", ["db2", "db3"], ["/b", "/c"])

    @pytest.mark.parametrize(
        ("words", "checksum", "parallel_checksum"),
        [
            ([], True, False),
            (["--parallel-checksum"], False, True),
            (["--parallel-checksum", "--checksum"], True, False),
            (["--checksum", "--parallel-checksum"], True, False),
            (["--no-checksum", "--parallel-checksum"], False, True),
            (["--no-checksum"], False, False),
            (["--no-parallel-checksum"], True, False),
        ],
    )
    def test_parallel_checksum_turns_the_normal_one_off_unless_that_is_given(
        self,
        command_line: CommandLine,
        words: list[str],
        checksum: bool,  # noqa: FBT001  # a parameter of the test
        parallel_checksum: bool,  # noqa: FBT001  # a parameter of the test
    ) -> None:
        command_line(*words, *WORDS)
        options = parsed()
        assert (options["checksum"], options["parallel_checksum"]) == (checksum, parallel_checksum)

    def test_parallel_checksum_given_here_wins_over_checksum_in_the_file(
        self, command_line: CommandLine, config: Path
    ) -> None:
        command_line("--parallel-checksum", *WORDS)
        config.write_text("[DEFAULT]\nchecksum = true\n")
        options = parsed()
        assert (options["checksum"], options["parallel_checksum"]) == (False, True)

    def test_parallel_checksum_in_the_file_is_ignored_where_checksum_is_on(
        self, command_line: CommandLine, config: Path
    ) -> None:
        command_line(*WORDS)
        config.write_text("[DEFAULT]\nparallel_checksum = true\n")
        options = parsed()
        assert (options["checksum"], options["parallel_checksum"]) == (True, False)
        command_line("--no-checksum", *WORDS)
        options = parsed()
        assert (options["checksum"], options["parallel_checksum"]) == (False, True)

    def test_the_command_line_wins_over_the_file(self, command_line: CommandLine, config: Path) -> None:
        config_text = "[DEFAULT]\nport = 4444\ncompress = false\nencrypt = false\ntransfer_type = decompress\n"
        command_line("--port", "4455", "--compress", "--type", "file", *WORDS)
        config.write_text(config_text)
        options = parsed()
        assert (options["port"], options["compress"], options["encrypt"], options["type"]) == (
            4455,
            True,
            False,
            "file",
        )

    def test_stop_slave_as_a_default_of_the_fleet_counts_for_backups_only(
        self, command_line: CommandLine, config: Path
    ) -> None:
        command_line("--type", "file", *WORDS)
        config.write_text("[DEFAULT]\nstop_slave = true\ntransfer_type = xtrabackup\n")
        assert parsed()["stop_slave"] is False
        command_line(*WORDS)
        assert parsed()["stop_slave"] is True
        command_line("--no-stop-slave", *WORDS)
        assert parsed()["stop_slave"] is False

    @pytest.mark.parametrize("transfer_type", ["file", "decompress"])
    def test_what_concerns_a_server_may_be_a_default_of_the_fleet(
        self, command_line: CommandLine, config: Path, transfer_type: str
    ) -> None:
        values = {"stop_slave": True, "prepare": True, "defaults_file": "/root/my.cnf", "owner": "mysql"}
        command_line("--type", transfer_type, *WORDS)
        config.write_text("[DEFAULT]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))
        options = parsed()
        unset = {"stop_slave": False, "prepare": False, "defaults_file": ""}
        assert {name: options[name] for name in values} == {**unset, "owner": "mysql"}
        command_line("--type", "xtrabackup", *WORDS)
        options = parsed()
        assert {name: options[name] for name in values} == values

    @pytest.mark.parametrize("words", [["--stop-slave"], ["--prepare"], ["--defaults-file", "/root/my.cnf"]])
    def test_what_concerns_a_server_is_refused_where_it_is_asked_for_with_another_type(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture, words: list[str]
    ) -> None:
        command_line(*words, "--type", "decompress", *WORDS)
        with pytest.raises(SystemExit) as ended:
            option_parse()
        assert ended.value.code == 2
        assert caplog.messages == [f"{words[0]} needs the transfer type xtrabackup, not decompress"]

    def test_another_configuration_file_can_be_named(self, command_line: CommandLine, tmp_path: Path) -> None:
        other = tmp_path / "other.conf"
        other.write_text("[DEFAULT]\nport = 4444\n")
        command_line("--config", str(other), *WORDS)
        assert parsed()["port"] == 4444

    def test_a_named_configuration_file_that_is_missing_is_warned_of(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture
    ) -> None:
        command_line("--config", "/nowhere/at.all", *WORDS)
        assert parsed()["port"] == 0
        assert caplog.messages == ["/nowhere/at.all: this configuration file does not exist; continuing without it"]

    def test_the_default_configuration_file_may_be_missing_in_silence(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture
    ) -> None:
        command_line(*WORDS)
        parsed()
        assert caplog.messages == []

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            ([], "a source and at least one target are needed (try transfer.py --help)"),
            (["db1:/srv/a"], "a source and at least one target are needed (try transfer.py --help)"),
            (["db1:/srv/a", "db2"], "'db2' is no HOST:PATH: it has no colon between a host and a path"),
            (
                ["/srv/a", "db2:/srv"],
                (
                    "'/srv/a' is no HOST:PATH: it has no colon between a host and a path; for this host it would be"
                    " localhost:/srv/a"
                ),
            ),
            (["db1:/srv/a", "db2:/srv", ":/srv"], "':/srv' is no HOST:PATH: the host is empty or no text: ''"),
            (["--colour", *WORDS], "unrecognized arguments: --colour (try transfer.py --help)"),
            (["--comp", *WORDS], "unrecognized arguments: --comp (try transfer.py --help)"),
            (["--port", "x", *WORDS], "--port must be a whole number from 0 to 65535, not 'x'"),
            (["--port", "65536", *WORDS], "--port must be a whole number from 0 to 65535, not '65536'"),
            ([*WORDS, "--port"], "argument --port: expected one argument (try transfer.py --help)"),
            (["--idle-timeout", "0", *WORDS], "--idle-timeout must be a whole number from 1 to 86400, not '0'"),
            (["--stop-slave", *WORDS], "--stop-slave needs the transfer type xtrabackup, not file"),
            (
                ["--config", "x" * 300, *WORDS],
                "x" * 300 + ": the configuration file cannot be read: File name too long",
            ),
            (["--config", "/etc", *WORDS], "/etc: the configuration file cannot be read: Is a directory"),
        ],
    )
    def test_what_makes_no_sense_ends_with_status_2_and_the_reason(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture, words: list[str], reason: str
    ) -> None:
        command_line(*words)
        with pytest.raises(SystemExit) as ended:
            option_parse()
        assert ended.value.code == 2
        assert [message.replace("HOST:PATH, HOST:PATH", "HOST:PATH") for message in caplog.messages] == [reason]

    @pytest.mark.parametrize("option", ["--type", "--firewall", "--priority"])
    def test_a_choice_that_is_none_ends_with_status_2_and_the_choices(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture, option: str
    ) -> None:
        command_line(option, "tar", *WORDS)
        with pytest.raises(SystemExit) as ended:
            option_parse()
        assert ended.value.code == 2
        (action,) = (action for action in argument_parser("")._actions if option in action.option_strings)
        assert action.choices
        (said,) = caplog.messages
        choices = f"(choose from {', '.join(action.choices)}) (try transfer.py --help)"
        # Some versions of Python quote each of them.
        said = re.sub(r"'([\w-]+)'(?=[,)])", r"\1", said)
        assert said == f"argument {option}: invalid choice: 'tar' {choices}"

    @given(words=st.lists(st.one_of(st.text(), st.sampled_from(["--port", "--", "--config", "-", "@x", *WORDS]))))
    def test_any_command_line_is_understood_or_ends_with_a_status(self, words: list[str]) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["transfer.py", *words])
            patched.setattr(transfer, "CONFIG_FILE", "/nowhere/at.all")
            try:
                option_parse()
            except SystemExit as ended:
                assert ended.code == 2 or {"-h", "--help", "--version"} & set(words)  # noqa: PT017  # as above


class TestHelp:
    @pytest.fixture
    def shown(self, command_line: CommandLine, capsys: pytest.CaptureFixture[str]) -> str:
        command_line("--help")
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        return " ".join(capsys.readouterr().out.split())

    @pytest.mark.parametrize("name", OPTIONS)
    def test_the_help_names_every_option_and_its_default(self, shown: str, name: str) -> None:
        option = "--type" if name == "transfer_type" else "--" + name.replace("_", "-")
        default = {"True": "on", "False": "off"}.get(str(getattr(TransferOptions, name)))
        shown_default = rf"\(default: {default or getattr(TransferOptions, name)}\)"
        assert re.search(
            rf"{option}\b" + (rf"[^)]*.*{shown_default}" if getattr(TransferOptions, name) != "" else " [A-Z]"), shown
        )

    def test_the_help_names_the_exit_status_of_every_error(self, shown: str) -> None:
        for status, meaning in EXIT_STATUSES.items():
            assert f"{status} {meaning}" in shown
        errors: list[type[TransferpyError]] = [TransferpyError, *TransferpyError.__subclasses__()]
        assert {str(error.exit_status) for error in errors} <= set(EXIT_STATUSES)

    def test_the_help_shows_the_configuration_file(self, shown: str, config: Path) -> None:
        assert f"(default: {config})" in shown.replace("- ", "-")

    def test_every_example_is_a_command_line_that_is_understood(self, shown: str, command_line: CommandLine) -> None:
        examples = re.findall(r"transfer\.py ((?:--\S+ (?:\w+ )?)*(?:\S+:/\S+ ?){2,})", shown)
        assert len(examples) == 5
        for example in examples:
            command_line(*shlex.split(example))
            assert option_parse()

    def test_the_version_is_shown(self, command_line: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
        command_line("--version")
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert capsys.readouterr().out == f"transfer.py {__version__}\n"


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

    def test_the_transferer_gets_what_the_command_line_says(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer]
    ) -> None:
        command_line("--no-encrypt", "db1:/srv/a", "db2:/srv", "[::1]:/srv/b")
        transferer.script = lambda: [0, 0]
        main()
        assert transferer.made[:4] == ("db1", "/srv/a", ["db2", "::1"], ["/srv", "/srv/b"])
        assert transferer.made[4]["encrypt"] is False

    def test_a_wrong_command_line_ends_with_status_2_and_one_line(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer], capsys: pytest.CaptureFixture[str]
    ) -> None:
        command_line("db1:/srv/a", "db2")
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert transferer.made == ()
        lines = capsys.readouterr().err
        assert LOG_LINE.fullmatch(lines)
        assert lines.endswith(" ERROR 'db2' is no HOST:PATH: it has no colon between a host and a path\n")

    def test_an_expected_error_that_escapes_is_told_with_its_status(
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

    def test_with_verbose_an_unexpected_error_has_its_traceback_which_fakes_no_line(
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
    def test_a_name_can_neither_fake_a_line_nor_drive_the_terminal(
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
    def test_cumin_makes_no_noise(
        self,
        command_line: CommandLine,
        transferer: type[ScriptedTransferer],
        capsys: pytest.CaptureFixture[str],
        option: str,
        name: str,
    ) -> None:
        command_line(option, *WORDS)
        assert self.log(transferer, capsys, (logging.CRITICAL, "noise"), name=name) == ""

    def test_a_handler_that_a_library_puts_on_the_root_shows_no_line_and_no_noise(
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
    def test_no_error_of_standard_error_itself_ends_the_run(
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

    def test_nothing_is_left_behind_in_the_logging_of_the_program(
        self, command_line: CommandLine, transferer: type[ScriptedTransferer]
    ) -> None:
        package = logging.getLogger("transferpy")
        before = (package.level, package.propagate, list(package.handlers))
        command_line("--verbose", *WORDS)
        transferer.script = lambda: [0]
        main()
        assert (package.level, package.propagate, list(package.handlers)) == before


# Puts a scripted Transferer in place, as the fixture does, and runs the console script. With "wait" the
# run waits for a signal, cleans up until it is told to go on, and lets the signal pass; with "return" it returns then.
DRIVER = """
import logging, os, sys, time, types, warnings
from datetime import UTC, datetime
from transferpy.Exceptions import Interrupted
from transferpy.model.report import TransferReport
script, report, *arguments = sys.argv[1:]
sys.argv = ["transfer.py", *arguments]

class Transferer:
    report = TransferReport(started=datetime.now(UTC))
    def __init__(self, *arguments, observer): pass
    def run(self):
        logging.getLogger("transferpy.fake").info("caf\\udce9")
        descriptor = os.open(report, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, f"opened as {descriptor}".encode())
        print("printed", flush=True)
        os.system(f"{{ echo from a child && echo from a child >&2; }} || echo > {report}.lost")
        warnings.warn("noise")
        if script == "succeed":
            return [0, 0]
        try:
            print("ready", flush=True)
            # As the program waits: a signal that comes on the threshold of a long sleep is dealt with at its end.
            for _ in range(1200):
                time.sleep(0.05)
            return [0]
        except Interrupted as error:
            print("cleaning", flush=True)
            sys.stdin.readline()
            print("cleaned", flush=True)
            if script == "return":
                return [1]
            raise

module = types.ModuleType("transferpy.Transferer")
module.Transferer = Transferer
sys.modules["transferpy.Transferer"] = module
import transferpy.transfer
transferpy.transfer.CONFIG_FILE = "/nowhere/at.all"
sys.exit(transferpy.transfer.main())
"""


def driver(shell: str, script: str, report: Path, **streams: Any) -> "subprocess.Popen[str]":
    """Start the driver from bash, after the commands in ``shell``."""
    command = ["bash", "-c", f'{shell}\nexec "$@"', "--", sys.executable, "-c", DRIVER, script, str(report), *WORDS]
    # Not with what a developer may have set for Python, such as PYTHONUNBUFFERED, which hides what is written too late.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.Popen(command, text=True, env=environment, **streams)


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
    def test_log_lines_that_nobody_takes_are_lost_without_a_sound(self, tmp_path: Path, broken: str) -> None:
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

    def test_help_that_nobody_reads_to_its_end_is_no_failure(self) -> None:
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

    def test_a_command_line_that_is_no_utf8_is_told_of(self) -> None:
        command = [sys.executable.encode(), b"-m", b"transferpy", b"caf\xe9", b"db2:/srv"]
        for language in ("C", "C.UTF-8"):
            process = subprocess.run(
                command, cwd=ROOT, env=os.environ | {"LC_ALL": language}, capture_output=True, check=False
            )
            assert process.returncode == 2
            assert b"ERROR 'caf\\udce9' is no HOST:PATH: " in process.stderr


class TestSignals:
    @pytest.fixture(autouse=True)
    def _no_signal_is_ignored(self) -> Iterator[None]:
        """Make the tests work in a background job of a shell too, where INT is ignored, and under nohup."""
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
        """Let the clean-up go on and return the log lines without their times."""
        _output, errors = process.communicate("\n", timeout=30)
        return [line[20:] for line in errors.splitlines() if LOG_LINE.fullmatch(line + "\n")]

    def test_one_that_comes_before_the_run_began_leaves_no_old_report(
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
            # Of two messages at the same moment one may be lost: the last one has to be written to its end.
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

    def test_the_handlers_of_the_program_are_put_back(
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


def test_importing_the_module_neither_loads_cumin_nor_touches_logging_or_signals() -> None:
    script = """
import logging, signal, sys
before = [signal.getsignal(signum) for signum in signal.Signals]
import transferpy.transfer
assert not [name for name in sys.modules if name.startswith(("cumin", "ClusterShell", "transferpy.Transferer"))]
assert [signal.getsignal(signum) for signum in signal.Signals] == before
assert not logging.getLogger("transferpy").handlers and not logging.getLogger().handlers
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_control_c_while_modules_are_read_shows_no_traceback(tmp_path: Path) -> None:
    # In place of one that is imported early; the command asks for it by name.
    (tmp_path / "configparser.py").write_text(
        "import os, signal; os.kill(os.getpid(), signal.SIGINT)", encoding="utf-8"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(transfer.__file__).parents[1]}"}
    command = [sys.executable, "-m", "transferpy", "--version"]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, b"", b"")
