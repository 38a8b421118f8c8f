"""Minimal Debian systems on a host of the lab, for tests that build, install and remove the package."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab import CHECKOUT, CommandFailed
from lab.spec import ENVIRONMENT

if TYPE_CHECKING:
    from lab import Host

MINUTES_OF_APT = 15

_PLACE = "/srv/systems"
_APT = "apt-get --quiet --yes -o Dpkg::Options::=--force-confold"
_ENVIRONMENT = ENVIRONMENT | {"DEBIAN_FRONTEND": "noninteractive"}
# The tools for namespaces need a mount point as root directory, so the directory is bound to itself.
_ENTER = (
    'mount --rbind "$0" "$0" && mount -t proc proc "$0/proc" && mount -t devpts -o ptmxmode=666 devpts "$0/dev/pts"'
    ' && exec chroot "$0" bash -c "$1"'
)


@dataclass(frozen=True, kw_only=True)
class Root:
    """A system in a directory of a host, as a stack of layers in memory, which end with the lab.

    A system that is the base of another system must not change.
    """

    host: Host
    path: str
    layers: tuple[str, ...]

    def copy(self, name: str) -> Root:
        """Return a new system with that name, as a copy of this one."""
        place = f"{_PLACE}/{name}"
        options = f"lowerdir={':'.join(self.layers)},upperdir={place}/changes,workdir={place}/work"
        self.host.run(["mkdir", "--parents", f"{place}/changes", f"{place}/work", f"{place}/root"])
        self.host.run(["mount", "-t", "overlay", "-o", options, "copy", f"{place}/root"])
        return Root(host=self.host, path=f"{place}/root", layers=(f"{place}/changes", *self.layers))

    def run(self, script: str, *, timeout: float = 120) -> str:
        """Run a bash script in the system and return its output; raises CommandFailed like Host.run."""
        command = ["unshare", "--mount", "--", "bash", "-c", _ENTER, self.path, script]
        return os.fsdecode(self.host.run(command, timeout=timeout, env=_ENVIRONMENT).stdout)

    def online(self, script: str) -> str:
        """Run a bash script in the system, with the network of the machine; return its output."""
        return online(self.host, "bash", "-c", _ENTER, self.path, script)

    def install(self, *packages: str) -> None:
        """Install packages (names, or paths in the system) with their dependencies, without recommended packages."""
        self.online(f"{_APT} install --no-install-recommends -- {' '.join(packages)}")

    def apt(self, *words: str) -> None:
        """Run an apt-get command that needs no network."""
        self.run(f"{_APT} {' '.join(words)}")

    def files(self) -> set[str]:
        """Return all files, except /proc and the state and caches of the package manager."""
        pruned = " -o ".join(f"-path {path}" for path in ("/proc", "/var/lib/dpkg", "/var/cache", "/var/log"))
        return set(self.run(f"find / '(' {pruned} ')' -prune -o -print").splitlines())


def bootstrap(host: Host, suite: str) -> Root:
    """Create a minimal system of a Debian suite on a host."""
    path = f"{_PLACE}/{suite}"
    host.small_disk(_PLACE, "4g")
    online(host, f"{CHECKOUT}/tests/package/bootstrap.sh", suite, path)
    return Root(host=host, path=path, layers=(path,))


def online(host: Host, *argv: str) -> str:
    """Run a program with the files of a host and the network of the machine; return its output.

    The kernel kills the program and its children if the test process ends.
    """
    enter = ("nsenter", "--target", str(host.init), "--mount", "--root", "--wdns=/", "--")
    alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "bash", "-c")
    command = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
        *enter,
        *alone,
        'mount -t proc proc /proc && exec "$0" "$@"',
        *argv,
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=MINUTES_OF_APT * 60,
        env=_ENVIRONMENT,
    )
    if done.returncode:
        raise CommandFailed(done.returncode, argv, done.stdout)
    return os.fsdecode(done.stdout)
