"""What the integration tests share: the real command, run on the orchestration host of a lab."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from lab import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lab import Lab

SYSTEM_PYTHON = "/usr/bin/python3"
"""The interpreter that has Debian's cumin, 4.2.0."""
VENV_PYTHON = f"{CHECKOUT}/.venv/bin/python"
"""The interpreter that has PyPI's cumin, 6.0.0."""

BOTH_CUMINS = pytest.mark.parametrize(
    "python", [pytest.param(SYSTEM_PYTHON, id="cumin-4.2.0"), pytest.param(VENV_PYTHON, id="cumin-6.0.0")]
)
"""Marks a test that takes the argument `python` and hands it on to `transfer`."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run of the command ended and what it wrote; bytes that are no UTF-8 are surrogate escapes."""

    status: int
    stdout: str
    stderr: str


def start_transfer(
    lab: Lab,
    *argv: str | bytes,
    python: str = SYSTEM_PYTHON,
    env: Mapping[str, str] | None = None,
    cwd: str = "/root",
    **kwargs: Any,
) -> subprocess.Popen[bytes]:
    """Start the command on the orchestration host, with pipes for its output; the Popen's pid is its own.

    `env` is added to a plain login environment; the rest is as in subprocess.Popen.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process: subprocess.Popen[bytes] = lab["orch"].popen(
        [python, "-m", "transferpy", *argv],
        env={"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"} | dict(env or {}),
        cwd=cwd,
        **{**pipes, **kwargs},
    )
    return process


def collect(process: subprocess.Popen[bytes], *, timeout: float = 120) -> Result:
    """Wait for a command that `start_transfer` has started; after `timeout` seconds it is killed and that raised.

    No run ever shows a traceback, so this fails for one.
    """
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        process.wait()
        raise
    result = Result(status=process.returncode, stdout=os.fsdecode(stdout or b""), stderr=os.fsdecode(stderr or b""))
    assert "Traceback (most recent call last)" not in result.stdout + result.stderr, result.stderr
    return result


def transfer(
    lab: Lab,
    *argv: str | bytes,
    python: str = SYSTEM_PYTHON,
    env: Mapping[str, str] | None = None,
    check: bool = False,
    timeout: float = 120,
) -> Result:
    """Run the command on the orchestration host to its end; with `check` it must succeed.

    No run ever shows a traceback or cumin's own output on the console, so this fails for either.
    """
    result = collect(start_transfer(lab, *argv, python=python, env=env), timeout=timeout)
    assert result.stdout == "" or argv[:1] in {("--help",), ("--version",)}, result.stdout
    assert not check or result.status == 0, result.stderr
    return result


def transfers(lab: Lab, *runs: Sequence[str | bytes], python: str = SYSTEM_PYTHON) -> list[Result]:
    """Run the command several times, six at a time, and return how each run ended."""
    results: list[Result] = []
    for some in (runs[start : start + 6] for start in range(0, len(runs), 6)):
        started = [start_transfer(lab, *words, python=python) for words in some]
        results += [collect(process) for process in started]
    return results


def eventually(condition: Callable[[], object], *, seconds: float = 30) -> bool:
    """Whether the condition becomes true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
