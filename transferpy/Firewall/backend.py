"""The interface of a firewall backend."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from transferpy.stream.commands import Command


@dataclass(frozen=True, kw_only=True)
class FirewallRule:
    """A rule that admits one source address to one TCP port and carries the name of the run.

    Commands that are not programs are functions of ``host/firewall``.

    Attributes:
        tool: the tool of the firewall.
        opening: the command that adds the rule.
        closing: the command that removes the rule; it succeeds if the rule does not exist.
    """

    tool: str
    opening: Command
    closing: Command


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What a rule has to admit.

    Attributes:
        address: the IPv4 or IPv6 address of the sender, as the host sees it.
        comment: the text that marks the rules of the run.
    """

    address: str
    comment: str

    @property
    def is_ipv6(self) -> bool:
        """Whether the sender has an IPv6 address."""
        return ":" in self.address


class FirewallBackend(ABC):
    """One kind of firewall.

    Attributes:
        tool: the program without which a host does not have this kind of firewall.
        package: the Debian package of the program.
    """

    tool: ClassVar[str]
    package: ClassVar[str]

    @abstractmethod
    def rules(self, listings: Mapping[str, str], admission: Admission, *, is_requested: bool) -> Iterator[FirewallRule]:
        """Yield the rules that a connection needs on a host.

        Args:
            listings: the output of each firewall tool of the host.
            admission: the sender that the rules have to admit.
            is_requested: whether the user asked for this backend; else it adds a rule only where it filters.
        """
