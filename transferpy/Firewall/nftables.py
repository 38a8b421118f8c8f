"""The backend for nftables."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from transferpy.Firewall.backend import Admission, FirewallBackend, FirewallRule
from transferpy.stream.commands import Command
from transferpy.stream.transports import PORT


@dataclass(frozen=True)
class _Chain:
    family: str
    table: str
    name: str


class _NftablesBackend(FirewallBackend):
    """The listing is that of ``-j list chains``."""

    tool = "nft"
    package = "nftables"

    def rules(self, listings: Mapping[str, str], admission: Admission, *, is_requested: bool) -> Iterator[FirewallRule]:
        family = "ip6" if admission.is_ipv6 else "ip"
        # The chain of iptables-nft is left to iptables, which cannot read a rule that nft adds to it.
        chain_of_iptables = _Chain(family, "filter", "INPUT")
        has_iptables = listings.get("ip6tables" if admission.is_ipv6 else "iptables")
        for chain in _input_chains(listings.get("nft", ""), family):
            if is_requested or not has_iptables or chain != chain_of_iptables:
                yield _rule(chain, family, admission)


def _input_chains(listing: str, family: str) -> list[_Chain]:
    """Return the base chains that filter input of ``family``.

    An accept in one chain does not overrule a drop in another base chain on the same hook, so each needs a rule.
    """
    try:
        chains = [item["chain"] for item in json.loads(listing)["nftables"] if "chain" in item]
        return [
            _Chain(str(chain["family"]), str(chain["table"]), str(chain["name"]))
            for chain in chains
            if chain.get("hook") == "input" and chain.get("type") == "filter" and chain["family"] in ("inet", family)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []  # not the output of nft


def _rule(chain: _Chain, family: str, admission: Admission) -> FirewallRule:
    where = (chain.family, chain.table, chain.name)
    comment = f'"{admission.comment}"'
    rule = (family, "saddr", admission.address, "tcp", "dport", PORT, "accept", "comment", comment)
    return FirewallRule(
        tool="nft",
        opening=Command(("nft", "insert", "rule", *where, *rule)),
        closing=Command(("nft_delete_commented", *where, admission.comment)),
    )


BACKEND = _NftablesBackend()
