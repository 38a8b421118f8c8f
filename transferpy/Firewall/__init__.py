"""The firewall rules that admit the sender of a stream to the port of its receiver; one module for each backend."""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from transferpy.Firewall.backend import FirewallBackend, FirewallRule
from transferpy.model.options import AUTO, FIREWALL_BACKENDS

__all__ = ["FirewallRule", "firewall_backend", "firewall_rules"]


def firewall_backend(name: str) -> FirewallBackend:
    """Return the backend of that name."""
    return cast("FirewallBackend", import_module(f"{__name__}.{name}"))


def firewall_rules(
    listings: Mapping[str, str], choice: str, source_address: str, run_id: str
) -> tuple[FirewallRule, ...]:
    """Return the rules that a connection from ``source_address`` needs on a host.

    Args:
        listings: the output of each firewall tool of the host: of ``-S INPUT`` for iptables, ip6tables and their
            ``-legacy`` variants, with ``:TABLE`` for another table than filter; of ``-j list chains`` for nft.
        choice: the value of ``--firewall``.
        source_address: the IPv4 or IPv6 address of the sender, as the host sees it.
        run_id: the name of the run, which marks the rules.
    """
    chosen = [name for name in FIREWALL_BACKENDS if choice in {AUTO, name}]
    return tuple(
        rule
        for name in chosen
        for rule in firewall_backend(name).rules(
            listings, source_address, f"transferpy-{run_id}", is_requested=choice == name
        )
    )
