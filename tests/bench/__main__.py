"""Measure transfer.py in a lab, or tell what earlier figures say; exits with 1 when a bound does not hold."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab import CHECKOUT, Lab, LabError

from .contests import CONTESTS, DATA, LINKS, SelectionError, select
from .figures import Figure, Figures, FiguresError, Writer, load, machine
from .report import report
from .runs import PYTHON, Bench, BenchError
from .verdict import Verdict

if TYPE_CHECKING:
    from .contests import Cell, Contender

_RESULTS = CHECKOUT / "bench-results"
_FAILURE_LENGTH = 300
_PREPARING = "preparing it"
_FAILURES = (BenchError, OSError, subprocess.SubprocessError)
"""What ends a run but not the benchmark."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__)
    what = parser.add_argument_group("what to measure (default: everything)")
    what.add_argument("--only", nargs="+", default=(), metavar="CONTEST", help=f"some of: {' '.join(CONTESTS)}")
    what.add_argument("--data", nargs="+", default=(), metavar="DATA", help=f"some of: {' '.join(DATA)}")
    what.add_argument("--links", nargs="+", default=(), metavar="LINK", help=f"some of: {' '.join(LINKS)}")
    parts = "only those whose names have one of these parts (a bound needs both of those that it compares)"
    what.add_argument("--contenders", nargs="+", default=(), metavar="TEXT", help=parts)
    what.add_argument("--list", action="store_true", help="say what would be measured, and measure nothing")
    how = parser.add_argument_group("how much of it")
    how.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    how.add_argument("--size", type=int, default=1024, metavar="MIB", help="of tables, noise and server (%(default)s)")
    how.add_argument("--files", type=int, default=200_000, metavar="N", help="small ones (%(default)s)")
    quick = "see that the benchmark works: little data, one round, and no bound is judged but memory"
    how.add_argument("--quick", action="store_true", help=quick)
    told = parser.add_argument_group("what to make of it")
    merge = "measure nothing: merge these files into one report"
    told.add_argument("--report", nargs="+", type=Path, default=(), metavar="FILE.csv", help=merge)
    told.add_argument("--plots", type=Path, default=_RESULTS, metavar="DIRECTORY", help="for the plots (%(default)s)")
    return parser


def _amounts(args: argparse.Namespace) -> dict[str, int]:
    if args.quick:
        return {name: data.quick for name, data in DATA.items()}
    sized = dict.fromkeys(("tables", "noise", "server"), args.size)
    return {name: data.full for name, data in DATA.items()} | sized | {"files": args.files}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _header(argv: list[str]) -> list[str]:
    commit = subprocess.run(
        ("git", "-C", str(CHECKOUT), "describe", "--always", "--dirty"), capture_output=True, text=True, check=False
    ).stdout.strip()
    return [
        time.strftime("%Y-%m-%d %H:%M:%S %z"),
        machine(),
        f"commit {commit or 'unknown'}",
        " ".join(("python3 -m tests.bench", *argv)),
    ]


def _compete(bench: Bench, cell: Cell, amount: int, rounds: int, writer: Writer) -> None:
    """Let the contenders take turns; one that fails is out, and the others go on."""
    _say(f"{cell}: {DATA[cell.data].words.format(amount)}")
    try:
        if measured := bench.prepare(cell):
            writer.note(measured)
            _say(f"{cell}: {measured}")
    except _FAILURES as error:
        _say(f"{cell}: not measured: {error}")
        writer.write(_figure(cell, amount, _PREPARING, 1, failure=_in_one_line(error)))
        return
    failed: set[str] = set()
    for number in range(1, 1 + rounds):
        # Every other round runs backwards, so that not always the same one follows the same one.
        for contender in cell.contenders if number % 2 else reversed(cell.contenders):
            if contender.name not in failed and (number == 1 or not contender.once):
                figure = _run(bench, cell, contender, _figure(cell, amount, contender.name, number))
                writer.write(figure)
                if figure.failure:
                    failed.add(contender.name)


def _figure(cell: Cell, amount: int, contender: str, number: int, *, failure: str = "") -> Figure:
    """A figure of which the cost is not known yet."""
    return Figure(
        contest=cell.contest,
        data=cell.data,
        amount=amount,
        link=cell.link,
        contender=contender,
        round=number,
        cost=None,
        load=load(),
        failure=failure,
    )


def _run(bench: Bench, cell: Cell, contender: Contender, figure: Figure) -> Figure:
    """Complete a figure."""
    try:
        figure = replace(figure, cost=bench.run(cell, contender))
    except _FAILURES as error:
        figure = replace(figure, failure=_in_one_line(error))
    took = f"{figure.cost.seconds:7.2f} s" if figure.cost else "   FAILED"
    words = f"{took}  {contender.name}  (load {figure.load})  {figure.failure}"
    _say(f"{cell}, round {figure.round}: {words}".rstrip())
    return figure


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_FAILURE_LENGTH]


def _measure(args: argparse.Namespace, cells: list[Cell], path: Path) -> None:
    """Measure the cells, and have each figure in the file as soon as it is known."""
    amounts = _amounts(args)
    # As an installed package is, so that no run pays for being the first.
    subprocess.run((PYTHON, "-m", "compileall", "-q", str(CHECKOUT / "transferpy")), check=True)
    with Lab.up() as lab, Writer.opened(path) as writer:
        for line in _header(sys.argv[1:]):
            writer.note(line)
        bench = Bench(lab, amounts)
        for cell in cells:
            _compete(bench, cell, amounts[cell.data], args.repeat, writer)
        bench.clean()


def _tell(paths: list[Path], plots: Path) -> int:
    """Print what the figures of these files say, draw the plots and return the exit status."""
    from .plots import draw  # takes a second, which no measuring should wait for

    figures = Figures.read(paths)
    verdict = Verdict(select(), figures.runs)
    print(report(verdict, figures))
    for path in draw(verdict, plots):
        _say(f"plot: {path}")
    for line in verdict.broken():
        _say(f"bench: {line}")
    return 1 if verdict.broken() else 0


def _stop(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def _measure_and_tell(args: argparse.Namespace) -> int:
    cells = select(contests=args.only, data=args.data, links=args.links, contenders=args.contenders)
    if args.list:
        for cell in cells:
            print(f"{cell}: {'; '.join(contender.name for contender in cell.contenders)}")
        return 0
    path = _RESULTS / time.strftime("%Y%m%d-%H%M%S.csv")
    try:
        _measure(args, cells, path)
    except SystemExit:
        _say(f"bench: interrupted; what was measured until then is in {path}")
        raise
    _say(f"all runs: {path}")
    return _tell([path], args.plots)


def main() -> int:
    """Do what the command line says and return the exit status."""
    parser = _parser()
    args = parser.parse_args()
    if args.quick:
        args.repeat = 1
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _stop)
    try:
        return _tell(args.report, args.plots) if args.report else _measure_and_tell(args)
    except SelectionError as error:
        parser.error(str(error))
    except (LabError, BenchError, FiguresError) as error:
        _say(f"bench: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
