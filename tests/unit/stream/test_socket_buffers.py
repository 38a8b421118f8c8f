"""The buffers of sockets: from the link, within the bounds of each host."""

from typing import Any

import pytest
from fleet import host

from transferpy.model.facts import BufferFacts
from transferpy.stream.socket_buffers import (
    NO_BOUNDS,
    BufferBounds,
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


def test_a_kernel_that_gives_more_than_the_bound_is_left_alone() -> None:
    assert BufferBounds(kernel=128 * MIB, most=64 * MIB).largest == 0


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
