"""The backend for iptables, ip6tables and their variants for the older tables of the kernel."""

from collections.abc import Iterator, Mapping

from transferpy.Firewall.backend import FirewallRule
from transferpy.stream.commands import Command
from transferpy.stream.transports import PORT

TOOL = PACKAGE = "iptables"
_LOCK_SECONDS = "30"  # concurrent runs hold the lock of iptables for milliseconds each


def rules(listings: Mapping[str, str], address: str, comment: str, *, is_requested: bool) -> Iterator[FirewallRule]:
    """Yield the rules for an address; the listings are those of ``-S INPUT``."""
    family = "ip6tables" if ":" in address else "iptables"
    for tool in (family, f"{family}-legacy"):
        listing = listings.get(tool, "")
        # If the user asks for a firewall that cannot be read, adding the rule fails with the reason. A rule in a
        # firewall that filters nothing would open nothing, and leave the empty table of the tool behind.
        if filters(listing) or (is_requested and tool in listings and not listing):
            yield _rule(tool, address, comment)


def filters(listing: str) -> bool:
    """Return whether the output of ``iptables -S INPUT`` has a policy or a rule that can refuse a packet."""
    return any(line != "-P INPUT ACCEPT" for line in listing.splitlines() if line)


def _rule(tool: str, address: str, comment: str) -> FirewallRule:
    match = ("-s", address, "-p", "tcp", "--dport", PORT, "-m", "comment", "--comment", comment, "-j", "ACCEPT")
    return FirewallRule(
        tool=tool,
        # At the top: behind a final REJECT a rule opens nothing.
        opening=Command((tool, "-w", _LOCK_SECONDS, "-I", "INPUT", "1", *match)),
        closing=Command(("delete_while_present", tool, *match)),
    )
