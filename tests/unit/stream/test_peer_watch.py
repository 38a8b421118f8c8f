"""The watch over a connection: it ends the connection before the keepalive of the kernel does, whatever the time is."""

import pytest

from transferpy.model.options import OPTIONS
from transferpy.stream.commands import Command
from transferpy.stream.peer_watch import SHORTEST, PeerWatch

HIGHEST_INTERVAL, HIGHEST_COUNT = 32767, 127
"""The highest values that the kernel accepts."""


@pytest.mark.parametrize("seconds", [*range(SHORTEST, 100), 3600, 86400])
def test_the_keepalive_forgives_a_lost_probe_and_ends_a_connection_after_the_watch(seconds: int) -> None:
    watch = PeerWatch(seconds=seconds, peer_probes=True)
    assert 1 <= watch.interval <= HIGHEST_INTERVAL
    assert 2 <= watch.count <= HIGHEST_COUNT
    assert seconds < watch.interval * (1 + watch.count) <= seconds + 2 * watch.interval


def test_the_option_accepts_the_shortest_time_and_no_shorter_one() -> None:
    assert OPTIONS["stall_timeout"].values.parse(SHORTEST) == SHORTEST
    assert OPTIONS["stall_timeout"].values.parse(SHORTEST - 1) is None


@pytest.mark.parametrize("peer_probes", [True, False])
def test_a_stage_has_the_numbers_the_role_and_the_keepalive_of_the_peer(*, peer_probes: bool) -> None:
    watch = PeerWatch(seconds=30, peer_probes=peer_probes)
    command = Command(("nc", "-l"))
    word = "yes" if peer_probes else "no"
    assert watch.receiver(command).watch == ("30", "5", "7", "receive", word)
    assert watch.sender(command).watch == ("30", "5", "7", "send", word)
    assert watch.sender(command).name == "nc"
