"""The memory of the processes on the hosts, sampled during a run."""

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


class MemorySampler(threading.Thread):
    """A thread that samples the memory of all processes of each host; ``most`` is the maximum of a single host.

    Only private pages without a file count, so that no page counts twice. The samples can miss a process that runs for
    less than a fifth of a second.
    """

    def __init__(self, *hosts: Host) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._namespaces = {_namespace(host.init) for host in hosts}
        self._ended = threading.Event()

    @classmethod
    @contextmanager
    def on(cls, *hosts: Host) -> Iterator[MemorySampler]:
        """Sample the memory during the context."""
        sampler = cls(*hosts)
        sampler.start()
        try:
            yield sampler
        finally:
            sampler._ended.set()
            sampler.join()

    def run(self) -> None:
        """Sample the memory until the end of the context."""
        while not self._ended.wait(_EVERY_SECONDS):
            self.most = max(self.most, *self._sample().values())

    def _sample(self) -> dict[str, int]:
        sums = dict.fromkeys(self._namespaces, 0)
        for entry in os.listdir("/proc"):  # noqa: PTH208 -- runs five times per second during a measurement
            if entry.isdigit():
                with suppress(OSError):  # the process has ended
                    namespace = _namespace(entry)
                    if namespace in sums:
                        sums[namespace] += _own_memory(entry)
        return sums


def _namespace(pid: int | str) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def _own_memory(pid: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
