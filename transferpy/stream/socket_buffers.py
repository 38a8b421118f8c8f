"""The buffers of the sockets of a stream, from the rate and the round-trip time of its link.

A connection carries at most one buffer in each round-trip time. The buffers that the kernel gives by itself are too
small for a fast link with a long round-trip time.
"""

from dataclasses import dataclass

from transferpy.model.facts import HostFacts
from transferpy.model.options import MOST_STREAMS

_MOST_BYTES = 64 << 20
"""The largest buffer of a connection; the connections of several lanes share it."""
_SHARE_OF_MEMORY = 64
"""A program sets at most this part of the free memory; the kernel doubles it for its own data."""
_KERNEL_FACTOR = 2
"""The kernel doubles the size that a program sets, but not the sizes that it reports as its own limits."""
_UNKNOWN_BUFFER = 32 << 20
_PIPES_AND_PROGRAMS = 4 << 20
"""Two pipes of 1 MiB, and the buffers of two programs of transports, with a reserve."""
MOST_HISTORY = 2 * _KERNEL_FACTOR * _MOST_BYTES + MOST_STREAMS * _PIPES_AND_PROGRAMS
"""The bytes that the relays of all lanes of a sender keep together: 320 MiB."""
_HEADROOM = 3
"""A buffer holds the data of this number of round trips. The probe can meet the link or the hosts at a busy moment; a
larger buffer costs memory only while it is filled."""


@dataclass(frozen=True, kw_only=True)
class BufferBounds:
    """The bounds for the buffer of a socket of one host, in bytes, as a program sets them."""

    kernel: int = 0  # the largest buffer that the kernel gives by itself; 0 if unknown
    most: int = 0  # the largest buffer that the stream may have; 0 if it cannot set the buffer

    def fit(self, size: int, lanes: int = 1) -> int:
        """Return the buffer to set for each connection, in bytes; 0 to leave it to the kernel.

        Args:
            size: the bytes that all connections of the stream need together.
            lanes: the number of the connections. They share the largest buffer, also if the kernel would give each of
                them more than its share.
        """
        share = self.most // lanes
        if 0 < share < self.kernel:
            return share
        size = min(size // lanes, share)
        return size if size > self.kernel else 0

    @property
    def largest(self) -> int:
        """The largest buffer to set, for a link of unknown speed; 0 to leave it to the kernel."""
        return self.fit(self.most)

    @property
    def largest_possible(self) -> int:
        """The largest buffer that a connection can have, as a program sets it; 0 if unknown."""
        return self.largest or self.kernel


NO_BOUNDS = BufferBounds()
"""The bounds where nothing is known, and the stream cannot set a buffer."""


def send_bounds(host: HostFacts, *, settable: bool = True) -> BufferBounds:
    """Return the bounds for the send buffer of a host; ``settable``: the transport has an option for it."""
    return _bounds(host, host.buffers.send if host.buffers else 0, settable=settable)


def receive_bounds(host: HostFacts, *, settable: bool = True) -> BufferBounds:
    """Return the bounds for the receive buffer of a host; ``settable`` is that of :func:`send_bounds`."""
    return _bounds(host, host.buffers.receive if host.buffers else 0, settable=settable)


def _bounds(host: HostFacts, kernel: int, *, settable: bool) -> BufferBounds:
    is_set = settable and host.buffers is not None and host.buffers.forced
    # Where the buffer of the kernel is unknown, a calculated one could be smaller.
    most = min(_MOST_BYTES, host.memory // _SHARE_OF_MEMORY) if is_set and kernel else 0
    return BufferBounds(kernel=kernel // _KERNEL_FACTOR, most=most)


def bytes_on_the_way(send: int, receive: int) -> int:
    """Return the bytes that can be between the two relays of a lane: in sockets, pipes and programs.

    Args:
        send: the largest send buffer that the connection can have, in bytes as a program sets it; 0 if unknown.
        receive: the same for the receive buffer.
    """
    return _KERNEL_FACTOR * ((send or _UNKNOWN_BUFFER) + (receive or _UNKNOWN_BUFFER)) + _PIPES_AND_PROGRAMS


def lanes_within_memory(send: BufferBounds, receive: BufferBounds, most: int) -> int:
    """Return the largest number of lanes, at most ``most``, whose relays keep no more than MOST_HISTORY together."""
    for lanes in range(most, 1, -1):
        each = bytes_on_the_way(_largest(send, lanes), _largest(receive, lanes))
        if lanes * each <= MOST_HISTORY:
            return lanes
    return 1


def _largest(bounds: BufferBounds, lanes: int) -> int:
    """Return the largest buffer that each connection can have; 0 if unknown."""
    return bounds.fit(bounds.most, lanes) or bounds.kernel


def needed_buffer(rate: float | None, round_trip: float | None) -> int:
    """Return the buffer that a connection needs, in bytes; 0 if that is unknown.

    Args:
        rate: the bytes per second that the link carries; None if unknown.
        round_trip: the round-trip time in seconds; None if unknown.
    """
    return round(_HEADROOM * rate * round_trip) if rate and round_trip else 0
