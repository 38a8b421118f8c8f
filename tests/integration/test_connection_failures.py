"""Connections that are not established: the message has the reason and the next step, wherever packets are lost."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import eventually, switch_drops, transfer
from lab import Firewall, HostSpec, Lab
from watching import Run, assert_as_before, fill, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers import Result
    from lab import Host

IN_TIME = ("--connect-timeout", "3")
PORTS = "4400-4499"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with a source, a router, and a target for each of some firewalls, with the name of the firewall."""
    kinds = (Firewall.NONE, Firewall.NFTABLES, Firewall.IPTABLES, Firewall.LEGACY)
    targets = {kind.value: HostSpec(firewall=kind) for kind in kinds}
    with Lab.up({"orch": HostSpec(), "source": HostSpec(), "router": HostSpec(), **targets}) as made:
        for kind in ("iptables", "legacy"):
            for tool in ("iptables", "ip6tables"):
                # The table stays when its last rule has gone.
                made[kind].run(f"{tool} -t raw -A PREROUTING; {tool} -t raw -D PREROUTING")
        yield made


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a file on the source, and a directory /srv/in on every host."""
    fill(clean_lab["source"], "/srv/data/file", megabytes=1)
    for host in clean_lab:
        host.run("mkdir -p /srv/in")
    return clean_lab


def address(host: Host, version: int) -> str:
    return host.ipv4 if version == 4 else host.ipv6


def word(host: Host, version: int) -> str:
    """Return the target on the host for the command line, in one IP version."""
    return f"{host.ipv4}:/srv/in" if version == 4 else f"[{host.ipv6}]:/srv/in"


@contextmanager
def chain(host: Host, hook: str, rule: str, *, kind: str = "filter", priority: str = "0") -> Iterator[None]:
    """Add a chain with one rule to the firewall of a host, in a table of its own."""
    made = f"add chain inet other {hook} {{ type {kind} hook {hook} priority {priority}; }}"
    host.run(["nft", f"add table inet other; {made}; add rule inet other {hook} {rule}"])
    try:
        yield
    finally:
        host.run("nft delete table inet other")


@contextmanager
def changed(host: Host, change: str, undo: str) -> Iterator[None]:
    host.run(change)
    try:
        yield
    finally:
        host.run(undo)


def assert_fails(result: Result, message: str) -> None:
    """Assert that a run failed with a message, which is a pattern, behind the error of the connection."""
    assert result.status == 6, result.stderr
    error = (
        rf"failed: source to \S+: no connection to \S+ port 44\d\d within 3 seconds \(--connect-timeout\); {message}"
    )
    assert re.search(error, result.stderr), result.stderr


VERSIONS = pytest.mark.parametrize("version", [4, 6])
DOES_NOT_ANSWER = (
    r"the packets of source arrive at {0}, but {0} does not answer; its firewall can drop them in {1}; allow"
)


@pytest.mark.parametrize(
    ("kind", "options", "version"), [("nftables", (), 4), ("iptables", ("--no-encrypt",), 6), ("legacy", (), 6)]
)
def test_packets_from_another_address_of_the_source_are_named(
    ready: Lab, kind: str, options: tuple[str, ...], version: int
) -> None:
    source, target = ready["source"], ready[kind]
    before = ready.snapshot()
    with translated(source, version) as other:
        result = transfer(ready, *IN_TIME, *options, "source:/srv/data", word(target, version))
    message = (
        rf"packets for this port arrive at \S+ from {other}, but only {address(source, version)} is admitted; source"
    )
    assert_fails(result, message)
    assert_as_before(ready, before)


@contextmanager
def translated(source: Host, version: int) -> Iterator[str]:
    """Translate the address of the source in connections to the ports of transfers; the context has the new address."""
    other, suffix = ("198.18.0.111", "/24") if version == 4 else ("fd00:1ab::111", "/64 nodad")
    family = "ip" if version == 4 else "ip6"
    rule = f"tcp dport {PORTS} snat {family} to {other}"
    # The kernel must not choose the other address by itself.
    with (
        changed(
            source,
            f"ip address add {other}{suffix} dev eth0 preferred_lft 0",
            f"ip address del {other}{suffix.split()[0]} dev eth0",
        ),
        chain(source, "postrouting", rule, kind="nat", priority="100"),
    ):
        yield other


@VERSIONS
def test_another_address_is_named_on_a_target_without_a_firewall(ready: Lab, version: int) -> None:
    before = ready.snapshot()
    with translated(ready["source"], version) as other:
        result = transfer(ready, *IN_TIME, "source:/srv/data", word(ready["none"], version))
    assert result.status == 6, result.stderr
    assert f"from {other}, but only {address(ready['source'], version)} is admitted; source uses" in result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize(
    ("kind", "options", "version"), [("none", (), 6), ("nftables", ("--no-encrypt",), 4), ("iptables", (), 4)]
)
def test_a_chain_of_the_target_that_drops_before_the_rule_is_named(
    ready: Lab, kind: str, options: tuple[str, ...], version: int
) -> None:
    before = ready.snapshot()
    target = ready[kind]
    with chain(target, "prerouting", f"tcp dport {PORTS} drop", priority="-300"):
        result = transfer(ready, *IN_TIME, *options, "source:/srv/data", word(target, version))
    assert_fails(result, DOES_NOT_ANSWER.format(r"\S+", "inet other prerouting"))
    assert_as_before(ready, before)


@pytest.mark.parametrize(("kind", "version"), [("iptables", 4), ("iptables", 6), ("legacy", 4), ("legacy", 6)])
def test_a_raw_table_of_iptables_is_named(ready: Lab, kind: str, version: int) -> None:
    target, tool = ready[kind], "iptables" if version == 4 else "ip6tables"
    rule = f"PREROUTING -p tcp --dport {PORTS.replace('-', ':')} -j DROP"
    with changed(target, f"{tool} -t raw -A {rule}", f"{tool} -t raw -D {rule}"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", word(target, version))
    table = tool if kind == "legacy" else tool.removesuffix("tables")
    assert_fails(result, DOES_NOT_ANSWER.format(r"\S+", f"{table} raw PREROUTING"))


@VERSIONS
def test_a_firewall_that_nobody_opens_is_named(ready: Lab, version: int) -> None:
    for kind, named in (("nftables", "inet filter input"), ("legacy", "ip6?tables filter INPUT")):
        words = ("source:/srv/data", word(ready[kind], version))
        result = transfer(ready, *IN_TIME, "--firewall", "none", *words)
        assert_fails(result, DOES_NOT_ANSWER.format(r"\S+", named))


@VERSIONS
def test_a_target_without_nft_lists_the_chains_of_iptables(ready: Lab, version: int) -> None:
    target = ready["iptables"]
    target.hide("nft")
    result = transfer(ready, *IN_TIME, "--firewall", "none", "source:/srv/data", word(target, version))
    assert_fails(result, DOES_NOT_ANSWER.format(r"\S+", "ip6?tables filter INPUT"))


def test_a_chain_of_the_target_that_drops_the_answers_is_named(ready: Lab) -> None:
    with chain(ready["nftables"], "output", f"tcp sport {PORTS} drop"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", "nftables:/srv/in")
    assert_fails(result, r".* does not answer; its firewall can drop the answers in inet other output; allow")


def test_a_reverse_path_filter_is_a_reason(ready: Lab) -> None:
    target, source = ready["none"], ready["source"]
    # The way back to the source would take another device.
    device = "ip link add other type veth peer name another && ip link set another up && ip link set other up"
    change = f"{device} && ip route add {source.ipv4}/32 dev other && "
    strict = "sysctl -q net.ipv4.conf.{all,eth0}.rp_filter=1"
    # The filter also drops the question of the source for the link-layer address.
    neighbour = f"{target.ipv4} dev eth0"
    link = target.sh("ip -o link show eth0 | sed 's/.*ether //; s/ .*//'")
    with (
        changed(source, f"ip neighbour replace {neighbour} lladdr {link}", f"ip neighbour del {neighbour}"),
        changed(target, change + strict, "ip link del other; sysctl -q net.ipv4.conf.{all,eth0}.rp_filter=0"),
    ):
        result = transfer(ready, *IN_TIME, "source:/srv/data", word(target, 4))
    assert_fails(result, r".* does not answer; no chain of its firewall can drop them; check its routes and its rev")


@VERSIONS
def test_a_chain_of_the_source_that_drops_is_named(ready: Lab, version: int) -> None:
    before = ready.snapshot()
    with chain(ready["source"], "output", f"tcp dport {PORTS} drop"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", word(ready["nftables"], version))
    reason = "no packet for this port left source; its firewall can drop it in inet other output; allow"
    assert_fails(result, reason)
    assert_as_before(ready, before)


@VERSIONS
def test_a_chain_of_the_source_that_rejects_is_named(ready: Lab, version: int) -> None:
    with chain(ready["source"], "output", f"tcp dport {PORTS} reject"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", word(ready["nftables"], version))
    assert result.status == 6, result.stderr
    assert "no packet for this port left source; its firewall can drop it in inet other output; allow" in result.stderr


def test_a_chain_of_the_source_that_drops_the_answers_is_named(ready: Lab) -> None:
    with chain(ready["source"], "input", f"tcp sport {PORTS} drop"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", "nftables:/srv/in")
    reason = "the answers of nftables arrive at source, but source does not accept them; its firewall can drop them in "
    assert_fails(result, f"{reason}inet other input; allow")


@pytest.mark.parametrize(("options", "version"), [((), 4), (("--no-encrypt",), 6)], ids=["tls", "plain"])
def test_a_firewall_between_the_hosts_is_the_reason(ready: Lab, options: tuple[str, ...], version: int) -> None:
    with switch_drops(ready, f"tcp dport {PORTS}"):
        result = transfer(ready, *IN_TIME, *options, "source:/srv/data", word(ready["nftables"], version))
    assert_fails(result, r"packets left source, but none arrived at \S+; a firewall between the two drops them")


def test_answers_that_a_firewall_between_the_hosts_drops_are_the_reason(ready: Lab) -> None:
    with switch_drops(ready, f"tcp sport {PORTS}"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", "nftables:/srv/in")
    assert_fails(result, "nftables answers, but its answers do not arrive at source; a firewall between")


def test_a_next_hop_that_is_down_is_named(ready: Lab) -> None:
    source, target = ready["source"], ready["nftables"]
    route = f"{target.ipv4}/32 via 198.18.0.99"
    with changed(source, f"ip route add {route}", f"ip route del {route}"):
        result = transfer(ready, *IN_TIME, "source:/srv/data", f"{target.ipv4}:/srv/in")
    assert result.status == 6, result.stderr
    assert f"source gets no answer from 198.18.0.99, the next hop to {target.ipv4} (ARP or" in result.stderr


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ("reject with icmp admin-prohibited", "{router} refuses the connection (ICMP); allow"),
        ("reject with tcp reset", "a device between the two refuses the connection in the name of {target}; allow"),
    ],
)
def test_a_router_that_refuses_is_named(ready: Lab, verdict: str, reason: str) -> None:
    source, router, target = ready["source"], ready["router"], ready["nftables"]
    route = f"{target.ipv4}/32 via {router.ipv4}"
    forwarding = "sysctl -q net.ipv4.conf.{all,eth0}.send_redirects=%d net.ipv4.ip_forward=%d"
    with (
        changed(router, forwarding % (0, 1), forwarding % (1, 0)),
        chain(router, "forward", f"tcp dport {PORTS} {verdict}"),
        changed(source, f"ip route add {route}", f"ip route del {route}"),
    ):
        result = transfer(ready, *IN_TIME, "source:/srv/data", f"{target.ipv4}:/srv/in")
    assert result.status == 6, result.stderr
    assert "source: socat failed with status 1" in result.stderr
    assert reason.format(router=router.ipv4, target=target.ipv4) in result.stderr


@VERSIONS
@pytest.mark.parametrize("verdict", ["reject with icmpx port-unreachable", "reject with tcp reset"])
def test_a_target_that_refuses_is_named_with_its_chain(ready: Lab, version: int, verdict: str) -> None:
    with chain(ready["none"], "input", f"tcp dport {PORTS} {verdict}"):
        words = ("source:/srv/data", word(ready["none"], version))
        result = transfer(ready, *IN_TIME, "--firewall", "none", *words)
    assert result.status == 6, result.stderr
    assert re.search(r"socat failed with status 1: .*; \S+ refuses the connection; its firewall can", result.stderr)
    assert "can reject it in inet other input; allow" in result.stderr


@pytest.mark.parametrize("netcat", ["openbsd", "traditional", "ncat"])
def test_every_netcat_gets_the_reason(ready: Lab, netcat: str) -> None:
    source, target = ready["source"], ready["nftables"]
    for host in (source, target):
        host.netcat(netcat)
        host.hide("socat")
    before = ready.snapshot()
    with chain(target, "prerouting", f"tcp dport {PORTS} drop", priority="-300"):
        result = transfer(ready, *IN_TIME, "--no-encrypt", "source:/srv/data", f"{target.ipv4}:/srv/in")
    assert_fails(result, DOES_NOT_ANSWER.format(r"\S+", "inet other prerouting"))
    assert_as_before(ready, before)


def test_the_link_probe_gets_the_reason(ready: Lab) -> None:
    ready["source"].run("mkdir /srv/texts; yes words | head -c 70M >/srv/texts/file")
    before = ready.snapshot()
    with chain(ready["nftables"], "prerouting", f"tcp dport {PORTS} drop", priority="-300"):
        result = transfer(ready, *IN_TIME, "source:/srv/texts", "nftables:/srv/in")
    assert_fails(result, DOES_NOT_ANSWER.format("nftables", "inet other prerouting"))
    assert "listens for" not in result.stderr
    assert_as_before(ready, before)


def test_each_of_several_targets_has_its_own_reason(ready: Lab) -> None:
    targets = ("nftables:/srv/in", "none:/srv/in", "iptables:/srv/in")
    with (
        chain(ready["nftables"], "prerouting", f"tcp dport {PORTS} drop", priority="-300"),
        chain(ready["iptables"], "output", f"tcp sport {PORTS} drop"),
    ):
        result = transfer(ready, *IN_TIME, "source:/srv/data", *targets)
    assert result.status == 6, result.stderr
    assert "nftables does not answer; its firewall can drop them in inet other prerouting; allow" in result.stderr
    assert "iptables does not answer; its firewall can drop the answers in inet other output; allow" in result.stderr
    assert "none:/srv/in/data: ok" in result.stderr


HANGING = 'case "$*" in *"-t list ruleset"*) exec sleep 600 ;; esac; exec "$real" "$@"'


@pytest.mark.parametrize(
    ("tool", "script", "reason"),
    [
        ("nft", HANGING, "the chains of its firewall could not be listed; "),
        # Not even the time limit of the tool helps.
        ("timeout", HANGING, "the chains of its firewall could not be listed; "),
        ("perl", 'case "$*" in *"Watches the packets"*) exit 1 ;; esac; exec "$real" "$@"', ""),
    ],
)
def test_a_tool_of_the_target_that_hangs_or_fails_does_not_hold_the_run(
    ready: Lab, tool: str, script: str, reason: str
) -> None:
    before = ready.snapshot()
    words = ("--firewall", "none", "source:/srv/data", "nftables:/srv/in")
    with replaced(ready["nftables"], tool, script):
        result = transfer(ready, *IN_TIME, *words)
    expected = f".* nftables does not answer; {reason}" if reason else r"is there a firewall between the two\?"
    assert_fails(result, expected)
    assert_as_before(ready, before)


def test_nothing_watches_packets_any_more_when_the_connection_is_made(ready: Lab) -> None:
    """A watch costs time for each packet of a fast stream."""
    hosts = (ready["source"], ready["nftables"])
    ready["source"].shape("400kbit")
    with Run(ready, "source:/srv/data", "nftables:/srv/in") as run:
        run.wait_for_stream(ready["nftables"])
        for host in hosts:
            assert eventually(lambda: not host.sh("pgrep -f '[W]atches the packets'; true"))  # noqa: B023 # called at once
        run.assert_streaming()
        ready["source"].shape(None)
        assert run.end().status == 0, run.log
