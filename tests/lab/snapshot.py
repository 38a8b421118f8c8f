"""Snapshots of a host: everything that a transfer could leave behind, as lists of lines.

The snapshot is taken from the machine. It needs no tools on the host, and starts no process there.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from .spec import CHECKOUT, ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Snapshot = dict[str, list[str]]

WATCHED = ("/run", "/tmp", "/srv", "/root", "/dev/shm", "/var/tmp")

_FIREWALLS = (
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "nft --stateless list ruleset",
)
_SECTION = "== sockets =="
_NETWORK = f"{'; '.join(_FIREWALLS)}; echo '{_SECTION}'; ss -Hltun"
_PACKET_COUNTERS = re.compile(r"\[\d+:\d+\]")


def take(init: int) -> Snapshot:
    """Return the snapshot of the host with this init."""
    firewall, sockets = _network(init)
    root = f"/proc/{init}/root"
    return {
        "firewall": firewall,
        "listening": sockets,
        "processes": sorted(_processes(Path(root, "proc"))),
        "files": sorted(line for top in WATCHED for line in _files(root, top)),
    }


def difference(before: Mapping[str, list[str]], after: Mapping[str, list[str]]) -> str:
    """Return the new (+) and missing (-) lines of a later snapshot, as text; empty if there are none."""
    lines = []
    for section in before:
        diff = list(difflib.unified_diff(before[section], after[section], n=0, lineterm=""))[2:]
        lines += [f"{section}:", *(f"  {line}" for line in diff if not line.startswith("@@"))] if diff else []
    return "\n".join(lines)


def _network(init: int) -> tuple[list[str], list[str]]:
    argv = ["nsenter", "--target", str(init), "--net", "--", "bash", "-c", _NETWORK]
    wrote = subprocess.run(argv, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout
    firewall, _, sockets = wrote.partition(f"{_SECTION}\n")
    rules = [_PACKET_COUNTERS.sub("", line) for line in firewall.splitlines() if not line.startswith("#")]
    listening = (line.split() for line in sockets.splitlines())
    return rules, sorted(f"{protocol} {address}" for protocol, _, _, _, address, *_ in listening)


def _processes(proc: Path) -> Iterator[str]:
    for entry in proc.iterdir():
        if not entry.name.isdigit() or entry.name == "1":
            continue
        try:
            name, _, fields = (entry / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
            command = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError):
            continue  # the process has ended in the meantime
        if not name.startswith("sshd") and not fields.startswith(" Z"):
            yield f"{entry.name} {os.fsdecode(command) or name}"


def _files(root: str, path: str) -> Iterator[str]:
    """Yield one line per file; directories without size and time, because temporary files change both."""
    try:
        entries = list(os.scandir(root + path))
    except FileNotFoundError:
        return
    for entry in entries:
        inside = f"{path}/{entry.name}"
        if inside == str(CHECKOUT):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield f"{inside}/ {stat.filemode(status.st_mode)}"
                yield from _files(root, inside)
            else:
                link = f" -> {Path(entry).readlink()}" if entry.is_symlink() else ""
                yield f"{inside} {stat.filemode(status.st_mode)} {status.st_size} {status.st_mtime_ns}{link}"
        except FileNotFoundError:
            continue  # the file was removed in the meantime
