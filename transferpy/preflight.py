"""The preflight: the script that asks a host, and what it answered as values."""

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import resources

from transferpy.commands import Command, render_assignment, render_command
from transferpy.MariaDB import BACKUP_TOOLS, CLIENTS, UNPACK_TOOLS
from transferpy.session import Event, decode, one_line, parse_event, whole

# Beside what every Debian system has (coreutils, findutils, gzip, util-linux, libc-bin).
TOOLS = (
    *BACKUP_TOOLS,
    *UNPACK_TOOLS,
    *CLIENTS,
    *("gzip", "pigz", "zstd", "lz4", "xz"),
    *("md5sum", "sha256sum", "xxh128sum", "b3sum"),
    *("tar", "socat", "openssl", "ss", "netstat", "ip", "flock", "awk", "cmp", "getent", "perl"),
)
PACKAGES = {
    "b3sum": "b3sum",
    "awk": "mawk",
    "cmp": "diffutils",
    "flock": "util-linux",
    "getent": "libc-bin",
    "gzip": "gzip",
    "ip": "iproute2",
    "iptables": "iptables",
    "md5sum": "coreutils",
    "nft": "nftables",
    "openssl": "openssl",
    "perl": "perl-base",
    "pigz": "pigz",
    "socat": "socat",
    "lz4": "lz4",
    "tar": "tar",
    "xz": "xz-utils",
    "zstd": "zstd",
    "xxh128sum": "xxhash",
}
NETCATS = ("nc", "nc.openbsd", "ncat", "nc.traditional", "netcat")


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """What stands at the source path.

    Attributes:
        directory: the directory that holds it.
        name: its name there; that of what a symbolic link points to, where the path asked for that.
        kind: ``find -printf %y``: f, d, l ...; empty if there is nothing.
        identity: device and inode.
        error: the last thing that could not be read below it, else empty.
        disk: bytes on disk, files with several names once, holes not at all.
        inodes: how many files, directories, links and devices.
        files: how many regular files.
        bytes: the sum of their sizes.
        sockets: how many sockets; they are not copied.
        server: whether it is the data directory of a MariaDB that runs.
    """

    directory: str
    name: str
    kind: str
    identity: str
    error: str = ""
    disk: int = 0
    inodes: int = 0
    files: int = 0
    bytes: int = 0
    sockets: int = 0
    server: bool = False


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """What a database server says of itself.

    Attributes:
        state: server; missing or other if there is no socket; silent if it did not answer as it should.
        error: what it answered, then.
        version: its version.
        datadir: its data directory.
        disk: bytes on disk there, without the logs of replication.
        inodes: how many files and directories.
    """

    state: str
    error: str = ""
    version: str = ""
    datadir: str = ""
    disk: int = 0
    inodes: int = 0


@dataclass(frozen=True, kw_only=True)
class RouteFacts:
    """How the source reaches a target: the address it connects to, and the one that the target will see."""

    address: str
    source: str


class TargetState(StrEnum):
    """What a target path is; only a directory will do."""

    DIRECTORY = "directory"
    READ_ONLY = "read-only"
    OTHER = "other"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """What stands at a target path.

    Attributes:
        state: what the path is; the rest is known of directories, and of one that is missing as far as it can be.
        path: the directory without symbolic links; of one that is missing the nearest that is there.
        ancestors: device and inode of the directory and of those above it; for one that is missing, the device and what
            is missing stand in the first place.
        taken: whether the final name exists there, as whatever.
        final_identity: device and inode of what has that name.
        free: bytes that are free.
        inodes: how many inodes are free, or None where the file system makes them as needed.
        empty: whether there is nothing in it but lost+found.
        leftovers: half copies in it that no run will undo any more, as their host was switched off.
    """

    state: TargetState
    path: str = ""
    ancestors: tuple[str, ...] = ()
    taken: bool = False
    final_identity: str = ""
    free: int = 0
    inodes: int | None = None
    empty: bool = True
    leftovers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """All that one host answered.

    Attributes:
        host: its name.
        uid: as whom commands run there; 0 is root.
        cores: how many processors it has.
        boot: the identifier of its running kernel: the same on two hosts means that they are one machine.
        tools: which of :data:`TOOLS` it has.
        listening: the TCP ports in use.
        netcats: what each netcat prints for ``-h``, by the name of the program.
        firewalls: what each firewall tool printed; see :func:`transferpy.Firewall.doors`.
        memory: bytes of memory that are free.
        run: bytes that are free in /run, where the lists of a run are, or None if that is not known.
        source: what stands at the source path, on the source host.
        magic: the first bytes of the source, and the mark that a tar header has at its place.
        database: what the server at the source socket says.
        backup_versions: what each backup tool says of its version.
        routes: by the target's index, how the source reaches it.
        targets: by the target's index, what stands at its path.
        finished: the dead runs that the preflight cleaned up behind, and of each whether it had stopped replication.
        unknown_owner: the user or group of the owner asked for that the host does not know, else empty.
        not_undone: what it could not undo of dead runs: an entry of their undo lists each, and why.
    """

    host: str
    uid: int
    cores: int
    boot: str
    tools: frozenset[str]
    listening: frozenset[int]
    netcats: Mapping[str, str] = field(default_factory=dict)
    firewalls: Mapping[str, str] = field(default_factory=dict)
    source: SourceFacts | None = None
    routes: Mapping[int, RouteFacts] = field(default_factory=dict)
    targets: Mapping[int, TargetFacts] = field(default_factory=dict)
    finished: tuple[tuple[str, bool], ...] = ()
    not_undone: tuple[tuple[str, str], ...] = ()
    unknown_owner: str = ""
    memory: int = 0
    run: int | None = None
    magic: tuple[bytes, bytes] = (b"", b"")
    database: DatabaseFacts | None = None
    backup_versions: Mapping[str, str] = field(default_factory=dict)


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
class Questions:
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


def preflight_script(run_id: str, questions: Questions, *, dry_run: bool = False) -> str:
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
    package = resources.files("transferpy")
    texts = [(package / name).read_text(encoding="utf-8") for name in ("host.sh", "database.sh", "preflight.sh")]
    return "\n".join([render_assignment("run_id", run_id), *texts, *(render_command(Command(call)) for call in calls)])


def parse_facts(host: str, run_id: str, questions: Questions, lines: Iterable[str]) -> HostFacts | None:
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
        uid=whole(general["uid"]),
        cores=whole(general["cores"]),
        boot=general["boot"],
        tools=frozenset(_words(general["tools"])),
        listening=frozenset(whole(port) for port in _words(general["listening"])),
        netcats={event.fields["name"]: decode(event.fields["help"]) for event in by_name.get("netcat", ())},
        firewalls={event.fields["tool"]: decode(event.fields["rules"]) for event in by_name.get("firewall", ())},
        source=_source(by_name["source"][0]) if "source" in by_name else None,
        routes={whole(event.fields["index"]): _route(event) for event in by_name.get("route", ())},
        targets={whole(event.fields["index"]): _target(event) for event in by_name.get("target", ())},
        memory=whole(general["memory"]),
        run=whole(general["run"]),
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


def _is_name(name: str, questions: Questions) -> bool:
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
    numbers = {name: whole(event.fields[name]) for name in totals}
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
        disk=whole(event.fields["disk"]),
        inodes=whole(event.fields["inodes"]),
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
        free=whole(fields["free"]),
        empty=fields["content"] == "",
        leftovers=tuple(_words(fields["leftovers"])),
        inodes=None if total == "0" else whole(free_inodes),
    )
