"""The delays of a lab: start and end the process of `delay.py`, with the routes through its devices."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
from contextlib import suppress
from os import close, pidfd_open
from pathlib import Path

from .host import Host, in_network
from .spec import ENVIRONMENT, LabError, LabState, Process, lab_directory

_MOST_SECONDS = 10.0
_QUEUE = "10000"  # packets; in a shorter queue, the first bursts of a fast connection would be lost
_ENDS_WITHIN = 10.0


def create(state: LabState, one: Host, other: Host, seconds: float) -> None:
    """Delay the packets between two hosts, by half of `seconds` in each direction.

    Raises LabError if the arguments are not valid, and CommandFailed if the hosts cannot be connected.
    """
    if one is other or not 0 < seconds <= _MOST_SECONDS:
        raise LabError(f"a delay needs two hosts, and a time of at most {_MOST_SECONDS:g} seconds")
    package = Path(__file__).parent
    ends = ((one, other), (other, one))
    devices = [word for host, peer in ends for word in (str(host.init), _device(peer))]
    done = subprocess.run(
        [sys.executable, "-m", f"{package.name}.delay", str(state.keeper.pid), str(seconds / 2), *devices],
        cwd=package.parent,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LabError(f"no delay between {one.name} and {other.name}: {done.stderr.strip()}")
    process = Process.of(int(done.stdout))
    _record(state.name, one, other).write_text(f"{process.pid} {process.start}")
    for host, peer in ends:
        _connect(host, peer)


def _connect(host: Host, peer: Host) -> None:
    device = _device(peer)
    settings = ("mtu", "1500", "txqueuelen", _QUEUE, "addrgenmode", "none", "up")
    in_network(host.init, "ip", "link", "set", "dev", device, *settings)
    for address, source in ((peer.ipv4, host.ipv4), (peer.ipv6, host.ipv6)):
        in_network(host.init, "ip", "route", "add", address, "dev", device, "src", source)


def remove(name: str, one: Host, other: Host) -> None:
    """Remove the delay between two hosts of a lab, if there is one."""
    _end(_record(name, one, other))


def remove_all(name: str) -> None:
    """Remove all delays of a lab."""
    for record in lab_directory(name).glob("delay.*"):
        _end(record)


def _record(name: str, one: Host, other: Host) -> Path:
    """Return the file that names the process of a delay."""
    first, second = sorted((one.name, other.name))
    return lab_directory(name) / f"delay.{first}.{second}"


def _device(peer: Host) -> str:
    """Return the name of the device that leads to a host; a name of a device has at most 15 characters."""
    return f"wan{peer.ipv4.rpartition('.')[2]}"


def _end(record: Path) -> None:
    """End the process of a delay; with it, its devices and routes disappear."""
    with suppress(FileNotFoundError):
        pid, start = map(int, record.read_text().split())
        with suppress(ProcessLookupError):
            if Process(pid=pid, start=start).alive():
                _kill(pid)
        record.unlink()


def _kill(pid: int) -> None:
    descriptor = pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(_ENDS_WITHIN * 1000):
            raise LabError(f"process {pid}, which delays packets, does not end")
    finally:
        close(descriptor)
