"""The answers of a host to the preflight query, as facts."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from transferpy.agent import protocol
from transferpy.agent.preflight import PreflightQuery
from transferpy.model.facts import (
    BufferFacts,
    DatabaseFacts,
    HostFacts,
    MountFacts,
    RouteFacts,
    SourceFacts,
    TargetFacts,
)
from transferpy.model.text import one_line

_Kind = TypeVar("_Kind", bound=protocol.Event)


def parse_facts(host: str, run_id: str, query: PreflightQuery, lines: Iterable[str]) -> HostFacts:
    """Return the answers that the preflight script printed.

    Raises:
        ProtocolError: an event is malformed, or the answers do not belong to the query.
    """
    answers = _Answers([event for line in lines if (event := protocol.parse_event(line, run_id))])
    facts = _facts(host, answers)
    if unanswered := list(_unanswered(query, facts, answers)):
        raise protocol.ProtocolError(
            protocol.Asked.event_name, f"the answers about {', '.join(unanswered)} do not belong to the query"
        )
    return facts


class _Answers:
    """The events of one preflight, by kind."""

    def __init__(self, events: Sequence[protocol.Event]) -> None:
        self._events = events

    def all(self, kind: type[_Kind]) -> list[_Kind]:
        return [event for event in self._events if isinstance(event, kind)]

    def one(self, kind: type[_Kind]) -> _Kind | None:
        return next(iter(self.all(kind)), None)


def _unanswered(query: PreflightQuery, facts: HostFacts, answers: _Answers) -> Iterator[str]:
    """Yield each part of the query that has no answer, or an answer to something else."""
    if answers.one(protocol.Asked) is None:
        yield "everything"
    if (facts.source is not None) != (query.source_path is not None):
        yield "the source"
    if facts.source is not None and not _is_name(facts.source.name, query):
        yield "the name of the source"
    if (facts.database is not None) != bool(query.database):
        yield "the server"
    if (answers.one(protocol.OwnerAnswer) is not None) != bool(query.owner):
        yield "the owner"
    if facts.targets.keys() != {index for index, _, _ in query.targets}:
        yield "the targets"
    if not facts.routes.keys() <= {route.index for route in query.routes}:
        yield "the routes"


def _is_name(name: str, query: PreflightQuery) -> bool:
    """Return whether a target can use the name of the source for one entry in its staging directory."""
    # A target does not use the name of a tarball. A shell drops a NUL byte, so that ".\0." would become "..".
    return "/" not in name and "\0" not in name and (name not in {".", ".."} or query.magic)


def _facts(host: str, answers: _Answers) -> HostFacts:
    general, magic, owner = (
        answers.one(protocol.HostAnswer),
        answers.one(protocol.MagicAnswer),
        answers.one(protocol.OwnerAnswer),
    )
    if general is None:
        raise protocol.ProtocolError(protocol.HostAnswer.event_name, "it is missing")
    source, database = answers.one(protocol.SourceAnswer), answers.one(protocol.DatabaseAnswer)
    buffers = answers.one(protocol.BuffersAnswer)
    return HostFacts(
        host=host,
        uid=general.uid,
        cores=general.cores,
        boot=general.boot,
        tools=frozenset(general.tools),
        listening=frozenset(general.listening),
        netcats={answer.name: answer.help for answer in answers.all(protocol.NetcatAnswer)},
        firewalls={answer.tool: answer.rules for answer in answers.all(protocol.FirewallAnswer)},
        source=_source(source, answers.all(protocol.MountAnswer)) if source else None,
        routes={
            answer.index: RouteFacts(address=answer.address, source=answer.source)
            for answer in answers.all(protocol.RouteAnswer)
        },
        targets={answer.index: _target(answer) for answer in answers.all(protocol.TargetAnswer)},
        memory=general.memory,
        buffers=BufferFacts(**vars(buffers)) if buffers else None,
        lists=general.lists,
        magic=os.fsencode(magic.first) if magic else b"",
        database=_database(database) if database else None,
        backup_versions={answer.tool: answer.version for answer in answers.all(protocol.BackupToolAnswer)},
        finished=tuple((event.run, event.replication) for event in answers.all(protocol.StaleRunRecovered)),
        set_aside=tuple(event.path for event in answers.all(protocol.SetAside)),
        unknown_owner=owner.unknown if owner else "",
        not_undone=tuple((event.entry, one_line(event.text)) for event in answers.all(protocol.UndoFailed)),
    )


def _source(answer: protocol.SourceAnswer, mounts: Iterable[protocol.MountAnswer]) -> SourceFacts:
    return SourceFacts(**vars(answer), mounts=tuple(MountFacts(**vars(mount)) for mount in mounts))


def _database(answer: protocol.DatabaseAnswer) -> DatabaseFacts:
    texts = {"error": answer.error, "name": answer.name, "own": answer.own, "path": answer.path}
    return DatabaseFacts(**{**vars(answer), **{name: one_line(text) for name, text in texts.items()}})


def _target(answer: protocol.TargetAnswer) -> TargetFacts:
    return TargetFacts(
        state=answer.state,
        path=answer.path,
        ancestors=answer.ancestors,
        taken=answer.final != "",
        final_identity=answer.final,
        free=answer.free,
        empty=answer.content == "",
        leftovers=answer.leftovers,
        inodes=answer.inodes,
        mount=answer.mount,
    )
