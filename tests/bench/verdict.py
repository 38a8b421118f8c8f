"""What the figures say: medians and spread, ratios, and whether each bound holds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .contests import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contests import Cell, Comparison
    from .figures import Figure

MEMORY_BOUND = 100 << 20
"""Bytes that transfer.py may have at most, whatever it copies."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The runs of one contender in one cell that did not fail; seconds and bytes."""

    rounds: int
    median: float
    least: float
    most: float
    memory: int | None
    hosts_memory: int | None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How a contender compares with another one; ``limit`` is None where no bound is set, or too little data copied."""

    cell: Cell
    contender: str
    other: str
    of_several: bool
    value: float
    limit: float | None

    @property
    def holds(self) -> bool:
        """Whether the bound does, if there is one."""
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.cell}: {self.contender}: {self.value:.2f} times {self.other}"


class Verdict:
    """The figures of some cells, measured with one amount of each data set."""

    def __init__(self, cells: Sequence[Cell], figures: Sequence[Figure]) -> None:
        self._figures = figures
        self.cells = [cell for cell in cells if any(self._of(cell))]

    def _of(self, cell: Cell, contender: str | None = None) -> Iterator[Figure]:
        for figure in self._figures:
            here = (figure.contest, figure.data, figure.link) == (cell.contest, cell.data, cell.link)
            if here and contender in (None, figure.contender):
                yield figure

    def amounts(self, cell: Cell) -> list[int]:
        """How much of its data was copied; more than one when the figures are of runs that do not belong together."""
        return sorted({figure.amount for figure in self._of(cell)})

    def contenders(self, cell: Cell) -> list[str]:
        """The names of those that ran, in the order of the contest."""
        ran = {figure.contender for figure in self._of(cell)}
        return [contender.name for contender in cell.contenders if contender.name in ran]

    def summary(self, cell: Cell, contender: str) -> Summary | None:
        """What the contender's runs took; None when it had none that succeeded."""
        costs = [figure.cost for figure in self._of(cell, contender) if figure.cost]
        if not costs:
            return None
        seconds = [cost.seconds for cost in costs]
        return Summary(
            rounds=len(costs),
            median=statistics.median(seconds),
            least=min(seconds),
            most=max(seconds),
            memory=max((cost.memory for cost in costs if cost.memory), default=None),
            hosts_memory=max((cost.hosts_memory for cost in costs if cost.hosts_memory), default=None),
        )

    def ratios(self) -> list[Ratio]:
        """Every comparison for which there are figures of both."""
        wanted = (
            (cell, contender.name, comparison)
            for cell in self.cells
            for contender in cell.contenders
            for comparison in contender.against
        )
        return [ratio for one in wanted if (ratio := self._ratio(*one))]

    def _ratio(self, cell: Cell, contender: str, comparison: Comparison) -> Ratio | None:
        own = self.summary(cell, contender)
        others = {name: other.median for name in comparison.others if (other := self.summary(cell, name))}
        if own is None or not others:
            return None
        best = min(others, key=lambda name: others[name])
        return Ratio(
            cell=cell,
            contender=contender,
            other=best,
            of_several=len(comparison.others) > 1,
            value=own.median / others[best],
            limit=comparison.limit if self._enough(cell) else None,
        )

    def failures(self) -> list[str]:
        """What did not work, and in which cells: a contender that fails does so for one reason mostly."""
        failed: dict[str, list[str]] = {}
        for cell in self.cells:
            for figure in self._of(cell):
                if figure.failure:
                    failed.setdefault(f"{figure.contender}: {figure.failure}", []).append(str(cell))
        return [f"{failure} ({'; '.join(dict.fromkeys(cells))})" for failure, cells in failed.items()]

    def unjudged(self) -> list[str]:
        """The bounds of which nothing, or not all, can be said: one of those compared has no figure."""
        missing = (
            f"{cell}: the bound of {contender.name} is judged without {name}"
            for cell in self.cells
            if self._enough(cell)
            for contender in cell.contenders
            for comparison in contender.against
            if comparison.limit is not None
            for name in (contender.name, *comparison.others)
            if self.summary(cell, name) is None
        )
        return list(dict.fromkeys(missing))

    def _enough(self, cell: Cell) -> bool:
        return min(self.amounts(cell)) >= DATA[cell.data].full

    def memory(self) -> int | None:
        """The most that transfer.py had, in bytes."""
        return max((run.cost.memory for run in self._figures if run.cost and run.cost.memory), default=None)

    def broken(self) -> list[str]:
        """What is not as it has to be: bounds that do not hold, and what failed."""
        bounds = [f"{ratio}, but the bound is {ratio.limit:g}" for ratio in self.ratios() if not ratio.holds]
        memory = self.memory() or 0
        if memory > MEMORY_BOUND:
            bounds.append(f"memory of transfer.py: {memory >> 20} MiB, but the bound is {MEMORY_BOUND >> 20} MiB")
        return bounds + self.failures()
