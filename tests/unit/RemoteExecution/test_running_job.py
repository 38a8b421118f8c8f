"""The start of a command: its packed script, and a login that the host drops because too many arrive together."""

import subprocess
import threading

import pytest
from bash import output_of

from transferpy.RemoteExecution.running_job import RunningJob, pack_script

DROPPED = (b"kex_exchange_identification: read: Connection reset by peer", b"Connection reset by 198.18.0.12 port 22")


def running_job(*lines: bytes, takes_input: bool = False) -> RunningJob:
    job = RunningJob("db1", "db1", "true", on_line=None, on_end=None, takes_input=takes_input)
    for line in lines:
        job.take_line(line)
    return job


@pytest.mark.parametrize("line", DROPPED)
@pytest.mark.parametrize("takes_input", [False, True])
def test_a_dropped_login_is_tried_again_and_its_messages_are_forgotten(line: bytes, *, takes_input: bool) -> None:
    job = running_job(line, takes_input=takes_input)
    assert job.prepare_retry(0)
    assert job.result.output == ""


@pytest.mark.parametrize("lines", [(), (b"db1: Permission denied (publickey).",)])
def test_another_failure_of_the_login_is_final(lines: tuple[bytes, ...]) -> None:
    assert not running_job(*lines).prepare_retry(0)


def test_a_command_that_has_started_is_not_started_again() -> None:
    job = running_job()
    marker = output_of(job.output.marker_command).splitlines()[-1]
    for line in (marker, *DROPPED):
        job.take_line(line)
    assert job.pid is not None
    assert not job.prepare_retry(0)


def test_kill_ends_the_pause_before_a_retry() -> None:
    job = running_job(*DROPPED)
    threading.Timer(0.1, job.process.kill).start()
    assert not job.prepare_retry(60)


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
def test_every_login_shell_runs_the_script_in_bash_with_its_arguments(shell: str) -> None:
    line = pack_script("printf '<%s>' \"${BASH_VERSION:+bash}\" \"$0\" \"$@\" '%h' $'\\'\\xff'", "one", "two")
    result = subprocess.run([shell, "-c", line], capture_output=True, check=True)
    assert result.stdout == b"<bash><transferpy><one><two><%h><'\xff>"


@pytest.mark.parametrize("argument", ["two words", "$x", "%h", "", "a;b", "é"])
def test_an_argument_that_a_shell_or_clustershell_interprets_is_rejected(argument: str) -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        pack_script("true", argument)
