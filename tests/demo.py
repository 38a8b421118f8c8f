"""The demo: copies a real tree between hosts that are made for it, shows what happened, and takes the hosts down."""

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

JUDGE = ("rsync", "-aHAXS", "--numeric-ids", "--checksum", "--delete", "--dry-run", "--itemize-changes")

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
    ORCHESTRATOR: "here the command is typed: cumin and a root ssh key",
    SOURCE: "the source, without a firewall",
    "db2": "a target, its iptables drops all but ssh",
    "db3": "a target, its nftables drops all but ssh",
}

# What any Debian 12 machine has, taken in this order until there is enough of it.
MATERIAL = (
    *("/usr/lib/python3", "/usr/lib/python3.*", "/usr/share/perl", "/usr/share/zoneinfo", "/usr/lib/*-linux-gnu"),
    *("/usr/bin", "/usr/sbin", "/usr/share", "/usr/lib"),
)
ALWAYS = "/usr/bin/perl*"  # an executable with two names
SETTLING_SECONDS = 10.0

# A file with several names counts once.
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
    """A signal ends the demo."""


@dataclass
class Verdict:
    """What was found right and wrong, told as it is found."""

    wrong: list[str] = field(default_factory=list)

    def check(self, what: str, problem: str) -> None:
        """Tell whether `what` holds: it does when there is no problem."""
        print(f"  {'WRONG' if problem else 'ok':6}{what}")
        if problem:
            self.wrong.append(what)
            print(indent(shorten(problem)))


def main() -> int:
    """Run the demo and return the exit status: 0 when all is as it should be."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200, help="how much to copy (default: %(default)s)")
    arguments = parser.parse_args()
    # A line at a time, also into a file: what is seen so far is what happened so far.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # it is the real one
    try:
        with ended_by_signals(), Lab.up(HOSTS) as lab, deaf():
            verdict = demonstrate(lab, arguments.megabytes)
        verdict.check("the hosts are taken down, and nothing of them is left on this machine", left_of(lab))
    except Ended as end:
        print(f"\nended by {end.args[0].name}; the hosts are gone, and with them all they had", file=sys.stderr)
        return 128 + int(end.args[0])
    except (LabError, OSError, subprocess.SubprocessError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if verdict.wrong:
        print(f"\nThe demo FAILED: {len(verdict.wrong)} thing(s) are not as they should be, see WRONG above.")
        return 1
    print("\nAll is as it should be.")
    return 0


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have HUP, INT and TERM leave what is running in good order, so that the hosts are removed."""

    def end(signum: int, _frame: object) -> NoReturn:
        raise Ended(signal.Signals(signum))

    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, end)
    yield


@contextmanager
def deaf() -> Iterator[None]:
    """At the end let no signal interrupt the removal of the hosts."""
    try:
        yield
    finally:
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_IGN)


def demonstrate(lab: Lab, megabytes: int) -> Verdict:
    """Do it all in this lab."""
    verdict = Verdict()
    show_hosts(lab)
    verdict.check("the targets' firewalls let nothing through from the source", open_doors(lab))
    lay_tree(lab[SOURCE], megabytes)
    lab[ORCHESTRATOR].run(["ln", "-sfT", str(COMMAND), "/usr/local/bin/transfer.py"])
    before = lab.snapshot()
    words = ["transfer.py", f"{SOURCE}:{TREE}", *(f"{target}:/srv" for target in TARGETS)]
    status = run_shown(lab, words)
    print("\nWhat happened:")
    verdict.check("transfer.py ended with exit status 0", "" if status == 0 else f"it was {status}")
    for target in map(lab.__getitem__, TARGETS):
        wanted, found = described(lab[SOURCE]), described(target)
        verdict.check(f"{target.name}:{TREE} has {wanted}", "" if found == wanted else f"it has {found or 'nothing'}")
        if found:
            verdict.check(f"{target.name}:{TREE} is as on {SOURCE}, says {shlex.join(JUDGE)}", differences(lab, target))
    show_remains(verdict, before, lab)
    return verdict


def show_hosts(lab: Lab) -> None:
    """Say which hosts there are."""
    print("Four hosts, made of namespaces of this machine, each with its own network, sshd, disk and firewall:\n")
    for host in lab:
        print(f"  {host.name:6}{host.ipv4:14}{ROLES[host.name]}")
    print()


def open_doors(lab: Lab) -> str:
    """Return which targets can be reached from the source on a port that nothing opened; empty if none."""
    return "\n".join(name for name in TARGETS if lets_through(lab[SOURCE], lab[name]))


def lets_through(source: Host, target: Host) -> bool:
    """Tell whether a connection from the source to a listener on the target comes about."""
    listener = target.popen(["socat", "-u", f"TCP-LISTEN:{PORT},fork,reuseaddr", "STDOUT"], stdout=subprocess.DEVNULL)
    try:
        probe = ["nc.openbsd", "-z", target.ipv4, str(PORT)]
        # The host itself reaches it: whatever keeps the source out is the firewall.
        target.run(f"until {shlex.join(probe)}; do sleep 0.02; done", timeout=20)
        return source.run(["timeout", "1", *probe], check=False).returncode == 0
    finally:
        listener.kill()
        listener.wait()


def lay_tree(host: Host, megabytes: int) -> None:
    """Put a tree of about that size on the host: parts of the machine's own, as they are."""
    parts = chosen_parts(megabytes * 1_000_000)
    host.run(["mkdir", TREE])
    # With absolute names cp of coreutils 9.1 looks for the directories above in the wrong place.
    names = "\0".join(part.removeprefix("/") for part in parts).encode()
    host.run(f"cd / && xargs -0 cp -a --parents -t {TREE}", input=names, timeout=600)
    print(f"\n{host.name}:{TREE} is a copy of parts of this machine's /usr: {described(host)}")


def chosen_parts(wanted: int) -> list[str]:
    """Return parts of the machine's tree that together have about so many bytes, and never much more."""
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
    """Return how many bytes the files below a path have."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(Path(directory, name).lstat().st_size for directory, _, names in os.walk(path) for name in names)


def described(host: Host) -> str:
    """Say what is in the tree on that host; nothing when there is none."""
    if host.run(["test", "-d", TREE], check=False).returncode:
        return ""
    files, size, directories, links, executable, linked = map(int, host.sh(f"cd {TREE} && {COUNT}").split())
    return (
        f"{files:,} files ({executable:,} executable, {linked:,} with several names), {links:,} symbolic links,"
        f" {directories:,} directories, {size / 1e6:,.1f} MB"
    )


def run_shown(lab: Lab, words: list[str]) -> int:
    """Run a command on the orchestration host, print it and what it writes as it comes, and return its status."""
    print(f"\nWhat a person types, and sees:\n\nroot@{ORCHESTRATOR}:~# {shlex.join(words)}")
    rules: list[str] = []
    process = lab[ORCHESTRATOR].popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    try:
        for line in process.stdout or ():
            print(line, end="")
            rules += [rule for target in TARGETS if f" {target}: port" in line for rule in opened(lab[target])]
    except BaseException:
        process.kill()  # what it leaves behind goes away with the hosts
        raise
    finally:
        process.wait()
    if rules:
        print("\nWhile the data came in, and only then, these rules stood in the targets' firewalls:\n")
        print(indent("\n".join(rules)))
    return process.returncode


def opened(target: Host) -> Iterator[str]:
    """Yield the rules of transfers in the firewall of a target."""
    for rule in target.snapshot()["firewall"]:
        if "transferpy-" in rule:
            yield f"{target.name}: {rule.strip()}"


def differences(lab: Lab, target: Host) -> str:
    """Return in what the tree on the target differs from that on the source, as an independent judge sees it."""
    # By their real names on this machine: rsync does not follow the links of /proc.
    trees = [f"{lab_directory(lab.name)}/{host.name}/disk{TREE}/" for host in (lab[SOURCE], target)]
    judged = subprocess.run([*JUDGE, *trees], capture_output=True, text=True, errors="replace", check=False)
    return (judged.stdout + judged.stderr).strip() or (
        f"its status is {judged.returncode}" if judged.returncode else ""
    )


def show_remains(verdict: Verdict, before: Snapshot, lab: Lab) -> None:
    """Tell what the run left behind on the hosts beside the copies."""
    deadline = time.monotonic() + SETTLING_SECONDS  # the last processes of an ssh connection end after it
    while difference(before, after := without_copies(lab.snapshot())) and time.monotonic() < deadline:
        time.sleep(0.1)
    for kind, what in (
        ("firewall", "the firewalls of all hosts are as before"),
        ("listening", "nothing new listens on any host"),
        ("processes", "no process is left on any host"),
        ("files", "no file is left in /run, /tmp, /srv or /root of any host, and none there was changed"),
    ):
        sections = [name for name in before if name.endswith(f" {kind}")]
        verdict.check(what, difference({name: before[name] for name in sections}, after))


def without_copies(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot less the copies on the targets, which are to be there."""
    copies = {f"{target} files" for target in TARGETS}
    return {
        section: [line for line in lines if section not in copies or not line.startswith(f"{TREE}/")]
        for section, lines in snapshot.items()
    }


def left_of(lab: Lab) -> str:
    """Return what is left of a lab that was taken down."""
    left = [str(lab_directory(lab.name))] if lab_directory(lab.name).exists() else []
    for host in lab:
        with suppress(LabError):
            left.append(f"{host.name}: process {Process.of(host.init).pid}")
    return "\n".join(left)


def shorten(text: str, lines: int = 20) -> str:
    """Return the first lines of a text, and how many more there are."""
    parts = text.splitlines()
    return "\n".join(parts[:lines] + ([f"and {len(parts) - lines} lines more"] if len(parts) > lines else []))


def indent(text: str) -> str:
    """Return the text moved to the right."""
    return "\n".join(f"        {line}" for line in text.splitlines())


if __name__ == "__main__":
    sys.exit(main())
