"""Prepare a run: resolve its hosts, run the preflight query, and make the plan."""

import logging
import re
import socket
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from transferpy.agent.preflight_connection import run_preflight
from transferpy.agent.session import log_not_undone, log_recovered, log_set_aside
from transferpy.agent.session_manager import SessionManager
from transferpy.Exceptions import PreflightError, RemoteExecutionError
from transferpy.model.facts import HostFacts
from transferpy.model.report import ReportBuilder
from transferpy.model.request import TransferRequest
from transferpy.planning.dry_run import dry_run_lines, source_amount
from transferpy.planning.plan import TransferPlan
from transferpy.planning.planner import make_plan
from transferpy.planning.query import preflight_queries
from transferpy.RemoteExecution.interface import RemoteExecution

if TYPE_CHECKING:
    from transferpy.model.locations import Location

logger = logging.getLogger(__name__)

_SET_OF_HOSTS = re.compile(r"[^\w.:-]")
"""A character of a query that may find several hosts, even if it finds one today."""


def resolve(remote: RemoteExecution, request: TransferRequest) -> TransferRequest:
    """Return the request with resolved hosts: the one host of its source, and every host of its targets.

    Raises:
        RemoteExecutionError: a word finds no host, or the source finds several.
        UsageError: a target is named twice.
    """
    source = replace(request.source, host=remote.resolve(request.source.host))
    targets = [replace(target, host=host) for target in request.targets for host in remote.resolve_all(target.host)]
    if len(targets) > len(request.targets) or any(_SET_OF_HOSTS.search(target.host) for target in request.targets):
        # Sets of hosts may overlap on purpose. Two single words for one target are a mistake.
        once: dict[tuple[str, str], Location] = {}
        for target in targets:
            once.setdefault((target.host, target.path.rstrip("/")), target)
        targets = list(once.values())
    return replace(request, source=source, targets=tuple(targets))


def prepare(
    remote: RemoteExecution, sessions: SessionManager, run_id: str, request: TransferRequest, report: ReportBuilder
) -> TransferPlan:
    """Run the preflight query on the hosts of a request and return the plan.

    Args:
        remote: runs commands on the hosts.
        sessions: keeps the connections of the query open.
        run_id: the identifier of the run.
        request: the request, with resolved hosts.
        report: gets the properties of the plan.

    Raises:
        RemoteExecutionError: a host did not answer.
        PreflightError: the transfer cannot work; the error has every reason.
    """
    queries = preflight_queries(request, {target.host: _addresses(target.host) for target in request.targets})
    answers = run_preflight(
        remote, run_id, queries, timeout=request.options.copy_timeout, dry_run=request.options.dry_run
    )
    sessions.keep_connections(answers.connections)
    _log_stale_runs(answers.facts.values())
    try:
        plan = make_plan(request, answers.facts, run_id, answers.silent)
    except PreflightError as error:
        if set(error.problems) == set(answers.silent.values()):
            raise RemoteExecutionError("; ".join(error.problems)) from error
        raise
    report.update(cipher=plan.cipher, checksum=plan.algorithm)
    if plan.options.dry_run:
        report.update(plan=tuple(dry_run_lines(plan, answers.facts)))
    else:
        targets = ", ".join(str(edge.target) for edge in plan.edges)
        logger.info("%s: %s, to %s (%s)", plan.source, source_amount(plan), targets, plan.stream)
    for note in plan.notes:
        logger.warning("%s", note)
    return plan


def _log_stale_runs(facts: Iterable[HostFacts]) -> None:
    for answers in facts:
        for run, replication in answers.finished:
            log_recovered(answers.host, run, replication=replication)
        for path in answers.set_aside:
            log_set_aside(answers.host, path)
        for entry, text in answers.not_undone:
            log_not_undone(answers.host, entry, text)


def _addresses(host: str) -> tuple[str, ...]:
    """Return the addresses of ``host`` that this host knows, for a source that cannot resolve the name."""
    if host == "localhost":
        return ()
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
