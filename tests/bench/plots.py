"""The plots: one picture for each contest and data set. Equal results give byte-identical files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure as Picture

from .contests import DATA, LINK_WORDS, Transfer

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

    from .contests import Cell
    from .verdict import Verdict

_OURS, _OTHERS = "#2a6f97", "#b8b8b8"
_PANEL_WIDTH, _LETTER_WIDTH = 3.0, 0.085  # inches
_BAR_HEIGHT, _MARGINS_HEIGHT = 0.28, 1.3


def draw(verdict: Verdict, directory: Path) -> list[Path]:
    """Write the pictures and return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, list[Cell]] = {}
    for cell in verdict.cells:
        pictures.setdefault(f"{cell.contest}-{cell.data}", []).append(cell)
    return [_draw(verdict, cells, directory / f"{name}.svg") for name, cells in pictures.items()]


def _draw(verdict: Verdict, cells: list[Cell], path: Path) -> Path:
    """Draw a picture with one panel for each link."""
    names = list(dict.fromkeys(name for cell in cells for name in verdict.contenders(cell)))
    # Text remains text in the SVG, so that the file is small and searchable.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "transferpy", "font.sans-serif": ["DejaVu Sans"]}):
        width = _LETTER_WIDTH * max(map(len, names)) + _PANEL_WIDTH * len(cells)
        picture = Picture(figsize=(width, _MARGINS_HEIGHT + _BAR_HEIGHT * len(names)), layout="constrained")
        panels = picture.subplots(1, len(cells), sharey=True, squeeze=False)[0]
        for cell, panel in zip(cells, panels, strict=True):
            _fill(verdict, cell, names, panel)
        panels[0].set_ylim(len(names) - 0.5, -0.5)  # shared by all of them
        amounts = sorted({amount for cell in cells for amount in verdict.amounts(cell)})
        picture.suptitle(" or ".join(DATA[cells[0].data].words.format(amount) for amount in amounts))
        picture.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path


def _fill(verdict: Verdict, cell: Cell, names: list[str], panel: Axes) -> None:
    """Draw a bar for the median of each contender, and a line from its minimum to its maximum."""
    ours = {contender.name for contender in cell.contenders if isinstance(contender.way, Transfer)}
    panel.set_title(LINK_WORDS[cell.link])
    panel.set_xlabel("seconds")
    panel.set_yticks(range(len(names)), names)
    panel.spines[["top", "right"]].set_visible(False)
    for position, name in enumerate(names):
        colour = _OURS if name in ours else _OTHERS
        summary = verdict.summary(cell, name)
        if summary is None:
            if name in verdict.contenders(cell):
                panel.text(0, position, " failed", va="center", color=_OTHERS)
            continue
        spread = [[summary.median - summary.least], [summary.most - summary.median]]
        panel.barh(position, summary.median, color=colour, xerr=spread, error_kw={"lw": 0.8, "capsize": 2})
        panel.text(summary.most, position, f" {summary.median:.1f}", va="center", fontsize=8)
    panel.margins(x=0.15)
    panel.set_xlim(left=0)
