"""The lab: test hosts as namespaces of this machine, with real sshd, cumin and firewalls."""

from .host import CommandFailed, Host
from .lab import Lab
from .snapshot import Snapshot, difference
from .spec import CHECKOUT, DEFAULT_HOSTS, Firewall, HostSpec, LabError, SystemMissingError

__all__ = [
    "CHECKOUT",
    "DEFAULT_HOSTS",
    "CommandFailed",
    "Firewall",
    "Host",
    "HostSpec",
    "Lab",
    "LabError",
    "Snapshot",
    "SystemMissingError",
    "difference",
]
