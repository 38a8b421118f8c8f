"""Facts: the answers of a host to the preflight query."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """The file or the directory tree at the source path.

    Attributes:
        directory: the directory that contains it.
        name: its name in the directory; that of the target of a symbolic link, if the path ends with a slash.
        kind: the letter of ``find -printf %y``: f, d, l ...; empty if the path does not exist.
        identity: device and inode.
        error: the last read error below the path; empty if there is none.
        disk: bytes on disk; a file with several hard links counts once, holes do not count.
        inodes: the number of files, directories, symbolic links and devices.
        files: the number of regular files.
        bytes: the sum of the sizes of the regular files.
        sockets: the number of sockets, which are not copied.
        server: whether a running MariaDB server uses it as its data directory.
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
    """The database server at the source path.

    Attributes:
        state: ``server``; ``missing`` or ``other`` if the path is not a socket; ``silent`` without a valid answer.
        error: the answer that was not valid.
        version: the version of the server.
        datadir: the data directory.
        disk: bytes on disk in the data directory, without the logs of replication.
        inodes: the number of files and directories in the data directory.
    """

    state: str
    error: str = ""
    version: str = ""
    datadir: str = ""
    disk: int = 0
    inodes: int = 0


@dataclass(frozen=True, kw_only=True)
class RouteFacts:
    """The route from the source to a target: the address of the target, and the address of the source that it sees."""

    address: str
    source: str


class TargetState(StrEnum):
    """The kind of a target path; only a directory can receive a copy."""

    DIRECTORY = "directory"
    READ_ONLY = "read-only"
    OTHER = "other"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """The directory at a target path.

    Attributes:
        state: the kind of the path. The other attributes are those of a directory, or of the nearest existing parent of
            a missing directory.
        path: the path without symbolic links.
        ancestors: device and inode of the directory and of its parents; for a missing directory, the first entry is the
            device and the missing part of the path.
        taken: whether the final name exists in the directory.
        final_identity: device and inode of the entry with the final name.
        free: free bytes.
        inodes: free inodes; None if the file system makes them as needed.
        empty: whether the directory contains nothing except lost+found.
        leftovers: incomplete copies of runs during which the host crashed; no run removes them.
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
    """All facts of one host.

    Attributes:
        host: the name of the host.
        uid: the user id of remote commands; 0 is root.
        cores: the number of processors.
        boot: the boot identifier of the kernel; two hosts with the same identifier are one machine.
        tools: the programs of :func:`transferpy.model.tools.packages` that the host has.
        listening: the TCP ports in use.
        netcats: the output of each netcat for ``-h``, by the name of the program.
        firewalls: the output of each firewall tool, for :func:`transferpy.Firewall.firewall_rules`.
        memory: free memory in bytes.
        run: free bytes in /run, where a run stores its lists; None if unknown.
        source: the source, on the source host.
        magic: the first bytes of the source, and its bytes at the position of the magic of a tar header.
        database: the server at the source path, on the source host.
        backup_versions: the version text of each backup tool.
        routes: the routes from the source host to the targets, by the index of the target.
        targets: the targets on the host, by their index.
        finished: the stale runs whose changes the preflight has undone; for each, whether it had stopped replication.
        unknown_owner: the user or group of ``--owner`` that does not exist on the host; empty if both exist.
        not_undone: the undo entries of stale runs that failed, with their errors.
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
