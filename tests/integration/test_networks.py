"""Networks: all pairs of netcats, both IP versions, the orchestration host as source or target, unknown names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import BOTH_CUMINS, transfer
from lab import CHECKOUT, Firewall
from lab.firewalls import loaders
from watching import assert_as_before, fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

FLAVOURS = ("openbsd", "traditional", "ncat")


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a file in /srv/data and a directory /srv/in on every host."""
    for host in clean_lab:
        fill(host, "/srv/data/file", megabytes=1)
        host.run("mkdir /srv/in")
    return clean_lab


def assert_arrived(source: Host, target: Host) -> None:
    """Assert that the copy is equal to its source, and remove the copy."""
    digest = "cd {} && md5sum file"
    assert target.sh(digest.format("/srv/in/data")) == source.sh(digest.format("/srv/data"))
    target.run("rm -r /srv/in/data")


@pytest.mark.parametrize("on_target", [*FLAVOURS, "socat"])
@pytest.mark.parametrize("on_source", [*FLAVOURS, "socat"])
def test_every_program_for_an_open_stream_connects_to_every_other(ready: Lab, on_source: str, on_target: str) -> None:
    source, target = ready["db1"], ready["db2"]
    for host, program in ((source, on_source), (target, on_target)):
        host.netcat(None if program == "socat" else program)
        if program != "socat":
            host.hide("socat")
    before = ready.snapshot()
    result = transfer(ready, "--no-encrypt", "db1:/srv/data", f"{target.ipv4}:/srv/in", check=True)
    assert "(not encrypted, " in result.stderr
    assert_arrived(source, target)
    assert_as_before(ready, before)


@pytest.mark.parametrize("options", [[], ["--no-encrypt"]], ids=["tls", "plain"])
def test_hosts_are_named_by_ipv6_addresses(ready: Lab, options: list[str]) -> None:
    source, target = ready["db1"], ready["db2"]
    result = transfer(ready, *options, f"[{source.ipv6}]:/srv/data", f"[{target.ipv6}]:/srv/in", check=True)
    assert f"INFO  [{target.ipv6}]:/srv/in/data: complete" in result.stderr
    assert_arrived(source, target)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("options", [[], ["--no-encrypt"]], ids=["tls", "plain"])
def test_hosts_that_share_only_one_ip_version_find_each_other(ready: Lab, options: list[str], version: int) -> None:
    source, target = ready["db1"], ready["db2"]
    with only_ip(version, *ready):
        transfer(ready, *options, "db1:/srv/data", "db2:/srv/in", check=True)
    assert_arrived(source, target)


@contextmanager
def only_ip(version: int, *hosts: Host) -> Iterator[None]:
    """Remove the addresses of the other IP version from hosts."""
    for host in hosts:
        host.run(["ip", f"-{10 - version}", "address", "flush", "dev", "eth0", "scope", "global"])
        assert host.sh("ip -o address show dev eth0 scope global | wc -l") == "1"
    try:
        yield
    finally:
        for host in hosts:
            address = (f"{host.ipv4}/24",) if version == 6 else (f"{host.ipv6}/64", "nodad")
            host.run(["ip", "address", "add", *address, "dev", "eth0"])


@pytest.mark.parametrize("old", ["db1", "db2"])
def test_a_netcat_without_ipv6_is_refused_where_only_ipv6_leads_there(ready: Lab, old: str) -> None:
    ready[old].netcat("traditional")
    ready[old].hide("socat")
    before = ready.snapshot()
    result = transfer(ready, "--no-encrypt", "db1:/srv/data", f"[{ready['db2'].ipv6}]:/srv/in")
    assert result.status == 4
    named = old if old == "db1" else ready["db2"].ipv6
    assert f"ERROR {named}: nc does not support IPv6; install socat (Debian package socat)\n" in result.stderr
    assert_as_before(ready, before)


@BOTH_CUMINS
def test_local_copies_need_no_cumin_and_no_configuration_of_it(ready: Lab, python: str) -> None:
    orch = ready["orch"]
    poison = "raise RuntimeError('cumin was imported')"
    orch.run(["tee", "/srv/cumin.py"], input=poison.encode())
    env = {"PYTHONPATH": f"/srv:{CHECKOUT}"}
    orch.run("mv /etc/cumin/config.yaml /var/lib")
    try:
        result = transfer(ready, "localhost:/srv/data", "localhost:/srv/in", python=python, env=env, check=True)
        assert "cumin" not in result.stderr
        assert_arrived(orch, orch)
        struck = transfer(ready, "localhost:/srv/data", "db1:/srv/in", python=python, env=env)
        assert "cumin was imported" in struck.stderr
    finally:
        orch.run("mv /var/lib/config.yaml /etc/cumin")


@pytest.mark.parametrize(
    ("firewall", "options"),
    [(Firewall.NONE, []), (Firewall.NFTABLES, []), (Firewall.IPTABLES, ["--no-encrypt"])],
    ids=["open", "tls", "plain"],
)
def test_a_copy_arrives_on_the_orchestration_host(ready: Lab, options: list[str], firewall: Firewall) -> None:
    orch = ready["orch"]
    with walled(orch, firewall):
        before = ready.snapshot()
        result = transfer(ready, *options, "db1:/srv/data", "localhost:/srv/in", check=True)
        assert ("firewall opened" in result.stderr) == (firewall != Firewall.NONE)
        assert_arrived(ready["db1"], orch)
        assert_as_before(ready, before)


@contextmanager
def walled(host: Host, firewall: Firewall) -> Iterator[None]:
    """Replace the firewall of a host during the context."""
    for command, rules in loaders(firewall):
        host.run(command, input=rules.encode())
    try:
        yield
    finally:
        host.run("nft flush ruleset")


@pytest.mark.parametrize("options", [[], ["--no-encrypt"]], ids=["tls", "plain"])
def test_a_copy_leaves_from_the_orchestration_host(ready: Lab, options: list[str]) -> None:
    before = ready.snapshot()
    transfer(ready, *options, "localhost:/srv/data", "db2:/srv/in", check=True)
    assert_arrived(ready["orch"], ready["db2"])
    assert_as_before(ready, before)


def test_source_and_target_are_the_same_remote_host(ready: Lab) -> None:
    before = ready.snapshot()
    transfer(ready, "db1:/srv/data", "db1:/srv/in", check=True)
    assert_arrived(ready["db1"], ready["db1"])
    assert_as_before(ready, before)


def test_a_target_whose_name_the_source_cannot_resolve_is_reached_by_its_address(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    source.run("cp /etc/hosts /var/lib; sed '/db2/d' /var/lib/hosts >/etc/hosts")
    try:
        assert source.run(["getent", "ahosts", "db2"], check=False).returncode != 0
        transfer(ready, "db1:/srv/data", "db2:/srv/in", check=True)
    finally:
        source.run("cat /var/lib/hosts >/etc/hosts")
    assert_arrived(source, target)


def test_a_target_that_neither_host_can_resolve_is_refused(ready: Lab) -> None:
    hosts = [ready["orch"], ready["db1"]]
    for host in hosts:
        host.run("cp /etc/hosts /var/lib; sed '/db2/d' /var/lib/hosts >/etc/hosts")
    ready["orch"].run(f"mkdir -p .ssh && printf 'Host db2\\n HostName {ready['db2'].ipv4}\\n' >.ssh/config")
    try:
        before = ready.snapshot()
        result = transfer(ready, "db1:/srv/data", "db2:/srv/in")
        assert result.status == 4
        assert "ERROR db1: has no address of db2, or no route to it; add the name to DNS" in result.stderr
        assert_as_before(ready, before)
    finally:
        ready["orch"].run("rm .ssh/config")
        for host in hosts:
            host.run("cat /var/lib/hosts >/etc/hosts")
