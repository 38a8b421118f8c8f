"""The program that runs tar of a lane so that no symbolic link leads it out of the source, on the real kernel."""

import os
import subprocess
from pathlib import Path

import pytest

from transferpy.host import perl_program

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
PROGRAM = ("perl", "-e", perl_program("perl/follow_no_links"), "--")
LOOP = b"Too many levels of symbolic links"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a file and a link to the outside, beside a directory with a secret."""
    for name in ("source/tree/directory", "outside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outside/file").write_text("secret")
    (tmp_path / "source/tree/directory/file").write_text("data")
    (tmp_path / "source/tree/link").symlink_to("../../outside")
    return tmp_path / "source"


def run(directory: Path, *command: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run([*PROGRAM, *command], cwd=directory, capture_output=True, check=False, timeout=30)


def test_a_directory_that_became_a_link_leads_nowhere(source: Path) -> None:
    assert run(source, "cat", "./tree/directory/file").stdout == b"data"
    (source / "tree/directory").rename(source / "old")
    (source / "tree/directory").symlink_to("../../outside")
    tar = ("tar", "--create", "--no-recursion", "--file=-", "./tree/directory/file")
    refused = run(source, *tar)
    assert refused.returncode == 2
    assert LOOP in refused.stderr
    assert b"secret" not in refused.stdout
    assert b"secret" in subprocess.run(tar, cwd=source, capture_output=True, check=True, timeout=30).stdout


def test_links_are_read_and_the_directory_may_be_behind_one(source: Path) -> None:
    (source.parent / "alias").symlink_to(source / "tree")
    assert run(source.parent / "alias", "readlink", "link").stdout == b"../../outside\n"


def test_paths_from_the_root_directory_are_as_before(source: Path) -> None:
    assert run(source, "cat", str(source / "tree/link/file")).stdout == b"secret"


def test_the_file_systems_in_the_directory_are_there_and_have_no_links_either(source: Path) -> None:
    script = """
        mount -t tmpfs none "$1/tree/directory" && mount --make-shared "$1/tree/directory" && cd -- "$1/tree" || exit
        mkdir directory/disk && mount -t tmpfs none directory/disk && echo inside >directory/disk/file || exit
        ln -s /etc directory/disk/link
        "${@:2}" bash -c '
          cat directory/disk/file; cat directory/disk/link/passwd
          touch begun; until [ -e ended ]; do sleep 0.05; done; ls -A directory/disk
        ' 2>&1 &
        until [ -e begun ]; do sleep 0.05; done
        umount directory/disk && touch ended && wait "$!"
    """
    command = ("unshare", "--mount", "bash", "-c", script, "bash", str(source), *PROGRAM)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=30)
    # The unmount of the host has reached the copy of the mounts, too.
    assert done.stdout.decode().splitlines() == ["inside", f"cat: directory/disk/link/passwd: {LOOP.decode()}"]


def test_a_kernel_that_refuses_is_an_error_before_the_command(source: Path) -> None:
    words = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *PROGRAM, "touch", "./tree/made")
    done = subprocess.run(words, cwd=source, capture_output=True, check=False, timeout=30)
    assert done.returncode
    assert done.stderr == b"open_tree: Operation not permitted\n"
    assert not (source / "tree/made").exists()
