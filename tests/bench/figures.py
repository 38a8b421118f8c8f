"""The figures: one row of a CSV file for each run, written as soon as it has ended."""

from __future__ import annotations

import csv
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

_COLUMNS = (
    "contest",
    "data",
    "amount",
    "link",
    "contender",
    "round",
    "seconds",
    "memory_bytes",
    "hosts_memory_bytes",
    "load",
    "failure",
)


class FiguresError(Exception):
    """A file has no figures that can be read."""


@dataclass(frozen=True)
class Cost:
    """What one run took.

    Attributes:
        seconds: from its start to its end.
        memory: of transfer.py, the most that it had, in bytes.
        hosts_memory: of all that ran on the source or all on the target, the most of both, in bytes.
    """

    seconds: float
    memory: int | None = None
    hosts_memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One run of one contender.

    Attributes:
        amount: of data, in the unit of that data set.
        cost: None if the run failed.
        load: how busy the machine was when it began (see /proc/loadavg).
        failure: why it failed, in one line.
    """

    contest: str
    data: str
    amount: int
    link: str
    contender: str
    round: int
    cost: Cost | None
    load: float
    failure: str = ""


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


class Writer:
    """Writes a CSV file; each line is in the file when the method returns, so that whatever ends us, it is kept."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(_COLUMNS)

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Writer]:
        """Write to a new file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="") as file:
            yield cls(file)

    def note(self, line: str) -> None:
        """Write a comment: how, where and with what the figures below it were measured."""
        self._file.write(f"# {line}\n")
        self._file.flush()

    def write(self, figure: Figure) -> None:
        """Write a figure."""
        seconds = memory = hosts_memory = None
        if figure.cost:
            seconds, memory, hosts_memory = f"{figure.cost.seconds:.3f}", figure.cost.memory, figure.cost.hosts_memory
        cell = figure.contest, figure.data, figure.amount, figure.link
        run = figure.contender, figure.round, seconds, memory, hosts_memory, figure.load, figure.failure
        self._writer.writerow((*cell, *run))
        self._file.flush()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What some files hold: the figures, and the comments above and between them."""

    runs: tuple[Figure, ...]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Figures:
        """Read the files into one; raises FiguresError, with the file's name, when one cannot be understood."""
        runs: list[Figure] = []
        notes: list[str] = []
        for path in paths:
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                notes += [line.removeprefix("# ") for line in lines if line.startswith("# ")]
                rows = csv.DictReader(line for line in lines if not line.startswith("# "))
                if tuple(rows.fieldnames or ()) != _COLUMNS:
                    raise FiguresError(f"{path}: the columns are not {','.join(_COLUMNS)}")
                runs += map(_figure, rows)
            except (OSError, TypeError, ValueError) as error:
                raise FiguresError(f"{path}: cannot be read: {error}") from error
        return cls(runs=tuple(runs), notes=tuple(dict.fromkeys(notes)))


def _figure(row: dict[str, str]) -> Figure:
    memories = (int(row[name]) if row[name] else None for name in ("memory_bytes", "hosts_memory_bytes"))
    return Figure(
        contest=row["contest"],
        data=row["data"],
        amount=int(row["amount"]),
        link=row["link"],
        contender=row["contender"],
        round=int(row["round"]),
        cost=Cost(float(row["seconds"]), *memories) if row["seconds"] else None,
        load=float(row["load"]),
        failure=row["failure"],
    )
