"""The treatment of tests that are skipped or deselected."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


SKIPS = "import pytest\ndef test_it(): pytest.skip('no moon')"
LACKS_A_SYSTEM = "import lab\ndef test_it(): raise lab.SystemMissingError('no moon')"


@pytest.mark.parametrize(
    ("test", "ci", "status", "reported"),
    [
        (SKIPS, "true", 1, "1 failed"),
        (SKIPS, "", 0, "1 skipped"),
        (LACKS_A_SYSTEM, "true", 0, "1 skipped"),
        (LACKS_A_SYSTEM, "", 0, "1 skipped"),
    ],
)
def test_a_test_that_skips_fails_in_ci_unless_a_system_could_not_be_downloaded(
    tmp_path: Path, test: str, ci: str, status: int, reported: str
) -> None:
    (tmp_path / "test_it.py").write_text(test, encoding="utf-8")
    paths = f"{TESTS}:{TESTS / 'unit'}"
    environment = {**os.environ, "CI": ci, "PYTHONPATH": paths, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "-rs", "-c", os.devnull, str(tmp_path)]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, reported in ended.stdout, "no moon" in ended.stdout) == (status, True, True), ended.stdout
