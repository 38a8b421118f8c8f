"""The evaluation of the results: medians, spread, ratios and bounds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .contests import DATA

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .contests import Cell, Comparison
    from .figures import Figure

MEMORY_BOUND = 100 << 20
"""The maximum memory of transfer.py, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The successful runs of one contender in one cell, in seconds and bytes."""

    rounds: int
    median: float
    least: float
    most: float
    memory: int | None
    hosts_memory: int | None
    processor: Mapping[str, float]  # the medians, by end


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The ratio of two contenders; ``limit`` is None without a bound, or if the amount of data is too small."""

    cell: Cell
    contender: str
    other: str
    of_several: bool
    value: float
    limit: float | None

    @property
    def holds(self) -> bool:
        """Return whether the ratio is within its bound; true without a bound."""
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.cell}: {self.contender}: {self.value:.2f} times {self.other}"


class Verdict:
    """The evaluation of the results of some cells."""

    def __init__(self, cells: Sequence[Cell], figures: Sequence[Figure]) -> None:
        self._figures = figures
        self.cells = [cell for cell in cells if any(self._of(cell))]

    def _of(self, cell: Cell, contender: str | None = None) -> Iterator[Figure]:
        for figure in self._figures:
            here = (figure.contest, figure.data, figure.link) == (cell.contest, cell.data, cell.link)
            if here and contender in (None, figure.contender):
                yield figure

    def amounts(self, cell: Cell) -> list[int]:
        """Return the amounts of data; several amounts mean that the results do not belong together."""
        return sorted({figure.amount for figure in self._of(cell)})

    def contenders(self, cell: Cell) -> list[str]:
        """Return the names of the contenders with results, in the order of the contest."""
        ran = {figure.contender for figure in self._of(cell)}
        return [contender.name for contender in cell.contenders if contender.name in ran]

    def summary(self, cell: Cell, contender: str) -> Summary | None:
        """Return the summary of the successful runs of a contender; None if there are none."""
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
            processor={
                end: statistics.median(cost.processor[end] for cost in costs if end in cost.processor)
                for end in dict.fromkeys(end for cost in costs for end in cost.processor)
            },
        )

    def ratios(self) -> list[Ratio]:
        """Return all comparisons with results of both contenders."""
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
            limit=comparison.limit_at(others[best]) if self._enough(cell) else None,
        )

    def failures(self) -> list[str]:
        """Return each failure once, with the cells where it occurred."""
        failed: dict[str, list[str]] = {}
        for cell in self.cells:
            for figure in self._of(cell):
                if figure.failure:
                    failed.setdefault(f"{figure.contender}: {figure.failure}", []).append(str(cell))
        return [f"{failure} ({'; '.join(dict.fromkeys(cells))})" for failure, cells in failed.items()]

    def unjudged(self) -> list[str]:
        """Return a message for each bound with a contender that has no result."""
        missing = (
            f"{cell}: the bound of {contender.name} is judged without {name}"
            for cell in self.cells
            if self._enough(cell)
            for contender in cell.contenders
            for comparison in contender.against
            if comparison.limit is not None or comparison.more is not None
            for name in (contender.name, *comparison.others)
            if self.summary(cell, name) is None
        )
        return list(dict.fromkeys(missing))

    def _enough(self, cell: Cell) -> bool:
        return min(self.amounts(cell)) >= DATA[cell.data].full

    def memory(self) -> int | None:
        """Return the maximum memory of transfer.py, in bytes."""
        return max((run.cost.memory for run in self._figures if run.cost and run.cost.memory), default=None)

    def broken(self) -> list[str]:
        """Return a message for each bound that does not hold and for each failure."""
        bounds = [f"{ratio}, but the bound is {ratio.limit:g}" for ratio in self.ratios() if not ratio.holds]
        memory = self.memory() or 0
        if memory > MEMORY_BOUND:
            bounds.append(f"memory of transfer.py: {memory >> 20} MiB, but the bound is {MEMORY_BOUND >> 20} MiB")
        return bounds + self.failures()
