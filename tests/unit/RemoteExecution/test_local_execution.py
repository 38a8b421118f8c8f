"""Jobs on this host, and by them what all jobs have in common."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.interface import CommandResult, Job, Outcome
from transferpy.RemoteExecution.jobs import LONGEST_LINE
from transferpy.RemoteExecution.LocalExecution import LocalExecution

if TYPE_CHECKING:
    from collections.abc import Callable

HOST = "localhost"
HOSTILE = ["a\nb", "'\"", "$(id) `id`", "%h %n %%", "-n", "", "\udcff\udc80", "a\rb\r", "  *  ", "\\n", "!!", "é"]


@pytest.fixture
def execution() -> LocalExecution:
    return LocalExecution()


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only its exit status that init has not yet collected."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def open_things() -> tuple[int, int]:
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.parametrize("status", [0, 3, 127, 255])
def test_exit_status_is_that_of_the_script(execution: LocalExecution, status: int) -> None:
    assert execution.run(HOST, f"exit {status}").returncode == status


def test_a_script_that_a_signal_ended_has_the_status_that_a_shell_shows(execution: LocalExecution) -> None:
    assert execution.run(HOST, "kill -KILL $$").returncode == 128 + 9


def test_output_is_standard_output_and_error_as_they_came(execution: LocalExecution) -> None:
    result = execution.run(HOST, "echo one; echo two >&2; printf three")
    assert result == CommandResult(host=HOST, returncode=0, output="one\ntwo\nthree")


def test_arguments_arrive_as_they_are(execution: LocalExecution) -> None:
    result = execution.run(HOST, ["printf", "<%s>\\n", *HOSTILE])
    assert result.output == "\n".join(f"<{word}>" for word in HOSTILE)


def test_a_long_script_with_hostile_text_arrives_as_it_is(execution: LocalExecution) -> None:
    words = HOSTILE * 400
    script = f"printf '<%s>' {shlex.join(words)}\n"
    assert len(script) > 20_000
    assert execution.run(HOST, script).output == "".join(f"<{word}>" for word in words)


def test_a_program_that_does_not_exist_is_a_status_and_a_message(execution: LocalExecution) -> None:
    result = execution.run(HOST, ["no-such-program"])
    assert result.returncode == 127
    assert "no-such-program" in result.output


def test_a_script_reads_nothing_from_our_standard_input(execution: LocalExecution) -> None:
    assert execution.run(HOST, "cat; echo end").output == "end"


def test_lines_arrive_while_the_script_runs(execution: LocalExecution, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    lines: list[str] = []
    first = threading.Event()

    def take(line: str) -> None:
        lines.append(line)
        first.set()

    job = execution.start_job(HOST, f"echo first; read -r word <{fifo}; echo second $word", on_line=take)
    assert first.wait(10)
    assert lines == ["first"]
    assert execution.monitor_job(HOST, job) is None
    fifo.write_text("go\n")
    assert execution.wait_job(HOST, job, 10).output == "first\nsecond go"
    assert lines == ["first", "second go"]


def test_only_the_end_of_the_output_is_kept_but_every_line_is_shown(execution: LocalExecution) -> None:
    lines: list[str] = []
    result = execution.run(HOST, "seq 100000", on_line=lines.append)
    assert len(lines) == 100_000
    assert len(result.output) <= 64 << 10
    assert result.output.endswith("\n99999\n100000")
    assert result.output.split("\n") == lines[-result.output.count("\n") - 1 :]


def test_output_without_newlines_arrives_in_pieces(execution: LocalExecution) -> None:
    pieces: list[str] = []
    execution.run(HOST, "head -c 5000000 /dev/zero | tr '\\0' x", on_line=pieces.append)
    assert len("".join(pieces)) == 5_000_000
    assert max(map(len, pieces)) == LONGEST_LINE


def test_wait_job_that_runs_out_of_time_leaves_the_job_running(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "sleep 1000")
    with pytest.raises(RemoteExecutionError, match=r"^localhost: the command did not end within 0\.1 seconds$"):
        execution.wait_job(HOST, job, 0.1)
    assert execution.monitor_job(HOST, job) is None
    execution.kill_job(HOST, job, grace=0)
    assert execution.monitor_job(HOST, job) is not None


def test_a_job_gets_time_to_clean_up_and_nothing_of_it_stays(execution: LocalExecution, tmp_path: Path) -> None:
    script = f"""
        trap 'echo cleaning; sleep 0.1; touch {tmp_path}/clean; kill %1; exit 9' TERM
        sleep 1000 & echo $!
        setsid sleep 1000 & echo $!
        (setsid bash -c 'sleep 1000 & echo $!') &
        (env -i sleep 1000 & echo $!; wait) &
        wait
    """
    pids: list[int] = []
    job = execution.start_job(HOST, script, on_line=lambda line: pids.append(int(line)) if line.isdigit() else None)
    wait_until(lambda: len(pids) == 4)
    result = execution.kill_job(HOST, job)
    assert result.returncode == 9
    assert result.output.endswith("cleaning")
    assert (tmp_path / "clean").exists()
    assert [pid for pid in pids if lives(pid)] == []


def test_a_job_that_ignores_term_is_killed_when_its_grace_is_over(execution: LocalExecution, tmp_path: Path) -> None:
    job = execution.start_job(HOST, f"trap '' TERM; echo ready; sleep 1000; touch {tmp_path}/went-on; sleep 1000")
    wait_until(lambda: job.result.output)
    began = time.monotonic()
    assert execution.kill_job(HOST, job, grace=0.5).returncode == 128 + 9
    assert 0.5 <= time.monotonic() - began < 3
    assert job.result.output == "ready"
    assert list(tmp_path.iterdir()) == []


def test_a_program_without_script_gets_term_itself(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, ["sleep", "1000"])
    assert execution.kill_job(HOST, job).returncode == 128 + 15


def test_a_job_may_be_killed_at_once_and_twice_and_after_its_end(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "sleep 1000")
    assert execution.kill_job(HOST, job) == execution.kill_job(HOST, job)
    ended = execution.start_job(HOST, "echo done")
    result = execution.wait_job(HOST, ended)
    assert execution.kill_job(HOST, ended) == result


def test_another_jobs_processes_stay_alive(execution: LocalExecution) -> None:
    one, other = execution.start_job(HOST, "sleep 1000"), execution.start_job(HOST, "echo ready; sleep 1000")
    wait_until(lambda: other.result.output)
    execution.kill_job(HOST, one)
    assert execution.monitor_job(HOST, other) is None
    execution.kill_job(HOST, other)


@pytest.mark.lab  # it needs no lab, but root: to be another user
@pytest.mark.parametrize("program", [["/bin/sleep", "1000"], ["/bin/su", "-c", "true"]], ids=["his own", "set-uid"])
def test_another_users_process_with_the_name_of_a_job_stays_alive(
    execution: LocalExecution, program: list[str]
) -> None:
    job = execution.start_job(HOST, "echo ready; sleep 1000")
    wait_until(lambda: "ready" in job.result.output)
    environment = {"TRANSFERPY_JOB": job.identifier}
    posing = subprocess.Popen(
        program,
        user="nobody",
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        execution.kill_job(HOST, job)
        assert posing.poll() is None
    finally:
        posing.kill()
        posing.wait()


def test_a_run_that_takes_too_long_is_ended(execution: LocalExecution, tmp_path: Path) -> None:
    with pytest.raises(RemoteExecutionError, match="did not end within"):
        execution.run(HOST, f"trap 'touch {tmp_path}/clean; exit' TERM; sleep 1000 & wait", timeout=0.3)
    assert (tmp_path / "clean").exists()


def test_a_signal_ends_a_run_in_good_order(tmp_path: Path) -> None:
    program = f"""
import os, signal, threading
from transferpy.Exceptions import Interrupted
from transferpy.RemoteExecution.LocalExecution import LocalExecution
def interrupt(signum, frame):
    raise Interrupted(signum)
signal.signal(signal.SIGTERM, interrupt)
script = "trap 'touch {tmp_path}/clean; exit' TERM; echo ready; sleep 1000 & wait"
try:
    LocalExecution().run("localhost", script, on_line=lambda _: os.kill(os.getpid(), signal.SIGTERM))
except Interrupted as interrupted:
    print(interrupted.signum.name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("SIGTERM\n", "")
    assert (tmp_path / "clean").exists()


def test_jobs_do_not_keep_the_program_from_ending() -> None:
    program = """
from transferpy.RemoteExecution.LocalExecution import LocalExecution
job = LocalExecution().start_job("localhost", "while sleep 0.1; do echo still here; done")
job.started.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_end_is_told_once_and_at_once(execution: LocalExecution) -> None:
    told: list[tuple[Outcome, CommandResult | None]] = []
    jobs: list[Job] = []
    listed = threading.Event()

    def take_end(outcome: Outcome) -> None:
        listed.wait(10)
        told.append((outcome, execution.monitor_job(HOST, jobs[0])))

    jobs.append(execution.start_job(HOST, "exit 4", on_end=take_end))
    listed.set()
    result = execution.wait_job(HOST, jobs[0])
    assert told == [(result, result)]


def test_what_a_handler_raises_fails_the_job_but_does_not_stop_it(
    execution: LocalExecution, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise ValueError("no good")

    job = execution.start_job(HOST, f"echo one; echo two; touch {tmp_path}/end", on_line=fail)
    with pytest.raises(RemoteExecutionError, match="no good") as raised:
        execution.wait_job(HOST, job)
    assert isinstance(raised.value.__cause__, ValueError)
    assert (tmp_path / "end").exists()
    assert len(caplog.records) == 1
    job = execution.start_job(HOST, "true", on_end=fail)
    with pytest.raises(RemoteExecutionError, match="no good"):
        execution.wait_job(HOST, job)


def test_run_many_gives_every_host_its_outcome(execution: LocalExecution) -> None:
    outcomes = execution.run_many({"elsewhere": "true", HOST: "echo here"})
    assert list(outcomes) == ["elsewhere", HOST]
    assert isinstance(outcomes["elsewhere"], RemoteExecutionError)
    assert outcomes[HOST] == CommandResult(host=HOST, returncode=0, output="here")


def test_run_many_ends_what_takes_too_long(execution: LocalExecution) -> None:
    assert "did not end within" in str(execution.run_many({HOST: "sleep 1000"}, timeout=0.2)[HOST])


def test_only_localhost_is_known(execution: LocalExecution) -> None:
    assert execution.resolve(HOST) == HOST
    with pytest.raises(RemoteExecutionError, match=r"^db1: "):
        execution.resolve("db1")


def test_a_job_of_another_host_is_refused(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "true")
    with pytest.raises(ValueError, match="no job of db1"):
        execution.monitor_job("db1", job)
    execution.wait_job(HOST, job)


def test_a_host_without_bash_is_an_error_that_says_so(
    execution: LocalExecution, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteExecutionError, match=r"^localhost: the command could not be run: .*bash"):
        execution.run(HOST, "true")


def test_a_host_without_gzip_is_an_error_that_says_so(
    execution: LocalExecution, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bash").symlink_to("/bin/bash")
    (tmp_path / "base64").symlink_to("/usr/bin/base64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteExecutionError, match=r"^localhost: the command could not be started: .*gzip"):
        execution.run(HOST, "true")


def test_commands_and_output_are_logged_for_verbose_eyes_only(
    execution: LocalExecution, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "transferpy")
    execution.run(HOST, "printf 'a \\377\\n'")
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    messages = [record.getMessage() for record in caplog.records]
    assert any("printf 'a " in message for message in messages)
    assert "localhost: a \\udcff" in messages


def test_nothing_is_left_open_after_many_runs(execution: LocalExecution) -> None:
    execution.run(HOST, "true")
    before = open_things()
    for _ in range(50):
        execution.run(HOST, "true")
    # What tests before this one left may have been closed meanwhile.
    wait_until(lambda: all(now <= then for now, then in zip(open_things(), before, strict=True)))


def test_a_job_that_takes_input_reads_what_is_written_before_and_after_it_starts(execution: LocalExecution) -> None:
    lines: list[str] = []
    job = execution.start_job(
        HOST, "while read -r line; do echo got $line; done; echo over", on_line=lines.append, takes_input=True
    )
    execution.write_job(HOST, job, "first\n")
    wait_until(lambda: lines == ["got first"])
    execution.write_job(HOST, job, "second\n")
    wait_until(lambda: lines == ["got first", "got second"])
    assert execution.monitor_job(HOST, job) is None
    execution.kill_job(HOST, job)
    with pytest.raises(RemoteExecutionError, match="localhost: the command takes no input"):
        execution.write_job(HOST, job, "third\n")


def test_a_job_without_input_is_at_its_end_from_the_start(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "cat; echo over")
    assert execution.wait_job(HOST, job, 10).output == "over"
    with pytest.raises(RemoteExecutionError, match="takes no input"):
        execution.write_job(HOST, job, "x\n")


def test_a_job_that_does_not_read_its_input_is_an_error_and_no_hanging(execution: LocalExecution) -> None:
    job = execution.start_job(HOST, "exec sleep 60", takes_input=True)

    def fill() -> None:
        for _ in range(100):
            execution.write_job(HOST, job, "x" * 4000)

    with pytest.raises(RemoteExecutionError, match="takes no input"):
        fill()
    execution.kill_job(HOST, job)


def test_input_ends_when_the_process_that_started_the_job_is_killed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = f"echo started; exec >{output}; cat; echo ended"
    program = (
        "import time; from transferpy.RemoteExecution.LocalExecution import LocalExecution;"
        f"LocalExecution().start_job('localhost', {script!r}, takes_input=True,"
        " on_line=lambda line: print(line, flush=True)); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"started\n"
        process.kill()
    wait_until(lambda: output.exists() and output.read_text(encoding="utf-8") == "ended\n")
