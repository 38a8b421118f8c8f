"""The options of a run: one row for each.

The parser, ``--help``, the configuration file, job files, the shell completions and the manual derive from the rows.
The values are checked once, when TransferOptions is made.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, fields
from typing import Any

from transferpy.Exceptions import UsageError
from transferpy.model.codecs import CODECS
from transferpy.model.digests import ALGORITHMS
from transferpy.model.option import (
    COPY,
    GENERAL,
    NETWORK,
    RATE,
    Option,
    OptionError,
    OptionGroup,
    choice,
    number,
    text,
    word_or,
    zero_or,
)
from transferpy.model.transfer_types import TRANSFER_TYPES, TransferType

AUTO = "auto"
"""The value that leaves a choice to transferpy."""
UNCOMPRESSED = "none"
"""The label of a stream that is not compressed."""
FIREWALL_BACKENDS = ("iptables", "nftables", "firewalld")
"""The firewall backends; the module of the same name in transferpy.Firewall has the rest of each."""
NO_FIREWALL = "none"
"""The value of ``--firewall`` that changes no firewall."""
MOST_STREAMS = 16
"""The largest number of pipelines of one copy."""
LOW_PRIORITY = "low"
"""The value of ``--priority`` for processes that leave CPU and disk to others."""

_HIGHEST_LEVELS = {row.name: row.highest_level for row in CODECS.values()}
_DAY = 24 * 60 * 60
_SECONDS = number(1, _DAY, "SECONDS")
_SHORTEST_STOP = 5  # seconds: two of them are left for the start of replication
_LOCAL_FILE = text("the name of a file", r"[^\0\n]*", "FILE", "files")
_REMOTE_FILE = text("an absolute path", r"(/[^\0\n]*)?", "FILE")
_USER = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_OWNER = text("USER or USER:GROUP", f"({_USER}(:{_USER})?)?", "USER[:GROUP]", "users")


@dataclass(frozen=True, kw_only=True)
class ToolOptions:
    """The options of ``transfer.py`` itself, for all transfers of a job; raises OptionError for an invalid value."""

    dry_run: bool = GENERAL.option(
        "query the hosts, print the actions of a real run, and change nothing", default=False
    )
    verbose: bool = GENERAL.option("log every remote command and its output", default=False)
    quiet: bool = GENERAL.option("print errors only, and no progress; other logs are complete", default=False)
    report: str = GENERAL.option(
        "write a report of the run as JSON to this file; -: to standard output", default="", values=_LOCAL_FILE
    )
    metrics: str = GENERAL.option(
        "write metrics for Prometheus to this file; metrics of other transfers in the file are kept",
        default="",
        values=_LOCAL_FILE,
    )
    log_file: str = GENERAL.option("append the log lines to this file", default="", values=_LOCAL_FILE)
    syslog: bool = GENERAL.option("send the log lines to the system log", default=False)

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, OPTIONS[field.name].parse(getattr(self, field.name)))


@dataclass(frozen=True, kw_only=True)
class TransferOptions(ToolOptions):
    """The options of one run, typed and consistent. Each value may also be given as text.

    ``parallel_checksum`` is False if ``checksum`` is True; ``checksum`` is False if the type has no checksums of files.

    Raises:
        OptionError: a value is not valid, or contradicts another option.
    """

    transfer_type: str = COPY.option(
        "; ".join(f"{row.name}: {row.help_text}" for row in TRANSFER_TYPES.values()),
        default="file",
        values=choice(table=TRANSFER_TYPES),
    )
    compress: bool = COPY.option(
        "compress the stream; --no-compress can be faster on a fast network or if the data is compressed already",
        default=True,
    )
    compressor: str = COPY.option(
        "compressor of the stream; auto: choose the fastest, from a sample of the data and the measured link speed;"
        " if a host does not have the compressor, pigz or gzip is used",
        default=AUTO,
        values=choice(AUTO, table=CODECS),
    )
    compress_level: int = COPY.option(
        f"compression level: {', '.join(f'{name} 1 to {highest}' for name, highest in _HIGHEST_LEVELS.items())}; 0:"
        " the fastest level; another level needs a compressor other than auto",
        default=0,
        values=number(0, max(_HIGHEST_LEVELS.values())),
    )
    compress_threads: int = COPY.option(
        "number of processors for the compressor, of which several streams get equal parts; 0: all",
        default=0,
        values=number(0, 1024),
    )
    encrypt: bool = COPY.option("encrypt the stream with TLS and keys that are made for this run", default=True)
    checksum: bool = COPY.option(
        "compare the checksum of every copied file on the disk of the target with that of its source; detects network"
        " and disk faults; has no effect if the type is decompress",
        default=True,
    )
    parallel_checksum: bool = COPY.option(
        "compare the checksum of the stream at both ends during the copy; detects network faults only; on the command"
        " line it replaces the default --checksum; ignored if --checksum is given too",
        default=False,
    )
    checksum_algorithm: str = COPY.option(
        "algorithm of the checksums; auto: the fastest that all hosts have",
        default=AUTO,
        values=choice(AUTO, table=ALGORITHMS),
    )
    stop_slave: bool = COPY.option(
        "stop the SQL threads of replication on the source during the backup; start those again that ran before",
        default=False,
        only_for="xtrabackup",
    )
    safe_timeout: int = COPY.option(
        "with --stop-slave: maximum time in seconds to wait for a moment without open temporary tables of replication,"
        " and for each connection to stop",
        default=300,
        values=_SECONDS,
        only_for="xtrabackup",
    )
    max_stop_time: int = COPY.option(
        "with --stop-slave: maximum time in seconds of the stop for each backup; a backup that needs more is ended, and"
        " replication is started; 0: no limit",
        default=0,
        values=zero_or(number(_SHORTEST_STOP, _DAY, "SECONDS")),
        only_for="xtrabackup",
    )
    prepare: bool = COPY.option(
        "prepare the copy on each target (mariadb-backup --prepare), so that a server can start on it",
        default=False,
        only_for="xtrabackup",
    )
    defaults_file: str = COPY.option(
        "MariaDB option file on the source host with the login; default: root through the Unix socket",
        default="",
        values=_REMOTE_FILE,
        only_for="xtrabackup",
    )
    one_file_system: bool = COPY.option(
        "leave out the content of file systems that are mounted in the source; their mount points are copied as empty"
        " directories",
        default=False,
        only_for="file",
    )
    owner: str = COPY.option(
        "set the owner of all copied files; USER and GROUP must exist on the target; default: keep the owners",
        default="",
        values=_OWNER,
    )
    create_target: bool = COPY.option(
        "make missing target directories and their parents, with access for root only; the new directories are"
        " removed if the run fails",
        default=False,
    )
    require_mount: bool = COPY.option(
        "refuse a target directory on the root file system of its host: the directory, or one above it, must be a mount"
        " point; detects a backup disk that is not mounted",
        default=False,
    )
    port: int = NETWORK.option(
        "TCP port on the target; 0: find a free port in 4400-4499 and reserve it, so that concurrent runs never"
        " collide",
        default=0,
        values=number(0, 65535),
    )
    firewall: str = NETWORK.option(
        "firewall of the target in which to open the port for the stream; auto: detect it; none: change no firewall",
        default=AUTO,
        values=choice(AUTO, *FIREWALL_BACKENDS, NO_FIREWALL),
    )
    streams: int | str = NETWORK.option(
        "number of connections that carry the files of a tree at the same time, each with its own pipeline and port;"
        " with --port, the ports follow that one; auto: 1 to 4, as many as the processors of both hosts and the link"
        " can use, and 1 with --port or a compressor other than auto",
        default=AUTO,
        values=word_or(AUTO, number(1, MOST_STREAMS)),
        only_for="file",
    )
    bwlimit: int = NETWORK.option(
        "limit for the data that leaves the source, for all targets together, in bytes per second; K, M and G are"
        " multiples of 1024, as in rsync; 0: no limit",
        default=0,
        values=RATE,
    )
    connect_timeout: int = NETWORK.option(
        "maximum time in seconds until the source has connected to the target", default=60, values=_SECONDS
    )
    idle_timeout: int = NETWORK.option(
        "maximum time in seconds without progress of the stream; after it, the transfer fails",
        default=300,
        values=_SECONDS,
    )
    stall_timeout: int = NETWORK.option(
        "maximum time in seconds without an answer from the other end of the connection; after it, the connection is"
        " dead, and the stream continues on a new one (see --retries); a slow disk on either end does not count",
        default=30,
        values=number(3, _DAY, "SECONDS"),
    )
    retries: int = NETWORK.option(
        "maximum number of attempts to continue a stream whose connection broke, without new data in between; after it,"
        " or after a minute, the transfer fails; 0: a broken connection fails the transfer",
        default=10,
        values=number(0, 100),
    )
    copy_timeout: int = NETWORK.option(
        "maximum time in seconds of the copy to one target with all its checks, and of the preflight query",
        default=7 * _DAY,
        values=number(1, 365 * _DAY, "SECONDS"),
    )
    priority: str = NETWORK.option(
        "low: run the remote processes with low CPU and I/O priority (nice, ionice)",
        default="normal",
        values=choice("normal", LOW_PRIORITY),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.checksum:
            object.__setattr__(self, "parallel_checksum", False)
        if not self.type.digests_files:
            object.__setattr__(self, "checksum", False)
        codec = CODECS.get(self.compressor)
        if self.compress_level and codec is None:
            raise OptionError("compress_level", "needs a compressor other than auto, because their levels differ")
        if codec and self.compress_level > codec.highest_level:
            problem = f"must be at most {codec.highest_level} for {codec.name}, not {self.compress_level}"
            raise OptionError("compress_level", problem)
        for row in OPTIONS.values():
            if row.only_for not in {"", self.transfer_type} and getattr(self, row.name) != row.default:
                raise OptionError(row.name, f"needs the transfer type {row.only_for}, not {self.transfer_type}")

    @property
    def type(self) -> TransferType:
        """The row of the transfer type."""
        return TRANSFER_TYPES[self.transfer_type]


OPTIONS: Mapping[str, Option] = {
    field.name: Option(name=field.name, **field.metadata)
    for group in OptionGroup
    for field in fields(TransferOptions)
    if field.metadata["group"] is group
}
"""The rows by name, in the order of the help."""
TOOL_OPTIONS = frozenset(field.name for field in fields(ToolOptions))


def known_options(values: Mapping[str, object]) -> dict[str, Any]:
    """Return a copy of ``values`` with the key ``transfer_type`` for ``type``; raise UsageError for an unknown key.

    If both keys exist, ``type`` takes precedence: programs set it after they read ``transfer_type`` from the
    configuration file.
    """
    named = dict(values)
    if "type" in named:
        named["transfer_type"] = named.pop("type")
    for name in named:
        if name not in OPTIONS:
            raise UsageError(f"unknown option {name!r}; the options are {', '.join(OPTIONS)}")
    return named


def applicable_options(values: Mapping[str, Any], explicit: Container[str]) -> dict[str, Any]:
    """Return ``values`` without the options that their ``transfer_type`` does not accept.

    A default in a configuration or job file counts only for the transfers that accept it. An option named in
    ``explicit`` stays, so that TransferOptions rejects it.
    """
    transfer_type = values.get("transfer_type", OPTIONS["transfer_type"].default)
    return {
        name: value
        for name, value in values.items()
        if name in explicit or OPTIONS[name].only_for in {"", transfer_type}
    }


def options_from_mapping(values: Mapping[str, object]) -> TransferOptions:
    """Return the options of a mapping, with defaults; raise UsageError if a key is unknown or a value is not valid."""
    return TransferOptions(**known_options(values))
