"""The registry of copies."""

import signal
import time
from pathlib import Path

import pytest
from job_directory import Hosts, JobDirectory, transfers

from transferpy.batch import registry
from transferpy.Exceptions import Interrupted
from transferpy.output.atomic_file import write_atomically


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobDirectory:
    return JobDirectory(tmp_path, monkeypatch)


def test_a_copy_is_recorded_once_with_all_its_attributes(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b")))
    assert directory.run() == directory.run() == 0
    (copy,) = directory.records
    today = copy.pop("path").removeprefix("/srv/")
    assert time.strptime(today, "%Y-%m-%d")
    assert copy == {"transfer": "t0", "host": "b", "template": "/srv/{date}", "inode": 7, "born": 8, "holds": "x"}


def test_a_signal_while_a_copy_is_recorded_does_not_lose_the_record(
    directory: JobDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))

    def interrupt(*_: object, **__: object) -> None:
        monkeypatch.setattr(registry, "write_atomically", write_atomically)
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(registry, "write_atomically", interrupt)
    with pytest.raises(Interrupted):
        directory.run()
    assert [copy["host"] for copy in directory.records] == ["b"]


def test_a_slash_at_the_end_of_a_target_is_not_recorded(directory: JobDirectory) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1").replace("{date}", "{date}//"))
    directory.remote = Hosts(lambda _: ["kept"])
    assert directory.run() == 0
    assert not directory.records[0]["path"].endswith("/")
    assert directory.records[0]["template"] == "/srv/{date}//"


@pytest.mark.parametrize("text", ["{", "{}", '{"copies": [{"colour": "red"}]}', "[]"])
def test_an_invalid_registry_is_an_error_and_no_copy_is_removed(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    directory.remote = Hosts(lambda _: ["kept"])
    assert directory.run() == 0
    (file,) = directory.state.glob("*.json")
    file.write_text(text)
    before = len(directory.remote.removals)
    assert directory.run() == 11
    assert "the list of copies cannot be updated" in caplog.text
    assert len(directory.remote.removals) == before
    assert directory.report["status"] == 0
