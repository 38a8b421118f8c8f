"""A host of a lab: the interface for tests."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .snapshot import Snapshot, take
from .spec import ENVIRONMENT, UPLINK, HostState, LabError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NETCATS = {"openbsd": "nc.openbsd", "traditional": "nc.traditional", "ncat": "ncat"}

_COMMAND_DIRECTORIES = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin")
_HIDDEN = "usr/lib/transferpy-lab-hidden"
_ALTERNATIVES = ("nc", "netcat")
_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(subprocess.CalledProcessError):
    """A failed command on a host; the message contains the output of the command."""

    def __str__(self) -> str:
        wrote = b"".join(part for part in (self.output, self.stderr) if part).decode(errors="backslashreplace")
        return f"{super().__str__()}\n{wrote}"


class Host:
    """One host; the methods run on the machine and enter the namespaces of the host."""

    def __init__(self, state: HostState, switch: int) -> None:
        self.name = state.name
        self.ipv4 = state.ipv4
        self.ipv6 = state.ipv6
        self.firewall = state.firewall
        self.init = state.init
        self.root = Path(f"/proc/{state.init}/root")  # of the host; absolute links in it lead to the machine
        self._switch = switch
        self._small_disks: list[str] = []
        self._alternatives: dict[str, Path] = {}  # that `netcat` has changed
        self._processes: weakref.WeakSet[subprocess.Popen[Any]] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def popen(
        self, argv: Sequence[str | bytes | os.PathLike[str]], *, env: Mapping[str, str] | None = None, **kwargs: Any
    ) -> subprocess.Popen[Any]:
        """Start a program on the host; signals to the Popen reach the program itself.

        `env` is added to the environment of a plain login. `cwd` is a directory of the host (default /root). All other
        arguments are those of subprocess.Popen.
        """
        directory = kwargs.pop("cwd", "/root")
        # Without --root, the program would leave the chroot of a machine that is itself a chroot.
        parts = ("--mount", "--root", "--uts", "--net", f"--wdns={directory}")
        enter = ("nsenter", "--target", str(self.init), *parts, "--")
        with self._pid_namespace():
            process = subprocess.Popen([*enter, *argv], env=ENVIRONMENT | dict(env or {}), **kwargs)
        self._processes.add(process)
        return process

    @contextmanager
    def _pid_namespace(self) -> Iterator[None]:
        """Make the children of this thread start directly in the PID namespace of the host."""
        if not Path(f"/proc/{self.init}/ns/mnt").exists():  # an init that has ended has no mount namespace
            raise LabError(f"host {self.name} is down")
        own = os.open("/proc/self/ns/pid", os.O_RDONLY)
        try:
            theirs = os.open(f"/proc/{self.init}/ns/pid", os.O_RDONLY)
            try:
                set_namespace(theirs)
            finally:
                os.close(theirs)
            try:
                yield
            finally:
                set_namespace(own)
        finally:
            os.close(own)

    def run(
        self,
        command: str | Sequence[str | bytes | os.PathLike[str]],
        *,
        check: bool = True,
        timeout: float = 60,
        input: bytes | None = None,  # noqa: A002 -- the argument of subprocess.run
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a bash script (a string) or an argument list and return its exit status and its output, as bytes.

        Raises CommandFailed if the exit status is not 0 and `check` is on. After `timeout` seconds, kills the process
        group and raises subprocess.TimeoutExpired.
        """
        argv = ["bash", "-c", command] if isinstance(command, str) else command
        process = self.popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(input, timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if check and process.returncode:
            raise CommandFailed(process.returncode, command, stdout, stderr)
        return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)

    def sh(self, script: str, *, timeout: float = 60) -> str:
        """Return the standard output of a bash script, without surrounding whitespace."""
        return os.fsdecode(self.run(script, timeout=timeout).stdout).strip()

    def kill(self) -> None:
        """Switch the host off for good: kill all its processes. Use this only in a separate lab."""
        pidfd = os.pidfd_open(self.init)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            deadline = time.monotonic() + 10
            while not poll.poll(10):
                self.reap()
                if time.monotonic() > deadline:
                    raise LabError(f"host {self.name} does not end; another process may not have waited for its child")
        finally:
            os.close(pidfd)

    def reap(self) -> None:
        """Wait for ended child processes on the host; the init of the host cannot end before."""
        for process in list(self._processes):
            process.poll()

    # programs and disks

    def hide(self, *commands: str) -> None:
        """Remove commands from this host until `unhide`; raises LabError if the host lacks one of them."""
        for command in commands:
            found = [path for path in self._candidate_paths(command) if os.path.lexists(path)]
            if not found:
                raise LabError(f"host {self.name} has no command {command} to hide")
            for path in found:
                hidden = self._hidden_path(path)
                hidden.parent.mkdir(exist_ok=True)
                path.rename(hidden)

    def unhide(self, *commands: str) -> None:
        """Restore hidden commands; all of them by default."""
        hidden = self.root / _HIDDEN
        names = commands or {path.name.rpartition("%")[2] for path in hidden.glob("*")}
        for name in names:
            for path in self._candidate_paths(name):
                if os.path.lexists(self._hidden_path(path)):
                    self._hidden_path(path).rename(path)

    def _candidate_paths(self, command: str) -> list[Path]:
        return [self.root / directory / command for directory in _COMMAND_DIRECTORIES]

    def _hidden_path(self, path: Path) -> Path:
        return self.root / _HIDDEN / str(path.relative_to(self.root)).replace("/", "%")

    def netcat(self, flavour: str | None) -> None:
        """Choose the only netcat of this host: openbsd, traditional, ncat, or None for no netcat."""
        self.unhide(*_ALTERNATIVES, *NETCATS.values())
        if flavour is None:
            self.hide(*_ALTERNATIVES, *NETCATS.values())
            return
        for name in _ALTERNATIVES:
            self._link_alternative(name, Path("/usr/bin", NETCATS[flavour]))
        self.hide(*(command for other, command in NETCATS.items() if other != flavour))

    def _link_alternative(self, name: str, target: Path) -> None:
        link = self.root / "etc/alternatives" / name
        self._alternatives.setdefault(name, link.readlink())
        link.unlink()
        link.symlink_to(target)

    def small_disk(self, directory: str, size: str) -> None:
        """Mount a new empty file system of that size ("16m") on a directory; create the directory if needed."""
        self.run(["mkdir", "-p", "--", directory])
        self.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "small-disk", directory])
        self._small_disks.append(directory)

    # the network

    def shape(self, rate: str | None) -> None:
        """Limit the link of the host, in both directions, to a rate as for tc ("200mbit"); None removes the limit."""
        for pid, device in ((self.init, UPLINK), (self._switch, self.name)):
            if rate:
                bucket = ("tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
                in_network(pid, "tc", "qdisc", "replace", "dev", device, "root", *bucket)
            else:
                in_network(pid, "tc", "qdisc", "del", "dev", device, "root", check=False)

    def limit_connections(self, rate: str) -> None:
        """Limit each connection from this host to a port in 4400-4499 to a rate as for tc; `shape` removes the limits.

        So a network treats connections that shares its links per flow. Connections to other ports are not limited.
        """
        self.shape(None)
        lines = [f"qdisc add dev {UPLINK} root handle 1: htb"]  # packets of no class are not limited
        size = "burst 64kb cburst 64kb quantum 15140"
        for number, port in enumerate(range(4400, 4500), 1):
            lines.append(f"class add dev {UPLINK} parent 1: classid 1:{number:x} htb rate {rate} {size}")
            for order, (protocol, header) in enumerate((("ip", "ip"), ("ipv6", "ip6")), 1):
                match = f"u32 match {header} protocol 6 0xff match {header} dport {port} 0xffff"
                where = f"parent 1: prio {order} protocol {protocol}"
                lines.append(f"filter add dev {UPLINK} {where} {match} flowid 1:{number:x}")
        in_network(self.init, "tc", "-batch", "-", input="\n".join(lines))

    def cut(self, other: Host) -> None:
        """Drop all packets between this host and the other one, without an error."""
        in_network(self._switch, "nft", "add", "element", "bridge", "lab", "cut", self._pairs(other))

    def heal(self, other: Host) -> None:
        """Undo `cut`; does nothing if there was no cut."""
        in_network(self._switch, "nft", "delete", "element", "bridge", "lab", "cut", self._pairs(other), check=False)

    def _pairs(self, other: Host) -> str:
        return f'{{ "{self.name}" . "{other.name}", "{other.name}" . "{self.name}" }}'

    # snapshots

    def snapshot(self) -> Snapshot:
        """Return everything that a transfer could leave behind on this host, for comparison with a later snapshot."""
        return take(self.init)

    def restore(self) -> None:
        """Undo hide, netcat, small_disk and shape."""
        while self._small_disks:
            self.run(["umount", "--lazy", "--", self._small_disks.pop()])
        self.unhide()
        for name, target in self._alternatives.items():
            self._link_alternative(name, target)
        self.shape(None)


def in_network(pid: int, *command: str, check: bool = True, input: str = "") -> str:  # noqa: A002 -- as subprocess.run
    """Run a program of the machine in the network namespace of a process; return its standard output."""
    argv = ["nsenter", "--target", str(pid), "--net", "--", *command]
    done = subprocess.run(argv, input=input.encode(), capture_output=True, check=False, env=ENVIRONMENT)
    if check and done.returncode:
        raise CommandFailed(done.returncode, argv, done.stdout, done.stderr)
    return os.fsdecode(done.stdout)


def set_namespace(namespace: int) -> None:
    """Move this thread to the namespace of a descriptor; for a PID namespace, only the children of this thread."""
    if _libc.setns(namespace, 0):
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")
