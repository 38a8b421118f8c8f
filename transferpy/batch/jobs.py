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
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from transferpy.agent.assembly import assemble
from transferpy.agent.protocol import ProtocolError, Pruned, parse_event
from transferpy.batch.job_file import JobFile, JobTransfer, fill_in, parse_job_file
from transferpy.Exceptions import (
    Interrupted,
    JobRunningError,
    PostRunError,
    RemoteExecutionError,
    UsageError,
    error_text,
)
from transferpy.model.locations import Location
from transferpy.model.options import OPTIONS, TOOL_OPTIONS, ToolOptions, TransferType
from transferpy.model.report import TargetReport, TransferReport, status_of
from transferpy.model.units import duration
from transferpy.output import metrics
from transferpy.output.atomic_file import write_atomically
from transferpy.output.json_report import from_json, to_json
from transferpy.output.outputs import write_outputs
from transferpy.RemoteExecution.CuminExecution import CuminExecution
from transferpy.RemoteExecution.interface import RemoteExecution
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command

_LINE = re.compile(r"[-\d]+ [:\d]+ (DEBUG|INFO|WARNING|ERROR) +(.*)")
_LEVELS = logging.getLevelNamesMapping()
_HOOK_TIME = 300.0
"""Seconds that a hook may take."""
_HOOK_LINE = 1 << 16
"""Bytes of a line of a hook that are read at once."""
_LAST_WORDS = 1.0
"""Seconds for what a hook has left to say at its end; what it left behind may hold its output open for ever."""
_LOOK = 0.5
_LONGEST_FILE = 1 << 20
"""Characters of a job file; what is longer is none."""
_PROGRAM = (sys.executable, "-P", "-m", "transferpy")

logger = logging.getLogger(__name__)


class Given(Protocol):
    """What a job needs of the command line; see ``transfer.CommandLine``."""

    @property
    def given(self) -> Mapping[str, object]: ...  # noqa: D102 # transfer.CommandLine says it
    @property
    def options(self) -> ToolOptions: ...  # noqa: D102 # transfer.CommandLine says it
    @property
    def config(self) -> str | None: ...  # noqa: D102 # transfer.CommandLine says it


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
    with ExitStack() as stack:
        try:
            job = read_job_file(path)
            dry = command_line.options.dry_run
            lock = stack.enter_context(_locked(Path(job.state_directory), _key(path), path, dry=dry))
            run = _Run(job, _chosen(job, names, path), command_line, lock, remote or CuminExecution(), path=path)
        except (UsageError, JobRunningError, Interrupted) as error:
            # Else the report of last night would be there still, and pass for tonight's.
            write_outputs(command_line.options, [_refusal(error)], {}, Path(path).stem)
            raise
        return run.run(received)


def _refusal(error: UsageError | JobRunningError | Interrupted) -> TransferReport:
    """Return the report of a job that did not begin."""
    started = datetime.now(UTC)
    if isinstance(error, Interrupted):
        name, status = error.signum.name, 128 + error.signum
        return TransferReport(started=started, status=status, interrupted=name, errors=("it did not begin",))
    reasons = tuple(map(str, getattr(error, "problems", (error,))))
    return TransferReport(started=started, status=error.exit_status, errors=reasons)


def _key(path: str) -> str:
    """Return what the files of a job are called in its state directory."""
    return f"{Path(path).stem}-{hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()[:8]}"


def _chosen(job: JobFile, names: Sequence[str], path: str) -> list[JobTransfer]:
    known = {transfer.name: transfer for transfer in job.transfers}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"{path}: no transfer is called {', '.join(unknown)}; the file has {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(job.transfers)


def read_job_file(path: str) -> JobFile:
    """Return the job that a file holds; a UsageError says what is wrong with it."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: the job file cannot be read: {error_text(error)}") from error
    if len(text) > _LONGEST_FILE:
        raise UsageError(f"{path}: the job file cannot be read: it has more than {_LONGEST_FILE} characters")
    return parse_job_file(text, path)


@contextmanager
def _locked(directory: Path, key: str, path: str, *, dry: bool) -> Iterator[int | None]:
    """Hold the lock of a job. Its processes inherit it: it is at work as long as one of them is."""
    if dry:
        yield None
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            # What is noted there is removed one night, by root on other hosts.
            raise PermissionError("others than its owner, or another owner, can write there")
        lock = os.open(directory / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(f"{directory}: the job cannot keep its state there: {error_text(error)}") from error
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
        templates: the paths as they stand in the file, by what they are filled in to.
        not_before: monotonic seconds.
        report: of all attempts so far.
        is_over: whether there will be no further attempt.
        thread: what carries out an attempt.
        process: of the attempt that is at work.
    """

    transfer: JobTransfer
    hosts: frozenset[str]
    targets: tuple[Location, ...]
    templates: Mapping[str, str]
    not_before: float = 0.0
    report: TransferReport | None = None
    is_over: bool = False
    thread: threading.Thread | None = field(default=None, repr=False)
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)


class _Run:
    """One run of a job."""

    def __init__(  # noqa: PLR0913 # each is something else
        self,
        job: JobFile,
        chosen: Sequence[JobTransfer],
        command_line: Given,
        lock: int | None,
        remote: RemoteExecution,
        *,
        path: str,
    ) -> None:
        self._job = job
        self._command_line = command_line
        self._dry = command_line.options.dry_run
        self._lock = lock
        self._remote = remote
        self._path = path
        self._ledger = _Ledger(Path(job.state_directory) / f"{_key(path)}.json")
        self._began = time.monotonic()
        self._started = datetime.now(UTC)
        self._stopping = False
        self._ended: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._tasks = [self._task(transfer, self._started.astimezone()) for transfer in chosen]

    def run(self, received: Sequence[int]) -> int:
        """Run the transfers and all that comes after them; return the exit status."""
        name, good = Path(self._path).stem, False
        try:
            good = self._transfers() and self._prune()
        finally:
            reports = self._reports(received)
            status = status_of(reports)
            told = write_outputs(self._command_line.options, reports, self._series(reports), name)
            succeeded = sum(report.status == 0 for report in reports)
            took = duration(time.monotonic() - self._began)
            done = "can be made, says the dry run that took" if self._dry else "succeeded in"
            logger.info("%s: %d of %d transfer(s) %s %s", self._path, succeeded, len(reports), done, took)
            hook = self._job.on_failure if status else self._job.on_success
            good = (self._dry or not hook or _run_hook(hook, to_json(reports, name))) and good
        return status or (0 if good and told else PostRunError.exit_status)

    def _task(self, transfer: JobTransfer, now: datetime) -> _Task:
        hosts: set[str] = set()
        for host in (transfer.source.host, *(target.host for target in transfer.targets)):
            try:
                hosts |= set(self._remote.resolve_all(host))
            except RemoteExecutionError:
                hosts.add(host)  # why that is, the transfer says
        values = {"date": f"{now:%Y-%m-%d}", "time": f"{now:%H%M%S}", "name": transfer.name}
        targets = tuple(replace(target, path=fill_in(target.path, values)) for target in transfer.targets)
        templates = {one.path: template.path for one, template in zip(targets, transfer.targets, strict=True)}
        return _Task(transfer=transfer, hosts=frozenset(hosts), targets=targets, templates=templates)

    # --- processes

    def _transfers(self) -> bool:
        """Run all transfers; whatever ends this early, none is at work afterwards.

        Returns whether it could be noted what they made.
        """
        waiting, running, noted = list(self._tasks), list[_Task](), True
        try:
            while waiting or running:
                busy = Counter(host for task in running for host in task.hosts)
                for task in list(waiting):
                    if self._may_start(task, running, busy):
                        waiting.remove(task)
                        running.append(task)
                        busy.update(task.hosts)
                        # No signal comes between a process and its name where it is started in another thread.
                        task.thread = threading.Thread(target=self._carry_out, args=(task,), daemon=True)
                        task.thread.start()
                try:
                    task = self._ended.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                noted = self._note(task) and noted
                running.remove(task)  # not before: what a signal keeps from being noted, is noted at the end
                if self._is_to_be_tried_again(task):
                    waiting.append(task)
                else:
                    task.is_over = True
        finally:
            self._stopping = True
            for task in running:
                if task.process:
                    task.process.terminate()
            for task in running:
                if task.thread and task.thread.is_alive():
                    task.thread.join()
                self._note(task)
        return noted

    def _may_start(self, task: _Task, running: Sequence[_Task], busy: Counter[str]) -> bool:
        return (
            len(running) < self._job.at_once
            and time.monotonic() >= task.not_before
            and all(busy[host] < self._job.at_once_per_host for host in task.hosts)
        )

    def _carry_out(self, task: _Task) -> None:
        """Make one attempt at a transfer; called by a thread of its own."""
        try:
            report = self._attempt(task)
        except Exception as error:  # noqa: BLE001 # who waits for its end must not wait for ever
            why = f"it could not be run: {error}"
            report = TransferReport(source=task.transfer.source, started=datetime.now(UTC), status=1, errors=(why,))
            with suppress(Exception):
                logger.error("[%s] %s", task.transfer.name, why)  # noqa: TRY400 # not a bug
        report = replace(report, name=task.transfer.name)
        task.report = joined(task.report, report) if task.report else report
        task.process = None
        self._ended.put(task)

    def _attempt(self, task: _Task) -> TransferReport:
        """Run a process, log what it says, and return its report; raises OSError if it cannot be started."""
        # The report goes through memory: no full disk can lose it, and no file is left where this process is killed.
        with os.fdopen(os.memfd_create("report"), "r+b") as document:
            # The lock is the standard input, which ssh does not inherit: one that stays, as the master of others,
            # would keep the next run of the job from beginning. A session of its own: Ctrl-C at the terminal is for
            # this process, which tells them.
            process = subprocess.Popen(  # noqa: S603 # words that were checked
                [*_PROGRAM, *self._words(task)],
                stdin=subprocess.DEVNULL if self._lock is None else self._lock,
                stdout=document,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            task.process = process
            if self._stopping:
                process.terminate()
            for line in process.stderr or ():
                found = _LINE.fullmatch(text := line.decode("utf-8", "backslashreplace").rstrip("\n"))
                # What a dry run would do is in its report, too.
                other = logging.DEBUG if self._dry else logging.WARNING
                level, message = (_LEVELS[found[1]], found[2]) if found else (other, text)
                logger.log(level, "[%s] %s", task.transfer.name, message)
            status = process.wait()
            document.seek(0)
            try:
                return from_json(document.read().decode())
            except ValueError:
                why = f"its process ended with status {status} and without a report"
                logger.error("[%s] %s", task.transfer.name, why)  # noqa: TRY400 # the process has said why
                return TransferReport(source=task.transfer.source, started=datetime.now(UTC), status=1, errors=(why,))

    def _words(self, task: _Task) -> list[str]:
        """Return the command line of a transfer."""
        given = {name: value for name, value in self._command_line.given.items() if name not in TOOL_OPTIONS}
        options: dict[str, object] = {**task.transfer.options, **given, "report": "-", "metrics": "", "log_file": ""}
        options |= {"verbose": self._command_line.options.verbose, "dry_run": self._dry}
        options |= {"quiet": False, "syslog": False}
        config = [f"--config={self._command_line.config}"] if self._command_line.config is not None else []
        return [*config, *_as_words(options), str(task.transfer.source), *map(str, task.targets)]

    def _is_to_be_tried_again(self, task: _Task) -> bool:
        """Whether a transfer that has ended gets another attempt, which it is made ready for."""
        report, transfer = task.report, task.transfer
        if self._dry:
            return False  # it is to say what stands against the transfer, not to wait until that is gone
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

    def _reports(self, received: Sequence[int]) -> list[TransferReport]:
        """Return what became of each transfer; one that a signal kept from its end has the status of that."""
        never = TransferReport(started=self._started, status=1, errors=("it did not begin",))
        reports = []
        for task in self._tasks:
            report = task.report or replace(never, name=task.transfer.name, source=task.transfer.source)
            if received and not task.is_over and report.status:
                report = replace(report, status=128 + received[0], interrupted=signal.Signals(received[0]).name)
            reports.append(report)
        return reports

    def _series(self, reports: Sequence[TransferReport]) -> metrics.Series:
        """Return the metrics of all transfers; their targets are called as in the job file."""
        series: metrics.Series = {}
        for task, report in zip(self._tasks, reports, strict=True):
            names = [f"{target.target.host}:{task.templates[target.target.path]}" for target in report.targets]
            series |= metrics.of_report(report, names)
        return series

    def _note(self, task: _Task) -> bool:
        """Note what a transfer has made, which is all that is ever removed; return whether that was possible."""
        made = [_made(task, target) for target in (task.report.targets if task.report else ())]
        copies = [copy for copy in made if copy]
        if not copies or self._dry:
            return True
        try:
            self._ledger.write(list(dict.fromkeys([*self._ledger.read(), *copies])))
        except (OSError, ValueError) as error:
            self._log_ledger(error)
            return False
        return True

    def _log_ledger(self, error: Exception) -> None:
        logger.error("%s: what the job has made cannot be noted: %s", self._ledger.path, error_text(error))

    def _prune(self) -> bool:
        """Remove old copies of the transfers that succeeded; return whether all went well."""
        tasks = [task for task in self._tasks if task.transfer.keep and task.report and task.report.status == 0]
        if self._dry or not tasks:
            return True
        try:
            copies = self._ledger.read()
            results = [self._prune_one(task, copies) for task in tasks]
            self._ledger.write(copies)
        except (OSError, ValueError) as error:
            self._log_ledger(error)
            return False
        return all(results)

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
            for copy, fate in zip(found, fates, strict=True):
                place = f"{host}:{copy.path}"
                match fate:
                    case "removed":
                        logger.info("[%s] %s: removed, it was old", task.transfer.name, place)
                    case "other":
                        logger.warning("[%s] %s: is not what this job made, and stays", task.transfer.name, place)
                    case "shared":
                        logger.warning("[%s] %s: holds more than this job's copy, and stays", task.transfer.name, place)
                    case "failed":
                        logger.error("[%s] %s: cannot be removed", task.transfer.name, place)
                if fate in {"removed", "gone", "other", "shared"}:
                    copies.remove(copy)
            good = good and "failed" not in fates
        return good

    def _remove(self, host: str, keep: int, found: "Sequence[_Copy]") -> list[str]:
        """Return what became of each copy; raises RemoteExecutionError if the host does not say it of all."""
        run_id = secrets.token_hex(8)
        words = (word for copy in found for word in (copy.path, str(copy.inode), str(copy.born), copy.holds))
        call = render_command(Command(("prune", str(keep), *words)))
        script = assemble("tools/prune", variables={"run_id": run_id}, call=call)
        lines: list[str] = []
        result = self._remote.run(host, script, on_line=lines.append)
        try:
            events = [event for line in lines if isinstance(event := parse_event(line, run_id), Pruned)]
        except ProtocolError as error:
            raise RemoteExecutionError(f"{host}: pruning returned a malformed event {error}") from error
        if len(events) != len(found):
            raise RemoteExecutionError(f"{host}: status {result.returncode}: {result.output[-500:]}")
        return [event.what for event in events]


def _made(task: _Task, target: TargetReport) -> "_Copy | None":
    """Return what a transfer has made on a target: nothing if the copy is no good, or the directory not its own."""
    if target.status != 0 or target.made_inode is None:
        return None
    is_file = task.report is not None and task.report.transfer_type == TransferType.FILE
    return _Copy(
        transfer=task.transfer.name,
        host=target.target.host,
        template=task.templates[target.target.path],
        path=target.target.path.rstrip("/"),  # what is removed gets a name beside this one first
        inode=target.made_inode,
        born=target.made_born,
        holds=target.final.path.rpartition("/")[2] if is_file else "",
    )


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
    """A directory that this job made: the only ones that it ever removes.

    Attributes:
        transfer: that made it.
        host: where it stands.
        template: its path in the job file.
        path: its path.
        inode: its number.
        born: when it was made, by the clock of its host; 0 if its file system does not know.
        holds: the name of the one thing in it; empty if there may be many.
    """

    transfer: str
    host: str
    template: str
    path: str
    inode: int
    born: int = 0
    holds: str = ""


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
        write_atomically(
            self.path, json.dumps({"copies": [vars(copy) for copy in copies]}, indent=1) + "\n", mode=0o600
        )


def _as_words(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield options as a command line has them."""
    for name, value in options.items():
        flag = OPTIONS[name].flag
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag[2:]}"
        else:
            yield f"{flag}={value}"


def _run_hook(words: Sequence[str], document: str) -> bool:
    """Run a command on this host with the report on its standard input; return whether it succeeded."""
    with os.fdopen(os.memfd_create("report"), "r+b") as report:
        # A file, which nobody has to read; and a session of its own, so that Ctrl-C at the terminal is not for it.
        report.write(document.encode())
        report.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 # that of the job file
                words, stdin=report, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            logger.error("the hook %s could not be run: %s", words[0], error_text(error))  # noqa: TRY400 # not a bug
            return False
    listener = threading.Thread(target=_log_output, args=(words[0], process), daemon=True)
    listener.start()
    try:
        status = process.wait(_HOOK_TIME)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        logger.error("the hook %s was killed after %s", words[0], duration(_HOOK_TIME))  # noqa: TRY400 # not a bug
        return False
    listener.join(_LAST_WORDS)
    if status < 0:
        logger.error("the hook %s was ended by signal %d", words[0], -status)
    elif status:
        logger.error("the hook %s failed with status %d", words[0], status)
    return status == 0


def _log_output(name: str, process: "subprocess.Popen[bytes]") -> None:
    if process.stdout:
        for line in iter(partial(process.stdout.readline, _HOOK_LINE), b""):
            logger.info("%s: %s", name, line.decode("utf-8", "backslashreplace").rstrip("\n"))
