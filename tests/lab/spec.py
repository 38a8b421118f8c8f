"""What a lab is made of: its hosts, their private directories and their firewalls, as plain values."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LABS = Path("/var/tmp")  # a real disk; not /tmp, which many machines keep in memory
PREFIX = "tpy-"
DOMAIN = "lab.example"
UPLINK = "eth0"

OVERLAID = ("/etc", "/usr", "/var")
"""Trees where a host sees the machine's files, while what it changes stays its own, in memory."""
ON_DISK = ("/srv", "/tmp")
"""Directories that each host has for itself on the real disk, for data of any size."""
IN_MEMORY = ("/run", "/root", "/dev/shm", "/etc/cumin", "/etc/transferpy", "/var/log", "/var/tmp")
"""Directories that each host has for itself, empty, in memory."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "SUDO_USER": "dba",  # the cumin command refuses a root of whom it cannot tell who it is
}
"""What programs on a host and those of the lab itself find in their environment."""

NEEDS_ROOT = "the lab needs root, it makes namespaces and mounts: run this as root, or with sudo"


class LabError(Exception):
    """The lab cannot do what was asked; the message says why and what to do."""


class Firewall(StrEnum):
    """The firewalls a host can have; all of them let ssh in and drop the rest unless the comment says otherwise."""

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
    """How a host is to be made."""

    firewall: Firewall | str = Firewall.NONE


DEFAULT_HOSTS = {
    "orch": HostSpec(),
    "db1": HostSpec(firewall=Firewall.IPTABLES),
    "db2": HostSpec(firewall=Firewall.NFTABLES),
    "db3": HostSpec(),
}
"""The first host of a lab is the orchestration host: its key opens all of them."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of the machine, told apart from a later one that got the same id by its start time (clock ticks)."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this id now; raises LabError when there is none."""
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            raise LabError(f"there is no process {pid}") from None
        if state == "Z":
            raise LabError(f"process {pid} has ended")
        return cls(pid=pid, start=int(fields[18]))

    def alive(self) -> bool:
        """Whether it still runs."""
        try:
            return Process.of(self.pid) == self
        except LabError:
            return False


@dataclass(frozen=True, kw_only=True)
class HostState:
    """A host as its lab's keeper has made it; init is the first process of its PID namespace."""

    name: str
    ipv4: str
    ipv6: str
    firewall: str
    init: int


@dataclass(frozen=True, kw_only=True)
class LabState:
    """A lab as it is noted in its directory, so that other processes can use it and remove it."""

    name: str
    keeper: Process
    owner: Process | None
    switch: int
    hosts: tuple[HostState, ...]

    def save(self) -> None:
        """Write the note; readers see the old one or the new one, never a part."""
        draft = lab_directory(self.name) / "lab.json.new"
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.rename(lab_directory(self.name) / "lab.json")

    @classmethod
    def load(cls, name: str) -> LabState:
        """The note of the lab of that name; raises LabError when there is no such lab."""
        directory = lab_directory(name)
        try:
            if directory.lstat().st_uid != os.geteuid():
                raise LabError(f"{directory} is not a lab of ours, it belongs to somebody else")
            noted = json.loads((directory / "lab.json").read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab named {name}; `python3 -m tests.lab up --name {name}` makes it") from None
        return cls(
            name=noted["name"],
            keeper=Process(**noted["keeper"]),
            owner=Process(**noted["owner"]) if noted["owner"] else None,
            switch=noted["switch"],
            hosts=tuple(HostState(**host) for host in noted["hosts"]),
        )


def lab_directory(name: str) -> Path:
    """Where a lab keeps its note, its log and the disks of its hosts."""
    return LABS / f"{PREFIX}{name}"
