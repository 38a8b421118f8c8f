"""The start of a command: its packed script, and a login that the host drops because too many arrive together."""

import os
import shlex
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


HOSTILE_ENVIRONMENT = {
    "BASH_ENV": "/dev/stdin",
    "ENV": "/dev/stdin",
    "SHELLOPTS": "errexit:verbose:xtrace",
    "BASHOPTS": "expand_aliases:failglob",
    "BASH_FUNC_gzip%%": "() { echo function; }",
    "BASH_XTRACEFD": "1",
    "no-name": "1",
    "IFS": "e",
    "PATH": "/nowhere",
    "HOME": "/nowhere",
    "GZIP": "--no-such-option",
    "PERL_UNICODE": "SDA",
    "PERL5OPT": "-Mnothing",
    "LC_ALL": "de_DE.UTF-8",
    "TMOUT": "1",
    "SSH_CLIENT": "198.18.0.11 5000 22",
    "SSH_CONNECTION": "198.18.0.11 5000 198.18.0.12 22",
}
LOOK = """
shopt -q expand_aliases || shopt -q failglob || [[ $- != *[ev]* ]] || echo options
env -u PWD -u SHLVL -u _ | sort
pwd
umask
ulimit -f -c -t
# The C library ignores its own signals, 32 and 33, in some of the processes that it starts.
printf 'ignored: %x\n' "$((0x$(grep SigIgn /proc/self/status | cut -f 2) & ~(3 << 31)))"
"""
ENVIRONMENT = """\
HOME=/root
OPENSSL_CONF=/dev/null
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SSH_CONNECTION=198.18.0.11 5000 198.18.0.12 22
TRANSFERPY_JOB=job
/root
0077
file size                   (blocks, -f) unlimited
core file size              (blocks, -c) 0
cpu time                   (seconds, -t) unlimited
ignored: 0
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the home directory of root")
@pytest.mark.parametrize("shell", ["sh", "bash", "zsh"])
@pytest.mark.parametrize(
    "script", [LOOK, f"eval {shlex.quote(pack_script(LOOK, 'job', is_launched=True))}"], ids=["first", "next"]
)
def test_a_script_has_the_environment_of_the_project_whatever_the_login_has(script: str, shell: str) -> None:
    login = f"trap '' TERM HUP PIPE; ulimit -S -f 5; ulimit -S -t 60; umask 0; cd /tmp; exec /bin/{shell} -c \"$0\""
    result = subprocess.run(
        ["/bin/bash", "-pc", login, pack_script(script, "job")],
        env=HOSTILE_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == ENVIRONMENT


@pytest.mark.parametrize(
    "echo",
    [
        "bash: {line}: command not found",  # by a wrapper of the login shell
        "{line}",  # by a terminal, or set -v
        "+ exec bash {quoted}",  # by set -x
        "debug1: Sending command: {start}",  # by ssh
        "{rest}",
    ],
)
@pytest.mark.parametrize("is_started", [False, True])
def test_no_output_has_a_packed_script(echo: str, *, is_started: bool) -> None:
    job = running_job()
    if is_started:
        job.take_line(output_of(job.output.marker_command).splitlines()[-1])
        echo = "failed: {line}"
    line = job.command
    text = echo.format(line=line, quoted=shlex.quote(line), start=line[:-50], rest=line[-200:])
    job.take_line(text.encode())
    job.finish(127)
    packed = line.partition("<<<")[2].partition(" ")[0]
    assert not any(packed[start : start + 40] in str(job.outcome) for start in range(len(packed) - 40))


def test_a_host_that_forces_another_command_is_an_error_that_names_the_possible_places() -> None:
    job = running_job(b"This account is not available.")
    job.finish(0)
    assert str(job.outcome).startswith(
        "db1: the command could not be started; the host ran another command: ForceCommand"
    )
    assert str(job.outcome).endswith(": This account is not available.")


@pytest.mark.parametrize("argument", ["two words", "$x", "%h", "", "a;b", "é"])
def test_an_argument_that_a_shell_or_clustershell_interprets_is_rejected(argument: str) -> None:
    with pytest.raises(ValueError, match="not a plain word"):
        pack_script("true", argument)
