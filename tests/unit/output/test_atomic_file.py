"""Files that are replaced in one step."""

import os
from pathlib import Path

import pytest

from transferpy.output.atomic_file import write_atomically


def test_a_file_is_replaced_and_no_temporary_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old and longer than the new content")
    write_atomically(file, "new")
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_replaced_file_keeps_its_mode_and_owner(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_text("old")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1, 2)
    before = file.stat()
    write_atomically(file, "new")
    after = file.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_link_of_the_same_user_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.lab
def test_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("file")
    os.chown(tmp_path / "link", 1, 1, follow_symlinks=False)
    with pytest.raises(PermissionError, match="this symbolic link belongs to another user"):
        write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "report.json", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
