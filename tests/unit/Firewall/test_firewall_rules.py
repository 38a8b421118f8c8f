"""The firewall rules: one in each chain that filters, and a command that removes each."""

import json
from typing import TYPE_CHECKING

import pytest
from bash import any_text
from hypothesis import given
from hypothesis import strategies as st

from transferpy.Firewall import firewall_backend, firewall_rules, firewalld, iptables, nftables
from transferpy.Firewall.iptables import filters
from transferpy.host import assemble
from transferpy.model.options import FIREWALL_BACKENDS
from transferpy.stream.renderer import render_command

if TYPE_CHECKING:
    from transferpy.Firewall.backend import FirewallBackend

DROP, ACCEPT = "-P INPUT DROP\n", "-P INPUT ACCEPT\n"
REJECTS = ACCEPT + "-A INPUT -j REJECT --reject-with icmp-port-unreachable\n"
V4, V6 = "198.18.0.1", "2001:db8::1"


def chains(*names: str) -> str:
    """Return the output of ``nft -j list chains``: chains of the hook input, or as a fourth and fifth word define."""
    listed: list[dict[str, object]] = [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}}]
    for name in names:
        family, table, chain, *rest = name.split()
        base = {"type": rest[0] if rest else "filter", "hook": rest[1] if rest[1:] else "input", "prio": 0}
        regular = rest == ["regular"]
        listed.append({"chain": {"family": family, "table": table, "name": chain, **({} if regular else base)}})
    return json.dumps({"nftables": listed})


def where(rules: dict[str, str], choice: str, address: str) -> list[str]:
    """Return tool and chain of each rule."""
    found = [render_command(rule.opening) for rule in firewall_rules(rules, choice, address, "r1")]
    return [
        text.split(" -w ")[0] + text.partition(" -j ACCEPT")[2] if " -w " in text else " ".join(text.split()[3:6])
        for text in found
    ]


@pytest.mark.parametrize(
    ("rules", "v4", "v6"),
    [
        ({}, [], []),
        ({"iptables": "", "ip6tables": "", "nft": ""}, [], []),
        ({"iptables": ACCEPT, "ip6tables": ACCEPT, "nft": chains()}, [], []),
        ({"iptables": DROP, "ip6tables": ACCEPT}, ["iptables"], []),
        ({"iptables": ACCEPT, "ip6tables": DROP}, [], ["ip6tables"]),
        ({"iptables": REJECTS, "ip6tables": REJECTS}, ["iptables"], ["ip6tables"]),
        ({"iptables": ACCEPT, "iptables-legacy": DROP}, ["iptables-legacy"], []),
        ({"iptables": DROP, "iptables-legacy": DROP}, ["iptables", "iptables-legacy"], []),
        ({"nft": chains("inet fw in")}, ["inet fw in"], ["inet fw in"]),
        (
            {"nft": chains("inet fw in", "inet other in2")},
            ["inet fw in", "inet other in2"],
            ["inet fw in", "inet other in2"],
        ),
        ({"nft": chains("ip fw in", "ip6 fw in")}, ["ip fw in"], ["ip6 fw in"]),
        ({"nft": chains("inet fw out filter output", "inet fw n nat input", "inet fw r regular", "arp a in")}, [], []),
        # the chain of iptables-nft shows in both tools, and belongs to one
        ({"iptables": DROP, "nft": chains("ip filter INPUT")}, ["iptables"], []),
        ({"iptables": ACCEPT, "nft": chains("ip filter INPUT")}, [], []),
        (
            {"ip6tables": DROP, "nft": chains("ip6 filter INPUT", "inet fw in")},
            ["inet fw in"],
            ["ip6tables", "inet fw in"],
        ),
        # so do those of its other tables, which need a rule only if they can drop a packet
        (
            {"iptables": DROP, "iptables:mangle": ACCEPT, "iptables:security": DROP, "nft": chains("ip mangle INPUT")},
            ["iptables", "iptables -t security"],
            [],
        ),
        ({"iptables": ACCEPT, "iptables:mangle": DROP, "nft": chains("ip mangle INPUT")}, ["iptables -t mangle"], []),
        ({"iptables-legacy": ACCEPT, "iptables-legacy:mangle": DROP}, ["iptables-legacy -t mangle"], []),
        ({"ip6tables": DROP, "ip6tables:mangle": DROP}, [], ["ip6tables", "ip6tables -t mangle"]),
        (
            {"iptables": DROP, "iptables:mangle": "", "nft": chains("ip mangle INPUT")},
            ["iptables", "ip mangle INPUT"],
            [],
        ),
        # without iptables, or where it cannot read it, it is nft's
        ({"nft": chains("ip filter INPUT")}, ["ip filter INPUT"], []),
        ({"iptables": "", "nft": chains("ip filter INPUT")}, ["ip filter INPUT"], []),
    ],
)
def test_auto_opens_each_chain_that_filters(rules: dict[str, str], v4: list[str], v6: list[str]) -> None:
    assert where(rules, "auto", V4) == v4
    assert where(rules, "auto", V6) == v6


BOTH = {
    "iptables": DROP,
    "iptables-legacy": ACCEPT,
    "ip6tables": ACCEPT,
    "nft": chains("ip filter INPUT", "inet fw in"),
}


@pytest.mark.parametrize(
    ("choice", "rules", "v4", "v6"),
    [
        ("none", BOTH, [], []),
        ("auto", BOTH, ["iptables", "inet fw in"], ["inet fw in"]),
        ("iptables", BOTH, ["iptables"], []),
        ("nftables", BOTH, ["inet fw in", "iptables"], ["inet fw in"]),
        ("nftables", {"nft": chains("ip filter INPUT")}, ["ip filter INPUT"], []),
        # a firewall that was asked for and cannot be read fails when the rule is added
        ("iptables", {"iptables": "", "ip6tables": ""}, ["iptables"], ["ip6tables"]),
        ("auto", {"iptables": "", "ip6tables": ""}, [], []),
    ],
)
def test_a_choice_opens_firewalls_of_one_kind_only(
    choice: str, rules: dict[str, str], v4: list[str], v6: list[str]
) -> None:
    assert where(rules, choice, V4) == v4
    assert where(rules, choice, V6) == v6


RUNNING = {"firewall-cmd": "running\n", "nft": chains("inet firewalld filter_INPUT", "inet fw in")}
RICH = """'rule priority="-32768" family="%s" source address="%s" port port="'"${port}"'" protocol="tcp" accept'"""


@pytest.mark.parametrize(
    ("choice", "tools"),
    [("auto", ["nft", "firewall-cmd"]), ("firewalld", ["firewall-cmd"]), ("nftables", ["nft", "nft"]), ("none", [])],
)
def test_the_table_of_firewalld_is_changed_by_firewalld(choice: str, tools: list[str]) -> None:
    assert [rule.tool for rule in firewall_rules(RUNNING, choice, V4, "r1")] == tools


@pytest.mark.parametrize(("address", "family"), [(V4, "ipv4"), (V6, "ipv6")])
def test_a_rich_rule_admits_one_address_to_one_port(address: str, family: str) -> None:
    (rule,) = firewall_rules({"firewall-cmd": "running\n"}, "auto", address, "r1")
    assert render_command(rule.opening) == f"firewalld_add {RICH % (family, address)}"
    assert render_command(rule.closing) == f"firewalld_remove {RICH % (family, address)}"


def test_a_firewalld_that_does_not_run_gets_no_rule() -> None:
    stopped = {"firewall-cmd": "", "nft": chains("inet firewalld filter_INPUT")}
    assert [rule.tool for rule in firewall_rules(stopped, "auto", V4, "r1")] == ["nft"]
    assert firewall_rules(stopped, "firewalld", V4, "r1") == ()


SPECIFICATION = '-s 198.18.0.1 -p tcp --dport "${port}" -m comment --comment transferpy-r1 -j ACCEPT'
NFT_RULE = """tcp dport "${port}" accept comment '"transferpy-r1"'"""


@pytest.mark.parametrize(
    ("rules", "address", "opening", "closing"),
    [
        (
            {"iptables": DROP},
            V4,
            f"iptables -w 30 -I INPUT 1 {SPECIFICATION}",
            f"delete_while_present iptables {SPECIFICATION}",
        ),
        (
            {"nft": chains("inet fw in")},
            V4,
            f"nft insert rule inet fw in ip saddr 198.18.0.1 {NFT_RULE}",
            'nft_delete_commented "${port}" transferpy-r1',
        ),
        (
            {"nft": chains("inet fw in")},
            V6,
            f"nft insert rule inet fw in ip6 saddr 2001:db8::1 {NFT_RULE}",
            'nft_delete_commented "${port}" transferpy-r1',
        ),
    ],
)
def test_a_rule_admits_one_address_to_one_port_and_has_the_name_of_the_run(
    rules: dict[str, str], address: str, opening: str, closing: str
) -> None:
    (rule,) = firewall_rules(rules, "auto", address, "r1")
    assert render_command(rule.opening) == opening
    assert render_command(rule.closing) == closing


@pytest.mark.parametrize(
    ("listing", "expected"),
    [("", False), (ACCEPT, False), (DROP, True), (REJECTS, True), (ACCEPT + "-A INPUT -s 10.0.0.1 -j DROP\n", True)],
)
def test_a_listing_filters_if_it_can_refuse_a_packet(listing: str, *, expected: bool) -> None:
    assert filters(listing) is expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["inet", "filter", "input"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["nftables", "chain", "family", "table", "name", "type", "hook"]), inner)
    ),
)


@given(
    listing=st.one_of(any_text, json_values.map(json.dumps), st.just("[" * 100_000)), address=st.sampled_from([V4, V6])
)
def test_an_invalid_listing_needs_no_rule(listing: str, address: str) -> None:
    for rule in firewall_rules({"nft": listing, "iptables": ACCEPT}, "auto", address, "r1"):
        assert render_command(rule.opening).startswith("nft insert rule inet ")


@pytest.mark.parametrize("file", ["agent/listen", "lib/recovery"])
def test_a_script_that_closes_a_firewall_has_the_functions_of_each_backend(file: str) -> None:
    rules = firewall_rules({"iptables": DROP, "nft": chains("inet filter input")}, "auto", V4, "r1")
    assert {rule.tool for rule in rules} == {"iptables", "nft"}
    script = assemble(file)
    assert [rule.tool for rule in rules if f"\n{rule.closing.argv[0]}() {{" not in script] == []


def test_each_backend_is_a_module_with_the_interface_of_a_backend() -> None:
    backends: list[FirewallBackend] = [iptables, nftables, firewalld]  # mypy compares the modules with the interface
    assert [firewall_backend(name) for name in FIREWALL_BACKENDS] == backends
