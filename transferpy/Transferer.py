"""The six steps of a transfer: ask, decide, do, check, publish, tell."""

import logging
import re
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from transferpy.agent.preflight_connection import run_preflight
from transferpy.agent.session import Session, log_not_undone, log_recovered
from transferpy.agent.session_manager import SessionManager
from transferpy.agent.session_plan import SessionPlan
from transferpy.agent.session_script import session_script
from transferpy.engine.copy import _Copy
from transferpy.Exceptions import (
    PreflightError,
    RemoteExecutionError,
    ReplicationError,
    TransferpyError,
    UsageError,
)
from transferpy.model.facts import HostFacts
from transferpy.model.locations import Location
from transferpy.model.options import options_from_mapping
from transferpy.model.progress import Observer
from transferpy.model.report import ReportBuilder, TargetReport, TransferReport
from transferpy.model.request import TransferRequest
from transferpy.output.progress_log import ProgressLog
from transferpy.output.summary import summary_lines
from transferpy.planning.dry_run import amount, describe
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.planning.planner import make_plan
from transferpy.planning.query import preflight_queries
from transferpy.RemoteExecution.CuminExecution import CuminExecution
from transferpy.RemoteExecution.interface import RemoteExecution

logger = logging.getLogger(__name__)
_SET_OF_HOSTS = re.compile(r"[^\w.:-]")
"""In a word for hosts, which may name several, though today it may be but one."""


class Transferer:
    """Copies one source to one or more targets.

    Args:
        source_host: the host to copy from, by any name that cumin knows; ``localhost`` needs no ssh.
        source_path: the file or directory to copy.
        target_hosts: the hosts to copy to.
        target_paths: a directory on each of them.
        options: any of the options of ``transfer.py``, with ``_``; ``type`` and ``transfer_type`` mean the same.
        remote: how to run commands on the hosts; by default with cumin.
        observer: is told how far each copy is; by default, the log is.
    """

    def __init__(  # noqa: PLR0913 # existing programs call it like this
        self,
        source_host: str,
        source_path: str,
        target_hosts: Sequence[str],
        target_paths: Sequence[str],
        options: Mapping[str, object] = {},  # never changed; existing programs look at the default
        *,
        remote: RemoteExecution | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._source = (source_host, source_path)
        self._targets = (tuple(target_hosts), tuple(target_paths))
        self._options = dict(options)
        self._remote = remote or CuminExecution()
        self._run_id = secrets.token_hex(8)
        self._sessions = SessionManager(self._remote, self._run_id, self._observe)
        self._source_session: Session | None = None
        self._observer = observer or ProgressLog()
        self._record = ReportBuilder()
        self._copying: _Copy | None = None

    @property
    def report(self) -> TransferReport:
        """What became of the run; of one that a signal or a bug has ended, as far as it came."""
        return self._record.report

    def run(self) -> list[int]:
        """Copy, and return one exit status for each target, or a single one if the run failed before any was tried.

        No expected failure is raised, each is logged; what was changed on the hosts is undone also when a signal or a
        bug ends the run.
        """
        self._record = ReportBuilder()
        try:
            return self._run()
        finally:
            self._sessions.dismiss_connections()

    def _run(self) -> list[int]:
        try:
            plan = self._prepare()
        except PreflightError as error:
            for problem in error.problems:
                logger.error("%s", problem)  # noqa: TRY400 # not a bug, no traceback
            logger.error("refused: %d problem(s); nothing was changed", len(error.problems))  # noqa: TRY400 # as above
            self._record.update(status=error.exit_status, errors=error.problems)
            return [error.exit_status]
        except TransferpyError as error:
            logger.error("%s", error)  # noqa: TRY400 # as above
            self._record.update(status=error.exit_status, errors=(str(error),))
            return [error.exit_status]
        if plan.options.dry_run:
            return [0] * len(plan.edges)
        try:
            statuses = [self._copy(plan, edge) for edge in plan.edges]
        finally:
            self._sessions.end_all()
            broken = self._sessions.replication_errors()
            if broken:
                logger.error("%s", broken)
                self._record.update(errors=(broken,))
        if broken:
            statuses[-1] = statuses[-1] or ReplicationError.exit_status
        self._record.update(status=next(filter(None, statuses), 0))
        for line in summary_lines(self.report):
            logger.info("%s", line)
        return statuses

    def _observe(self) -> None:
        if self._copying:
            self._observer(self._copying.progress)

    # --- ask and decide

    def _prepare(self) -> TransferPlan:
        request = self._resolve(self._request())
        self._note_request(request)
        queries = preflight_queries(request, {target.host: _addresses(target.host) for target in request.targets})
        answers = run_preflight(self._remote, self._run_id, queries, dry_run=request.options.dry_run)
        self._sessions.keep_connections(answers.connections)
        _log_dead_runs(answers.facts.values())
        try:
            plan = make_plan(request, answers.facts, self._run_id, answers.silent)
        except PreflightError as error:
            if set(error.problems) == set(answers.silent.values()):
                raise RemoteExecutionError("; ".join(error.problems)) from error
            raise
        self._record.update(cipher=plan.cipher, checksum=plan.algorithm)
        if plan.options.dry_run:
            self._record.update(plan=tuple(describe(plan, answers.facts)))
        else:
            targets = ", ".join(str(edge.target) for edge in plan.edges)
            logger.info("%s: %s, to %s (%s)", plan.source, amount(plan), targets, plan.stream)
        for note in plan.notes:
            logger.warning("%s", note)
        return plan

    def _request(self) -> TransferRequest:
        hosts, paths = self._targets
        if len(hosts) != len(paths):
            raise UsageError(f"{len(hosts)} target hosts, but {len(paths)} target paths")
        return TransferRequest(
            source=Location(host=self._source[0], path=self._source[1]),
            targets=tuple(Location(host=host, path=path) for host, path in zip(hosts, paths, strict=True)),
            options=options_from_mapping(self._options),
        )

    def _note_request(self, request: TransferRequest) -> None:
        self._record.update(
            source=request.source,
            transfer_type=str(request.options.transfer_type),
            dry_run=request.options.dry_run,
            targets=tuple(TargetReport(target=target, final=request.final(target)) for target in request.targets),
        )

    def _resolve(self, request: TransferRequest) -> TransferRequest:
        """Return the request with the one host that its source names, and all that its targets name, each once."""
        source = replace(request.source, host=self._remote.resolve(request.source.host))
        targets = [
            replace(target, host=host) for target in request.targets for host in self._remote.resolve_all(target.host)
        ]
        if len(targets) > len(request.targets) or any(_SET_OF_HOSTS.search(target.host) for target in request.targets):
            # Whoever names hosts in sets may have some in several of them; single words for one target are a mistake.
            once: dict[tuple[str, str], Location] = {}
            for target in targets:
                once.setdefault((target.host, target.path.rstrip("/")), target)
            targets = list(once.values())
        return replace(request, source=source, targets=tuple(targets))

    # --- do, check, publish

    def _copy(self, plan: TransferPlan, edge: EdgePlan) -> int:
        """Copy to one target and return its exit status."""
        copy: _Copy | None = None
        status = 0
        last = edge is plan.edges[-1]
        note, began = partial(self._record.update_target, plan.edges.index(edge)), self._record.seconds
        try:
            copy = _Copy(self._sessions, self._remote, plan, edge, *self._start_sessions(plan, edge), note=note)
            self._copying = copy
            copy.run(last=last)
        except TransferpyError as error:
            logger.error("%s: failed: %s", edge.target, error)  # noqa: TRY400 # not a bug, no traceback
            status = error.exit_status
            note(status=status, error=str(error))
        finally:
            self._copying = None
            self._observer(None)
            note(seconds=self._record.seconds - began)
            if last and self._source_session:
                # What it holds, replication above all, must not wait for the target to remove half a copy.
                self._sessions.stop(self._source_session)
            if copy:
                self._sessions.end(copy.target_session)
                if status == 0:
                    copy.note_published()  # a signal may have come between that and the word of it
        if copy and not last:
            copy.let_source_finish()
        source = self._source_session
        if source and not (source.alive and (copy is None or copy.source_is_free)):
            self._sessions.end(source)
            self._source_session = None
        return status

    def _start_sessions(self, plan: TransferPlan, edge: EdgePlan) -> tuple[Session, Session]:
        if self._source_session is None:
            self._source_session = self._start_session(plan.sessions[edge.sender])
        return self._source_session, self._start_session(plan.sessions[edge.receiver])

    def _start_session(self, plan: SessionPlan) -> Session:
        return self._sessions.start(plan.host, session_script(self._run_id, plan))


def _log_dead_runs(facts: Iterable[HostFacts]) -> None:
    for answers in facts:
        for run, replication in answers.finished:
            log_recovered(answers.host, run, replication=replication)
        for entry, text in answers.not_undone:
            log_not_undone(answers.host, entry, text)


def _addresses(host: str) -> tuple[str, ...]:
    """Return what this host knows of the addresses of ``host``, for a source that cannot resolve the name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found)) if host != "localhost" else ()
