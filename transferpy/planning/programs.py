"""The choice of programs among those that a host has."""

from collections.abc import Iterable

from transferpy.model.facts import HostFacts
from transferpy.model.tools import packages
from transferpy.stream.transports import netcat_flavour, netcat_supports_ipv6


def best_netcat(facts: HostFacts) -> tuple[str, str] | None:
    """Return program and flavour of the netcat to use on a host, preferably one that supports IPv6; None if none."""
    known = [(name, flavour) for name, text in facts.netcats.items() if (flavour := netcat_flavour(text))]
    return min(known, key=lambda found: not netcat_supports_ipv6(found[1]), default=None)


def first_available(programs: Iterable[str], facts: HostFacts) -> str | None:
    """Return the first of ``programs`` that a host has."""
    return next((program for program in programs if program in facts.tools), None)


def is_ipv6(address: str) -> bool:
    """Return whether an IP address is an IPv6 address."""
    return ":" in address


def missing_program(facts: HostFacts, *programs: str) -> str:
    """Return the message that a host lacks ``programs``, any of which would do."""
    package_of = packages()
    first, *others = programs
    text = f"{facts.host}: {first} is missing (Debian package {package_of[first]})"
    alternatives = [name for name in others if package_of[name] not in {"", package_of[first]}]
    return text + "".join(f"; alternative: {name} (Debian package {package_of[name]})" for name in alternatives)
