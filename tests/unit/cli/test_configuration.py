"""The configuration file: its values, and the message for each fault."""

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
from command_lines import ROOT
from hypothesis import given
from hypothesis import strategies as st

from transferpy.Exceptions import UsageError
from transferpy.model.options import OPTIONS, TransferOptions
from transferpy.transfer import assign_default_options, parse_configurations


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
    def test_an_empty_file_sets_nothing(self, config: Path, content: str) -> None:
        config.write_bytes(content.encode())
        assert parse_configurations(config) == {}

    def test_values_stay_text_and_percent_signs_are_not_interpolated(self, config: Path) -> None:
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
    def test_an_invalid_file_is_refused_with_its_path_and_line(
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

    def test_a_file_without_read_permission_is_refused(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_arguments: object, **_options: object) -> str:
            raise PermissionError(13, "Permission denied")  # root, which runs the tests, can read every file

        monkeypatch.setattr(Path, "read_text", refuse)
        with pytest.raises(UsageError, match=f"^{config}: the configuration file cannot be read: Permission denied$"):
            parse_configurations(config)

    def test_a_file_name_with_a_nul_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"the configuration file cannot be read: embedded null byte$"):
            parse_configurations("/etc/\0")

    @given(content=st.one_of(st.binary(), st.text().map(lambda text: f"[DEFAULT]\n{text}".encode(errors="replace"))))
    def test_any_file_is_accepted_or_refused(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        path = tmp_path_factory.getbasetemp() / "any.conf"
        path.write_bytes(content)
        try:
            assign_default_options(parse_configurations(path))
        except UsageError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  # the file may be valid

    @given(
        values=st.fixed_dictionaries(
            {},
            optional={
                "port": st.integers(0, 65535),
                "transfer_type": st.sampled_from(["file", "xtrabackup", "decompress"]),
                "firewall": st.sampled_from(["auto", "iptables", "nftables", "firewalld", "none"]),
                "connect_timeout": st.integers(1, 86400),
                **dict.fromkeys(("compress", "encrypt", "checksum", "stop_slave", "verbose"), st.booleans()),
            },
        )
    )
    def test_values_in_a_file_are_read_back(
        self, tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "written.conf"
        writer = configparser.ConfigParser(defaults={name: str(value) for name, value in values.items()})
        with path.open("w") as stream:
            writer.write(stream)
        read = assign_default_options(parse_configurations(path))
        assert read == assign_default_options({}) | values

    def test_the_sample_file_changes_nothing(self) -> None:
        assert parse_configurations(ROOT / "transferpy.conf") == {}

    def test_the_sample_file_shows_the_default_of_every_option(self, config: Path) -> None:
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

    def test_given_values_are_kept_and_the_dict_of_the_caller_is_not_changed(self) -> None:
        given_options = {"port": "4444", "compress": False, "type": "xtrabackup"}
        options = assign_default_options(given_options)
        assert (options["port"], options["compress"], options["transfer_type"]) == (4444, False, "xtrabackup")
        assert given_options == {"port": "4444", "compress": False, "type": "xtrabackup"}

    def test_options_that_exclude_each_other_are_accepted(self) -> None:
        options = assign_default_options({"stop_slave": "true", "parallel_checksum": "true"})
        assert (options["stop_slave"], options["parallel_checksum"], options["checksum"]) == (True, True, True)

    @pytest.mark.parametrize("options", [{"port": "x"}, {"colour": "red"}])
    def test_an_invalid_value_or_an_unknown_name_is_refused(self, options: dict[str, str]) -> None:
        with pytest.raises(UsageError):
            assign_default_options(options)
