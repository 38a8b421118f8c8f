"""The memory of what runs on the hosts, looked at while it runs."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

_EVERY_SECONDS = 0.2


class Watch(threading.Thread):
    """Adds up, again and again, what all processes of a host have; ``most`` is the most that one host ever had.

    What counts are the pages that a process has for itself and that no file backs, so that nothing counts twice. What
    was there for less than a fifth of a second may be missed.
    """

    def __init__(self, *hosts: Host) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._namespaces = {_namespace(host.init) for host in hosts}
        self._ended = threading.Event()

    @classmethod
    @contextmanager
    def on(cls, *hosts: Host) -> Iterator[Watch]:
        """Watch while the context lasts."""
        watch = cls(*hosts)
        watch.start()
        try:
            yield watch
        finally:
            watch._ended.set()
            watch.join()

    def run(self) -> None:
        """Look until it ends."""
        while not self._ended.wait(_EVERY_SECONDS):
            self.most = max(self.most, *self._look().values())

    def _look(self) -> dict[str, int]:
        sums = dict.fromkeys(self._namespaces, 0)
        for entry in os.listdir("/proc"):  # noqa: PTH208 -- five times a second, beside what is measured
            if entry.isdigit():
                with suppress(OSError):  # has ended
                    namespace = _namespace(entry)
                    if namespace in sums:
                        sums[namespace] += _own_memory(entry)
        return sums


def _namespace(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _own_memory(pid: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
