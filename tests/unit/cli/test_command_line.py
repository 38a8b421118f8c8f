"""The command line, with the configuration file: its options, and the message for each fault."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from command_lines import WORDS, CommandLine
from hypothesis import given
from hypothesis import strategies as st

from transferpy import transfer
from transferpy.cli.arguments import argument_parser
from transferpy.cli.command_line import parse_command_line
from transferpy.Exceptions import UsageError
from transferpy.transfer import option_parse

LATER_DEFAULTS = {
    **dict.fromkeys(("create_target", "require_mount", "one_file_system", "dry_run", "quiet", "syslog"), False),
    **dict.fromkeys(("report", "metrics", "log_file"), ""),
}


def parsed() -> dict[str, Any]:
    return option_parse()[4]


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
                "stall_timeout": 30,
                "retries": 10,
                "streams": "auto",
                "copy_timeout": 604800,
                "safe_timeout": 300,
                "max_stop_time": 0,
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
        limits = [
            "--port=4444",
            "--firewall",
            "iptables",
            "--connect-timeout",
            "5",
            "--idle-timeout=7",
            "--stall-timeout=6",
            "--retries=2",
            "--streams=auto",
        ]
        limits += ["--copy-timeout=8", "--safe-timeout=9", "--max-stop-time=10"]
        after = ["--prepare", "--owner", "mysql:mysql", "--defaults-file=/root/my.cnf"]
        outputs = ["--report", "-", "--metrics=m.prom", "--log-file=/var/log/t.log", "--syslog", "--quiet"]
        more = ["--create-target", "--require-mount", "--dry-run", *outputs]
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
            "require_mount": True,
            "one_file_system": False,
            "dry_run": True,
            "quiet": True,
            "report": "-",
            "metrics": "m.prom",
            "log_file": "/var/log/t.log",
            "syslog": True,
            "firewall": "iptables",
            "connect_timeout": 5,
            "idle_timeout": 7,
            "stall_timeout": 6,
            "retries": 2,
            "streams": "auto",
            "copy_timeout": 8,
            "safe_timeout": 9,
            "max_stop_time": 10,
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

    def test_parallel_checksum_on_the_command_line_wins_over_checksum_in_the_file(
        self, command_line: CommandLine, config: Path
    ) -> None:
        command_line("--parallel-checksum", *WORDS)
        config.write_text("[DEFAULT]\nchecksum = true\n")
        options = parsed()
        assert (options["checksum"], options["parallel_checksum"]) == (False, True)

    def test_parallel_checksum_in_the_file_is_ignored_if_checksum_is_on(
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

    def test_stop_slave_in_the_file_counts_for_backups_only(self, command_line: CommandLine, config: Path) -> None:
        command_line("--type", "file", *WORDS)
        config.write_text("[DEFAULT]\nstop_slave = true\ntransfer_type = xtrabackup\n")
        assert parsed()["stop_slave"] is False
        command_line(*WORDS)
        assert parsed()["stop_slave"] is True
        command_line("--no-stop-slave", *WORDS)
        assert parsed()["stop_slave"] is False

    @pytest.mark.parametrize("transfer_type", ["file", "decompress"])
    def test_backup_options_in_the_file_count_for_backups_only(
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
    def test_a_backup_option_on_the_command_line_is_refused_with_another_type(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture, words: list[str]
    ) -> None:
        command_line(*words, "--type", "decompress", *WORDS)
        with pytest.raises(SystemExit) as ended:
            option_parse()
        assert ended.value.code == 2
        assert caplog.messages == [f"{words[0]} needs the transfer type xtrabackup, not decompress"]

    @pytest.mark.parametrize(
        ("words", "content", "name"),
        [(["--compress-level=3"], "", "--compress-level"), ([], "[DEFAULT]\ncompress_level = 3\n", "compress_level")],
    )
    def test_a_message_names_an_option_as_it_was_given(
        self, command_line: CommandLine, config: Path, words: list[str], content: str, name: str
    ) -> None:
        command_line(*words, *WORDS)
        config.write_text(content)
        with pytest.raises(UsageError, match=f"^{name} needs a compressor other than auto"):
            parse_command_line(str(config))

    def test_another_configuration_file_can_be_given(self, command_line: CommandLine, tmp_path: Path) -> None:
        other = tmp_path / "other.conf"
        other.write_text("[DEFAULT]\nport = 4444\n")
        command_line("--config", str(other), *WORDS)
        assert parsed()["port"] == 4444

    def test_a_given_configuration_file_that_is_missing_causes_a_warning(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture
    ) -> None:
        command_line("--config", "/nowhere/at.all", *WORDS)
        assert parsed()["port"] == 0
        assert caplog.messages == ["/nowhere/at.all: this configuration file does not exist; continuing without it"]

    def test_a_missing_default_configuration_file_causes_no_warning(
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
            (["db1:/srv/a", "db2"], "'db2' is not HOST:PATH: there is no colon between host and path"),
            (
                ["/srv/a", "db2:/srv"],
                (
                    "'/srv/a' is not HOST:PATH: there is no colon between host and path; for a path on this host write"
                    " localhost:/srv/a"
                ),
            ),
            (["db1:/srv/a", "db2:/srv", ":/srv"], "':/srv' is not HOST:PATH: the host is empty or not text: ''"),
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
    def test_an_invalid_command_line_ends_with_status_2_and_a_message(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture, words: list[str], reason: str
    ) -> None:
        command_line(*words)
        with pytest.raises(SystemExit) as ended:
            option_parse()
        assert ended.value.code == 2
        assert [message.replace("HOST:PATH, HOST:PATH", "HOST:PATH") for message in caplog.messages] == [reason]

    @pytest.mark.parametrize("option", ["--type", "--firewall", "--priority"])
    def test_an_invalid_choice_ends_with_status_2_and_the_valid_choices(
        self, command_line: CommandLine, caplog: pytest.LogCaptureFixture, option: str
    ) -> None:
        command_line(option, "tar", *WORDS)
        with pytest.raises(SystemExit) as ended:
            option_parse()
        assert ended.value.code == 2
        (action,) = (action for action in argument_parser("")._actions if option in action.option_strings)
        assert action.choices
        (reported,) = caplog.messages
        choices = f"(choose from {', '.join(action.choices)}) (try transfer.py --help)"
        # Some versions of Python quote each choice.
        reported = re.sub(r"'([\w-]+)'(?=[,)])", r"\1", reported)
        assert reported == f"argument {option}: invalid choice: 'tar' {choices}"

    @given(words=st.lists(st.one_of(st.text(), st.sampled_from(["--port", "--", "--config", "-", "@x", *WORDS]))))
    def test_any_command_line_is_accepted_or_ends_with_a_status(self, words: list[str]) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["transfer.py", *words])
            patched.setattr(transfer, "CONFIG_FILE", "/nowhere/at.all")
            try:
                option_parse()
            except SystemExit as ended:
                assert ended.code == 2 or {"-h", "--help", "--version"} & set(words)  # noqa: PT017  # as above
