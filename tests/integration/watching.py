"""Running transfers that a test observes and disturbs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import pytest
from helpers import Result, eventually, start_transfer
from lab import difference

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from lab import Host, Lab, Snapshot

PROMISED_SECONDS = 15.0
"""The guaranteed maximum of seconds until every host is clean after the end of a run (docs/security.rst)."""
DIGEST_TOOL = "xxh128sum"
"""The fastest digest tool, which the hosts of the lab use."""
TEE, DIGESTER, GUARD = "tee", "digester", "guard"
"""Stages for `process_of`: they duplicate the stream, digest that of a backup, and check that on the target."""
_WORDS = {TEE: "cannot pass the stream on", DIGESTER: "in another order than expected", GUARD: "sub list_finished"}
"""Words of the programs in Perl."""
SLOW = "4mbit"
"""A rate at which the ten megabytes of `fill` take twenty seconds, and ssh still works."""


class Run:
    """A run of the command; at the end of the context, a remaining process is killed."""

    def __init__(self, lab: Lab, *argv: str, **kwargs: Any) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed at the end of the context
        self.process: subprocess.Popen[bytes] = start_transfer(lab, *argv, **{"stderr": self._stderr, **kwargs})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self._stderr.close()

    @property
    def log(self) -> str:
        """Return the standard error of the run so far."""
        return os.fsdecode(os.pread(self._stderr.fileno(), 1 << 20, 0))

    @property
    def port(self) -> int:
        """Return the port on the target of the run."""
        found = re.search(r"port (\d+) listens", self.log)
        assert found, self.log
        return int(found[1])

    def wait_for(self, text: str, *, times: int = 1, seconds: float = 30) -> None:
        """Wait until the run has logged a text so many times; fail if it ends before."""
        assert eventually(lambda: self.log.count(text) >= times or self.process.poll() is not None, seconds=seconds)
        assert self.log.count(text) >= times, self.log

    def wait_for_stream(self, target: Host) -> None:
        """Wait until some of the data has arrived."""
        assert eventually(lambda: arrived(target) > 0 or self.process.poll() is not None), self.log
        self.assert_streaming()

    def assert_streaming(self) -> None:
        """Assert that the stream still runs, so the action of the test was during the stream."""
        assert self.process.poll() is None, self.log
        assert " received " not in self.log, self.log

    def end(self, *, timeout: float = 120) -> Result:
        """Wait for the end of the run."""
        self.process.communicate(timeout=timeout)
        assert "Traceback (most recent call last)" not in self.log, self.log
        return Result(status=self.process.returncode, stdout="", stderr=self.log)


def fill(host: Host, path: str, *, megabytes: float = 10) -> None:
    """Create a file of incompressible bytes."""
    directory, size = path.rpartition("/")[0], round(megabytes * 2**20)
    host.run(f"mkdir -p -- {shlex.quote(directory)} && head -c {size} /dev/urandom >{shlex.quote(path)}")


def arrived(host: Host) -> int:
    """Return the number of bytes in staging directories of a host."""
    return sum(map(int, host.sh("find /srv -path '*/.transferpy-*' -type f -printf '%s\\n'").split()))


def process_of(host: Host, stage: str) -> str:
    """Return the only process of that stage on a host."""
    looking = ["pgrep", "-f", f"^perl -e .*{_WORDS[stage]}"] if stage in _WORDS else ["pgrep", "-x", stage]
    (process,) = host.run(looking).stdout.decode().split()
    return process


class Hold:
    """A gate that makes calls of a command on a host wait until `let_go` or the end of the context.

    Snapshots contain only the waiting processes of the gate.

    Args:
        host: host of the command.
        command: name of the command.
        matching: pattern (as in `case` of a shell) for the arguments of waiting calls.
    """

    def __init__(self, host: Host, command: str, matching: str = "*") -> None:
        self._host = host
        self._matching = matching
        self._real = host.sh(f"command -v {command}")
        self._wrapper = f"/usr/local/bin/{command}"
        self._called = f"/var/lib/called-{command}"
        self._shut = f"/var/lib/hold-{command}"

    def __enter__(self) -> Self:
        script = f"""#!/bin/sh
            case "$*" in {self._matching})
                touch {self._called}
                while [ -e {self._shut} ]; do sleep 0.05; done
            esac
            exec {self._real} "$@"
        """
        self._host.run(
            f"touch {self._shut} && cat >{self._wrapper} && chmod 755 {self._wrapper}", input=script.encode()
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._host.run(["rm", "-f", self._wrapper, self._called, self._shut])

    def let_go(self) -> None:
        """Release all calls; the wrapper remains until the end of the context, as shells have resolved its path."""
        self._host.run(["rm", "-f", self._shut])

    def wait_for_call(self) -> None:
        """Wait until a call of the command waits."""
        assert eventually(lambda: self._host.run(["test", "-e", self._called], check=False).returncode == 0)


@contextmanager
def replaced(host: Host, command: str, script: str) -> Iterator[None]:
    """Replace a command of the host with a bash script, which finds the command in $real."""
    wrapper = f"/usr/local/bin/{command}"
    text = f"#!/bin/bash\nreal={host.sh(f'command -v {command}')}\n{script}\n"
    host.run(f"cat >{wrapper} && chmod 755 {wrapper}", input=text.encode())
    try:
        yield
    finally:
        host.run(["rm", wrapper])


FLUSH = ("perl", "*'could not write all data to disk since the copy began'*")
"""The command that writes the copy of a tarball or of a server to disk, and its arguments."""
MOVE = ("perl", "*' move all . /proc/self/fd/'*")
"""The command that gives a copy its final name, and its arguments."""
LAST_SYNC = ("sync", "'-f .'")
"""The command that writes a copy to disk before the rename, and its arguments.

A test that holds this command must not release it after a signal: the session ends the command itself. If the command
continued before the session receives the signal, the session would publish the copy."""


def end_by_signal(run: Run, sent: signal.Signals, hold: Hold | None = None) -> float:
    """Send a signal to a run, release its held commands, and wait until the signal has ended it.

    Returns the deadline (monotonic seconds) at which every host must be unchanged.
    """
    assert run.process.poll() is None, run.log
    run.process.send_signal(sent)
    if sent == signal.SIGKILL:
        run.process.wait()
    else:
        run.wait_for(f"WARNING {sent.name}: stopping the run and cleaning up\n")
    if hold is not None:
        hold.let_go()
    deadline = time.monotonic() + PROMISED_SECONDS
    assert run.end().status == (-sent if sent == signal.SIGKILL else 128 + sent), run.log
    assert sent == signal.SIGKILL or run.log.endswith(f"ERROR ended by {sent.name}\n"), run.log
    return deadline


SESSION_STATE = """
cd /run/transferpy 2>/dev/null || exit 0
hostname; tail -n 20 -v */*.err */undo.*; ps -e -o pid,ppid,pgid,stat,wchan:20,args | cut -c1-150
"""
"""A command that prints the errors and the undo list of each session of a host, and the processes of the host."""


def wait_for_sessions(lab: Lab, deadline: float) -> None:
    """Wait for the end of all processes of transfers on the hosts, at most until the deadline (monotonic seconds)."""
    seconds = deadline - time.monotonic()
    ended = eventually(lambda: not any(host.sh("ls -d /run/transferpy; true") for host in lab), seconds=seconds)
    assert ended, f"a session goes on:\n{''.join(host.sh(SESSION_STATE) for host in lab)}"


def case_name(value: object) -> str:
    """Return the name of a test parameter: a step, a signal, or a tuple of options."""
    if isinstance(value, signal.Signals):
        return value.name
    return "".join(value) or "default" if isinstance(value, tuple) else str(value)


def assert_as_before(lab: Lab | Host, before: Snapshot, *, seconds: float = 15) -> None:
    """Assert that the lab, or one of its hosts, matches a snapshot within some seconds."""
    eventually(lambda: not difference(before, lab.snapshot()), seconds=seconds)
    if left := difference(before, lab.snapshot()):
        pytest.fail(f"this was left behind:\n{left}")
