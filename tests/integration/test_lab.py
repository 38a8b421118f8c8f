"""Tests of the lab itself, which all other integration tests use."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from lab import CHECKOUT, CommandFailed, Firewall, Host, HostSpec, Lab, LabError, difference
from lab.spec import LabState, Process, lab_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.lab

ECHO = ("socat", "-u", "TCP6-LISTEN:{port},fork,reuseaddr,ipv6-v6only=0", "OPEN:/dev/null")


def eventually(condition: Callable[[], object], seconds: float = 5) -> bool:
    """Return whether the condition becomes true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def listen(host: Host, port: int) -> subprocess.Popen[bytes]:
    listener = host.popen([word.format(port=port) for word in ECHO])
    assert eventually(lambda: f"tcp *:{port}" in host.snapshot()["listening"])
    return listener


def reached(host: Host, port: int, *addresses: str) -> list[bool]:
    """Return, for each address, whether a connection succeeds. Half a second is enough on one machine."""
    probes = [host.popen(["timeout", "0.5", "nc.openbsd", "-z", address, str(port)]) for address in addresses]
    return [probe.wait() == 0 for probe in probes]


@pytest.fixture
def listeners(clean_lab: Lab) -> Iterator[Lab]:
    """The clean lab with a listener on port 4400 of every host."""
    processes = [listen(host, 4400) for host in clean_lab]
    yield clean_lab
    for process in processes:
        process.terminate()
        process.wait()


def test_four_hosts_are_up_and_ssh_from_orch_reaches_each_by_every_name(clean_lab: Lab) -> None:
    names = [name for host in clean_lab for name in (host.name, f"{host.name}.lab.example", host.ipv4, host.ipv6)]
    logins = " & ".join(f"ssh -o BatchMode=yes {name} hostname" for name in names)
    assert sorted(clean_lab["orch"].sh(f"{logins} & wait").split()) == sorted(list(clean_lab.hosts) * 4)


def test_only_orch_can_log_in_to_the_others(clean_lab: Lab) -> None:
    with pytest.raises(CommandFailed, match="Permission denied"):
        clean_lab["db1"].sh("ssh -o BatchMode=yes db2 hostname")


def test_twenty_logins_at_once_all_succeed(clean_lab: Lab) -> None:
    script = "for i in {1..20}; do ssh db1 echo in & done; wait"
    assert clean_lab["orch"].sh(script).split() == ["in"] * 20


def test_cumin_on_orch_reaches_the_databases(clean_lab: Lab) -> None:
    output = clean_lab["orch"].sh("cumin --force --output txt 'db1,db2' hostname")
    assert {"db1: db1", "db2: db2"} <= set(output.splitlines())


def test_the_checkout_and_its_python_are_visible_on_a_host(clean_lab: Lab) -> None:
    assert clean_lab["db1"].run(["cmp", __file__, f"{CHECKOUT}/tests/integration/test_lab.py"])
    assert clean_lab["db1"].run(["/usr/bin/python3", "-c", "import cumin"])


def test_changes_on_a_host_are_visible_neither_on_other_hosts_nor_on_the_machine(clean_lab: Lab) -> None:
    for directory in ("/srv", "/tmp", "/run", "/root", "/dev/shm", "/etc", "/etc/transferpy", "/usr/bin", "/var/lib"):
        path = f"{directory}/made-by-a-lab-test"
        clean_lab["db1"].sh(f"touch {path}")
        assert not Path(path).exists()
        assert clean_lab["db2"].run(["test", "-e", path], check=False).returncode == 1
        clean_lab["db1"].sh(f"rm {path}")


def test_srv_is_a_real_disk_with_xattrs_and_acls(clean_lab: Lab) -> None:
    clean_lab["db1"].sh("cd /srv && touch a && setfattr -n user.colour -v blue a && setfacl -m u:daemon:r a")
    assert "blue" in clean_lab["db1"].sh("getfattr -d /srv/a")
    assert "user:daemon:r--" in clean_lab["db1"].sh("getfacl -c /srv/a")
    assert clean_lab["db1"].sh("stat -f -c %T /srv") != "tmpfs"


def test_a_small_disk_fills_up(clean_lab: Lab) -> None:
    clean_lab["db1"].small_disk("/srv/small", "1m")
    with pytest.raises(CommandFailed, match="No space left"):
        clean_lab["db1"].sh("head -c 2M /dev/zero >/srv/small/full")


def test_default_firewalls_block_a_port_until_it_is_opened(listeners: Lab) -> None:
    orch, db1, db2, db3 = listeners
    addresses = [address for host in (db1, db2, db3) for address in (host.ipv4, host.ipv6)]
    assert reached(orch, 4400, *addresses) == [False, False, False, False, True, True]
    db1.sh("iptables -I INPUT -p tcp --dport 4400 -j ACCEPT")
    db2.sh("nft insert rule inet filter input tcp dport 4400 accept")
    assert reached(orch, 4400, *addresses) == [True, False, True, True, True, True]
    db1.sh("iptables -D INPUT -p tcp --dport 4400 -j ACCEPT")
    db2.sh("nft delete rule inet filter input handle $(nft -a list ruleset | sed -n 's/.*4400.*handle //p')")


def test_every_kind_of_firewall_lets_ssh_in_and_nothing_else() -> None:
    kinds = [kind for kind in Firewall if kind != Firewall.NONE]
    with Lab.up({"orch": HostSpec(), **{kind: HostSpec(firewall=kind) for kind in kinds}}) as lab:
        orch, *hosts = lab
        for host in hosts:
            listen(host, 4400)
        addresses = [address for host in hosts for address in (host.ipv4, host.ipv6)]
        assert all(reached(orch, 22, *addresses))
        assert not any(reached(orch, 4400, *addresses))


def test_a_legacy_host_has_the_legacy_iptables_and_its_rules_are_in_snapshots() -> None:
    with Lab.up({"db1": HostSpec(firewall="legacy")}) as lab:
        assert "legacy" in lab["db1"].sh("iptables --version")
        before = lab.snapshot()
        lab["db1"].sh("iptables -I INPUT -p tcp --dport 4400 -j ACCEPT")
        assert "4400" in difference(before, lab.snapshot())


def test_hidden_commands_are_not_found_until_they_come_back(clean_lab: Lab) -> None:
    db1 = clean_lab["db1"]
    db1.hide("zstd", "pigz")
    assert db1.run("command -v zstd pigz", check=False).stdout == b""
    assert db1.run("zstd --version", check=False).returncode == 127
    assert clean_lab["db2"].sh("command -v zstd") == "/usr/bin/zstd"
    db1.unhide("zstd")
    assert db1.sh("zstd --version; command -v pigz || true").startswith("***")
    db1.unhide()
    assert db1.sh("command -v pigz") == "/usr/bin/pigz"
    with pytest.raises(LabError, match="db1 has no command xyzzy"):
        db1.hide("xyzzy")


@pytest.mark.parametrize(
    ("flavour", "text"), [("openbsd", "OpenBSD netcat"), ("traditional", "v1.10"), ("ncat", "Ncat")]
)
def test_a_host_has_the_netcat_it_was_given_and_no_other(clean_lab: Lab, flavour: str, text: str) -> None:
    db1 = clean_lab["db1"]
    db1.netcat(None)
    assert db1.run("command -v nc netcat ncat nc.openbsd nc.traditional", check=False).stdout == b""
    db1.netcat(flavour)
    assert text in db1.sh("nc -h 2>&1 || true")
    assert len(db1.sh("for f in nc.openbsd nc.traditional ncat; do command -v $f; done; true").split()) == 1


def test_a_cut_loses_packets_silently_between_two_hosts_only_and_heals(listeners: Lab) -> None:
    orch, db1, db2, db3 = listeners
    before = listeners.snapshot()
    db3.cut(db2)
    assert reached(db2, 4400, db3.ipv4, db3.ipv6) == [False, False]
    assert reached(orch, 22, db2.ipv4, db3.ipv6) == [True, True]
    assert reached(db1, 4400, db3.ipv4) == [True]
    assert difference(before, listeners.snapshot()) == ""
    db3.heal(db2)
    assert reached(db2, 4400, db3.ipv4, db3.ipv6) == [True, True]


def test_a_shaped_link_is_slow_in_both_directions_until_it_is_not(clean_lab: Lab) -> None:
    orch = clean_lab["orch"]

    def seconds(script: str) -> float:
        start = time.monotonic()
        orch.sh(script)
        return time.monotonic() - start

    clean_lab["db3"].shape("20mbit")
    assert seconds("head -c 1M /dev/zero | ssh db3 'cat >/dev/null'") > 0.3
    assert seconds("ssh db3 'head -c 1M /dev/zero' >/dev/null") > 0.3
    clean_lab["db3"].shape(None)
    assert "tbf" not in clean_lab["db3"].sh("tc qdisc show")


def test_each_connection_has_its_own_limit(clean_lab: Lab) -> None:
    db1, orch = clean_lab["db1"], clean_lab["orch"]
    db1.limit_connections("50mbit")
    ports = (4400, 4401)
    for address in (orch.ipv4, f"[{orch.ipv6}]"):
        receivers = [
            orch.popen(["bash", "-c", f"socat -u TCP6-LISTEN:{port},reuseaddr,ipv6only=0 STDOUT >/dev/null"])
            for port in ports
        ]
        assert eventually(lambda: len(orch.sh("ss -Htln 'sport ge :4400'").splitlines()) == 2)
        db1.run(" & ".join(f"head -c 1M /dev/zero | socat -u STDIN TCP:{address}:{port}" for port in ports) + " & wait")
        for receiver in receivers:
            assert receiver.wait(timeout=30) == 0
    sent = re.findall(r"class htb.*\n Sent (\d+)", db1.sh("tc -s class show dev eth0"))
    assert sorted(int(count) > 2 << 20 for count in sent)[-3:] == [False, True, True]
    db1.shape(None)
    assert "htb" not in db1.sh("tc qdisc show")


def connecting_seconds(host: Host, address: str) -> float:
    """Return how long a connection takes, which is one round trip, to the listener on port 4400."""
    script = "import socket, sys, time; began = time.monotonic(); socket.create_connection((sys.argv[1], 4400)); "
    return float(host.run(["/usr/bin/python3", "-c", f"{script}print(time.monotonic() - began)", address]).stdout)


def devices_to(host: Host, *others: Host) -> list[str]:
    """Return the device of the route to each address of these hosts."""
    addresses = [address for other in others for address in (other.ipv4, other.ipv6)]
    routes = [host.sh(f"ip -o route get {address}").split() for address in addresses]
    return [route[route.index("dev") + 1] for route in routes]


def test_a_delayed_path_has_a_round_trip_time_between_two_hosts_only_until_it_is_removed(listeners: Lab) -> None:
    orch, _, db2, db3 = listeners
    before = listeners.snapshot()
    listeners.delay("db3", "orch", 0.2)
    assert all(connecting_seconds(orch, address) >= 0.2 for address in (db3.ipv4, db3.ipv6))
    assert devices_to(orch, db2) + devices_to(db2, orch, db3) == ["eth0"] * 6
    assert difference(before, listeners.snapshot()) == ""
    listeners.delay("orch", "db3", 0)
    assert devices_to(orch, db3) + devices_to(db3, orch) == ["eth0"] * 4
    assert reached(orch, 4400, db3.ipv4, db3.ipv6) == [True, True]


def test_a_delay_replaces_an_earlier_one_and_ends_with_restore(clean_lab: Lab) -> None:
    _, _, db2, db3 = clean_lab
    clean_lab.delay("db2", "db3", 0.1)
    clean_lab.delay("db3", "db2", 0.01)
    assert devices_to(db2, db3) == ["wan14"] * 2
    clean_lab.restore()
    assert devices_to(db2, db3) == ["eth0"] * 2


def test_a_delayed_path_carries_data_unchanged_in_both_directions(clean_lab: Lab) -> None:
    clean_lab.delay("orch", "db3", 0.02)
    orch, db3 = clean_lab["orch"], clean_lab["db3"]
    orch.sh("head -c 20M /dev/urandom >/srv/there; ssh db3 'tee /srv/copy' </srv/there >/srv/back")
    sums = {host.sh(f"md5sum </srv/{name}") for host, name in ((orch, "there"), (orch, "back"), (db3, "copy"))}
    assert len(sums) == 1


@pytest.mark.parametrize(("hosts", "seconds"), [(("db1", "db1"), 0.1), (("db1", "db2"), -1), (("db1", "db2"), 60)])
def test_a_delay_without_sense_is_refused(clean_lab: Lab, hosts: tuple[str, str], seconds: float) -> None:
    with pytest.raises(LabError, match="two hosts, and a time of at most 10 seconds"):
        clean_lab.delay(*hosts, seconds)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_a_popen_reaches_the_process_on_the_host(clean_lab: Lab, sent: signal.Signals) -> None:
    process = clean_lab["db1"].popen(["sleep", "1000"])
    assert eventually(lambda: clean_lab["db1"].run(["pgrep", "-x", "sleep", "-a"], check=False).stdout.count(b"1000"))
    process.send_signal(sent)
    assert process.wait(5) == -sent
    assert b"1000" not in clean_lab["db1"].run(["pgrep", "-a", "-x", "sleep"], check=False).stdout


def test_a_command_that_takes_too_long_is_killed_with_its_children(clean_lab: Lab) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        clean_lab["db1"].run("sleep 1000 & sleep 1000", timeout=0.2)
    assert eventually(lambda: clean_lab["db1"].snapshot()["processes"] == [])


def test_the_error_of_a_failed_command_has_its_output(clean_lab: Lab) -> None:
    with pytest.raises(CommandFailed, match=r"exit status 3.*\n.*the reason"):
        clean_lab["db1"].run("echo the reason >&2; exit 3")


def test_a_snapshot_finds_remains(clean_lab: Lab) -> None:
    db1 = clean_lab["db1"]
    before = db1.snapshot()
    db1.run("ls; iptables-save; nft list ruleset")
    assert difference(before, db1.snapshot()) == ""
    db1.run("touch /run/left; iptables -I INPUT -p tcp --dport 4444 -j ACCEPT")
    listener = listen(db1, 4444)
    left = difference(before, db1.snapshot())
    for trace in ("+/run/left -rw-r--r-- 0", "--dport 4444", "+tcp *:4444", "socat"):
        assert trace in left
    listener.terminate()
    listener.wait()
    db1.run("rm /run/left; iptables -D INPUT -p tcp --dport 4444 -j ACCEPT")
    assert db1.snapshot() == before


def test_two_labs_stand_side_by_side_with_the_same_addresses(clean_lab: Lab) -> None:
    with Lab.up() as other:
        assert other["db1"].ipv4 == clean_lab["db1"].ipv4
        other["db1"].run("touch /srv/other")
        assert clean_lab["orch"].sh("ssh db1 ls /srv") == ""
        assert other["orch"].sh("ssh db1 ls /srv") == "other"


def test_a_host_that_is_switched_off_takes_its_processes_along() -> None:
    with Lab.up({"db1": HostSpec()}) as lab:
        process = lab["db1"].popen(["sleep", "1000"])
        lab["db1"].kill()
        assert process.wait(5) == -signal.SIGKILL
        with pytest.raises(LabError, match="host db1 is down"):
            lab["db1"].run("true")


def members(namespaces: set[str]) -> list[str]:
    """Return the processes of the machine in one of these namespaces; zombies are in none."""
    found = []
    for link in Path("/proc").glob("[0-9]*/ns/[mnu]*"):
        try:
            if str(link.readlink()) in namespaces:
                found.append(str(link))
        except OSError:
            continue  # the process has ended in the meantime
    return found


@pytest.mark.parametrize("killed", ["owner", "keeper"])
def test_nothing_remains_of_a_lab_whose_owner_or_keeper_was_killed(killed: str) -> None:
    name = f"killed-{killed}"
    up = f"from lab import Lab; lab = Lab.up(name={name!r}); lab.delay('db1', 'db2', 0.1)"
    script = f"{up}; lab['db1'].popen(['sleep', '1000']); input()"
    owner = subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT / "tests", stdin=subprocess.PIPE)
    assert eventually(lambda: (lab_directory(name) / "lab.json").exists() and LabState.load(name).switch)
    state = LabState.load(name)
    inits = [host.init for host in state.hosts]
    ours = {str(link.readlink()) for link in Path("/proc/self/ns").iterdir()}
    theirs = {str(link.readlink()) for init in inits for link in Path(f"/proc/{init}/ns").iterdir()} - ours
    assert eventually(lambda: len(members(theirs)) > 4 * len(inits))
    record = lab_directory(name) / "delay.db1.db2"
    assert eventually(lambda: record.exists() and record.read_text())
    pid, start = map(int, record.read_text().split())

    if killed == "keeper":
        os.kill(state.keeper.pid, signal.SIGKILL)
    owner.kill()
    owner.communicate()
    assert eventually(lambda: not members(theirs))
    if killed == "keeper":
        Lab.up({"orch": HostSpec()}).down()  # the creation of the next lab removes the directory
    assert eventually(lambda: not lab_directory(name).exists())
    assert name not in Path("/proc/mounts").read_text()
    assert eventually(lambda: not state.keeper.alive())
    assert eventually(lambda: not Process(pid=pid, start=start).alive())


def test_the_command_line_makes_a_lab_uses_it_and_removes_it() -> None:
    def tool(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.lab", argv[0], "--name", "by-hand", *argv[1:]]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    made = tool("up", "orch", "db1=iptables-reject")
    try:
        assert (made.returncode, made.stderr) == (0, "")
        assert "run --name by-hand orch hostname" in made.stdout
        assert "already" in tool("up").stderr
        assert "iptables-reject" in tool("hosts").stdout
        assert tool("run", "orch", "ssh db1 hostname").stdout == "db1\n"
        assert tool("run", "orch", "sh", "-c", "exit 5").returncode == 5
        assert "no host db9, only orch, db1" in tool("run", "db9", "true").stderr
        assert tool("shape", "db1", "10mbit").returncode == 0
        assert tool("limit", "db1", "10mbit").returncode == 0
        assert "htb" in tool("run", "db1", "tc qdisc show").stdout
        assert tool("shape", "db1", "none").returncode == 0
        assert tool("delay", "orch", "db1", "0.1").returncode == 0
        assert "dev wan12" in tool("run", "orch", "ip route").stdout
        assert tool("delay", "orch", "db1", "0").returncode == 0
        assert "wan12" not in tool("run", "orch", "ip route").stdout
        assert "a delay needs two hosts" in tool("delay", "orch", "orch", "1").stderr
        assert json.loads((lab_directory("by-hand") / "lab.json").read_text())["owner"] is None
    finally:
        assert tool("down").returncode == 0
    assert "there is no lab named by-hand" in tool("hosts").stderr


@pytest.mark.parametrize(
    ("hosts", "complaint"),
    [
        ({"Db_1": HostSpec()}, "'Db_1' is not a valid name"),
        ({"db1": HostSpec(firewall="ufw")}, "one of none, iptables"),
    ],
)
def test_a_lab_that_cannot_be_created_reports_the_reason(hosts: dict[str, HostSpec], complaint: str) -> None:
    with pytest.raises(LabError, match=complaint):
        Lab.up(hosts)
