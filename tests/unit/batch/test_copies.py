"""The registry of copies, and pruning on a host: only directories that the job has made are removed."""

import signal
import time
from pathlib import Path

import pytest
from bash import NASTIEST_NAMES, output_of
from job_directory import Hosts, JobDirectory, transfers

from transferpy.batch import copies
from transferpy.Exceptions import Interrupted
from transferpy.host import assemble
from transferpy.output.atomic_file import write_atomically
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command


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
        monkeypatch.setattr(copies, "write_atomically", write_atomically)
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(copies, "write_atomically", interrupt)
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


def prune(keep: int, *made_copies: tuple[Path, int], born: int = 0, holds: str = "") -> list[str]:
    words = (word for path, inode in made_copies for word in (str(path), str(inode), str(born), holds))
    call = render_command(Command(("prune", str(keep), *words)))
    lines = output_of(assemble("tools/prune", variables={"run_id": "r"}, call=call)).decode().splitlines()
    return [line.removeprefix("@transferpy r pruned result=") for line in lines]


def made(path: Path) -> tuple[Path, int]:
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").touch()
    return path, path.stat().st_ino


def test_all_but_the_newest_copies_are_removed(tmp_path: Path) -> None:
    found = [made(tmp_path / name) for name in "4321"]
    assert prune(2, *found) == ["kept", "kept", "removed", "removed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


def test_only_existing_copies_count(tmp_path: Path) -> None:
    assert prune(1, (tmp_path / "3", 1), made(tmp_path / "2"), made(tmp_path / "1")) == ["gone", "kept", "removed"]


def test_a_different_directory_with_the_name_of_a_copy_is_not_removed(tmp_path: Path) -> None:
    other, inode = made(tmp_path / "other")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("other")
    places = ((other, inode + 1), (tmp_path / "file", 1), (tmp_path / "link", inode))
    assert prune(0, *places) == ["other", "gone", "gone"]
    assert (other / "sub/file").exists()
    assert (tmp_path / "file").exists()


def test_a_directory_with_the_reused_inode_number_of_a_copy_is_not_removed(tmp_path: Path) -> None:
    path, inode = made(tmp_path / "1")
    born = int(output_of(f"stat -c %W {path}"))
    if not born:
        pytest.skip("this file system does not record the birth of a directory")
    assert prune(0, (path, inode), born=born - 1) == ["other"]
    assert (path / "sub/file").exists()
    assert prune(0, (path, inode), born=born) == ["removed"]


@pytest.mark.parametrize("name", [*NASTIEST_NAMES, "*"])
def test_a_copy_beside_another_file_is_not_removed(tmp_path: Path, name: str) -> None:
    path, inode = made(tmp_path / "1")
    (path / "sub").rename(path / name)
    (path / ".hidden").touch()
    assert prune(0, (path, inode), holds=name) == ["shared"]
    (path / ".hidden").unlink()
    assert (path / name / "file").exists()
    assert prune(0, (path, inode), holds=name) == ["removed"]


def test_the_removal_that_a_killed_run_began_is_finished(tmp_path: Path) -> None:
    path, inode = made(tmp_path / "1")
    path.rename(tmp_path / ".transferpy-removing-1")
    assert prune(3, (path, inode)) == ["removed"]
    assert list(tmp_path.iterdir()) == []


def test_a_directory_with_the_temporary_name_is_not_removed(tmp_path: Path) -> None:
    copy = made(tmp_path / "1")
    made(tmp_path / ".transferpy-removing-1")
    assert prune(0, copy) == ["failed"]
    assert copy[0].exists()


@pytest.mark.parametrize("name", NASTIEST_NAMES)
def test_a_copy_with_any_name_is_removed(tmp_path: Path, name: str) -> None:
    assert prune(0, made(tmp_path / name)) == ["removed"]
    assert list(tmp_path.iterdir()) == []
