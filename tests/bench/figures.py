"""The figures: kept in a CSV file, shown as a table, and held against their bounds."""

from __future__ import annotations

import csv
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .contest import Contest, Cost

MEMORY_BOUND = 100 << 20
"""Bytes that transfer.py may have at most, whatever it copies."""

_COLUMNS = ("contest", "contender", "round", "seconds", "memory_bytes", "load")
_WIDTH = 50


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One run of one contender, and how busy the machine was when it began (see /proc/loadavg)."""

    contest: str
    contender: str
    round: int
    cost: Cost
    load: float


def load() -> float:
    """How many processes wanted to run on this machine in the last minute."""
    return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])


def machine() -> str:
    """The machine, in words."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.machine()
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    memory = int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / (1 << 20)
    system = _field("/etc/os-release", "PRETTY_NAME", "=").strip('"')
    return f"{cpu}, {cores} core(s), {memory:.0f} GiB of memory, Linux {platform.release()}, {system}"


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def _field(path: str, name: str, separator: str = ":") -> str:
    pairs = (line.partition(separator) for line in _lines(path))
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def save(path: Path, figures: list[Figure], header: list[str]) -> None:
    """Write a CSV file that begins with ``header``, as comments."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {line}\n" for line in header)
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for figure in figures:
            cost = figure.cost
            row = (figure.contest, figure.contender, figure.round, f"{cost.seconds:.3f}", cost.memory, figure.load)
            writer.writerow(row)


class Verdict:
    """The figures of some contests, and whether each bound holds."""

    def __init__(self, contests: list[Contest], figures: list[Figure]) -> None:
        self._contests = contests
        self._figures = figures
        self.broken: list[str] = []

    def _costs(self, contest: str, contender: str) -> list[Cost]:
        chosen = (figure for figure in self._figures if (figure.contest, figure.contender) == (contest, contender))
        return [figure.cost for figure in chosen]

    def _median(self, contest: str, contender: str) -> float:
        return statistics.median(cost.seconds for cost in self._costs(contest, contender))

    def table(self) -> Iterator[str]:
        """The lines of the table; those bounds that do not hold are in ``broken`` afterwards."""
        self.broken = []
        for contest in self._contests:
            rounds = max(len(self._costs(contest.name, contender.name)) for contender in contest.contenders)
            yield f"{contest.name}: {contest.what}, {rounds} round(s)"
            yield f"  {'':{_WIDTH}} {'median':>8} {'min - max':>15} {'memory':>8}"
            for contender in contest.contenders:
                yield self._line(contest.name, contender.name)
                for other, limit in contender.against:
                    yield self._comparison(contest.name, contender.name, other, limit)
            yield ""
        if memories := [figure.cost.memory for figure in self._figures if figure.cost.memory]:
            what = f"memory of transfer.py: {max(memories) / (1 << 20):.0f} MiB"
            yield f"{what}, {self._judge(what, max(memories), MEMORY_BOUND, f'{MEMORY_BOUND >> 20} MiB')}"

    def _line(self, contest: str, contender: str) -> str:
        costs = self._costs(contest, contender)
        seconds = [cost.seconds for cost in costs]
        span = f"{min(seconds):.2f} - {max(seconds):.2f}"
        memories = [cost.memory for cost in costs if cost.memory]
        memory = f"{max(memories) / (1 << 20):.0f} MiB" if memories else ""
        return f"  {contender:{_WIDTH}} {statistics.median(seconds):6.2f} s {span:>15} {memory:>8}".rstrip()

    def _comparison(self, contest: str, contender: str, other: str, limit: float | None) -> str:
        ratio = self._median(contest, contender) / self._median(contest, other)
        text = f"    {ratio:.2f} times {other}"
        if limit is None:
            return text
        return f"{text}, {self._judge(f'{contest}: {contender}: {text.strip()}', ratio, limit, f'{limit:g}')}"

    def _judge(self, what: str, value: float, limit: float, words: str) -> str:
        if value <= limit:
            return f"bound {words}: holds"
        self.broken.append(f"{what}, but the bound is {words}")
        return f"bound {words}: DOES NOT HOLD"
