"""Runs and times transfer.py and the other contenders on the hosts of a lab."""

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

from .contests import DELAYS, EACH, RATES, OnBoth, OnOrchestrator, OnSource, Transfer
from .figures import Cost
from .memory_sampler import MemorySampler
from .server import SOCKET, Server
from .stage_runs import prepare_stages, processor_time, run_stage
from .stages import PORT, SOURCE, TARGET, OneStage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .contests import Cell, Contender

PYTHON = "/usr/bin/python3"
"""The Python of Debian, with which the command cumin runs too."""

_LISTENING_SECONDS = 30.0
_VERIFICATION_FAILED = 7
_SETUP_SECONDS = 1800.0
_IMAGE = "/srv/copy.img"
_ROOM = "20G"
"""Larger than every data set; the image is sparse."""
_RUN_SECONDS = 3600.0
_FAILED_SECONDS = 30.0
_BEFORE_OUTAGE = 3.0
_LINK_SECONDS = 2
_LINK_TRIES = 3
_TO_NOWHERE = "nc -4 -l {port} >/dev/null"
_GOODPUT = (0.9, 0.97)
"""The accepted ratio of payload to rate of a link: 1448 of 1514 bytes of a frame are payload, which is 0.956."""
_SPARSE_BYTES = 64 << 20
_LINES = 3
"""The number of lines of output in the message of a failure."""
_WHEN = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
"""The time of a log line; without it, equal failures have equal messages."""


class BenchError(Exception):
    """A contender or the preparation of a cell failed."""


class Bench:
    """The lab with the test data.

    Args:
        lab: a lab with the default hosts.
        amounts: the amount of each data set.
    """

    def __init__(self, lab: Lab, amounts: Mapping[str, int]) -> None:
        self._lab = lab
        self._orchestrator, self._source, self._target = lab["orch"], lab["db1"], lab["db2"]
        self._amounts = amounts
        self._ends = {SOURCE: self._source, TARGET: self._target}
        self._made: str | None = None
        self._has_stages = False
        self._server = Server(self._source)
        self._authorize_source()

    def _authorize_source(self) -> None:
        """Create an ssh key for root of the source, and authorize it on the target."""
        self._source.run("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519")
        key = self._source.run("cat /root/.ssh/id_ed25519.pub").stdout
        self._target.run("cat >>/root/.ssh/authorized_keys", input=key)
        self._source.run(f"ssh -o BatchMode=yes {self._target.name} true")

    # --- the data and the link

    def prepare(self, cell: Cell) -> str | None:
        """Create the data of the cell, write it to disk, and limit the link; return the measured rate of the link."""
        if self._made != cell.data:
            self.clean()
            self._make(cell.data)
            self._source.run("sync", timeout=_SETUP_SECONDS)
            self._made = cell.data
        if cell.metered and not self._has_stages:
            prepare_stages(self._ends, cell.data)
            self._has_stages = True
        self._source.shape(cell.link if RATES.get(cell.link) else None)
        if cell.link in EACH:
            self._source.limit_connections(EACH[cell.link])
        self._lab.delay(self._source.name, self._target.name, DELAYS.get(cell.link, 0))
        return self._measure(cell.link)

    def _make(self, data: str) -> None:
        amount = self._amounts[data]
        if data == "server":
            self._server.start(amount << 20)
        else:
            # A forked process starts with the memory of this process as its own maximum.
            words = data, str(self._source.root / "srv" / data), str(amount)
            subprocess.run((sys.executable, "-m", "tests.bench.data", *words), cwd=CHECKOUT, check=True)

    def clean(self) -> None:
        """Remove all data from the hosts, and wait until the disk of the machine is idle."""
        self._made = None
        self._has_stages = False
        self._server.stop()
        self._remove_target_disk()
        for host in (self._source, self._target):
            host.run("find /srv -mindepth 1 -delete; sync", timeout=_SETUP_SECONDS)

    def _create_target_disk(self) -> None:
        """Create a new file system on the target.

        For minutes after many files were removed, ext4 takes up to a millisecond to create a file, because it skips all
        recently used inodes. Without a new file system, the removal of one copy would slow down the next contender.
        """
        self._remove_target_disk()
        make = f"truncate -s {_ROOM} {_IMAGE} && mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 {_IMAGE}"
        # With direct I/O, the device is about as fast as the disk. Without it, all data would be cached twice.
        # Linux 6.18 limits its requests to 4 KiB by default, which makes it three times slower than the disk.
        attach = f"device=$(losetup --find --show --direct-io=on {_IMAGE}); queue=/sys/block/${{device#/dev/}}/queue"
        widen = 'cat "$queue/max_hw_sectors_kb" >"$queue/max_sectors_kb"'
        # The device is detached while it is mounted, so that every kind of unmount also frees the device.
        mount = 'mount -o noinit_itable "$device" /srv/copy; losetup -d "$device"; rmdir /srv/copy/lost+found'
        self._target.run(f"set -e; mkdir /srv/copy; {make}; {attach}; {widen}; {mount}")
        self._target.run("sync", timeout=_SETUP_SECONDS)

    def _remove_target_disk(self) -> None:
        remove = f"! mountpoint -q /srv/copy || umount /srv/copy; rm -rf /srv/copy {_IMAGE}"
        self._target.run(remove, timeout=_SETUP_SECONDS)

    def _measure(self, link: str) -> str | None:
        """Measure a limited link with zeros; raises BenchError if the payload does not match the rate."""
        if not (rate := RATES.get(link)):
            return None
        size = rate // 8 * _LINK_SECONDS
        self._create_target_disk()
        for _ in range(_LINK_TRIES):
            seconds = self._by_hand(f"head -c {size} /dev/zero | nc -N {{address}} {{port}}", _TO_NOWHERE)
            carried = size * 8 / seconds
            if _GOODPUT[0] < carried / rate < _GOODPUT[1]:
                return f"link of {link}: carries {carried / 1e6:.0f} Mbit/s of payload"
        raise BenchError(f"the link of {link} carries {carried / 1e6:.0f} Mbit/s")

    # --- the contenders

    def run(self, cell: Cell, contender: Contender) -> Cost:
        """Run a contender once; raises BenchError if it fails, or if data is missing on the target."""
        self._create_target_disk()
        processor: Mapping[str, float] = {}
        with MemorySampler.on(self._source, self._target) if cell.watched else nullcontext() as sampler:
            if cell.metered:
                with processor_time(self._ends) as processor:
                    cost = self._run(cell, contender)
            else:
                cost = self._run(cell, contender)
        if isinstance(contender.way, OneStage):
            return cost
        if not isinstance(contender.way, OnOrchestrator) and not getattr(contender.way, "damaged", False):
            self._check(cell.data)
        return replace(cost, hosts_memory=sampler.most if sampler else None, processor=processor)

    def _run(self, cell: Cell, contender: Contender) -> Cost:
        match contender.way:
            case Transfer(options=options, damaged=damaged, outage=outage):
                with self._damage() if damaged else self._outage(outage) if outage else nullcontext():
                    return self._transfer(cell.data, options, _VERIFICATION_FAILED if damaged else 0)
            case OnOrchestrator(command=command):
                return Cost(_timed(self._orchestrator, tuple(command.split()), 0).seconds)
            case OnSource(command=command):
                command = command.format(name=cell.data, target=self._target.name)
                return Cost(_timed(self._source, _bash(command), 0, cwd="/srv").seconds)
            case OneStage():
                with self._open_port():
                    return run_stage(self._ends, contender.way, self._await_listener)
            case OnBoth(sending=sending, receiving=receiving):
                return Cost(self._by_hand(sending, receiving, SOCKET if cell.data == "server" else cell.data))

    def _transfer(self, data: str, options: str, status: int) -> Cost:
        path = SOCKET if data == "server" else f"/srv/{data}"
        words = (f"{self._source.name}:{path}", f"{self._target.name}:/srv/copy")
        return _timed(self._orchestrator, (PYTHON, "-m", "transferpy", *options.split(), *words), status)

    def _check(self, data: str) -> None:
        """Raise BenchError if files or bytes are missing on the target; for a server, only the total size counts."""
        if data == "server":
            arrived = int(self._target.sh("du -sb /srv/copy | cut -f1"))
            if arrived < self._amounts[data] << 20:
                raise BenchError(f"only {arrived:,} bytes of the server arrived")
            return
        there, here = _content(self._source, f"/srv/{data}"), _content(self._target, f"/srv/copy/{data}")
        if there != here:
            raise BenchError(f"the source has {there} (files, bytes), but the target has {here}")
        if data == "sparse" and int(self._target.sh("du -sB1 /srv/copy | cut -f1")) > _SPARSE_BYTES:
            raise BenchError("the target wrote the holes of the file as zeros")

    def _by_hand(self, sending: str, receiving: str, name: str = "") -> float:
        """Run a command on each host, like an administrator; the time starts when the target listens."""
        words = {"name": name, "address": self._target.ipv4, "port": PORT}
        with self._open_port():
            receiver = _start(self._target, _bash(receiving.format(**words)), "/srv/copy")
            try:
                self._await_listener(receiver)
                began = time.monotonic()
                sender = _start(self._source, _bash(sending.format(**words)), "/srv")
                with _ended_in_time(sender), _ended_in_time(receiver):
                    # The receiver may not notice that the sender failed.
                    statuses = sender.wait(), receiver.wait(_FAILED_SECONDS if sender.returncode else None)
                seconds = time.monotonic() - began
            finally:
                _end(receiver)
        if any(statuses):
            raise BenchError(f"exit status {statuses[0]} on the source, {statuses[1]} on the target")
        return seconds

    @contextmanager
    def _open_port(self) -> Iterator[None]:
        self._target.run(f"nft insert rule inet filter input tcp dport {PORT} accept comment bench")
        try:
            yield
        finally:
            self._target.run(
                "nft delete rule inet filter input handle"
                " $(nft -a list chain inet filter input | sed -n 's/.*comment \"bench\" # handle //p')"
            )

    def _await_listener(self, receiver: subprocess.Popen[Any]) -> None:
        deadline = time.monotonic() + _LISTENING_SECONDS
        while not self._target.sh(f"ss -Hltn 'sport = :{PORT}'"):
            if receiver.poll() is not None or time.monotonic() > deadline:
                raise BenchError("the receiving command does not listen")

    @contextmanager
    def _outage(self, seconds: float) -> Iterator[None]:
        """Cut the network between source and target once for so many seconds, some seconds after a stream was seen."""
        is_over = threading.Event()
        done: list[float] = []

        def interrupt() -> None:
            stream = "ss -Htn state established '( sport >= :4400 and sport <= :4499 )'"
            while not is_over.wait(0.1):
                # The probe of the link is shorter than this.
                if self._target.sh(stream) and not is_over.wait(_BEFORE_OUTAGE) and self._target.sh(stream):
                    break
            else:
                return
            self._source.cut(self._target)
            time.sleep(seconds)
            self._source.heal(self._target)
            done.append(seconds)

        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
        if not done:
            raise BenchError("the copy ended before the network was cut")

    @contextmanager
    def _damage(self) -> Iterator[None]:
        """Replace tar on the target with a wrapper that adds a byte to every unpacked file."""
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
    """Start a program on a host, in a new process group, so that `_end` can end all its processes."""
    return host.popen(
        argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )


def _end(process: subprocess.Popen[Any]) -> None:
    """End a process and its process group, unless the process has ended."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)


def _bash(command: str) -> tuple[str, ...]:
    return "bash", "-c", f"set -o pipefail; {command}"


@contextmanager
def _ended_in_time(process: subprocess.Popen[Any]) -> Iterator[None]:
    """End a process that exceeds the maximum time of a run."""
    timer = threading.Timer(_RUN_SECONDS, _end, (process,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _timed(host: Host, argv: tuple[str, ...], status: int, cwd: str = str(CHECKOUT)) -> Cost:
    """Run a program on a host; the memory is that of its largest process (or of this process, if that is larger)."""
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
            output_lines = [_WHEN.sub("", line) for line in lines]
            raise BenchError(f"status {process.returncode}: {'; '.join(output_lines) or 'no output'}")
    return Cost(seconds, usage.ru_maxrss * 1024)


def _content(host: Host, path: str) -> str:
    return host.sh(f"find {path} -type f -printf '%s\\n' | awk '{{ bytes += $1 }} END {{ print NR, bytes }}'")
