"""The fixed texts of the hosts' scripts, with a directory of the test's own in place of /run/transferpy."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bash import bash_command, output_of
from raw_events import Event, parse_event

from transferpy.host import assemble
from transferpy.model.transfer_types import TRANSFER_TYPES
from transferpy.stream.renderer import render_assignment

RUN = "r1"
TIMEOUT = 60
ABILITIES = ("read", "unpack", "listen", "connect", "verify", "publish")
SESSION = (
    *(f"agent/{ability}" for ability in ABILITIES),
    *(f"types/{name}" for name in TRANSFER_TYPES),
    "lib/recovery",
)
"""The files of a session with all abilities, and those of the recovery."""


def without_comments(script: str) -> str:
    """Return a script that fits into one argument: 128 KiB in Linux. Hosts receive their scripts compressed."""
    return re.sub(r"^ *#.*\n", "", script, flags=re.MULTILINE)


def host_script(directory: Path, script: str, *files: str) -> str:
    """Return a script with ``files``, by default those of the recovery, whose runs are in ``directory/run``."""
    fixed = assemble(*(files or ("lib/recovery",)), variables={"run_id": RUN})
    fixed = without_comments(fixed)
    return f"{with_own_roots(directory, fixed)}\n{script}"


def with_own_roots(directory: Path, script: str) -> str:
    """Return a script whose runs are in ``directory/run``, and their lists in ``directory``."""
    roots = (("run_root", "/run/transferpy", directory / "run"), ("lists_root", "/var/tmp", directory))
    for name, path, own in roots:
        fixed = f"readonly {name}={path}\n"
        assert script.count(fixed) == 1
        script = script.replace(fixed, f"readonly {render_assignment(name, str(own))}\n")
    return script


def session_script(directory: Path, script: str) -> str:
    """Return a script that has the functions of a session, a run directory and the fifo, but no session begun."""
    start = (
        "cores=2 checksum=no prepare=no owner='' priority=normal\n"
        "run_directory=$run_root/run.$$ lists=$run_directory/lists\n"
        'mkdir -p -- "$lists"\n'
        'mkfifo "$run_directory/control"; exec {control}<>"$run_directory/control"\n'
    )
    return host_script(directory, start + script, *SESSION)


def on_host(directory: Path, script: str) -> bytes:
    """Return the output of a script with the functions of the recovery; it has to succeed."""
    return output_of(host_script(directory, script), cwd=directory)


def in_session(directory: Path, script: str) -> bytes:
    """Return the output of a script with the functions of a session; it has to succeed."""
    return output_of(session_script(directory, script), cwd=directory)


def events(output: bytes) -> list[Event]:
    return [event for line in output.decode().splitlines() if (event := parse_event(line, RUN))]


def the_error(output: bytes) -> Event:
    """Return the one error that a script reported."""
    (error,) = (event for event in events(output) if event.name == "error")
    return error


@contextmanager
def running(script: str, *arguments: str, job: str = "", cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script in bash with pipes for input and output; it is ready after its first line.

    At the end, its input is closed; the script has to end then, unless the test has ended it.
    """
    command = bash_command(script, *arguments)
    environment = {**os.environ, "TRANSFERPY_JOB": job}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd, env=environment)
    try:
        assert read_lines(process) == ["ready"]
        yield process
        process.communicate(timeout=TIMEOUT)
    finally:
        process.kill()
        process.wait(TIMEOUT)


def send_line(*processes: subprocess.Popen[bytes], line: bytes = b"go on\n") -> None:
    """Send a line to processes that wait for one."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()


def read_lines(*processes: subprocess.Popen[bytes]) -> list[str]:
    """Return the next line of each process."""
    return [process.stdout.readline().decode().rstrip("\n") for process in processes if process.stdout]
