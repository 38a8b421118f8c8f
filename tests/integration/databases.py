"""Real database servers on the hosts of a lab: a primary on db1, a replica of it on db2, none on db3."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pytest
from helpers import eventually
from lab import DEFAULT_HOSTS, Lab, difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lab import Host, HostSpec, Snapshot

SOCKET = "/run/mysqld/mysqld.sock"
MEGABYTES = 8
"""The size of the incompressible data in the table ``shop.blobs``, in bytes."""
RUNNING = ("Yes", "Yes")
STOPPED = ("No", "No")
HELD = ("Yes", "No")
"""The state during a backup with --stop-slave."""

_STARTING_SECONDS = 60
_OWN = ("/srv/mysql", "/run/mysqld")
"""The files that the servers change all the time."""
_PASSWORD = "replication-password"
REPLICATION_USER = (
    f"CREATE USER repl@'198.18.0.%' IDENTIFIED BY '{_PASSWORD}'; GRANT REPLICATION SLAVE ON *.* TO repl@'198.18.0.%'"
)
"""The statements that create the replication user on a primary."""
_PRIMARY_DATA = f"""
    {REPLICATION_USER};
    CREATE DATABASE shop;
    CREATE TABLE shop.blobs (id INT PRIMARY KEY, data LONGBLOB) ENGINE=InnoDB;
    CREATE TABLE shop.orders (id INT PRIMARY KEY, amount INT) ENGINE=InnoDB;
    CREATE TABLE shop.payments (id INT PRIMARY KEY, amount INT) ENGINE=InnoDB;
"""


class Server:
    """A database server on a host; root logs in through the Unix socket.

    Args:
        host: host of the server.
        number: server_id, and domain of its GTIDs.
        suffix: suffix of its directory and its socket, if a host has several servers.
        options: further options.
    """

    def __init__(
        self, host: Host, number: int, suffix: str = "", *, datadir: str = "", options: Sequence[str] = ()
    ) -> None:
        self.host = host
        self.datadir = datadir or f"/srv/mysql{suffix}"
        self.socket = SOCKET.replace("d.sock", f"d{suffix}.sock")
        self._number = number
        self._options = options
        self._prefix: Sequence[str] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def install(self, options: str = "") -> None:
        """Create an empty data directory; the server that does so has further options."""
        self.host.run(
            f"mkdir -p {self.datadir} && chown mysql:mysql {self.datadir} && mariadb-install-db --no-defaults"
            f" --user=mysql --datadir={self.datadir} --auth-root-authentication-method=socket --skip-test-db {options}",
            timeout=_STARTING_SECONDS,
        )

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        self.host.run("mkdir -p /run/mysqld && chown mysql:mysql /run/mysqld")
        self._process = self.host.popen(
            [
                *self._prefix,
                *("mariadbd", "--no-defaults", "--user=mysql", "--skip-name-resolve", "--bind-address=*"),
                *(f"--datadir={self.datadir}", f"--socket={self.socket}", f"--port={3305 + self._number}"),
                *(f"--pid-file={self.socket}.pid", f"--log-error={self.datadir}/error.log"),
                *(f"--server-id={self._number}", f"--gtid-domain-id={self._number}"),
                *(f"--log-bin={self.datadir}/bin", f"--relay-log={self.datadir}/relay"),
                *("--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2"),
                "--max-allowed-packet=64M",
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        running = eventually(lambda: self._answers() or not self.lives, seconds=_STARTING_SECONDS)
        assert running, "no answer"
        assert self.lives, self.host.sh(f"tail -n 20 {self.datadir}/error.log")
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def lives(self) -> bool:
        """Return whether the process of the server runs."""
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        return self.host.run(self.client("SELECT 1"), check=False).returncode == 0

    def kill(self) -> None:
        """Kill the server, as in a power failure; its socket remains."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self, sql: str) -> Sequence[str]:
        """Return the command of the client that executes statements."""
        return (
            *("mariadb", "--no-defaults", f"--socket={self.socket}", "--default-character-set=utf8mb4"),
            *("--batch", "--skip-column-names", f"-e{sql}"),
        )

    def execute(self, sql: str) -> list[list[str]]:
        """Execute statements and return the rows of the results."""
        wrote = os.fsdecode(self.host.run(self.client(sql)).stdout)
        return [line.split("\t") for line in wrote.splitlines()]

    def value(self, sql: str) -> str:
        """Return the single value of a query."""
        ((value,),) = self.execute(sql)
        return value

    # replication

    def follow(self, primary: Server, connection: str = "") -> None:
        """Start replication from another server and wait until it runs."""
        port = 3305 + primary._number
        name = quoted(connection)
        self.execute(
            f"CHANGE MASTER {name} TO MASTER_HOST='{primary.host.ipv4}', MASTER_PORT={port}, MASTER_USER='repl',"
            f" MASTER_PASSWORD='{_PASSWORD}', MASTER_USE_GTID=slave_pos; START SLAVE {name}"
        )
        assert eventually(lambda: self.replication().get(connection) == RUNNING), self.execute("SHOW ALL SLAVES STATUS")

    def replication(self) -> dict[str, tuple[str, str]]:
        """Return the states of the I/O thread and the SQL thread (Yes, No or Connecting), by connection."""
        found: dict[str, tuple[str, str]] = {}
        for row in self.execute("SHOW ALL SLAVES STATUS"):
            # Connection_name, ..., Slave_IO_Running and Slave_SQL_Running
            found[unescaped(row[0])] = (row[12], row[13])
        return found

    def counted(self, statement: str) -> int:
        """Return the number of calls of a statement, such as "stop_slave", since the start of the server."""
        return int(self.execute(f"SHOW GLOBAL STATUS LIKE 'Com_{statement}'")[0][1])

    def wait_for_replication(self, wanted: dict[str, tuple[str, str]] | tuple[str, str]) -> None:
        """Wait until its connections (or the given ones) have the wanted state."""

        def is_so() -> bool:
            found = self.replication()
            return bool(found) and (found if isinstance(wanted, dict) else dict.fromkeys(found, wanted)) == (
                wanted if isinstance(wanted, dict) else found
            )

        assert eventually(is_so, seconds=60), self.replication()

    def has_caught_up(self, primary: Server) -> bool:
        """Return whether the server has executed all transactions of the primary."""
        position = primary.value("SELECT @@gtid_binlog_pos")
        return self.value(f"SELECT MASTER_GTID_WAIT('{position}', 30)") == "0"


class ContainedServer(Server):
    """A server in its own mount and PID namespaces.

    Args:
        server: the server that runs there.
        mounted: directory of the host that is mounted in the namespace.
        point: where it is mounted.
    """

    def __init__(self, server: Server, mounted: str, point: str) -> None:
        super().__init__(server.host, server._number, datadir=server.datadir, options=server._options)
        self.socket = server.socket
        self._prefix = (
            *("unshare", "--mount", "--pid", "--fork", "--mount-proc"),
            *("bash", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', mounted, point),
        )

    def __exit__(self, *_: object) -> None:
        if self.lives:
            self.execute("SHUTDOWN")
        assert eventually(lambda: not self.lives, seconds=_STARTING_SECONDS)


def quoted(text: str) -> str:
    """Return a text as a string literal of SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def unescaped(text: str) -> str:
    """Undo the escapes in a value that the client prints in batch mode."""
    return text.replace("\\\\", "\\")


@dataclass(frozen=True)
class Fleet:
    """The lab with its servers."""

    lab: Lab
    primary: Server
    replica: Server

    def __getitem__(self, host: str) -> Host:
        return self.lab[host]

    def snapshot(self) -> Snapshot:
        """Return the snapshot of the lab, without the servers and the files that they change."""
        return {
            section: [line for line in lines if not line.startswith(_OWN) and " mariadbd --no-defaults " not in line]
            for section, lines in self.lab.snapshot().items()
        }

    def clean(self) -> None:
        """Undo the changes of a test: rates, hidden commands, wrappers, and all data except the databases."""
        self.lab.restore()
        for host in self.lab:
            host.run("find /srv -mindepth 1 -maxdepth 1 ! -name 'mysql*' -exec rm -rf -- {} +; rm -f /usr/local/sbin/*")


@contextmanager
def running_fleet(hosts: Mapping[str, HostSpec] = DEFAULT_HOSTS) -> Iterator[Fleet]:
    """A lab with a primary on db1 and a replica of it on db2; the other hosts have the programs but no server."""
    with Lab.up(hosts) as lab, ExitStack() as stack:
        primary, replica = Server(lab["db1"], 1), Server(lab["db2"], 2)
        lab["db1"].run("iptables -I INPUT -p tcp -s 198.18.0.0/24 --dport 3306:3399 -j ACCEPT")
        for server in (primary, replica):
            server.install()
            stack.enter_context(server)
        primary.execute(_PRIMARY_DATA)
        statements = "".join(
            f"INSERT INTO shop.blobs VALUES ({number}, 0x{os.urandom(1 << 20).hex()});\n" for number in range(MEGABYTES)
        )
        primary.host.run(primary.client("SOURCE /dev/stdin"), input=statements.encode())
        replica.follow(primary)
        assert replica.has_caught_up(primary)
        yield Fleet(lab, primary, replica)


@contextmanager
def watched(fleet: Fleet) -> Iterator[Fleet]:
    """The fleet for one test, which fails if the test leaves anything behind on any host."""
    fleet.clean()
    before = fleet.snapshot()
    yield fleet
    fleet.clean()
    assert_unchanged(fleet, before, seconds=5)


@contextmanager
def replicating(servers: Fleet) -> Iterator[Fleet]:
    """The fleet for one test, with an empty directory /srv/copy on db3; replication on db2 must run at the end."""
    with watched(servers):
        servers["db3"].run("mkdir /srv/copy")
        yield servers
        runs = eventually(lambda: set(servers.replica.replication().values()) == {RUNNING}, seconds=15)
        if not runs:  # the other tests need running replication
            servers.replica.execute("STOP ALL SLAVES; RESET SLAVE ALL")
            servers.replica.follow(servers.primary)
        assert runs, "the test has left replication stopped"


def assert_unchanged(fleet: Fleet, before: Snapshot, *, seconds: float = 30) -> None:
    """Assert that the fleet matches a snapshot within some seconds."""
    eventually(lambda: not difference(before, fleet.snapshot()), seconds=seconds)
    if left := difference(before, fleet.snapshot()):
        pytest.fail(f"this was left behind:\n{left}")


@contextmanager
def wrapped(host: Host, command: str, script: str) -> Iterator[None]:
    """Replace a command of a host with a bash script, in which ``real`` calls the command."""
    real = host.sh(f"type -P {command}")
    path = f"/usr/local/sbin/{command}"
    text = f'#!/bin/bash\nreal() {{ {real} "$@"; }}\n{script}\n'
    host.run(f"cat >{path}.new && chmod 755 {path}.new && mv {path}.new {path}", input=text.encode())
    try:
        yield
    finally:
        host.run(["rm", "-f", path])


def backing_up(script: str) -> str:
    """Return a wrapper for the backup tool: ``--backup`` runs a script, every other call runs the tool."""
    return f'case " $* " in *" --backup "*) {script} ;; *) real "$@" ;; esac'


class Writer:
    """A writer that constantly adds orders with their payments to a server, one pair per transaction."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Self:
        pair = "".join(f"INSERT INTO shop.{table} VALUES ($n, $n); " for table in ("orders", "payments"))
        client = f"mariadb --no-defaults --socket={self._server.socket}"
        script = f'n=$1; while :; do ((++n)); echo "BEGIN; {pair}COMMIT;"; done | exec {client}'
        start = int(self._server.value("SELECT COALESCE(MAX(id), 0) FROM shop.orders"))
        self._process = self._server.host.popen(
            ["bash", "-c", script, "writer", str(start)], stdin=subprocess.DEVNULL, start_new_session=True
        )
        began = self.written
        assert eventually(lambda: self.written > began + 10), "nothing is written"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def written(self) -> int:
        """Return the number of the last order."""
        return int(self._server.value("SELECT COALESCE(MAX(id), 0) FROM shop.orders"))
