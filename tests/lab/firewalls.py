"""The rule sets of the firewalls of the lab, and the commands that load them."""

from __future__ import annotations

from .spec import Firewall

Loader = tuple[tuple[str, ...], str]

_ICMP = {
    "iptables": "-A INPUT -p icmp -j ACCEPT",
    "ip6tables": "-A INPUT -p ipv6-icmp -j ACCEPT",  # IPv6 needs neighbour discovery
}


def _iptables(family: str, *, policy: str = "DROP", last: str = "") -> str:
    return "\n".join(
        [
            "*filter",
            f":INPUT {policy} [0:0]",
            ":FORWARD ACCEPT [0:0]",
            ":OUTPUT ACCEPT [0:0]",
            "-A INPUT -i lo -j ACCEPT",
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            _ICMP[family],
            "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
            *([f"-A INPUT -j {last}"] if last else []),
            "COMMIT",
            "",
        ]
    )


def _nftables(*chains: tuple[str, int]) -> str:
    body = "\n".join(
        f"""    chain {name} {{
        type filter hook input priority {priority}; policy drop;
        iifname "lo" accept
        ct state established,related accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
        tcp dport 22 accept
    }}"""
        for name, priority in chains
    )
    return f"table inet filter {{\n{body}\n}}\n"


def _both_families(suffix: str, *, policy: str = "DROP", last: str = "") -> tuple[Loader, ...]:
    return tuple(
        ((f"{family}{suffix}",), _iptables(family, policy=policy, last=last)) for family in ("iptables", "ip6tables")
    )


_NFT = ("nft", "-f", "-")
_LOADERS: dict[Firewall, tuple[Loader, ...]] = {
    Firewall.NONE: (),
    Firewall.IPTABLES: _both_families("-restore"),
    Firewall.IPTABLES_REJECT: _both_families("-restore", policy="ACCEPT", last="REJECT"),
    Firewall.IPTABLES_DROP: _both_families("-restore", policy="ACCEPT", last="DROP"),
    Firewall.NFTABLES: ((_NFT, _nftables(("input", 0))),),
    Firewall.NFTABLES_TWO: ((_NFT, _nftables(("input", 0), ("strict", 10))),),
    Firewall.BOTH: (*_both_families("-restore"), (_NFT, _nftables(("input", 0)))),
    Firewall.LEGACY: _both_families("-legacy-restore"),
}


def loaders(firewall: str) -> tuple[Loader, ...]:
    """Return the commands, each with its input, that load a firewall in the current network namespace."""
    return _LOADERS[Firewall(firewall)]


def alternatives(firewall: str) -> list[tuple[str, str]]:
    """Return the links in /etc/alternatives that differ from the machine on a host with this firewall."""
    if firewall != Firewall.LEGACY:
        return []
    return [
        (f"{family}{tool}", f"/usr/sbin/{family}-legacy{tool}")
        for family in ("iptables", "ip6tables")
        for tool in ("", "-save", "-restore")
    ]
