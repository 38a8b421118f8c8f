"""The help of the command line tool."""

import re
import shlex
from pathlib import Path

import pytest
from command_lines import CommandLine

from transferpy import __version__
from transferpy.cli.arguments import EXIT_STATUSES
from transferpy.Exceptions import TransferpyError
from transferpy.model.options import OPTIONS, TransferOptions
from transferpy.transfer import main, option_parse


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

    def test_every_example_is_a_valid_command_line(self, shown: str, command_line: CommandLine) -> None:
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
