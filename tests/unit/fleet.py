"""Simulated hosts: requests, and the answers of hosts."""

import tarfile
from collections.abc import Mapping
from dataclasses import replace

from transferpy.Exceptions import PreflightError
from transferpy.model.facts import DatabaseFacts, HostFacts, RouteFacts, SourceFacts, TargetFacts, TargetState
from transferpy.model.locations import Location, split_word
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.model.tools import packages
from transferpy.planning.plan import TransferPlan
from transferpy.planning.planner import make_plan

RUN = "0123456789abcdef"
NC_OPENBSD = "OpenBSD netcat (Debian patchlevel 1.219-1)\nusage: nc [-46CDdFhklNnrStUuvZz] [-I length] [-i interval]"
NC_TRADITIONAL = "[v1.10-47]\nconnect to somewhere:\tnc [-options] hostname port[s] [ports] ..."
SERVER_VERSION = "10.11.14-MariaDB-0+deb12u2-log"
BACKUP_TOOL = "mariadb-backup based on MariaDB server 10.11.14-MariaDB debian-linux-gnu (x86_64)"
TARBALLS = {
    "gzip": b"\x1f\x8b\x08\0\0\0",
    "zstd": b"\x28\xb5\x2f\xfd\x04\x58",
    "lz4": b"\x04\x22\x4d\x18\x64\x40",
    "xz": b"\xfd7zXZ\x00\0\x04",
    "bzip2": b"BZh91AY&SY",
    "lzip": b"LZIP\x01\x0c",
    "lzop": b"\x89LZO\0\r\n\x1a\n\x10",
    "plain": tarfile.TarInfo("sqldata").tobuf(tarfile.USTAR_FORMAT),
}
"""The first bytes of tarballs."""
NCAT = "Ncat 7.93 ( https://nmap.org/ncat )\nUsage: ncat [options] [hostname] [port]"


def request(source: str | Location, *targets: str | Location, **options: object) -> TransferRequest:
    """Return the request that a command line with these words makes."""
    locations = [word if isinstance(word, Location) else split_word(word) for word in (source, *targets)]
    typed = replace(TransferOptions(), **options)  # type: ignore[arg-type]  # checked there
    return TransferRequest(source=locations[0], targets=tuple(locations[1:]), options=typed)


REQUEST = request("db1:/srv/x", "db2:/srv/y")


def host(name: str, **changes: object) -> HostFacts:
    """Return a root's host with every tool and no part in the transfer, but for ``changes``."""
    usual = HostFacts(
        host=name, uid=0, cores=4, boot=f"boot-of-{name}", tools=frozenset(packages()), listening=frozenset({22})
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # the caller knows


def source_facts(directory: str = "/srv", name: str = "x", **changes: object) -> SourceFacts:
    usual = SourceFacts(
        directory=directory, name=name, kind="d", identity="7:8", disk=5_000_000, inodes=30, files=20, bytes=4_000_000
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # the caller knows


def database_facts(**changes: object) -> DatabaseFacts:
    usual = DatabaseFacts(
        state="server", version="10.11", name=SERVER_VERSION, datadir="/srv/sqldata", disk=5_000_000, inodes=30
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # the caller knows


def target_facts(path: str = "/srv/y", **changes: object) -> TargetFacts:
    usual = TargetFacts(
        state=TargetState.DIRECTORY, path=path, ancestors=("7:9", "7:3", "7:2"), free=10_000_000, inodes=1000
    )
    return replace(usual, **changes)  # type: ignore[arg-type]  # the caller knows


V4_ROUTE = RouteFacts(address="198.18.0.2", source="198.18.0.1")
V6_ROUTE = RouteFacts(address="2001:db8::2", source="2001:db8::1")


def source_host(*, routes: Mapping[int, RouteFacts] | None = None, **changes: object) -> HostFacts:
    """Return db1, which holds the source and reaches one target."""
    return host("db1", **{"source": source_facts(), "routes": routes or {0: V4_ROUTE}, **changes})


def database_host(database: DatabaseFacts | None = None, **changes: object) -> HostFacts:
    """Return db1, on which a server runs, with a backup tool of its version."""
    tools = {
        "source": None,
        "database": database or database_facts(),
        "backup_versions": {"mariadb-backup": BACKUP_TOOL},
    }
    return source_host(**{**tools, **changes})  # type: ignore[arg-type]  # the caller knows


def tarball_host(name: str, **changes: object) -> HostFacts:
    """Return db1, which holds a tarball of that format."""
    tarball = source_facts("/srv/backups", "sqldata.tar", kind="f", files=1, inodes=1)
    return source_host(**{"source": tarball, "magic": TARBALLS[name], **changes})  # type: ignore[arg-type]  # as above


def target_host(name: str = "db2", **changes: object) -> HostFacts:
    """Return a host that has the first target."""
    return host(name, **{"targets": {0: target_facts()}, **changes})


def answers(*hosts: HostFacts) -> dict[str, HostFacts]:
    return {facts.host: facts for facts in hosts}


def without(*tools: str) -> frozenset[str]:
    """Return all tools of a host except these."""
    return frozenset(packages()) - {*tools}


def plan(wanted: TransferRequest, *hosts: HostFacts) -> TransferPlan:
    """Return the plan for a request to which these hosts have answered."""
    return make_plan(wanted, answers(*hosts), RUN, {})


def problems(wanted: TransferRequest, *hosts: HostFacts, silent: Mapping[str, str] | None = None) -> list[str]:
    """Return the reasons that prevent a transfer; ``silent`` has the error of each host that has not answered."""
    try:
        make_plan(wanted, answers(*hosts), RUN, silent or {})
    except PreflightError as refused:
        return list(refused.problems)
    return []
