"""A simulated database server with a client program: it executes statements of replication, and refuses all others."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MARIADB, MYSQL = "10.11.14-MariaDB-log", "8.0.36"


@dataclass(frozen=True)
class Connection:
    """A connection of a replica with the states of its threads: Yes or No; ``io`` may also be Connecting."""

    name: str = ""
    io: str = "Yes"
    sql: str = "Yes"
    error: str = ""
    until: str = "None"
    gtid: str = "No"


# A bash that a test runs has it in its argument lists, and its state in a file.
_CLIENT = r"""#!/usr/bin/python3 -I
import fcntl, glob, html, json, os, re, sys, time

path = os.path.dirname(os.path.realpath(__file__))
lock = open(path + "/lock", "w")


def load():
    fcntl.flock(lock, fcntl.LOCK_EX)
    with open(path + "/state.json") as file:
        return json.load(file)


def save(state):
    with open(path + "/state.new", "w") as file:
        json.dump(state, file)
    os.rename(path + "/state.new", path + "/state.json")


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)


def answer(statement, state):
    for start, texts in state["passing"].items():
        if texts and statement.startswith(start):
            text = texts.pop(0)
            save(state)
            fail(text)
    failure = next((text for start, text in state["failures"].items() if statement.startswith(start)), None)
    if failure is not None:
        fail(failure)
    mysql = not state["mariadb"]
    if statement == "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('datadir', 'gtid_domain_id')":
        names = {"datadir": state["datadir"]} | ({} if mysql else {"gtid_domain_id": 0})
        show([("Variable_name", name), ("Value", value)] for name, value in names.items())
    elif statement == (
        "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_open_temp_tables', 'Replica_open_temp_tables')"
    ):
        names = [f"{name}_open_temp_tables" for name in (("Replica", "Slave") if mysql else ("Slave",))]
        show([("Variable_name", name), ("Value", state["tables"][0])] for name in names if state["tables"][0] != "none")
        state["tables"] = state["tables"][1:] or state["tables"]
    elif statement == ("SHOW REPLICA STATUS" if mysql else "SHOW ALL SLAVES STATUS"):
        show(map(mysql_rows if mysql else mariadb_rows, state["connections"]))
    else:
        change(statement, state, mysql)


def show(rows):
    assert words == ["--force", "--xml", "--skip-html"], words
    print('<?xml version="1.0"?>\n\n<resultset statement="...">')
    for row in rows:
        print("  <row>")
        for name, value in row:
            escaped = html.escape(str(value), quote=False).replace('"', "&quot;")
            print(f'\t<field name="{name}">{escaped}</field>')
        print("  </row>")
    print("</resultset>")


def mariadb_rows(connection):
    yield "Connection_name", connection["name"]
    yield "Slave_SQL_State", "Slave has read all relay log; waiting for more updates"
    yield "Master_Host", "db1"
    yield "Slave_IO_Running", connection["io"]
    yield "Slave_SQL_Running", connection["sql"]
    yield "Last_Error", connection["error"]
    yield "Until_Condition", connection["until"]
    yield "Until_Log_File", ""
    yield "Last_IO_Error", ""
    yield "Last_SQL_Error", connection["error"]
    yield "Using_Gtid", connection["gtid"]
    yield "Slave_Heartbeat_Period", "30.000"


def mysql_rows(connection):
    yield "Replica_IO_State", "Waiting for source to send event"
    yield "Replica_IO_Running", connection["io"]
    yield "Replica_SQL_Running", connection["sql"]
    yield "Last_IO_Error", ""
    yield "Last_SQL_Error", connection["error"]
    yield "Until_Condition", connection["until"]
    yield "Channel_Name", connection["name"]
    yield "Source_public_key_path", ""


def change(statement, state, mysql):
    threads = r"((?:IO_THREAD|SQL_THREAD)(?:, (?:IO_THREAD|SQL_THREAD))*)?"
    name = r"'((?:[^'\\]|''|\\.)*)'"
    words = rf"REPLICA {threads} FOR CHANNEL {name}" if mysql else rf"SLAVE {name} {threads}"
    found = re.fullmatch(f"(START|STOP) {words}", statement, re.DOTALL)
    assert found, statement
    verb, name, threads = found[1], *((found[3], found[2]) if mysql else (found[2], found[3]))
    name = re.sub(r"''|\\(.)", lambda quoted: quoted[1] or "'", name, flags=re.DOTALL)
    connection = next((entry for entry in state["connections"] if entry["name"] == name), None)
    if connection is None:
        fail(f"ERROR 1617 (HY000): There is no master connection '{name}'")
    entries = [open(file).read() for file in glob.glob(state["entries"])]
    state["changes"].append({"verb": verb, "name": name, "threads": threads, "entries": entries})
    if verb == "START" and {connection["io"], connection["sql"]} == {"No"} and connection["gtid"] != "No":
        connection["error"] = "its relay logs were deleted"
    for thread in threads.split(", "):
        if verb == "STOP" or not state["deaf"]:
            connection[{"IO_THREAD": "io", "SQL_THREAD": "sql"}[thread]] = "No" if verb == "STOP" else "Yes"


*words, option, statement = sys.argv[1:]
assert option == "--execute", sys.argv
assert words.pop(0) == "--socket=/run/it's a socket", sys.argv
statement = statement.removeprefix("SET SESSION sql_mode = ''; ")
state = load()
slow = statement.startswith("STOP") and state["slow"]
if state["blocked"] and statement.startswith(("START", "STOP")) and f"'{state['blocked']}'" in statement:
    if statement.startswith("STOP"):
        save(state | {"waiting": True})
    while load()["blocked"]:
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(0.05)
    state = load()
if statement.startswith("SHOW GLOBAL STATUS") and state["tables"][0] == "hangs":
    fcntl.flock(lock, fcntl.LOCK_UN)
    time.sleep(100)
if slow:
    save(state | {"slow": False, "waiting": True})
    fcntl.flock(lock, fcntl.LOCK_UN)
    while True:  # until it is killed
        time.sleep(0.05)
answer(statement, state)
if "once" in state and statement.startswith(state["once"]["after"]):
    state["failures"] |= state.pop("once")["failures"]
save(state)
"""


class DatabaseServer:
    """A server whose client is in a directory with a difficult name.

    Args:
        directory: where tests may write; the runs of sessions are in ``run`` there.
        connections: those of the replica that it is.
        version: what it calls itself.
    """

    def __init__(self, directory: Path, *connections: Connection, version: str = MARIADB) -> None:
        place = directory / "it's $(the) \\server"
        place.mkdir()
        datadir = place / "sql data"
        datadir.mkdir()
        client = place / "client"
        client.write_text(_CLIENT)
        client.chmod(0o755)
        self.words = (str(client), "--socket=/run/it's a socket", "--force")
        self._state = place / "state.json"
        self.change(
            mariadb="MariaDB" in version,
            datadir=f"{datadir}/",
            connections=list(map(asdict, connections)),
            failures={},
            passing={},
            changes=[],
            tables=[0],
            deaf=False,
            slow=False,
            blocked="",
            entries=f"{directory}/run/run.*/undo.*.replication",
        )

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads(self._state.read_text())) if self._state.exists() else {}

    def change(self, **values: object) -> None:
        """Make the server something else from now on.

        ``failures`` has messages by how statements begin that fail with them; ``passing`` has lists of messages,
        each of which is the result of one such statement; ``once`` adds failures after a statement that begins so;
        ``tables`` are its numbers of open temporary tables, of which the last one stays; ``deaf`` is a server that
        starts nothing; ``slow`` one whose next STOP never comes back; ``blocked`` is the name of a connection that
        does not start or stop until this is empty.
        """
        self._state.write_text(json.dumps(self.state | values))

    @property
    def connections(self) -> Sequence[Connection]:
        return [Connection(**connection) for connection in self.state["connections"]]

    @property
    def changes(self) -> list[str]:
        """The statements that change something, in their order."""
        return [
            " ".join(filter(None, (change["verb"], change["name"], change["threads"])))
            for change in self.state["changes"]
        ]
