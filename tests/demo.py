"""Demonstration: create test hosts, copy a directory tree between them, verify the copies, remove the hosts."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lab import CHECKOUT, Firewall, Host, HostSpec, Lab, LabError, Snapshot, difference
from lab.spec import Process, lab_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = CHECKOUT / ".venv/bin/transfer.py"
TREE = "/srv/tree"
PORT = 4400

REFERENCE = ("rsync", "-aHAXS", "--numeric-ids", "--checksum", "--delete", "--dry-run", "--itemize-changes")

ORCHESTRATOR = "orch"
SOURCE = "db1"
TARGETS = ("db2", "db3")
HOSTS = {
    ORCHESTRATOR: HostSpec(),
    SOURCE: HostSpec(),
    "db2": HostSpec(firewall=Firewall.IPTABLES),
    "db3": HostSpec(firewall=Firewall.NFTABLES),
}
ROLES = {
    ORCHESTRATOR: "orchestration host, with cumin and a root ssh key",
    SOURCE: "source, without a firewall",
    "db2": "target, iptables drops everything except ssh",
    "db3": "target, nftables drops everything except ssh",
}

# Files that exist on every Debian 12 machine. The demo takes them in this order until it has enough data.
MATERIAL = (
    *("/usr/lib/python3", "/usr/lib/python3.*", "/usr/share/perl", "/usr/share/zoneinfo", "/usr/lib/*-linux-gnu"),
    *("/usr/bin", "/usr/sbin", "/usr/share", "/usr/lib"),
)
ALWAYS = "/usr/bin/perl*"  # an executable with two hard links
SETTLING_SECONDS = 10.0

# Counts a file with several hard links once.
COUNT = r"""
find . -printf '%y %n %m %s %i\n' | awk '
    $1 == "l" { links++ }
    $1 == "d" { directories++ }
    $1 != "f" || seen[$5]++ { next }
    { files++; bytes += $4 }
    $2 > 1 { linked++ }
    $3 ~ /[1357]/ { executable++ }
    END { printf "%d %d %d %d %d %d\n", files, bytes, directories, links, executable, linked }'
"""


class Ended(BaseException):
    """A signal that ends the demo."""


@dataclass
class Verdict:
    """The results of all checks; each result is printed at once.

    Attributes:
        failed: the names of the failed checks.
    """

    failed: list[str] = field(default_factory=list)

    def check(self, name: str, problem: str) -> None:
        """Print and record the result of the check `name`; an empty problem means success."""
        print(f"  {'FAILED' if problem else 'ok':8}{name}")
        if problem:
            self.failed.append(name)
            print(indent(shorten(problem)))


def main() -> int:
    """Run the demo and return the exit status: 0 if all checks passed."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="size of the tree (default: %(default)s)")
    arguments = parser.parse_args()
    # Flush each line, also into a file, so that the output is always up to date.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # standard output is a TextIOWrapper here
    try:
        with ended_by_signals(), Lab.up(HOSTS) as lab, signals_ignored_at_end():
            verdict = demonstrate(lab, arguments.megabytes)
        verdict.check("the hosts are removed, and nothing of them is left on this machine", left_of(lab))
    except Ended as end:
        print(f"\nended by {end.args[0].name}; the hosts and all their files are removed", file=sys.stderr)
        return 128 + int(end.args[0])
    except (LabError, OSError, subprocess.SubprocessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if verdict.failed:
        print(f"\n{len(verdict.failed)} check(s) FAILED, see above.")
        return 1
    print("\nAll checks passed.")
    return 0


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise Ended on HUP, INT and TERM, so that the hosts are removed."""

    def end(signum: int, _frame: object) -> NoReturn:
        raise Ended(signal.Signals(signum))

    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, end)
    yield


@contextmanager
def signals_ignored_at_end() -> Iterator[None]:
    """Ignore signals after the body, so that no signal interrupts the removal of the hosts."""
    try:
        yield
    finally:
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)


def demonstrate(lab: Lab, megabytes: int) -> Verdict:
    """Copy and verify the tree in this lab; return the results of the checks."""
    verdict = Verdict()
    show_hosts(lab)
    verdict.check("the firewalls of the targets block the source", reachable_targets(lab))
    create_tree(lab[SOURCE], megabytes)
    lab[ORCHESTRATOR].run(["ln", "-sfT", str(COMMAND), "/usr/local/bin/transfer.py"])
    before = lab.snapshot()
    words = ["transfer.py", f"{SOURCE}:{TREE}", *(f"{target}:/srv" for target in TARGETS)]
    status = run_shown(lab, words)
    print("\nChecks:")
    verdict.check("transfer.py ended with exit status 0", "" if status == 0 else f"it was {status}")
    for target in map(lab.__getitem__, TARGETS):
        wanted, found = tree_summary(lab[SOURCE]), tree_summary(target)
        verdict.check(f"{target.name}:{TREE} has {wanted}", "" if found == wanted else f"it has {found or 'nothing'}")
        if found:
            verdict.check(
                f"{target.name}:{TREE} is equal to {SOURCE}:{TREE}, by {shlex.join(REFERENCE)}",
                differences(lab, target),
            )
    show_remains(verdict, before, lab)
    return verdict


def show_hosts(lab: Lab) -> None:
    """Print the hosts of the lab."""
    print("Four test hosts (namespaces of this machine), each with its own network, sshd, disk and firewall:\n")
    for host in lab:
        print(f"  {host.name:6}{host.ipv4:14}{ROLES[host.name]}")
    print()


def reachable_targets(lab: Lab) -> str:
    """Return the names of the targets whose firewalls accept the source without a firewall rule of transfer.py."""
    return "\n".join(name for name in TARGETS if lets_through(lab[SOURCE], lab[name]))


def lets_through(source: Host, target: Host) -> bool:
    """Return whether the source can connect to a listener on the target."""
    listener = target.popen(["socat", "-u", f"TCP-LISTEN:{PORT},fork,reuseaddr", "STDOUT"], stdout=subprocess.DEVNULL)
    try:
        probe = ["nc.openbsd", "-z", target.ipv4, str(PORT)]
        # The target can connect to its own listener. So only the firewall can block the source.
        target.run(f"until {shlex.join(probe)}; do sleep 0.02; done", timeout=20)
        return source.run(["timeout", "1", *probe], check=False).returncode == 0
    finally:
        listener.kill()
        listener.wait()


def create_tree(host: Host, megabytes: int) -> None:
    """Create a tree of about that size on the host, from files of this machine."""
    parts = chosen_parts(megabytes * 1_000_000)
    host.run(["mkdir", TREE])
    # cp of coreutils 9.1 looks for the parent directories of absolute names in the wrong place.
    names = "\0".join(part.removeprefix("/") for part in parts).encode()
    host.run(f"cd / && xargs -0 cp -a --parents -t {TREE}", input=names, timeout=600)
    print(f"\n{host.name}:{TREE} contains files from /usr of this machine: {tree_summary(host)}")


def chosen_parts(wanted: int) -> list[str]:
    """Return files and directories of this machine with a total size of about `wanted` bytes, at most 10 % more."""
    parts = list(map(str, Path("/").glob(ALWAYS[1:])))
    total = 0
    for top in MATERIAL:
        for path in (entry for tree in sorted(Path("/").glob(top[1:])) for entry in sorted(tree.iterdir())):
            if any(Path(part).is_relative_to(path) or path.is_relative_to(part) for part in parts):
                continue
            size = size_of(path)
            if total + size <= wanted * 1.1:
                parts.append(str(path))
                total += size
            if total >= wanted:
                return parts
    return parts


def size_of(path: Path) -> int:
    """Return the total size in bytes of the files below a path."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(Path(directory, name).lstat().st_size for directory, _, names in os.walk(path) for name in names)


def tree_summary(host: Host) -> str:
    """Return the numbers and sizes of the files in the tree on that host; empty if the host has no tree."""
    if host.run(["test", "-d", TREE], check=False).returncode:
        return ""
    files, size, directories, links, executable, linked = map(int, host.sh(f"cd {TREE} && {COUNT}").split())
    return (
        f"{files:,} files ({executable:,} executable, {linked:,} with several hard links), {links:,} symbolic links,"
        f" {directories:,} directories, {size / 1e6:,.1f} MB"
    )


def run_shown(lab: Lab, words: list[str]) -> int:
    """Run a command on the orchestration host, print the command and its output, and return its exit status."""
    print(f"\nThe command and its output:\n\nroot@{ORCHESTRATOR}:~# {shlex.join(words)}")
    rules: list[str] = []
    process = lab[ORCHESTRATOR].popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    try:
        for line in process.stdout or ():
            print(line, end="")
            rules += [rule for target in TARGETS if f" {target}: port" in line for rule in opened(lab[target])]
    except BaseException:
        process.kill()  # the removal of the hosts also removes its leftovers
        raise
    finally:
        process.wait()
    if rules:
        print("\nFirewall rules on the targets during the stream:\n")
        print(indent("\n".join(rules)))
    return process.returncode


def opened(target: Host) -> Iterator[str]:
    """Yield the firewall rules that transfer.py added on a target."""
    for rule in target.snapshot()["firewall"]:
        if "transferpy-" in rule:
            yield f"{target.name}: {rule.strip()}"


def differences(lab: Lab, target: Host) -> str:
    """Return the differences between the trees on the source and the target, as rsync reports them."""
    # rsync does not follow the links of /proc, so it needs the paths on this machine.
    trees = [f"{lab_directory(lab.name)}/{host.name}/disk{TREE}/" for host in (lab[SOURCE], target)]
    judged = subprocess.run([*REFERENCE, *trees], capture_output=True, text=True, errors="replace", check=False)
    return (judged.stdout + judged.stderr).strip() or (
        f"its status is {judged.returncode}" if judged.returncode else ""
    )


def show_remains(verdict: Verdict, before: Snapshot, lab: Lab) -> None:
    """Check that the run left nothing behind on the hosts, except the copies."""
    deadline = time.monotonic() + SETTLING_SECONDS  # sshd processes end shortly after their connection
    while difference(before, after := without_copies(lab.snapshot())) and time.monotonic() < deadline:
        time.sleep(0.1)
    for kind, name in (
        ("firewall", "the firewalls of all hosts are unchanged"),
        ("listening", "no host has a new listener"),
        ("processes", "no host has a new process"),
        ("files", "no host has a new or changed file in /run, /tmp, /srv or /root"),
    ):
        sections = {section: lines for section, lines in before.items() if section.endswith(f" {kind}")}
        verdict.check(name, difference(sections, after))


def without_copies(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot without the expected copies on the targets."""
    copies = {f"{target} files" for target in TARGETS}
    return {
        section: [line for line in lines if section not in copies or not line.startswith(f"{TREE}/")]
        for section, lines in snapshot.items()
    }


def left_of(lab: Lab) -> str:
    """Return the remaining directories and processes of a removed lab."""
    left = [str(lab_directory(lab.name))] if lab_directory(lab.name).exists() else []
    for host in lab:
        with suppress(LabError):
            left.append(f"{host.name}: process {Process.of(host.init).pid}")
    return "\n".join(left)


def shorten(text: str, lines: int = 20) -> str:
    """Return the first lines of a text, and the number of omitted lines."""
    parts = text.splitlines()
    return "\n".join(parts[:lines] + ([f"and {len(parts) - lines} more lines"] if len(parts) > lines else []))


def indent(text: str) -> str:
    """Return the text with each line indented."""
    return "\n".join(f"        {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
