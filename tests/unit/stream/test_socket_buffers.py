"""The buffers of sockets: from the link, within the bounds of each host."""

from typing import Any

import pytest
from fleet import host

from transferpy.model.facts import BufferFacts
from transferpy.stream.socket_buffers import (
    NO_BOUNDS,
    BufferBounds,
    bytes_on_the_way,
    lanes_within_memory,
    needed_buffer,
    receive_bounds,
    send_bounds,
)

MIB = 1 << 20
BUFFERS = BufferFacts(send=4 * MIB, receive=6 * MIB, forced=True)


@pytest.mark.parametrize(
    ("rate", "round_trip", "size"),
    [(100e6, 0.035, 10_500_000), (100e6, 0.07, 21_000_000), (None, 0.035, 0), (100e6, None, 0), (0.0, 0.0, 0)],
)
def test_a_connection_needs_the_data_of_three_round_trips(
    rate: float | None, round_trip: float | None, size: int
) -> None:
    assert needed_buffer(rate, round_trip) == size


def test_a_buffer_is_larger_than_that_of_the_kernel_or_left_to_the_kernel() -> None:
    bounds = BufferBounds(kernel=2 * MIB, most=64 * MIB)
    assert [bounds.fit(size * MIB) for size in (0, 1, 2, 3, 64, 99)] == [0, 0, 0, 3 * MIB, 64 * MIB, 64 * MIB]
    assert bounds.largest == 64 * MIB


def test_a_stream_that_cannot_set_a_buffer_leaves_it_to_the_kernel() -> None:
    assert (NO_BOUNDS.fit(99 * MIB), NO_BOUNDS.largest) == (0, 0)


def test_a_kernel_that_gives_more_than_the_bound_is_limited_to_the_bound() -> None:
    """The relay of a sender keeps all bytes that can be in the buffers."""
    assert BufferBounds(kernel=128 * MIB, most=64 * MIB).fit(0) == 64 * MIB


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"memory": 64 << 30}, 64 * MIB),
        ({"memory": 512 * MIB}, 8 * MIB),
        ({"memory": 0}, 0),
        ({"memory": 64 << 30, "buffers": None}, 0),
        ({"memory": 64 << 30, "buffers": BufferFacts(send=0, receive=0, forced=True)}, 0),
        ({"memory": 64 << 30, "buffers": BufferFacts(send=4 * MIB, receive=6 * MIB, forced=False)}, 0),
    ],
)
def test_the_bounds_follow_from_the_host(changes: dict[str, Any], most: int) -> None:
    facts = host("db1", **{"buffers": BUFFERS, **changes})
    assert (send_bounds(facts).most, receive_bounds(facts).most) == (most, most)


def test_the_kernel_doubles_what_a_program_sets() -> None:
    facts = host("db1", buffers=BUFFERS, memory=64 << 30)
    assert (send_bounds(facts).kernel, receive_bounds(facts).kernel) == (2 * MIB, 3 * MIB)


class TestLanes:
    """The connections of several lanes share the buffers and the memory of one."""

    BOUNDS = BufferBounds(kernel=2 * MIB, most=64 * MIB)

    @pytest.mark.parametrize(("lanes", "size"), [(1, 60), (4, 15), (16, 60 / 16), (30, 0)])
    def test_the_connections_share_the_needed_buffer(self, lanes: int, size: float) -> None:
        assert self.BOUNDS.fit(60 * MIB, lanes) == size * MIB

    @pytest.mark.parametrize(("lanes", "size"), [(1, 0), (4, 0), (5, 64 * MIB // 5), (16, 4 * MIB)])
    def test_the_kernel_gives_a_connection_no_more_than_its_share(self, lanes: int, size: int) -> None:
        assert BufferBounds(kernel=16 * MIB, most=64 * MIB).fit(0, lanes) == size

    def test_a_buffer_that_cannot_be_set_stays_that_of_the_kernel(self) -> None:
        assert BufferBounds(kernel=16 * MIB, most=0).fit(60 * MIB, 16) == 0

    @pytest.mark.parametrize("kernel", [0, 2 * MIB, 500 * MIB])
    def test_the_relays_of_sixteen_lanes_fit_into_the_memory_if_the_buffers_can_be_set(self, kernel: int) -> None:
        bounds = BufferBounds(kernel=kernel, most=64 * MIB)
        assert lanes_within_memory(bounds, bounds, 16) == 16

    @pytest.mark.parametrize(("kernel", "lanes"), [(1, 16), (2, 16), (16, 4), (100, 1), (0, 2)])
    def test_where_they_cannot_be_set_there_are_fewer_lanes(self, kernel: int, lanes: int) -> None:
        bounds = BufferBounds(kernel=kernel * MIB, most=0)
        assert lanes_within_memory(bounds, bounds, 16) == lanes
        assert lanes == 1 or lanes * bytes_on_the_way(bounds.kernel, bounds.kernel) <= 320 * MIB
