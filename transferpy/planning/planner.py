"""The plan: what every host is going to do, decided from the request and from what the hosts answered.

A pure function. It collects every problem that it finds and refuses with all of them at once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from transferpy import MariaDB
from transferpy.agent.session_plan import DeliveryPlan, ListeningPlan, ReadingPlan, SamplePlan, SendingPlan, SessionPlan
from transferpy.Exceptions import PreflightError
from transferpy.Firewall import firewall_rules
from transferpy.model.codecs import FALLBACK
from transferpy.model.digests import ALGORITHMS
from transferpy.model.facts import HostFacts, RouteFacts
from transferpy.model.options import UNCOMPRESSED, Priority, TransferType
from transferpy.model.request import TransferRequest
from transferpy.model.tables import AUTO
from transferpy.model.tools import NETCATS, PACKAGES
from transferpy.planning.checks import PreflightChecks
from transferpy.planning.context import PlanContext, best_netcat, first_there, has_socat, is_ipv6
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.planning.topology import SOURCE, Edge, Node, edges
from transferpy.stream.codecs import Codec, codecs
from transferpy.stream.commands import Command, Stage
from transferpy.stream.digests import STREAM_SIZE, available_algorithm, digest_command
from transferpy.stream.pipelines import probe_receiver, probe_sender, receiver, sender
from transferpy.stream.tar import archive, decompress, decompressors, extract, extract_tarball, read
from transferpy.stream.transports import Transport, netcat, plain, tls

_CHOICE_BYTES = 1 << 20
"""Below it, whatever compresses takes longer to start than the data to send."""
_PROBE_BYTES = 64 << 20
"""Below it, a look at the link costs more than the best choice can spare."""
_MEMBER_BYTES = 1536  # what tar adds to each file, half of it for the fractions of seconds


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
    problems = [*silent.values(), *PreflightChecks(request, facts).all()]
    if problems:
        raise PreflightError(problems)
    return _Planner(request, facts, run_id).plan()


@dataclass(frozen=True)
class _Planner(PlanContext):
    run_id: str

    def plan(self) -> TransferPlan:
        options = self.options
        found = edges(self.request, self.facts)
        planned = {edge: self._edge(edge) for edge in found}
        nodes = {node.name: node for edge in found for node in (edge.sender, edge.receiver)}
        return TransferPlan(
            source=self.request.source,
            options=options,
            facts=self.source,
            edges=tuple(planned.values()),
            sessions={name: self._session(node, tuple(planned.values())) for name, node in nodes.items()},
            stream=self._stream(),
            algorithm=self._algorithm if self._digests else "",
            notes=tuple(self._notes()),
        )

    def _stream(self) -> str:
        words = ["TLS 1.3" if self.options.encrypt else "not encrypted"]
        if not self._compresses:
            words.insert(0, "not compressed")
        if self.options.parallel_checksum:
            words.append(f"{self._algorithm} of the stream")
        elif self.options.transfer_type is TransferType.FILE:
            words.append(f"{self._algorithm} of every file" if self.options.checksum else "no checksum of files")
        if self.options.bwlimit:
            words.append(f"at most {self.options.bwlimit:,} bytes per second")
        return ", ".join(words)

    def _notes(self) -> list[str]:
        notes: list[str] = []
        if self.source.kind == "l":
            notes.append(
                f"{self.request.source} is a symbolic link and is copied as one;"
                " end the path with a slash to copy what it points to"
            )
        if self.source.server:
            notes.append(
                f"{self.request.source}: a server runs on these files: the copy fails if it writes meanwhile, else is"
                " as after a crash; --type xtrabackup copies a server that runs"
            )
        if self.source.sockets:
            notes.append(f"{self.request.source}: sockets are not copied: {self.source.sockets}")
        for _, location, target in self.answered:
            notes += [
                f"{location}: {name} is half a copy of a run that its host did not survive; remove it"
                for name in target.leftovers
            ]
        if self._compresses:
            notes += dict.fromkeys(self._compressor_notes())
        wanted = self.options.checksum_algorithm
        if self._digests and wanted not in {AUTO, self._algorithm}:
            tool = ALGORITHMS[wanted].argv[0]
            lacking = ", ".join(facts.host for facts in self.facts.values() if tool not in facts.tools)
            notes.append(f"no {tool} (Debian package {PACKAGES[tool]}) on {lacking}: {self._algorithm} stands in")
        return notes

    def _compressor_notes(self) -> Iterator[str]:
        wanted = self.options.compressor
        tool = "zstd" if wanted == AUTO else wanted
        for edge in edges(self.request, self.facts):
            if not any(codec.name == FALLBACK for codec in self._codecs(edge)):
                continue
            for facts in (self.facts[node.location.host] for node in (edge.sender, edge.receiver)):
                if tool not in facts.tools and tool != FALLBACK:
                    yield f"{facts.host} has no {tool} (Debian package {tool}); pigz stands in"
                if "pigz" not in facts.tools:
                    yield f"{facts.host} has no pigz (Debian package pigz); gzip stands in, on one core"

    def _session(self, node: Node, planned: tuple[EdgePlan, ...]) -> SessionPlan:
        """Return the plan of the session of a node, composed of its ends of the edges."""
        host = self.facts[node.location.host]
        is_source = node.name == SOURCE
        return SessionPlan(
            host=host.host,
            own_name=self._certificate_name(node),
            cores=host.cores,
            encrypt=self.options.encrypt,
            digest=digest_command(self._algorithm) if self.options.checksum else None,
            low_priority=self.options.priority is Priority.LOW,
            transfer_type=self.options.transfer_type,
            reading=self._reading() if is_source else None,
            sending={edge.label: edge.sending for edge in planned if edge.sender == node.name},
            listening=next((edge.listening for edge in planned if edge.receiver == node.name), None),
            delivery=None if is_source else self._delivery(node, host),
        )

    def _reading(self) -> ReadingPlan:
        is_backup = self.options.transfer_type is TransferType.XTRABACKUP
        benchmarks = self._benchmarks()
        sampled = {"directory": self.source.directory} if is_backup else {"bytes": self.source.bytes}
        return ReadingPlan(
            directory=self.source.directory,
            name=self.source.name,
            client=self._client(),
            stop_slave=self.options.stop_slave,
            sample=SamplePlan(benchmarks=benchmarks, **sampled) if benchmarks else None,
        )

    def _client(self) -> tuple[str, ...]:
        if self.options.transfer_type is not TransferType.XTRABACKUP:
            return ()
        program = first_there(MariaDB.CLIENTS, self.source_host) or MariaDB.CLIENTS[0]
        return MariaDB.client(program, self.request.source.path, self.options.defaults_file)

    def _delivery(self, node: Node, host: HostFacts) -> DeliveryPlan:
        return DeliveryPlan(
            directory=node.location.path,
            staging_name=f".transferpy-{self.run_id}-{node.name}",
            source_name=self.source.name,
            final_name=self.request.final_name,
            owner=self.options.owner,
            prepare=MariaDB.prepare(self._backup_tool(host), host.memory) if self.options.prepare else None,
            create_target=self.options.create_target,
        )

    def _edge(self, edge: Edge) -> EdgePlan:
        sender, receiver = (self.facts[node.location.host] for node in (edge.sender, edge.receiver))
        route = self.route(edge.target)
        return EdgePlan(
            label=edge.label,
            sender=edge.sender.name,
            receiver=edge.receiver.name,
            target=edge.receiver.location,
            final=self.final(edge.receiver.location),
            address=f"[{route.address}]" if is_ipv6(route.address) and has_socat(sender) else route.address,
            codecs=self._codecs(edge),
            sending=self._sending(edge, sender, route),
            listening=self._listening(edge, receiver, route),
        )

    def _sending(self, edge: Edge, host: HostFacts, route: RouteFacts) -> SendingPlan:
        transport = self._transport(host, edge.receiver, route)
        return SendingPlan(
            pipelines={
                label: sender(self._pack(), codec, transport, self._digest, self.options.bwlimit)
                for label, codec in self._by_label(edge).items()
            },
            probe=probe_sender(transport) if self._probes(edge) else None,
        )

    def _listening(self, edge: Edge, host: HostFacts, route: RouteFacts) -> ListeningPlan:
        transport = self._transport(host, edge.sender, route)
        return ListeningPlan(
            port=self.options.port,
            firewall_rules=firewall_rules(host.firewalls, self.options.firewall, route.source, self.run_id),
            pipelines={
                label: receiver(self._unpack(host), codec, transport, self._digest)
                for label, codec in self._by_label(edge).items()
            },
            probe=probe_receiver(transport) if self._probes(edge) else None,
        )

    def _benchmarks(self) -> dict[str, Command]:
        """Return the commands to measure on a sample of the data, by codec, where there is a choice."""
        if self.options.compressor != AUTO:
            return {}
        found = (codec for edge in edges(self.request, self.facts) for codec in self._codecs(edge))
        return {codec.label: codec.trial for codec in found}

    def _codecs(self, edge: Edge) -> tuple[Codec, ...]:
        """Return the codecs that may compress the stream of an edge."""
        is_small = self.options.compressor == AUTO and self._amount < _CHOICE_BYTES
        if not self._compresses or is_small:
            return ()
        sender, receiver = (self.facts[node.location.host] for node in (edge.sender, edge.receiver))
        return codecs(self.options, sender.tools, receiver.tools, sender.cores)

    def _by_label(self, edge: Edge) -> dict[str, Codec | None]:
        """Return the codecs of a stream by label, and None for an uncompressed stream where that may be chosen."""
        found: dict[str, Codec | None] = {codec.label: codec for codec in self._codecs(edge)}
        return found if found and self.options.compressor != AUTO else {UNCOMPRESSED: None, **found}

    def _probes(self, edge: Edge) -> bool:
        """Whether the run measures the speed of the link: there is a choice, and enough data for it to matter."""
        is_choice = self.options.compressor == AUTO and bool(self._codecs(edge))
        return is_choice and self._amount >= _PROBE_BYTES and not self.options.bwlimit

    @property
    def _amount(self) -> int:
        """Roughly the bytes of the stream."""
        return self.source.bytes + self.source.inodes * _MEMBER_BYTES

    def _pack(self) -> Command:
        """The stage that reads the source."""
        match self.options.transfer_type:
            case TransferType.FILE:
                return archive(self.source.name, indexed=self.options.checksum)
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
                return (extract(indexed=self.options.checksum),)
            case TransferType.DECOMPRESS:
                program = first_there(decompressors(*self.source_host.magic) or (), host)
                return (decompress(program), extract_tarball()) if program else (extract_tarball(),)
            case TransferType.XTRABACKUP:
                return (MariaDB.unpack(first_there(MariaDB.UNPACK_TOOLS, host) or MariaDB.UNPACK_TOOLS[0]),)

    @staticmethod
    def _backup_tool(host: HostFacts) -> str:
        return first_there(MariaDB.BACKUP_TOOLS, host) or MariaDB.BACKUP_TOOLS[0]

    @property
    def _compresses(self) -> bool:
        return self.options.compress and self.options.transfer_type is not TransferType.DECOMPRESS

    @property
    def _digests(self) -> bool:
        """Whether the content of the data is compared."""
        return self.options.checksum or self.options.parallel_checksum

    @property
    def _digest(self) -> Command | None:
        """What both ends of the stream are compared by while it flows."""
        if self.options.parallel_checksum:
            return digest_command(self._algorithm)
        # A manifest shows what is missing of a tree; of the others nothing would.
        return None if self.options.transfer_type is TransferType.FILE else STREAM_SIZE

    @property
    def _algorithm(self) -> str:
        """What the data is compared by."""
        tools = frozenset.intersection(*(facts.tools for facts in self.facts.values()))
        return available_algorithm(self.options.checksum_algorithm, tools)

    def _transport(self, host: HostFacts, peer: Node, route: RouteFacts) -> Transport:
        if self.options.encrypt:
            return tls(self._certificate_name(peer), route.source)
        if has_socat(host):
            return plain(route.source)
        program, flavour = best_netcat(host) or (NETCATS[0], "openbsd")
        return netcat(program, flavour, ipv6=is_ipv6(route.address))

    def _certificate_name(self, node: Node) -> str:
        return f"{SOURCE if node.name == SOURCE else 'target'}.{self.run_id}"
