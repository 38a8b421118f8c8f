"""Directories that a run makes: only root can enter them, and only they are removed, wherever they are by then."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from bash import HOSTILE_NAMES, output_of, run_bash
from host_text import events, in_session, on_host

from transferpy.host import perl_program
from transferpy.stream.renderer import render_assignment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RENAME = render_assignment("rename", perl_program("perl/directories"))
MAKE = """
    run_id=r1 staging_name=.transferpy-r1-0
    cd -- "$directory" && exec {target}<.
    on_undo staging remove_staging "$PWD/$staging_name"
    make_staging || exit 1
    mkdir d; touch f d/f
"""
"""Makes a staging directory with content in $directory."""


def make(directory: Path, then: str, *, name: str = "target") -> bytes:
    """Return the output of a session that makes a staging directory in ``directory``/NAME, and runs ``then``."""
    (directory / name).mkdir(exist_ok=True)
    return in_session(directory, f"{render_assignment('directory', str(directory / name))}\n{MAKE}\n{then}")


def kill(directory: Path) -> None:
    """Make the session look like one that was killed."""
    (run,) = (directory / "run").iterdir()
    run.rename(run.with_name("run.r1.999999999.1"))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


UNDO = 'undo "$run_directory"; echo "status $?"'
MOVES = {
    "not": "",
    "renamed": "mv .transferpy-r1-0 other",
    "a directory above it": "mv ../target ../other",
    "into another directory": "mkdir ../other; mv .transferpy-r1-0 ../other/deeper",
    "replaced": "mv .transferpy-r1-0 ../other; mkdir .transferpy-r1-0; touch .transferpy-r1-0/of-others",
}


def left(directory: Path) -> list[str]:
    """Return the files of the staging directory that are left, wherever they are."""
    return [str(path) for path in directory.rglob("*") if path.name in {"d", "f", "content", "taken"}]


class TestStaging:
    @pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
    def test_it_is_removed_by_its_session_wherever_it_is(self, tmp_path: Path, move: str) -> None:
        assert make(tmp_path, f"(cd ../..; {move}); {UNDO}") == b"status 0\n"
        assert left(tmp_path) == []
        assert move != MOVES["replaced"] or (tmp_path / "target/.transferpy-r1-0/of-others").exists()

    @pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
    def test_it_is_removed_by_the_recovery_wherever_it_is(self, tmp_path: Path, move: str) -> None:
        make(tmp_path, f"cd ../..; {move}")
        kill(tmp_path)
        assert [event.name for event in events(on_host(tmp_path, "recover_stale_runs"))] == ["finished-dead-run"]
        assert left(tmp_path) == []
        assert move != MOVES["replaced"] or (tmp_path / "target/.transferpy-r1-0/of-others").exists()

    @pytest.mark.parametrize("move", ["renamed", "into another directory"])
    def test_one_that_is_not_found_is_reported_and_tried_again(self, tmp_path: Path, move: str) -> None:
        make(tmp_path, f"cd ../..; {MOVES[move]}")
        kill(tmp_path)
        without_handles = "perl_directories=${perl_directories//open_by_handle_at =>/none =>}\n"
        found = events(on_host(tmp_path, f"{without_handles} recover_stale_runs"))
        if move == "renamed":
            assert [event.name for event in found] == ["finished-dead-run"]
            return
        assert [event.name for event in found] == ["undo-failed"]
        assert "it is not at" in found[0].text("text")
        assert [event.name for event in events(on_host(tmp_path, "recover_stale_runs"))] == ["finished-dead-run"]
        assert left(tmp_path) == []

    def test_one_that_another_process_has_removed_is_no_failure(self, tmp_path: Path) -> None:
        make(tmp_path, "rm -r ../../.transferpy-r1-0")
        kill(tmp_path)
        assert [event.name for event in events(on_host(tmp_path, "recover_stale_runs"))] == ["finished-dead-run"]

    def test_a_session_that_was_killed_before_it_recorded_the_identity_leaves_nothing(self, tmp_path: Path) -> None:
        make(tmp_path, 'rm -r ../* ; rm "$run_directory/staging"')
        kill(tmp_path)
        assert [event.name for event in events(on_host(tmp_path, "recover_stale_runs"))] == ["finished-dead-run"]
        assert names(tmp_path / "target") == []

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_the_target_can_have_any_name(self, tmp_path: Path, name: str) -> None:
        make(tmp_path, "", name=name)
        kill(tmp_path)
        assert [event.name for event in events(on_host(tmp_path, "recover_stale_runs"))] == ["finished-dead-run"]
        assert names(tmp_path / name) == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
    def test_a_directory_that_is_mounted_in_it_is_not_emptied(self, tmp_path: Path) -> None:
        (tmp_path / "live data").mkdir()
        (tmp_path / "live data" / "file").touch()
        script = f"mkdir 'a b'; mount --bind {tmp_path}/'live data' 'a b'; {UNDO}"
        with ExitStack() as stack:
            place = tmp_path / "target/.transferpy-r1-0/content/a b"
            stack.callback(subprocess.run, ["umount", str(place)], check=False)
            output = make(tmp_path, script)
            assert b"status 1" in output
            (failed,) = events(output)
            assert "a file system is mounted below" in failed.text("text")
        assert names(tmp_path / "live data") == ["file"]


class TestMadeDirectories:
    def make(self, directory: Path, then: str) -> bytes:
        return in_session(directory, f"run_id=r1; make_target {directory}/a/b/c; {then}")

    def test_they_are_removed_if_they_are_empty(self, tmp_path: Path) -> None:
        assert self.make(tmp_path, UNDO) == b"status 0\n"
        assert names(tmp_path) == ["run"]

    def test_one_with_content_stays_with_those_above_it(self, tmp_path: Path) -> None:
        assert self.make(tmp_path, f"touch {tmp_path}/a/b/file; {UNDO}") == b"status 0\n"
        assert names(tmp_path / "a" / "b") == ["file"]

    def test_they_are_removed_if_they_were_renamed(self, tmp_path: Path) -> None:
        assert self.make(tmp_path, f"mv {tmp_path}/a {tmp_path}/other; {UNDO}") == b"status 0\n"
        assert names(tmp_path) == ["run"]

    def test_one_of_another_process_stays(self, tmp_path: Path) -> None:
        replace = f"mv {tmp_path}/a/b/c {tmp_path}/mine; mkdir {tmp_path}/a/b/c"
        self.make(tmp_path, f"{replace}; {UNDO}")
        assert (tmp_path / "a/b/c").is_dir()
        assert not (tmp_path / "mine").exists()

    def test_one_that_another_process_made_first_stays(self, tmp_path: Path) -> None:
        script = f"""
            perl() {{ [ "${{*: -1}}" != {tmp_path}/a/b ] || mkdir {tmp_path}/a/b; command perl "$@"; }}
            run_id=r1; make_target {tmp_path}/a/b; echo "made=$made_target"; {UNDO}
        """
        assert in_session(tmp_path, script) == b"made=\nstatus 0\n"
        assert (tmp_path / "a/b").is_dir()


@pytest.mark.skipif(not shutil.which("setfacl"), reason="setfacl is missing")
class TestDefaultAcls:
    @pytest.fixture
    def open_to_all(self, tmp_path: Path) -> Path:
        """Return a directory in which each new entry is open to all users."""
        path = tmp_path / "target"
        path.mkdir()
        acl = "u::rwx,g::rwx,o::rwx,u:1:rwx,m::rwx"
        subprocess.run(["setfacl", "-d", "-m", acl, str(path)], check=True)
        return path

    def acl(self, path: Path) -> list[str]:
        result = subprocess.run(["getfacl", "-cp", str(path)], check=True, capture_output=True, text=True)
        return [line for line in result.stdout.splitlines() if line]

    def test_a_target_that_is_made_has_no_acl_and_no_other_user_can_enter_it(
        self, tmp_path: Path, open_to_all: Path
    ) -> None:
        in_session(tmp_path, f"run_id=r1; make_target {open_to_all}/a/b")
        for path in (open_to_all / "a", open_to_all / "a/b"):
            assert self.acl(path) == ["user::rwx", "group::---", "other::---"]

    def test_nothing_inherits_an_acl_in_a_staging_directory(self, tmp_path: Path, open_to_all: Path) -> None:
        make(tmp_path, "")
        for path in (".", "content", "taken", "content/d"):
            assert self.acl(open_to_all / ".transferpy-r1-0" / path) == ["user::rwx", "group::---", "other::---"]


@pytest.fixture(params=["", "mergerfs"], ids=["renameat2", "fuse"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """Return a directory, also on a file system that cannot rename without replacing."""
    path = tmp_path / "place"
    path.mkdir()
    if not request.param:
        yield path
        return
    if os.geteuid() != 0 or not shutil.which("mergerfs"):
        pytest.skip("mergerfs is missing")
    (tmp_path / "real").mkdir()
    subprocess.run(["mergerfs", str(tmp_path / "real"), str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_handle_that_the_kernel_may_change_is_not_a_part_of_an_identity(place: Path) -> None:
    (place / "x").touch()
    script = f"{RENAME}; printf '%s\\0' x {place}/x | perl -e \"$rename\" identify"
    handles = [record.split(b" ")[0].rpartition(b":")[2] for record in output_of(script, cwd=place).split(b"\0")[:-1]]
    is_fuse = (place.parent / "real").exists()
    assert len(handles) == 2
    assert all((handle == b"-") == is_fuse for handle in handles)


class TestRename:
    @pytest.mark.parametrize("kind", ["file", "directory"])
    def test_a_name_that_is_created_at_the_same_moment_is_never_replaced(self, place: Path, kind: str) -> None:
        """Two processes create the same names at once; each name belongs to the one that succeeded."""
        make = "mkdir -p old.$n/copy" if kind == "directory" else "echo copy >old.$n"
        script = f"""
            {RENAME}
            for n in {{1..40}}; do {make}; done
            (set -C; for n in {{1..40}}; do echo other >new.$n && echo $n; done 2>/dev/null) >others &
            for n in {{40..1}}; do perl -e "$rename" rename_new old.$n new.$n && echo $n; done 2>/dev/null >ours
            wait
        """
        run_bash(script, cwd=place)
        ours, others = ({*(place / name).read_text().split()} for name in ("ours", "others"))
        assert ours | others == {str(number) for number in range(1, 41)}
        assert ours & others == set()
        assert all((place / f"new.{number}").read_text() == "other\n" for number in others)
        inside = "copy" if kind == "directory" else ""
        assert all((place / f"new.{number}" / inside).exists() for number in ours)
        assert all((place / f"old.{number}").exists() for number in others)

    @pytest.mark.parametrize("other", ["echo other >new", "mkdir -p new/other", "ln -s nowhere new", "mkfifo new"])
    @pytest.mark.parametrize("kind", ["echo copy >old", "mkdir old", "ln -s x old", "mkfifo old"])
    def test_a_name_that_is_taken_stays(self, place: Path, kind: str, other: str) -> None:
        script = f"{RENAME}\n{kind}; {other}; stat -c '%i %F' *"
        before = run_bash(script, cwd=place).stdout
        script = f'{RENAME}\nperl -e "$rename" rename_new old new'
        result = run_bash(script, cwd=place)
        assert result.stderr in {b"File exists\n", b"Directory not empty\n"}
        assert run_bash("stat -c '%i %F' *", cwd=place).stdout == before

    @pytest.mark.parametrize("kind", ["echo copy >old", "mkdir -p old/copy", "ln -s x old", "mkfifo old"])
    def test_a_free_name_is_taken(self, place: Path, kind: str) -> None:
        script = f'{RENAME}\n{kind}; perl -e "$rename" rename_new old new'
        assert run_bash(script, cwd=place).returncode == 0
        assert names(place) == ["new"]
