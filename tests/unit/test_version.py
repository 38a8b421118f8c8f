"""The package defines the version; all other files agree with it."""

import re
import subprocess
import sys
from pathlib import Path

from transferpy import __version__

ROOT = Path(__file__).parents[2]


def first(pattern: str, path: str) -> str:
    found = re.search(pattern, (ROOT / path).read_text(), re.MULTILINE)
    assert found, path
    return found[1]


def test_the_command_and_the_installed_package_print_the_version() -> None:
    command = [sys.executable, "-m", "transferpy", "--version"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.split() == ["transfer.py", __version__]
    assert first(r"^version = (.*)$", "setup.cfg") == "attr: transferpy.__version__"


def test_debian_s_changelog_begins_with_it() -> None:
    assert first(r"\Atransferpy \((.*?)\) ", "debian/changelog") == __version__


def test_the_manual_has_it_from_the_package() -> None:
    assert first(r"^version = release = (.*)$", "docs/conf.py") == "__version__"


def test_the_history_begins_with_it() -> None:
    assert first(r"^#+ (?:Version )?\[?([0-9]+\.[0-9.]+[0-9])", "CHANGELOG.md") == __version__


def test_the_oldest_libraries_that_are_admitted_are_the_ones_that_tox_tests_with() -> None:
    libraries = r"^    (cumin|PyYAML|tqdm){}([0-9.]+)$"
    admitted = re.findall(libraries.format(">="), (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    tested = re.findall(libraries.format("=="), (ROOT / "tox.ini").read_text(), re.MULTILINE)
    assert len(admitted) == 3
    assert tested == admitted


def test_the_tag_of_a_release_is_one_that_the_watch_file_of_debian_looks_for() -> None:
    made = re.search(r"git tag .*'transferpy (\S+)' (\S+)$", (ROOT / "docs/contributing.rst").read_text(), re.MULTILINE)
    assert made
    watched = re.fullmatch(first(r"^opts=mode=git \S+ (\S+)$", "debian/watch"), f"refs/tags/{made[2]}")
    assert watched
    assert watched[1] == made[1]
