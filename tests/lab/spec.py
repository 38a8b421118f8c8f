"""The parts of a lab as plain values: hosts, private directories, firewalls, state files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SYSTEMS = CHECKOUT / "tests/setup/systems.sh"
LABS = Path("/var/tmp")  # on disk; many machines keep /tmp in memory
PREFIX = "tpy-"
DOMAIN = "lab.example"
UPLINK = "eth0"

OVERLAID = ("/etc", "/usr", "/var")
"""Directories of its system that a host can read; its changes are private and in memory. /var may contain the system,
so it is the last one that is replaced."""
ON_DISK = ("/srv", "/tmp", "/var/tmp")
"""Private directories of each host on the disk of the machine, for large data."""
IN_MEMORY = ("/run", "/root", "/dev/shm", "/etc/cumin", "/etc/transferpy", "/var/log")
"""Private directories of each host in memory, initially empty."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "SUDO_USER": "dba",  # the cumin command refuses root without SUDO_USER
}
"""The environment of programs on a host and of the programs of the lab."""

NEEDS_ROOT = "the lab needs root for namespaces and mounts: run this command as root, or with sudo"


class LabError(Exception):
    """An error of the lab; the message names the cause and the remedy."""


class SystemMissingError(LabError):
    """This machine has no system for a host: the package archive could not be reached."""


class Firewall(StrEnum):
    """The firewalls of hosts; all of them accept ssh and drop everything else, with the exceptions in the comments."""

    NONE = "none"
    IPTABLES = "iptables"  # policy DROP
    IPTABLES_REJECT = "iptables-reject"  # policy ACCEPT, the last rule is REJECT
    IPTABLES_DROP = "iptables-drop"  # policy ACCEPT, the last rule is DROP
    NFTABLES = "nftables"  # one base chain
    NFTABLES_TWO = "nftables-two"  # two base chains on the same hook, and both drop
    BOTH = "both"  # iptables and a native nftables table
    LEGACY = "legacy"  # iptables-legacy, in the old kernel interface


@dataclass(frozen=True, kw_only=True)
class HostSpec:
    """The properties of a host; `suite` is the Debian suite of its system, empty for the system of this machine."""

    firewall: Firewall | str = Firewall.NONE
    suite: str = ""


DEFAULT_HOSTS = {
    "orch": HostSpec(),
    "db1": HostSpec(firewall=Firewall.IPTABLES),
    "db2": HostSpec(firewall=Firewall.NFTABLES),
    "db3": HostSpec(),
}
"""The default hosts; the first host of a lab is the orchestration host, and all hosts accept its ssh key."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of the machine; the start time (clock ticks) distinguishes it from a later process with the same id."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the current process with this id; raises LabError if there is none."""
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            raise LabError(f"there is no process {pid}") from None
        if state == "Z":
            raise LabError(f"process {pid} has ended")
        return cls(pid=pid, start=int(fields[18]))

    def alive(self) -> bool:
        """Return whether the process still runs."""
        try:
            return Process.of(self.pid) == self
        except LabError:
            return False


@dataclass(frozen=True, kw_only=True)
class HostState:
    """A running host; `init` is the first process of its PID namespace."""

    name: str
    ipv4: str
    ipv6: str
    firewall: str
    init: int


@dataclass(frozen=True, kw_only=True)
class LabState:
    """The state file of a lab, with which other processes use and remove the lab."""

    name: str
    keeper: Process
    owner: Process | None
    switch: int
    hosts: tuple[HostState, ...]

    def save(self) -> None:
        """Write the state file; readers see the old file or the new one, never a part."""
        draft = lab_directory(self.name) / "lab.json.new"
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.rename(lab_directory(self.name) / "lab.json")

    @classmethod
    def load(cls, name: str) -> LabState:
        """Read the state file of the lab with that name; raises LabError if there is no such lab."""
        directory = lab_directory(name)
        try:
            if directory.lstat().st_uid != os.geteuid():
                raise LabError(f"{directory} belongs to another user; choose another name for the lab")
            values = json.loads((directory / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError(
                f"there is no lab named {name}; create it with `python3 -m tests.lab up --name {name}`"
            ) from None
        return cls(
            name=values["name"],
            keeper=Process(**values["keeper"]),
            owner=Process(**values["owner"]) if values["owner"] else None,
            switch=values["switch"],
            hosts=tuple(HostState(**host) for host in values["hosts"]),
        )


def lab_directory(name: str) -> Path:
    """Return the directory for the state file, the log and the disks of a lab."""
    return LABS / f"{PREFIX}{name}"
