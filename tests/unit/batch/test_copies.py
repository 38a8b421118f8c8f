"""The registry of copies, and pruning on a host: only directories that the job has made are removed."""

import fcntl
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from bash import NASTIEST_NAMES, output_of
from job_directory import Hosts, JobDirectory, transfers

from transferpy.agent.protocol import PruneResult
from transferpy.batch import copies
from transferpy.Exceptions import Interrupted, RemoteExecutionError
from transferpy.host import assemble
from transferpy.output.atomic_file import write_atomically
from transferpy.RemoteExecution.interface import CommandResult
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
    assert copy == {
        "transfer": "t0",
        "host": "b",
        "template": "/srv/{date}",
        "inode": 7,
        "born": 8,
        "holds": "x",
        "published": 0,
        "filesystem": "",
    }


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


def filesystem(path: Path) -> str:
    script = 'read_filesystem "$1"; printf %s "$REPLY"'
    return output_of(assemble("lib/filesystems", call=script), str(path)).decode()


def prune(
    keep: int,
    *made_copies: tuple[Path, int],
    born: int = 0,
    holds: str = "",
    published: int = 0,
    disk: str | None = None,
) -> list[str]:
    last = (holds, str(published), filesystem(Path("/tmp")) if disk is None else disk)  # an existing directory
    words = (word for path, inode in made_copies for word in (str(path), str(inode), str(born), *last))
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


@pytest.mark.parametrize("use", ["cd {}/sub", "exec 9<{}/sub/file", "cd {}"])
@pytest.mark.parametrize("name", ["1", NASTIEST_NAMES[0], "[a-z]*"])
def test_a_copy_that_a_process_uses_is_not_removed(tmp_path: Path, use: str, name: str) -> None:
    copy = made(tmp_path / name)
    script = f"{use.format(shlex.quote(str(copy[0])))}; echo ready; read -r"
    with subprocess.Popen(["bash", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert prune(0, copy) == ["in-use"]
        process.communicate()
    assert (copy[0] / "sub/file").exists()
    assert prune(0, copy) == ["removed"]


@pytest.mark.parametrize("place", ["ibdata1", "sub/ibdata1", "sub/aria_log_control"])
def test_a_copy_on_which_a_server_runs_that_no_path_shows_is_not_removed(tmp_path: Path, place: str) -> None:
    """Such as a server in a container: only its locks are seen."""
    copy = made(tmp_path / "1")
    file = copy[0] / place
    with file.open("w") as data:
        fcntl.lockf(data, fcntl.LOCK_EX)
        (tmp_path / "outside").hardlink_to(file)
        with (tmp_path / "outside").open("r+") as outside:
            fcntl.lockf(outside, fcntl.LOCK_EX)
            data.close()
            fcntl.lockf(outside, fcntl.LOCK_EX)
            assert prune(0, copy) == ["in-use"]
    assert prune(0, copy) == ["removed"]


def test_a_process_that_opens_a_copy_at_the_last_moment_gets_it_back(tmp_path: Path) -> None:
    path, inode = made(tmp_path / "1")
    path.rename(tmp_path / ".transferpy-removing-1")
    with (tmp_path / ".transferpy-removing-1/sub/file").open():
        assert prune(0, (path, inode)) == ["in-use"]
    assert (path / "sub/file").exists()


@pytest.mark.parametrize(
    "change", ["touch -d @1 {}/sub/file", "chmod 600 {}/sub/file", "mkdir {}/sub/new", "rm {}/sub/file"]
)
def test_a_copy_that_has_changed_since_it_was_published_is_not_removed(tmp_path: Path, change: str) -> None:
    copy = made(tmp_path / "1")
    published = int(copy[0].stat().st_mtime)
    output_of(change.format(shlex.quote(str(copy[0]))))
    assert prune(0, copy, published=published - 2) == ["changed"]
    assert copy[0].exists()
    assert prune(0, copy, published=published + 10) == ["removed"]


def test_a_change_among_many_files_is_found(tmp_path: Path) -> None:
    path, inode = made(tmp_path / "1")
    for number in range(20_000):
        (path / f"{number}").touch()
    published = int(path.stat().st_mtime)
    assert prune(0, (path, inode), published=published - 2) == ["changed"]


@pytest.mark.parametrize("question", ["has_changed {} 1", "is_in_use {}"])
@pytest.mark.parametrize(
    "fault", ["find() { return 1; }", "find() { exit 137; }", 'find() { [ "$1" = /proc ] && command find "$@"; }']
)
def test_a_copy_that_cannot_be_searched_stays(tmp_path: Path, question: str, fault: str) -> None:
    call = f"{fault}\n{question.format(shlex.quote(str(tmp_path)))} && echo yes"
    assert output_of(assemble("tools/prune", variables={"run_id": "r"}, call=call)) == b"yes\n"


def test_a_copy_whose_file_system_is_not_recorded_is_gone_if_it_is_not_there(tmp_path: Path) -> None:
    assert prune(0, (tmp_path / "none", 1), disk="") == ["gone"]


def test_the_times_of_the_copied_files_are_no_change(tmp_path: Path) -> None:
    copy = made(tmp_path / "1")
    os.utime(copy[0] / "sub/file", (1 << 33, 1 << 33))
    assert prune(0, copy, published=int(time.time()) + 10) == ["removed"]


def test_a_copy_on_a_disk_that_is_not_mounted_is_not_forgotten(tmp_path: Path) -> None:
    """Another disk may be mounted there, with a directory of the same name."""
    other = made(tmp_path / "1")
    disk = "another"
    assert prune(1, (tmp_path / "2", 1), (other[0], other[1] + 1), disk=disk) == ["not-mounted", "not-mounted"]
    assert prune(1, (tmp_path / "none/2", 1), (other[0], other[1] + 1)) == ["gone", "other"]
    assert other[0].exists()


def test_a_copy_that_is_not_mounted_does_not_count(tmp_path: Path) -> None:
    copies_of_it = made(tmp_path / "2"), made(tmp_path / "1")
    assert prune(1, (tmp_path / "3", 1), *copies_of_it, disk="another") == ["not-mounted", "kept", "removed"]


@pytest.mark.parametrize("result", ["", "no", "kept,kept"])
def test_a_result_that_is_unknown_is_an_error_and_no_record_is_lost(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture, result: str
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    directory.remote = Hosts(lambda _: [result])
    assert directory.run() == 11
    assert "malformed event" in caplog.text
    assert len(directory.records) == 1


@pytest.mark.parametrize("result", ["in-use", "changed", "not-mounted"])
def test_a_copy_that_stays_for_a_reason_is_reported_and_stays_registered(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture, result: str
) -> None:
    directory.write(transfers(("a", "b"), more=", keep: 1"))
    directory.remote = Hosts(lambda _: [result])
    assert directory.run() == 0
    assert copies._MESSAGES[PruneResult(result)][1] in caplog.text
    assert len(directory.records) == 1


def test_a_host_that_hangs_in_pruning_delays_neither_report_nor_metrics_and_is_waited_for_once(
    directory: JobDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.write(transfers(("a", "b"), ("c", "b"), more=", keep: 1") + f"on_success: touch {directory.path}/hook\n")
    written = []

    class Hung(Hosts):
        def run(self, host: str, *_: Any, timeout: float | None = None, **__: Any) -> CommandResult:
            written.append((directory.report["status"], (directory.path / "metrics.prom").exists()))
            raise RemoteExecutionError(f"{host}: the command did not end within {timeout:g} seconds")

    directory.remote = Hung()
    assert directory.run(metrics=str(directory.path / "metrics.prom")) == 11
    assert written == [(0, True)]
    assert caplog.text.count("old copies cannot be removed: b: the command did not end within 3600 seconds") == 2
    assert (directory.path / "hook").exists()
    directory.remote = Hosts(lambda _: ["kept"])
    assert directory.run() == 0
