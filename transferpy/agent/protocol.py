"""The protocol with the scripts on hosts: events from a host, and commands to a session.

An event is one line, ``@transferpy RUN NAME KEY=VALUE ...``. A value holds no blanks; a text travels in base64. A line
of another form is no event. Each event is a class below, with its fields and their validation; ``parse_event`` is the
only parser. A session command is one line of words; each is a class below, too.
"""

import base64
import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum
from typing import Annotated, ClassVar, Self, TypeVar, dataclass_transform, get_args

from transferpy.model.facts import MountKind, TargetState
from transferpy.model.options import MOST_STREAMS

MARK = "@transferpy"
_MOST_FIELDS = 32
"""More fields than any event has; each field of a line needs some memory."""
_MOST_ADDRESSES = 4
"""The most addresses in one field; a host sends no more."""
_COMMAND_PREFIX = "command"
_Value = TypeVar("_Value")


class ProtocolError(ValueError):
    """A host sent an event that is unknown, or that lacks a field, or that has a malformed field."""

    def __init__(self, event: str, problem: str) -> None:
        super().__init__(f"{event[:40]!r}: {problem}")


# --- the values of fields


def parse_count(text: str) -> int:
    """Return a number from 0 to 2^64 - 1 that a host sent; a ValueError for any other text."""
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) >= 1 << 64:
        raise ValueError(f"{text[:20]!r} is not a number from 0 to 2^64 - 1")
    return int(text)


def _parse_base64(text: str) -> str:
    """Return a value that stays in base64, for instance because it goes to another host."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{text[:20]!r} is not base64") from error
    return text


def _parse_text(text: str) -> str:
    """Return a text that travelled in base64; a byte that is not UTF-8 becomes a surrogate escape."""
    return os.fsdecode(base64.b64decode(_parse_base64(text)))


def _parse_word(text: str) -> str:
    """Return a word that no shell and no program takes for more than a word."""
    if not re.fullmatch("[A-Za-z0-9._:-]*", text):
        raise ValueError(f"{text[:20]!r} is not a plain word")
    return text


def _parse_port(text: str) -> int:
    # The port becomes a part of an address of socat on another host. Such an address can name a command to run.
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) not in range(1, 65536):
        raise ValueError(f"{text[:20]!r} is not a port")
    return int(text)


def _parse_ports(text: str) -> tuple[int, ...]:
    ports = text.split(",", MOST_STREAMS) if text else []
    if len(ports) >= MOST_STREAMS:
        raise ValueError(f"more than {MOST_STREAMS - 1} ports")
    return tuple(map(_parse_port, ports))


def _parse_lane(text: str) -> int:
    lane = parse_count(text)
    if lane >= MOST_STREAMS:
        raise ValueError(f"more than {MOST_STREAMS} lanes")
    return lane


def _parse_address(text: str) -> str:
    # Behind a percent sign, an IPv6 address may hold any text, and the address goes to another host.
    if "%" in text:
        raise ValueError(f"{text[:60]!r} is valid on one link only")
    ipaddress.ip_address(text)
    return text


def _parse_addresses(text: str) -> tuple[str, ...]:
    addresses = text.split(",", _MOST_ADDRESSES) if text else []
    if len(addresses) > _MOST_ADDRESSES:
        raise ValueError(f"more than {_MOST_ADDRESSES} addresses")
    return tuple(map(_parse_address, addresses))


def _parse_yes(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ValueError(f"{text[:20]!r} is neither yes nor no")
    return text == "yes"


def _parse_inodes(text: str) -> int | None:
    """Return the free inodes in ``TOTAL:FREE``; None where the file system makes inodes as needed (TOTAL is 0)."""
    total, free = map(parse_count, text.split(":"))
    return free if total else None


def _parse_benchmark(text: str) -> tuple[str, int, int]:
    """Return a codec's label, the compressed size in bytes and the time in microseconds."""
    label, size, microseconds = text.split(":")
    return _parse_word(label), parse_count(size), parse_count(microseconds)


def _parse_list(parse: Callable[[str], _Value], separator: str = ",") -> Callable[[str], tuple[_Value, ...]]:
    return lambda text: tuple(map(parse, text.split(separator))) if text else ()


Count = Annotated[int, parse_count]
Counts = Annotated[tuple[int, ...], _parse_list(parse_count)]
Text = Annotated[str, _parse_text]
Base64 = Annotated[str, _parse_base64]
Word = Annotated[str, _parse_word]
Words = Annotated[tuple[str, ...], _parse_list(_parse_word)]
Tokens = Annotated[tuple[str, ...], _parse_list(str)]
Port = Annotated[int, _parse_port]
Ports = Annotated[tuple[int, ...], _parse_ports]
Lane = Annotated[int, _parse_lane]
Address = Annotated[str, _parse_address]
Addresses = Annotated[tuple[str, ...], _parse_addresses]
Flag = Annotated[bool, _parse_yes]


# --- events


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a script on a host, with its name on the wire; each subclass is a frozen dataclass."""

    event_name: ClassVar[str] = ""

    def __init_subclass__(cls, *, name: str = "") -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        if name:
            cls.event_name = name
            _EVENTS[name] = cls

    @classmethod
    def required(cls, values: Mapping[str, str]) -> set[str]:
        """Return the fields that an event with these values has to have."""
        del values
        return {each.name for each in fields(cls) if each.default is MISSING}

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Self:
        """Return the event with these values; other values are ignored.

        Raises:
            ProtocolError: a field is missing or malformed.
        """
        if missing := sorted(cls.required(values) - values.keys()):
            raise ProtocolError(cls.event_name, f"it lacks {', '.join(missing)}")
        parsed = {}
        for each in fields(cls):
            if each.name in values:
                try:
                    parsed[each.name] = get_args(each.type)[1](values[each.name])
                except ValueError as error:
                    raise ProtocolError(cls.event_name, f"{each.name}: {error}") from error
        return cls(**parsed)


_EVENTS: dict[str, type[Event]] = {}


def parse_event(line: str, run_id: str) -> Event | None:
    """Return the event of ``line``, or None for any other line that a host prints.

    Raises:
        ProtocolError: the event is unknown, or one of its fields is missing or malformed.
    """
    if not is_event(line, run_id):
        return None
    words = line.split(maxsplit=_MOST_FIELDS + 3)[2:]
    if not words:
        return None
    if words[0] not in _EVENTS:
        raise ProtocolError(words[0], "it is unknown")
    if len(words) > _MOST_FIELDS:
        raise ProtocolError(words[0], f"it has more than {_MOST_FIELDS - 1} fields")
    pairs = (word.partition("=") for word in words[1:])
    return _EVENTS[words[0]].parse({key: value for key, _, value in pairs})


def is_event(line: str, run_id: str) -> bool:
    """Return whether ``line`` is an event of this run, well-formed or not."""
    return line.split(maxsplit=2)[:2] == [MARK, run_id]


class Hello(Event, name="hello"):
    """The session has a run directory."""

    directory: Text


class Ready(Event, name="ready"):
    """The session is prepared; its certificate, in base64, is empty where the stream is not encrypted."""

    certificate: Base64


class SampleTaken(Event, name="sample"):
    """The source compressed a sample of ``size`` bytes; see ``_parse_benchmark`` for the result of each codec."""

    size: Count
    trials: Annotated[tuple[tuple[str, int, int], ...], _parse_list(_parse_benchmark)]


class Probing(Event, name="probing"):
    """The target listens for the link probe."""

    port: Port


class Probed(Event, name="probed"):
    """The source has sent the link probe."""


class LinkMeasured(Event, name="link"):
    """The target has received the link probe; the first two numbers are 0 where it could not."""

    bytes: Count = 0
    microseconds: Count = 0
    rtt: Count = 0  # in microseconds; 0 where the kernel did not report it

    @property
    def rate(self) -> float | None:
        """Bytes per second that the link carries; None where the probe was too short to measure that."""
        return self.bytes / self.microseconds * 1e6 if self.microseconds else None

    @property
    def round_trip(self) -> float | None:
        """The round-trip time in seconds; None if it is unknown."""
        return self.rtt / 1e6 if self.rtt else None


class Listening(Event, name="listening"):
    """The listener of the stream was seen on the port.

    Attributes:
        more: the ports of further lanes of the stream.
        obstacle: the reason for which there are fewer lanes than requested; empty without one.
    """

    port: Port
    more: Ports = ()
    obstacle: Text = ""

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of all lanes."""
        return (self.port, *self.more)


class Connected(Event, name="connected"):
    """The listener has accepted a connection."""


class Sending(Event, name="sending"):
    """The source starts the stream; from now on the stream has its time limits."""


class ProgressMade(Event, name="progress"):
    """The heartbeat, at least once a second.

    Attributes:
        bytes: the number of bytes that have passed the first stage of the stream; None if there is none.
        total: the number of bytes that all stages have read together; it falls when one of them ends.
    """

    bytes: Annotated[int | None, parse_count] = None
    total: Count = 0


class Broken(Event, name="broken"):
    """A connection of a lane has ended before the data of the lane, as the relay of one end found.

    Attributes:
        connection: the number of the connection of the lane, from 0 on.
        position: the bytes that the relay of the receiver has passed on, or that the sender has given to its transport.
        status: the exit status of the program of the transport.
        text: the end of its standard error.
    """

    connection: Count
    position: Count
    status: Count
    text: Text = ""
    lane: Lane = 0


class Reopened(Event, name="reopened"):
    """The lane listens again, for the connection of that number, and needs the bytes from ``position`` on."""

    connection: Count
    position: Count
    lane: Lane = 0


class Established(Event, name="established"):
    """The sender of the lane has proven, on the connection of that number, that it knows the token."""

    connection: Count
    lane: Lane = 0


class Sent(Event, name="sent"):
    """The data of the lane has ended on the sender, and has that number of bytes."""

    bytes: Count
    lane: Lane = 0


class Complete(Event, name="complete"):
    """The receiver has passed on all bytes of the lane."""

    lane: Lane = 0


class Stages(Event, name="stages"):
    """A task has ended; the exit status of each of its stages."""

    job: Word
    statuses: Counts


class StandardError(Event, name="stderr"):
    """The end of the standard error of a stage; the stage is ``-`` for the task itself."""

    job: Word
    stage: Word
    text: Text


class StorageFault(Event, name="storage"):
    """After a failure on a target, nothing can be written to the file system of the target directory."""

    fault: Word  # full, inodes, quota, read-only or other
    path: Text  # the target directory
    text: Text  # the message of the kernel


class Handshake(Event, name="handshake"):
    """The packets of the connection that the host saw, in answer to ``Examine``, and what can stop them there.

    Attributes:
        watched: the host could watch the packets.
        examined: the search for obstacles has ended; False in the first of two events.
        listed: the host could list the chains of all of its firewalls.
        seen: ``open`` (SYN), ``accept`` (SYN and ACK) or ``refuse`` (RST or ICMP error), from the peer (``-in``) or to
            it (``-out``).
        strangers: other addresses from which a SYN arrived.
        refusers: the addresses from which ICMP errors arrived.
        unresolved: the next hop on the route to the peer, if it does not answer ARP or neighbour discovery.
        arriving: the chains of the firewall that can drop packets which arrive.
        leaving: the chains of the firewall that can drop packets which leave.
    """

    watched: Flag
    examined: Flag
    listed: Flag = False
    seen: Words = ()
    strangers: Addresses = ()
    refusers: Addresses = ()
    unresolved: Addresses = ()
    arriving: Text = ""
    leaving: Text = ""


class ListDigest(Event):
    """The digest of a list that a session holds, and the number of records in it."""

    digest: Word
    entries: Count


class Manifest(ListDigest, name="manifest"):
    """The list of all entries of the copy."""


class Attributes(ListDigest, name="attributes"):
    """The list of all extended attributes of the copy, which include ACLs and capabilities."""


class FileDigests(ListDigest, name="digests"):
    """The list of the digests of all files."""


class Tables(ListDigest, name="tables"):
    """The list of the files of tables: of a server, those that were there during the whole backup; of a copy, all."""


class Lacking(ListDigest, name="lacking"):
    """The list of the files that tables of a server, or of a copy of one, need and do not have."""

    file_per_table: Count = 1


class StreamDigest(Event, name="stream-digest"):
    """The digest of the bytes that passed the network; without ``--parallel-checksum``, their number."""

    digest: Word


class Checked(Event, name="checked"):
    """The session has examined its end of the copy and found no fault; a hot copy or a tarball is counted."""

    files: Count = 0
    bytes: Count = 0


class Position(Event, name="position"):
    """The position of a hot copy in the binary logs of its server, and in those of that server's primary.

    Attributes:
        lsn: the end of its redo log; 0 if unknown.
    """

    binlog: Text
    replica: Text
    lsn: Count = 0


class RedoLog(Event, name="redo-log"):
    """The position of the server in its redo log: on disk before the backup, and in memory after the backup.

    Attributes:
        first: the position before the backup.
        last: the position after it; 0 if the server did not answer.
    """

    first: Count
    last: Count = 0


class RedoOverwritten(Event, name="redo-overwritten"):
    """The server has overwritten redo log that the backup tool could not read, since the last connection broke.

    Attributes:
        connection: the number of the first connection that was tried after the break.
    """

    connection: Count


class ReplicationWaits(Event, name="replication-waits"):
    """The session waits for a moment without open temporary tables of replication."""


class ReplicationStopping(Event, name="replication-stopping"):
    """The first connection is about to be stopped."""


class ReplicationStopped(Event, name="replication-stopped"):
    """The number of connections that are stopped for the backup."""

    connections: Count


class ReplicationEnd(Event):
    """The backup does not need replication stopped any more.

    Attributes:
        milliseconds: the time for which replication was stopped for the backup.
    """

    milliseconds: Count = 0


class ReplicationRuns(ReplicationEnd, name="replication-runs"):
    """All connections run again."""


class ReplicationLeft(ReplicationEnd, name="replication-left"):
    """Another run on the host needs replication stopped, and will start it."""


class SourceChanged(Event, name="changed"):
    """The source changed during the copy; some of the paths."""

    paths: Annotated[tuple[str, ...], lambda text: tuple(filter(None, _parse_text(text).split("\0")))]


class Published(Event, name="published"):
    """The copy has its final name; the attributes of a directory made for it.

    Attributes:
        inode: its inode number.
        born: when it was made, in seconds since 1970; 0 if unknown.
        published: when the copy got its final name, in seconds since 1970, on the clock of the file system.
        filesystem: the identity of its file system.
    """

    inode: Annotated[int | None, parse_count] = None
    born: Count = 0
    published: Count = 0
    filesystem: Word = ""


class SessionFailed(Event, name="error"):
    """The session cannot continue; the exit status of the run follows from the kind."""

    kind: Word
    text: Text


class UndoFailed(Event, name="undo-failed"):
    """An entry of the undo list failed."""

    entry: Text
    text: Text


class Unconfined(Event, name="unconfined"):
    """The preparation of a hot copy runs without protection against a forged redo log, and the reason."""

    text: Text


class UnknownOption(Event, name="unknown-option"):
    """The option file of a hot copy, which is not prepared, has a line that no backup tool writes."""

    text: Text


class SetAside(Event, name="set-aside"):
    """An incomplete copy had its final name, and was renamed to ``path``; it was not removed."""

    path: Text


class StaleRunRecovered(Event, name="finished-dead-run"):
    """The changes of a stale run were undone; ``replication`` if that included a start of replication.

    Attributes:
        pid: the process ID of its session; that of its last recovery, if that was killed.
    """

    run: Word
    pid: Count = 0
    replication: Annotated[bool, bool] = False


class Ending(Event, name="ending"):
    """The clean-up of the session begins."""


class End(Event, name="end"):
    """The clean-up of the session is over."""

    undone: Flag


# --- events of the preflight


class Asking(Event, name="asking"):
    """The path that the next answers are about."""

    about: Text


class HostAnswer(Event, name="host"):
    """The facts about the host itself; see :class:`transferpy.model.facts.HostFacts`."""

    uid: Count
    cores: Count
    boot: Word
    tools: Words
    listening: Counts
    memory: Count
    lists: Count


class BuffersAnswer(Event, name="buffers"):
    """The buffers of TCP sockets; see :class:`transferpy.model.facts.BufferFacts`."""

    send: Count
    receive: Count
    forced: Flag
    relays: Flag = False
    watches: Flag = False


class NetcatAnswer(Event, name="netcat"):
    """The help text of one netcat."""

    name: Word
    help: Text


class FirewallAnswer(Event, name="firewall"):
    """The rules that one firewall tool lists."""

    tool: Word
    rules: Text


class SourceAnswer(Event, name="source"):
    """The facts about the source path; see :class:`transferpy.model.facts.SourceFacts`."""

    directory: Text
    name: Text
    kind: Word
    identity: Word
    error: Text
    server: Flag
    disk: Count
    inodes: Count
    files: Count
    directories: Count
    bytes: Count
    largest: Count
    sockets: Count
    links_error: Text
    unproven: Text = ""


class MountAnswer(Event, name="mount"):
    """A file system inside of the source; see :class:`transferpy.model.facts.MountFacts`."""

    path: Text
    type: Word
    kind: Annotated[MountKind, MountKind]


class MagicAnswer(Event, name="magic"):
    """The first bytes of the source."""

    first: Text


class BackupToolAnswer(Event, name="backup"):
    """The version that a backup tool prints."""

    tool: Word
    version: Text


class DatabaseAnswer(Event, name="database"):
    """The facts about the server at the source socket; see :class:`transferpy.model.facts.DatabaseFacts`."""

    state: Word
    error: Text = ""
    version: Text = ""
    datadir: Text = ""
    own: Text = ""
    path: Text = ""
    files: Word = "same"
    name: Text = ""
    disk: Count = 0
    inodes: Count = 0
    outside: Text = ""
    device: Text = ""
    refused_option: Text = ""

    @classmethod
    def required(cls, values: Mapping[str, str]) -> set[str]:
        """Return the fields that the answer has to have: more where there is a server."""
        more = {
            "server": {"version", "name", "datadir", "disk", "inodes", "outside"},
            "files-other": {"datadir", "own", "path"},
            "files-unknown": {"datadir"},
            "files-unproven": {"error"},
        }
        return super().required(values) | more.get(values.get("state", ""), set())


class RouteAnswer(Event, name="route"):
    """The route from the source to the target of that index."""

    index: Count
    address: Address
    source: Address


class OwnerAnswer(Event, name="owner"):
    """The user or group that the host does not have; empty if it has both."""

    unknown: Word


class TargetAnswer(Event, name="target"):
    """The facts about a target path; see :class:`transferpy.model.facts.TargetFacts`."""

    index: Count
    state: Annotated[TargetState, TargetState]
    path: Text = ""
    ancestors: Tokens = ()
    final: Word = ""
    content: Word = ""
    leftovers: Tokens = ()
    free: Count = 0
    inodes: Annotated[int | None, _parse_inodes] = None
    mount: Text = ""

    @classmethod
    def required(cls, values: Mapping[str, str]) -> set[str]:
        """Return the fields that the answer has to have: all of a directory, or of one that is missing."""
        is_other = values.get("state") == TargetState.OTHER
        return super().required(values) if is_other else {each.name for each in fields(cls)}


class Asked(Event, name="asked"):
    """The preflight script has answered everything."""


class PruneResult(StrEnum):
    """What became of a copy when old copies were removed."""

    KEPT = "kept"
    REMOVED = "removed"
    GONE = "gone"
    OTHER = "other"
    SHARED = "shared"
    IN_USE = "in-use"
    CHANGED = "changed"
    NOT_MOUNTED = "not-mounted"
    FAILED = "failed"


class Pruned(Event, name="pruned"):
    """The result of pruning for one old copy."""

    result: Annotated[PruneResult, PruneResult]


# --- session commands


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class SessionCommand:
    """A command to a session, with the first word of its line."""

    word: ClassVar[str] = ""

    def __init_subclass__(cls, *, word: str) -> None:
        dataclass(frozen=True)(cls)
        cls.word = word

    @property
    def line(self) -> str:
        """The line that the session reads.

        Raises:
            ValueError: an argument is not one word; the session would read it as something else.
        """
        words = [str(getattr(self, each.name)) for each in fields(self)]
        while words and not words[-1]:
            words.pop()
        # An empty word before others would shift them.
        if any(word.split() != [word] for word in words):
            raise ValueError(f"not a line of words: {words}")
        return " ".join((_COMMAND_PREFIX, self.word, *words)) + "\n"


class AcceptPeer(SessionCommand, word="peer"):
    """Accept this certificate, in base64, and no other."""

    certificate: str


class SendProbe(SessionCommand, word="probe"):
    """Send a link probe over an edge; 0 leaves the send buffer, in bytes, to the kernel."""

    edge: str
    address: str
    port: int
    buffer: int
    certificate: str


class Receive(SessionCommand, word="receive"):
    """Listen for a stream that is compressed with this codec; 0 leaves the receive buffer, in bytes, to the kernel.

    Attributes:
        token: that of the first connections; it cannot be guessed. The relay of a receiver takes no data without it.
        lanes: the largest number of lanes of the stream; empty for one.
    """

    codec: str
    buffer: int
    token: str
    lanes: int | str = ""


class Reopen(SessionCommand, word="reopen"):
    """Listen for the connection of that number of a lane, from 1 on; no byte of an earlier one counts from now on."""

    lane: int
    connection: int
    token: str


class Total(SessionCommand, word="total"):
    """The lane has that number of bytes: it is complete when the receiver has passed on so many."""

    lane: int
    bytes: int


class Resume(SessionCommand, word="resume"):
    """Connect, for the connection of that number of a lane, and send the bytes from ``position`` on."""

    lane: int
    connection: int
    position: int
    token: str


class Finish(SessionCommand, word="finish"):
    """The receiver has all bytes of the lane."""

    lane: int


class Abandon(SessionCommand, word="abandon"):
    """The end of a connection of the lane is from now on a failure; that of an earlier one is one at once."""

    lane: int


class Send(SessionCommand, word="send"):
    """Send the stream over an edge; 0 leaves the send buffer, in bytes, to the kernel.

    Attributes:
        ports: the port of each lane of the stream, with commas in between.
        history: the bytes of each lane that the sender keeps, for a connection after the first one.
        token: as in :class:`Receive`.
    """

    edge: str
    codec: str
    address: str
    ports: str
    buffer: int
    history: int
    token: str
    certificate: str


class SendDirectories(SessionCommand, word="directories"):
    """Send the directories in the first lane: the files of all other lanes are unpacked."""


class Examine(SessionCommand, word="examine"):
    """Report the packets of the connection, and what can stop them; the session answers at once."""


class Publish(SessionCommand, word="publish"):
    """Prepare the copy, set its owner, and give it its final name."""


class Stop(SessionCommand, word="stop"):
    """Undo all changes and end."""
