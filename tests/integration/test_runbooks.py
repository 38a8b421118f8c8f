"""Runs the commands of the runbooks and of the page on nightly copies, with the service script of Debian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from helpers import eventually
from lab import Lab
from pages import typed_by_tests
from typist import install_command, type_on, type_section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

pytestmark = pytest.mark.lab

_CONFIGURATION = """[mysqld]
datadir = /srv/sqldata
server_id = {number}
log_bin = {name}-bin
bind_address = *
innodb_buffer_pool_size = 32M
innodb_log_file_size = 16M
"""
_PRIMARY_DATA = """
    CREATE USER repl@'%' IDENTIFIED BY 'secret'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
    CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1);
"""


def execute(host: Host, sql: str) -> str:
    return host.sh(f"mariadb --batch --skip-column-names --execute={quoted_word(sql)}")


def quoted_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture(scope="module", params=["positions", "GTIDs"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The hosts of the page: a primary, a replica of it, and a host with a server that is not configured."""
    with Lab.up() as lab:
        install_command(lab)
        lab["db1"].run(
            "iptables -I INPUT -p tcp --dport 3306 -j ACCEPT; ip6tables -I INPUT -p tcp --dport 3306 -j ACCEPT"
        )
        for number, name in enumerate(("db1", "db2", "db3"), 1):
            lab[name].run("rm -rf /var/lib/mysql && install -d -o mysql -g mysql /var/lib/mysql /run/mysqld")
            if name != "db3":
                text = _CONFIGURATION.format(number=number, name=name)
                lab[name].run("cat >/etc/mysql/mariadb.conf.d/90-host.cnf", input=text.encode())
                lab[name].run("install -d -o mysql -g mysql -m 750 /srv/sqldata")
            type_on(
                lab[name], "mariadb-install-db --user=mysql --auth-root-authentication-method=socket --skip-test-db"
            )
            type_on(lab[name], "service mariadb start")
        execute(lab["db1"], _PRIMARY_DATA)
        with_gtid = {"positions": "no", "GTIDs": "slave_pos"}[request.param]
        # Replication starts at the beginning of the binary log, which also creates the user and the data.
        change = f"MASTER_HOST = 'db1', MASTER_USER = 'repl', MASTER_PASSWORD = 'secret', MASTER_USE_GTID = {with_gtid}"
        execute(lab["db2"], f"CHANGE MASTER TO {change}; SET GLOBAL read_only = ON; START SLAVE")
        assert follows(lab, "db2"), execute(lab["db2"], "SHOW SLAVE STATUS")
        yield lab
        for host in ("db1", "db2", "db3"):
            lab[host].run(
                "pkill -KILL -x mariadbd-safe; pkill -KILL -f mysqld_safe; pkill -KILL -x mariadbd", check=False
            )


def follows(lab: Lab, replica: str) -> bool:
    """Write to the primary, and return whether the replica then has the same rows."""
    execute(lab["db1"], "INSERT INTO shop.orders SELECT MAX(id) + 1 FROM shop.orders")
    orders = "SELECT COUNT(*), MAX(id) FROM shop.orders"
    there = execute(lab["db1"], orders)
    return eventually(
        lambda: lab[replica].run(f"mariadb -BNe {quoted_word(orders)}", check=False).stdout.decode().strip() == there,
        seconds=30,
    )


def test_the_runbooks_have_the_effects_that_they_describe(fleet: Lab) -> None:
    def type_all(title: str) -> str:
        return type_section("runbooks", title, fleet.__getitem__)

    provision, nightly, restore, trouble = typed_by_tests("runbooks")
    wrote = type_all(provision)
    assert "INFO  db3:/srv/sqldata: complete" in wrote
    assert "INFO  db2: replication runs as before" in wrote
    assert wrote.count("_Running: Yes") == 2
    assert follows(fleet, "db3")
    assert follows(fleet, "db2")

    assert "complete" in type_all(nightly)
    assert fleet["db3"].sh("ls /srv/backups") == fleet["db3"].sh("echo sqldata.$(date +%F).tar.zst")
    assert follows(fleet, "db2")

    # Replication from the primary restores the rows that are newer than the copy.
    wrote = type_all(restore)
    assert "INFO  db2:/srv/sqldata: complete" in wrote
    assert wrote.count("_Running: Yes") == 2
    assert follows(fleet, "db2")
    assert follows(fleet, "db3")

    execute(fleet["db2"], "STOP SLAVE")
    assert type_all(trouble) == ""
    assert follows(fleet, "db2")


def test_the_page_on_nightly_copies_makes_copies_and_restores_one(fleet: Lab) -> None:
    wrote = {title: type_section("nightly", title, fleet.__getitem__) for title in typed_by_tests("nightly")}
    first, second = wrote["By cron"].split()
    assert f"[db2] db3:/srv/nightly/db2/{first}: complete\n" in wrote["The job"]
    assert wrote["The job"].endswith(f"\n{first}\n")
    assert f"INFO  db1:/srv/{second}: complete\n" in wrote["Restore a copy"]
    assert fleet["db1"].sh(f"stat -c %U /srv/{second}/ibdata1") == "mysql"
    assert follows(fleet, "db2")
