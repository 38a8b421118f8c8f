"""What is run and timed: transfer.py, and what it is measured against, on the hosts of a lab."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from lab import CHECKOUT, Host, Lab

from .contests import LINKS, OnBoth, OnOrchestrator, OnSource, Transfer
from .figures import Cost
from .server import SOCKET, Server
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .contests import Cell, Contender

PYTHON = "/usr/bin/python3"
"""The interpreter that has Debian's cumin, as the cumin command itself uses."""

_PORT = 5999
_LISTENING_SECONDS = 30.0
_VERIFICATION_FAILED = 7
_SETUP_SECONDS = 1800.0
_IMAGE = "/srv/copy.img"
_ROOM = "20G"
"""More than the largest data set takes; the image has only what is written."""
_RUN_SECONDS = 3600.0
_FAILED_SECONDS = 30.0
_LINK_SECONDS = 2
_LINK_TRIES = 3
_TO_NOWHERE = "nc -4 -l {port} >/dev/null"
_GOODPUT = (0.9, 0.97)
"""What a link may carry of its rate: of a frame of 1514 bytes, 1448 are payload, which is 0.956."""
_SPARSE_BYTES = 64 << 20
_LINES = 3
"""How many of the last lines that a program wrote are told when it failed."""
_WHEN = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
"""Would tell each failure apart from all others."""


class BenchError(Exception):
    """Something that is measured did not work, so that there is nothing to measure."""


class Bench:
    """The lab and the data in it.

    Args:
        lab: with the default hosts.
        amounts: how much of each data set there is to be.
    """

    def __init__(self, lab: Lab, amounts: Mapping[str, int]) -> None:
        self._orchestrator, self._source, self._target = lab["orch"], lab["db1"], lab["db2"]
        self._amounts = amounts
        self._made: str | None = None
        self._server = Server(self._source)
        self._let_the_source_log_in()

    def _let_the_source_log_in(self) -> None:
        """Give root of the source a key to the target, as one who copies by hand over ssh has."""
        self._source.run("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        key = self._source.run("cat /root/.ssh/id_ed25519.pub").stdout
        self._target.run("cat >>/root/.ssh/authorized_keys", input=key)
        self._source.run(f"ssh -o BatchMode=yes {self._target.name} true")

    # --- the data and the link

    def prepare(self, cell: Cell) -> str | None:
        """Have the cell's data there, all of it on disk, and its link; return what the link was measured to be."""
        if self._made != cell.data:
            self.clean()
            self._make(cell.data)
            self._source.run("sync", timeout=_SETUP_SECONDS)
            self._made = cell.data
        self._source.shape(cell.link if LINKS[cell.link] else None)
        return self._measure(cell.link)

    def _make(self, data: str) -> None:
        amount = self._amounts[data]
        if data == "server":
            self._server.start(amount << 20)
        else:
            # A process that is forked from this one starts with its memory as the most that it had.
            words = data, str(self._source.root / "srv" / data), str(amount)
            subprocess.run((sys.executable, "-m", "tests.bench.data", *words), cwd=CHECKOUT, check=True)

    def clean(self) -> None:
        """Remove all data from the hosts, and have the machine's disk at rest."""
        self._made = None
        self._server.stop()
        self._remove_room()
        for host in (self._source, self._target):
            host.run("find /srv -mindepth 1 -delete; sync", timeout=_SETUP_SECONDS)

    def _make_room(self) -> None:
        """Give the target a file system that is new.

        For minutes after many files were removed, ext4 takes up to a millisecond to make one: it goes past all inodes
        that were in use of late. Whoever came after another copy of many files would pay for its removal.
        """
        self._remove_room()
        make = f"truncate -s {_ROOM} {_IMAGE} && mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 {_IMAGE}"
        # With direct I/O it is about as fast as the disk itself; all data would be cached twice without.
        # Detached while it is mounted, the device is free when the file system is gone, however that comes about.
        mount = f'device=$(losetup --find --show --direct-io=on {_IMAGE}) && mount -o noinit_itable "$device" /srv/copy'
        self._target.run(f'set -e; mkdir /srv/copy; {make}; {mount}; losetup -d "$device"; rmdir /srv/copy/lost+found')
        self._target.run("sync", timeout=_SETUP_SECONDS)

    def _remove_room(self) -> None:
        remove = f"! mountpoint -q /srv/copy || umount /srv/copy; rm -rf /srv/copy {_IMAGE}"
        self._target.run(remove, timeout=_SETUP_SECONDS)

    def _measure(self, link: str) -> str | None:
        """Send zeros over a link that is limited; raises BenchError when it does not carry what its rate allows."""
        if not (rate := LINKS[link]):
            return None
        size = rate // 8 * _LINK_SECONDS
        self._make_room()
        for _ in range(_LINK_TRIES):
            seconds = self._by_hand(f"head -c {size} /dev/zero | nc -N {{address}} {{port}}", _TO_NOWHERE)
            carried = size * 8 / seconds
            if _GOODPUT[0] < carried / rate < _GOODPUT[1]:
                return f"link of {link}: carries {carried / 1e6:.0f} Mbit/s of payload"
        raise BenchError(f"the link of {link} carries {carried / 1e6:.0f} Mbit/s")

    # --- the contenders

    def run(self, cell: Cell, contender: Contender) -> Cost:
        """Let a contender do it once; raises BenchError when it fails, or when not all has arrived."""
        self._make_room()
        with Watch.on(self._source, self._target) if cell.watched else nullcontext() as watch:
            cost = self._run(cell, contender)
        if not isinstance(contender.way, OnOrchestrator) and not getattr(contender.way, "damaged", False):
            self._check(cell.data)
        return replace(cost, hosts_memory=watch.most) if watch else cost

    def _run(self, cell: Cell, contender: Contender) -> Cost:
        match contender.way:
            case Transfer(options=options, damaged=damaged):
                with self._damage() if damaged else nullcontext():
                    return self._transfer(cell.data, options, _VERIFICATION_FAILED if damaged else 0)
            case OnOrchestrator(command=command):
                return Cost(_timed(self._orchestrator, tuple(command.split()), 0).seconds)
            case OnSource(command=command):
                command = command.format(name=cell.data, target=self._target.name)
                return Cost(_timed(self._source, _bash(command), 0, cwd="/srv").seconds)
            case OnBoth(sending=sending, receiving=receiving):
                return Cost(self._by_hand(sending, receiving, SOCKET if cell.data == "server" else cell.data))

    def _transfer(self, data: str, options: str, status: int) -> Cost:
        path = SOCKET if data == "server" else f"/srv/{data}"
        words = (f"{self._source.name}:{path}", f"{self._target.name}:/srv/copy")
        return _timed(self._orchestrator, (PYTHON, "-m", "transferpy", *options.split(), *words), status)

    def _check(self, data: str) -> None:
        """That all files and bytes have arrived; of a server that runs, about as much as it has."""
        if data == "server":
            arrived = int(self._target.sh("du -sb /srv/copy | cut -f1"))
            if arrived < self._amounts[data] << 20:
                raise BenchError(f"of the server, only {arrived:,} bytes arrived")
            return
        there, here = _content(self._source, f"/srv/{data}"), _content(self._target, f"/srv/copy/{data}")
        if there != here:
            raise BenchError(f"files and bytes are {there} on the source, but {here} on the target")
        if data == "sparse" and int(self._target.sh("du -sB1 /srv/copy | cut -f1")) > _SPARSE_BYTES:
            raise BenchError("the holes of the file are full of zeros on the target")

    def _by_hand(self, sending: str, receiving: str, name: str = "") -> float:
        """As an administrator would who has logged in on both hosts; the time starts when the target listens."""
        words = {"name": name, "address": self._target.ipv4, "port": _PORT}
        with self._open_port():
            receiver = _start(self._target, _bash(receiving.format(**words)), "/srv/copy")
            try:
                self._await_listener(receiver)
                began = time.monotonic()
                sender = _start(self._source, _bash(sending.format(**words)), "/srv")
                with _ended_in_time(sender), _ended_in_time(receiver):
                    # Of a sender that failed, the receiver may know nothing.
                    statuses = sender.wait(), receiver.wait(_FAILED_SECONDS if sender.returncode else None)
                seconds = time.monotonic() - began
            finally:
                _end(receiver)
        if any(statuses):
            raise BenchError(f"statuses {statuses[0]} on the source and {statuses[1]} on the target")
        return seconds

    @contextmanager
    def _open_port(self) -> Iterator[None]:
        self._target.run(f"nft insert rule inet filter input tcp dport {_PORT} accept comment bench")
        try:
            yield
        finally:
            self._target.run(
                "nft delete rule inet filter input handle"
                " $(nft -a list chain inet filter input | sed -n 's/.*comment \"bench\" # handle //p')"
            )

    def _await_listener(self, receiver: subprocess.Popen[Any]) -> None:
        deadline = time.monotonic() + _LISTENING_SECONDS
        while not self._target.sh(f"ss -Hltn 'sport = :{_PORT}'"):
            if receiver.poll() is not None or time.monotonic() > deadline:
                raise BenchError("the copy by hand does not listen")

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Have a tar on the target that adds a byte to every file behind our back."""
        wrapper = self._target.root / "usr/local/sbin/tar"
        wrapper.write_text(
            '#!/bin/sh\n/usr/bin/tar "$@" && find . -type f -exec sh -c \'for f; do echo >>"$f"; done\' sh {} +\n'
        )
        wrapper.chmod(0o755)
        try:
            yield
        finally:
            wrapper.unlink()


def _start(host: Host, argv: tuple[str, ...], directory: str, output: IO[bytes] | None = None) -> subprocess.Popen[Any]:
    """Start a program on a host, in a process group of its own, so that all of it can be ended."""
    return host.popen(
        argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )


def _end(process: subprocess.Popen[Any]) -> None:
    """End a process with all that it has started, unless it has ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _bash(command: str) -> tuple[str, ...]:
    return "bash", "-c", f"set -o pipefail; {command}"


@contextmanager
def _ended_in_time(process: subprocess.Popen[Any]) -> Iterator[None]:
    """End a process that takes too long, so that the others get their turn."""
    timer = threading.Timer(_RUN_SECONDS, _end, (process,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _timed(host: Host, argv: tuple[str, ...], status: int, cwd: str = str(CHECKOUT)) -> Cost:
    """Run a program on a host; the memory is that of the largest of its processes (or ours, if that were larger)."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = _start(host, argv, cwd, output)
        with _ended_in_time(process):
            _, ended, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode != status:
            output.seek(0)
            lines = output.read().decode(errors="backslashreplace").splitlines()[-_LINES:]
            said = [_WHEN.sub("", line) for line in lines]
            raise BenchError(f"status {process.returncode}: {'; '.join(said) or 'without a word'}")
    return Cost(seconds, usage.ru_maxrss * 1024)


def _content(host: Host, path: str) -> str:
    return host.sh(f"find {path} -type f -printf '%s\\n' | awk '{{ bytes += $1 }} END {{ print NR, bytes }}'")
