"""The environment variables that start a measurement of the coverage, outside and inside of a lab."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("COVERAGE_PROCESS_START", "COVERAGE_FILE", "BASH_ENV")

# The Python of Debian and that of the virtual environment import this module when they start; only the latter has
# coverage.py in its path. A process that cannot write into the directory is not measured.
_SITECUSTOMIZE = """\
import os
import sys

if os.access({directory!r}, os.W_OK):
    sys.path.append({site_packages!r})
    os.environ.update({variables!r})
    import coverage

    coverage.process_startup()
    sys.path.remove({site_packages!r})
    for name in {variables!r}:
        del os.environ[name]
"""


def variables(checkout: Path, directory: Path) -> dict[str, str]:
    """Return the variables with which Python processes and scripts record the lines that ran in a directory."""
    values = (checkout / "pyproject.toml", directory / "python", checkout / "tests/measurement/trace.sh")
    return dict(zip(_NAMES, map(str, values), strict=True))


def measured() -> dict[str, str]:
    """Return the variables if they are set in this process, or else an empty mapping."""
    found = {name: os.environ[name] for name in _NAMES if name in os.environ}
    return found if len(found) == len(_NAMES) else {}


def sitecustomize(measured: Mapping[str, str]) -> str:
    """Return the text of a sitecustomize.py that measures each Python process on a host of the lab."""
    import coverage

    python = {name: value for name, value in measured.items() if name != "BASH_ENV"}
    return _SITECUSTOMIZE.format(
        directory=str(Path(python["COVERAGE_FILE"]).parent),
        site_packages=str(Path(coverage.__file__).parents[1]),
        variables=python,
    )
