"""Commands on this host."""

import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from waiting import wait_until

from transferpy.Exceptions import RemoteExecutionError
from transferpy.host import launch_line
from transferpy.RemoteExecution.interface import CommandResult
from transferpy.RemoteExecution.LocalExecution import LocalExecution

HOST = "localhost"
HOSTILE = ["a\nb", "'\"", "$(id) `id`", "%h %n %%", "-n", "", "\udcff\udc80", "a\rb\r", "  *  ", "\\n", "!!", "é"]


@pytest.fixture
def execution() -> LocalExecution:
    return LocalExecution()


def open_things() -> tuple[int, int]:
    """Return the numbers of open descriptors and of threads of this process."""
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.parametrize("status", [0, 3, 127, 255])
def test_the_return_code_is_the_exit_status_of_the_script(execution: LocalExecution, status: int) -> None:
    assert execution.run(HOST, f"exit {status}").returncode == status


def test_the_return_code_after_a_signal_is_128_plus_its_number(execution: LocalExecution) -> None:
    assert execution.run(HOST, "kill -KILL $$").returncode == 128 + 9


def test_the_output_is_standard_output_and_standard_error_in_their_order(execution: LocalExecution) -> None:
    result = execution.run(HOST, "echo one; echo two >&2; printf three")
    assert result == CommandResult(host=HOST, returncode=0, output="one\ntwo\nthree")


def test_a_program_gets_its_arguments_unchanged(execution: LocalExecution) -> None:
    result = execution.run(HOST, ["printf", "<%s>\\n", *HOSTILE])
    assert result.output == "\n".join(f"<{word}>" for word in HOSTILE)


def test_bash_gets_a_long_script_with_special_characters_unchanged(execution: LocalExecution) -> None:
    words = HOSTILE * 400
    script = f"printf '<%s>' {shlex.join(words)}\n"
    assert len(script) > 20_000
    assert execution.run(HOST, script).output == "".join(f"<{word}>" for word in words)


def test_a_missing_program_gives_status_127_and_a_message(execution: LocalExecution) -> None:
    result = execution.run(HOST, ["no-such-program"])
    assert result.returncode == 127
    assert "no-such-program" in result.output


def test_a_script_does_not_read_the_standard_input_of_the_caller(execution: LocalExecution) -> None:
    assert execution.run(HOST, "cat; echo end").output == "end"


def test_localhost_is_the_only_host(execution: LocalExecution) -> None:
    assert execution.resolve(HOST) == HOST
    with pytest.raises(RemoteExecutionError, match=r"^db1: "):
        execution.resolve("db1")


@pytest.mark.parametrize(("present", "missing"), [((), "bash"), (("bash", "base64"), "gzip")])
def test_the_error_names_a_program_that_is_missing(
    execution: LocalExecution,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    present: tuple[str, ...],
    missing: str,
) -> None:
    for name in ("env", *present):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    launch = re.sub("^PATH=[^;]*", f"PATH={tmp_path}", launch_line())
    monkeypatch.setattr("transferpy.RemoteExecution.running_job.launch_line", lambda: launch)
    with pytest.raises(RemoteExecutionError, match=rf"^localhost: the command could not be started: .*{missing}"):
        execution.run(HOST, "true")


def test_a_command_inherits_no_variable_of_an_ssh_login(
    execution: LocalExecution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "198.18.7.7 5000 198.18.0.11 22")
    assert execution.run(HOST, 'echo "<${SSH_CONNECTION-}>"').output == "<>"


def test_no_descriptor_and_no_thread_remains_after_many_runs(execution: LocalExecution) -> None:
    execution.run(HOST, "true")
    before = open_things()
    for _ in range(50):
        execution.run(HOST, "true")
    # Descriptors of earlier tests may have been closed meanwhile.
    wait_until(lambda: all(now <= then for now, then in zip(open_things(), before, strict=True)))


def test_a_running_command_does_not_delay_the_exit_of_the_program() -> None:
    program = """
from transferpy.RemoteExecution.LocalExecution import LocalExecution
job = LocalExecution().start_job("localhost", "while sleep 0.1; do echo still here; done")
job.started.wait()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("", "")
