"""The preflight: the script that asks a host, and what it answered as values."""

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from transferpy.agent.protocol import Event, decode, parse_count, parse_event
from transferpy.MariaDB import BACKUP_TOOLS
from transferpy.model.facts import DatabaseFacts, HostFacts, RouteFacts, SourceFacts, TargetFacts, TargetState
from transferpy.model.text import one_line
from transferpy.model.tools import NETCATS, TOOLS
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_assignment, render_command


@dataclass(frozen=True, kw_only=True)
class Route:
    """A question to the source: how does it reach this target?

    Attributes:
        index: the target's.
        host: its name.
        addresses: what to try where the source cannot resolve the name.
    """

    index: int
    host: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PreflightQuery:
    """What to ask one host beside its general facts.

    Attributes:
        source_path: set for the source, unless that is a socket; a link with a slash behind it is followed.
        magic: whether the first bytes of the source matter.
        database: the source socket and the options to log in there.
        backup: whether backup tools matter.
        routes: the targets, for the source.
        targets: index, directory and final name of each target on this host.
        netcat: whether its netcats matter.
        owner: who is to own the copy, for targets.
        low_priority: whether the questions step back behind the host's other work, whose disks they may use a lot.
    """

    source_path: str | None = None
    magic: bool = False
    database: tuple[str, ...] = ()
    backup: bool = False
    routes: tuple[Route, ...] = ()
    targets: tuple[tuple[int, str, str], ...] = ()
    netcat: bool = False
    owner: str = ""
    low_priority: bool = False


def preflight_script(run_id: str, questions: PreflightQuery, *, dry_run: bool = False) -> str:
    """Return the script that asks a host.

    It changes nothing there but what dead runs left behind. At its end it waits on its standard input for what
    ``RemoteExecution.hand_script`` gives; a line that is no number ends it. With ``dry_run`` it does neither.
    """
    calls: list[tuple[str, ...]] = [] if dry_run else [("keep_input",)]
    calls += [("begin_watch",), *[("finish_dead_runs",)] * (not dry_run)]
    calls += [*[("step_back",)] * questions.low_priority, ("host_facts", *TOOLS)]
    if questions.netcat:
        calls.append(("netcat_facts", *NETCATS))
    if questions.source_path is not None:
        calls += [("about", questions.source_path), ("source_facts", questions.source_path)]
        calls += [("magic_facts", questions.source_path.rstrip("/"))] if questions.magic else []
    if questions.database:
        calls.append(("database_facts", *questions.database))
    if questions.backup:
        calls.append(("backup_facts", *BACKUP_TOOLS))
    calls.append(("about", ""))
    calls += [("route_facts", str(route.index), route.host, *route.addresses) for route in questions.routes]
    if questions.targets:
        calls.append(("firewall_facts",))
    for index, directory, name in questions.targets:
        calls += [("about", directory), ("target_facts", str(index), directory, name)]
    calls += [("owner_facts", questions.owner)] if questions.owner else []
    calls += [("emit", "asked"), ("end_watch",), *[("await_script",)] * (not dry_run)]
    package = resources.files("transferpy") / "host"
    texts = [(package / name).read_text(encoding="utf-8") for name in ("host.sh", "database.sh", "preflight.sh")]
    return "\n".join([render_assignment("run_id", run_id), *texts, *(render_command(Command(call)) for call in calls)])


def parse_facts(host: str, run_id: str, questions: PreflightQuery, lines: Iterable[str]) -> HostFacts | None:
    """Return what the preflight script printed as values, or None if that does not answer the questions."""
    by_name: dict[str, list[Event]] = {}
    for line in lines:
        if event := parse_event(line, run_id):
            by_name.setdefault(event.name, []).append(event)
    try:
        facts = _facts(host, by_name)
    except (KeyError, ValueError):
        return None
    complete = (
        "asked" in by_name
        and (facts.source is not None) == (questions.source_path is not None)
        and (facts.source is None or _is_name(facts.source.name, questions))
        and (facts.database is not None) == bool(questions.database)
        and ("owner" in by_name) == bool(questions.owner)
        and facts.targets.keys() == {index for index, _, _ in questions.targets}
        and facts.routes.keys() <= {route.index for route in questions.routes}
    )
    return facts if complete else None


def _facts(host: str, by_name: Mapping[str, Sequence[Event]]) -> HostFacts:
    """Return the events as values; a KeyError or ValueError if they are none."""
    general = by_name["host"][0].fields
    return HostFacts(
        host=host,
        uid=parse_count(general["uid"]),
        cores=parse_count(general["cores"]),
        boot=general["boot"],
        tools=frozenset(_words(general["tools"])),
        listening=frozenset(parse_count(port) for port in _words(general["listening"])),
        netcats={event.fields["name"]: decode(event.fields["help"]) for event in by_name.get("netcat", ())},
        firewalls={event.fields["tool"]: decode(event.fields["rules"]) for event in by_name.get("firewall", ())},
        source=_source(by_name["source"][0]) if "source" in by_name else None,
        routes={parse_count(event.fields["index"]): _route(event) for event in by_name.get("route", ())},
        targets={parse_count(event.fields["index"]): _target(event) for event in by_name.get("target", ())},
        memory=parse_count(general["memory"]),
        run=parse_count(general["run"]),
        magic=_magic(by_name["magic"][0]) if "magic" in by_name else (b"", b""),
        database=_database(by_name["database"][0]) if "database" in by_name else None,
        backup_versions={event.fields["tool"]: event.text("version") for event in by_name.get("backup", ())},
        finished=tuple(
            (event.fields["run"], "replication" in event.fields) for event in by_name.get("finished-dead-run", ())
        ),
        unknown_owner=by_name["owner"][0].fields["unknown"] if "owner" in by_name else "",
        not_undone=tuple(
            (event.text("entry"), one_line(event.text("text"))) for event in by_name.get("undo-failed", ())
        ),
    )


def _is_name(name: str, questions: PreflightQuery) -> bool:
    """Whether a copy called so cannot be anything but what arrives: targets move it, and give it to its owner."""
    # Of a tarball they do not learn the name. A shell drops a null byte, and with it goes what tells ".\0." from "..".
    return "/" not in name and "\0" not in name and (name not in {".", ".."} or questions.magic)


def _words(text: str) -> Sequence[str]:
    return text.split(",") if text else ()


def _route(event: Event) -> RouteFacts:
    address, source = event.fields["address"], event.fields["source"]
    for text in (address, source):
        # What follows a percent sign in an IPv6 address may be anything, and this goes to the other host.
        if "%" in text:
            raise ValueError(f"{text} is an address of one link only")
        ipaddress.ip_address(text)
    return RouteFacts(address=address, source=source)


def _source(event: Event) -> SourceFacts:
    totals = ("disk", "inodes", "files", "bytes", "sockets") if event.fields["kind"] else ()
    numbers = {name: parse_count(event.fields[name]) for name in totals}
    return SourceFacts(
        directory=decode(event.fields["directory"]),
        name=decode(event.fields["name"]),
        kind=event.fields["kind"],
        identity=event.fields["identity"],
        error=decode(event.fields["error"]),
        server=event.fields["server"] == "yes",
        **numbers,
    )


def _magic(event: Event) -> tuple[bytes, bytes]:
    return os.fsencode(event.text("first")), os.fsencode(event.text("tar"))


def _database(event: Event) -> DatabaseFacts:
    state = event.fields["state"]
    if state != "server":
        return DatabaseFacts(state=state, error=one_line(event.text("error")))
    return DatabaseFacts(
        state=state,
        version=decode(event.fields["version"]),
        datadir=decode(event.fields["datadir"]),
        disk=parse_count(event.fields["disk"]),
        inodes=parse_count(event.fields["inodes"]),
    )


def _target(event: Event) -> TargetFacts:
    fields = event.fields
    state = TargetState(fields["state"])
    if state is TargetState.OTHER:
        return TargetFacts(state=state)
    total, free_inodes = fields["inodes"].split(":")
    return TargetFacts(
        state=state,
        path=decode(fields["path"]),
        ancestors=tuple(_words(fields["ancestors"])),
        taken=fields["final"] != "",
        final_identity=fields["final"],
        free=parse_count(fields["free"]),
        empty=fields["content"] == "",
        leftovers=tuple(_words(fields["leftovers"])),
        inodes=None if total == "0" else parse_count(free_inodes),
    )
