"""The budgets of a conversation: no host makes this process use much memory, or wait without end."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hostile_hosts import RUN
from scripted import ScriptedRemote, packed

from transferpy.agent import list_transfer
from transferpy.agent.budget import LineBudget
from transferpy.agent.list_transfer import fetch_records
from transferpy.agent.session import Session
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.job_streams import LONGEST_LINE

PROGRAM = str(Path(__file__).parent.parent / "hostile_hosts.py")
EVENT = f"@transferpy {RUN}"
MOST_MEMORY = 100
"""MiB of a process without cumin, whose modules need 35 MiB more."""


def result_of(kind: str, script: str, hosts: int = 1) -> tuple[str, int]:
    """Return the error of a conversation with hosts that run a script, and the peak of the memory in MiB."""
    command = [sys.executable, PROGRAM, kind, script, str(hosts)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.stderr == ""
    *error, peak = result.stdout.splitlines()
    return "\n".join(error), int(peak)


class TestLines:
    def test_a_host_may_send_much_at_once_and_little_all_the_time(self) -> None:
        now = 0.0
        budget = LineBudget("db1", capacity=10_000, rate=1000, clock=lambda: now)
        assert budget.accept("x" * 9000)
        for _ in range(1000):
            now += 1
            assert budget.accept("x" * 700)
        now += 3600
        assert budget.accept("x" * 9000)
        assert not budget.accept("x" * 9000)
        assert str(budget.error) == "db1: the host sent more output than 10000 bytes at once, or 1000 bytes per second"

    def test_after_the_first_line_beyond_the_budget_no_line_is_accepted(self) -> None:
        now = 0.0
        budget = LineBudget("db1", capacity=1000, rate=1000, clock=lambda: now)
        assert not budget.accept("x" * 900)
        now += 3600
        assert not budget.accept("")

    def test_a_line_of_the_full_length_is_a_part_of_a_longer_one(self) -> None:
        budget = LineBudget("db1")
        assert budget.accept("x" * (LONGEST_LINE - 1))
        assert not budget.accept("x" * LONGEST_LINE)
        assert str(budget.error) == f"db1: the host sent a line of more than {LONGEST_LINE} bytes"

    def test_the_heartbeats_of_a_suspended_run_can_arrive_together(self) -> None:
        budget = LineBudget("db1", clock=lambda: 0.0)
        heartbeat = f"{EVENT} progress bytes=123456789012 total=123456789012"
        assert all(budget.accept(heartbeat) for _ in range(10_000))
        assert not all(budget.accept(heartbeat) for _ in range(100_000))

    def test_empty_lines_cost_memory_too(self) -> None:
        budget = LineBudget("db1", capacity=1000, rate=0)
        assert [budget.accept("") for _ in range(6)] == [True] * 5 + [False]


FLOODS = {
    "events": (f"while :; do echo '{EVENT} progress bytes=1'; done", "at once"),
    "other lines": ("exec yes", "at once"),
    "a line without end": ("exec cat /dev/zero", "a line of more than"),
    "long events": (
        f"x=$(head -c 150000 /dev/zero | base64 -w0); while :; do echo '{EVENT} hello directory='$x; done",
        "at once",
    ),
    "many fields": (f"while :; do echo '{EVENT} progress '$(printf 'x%s= ' {{1..20000}}); done", "at once"),
}


@pytest.mark.parametrize("kind", ["session", "preflight"])
@pytest.mark.parametrize(("script", "limit"), FLOODS.values(), ids=FLOODS)
def test_a_host_that_prints_without_end_is_refused(kind: str, script: str, limit: str) -> None:
    error, peak = result_of(kind, script)
    assert error.startswith("db1: " if kind == "session" else "db0: ")
    assert limit in error or "more than 31 fields" in error
    assert peak < MOST_MEMORY


def test_many_hosts_that_print_without_end_need_no_more_memory() -> None:
    error, peak = result_of("preflight", FLOODS["long events"][0], hosts=12)
    assert error.count("at once") == 12
    assert peak < MOST_MEMORY


def test_a_small_list_that_unpacks_to_one_large_record_is_refused() -> None:
    error, peak = result_of("list", "head -c 200M /dev/zero | tr '\\0' a | gzip -c | base64")
    assert error == "db1: /manifest has a record of more than 262144 bytes"
    assert peak < MOST_MEMORY


def test_a_list_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_transfer, "_MOST_BYTES", 1000)
    remote = ScriptedRemote(runs={("db1", " manifest\n"): ["QUJD" * 19] * 100})
    with pytest.raises(RemoteExecutionError, match=r"^db1: /manifest is larger than 1000 bytes$"):
        list(fetch_records(remote, Session("db1"), "manifest"))


def test_a_list_that_takes_too_long_to_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    remote = ScriptedRemote(runs={("db1", " manifest\n"): [packed("a", "b")]})
    moments = iter((0.0, 1000.0))
    monkeypatch.setattr(list_transfer, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    with pytest.raises(RemoteExecutionError, match=r"^db1: /manifest is too long to be read within 300 seconds$"):
        list(fetch_records(remote, Session("db1"), "manifest"))


def test_a_list_that_is_not_base64_is_damaged() -> None:
    remote = ScriptedRemote(runs={("db1", " manifest\n"): ["x"]})
    with pytest.raises(RemoteExecutionError, match=r"^db1: cannot read /manifest$"):
        list(fetch_records(remote, Session("db1"), "manifest"))


def test_millions_of_empty_records_need_little_memory() -> None:
    error, peak = result_of("list", "head -c 20M /dev/zero | gzip -c | base64")
    assert error == ""
    assert peak < MOST_MEMORY
