"""Runs the commands of the runbooks and of the page on nightly copies, with the service script of Debian.

The tests of a kind of replication use the same hosts, in the order of this file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from helpers import eventually
from lab import DEFAULT_HOSTS, Firewall, HostSpec, Lab
from pages import typed_by_tests
from typist import install_command, type_on, type_section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lab import Host

pytestmark = pytest.mark.lab

SYSTEMS = [
    pytest.param(("positions", ""), id="10.11-with-positions"),
    pytest.param(("GTIDs", "trixie"), id="11.8-with-GTIDs"),
]
"""The kinds of replication, and the Debian suites of the database hosts."""
_SMALL = "[mysqld]\ninnodb_buffer_pool_size = 32M\ninnodb_log_file_size = 16M\n"
_CONFIGURATION = """[mysqld]
datadir = /srv/sqldata
server_id = {number}
log_bin = {name}-bin
bind_address = *
"""
_PRIMARY_DATA = """
    CREATE USER repl@'%' IDENTIFIED BY 'secret'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
    CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1);
"""
THREADS = ("Slave_IO", "Slave_SQL")
WAITS = "Waiting until MASTER_DELAY seconds after master executed event"
_PROVISION, _THREE, _DELAYED, _REPLACE, _LATE, _NIGHTLY, _RESTORE, _RECOVERY, _TROUBLE = typed_by_tests("runbooks")
_POSITIONS = {
    "TO_FILE": r"^(db1-bin\.\d+)\t\d+",
    "TO_POSITION": r"^db1-bin\.\d+\t(\d+)",
    "RELAY_FILE": r"^ *Relay_Log_File: (\S+)",
    "RELAY_POSITION": r"^ *Relay_Log_Pos: (\d+)",
}
_RECOVERY_VALUES = {
    "OLDEST": r"^(db1-bin\.\d+)\t\d+$",
    "COPY": r"^(\d{4}-\d{2}-\d{2}-\d{6})$",
    "FROM_FILE": "MASTER_LOG_FILE='(.*)', MASTER_LOG_POS=",
    "FROM_POSITION": r"MASTER_LOG_POS=(\d+)",
    "FROM_GTID": "gtid_slave_pos = '(.*)'",
    "TO_FILE": r"^(db1-bin\.\d+)  \d+  .*DROP TABLE `orders`",
    "TO_POSITION": r"^db1-bin\.\d+  (\d+)  .*DROP TABLE `orders`",
}
"""The values that a reader finds in the output of commands, by the words that stand for them."""


def execute(host: Host, sql: str) -> str:
    return host.sh(f"mariadb --batch --skip-column-names --execute={quoted_word(sql)}")


def quoted_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@dataclass(frozen=True)
class Fleet:
    """The hosts of the page: a primary, a replica of it, and hosts with a server that is not configured."""

    lab: Lab
    mode: str

    def __getitem__(self, host: str) -> Host:
        return self.lab[host]

    def type(self, title: str, *, page: str = "runbooks", values: Mapping[str, str] | None = None) -> str:
        """Run the commands of a section and return their output."""
        return type_section(page, title, self.lab.__getitem__, mode=self.mode, values=values or {})


def hosts(suite: str) -> dict[str, HostSpec]:
    """Return the hosts of the page, with the system of a Debian suite on all database hosts."""
    names = ("db1", "db2", "db3", "db4", "db5", "db6")
    firewalls = {name: spec.firewall for name, spec in DEFAULT_HOSTS.items()}
    return {"orch": HostSpec()} | {
        name: HostSpec(firewall=firewalls.get(name, Firewall.NONE), suite=suite) for name in names
    }


def databases(lab: Lab) -> list[Host]:
    """Return all hosts of a lab except the orchestration host."""
    return list(lab)[1:]


@pytest.fixture(scope="module", params=SYSTEMS)
def fleet(request: pytest.FixtureRequest) -> Iterator[Fleet]:
    mode, suite = request.param
    with Lab.up(hosts(suite)) as lab:
        install_command(lab)
        lab["db1"].run(
            "iptables -I INPUT -p tcp --dport 3306 -j ACCEPT; ip6tables -I INPUT -p tcp --dport 3306 -j ACCEPT"
        )
        for number, host in enumerate(databases(lab), 1):
            prepare(host, number)
        execute(lab["db1"], _PRIMARY_DATA)
        with_gtid = {"positions": "no", "GTIDs": "slave_pos"}[mode]
        # Replication starts at the beginning of the binary log, which also creates the user and the data.
        change = f"MASTER_HOST = 'db1', MASTER_USER = 'repl', MASTER_PASSWORD = 'secret', MASTER_USE_GTID = {with_gtid}"
        execute(lab["db2"], f"CHANGE MASTER TO {change}; SET GLOBAL read_only = ON; START SLAVE")
        made = Fleet(lab, mode)
        assert follows(made, "db2"), execute(lab["db2"], "SHOW SLAVE STATUS")
        yield made
        for host in databases(lab):
            host.run("pkill -KILL -x mariadbd-safe; pkill -KILL -f mysqld_safe; pkill -KILL -x mariadbd", check=False)


def prepare(host: Host, number: int) -> None:
    """Bring a database host into the state in which the page finds it."""
    host.run("rm -rf /var/lib/mysql && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld")
    host.run("cat >/etc/mysql/mariadb.conf.d/99-small.cnf", input=_SMALL.encode())
    if host.name in {"db1", "db2"}:
        text = _CONFIGURATION.format(number=number, name=host.name)
        host.run("cat >/etc/mysql/mariadb.conf.d/90-host.cnf", input=text.encode())
        host.run("install -d -o mysql -g mysql -m 750 /srv/sqldata")
    if host.name in {"db1", "db2", "db3"}:  # on the others, the first command would only stop the server again
        type_on(host, "mariadb-install-db --user=mysql --auth-root-authentication-method=socket --skip-test-db")
        type_on(host, "service mariadb start")


def write(fleet: Fleet) -> None:
    """Write an order on the primary."""
    execute(fleet["db1"], "INSERT INTO shop.orders SELECT MAX(id) + 1 FROM shop.orders")


def orders(fleet: Fleet, host: str) -> str:
    """Return the number and the checksum of the orders; empty if the server does not answer."""
    query = quoted_word("SELECT COUNT(*), MAX(id) FROM shop.orders; CHECKSUM TABLE shop.orders")
    return fleet[host].run(f"mariadb -BNe {query}", check=False).stdout.decode().strip()


def follows(fleet: Fleet, *replicas: str) -> bool:
    """Write to the primary, and return whether the replicas then have the same rows."""
    write(fleet)
    there = {orders(fleet, "db1")}
    return eventually(lambda: {orders(fleet, name) for name in replicas} == there, seconds=60)


def shows(fleet: Fleet, host: str, field: str, value: str) -> bool:
    """Return whether SHOW SLAVE STATUS soon has this value in a field."""
    script = rf"mariadb --execute 'SHOW SLAVE STATUS\G' | sed -n 's/^ *{field}: //p'"
    return eventually(lambda: fleet[host].sh(script) == value)


def runs(fleet: Fleet, host: str) -> bool:
    """Return whether both threads of replication run soon; START SLAVE does not wait for them."""
    return all(shows(fleet, host, f"{thread}_Running", "Yes") for thread in THREADS)


def test_the_runbooks_have_the_effects_that_they_describe(fleet: Fleet) -> None:
    wrote = fleet.type(_PROVISION)
    assert "INFO  db3:/srv/sqldata: complete" in wrote
    assert "INFO  db2: replication runs as before" in wrote
    assert wrote.count("_Running: ") == len(THREADS)
    assert runs(fleet, "db3")
    assert follows(fleet, "db3", "db2")

    assert "complete" in fleet.type(_NIGHTLY)
    assert fleet["db3"].sh("ls /srv/backups") == fleet["db3"].sh("echo sqldata.$(date +%F).tar.zst")
    assert follows(fleet, "db2")

    # Replication from the primary restores the rows that are newer than the copy.
    wrote = fleet.type(_RESTORE)
    assert "INFO  db2:/srv/sqldata: complete" in wrote
    assert wrote.count("_Running: ") == len(THREADS)
    assert runs(fleet, "db2")
    assert follows(fleet, "db2", "db3")

    assert not old_data(fleet, "db2")


def test_only_the_connection_that_a_run_has_stopped_is_started_by_hand(fleet: Fleet) -> None:
    db2 = fleet["db2"]
    execute(db2, "CHANGE MASTER 'paused' TO MASTER_HOST = 'db1', MASTER_USER = 'repl'; STOP SLAVE SQL_THREAD")
    entry = "start_replication server=/srv/sqldata/ flavour=mariadb connection= threads=SQL_THREAD -- mariadb"
    db2.run(f"install -d /run/transferpy/run.x && echo {entry} >/run/transferpy/run.x/undo.10000.replication")
    wrote = fleet.type(_TROUBLE, values={"NAME": r"connection=(\S*) threads="})
    db2.run("rm -r /run/transferpy/run.x")
    assert re.findall("Connection_name: (.*)", wrote) == ["", "paused"]
    assert runs(fleet, "db2")
    status = db2.sh(r"mariadb --execute 'SHOW ALL SLAVES STATUS\G'")
    assert re.findall(r"Slave_\w+_Running: (\w+)", status) == ["Yes", "Yes", "No", "No"]
    execute(db2, "RESET SLAVE 'paused' ALL")
    assert follows(fleet, "db2")


def old_data(fleet: Fleet, host: str) -> str:
    """Return the directory with the old data of a server, if it exists."""
    return fleet[host].sh("ls -d /srv/sqldata.old 2>/dev/null || true")


def test_the_page_on_nightly_copies_makes_copies_and_restores_one(fleet: Fleet) -> None:
    wrote = {title: fleet.type(title, page="nightly") for title in typed_by_tests("nightly")}
    first, second = wrote["By cron"].split()
    assert f"[db2] db3:/srv/nightly/db2/{first}: complete\n" in wrote["The job"]
    assert wrote["The job"].endswith(f"\n{first}\n")
    assert f"INFO  db1:/srv/{second}: complete\n" in wrote["Restore a copy"]
    assert fleet["db1"].sh(f"stat -c %U /srv/{second}/ibdata1") == "mysql"
    assert follows(fleet, "db2")


def test_three_replicas_are_built_from_one(fleet: Fleet) -> None:
    new = ("db4", "db5", "db6")
    wrote = fleet.type(_THREE)
    assert [wrote.count(f"INFO  {name}:/srv/sqldata: complete\n") for name in new] == [1, 1, 1]
    assert wrote.count("INFO  db2: replication runs as before") == len(new)
    assert wrote.count("_Running: ") == len(THREADS) * len(new)
    assert all(runs(fleet, name) for name in new)
    assert re.search(r"\n +4 shop\.orders\t\d+\n$", wrote), wrote
    assert follows(fleet, *new, "db2")


def test_a_delayed_replica_is_rebuilt_and_applies_what_was_late(fleet: Fleet) -> None:
    break_delayed_replica(fleet)
    wrote = fleet.type(_DELAYED)
    assert wrote.count("Got fatal error 1236") == 1
    assert wrote.count("SQL_Delay: 3600") == 2
    assert runs(fleet, "db6")
    early = orders(fleet, "db1")
    assert orders(fleet, "db6") == early

    assert follows(fleet, "db2", "db5")
    assert shows(fleet, "db6", "Slave_SQL_Running_State", WAITS)
    assert orders(fleet, "db6") == early

    purge(fleet)  # the late transactions are in the relay logs only
    wrote = fleet.type(_LATE, values=_POSITIONS)
    assert re.search(r"\n +2 shop\.orders\t\d+\n", wrote), wrote
    late = orders(fleet, "db1")
    assert orders(fleet, "db6") == late != early
    assert follows(fleet, "db2", "db5")
    assert shows(fleet, "db6", "Slave_SQL_Running_State", WAITS)
    assert shows(fleet, "db6", "SQL_Delay", "3600")
    assert orders(fleet, "db6") == late

    assert not old_data(fleet, "db6")
    assert "db6:/srv/trial" in fleet.type(_REPLACE)
    assert fleet["db6"].sh("ls -A /srv") == "sqldata"
    assert fleet["db6"].sh("ls -A /srv/sqldata") == ""


def purge(fleet: Fleet) -> None:
    """Remove all binary logs of the primary that its connected replicas have received."""
    primary = fleet["db1"]
    execute(primary, "FLUSH BINARY LOGS")
    last = execute(primary, "SHOW MASTER STATUS").split("\t")[0]

    def is_purged() -> bool:  # the server keeps a file that a replica still reads
        execute(primary, f"PURGE BINARY LOGS TO '{last}'")
        return execute(primary, "SHOW BINARY LOGS").startswith(f"{last}\t")

    assert eventually(is_purged)


def break_delayed_replica(fleet: Fleet) -> None:
    """Make db6 a delayed replica, and remove the binary logs that it needs from the primary."""
    execute(fleet["db6"], "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600")
    write(fleet)
    purge(fleet)
    execute(fleet["db6"], "START SLAVE")
    assert shows(fleet, "db6", "Last_IO_Errno", "1236")
    assert follows(fleet, "db2")  # the copy has all orders


def test_a_recovery_ends_before_the_accident(fleet: Fleet) -> None:
    fleet.type("The job", page="nightly")
    assert follows(fleet, "db2")
    execute(fleet["db1"], "UPDATE shop.orders SET id = 1000 WHERE id = 1; FLUSH BINARY LOGS")
    execute(fleet["db1"], "SET gtid_domain_id = 7; INSERT INTO shop.orders VALUES (2000)")
    execute(fleet["db1"], "CREATE TABLE shop.early (id INT PRIMARY KEY); DROP TABLE shop.early")
    before = orders(fleet, "db1")
    execute(fleet["db1"], "USE shop; DROP TABLE orders; CREATE TABLE later (id INT PRIMARY KEY)")

    wrote = fleet.type(_RECOVERY, values=_RECOVERY_VALUES)
    assert not re.search("^(ERROR|WARNING)", wrote, re.MULTILINE), wrote
    assert re.search(r"\n +2 shop\.orders\t\d+\n$", wrote), wrote
    assert (orders(fleet, "db1"), orders(fleet, "db5")) == (before, before)
    assert re.search(r"^db1-bin\.\d+  \d+  #\d{6} +[\d:]+  .*  DROP TABLE `shop`.`early`", wrote, re.MULTILINE), wrote
    assert execute(fleet["db5"], "SHOW TABLES FROM shop") == "orders"
    assert execute(fleet["db1"], "SHOW TABLES FROM shop").split() == ["later", "orders"]
    assert follows(fleet, "db2", "db4")
    # This statement stalls all commits of a server while it reads a binary log.
    assert execute(fleet["db1"], "SHOW GLOBAL STATUS LIKE 'Com_show_binlog_events'").split() == [
        "Com_show_binlog_events",
        "0",
    ]
