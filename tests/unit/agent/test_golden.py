"""The variable part of every script of a run, word for word, in files for review.

``pytest --update-golden`` writes the files anew; git then shows what the change of a module does to the hosts.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from bash import output_of
from fleet import (
    NC_OPENBSD,
    NC_TRADITIONAL,
    NCAT,
    RUN,
    TARBALLS,
    V4_ROUTE,
    V6_ROUTE,
    answers,
    database_facts,
    database_host,
    request,
    source_facts,
    source_host,
    tarball_host,
    target_facts,
    target_host,
)

from transferpy.agent.preflight import preflight_script
from transferpy.agent.session_script import session_script
from transferpy.host import HOST, perl_program
from transferpy.model.facts import BufferFacts, HostFacts
from transferpy.model.locations import Location
from transferpy.model.request import TransferRequest
from transferpy.model.tools import packages
from transferpy.planning.planner import make_plan
from transferpy.planning.query import preflight_queries
from transferpy.stream.renderer import render_assignment

GOLDEN = Path(__file__).parent / "golden"
HEADER = """\
# shellcheck shell=bash disable=SC2016,SC2034,SC2154,SC2209,SC2317
# (SC2016: nothing in a name is to be expanded. SC2209: "file" is meant as text. The others: the fixed texts, left out
# here, give variables and functions their use.)
# What the hosts are told for: """
DROPPING = {"iptables": "-P INPUT DROP\n"}
NFT_CHAINS = (
    '{"nftables": [{"chain": {"family": "inet", "table": "filter", "name": "input", "type": "filter", "hook": "input"}}'
    ', {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "type": "filter", "hook": "input"}}]}'
)
HOSTILE = "it's $(touch gone)\n-x *\udcff"
SOCKET = "db1:/run/mysqld/mysqld.sock"
BACKUP, TARBALL = {"transfer_type": "xtrabackup"}, {"transfer_type": "decompress"}
ALL_TOOLS = frozenset(packages())
OLDER_NAMES = ALL_TOOLS - {"mariadb-backup", "mbstream", "mariadb"}

Case = tuple[TransferRequest, dict[str, HostFacts]]
RELAYS = BufferFacts(send=4 << 20, receive=6 << 20, forced=True, relays=True)
CASES: dict[str, Case] = {
    "relays": (
        request("db1:/srv/x", "db2:/srv/y", compress=False, stall_timeout=12),
        answers(source_host(buffers=RELAYS), target_host(buffers=RELAYS)),
    ),
    "defaults": (
        request("db1:/srv/x", "db2:/srv/y"),
        answers(source_host(), target_host(firewalls=DROPPING)),
    ),
    "plain": (
        request("db1:/srv/x", "db2:/srv/y", encrypt=False, compress=False, checksum=False),
        answers(source_host(netcats={"nc": NC_OPENBSD}), target_host(netcats={"nc": NC_OPENBSD})),
    ),
    "other-netcats": (
        request("db1:/srv/x", "db2:/srv/y", encrypt=False, port=4444),
        answers(
            source_host(netcats={"nc": NC_TRADITIONAL}, tools=ALL_TOOLS - {"pigz", "socat"}),
            target_host(netcats={"ncat": NCAT}, firewalls={"nft": NFT_CHAINS}, tools=ALL_TOOLS - {"socat"}),
        ),
    ),
    "streams": (
        request("db1:/srv/x", "db2:/srv/y", streams=3, compressor="zstd", bwlimit=10_000_000),
        answers(source_host(source=source_facts(files=9)), target_host(firewalls=DROPPING)),
    ),
    "parallel-checksum": (
        request("db1:/srv/x", "db2:/srv/y", checksum=False, parallel_checksum=True, firewall="none"),
        answers(source_host(cores=16), target_host(firewalls=DROPPING, tools=ALL_TOOLS - {"pigz"})),
    ),
    "ipv6": (
        request("db1:/srv/x", "db2:/srv/y"),
        answers(
            source_host(routes={0: V6_ROUTE}),
            target_host(firewalls={"ip6tables": "-P INPUT DROP\n", **DROPPING, "nft": NFT_CHAINS}),
        ),
    ),
    "ipv6-plain": (
        request("db1:/srv/x", "db2:/srv/y", encrypt=False, checksum=False, parallel_checksum=True),
        answers(
            source_host(routes={0: V6_ROUTE}, netcats={"nc": NCAT}, tools=ALL_TOOLS - {"socat"}),
            target_host(),
        ),
    ),
    "two-targets": (
        request("db1:/srv/x/", "db2:/srv/y", "db3:/srv/z"),
        answers(
            source_host(routes={0: V4_ROUTE, 1: V6_ROUTE}, source=source_facts("/data", "behind-the-link")),
            target_host(firewalls={**DROPPING, "iptables-legacy": "-P INPUT DROP\n", "nft": NFT_CHAINS}),
            target_host("db3", targets={1: target_facts("/srv/z")}),
        ),
    ),
    "hostile-names": (
        request(Location(host="db1", path=f"/{HOSTILE}/{HOSTILE}"), Location(host="db2", path=f"/srv/{HOSTILE}")),
        answers(source_host(source=source_facts(f"/{HOSTILE}", HOSTILE)), target_host()),
    ),
    "xtrabackup": (
        request(SOCKET, "db2:/srv/y", **BACKUP),
        answers(database_host(), target_host()),
    ),
    "xtrabackup-plain": (
        request(SOCKET, "db2:/srv/y", encrypt=False, compress=False, checksum=False, parallel_checksum=True, **BACKUP),
        answers(
            database_host(netcats={"nc": NC_OPENBSD}, cores=16),
            target_host(netcats={"nc": NC_OPENBSD}, tools=ALL_TOOLS - {"mariadb-backup"}),
        ),
    ),
    "xtrabackup-replica": (
        request(SOCKET, "db2:/srv/y", "db3:/srv/z", stop_slave=True, prepare=True, owner="mysql:mysql", **BACKUP),
        answers(
            database_host(routes={0: V4_ROUTE, 1: V6_ROUTE}),
            target_host(memory=64 << 30),
            target_host("db3", targets={1: target_facts("/srv/z")}, memory=1 << 20),
        ),
    ),
    "xtrabackup-hostile-names": (
        request(
            Location(host="db1", path=f"/{HOSTILE}.sock"),
            Location(host="db2", path=f"/srv/{HOSTILE}"),
            **{"defaults_file": "/root/it's $(touch gone) -x *", "stop_slave": True, **BACKUP},
        ),
        answers(
            database_host(database_facts(datadir=f"/{HOSTILE}"), tools=OLDER_NAMES), target_host(tools=OLDER_NAMES)
        ),
    ),
    **{
        f"decompress-{name}": (
            request("db1:/srv/backups/sqldata.tar", "db2:/srv/y", **TARBALL),
            answers(tarball_host(name), target_host(memory=64 << 30)),
        )
        for name in TARBALLS
    },
}


def variable_parts(wanted: TransferRequest, facts: dict[str, HostFacts]) -> str:
    """Return the variable part of the script for each host of a run."""
    plan = make_plan(wanted, facts, RUN, {})
    addresses = {edge.target.host: ("203.0.113.9",) for edge in plan.edges}
    scripts = {
        f"preflight on {host}": preflight_script(RUN, asked)
        for host, asked in preflight_queries(wanted, addresses).items()
    }
    for session in plan.sessions.values():
        title = f"session on {session.host}" if session.reading else f"session for {session.host}"
        scripts[title] = session_script(RUN, session)
    return "".join(f"\n# === {title}\n{without_fixed_texts(script)}\n" for title, script in scripts.items())


def without_fixed_texts(script: str) -> str:
    """Return a script with the names of the files that stand in it in place of their texts."""
    texts = {str(path.relative_to(HOST).with_suffix("")): path.read_text() for path in HOST.rglob("*.sh")}
    for name in (f"perl/{path.stem}" for path in HOST.rglob("*.pl")):
        texts[name] = render_assignment(name.replace("/", "_"), perl_program(name))
    for name, text in texts.items():
        script = script.replace(f"{text}\n", f" {name}")
    files, assignment, rest = script.rstrip().partition("run_id=")
    return f"# files:{files}\n{assignment}{rest}"


@pytest.mark.parametrize("name", CASES)
def test_hosts_receive_the_script_of_the_golden_file(name: str, pytestconfig: pytest.Config) -> None:
    wanted, facts = CASES[name]
    words = " ".join(map(repr, map(str, (wanted.source, *wanted.targets))))
    expected = os.fsencode(f"{HEADER}{name}: {words}\n{variable_parts(wanted, facts)}")
    path = GOLDEN / f"{name}.sh"
    if pytestconfig.getoption("--update-golden"):
        path.write_bytes(expected)
    assert path.read_bytes() == expected, "review the difference, and write it with: pytest --update-golden"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES}


@pytest.mark.parametrize("name", CASES)
def test_the_scripts_for_hosts_are_valid_bash(name: str) -> None:
    assert output_of(f"bash -n {GOLDEN / name}.sh") == b""
    if shellcheck := shutil.which("shellcheck"):
        found = subprocess.run([shellcheck, GOLDEN / f"{name}.sh"], capture_output=True, text=True, check=False)
        assert found.stdout == ""
