"""Helpers of the integration tests: they run the real command on the orchestration host of a lab."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from lab import CHECKOUT
from lab.host import in_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lab import Lab

SYSTEM_PYTHON = "/usr/bin/python3"
"""The Python interpreter with the cumin of Debian, 4.2.0."""
VENV_PYTHON = f"{CHECKOUT}/.venv/bin/python"
"""The Python interpreter with the cumin of PyPI, 6.0.0."""

BOTH_CUMINS = pytest.mark.parametrize(
    "python", [pytest.param(SYSTEM_PYTHON, id="cumin-4.2.0"), pytest.param(VENV_PYTHON, id="cumin-6.0.0")]
)
"""Parametrizes a test with both interpreters, which the test passes to `transfer`."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The exit status and the output of a run; bytes that are not UTF-8 are surrogate escapes."""

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
    """Start the command on the orchestration host, with pipes for its output; the pid is that of the command.

    `env` is added to the environment of a plain login. All other arguments are those of subprocess.Popen.
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
    """Wait for the end of a command from `start_transfer`; kill it after `timeout` seconds and raise TimeoutExpired.

    Fail if the output contains a traceback.
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
    """Run the command on the orchestration host; with `check`, fail unless it succeeds.

    Fail if the console shows a traceback or the output of cumin.
    """
    result = collect(start_transfer(lab, *argv, python=python, env=env), timeout=timeout)
    assert result.stdout == "" or argv[:1] in {("--help",), ("--version",)}, result.stdout
    assert not check or result.status == 0, result.stderr
    return result


def transfers(lab: Lab, *runs: Sequence[str | bytes], python: str = SYSTEM_PYTHON) -> list[Result]:
    """Run the command several times, six at a time, and return the results."""
    results: list[Result] = []
    for some in (runs[start : start + 6] for start in range(0, len(runs), 6)):
        started = [start_transfer(lab, *words, python=python) for words in some]
        results += [collect(process) for process in started]
    return results


def eventually(condition: Callable[[], object], *, seconds: float = 30) -> bool:
    """Return whether the condition becomes true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def switch_drops(lab: Lab, match: str) -> Iterator[None]:
    """A firewall between the hosts that drops packets."""
    made = "add table bridge further; add chain bridge further forward { type filter hook forward priority 1; }; "
    in_network(lab.state.switch, "nft", f"{made}add rule bridge further forward {match} counter drop")
    try:
        yield
        assert " packets 0 " not in in_network(lab.state.switch, "nft", "list", "table", "bridge", "further")
    finally:
        in_network(lab.state.switch, "nft", "delete", "table", "bridge", "further")
