"""Facts: the answers of a host to the preflight query."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class MountKind(StrEnum):
    """The kind of a mount inside of the source."""

    SOURCE = "source"  # the source itself is on a pseudo file system, such as /proc
    PSEUDO = "pseudo"  # a pseudo file system
    LOOP = "loop"  # a directory of the file system of the source that contains the mount point
    BIND = "bind"  # another directory of the file system of the source
    OTHER = "other"  # another file system


@dataclass(frozen=True, kw_only=True)
class MountFacts:
    """A file system inside of the source."""

    path: str  # the mount point, without symbolic links
    type: str  # the type of the file system
    kind: MountKind


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """The file or the directory tree at the source path."""

    directory: str  # the directory that contains it
    name: str  # its name in the directory; that of the target of a symbolic link, if the path ends with a slash
    kind: str  # the letter of find -printf %y: f, d, l ...; empty if the path does not exist
    identity: str  # device and inode
    error: str = ""  # the last read error below the path; empty if there is none
    disk: int = 0  # bytes on disk; a file with several hard links counts once, holes do not count
    inodes: int = 0  # the number of files, directories, symbolic links and devices
    files: int = 0  # the number of regular files
    directories: int = 0  # the number of directories
    bytes: int = 0  # the sum of the sizes of the regular files
    largest: int = 0  # the size of the largest regular file in bytes
    sockets: int = 0  # the number of sockets, which are not copied
    server: bool = False  # whether a running MariaDB server uses it as its data directory
    # the types of its file systems that are not known to report holes correctly; the holes on them are read and sent
    unproven: str = ""
    # the error with which the host refused to run a program that follows no symbolic link in the source; empty if there
    # was none
    links_error: str = ""
    mounts: tuple[MountFacts, ...] = ()  # the file systems inside of it

    @property
    def copied(self) -> int:
        """The bytes that a copy needs on disk."""
        return max(self.disk, self.bytes) if self.unproven else self.disk


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """The database server at the source path."""

    # server; missing or other if the path is not a socket; silent without a valid answer; files-other if the process of
    # the server has another file at a path that a backup tool would read; files-unknown if no process was found that
    # answers at the socket and has files in these directories open; files-unproven if that could not be examined
    state: str
    error: str = ""  # the answer that was not valid, or the error of the program that examines the files
    version: str = ""  # the version of InnoDB in it
    name: str = ""  # the text that its clients see as its version, and its comment; its option "version" sets the text
    datadir: str = ""  # the data directory
    path: str = ""  # the path at which the process of the server has another file
    own: str = ""  # a path of the host to the file of the server
    files: str = "same"  # hidden if the host does not show the process of the server or its files
    disk: int = 0  # bytes on disk of the files that a backup reads
    inodes: int = 0  # the number of these files and of their directories
    outside: str = ""  # the names of the first tables that a backup cannot copy, because their data is elsewhere
    device: str = ""  # the first file of the system tablespace that is a raw device
    refused_option: str = (
        ""  # the first line about plugins that the backup will have and a target with --prepare refuses
    )


@dataclass(frozen=True, kw_only=True)
class RouteFacts:
    """The route from the source to a target: the address of the target, and the address of the source that it sees."""

    address: str
    source: str


@dataclass(frozen=True, kw_only=True)
class BufferFacts:
    """The buffers of TCP sockets of a host, in bytes as the kernel counts them, with its own data in them."""

    send: int  # the largest send buffer that the kernel gives a connection by itself; 0 if unknown
    receive: int  # the same for the receive buffer
    forced: bool  # whether root may set larger ones, and the socat of the host can
    relays: bool = False  # whether the host has the system calls of a relay, which survives a broken connection
    watches: bool = False  # whether it has those of the watch over a connection


class TargetState(StrEnum):
    """The kind of a target path; only a directory can receive a copy."""

    DIRECTORY = "directory"
    READ_ONLY = "read-only"
    OTHER = "other"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """The directory at a target path, or the nearest existing parent of a missing directory."""

    state: TargetState  # the kind of the path
    path: str = ""  # the path without symbolic links
    # device and inode of the directory and of its parents; for a missing directory, the first entry is the device and
    # the missing part of the path
    ancestors: tuple[str, ...] = ()
    taken: bool = False  # whether the final name exists in the directory
    final_identity: str = ""  # device and inode of the entry with the final name
    free: int = 0  # free bytes
    inodes: int | None = None  # free inodes; None if the file system makes them as needed
    empty: bool = True  # whether the directory contains nothing except lost+found
    mount: str = ""  # the mount point of its file system
    leftovers: tuple[str, ...] = ()  # incomplete copies of runs during which the host crashed; no run removes them


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """All facts of one host."""

    host: str
    uid: int  # the user id of remote commands; 0 is root
    cores: int  # the number of processors
    boot: str  # the boot identifier of the kernel; two hosts with the same identifier are one machine
    tools: frozenset[str]  # the programs of transferpy.model.tools.packages that the host has
    listening: frozenset[int]  # the TCP ports in use
    netcats: Mapping[str, str] = field(default_factory=dict)  # the output of each netcat for -h, by its name
    firewalls: Mapping[str, str] = field(default_factory=dict)  # the output of each firewall tool, for firewall_rules
    source: SourceFacts | None = None  # the source, on the source host
    routes: Mapping[int, RouteFacts] = field(default_factory=dict)  # on the source host, by the index of the target
    targets: Mapping[int, TargetFacts] = field(default_factory=dict)  # the targets on the host, by their index
    # the stale runs whose changes the preflight has undone; for each, whether it had stopped replication
    finished: tuple[tuple[str, bool], ...] = ()
    set_aside: tuple[str, ...] = ()  # the directories to which the recovery of stale runs moved incomplete copies
    not_undone: tuple[tuple[str, str], ...] = ()  # the undo entries of stale runs that failed, with their errors
    unknown_owner: str = ""  # the user or group of --owner that does not exist on the host; empty if both exist
    memory: int = 0  # free memory in bytes
    buffers: BufferFacts | None = None  # the buffers of TCP sockets; None if unknown
    lists: int | None = None  # free bytes in /var/tmp, where a run stores its lists; None if unknown
    magic: bytes = b""  # the first 512 bytes of the source
    database: DatabaseFacts | None = None  # the server at the source path, on the source host
    backup_versions: Mapping[str, str] = field(default_factory=dict)  # the version text of each backup tool
