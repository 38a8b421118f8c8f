"""Commands on the hosts of the lab, with the cumin of Debian 12 and with the newest cumin.

Each test runs its function ``program`` on the orchestration host, in a process of its own. ``program`` uses only its
arguments and the names of ``_PRELUDE``. Its return value is sent back; output of the process fails the test.
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import signal
import subprocess
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from lab import CHECKOUT, Host, Lab

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.CuminExecution import CuminExecution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.lab

UNUSED_ADDRESS = "198.18.0.250"
CLEANS_UP = "trap 'echo cleaning; touch /tmp/jobs/clean; exit 9' TERM; echo $$; sleep 1000 & echo $!; wait"

_PRELUDE = """\
from __future__ import annotations
import importlib.metadata, json, os, signal, sys, threading, time
from pathlib import Path
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.CuminExecution import CuminExecution
from transferpy.RemoteExecution.interface import CommandResult

def plain(value):
    if isinstance(value, CommandResult):
        return [value.returncode, value.output]
    return f"{type(value).__name__}: {value}"

def main(program):
    answer = {"result": program(CuminExecution(), *json.loads(sys.argv[2]))}
    answer["version"] = importlib.metadata.version("cumin")
    answer["cumin"] = "cumin" in sys.modules
    Path(sys.argv[1]).write_text(json.dumps(answer, default=plain))
"""


@dataclass(frozen=True)
class Driver:
    """The orchestration host with one of the two versions of cumin."""

    host: Host
    python: str
    version: str

    def start(self, program: Callable[..., object], *arguments: object) -> subprocess.Popen[bytes]:
        """Start ``program`` there, in its own process group."""
        code = f"{_PRELUDE}\n{textwrap.dedent(inspect.getsource(program))}\nmain(program)\n"
        self.host.run(["rm", "-f", "/tmp/jobs/answer"])
        return self.host.popen(
            [self.python, "-c", code, "/tmp/jobs/answer", json.dumps(arguments)],
            env={"PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def answer(self, process: subprocess.Popen[bytes], *, uses_cumin: bool = True) -> Any:
        """Wait for a program and return its result."""
        try:
            stdout, stderr = process.communicate(timeout=40)
        finally:
            process.kill()
        assert (os.fsdecode(stdout), os.fsdecode(stderr)) == ("", "")
        assert process.returncode == 0
        answer = json.loads(self.host.run(["cat", "/tmp/jobs/answer"]).stdout)
        assert answer["version"] == self.version
        assert answer["cumin"] == uses_cumin
        return answer["result"]

    def __call__(self, program: Callable[..., object], *arguments: object, uses_cumin: bool = True) -> Any:
        """Run ``program`` there and return its result."""
        return self.answer(self.start(program, *arguments), uses_cumin=uses_cumin)


@pytest.fixture(
    params=[
        pytest.param(("/usr/bin/python3", "4.2.0"), id="cumin-4.2.0"),
        pytest.param((f"{CHECKOUT}/.venv/bin/python", "6.0.0"), id="cumin-6.0.0"),
    ]
)
def drive(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Driver]:
    for host in lab:
        host.run("mkdir /tmp/jobs")
    yield Driver(lab["orch"], *request.param)
    left = [left_processes(host) for host in lab]
    for host in lab:
        host.run("rm -r --one-file-system /tmp/jobs")
    assert set(left) == {""}


def left_processes(host: Host) -> str:
    """Return the processes of commands and of ssh that still run on ``host`` 5 seconds after a test."""
    look = "grep -slzE '^(TRANSFERPY_JOB=.*|[0-9a-f]{32})$' /proc/[0-9]*/{cmdline,environ}; pgrep -x ssh; true"
    deadline = time.monotonic() + 5
    while (left := host.sh(look)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def wait_for_file(host: Host, path: str) -> None:
    host.run(f"for _ in {{1..1000}}; do [ ! -e {shlex.quote(path)} ] || exit 0; sleep 0.01; done; exit 1")


def test_the_exit_status_is_the_commands_own(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        scripts = ["echo out; echo err >&2", "exit 3", "exit 255", "kill -KILL $$", "exec no-such-program"]
        jobs = [execution.start_job("db1", script) for script in scripts]
        return [execution.wait_job("db1", job, 20) for job in jobs]

    first, *others, last = drive(program)
    assert first == [0, "out\nerr"]
    # For a command that a signal ended, ssh returns 255.
    assert others == [[3, ""], [255, ""], [255, ""]]
    assert last[0] == 127
    assert "no-such-program" in last[1]


def test_lines_arrive_while_the_command_runs(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        first = threading.Event()
        lines: list[str] = []

        def take(line: str) -> None:
            lines.append(line)
            first.set()

        job = execution.start_job(
            "db1", "mkfifo /tmp/jobs/f; echo one; read -r word </tmp/jobs/f; echo two $word", on_line=take
        )
        arrived = first.wait(20)
        before = list(lines), execution.monitor_job("db1", job)
        execution.run("db1", "echo go >/tmp/jobs/f")
        return arrived, before, execution.wait_job("db1", job, 20), lines

    assert drive(program) == [True, [["one"], None], [0, "one\ntwo go"], ["one", "two go"]]


def test_commands_run_on_several_hosts_at_the_same_time(drive: Driver, lab: Lab) -> None:
    def program(execution: CuminExecution, script: str) -> object:
        hosts = ("db1", "db2", "db3")
        jobs = [execution.start_job(host, script + host) for host in hosts]
        return {host: execution.wait_job(host, job, 30) for host, job in zip(hosts, jobs, strict=True)}

    process = drive.start(program, "touch /tmp/jobs/here; until [ -e /tmp/jobs/go ]; do sleep 0.01; done; echo ")
    for host in ("db1", "db2", "db3"):
        wait_for_file(lab[host], "/tmp/jobs/here")
    for host in ("db1", "db2", "db3"):
        lab[host].run("touch /tmp/jobs/go")
    assert drive.answer(process) == {"db1": [0, "db1"], "db2": [0, "db2"], "db3": [0, "db3"]}


def test_an_unreachable_host_is_an_error_and_other_hosts_return_their_results(drive: Driver) -> None:
    def program(execution: CuminExecution, unused: str) -> object:
        began = time.monotonic()
        job = execution.start_job(unused, "true")
        scripts = {"db1": "echo 1", unused: "true", "no-such-host": "true", "db2": "echo 2"}
        jobs = {host: execution.start_job(host, script) for host, script in scripts.items()}
        outcomes: dict[str, object] = {}
        for host, started in jobs.items():
            try:
                outcomes[host] = execution.wait_job(host, started)
            except RemoteExecutionError as error:
                outcomes[host] = error
        execution.kill_job(unused, job)
        return outcomes, time.monotonic() - began

    result, seconds = drive(program, UNUSED_ADDRESS)
    assert seconds < 100  # without a time-out of its own, ssh waits for more than two minutes
    assert (result["db1"], result["db2"]) == ([0, "1"], [0, "2"])
    error = (
        f"RemoteExecutionError: {UNUSED_ADDRESS}: cannot be reached: ssh: connect to host {UNUSED_ADDRESS} port 22: "
    )
    assert result[UNUSED_ADDRESS].startswith(error)
    assert result["no-such-host"].startswith("RemoteExecutionError: no-such-host: cannot be reached: ssh: ")


def test_a_command_is_monitored_and_waited_for(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        ends: list[object] = []
        job = execution.start_job(
            "db2", "mkfifo /tmp/jobs/f; read -r status </tmp/jobs/f; exit $status", on_end=ends.append
        )
        try:
            execution.wait_job("db2", job, 0.5)
        except RemoteExecutionError as error:
            late = str(error)
        running = execution.monitor_job("db2", job)
        execution.run("db2", "until [ -p /tmp/jobs/f ]; do sleep 0.01; done; echo 5 >/tmp/jobs/f")
        return late, running, execution.wait_job("db2", job, 20), execution.monitor_job("db2", job), ends

    late = "db2: the command did not end within 0.5 seconds"
    assert drive(program) == [late, None, [5, ""], [5, ""], [[5, ""]]]


def test_a_killed_command_cleans_up_and_none_of_its_processes_remain(drive: Driver, lab: Lab) -> None:
    script = f"""
        setsid sleep 1000 & echo $!
        (setsid bash -c 'sleep 1000 & echo $!') &
        (env -i sleep 1000 & echo $!; wait) &
        {CLEANS_UP}
    """

    def program(execution: CuminExecution, script: str) -> object:
        pids: list[str] = []
        ready = threading.Event()

        def take(line: str) -> None:
            pids.append(line)
            if len(pids) == 5:
                ready.set()

        other = execution.start_job("db1", "echo $$; sleep 1000")
        job = execution.start_job("db1", script, on_line=take)
        ready.wait(20)
        results = execution.kill_job("db1", job), execution.kill_job("db1", job)
        left = execution.run("db1", f"ps -o pid=,stat=,args= -p {','.join(pids[:5])}").output
        alive = execution.monitor_job("db1", other) is None
        execution.kill_job("db1", other, grace=0)
        return [result.returncode for result in results], results[0].output.split("\n")[5:], left, alive

    assert drive(program, script) == [[9, 9], ["cleaning"], "", True]
    assert lab["db1"].run("test -e /tmp/jobs/clean")


def test_a_process_of_another_user_with_the_identifier_continues_to_run(drive: Driver) -> None:
    def program(execution: CuminExecution, _unused: str) -> object:
        pids: list[str] = []
        ready = threading.Event()

        def take(line: str) -> None:
            pids.append(line)
            ready.set()

        job = execution.start_job("db1", "sleep 1000")
        script = f"echo $$; exec setpriv --reuid nobody env TRANSFERPY_JOB={job.identifier} sleep 1000"
        posing = execution.start_job("db1", script, on_line=take)
        ready.wait(20)
        execution.run("db1", f"until grep -qx Uid:.65534.* /proc/{pids[0]}/status; do sleep 0.01; done")
        execution.kill_job("db1", job)
        found = execution.run("db1", f"ps -o user=,comm= -p {pids[0]}; kill -KILL {pids[0]}").output.split()
        execution.wait_job("db1", posing, 20)
        return found

    assert drive(program, "") == ["nobody", "sleep"]


def test_a_killed_command_cleans_up_even_if_its_start_marker_was_lost(drive: Driver) -> None:
    def program(execution: CuminExecution, script: str) -> object:
        ready = threading.Event()
        job = execution.start_job("db1", script, on_line=lambda _line: ready.set())
        ready.wait(20)
        job.output.pid = None  # as if the start marker had been lost
        execution.kill_job("db1", job)
        return execution.run("db1", "ls /tmp/jobs").output

    assert drive(program, f"(while :; do sleep 0.1; done) & {CLEANS_UP}") == "clean"


def test_a_command_that_ignores_term_is_killed_after_the_grace(drive: Driver, lab: Lab) -> None:
    def program(execution: CuminExecution) -> object:
        jobs = [
            execution.start_job("db3", "trap '' TERM; sleep 1000; touch /tmp/jobs/went-on; sleep 1000"),
            execution.start_job("db3", ["sleep", "1000"]),
        ]
        for job in jobs:
            job.started.wait(20)
        return [execution.kill_job("db3", job, grace=0.5) for job in jobs]

    assert drive(program) == [[255, ""], [255, ""]]
    assert not lab["db3"].sh("ls /tmp/jobs")


def test_run_ends_the_command_on_its_host_after_its_timeout(drive: Driver, lab: Lab) -> None:
    def program(execution: CuminExecution, script: str) -> object:
        try:
            return execution.run("db1", script, timeout=2)
        except RemoteExecutionError as error:
            return str(error)

    assert drive(program, CLEANS_UP) == "db1: the command did not end within 2 seconds"
    assert lab["db1"].run("test -e /tmp/jobs/clean")


def test_control_c_does_not_end_the_connections_that_the_clean_up_needs(drive: Driver, lab: Lab) -> None:
    def program(execution: CuminExecution, script: str) -> object:
        job = execution.start_job("db1", script)
        try:
            return execution.run(
                "db2", "trap 'touch /tmp/jobs/clean; exit' TERM; touch /tmp/jobs/here; sleep 1000 & wait"
            )
        except KeyboardInterrupt:
            before = execution.monitor_job("db1", job)
            return before, execution.kill_job("db1", job).returncode

    process = drive.start(program, f"touch /tmp/jobs/here; {CLEANS_UP}")
    for host in ("db1", "db2"):
        wait_for_file(lab[host], "/tmp/jobs/here")
    os.killpg(process.pid, signal.SIGINT)
    assert drive.answer(process) == [None, 9]
    for host in ("db1", "db2"):
        assert lab[host].run("test -e /tmp/jobs/clean")


def test_arguments_and_scripts_with_special_characters_arrive_unchanged(drive: Driver) -> None:
    words = [
        "a\nb",
        "'\"",
        "$(id) `id`",
        "%h %n %% %hosts",
        "-n",
        "",
        "\udcff\udc80",
        "a\rb\r",
        "  *  ",
        "\\n",
        "!!",
        "é",
    ]

    def program(execution: CuminExecution, words: list[str], script: str) -> object:
        return execution.run("db1", ["printf", "<%s>\\n", *words]), execution.run("db1", script)

    many = words * 400
    script = f"printf '<%s>' {shlex.join(many)}\n"
    assert len(script) > 20_000
    by_arguments, by_script = drive(program, words, script)
    assert by_arguments == [0, "\n".join(f"<{word}>" for word in words)]
    assert by_script == [0, "".join(f"<{word}>" for word in many)]


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
def test_the_output_does_not_contain_messages_of_the_login_shell(drive: Driver, lab: Lab, shell: str) -> None:
    def program(execution: CuminExecution) -> object:
        return execution.run("db3", "echo $0 $#; exit 255")

    lab["db3"].run(["usermod", "--shell", shell, "root"])
    lab["db3"].run("printf '%s\\n' 'echo Welcome; printf half' >/root/.bashrc")
    try:
        assert drive(program) == [255, "transferpy 1"]
    finally:
        lab["db3"].run("rm /root/.bashrc; usermod --shell /bin/bash root")


def test_a_word_must_select_exactly_one_host(drive: Driver) -> None:
    def program(_: CuminExecution, words: list[str]) -> object:
        aliases = {"one": "D{db1}", "two": "D{db[1-2]}"}
        execution = CuminExecution({"transport": "clustershell", "default_backend": "direct", "aliases": aliases})

        def attempt(word: str) -> object:
            try:
                return execution.resolve(word)
            except RemoteExecutionError as error:
                return error

        return [attempt(word) for word in words], execution.run("A:one", "hostname")

    good = {"db1": "db1", "A:one": "db1", "localhost": "localhost", "198.18.0.12": "198.18.0.12", "::1": "::1"}
    bad = {
        "db1,db2": "selects 2 hosts, but one is required: db1, db2",
        "db[1-9]": "selects 9 hosts, but one is required: db1, db2, db3, db4, ...",
        "A:two": "selects 2 hosts, but one is required: db1, db2",
        "A:three": "cumin cannot find this host: Unable to find alias",
        "db1 and not db1": "no such host",
        "-oProxyCommand=x": "cumin cannot find this host: ",
        "-oX": "the name of a host cannot begin with -",
        "": "cumin cannot find this host: ",
        "db1;id": "cumin cannot find this host: ",
    }
    resolved, by_alias = drive(program, [*good, *bad])
    assert resolved[: len(good)] == list(good.values())
    for answer, (word, error) in zip(resolved[len(good) :], bad.items(), strict=True):
        assert answer.startswith(f"RemoteExecutionError: {word}: {error}")
        assert "\n" not in answer
    assert by_alias == [0, "db1"]


def test_the_error_for_an_invalid_configuration_names_the_file(drive: Driver) -> None:
    def program(_: CuminExecution, contents: list[str]) -> object:
        answers: list[object] = []
        for number, content in enumerate(contents):
            CuminExecution.config_file = f"/tmp/jobs/config-{number}.yaml"
            Path(CuminExecution.config_file).write_bytes(os.fsencode(content))
            try:
                answers.append(CuminExecution().run("db1", "echo fine"))
            except RemoteExecutionError as error:
                answers.append(str(error))
        CuminExecution.config_file = "/tmp/jobs/missing.yaml"
        return answers, CuminExecution().run("db1", "echo fine")

    contents = ["a: [", "\tx", "- list", "text", "\udcff", "transport: none\ndefault_backend: direct", ""]
    answers, without_file = drive(program, contents)
    for number, answer in enumerate(answers[:5]):
        assert answer.startswith(f"/tmp/jobs/config-{number}.yaml: invalid cumin configuration: ")
    assert "db1: the command could not be run: " in answers[5]
    assert answers[6] == without_file == [0, "fine"]


def test_a_command_on_localhost_does_not_import_cumin(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        CuminExecution.config_file = "/etc/passwd"
        result = execution.run("localhost", "hostname")
        job = execution.start_job("localhost", "trap 'exit 9' TERM; echo ready; sleep 1000 & wait")
        job.started.wait(20)
        return result, execution.kill_job("localhost", job)

    result, killed = drive(program, uses_cumin=False)
    assert result == [0, "orch"]
    assert killed[0] in {9, 128 + 15}  # TERM can arrive before bash sets the trap


def test_long_output_does_not_increase_the_memory_use(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        import resource

        def peak() -> int:
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        counts = [0, 0]

        def count(line: str) -> None:
            counts[0] += 1
            counts[1] += len(line)

        execution.run("db1", "seq -f '%0200.0f' 1000", on_line=count)
        before = peak()
        result = execution.run("db1", "seq -f '%0200.0f' 100000", on_line=count)
        return counts, len(result.output), result.output[-12:], peak() - before

    counts, kept, end, grown_kilobytes = drive(program)
    assert counts == [101_000, 101_000 * 200]
    assert 60_000 < kept <= 64 << 10
    assert end == "000000100000"
    assert grown_kilobytes < 4096


def test_no_descriptor_thread_or_task_remains_after_many_runs(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        from ClusterShell.Task import Task

        def round_of_runs() -> tuple[int, int, int]:
            jobs = [execution.start_job(host, "true") for host in ("db1", "db2", "db3") for _ in range(5)]
            for job in jobs:
                execution.wait_job(job.host, job, 30)
            deadline = time.monotonic() + 10
            while threading.active_count() > 1 and time.monotonic() < deadline:
                time.sleep(0.01)
            return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), len(Task._tasks)

        return round_of_runs(), round_of_runs()

    first, second = drive(program)
    assert first == second
    assert first[0] == 1
    assert first[2] == 0


def test_a_running_command_does_not_delay_the_exit_of_the_program(drive: Driver) -> None:
    def program(execution: CuminExecution) -> object:
        job = execution.start_job("db1", "while echo still here; do sleep 0.1; done")
        return job.started.wait(20)

    # The remaining ssh ends when it cannot write the next line.
    assert drive(program) is True
