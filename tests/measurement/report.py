"""The figures of a measurement, and the bounds that the Python package has to keep."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import coverage

from measurement.shell import shell_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

TOTAL_BOUND = 98.0
"""Per cent of the lines and branches of the Python package."""
MODULE_BOUND = 95.0
"""Per cent of the lines and branches of each module."""


@dataclass(frozen=True, kw_only=True)
class FileCoverage:
    """Coverage of one file.

    Attributes:
        name: from the package or the directory ``host`` on.
        covered: number of lines and branches that ran.
        total: number of all lines and branches.
        missing: the lines that did not run.
        missing_branches: the branches that did not run from lines that did: the line, and the one that did not follow.
    """

    name: str
    covered: int
    total: int
    missing: tuple[int, ...]
    missing_branches: tuple[tuple[int, int], ...] = ()

    @property
    def percent(self) -> float:
        """The part that ran."""
        return percent([self])

    def __str__(self) -> str:
        if not self.covered:
            return f"{0:6.2f}%  {self.name}"
        branches = (f"{start}->{end if end > 0 else 'exit'}" for start, end in self.missing_branches)
        return f"{self.percent:6.2f}%  {self.name}  {', '.join((*ranges(self.missing), *branches))}".rstrip()


def percent(files: Iterable[FileCoverage]) -> float:
    """Return the part of files that ran, in per cent."""
    counts = [(file.covered, file.total) for file in files]
    total = sum(total for _, total in counts)
    return 100.0 * sum(covered for covered, _ in counts) / total if total else 100.0


def python_coverage(directory: Path) -> list[FileCoverage]:
    """Return the coverage of each module from the data that processes have written into a directory."""
    report = directory / "python.json"
    measurement = coverage.Coverage(data_file=str(directory / "python"))
    measurement.combine([str(directory)])
    measurement.json_report(outfile=str(report))
    return [
        FileCoverage(
            name=name,
            # There are no branches if no process has written data.
            covered=figures["summary"]["covered_lines"] + figures["summary"].get("covered_branches", 0),
            total=figures["summary"]["num_statements"] + figures["summary"].get("num_branches", 0),
            missing=tuple(figures["missing_lines"]),
            missing_branches=tuple(
                (start, end)
                for start, end in figures.get("missing_branches", ())
                if start not in figures["missing_lines"]
            ),
        )
        for name, figures in json.loads(report.read_text())["files"].items()
    ]


def host_coverage(checkout: Path, directory: Path) -> list[FileCoverage]:
    """Return the coverage of each shell file of a checkout from the traces in a directory, which are removed."""
    files = shell_files(checkout / "transferpy/host")
    traces = list(directory.glob("trace.*"))
    executed = files.executed(path.read_bytes() for path in traces)
    for path in traces:
        path.unlink()
    return [
        FileCoverage(
            name=f"host/{name}",
            covered=len(executed[name]),
            total=len(lines),
            missing=tuple(sorted(lines - executed[name])),
        )
        for name, lines in files.executable.items()
    ]


def table(python: Iterable[FileCoverage], host: Iterable[FileCoverage]) -> Iterator[str]:
    """Yield a line for each file that is not covered completely, with the lines that are missing, and the totals."""
    for title, files in (("lines and branches of the Python package", python), ("lines of the host scripts", host)):
        measured = sorted(files, key=lambda file: file.name)
        for file in measured:
            if file.covered < file.total:
                yield str(file)
        yield f"{percent(measured):6.2f}%  of the {title}"


def ranges(numbers: Iterable[int]) -> Iterator[str]:
    """Yield line numbers as in ``1-3``, ``7``."""
    for _, group in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0])


def broken_bounds(python: Iterable[FileCoverage]) -> Iterator[str]:
    """Yield a line for each bound that the coverage of the modules does not reach."""
    modules = list(python)
    for module in modules:
        if module.percent < MODULE_BOUND:
            yield f"coverage of {module.name}: {module.percent:.2f}%, but the bound is {MODULE_BOUND:.0f}%"
    if percent(modules) < TOTAL_BOUND:
        yield f"coverage of the Python package: {percent(modules):.2f}%, but the bound is {TOTAL_BOUND:.0f}%"
