"""The topology of a run: its nodes, and which node sends the data to which."""

from collections.abc import Mapping
from dataclasses import dataclass

from transferpy.model.facts import HostFacts
from transferpy.model.locations import Location
from transferpy.model.request import TransferRequest

SOURCE = "source"
"""The name of the node that holds the source."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """A place that has the data before or after the run; one session serves each node."""

    name: str  # "source", or the index of the target in the request
    location: Location


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One stream between two nodes."""

    sender: Node
    receiver: Node  # no other edge leads to it

    @property
    def label(self) -> str:
        """The name of the edge in session commands and events: that of the node that receives."""
        return self.receiver.name

    @property
    def target(self) -> int:
        """The index of the target that receives."""
        return int(self.receiver.name)


def edges(request: TransferRequest, facts: Mapping[str, HostFacts]) -> tuple[Edge, ...]:  # noqa: ARG001 - see below
    """Return the edges of a run in the order in which they are served: a star, the source sends to each target.

    Args:
        request: with hosts that are resolved.
        facts: the answers of the hosts; other topologies depend on them.
    """
    source = Node(name=SOURCE, location=request.source)
    targets = (Node(name=str(index), location=location) for index, location in enumerate(request.targets))
    return tuple(Edge(sender=source, receiver=target) for target in targets)
