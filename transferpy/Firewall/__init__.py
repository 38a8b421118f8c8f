"""Which doors a target's firewalls need, and how each is opened and closed.

A door is a rule that admits one source address to one TCP port and carries the name of the run. Commands that are not
programs (``delete_while_present``, ``nft_delete_commented``) are functions of ``host.sh``.
"""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass

from transferpy.model.options import FirewallChoice
from transferpy.stream.commands import Command, Variable

PORT = Variable("port")
_LOCK_SECONDS = "30"  # concurrent runs hold the lock of iptables for milliseconds each


@dataclass(frozen=True, kw_only=True)
class FirewallRule:
    """One rule: the command that adds it, and the one that removes it and is content when it is not there."""

    tool: str
    opening: Command
    closing: Command


def firewall_rules(
    rules: Mapping[str, str], choice: FirewallChoice, source_address: str, run_id: str
) -> tuple[FirewallRule, ...]:
    """Return the doors that a connection from ``source_address`` needs on a host.

    Args:
        rules: what each firewall tool of the host printed: ``-S INPUT`` of iptables, ip6tables and their ``-legacy``
            variants, ``-j list chains`` of nft.
        choice: which kind of firewall to open; ``auto`` opens each that really filters.
        source_address: the IPv4 or IPv6 address that the host will see.
        run_id: the name that the rules carry.
    """
    if choice is FirewallChoice.NONE:
        return ()
    ipv6 = ipaddress.ip_address(source_address).version == 6  # noqa: PLR2004 # the number of the protocol
    comment = f"transferpy-{run_id}"
    own_tool = "ip6tables" if ipv6 else "iptables"
    found: list[FirewallRule] = []
    for tool in (own_tool, f"{own_tool}-legacy"):
        listing = rules.get(tool, "")
        # Who asks for iptables where it cannot be read gets to know why. Where it filters nothing, a rule would open
        # nothing and leave the tool's empty table behind.
        unreadable = choice is FirewallChoice.IPTABLES and tool in rules and not listing
        if choice is not FirewallChoice.NFTABLES and (filters(listing) or unreadable):
            found.append(_iptables_rule(tool, source_address, comment))
    if choice is not FirewallChoice.IPTABLES:
        # The chain of iptables-nft is left to its own tool, which cannot read what nft writes into it.
        skipped = _Chain("ip6" if ipv6 else "ip", "filter", "INPUT") if rules.get(own_tool) else None
        chains = _input_chains(rules.get("nft", ""), "ip6" if ipv6 else "ip")
        found += [
            _nft_rule(chain, source_address, comment)
            for chain in chains
            if choice is FirewallChoice.NFTABLES or chain != skipped
        ]
    return tuple(found)


def filters(listing: str) -> bool:
    """Tell whether ``iptables -S INPUT`` printed anything that can refuse a packet."""
    return any(line != "-P INPUT ACCEPT" for line in listing.splitlines() if line)


def _iptables_rule(tool: str, source_address: str, comment: str) -> FirewallRule:
    rule = (
        *("-s", source_address, "-p", "tcp", "--dport", PORT),
        *("-m", "comment", "--comment", comment, "-j", "ACCEPT"),
    )
    return FirewallRule(
        tool=tool,
        # At the top: behind a final REJECT a rule opens nothing.
        opening=Command((tool, "-w", _LOCK_SECONDS, "-I", "INPUT", "1", *rule)),
        closing=Command(("delete_while_present", tool, *rule)),
    )


@dataclass(frozen=True)
class _Chain:
    family: str
    table: str
    name: str


def _input_chains(listing: str, family: str) -> list[_Chain]:
    """Return the base chains that filter input of ``family``.

    An accept in one chain does not overrule a drop in another base chain on the same hook, so each needs a door.
    """
    try:
        chains = [item["chain"] for item in json.loads(listing)["nftables"] if "chain" in item]
        return [
            _Chain(str(chain["family"]), str(chain["table"]), str(chain["name"]))
            for chain in chains
            if chain.get("hook") == "input" and chain.get("type") == "filter" and chain["family"] in ("inet", family)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # not what nft prints


def _nft_rule(chain: _Chain, source_address: str, comment: str) -> FirewallRule:
    family = "ip6" if ":" in source_address else "ip"
    where = (chain.family, chain.table, chain.name)
    rule = (family, "saddr", source_address, "tcp", "dport", PORT, "accept", "comment", f'"{comment}"')
    return FirewallRule(
        tool="nft",
        opening=Command(("nft", "insert", "rule", *where, *rule)),
        closing=Command(("nft_delete_commented", *where, comment)),
    )
