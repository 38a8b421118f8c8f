"""The report as tables in reStructuredText, for the manual and for the console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .contests import DATA, LINK_WORDS
from .model import CORES, LINKS_OF_MODEL, PIPELINES, pipelines
from .stages import SOURCE, TARGET
from .verdict import MEMORY_BOUND

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contests import Cell
    from .figures import Figures
    from .model import Pipeline
    from .verdict import Ratio, Summary, Verdict


def report(verdict: Verdict, figures: Figures) -> str:
    """Return the complete report."""
    return "\n".join(_paragraphs(verdict, figures))


def _paragraphs(verdict: Verdict, figures: Figures) -> Iterator[str]:
    yield from (f"| {note}" for note in figures.notes)
    yield ""
    for cells in _rows_of_links(verdict.cells):
        yield from _contest(verdict, cells)
    if costs := _costs(verdict):
        yield from _model(costs)
    if ratios := verdict.ratios():
        yield "**How they compare** (ratio of the medians)"
        yield ""
        yield from simple_table(("where", "what", "ratio", "at most", "bound"), list(map(_comparison, ratios)))
        yield ""
    if memory := verdict.memory():
        words = "holds" if memory <= MEMORY_BOUND else "DOES NOT HOLD"
        bound = f"at most {MEMORY_BOUND >> 20} MiB: {words}"
        yield f"Maximum memory of ``transfer.py``: {_mebibytes(memory)} ({bound})."
        yield ""
    if missing := (*verdict.failures(), *verdict.unjudged()):
        yield "**Missing results**"
        yield ""
        yield from (f"* {line}" for line in missing)
        yield ""


def _rows_of_links(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Group the cells by contest and data set: each group is one table, with a column for each link."""
    tables: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        tables.setdefault((cell.contest, cell.data), []).append(cell)
    return list(tables.values())


def _contest(verdict: Verdict, cells: list[Cell]) -> Iterator[str]:
    amounts = sorted({amount for cell in cells for amount in verdict.amounts(cell)})
    data = DATA[cells[0].data]
    words = " or ".join(data.words.format(amount) for amount in amounts)
    yield f"**{cells[0].contest}**: {words}"
    if any(amount < data.full for amount in amounts):
        yield "(too little to judge a bound)"
    yield ""
    names = list(dict.fromkeys(contender.name for cell in cells for contender in cell.contenders))
    rows = {name: [verdict.summary(cell, name) for cell in cells] for name in names}
    seen = {name: found for name, summaries in rows.items() if (found := [one for one in summaries if one])}
    head = ["seconds: median (min to max)", *(LINK_WORDS[cell.link] for cell in cells), "rounds"]
    body = [[f"``{name}``", *map(_seconds, rows[name]), _rounds(found)] for name, found in seen.items()]
    for title, attribute in (("transfer.py", "memory"), ("hosts", "hosts_memory")):
        memories = [
            max((memory for one in found if (memory := getattr(one, attribute))), default=0) for found in seen.values()
        ]
        if any(memories):
            head.append(f"memory, {title}")
            for row, memory in zip(body, memories, strict=True):
                row.append(_mebibytes(memory) if memory else "")
    for end in (SOURCE, TARGET):
        costs = [_per_gib(cells[0], verdict, name).get(end) for name in seen]
        if any(costs):
            head.append(f"processor s/GiB, {end}")
            for row, cost in zip(body, costs, strict=True):
                row.append("" if cost is None else f"{cost:.2f}")
    yield from simple_table(head, body)
    yield ""


def _per_gib(cell: Cell, verdict: Verdict, contender: str) -> dict[str, float]:
    """Return the processor seconds per GiB of data on each end; empty if they were not measured."""
    summary = verdict.summary(cell, contender)
    gibibytes = max(verdict.amounts(cell)) / 1024
    return {end: seconds / gibibytes for end, seconds in summary.processor.items()} if summary else {}


def _costs(verdict: Verdict) -> dict[str, dict[str, float]]:
    return {
        name: cost
        for cell in verdict.cells
        if cell.metered
        for name in verdict.contenders(cell)
        if (cost := _per_gib(cell, verdict, name))
    }


def _model(costs: dict[str, dict[str, float]]) -> Iterator[str]:
    """Yield the calculated rates of several pipelines."""
    head = ["link", "stream", *(f"{number} pipeline(s)" for number in PIPELINES)]
    body = [
        [link, f"``{options}``", *(_rate(pipeline, number, bits) for number in PIPELINES)]
        for link, bits in LINKS_OF_MODEL.items()
        for options, pipeline in pipelines(costs)
    ]
    if body:
        words = "calculated from the costs above, and the limit"
        yield f"**Model**: GB/s of data with {CORES} processors on each end, {words}"
        yield ""
        yield from simple_table(head, body)
        yield ""


def _rate(pipeline: Pipeline, number: int, bits: float) -> str:
    rate, cause = pipeline.rate(number, CORES, bits)
    return f"{rate / 1e9:.2f} ({cause})"


def _seconds(summary: Summary | None) -> str:
    return f"{summary.median:.2f} ({summary.least:.2f} to {summary.most:.2f})" if summary else ""


def _rounds(summaries: list[Summary]) -> str:
    return "/".join(map(str, dict.fromkeys(summary.rounds for summary in summaries)))


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"


def _comparison(ratio: Ratio) -> tuple[str, ...]:
    other = f"the best fixed choice, ``{ratio.other}``" if ratio.of_several else f"``{ratio.other}``"
    limit = "" if ratio.limit is None else f"{ratio.limit:g}"
    words = "" if ratio.limit is None else "holds" if ratio.holds else "DOES NOT HOLD"
    return str(ratio.cell), f"``{ratio.contender}`` to {other}", f"{ratio.value:.2f}", limit, words


def simple_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table. The first cell of a row must not be empty: it would continue the previous row."""
    widths = [max(map(len, column)) or 1 for column in zip(head, *rows, strict=True)]
    ruler = "  ".join("=" * width for width in widths)
    yield ruler
    yield _line(head, widths)
    yield ruler
    for row in rows:
        yield _line(row, widths)
    yield ruler


def _line(cells: Sequence[str], widths: list[int]) -> str:
    return "  ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
