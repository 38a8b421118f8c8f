"""The runbooks: what they say to type is typed, on hosts with servers that Debian's own script starts and stops."""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest
from helpers import eventually
from lab import CHECKOUT, Lab
from runbooks import runbooks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

pytestmark = pytest.mark.lab

_TYPING_SECONDS = 120
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


def type_on(host: Host, command: str) -> str:
    """Type a command on a host, as root; return what it wrote. It has to end with status 0."""
    # Not into a pipe: a server that the command starts would hold that open.
    with tempfile.TemporaryFile() as output:
        words = ["bash", "-l", "-c", command]
        process = host.popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        status = process.wait(timeout=_TYPING_SECONDS)
        output.seek(0)
        wrote = output.read().decode(errors="backslashreplace")
    assert status == 0, f"{host.name}# {command}\nended with {status} and wrote:\n{wrote}"
    return wrote


def execute(host: Host, sql: str) -> str:
    return host.sh(f"mariadb --batch --skip-column-names --execute={quoted_word(sql)}")


def quoted_word(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.fixture(scope="module", params=["positions", "GTIDs"])
def fleet(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Hosts as the page describes them: a primary, a replica of it, and one whose server nobody has configured yet."""
    with Lab.up() as lab:
        link = ["ln", "-sfT", str(CHECKOUT / ".venv/bin/transfer.py"), "/usr/local/bin/transfer.py"]
        lab["orch"].run(link)
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
        # From its beginning: the user who replicates and the data are in the binary log too.
        change = f"MASTER_HOST = 'db1', MASTER_USER = 'repl', MASTER_PASSWORD = 'secret', MASTER_USE_GTID = {with_gtid}"
        execute(lab["db2"], f"CHANGE MASTER TO {change}; SET GLOBAL read_only = ON; START SLAVE")
        assert follows(lab, "db2"), execute(lab["db2"], "SHOW SLAVE STATUS")
        yield lab
        for host in ("db1", "db2", "db3"):
            lab[host].run(
                "pkill -KILL -x mariadbd-safe; pkill -KILL -f mysqld_safe; pkill -KILL -x mariadbd", check=False
            )


def follows(lab: Lab, replica: str) -> bool:
    """Whether what is written to the primary now arrives on that replica, next to all that was there before."""
    execute(lab["db1"], "INSERT INTO shop.orders SELECT MAX(id) + 1 FROM shop.orders")
    orders = "SELECT COUNT(*), MAX(id) FROM shop.orders"
    there = execute(lab["db1"], orders)
    return eventually(
        lambda: lab[replica].run(f"mariadb -BNe {quoted_word(orders)}", check=False).stdout.decode().strip() == there,
        seconds=30,
    )


def type_all(lab: Lab, title: str) -> str:
    """Type what the section of that title says; return all that was written."""
    return "".join(type_on(lab[typed.host], typed.command) for typed in runbooks()[title])


def test_what_the_runbooks_say_to_type_does_what_they_say(fleet: Lab) -> None:
    provision, nightly, restore, trouble = runbooks()
    wrote = type_all(fleet, provision)
    assert "INFO  db3:/srv/sqldata: complete" in wrote
    assert "INFO  db2: replication runs as before" in wrote
    assert wrote.count("_Running: Yes") == 2
    assert follows(fleet, "db3")
    assert follows(fleet, "db2")

    assert "complete" in type_all(fleet, nightly)
    assert fleet["db3"].sh("ls /srv/backups") == fleet["db3"].sh("echo sqldata.$(date +%F).tar.zst")
    assert follows(fleet, "db2")

    # What was written after the copy was made comes back from the primary.
    wrote = type_all(fleet, restore)
    assert "INFO  db2:/srv/sqldata: complete" in wrote
    assert wrote.count("_Running: Yes") == 2
    assert follows(fleet, "db2")
    assert follows(fleet, "db3")

    execute(fleet["db2"], "STOP SLAVE")
    assert type_all(fleet, trouble) == ""
    assert follows(fleet, "db2")
