"""Hot copies of real servers: complete or refused, under load, with each tool."""

from __future__ import annotations

import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import pytest
from databases import (
    SOCKET,
    ContainedServer,
    Fleet,
    Server,
    Writer,
    assert_unchanged,
    backing_up,
    running_fleet,
    watched,
    wrapped,
)
from helpers import collect, eventually, start_transfer, transfer
from watching import SLOW, Run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lab import Host

pytestmark = pytest.mark.lab

BACKUP = ("--type", "xtrabackup")
SOURCE = f"db1:{SOCKET}"
TARGET = "db3:/srv/copy"
SECRET = "backup-password"
SLOW_START = "/srv/mysql-inner/start.sql"
"""Statements that a server executes before it accepts connections."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Fleet]:
    with running_fleet() as made:
        yield made


@pytest.fixture
def fleet(servers: Fleet) -> Iterator[Fleet]:
    """The fleet for one test, with an empty directory /srv/copy on db3."""
    with watched(servers):
        servers["db3"].run("mkdir /srv/copy")
        yield servers


def content(server: Server) -> list[list[str]]:
    """The content of the tables of a server: two tables that always change together, and one constant table."""
    return server.execute(
        "SELECT COUNT(*), MAX(id), SUM(amount) FROM shop.orders;"
        "SELECT COUNT(*), MAX(id), SUM(amount) FROM shop.payments;"
        "SELECT COUNT(*), BIT_XOR(CRC32(data)), SUM(LENGTH(data)) FROM shop.blobs"
    )


@contextmanager
def started(host: Host, datadir: str) -> Iterator[Server]:
    """A server with a copy as its data directory."""
    with Server(host, 3, datadir=datadir) as server:
        try:
            yield server
        finally:
            server.kill()
            host.run("rm -rf /run/mysqld")


def assert_consistent(copy: Server, primary: Server, *, at_least: int, at_most: int) -> None:
    """Assert that a copy has only complete transactions (each order with its payment) and undamaged tables."""
    orders, payments, blobs = content(copy)
    assert orders == payments
    assert orders[0] == orders[1], "an order is missing in the middle"
    assert at_least <= int(orders[0]) <= at_most
    assert blobs == content(primary)[2]
    for table in ("orders", "payments", "blobs"):
        assert copy.execute(f"CHECK TABLE shop.{table} EXTENDED")[-1][2:] == ["status", "OK"]


def is_empty(fleet: Fleet, path: str = "/srv/copy", host: str = "db3") -> bool:
    return fleet[host].sh(f"ls -A {path}") == ""


# --- whole copies


@pytest.mark.parametrize("options", ["", "--no-encrypt", "--no-compress", "--no-encrypt --no-compress"])
def test_a_copy_made_under_load_starts_as_a_server_and_is_consistent(fleet: Fleet, options: str) -> None:
    with Writer(fleet.primary) as writer:
        before = writer.written
        words = (*BACKUP, *options.split(), "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET)
        transfer(fleet.lab, *words, check=True)
        after = writer.written
    assert after > before + 100, "nobody wrote during the copy"
    assert fleet["db3"].sh("find /srv/copy ! -user mysql -o ! -group mysql") == ""
    with started(fleet["db3"], "/srv/copy") as copy:
        assert_consistent(copy, fleet.primary, at_least=before, at_most=after)


def test_a_copy_is_prepared_only_on_request(fleet: Fleet) -> None:
    transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
    db3 = fleet["db3"]
    assert "full-backuped" in db3.sh("cat /srv/copy/xtrabackup_checkpoints")
    assert db3.sh("find /srv/copy ! -user root") == ""
    db3.run("mariadb-backup --prepare --target-dir=/srv/copy; chown -R mysql:mysql /srv/copy")
    with started(db3, "/srv/copy") as copy:
        assert content(copy) == content(fleet.primary)


def test_the_server_reports_its_data_directory(fleet: Fleet) -> None:
    db1 = fleet["db1"]
    db1.run("printf '[mysqld]\\ndatadir = /var/lib/other\\n' >/etc/mysql/conf.d/other.cnf; mkdir /var/lib/other")
    try:
        transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
    finally:
        db1.run("rm -r /etc/mysql/conf.d/other.cnf /var/lib/other")
    assert fleet["db3"].sh("ls /srv/copy/shop").split() == db1.sh("ls /srv/mysql/shop").split()


def test_a_copy_of_the_files_of_a_running_server_logs_a_warning(fleet: Fleet) -> None:
    warning = "WARNING db1:/srv/mysql: a running server uses these files"
    result = collect(start_transfer(fleet.lab, "--dry-run", "db1:/srv/mysql", "db3:/srv/copy"))
    assert (result.status, warning in result.stderr) == (0, True), result.stderr
    fleet["db1"].run("mkdir /srv/stopped; cp /srv/mysql/ibdata1 /srv/mysql/aria_log_control /srv/stopped")
    result = collect(start_transfer(fleet.lab, "--dry-run", "db1:/srv/stopped", "db3:/srv/copy"))
    assert (result.status, result.stderr) == (0, "")
    fleet["db1"].run("rm -r /srv/stopped")


def test_a_host_in_an_option_file_leads_to_no_other_server(fleet: Fleet) -> None:
    db1 = fleet["db1"]
    other = Server(db1, 5, "-other")
    other.install()
    accounts = "".join(
        f"CREATE USER other@'{host}' IDENTIFIED BY '{SECRET}'; GRANT ALL ON *.* TO other@'{host}';"
        for host in ("localhost", "127.0.0.1")
    )
    fleet.primary.execute(accounts)
    try:
        with other:
            other.execute(accounts)
            where = "host = 127.0.0.1\\nport = 3310\\nprotocol = tcp"
            db1.run(f"printf '[client]\\nuser = other\\npassword = {SECRET}\\n{where}\\n' >/root/.my.cnf")
            assert db1.sh("mariadb -BNe 'SELECT @@server_id'") == "5"
            transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
    finally:
        db1.run("rm -rf /root/.my.cnf /srv/mysql-other /run/mysqld/mysqld-other.sock*")
        fleet.primary.execute("DROP USER other@localhost, other@127.0.0.1")
    assert "blobs.frm" in fleet["db3"].sh("ls /srv/copy/shop")


@pytest.fixture
def proxy(fleet: Fleet) -> Iterator[Callable[[str], str]]:
    """A function that starts a proxy in front of a socket on db1, and returns the socket of the proxy."""
    started: list[subprocess.Popen[bytes]] = []

    def start(socket: str) -> str:
        path = f"/run/mysqld/proxy{len(started)}.sock"
        started.append(fleet["db1"].popen(["socat", f"UNIX-LISTEN:{path},fork", f"UNIX-CONNECT:{socket}"]))
        assert eventually(lambda: fleet["db1"].run(["test", "-S", path], check=False).returncode == 0)
        return path

    yield start
    for process in started:
        process.terminate()
        process.wait()


def test_a_server_whose_files_have_the_paths_of_another_server_is_refused(
    fleet: Fleet, proxy: Callable[[str], str]
) -> None:
    db1 = fleet["db1"]
    length = int(db1.sh("wc -c </srv/mysql/error.log"))
    Server(db1, 6, "-inner").install()
    server = Server(db1, 6, "-inner", datadir="/srv/mysql")
    with ContainedServer(server, "/srv/mysql-inner", "/srv/mysql") as inner:
        assert inner.value("SELECT @@datadir") == fleet.primary.value("SELECT @@datadir") == "/srv/mysql/"
        before = fleet.snapshot()
        result = transfer(fleet.lab, *BACKUP, f"db1:{inner.socket}", TARGET)
        assert result.status == 4, result.stderr
        message = "the server uses (/proc/[0-9]+/root/srv/mysql), but the backup tool would read other files"
        found = re.search(f"ERROR db1:{inner.socket}: {message}: /srv/mysql;", result.stderr)
        assert found, result.stderr
        assert db1.sh(f"stat -c %i {found[1]}") == db1.sh("stat -c %i /srv/mysql-inner")
        assert_unchanged(fleet, before)
        behind = transfer(fleet.lab, *BACKUP, f"db1:{proxy(inner.socket)}", TARGET)
        assert behind.status == 4, behind.stderr
        assert "cannot prove that the server uses /srv/mysql/ of this host" in behind.stderr
    db1.run("rm -r /srv/mysql-inner")
    transfer(fleet.lab, *BACKUP, f"db1:{proxy(SOCKET)}", TARGET, check=True)
    assert "blobs.frm" in fleet["db3"].sh("ls /srv/copy/shop")
    log = db1.sh(f"tail -c +{length + 1} /srv/mysql/error.log")
    assert "Aborted connection" not in log, log


@pytest.mark.parametrize("logs", ["/srv/mysql-logs", "/srv/mysql-other"])
def test_a_server_in_a_container_is_copied_if_all_its_directories_have_the_same_paths(fleet: Fleet, logs: str) -> None:
    db1 = fleet["db1"]
    server = Server(db1, 6, "-inner", options=("--innodb-log-group-home-dir=/srv/mysql-logs",))
    server.install()
    db1.run(f"mkdir -p /srv/mysql-logs {logs}; mv {server.datadir}/ib_logfile0 {logs}; chown -R mysql: /srv/mysql-*")
    with ContainedServer(server, logs, "/srv/mysql-logs") as server:
        server.execute("CREATE DATABASE inside; CREATE TABLE inside.t (id INT)")
        result = transfer(fleet.lab, *BACKUP, f"db1:{server.socket}", TARGET)
    db1.run("rm -r /srv/mysql-*")
    if logs == "/srv/mysql-logs":
        assert result.status == 0, result.stderr
        assert "t.frm" in fleet["db3"].sh("ls /srv/copy/inside")
    else:
        assert result.status == 4, result.stderr
        assert "would read other files: /srv/mysql-logs; does the server run" in result.stderr


def test_a_server_with_a_database_that_is_another_one_on_the_host_is_refused(fleet: Fleet) -> None:
    db1 = fleet["db1"]
    server = Server(db1, 6, "-inner")
    server.install()
    db1.run(f"mkdir -p /srv/mysql-volume {server.datadir}/shop; chown -R mysql: /srv/mysql-*")
    with ContainedServer(server, "/srv/mysql-volume", f"{server.datadir}/shop") as server:
        server.execute("CREATE TABLE shop.t (id INT)")
        result = transfer(fleet.lab, *BACKUP, f"db1:{server.socket}", TARGET)
    db1.run("rm -r /srv/mysql-*")
    assert result.status == 4, result.stderr
    message = "the server uses /proc/[0-9]+/root/srv/mysql-inner/shop, but the backup tool would read other files"
    assert re.search(f"{message}: /srv/mysql-inner/shop; does", result.stderr), result.stderr


def test_a_backup_with_the_files_of_another_server_is_refused(fleet: Fleet) -> None:
    db1 = fleet["db1"]
    server, other = Server(db1, 6, "-inner"), Server(db1, 7, "-other")
    server.install()
    db1.run(f"cp -a {server.datadir} {other.datadir}")
    with other:
        other.execute("CREATE DATABASE other; CREATE TABLE other.t (id INT) ENGINE=InnoDB; SHUTDOWN")
        assert eventually(lambda: not other.lives, seconds=60)
    mounted = f'mount --bind {other.datadir} {server.datadir} && exec {db1.sh("type -P mariadb-backup")} "$@"'
    with server, wrapped(db1, "mariadb-backup", backing_up(f"unshare --mount bash -c '{mounted}' - \"$@\"")):
        result = transfer(fleet.lab, *BACKUP, f"db1:{server.socket}", TARGET)
    db1.run("rm -r /srv/mysql-* /run/mysqld/mysqld-inner.sock*")
    assert result.status == 7, result.stderr
    assert re.search(r"the backup has the files of another server: its redo log ends at \d+, but", result.stderr)
    assert is_empty(fleet)


def test_position_and_gtid_are_those_of_the_servers(fleet: Fleet) -> None:
    assert fleet.replica.has_caught_up(fleet.primary)
    fleet.replica.execute("STOP SLAVE")
    try:
        file, position, *_ = fleet.replica.execute("SHOW MASTER STATUS")[0]
        gtid, executed = fleet.replica.execute("SELECT @@gtid_binlog_pos, @@gtid_slave_pos")[0]
        result = transfer(fleet.lab, *BACKUP, f"db2:{SOCKET}", TARGET, check=True)
    finally:
        fleet.replica.execute("START SLAVE")
    fleet.replica.wait_for_replication(("Yes", "Yes"))
    own = f"INFO  {TARGET}: binary log file, position and GTID: {file} {position} {gtid}"
    assert own.rstrip() in result.stderr
    replicates = (
        f"{TARGET}: replication position of its source: SET GLOBAL gtid_slave_pos = '{executed}'; CHANGE MASTER"
    )
    assert replicates in result.stderr


NAMES = (
    *(
        "日本 語",
        "a.b@c%d",
        "-x",
        "it's",
        'quo"te',
        "#sql-x",
        "con",
        "back\\slash",
        "ünï~cöde",
        "a/b",
        "@",
        "%",
        ".",
        "*",
        "реплика",
    ),
)
STRANGE = tuple(enumerate(f"`{one}`.`{other}`" for one, other in zip(NAMES, reversed(NAMES), strict=True)))
"""Numbers and names of tables, one in each database."""


@pytest.fixture
def strange_names(fleet: Fleet) -> Iterator[None]:
    """The tables of STRANGE, of three engines, with one row each."""
    fleet.primary.execute("".join(f"CREATE DATABASE `{name}`;" for name in NAMES))
    for number, table in STRANGE:
        engine = ("InnoDB", "MyISAM", "Aria")[number % 3]
        fleet.primary.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY) ENGINE={engine}")
        fleet.primary.execute(f"INSERT INTO {table} VALUES ({number})")
    yield
    fleet.primary.execute("".join(f"DROP DATABASE `{name}`;" for name in NAMES))
    assert fleet.replica.has_caught_up(fleet.primary)


@pytest.mark.usefixtures("strange_names")
def test_databases_and_tables_may_have_any_name(fleet: Fleet) -> None:
    transfer(fleet.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET, check=True)
    with started(fleet["db3"], "/srv/copy") as copy:
        for number, table in STRANGE:
            assert copy.value(f"SELECT id FROM {table}") == str(number)


@pytest.mark.usefixtures("strange_names")
@pytest.mark.parametrize("suffix", ["ibd", "MYD", "MAD"])
def test_a_table_of_any_name_that_does_not_arrive_is_named(fleet: Fleet, suffix: str) -> None:
    files = f"cd /srv/mysql; find . -name '*.{suffix}' -path './*@*' | sort | tail -n 1"
    file = fleet["db1"].sh(files).strip()
    assert file
    # The backup tool gives a table that is new in the log of InnoDB another suffix.
    with wrapped(fleet["db3"], "mbstream", f'real "$@"; rm -- {file.removesuffix(suffix)}*'):
        result = transfer(fleet.lab, *BACKUP, "--no-checksum", SOURCE, TARGET)
    assert result.status == 7, result.stderr
    named = re.search(r"the backup lacks tables: (.*)\n", result.stderr)
    assert named, result.stderr
    assert file.removeprefix("./") in named[1].split(", ")


def test_two_targets_get_the_same_copy(fleet: Fleet) -> None:
    fleet["db2"].run("mkdir /srv/copy")
    result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET, "db2:/srv/copy", check=True)
    assert "2 of 2 target(s) succeeded" in result.stderr
    listing = "cd /srv/copy; find . -type f -name '*.ibd' -exec md5sum {} + | sort -k 2"
    assert fleet["db2"].sh(listing) == fleet["db3"].sh(listing) != ""


KEPT = f"""\
state_directory: /root/state
defaults: {{type: xtrabackup, prepare: true, keep: 2}}
transfers:
  shop: {{source: "{SOURCE}", targets: "db3:/srv/backups/{{name}}/{{date}}-{{time}}"}}
"""


def test_a_job_keeps_the_newest_hot_copies_and_removes_none_after_a_failure(fleet: Fleet) -> None:
    orch, db3 = fleet["orch"], fleet["db3"]
    orch.run("cat >/root/j.yaml", input=KEPT.encode())
    db3.run("mkdir -p /srv/backups/shop/2026-01-01-000000 && touch /srv/backups/shop/2026-01-01-000000/mine")
    copies: list[str] = []
    try:
        for number in range(4):
            broken = number == 2
            if broken:
                orch.run("cat >/root/j.yaml", input=KEPT.replace("keep: 2", "keep: 1").replace("d.sock", "x").encode())
            result = transfer(fleet.lab, "--job=/root/j.yaml")
            assert (result.status == 0) != broken, result.stderr
            orch.run("cat >/root/j.yaml", input=KEPT.encode())
            now = db3.sh("ls -A /srv/backups/shop").split()
            made = [name for name in now if name not in {*copies, "2026-01-01-000000"}]
            assert len(made) == (not broken)
            copies += made
            assert now == ["2026-01-01-000000", *copies[-2:]]
            time.sleep(1.1)  # the name of a copy contains the time in seconds
        assert len(copies) == 3
        assert f"db3:/srv/backups/shop/{copies[0]}: old copy removed" in result.stderr
        for name in copies[1:]:
            assert "log-applied" in db3.sh(f"cat /srv/backups/shop/{name}/xtrabackup_checkpoints")
        db3.run(f"chown -R mysql:mysql /srv/backups/shop/{copies[-1]}")
        with started(db3, f"/srv/backups/shop/{copies[-1]}") as copy:
            assert content(copy) == content(fleet.primary)
    finally:
        orch.run("rm -rf /root/j.yaml /root/state")


def test_lost_and_found_is_nothing(fleet: Fleet) -> None:
    fleet["db3"].run("mkdir -m 700 /srv/copy/lost+found")
    transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
    assert "xtrabackup_info" in fleet["db3"].sh("ls /srv/copy").split()


# --- tools


@pytest.mark.parametrize("tool", ["mariadb-backup", "mariabackup", "xtrabackup"])
def test_any_name_of_the_backup_tool_will_do(fleet: Fleet, tool: str) -> None:
    used = "/var/lib/used-tools"
    for host in (fleet["db1"], fleet["db3"]):
        host.hide("mariadb-backup", "mariabackup", "mbstream")
        names = {tool: "mariadb-backup", ("xbstream" if tool == "xtrabackup" else "mbstream"): "mbstream"}
        for name, real in names.items():
            # With --prepare, it can write only in the working directory.
            note = f"echo {name} $* >>{used} || echo {name} $* >>used"
            script = f'#!/bin/sh\n{{ {note}; }} 2>/dev/null\nexec /usr/lib/transferpy-lab-hidden/usr%bin%{real} "$@"\n'
            host.run(f"cat >/usr/local/sbin/{name} && chmod 755 /usr/local/sbin/{name}", input=script.encode())
    try:
        transfer(fleet.lab, *BACKUP, "--prepare", SOURCE, TARGET, check=True)
        assert re.search(f"^{tool} .*--backup", fleet["db1"].sh(f"cat {used}"), re.MULTILINE)
        assert re.search(f"^{tool} .*--prepare", fleet["db3"].sh("cat /srv/copy/used"), re.MULTILINE)
    finally:
        for name in ("db1", "db3"):
            fleet[name].run(f"rm -f {used}")


@pytest.mark.parametrize(("host", "options"), [("db1", ()), ("db3", ("--prepare",))])
def test_a_tool_of_another_major_version_is_refused(fleet: Fleet, host: str, options: tuple[str, ...]) -> None:
    before = fleet.snapshot()
    with wrapped(fleet[host], "mariadb-backup", "real \"$@\" 2>&1 | sed 's/10[.]11[.]/10.6./g' >&2"):
        result = transfer(fleet.lab, *BACKUP, *options, SOURCE, TARGET)
    assert result.status == 4
    assert f"ERROR {host}: mariadb-backup has version 10.6, but the server has version 10.11\n" in result.stderr
    assert_unchanged(fleet, before)


def test_preparing_takes_memory_that_is_free(fleet: Fleet) -> None:
    db3 = fleet["db3"]
    with wrapped(db3, "mariadb-backup", 'case "$*" in *--prepare*) echo "$*" >called ;; esac; real "$@"'):
        transfer(fleet.lab, *BACKUP, "--prepare", SOURCE, TARGET, check=True)
    (memory,) = re.findall(r"--use-memory=(\d+)", db3.sh("cat /srv/copy/called"))
    total = int(db3.sh("awk '/^MemTotal/ { print $2 * 1024 }' /proc/meminfo"))
    assert 100 << 20 <= int(memory) < total


# --- passwords


class Secrets(threading.Thread):
    """A thread that constantly reads the public properties of all processes of a host."""

    def __init__(self, *hosts: Host) -> None:
        super().__init__(daemon=True)
        self._hosts = hosts
        self._done = threading.Event()
        self.exposed: set[str] = set()
        self.programs: set[str] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        while not self._done.is_set():
            for host in self._hosts:
                for process in (host.root / "proc").glob("[0-9]*"):
                    self._look_at(process)

    def _look_at(self, process: Path) -> None:
        for name in ("cmdline", "environ"):
            try:
                seen = (process / name).read_bytes()
            except OSError:
                continue
            if name == "cmdline":
                self.programs.add(os.fsdecode(seen.partition(b"\0")[0]).rpartition("/")[2])
            if SECRET.encode() in seen:
                self.exposed.add(f"{name}: {os.fsdecode(seen)}")


@contextmanager
def root_locked_out(server: Server, defaults_file: str) -> Iterator[None]:
    """A server that refuses root through the Unix socket, and accepts a user with a password from an option file."""
    server.execute(
        f"CREATE USER dumper@localhost IDENTIFIED BY '{SECRET}'; GRANT ALL ON *.* TO dumper@localhost;"
        f" ALTER USER root@localhost IDENTIFIED BY 'another'"
    )
    text = f"[client]\nuser = dumper\npassword = {SECRET}\n"
    server.host.run(f"cat >{defaults_file}; chmod 600 {defaults_file}", input=text.encode())
    try:
        yield
    finally:
        back = "ALTER USER root@localhost IDENTIFIED VIA unix_socket; DROP USER dumper@localhost"
        server.host.run(["mariadb", f"--defaults-file={defaults_file}", f"--socket={server.socket}", f"-e{back}"])


def test_a_password_in_a_file_is_used_and_never_seen(fleet: Fleet) -> None:
    with root_locked_out(fleet.primary, "/srv/backup.cnf"), Secrets(*fleet.lab) as secrets:
        before = fleet.snapshot()
        refused = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
        assert refused.status == 4
        assert f"ERROR {SOURCE}: the server did not give a valid answer: ERROR 1045 (28000): Access" in refused.stderr
        assert_unchanged(fleet, before)
        words = ("--defaults-file", "/srv/backup.cnf", "--stop-slave", "--verbose")
        result = transfer(fleet.lab, *BACKUP, *words, SOURCE, TARGET, check=True)
    assert secrets.exposed == set()
    assert {"mariadb", "mariadb-backup", "mbstream"} <= secrets.programs
    assert SECRET not in result.stderr
    assert fleet["db3"].run(["grep", "-rlF", SECRET, "/srv/copy"], check=False).returncode == 1


# --- refusals before any change


@contextmanager
def server_down(fleet: Fleet) -> Iterator[None]:
    fleet.primary.kill()
    try:
        yield
    finally:
        fleet.primary.start()


def test_a_server_that_is_down_is_refused(fleet: Fleet) -> None:
    with server_down(fleet):
        before = fleet.snapshot()
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
        assert result.status == 4
        assert f"ERROR {SOURCE}: the server did not give a valid answer: ERROR 2002 (HY000): Can't" in result.stderr
        assert "ERROR refused: 1 problem(s); nothing was changed\n" in result.stderr
        assert_unchanged(fleet, before)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("/srv/none", (), "db1:/srv/none: no such socket; is the server running?"),
        ("/srv/file", (), "db1:/srv/file: is not a socket; --type xtrabackup needs the socket of a running server"),
        ("/srv/mysql", (), "db1:/srv/mysql: is not a socket; --type xtrabackup needs the socket of a running server"),
        (SOCKET, ("--defaults-file", "/srv/wrong"), f"{SOURCE}: the server did not give a valid answer: ERROR 1698"),
        (
            SOCKET,
            ("--defaults-file", "/srv/none"),
            f"{SOURCE}: the server did not give a valid answer: Could not open",
        ),
        (SOCKET, ("--owner", "mysql:strangers"), "db3: the user or group strangers does not exist (--owner)"),
        (SOCKET, ("--owner", "stranger:mysql"), "db3: the user or group stranger does not exist (--owner)"),
    ],
)
def test_a_backup_that_cannot_succeed_is_refused_without_changes(
    fleet: Fleet, source: str, options: tuple[str, ...], message: str
) -> None:
    fleet["db1"].run(f"touch /srv/file; printf '[client]\\nuser = nobody\\npassword = {SECRET}\\n' >/srv/wrong")
    before = fleet.snapshot()
    result = transfer(fleet.lab, *BACKUP, *options, f"db1:{source}", TARGET)
    assert result.status == 4
    assert f"ERROR {message}" in result.stderr
    assert "ERROR refused: 1 problem(s); nothing was changed\n" in result.stderr
    assert SECRET not in result.stderr
    assert_unchanged(fleet, before)


def test_a_path_that_no_socket_has_is_refused(fleet: Fleet) -> None:
    longest = f"/run/mysqld/{'x' * 95}"
    fleet["db1"].run(f"ln -s {SOCKET} {longest}; ln -s {SOCKET} {longest}y")
    before = fleet.snapshot()
    try:
        planned = collect(start_transfer(fleet.lab, *BACKUP, "--dry-run", f"db1:{longest}", TARGET))
        assert planned.status == 0, planned.stderr
        for path, status, message in (
            (f"{longest}y", 4, "is longer than 107 bytes, which is the limit for the path of a socket"),
            ("@mysqld", 2, "the path of a socket must be absolute"),
        ):
            result = transfer(fleet.lab, *BACKUP, f"db1:{path}", TARGET)
            assert (result.status, f"ERROR db1:{path}: {message}\n" in result.stderr) == (status, True), result.stderr
        assert_unchanged(fleet, before)
    finally:
        fleet["db1"].run(f"rm {longest} {longest}y")


def test_a_password_that_has_expired_is_refused(fleet: Fleet) -> None:
    user = f"CREATE USER late@localhost IDENTIFIED BY '{SECRET}' PASSWORD EXPIRE; GRANT ALL ON *.* TO late@localhost"
    fleet.primary.execute(user)
    fleet["db1"].run(f"printf '[client]\\nuser = late\\npassword = {SECRET}\\n' >/srv/late")
    before = fleet.snapshot()
    try:
        result = transfer(fleet.lab, *BACKUP, "--defaults-file", "/srv/late", SOURCE, TARGET)
    finally:
        fleet.primary.execute("DROP USER late@localhost")
    assert result.status == 4, result.stderr
    assert (
        f"ERROR {SOURCE}: the server did not give a valid answer: ERROR 1820 (HY000) at line 1: You must SET"
        in result.stderr
    )
    assert_unchanged(fleet, before)


def test_the_socket_may_have_any_path_and_its_server_may_be_starting(fleet: Fleet) -> None:
    db1 = fleet["db1"]
    server = Server(db1, 6, "-inner", options=(f"--init-file={SLOW_START}",))
    server.socket = "/run/mysqld/a b' \"$c\nd: @e.sock"
    server.install()
    db1.run(f"echo 'SELECT SLEEP(5);' >{SLOW_START}")
    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        starting = pool.submit(stack.enter_context, server)
        assert eventually(lambda: db1.run(["test", "-S", server.socket], check=False).returncode == 0, seconds=60)
        result = transfer(fleet.lab, *BACKUP, "--verbose", f"db1:{server.socket}", TARGET)
        starting.result()
    db1.run("rm -r /srv/mysql-inner /run/mysqld/a*")
    assert result.status == 0, result.stderr
    assert "xtrabackup_info" in fleet["db3"].sh("ls /srv/copy").split()


def test_a_redo_log_that_is_overwritten_during_the_backup_fails_it(fleet: Fleet) -> None:
    blobs = "".join(f"REPLACE INTO shop.blobs VALUES (1000, REPEAT(MD5({n}), 100000));" for n in range(12))
    fleet["db3"].shape(SLOW)
    try:
        with Run(fleet.lab, *BACKUP, "--no-compress", SOURCE, TARGET) as run:
            run.wait_for_stream(fleet["db3"])
            fleet.primary.execute(blobs)
            fleet["db3"].shape(None)
            result = run.end()
    finally:
        fleet.primary.execute("DELETE FROM shop.blobs WHERE id = 1000")
    assert result.status == 6, result.stderr
    assert re.search(f"ERROR {TARGET}: failed: db1: mariadb-backup failed .*innodb_log_file_size", result.stderr)
    assert is_empty(fleet)


@pytest.mark.parametrize(
    ("option", "status", "message"),
    [
        ("verbose", 0, "1 of 1 target(s) succeeded"),
        ("databases = shop", 7, "the backup lacks tables: "),
        ("no-lock", 6, "db1: mariadb-backup failed with status 1: .*--no-lock"),
    ],
)
def test_an_option_of_the_backup_tool_in_a_file_has_no_effect_or_fails_the_copy(
    fleet: Fleet, option: str, status: int, message: str
) -> None:
    fleet["db1"].run(f"printf '[mariadb-backup]\\n{option}\\n' >/root/.my.cnf")
    try:
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
    finally:
        fleet["db1"].run("rm /root/.my.cnf")
    assert result.status == status, result.stderr
    assert re.search(re.escape(message).replace(r"\.\*", ".*"), result.stderr), result.stderr
    assert is_empty(fleet) == (status != 0)


def test_every_missing_tool_is_named(fleet: Fleet) -> None:
    fleet["db1"].hide("mariadb-backup", "mariabackup", "mariadb", "mysql")
    fleet["db3"].hide("mbstream", "mariadb-backup", "mariabackup")
    before = fleet.snapshot()
    result = transfer(fleet.lab, *BACKUP, "--prepare", SOURCE, TARGET)
    assert result.status == 4
    for message in (
        "db1: mariadb-backup is missing (Debian package mariadb-backup)",
        "db1: mariadb is missing (Debian package mariadb-client)",
        "db3: mbstream is missing (Debian package mariadb-backup)",
        "db3: mariadb-backup is missing (Debian package mariadb-backup)",
    ):
        assert f"ERROR {message}\n" in result.stderr
    assert_unchanged(fleet, before)


def test_a_target_that_is_not_empty_is_refused(fleet: Fleet) -> None:
    fleet["db3"].run("touch /srv/copy/.hidden; mkdir /srv/copy/lost+found")
    before = fleet.snapshot()
    result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
    assert result.status == 4
    assert f"ERROR {TARGET}: is not empty; --type xtrabackup needs an empty directory\n" in result.stderr
    assert_unchanged(fleet, before)


def test_too_little_space_is_refused(fleet: Fleet) -> None:
    fleet["db3"].small_disk("/srv/small", "24m")
    before = fleet.snapshot()
    result = transfer(fleet.lab, *BACKUP, SOURCE, "db3:/srv/small")
    assert result.status == 4
    assert re.search(r"ERROR db3:/srv/small: [\d,]+ bytes are needed, but only [\d,]+ are free\n", result.stderr)
    assert_unchanged(fleet, before)


def test_the_logs_of_replication_need_no_space(fleet: Fleet) -> None:
    db1, db3 = fleet["db1"], fleet["db3"]
    needed = int(db1.sh("du -sm --exclude='bin.[0-9]*' /srv/mysql | cut -f1"))
    db1.run("fallocate -l 200M /srv/mysql/bin.900000")
    try:
        db3.small_disk("/srv/small", f"{needed + 40}m")
        transfer(fleet.lab, *BACKUP, SOURCE, "db3:/srv/small", check=True)
    finally:
        db1.run("rm /srv/mysql/bin.900000")
    assert "xtrabackup_info" in db3.sh("ls /srv/small").split()


def test_one_target_takes_one_copy_at_a_time(fleet: Fleet) -> None:
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, SOURCE, TARGET) as first:
        first.wait_for_stream(fleet["db3"])
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
        assert result.status in {3, 4}
        assert f"{TARGET}: is not empty" in result.stderr or "another transfer uses /srv/copy" in result.stderr
        first.assert_streaming()
        fleet["db3"].shape(None)
        assert first.end().status == 0, first.log


# --- copies that fail


FAILURES = {
    "fails in the middle": (
        'real "$@" | head -c 3000000; echo "cannot go on: no memory" >&2; exit 3',
        "",
        6,
        "db1: mariadb-backup failed with status 3: .*; cannot go on: no memory",
    ),
    "is killed in the middle": (
        'real "$@" | head -c 3000000; kill -KILL $$',
        "--no-encrypt --no-compress",
        6,
        "db1: mariadb-backup was ended by signal 9",
    ),
    "fails at its end": ('real "$@"; exit 1', "", 6, "db1: mariadb-backup failed with status 1: .*completed OK!"),
    "ends without having completed": (
        'real "$@" 2> >(grep -v "completed OK!" >&2)',
        "--no-encrypt",
        7,
        "db1: backup failed with status 1: .*; the log of the backup does not end with 'completed OK!'\n",
    ),
    "says that it completed, but what it sent is cut": (
        # mbstream ends without an error at the end of a chunk; each chunk begins with XBSTCK01.
        'real "$@" >/srv/w; cut=$(grep -abo XBSTCK01 /srv/w | tail -n 9 | head -n 1); head -c "${cut%%:*}" /srv/w',
        "--no-encrypt --no-compress",
        7,
        "db3: the received backup has no info file: it is incomplete",
    ),
    "says that it completed, but leaves out a table": (
        "real \"$@\" '--tables-exclude=^shop[.]orders$'",
        "",
        7,
        "the backup lacks tables: shop/orders.frm, shop/orders.ibd\n",
    ),
    "sends nothing": (
        'echo "completed OK!" >&2',
        "--no-encrypt --no-compress",
        7,
        "db3: the received backup has no info file: it is incomplete",
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_when_the_backup_tool_does_not_do_its_work_its_words_are_shown(fleet: Fleet, failure: str) -> None:
    script, options, status, message = FAILURES[failure]
    with wrapped(fleet["db1"], "mariadb-backup", backing_up(script)):
        result = transfer(fleet.lab, *BACKUP, *options.split(), SOURCE, TARGET)
    assert result.status == status, result.stderr
    assert re.search(f"ERROR {TARGET}: failed: .*{message}", result.stderr), result.stderr
    assert is_empty(fleet)


@pytest.mark.parametrize("program", ["nc", "socat", "mbstream"])
@pytest.mark.parametrize("host", ["db1", "db3"])
def test_a_stream_that_is_cut_is_refused(fleet: Fleet, host: str, program: str) -> None:
    """A killed netcat ends the stream without an error, and mbstream accepts half of a stream."""
    if (host, program) == ("db1", "mbstream"):
        program = "mariadb-backup"
    for either in ("db1", "db3"):
        fleet[either].hide(*(["socat"] if program == "nc" else []))
    before = fleet.snapshot()
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, "--no-encrypt", "--retries", "0", SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        fleet[host].run(["pkill", "-KILL", "-x", program])
        result = run.end()
    assert result.status in {6, 7}, result.stderr
    assert f"ERROR {TARGET}: failed: " in result.stderr
    fleet["db3"].shape(None)
    assert_unchanged(fleet, before)


def test_a_server_that_dies_during_the_copy_is_a_failure(fleet: Fleet) -> None:
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        with server_down(fleet):
            run.assert_streaming()
            fleet["db3"].shape(None)
            result = run.end()
    assert result.status == 6
    assert re.search(f"ERROR {TARGET}: failed: db1: mariadb-backup (failed|was ended)", result.stderr), result.stderr
    assert is_empty(fleet)


def test_a_connection_that_is_cut_is_a_failure(fleet: Fleet) -> None:
    before = fleet.snapshot()
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, "--idle-timeout", "5", SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        fleet["db1"].cut(fleet["db3"])
        result = run.end()
    assert result.status == 6
    assert "db1 to db3: the stream made no progress for 5 seconds, after " in result.stderr
    fleet.lab.restore()
    assert_unchanged(fleet, before)


@pytest.mark.parametrize("options", [(), ("--no-encrypt", "--no-checksum")], ids=["tls", "plain"])
def test_a_hot_copy_continues_after_its_connection_broke(fleet: Fleet, options: tuple[str, ...]) -> None:
    """A reset on one end, a killed transport on the other end, and ten seconds without a network."""
    fleet["db3"].shape(SLOW)
    words = (*BACKUP, "--stall-timeout", "3", "--no-compress", "--prepare", *options, SOURCE, TARGET)
    with Run(fleet.lab, *words) as run:
        run.wait_for_stream(fleet["db3"])
        fleet["db3"].shape("60mbit")
        ports = "( sport >= :4400 and sport <= :4499 ) or ( dport >= :4400 and dport <= :4499 )"
        assert fleet["db3"].sh(f"ss -HtnK state established '{ports}'")
        run.wait_for("the stream continues at byte")
        fleet["db1"].run(["pkill", "-KILL", "-x", "socat"])
        run.wait_for("the stream continues at byte", times=2)
        fleet["db1"].cut(fleet["db3"])
        run.wait_for("the connection broke", times=3)
        fleet["db1"].heal(fleet["db3"])
        result = run.end()
    assert result.status == 0, result.stderr
    assert result.stderr.count("the stream continues at byte") == 3, result.stderr


def test_a_hot_copy_fails_when_its_redo_log_is_overwritten_during_an_interruption(fleet: Fleet) -> None:
    before = fleet.snapshot()
    fleet["db3"].shape(SLOW)
    server = fleet.primary
    ((size,),) = server.execute("SELECT @@innodb_log_file_size")
    server.execute("SET GLOBAL innodb_log_file_size = 16777216")
    server.execute("CREATE DATABASE busy; CREATE TABLE busy.t (data LONGBLOB)")
    try:
        with Run(fleet.lab, *BACKUP, "--stall-timeout", "3", SOURCE, TARGET) as run:
            run.wait_for_stream(fleet["db3"])
            fleet["db1"].cut(fleet["db3"])
            run.wait_for("attempt 1 of 10")
            server.execute("USE busy; INSERT INTO busy.t SELECT REPEAT(RANDOM_BYTES(1024), 256) FROM seq_1_to_200")
            result = run.end()
    finally:
        server.execute(f"DROP DATABASE busy; SET GLOBAL innodb_log_file_size = {size}")
    assert result.status == 6
    assert "db1: the server has overwritten redo log that mariadb-backup had to read" in result.stderr, result.stderr
    (seconds,) = re.findall(r"seconds: (\d+)", result.stderr)
    assert int(seconds) < 60
    fleet.lab.restore()
    assert_unchanged(fleet, before)


def test_both_ends_of_a_hot_copy_notice_a_dead_connection(fleet: Fleet) -> None:
    before = fleet.snapshot()
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, "--stall-timeout", "3", "--retries", "0", SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        fleet["db1"].cut(fleet["db3"])
        result = run.end()
    assert result.status == 6
    dead = "{}: the connection to {} is dead: the peer did not answer for 3 seconds (--stall-timeout)"
    assert f"failed: {dead.format('db1', 'db3')}; {dead.format('db3', 'db1')}\n" in result.stderr
    fleet.lab.restore()
    assert_unchanged(fleet, before)


# --- checksums


ALL_KINDS = """
    CREATE DATABASE kinds; USE kinds;
    CREATE TABLE kinds.plain (id INT PRIMARY KEY, data LONGBLOB) ENGINE=InnoDB;
    CREATE TABLE kinds.packed (id INT PRIMARY KEY, data LONGBLOB) ENGINE=InnoDB PAGE_COMPRESSED=1;
    CREATE TABLE kinds.narrow (id INT PRIMARY KEY, data LONGBLOB) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4;
    CREATE TABLE kinds.secret (id INT PRIMARY KEY, data LONGBLOB) ENGINE=InnoDB ENCRYPTED=YES;
    CREATE TABLE kinds.aria (id INT PRIMARY KEY, data LONGBLOB) ENGINE=Aria;
    CREATE TABLE kinds.my (id INT PRIMARY KEY, data LONGBLOB) ENGINE=MyISAM;
    CREATE TABLE kinds.csv (id INT NOT NULL) ENGINE=CSV;
    CREATE VIEW kinds.view AS SELECT 1;
    CREATE TRIGGER kinds.changed AFTER INSERT ON kinds.csv FOR EACH ROW SET @x = 1;
    INSERT INTO kinds.plain SELECT seq, REPEAT(seq, 200000) FROM seq_1_to_20;
    INSERT INTO kinds.packed SELECT * FROM kinds.plain;
    INSERT INTO kinds.narrow SELECT * FROM kinds.plain;
    INSERT INTO kinds.secret SELECT * FROM kinds.plain;
    INSERT INTO kinds.aria SELECT * FROM kinds.plain;
    INSERT INTO kinds.my SELECT * FROM kinds.plain;
    INSERT INTO kinds.csv VALUES (1);
"""
"""A database with each kind of file that a server has."""


@pytest.fixture(scope="module")
def all_kinds(servers: Fleet) -> Iterator[str]:
    """The source of a hot copy: a server whose data has each kind of file."""
    db1 = servers["db1"]
    keys = "/srv/mysql-kinds.keys"
    encryption = ("--plugin-load-add=file_key_management", f"--loose-file-key-management-filename={keys}")
    undo = "--innodb-undo-tablespaces=3"
    server = Server(db1, 6, "-kinds", options=(*encryption, undo))
    server.install(undo)  # a server can change the number only if it has nothing to undo
    db1.run(f"echo '1;{'5a' * 16}' >{keys}; chown mysql {keys}")
    with server:
        server.execute(ALL_KINDS)
        yield f"db1:{server.socket}"
    db1.run(f"rm -rf {server.datadir} {keys} {server.socket}*")


def flipped(*names: str) -> str:
    """Return a wrapper of perl that flips a bit of each file after the unpacking and before the first digest."""
    flip = (
        'open F, "+<", shift or die; seek F, int(-s(F) / 2), 0; read F, $b, 1; seek F, -1, 1; print F chr(1 ^ ord $b)'
    )
    return f"""
        if [[ ${{4-}} == */members ]]; then
            until [ -e "$4.end" ]; do sleep 0.05; done
            for name in {" ".join(names)}; do real -e '{flip}' "$name" || exit; done
        fi
        real "$@"
    """


@pytest.mark.parametrize(
    "names",
    [
        "ibdata1 undo001 kinds/plain.ibd kinds/packed.ibd kinds/secret.ibd",
        "kinds/narrow.ibd kinds/aria.MAD kinds/aria.MAI kinds/my.MYD kinds/my.MYI",
        "aria_log_control aria_log.00000001 kinds/db.opt kinds/plain.frm kinds/view.frm",
        "ib_logfile0 backup-my.cnf kinds/csv.CSV kinds/csv.CSM kinds/csv.TRG",
        "kinds/changed.TRN xtrabackup_info xtrabackup_checkpoints xtrabackup_binlog_info mysql/innodb_index_stats.ibd",
    ],
)
def test_a_bit_that_flips_on_the_disk_is_found_in_each_kind_of_file(fleet: Fleet, all_kinds: str, names: str) -> None:
    with wrapped(fleet["db3"], "perl", flipped(*names.split())):
        result = transfer(fleet.lab, *BACKUP, all_kinds, TARGET)
    assert result.status == 7, result.stderr
    (named,) = re.findall("files on the disk differ from those of the backup tool: (.*)\n", result.stderr)
    assert set(named.split(", ")) == set(names.split())
    assert is_empty(fleet)


@pytest.mark.parametrize("options", [(), ("--no-checksum",), ("--parallel-checksum",)])
def test_each_kind_of_file_is_copied(fleet: Fleet, all_kinds: str, options: tuple[str, ...]) -> None:
    result = transfer(fleet.lab, *BACKUP, *options, all_kinds, TARGET, check=True)
    files = fleet["db3"].sh("find /srv/copy -type f | wc -l")
    assert (f"checksums of {files} files agree with the source" in result.stderr) == (not options)
    assert ("the checksum of the stream agrees" in result.stderr) == ("--parallel-checksum" in options)


def test_a_source_cannot_rename_a_file_out_of_the_copy(fleet: Fleet) -> None:
    """mbstream renames a file to any name that the stream has."""
    names = "\\17\\0\\0\\0xtrabackup_info\\20\\0\\0\\0../../../escaped"
    for options in ((), ("--no-checksum",)):
        with wrapped(fleet["db1"], "mariadb-backup", backing_up(f'real "$@"; printf "XBSTCK01\\0R{names}"')):
            result = transfer(fleet.lab, *BACKUP, *options, SOURCE, TARGET)
        assert result.status == 6, result.stderr
        assert "the stream of the backup has a name that is not allowed: ../../../escaped" in result.stderr
        assert fleet["db3"].sh("ls -A /srv") == "copy"
        assert is_empty(fleet)


# --- time


def test_a_first_byte_that_comes_late_is_no_failure(fleet: Fleet) -> None:
    with wrapped(fleet["db1"], "mariadb-backup", backing_up('sleep 8; real "$@"')):
        transfer(fleet.lab, *BACKUP, "--idle-timeout", "2", SOURCE, TARGET, check=True)
    assert not is_empty(fleet)


@pytest.mark.parametrize("options", ["", "--no-encrypt --no-compress"])
def test_a_stream_that_stands_still_is_a_failure(fleet: Fleet, options: str) -> None:
    before = fleet.snapshot()
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, *options.split(), "--idle-timeout", "3", SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        fleet["db1"].run(["pkill", "-STOP", "-x", "mariadb-backup"])
        fleet["db3"].shape(None)
        result = run.end()
    assert result.status == 6
    assert "db1 to db3: the stream made no progress for 3 seconds, after " in result.stderr
    assert_unchanged(fleet, before)


def test_a_stream_that_stands_still_after_its_first_second_is_a_failure(fleet: Fleet) -> None:
    """Data that arrived before the first check counts too."""
    script = 'real "$@" | { head -c 5000000; touch /srv/stands; while [ ! -e /srv/over ]; do sleep 0.1; done; }'
    with wrapped(fleet["db1"], "mariadb-backup", backing_up(script)):
        result = transfer(fleet.lab, *BACKUP, "--no-compress", "--idle-timeout", "3", SOURCE, TARGET)
    assert result.status == 6
    assert "db1 to db3: the stream made no progress for 3 seconds, after " in result.stderr
    assert fleet["db1"].sh("ls /srv/stands")
    assert is_empty(fleet)


def test_a_target_that_fails_does_not_spoil_the_next(fleet: Fleet) -> None:
    fleet["db2"].run("mkdir /srv/copy")
    script = '[ -e /srv/once ] && real "$@" || { touch /srv/once; real "$@" | head -c 5000000; sleep 1000; }'
    with wrapped(fleet["db1"], "mariadb-backup", backing_up(script)):
        result = transfer(fleet.lab, *BACKUP, "--idle-timeout", "3", SOURCE, TARGET, "db2:/srv/copy")
    assert result.status == 6
    assert "1 of 2 target(s) succeeded" in result.stderr
    assert is_empty(fleet)
    assert not is_empty(fleet, host="db2")


# --- the last steps


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo "no memory for this" >&2; exit 3', "db3: prepare failed with status 3: no memory for this"),
        ('real "$@" 2> >(sed "s/completed OK/stopped/" >&2)', "db3: prepare failed with status 1: .*stopped!"),
        ('truncate -s 1M ibdata1; real "$@"', "db3: prepare failed with status 1: .*ibdata1' is of a different size"),
    ],
)
def test_a_copy_that_cannot_be_prepared_is_removed_and_the_log_shown(fleet: Fleet, script: str, message: str) -> None:
    before = fleet.snapshot()
    wrapper = f'case " $* " in *" --prepare "*) {script} ;; *) real "$@" ;; esac'
    with wrapped(fleet["db3"], "mariadb-backup", wrapper):
        result = transfer(fleet.lab, *BACKUP, "--prepare", SOURCE, TARGET)
    assert result.status == 10
    assert re.search(f"ERROR {TARGET}: failed: {message}", result.stderr), result.stderr
    assert_unchanged(fleet, before)


def test_nothing_outside_of_the_copy_is_changed_while_it_is_prepared(fleet: Fleet) -> None:
    db3 = fleet["db3"]
    outside = ("/srv/victim", "/etc/victim", "/tmp/victim", "/run/victim", "/dev/shm/victim")
    db3.run(["touch", *outside])
    writing = f'for file in {" ".join(outside)}; do echo changed >>"$file"; echo "$?" >>written; done; real "$@"'
    try:
        with wrapped(db3, "mariadb-backup", f'case " $* " in *" --prepare "*) {writing} ;; *) real "$@" ;; esac'):
            result = transfer(fleet.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET, check=True)
        assert db3.sh(f"cat {' '.join(outside)}") == ""
    finally:
        db3.run(["rm", *outside])
    assert db3.sh("cat /srv/copy/written").split() == ["1"] * len(outside)
    assert "WARNING" not in result.stderr
    with started(db3, "/srv/copy") as copy:
        assert content(copy) == content(fleet.primary)


def test_a_host_that_cannot_confine_the_preparation_is_named(fleet: Fleet) -> None:
    with wrapped(fleet["db3"], "unshare", "echo 'unshare failed: Operation not permitted' >&2; exit 1"):
        result = transfer(fleet.lab, *BACKUP, "--prepare", "--owner", "mysql:mysql", SOURCE, TARGET, check=True)
    warning = "the preparation can write outside of the copy, because the host cannot confine it: unshare failed"
    assert f"WARNING db3: {warning}" in result.stderr
    with started(fleet["db3"], "/srv/copy") as copy:
        assert content(copy) == content(fleet.primary)


def test_an_entry_that_appears_in_the_target_during_the_copy_stays(fleet: Fleet) -> None:
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        fleet["db3"].run("echo mine >/srv/copy/file")
        fleet["db3"].shape(None)
        result = run.end()
    assert result.status == 8
    assert f"ERROR {TARGET}: failed: db3: /srv/copy is not empty any more\n" in result.stderr
    assert fleet["db3"].sh("ls -A /srv/copy; cat /srv/copy/file") == "file\nmine"


def test_the_owner_goes_for_files_and_trees_too(fleet: Fleet) -> None:
    fleet["db1"].run("mkdir -p /srv/tree/sub; echo text >/srv/tree/sub/file; ln -s /etc/passwd /srv/tree/link")
    transfer(fleet.lab, "--owner", "mysql", "db1:/srv/tree", TARGET, check=True)
    owners = fleet["db3"].sh("find /srv/copy /etc/passwd -printf '%p %u:%g\\n' | sort")
    assert owners.replace("/srv/copy", ".").splitlines() == [
        *("/etc/passwd root:root", ". root:root", "./tree mysql:root", "./tree/link mysql:root"),
        *("./tree/sub mysql:root", "./tree/sub/file mysql:root"),
    ]
