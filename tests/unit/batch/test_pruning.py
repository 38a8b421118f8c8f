"""Old copies: a job removes what it made, by name and inode, and nothing else."""

from pathlib import Path

import pytest
from bash import NASTIEST_NAMES, output_of

from transferpy.agent.assembly import assemble
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command


def prune(keep: int, *copies: tuple[Path, int], born: int = 0, holds: str = "") -> list[str]:
    words = (word for path, inode in copies for word in (str(path), str(inode), str(born), holds))
    call = render_command(Command(("prune", str(keep), *words)))
    lines = output_of(assemble("tools/prune", variables={"run_id": "r"}, call=call)).decode().splitlines()
    return [line.removeprefix("@transferpy r pruned what=") for line in lines]


def made(path: Path) -> tuple[Path, int]:
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").touch()
    return path, path.stat().st_ino


def test_all_but_the_newest_go(tmp_path: Path) -> None:
    copies = [made(tmp_path / name) for name in "4321"]
    assert prune(2, *copies) == ["kept", "kept", "removed", "removed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]


def test_only_those_that_are_there_count(tmp_path: Path) -> None:
    assert prune(1, (tmp_path / "3", 1), made(tmp_path / "2"), made(tmp_path / "1")) == ["gone", "kept", "removed"]


def test_what_somebody_put_in_its_place_stays(tmp_path: Path) -> None:
    other, inode = made(tmp_path / "other")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("other")
    places = ((other, inode + 1), (tmp_path / "file", 1), (tmp_path / "link", inode))
    assert prune(0, *places) == ["other", "gone", "gone"]
    assert (other / "sub/file").exists()
    assert (tmp_path / "file").exists()


def test_what_got_the_number_of_one_that_is_gone_stays(tmp_path: Path) -> None:
    path, inode = made(tmp_path / "1")
    born = int(output_of(f"stat -c %W {path}"))
    if not born:
        pytest.skip("this file system does not know when a directory was made")
    assert prune(0, (path, inode), born=born - 1) == ["other"]
    assert (path / "sub/file").exists()
    assert prune(0, (path, inode), born=born) == ["removed"]


@pytest.mark.parametrize("name", [*NASTIEST_NAMES, "*"])
def test_what_somebody_put_beside_the_copy_keeps_both(tmp_path: Path, name: str) -> None:
    path, inode = made(tmp_path / "1")
    (path / "sub").rename(path / name)
    (path / ".hidden").touch()
    assert prune(0, (path, inode), holds=name) == ["shared"]
    (path / ".hidden").unlink()
    assert (path / name / "file").exists()
    assert prune(0, (path, inode), holds=name) == ["removed"]


def test_what_a_run_was_killed_over_is_finished(tmp_path: Path) -> None:
    path, inode = made(tmp_path / "1")
    path.rename(tmp_path / ".transferpy-removing-1")
    assert prune(3, (path, inode)) == ["removed"]
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_in_the_way_of_that_stays(tmp_path: Path) -> None:
    copy = made(tmp_path / "1")
    made(tmp_path / ".transferpy-removing-1")
    assert prune(0, copy) == ["failed"]
    assert copy[0].exists()


@pytest.mark.parametrize("name", NASTIEST_NAMES)
def test_any_name_is_a_name(tmp_path: Path, name: str) -> None:
    assert prune(0, made(tmp_path / name)) == ["removed"]
    assert list(tmp_path.iterdir()) == []
