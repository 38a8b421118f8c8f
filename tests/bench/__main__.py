"""Measure transfer.py in a lab: `python3 -m tests.bench`; exits with 1 when a bound does not hold."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from lab import CHECKOUT, Lab, LabError

from .contest import CONTESTS, PYTHON, Bench, BenchError
from .figures import Figure, Verdict, load, machine, save

if TYPE_CHECKING:
    from .contest import Contest

_RESULTS = CHECKOUT / "bench-results"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the tree (default: %(default)s)")
    parser.add_argument("--files", type=int, default=200_000, metavar="N", help="small ones (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="CONTEST", help=f"some of: {' '.join(CONTESTS)}")
    quick = "see that the benchmark works: little data, one round, and no bound is judged but memory"
    parser.add_argument("--quick", action="store_true", help=quick)
    return parser


def _compete(bench: Bench, contest: Contest, rounds: int) -> list[Figure]:
    """Let the contenders take turns."""
    figures = []
    _say(f"{contest.name}: making {contest.what}")
    bench.clean()
    contest.prepare()
    for number in range(1, 1 + (1 if contest.once else rounds)):
        for contender in contest.contenders:
            busy = load()
            cost = contender.run()
            _say(f"{contest.name}, round {number}: {cost.seconds:7.2f} s  {contender.name}  (load {busy})")
            names = {"contest": contest.name, "contender": contender.name}
            figures.append(Figure(**names, round=number, cost=cost, load=busy))
    bench.clean()
    return figures


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


def _measure(args: argparse.Namespace, header: list[str]) -> list[str]:
    """Run what was asked for and return the bounds that do not hold."""
    figures: list[Figure] = []
    # As an installed package is, so that no run pays for being the first.
    subprocess.run((PYTHON, "-m", "compileall", "-q", str(CHECKOUT / "transferpy")), check=True)
    with Lab.up() as lab:
        bench = Bench(lab, size=args.size << 20, files=args.files, judged=not args.quick)
        contests = [bench.contest(name) for name in CONTESTS if not args.only or name in args.only]
        for contest in contests:
            figures += _compete(bench, contest, args.repeat)
    path = _RESULTS / time.strftime("%Y%m%d-%H%M%S.csv")
    save(path, figures, header)
    verdict = Verdict(contests, figures)
    print("\n".join((*header, "", *verdict.table())))
    print(f"all runs: {path.relative_to(CHECKOUT)}")
    return verdict.broken


def _stop(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


def main() -> int:
    """Do what the command line says and return the exit status."""
    parser = _parser()
    args = parser.parse_args()
    if args.quick:
        args.size, args.files, args.repeat = 64, 5000, 1
    if wrong := set(args.only or ()) - set(CONTESTS):
        parser.error(f"no such contest: {', '.join(sorted(wrong))}")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _stop)
    try:
        broken = _measure(args, _header(sys.argv[1:]))
    except (LabError, BenchError) as error:
        _say(f"bench: {error}")
        return 1
    for line in broken:
        _say(f"bench: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
