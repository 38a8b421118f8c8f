"""Transfers through every kind of firewall: each adds a firewall rule for one host during its stream."""

from __future__ import annotations

import re
import signal
import time
from contextlib import contextmanager
from subprocess import DEVNULL
from typing import TYPE_CHECKING

import pytest
from helpers import eventually, transfer
from lab import Firewall, Host, HostSpec, Lab, difference
from watching import DIGEST_TOOL, PROMISED_SECONDS, SLOW, Hold, Run, assert_as_before, end_by_signal, fill, replaced

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

CLOSED = [kind for kind in Firewall if kind is not Firewall.NONE]
BY_IPTABLES = {Firewall.IPTABLES, Firewall.IPTABLES_REJECT, Firewall.IPTABLES_DROP}
# The number of lines of one rule in a snapshot. nft also lists the rules of iptables with the nftables backend.
LISTED = {
    Firewall.NONE: 0,
    Firewall.IPTABLES: 2,
    Firewall.IPTABLES_REJECT: 2,
    Firewall.IPTABLES_DROP: 2,
    Firewall.NFTABLES: 1,
    Firewall.NFTABLES_TWO: 2,
    Firewall.BOTH: 3,
    Firewall.LEGACY: 1,
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab with a source, a stranger, and a target for each kind of firewall, with the name of the firewall."""
    others = {kind.value: HostSpec(firewall=kind) for kind in Firewall}
    with Lab.up({"orch": HostSpec(), "source": HostSpec(), **others}) as made:
        yield made


@pytest.fixture
def walls(clean_lab: Lab) -> Lab:
    """The clean lab, with ten megabytes in /srv/data of the source, and a directory /srv/in on every host."""
    fill(clean_lab["source"], "/srv/data/file")
    for host in clean_lab:
        host.run("mkdir -p /srv/in")
    return clean_lab


def word(host: Host, version: int) -> str:
    """Return the address of the host for the command line, in one IP version."""
    return host.ipv4 if version == 4 else f"[{host.ipv6}]"


def new_rules(host: Host, before: dict[str, list[str]]) -> list[str]:
    """Return the new lines of the firewall of a host; fail if a line is missing."""
    changes = difference({"firewall": before["firewall"]}, host.snapshot()).splitlines()[1:]
    assert all(change.startswith("  +") for change in changes), changes
    return [change[3:].strip() for change in changes]


def admits(rule: str, source: str, port: int) -> str | None:
    """Return the run of a rule that admits only one address to one port; None if nft shows a rule of iptables."""
    iptables = (
        rf"-A INPUT -s {source}/(?:32|128) -p tcp -m tcp --dport {port} -m comment --comment transferpy-(\w+) -j ACCEPT"
    )
    nftables = rf"ip6? saddr {source} tcp dport {port} {{1,2}}(?:counter )?accept(?: comment \"transferpy-(\w+)\")?"
    found = re.fullmatch(f"{iptables}|{nftables}", rule)
    assert found, rule
    return found[1] or found[2]


def run_of(target: Host) -> str:
    """Return the run with a session on a target."""
    return target.sh("cd /run/transferpy && ls -d run.*").split(".")[1]


def connects(address: str, port: int, *hosts: Host) -> list[bool]:
    """Return the hosts that can connect. Half a second is enough on one machine."""
    probes = [host.popen(["timeout", "1.5", "nc.openbsd", "-z", address, str(port)]) for host in hosts]
    return [probe.wait() == 0 for probe in probes]


def listen(host: Host, port: int) -> subprocess.Popen[bytes]:
    """Listen on the port of a running stream, whose own listener has closed the port, but which root can share."""
    address = f"TCP6-LISTEN:{port},fork,reuseaddr,reuseport,ipv6-v6only=0"
    listener = host.popen(["socat", "-u", address, "OPEN:/dev/null"])
    assert eventually(lambda: f"tcp *:{port}" in host.snapshot()["listening"])
    return listener


@pytest.mark.parametrize(
    ("kind", "version"),
    [*((kind, 4) for kind in Firewall), *((kind, 6) for kind in ("iptables", "nftables", "legacy"))],
)
def test_the_source_alone_is_let_in_and_only_while_the_stream_runs(walls: Lab, kind: str, version: int) -> None:
    source, stranger, target = walls["source"], walls["orch"], walls[kind]
    address, source_address = (target.ipv4, source.ipv4) if version == 4 else (target.ipv6, source.ipv6)
    before = target.snapshot()
    source.shape(SLOW)
    with Run(walls, "source:/srv/data", f"{word(target, version)}:/srv/in") as run:
        run.wait_for_stream(target)
        rules = new_rules(target, before)
        assert len(rules) == LISTED[Firewall(kind)], rules
        named = {run_id for rule in rules if (run_id := admits(rule, source_address, run.port))}
        assert named == (set() if kind == Firewall.NONE else {run_of(target)})
        listener = listen(target, run.port)
        assert connects(address, run.port, source, stranger) == [True, kind == Firewall.NONE]
        listener.terminate()
        listener.wait()
        run.assert_streaming()
        source.shape(None)
        assert run.end().status == 0, run.log
    assert target.run(["cmp", "/srv/in/data/file", "-"], input=source.run(["cat", "/srv/data/file"]).stdout)
    target.run("rm -r /srv/in/data")
    assert_as_before(target, before)


@pytest.mark.parametrize("options", [(), ("--no-compress",)], ids=["sample", "no-sample"])
def test_no_rule_exists_before_the_listener_does(walls: Lab, options: tuple[str, ...]) -> None:
    target = walls["nftables"]
    before = target.snapshot()
    with Hold(target, "socat") as listening, Run(walls, *options, "source:/srv/data", "nftables:/srv/in") as run:
        listening.wait_for_call()
        assert new_rules(target, before) == []
        listening.let_go()
        assert run.end().status == 0, run.log
    target.run("rm -r /srv/in/data")
    assert_as_before(target, before)


def test_the_door_is_closed_when_the_stream_has_ended_and_the_checks_have_not(walls: Lab) -> None:
    target = walls["nftables"]
    before = target.snapshot()
    with Hold(target, DIGEST_TOOL) as checking, Run(walls, "source:/srv/data", "nftables:/srv/in") as run:
        checking.wait_for_call()
        assert new_rules(target, before) == []
        assert not any(f":{run.port}" in socket for socket in target.snapshot()["listening"])
        assert run.process.poll() is None
        checking.let_go()
        assert run.end().status == 0, run.log


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ("iptables", Firewall.IPTABLES),
        ("iptables", Firewall.LEGACY),
        ("iptables", Firewall.NONE),
        ("nftables", Firewall.NFTABLES_TWO),
        ("nftables", Firewall.IPTABLES),  # nft can also write rules of this firewall
        ("none", Firewall.NONE),
    ],
)
def test_a_firewall_that_is_named_is_opened_and_left_as_it_was(walls: Lab, choice: str, kind: Firewall) -> None:
    before = walls[kind].snapshot()
    transfer(walls, "--firewall", choice, "source:/srv/data", f"{kind}:/srv/in", check=True)
    walls[kind].run("rm -r /srv/in/data")
    assert_as_before(walls[kind], before)


@pytest.mark.parametrize(
    ("choice", "kind", "chain"),
    [
        ("none", Firewall.NFTABLES, "inet filter input"),
        ("none", Firewall.IPTABLES_DROP, "ip6? filter INPUT"),
        ("iptables", Firewall.NFTABLES, "inet filter input"),
        ("nftables", Firewall.LEGACY, "ip6?tables filter INPUT"),
    ],
)
def test_a_firewall_that_stays_shut_ends_the_run_in_time(walls: Lab, choice: str, kind: Firewall, chain: str) -> None:
    before = walls.snapshot()
    result = transfer(
        walls, "--firewall", choice, "--connect-timeout", "2", "source:/srv/data", f"{kind}:/srv/in", timeout=60
    )
    assert result.status == 6
    assert re.search(
        rf"ERROR {kind}:/srv/in: failed: source to {kind}: no connection to \S+ port 44\d\d within 2 seconds "
        rf"\(--connect-timeout\); the packets of source arrive at {kind}, but {kind} does not answer; its firewall can"
        rf" drop them in {chain}; allow ",
        result.stderr,
    ), result.stderr
    assert_as_before(walls, before)


def test_a_firewall_that_refuses_ends_the_run_at_once(walls: Lab) -> None:
    before = walls.snapshot()
    result = transfer(walls, "--firewall", "none", "source:/srv/data", "iptables-reject:/srv/in")
    assert result.status == 6
    error = (
        "source: socat failed with status 1: .*Connection refused; iptables-reject refuses the connection; its firewall"
    )
    assert re.search(f"{error} can reject it in ip6? filter INPUT; allow ", result.stderr), result.stderr
    assert_as_before(walls, before)


SAVE = {
    "iptables": "iptables-save >/var/lib/rules4; ip6tables-save >/var/lib/rules6",
    "nftables": "(echo flush ruleset; nft list ruleset) >/var/lib/rules",
}
LOAD = {
    "iptables": "iptables-restore </var/lib/rules4; ip6tables-restore </var/lib/rules6",
    "nftables": "nft -f /var/lib/rules",
}


@pytest.mark.parametrize("kind", ["iptables", "nftables"])
@pytest.mark.parametrize("saved", ["before", "meanwhile"])
def test_a_reload_in_mid_stream_neither_keeps_the_door_open_nor_loses_a_rule(walls: Lab, kind: str, saved: str) -> None:
    target = walls[kind]
    before = target.snapshot()
    target.run(SAVE[kind])
    walls["source"].shape(SLOW)
    with Run(walls, "source:/srv/data", f"{target.ipv4}:/srv/in") as run:
        run.wait_for_stream(target)
        if saved == "meanwhile":
            target.run(SAVE[kind])
        target.run(LOAD[kind])
        assert bool(new_rules(target, before)) == (saved == "meanwhile")
        run.assert_streaming()
        walls["source"].shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    assert "not undone" not in result.stderr
    assert new_rules(target, before) == []


@contextmanager
def own_walls(kind: str) -> Iterator[Lab]:
    """A lab for one test, whose target changes its firewall in a way that cannot be undone."""
    with Lab.up({"orch": HostSpec(), "source": HostSpec(), kind: HostSpec(firewall=kind)}) as made:
        fill(made["source"], "/srv/data/file")
        made[kind].run("mkdir -p /srv/in")
        yield made


def drop(host: Host, table: str) -> None:
    """Drop all input but ssh in another table of iptables than filter."""
    rules = (
        ":INPUT DROP [0:0]",
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        *("-A INPUT -i lo -j ACCEPT", "-A INPUT -p icmp -j ACCEPT", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"),
    )
    host.run("iptables-restore -n", input="\n".join((f"*{table}", *rules, "COMMIT", "")).encode())


@pytest.mark.parametrize("table", ["mangle", "security"])
@pytest.mark.parametrize(("kind", "choice"), [("iptables", "auto"), ("iptables", "nftables"), ("legacy", "auto")])
def test_another_table_of_iptables_that_drops_is_opened_by_iptables(kind: str, choice: str, table: str) -> None:
    with own_walls(kind) as lab:
        target = lab[kind]
        drop(target, table)
        lab["source"].shape(SLOW)
        with Run(lab, "--firewall", choice, "source:/srv/data", f"{target.ipv4}:/srv/in") as run:
            run.wait_for_stream(target)
            # nft would not recognize its own rule after this: iptables keeps no comments of nft.
            target.run("iptables-save >/var/lib/rules4 && iptables-restore </var/lib/rules4")
            assert target.sh(f"iptables-save -t {table} | grep -c transferpy") == "1"
            run.assert_streaming()
            lab["source"].shape(None)
            result = run.end()
            left = "\n".join(target.snapshot()["firewall"])
            assert "transferpy" not in left
            assert f"dport {run.port}" not in left
    assert result.status == 0, result.stderr
    assert "not undone" not in result.stderr


@contextmanager
def running_firewalld(host: Host) -> Iterator[None]:
    """The real firewalld, with its message bus; the default zone accepts ssh."""
    host.run("mkdir -p /run/dbus")
    daemons = []
    starting = {
        "dbus-daemon --system --nofork --nopidfile": "test -S /run/dbus/system_bus_socket",
        "firewalld --nofork --nopid": "firewall-cmd --state",
    }
    try:
        for command, ready in starting.items():
            daemons.append(host.popen(command.split(), stdout=DEVNULL, stderr=DEVNULL))
            host.run(f"until {ready} 2>/dev/null; do sleep 0.1; done")
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()


def rich_rules(host: Host) -> str:
    return host.sh("firewall-cmd --list-all-zones | grep 'rule ' ; true")


REFUSING_NFT = 'case "$*" in *insert*) echo "Operation not permitted" >&2; exit 1 ;; esac; exec "$real" "$@"'


@pytest.mark.parametrize("event", ["nothing", "reload", "a zone for the source", "the daemon ends"])
def test_firewalld_gets_a_rule_in_its_zones_and_loses_it(event: str) -> None:
    with own_walls("none") as lab, running_firewalld(lab["none"]), replaced(lab["none"], "nft", REFUSING_NFT):
        target, source = lab["none"], lab["source"]
        if event == "a zone for the source":
            target.run(f"firewall-cmd --quiet --zone=drop --add-source={source.ipv4}")
        permanent = f'rule family="ipv4" source address="{source.ipv4}" port port="4444" protocol="tcp" accept'
        target.run(["firewall-cmd", "--quiet", "--zone=work", f"--add-rich-rule={permanent}"])
        source.shape(SLOW)
        with Run(lab, "--port", "4444", "source:/srv/data", f"{target.ipv4}:/srv/in") as run:
            run.wait_for_stream(target)
            assert 'priority="-32768"' in rich_rules(target)
            assert connects(target.ipv4, 4444, lab["orch"]) == [False]
            if event == "reload":
                target.run("firewall-cmd --reload")
            elif event == "the daemon ends":
                target.run("pkill -x firewalld")
                assert eventually(lambda: target.run("firewall-cmd --state", check=False).returncode == 252)
            run.assert_streaming()
            source.shape(None)
            result = run.end()
        assert result.status == 0, result.stderr
        assert "not undone" not in result.stderr
        assert 'priority="-32768"' not in rich_rules(target)
        if event in {"nothing", "a zone for the source"}:
            assert permanent in rich_rules(target)


def test_ufw_is_opened_and_left_as_it_was() -> None:
    with own_walls("none") as lab:
        target = lab["none"]
        target.run("ufw allow 22/tcp && ufw --force enable")
        before = target.snapshot()
        assert connects(target.ipv4, 4444, lab["source"]) == [False]
        lab["source"].shape(SLOW)
        with Run(lab, "source:/srv/data", f"{target.ipv4}:/srv/in") as run:
            run.wait_for_stream(target)
            target.run("ufw reload")
            run.assert_streaming()
            lab["source"].shape(None)
            result = run.end()
        assert result.status == 0, result.stderr
        assert "not undone" not in result.stderr
        assert "transferpy" not in "".join(target.snapshot()["firewall"])
        assert len(target.snapshot()["firewall"]) == len(before["firewall"])


MOVE = (
    "iptables-save | sed 's/^:INPUT/:MOVED - [0:0]\\n&/; s/-A INPUT \\(.*transferpy\\)/-A MOVED \\1/'"
    " | iptables-restore"
)


def test_a_rule_that_somebody_moved_to_another_chain_is_reported() -> None:
    with own_walls("iptables") as lab:
        target = lab["iptables"]
        lab["source"].shape(SLOW)
        with Run(lab, "source:/srv/data", f"{target.ipv4}:/srv/in") as run:
            run.wait_for_stream(target)
            target.run(MOVE)
            run.assert_streaming()
            lab["source"].shape(None)
            result = run.end()
        assert result.status == 0, result.stderr
        assert re.search(r"not undone, .*: the rule is still there, in another place: -A MOVED", result.stderr)
        target.run("iptables -F MOVED")
        result = transfer(lab, "source:/srv/data", f"{target.ipv4}:/srv", check=True)
        assert "undid the changes of the stale run" in result.stderr


def test_a_rule_of_nftables_that_somebody_moved_to_another_chain_is_removed(walls: Lab) -> None:
    target = walls["nftables"]
    before = target.snapshot()
    target.run(SAVE["nftables"])
    walls["source"].shape(SLOW)
    with Run(walls, "source:/srv/data", f"{target.ipv4}:/srv/in") as run:
        run.wait_for_stream(target)
        target.run(SAVE["nftables"].replace("/var/lib/rules", "/var/lib/renamed"))
        target.run("sed -i 's/chain input/chain renamed/' /var/lib/renamed; nft -f /var/lib/renamed")
        run.assert_streaming()
        walls["source"].shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    assert "not undone" not in result.stderr
    assert "transferpy" not in target.sh("nft list ruleset")
    target.run(f"{LOAD['nftables']}; rm -r /srv/in/data")
    assert_as_before(target, before)


def test_a_rule_that_got_the_doors_handle_in_a_reload_stays(walls: Lab) -> None:
    target = walls["nftables"]
    handles = "nft -a list chain inet filter input | sed -n '/transferpy/s/.*handle //p'"
    more = "".join(f"insert rule inet filter input tcp dport {port} drop\n" for port in range(100, 120))
    before = target.snapshot()
    target.run(SAVE["nftables"])
    walls["source"].shape(SLOW)
    with Run(walls, "source:/srv/data", "nftables:/srv/in") as run:
        run.wait_for_stream(target)
        handle = target.sh(handles)
        target.run("cat /var/lib/rules - | nft -f -", input=more.encode())
        assert re.search(rf"dport 1\d\d drop # handle {handle}\n", target.sh("nft -a list ruleset"))
        reloaded = target.snapshot()["firewall"]
        run.assert_streaming()
        walls["source"].shape(None)
        assert run.end().status == 0, run.log
    assert target.snapshot()["firewall"] == reloaded
    target.run(LOAD["nftables"])
    assert target.snapshot()["firewall"] == before["firewall"]


# --- a lock of iptables that somebody else holds for long

TO_LEGACY = ("source:/srv/data", "legacy:/srv/in")
NOT_UNDONE = "WARNING legacy: not undone, the next run tries again: delete_while_present ip6tables-legacy "


@contextmanager
def locked(host: Host) -> Iterator[None]:
    """Hold the lock of iptables; iptables with the nftables backend does not use this lock."""
    holder = host.popen(["flock", "/run/xtables.lock", "sleep", "300"])
    assert eventually(lambda: host.run("flock -n /run/xtables.lock true", check=False).returncode == 1)
    try:
        yield
    finally:
        host.run("pkill -x sleep")  # sleep has inherited the lock
        holder.wait()


def assert_session_ends(host: Host, deadline: float) -> None:
    """Assert that no process of a transfer runs on a host at the deadline (monotonic seconds)."""
    ended = eventually(lambda: not host.sh("pgrep -f [t]ransferpy; true"), seconds=deadline - time.monotonic())
    assert ended, host.sh("ps -ef")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_while_the_lock_of_iptables_is_waited_for_ends_the_run_in_time(
    walls: Lab, sent: signal.Signals
) -> None:
    target = walls["legacy"]
    before, target_before = walls.snapshot(), target.snapshot()
    with Hold(target, "openssl") as key, Run(walls, *TO_LEGACY) as run:
        key.wait_for_call()
        with locked(target):
            key.let_go()
            assert eventually(lambda: "-I INPUT" in target.sh("pgrep -a ip6tables; true"))
            deadline = end_by_signal(run, sent)
            assert_session_ends(target, deadline)
        assert sent == signal.SIGKILL or NOT_UNDONE in run.log
    # The warning is about a rule that may exist; it does not.
    assert new_rules(target, target_before) == []
    result = transfer(walls, *TO_LEGACY, check=True)
    assert re.search(r"INFO  legacy: undid the changes of the stale run \w+\n", result.stderr)
    target.run("rm -r /srv/in/data")
    assert_as_before(walls, before)


def test_a_rule_that_cannot_be_removed_for_a_lock_is_left_to_the_next_run_which_removes_it(walls: Lab) -> None:
    target = walls["legacy"]
    before, target_before = walls.snapshot(), target.snapshot()
    walls["source"].shape(SLOW)
    with Run(walls, *TO_LEGACY) as run:
        run.wait_for_stream(target)
        with locked(target):
            deadline = end_by_signal(run, signal.SIGTERM)
            assert_session_ends(target, deadline)
        assert NOT_UNDONE in run.log
        assert "Another app is currently holding the xtables lock" in run.log
    walls["source"].shape(None)
    assert len(new_rules(target, target_before)) == LISTED[Firewall.LEGACY]
    assert target.sh("ls -A /srv/in") == ""  # all other changes are undone
    transfer(walls, *TO_LEGACY, check=True)
    target.run("rm -r /srv/in/data")
    assert_as_before(walls, before)


def test_a_lock_of_iptables_that_is_free_in_time_only_costs_time(walls: Lab) -> None:
    target = walls["legacy"]
    before = walls.snapshot()
    with Hold(target, "openssl") as key, Run(walls, *TO_LEGACY) as run:
        key.wait_for_call()
        with locked(target):
            key.let_go()
            began = time.monotonic()
            assert eventually(lambda: "-I INPUT" in target.sh("pgrep -a ip6tables; true"))
            assert eventually(lambda: time.monotonic() - began > PROMISED_SECONDS / 3)
        assert run.end().status == 0, run.log
    target.run("rm -r /srv/in/data")
    assert_as_before(walls, before)
