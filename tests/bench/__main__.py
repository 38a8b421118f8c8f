"""Measure transfer.py in a lab, or print a report of earlier results; exits with 1 if a bound does not hold."""

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
from .stage_runs import StageError
from .verdict import Verdict

if TYPE_CHECKING:
    from .contests import Cell, Contender

_RESULTS = CHECKOUT / "bench-results"
_FAILURE_LENGTH = 300
_PREPARING = "preparation"
_FAILURES = (BenchError, StageError, OSError, subprocess.SubprocessError)
"""Errors that end a run, but not the benchmark."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__)
    cells = parser.add_argument_group("what to measure (default: everything)")
    cells.add_argument("--only", nargs="+", default=(), metavar="CONTEST", help=f"some of: {' '.join(CONTESTS)}")
    cells.add_argument("--data", nargs="+", default=(), metavar="DATA", help=f"some of: {' '.join(DATA)}")
    cells.add_argument("--links", nargs="+", default=(), metavar="LINK", help=f"some of: {' '.join(LINKS)}")
    parts = "only contenders whose names contain one of these texts (a bound needs both of its contenders)"
    cells.add_argument("--contenders", nargs="+", default=(), metavar="TEXT", help=parts)
    cells.add_argument("--list", action="store_true", help="list the cells, and measure nothing")
    amount = parser.add_argument_group("amount of data and number of rounds")
    amount.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    amount.add_argument(
        "--size", type=int, default=1024, metavar="MIB", help="size of tables, noise and server (%(default)s)"
    )
    amount.add_argument("--files", type=int, default=200_000, metavar="N", help="number of small files (%(default)s)")
    quick = "test the benchmark itself: little data, one round, and only the bound for memory"
    amount.add_argument("--quick", action="store_true", help=quick)
    output = parser.add_argument_group("report")
    merge = "merge these files into one report, and measure nothing"
    output.add_argument("--report", nargs="+", type=Path, default=(), metavar="FILE.csv", help=merge)
    output.add_argument(
        "--plots", type=Path, default=_RESULTS, metavar="DIRECTORY", help="directory for the plots (%(default)s)"
    )
    return parser


def _amounts(args: argparse.Namespace) -> dict[str, int]:
    if args.quick:
        return {name: data.quick for name, data in DATA.items()}
    sized = dict.fromkeys(("tables", "noise", "server"), args.size)
    return {name: data.full for name, data in DATA.items()} | sized | {"files": args.files}


def _log(line: str) -> None:
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


def _run_cell(bench: Bench, cell: Cell, amount: int, rounds: int, writer: Writer) -> None:
    """Run the contenders in turn; after a failure, continue without the failed contender."""
    _log(f"{cell}: {DATA[cell.data].words.format(amount)}")
    try:
        if measured := bench.prepare(cell):
            writer.comment(measured)
            _log(f"{cell}: {measured}")
    except _FAILURES as error:
        _log(f"{cell}: not measured: {error}")
        writer.write(_figure(cell, amount, _PREPARING, 1, failure=_in_one_line(error)))
        return
    failed: set[str] = set()
    for number in range(1, 1 + rounds):
        # Every second round runs in reverse order, so that the order does not favour a contender.
        for contender in cell.contenders if number % 2 else reversed(cell.contenders):
            if contender.name not in failed and (number == 1 or not contender.once):
                figure = _run(bench, cell, contender, _figure(cell, amount, contender.name, number))
                writer.write(figure)
                if figure.failure:
                    failed.add(contender.name)


def _figure(cell: Cell, amount: int, contender: str, number: int, *, failure: str = "") -> Figure:
    """Return a figure without a cost."""
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
    """Run a contender and return the figure with its cost or its failure."""
    try:
        figure = replace(figure, cost=bench.run(cell, contender))
    except _FAILURES as error:
        figure = replace(figure, failure=_in_one_line(error))
    took = f"{figure.cost.seconds:7.2f} s" if figure.cost else "   FAILED"
    words = f"{took}  {contender.name}  (load {figure.load})  {figure.failure}"
    _log(f"{cell}, round {figure.round}: {words}".rstrip())
    return figure


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_FAILURE_LENGTH]


def _measure(args: argparse.Namespace, cells: list[Cell], path: Path) -> None:
    """Measure the cells; write each figure to the file at once."""
    amounts = _amounts(args)
    # An installed package is compiled too. Otherwise the first run would be slower.
    subprocess.run((PYTHON, "-m", "compileall", "-q", str(CHECKOUT / "transferpy")), check=True)
    with Lab.up() as lab, Writer.opened(path) as writer:
        for line in _header(sys.argv[1:]):
            writer.comment(line)
        bench = Bench(lab, amounts)
        for cell in cells:
            _run_cell(bench, cell, amounts[cell.data], args.repeat, writer)
        bench.clean()


def _print_report(paths: list[Path], plots: Path) -> int:
    """Print the report of these files, draw the plots and return the exit status."""
    from .plots import draw  # the import takes a second, which must not delay the measurement

    figures = Figures.read(paths)
    verdict = Verdict(select(), figures.runs)
    print(report(verdict, figures))
    for path in draw(verdict, plots):
        _log(f"plot: {path}")
    for line in verdict.broken():
        _log(f"bench: {line}")
    return 1 if verdict.broken() else 0


def _stop(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def _measure_and_report(args: argparse.Namespace) -> int:
    cells = select(contests=args.only, data=args.data, links=args.links, contenders=args.contenders)
    if args.list:
        for cell in cells:
            print(f"{cell}: {'; '.join(contender.name for contender in cell.contenders)}")
        return 0
    path = _RESULTS / time.strftime("%Y%m%d-%H%M%S.csv")
    try:
        _measure(args, cells, path)
    except SystemExit:
        _log(f"bench: interrupted; the results so far are in {path}")
        raise
    _log(f"all runs: {path}")
    return _print_report([path], args.plots)


def main() -> int:
    """Execute the command line and return the exit status."""
    parser = _parser()
    args = parser.parse_args()
    if args.quick:
        args.repeat = 1
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _stop)
    try:
        return _print_report(args.report, args.plots) if args.report else _measure_and_report(args)
    except SelectionError as error:
        parser.error(str(error))
    except (LabError, BenchError, FiguresError) as error:
        _log(f"bench: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
