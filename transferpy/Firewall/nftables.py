"""The backend for nftables."""

import json
from collections.abc import Iterator, Mapping

from transferpy.Firewall import firewalld, iptables
from transferpy.Firewall.backend import FirewallRule
from transferpy.stream.commands import Command
from transferpy.stream.transports import PORT

TOOL = "nft"
PACKAGE = "nftables"
IS_DAEMON = False
_Chain = tuple[str, str, str]  # family, table, name


def rules(listings: Mapping[str, str], address: str, comment: str, *, is_requested: bool) -> Iterator[FirewallRule]:
    """Yield the rules for an address; the listing is that of ``-j list chains``."""
    family, own_tool = ("ip6", "ip6tables") if ":" in address else ("ip", "iptables")
    for chain in _input_chains(listings.get(TOOL, ""), family):
        is_of_firewalld = chain[1] == "firewalld" and bool(listings.get(firewalld.TOOL)) and not is_requested
        if chain not in _chains_of_iptables(listings, family, own_tool) and not is_of_firewalld:
            match = (family, "saddr", address, "tcp", "dport", PORT, "accept", "comment", f'"{comment}"')
            yield FirewallRule(
                tool=TOOL,
                opening=Command(("nft", "insert", "rule", *chain, *match)),
                closing=Command(("nft_delete_commented", PORT, comment)),
            )
    if is_requested:
        yield from iptables.tool_rules(listings, own_tool, address, comment, is_requested=False)


def _chains_of_iptables(listings: Mapping[str, str], family: str, tool: str) -> list[_Chain]:
    """Return the chains that iptables manages on top of nftables.

    iptables does not recognize a rule that nft adds to them, and a reload by iptables removes its comment.
    """
    return [(family, table, "INPUT") for table in iptables.TABLES if iptables.table_listing(listings, tool, table)]


def _input_chains(listing: str, family: str) -> list[_Chain]:
    """Return the base chains that filter input of ``family``.

    An accept in one chain does not overrule a drop in another base chain on the same hook, so each needs a rule.
    """
    try:
        chains = [item["chain"] for item in json.loads(listing)["nftables"] if "chain" in item]
        return [
            (str(chain["family"]), str(chain["table"]), str(chain["name"]))
            for chain in chains
            if chain.get("hook") == "input" and chain.get("type") == "filter" and chain["family"] in ("inet", family)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # not the output of nft
