"""A shell that has answered and waits: it becomes a session, or ends."""

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from bash import run_bash
from host_text import RUN
from scripted import encoded

from transferpy.agent import preflight_connection
from transferpy.agent.inbox import Inbox
from transferpy.agent.preflight import PreflightQuery, preflight_script
from transferpy.agent.preflight_connection import PreflightConnection, dismiss, run_preflight
from transferpy.RemoteExecution.interface import CommandResult, Job, Outcome
from transferpy.RemoteExecution.LocalExecution import LocalExecution
from transferpy.RemoteExecution.running_job import RunningJob

HOST = "localhost"
REMOTE = LocalExecution()
QUESTIONS = PreflightQuery(targets=((0, "/", "x"),))


def harmless(run_id: str, questions: PreflightQuery, *, dry_run: bool = False) -> str:
    """As preflight_script; it leaves dead runs and firewalls of this host alone."""
    script = preflight_script(run_id, questions, dry_run=dry_run)
    calls = script.rindex("\nstart_activity_reports\n")
    return (
        script[:calls]
        + "\nrecover_stale_runs() { :; }; iptables_facts() { :; }; nftables_facts() { :; }; firewalld_facts() { :; }"
        + script[calls:]
    )


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> PreflightConnection:
    """A real one, which has answered."""
    monkeypatch.setattr("transferpy.agent.preflight_connection.preflight_script", harmless)
    return run_preflight(REMOTE, RUN, {HOST: QUESTIONS}, timeout=60, dry_run=False).connections[HOST]


def test_it_goes_on_with_a_script_in_the_same_process_and_leaves_it_the_rest_of_the_input(
    shell: PreflightConnection,
) -> None:
    received: list[str | Outcome] = []
    assert shell.claim(received.append)
    # More than a pipe holds.
    noise = random.Random(3).randbytes(55_000).hex()
    script = "echo $$ $1 $TRANSFERPY_JOB\nfor descriptor in /proc/$$/fd/*; do\n"
    script += "! [ $descriptor -ef /dev/stdin -o $descriptor -ef /dev/stdout ] || echo ${descriptor##*/}\ndone"
    REMOTE.hand_script(HOST, shell.job, f": {noise}\n{script}\nread -r order\necho got $order\nhead -n1")
    REMOTE.write_job(HOST, shell.job, "an order\n")
    REMOTE.write_job(HOST, shell.job, "another\n")
    REMOTE.wait_job(HOST, shell.job, 10)
    first, *others, last = received
    job = shell.job.identifier
    assert isinstance(shell.job, RunningJob)
    assert first == f"{shell.job.pid} {job} {job}"
    # Its children must not inherit a descriptor that keeps the connection open.
    assert others == ["0", "1", "2", "got an order", "another"]
    assert isinstance(last, CommandResult)
    assert "@transferpy" not in last.output  # or its end would be explained by an answer to the questions


def test_it_ends_on_demand(shell: PreflightConnection) -> None:
    dismiss({HOST: shell})
    assert REMOTE.wait_job(HOST, shell.job, 1).returncode == 0
    assert not shell.claim(print)
    dismiss({HOST: shell})


@pytest.mark.parametrize("received", ["", "end\n", "12", "-1\n:", "1 2\n:", "9999999\nexit 7"])
def test_it_runs_nothing_that_is_not_whole(tmp_path: Path, received: str) -> None:
    (tmp_path / "input").write_text(received, encoding="utf-8")
    script = f"exec <{tmp_path}/input\n{harmless(RUN, QUESTIONS)}"
    assert run_bash(script).returncode == (1 if received.endswith("exit 7") else 0)
    (tmp_path / "input").write_text("6\nexit 7", encoding="utf-8")
    assert run_bash(script).returncode == 7


def test_no_tool_of_the_preflight_can_read_the_script_that_follows(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("6\nexit 7", encoding="utf-8")
    greedy = "nproc() { cat >&2; echo 2; }"
    result = run_bash(f"exec <{tmp_path}/input\n{greedy}\n{harmless(RUN, QUESTIONS)}")
    assert (result.returncode, result.stderr) == (7, b"")


def test_after_a_dry_run_it_does_not_wait(shell: PreflightConnection) -> None:
    answers = run_preflight(REMOTE, RUN, {HOST: QUESTIONS}, timeout=60, dry_run=True)
    assert REMOTE.wait_job(HOST, answers.connections[HOST].job, 5).returncode == 0
    assert answers.facts[HOST].uid == os.getuid()
    dismiss({HOST: shell})


def test_a_host_that_reports_an_end_without_answers_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def lying(run_id: str, *_questions: object, **_options: object) -> str:
        return f"echo 'why not'; echo '@transferpy {run_id} asked'; exec sleep 300"

    monkeypatch.setattr("transferpy.agent.preflight_connection.preflight_script", lying)
    monkeypatch.setattr("transferpy.agent.preflight_connection._DISMISSAL_TIME", 0.2)
    started: list[Job] = []
    start = REMOTE.start_job

    def noted(*words: Any, **options: Any) -> Job:
        started.append(start(*words, **options))
        return started[-1]

    monkeypatch.setattr(REMOTE, "start_job", noted)
    answers = run_preflight(REMOTE, RUN, {HOST: QUESTIONS}, timeout=60, dry_run=False)
    assert answers.silent == {
        HOST: "localhost: the preflight query returned a malformed event 'host': it is missing; output: why not"
    }
    assert answers.connections == {}
    assert REMOTE.monitor_job(HOST, started[0]) is not None


def query(monkeypatch: pytest.MonkeyPatch, script: str, timeout: float = 60) -> str:
    """Return the error of a host on which the query is this script."""

    def given(run_id: str, *_questions: object, **_options: object) -> str:
        return script.replace("EVENT", f"@transferpy {run_id}")

    monkeypatch.setattr("transferpy.agent.preflight_connection.preflight_script", given)
    answers = run_preflight(REMOTE, RUN, {HOST: QUESTIONS}, timeout=timeout, dry_run=False)
    assert answers.facts == {}
    return answers.silent[HOST]


def test_other_output_is_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferpy.agent.preflight_connection._ANSWER_TIME", 1.0)
    assert query(monkeypatch, "while sleep 0.1; do echo noise; done") == "localhost: no answer for 1 seconds"


def test_heartbeats_do_not_make_a_query_endless(monkeypatch: pytest.MonkeyPatch) -> None:
    assert query(monkeypatch, "while sleep 0.1; do echo EVENT progress; done", timeout=1) == (
        "localhost: the preflight query took more than 1 seconds (--copy-timeout)"
    )


def test_an_error_of_a_query_is_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"echo EVENT error kind=host text={encoded('why')}; echo EVENT asked"
    assert query(monkeypatch, script) == "localhost: why"


def test_a_line_that_a_lost_connection_cuts_is_no_malformed_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert query(monkeypatch, "echo EVENT host uid=0 cor; kill -9 $$") == (
        "localhost: the preflight query was killed, or the connection was lost; output: nothing"
    )


def test_a_host_is_not_silent_while_this_process_is_suspended(shell: PreflightConnection) -> None:
    class SuspendedInbox(Inbox[str]):
        def wait(self, seconds: float) -> float:
            super().wait(seconds)
            return 1000.0

    news = SuspendedInbox()
    news.put(HOST)
    shell.heard = time.monotonic() - preflight_connection._ANSWER_TIME - 900
    assert shell.silent
    assert list(preflight_connection._finished({HOST: shell}, news)) == [HOST]
    assert not shell.silent
    dismiss({HOST: shell})
