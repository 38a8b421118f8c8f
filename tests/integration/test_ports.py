"""Ports on the target: found, reserved, refused, and twenty of them at once."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest
from helpers import eventually, transfer
from watching import SLOW, Run, assert_as_before, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

LAB_LIMIT = "100:30:200"
SSHD_DEFAULT = "10:30:100"


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a small file in /srv/data of db1, and a directory /srv/in on db2 and db3."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=0.1)
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    return clean_lab


@contextmanager
def listening(host: Host, *ports: int) -> Iterator[None]:
    """Listeners of other programs on these ports."""
    program = (
        "import socket, sys\n"
        "held = [socket.create_server(('', int(port)), reuse_port=True) for port in sys.argv[1:]]\n"
        "print('listening', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with host.popen(["python3", "-c", program, *map(str, ports)], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout
        assert process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize("hidden", ["netstat", "ss"])
def test_a_free_port_is_found_by_either_tool(ready: Lab, hidden: str) -> None:
    db3 = ready["db3"]
    db3.hide(hidden)
    with listening(db3, *(port for port in range(4400, 4500) if port != 4450)):
        result = transfer(ready, "db1:/srv/data", "db3:/srv/in", check=True)
    assert "db3: port 4450 listens for db1" in result.stderr


def test_without_either_tool_the_run_is_refused_by_name(ready: Lab) -> None:
    ready["db3"].hide("ss", "netstat")
    before = ready.snapshot()
    result = transfer(ready, "db1:/srv/data", "db3:/srv/in")
    assert result.status == 4
    assert (
        "db3: ss is missing (Debian package iproute2); alternative: netstat (Debian package net-tools)" in result.stderr
    )
    assert_as_before(ready, before)


def test_the_requested_port_is_used(ready: Lab) -> None:
    result = transfer(ready, "--port", "5001", "db1:/srv/data", "db2:/srv/in", check=True)
    assert "db2: port 5001 listens for db1, firewall opened" in result.stderr


def test_a_port_that_somebody_listens_on_is_refused_before_anything_is_changed(ready: Lab) -> None:
    with listening(ready["db2"], 5001):
        before = ready.snapshot()
        result = transfer(ready, "--port", "5001", "db1:/srv/data", "db2:/srv/in")
        assert result.status == 4
        assert "ERROR db2: port 5001 is in use\n" in result.stderr
        assert "refused: 1 problem(s); nothing was changed" in result.stderr
        assert_as_before(ready, before)


def test_a_port_that_another_transfer_has_reserved_is_an_error(ready: Lab) -> None:
    fill(ready["db1"], "/srv/large/file")
    ready["db3"].run("mkdir /srv/other")
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, "--port", "5001", "db1:/srv/large", "db3:/srv/in") as first:
        first.wait_for_stream(ready["db3"])
        result = transfer(ready, "--port", "5001", "db2:/srv/in", "db3:/srv/other")
        assert result.status == 5
        assert "ERROR db3:/srv/other: failed: db3: port 5001 is reserved by another transfer\n" in result.stderr
        first.assert_streaming()
        ready["db1"].shape(None)
        assert first.end().status == 0, first.log
    ready["db3"].run("rm -r /srv/in/large")
    assert_as_before(ready, before)


def test_no_free_port_is_an_error(ready: Lab) -> None:
    with listening(ready["db3"], *range(4400, 4500)):
        before = ready.snapshot()
        result = transfer(ready, "db1:/srv/data", "db3:/srv/in")
        assert result.status == 5
        assert "ERROR db3:/srv/in: failed: db3: no free port between 4400 and 4499\n" in result.stderr
        assert_as_before(ready, before)


_SOCKETS = """
import socket, sys
kind, ports = sys.argv[1], map(int, sys.argv[2:])
held = []
server = socket.create_server(("", 7001))
for port in ports:
    family = socket.AF_INET6 if kind == "ipv6" else socket.AF_INET
    holder = socket.socket(family)
    if kind == "ipv6":
        holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    holder.bind(("", port))
    if kind == "connected":
        holder.connect(("127.0.0.1", 7001))
        held.append(server.accept()[0])
    held.append(holder)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["bound", "ipv6", "connected"])
def test_a_port_that_a_socket_without_a_listener_has_is_left(ready: Lab, kind: str) -> None:
    db3 = ready["db3"]
    ports = [str(port) for port in range(4400, 4500) if port != 4450]
    with db3.popen(["python3", "-c", _SOCKETS, kind, *ports], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        result = transfer(ready, "db1:/srv/data", "db3:/srv/in")
        db3.run("rm -r /srv/in/data")
        wanted = transfer(ready, "--port", "4451", "db1:/srv/data", "db3:/srv/in")
        process.kill()
    assert result.status == 0, result.stderr
    assert "db3: port 4450 listens for db1" in result.stderr
    assert wanted.status == 5
    assert "ERROR db3:/srv/in: failed: db3: port 4451 is in use\n" in wanted.stderr


def test_a_host_whose_outgoing_connections_use_all_but_the_reserved_ports(ready: Lab) -> None:
    """The kernel gives no outgoing connection a port in ip_local_reserved_ports, but a listener can have it."""
    db3 = ready["db3"]
    sysctl = "/proc/sys/net/ipv4/ip_local"
    before = db3.sh(f"cat {sysctl}_port_range").split()
    db3.run(f"echo 4400 4499 >{sysctl}_port_range; echo 4490-4499 >{sysctl}_reserved_ports")
    connecting = (
        "import socket, sys\n"
        "server = socket.create_server(('', 7001), backlog=200)\n"
        "held = [socket.create_connection(('127.0.0.1', 7001)) for _ in range(90)]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with db3.popen(["python3", "-c", connecting], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        result = transfer(ready, "db1:/srv/data", "db3:/srv/in")
        process.kill()
    db3.run(f"echo {' '.join(before)} >{sysctl}_port_range; echo >{sysctl}_reserved_ports")
    assert result.status == 0, result.stderr
    assert re.search("db3: port 449[0-9] listens for db1", result.stderr), result.stderr


def test_one_port_serves_one_run_after_the_other(ready: Lab) -> None:
    """The connection of the first run stays in TIME_WAIT for a minute, at one end or at the other."""
    for name in ("first", "second"):
        ready["db3"].run(f"mkdir /srv/{name}")
        transfer(ready, "--port", "5001", "db1:/srv/data", f"db3:/srv/{name}", check=True)


def test_twenty_transfers_at_the_same_moment_all_arrive(ready: Lab) -> None:
    db1, db2 = ready["db1"], ready["db2"]
    for number in range(20):
        fill(db1, f"/srv/many/{number}", megabytes=0.05)
    before = ready.snapshot()
    with max_startups(SSHD_DEFAULT, db1, db2), ExitStack() as stack:
        runs = [stack.enter_context(Run(ready, f"db1:/srv/many/{n}", "db2:/srv/in")) for n in range(20)]
        results = [run.end() for run in runs]
    assert [result.status for result in results] == [0] * 20, "".join(result.stderr for result in results)
    digests = "md5sum *"
    assert db1.sh(f"cd /srv/many; {digests}") == db2.sh(f"cd /srv/in; {digests}")
    db2.run("rm /srv/in/*")
    assert_as_before(ready, before)


def test_a_login_that_sshd_drops_because_others_come_too_is_tried_again(ready: Lab) -> None:
    orch, db1, db2 = ready["orch"], ready["db1"], ready["db2"]
    fill(db1, "/srv/one", megabytes=0.05)
    before = ready.snapshot()
    with max_startups("1:100:1", db1):
        taken = orch.popen(["bash", "-c", f"exec 3<>/dev/tcp/{db1.ipv4}/22; read -r line <&3; exec sleep 1.5"])
        assert eventually(
            lambda: "of 1-1 startups" in (recorded := db1.sh("pgrep -af 'sshd: .*listener'")) and " 1 of" in recorded
        )
        dropped = orch.run(["ssh", "-oBatchMode=yes", db1.ipv4, "true"], check=False)
        assert b"kex_exchange_identification" in dropped.stderr
        with Run(ready, f"{db1.ipv4}:/srv/one", "db2:/srv/in") as run:
            result = run.end()
        taken.wait(timeout=60)
    assert result.status == 0, result.stderr
    db2.run("rm -r /srv/in/one")
    assert_as_before(ready, before)


@contextmanager
def max_startups(limit: str, *hosts: Host) -> Iterator[None]:
    """Allow this number of simultaneous logins to sshd on hosts."""
    for host in hosts:
        host.run(["cp", "-p", "/run/sshd.pid", "/etc/ssh/sshd_config", "/var/lib"])
        host.run(["sed", "-i", f"s/^MaxStartups.*/MaxStartups {limit}/", "/etc/ssh/sshd_config"])
        reload_sshd(host, limit)
    try:
        yield
    finally:
        for host in hosts:
            host.run(["cp", "-p", "/var/lib/sshd_config", "/etc/ssh"])
            reload_sshd(host, LAB_LIMIT)
            host.run(["touch", "-r", "/var/lib/sshd.pid", "/run/sshd.pid"])  # for the snapshots


def reload_sshd(host: Host, limit: str) -> None:
    host.run("kill -HUP $(cat /run/sshd.pid)")
    start, _, full = limit.split(":")
    shown = f"of {start}-{full} startups"
    assert eventually(
        lambda: shown in host.sh("pgrep -af 'sshd: .*listener'; true") and host.sh("ls /run/sshd.pid; true")
    )
