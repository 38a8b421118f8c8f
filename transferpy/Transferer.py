"""One run: query, plan, transfer, verify, publish, report."""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from transferpy.agent.session import Session
from transferpy.agent.session_manager import SessionManager
from transferpy.agent.session_script import session_script
from transferpy.engine.copy import await_sender, copy, report_published
from transferpy.engine.preparation import prepare, resolve
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import PreflightError, ReplicationError, TransferpyError, UsageError
from transferpy.model.locations import Location
from transferpy.model.options import options_from_mapping
from transferpy.model.progress import Observer
from transferpy.model.report import ReportBuilder, TargetReport, TransferReport
from transferpy.model.request import TransferRequest
from transferpy.output.run_log import ProgressLog, summary_lines
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.RemoteExecution.CuminExecution import CuminExecution
from transferpy.RemoteExecution.interface import RemoteExecution

logger = logging.getLogger(__name__)


class Transferer:
    """One run, which copies one source to one or more targets.

    Args:
        source_host: the host of the source: a name or query that cumin knows; ``localhost`` needs no ssh.
        source_path: the path of the source: a file, a directory, or, by type, a socket or a tarball.
        target_hosts: the hosts of the targets.
        target_paths: the target directory on each of them.
        options: options of ``transfer.py`` with ``_`` in place of ``-``; ``type`` and ``transfer_type`` are the same.
        remote: runs commands on the hosts; by default with cumin.
        observer: receives the progress of each copy; by default the log does.
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
        self._senders: dict[str, Session] = {}
        """The sessions that send, by the name of their node; each serves all edges that begin there."""
        self._observer = observer or ProgressLog()
        self._report = ReportBuilder()
        self._stream: StreamRun | None = None

    @property
    def report(self) -> TransferReport:
        """The report of the run; during the run, and after a signal, as far as the run came."""
        return self._report.report

    def run(self) -> list[int]:
        """Copy, and return one exit status for each target, or a single one if the run failed before the first target.

        Each expected failure is logged and none is raised. All changes on the hosts are undone, also after a signal.
        """
        self._report = ReportBuilder()
        try:
            return self._run()
        finally:
            self._sessions.dismiss_connections()

    def _run(self) -> list[int]:
        try:
            plan = self._prepare()
        except TransferpyError as error:
            for problem in error.problems:
                logger.error("%s", problem)  # noqa: TRY400 # not a bug, no traceback
            if isinstance(error, PreflightError):
                logger.error("refused: %d problem(s); nothing was changed", len(error.problems))  # noqa: TRY400 # as above
            self._report.update(status=error.exit_status, errors=error.problems)
            return [error.exit_status]
        if plan.options.dry_run:
            return [0] * len(plan.edges)
        try:
            statuses = [self._serve(plan, edge) for edge in plan.edges]
        finally:
            self._sessions.end_all()
            self._report.update(replication_stopped_seconds=self._sessions.stopped_seconds())
            replication_errors = self._sessions.replication_errors()
            if replication_errors:
                logger.error("%s", replication_errors)
                self._report.update(errors=(replication_errors,))
        if replication_errors:
            statuses[-1] = statuses[-1] or ReplicationError.exit_status
        self._report.update(status=next(filter(None, statuses), 0))
        for line in summary_lines(self.report):
            logger.info("%s", line)
        return statuses

    def _observe(self) -> None:
        if self._stream:
            self._observer(self._stream.progress)

    def _prepare(self) -> TransferPlan:
        request = resolve(self._remote, self._request())
        self._report.update(
            source=request.source,
            transfer_type=str(request.options.transfer_type),
            dry_run=request.options.dry_run,
            targets=tuple(TargetReport(target=target, final=request.final(target)) for target in request.targets),
        )
        return prepare(self._remote, self._sessions, self._run_id, request, self._report)

    def _request(self) -> TransferRequest:
        hosts, paths = self._targets
        if len(hosts) != len(paths):
            raise UsageError(f"{len(hosts)} target hosts, but {len(paths)} target paths")
        return TransferRequest(
            source=Location(host=self._source[0], path=self._source[1]),
            targets=tuple(Location(host=host, path=path) for host, path in zip(hosts, paths, strict=True)),
            options=options_from_mapping(self._options),
        )

    def _serve(self, plan: TransferPlan, edge: EdgePlan) -> int:
        """Copy over one edge and return the exit status of its target."""
        index = plan.edges.index(edge)
        last = all(later.sender != edge.sender for later in plan.edges[index + 1 :])
        update, began = partial(self._report.update_target, index), self._report.seconds
        status, stream = 0, None
        try:
            self._stream = stream = self._start(plan, edge, update)
            copy(stream, last=last)
        except TransferpyError as error:
            logger.error("%s: failed: %s", edge.target, error)  # noqa: TRY400 # not a bug, no traceback
            status = error.exit_status
            update(status=status, error=str(error))
        finally:
            self._stream = None
            self._observer(None)
            update(seconds=self._report.seconds - began)
            if last and edge.sender in self._senders:
                # The sender's clean-up, above all of replication, must not wait for the removal of a partial copy.
                self._sessions.stop(self._senders[edge.sender])
            if stream:
                self._sessions.end(stream.receiver)
                if status == 0:
                    report_published(stream)  # a signal may have come between the publishing and its report
        if stream and not last:
            await_sender(stream)
        self._end_unusable_sender(edge, stream)
        return status

    def _start(self, plan: TransferPlan, edge: EdgePlan, update_report: Callable[..., None]) -> StreamRun:
        """Start the sessions of an edge; the sender may have served an earlier edge."""
        receiver = self._start_session(plan, edge.receiver)  # first, because it has more to do until it is ready
        if edge.sender not in self._senders:
            self._senders[edge.sender] = self._start_session(plan, edge.sender)
        return StreamRun(
            sessions=self._sessions,
            remote=self._remote,
            plan=plan,
            edge=edge,
            sender=self._senders[edge.sender],
            receiver=receiver,
            update_report=update_report,
        )

    def _start_session(self, plan: TransferPlan, node: str) -> Session:
        session = plan.sessions[node]
        return self._sessions.start(session.host, session_script(self._run_id, session))

    def _end_unusable_sender(self, edge: EdgePlan, stream: StreamRun | None) -> None:
        """End a sender that cannot serve another edge, because it has failed or is still busy."""
        sender = self._senders.get(edge.sender)
        if sender and not (sender.alive and (stream is None or stream.sender_is_free)):
            self._sessions.end(sender)
            del self._senders[edge.sender]
