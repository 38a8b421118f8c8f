"""The keeper of a lab: the process that creates the lab, and removes it on SIGTERM or when the owner has ended.

The keeper is a separate process, so that it can remove the lab even if the owner is killed with SIGKILL. If the keeper
itself is killed, the kernel ends all hosts, and the creation of the next lab removes the directory.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import firewalls
from .measured import measured, sitecustomize
from .spec import (
    CHECKOUT,
    DOMAIN,
    IN_MEMORY,
    ON_DISK,
    OVERLAID,
    UPLINK,
    HostState,
    LabError,
    LabState,
    Process,
    lab_directory,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_SSHD = """\
Port 22
# The default algorithm of OpenSSH, sntrup761, costs 140 ms of CPU time per login
KexAlgorithms curve25519-sha256
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 100:30:200
MaxSessions 100
AcceptEnv LANG LC_*
# As in Debian; scp needs it
Subsystem sftp /usr/lib/openssh/sftp-server
"""

_CUMIN = """\
transport: clustershell
log_file: /var/log/cumin/cumin.log
default_backend: direct
clustershell:
    ssh_options:
        - '-o BatchMode=yes'
        - '-o ConnectTimeout=10'
"""

# The switch drops packets between two hosts, outside of the firewalls of the hosts. It still forwards neighbour
# discovery. Otherwise the kernels of the hosts would report "no route to host" after three seconds.
_SWITCH = """\
table bridge lab {
    set cut { type ifname . ifname; }
    chain forward {
        type filter hook forward priority 0; policy accept;
        ether type arp accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        iifname . oifname @cut drop
    }
}
"""

_BRIDGE = "br.lab"  # no host can have a name with a dot
_ENDS_WITH_KEEPER = ("setpriv", "--pdeathsig", "KILL", "--")  # dies with the keeper


class Keeper:
    """The processes of one lab, which it creates from the request {name, owner, hosts: {name: [firewall, system]}}."""

    def __init__(self, request: dict[str, Any], directory: Path) -> None:
        self.directory = directory
        self.name = str(request["name"])
        self.owner = Process.of(request["owner"]) if request["owner"] else None
        self.hosts = [
            HostState(name=name, ipv4=f"198.18.0.{i}", ipv6=f"fd00:1ab::{i}", firewall=firewall, init=0)
            for i, (name, (firewall, _)) in enumerate(request["hosts"].items(), start=11)
        ]
        self.systems = {name: system for name, (_, system) in request["hosts"].items()}
        self.started: list[subprocess.Popen[str]] = []

    def build(self) -> LabState:
        """Create the lab; `started` and the directory are complete even if this method raises an error."""
        self._save_state(switch=0)
        self._write_seeds()
        switch = self._start("unshare", "--net", "--", "bash", "-c", "echo $$; exec sleep infinity")
        inits = [self._start_host(host) for host in self.hosts]
        switch_pid = int(_line(switch))
        self.hosts = [
            HostState(**{**vars(host), "init": int(_line(init))}) for host, init in zip(self.hosts, inits, strict=True)
        ]
        self._connect(switch_pid)
        for host, init in zip(self.hosts, inits, strict=True):
            for command, rules in firewalls.loaders(host.firewall):
                _inside(host.init, *command, text=rules)
            assert init.stdin
            init.stdin.write("go\n")
            init.stdin.flush()
        for host, init in zip(self.hosts, inits, strict=True):
            if _line(init) != "ready":
                raise LabError(f"host {host.name} did not start")
        return self._save_state(switch=switch_pid)

    def _save_state(self, switch: int) -> LabState:
        state = LabState(
            name=self.name,
            keeper=Process.of(os.getpid()),
            owner=self.owner,
            switch=switch,
            hosts=tuple(self.hosts),
        )
        state.save()
        return state

    def _start(self, *argv: str) -> subprocess.Popen[str]:
        command = [*_ENDS_WITH_KEEPER, *argv]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def _start_host(self, host: HostState) -> subprocess.Popen[str]:
        unshare = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--")
        script = str(Path(__file__).with_name("host.sh"))
        lists = (" ".join(OVERLAID), " ".join(ON_DISK), " ".join(IN_MEMORY))
        places = (str(self.directory / host.name), str(CHECKOUT), self.systems[host.name])
        return self._start(*unshare, "bash", script, host.name, *places, *lists)

    def _write_seeds(self) -> None:
        """Write the files that differ between hosts in /etc and /root, including keys."""
        orchestrator = self.hosts[0]
        keygens = []
        for host in self.hosts:
            home = self.directory / host.name
            for part in ("checkout", "memory", "disk", "seed/etc/ssh", "seed/etc/cumin", "seed/root/.ssh"):
                (home / part).mkdir(parents=True)
            (home / "seed/root").chmod(0o700)
            (home / "seed/root/.ssh").chmod(0o700)
            keygens.append(_keygen(home / "seed/etc/ssh/ssh_host_ed25519_key"))
        orchestrator_key = self.directory / orchestrator.name / "seed/root/.ssh/id_ed25519"
        keygens.append(_keygen(orchestrator_key))
        for keygen in keygens:
            if keygen.wait():
                raise LabError("ssh-keygen failed")

        addresses = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + "".join(
            f"{address} {host.name}.{DOMAIN} {host.name}\n" for host in self.hosts for address in (host.ipv4, host.ipv6)
        )
        known = "".join(
            f"{host.name},{host.name}.{DOMAIN},{host.ipv4},{host.ipv6} "
            + (self.directory / host.name / "seed/etc/ssh/ssh_host_ed25519_key.pub").read_text()
            for host in self.hosts
        )
        for host in self.hosts:
            seed = self.directory / host.name / "seed"
            (seed / "etc/hosts").write_text(addresses)
            (seed / "etc/hostname").write_text(f"{host.name}\n")
            (seed / "etc/ssh/sshd_config").write_text(_SSHD)
            (seed / "etc/ssh/ssh_known_hosts").write_text(known)
            shutil.copy(orchestrator_key.with_suffix(".pub"), seed / "root/.ssh/authorized_keys")
            for link, target in firewalls.alternatives(host.firewall):
                (seed / "etc/alternatives").mkdir(exist_ok=True)
                (seed / "etc/alternatives" / link).symlink_to(target)
        (self.directory / orchestrator.name / "seed/etc/cumin/config.yaml").write_text(_CUMIN)
        if variables := measured():
            self._measure(variables)

    def _measure(self, variables: Mapping[str, str]) -> None:
        """Have the coverage measured of the Python processes of the orchestration host, and of the scripts on all."""
        customized = self.directory / self.hosts[0].name / f"seed/etc/python3.{sys.version_info.minor}/sitecustomize.py"
        customized.parent.mkdir()
        customized.write_text(sitecustomize(variables))
        # A script for a host has none of the variables of its login. It finds this program in its PATH before bash,
        # and after those programs in /usr/local with which tests replace bash.
        for host in self.hosts:
            program = self.directory / host.name / "seed/usr/sbin/bash"
            program.parent.mkdir(parents=True)
            program.write_text(f'#!/bin/sh\nBASH_ENV={variables["BASH_ENV"]} exec /usr/bin/bash "$@"\n')
            program.chmod(0o755)

    def _connect(self, switch: int) -> None:
        """Create a bridge in the switch, a link from the bridge to each host, and the addresses of the hosts."""
        ports = "".join(
            f"link add name {host.name} type veth peer name {UPLINK} netns {host.init}\n"
            f"link set dev {host.name} master {_BRIDGE} up\n"
            for host in self.hosts
        )
        _ip(switch, f"link add name {_BRIDGE} type bridge mcast_snooping 0\n{ports}link set dev {_BRIDGE} up\n")
        _inside(switch, "nft", "-f", "-", text=_SWITCH)
        for host in self.hosts:
            _ip(
                host.init,
                f"link set dev lo up\naddr add {host.ipv4}/24 dev {UPLINK}\n"
                f"addr add {host.ipv6}/64 dev {UPLINK} nodad\nlink set dev {UPLINK} up\n",
            )

    def wait_for_owner(self) -> None:
        """Return when the owner has ended; without an owner, wait for a signal."""
        poll = select.poll()
        if self.owner:
            try:
                poll.register(os.pidfd_open(self.owner.pid), select.POLLIN)
            except ProcessLookupError:
                return
            if not self.owner.alive():
                return
        poll.poll()

    def end(self) -> None:
        """End every process of the lab; this also ends its namespaces and mounts."""
        mounts = {_mount_namespace(host.init) for host in self.hosts if host.init} - {None}
        for process in self.started:
            process.kill()  # unshare kills the init of the host, and with it all processes of the host
            process.wait()
        deadline = time.monotonic() + 5
        while mounts & set(map(_mount_namespace, _processes())) and time.monotonic() < deadline:
            time.sleep(0.005)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    line = process.stdout.readline().strip()
    if not line:
        raise LabError("a part of the lab did not start")
    return line


def _keygen(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", path])


def _inside(pid: int, *command: str, text: str) -> None:
    subprocess.run(["nsenter", "--target", str(pid), "--net", "--", *command], input=text, text=True, check=True)


def _ip(pid: int, commands: str) -> None:
    _inside(pid, "ip", "-batch", "-", text=commands)


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def _mount_namespace(pid: int) -> Path | None:
    """Return the mount namespace of a process; None if the process has ended, even before its parent waited for it."""
    try:
        return Path(f"/proc/{pid}/ns/mnt").readlink()
    except OSError:
        return None


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def main(request: IO[str], answer: IO[str]) -> None:
    """Create the lab of `request`, write an empty line or the error to `answer`, and keep the lab until its end."""
    signal.signal(signal.SIGTERM, _stop)
    wanted = json.load(request)
    directory = lab_directory(wanted["name"])
    keeper = None
    try:
        try:
            keeper = Keeper(wanted, directory)
            keeper.build()
        except (LabError, OSError, subprocess.CalledProcessError) as error:
            print(error, (directory / "keeper.log").read_text(), sep="\n", file=answer, flush=True)
            return
        print(file=answer, flush=True)
        keeper.wait_for_owner()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if keeper:
            keeper.end()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
