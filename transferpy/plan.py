"""The plan: what every host is going to do, decided from the request and from what the hosts answered.

A pure function. It collects every problem that it finds and refuses with all of them at once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transferpy.checksum import STREAM_DIGEST
from transferpy.commands import Pipeline
from transferpy.Exceptions import PreflightError
from transferpy.Firewall import Door, doors
from transferpy.options import FirewallChoice, Location, TransferOptions, TransferRequest
from transferpy.pipelines import (
    Codec,
    Transport,
    gzip_codec,
    netcat,
    netcat_flavour,
    netcat_speaks_ipv6,
    receiver,
    sender,
    tls,
)
from transferpy.preflight import (
    NETCATS,
    PACKAGES,
    HostFacts,
    Questions,
    Route,
    RouteFacts,
    SourceFacts,
    TargetFacts,
    TargetState,
)
from transferpy.session import SourceSession, TargetSession

_SLACK_BYTES = 1 << 20  # the target's directories and block sizes differ a little from the source's


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


def questions(request: TransferRequest, addresses: Mapping[str, tuple[str, ...]]) -> dict[str, Questions]:
    """Return what to ask each host of the request.

    Args:
        request: with hosts that are resolved.
        addresses: what the orchestration host knows of each target's addresses; for sources that cannot resolve names.
    """
    name = final_name(request.source)
    routes = tuple(
        Route(index=index, host=target.host, addresses=addresses.get(target.host, ()))
        for index, target in enumerate(request.targets)
    )
    return {
        host: Questions(
            source_path=request.source.path if host == request.source.host else None,
            routes=routes if host == request.source.host else (),
            targets=tuple(
                (index, target.path, name) for index, target in enumerate(request.targets) if target.host == host
            ),
            netcat=not request.options.encrypt,
        )
        for host in dict.fromkeys([request.source.host, *(target.host for target in request.targets)])
    }


def final_name(source: Location) -> str:
    """Return the name that the copy gets in the target directory."""
    return source.path.rstrip("/").rpartition("/")[2]


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
    planner = _Planner(request, facts, run_id)
    problems = [*silent.values(), *planner.problems()]
    if problems:
        raise PreflightError(problems)
    return planner.plan()


@dataclass(frozen=True)
class _Planner:
    request: TransferRequest
    facts: Mapping[str, HostFacts]
    run_id: str

    @property
    def options(self) -> TransferOptions:
        return self.request.options

    @property
    def source_host(self) -> HostFacts:
        return self.facts[self.request.source.host]

    @property
    def source(self) -> SourceFacts:
        found = self.source_host.source
        if found is None:
            raise ValueError("the source was not asked for the source")
        return found

    @property
    def _answered(self) -> list[tuple[int, Location, TargetFacts]]:
        """The targets whose host answered."""
        return [
            (index, location, self.facts[location.host].targets[index])
            for index, location in enumerate(self.request.targets)
            if location.host in self.facts
        ]

    # --- what speaks against it

    def problems(self) -> list[str]:
        found = [problem for facts in self.facts.values() for problem in self._host_problems(facts)]
        for _, location, target in self._answered:
            found += self._directory_problems(location, target)
        found += self._twice_problems()
        if self.request.source.host in self.facts:
            found += self._source_problems()
            for index, location, target in self._answered:
                found += self._name_problems(location, target)
                found += self._route_problems(index, location)
            found += self._space_problems()
        return list(dict.fromkeys(found))

    def _host_problems(self, facts: HostFacts) -> Iterable[str]:
        if facts.uid != 0:
            yield f"{facts.host}: commands run as user id {facts.uid}, but owners and firewalls need root"
        for tool in self._needed_tools(facts):
            if tool not in facts.tools:
                package = f" (Debian package {PACKAGES[tool]})" if tool in PACKAGES else ""
                yield f"{facts.host}: {tool} is missing{package}"
        if not {"ss", "netstat"} & facts.tools:
            yield f"{facts.host}: ss is missing (Debian package iproute2), and so is netstat (net-tools)"
        if not self.options.encrypt and not self._netcat(facts):
            yield f"{facts.host}: nc is missing (Debian package netcat-openbsd); only --no-encrypt needs it"
        backend = {FirewallChoice.IPTABLES: "iptables", FirewallChoice.NFTABLES: "nft"}.get(self.options.firewall)
        if backend and facts.targets and backend not in "".join(facts.firewalls):
            yield f"{facts.host}: {backend} is missing (Debian package {PACKAGES[backend]}), which --firewall asks for"

    def _needed_tools(self, facts: HostFacts) -> list[str]:
        tools = ["tar", "flock", "awk", "xargs", "cmp", "md5sum", "getent"]
        if self.options.encrypt:
            tools += ["socat", "openssl"]
        if facts.host == self.request.source.host:
            tools.append("ip")
        return tools

    def _source_problems(self) -> Iterable[str]:
        if not self.source.kind:
            yield f"{self.request.source}: no such file or directory"
        elif self.source.kind == "s":
            yield f"{self.request.source}: is a socket, which cannot be copied"
        elif not self.source.name:
            yield f"{self.request.source}: is the root directory, which is not copied as a whole"
        elif self.source.error:
            yield f"{self.request.source}: cannot be read: {self.source.error}"

    def _directory_problems(self, location: Location, target: TargetFacts) -> Iterable[str]:
        match target.state:
            case TargetState.MISSING:
                yield f"{location}: no such directory; make it first"
            case TargetState.OTHER:
                yield f"{location}: is not a directory; a target is the directory that the copy goes into"
            case TargetState.READ_ONLY:
                yield f"{location}: cannot be written to"
        if self.options.port in self.facts[location.host].listening:
            yield f"{location.host}: port {self.options.port} is in use"

    def _name_problems(self, location: Location, target: TargetFacts) -> Iterable[str]:
        final = _final(location, self.request.source)
        same_machine = self.facts[location.host].boot == self.source_host.boot
        if same_machine and self.source.kind == "d" and self.source.identity in target.ancestors:
            yield f"{location}: lies inside the source {self.request.source}"
        elif target.taken and same_machine and target.final_identity == self.source.identity:
            yield f"{final}: is the source itself"
        elif target.taken:
            yield f"{final}: exists already; nothing is ever overwritten"

    def _route_problems(self, index: int, location: Location) -> Iterable[str]:
        route = self.source_host.routes.get(index)
        if route is None:
            yield (
                f"{self.request.source.host}: has no address of {location.host}, or no route to it;"
                " make its name known there, in DNS or /etc/hosts"
            )
        elif not self.options.encrypt and _is_ipv6(route.address):
            for facts in {self.source_host.host: self.source_host, location.host: self.facts[location.host]}.values():
                found = self._netcat(facts)
                if found and not netcat_speaks_ipv6(found[1]):
                    yield f"{facts.host}: {found[0]} knows no IPv6 (Debian package netcat-openbsd does)"

    def _space_problems(self) -> Iterable[str]:
        """Targets on one file system share its space."""
        sharing: dict[tuple[str, str], list[tuple[Location, TargetFacts]]] = defaultdict(list)
        for _, location, target in self._answered:
            if target.ancestors:
                sharing[location.host, target.ancestors[0].partition(":")[0]].append((location, target))
        for together in sharing.values():
            location, target = together[0]
            needed = (self.source.disk + _SLACK_BYTES) * len(together)
            inodes = (self.source.inodes + 1) * len(together)
            if needed > target.free:
                yield f"{location}: {needed:,} bytes are needed, but only {target.free:,} are free"
            if target.inodes is not None and inodes > target.inodes:
                yield f"{location}: {inodes:,} inodes are needed, but only {target.inodes:,} are free"

    def _twice_problems(self) -> Iterable[str]:
        """Two spellings of one directory are one target."""
        seen: dict[tuple[str, str], Location] = {}
        for _, location, target in self._answered:
            if not target.ancestors:
                continue
            key = (self.facts[location.host].boot, target.ancestors[0])
            if key in seen:
                yield f"{location}: is the same directory as {seen[key]}; this target is given twice"
            seen.setdefault(key, location)

    # --- what is going to happen

    def plan(self) -> TransferPlan:
        transports = "TLS 1.3" if self.options.encrypt else "plain netcat, not encrypted"
        notes: list[str] = []
        if self.source.kind == "l":
            notes.append(
                f"{self.request.source} is a symbolic link and is copied as one;"
                " end the path with a slash to copy what it points to"
            )
        if self.source.sockets:
            notes.append(f"{self.request.source}: sockets are not copied: {self.source.sockets}")
        if self.options.compress:
            slow = [facts.host for facts in self.facts.values() if "pigz" not in facts.tools]
            notes += [f"{host} has no pigz (Debian package pigz); gzip stands in, on one core" for host in slow]
        targets = tuple(self._plan_target(index, location) for index, location in enumerate(self.request.targets))
        source_session = SourceSession(
            directory=self.source.directory,
            name=self.source.name,
            own_name=self._name("source"),
            cores=self.source_host.cores,
            encrypt=self.options.encrypt,
            checksum=self.options.checksum,
            senders={str(index): self._sender(index) for index in range(len(targets))},
        )
        checks = "checksum of every file" if self.options.checksum else "no checksum of files"
        return TransferPlan(
            source=self.request.source,
            options=self.options,
            source_session=source_session,
            facts=self.source,
            targets=targets,
            stream=f"{'gzip' if self.options.compress else 'not compressed'}, {transports}, "
            + ("checksum of the stream" if self.options.parallel_checksum else checks),
            notes=tuple(notes),
        )

    def _plan_target(self, index: int, location: Location) -> TargetPlan:
        host = self.facts[location.host]
        route = self._route(index)
        ipv6 = _is_ipv6(route.address)
        name = final_name(self.request.source)
        session = TargetSession(
            directory=location.path,
            staging_name=f".transferpy-{self.run_id}-{index}",
            source_name=self.source.name,
            final_name=name,
            own_name=self._name("target"),
            cores=host.cores,
            encrypt=self.options.encrypt,
            checksum=self.options.checksum,
            port=self.options.port,
            doors=self._doors(host, route),
            receiver=receiver(
                codec=self._codec(host),
                transport=self._transport(host, "source", ipv6=ipv6),
                digest=STREAM_DIGEST if self.options.parallel_checksum else None,
            ),
        )
        return TargetPlan(
            location=location,
            label=str(index),
            final=_final(location, self.request.source),
            address=f"[{route.address}]" if ipv6 and self.options.encrypt else route.address,
            session=session,
            sender_names=self._sender(index).names,
        )

    def _sender(self, index: int) -> Pipeline:
        target = self.facts[self.request.targets[index].host]
        return sender(
            source_name=self.source.name,
            codec=self._codec(target),
            transport=self._transport(self.source_host, "target", ipv6=_is_ipv6(self._route(index).address)),
            digest=STREAM_DIGEST if self.options.parallel_checksum else None,
        )

    def _codec(self, target: HostFacts) -> Codec | None:
        if not self.options.compress:
            return None
        return gzip_codec(self.source_host.tools, target.tools, self.source_host.cores)

    def _transport(self, host: HostFacts, peer: str, *, ipv6: bool) -> Transport:
        if self.options.encrypt:
            return tls(self._name(peer), ipv6=ipv6)
        found = self._netcat(host)
        program, flavour = found or (NETCATS[0], "openbsd")
        return netcat(program, flavour, ipv6=ipv6)

    def _doors(self, host: HostFacts, route: RouteFacts) -> tuple[Door, ...]:
        return doors(host.firewalls, self.options.firewall, route.source, self.run_id)

    def _name(self, role: str) -> str:
        return f"{role}.{self.run_id}"

    def _route(self, index: int) -> RouteFacts:
        return self.source_host.routes[index]

    @staticmethod
    def _netcat(facts: HostFacts) -> tuple[str, str] | None:
        """Return program and flavour of the best netcat of a host: one that knows IPv6 before one that does not."""
        known = [(name, flavour) for name, text in facts.netcats.items() if (flavour := netcat_flavour(text))]
        return next(iter(sorted(known, key=lambda found: not netcat_speaks_ipv6(found[1]))), None)


def _final(target: Location, source: Location) -> Location:
    return Location(host=target.host, path=f"{target.path.rstrip('/')}/{final_name(source)}")


def _is_ipv6(address: str) -> bool:
    return ":" in address
