"""The Python interface of ``transferpy.transfer`` as existing programs use it: a change here breaks them."""

import sys
from pathlib import Path

import pytest

from transferpy import transfer

CONTRACT_KEYS = {
    "port": int,
    "compress": bool,
    "encrypt": bool,
    "checksum": bool,
    "parallel_checksum": bool,
    "stop_slave": bool,
    "verbose": bool,
}


CONFIG_FILE = transfer.CONFIG_FILE


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transfer, "CONFIG_FILE", str(tmp_path / "none.conf"))


def test_the_path_of_the_configuration_file() -> None:
    assert CONFIG_FILE == "/etc/transferpy/transferpy.conf"


def test_parse_configurations_gives_a_mapping_of_text_that_dict_accepts(tmp_path: Path) -> None:
    path = tmp_path / "transferpy.conf"
    path.write_text("[DEFAULT]\nport = 4444\ncompress = no\n")
    assert dict(transfer.parse_configurations(str(path))) == {"port": "4444", "compress": "no"}


def test_parse_configurations_of_a_missing_file_gives_nothing() -> None:
    assert dict(transfer.parse_configurations(transfer.CONFIG_FILE)) == {}


def test_assign_default_options_gives_every_key_typed() -> None:
    options = transfer.assign_default_options({})
    assert {name: type(options[name]) for name in CONTRACT_KEYS} == CONTRACT_KEYS
    assert type(options["transfer_type"]) is str
    assert options["transfer_type"] == "file"


def test_assign_default_options_types_the_text_of_a_configuration_file() -> None:
    options = transfer.assign_default_options(
        {
            "port": "4444",
            "transfer_type": "xtrabackup",
            "compress": "no",
            "encrypt": "off",
            "checksum": "false",
            "parallel_checksum": "true",
            "stop_slave": "yes",
            "verbose": "1",
        }
    )
    assert {name: options[name] for name in (*CONTRACT_KEYS, "transfer_type")} == {
        "port": 4444,
        "transfer_type": "xtrabackup",
        "compress": False,
        "encrypt": False,
        "checksum": False,
        "parallel_checksum": True,
        "stop_slave": True,
        "verbose": True,
    }


def test_a_program_can_read_the_configuration_and_set_options_on_top_of_it() -> None:
    options = transfer.assign_default_options(dict(transfer.parse_configurations(transfer.CONFIG_FILE)))
    options["type"] = "xtrabackup"
    options["port"] = 4444
    assert options["transfer_type"] == "file"  # Transferer gives type precedence


def test_split_target_gives_the_pair() -> None:
    host, path = transfer.split_target("db1.example.org:/srv/sqldata")
    assert (host, path) == ("db1.example.org", "/srv/sqldata")


@pytest.mark.parametrize("word", ["", "db1", ":/srv", "db1:"])
def test_split_target_exits_with_status_2_on_an_invalid_word(word: str) -> None:
    with pytest.raises(SystemExit) as ended:
        transfer.split_target(word)
    assert ended.value.code == 2


def test_option_parse_reads_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["db1:/srv/sqldata", "db2:/srv", "db3:/srv/other"]
    monkeypatch.setattr(sys, "argv", ["transfer.py", "--port", "4444", "--no-compress", *words])
    source_host, source_path, target_hosts, target_paths, options = transfer.option_parse()
    assert (source_host, source_path) == ("db1", "/srv/sqldata")
    assert target_hosts == ["db2", "db3"]
    assert target_paths == ["/srv", "/srv/other"]
    expected = {
        "port": 4444,
        "type": "file",
        "compress": False,
        "encrypt": True,
        "checksum": True,
        "parallel_checksum": False,
        "stop_slave": False,
        "verbose": False,
    }
    assert {name: options[name] for name in expected} == expected
    assert {name: type(options[name]) for name in CONTRACT_KEYS} == CONTRACT_KEYS
    assert type(options["type"]) is str


def test_main_is_callable_for_the_console_script() -> None:
    assert callable(transfer.main)


def test_option_parse_has_no_arguments_for_a_job_and_ends_with_status_2(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["transfer.py", "--job", "nightly.yaml"])
    with pytest.raises(SystemExit) as ended:
        transfer.option_parse()
    assert ended.value.code == 2
    assert "--job: the source and the targets are in the job file" in caplog.text
