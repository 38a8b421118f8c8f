"""The limit of the rate of a stream."""

import random
import subprocess
import time
from pathlib import Path

import pytest
from host_text import TIMEOUT

from transferpy.host import perl_program

RATE = 1_000_000
DATA = random.Random(1).randbytes(400_000)


def program(account: Path, rate: int) -> tuple[str, ...]:
    return ("perl", "-e", perl_program("perl/limit"), "--", str(rate), str(account))


def limited(account: Path, rate: int, data: bytes) -> bytes:
    """Return what passes a limiter."""
    return subprocess.run(program(account, rate), input=data, capture_output=True, timeout=TIMEOUT, check=True).stdout


@pytest.mark.parametrize("lanes", [1, 3])
def test_all_lanes_together_are_not_faster_than_the_limit(tmp_path: Path, lanes: int) -> None:
    (tmp_path / "data").write_bytes(DATA)
    outputs = [tmp_path / f"output.{lane}" for lane in range(lanes)]
    began = time.monotonic()
    running = []
    for output in outputs:
        with (tmp_path / "data").open("rb") as stdin, output.open("wb") as stdout:
            running.append(subprocess.Popen(program(tmp_path / "limit", RATE), stdin=stdin, stdout=stdout))
    assert [each.wait(TIMEOUT) for each in running] == [0] * lanes
    assert time.monotonic() - began >= lanes * len(DATA) / RATE - 0.2
    assert [output.read_bytes() for output in outputs] == [DATA] * lanes


def test_a_lane_that_is_alone_has_the_whole_limit(tmp_path: Path) -> None:
    """Each byte costs its time once, also after another lane was at work."""
    for _ in range(2):
        before = time.monotonic()
        limited(tmp_path / "limit", RATE, DATA)
        paid = float((tmp_path / "limit").read_text()) - before
        assert paid <= time.monotonic() - before + 0.2


@pytest.mark.parametrize("rate", [1, 7, 1 << 40])
def test_any_rate_passes_all_bytes(tmp_path: Path, rate: int) -> None:
    sent = DATA[: 2 * rate]
    assert limited(tmp_path / "limit", rate, sent) == sent
