"""Pruning on a host: only directories that the job has made are removed."""

from pathlib import Path

import pytest
from bash import NASTIEST_NAMES, output_of

from transferpy.host import assemble
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command


def prune(keep: int, *copies: tuple[Path, int], born: int = 0, holds: str = "") -> list[str]:
    words = (word for path, inode in copies for word in (str(path), str(inode), str(born), holds))
    call = render_command(Command(("prune", str(keep), *words)))
    lines = output_of(assemble("tools/prune", variables={"run_id": "r"}, call=call)).decode().splitlines()
    return [line.removeprefix("@transferpy r pruned result=") for line in lines]


def made(path: Path) -> tuple[Path, int]:
    (path / "sub").mkdir(parents=True)
    (path / "sub/file").touch()
    return path, path.stat().st_ino


def test_all_but_the_newest_copies_are_removed(tmp_path: Path) -> None:
    copies = [made(tmp_path / name) for name in "4321"]
    assert prune(2, *copies) == ["kept", "kept", "removed", "removed"]
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
