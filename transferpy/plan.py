"""The plan: what every host is going to do, decided from the request and from what the hosts answered.

A pure function. It collects every problem that it finds and refuses with all of them at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from transferpy import MariaDB
from transferpy.checksum import STREAM_DIGEST, STREAM_SIZE
from transferpy.commands import Command, Pipeline, Stage
from transferpy.Exceptions import PreflightError
from transferpy.Firewall import Door, doors
from transferpy.options import Location, TransferOptions, TransferRequest, TransferType
from transferpy.pipelines import (
    Codec,
    Transport,
    archive,
    decompress,
    decompressors,
    extract,
    extract_tarball,
    gzip_codec,
    netcat,
    plain,
    read,
    receiver,
    sender,
    tls,
)
from transferpy.preflight import NETCATS, HostFacts, Questions, Route, RouteFacts, SourceFacts
from transferpy.problems import Problems, Situation, best_netcat, first_there, has_socat, is_ipv6
from transferpy.session import SourceSession, TargetSession


@dataclass(frozen=True, kw_only=True)
class TargetPlan:
    """What happens for one target.

    Attributes:
        location: as the user gave it.
        label: names it in orders and events.
        final: where the copy will stand.
        address: what the source connects to, as the stream's program wants it.
        session: what its session is told.
        sender_names: the stages on the source, for messages.
    """

    location: Location
    label: str
    final: Location
    address: str
    session: TargetSession
    sender_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TransferPlan:
    """What every host does.

    Attributes:
        source: as the user gave it.
        options: those of the request.
        source_session: what the session on the source is told.
        facts: what stands at the source path.
        targets: in the order of the request.
        stream: in words, for the log: how the data travels.
        notes: what the user should know before it starts.
    """

    source: Location
    options: TransferOptions
    source_session: SourceSession
    facts: SourceFacts
    targets: tuple[TargetPlan, ...]
    stream: str
    notes: tuple[str, ...]

    @property
    def codec(self) -> str:
        """What compresses the stream, in a word; empty if nothing does."""
        word = self.stream.partition(", ")[0]
        return "" if word == "not compressed" else word

    @property
    def cipher(self) -> str:
        """What encrypts the stream, in a word; empty if nothing does."""
        return "TLS 1.3" if self.options.encrypt else ""


def questions(request: TransferRequest, addresses: Mapping[str, tuple[str, ...]]) -> dict[str, Questions]:
    """Return what to ask each host of the request.

    Args:
        request: with hosts that are resolved.
        addresses: what the orchestration host knows of each target's addresses; for sources that cannot resolve names.
    """
    name = request.final_name
    is_backup = request.options.transfer_type is TransferType.XTRABACKUP
    is_tarball = request.options.transfer_type is TransferType.DECOMPRESS
    routes = tuple(
        Route(index=index, host=target.host, addresses=addresses.get(target.host, ()))
        for index, target in enumerate(request.targets)
    )
    socket = request.source.path
    asked: dict[str, Questions] = {}
    for host in dict.fromkeys([request.source.host, *(target.host for target in request.targets)]):
        is_source = host == request.source.host
        asked[host] = Questions(
            # A tarball may be a link to the latest one, which is what is read.
            source_path=request.source.path + "/" * is_tarball if is_source and not is_backup else None,
            magic=is_tarball,
            database=(socket, *MariaDB.login(socket, request.options.defaults_file)) if is_source and is_backup else (),
            backup=is_backup,
            routes=routes if is_source else (),
            targets=tuple(
                (index, target.path, name) for index, target in enumerate(request.targets) if target.host == host
            ),
            netcat=not request.options.encrypt,
            owner=request.options.owner if any(target.host == host for target in request.targets) else "",
        )
    return asked


def make_plan(
    request: TransferRequest, facts: Mapping[str, HostFacts], run_id: str, silent: Mapping[str, str]
) -> TransferPlan:
    """Return what every host is going to do.

    Args:
        request: with hosts that are resolved.
        facts: what its hosts answered.
        run_id: the name of the run.
        silent: why a host did not answer, for those that are not in ``facts``.

    Raises:
        PreflightError: it cannot work; the error has every reason.
    """
    problems = [*silent.values(), *Problems(request, facts).all()]
    if problems:
        raise PreflightError(problems)
    return _Planner(request, facts, run_id).plan()


@dataclass(frozen=True)
class _Planner(Situation):
    run_id: str

    def plan(self) -> TransferPlan:
        options = self.options
        return TransferPlan(
            source=self.request.source,
            options=options,
            source_session=self._source_session(),
            facts=self.source,
            targets=tuple(self._target(index, location) for index, location in enumerate(self.request.targets)),
            stream=self._stream(),
            notes=tuple(self._notes()),
        )

    def _stream(self) -> str:
        words = ["gzip" if self._compresses else "not compressed"]
        words.append("TLS 1.3" if self.options.encrypt else "not encrypted")
        if self.options.parallel_checksum:
            words.append("checksum of the stream")
        elif self.options.transfer_type is TransferType.FILE:
            words.append("checksum of every file" if self.options.checksum else "no checksum of files")
        return ", ".join(words)

    def _notes(self) -> list[str]:
        notes: list[str] = []
        if self.source.kind == "l":
            notes.append(
                f"{self.request.source} is a symbolic link and is copied as one;"
                " end the path with a slash to copy what it points to"
            )
        if self.source.sockets:
            notes.append(f"{self.request.source}: sockets are not copied: {self.source.sockets}")
        for _, location, target in self.answered:
            notes += [
                f"{location}: {name} is half a copy of a run that its host did not survive; remove it"
                for name in target.leftovers
            ]
        if self._compresses:
            slow = [facts.host for facts in self.facts.values() if "pigz" not in facts.tools]
            notes += [f"{host} has no pigz (Debian package pigz); gzip stands in, on one core" for host in slow]
        return notes

    def _source_session(self) -> SourceSession:
        return SourceSession(
            directory=self.source.directory,
            name=self.source.name,
            own_name=self._name("source"),
            cores=self.source_host.cores,
            encrypt=self.options.encrypt,
            checksum=self.options.checksum,
            senders={str(index): self._sender(index) for index in range(len(self.request.targets))},
            transfer_type=self.options.transfer_type,
            client=self._client(),
            stop_slave=self.options.stop_slave,
        )

    def _client(self) -> tuple[str, ...]:
        if self.options.transfer_type is not TransferType.XTRABACKUP:
            return ()
        program = first_there(MariaDB.CLIENTS, self.source_host) or MariaDB.CLIENTS[0]
        return MariaDB.client(program, self.request.source.path, self.options.defaults_file)

    def _target(self, index: int, location: Location) -> TargetPlan:
        host = self.facts[location.host]
        route = self.route(index)
        session = TargetSession(
            directory=location.path,
            staging_name=f".transferpy-{self.run_id}-{index}",
            source_name=self.source.name,
            final_name=self.request.final_name,
            own_name=self._name("target"),
            cores=host.cores,
            encrypt=self.options.encrypt,
            checksum=self.options.checksum,
            port=self.options.port,
            doors=self._doors(host, route),
            receiver=receiver(
                self._unpack(host),
                self._codec(host),
                self._transport(host, "source", route),
                self._digest,
            ),
            transfer_type=self.options.transfer_type,
            prepare=self._prepare(host),
            owner=self.options.owner,
            create_target=self.options.create_target,
        )
        return TargetPlan(
            location=location,
            label=str(index),
            final=self.final(location),
            address=f"[{route.address}]" if is_ipv6(route.address) and has_socat(self.source_host) else route.address,
            session=session,
            sender_names=self._sender(index).names,
        )

    def _sender(self, index: int) -> Pipeline:
        target = self.facts[self.request.targets[index].host]
        transport = self._transport(self.source_host, "target", self.route(index))
        return sender(self._pack(), self._codec(target), transport, self._digest)

    def _pack(self) -> Command:
        """The stage that reads the source."""
        match self.options.transfer_type:
            case TransferType.FILE:
                return archive(self.source.name)
            case TransferType.DECOMPRESS:
                return read(self.source.name)
            case TransferType.XTRABACKUP:
                tool = self._backup_tool(self.source_host)
                return MariaDB.backup(
                    tool, self.request.source.path, self.options.defaults_file, self.source_host.cores
                )

    def _unpack(self, host: HostFacts) -> tuple[Stage, ...]:
        """The stages that unpack the stream on a target."""
        match self.options.transfer_type:
            case TransferType.FILE:
                return (extract(),)
            case TransferType.DECOMPRESS:
                program = first_there(decompressors(*self.source_host.magic) or (), host)
                return (decompress(program), extract_tarball()) if program else (extract_tarball(),)
            case TransferType.XTRABACKUP:
                return (MariaDB.unpack(first_there(MariaDB.UNPACK_TOOLS, host) or MariaDB.UNPACK_TOOLS[0]),)

    def _prepare(self, host: HostFacts) -> Command | None:
        return MariaDB.prepare(self._backup_tool(host), host.memory) if self.options.prepare else None

    @staticmethod
    def _backup_tool(host: HostFacts) -> str:
        return first_there(MariaDB.BACKUP_TOOLS, host) or MariaDB.BACKUP_TOOLS[0]

    @property
    def _compresses(self) -> bool:
        return self.options.compress and self.options.transfer_type is not TransferType.DECOMPRESS

    @property
    def _digest(self) -> Command | None:
        """What both ends of the stream are compared by while it flows."""
        if self.options.parallel_checksum:
            return STREAM_DIGEST
        # A manifest shows what is missing of a tree; of the others nothing would.
        return None if self.options.transfer_type is TransferType.FILE else STREAM_SIZE

    def _codec(self, target: HostFacts) -> Codec | None:
        return gzip_codec(self.source_host.tools, target.tools, self.source_host.cores) if self._compresses else None

    def _transport(self, host: HostFacts, peer: str, route: RouteFacts) -> Transport:
        if self.options.encrypt:
            return tls(self._name(peer), route.source)
        if has_socat(host):
            return plain(route.source)
        program, flavour = best_netcat(host) or (NETCATS[0], "openbsd")
        return netcat(program, flavour, ipv6=is_ipv6(route.address))

    def _doors(self, host: HostFacts, route: RouteFacts) -> tuple[Door, ...]:
        return doors(host.firewalls, self.options.firewall, route.source, self.run_id)

    def _name(self, role: str) -> str:
        return f"{role}.{self.run_id}"
