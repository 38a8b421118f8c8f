"""The results: one row of a CSV file for each run, written as soon as the run has ended."""

from __future__ import annotations

import csv
import platform
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
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
    "source_processor_seconds",
    "target_processor_seconds",
    "load",
    "failure",
)
_ENDS = ("source", "target")


class FiguresError(Exception):
    """A file is not a readable file of results."""


@dataclass(frozen=True)
class Cost:
    """The cost of one run.

    Attributes:
        seconds: duration.
        memory: maximum memory of transfer.py, in bytes.
        hosts_memory: maximum memory of all processes of the source or of the target, in bytes; the larger of both.
        processor: processor time of all processes of the source and of the target, or of one stage, in seconds.
    """

    seconds: float
    memory: int | None = None
    hosts_memory: int | None = None
    processor: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One run of one contender.

    Attributes:
        amount: amount of data, in the unit of the data set.
        cost: None if the run failed.
        load: load of the machine at the start (see /proc/loadavg).
        failure: error message in one line, or empty.
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
    """Return the load average of this machine over the last minute."""
    return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])


def machine() -> str:
    """Return a description of this machine."""
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
    """A writer of a CSV file; each method flushes its lines, so that no result is lost."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(_COLUMNS)

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Writer]:
        """Open a new file; raises FileExistsError if the file exists."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="") as file:
            yield cls(file)

    def comment(self, line: str) -> None:
        """Write a comment about the following results, for example the machine and the commit."""
        self._file.write(f"# {line}\n")
        self._file.flush()

    def write(self, figure: Figure) -> None:
        """Write one result."""
        seconds = memory = hosts_memory = None
        processor: Mapping[str, float] = {}
        if cost := figure.cost:
            seconds, memory, hosts_memory, processor = (
                f"{cost.seconds:.3f}",
                cost.memory,
                cost.hosts_memory,
                cost.processor,
            )
        cell = figure.contest, figure.data, figure.amount, figure.link
        used = [f"{processor[end]:.3f}" if end in processor else None for end in _ENDS]
        run = figure.contender, figure.round, seconds, memory, hosts_memory, *used, figure.load, figure.failure
        self._writer.writerow((*cell, *run))
        self._file.flush()


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The content of some files: the results and the comments."""

    runs: tuple[Figure, ...]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Figures:
        """Read and merge the files; raises FiguresError with the name of a file that is not readable."""
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
    processor = {end: float(text) for end in _ENDS if (text := row[f"{end}_processor_seconds"])}
    memory, hosts_memory = (int(row[name]) if row[name] else None for name in ("memory_bytes", "hosts_memory_bytes"))
    return Figure(
        contest=row["contest"],
        data=row["data"],
        amount=int(row["amount"]),
        link=row["link"],
        contender=row["contender"],
        round=int(row["round"]),
        cost=Cost(float(row["seconds"]), memory, hosts_memory, processor) if row["seconds"] else None,
        load=float(row["load"]),
        failure=row["failure"],
    )
