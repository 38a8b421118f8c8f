"""The backend for iptables, ip6tables and their variants for the older tables of the kernel."""

from collections.abc import Iterator, Mapping

from transferpy.Firewall.backend import Admission, FirewallBackend, FirewallRule
from transferpy.stream.commands import Command
from transferpy.stream.transports import PORT

_LOCK_SECONDS = "30"  # concurrent runs hold the lock of iptables for milliseconds each


def filters(listing: str) -> bool:
    """Return whether the output of ``iptables -S INPUT`` has a policy or a rule that can refuse a packet."""
    return any(line != "-P INPUT ACCEPT" for line in listing.splitlines() if line)


class _IptablesBackend(FirewallBackend):
    """The listings are those of ``-S INPUT``."""

    tool = package = "iptables"

    def rules(self, listings: Mapping[str, str], admission: Admission, *, is_requested: bool) -> Iterator[FirewallRule]:
        own_tool = "ip6tables" if admission.is_ipv6 else "iptables"
        for tool in (own_tool, f"{own_tool}-legacy"):
            listing = listings.get(tool, "")
            # If the user asks for a firewall that cannot be read, adding the rule fails with the reason. A rule in a
            # firewall that filters nothing would open nothing, and leave the empty table of the tool behind.
            is_unreadable = is_requested and tool in listings and not listing
            if filters(listing) or is_unreadable:
                yield _rule(tool, admission)


def _rule(tool: str, admission: Admission) -> FirewallRule:
    rule = (
        *("-s", admission.address, "-p", "tcp", "--dport", PORT),
        *("-m", "comment", "--comment", admission.comment, "-j", "ACCEPT"),
    )
    return FirewallRule(
        tool=tool,
        # At the top: behind a final REJECT a rule opens nothing.
        opening=Command((tool, "-w", _LOCK_SECONDS, "-I", "INPUT", "1", *rule)),
        closing=Command(("delete_while_present", tool, *rule)),
    )


BACKEND = _IptablesBackend()
