"""The interface of a firewall backend, which is a module, and of its rules."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from transferpy.stream.commands import Command


@dataclass(frozen=True, kw_only=True)
class FirewallRule:
    """A rule that admits one source address to one TCP port and carries the name of the run."""

    tool: str  # the tool of the firewall
    opening: Command  # adds the rule
    closing: Command  # removes the rule; a function of host/firewall, which succeeds if the rule does not exist


class FirewallBackend(Protocol):
    """One kind of firewall."""

    TOOL: str  # the program without which a host does not have this kind of firewall
    PACKAGE: str  # the Debian package of the program
    IS_DAEMON: bool  # whether an empty listing means that this kind of firewall does not run

    def rules(
        self, listings: Mapping[str, str], address: str, comment: str, *, is_requested: bool
    ) -> Iterator[FirewallRule]:
        """Yield the rules that a connection needs on a host.

        Args:
            listings: the output of each firewall tool of the host.
            address: the IPv4 or IPv6 address of the sender, as the host sees it.
            comment: the text that marks the rules of the run.
            is_requested: whether the user asked for this backend; else it adds a rule only where it filters.
        """
