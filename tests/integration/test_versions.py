"""Hot copies of MariaDB 11.8 on hosts with Debian 13, and the refusal of copies between 10.11 and 11.8."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from databases import RUNNING, SOCKET, Fleet, Server, Writer, assert_unchanged, replicating, running_fleet
from helpers import transfer
from lab import Firewall, HostSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

HOSTS = {
    "orch": HostSpec(),
    "db1": HostSpec(firewall=Firewall.IPTABLES, suite="trixie"),
    "db2": HostSpec(suite="trixie"),
    "db3": HostSpec(firewall=Firewall.NFTABLES, suite="trixie"),
    "db4": HostSpec(),
}
BACKUP = ("--type", "xtrabackup")
COMPLETE = ("--prepare", "--owner", "mysql:mysql")
OLD_NAMES = "/usr/bin/{mysql*,mariabackup} /usr/sbin/mysqld"
"""The names that MariaDB 11 has no longer, and that Debian 13 still links to the programs."""
KINDS = """
    CREATE DATABASE kinds; USE kinds;
    CREATE TABLE `日本 語` (id INT PRIMARY KEY, text TEXT, FULLTEXT (text)) ENGINE=InnoDB;
    CREATE TABLE parts (id INT PRIMARY KEY) ENGINE=InnoDB PARTITION BY HASH (id) PARTITIONS 4;
    CREATE TABLE compressed (id INT PRIMARY KEY) ENGINE=InnoDB PAGE_COMPRESSED=1;
    CREATE TABLE versions (id INT PRIMARY KEY) ENGINE=InnoDB WITH SYSTEM VERSIONING;
    CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(2) NOT NULL, VECTOR INDEX (v)) ENGINE=InnoDB;
    CREATE TABLE aria (id INT PRIMARY KEY) ENGINE=Aria;
    CREATE TABLE myisam (id INT PRIMARY KEY) ENGINE=MyISAM;
    CREATE SEQUENCE numbers;
    INSERT INTO `日本 語` SELECT seq, CONCAT('text ', seq) FROM seq_1_to_1000;
    INSERT INTO vectors SELECT seq, VEC_FromText(CONCAT('[', seq, ', 1]')) FROM seq_1_to_1000;
    INSERT INTO parts SELECT seq FROM seq_1_to_1000; INSERT INTO compressed SELECT seq FROM seq_1_to_1000;
    INSERT INTO versions SELECT seq FROM seq_1_to_1000; DELETE FROM versions WHERE id > 500;
    INSERT INTO aria SELECT seq FROM seq_1_to_1000; INSERT INTO myisam SELECT seq FROM seq_1_to_1000;
"""
HISTORY = "SELECT COUNT(*) FROM kinds.versions FOR SYSTEM_TIME ALL; SELECT * FROM kinds.numbers"


@pytest.fixture(scope="module")
def servers() -> Iterator[Fleet]:
    with running_fleet(HOSTS) as made:
        for name in ("db1", "db2", "db3"):
            made[name].run(f"rm -f {OLD_NAMES}")
        assert made.primary.value("SELECT VERSION()").startswith("11.8.")
        made.primary.execute(KINDS)
        assert made.replica.has_caught_up(made.primary)
        yield made


@pytest.fixture
def fleet(servers: Fleet) -> Iterator[Fleet]:
    """The fleet for one test; it has MariaDB 11.8 on db1 to db3, and the programs of 10.11 on db4."""
    with replicating(servers) as fleet:
        yield fleet


def tables(server: Server) -> list[str]:
    """Return the quoted names of all tables of a server, without views and sequences."""
    names = server.execute("""
        SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema <> 'performance_schema'
        AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1, 2""")
    return [f"`{schema}`.`{name}`" for schema, name in names]


def constant_content(server: Server) -> list[list[str]]:
    """Return the checksums of the tables that no test changes."""
    names = [name for name in tables(server) if name.startswith(("`kinds`", "`shop`.`blobs`"))]
    return server.execute(f"CHECKSUM TABLE {', '.join(names)}; {HISTORY}")


def assert_undamaged(copy: Server) -> None:
    """Assert that the server finds no error in any table, and that orders and payments have the same rows."""
    names = tables(copy)
    assert len(names) > 40
    checked = copy.execute(f"CHECK TABLE {', '.join(names)} EXTENDED")
    assert {tuple(row[2:]) for row in checked} == {("status", "OK")}, checked
    assert copy.execute("SELECT * FROM shop.orders EXCEPT SELECT * FROM shop.payments") == []


def test_a_copy_of_a_server_under_load_starts_on_the_target_with_all_tables(fleet: Fleet) -> None:
    with Writer(fleet.primary) as writer:
        before = writer.written
        transfer(fleet.lab, *BACKUP, *COMPLETE, f"db1:{SOCKET}", "db3:/srv/copy", check=True)
    with Server(fleet["db3"], 3, datadir="/srv/copy") as copy:
        assert_undamaged(copy)
        assert int(copy.value("SELECT COUNT(*) FROM shop.orders")) >= before
        assert constant_content(copy) == constant_content(fleet.primary)
    fleet["db3"].run("rm -r /run/mysqld")


def test_a_copy_of_a_replica_with_gtids_becomes_a_replica(fleet: Fleet) -> None:
    stopped = fleet.replica.counted("stop_slave")
    with Writer(fleet.primary):
        words = (*BACKUP, "--stop-slave", *COMPLETE, f"db2:{SOCKET}", "db3:/srv/copy")
        result = transfer(fleet.lab, *words, check=True)
        assert "INFO  db2: replication runs as before" in result.stderr
        assert fleet.replica.counted("stop_slave") == stopped + 1
        assert set(fleet.replica.replication().values()) == {RUNNING}
    position = fleet["db3"].sh("cat /srv/copy/mariadb_backup_slave_info")
    assert f"replication position of its source: {' '.join(position.split())}" in result.stderr
    with Server(fleet["db3"], 3, datadir="/srv/copy") as copy:
        assert_undamaged(copy)
        copy.execute(position)
        copy.follow(fleet.primary)
        assert copy.has_caught_up(fleet.primary)
        orders = "CHECKSUM TABLE shop.orders, shop.payments"
        assert copy.execute(orders) == fleet.primary.execute(orders)
        assert constant_content(copy) == constant_content(fleet.primary)
    fleet["db3"].run("rm -r /run/mysqld")


def test_copies_between_major_versions_are_refused_in_both_directions(fleet: Fleet) -> None:
    older = Server(fleet["db4"], 4)
    older.install()
    with older:
        before, stopped = fleet.snapshot(), fleet.replica.counted("stop_slave")
        upwards = transfer(fleet.lab, *BACKUP, f"db4:{SOCKET}", "db3:/srv/copy")
        downwards = transfer(fleet.lab, *BACKUP, "--stop-slave", f"db2:{SOCKET}", "db3:/srv/copy", "db4:/srv")
        assert_unchanged(fleet, before)
    fleet["db4"].run("rm -r /run/mysqld")
    assert (upwards.status, downwards.status) == (4, 4)
    assert "ERROR db3: mariadb-backup has version 11.8, but the server has version 10.11\n" in upwards.stderr
    assert "ERROR db4: mariadb-backup has version 10.11, but the server has version 11.8\n" in downwards.stderr
    assert fleet.replica.counted("stop_slave") == stopped
