"""A request together with the facts of its hosts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transferpy.model.facts import DatabaseFacts, HostFacts, RouteFacts, SourceFacts, TargetFacts
from transferpy.model.locations import Location
from transferpy.model.options import TransferOptions, TransferType
from transferpy.model.request import TransferRequest
from transferpy.stream.transports import netcat_flavour, netcat_speaks_ipv6


@dataclass(frozen=True)
class PlanContext:
    """A request, and what its hosts answered.

    Attributes:
        request: with hosts that are resolved.
        facts: by host; a host that did not answer is not there.
    """

    request: TransferRequest
    facts: Mapping[str, HostFacts]

    @property
    def options(self) -> TransferOptions:
        """Those of the request."""
        return self.request.options

    @property
    def source_host(self) -> HostFacts:
        """What the source host answered."""
        return self.facts[self.request.source.host]

    @property
    def database(self) -> DatabaseFacts:
        """What the server at the source socket answered."""
        if self.source_host.database is None:
            raise ValueError("the source was not asked for a server")
        return self.source_host.database

    @property
    def source(self) -> SourceFacts:
        """What stands at the source path; for a server, what it holds."""
        if self.options.transfer_type is TransferType.XTRABACKUP:
            database = self.database
            return SourceFacts(
                directory=database.datadir,
                name="",
                kind="d",
                identity="",
                disk=database.disk,
                bytes=database.disk,
                inodes=database.inodes,
            )
        if self.source_host.source is None:
            raise ValueError("the source was not asked for the source")
        return self.source_host.source

    @property
    def answered(self) -> list[tuple[int, Location, TargetFacts]]:
        """The targets whose host answered."""
        return [
            (index, location, self.facts[location.host].targets[index])
            for index, location in enumerate(self.request.targets)
            if location.host in self.facts
        ]

    def route(self, index: int) -> RouteFacts:
        """How the source reaches the target of that index."""
        return self.source_host.routes[index]

    def final(self, target: Location) -> Location:
        """Where the copy will stand on that target."""
        return self.request.final(target)


def best_netcat(facts: HostFacts) -> tuple[str, str] | None:
    """Return program and flavour of the best netcat of a host: one that knows IPv6 before one that does not."""
    known = [(name, flavour) for name, text in facts.netcats.items() if (flavour := netcat_flavour(text))]
    return next(iter(sorted(known, key=lambda found: not netcat_speaks_ipv6(found[1]))), None)


def has_socat(facts: HostFacts) -> bool:
    """Tell whether a host has socat, which carries a stream better than any netcat."""
    return "socat" in facts.tools


def first_there(tools: Iterable[str], facts: HostFacts) -> str | None:
    """Return the first of ``tools`` that a host has."""
    return next((tool for tool in tools if tool in facts.tools), None)


def is_ipv6(address: str) -> bool:
    """Tell an IPv6 address from an IPv4 address."""
    return ":" in address
