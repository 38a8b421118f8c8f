"""Minimal Debian systems on a host of the lab, in which the package is built, installed and removed."""

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
# Bound to itself, so that the directory is a root as the tools for namespaces want it: a mount. With terminals.
_ENTER = (
    'mount --rbind "$0" "$0" && mount -t proc proc "$0/proc" && mount -t devpts -o ptmxmode=666 devpts "$0/dev/pts"'
    ' && exec chroot "$0" bash -c "$1"'
)


@dataclass(frozen=True, kw_only=True)
class Root:
    """A system in a directory of a host, in layers; all of them are in memory, and gone with the lab.

    Nothing changes a system that another one was made from.
    """

    host: Host
    path: str
    layers: tuple[str, ...]

    def copy(self, name: str) -> Root:
        """Return a system with that name which begins as what this one is now."""
        place = f"{_PLACE}/{name}"
        options = f"lowerdir={':'.join(self.layers)},upperdir={place}/changes,workdir={place}/work"
        self.host.run(["mkdir", "--parents", f"{place}/changes", f"{place}/work", f"{place}/root"])
        self.host.run(["mount", "-t", "overlay", "-o", options, "copy", f"{place}/root"])
        return Root(host=self.host, path=f"{place}/root", layers=(f"{place}/changes", *self.layers))

    def run(self, script: str, *, timeout: float = 120) -> str:
        """Return what a bash script writes that runs in there, as on that host; raises CommandFailed as Host.run."""
        command = ["unshare", "--mount", "--", "bash", "-c", _ENTER, self.path, script]
        return os.fsdecode(self.host.run(command, timeout=timeout, env=_ENVIRONMENT).stdout)

    def online(self, script: str) -> str:
        """Return what a bash script writes that runs in there with the network of the machine, which reaches Debian."""
        return online(self.host, "bash", "-c", _ENTER, self.path, script)

    def install(self, *packages: str) -> None:
        """Install packages (names, or paths in there) with what they depend on, and no more."""
        self.online(f"{_APT} install --no-install-recommends -- {' '.join(packages)}")

    def apt(self, *words: str) -> None:
        """Have apt-get do what needs no network."""
        self.run(f"{_APT} {' '.join(words)}")

    def files(self) -> set[str]:
        """Return all files, but for what is in /proc and the notes and caches of the package manager."""
        pruned = " -o ".join(f"-path {path}" for path in ("/proc", "/var/lib/dpkg", "/var/cache", "/var/log"))
        return set(self.run(f"find / '(' {pruned} ')' -prune -o -print").splitlines())


def bootstrap(host: Host, suite: str) -> Root:
    """Make a minimal system of a Debian suite on a host."""
    path = f"{_PLACE}/{suite}"
    host.small_disk(_PLACE, "4g")
    online(host, f"{CHECKOUT}/tests/package/bootstrap.sh", suite, path)
    return Root(host=host, path=path, layers=(path,))


def online(host: Host, *argv: str) -> str:
    """Return what a program writes that runs in the files of a host, but with the network of the machine.

    It dies with the test that started it, with all its children.
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
