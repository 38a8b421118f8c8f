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
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self, TypeVar

from transferpy.model.facts import TargetState

MARK = "@transferpy"
_COMMAND_PREFIX = "order"
_LARGEST_COUNT = (1 << 64) - 1
_Value = TypeVar("_Value")


class ProtocolError(ValueError):
    """A host sent an event that is unknown, or that lacks a field, or that has a malformed field."""

    def __init__(self, event: str, problem: str) -> None:
        super().__init__(f"{event[:40]!r}: {problem}")


# --- the values of fields


def parse_count(text: str) -> int:
    """Return a number that a host sent.

    Raises:
        ValueError: the text is not a number from 0 to 2^64 - 1.
    """
    if not re.fullmatch("[0-9]{1,20}", text) or int(text) > _LARGEST_COUNT:
        raise ValueError(f"{text[:20]!r} is not a number from 0 to 2^64 - 1")
    return int(text)


def _parse_text(text: str) -> str:
    """Return a text that travelled in base64; a byte that is not UTF-8 becomes a surrogate escape."""
    return os.fsdecode(base64.b64decode(_parse_base64(text)))


def _parse_base64(text: str) -> str:
    """Return a value that stays in base64, for instance because it goes to another host."""
    try:
        base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{text[:20]!r} is not base64") from error
    return text


def _parse_paths(text: str) -> tuple[str, ...]:
    return tuple(filter(None, _parse_text(text).split("\0")))


def _parse_word(text: str) -> str:
    """Return a word that no shell and no program takes for more than a word."""
    if not re.fullmatch("[A-Za-z0-9._:-]*", text):
        raise ValueError(f"{text[:20]!r} is not a plain word")
    return text


def _parse_token(text: str) -> str:
    """Return a value without blanks, as it is; it never goes to another host."""
    return text


def _parse_port(text: str) -> int:
    # The port becomes a part of an address of socat on another host. Such an address can name a command to run.
    if not re.fullmatch("[0-9]{1,5}", text) or int(text) not in range(1, 65536):
        raise ValueError(f"{text[:20]!r} is not a port")
    return int(text)


def _parse_address(text: str) -> str:
    # Behind a percent sign, an IPv6 address may hold any text, and the address goes to another host.
    if "%" in text:
        raise ValueError(f"{text[:60]!r} is valid on one link only")
    ipaddress.ip_address(text)
    return text


def _parse_yes(text: str) -> bool:
    if text not in {"yes", "no"}:
        raise ValueError(f"{text[:20]!r} is neither yes nor no")
    return text == "yes"


def _parse_presence(_text: str) -> bool:
    return True


def _parse_inodes(text: str) -> int | None:
    """Return the free inodes of a file system in ``TOTAL:FREE``; None where it makes inodes as needed (TOTAL is 0)."""
    total, free = map(parse_count, text.split(":"))
    return free if total else None


def _parse_list(parse: Callable[[str], _Value]) -> Callable[[str], tuple[_Value, ...]]:
    return lambda text: tuple(map(parse, text.split(","))) if text else ()


def _parse_benchmark(text: str) -> tuple[str, int, int]:
    """Return a codec's label, the compressed size in bytes and the time in microseconds."""
    label, size, microseconds = text.split(":")
    return _parse_word(label), parse_count(size), parse_count(microseconds)


def _wire(parse: Callable[[str], Any], default: Any = MISSING) -> Any:
    """Declare a field of an event: the function that parses its text, and its value where the event lacks it."""
    return field(default=default, metadata={"parse": parse})


# --- events


@dataclass(frozen=True, kw_only=True)
class Event:
    """An event of a script on a host.

    Attributes:
        event_name: the name on the wire.
    """

    event_name: ClassVar[str] = ""

    def __init_subclass__(cls, *, name: str = "") -> None:
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
                    parsed[each.name] = each.metadata["parse"](values[each.name])
                except ValueError as error:
                    raise ProtocolError(cls.event_name, f"{each.name}: {error}") from error
        return cls(**parsed)


_EVENTS: dict[str, type[Event]] = {}


def parse_event(line: str, run_id: str) -> Event | None:
    """Return the event of ``line``, or None for any other line that a host prints.

    Raises:
        ProtocolError: the event is unknown, or one of its fields is missing or malformed.
    """
    mark, _, rest = line.strip().partition(" ")
    run, _, rest = rest.partition(" ")
    words = rest.split()
    if mark != MARK or run != run_id or not words:
        return None
    if words[0] not in _EVENTS:
        raise ProtocolError(words[0], "it is unknown")
    pairs = (word.partition("=") for word in words[1:])
    return _EVENTS[words[0]].parse({key: value for key, _, value in pairs})


def is_event(line: str, run_id: str) -> bool:
    """Return whether ``line`` is an event of this run, well-formed or not."""
    return line.split()[:2] == [MARK, run_id]


@dataclass(frozen=True, kw_only=True)
class Hello(Event, name="hello"):
    """The session has a run directory."""

    directory: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class Ready(Event, name="ready"):
    """The session is prepared; its certificate, in base64, is empty where the stream is not encrypted."""

    certificate: str = _wire(_parse_base64)


@dataclass(frozen=True, kw_only=True)
class SampleTaken(Event, name="sample"):
    """The source compressed a sample of the data.

    Attributes:
        size: bytes of the sample.
        trials: for each codec its label, the compressed size in bytes and the time in microseconds.
    """

    size: int = _wire(parse_count)
    trials: tuple[tuple[str, int, int], ...] = _wire(_parse_list(_parse_benchmark))


@dataclass(frozen=True, kw_only=True)
class Probing(Event, name="probing"):
    """The target listens for the link probe."""

    port: int = _wire(_parse_port)


@dataclass(frozen=True, kw_only=True)
class Probed(Event, name="probed"):
    """The source has sent the link probe."""


@dataclass(frozen=True, kw_only=True)
class LinkMeasured(Event, name="link"):
    """The target has received the link probe; both numbers are 0 where it could not."""

    bytes: int = _wire(parse_count, 0)
    microseconds: int = _wire(parse_count, 0)

    @property
    def rate(self) -> float | None:
        """Bytes per second that the link carries; None where the probe was too short to measure that."""
        return self.bytes / self.microseconds * 1e6 if self.microseconds else None


@dataclass(frozen=True, kw_only=True)
class Listening(Event, name="listening"):
    """The listener of the stream was seen on the port."""

    port: int = _wire(_parse_port)


@dataclass(frozen=True, kw_only=True)
class Connected(Event, name="connected"):
    """The listener has accepted a connection."""


@dataclass(frozen=True, kw_only=True)
class Sending(Event, name="sending"):
    """The source starts the stream; from now on the stream has its time limits."""


@dataclass(frozen=True, kw_only=True)
class ProgressMade(Event, name="progress"):
    """The heartbeat, at least once a second; ``bytes`` have passed the first stage of the stream, if there is one."""

    bytes: int = _wire(parse_count, 0)


@dataclass(frozen=True, kw_only=True)
class Stages(Event, name="stages"):
    """A task has ended; the exit status of each of its stages."""

    job: str = _wire(_parse_word)
    statuses: tuple[int, ...] = _wire(_parse_list(parse_count))


@dataclass(frozen=True, kw_only=True)
class StandardError(Event, name="stderr"):
    """The end of the standard error of a stage; the stage is ``-`` for the task itself."""

    job: str = _wire(_parse_word)
    stage: str = _wire(_parse_word)
    text: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class ListDigest(Event):
    """The digest of a list that a session holds, and the number of records in it."""

    digest: str = _wire(_parse_word)
    entries: int = _wire(parse_count)


class Manifest(ListDigest, name="manifest"):
    """The list of all entries of the copy."""


class FileDigests(ListDigest, name="digests"):
    """The list of the digests of all files."""


class Tables(ListDigest, name="tables"):
    """The list of the tables of a server, or of a copy of one."""


@dataclass(frozen=True, kw_only=True)
class StreamDigest(Event, name="stream-digest"):
    """The digest of the bytes that passed the network; without ``--parallel-checksum``, their number."""

    digest: str = _wire(_parse_word)


@dataclass(frozen=True, kw_only=True)
class Checked(Event, name="checked"):
    """The session has examined its end of the copy and found no fault; a hot copy or a tarball is counted."""

    files: int = _wire(parse_count, 0)
    bytes: int = _wire(parse_count, 0)


@dataclass(frozen=True, kw_only=True)
class Position(Event, name="position"):
    """The position of a hot copy in the binary logs of its server, and in those of that server's primary."""

    binlog: str = _wire(_parse_text)
    replica: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class ReplicationStopping(Event, name="replication-stopping"):
    """The first connection is about to be stopped."""


@dataclass(frozen=True, kw_only=True)
class ReplicationStopped(Event, name="replication-stopped"):
    """The number of connections that are stopped for the backup."""

    connections: int = _wire(parse_count)


@dataclass(frozen=True, kw_only=True)
class ReplicationRuns(Event, name="replication-runs"):
    """All connections run again."""


@dataclass(frozen=True, kw_only=True)
class ReplicationLeft(Event, name="replication-left"):
    """Another run on the host needs replication stopped, and will start it."""


@dataclass(frozen=True, kw_only=True)
class SourceChanged(Event, name="changed"):
    """The source changed during the copy; some of the paths."""

    paths: tuple[str, ...] = _wire(_parse_paths)


@dataclass(frozen=True, kw_only=True)
class Published(Event, name="published"):
    """The copy has its final name.

    Attributes:
        inode: of the target directory, if this run made that directory.
        born: when that was, in seconds since 1970; 0 if the file system does not record it.
    """

    inode: int | None = _wire(parse_count, None)
    born: int = _wire(parse_count, 0)


@dataclass(frozen=True, kw_only=True)
class SessionFailed(Event, name="error"):
    """The session cannot continue; the exit status of the run follows from the kind."""

    kind: str = _wire(_parse_word)
    text: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class UndoFailed(Event, name="undo-failed"):
    """An entry of the undo list failed."""

    entry: str = _wire(_parse_text)
    text: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class StaleRunRecovered(Event, name="finished-dead-run"):
    """The changes of a stale run were undone; ``replication`` if that included a start of replication."""

    run: str = _wire(_parse_word)
    replication: bool = _wire(_parse_presence, default=False)


@dataclass(frozen=True, kw_only=True)
class Ending(Event, name="ending"):
    """The clean-up of the session begins."""


@dataclass(frozen=True, kw_only=True)
class End(Event, name="end"):
    """The clean-up of the session is over."""

    undone: bool = _wire(_parse_yes)


# --- events of the preflight


@dataclass(frozen=True, kw_only=True)
class Asking(Event, name="asking"):
    """The path that the next answers are about."""

    about: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class HostAnswer(Event, name="host"):
    """The facts about the host itself; see :class:`transferpy.model.facts.HostFacts`."""

    uid: int = _wire(parse_count)
    cores: int = _wire(parse_count)
    boot: str = _wire(_parse_word)
    tools: tuple[str, ...] = _wire(_parse_list(_parse_word))
    listening: tuple[int, ...] = _wire(_parse_list(parse_count))
    memory: int = _wire(parse_count)
    run: int = _wire(parse_count)


@dataclass(frozen=True, kw_only=True)
class NetcatAnswer(Event, name="netcat"):
    """The help text of one netcat."""

    name: str = _wire(_parse_word)
    help: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class FirewallAnswer(Event, name="firewall"):
    """The rules that one firewall tool lists."""

    tool: str = _wire(_parse_word)
    rules: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class SourceAnswer(Event, name="source"):
    """The facts about the source path; see :class:`transferpy.model.facts.SourceFacts`."""

    directory: str = _wire(_parse_text)
    name: str = _wire(_parse_text)
    kind: str = _wire(_parse_word)
    identity: str = _wire(_parse_word)
    error: str = _wire(_parse_text)
    server: bool = _wire(_parse_yes)
    disk: int = _wire(parse_count)
    inodes: int = _wire(parse_count)
    files: int = _wire(parse_count)
    bytes: int = _wire(parse_count)
    sockets: int = _wire(parse_count)


@dataclass(frozen=True, kw_only=True)
class MagicAnswer(Event, name="magic"):
    """The first bytes of the source, and the bytes at the place of the mark of a tar header."""

    first: str = _wire(_parse_text)
    tar: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class BackupToolAnswer(Event, name="backup"):
    """The version that a backup tool prints."""

    tool: str = _wire(_parse_word)
    version: str = _wire(_parse_text)


@dataclass(frozen=True, kw_only=True)
class DatabaseAnswer(Event, name="database"):
    """The facts about the server at the source socket; see :class:`transferpy.model.facts.DatabaseFacts`."""

    state: str = _wire(_parse_word)
    error: str = _wire(_parse_text, "")
    version: str = _wire(_parse_text, "")
    datadir: str = _wire(_parse_text, "")
    disk: int = _wire(parse_count, 0)
    inodes: int = _wire(parse_count, 0)

    @classmethod
    def required(cls, values: Mapping[str, str]) -> set[str]:
        """Return the fields that the answer has to have: more where there is a server."""
        more = {"version", "datadir", "disk", "inodes"} if values.get("state") == "server" else set[str]()
        return super().required(values) | more


@dataclass(frozen=True, kw_only=True)
class RouteAnswer(Event, name="route"):
    """The route from the source to the target of that index."""

    index: int = _wire(parse_count)
    address: str = _wire(_parse_address)
    source: str = _wire(_parse_address)


@dataclass(frozen=True, kw_only=True)
class OwnerAnswer(Event, name="owner"):
    """The user or group that the host does not have; empty if it has both."""

    unknown: str = _wire(_parse_word)


@dataclass(frozen=True, kw_only=True)
class TargetAnswer(Event, name="target"):
    """The facts about a target path; see :class:`transferpy.model.facts.TargetFacts`."""

    index: int = _wire(parse_count)
    state: TargetState = _wire(TargetState)  # noqa: RUF009 # the class as a parser; nothing is called here
    path: str = _wire(_parse_text, "")
    ancestors: tuple[str, ...] = _wire(_parse_list(_parse_token), ())
    final: str = _wire(_parse_word, "")
    content: str = _wire(_parse_word, "")
    leftovers: tuple[str, ...] = _wire(_parse_list(_parse_token), ())
    free: int = _wire(parse_count, 0)
    inodes: int | None = _wire(_parse_inodes, None)

    @classmethod
    def required(cls, values: Mapping[str, str]) -> set[str]:
        """Return the fields that the answer has to have: all of a directory, or of one that is missing."""
        is_other = values.get("state") == TargetState.OTHER
        return super().required(values) if is_other else {each.name for each in fields(cls)}


@dataclass(frozen=True, kw_only=True)
class Asked(Event, name="asked"):
    """The preflight script has answered everything."""


@dataclass(frozen=True, kw_only=True)
class Pruned(Event, name="pruned"):
    """The result of pruning for one old copy."""

    result: str = _wire(_parse_word)


# --- session commands


@dataclass(frozen=True)
class SessionCommand:
    """A command to a session.

    Attributes:
        word: the first word of its line.
    """

    word: ClassVar[str] = ""

    def __init_subclass__(cls, *, word: str) -> None:
        cls.word = word

    @property
    def line(self) -> str:
        """The line that the session reads.

        Raises:
            ValueError: an argument is not one word; the session would read it as something else.
        """
        words = [str(getattr(self, each.name)) for each in fields(self)]
        if any(word.split() != [word] for word in words if word):
            raise ValueError(f"not a line of words: {words}")
        return " ".join((_COMMAND_PREFIX, self.word, *words)).rstrip() + "\n"


@dataclass(frozen=True)
class AcceptPeer(SessionCommand, word="peer"):
    """Accept this certificate, in base64, and no other."""

    certificate: str


@dataclass(frozen=True)
class SendProbe(SessionCommand, word="probe"):
    """Send a link probe over an edge."""

    edge: str
    address: str
    port: int
    certificate: str


@dataclass(frozen=True)
class Receive(SessionCommand, word="receive"):
    """Listen for a stream that is compressed with this codec."""

    codec: str


@dataclass(frozen=True)
class Send(SessionCommand, word="send"):
    """Send the stream over an edge."""

    edge: str
    codec: str
    address: str
    port: int
    certificate: str


@dataclass(frozen=True)
class ResumeReplication(SessionCommand, word="resume"):
    """Start replication again: the last stream has ended."""


@dataclass(frozen=True)
class Publish(SessionCommand, word="publish"):
    """Prepare the copy, set its owner, and give it its final name."""


@dataclass(frozen=True)
class Stop(SessionCommand, word="stop"):
    """Undo all changes and end."""
