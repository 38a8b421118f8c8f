"""A request together with the facts of its hosts."""

from collections.abc import Mapping
from dataclasses import dataclass

from transferpy.model.facts import HostFacts, RouteFacts, SourceFacts, TargetFacts
from transferpy.model.locations import Location
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.planning.topology import Edge, Node, edges


@dataclass(frozen=True, kw_only=True)
class PlanContext:
    """A request and the facts of its hosts: all that checks and plan depend on."""

    request: TransferRequest  # with hosts that are resolved
    facts: Mapping[str, HostFacts]  # the facts of the hosts that answered, by host
    source_facts: SourceFacts | None  # the facts of the data; None if the source host did not answer
    run_id: str

    @property
    def options(self) -> TransferOptions:
        """The options of the request."""
        return self.request.options

    @property
    def source_host(self) -> HostFacts:
        """The facts of the source host."""
        return self.facts[self.request.source.host]

    @property
    def source(self) -> SourceFacts:
        """The facts of the data; of a hot copy, those of the data directory of the server."""
        if self.source_facts is None:
            raise ValueError("the source host did not answer")
        return self.source_facts

    @property
    def targets(self) -> list[tuple[int, Location, TargetFacts]]:
        """The targets whose hosts answered, with their indices."""
        return [
            (index, location, self.facts[location.host].targets[index])
            for index, location in enumerate(self.request.targets)
            if location.host in self.facts
        ]

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges of the topology."""
        return edges(self.request, self.facts)

    def host(self, node: Node) -> HostFacts:
        """Return the facts of the host of a node."""
        return self.facts[node.location.host]

    def route(self, edge: Edge) -> RouteFacts:
        """Return the route from the sender of an edge to its receiver."""
        return self.host(edge.sender).routes[edge.target]
