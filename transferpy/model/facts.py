"""Facts: the answers of a host to the preflight query."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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
        tools: the programs of :func:`transferpy.model.tools.packages` that it has.
        listening: the TCP ports in use.
        netcats: what each netcat prints for ``-h``, by the name of the program.
        firewalls: the output of each firewall tool, for :func:`transferpy.Firewall.firewall_rules`.
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
