"""A lab: several hosts on this machine, connected by a switch."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from . import delays
from .host import Host, in_network
from .measured import measured
from .spec import (
    DEFAULT_HOSTS,
    ENVIRONMENT,
    LABS,
    NEEDS_ROOT,
    PREFIX,
    SYSTEMS,
    Firewall,
    HostSpec,
    LabError,
    LabState,
    SystemMissingError,
    lab_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .snapshot import Snapshot

_ABANDONED_AFTER = 60.0  # age in seconds from which a lab directory without a state file is stale


class Lab:
    """A running lab; as a context manager, it removes itself at the end."""

    def __init__(self, state: LabState) -> None:
        self.state = state
        self.name = state.name
        self.hosts = {host.name: Host(host, state.switch) for host in state.hosts}
        self._keeper: subprocess.Popen[str] | None = None

    @classmethod
    def up(
        cls,
        hosts: Mapping[str, HostSpec] = DEFAULT_HOSTS,
        *,
        name: str | None = None,
        owner_pid: int | None = None,
        persistent: bool = False,
    ) -> Self:
        """Create a lab and return when all its hosts are ready; the first host is the orchestration host.

        The lab exists until `down`. A lab that is not persistent also ends when its owner ends. The owner is the
        process `owner_pid`, by default the calling process. Raises LabError if the lab cannot be created.
        """
        if os.geteuid():
            raise LabError(NEEDS_ROOT)
        name = name or uuid.uuid4().hex[:8]
        _check(name, hosts)
        remove_stale_labs()
        try:
            lab_directory(name).mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(f"a lab named {name} already exists; remove it, or choose another name") from None
        request = {
            "name": name,
            "owner": None if persistent else owner_pid or os.getpid(),
            "hosts": {host: [Firewall(spec.firewall), _system(spec.suite)] for host, spec in hosts.items()},
        }
        keeper = _start_keeper(name, json.dumps(request))
        assert keeper.stdout
        with keeper.stdout as answer:
            problem = answer.readline()
            if problem != "\n":
                problem += answer.read()
                keeper.wait()
                raise LabError(f"the lab did not start: {problem.strip()}")
        lab = cls(LabState.load(name))
        lab._keeper = keeper
        return lab

    @classmethod
    def attach(cls, name: str) -> Self:
        """Return the running lab with that name, which another process created."""
        state = LabState.load(name)
        if not state.keeper.alive():
            raise LabError(f"lab {name} is not running; `python3 -m tests.lab down --name {name}` removes its remains")
        return cls(state)

    def __getitem__(self, host: str) -> Host:
        try:
            return self.hosts[host]
        except KeyError:
            raise LabError(f"lab {self.name} has no host {host}, only {', '.join(self.hosts)}") from None

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def delay(self, one: str, other: str, seconds: float) -> None:
        """Give the path between two hosts a round-trip time, as that of a wide area network; 0 removes it.

        Each packet is delayed by half of that time, in each direction. The path carries more than 1 Gbit/s. It does not
        pass the switch: `shape` and `cut` have no effect on it. Raises LabError if the path cannot be created.
        """
        delays.remove(self.name, self[one], self[other])
        if seconds:
            delays.create(self.state, self[one], self[other], seconds)

    def restore(self) -> None:
        """Undo hide, netcat, shape, cut and delay on all hosts."""
        delays.remove_all(self.name)
        for host in self:
            host.restore()
        in_network(self.state.switch, "nft", "flush", "set", "bridge", "lab", "cut")

    def snapshot(self) -> Snapshot:
        """Return the snapshots of all hosts as one; a section has a name such as "db1 files"."""
        return {f"{host.name} {section}": lines for host in self for section, lines in host.snapshot().items()}

    def down(self, timeout: float = 20) -> None:
        """Remove the lab and all its hosts; raises LabError if this takes longer than `timeout` seconds."""
        with suppress(ProcessLookupError):
            if self.state.keeper.alive():
                self._end_keeper(timeout)
        if self._keeper:
            self._keeper.wait()
        for host in self:
            host.reap()
        shutil.rmtree(lab_directory(self.name), ignore_errors=True)  # exists only if the keeper was killed

    def _end_keeper(self, timeout: float) -> None:
        pidfd = os.pidfd_open(self.state.keeper.pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(timeout * 1000):
                raise LabError(f"lab {self.name} does not end; see the log {lab_directory(self.name) / 'keeper.log'}")
        finally:
            os.close(pidfd)


def remove_stale_labs() -> None:
    """Remove the directories of labs whose keeper was killed."""
    for directory in LABS.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another process removed it
            status = directory.lstat()
            has_state = (directory / "lab.json").exists()
            if status.st_uid != os.geteuid():
                continue
            if has_state and LabState.load(directory.name.removeprefix(PREFIX)).keeper.alive():
                continue
            if has_state or time.time() - status.st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(directory, ignore_errors=True)


def running_labs() -> list[str]:
    """Return the names of the running labs."""
    names = (directory.parent.name.removeprefix(PREFIX) for directory in LABS.glob(f"{PREFIX}*/lab.json"))
    return sorted(name for name in names if LabState.load(name).keeper.alive())


def _check(name: str, hosts: Mapping[str, HostSpec]) -> None:
    for word in (name, *hosts):
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,14}|[a-f0-9]{8}", word):
            raise LabError(f"{word!r} is not a valid name: use at most 15 lower case letters, digits and dashes")
    for host, spec in hosts.items():
        if spec.firewall not in tuple(Firewall):
            raise LabError(f"host {host}: unknown firewall {spec.firewall!r}; use one of {', '.join(Firewall)}")


def _system(suite: str) -> str:
    """Return the root directory of the system of a Debian suite; raises SystemMissingError if it was not built."""
    if not suite:
        return "/"
    done = subprocess.run([SYSTEMS, suite, "built"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if done.returncode:
        raise SystemMissingError(done.stderr.strip())
    return done.stdout.strip()


def _start_keeper(name: str, request: str) -> subprocess.Popen[str]:
    package = Path(__file__).parent
    with (lab_directory(name) / "keeper.log").open("w") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", f"{package.name}.keeper"],
            cwd=package.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=ENVIRONMENT | measured(),
            start_new_session=True,
        )
    assert keeper.stdin
    keeper.stdin.write(request)
    keeper.stdin.close()
    return keeper
