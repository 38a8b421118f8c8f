"""The distributions for PyPI: a source archive and a wheel; each is sufficient for an installation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest
from lab import CHECKOUT

from transferpy import __version__

if TYPE_CHECKING:
    from pathlib import Path

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2]))"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Run a program in a directory outside of the checkout and return its output; fail unless it succeeds."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=ENVIRONMENT | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, source: Path, directory: Path) -> Path:
    """Build an archive of a source directory with setuptools, like pip and other front ends."""
    run(sys.executable, "-c", BUILD, kind, directory, cwd=source)
    (archive,) = directory.iterdir()
    return archive


def tracked() -> set[str]:
    """Return the tracked files."""
    listed = subprocess.run(
        ["git", "-C", CHECKOUT, "ls-files", "-z"], capture_output=True, text=True, check=True
    ).stdout
    return set(listed.split("\0")) - {""}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("checkout")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((CHECKOUT / name).read_bytes())
        (source / name).chmod((CHECKOUT / name).stat().st_mode)
    return build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive without the checkout."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(sdist, unpacked)
    return build("wheel", unpacked / f"transferpy-{__version__}", tmp_path_factory.mktemp("wheel"))


def test_the_source_archive_has_every_file_of_the_project(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    made = {name for name in names if name.startswith("transferpy.egg-info/")} | {"PKG-INFO"}
    assert names - made == tracked()


def test_the_wheel_has_every_file_of_the_package_and_no_test(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.startswith("transferpy/")} == {
        name for name in tracked() if name.startswith("transferpy/")
    }
    others = {name.split("/")[0] for name in names} - {"transferpy"}
    assert others == {f"transferpy-{__version__}.dist-info", f"transferpy-{__version__}.data"}
    shared = {name.partition(".data/data/share/")[2] for name in names if ".data/" in name}
    assert {
        "bash-completion/completions/transfer.py.bash",
        "zsh/site-functions/_transfer_py",
        "doc/transferpy/examples/transferpy.conf",
        "doc/transferpy/examples/nightly.yaml",
    } <= shared


def test_the_wheel_runs_with_the_libraries_of_debian(wheel: Path, tmp_path: Path) -> None:
    run("/usr/bin/python3", "-m", "venv", "--system-site-packages", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv/bin"
    # There is no index: the installation fails unless the packages of Debian 12 satisfy all dependencies.
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-index", wheel, cwd=tmp_path)
    assert run(programs / "transfer.py", "--version", cwd=tmp_path).split() == ["transfer.py", __version__]
    assert run(programs / "python", "-m", "transferpy", "--help", cwd=tmp_path).startswith("usage: transfer.py ")
    where = run(programs / "python", "-c", "import transferpy; print(transferpy.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path / "venv"))
