"""The transfer type xtrabackup: a hot backup of a running MariaDB server."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace

from transferpy import MariaDB
from transferpy.agent.preflight import PreflightQuery
from transferpy.agent.session_plan import ReadingPlan, SamplePlan
from transferpy.model.facts import DatabaseFacts, HostFacts, SourceFacts
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.planning.context import PlanContext
from transferpy.planning.digests import file_digest
from transferpy.planning.programs import first_available
from transferpy.planning.types.strategy import TransferTypeStrategy
from transferpy.stream.commands import Command, Stage

_LONGEST_SOCKET = 107
_MOST_FILES = 4_000_000  # that the digesters follow, see host/perl/pieces.pl
"""The longest path of a Unix socket on Linux, in bytes."""


class _XtrabackupStrategy(TransferTypeStrategy):
    """A backup tool on the source, an unpacking tool on the target."""

    def query(self, query: PreflightQuery, request: TransferRequest, *, is_source: bool) -> PreflightQuery:
        socket = request.source.path
        words = (socket, *MariaDB.client_options(socket, request.options.defaults_file))
        return replace(query, database=words if is_source else (), backup=True)

    def source_facts(self, host: HostFacts) -> SourceFacts:
        found = _database(host)
        return SourceFacts(
            directory=found.datadir,
            name="",
            kind="d",
            identity="",
            disk=found.disk,
            bytes=found.disk,
            inodes=found.inodes,
        )

    def effective_options(self, options: TransferOptions, facts: Mapping[str, HostFacts]) -> TransferOptions:
        known = all(
            MariaDB.has_known_stream(_backup_tool(host)) if host.database else _unpack_tool(host) != "xbstream"
            for host in facts.values()
        )
        return options if known else replace(options, checksum=False)

    def problems(self, context: PlanContext) -> Iterator[str]:
        location, database = context.request.source, _database(context.source_host)
        if len(os.fsencode(location.path)) > _LONGEST_SOCKET:
            # The error of the client does not have the reason.
            yield f"{location}: is longer than {_LONGEST_SOCKET} bytes, which is the limit for the path of a socket"
            return
        match database.state:
            case "missing":
                yield f"{location}: no such socket; is the server running?"
            case "other":
                yield f"{location}: is not a socket; --type xtrabackup needs the socket of a running server"
            case "silent":
                yield f"{location}: the server did not give a valid answer: {database.error}"
            case "files-other":
                yield (
                    f"{location}: the server uses {database.own}, but the backup tool would read other files:"
                    f" {database.path}; does the server run in a container?"
                )
            case "files-unknown":
                yield (
                    f"{location}: cannot prove that the server uses {database.datadir} of this host: no process that"
                    " answers at the socket has files in it open; does the server run in a container?"
                )
            case "files-unproven":
                yield f"{location}: cannot compare the files of the server with those of this host: {database.error}"
            case _:
                yield from self._version_problems(context, database)
                yield from self._data_problems(context, database)

    def _data_problems(self, context: PlanContext, database: DatabaseFacts) -> Iterator[str]:
        """Yield the data of the server that a backup cannot have, or that no target would prepare."""
        location = context.request.source
        if database.outside:
            yield f"{location}: tables with DATA DIRECTORY cannot be copied: {database.outside}"
        if database.device:
            yield f"{location}: the system tablespace is on a raw device, which cannot be copied: {database.device}"
        if context.options.checksum and database.inodes > _MOST_FILES:
            yield (
                f"{location}: the server has {database.inodes:,} files and directories, but --checksum allows only"
                f" {_MOST_FILES:,}"
            )
        if database.refused_option and context.options.prepare:
            yield (
                f"{location}: a target cannot prepare the copy, because it refuses an option of the backup:"
                f" {database.refused_option}"
            )

    def _version_problems(self, context: PlanContext, database: DatabaseFacts) -> Iterator[str]:
        """Yield the backup tools of another major version: they cannot read or prepare the files of the server."""
        server, tools = MariaDB.major_version(database.version), context.source_host.backup_versions
        for host in context.facts.values():
            tool = first_available(MariaDB.BACKUP_TOOLS, host)
            version = MariaDB.major_version(host.backup_versions.get(tool, "")) if tool else None
            if version and version != server:
                yield f"{host.host}: {tool} has version {version}, but the server has version {server}"
        source, tool = context.request.source, _backup_tool(context.source_host)
        if not MariaDB.may_accept(tool, database.name) and server == MariaDB.major_version(tools.get(tool, "")):
            yield f"{source}: {tool} refuses a server of the name '{database.name}' (set by its option --version)"

    def reading(self, context: PlanContext, benchmarks: Mapping[str, Command]) -> ReadingPlan:
        source, options = context.source, context.options
        client = first_available(MariaDB.CLIENTS, context.source_host) or MariaDB.CLIENTS[0]
        return ReadingPlan(
            directory=source.directory,
            name=source.name,
            client=MariaDB.client(client, context.request.source.path, options.defaults_file),
            stop_slave=options.stop_slave,
            safe_timeout=options.safe_timeout,
            max_stop_time=options.max_stop_time,
            sample=SamplePlan(benchmarks=benchmarks, directory=source.directory) if benchmarks else None,
            # The backup tool also reads the log of the server once a second, whether data flows or not. The kernel does
            # not report the progress of the stage that digests the stream.
            metered_stage=len(self.read(context)),
        )

    def read(self, context: PlanContext) -> tuple[Stage, ...]:
        host, socket = context.source_host, context.request.source.path
        backup = MariaDB.backup(_backup_tool(host), socket, context.options.defaults_file, host.cores)
        digest = file_digest(context)
        return (backup, MariaDB.digest_stream(digest, host.cores)) if digest else (backup,)

    def unpack(self, context: PlanContext, receiver: HostFacts) -> tuple[Stage, ...]:
        unpack = MariaDB.unpack(_unpack_tool(receiver))
        if not MariaDB.has_known_stream(_backup_tool(context.source_host)):
            return (unpack,)
        return (MariaDB.check_stream(indexed=context.options.checksum), unpack)

    def prepare(self, context: PlanContext, receiver: HostFacts) -> Command | None:
        return MariaDB.prepare(_backup_tool(receiver), receiver.memory) if context.options.prepare else None


def _database(host: HostFacts) -> DatabaseFacts:
    if host.database is None:
        raise ValueError(f"{host.host}: the preflight did not query the server")
    return host.database


def _unpack_tool(host: HostFacts) -> str:
    return first_available(MariaDB.UNPACK_TOOLS, host) or MariaDB.UNPACK_TOOLS[0]


def _backup_tool(host: HostFacts) -> str:
    return first_available(MariaDB.BACKUP_TOOLS, host) or MariaDB.BACKUP_TOOLS[0]


STRATEGY = _XtrabackupStrategy()
