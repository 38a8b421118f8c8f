"""Replication and hot copies: replication is stopped during the copy and always runs again afterwards."""

from __future__ import annotations

import json
import re
import signal
from contextlib import ExitStack, contextmanager
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any, Self

import pytest
from attackers import NOBODY
from databases import (
    HELD,
    REPLICATION_USER,
    RUNNING,
    SOCKET,
    STOPPED,
    Fleet,
    Server,
    Writer,
    assert_unchanged,
    backing_up,
    quoted,
    replicating,
    running_fleet,
    wrapped,
)
from helpers import SYSTEM_PYTHON, eventually, transfer
from lab import CHECKOUT
from watching import SLOW, Run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from lab import Host

pytestmark = pytest.mark.lab

BACKUP = ("--type", "xtrabackup", "--stop-slave")
NIGHTLY = ("--type", "xtrabackup", "--compress", "--no-encrypt", "--no-checksum", "--port", "0", "--stop-slave")
SOURCE = f"db2:{SOCKET}"
TARGET = "db3:/srv/copy"
OTHER = r"o'b\c"
"""A replication connection with a name that needs quoting."""
_GATE = "/var/lib/gate"


@pytest.fixture(scope="module")
def servers() -> Iterator[Fleet]:
    with running_fleet() as made:
        yield made


@pytest.fixture
def fleet(servers: Fleet) -> Iterator[Fleet]:
    """The fixture :func:`replicating`, for the tests of this module."""
    with replicating(servers) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def second_primary(servers: Fleet) -> Iterator[Server]:
    """A second server on db1, with almost no data."""
    server = Server(servers["db1"], 4, "second")
    server.install()
    with server:
        server.execute(f"SET sql_log_bin = 0; {REPLICATION_USER}")
        yield server


@pytest.fixture
def two_primaries(fleet: Fleet, second_primary: Server) -> Iterator[Fleet]:
    """The fleet, with a second replication connection on the replica."""
    fleet.replica.follow(second_primary, OTHER)
    yield fleet
    fleet.replica.execute(f"STOP SLAVE {quoted(OTHER)}; RESET SLAVE {quoted(OTHER)} ALL; START ALL SLAVES")


@contextmanager
def streaming(fleet: Fleet, *options: str) -> Iterator[Run]:
    """A run during its stream, with replication stopped."""
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, *options, SOURCE, TARGET) as run:
        run.wait_for_stream(fleet["db3"])
        assert "Yes" not in {sql_thread for _, sql_thread in fleet.replica.replication().values()}
        yield run


class Gate:
    """A gate that makes callers of a command wait, and lets them continue one by one, in their order.

    Args:
        host: host of the command.
        command: name of the command.
        pattern: pattern of the arguments of waiting calls.
        after: if true, calls wait after the command has ended.
    """

    def __init__(self, host: Host, command: str, pattern: str, *, after: bool = False) -> None:
        self._host = host
        wait = (
            f"exec {{lock}}<{_GATE}; flock $lock; touch {_GATE}/called.$$; n=$(ls {_GATE} | grep -c called);"
            f" exec {{lock}}<&-; until [ -e {_GATE}/open.$n ]; do sleep 0.05; done"
        )
        work = f'real "$@"; status=$?; {wait}; exit $status' if after else f'{wait}; real "$@"'
        self._wrapper = wrapped(host, command, f'case "$*" in {pattern}) {work} ;; *) real "$@" ;; esac')

    def __enter__(self) -> Self:
        self._host.run(f"rm -rf {_GATE} && mkdir {_GATE}")
        self._wrapper.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._wrapper.__exit__(None, None, None)
        self.open(*range(1, 9))

    def wait_for(self, number: int) -> None:
        """Wait until this number of calls waits."""
        assert eventually(lambda: int(self._host.sh(f"ls {_GATE} | grep -c called; true")) == number, seconds=60)

    def open(self, *numbers: int) -> None:
        """Let these calls continue."""
        self._host.run(["touch", *(f"{_GATE}/open.{number}" for number in numbers)])


# --- the threads that are stopped and started


def test_replication_is_stopped_for_each_backup_and_runs_in_between(fleet: Fleet) -> None:
    fleet["db1"].run("mkdir /srv/copy")
    before = fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")
    states = "mariadb -e 'SHOW ALL SLAVES STATUS\\G' | grep -E 'Slave_SQL_Running:' >>/srv/states"
    with ExitStack() as stack:
        stack.enter_context(wrapped(fleet["db2"], "mariadb-backup", backing_up(f'{states}; real "$@"')))
        # The tool itself can write only in the copy.
        gates = [stack.enter_context(Gate(fleet[host], "unshare", "*--prepare*")) for host in ("db3", "db1")]
        run = stack.enter_context(
            Run(fleet.lab, *BACKUP, "--prepare", "--report=/srv/r", SOURCE, TARGET, "db1:/srv/copy")
        )
        for gate in gates:
            gate.wait_for(1)
            assert fleet.replica.replication() == {"": RUNNING}
            gate.open(1)
        result = run.end()
    assert result.status == 0, result.stderr
    assert result.stderr.count("db2: replication stopped: 1 connection(s)\n") == 2
    assert result.stderr.count("db2: replication runs as before\n") == 2
    assert (fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")) == tuple(n + 2 for n in before)
    assert [line.split()[-1] for line in fleet["db2"].sh("cat /srv/states").splitlines()] == ["No"] * 2
    report = json.loads(fleet["orch"].sh("cat /srv/r"))["transfers"][0]
    assert 0 < report["replication_stopped_seconds"] < report["seconds"]


def test_replication_runs_when_the_backup_has_ended_though_the_stream_has_not(fleet: Fleet) -> None:
    hang = 'real "$@"; until [ -e /srv/go-on ]; do sleep 0.1; done; cat >/dev/null'
    with wrapped(fleet["db2"], "socat", hang), Run(fleet.lab, *BACKUP, SOURCE, TARGET) as run:
        assert eventually(lambda: "replication runs as before" in run.log, seconds=60), run.log
        assert fleet.replica.replication() == {"": RUNNING}
        fleet["db2"].run("touch /srv/go-on")
        assert run.end().status == 0, run.log


def test_a_backup_that_needs_replication_stopped_for_too_long_is_ended(fleet: Fleet) -> None:
    with wrapped(fleet["db2"], "mariadb-backup", backing_up("exec sleep 600")):
        result = transfer(fleet.lab, *BACKUP, "--max-stop-time", "5", SOURCE, TARGET)
    assert result.status == 9
    words = "the backup needs replication to be stopped for more than 5 seconds (--max-stop-time)"
    assert f"ERROR {TARGET}: failed: db2: {words}" in result.stderr
    assert "db2: replication runs as before\n" in result.stderr
    assert fleet.replica.replication() == {"": RUNNING}


def test_replication_that_does_not_run_is_not_started(fleet: Fleet) -> None:
    fleet.replica.execute("STOP SLAVE")
    started = fleet.replica.counted("start_slave")
    try:
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
        assert fleet.replica.replication() == {"": STOPPED}
    finally:
        fleet.replica.execute("START SLAVE")
    assert fleet.replica.counted("start_slave") == started + 1
    assert "db2: replication does not run, so there is nothing to stop\n" in result.stderr


def test_a_server_that_replicates_nothing_is_copied_all_the_same(fleet: Fleet) -> None:
    result = transfer(fleet.lab, *BACKUP, f"db1:{SOCKET}", TARGET, check=True)
    assert "db1: replication does not run, so there is nothing to stop\n" in result.stderr


def test_an_io_thread_that_runs_alone_is_left_alone(fleet: Fleet) -> None:
    fleet.replica.execute("STOP SLAVE SQL_THREAD")
    try:
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
        assert "db2: replication does not run, so there is nothing to stop\n" in result.stderr
        assert fleet.replica.replication() == {"": ("Yes", "No")}
    finally:
        fleet.replica.execute("START SLAVE")


def test_an_sql_thread_that_runs_alone_runs_alone_again(fleet: Fleet) -> None:
    fleet.replica.execute("STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=no; START SLAVE SQL_THREAD")
    try:
        with streaming(fleet) as run:
            fleet["db3"].shape(None)
            assert run.end().status == 0, run.log
        assert fleet.replica.replication() == {"": ("No", "Yes")}
    finally:
        fleet.replica.execute("STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE")


@contextmanager
def delayed(fleet: Fleet) -> Iterator[list[str]]:
    """The replica, an hour behind with rows whose binary logs the primary has no longer; yield the relay logs."""
    fleet.replica.execute("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=3600; START SLAVE")
    fleet.primary.execute("INSERT INTO shop.orders VALUES (-1, 1); FLUSH LOGS; INSERT INTO shop.orders VALUES (-2, 2)")
    fleet.primary.execute("FLUSH LOGS")
    assert has_received(fleet)
    file = fleet.primary.execute("SHOW MASTER STATUS")[0][0]

    def are_gone() -> bool:  # a log stays while it is sent
        fleet.primary.execute(f"PURGE BINARY LOGS TO '{file}'")
        return fleet.primary.execute("SHOW BINARY LOGS")[0][0] == file

    assert eventually(are_gone, seconds=30)
    try:
        yield relay_logs(fleet)
    finally:
        without_delay(fleet)


def without_delay(fleet: Fleet) -> None:
    """Let the replica execute the transactions in its relay logs, and end the delay."""
    if fleet.replica.replication()[""] != STOPPED:
        fleet.replica.execute("STOP SLAVE")
    file, position = fleet.replica.execute("SHOW ALL SLAVES STATUS")[0][9:11]
    start = f"RELAY_LOG_FILE='{file}', RELAY_LOG_POS={position}"
    fleet.replica.execute(f"CHANGE MASTER TO MASTER_DELAY=0, MASTER_USE_GTID=no, {start}; START SLAVE")
    rows = "SELECT COUNT(*) FROM shop.orders WHERE id < 0"
    assert eventually(lambda: fleet.replica.value(rows) == "2", seconds=60), fleet.replica.execute(
        "SHOW ALL SLAVES STATUS"
    )
    fleet.primary.execute("DELETE FROM shop.orders WHERE id < 0")
    assert fleet.replica.has_caught_up(fleet.primary)
    fleet.replica.execute("STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE")


def has_received(fleet: Fleet) -> bool:
    """Return whether the I/O thread of the replica has received all transactions of the primary."""
    newest = fleet.primary.value("SELECT @@gtid_binlog_pos")
    return eventually(lambda: newest in str(fleet.replica.execute("SHOW ALL SLAVES STATUS")), seconds=30)


def relay_logs(fleet: Fleet) -> list[str]:
    return fleet["db2"].sh(f"cat {fleet.replica.datadir}/relay.index").split()


def test_a_delayed_replica_keeps_its_relay_logs(fleet: Fleet) -> None:
    with delayed(fleet) as before:
        assert len(before) > 2
        transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
        assert relay_logs(fleet)[: len(before)] == before
        assert fleet.replica.replication() == {"": RUNNING}


def test_a_delayed_replica_without_an_io_thread_keeps_its_relay_logs(fleet: Fleet) -> None:
    with delayed(fleet) as before:
        fleet.replica.execute("STOP SLAVE IO_THREAD")
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
        assert relay_logs(fleet)[: len(before)] == before
        assert fleet.replica.replication() == {"": ("No", "Yes")}
    assert result.status == 9
    assert "connection '' has no running I/O thread: a start would delete its relay logs" in result.stderr


@pytest.mark.parametrize("mode", ["conservative", "optimistic", "aggressive", "minimal", "none"])
def test_a_parallel_replica_misses_nothing(fleet: Fleet, mode: str) -> None:
    settings = f"STOP SLAVE; SET GLOBAL slave_parallel_threads={{}}; SET GLOBAL slave_parallel_mode={mode}; START SLAVE"
    fleet.replica.execute(settings.format(4))
    try:
        with Writer(fleet.primary), streaming(fleet) as run:
            assert fleet.replica.value("SELECT @@slave_parallel_mode") == mode
            fleet["db3"].shape(None)
            assert run.end().status == 0, run.log
        assert fleet.replica.has_caught_up(fleet.primary)
        query = "SELECT COUNT(*), SUM(id), SUM(amount) FROM shop.orders"
        assert fleet.replica.execute(query) == fleet.primary.execute(query)
    finally:
        fleet.replica.execute(settings.format(0))


@contextmanager
def temporary_table(fleet: Fleet) -> Iterator[subprocess.Popen[bytes]]:
    """An open temporary table of replication; the end of the client's input closes it."""
    sql = "SET binlog_format=STATEMENT; CREATE TEMPORARY TABLE shop.passing (id INT); SELECT 1;\n"
    with fleet["db1"].popen(["mariadb", f"--socket={SOCKET}", "--unbuffered"], stdin=PIPE, stdout=DEVNULL) as client:
        assert client.stdin
        client.stdin.write(sql.encode())
        client.stdin.flush()
        assert eventually(lambda: open_tables(fleet) == 1, seconds=30)
        yield client


def open_tables(fleet: Fleet) -> int:
    return int(fleet.replica.execute("SHOW GLOBAL STATUS LIKE 'Slave_open_temp_tables'")[0][1])


def test_the_backup_waits_until_no_temporary_table_is_open(fleet: Fleet) -> None:
    with temporary_table(fleet) as client, Run(fleet.lab, *BACKUP, SOURCE, TARGET) as run:
        assert eventually(lambda: "waits for a moment without open temporary tables" in run.log, seconds=60), run.log
        assert fleet.replica.replication() == {"": RUNNING}
        assert client.stdin
        client.stdin.close()
        client.wait()
        assert run.end().status == 0, run.log
    assert open_tables(fleet) == 0
    assert fleet.replica.replication() == {"": RUNNING}


def test_temporary_tables_that_stay_open_end_the_run_before_the_backup(fleet: Fleet) -> None:
    with temporary_table(fleet), wrapped(fleet["db2"], "mariadb-backup", backing_up("touch /srv/called")):
        result = transfer(fleet.lab, *BACKUP, "--safe-timeout", "2", SOURCE, TARGET)
        assert fleet.replica.replication() == {"": RUNNING}
    assert result.status == 9
    assert "db2: the replica has had open temporary tables for 2 seconds (--safe-timeout)" in result.stderr
    assert fleet["db2"].run("test -e /srv/called", check=False).returncode == 1
    assert eventually(lambda: open_tables(fleet) == 0, seconds=30)


@pytest.mark.parametrize("idle", ["", OTHER])
def test_of_several_connections_only_those_that_ran_are_stopped_and_run_again(two_primaries: Fleet, idle: str) -> None:
    fleet = two_primaries
    fleet.replica.execute(f"STOP SLAVE {quoted(idle)}")
    with streaming(fleet) as run:
        assert "db2: replication stopped: 1 connection(s)\n" in run.log
        fleet["db3"].shape(None)
        assert run.end().status == 0, run.log
    assert fleet.replica.replication() == {"": RUNNING, OTHER: RUNNING} | {idle: STOPPED}


@contextmanager
def locked(fleet: Fleet, table: str) -> Iterator[Callable[[], None]]:
    """A table of the replica with a write lock; yield the function that releases it."""
    with fleet["db2"].popen(["mariadb", "--unbuffered"], stdin=PIPE, stdout=PIPE) as client:
        assert client.stdin
        assert client.stdout
        client.stdin.write(f"LOCK TABLES {table} WRITE; SELECT 'locked';\n".encode())
        client.stdin.flush()
        assert b"locked" in client.stdout.readline() + client.stdout.readline()
        yield client.stdin.close


def test_a_connection_that_cannot_stop_delays_the_start_of_no_other_one(
    two_primaries: Fleet, second_primary: Server
) -> None:
    replica = two_primaries.replica
    second_primary.execute("CREATE DATABASE busy; CREATE TABLE busy.rows (i INT)")
    arrived = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'busy'"
    assert eventually(lambda: replica.execute(arrived), seconds=30)
    waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock'"
    with locked(two_primaries, "busy.rows") as release:
        second_primary.execute("INSERT INTO busy.rows VALUES (1)")
        assert eventually(lambda: replica.value(waiting) == "1", seconds=30)
        with Run(two_primaries.lab, *BACKUP, "--safe-timeout", "2", SOURCE, TARGET) as run:
            assert eventually(lambda: replica.replication()[""] == HELD, seconds=60)
            assert eventually(lambda: replica.replication()[""] == RUNNING, seconds=60)
            release()
            result = run.end()
    assert f"connection '{OTHER}' did not stop within 2 seconds (--safe-timeout)" in result.stderr
    assert "db2: transferpy stops replication\n" in result.stderr
    assert "db2: replication runs as before\n" in result.stderr
    assert result.status == 9
    assert replica.replication() == {"": RUNNING, OTHER: RUNNING}
    second_primary.execute("DROP DATABASE busy")


def test_all_connections_run_again(two_primaries: Fleet) -> None:
    result = transfer(two_primaries.lab, *BACKUP, SOURCE, TARGET, check=True)
    assert "db2: replication stopped: 2 connection(s)\n" in result.stderr
    assert two_primaries.replica.replication() == {"": RUNNING, OTHER: RUNNING}


ANOTHER_STATUS = """
Slave_IO_Running: Yes
            Slave_SQL_Running: Yes
*************************** 2. row ***************************
Connection_name: other
</field><row><field name="Slave_SQL_Running">Yes</field>
row
Slave_SQL_Running=Yes
"""
"""Lines that look like a status of replication, in several formats."""


def test_the_error_of_a_connection_may_have_any_lines(fleet: Fleet) -> None:
    fleet.primary.execute("CREATE TABLE shop.conflict (id INT PRIMARY KEY, text TEXT)")
    assert fleet.replica.has_caught_up(fleet.primary)
    fleet.replica.execute("SET sql_log_bin = 0; INSERT INTO shop.conflict VALUES (1, '')")
    fleet.primary.execute(
        f"SET binlog_format = STATEMENT; INSERT INTO shop.conflict VALUES (1, {quoted(ANOTHER_STATUS)})"
    )
    fleet.replica.wait_for_replication(HELD)
    assert "Slave_SQL_Running: Yes" in str(fleet.replica.execute("SHOW ALL SLAVES STATUS"))
    before = fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")
    try:
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
        assert "replication does not run, so there is nothing to stop" in result.stderr, result.stderr
        assert (fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")) == before
        assert fleet.replica.replication() == {"": HELD}
    finally:
        fleet.replica.execute("SET sql_log_bin = 0; DELETE FROM shop.conflict; START SLAVE")
        fleet.primary.execute("DROP TABLE shop.conflict")
    assert fleet.replica.has_caught_up(fleet.primary)


PRINTED = """\
verbose
verbose
verbose
table
html
vertical
auto-vertical-output
skip-column-names
raw
silent
silent
column-type-info
show-warnings
debug-info
unbuffered
force
named-commands
binary-mode
binary-as-hex
tee = /srv/tee
pager = cat /etc/passwd
delimiter = //
database = none
init-command = SELECT 'datadir=/none'
"""
"""Options that change the output of the client, or the statements that it sends."""


@pytest.mark.parametrize("file", ["/root/.my.cnf", "/etc/mysql/conf.d/more.cnf"])
def test_options_of_the_client_that_print_more_have_no_effect(fleet: Fleet, file: str) -> None:
    db2 = fleet["db2"]
    db2.run(["tee", file], input=f"[mysql]\n{PRINTED}\n[client-mariadb]\nxml\nvertical\n".encode())
    before = fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")
    try:
        assert "Logging to file" in db2.sh("mariadb --database= -e 'SELECT 1'")
        transfer(fleet.lab, *BACKUP, SOURCE, TARGET, check=True)
    finally:
        db2.run(["rm", file])
    assert (fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")) == (before[0] + 1, before[1] + 1)


def test_a_primary_that_cannot_be_reached_is_looked_for_again(fleet: Fleet) -> None:
    rule = "INPUT -p tcp --dport 3306 -j REJECT --reject-with tcp-reset"
    fleet["db1"].run(f"iptables -I {rule}")
    try:
        fleet.replica.execute("STOP SLAVE; START SLAVE")
        fleet.replica.wait_for_replication(("Connecting", "Yes"))
        with streaming(fleet) as run:
            fleet["db3"].shape(None)
            assert run.end().status == 0, run.log
        assert fleet.replica.replication() == {"": ("Connecting", "Yes")}
    finally:
        fleet["db1"].run(f"iptables -D {rule}")
        fleet.replica.execute("STOP SLAVE; START SLAVE")


@pytest.mark.parametrize("name", ["レプリカ", "реплика", "ünï cöde", OTHER])
def test_a_connection_may_have_a_name_in_any_language(fleet: Fleet, second_primary: Server, name: str) -> None:
    replica = fleet.replica
    fleet["db2"].run("printf '[client]\\ndefault-character-set = latin1\\n' >/srv/client.cnf")
    replica.follow(second_primary, name)
    mode = replica.value("SELECT @@GLOBAL.sql_mode")
    replica.execute("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
    try:
        with streaming(fleet, "--defaults-file", "/srv/client.cnf") as run:
            assert "db2: replication stopped: 2 connection(s)\n" in run.log
            fleet["db3"].shape(None)
            result = run.end()
        assert result.status == 0, result.stderr
        assert replica.replication() == {"": RUNNING, name: RUNNING}
        assert f"CHANGE MASTER '{name}' TO " in fleet["db3"].sh("cat /srv/copy/xtrabackup_slave_info") or name == OTHER
    finally:
        replica.execute(f"SET GLOBAL sql_mode = '{mode}'")
        replica.execute(f"STOP SLAVE {quoted(name)}; RESET SLAVE {quoted(name)} ALL")


@contextmanager
def renamed(fleet: Fleet, version: str) -> Iterator[Server]:
    """A second replica on db2, which shows its clients another version."""
    server = Server(fleet["db2"], 6, "-renamed", options=[f"--version={version}"])
    server.install()
    try:
        with server:
            assert server.value("SELECT VERSION()") == version
            # Earlier tests have purged the first binary logs of the primary.
            server.execute(f"SET GLOBAL gtid_slave_pos = '{fleet.primary.value('SELECT @@gtid_binlog_pos')}'")
            server.follow(fleet.primary, OTHER)
            yield server
    finally:
        fleet["db2"].run(f"rm -rf {server.datadir} {server.socket}*")


@pytest.mark.parametrize("version", ["11.4.2-MariaDB", "5.5.5-10.11.9-MariaDB"])
def test_a_server_that_reports_another_version_is_identified(fleet: Fleet, version: str) -> None:
    with renamed(fleet, version) as server:
        transfer(fleet.lab, *BACKUP, f"db2:{server.socket}", TARGET, check=True)
        assert server.counted("stop_slave") == server.counted("start_slave") - 1 == 1
        assert server.replication() == {OTHER: RUNNING}


@pytest.mark.parametrize("version", ["8.0.36-log", "10.11.19-log"])
def test_a_version_that_the_backup_tool_refuses_is_refused_before_replication_stops(fleet: Fleet, version: str) -> None:
    with renamed(fleet, version) as server:
        command = f"mariadb-backup --backup --stream=xbstream --socket={server.socket} 2>&1 >/dev/null"
        assert f"Unsupported server version: '{version}'" in fleet["db2"].sh(f"{command}; true")
        result = transfer(fleet.lab, *BACKUP, f"db2:{server.socket}", TARGET)
        assert server.counted("stop_slave") == 0
    assert result.status == 4
    name = f"'{version}, Debian 12' (set by its option --version)"
    assert f"ERROR db2:{server.socket}: mariadb-backup refuses a server of the name {name}" in result.stderr


# --- runs that fail


def test_a_run_that_is_refused_does_not_touch_replication(fleet: Fleet) -> None:
    before = fleet.replica.counted("stop_slave")
    fleet["db3"].run("touch /srv/copy/file")
    assert transfer(fleet.lab, *BACKUP, SOURCE, TARGET).status == 4
    assert fleet.replica.counted("stop_slave") == before
    assert fleet.replica.replication() == {"": RUNNING}


FAILING_PREPARATION = 'case " $* " in *" --prepare "*) exit 5 ;; *) real "$@" ;; esac'


@pytest.mark.parametrize(
    ("host", "tool", "script", "status"),
    [
        pytest.param("db3", "mbstream", "exit 5", 6, id="receiving"),
        pytest.param("db2", "mariadb-backup", backing_up("exit 5"), 6, id="the backup"),
        pytest.param("db3", "mbstream", 'real "$@"; rm xtrabackup_info', 7, id="the check of the copy"),
        pytest.param("db3", "mariadb-backup", FAILING_PREPARATION, 10, id="preparing"),
        pytest.param("db3", "mbstream", 'real "$@"; touch ../../file', 8, id="publishing"),
    ],
)
def test_replication_runs_again_when_a_step_fails(fleet: Fleet, host: str, tool: str, script: str, status: int) -> None:
    before = fleet.replica.counted("stop_slave")
    with wrapped(fleet[host], tool, script):
        result = transfer(fleet.lab, *BACKUP, "--prepare", SOURCE, TARGET)
    assert fleet.replica.replication() == {"": RUNNING}
    assert fleet.replica.counted("stop_slave") == before + 1
    assert result.status == status, result.stderr
    assert "db2: replication runs as before\n" in result.stderr


def test_a_stop_that_is_not_allowed_is_an_error_of_its_own(fleet: Fleet) -> None:
    fleet.primary.execute(
        "CREATE USER reader@localhost IDENTIFIED BY 'reading'; GRANT SELECT, SLAVE MONITOR ON *.* TO reader@localhost"
    )
    assert fleet.replica.has_caught_up(fleet.primary)
    fleet["db2"].run("printf '[client]\\nuser = reader\\npassword = reading\\n' >/srv/reader.cnf")
    before = fleet.snapshot()
    result = transfer(fleet.lab, *BACKUP, "--defaults-file", "/srv/reader.cnf", SOURCE, TARGET)
    fleet.primary.execute("DROP USER reader@localhost")
    assert result.status == 9
    words = "STOP SLAVE '' SQL_THREAD; ERROR 1227 (42000) at line 1: Access denied"
    assert f"ERROR {TARGET}: failed: db2: cannot stop replication: {words}" in result.stderr
    assert "not undone" not in result.stderr
    assert fleet.replica.replication() == {"": RUNNING}
    assert_unchanged(fleet, before)


def test_the_privileges_that_the_manual_names_are_enough(fleet: Fleet) -> None:
    named, older = re.findall(r"GRANT (.+) ON \*\.\* TO", (CHECKOUT / "docs/types.rst").read_text())
    fleet.primary.execute(f"CREATE USER older@localhost; GRANT {older} ON *.* TO older@localhost")
    fleet.primary.execute("DROP USER older@localhost")
    fleet.primary.execute(
        f"CREATE USER dumper@localhost IDENTIFIED BY 'dumping'; GRANT {named} ON *.* TO dumper@localhost"
    )
    assert fleet.replica.has_caught_up(fleet.primary)
    fleet["db2"].run("printf '[client]\\nuser = dumper\\npassword = dumping\\n' >/srv/dumper.cnf")
    before = fleet.replica.counted("stop_slave")
    transfer(fleet.lab, *BACKUP, "--defaults-file", "/srv/dumper.cnf", SOURCE, TARGET, check=True)
    fleet.primary.execute("DROP USER dumper@localhost")
    assert fleet.replica.counted("stop_slave") == before + 1


def test_a_start_that_is_refused_is_an_error_of_its_own_and_made_up_for_by_the_next_run(fleet: Fleet) -> None:
    with wrapped(fleet["db2"], "mariadb-backup", backing_up("real \"$@\"; mariadb -e 'STOP SLAVE; RESET SLAVE ALL'")):
        result = transfer(fleet.lab, *BACKUP, SOURCE, TARGET)
    assert result.status == 9
    words = "connection ''; START SLAVE '' SQL_THREAD; ERROR 1200 (HY000) at line 1: Misconfigured slave: MASTER_HOST"
    assert f"ERROR db2: replication is stopped and does not start again, start it by hand: {words}" in result.stderr
    assert "db2: replication does not start, the next run tries again: connection ''; START SLAVE" in result.stderr
    again = transfer(fleet.lab, "db2:/srv/none", "db3:/srv")
    assert again.status == 4
    warning = "WARNING db2: replication does not start, the next run tries again: connection ''; START SLAVE"
    assert warning in again.stderr
    assert fleet.replica.replication() == {}
    fleet.replica.follow(fleet.primary)
    fleet.replica.execute("STOP SLAVE SQL_THREAD")
    fleet["db2"].run("echo text >/srv/file; mkdir /srv/other")
    again = transfer(fleet.lab, "db2:/srv/file", "db3:/srv", check=True)
    assert "INFO  db2: undid the changes of the stale run " in again.stderr
    assert fleet.replica.replication() == {"": RUNNING}


def test_a_start_that_fails_a_moment_later_has_failed(fleet: Fleet) -> None:
    fleet.primary.execute("INSERT INTO shop.payments VALUES (-1, 1)")
    assert fleet.replica.has_caught_up(fleet.primary)
    with streaming(fleet) as run:
        fleet.replica.execute("SET sql_log_bin = 0; DELETE FROM shop.payments WHERE id = -1")
        fleet.primary.execute("SET binlog_format = ROW; DELETE FROM shop.payments WHERE id = -1")
        assert has_received(fleet)
        fleet["db3"].shape(None)
        result = run.end()
    assert result.status == 9
    assert "ERROR db2: replication is stopped and does not start again, start it by hand: connection ''" in (
        result.stderr
    )
    assert "SQL_THREAD did not start to run within 5 seconds; Could not execute Delete_rows" in result.stderr
    fleet.replica.execute("SET sql_log_bin = 0; INSERT INTO shop.payments VALUES (-1, 1)")
    fleet["db2"].run("echo text >/srv/file")
    transfer(fleet.lab, "db2:/srv/file", "db3:/srv", check=True)
    assert fleet.replica.replication() == {"": RUNNING}


def test_relay_logs_that_a_start_would_delete_stay(fleet: Fleet) -> None:
    with delayed(fleet) as before:
        with streaming(fleet) as run:
            fleet.replica.execute("STOP SLAVE IO_THREAD")
            fleet["db3"].shape(None)
            result = run.end()
        assert result.status == 9
        assert "its I/O thread has stopped too, and START SLAVE would delete its relay logs" in result.stderr
        assert relay_logs(fleet)[: len(before)] == before
        assert fleet.replica.replication() == {"": STOPPED}
    fleet["db2"].run("echo text >/srv/file")
    transfer(fleet.lab, "db2:/srv/file", "db3:/srv", check=True)
    assert fleet.replica.replication() == {"": RUNNING}


# --- runs that are ended


def kill_session(fleet: Fleet) -> None:
    """Kill only the session on db2."""
    (name,) = fleet["db2"].sh("cd /run/transferpy && ls -d run.*").split()
    fleet["db2"].run(["kill", "-KILL", name.split(".")[-2]])


def kill_ssh(fleet: Fleet) -> None:
    fleet["orch"].run(["pkill", "-KILL", "-x", "ssh"])


@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
@pytest.mark.parametrize("moment", ["during the stream", "right after the stop"])
def test_replication_runs_again_when_a_signal_ends_the_run(fleet: Fleet, sent: signal.Signals, moment: str) -> None:
    before = fleet.snapshot()
    with ended(fleet, moment, lambda run: run.process.send_signal(sent)) as run:
        assert run.end().status == 128 + sent, run.log
        assert fleet.replica.replication() == {"": RUNNING}
    assert_unchanged(fleet, before)


@contextmanager
def ended(fleet: Fleet, moment: str, end: Callable[[Run], Any]) -> Iterator[Run]:
    """A run that ends during the stream, or directly after it has stopped replication."""
    if moment == "during the stream":
        with streaming(fleet) as run:
            end(run)
            yield run
            fleet["db3"].shape(None)
        return
    gate = Gate(fleet["db2"], "mariadb", "*'STOP SLAVE'*", after=True)
    with gate, Run(fleet.lab, *BACKUP, SOURCE, TARGET) as run:
        gate.wait_for(1)
        assert fleet.replica.replication() == {"": HELD}
        end(run)
        yield run


@pytest.mark.parametrize("moment", ["during the stream", "right after the stop"])
def test_replication_runs_again_when_the_run_is_killed(fleet: Fleet, moment: str) -> None:
    before = fleet.snapshot()
    with ended(fleet, moment, lambda run: run.process.kill()) as run:
        run.process.wait()
        fleet.replica.wait_for_replication(RUNNING)
        assert_unchanged(fleet, before)


@pytest.mark.parametrize("moment", ["during the stream", "right after the stop"])
def test_replication_runs_again_when_the_connections_are_cut(fleet: Fleet, moment: str) -> None:
    before = fleet.snapshot()
    with ended(fleet, moment, lambda _: kill_ssh(fleet)) as run:
        assert run.end().status in {3, 6}, run.log
        assert fleet.replica.replication() == {"": RUNNING}
    assert_unchanged(fleet, before)


@pytest.mark.parametrize("moment", ["during the stream", "right after the stop"])
def test_replication_runs_again_when_the_session_is_killed(fleet: Fleet, moment: str) -> None:
    before = fleet.snapshot()
    with ended(fleet, moment, lambda _: kill_session(fleet)) as run:
        assert run.end().status in {3, 6}, run.log
        assert fleet.replica.replication() == {"": RUNNING}
    assert_unchanged(fleet, before)


@pytest.mark.parametrize("moment", ["during the stream", "right after the stop"])
def test_the_next_run_starts_replication_when_run_and_session_are_killed(fleet: Fleet, moment: str) -> None:
    def kill_both(run: Run) -> None:
        run.process.send_signal(signal.SIGSTOP)
        kill_session(fleet)
        run.process.kill()

    before = fleet.snapshot()
    with ended(fleet, moment, kill_both) as run:
        run.process.wait()
        assert fleet.replica.replication() == {"": HELD}
        result = transfer(fleet.lab, "db2:/srv/none", "db3:/srv")
        assert result.status == 4
        assert "INFO  db2: undid the changes of the stale run " in result.stderr
        assert "WARNING db2: started replication, which that run had stopped\n" in result.stderr
        assert fleet.replica.replication() == {"": RUNNING}
    # The next run also cleans up the target.
    transfer(fleet.lab, "db3:/srv/none", "db3:/srv")
    assert_unchanged(fleet, before)


# --- several runs at once


def start_nightly(fleet: Fleet, number: int) -> subprocess.Popen[bytes]:
    """Start a transfer like a nightly backup program: with closed or discarded output."""
    program = f'exec {SYSTEM_PYTHON} -m transferpy "$@" {">&- 2>&-" if number % 2 else ">/dev/null 2>&1"}'
    words = (*NIGHTLY, SOURCE, f"db3:/srv/copy/{number}")
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    process: subprocess.Popen[bytes] = fleet["orch"].popen(
        ["bash", "-c", program, "nightly", *words], env=environment, stdin=DEVNULL
    )
    return process


def test_five_nightly_calls_at_once_share_one_stop(fleet: Fleet) -> None:
    fleet["db3"].run("mkdir /srv/copy/{1..5}")
    before = fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")
    with Gate(fleet["db2"], "mariadb-backup", "*--backup*") as gate:
        calls = [start_nightly(fleet, number) for number in range(1, 6)]
        gate.wait_for(5)
        assert fleet.replica.replication() == {"": HELD}
        gate.open(*range(1, 6))
        assert [call.wait(timeout=120) for call in calls] == [0] * 5
    assert fleet.replica.replication() == {"": RUNNING}
    assert (fleet.replica.counted("stop_slave"), fleet.replica.counted("start_slave")) == tuple(n + 1 for n in before)
    found = fleet["db3"].sh("cd /srv/copy; grep -l . */xtrabackup_info; ls -A")
    assert found.split() == [*(f"{number}/xtrabackup_info" for number in range(1, 6)), *"12345"]


def test_the_last_of_several_runs_to_end_starts_replication(fleet: Fleet) -> None:
    fleet["db3"].run("mkdir /srv/copy/{1,2}")
    with ExitStack() as stack:
        gate = stack.enter_context(Gate(fleet["db2"], "mariadb-backup", "*--backup*"))
        runs = [stack.enter_context(Run(fleet.lab, *BACKUP, SOURCE, f"{TARGET}/{number}")) for number in (1, 2)]
        gate.wait_for(2)
        gate.open(1)
        assert eventually(lambda: any(run.process.poll() is not None for run in runs), seconds=60)
        assert fleet.replica.replication() == {"": HELD}
        gate.open(2)
        results = [run.end() for run in runs]
    assert [result.status for result in results] == [0, 0]
    assert fleet.replica.replication() == {"": RUNNING}
    logs = "".join(result.stderr for result in results)
    assert logs.count("db2: another transfer needs replication stopped, and will start it again\n") == 1
    assert logs.count("db2: replication runs as before\n") == 1


@pytest.mark.parametrize("killed", [0, 1])
def test_a_run_that_was_killed_is_not_waited_for(fleet: Fleet, killed: int) -> None:
    """Return whether this run stopped replication itself."""
    fleet["db3"].run("mkdir /srv/copy/{1,2}")
    with ExitStack() as stack:
        gate = stack.enter_context(Gate(fleet["db2"], "mariadb-backup", "*--backup*"))
        runs: list[Run] = []
        sessions: list[str] = []
        for number in (1, 2):
            runs.append(stack.enter_context(Run(fleet.lab, *BACKUP, SOURCE, f"{TARGET}/{number}")))
            gate.wait_for(number)
            sessions += set(fleet["db2"].sh("cd /run/transferpy && ls -d run.*").split()) - set(sessions)
        runs[killed].process.send_signal(signal.SIGSTOP)
        fleet["db2"].run(["kill", "-KILL", sessions[killed].split(".")[-2]])
        runs[killed].process.kill()
        assert fleet.replica.replication() == {"": HELD}
        gate.open(1, 2)
        survivor = runs[1 - killed]
        assert survivor.end().status == 0, survivor.log
        assert fleet.replica.replication() == {"": RUNNING}
    transfer(fleet.lab, "db2:/srv/none", "db3:/srv")
    assert fleet.replica.replication() == {"": RUNNING}


def test_a_user_who_may_read_the_data_directory_cannot_lock_replication(fleet: Fleet) -> None:
    directory = fleet.replica.datadir
    # The package of Debian creates this file.
    fleet["db2"].run(f"chmod 755 {directory}")
    with streaming(fleet) as run:
        script = f"exec 9<{directory} && flock -n 9 && echo locked && exec sleep 600"
        with fleet["db2"].popen([*NOBODY, "bash", "-c", script], stdout=PIPE) as locker:
            try:
                assert locker.stdout
                assert locker.stdout.readline() == b"locked\n"
                fleet["db3"].shape(None)
                assert run.end().status == 0, run.log
                assert set(fleet.replica.replication().values()) == {RUNNING}
                fleet["db3"].run("rm -r /srv/copy && mkdir /srv/copy")
                assert transfer(fleet.lab, *BACKUP, SOURCE, TARGET).status == 0
            finally:
                locker.kill()
