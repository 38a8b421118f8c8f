"""The delay of packets between two hosts of a lab: an emulated wide area network.

Each of the two hosts has a tun device, and routes to the other host through it. One process reads the packets of both
devices and writes each packet to the other device after the delay. The devices, and so the routes, exist only while
the process runs. It ends when the keeper of the lab has ended, in whatever way.

A packet has up to 64 KiB, as between two network cards that segment packets themselves. So the process needs few system
calls, and carries more than 1 Gbit/s.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from .host import set_namespace

_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_TUN, _NO_PI, _VNET_HDR = 0x0001, 0x1000, 0x4000
_CHECKSUMS, _TSO4, _TSO6 = 1, 2, 4
_MOST_PACKET = 65536 + 64  # with the header about its segments
_MOST_QUEUED = 256 << 20  # bytes in one direction; further packets are lost, as in a router
_AT_ONCE = 64  # the packets of one direction that are read before packets of the other direction are written


@dataclass
class Direction:
    """The packets from one device to another: each packet with the time at which it is due."""

    source: int
    sink: int
    seconds: float
    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    queued: int = 0

    def read(self) -> None:
        """Read the packets that have arrived."""
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self.source, _MOST_PACKET)
            except BlockingIOError:
                return
            if self.queued + len(packet) <= _MOST_QUEUED:
                self.queue.append((time.monotonic() + self.seconds, packet))
                self.queued += len(packet)

    def write(self) -> float | None:
        """Write the packets that are due; return the time at which the next one is due, or None without one."""
        now = time.monotonic()
        while self.queue and self.queue[0][0] <= now:
            _, packet = self.queue.popleft()
            self.queued -= len(packet)
            with suppress(OSError):  # the device is not up yet, or not any more
                os.write(self.sink, packet)
        return self.queue[0][0] if self.queue else None


def open_device(init: int, name: str) -> int:
    """Create a tun device in the network namespace of a process; it exists until its descriptor is closed."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    namespace = os.open(f"/proc/{init}/ns/net", os.O_RDONLY)
    set_namespace(namespace)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TUN | _NO_PI | _VNET_HDR))
    fcntl.ioctl(device, _TUNSETOFFLOAD, _CHECKSUMS | _TSO4 | _TSO6)
    set_namespace(own)
    os.close(namespace)
    os.close(own)
    return device


def forward(first: int, second: int, seconds: float, keeper: int) -> None:
    """Delay the packets between two devices until the process of the descriptor `keeper` has ended."""
    directions = {
        first: Direction(source=first, sink=second, seconds=seconds),
        second: Direction(source=second, sink=first, seconds=seconds),
    }
    while True:
        due = [when for each in directions.values() if (when := each.write()) is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        readable, _, _ = select.select([keeper, *directions], [], [], wait)
        if keeper in readable:
            return
        for device in readable:
            directions[device].read()


def main(keeper: int, seconds: float, first: tuple[int, str], second: tuple[int, str]) -> None:
    """Create both devices, print the id of the process that delays their packets, and leave that process running.

    Args:
        keeper: the process id of the keeper of the lab.
        seconds: the delay of each packet, in each direction.
        first: the init of a host, and the name of the device on that host.
        second: the same for the other host.
    """
    ending = os.pidfd_open(keeper)
    devices = open_device(*first), open_device(*second)
    if child := os.fork():
        print(child, flush=True)
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    forward(*devices, seconds, ending)


if __name__ == "__main__":
    keeper, seconds, init, name, other_init, other_name = sys.argv[1:]
    main(int(keeper), float(seconds), (int(init), name), (int(other_init), other_name))
