"""The backend for firewalld, which alone changes its tables."""

from collections.abc import Iterator, Mapping

from transferpy.Firewall.backend import FirewallRule
from transferpy.stream.commands import Command, join
from transferpy.stream.transports import PORT

TOOL = "firewall-cmd"
PACKAGE = "firewalld"
IS_DAEMON = True


def rules(listings: Mapping[str, str], address: str, comment: str, *, is_requested: bool) -> Iterator[FirewallRule]:
    """Yield the rule for an address, if the daemon runs; the listing is its state.

    A rich rule has no comment. Its priority, which comes before that of all other rules, distinguishes it from the
    rules of an administrator.
    """
    del comment, is_requested
    if listings.get(TOOL):
        family = "ipv6" if ":" in address else "ipv4"
        rule = join(
            f'rule priority="-32768" family="{family}" source address="{address}" port port="',
            *(PORT, '" protocol="tcp" accept'),
        )
        yield FirewallRule(
            tool=TOOL,
            opening=Command(("firewalld_add", rule)),
            closing=Command(("firewalld_remove", rule)),
        )
