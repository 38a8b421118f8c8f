"""The tools that hosts need: one row for each; the preflight, the checks and the manual derive from this table.

The programs of codecs and of digest algorithms are rows of their own tables. Programs that every Debian system has
(coreutils, findutils and the like) are listed where something else depends on them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from transferpy.model.codecs import programs
from transferpy.model.digests import ALGORITHMS
from transferpy.model.options import TransferOptions


@dataclass(frozen=True, kw_only=True)
class HostRole:
    """The role of a host in a run, which decides which tools the host needs."""

    options: TransferOptions
    is_source: bool
    is_target: bool


@dataclass(frozen=True, kw_only=True)
class HostTool:
    """A tool that hosts need."""

    # the programs that can stand in for each other, the best first, with the Debian package of each; empty for a
    # program that Debian does not have
    packages: Mapping[str, str]
    needed_for: str = "every transfer"  # when a host needs the tool, for the manual
    is_needed: Callable[[HostRole], bool] = lambda _role: True


BACKUP_TOOL = HostTool(
    packages={"mariadb-backup": "mariadb-backup", "mariabackup": "mariadb-backup", "xtrabackup": ""},
    needed_for="the source of a hot copy; its targets with --prepare",
    is_needed=lambda role: (
        role.options.transfer_type == "xtrabackup" and (role.is_source or (role.is_target and role.options.prepare))
    ),
)
UNPACK_TOOL = HostTool(
    packages={"mbstream": "mariadb-backup", "xbstream": ""},
    needed_for="the targets of a hot copy",
    is_needed=lambda role: role.options.transfer_type == "xtrabackup" and role.is_target,
)
DATABASE_CLIENT = HostTool(
    packages={"mariadb": "mariadb-client", "mysql": "mariadb-client"},
    needed_for="the source of a hot copy",
    is_needed=lambda role: role.options.transfer_type == "xtrabackup" and role.is_source,
)
HOST_TOOLS = (
    HostTool(packages={"tar": "tar"}),
    HostTool(packages={"flock": "util-linux"}),
    HostTool(packages={"awk": "mawk"}),
    HostTool(packages={"cmp": "diffutils"}),
    HostTool(packages={"md5sum": "coreutils"}),
    HostTool(packages={"getent": "libc-bin"}),
    HostTool(packages={"perl": "perl-base"}),
    HostTool(packages={"ss": "iproute2", "netstat": "net-tools"}),
    HostTool(packages={"ip": "iproute2"}, needed_for="the source", is_needed=lambda role: role.is_source),
    # Without encryption, a netcat can stand in for socat; the checks know which netcats can.
    HostTool(
        packages={"socat": "socat"},
        needed_for="every host, with --encrypt",
        is_needed=lambda role: role.options.encrypt,
    ),
    HostTool(
        packages={"openssl": "openssl"},
        needed_for="every host, with --encrypt",
        is_needed=lambda role: role.options.encrypt,
    ),
    DATABASE_CLIENT,
    BACKUP_TOOL,
    UNPACK_TOOL,
)

NETCATS = ("nc", "nc.openbsd", "ncat", "nc.traditional", "netcat")
"""The names of netcats; the preflight finds out the flavour of each."""


def packages() -> Mapping[str, str]:
    """Return the programs that the preflight looks for, with the Debian package of each."""
    return {
        **{name: package for tool in HOST_TOOLS for name, package in tool.packages.items()},
        **{program.name: program.package for program in programs()},
        **{row.argv[0]: row.package for row in ALGORITHMS.values()},
    }
