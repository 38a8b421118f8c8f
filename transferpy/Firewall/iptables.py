"""The backend for iptables, ip6tables and their variants for the older tables of the kernel."""

from collections.abc import Iterator, Mapping

from transferpy.Firewall.backend import FirewallRule
from transferpy.stream.commands import Command
from transferpy.stream.transports import PORT

TOOL = PACKAGE = "iptables"
IS_DAEMON = False
_LOCK_SECONDS = "30"  # concurrent runs hold the lock of iptables for milliseconds each


FILTER = "filter"
TABLES = (FILTER, "mangle", "security")
"""The tables with a chain INPUT that can refuse a packet."""


def rules(listings: Mapping[str, str], address: str, comment: str, *, is_requested: bool) -> Iterator[FirewallRule]:
    """Yield the rules for an address."""
    family = "ip6tables" if ":" in address else "iptables"
    for tool in (family, f"{family}-legacy"):
        yield from tool_rules(listings, tool, address, comment, is_requested=is_requested)


def tool_rules(
    listings: Mapping[str, str], tool: str, address: str, comment: str, *, is_requested: bool
) -> Iterator[FirewallRule]:
    """Yield the rules that one tool adds for an address; the other arguments are those of ``rules``."""
    for table in TABLES:
        listing = table_listing(listings, tool, table)
        # If the user asks for a firewall that cannot be read, adding the rule fails with the reason. A rule in a
        # firewall that filters nothing would open nothing, and leave the empty table of the tool behind.
        is_unreadable = table == FILTER and tool in listings and not listing
        if filters(listing) or (is_requested and is_unreadable):
            yield _rule(tool, table, address, comment)


def table_listing(listings: Mapping[str, str], tool: str, table: str) -> str:
    """Return the listing of one table: that of ``TOOL`` is of the table filter, that of ``TOOL:TABLE`` of another."""
    return listings.get(tool if table == FILTER else f"{tool}:{table}", "")


def filters(listing: str) -> bool:
    """Return whether the output of ``iptables -S INPUT`` has a policy or a rule that can refuse a packet."""
    return any(line != "-P INPUT ACCEPT" for line in listing.splitlines() if line)


def _rule(tool: str, table: str, address: str, comment: str) -> FirewallRule:
    match = ("-s", address, "-p", "tcp", "--dport", PORT, "-m", "comment", "--comment", comment, "-j", "ACCEPT")
    where = () if table == FILTER else ("-t", table)
    return FirewallRule(
        tool=tool,
        # At the top: behind a final REJECT a rule opens nothing.
        opening=Command((tool, "-w", _LOCK_SECONDS, "-I", "INPUT", "1", *match, *where)),
        closing=Command(("delete_while_present", tool, *match, *where)),
    )
