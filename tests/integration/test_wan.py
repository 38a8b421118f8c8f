"""Links with a long round-trip time: the link probe, the buffers of sockets, and hosts that cannot set them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from helpers import collect, eventually, start_transfer, transfer
from trees import census_on
from watching import assert_as_before, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers import Result
    from lab import Host, Lab

SECONDS = 0.02
TINY = {"tcp_wmem": "4096 4096 4608", "tcp_rmem": "4096 4096 4608"}
"""Limits of the kernel for buffers that any measured rate exceeds, however busy this machine is."""
SMALL = {"tcp_wmem": "4096 16384 524288", "tcp_rmem": "4096 131072 524288"}
"""Limits with which a stream takes some seconds."""
HUGE = {"tcp_wmem": "4096 16384 134217728", "tcp_rmem": "4096 131072 134217728"}


@pytest.fixture
def wan(clean_lab: Lab) -> Iterator[Lab]:
    """The clean lab, with incompressible data on db1, a directory on db3, and a long way between both."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=70)
    clean_lab["db3"].run("mkdir /srv/in")
    clean_lab.delay("db1", "db3", SECONDS)
    hosts = clean_lab["db1"], clean_lab["db3"]
    before = {host: {name: host.sh(f"cat /proc/sys/net/ipv4/{name}") for name in SMALL} for host in hosts}
    try:
        for host in hosts:
            set_limits(host, SMALL)
        yield clean_lab
    finally:
        for host, values in before.items():
            set_limits(host, values)


def set_limits(host: Host, values: dict[str, str]) -> None:
    for name, value in values.items():
        host.run(f"echo {value} >/proc/sys/net/ipv4/{name}")


def reported(lab: Lab, result: Result) -> dict[str, Any]:
    """Return the report of the target, and remove its file; the copy must be complete."""
    assert result.status == 0, result.stderr
    assert census_on(lab["db3"], "/srv/in/data") == census_on(lab["db1"], "/srv/data")
    (target,) = json.loads(lab["orch"].sh("cat /srv/report"))["transfers"][0]["targets"]
    lab["orch"].run("rm /srv/report")
    assert isinstance(target, dict)
    return target


def copied(lab: Lab, *options: str, target: str = "db3") -> dict[str, Any]:
    """Copy the data, and return the report of the target."""
    words = ("--report", "/srv/report", *options, "db1:/srv/data", f"{target}:/srv/in")
    return reported(lab, transfer(lab, *words))


def buffers_in_use(host: Host, name: str) -> set[int]:
    """Return the sizes of the send buffers (tb) or receive buffers (rb) of the TCP sockets of a host, in bytes."""
    return {int(size) for size in re.findall(rf"\b{name}(\d+)", host.sh("ss -tmnO"))}


@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["tls", "plain"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_the_sockets_of_a_stream_have_the_buffers_of_the_report(
    wan: Lab, family: str, options: tuple[str, ...]
) -> None:
    for host in ("db1", "db3"):
        set_limits(wan[host], TINY)
    before = wan.snapshot()
    address = wan["db3"].ipv4 if family == "ipv4" else f"[{wan['db3'].ipv6}]"
    words = ("--no-compress", "--bwlimit", "20M", *options, "db1:/srv/data", f"{address}:/srv/in")
    process = start_transfer(wan, "--report", "/srv/report", *words)
    seen: dict[str, set[int]] = {"tb": set(), "rb": set()}

    def ended() -> bool:
        for host, name in (("db1", "tb"), ("db3", "rb")):
            seen[name] |= buffers_in_use(wan[host], name)
        return process.poll() is not None

    assert eventually(ended, seconds=100)
    result = collect(process)
    report = reported(wan, result)
    assert report["round_trip_seconds"] >= SECONDS
    assert report["link_rate"] > 0
    # The kernel doubles what a program sets.
    assert report["send_buffer"] * 2 in seen["tb"], seen
    assert report["receive_buffer"] * 2 in seen["rb"], seen
    assert re.search(r"link: \S+ \wB/s, round-trip time \d+\.\d ms; send buffer \S+ \wB, receive buffer", result.stderr)
    wan["db3"].run("rm -r /srv/in/data")
    assert_as_before(wan, before)


def test_the_buffers_of_the_kernel_are_left_alone_if_they_are_large_enough(wan: Lab) -> None:
    wan.delay("db1", "db3", 0)
    for host in ("db1", "db3"):
        set_limits(wan[host], HUGE)
    report = copied(wan, "--no-compress")
    assert (report["send_buffer"], report["receive_buffer"]) == (0, 0)
    assert report["link_rate"] > 0


def test_root_of_a_container_that_may_not_set_buffers_copies_with_those_of_the_kernel(wan: Lab) -> None:
    with without_capability(wan["db1"]), without_capability(wan["db3"]):
        report = copied(wan, "--no-compress")
    assert (report["send_buffer"], report["receive_buffer"]) == (0, 0)
    assert report["round_trip_seconds"] >= SECONDS


@contextmanager
def without_capability(host: Host) -> Iterator[None]:
    """Take CAP_NET_ADMIN from all commands of the orchestration host on a host."""
    keys = "/root/.ssh/authorized_keys"
    forced = 'setpriv --bounding-set=-net_admin bash -c \\"$SSH_ORIGINAL_COMMAND\\"'
    host.run(f"mv {keys} {keys}.kept; {{ cat; cat {keys}.kept; }} >{keys}", input=f'command="{forced}" '.encode())
    try:
        yield
    finally:
        host.run(f"mv {keys}.kept {keys}")


def test_one_end_sets_its_buffer_where_the_other_cannot(wan: Lab) -> None:
    set_limits(wan["db1"], TINY)
    with without_capability(wan["db3"]):
        report = copied(wan, "--no-compress")
    assert report["send_buffer"] > 0
    assert report["receive_buffer"] == 0


@pytest.mark.parametrize("flavour", ["openbsd", "traditional", "ncat"])
def test_a_netcat_copies_with_the_buffers_of_the_kernel(wan: Lab, flavour: str) -> None:
    for host in ("db1", "db3"):
        wan[host].netcat(flavour)
        wan[host].hide("socat")
    report = copied(wan, "--no-encrypt", "--no-compress", target=wan["db3"].ipv4)
    assert (report["send_buffer"], report["receive_buffer"]) == (0, 0)
    assert report["round_trip_seconds"] >= SECONDS


def test_without_ss_the_round_trip_time_is_unknown(wan: Lab) -> None:
    wan["db3"].hide("ss")
    report = copied(wan, "--no-compress")
    assert (report["round_trip_seconds"], report["send_buffer"]) == (0, 0)
    assert report["link_rate"] > 0


def test_a_small_copy_has_no_probe(wan: Lab) -> None:
    wan["db1"].run("truncate -s 1M /srv/data/file")
    report = copied(wan)
    assert (report["link_rate"], report["round_trip_seconds"], report["send_buffer"]) == (0, 0, 0)
