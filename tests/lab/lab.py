"""A lab: several hosts on this machine, joined by a switch."""

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

from .host import Host, in_network
from .spec import (
    DEFAULT_HOSTS,
    ENVIRONMENT,
    LABS,
    NEEDS_ROOT,
    PREFIX,
    Firewall,
    HostSpec,
    LabError,
    LabState,
    lab_directory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .snapshot import Snapshot

_SETTLED_AFTER = 60.0  # seconds after which a lab directory without a note belongs to nobody


class Lab:
    """A running lab; as a context manager it is removed at the end."""

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
        """Make a lab and return when all its hosts answer; the first host is the orchestration host.

        It lives until `down`, and unless it is persistent not longer than its owner: the process `owner_pid`, by
        default the calling one. Raises LabError when it cannot be made.
        """
        if os.geteuid():
            raise LabError(NEEDS_ROOT)
        name = name or uuid.uuid4().hex[:8]
        _check(name, hosts)
        remove_stale_labs()
        try:
            lab_directory(name).mkdir(mode=0o700)
        except FileExistsError:
            raise LabError(f"there is a lab named {name} already; remove it, or choose another name") from None
        order = {
            "name": name,
            "owner": None if persistent else owner_pid or os.getpid(),
            "hosts": {host: Firewall(spec.firewall) for host, spec in hosts.items()},
        }
        keeper = _start_keeper(name, json.dumps(order))
        assert keeper.stdout
        with keeper.stdout as answer:
            problem = answer.readline()
            if problem != "\n":
                problem += answer.read()
                keeper.wait()
                raise LabError(f"the lab did not come up: {problem.strip()}")
        lab = cls(LabState.load(name))
        lab._keeper = keeper
        return lab

    @classmethod
    def attach(cls, name: str) -> Self:
        """The running lab of that name, made by some other process."""
        state = LabState.load(name)
        if not state.keeper.alive():
            raise LabError(f"lab {name} is dead; `python3 -m tests.lab down --name {name}` removes the rest of it")
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

    def restore(self) -> None:
        """Undo hide, netcat, shape and cut on all hosts."""
        for host in self:
            host.restore()
        in_network(self.state.switch, "nft", "flush", "set", "bridge", "lab", "cut")

    def snapshot(self) -> Snapshot:
        """The snapshots of all hosts in one; its sections are named "db1 files"."""
        return {f"{host.name} {section}": lines for host in self for section, lines in host.snapshot().items()}

    def down(self, timeout: float = 20) -> None:
        """Remove the lab with everything in it; raises LabError when that takes longer than timeout seconds."""
        with suppress(ProcessLookupError):
            if self.state.keeper.alive():
                self._end_keeper(timeout)
        if self._keeper:
            self._keeper.wait()
        for host in self:
            host.reap()
        shutil.rmtree(lab_directory(self.name), ignore_errors=True)  # only there when the keeper was killed

    def _end_keeper(self, timeout: float) -> None:
        pidfd = os.pidfd_open(self.state.keeper.pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(timeout * 1000):
                raise LabError(f"lab {self.name} does not end; see {lab_directory(self.name) / 'keeper.log'}")
        finally:
            os.close(pidfd)


def remove_stale_labs() -> None:
    """Remove what is left of labs whose keeper was killed."""
    for directory in LABS.glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # removed while we looked
            status = directory.lstat()
            noted = (directory / "lab.json").exists()
            if status.st_uid != os.geteuid():
                continue
            if noted and LabState.load(directory.name.removeprefix(PREFIX)).keeper.alive():
                continue
            if noted or time.time() - status.st_mtime > _SETTLED_AFTER:
                shutil.rmtree(directory, ignore_errors=True)


def running_labs() -> list[str]:
    """The names of the labs that are up."""
    names = (directory.parent.name.removeprefix(PREFIX) for directory in LABS.glob(f"{PREFIX}*/lab.json"))
    return sorted(name for name in names if LabState.load(name).keeper.alive())


def _check(name: str, hosts: Mapping[str, HostSpec]) -> None:
    for word in (name, *hosts):
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,14}|[a-f0-9]{8}", word):
            raise LabError(f"{word!r} cannot be a name here: at most 15 lower case letters, digits and dashes")
    for host, spec in hosts.items():
        if spec.firewall not in tuple(Firewall):
            raise LabError(f"host {host} cannot have firewall {spec.firewall!r}, only one of {', '.join(Firewall)}")


def _start_keeper(name: str, order: str) -> subprocess.Popen[str]:
    package = Path(__file__).parent
    with (lab_directory(name) / "keeper.log").open("w") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", f"{package.name}.keeper"],
            cwd=package.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    assert keeper.stdin
    keeper.stdin.write(order)
    keeper.stdin.close()
    return keeper
