"""The relays of a stream, with which it survives a broken connection."""

from transferpy.model.facts import HostFacts
from transferpy.model.text import size
from transferpy.planning.context import PlanContext
from transferpy.planning.topology import Edge
from transferpy.stream.socket_buffers import MOST_HISTORY, bytes_on_the_way, receive_bounds, send_bounds

_SHARE_OF_MEMORY = 4
"""The history of a stream takes at most this part of the free memory of its sender."""


def is_relayed(context: PlanContext, edge: Edge) -> bool:
    """Return whether the stream of an edge survives a broken connection."""
    is_known = context.host(edge.sender).buffers and context.host(edge.receiver).buffers
    return bool(context.options.retries and is_known and not relay_obstacle(context, edge))


def relay_obstacle(context: PlanContext, edge: Edge) -> str:
    """Return the reason for which the stream of an edge cannot survive a broken connection; empty if none is known."""
    sender, receiver = context.host(edge.sender), context.host(edge.receiver)
    for host in (sender, receiver):
        if host.buffers is None:
            return ""
        if not host.buffers.relays:
            return f"{host.host}: the host lacks system calls (splice, memfd)"
    send = send_bounds(sender, settable=_sets_buffers(context, sender))
    receive = receive_bounds(receiver, settable=_sets_buffers(context, receiver))
    # A receiver can report any size.
    history = bytes_on_the_way(send.largest_possible, receive.largest_possible)
    if history > min(MOST_HISTORY, sender.memory // _SHARE_OF_MEMORY):
        return (
            f"{sender.host}: the buffers of a connection to {receiver.host} can hold {size(history)}, too much to keep"
        )
    return ""


def _sets_buffers(context: PlanContext, host: HostFacts) -> bool:
    """Return whether the transport is a socat, which has options for that."""
    return context.options.encrypt or "socat" in host.tools
