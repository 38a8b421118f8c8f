"""Runs of the command that a test watches, and disturbs, while they go on."""

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
"""Within which every host is as before, whatever has ended a run; docs/security.rst says so."""
DIGEST_TOOL = "xxh128sum"
"""What digests the files on hosts that have all such tools, as those of the lab do: the fastest."""
TEE = "tee"
"""The stage that passes the stream on twice, for `process_of`."""
SLOW = "4mbit"
"""Keeps the ten megabytes of `fill` on the way for twenty seconds, while ssh still gets through."""


class Run:
    """One run of the command; whatever the test does not end is killed at the end of the context."""

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
        """What it has written to standard error up to now."""
        return os.fsdecode(os.pread(self._stderr.fileno(), 1 << 20, 0))

    @property
    def port(self) -> int:
        """The port on which its target listens, or listened."""
        found = re.search(r"port (\d+) listens", self.log)
        assert found, self.log
        return int(found[1])

    def wait_for(self, text: str) -> None:
        """Wait until it has logged a text; fail if it ends without."""
        assert eventually(lambda: text in self.log or self.process.poll() is not None)
        assert text in self.log, self.log

    def wait_for_stream(self, target: Host) -> None:
        """Wait until some of the data has arrived."""
        assert eventually(lambda: arrived(target) > 0 or self.process.poll() is not None), self.log
        self.assert_streaming()

    def assert_streaming(self) -> None:
        """Assert that the stream has not ended yet: what the test did was in the middle of it."""
        assert self.process.poll() is None, self.log
        assert " received " not in self.log, self.log

    def end(self, *, timeout: float = 120) -> Result:
        """Wait for its end."""
        self.process.communicate(timeout=timeout)
        assert "Traceback (most recent call last)" not in self.log, self.log
        return Result(status=self.process.returncode, stdout="", stderr=self.log)


def fill(host: Host, path: str, *, megabytes: float = 10) -> None:
    """Make a file of bytes that no compressor makes fewer."""
    directory, size = path.rpartition("/")[0], round(megabytes * 2**20)
    host.run(f"mkdir -p -- {shlex.quote(directory)} && head -c {size} /dev/urandom >{shlex.quote(path)}")


def arrived(host: Host) -> int:
    """How many bytes are in staging directories of a host."""
    return sum(map(int, host.sh("find /srv -path '*/.transferpy-*' -type f -printf '%s\\n'").split()))


def process_of(host: Host, stage: str) -> str:
    """The one process that runs that stage on a host."""
    looking = ["pgrep", "-f", "^perl -e .*cannot pass the stream on"] if stage == TEE else ["pgrep", "-x", stage]
    (process,) = host.run(looking).stdout.decode().split()
    return process


class Hold:
    """Has a command on a host wait when it is called, until it is let go or the context ends.

    Nothing of it is in a snapshot but the processes that wait.

    Args:
        host: where.
        command: which.
        matching: of the command's words, the pattern (as in a shell's case) for which it waits.
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
        """Let everybody go on; the command stays where shells know it to be until the context ends."""
        self._host.run(["rm", "-f", self._shut])

    def wait_for_call(self) -> None:
        """Wait until somebody waits in the command."""
        assert eventually(lambda: self._host.run(["test", "-e", self._called], check=False).returncode == 0)


@contextmanager
def replaced(host: Host, command: str, script: str) -> Iterator[None]:
    """Have a bash script run on the host in place of a command, which the script finds in $real."""
    wrapper = f"/usr/local/bin/{command}"
    text = f"#!/bin/bash\nreal={host.sh(f'command -v {command}')}\n{script}\n"
    host.run(f"cat >{wrapper} && chmod 755 {wrapper}", input=text.encode())
    try:
        yield
    finally:
        host.run(["rm", wrapper])


LAST_SYNC = ("sync", "'-f .'")
"""What a copy is given to the disk by, and with which words, before it has its name.

Who holds that must not let it go after a signal: the session ends it, and leaves nothing. Let go before the session
hears of the signal, it would publish the copy, as it was told to."""


def end_by_signal(run: Run, sent: signal.Signals, hold: Hold | None = None) -> float:
    """Send a run a signal, let those go that it waits for, and see it end by that.

    Returns until when (monotonic seconds) every host has to be as before.
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


def wait_for_sessions(lab: Lab, deadline: float) -> None:
    """Wait until then (monotonic seconds) for the end of what transfers do on the hosts."""
    seconds = deadline - time.monotonic()
    ended = eventually(lambda: not any(host.sh("ls -d /run/transferpy; true") for host in lab), seconds=seconds)
    assert ended, "a session goes on"


def case_name(value: object) -> str:
    """Name a parameter of a test that is a step, a signal, or a tuple of options."""
    if isinstance(value, signal.Signals):
        return value.name
    return "".join(value) or "default" if isinstance(value, tuple) else str(value)


def assert_as_before(lab: Lab | Host, before: Snapshot, *, seconds: float = 15) -> None:
    """Assert that the lab, or one host of it, is within some seconds as a snapshot says."""
    eventually(lambda: not difference(before, lab.snapshot()), seconds=seconds)
    if left := difference(before, lab.snapshot()):
        pytest.fail(f"this was left behind:\n{left}")
