"""Runs the transfers of a job file: some at once, again where they fail, and one report for all.

Each transfer is a process of its own, a ``transfer.py`` with a report in JSON: none can take another along, and a job
that is told to end tells them to.
"""

import fcntl
import hashlib
import json
import logging
import os
import queue
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from transferpy import metrics
from transferpy.commands import Command, render_assignment, render_command
from transferpy.Exceptions import (
    AftermathError,
    JobRunningError,
    RemoteExecutionError,
    UsageError,
)
from transferpy.jobfile import OF_THE_TOOL, JobFile, JobTransfer, fill_in, parse_job_file
from transferpy.options import Location, OptionValue
from transferpy.RemoteExecution.CuminExecution import CuminExecution
from transferpy.RemoteExecution.interface import RemoteExecution
from transferpy.report import TransferReport, duration, from_json, status_of, to_json
from transferpy.session import parse_event
from transferpy.tell import tell, write_whole

_LINE = re.compile(r"[-\d]+ [:\d]+ (DEBUG|INFO|WARNING|ERROR) +(.*)")
_LEVELS = logging.getLevelNamesMapping()
_HOOK_TIME = 300.0
"""Seconds that a hook may take."""
_LOOK = 0.5

logger = logging.getLogger(__name__)


class Given(Protocol):
    """What a job needs of the command line; see ``transfer.CommandLine``."""

    @property
    def given(self) -> Mapping[str, object]: ...  # noqa: D102 # as there
    @property
    def options(self) -> dict[str, OptionValue]: ...  # noqa: D102 # as there
    @property
    def config(self) -> str | None: ...  # noqa: D102 # as there


def run_job_file(
    path: str,
    names: Sequence[str],
    command_line: Given,
    received: Sequence[int],
    remote: RemoteExecution | None = None,
) -> int:
    """Run the transfers of a job file, all or those with these names, and return the exit status.

    Args:
        path: of the job file.
        names: of the transfers, in the order in which to begin them; none for all.
        command_line: its options count for each transfer.
        received: the signals that have come so far.
        remote: how to run commands on the hosts; by default with cumin.

    Raises:
        UsageError: the file makes no sense, or has no transfer of that name.
        JobRunningError: it is at work already.
    """
    job = read_job_file(path)
    known = {transfer.name: transfer for transfer in job.transfers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{path}: no transfer is called {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)] or list(job.transfers)
    dry = bool(command_line.options["dry_run"])
    key = f"{Path(path).stem}-{hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()[:8]}"
    ledger = _Ledger(Path(job.state_directory) / f"{key}.json")
    with _locked(Path(job.state_directory), key, path, dry=dry) as lock:
        run = _Run(job, chosen, command_line, lock, remote or CuminExecution())
        good = False
        try:
            try:
                run.transfers()
            finally:
                noted = dry or run.note(ledger)
            good = dry or (noted and run.prune(ledger))
        finally:
            reports = run.reports(received)
            status = status_of(reports)
            told = tell(command_line.options, reports, run.series(reports), Path(path).stem)
            succeeded = sum(report.status == 0 for report in reports)
            logger.info("%s: %d of %d transfer(s) succeeded in %s", path, succeeded, len(reports), run.took())
            hook = job.on_failure if status else job.on_success
            good = (dry or not hook or _run_hook(hook, to_json(reports, Path(path).stem))) and good
    return status or (0 if good and told else AftermathError.exit_status)


def read_job_file(path: str) -> JobFile:
    """Return the job that a file holds; a UsageError says what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the job file cannot be read: {error}") from error
    return parse_job_file(text, path)


@contextmanager
def _locked(directory: Path, key: str, path: str, *, dry: bool) -> Iterator[int | None]:
    """Hold the lock of a job. Its processes inherit it: it is at work as long as one of them is."""
    if dry:
        yield None
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{directory}: the job cannot keep its state there: {error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobRunningError(f"{path}: another run of this job is still at work") from error
        yield lock
    finally:
        os.close(lock)


@dataclass(eq=False)
class _Task:
    """One transfer on its way.

    Attributes:
        transfer: of the job file.
        hosts: all that it has to do with.
        targets: where to in the next attempt, with placeholders filled in.
        not_before: monotonic seconds.
        report: of all attempts so far.
        process: of the attempt that is at work, with the file of its report.
    """

    transfer: JobTransfer
    hosts: frozenset[str]
    targets: tuple[Location, ...]
    not_before: float = 0.0
    report: TransferReport | None = None
    process: "tuple[subprocess.Popen[bytes], str] | None" = field(default=None, repr=False)


class _Run:
    """One run of a job."""

    def __init__(
        self,
        job: JobFile,
        chosen: Sequence[JobTransfer],
        command_line: Given,
        lock: int | None,
        remote: RemoteExecution,
    ) -> None:
        self._job = job
        self._command_line = command_line
        self._lock = lock
        self._remote = remote
        self._began = time.monotonic()
        self._started = datetime.now(UTC)
        self._ended: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._tasks = [self._task(transfer, self._started.astimezone()) for transfer in chosen]

    def took(self) -> str:
        """Wall time, for people."""
        return duration(time.monotonic() - self._began)

    def _task(self, transfer: JobTransfer, now: datetime) -> _Task:
        hosts: set[str] = set()
        for host in (transfer.source.host, *(target.host for target in transfer.targets)):
            try:
                hosts |= set(self._remote.resolve_all(host))
            except RemoteExecutionError:
                hosts.add(host)  # why that is, the transfer says
        values = {"date": f"{now:%Y-%m-%d}", "time": f"{now:%H%M%S}", "name": transfer.name}
        targets = tuple(replace(target, path=fill_in(target.path, values)) for target in transfer.targets)
        return _Task(transfer=transfer, hosts=frozenset(hosts), targets=targets)

    # --- processes

    def transfers(self) -> None:
        """Run all transfers; whatever ends this early, none is at work afterwards."""
        waiting, running = list(self._tasks), list[_Task]()
        try:
            while waiting or running:
                busy = Counter(host for task in running for host in task.hosts)
                for task in [task for task in waiting if self._may_start(task, running, busy)]:
                    if self._may_start(task, running, busy):
                        waiting.remove(task)
                        running.append(task)
                        busy.update(task.hosts)
                        self._start(task)
                try:
                    task = self._ended.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                running.remove(task)
                if self._is_to_be_tried_again(task):
                    waiting.append(task)
        finally:
            for task in running:
                if task.process:
                    task.process[0].terminate()
            while any(task.process for task in running):
                self._ended.get()

    def _may_start(self, task: _Task, running: Sequence[_Task], busy: Counter[str]) -> bool:
        return (
            len(running) < self._job.at_once
            and time.monotonic() >= task.not_before
            and all(busy[host] < self._job.at_once_per_host for host in task.hosts)
        )

    def _start(self, task: _Task) -> None:
        descriptor, path = tempfile.mkstemp(prefix="transferpy-report-")
        os.close(descriptor)
        given = {name: value for name, value in self._command_line.given.items() if name not in OF_THE_TOOL}
        options: dict[str, object] = {**task.transfer.options, **given, "report": path, "metrics": "", "log_file": ""}
        options |= {name: bool(self._command_line.options[name]) for name in ("verbose", "dry_run")}
        options |= {"quiet": False, "syslog": False}
        config = [f"--config={self._command_line.config}"] if self._command_line.config is not None else []
        words = [*config, *_as_words(options), str(task.transfer.source), *map(str, task.targets)]
        # A session of its own: Ctrl-C at the terminal is for this process, which tells them.
        process = subprocess.Popen(  # noqa: S603 # words that were checked
            [sys.executable, "-P", "-m", "transferpy", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if self._lock is None else (self._lock,),
        )
        task.process = (process, path)
        threading.Thread(target=self._follow, args=(task, process, path), daemon=True).start()

    def _follow(self, task: _Task, process: "subprocess.Popen[bytes]", path: str) -> None:
        """Log what a process says, and take its report when it has ended."""
        for line in process.stderr or ():
            found = _LINE.fullmatch(text := line.decode("utf-8", "backslashreplace").rstrip("\n"))
            level, message = (_LEVELS[found[1]], found[2]) if found else (logging.WARNING, text)
            logger.log(level, "[%s] %s", task.transfer.name, message)
        status = process.wait()
        try:
            report = from_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            why = f"its process ended with status {status} and without a report"
            report = TransferReport(source=task.transfer.source, started=datetime.now(UTC), status=1, errors=(why,))
            logger.error("[%s] %s", task.transfer.name, why)  # noqa: TRY400 # the process has said why
        finally:
            Path(path).unlink(missing_ok=True)
        report = replace(report, name=task.transfer.name)
        task.report = joined(task.report, report) if task.report else report
        task.process = None
        self._ended.put(task)

    def _is_to_be_tried_again(self, task: _Task) -> bool:
        """Whether a transfer that has ended gets another attempt, which it is made ready for."""
        report, transfer = task.report, task.transfer
        if report is None or report.status in {0, UsageError.exit_status} or report.attempts > transfer.retries:
            return False
        # A target that has its copy needs no other, and would refuse it.
        left = tuple(target.target for target in report.targets if target.status != 0) or task.targets
        if report.targets and all(target.status == 0 for target in report.targets):
            return False
        task.targets = left
        pause = min(transfer.retry_pause << (report.attempts - 1), 86400)
        task.not_before = time.monotonic() + pause
        logger.warning("[%s] failed with status %d; trying again in %s", transfer.name, report.status, duration(pause))
        return True

    # --- afterwards

    def reports(self, received: Sequence[int]) -> list[TransferReport]:
        """Return what became of each transfer; one that did not begin has the status of the signal that came."""
        status = 128 + received[0] if received else 1
        never = TransferReport(started=self._started, status=status, errors=("it did not begin",))
        return [
            task.report or replace(never, name=task.transfer.name, source=task.transfer.source) for task in self._tasks
        ]

    def series(self, reports: Sequence[TransferReport]) -> metrics.Series:
        """Return the metrics of all transfers; their targets are called as in the job file."""
        series: metrics.Series = {}
        for task, report in zip(self._tasks, reports, strict=True):
            templates = self._templates(task)
            names = [f"{target.target.host}:{templates[target.target.path]}" for target in report.targets]
            series |= metrics.of_report(report, names)
        return series

    def _templates(self, task: _Task) -> dict[str, str]:
        """Return the paths of a transfer as they stand in the file, by what they are filled in to."""
        filled = self._task(task.transfer, self._started.astimezone()).targets
        return {one.path: template.path for one, template in zip(filled, task.transfer.targets, strict=True)}

    def note(self, ledger: "_Ledger") -> bool:
        """Note what was made, which is all that is ever removed; return whether that was possible."""
        made = [
            _Copy(
                transfer=task.transfer.name,
                host=target.target.host,
                template=self._templates(task)[target.target.path],
                path=target.target.path,
                inode=target.made_inode,
            )
            for task in self._tasks
            for target in (task.report.targets if task.report else ())
            if target.status == 0 and target.made_inode is not None
        ]
        try:
            ledger.write([*ledger.read(), *made])
        except (OSError, ValueError) as error:
            logger.error("%s: what the job has made cannot be noted: %s", ledger.path, error)  # noqa: TRY400 # no bug
            return False
        return True

    def prune(self, ledger: "_Ledger") -> bool:
        """Remove old copies of the transfers that succeeded; return whether all went well."""
        good = True
        copies = ledger.read()
        for task in self._tasks:
            if task.transfer.keep and task.report and task.report.status == 0:
                good = self._prune_one(task, copies) and good
        ledger.write(copies)
        return good

    def _prune_one(self, task: _Task, copies: "list[_Copy]") -> bool:
        """Remove the old copies of one transfer, and drop those that are gone from the list."""
        good = True
        places = {(copy.host, copy.template) for copy in copies if copy.transfer == task.transfer.name}
        for host, template in sorted(places):
            of_place = (task.transfer.name, host, template)
            found = [copy for copy in reversed(copies) if (copy.transfer, copy.host, copy.template) == of_place]
            try:
                fates = self._remove(host, task.transfer.keep, found)
            except RemoteExecutionError as error:
                logger.error("[%s] old copies cannot be removed: %s", task.transfer.name, error)  # noqa: TRY400 # no bug
                good = False
                continue
            for copy, fate in zip(found, fates, strict=False):
                place = f"{host}:{copy.path}"
                match fate:
                    case "removed":
                        logger.info("[%s] %s: removed, it was old", task.transfer.name, place)
                    case "other":
                        logger.warning("[%s] %s: is not what this job made, and stays", task.transfer.name, place)
                    case "failed":
                        logger.error("[%s] %s: cannot be removed", task.transfer.name, place)
                if fate in {"removed", "gone", "other"}:
                    copies.remove(copy)
            good = good and len(fates) == len(found) and "failed" not in fates
        return good

    def _remove(self, host: str, keep: int, found: "Sequence[_Copy]") -> list[str]:
        run_id = secrets.token_hex(8)
        text = (resources.files("transferpy") / "prune.sh").read_text(encoding="utf-8")
        call = render_command(Command(("prune", *(word for copy in found for word in (copy.path, str(copy.inode))))))
        variables = (render_assignment("run_id", run_id), render_assignment("keep", str(keep)))
        lines: list[str] = []
        self._remote.run(host, "\n".join((*variables, text, call)), on_line=lines.append)
        events = [event for line in lines if (event := parse_event(line, run_id))]
        return [event.fields.get("what", "") for event in events]


def joined(before: TransferReport, again: TransferReport) -> TransferReport:
    """Return the report of several attempts: ``again`` tried anew what had failed before."""
    new = {target.target: target for target in again.targets}
    targets = tuple(new.get(target.target, target) for target in before.targets) or again.targets
    seconds = (again.started - before.started).total_seconds() + again.seconds
    return replace(
        again, targets=targets, started=before.started, seconds=seconds, attempts=before.attempts + again.attempts
    )


@dataclass(frozen=True, kw_only=True)
class _Copy:
    """A directory that this job made: the only ones that it ever removes."""

    transfer: str
    host: str
    template: str
    path: str
    inode: int


@dataclass(frozen=True)
class _Ledger:
    """The file in which a job notes what it has made, the oldest first."""

    path: Path

    def read(self) -> list[_Copy]:
        """Return what is noted; raises OSError or ValueError."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            return [_Copy(**values) for values in json.loads(text)["copies"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"is damaged: {error}") from error

    def write(self, copies: Sequence[_Copy]) -> None:
        """Note that; raises OSError."""
        write_whole(self.path, json.dumps({"copies": [vars(copy) for copy in copies]}, indent=1) + "\n", mode=0o600)


def _as_words(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as a command line has them."""
    for name, value in options.items():
        word = "type" if name == "transfer_type" else name.replace("_", "-")
        if isinstance(value, bool):
            yield f"--{word}" if value else f"--no-{word}"
        else:
            yield f"--{word}={value}"


def _run_hook(words: Sequence[str], document: str) -> bool:
    """Run a command on this host with the report on its standard input; return whether it succeeded."""
    try:
        result = subprocess.run(  # noqa: S603 # that of the job file
            words,
            input=document.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_HOOK_TIME,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.error("the hook %s could not be run: %s", words[0], error)  # noqa: TRY400 # not a bug
        return False
    for line in result.stdout.decode("utf-8", "backslashreplace").splitlines():
        logger.info("%s: %s", words[0], line)
    if result.returncode:
        logger.error("the hook %s failed with status %d", words[0], result.returncode)
    return result.returncode == 0
