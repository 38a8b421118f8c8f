"""What is run and timed: transfer.py, and what it is measured against, on the hosts of a lab."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lab import CHECKOUT, Host, Lab

from .data import make_files, make_tables
from .server import SOCKET, Server

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

PYTHON = "/usr/bin/python3"
"""The interpreter that has Debian's cumin, as the cumin command itself uses."""

CONTESTS = ("stream", "options", "small", "files", "backup")

_BY_HAND = "tar | nc to nc | tar, by hand"
_PLAIN = "--no-encrypt --no-compress --no-checksum"
_DEFAULTS = "all defaults"
_CUMIN = ("cumin", "--force", "db1,db2", "true")

_BACKUP_BY_HAND = "mariadb-backup | socat to socat | mbstream, by hand"

_PORT = 5999
_LISTENING_SECONDS = 30.0
_VERIFICATION_FAILED = 7
_SETUP_SECONDS = 1800.0


class BenchError(Exception):
    """Something that is measured did not work, so that there is nothing to measure."""


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds, and for transfer.py the most memory that it had, in bytes."""

    seconds: float
    memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the things that take turns.

    Attributes:
        name: for the table.
        run: does it once.
        against: contenders that it is compared with, by name, each with the most that the ratio may be, or None.
    """

    name: str
    run: Callable[[], Cost]
    against: tuple[tuple[str, float | None], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Contenders that take turns, so that whatever else the machine does hits all alike."""

    name: str
    what: str
    contenders: tuple[Contender, ...]
    prepare: Callable[[], None]
    once: bool = False


class Bench:
    """The lab and the data in it.

    Args:
        lab: with the default hosts.
        size: bytes of the tree like database tables.
        files: how many files there are in the tree of small files.
        judged: whether there is enough data for the bounds to mean anything.
    """

    def __init__(self, lab: Lab, *, size: int, files: int, judged: bool) -> None:
        self._orchestrator, self._source, self._target = lab["orch"], lab["db1"], lab["db2"]
        self._size = size
        self._files = files
        self._judged = judged
        self._server = Server(self._source)

    def contest(self, name: str) -> Contest:
        """The contest of that name, one of CONTESTS."""
        return {
            "stream": self._stream,
            "options": self._options,
            "small": self._small,
            "files": self._many_files,
            "backup": self._backup,
        }[name]()

    def _stream(self) -> Contest:
        return Contest(
            name="stream",
            what=self._tables,
            prepare=self._make_tables,
            contenders=(
                Contender(name=_BY_HAND, run=self._copy_by_hand),
                self._copying(_PLAIN, against=((_BY_HAND, 1.3),)),
                self._copying("--no-compress --no-checksum", against=((_PLAIN, 1.5), (_BY_HAND, None))),
            ),
        )

    def _options(self) -> Contest:
        against = ((_PLAIN, None),)
        return Contest(
            name="options",
            what=self._tables,
            prepare=self._make_tables,
            contenders=(
                self._copying(_PLAIN),
                self._copying("--no-encrypt --no-compress --parallel-checksum", against=against),
                self._copying("--no-encrypt --no-compress", against=against),
                self._copying("--no-encrypt --no-checksum", against=against),
                self._copying("", against=against),
            ),
        )

    def _small(self) -> Contest:
        return Contest(
            name="small",
            what="a file of 3 bytes",
            prepare=self._make_small,
            contenders=(
                Contender(name=" ".join(_CUMIN), run=self._cumin),
                self._copying("", source="three", against=((" ".join(_CUMIN), 3.0),)),
            ),
        )

    def _many_files(self) -> Contest:
        return Contest(
            name="files",
            what=f"{self._files:,} small files",
            prepare=self._make_files,
            once=True,
            contenders=(
                self._copying("", source="files"),
                Contender(name=f"{_DEFAULTS}, but each file differs", run=self._copy_damaged),
            ),
        )

    def _backup(self) -> Contest:
        plain = "--type xtrabackup --no-encrypt --no-compress"
        against = ((_BACKUP_BY_HAND, None),)
        return Contest(
            name="backup",
            what=f"a running server of {self._size >> 20:,} MiB",
            prepare=lambda: self._server.start(self._size),
            contenders=(
                Contender(name=_BACKUP_BY_HAND, run=self._back_up_by_hand),
                self._backing_up(plain, against=((_BACKUP_BY_HAND, 1.2),)),
                self._backing_up("--type xtrabackup --no-compress", against=against),
                self._backing_up("--type xtrabackup", against=against),
            ),
        )

    def _backing_up(self, options: str, *, against: tuple[tuple[str, float | None], ...]) -> Contender:
        return Contender(
            name=options,
            run=lambda: self._back_up(*options.split()),
            against=tuple((other, limit if self._judged else None) for other, limit in against),
        )

    @property
    def _tables(self) -> str:
        return f"a tree of {self._size >> 20:,} MiB like database tables"

    def _copying(
        self, options: str, *, source: str = "tables", against: tuple[tuple[str, float | None], ...] = ()
    ) -> Contender:
        return Contender(
            name=options or _DEFAULTS,
            run=lambda: self._copy(source, *options.split()),
            against=tuple((other, limit if self._judged else None) for other, limit in against),
        )

    # --- the data

    def _make_tables(self) -> None:
        make_tables(self._source.root / "srv/tables", self._size)

    def _make_small(self) -> None:
        (self._source.root / "srv/three").write_bytes(b"abc")

    def _make_files(self) -> None:
        make_files(self._source.root / "srv/files", self._files)

    def clean(self) -> None:
        """Remove all data from the hosts, and have the machine's disk at rest."""
        self._server.stop()
        for host in (self._source, self._target):
            host.run("find /srv -mindepth 1 -delete; sync", timeout=_SETUP_SECONDS)

    def _make_room(self) -> None:
        self._target.run("rm -rf /srv/copy; mkdir /srv/copy; sync", timeout=_SETUP_SECONDS)

    # --- the contenders

    def _copy(self, name: str, *options: str, status: int = 0) -> Cost:
        self._make_room()
        words = (f"{self._source.name}:/srv/{name}", f"{self._target.name}:/srv/copy")
        cost = _timed(self._orchestrator, (PYTHON, "-m", "transferpy", *options, *words), status)
        if status == 0:
            there, here = _content(self._source, f"/srv/{name}"), _content(self._target, f"/srv/copy/{name}")
            if there != here:
                raise BenchError(f"{name}: files and bytes are {there} on the source, but {here} on the target")
        return cost

    def _back_up(self, *options: str) -> Cost:
        self._make_room()
        words = (f"{self._source.name}:{SOCKET}", f"{self._target.name}:/srv/copy")
        cost = _timed(self._orchestrator, (PYTHON, "-m", "transferpy", *options, *words), 0)
        self._check_backup()
        return cost

    def _check_backup(self) -> None:
        """That about as much has arrived as the server has."""
        arrived = int(self._target.sh("du -sb /srv/copy | cut -f1"))
        if arrived < self._size:
            raise BenchError(f"of the server, only {arrived:,} bytes arrived")

    def _back_up_by_hand(self) -> Cost:
        cost = self._by_hand(
            sending=f"mariadb-backup --no-defaults --backup --stream=xbstream --socket={SOCKET} 2>/root/backup.log"
            f" | socat -u STDIN TCP:{self._target.ipv4}:{_PORT}",
            receiving=f"socat -u TCP-LISTEN:{_PORT},reuseaddr STDOUT | mbstream -x",
        )
        self._check_backup()
        return cost

    def _copy_by_hand(self) -> Cost:
        return self._by_hand(
            sending=f"tar cf - tables | nc -N {self._target.ipv4} {_PORT}",
            receiving=f"nc -4 -l {_PORT} | tar xf -",
        )

    def _by_hand(self, *, sending: str, receiving: str) -> Cost:
        """As an administrator would who has logged in on both hosts; the time starts when the target listens."""
        self._make_room()
        with self._open_port():
            receiver = self._target.popen(("bash", "-c", f"set -o pipefail; {receiving}"), cwd="/srv/copy")
            try:
                self._await_listener(receiver)
                began = time.monotonic()
                sender = self._source.popen(("bash", "-c", f"set -o pipefail; {sending}"), cwd="/srv")
                statuses = sender.wait(), receiver.wait()
                seconds = time.monotonic() - began
            finally:
                if receiver.poll() is None:
                    receiver.terminate()
                    receiver.wait()
        if any(statuses):
            raise BenchError(f"the copy by hand ended with {statuses}")
        return Cost(seconds)

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

    def _cumin(self) -> Cost:
        return Cost(_timed(self._orchestrator, _CUMIN, 0).seconds)

    def _copy_damaged(self) -> Cost:
        """Copy to a target whose tar adds a byte to every file behind our back."""
        wrapper = self._target.root / "usr/local/sbin/tar"
        wrapper.write_text(
            '#!/bin/sh\n/usr/bin/tar "$@" && find . -type f -exec sh -c \'for f; do echo >>"$f"; done\' sh {} +\n'
        )
        wrapper.chmod(0o755)
        try:
            return self._copy("files", status=_VERIFICATION_FAILED)
        finally:
            wrapper.unlink()


def _timed(host: Host, argv: tuple[str, ...], status: int) -> Cost:
    """Run a program on a host; the memory is that of the largest of its processes (or ours, if that were larger)."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = host.popen(argv, cwd=str(CHECKOUT), stdout=output, stderr=output)
        _, ended, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(ended)
        if process.returncode != status:
            output.seek(0)
            said = output.read()[-2000:].decode(errors="backslashreplace")
            raise BenchError(f"{' '.join(argv)} ended with status {process.returncode}:\n{said}")
    return Cost(seconds, usage.ru_maxrss * 1024)


def _content(host: Host, path: str) -> str:
    return host.sh(f"find {path} -type f -printf '%s\\n' | awk '{{ bytes += $1 }} END {{ print NR, bytes }}'")
