"""Replication during a backup: running threads are stopped and start again, however the session ends."""

import fcntl
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest
from bash import HOSTILE_NAMES, output_of
from database_server import MYSQL, Connection, DatabaseServer
from host_text import RUN, SESSION, TIMEOUT, events, host_script, on_host, read_lines, running, send_line
from raw_events import Event, parse_event

from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_array, render_command

BOTH = Connection()
STOPPED = Connection("stopped", "No", "No")
STOPPED_BOTH = Connection("", "No", "No")
A_REPLICA_IN_AN_ERROR = """Error 'no such table: </field><row>' on query.
Slave_IO_Running: Yes
    Slave_SQL_Running: Yes
*************************** 2. row ***************************
Connection_name: other
Slave_SQL_Running=Yes
\tSlave_SQL_Running\tYes
row
Connection_name=other
"""
SEVERAL = (
    *(BOTH, Connection("io", "Yes", "No"), STOPPED),
    *(Connection("sql", "No", "Yes"), Connection("two words")),
)
NAMES = [name for name in HOSTILE_NAMES if name.isprintable()]
"""A server shows a name as it is, and takes no line break in one."""

SOURCE = """
echo ready
priority=normal safe_timeout=${safe_timeout-300} max_stop_time=${max_stop_time-0}
begin_session
stop_replication "${client[@]}"
while :; do await_command; resume_replication; done
"""


class Backup:
    """A session on the source that stops and starts replication."""

    def __init__(self, process: subprocess.Popen[bytes], job: str) -> None:
        self.process, self.job = process, job
        self.received: list[Event] = []

    @property
    def names(self) -> list[str]:
        """The names of the events so far, without those of every session."""
        return [
            event.name
            for event in self.received
            if event.name not in {"hello", "progress", "ending", "replication-stopping"}
        ]

    @property
    def directory(self) -> Path:
        """Its run directory."""
        return Path(self.last("hello").text("directory"))

    def last(self, name: str) -> Event:
        return next(event for event in reversed(self.received) if event.name == name)

    def until(self, name: str) -> None:
        """Wait for an event of this name."""
        while not self.received or self.received[-1].name != name:
            (line,) = read_lines(self.process)
            assert line, self.received
            self.received += filter(None, [parse_event(line, RUN)])

    def end(self) -> None:
        """Stop the session, and read all events until its end."""
        with suppress(BrokenPipeError):  # it may have ended by itself
            send_line(self.process, line=b"command stop\n")
        assert self.process.stdout is not None
        self.received += events(self.process.stdout.read())
        self.process.wait(TIMEOUT)

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter(["cmdline"]) if self.job in (process.info["cmdline"] or ())]


@contextmanager
def backup(
    directory: Path, server: DatabaseServer, before: str = "", name: str = "1", script: str = SOURCE
) -> Iterator[Backup]:
    """Run a session that backs up that server; ``before`` is bash that it runs at its start."""
    script = f"{before}\n{render_array('client', server.words)}\n{script}"
    job = f"job.{name}.{os.getpid()}.{directory.name}"
    with running(host_script(directory, script, *SESSION), job) as process:
        made = Backup(process, job)
        yield made
        made.end()


def entries(directory: Path) -> list[Path]:
    return sorted((directory / "run").glob("run.*/undo.*.replication"))


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class TestStopping:
    def test_an_error_of_a_connection_is_no_other_field(self, tmp_path: Path) -> None:
        """The error of a failed statement contains its text, which may have any lines."""
        server = DatabaseServer(tmp_path, replace(STOPPED, error=A_REPLICA_IN_AN_ERROR), Connection("runs"))
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert server.changes == ["STOP runs SQL_THREAD"]
        assert server.changes == ["STOP runs SQL_THREAD", "START runs SQL_THREAD"]

    @pytest.mark.parametrize("connections", [(), (STOPPED,), (STOPPED, Connection("two", "No", "No"))])
    def test_where_nothing_runs_nothing_is_stopped_and_nothing_started(
        self, tmp_path: Path, connections: tuple[Connection, ...]
    ) -> None:
        server = DatabaseServer(tmp_path, *connections)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert entries(tmp_path) == []
        assert (session.names, session.last("replication-stopped").fields) == (
            ["replication-stopped", "end"],
            {"connections": "0"},
        )
        assert (server.connections, server.changes) == ([*connections], [])

    @pytest.mark.parametrize("version", ["10.11.14-MariaDB-log", MYSQL], ids=["mariadb", "mysql"])
    def test_only_running_threads_are_stopped_and_started_again(self, tmp_path: Path, version: str) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL, version=version)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert session.last("replication-stopped").fields == {"connections": "3"}
            assert server.connections == [replace(connection, sql="No") for connection in SEVERAL]
            assert server.changes == ["STOP SQL_THREAD", "STOP sql SQL_THREAD", "STOP two words SQL_THREAD"]
        assert session.names == ["replication-stopped", "replication-runs", "end"]
        assert session.last("end").fields == {"status": "0", "undone": "yes"}
        assert server.connections == [*SEVERAL]
        assert sorted(server.changes[3:]) == ["START SQL_THREAD", "START sql SQL_THREAD", "START two words SQL_THREAD"]
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("state", ["Connecting", "Preparing"])
    def test_a_connection_that_tries_to_reach_its_primary_goes_on_trying(self, tmp_path: Path, state: str) -> None:
        server = DatabaseServer(tmp_path, Connection("", state, "Yes", gtid="Slave_Pos"))
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert server.connections == [Connection("", state, "No", gtid="Slave_Pos")]
        assert server.connections == [Connection("", state, "Yes", gtid="Slave_Pos")]

    @pytest.mark.parametrize("version", ["10.11.14-MariaDB-log", MYSQL], ids=["mariadb", "mysql"])
    def test_a_connection_may_have_any_name(self, tmp_path: Path, version: str) -> None:
        connections = [Connection(name) for name in (*NAMES, "''", "\\", "\\'", "Slave_IO_Running: No", "a: b")]
        server = DatabaseServer(tmp_path, *connections, version=version)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert {connection.sql for connection in server.connections} == {"No"}
        assert (server.connections, session.names[-2:]) == (connections, ["replication-runs", "end"])
        assert [change["name"] for change in server.state["changes"][: len(connections)]] == [
            connection.name for connection in connections
        ]

    @pytest.mark.parametrize("version", ["10.11.14-MariaDB-log", MYSQL], ids=["mariadb", "mysql"])
    def test_an_error_that_a_server_quotes_a_statement_in_is_not_taken_for_its_state(
        self, tmp_path: Path, version: str
    ) -> None:
        quoted = "Error 'x' on query: '/*\n*****************************\n***** banner *****\n */ DELETE FROM t'"
        connections = [Connection("a", "No", "Yes", quoted), Connection("b", "Yes", "Yes")]
        server = DatabaseServer(tmp_path, *connections, version=version)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
        assert server.connections == connections
        assert server.changes[:2] == ["STOP a SQL_THREAD", "STOP b SQL_THREAD"]

    def test_each_stop_has_its_entry_in_the_undo_list_before(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
        stops = [change for change in server.state["changes"] if change["verb"] == "STOP"]
        assert [len(change["entries"]) for change in stops] == [1, 2, 3]
        for change in stops:
            assert any(entry.startswith("start_replication ") for entry in change["entries"])
            assert sum(
                f"flavour=mariadb connection={change['name']} " in entry.replace("\\", "")
                for entry in change["entries"]
            )

    def test_an_event_announces_the_first_stop(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        server.change(slow=True)
        with backup(tmp_path, server) as session:
            session.until("replication-stopping")
            eventually(lambda: server.state.get("waiting"))
        assert [event.name for event in session.received].count("replication-stopping") == 1

    @pytest.mark.parametrize("version", ["10.11.14-MariaDB-log", MYSQL], ids=["mariadb", "mysql"])
    @pytest.mark.parametrize("until", ["Master", "Gtid"])
    def test_one_that_is_to_stop_by_itself_is_left_alone(self, tmp_path: Path, until: str, version: str) -> None:
        connections = (BOTH, Connection("two", until=until))
        server = DatabaseServer(tmp_path, *connections, version=version)
        with backup(tmp_path, server) as session:
            session.until("error")
        assert "connection 'two' has a stop position (START SLAVE UNTIL)" in session.last("error").text("text")
        assert server.connections == [*connections]

    def test_one_that_would_stop_by_itself_but_does_not_run_is_no_matter(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("two", "No", "No", until="Master"))
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
        assert session.names[-2:] == ["replication-runs", "end"]

    @pytest.mark.parametrize("gtid", ["Slave_Pos", "Current_Pos"])
    def test_a_connection_whose_relay_logs_a_start_would_delete_is_not_stopped(self, tmp_path: Path, gtid: str) -> None:
        connections = (BOTH, Connection("two", "No", "Yes", gtid=gtid))
        server = DatabaseServer(tmp_path, *connections)
        with backup(tmp_path, server) as session:
            session.until("error")
        assert session.last("error").text("text") == (
            "connection 'two' has no running I/O thread: a start would delete its relay logs"
        )
        assert (server.connections, server.changes) == ([*connections], [])

    @pytest.mark.parametrize("version", ["10.11.14-MariaDB-log", MYSQL], ids=["mariadb", "mysql"])
    def test_it_stops_at_a_moment_without_temporary_tables(self, tmp_path: Path, version: str) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL, version=version)
        # The second number is that after the first stop.
        server.change(tables=[0, 1, 2, 10, 0, 0])
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert server.connections == [replace(connection, sql="No") for connection in SEVERAL]
        assert session.names == [
            *("replication-runs", "replication-waits", "replication-stopped"),
            *("replication-runs", "end"),
        ]
        verbs = [change.split()[0] for change in server.changes]
        assert verbs == ["STOP"] * 3 + ["START"] * 3 + ["STOP"] * 3 + ["START"] * 3
        assert server.connections == [*SEVERAL]

    @pytest.mark.parametrize("tables", [[1], [0, 1]])
    def test_temporary_tables_that_stay_open_fail_the_session(self, tmp_path: Path, tables: list[int]) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        server.change(tables=tables)
        # The time is over when the number is not 0.
        clock = """
            eval "real_$(declare -f read_uptime)"; eval "counted_$(declare -f has_no_temporary_tables)"; passed=0
            read_uptime() { real_read_uptime; REPLY=$((REPLY + passed)); }
            has_no_temporary_tables() { counted_has_no_temporary_tables "$@" || { passed=30000; return 1; }; }
        """
        with backup(tmp_path, server, clock) as session:
            session.until("error")
        assert session.last("error").fields["kind"] == "replication"
        assert session.last("error").text("text") == (
            "the replica has had open temporary tables for 300 seconds (--safe-timeout)"
        )
        assert server.connections == [*SEVERAL]
        assert "replication-stopped" not in session.names

    def test_a_server_without_a_count_of_temporary_tables_fails_the_session_at_once(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(tables=["none"])
        with backup(tmp_path, server) as session:
            session.until("error")
        assert session.last("error").text("text") == (
            "the server does not report how many temporary tables replication has open"
        )

    def test_a_query_that_hangs_during_the_stop_does_not_exceed_its_limit(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        server.change(tables=[0, "hangs"])
        with backup(tmp_path, server, "max_stop_time=3") as session:
            session.until("error")
            session.until("end")
        assert session.names[-2:] == ["replication-runs", "end"]
        assert "for more than 3 seconds (--max-stop-time)" in session.last("error").text("text")
        assert server.connections == [*SEVERAL]

    def test_a_start_that_fails_is_not_reported_as_a_stop_that_is_too_long(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(failures={"START": "ERROR 1200 (HY000): Misconfigured replica"})
        with backup(tmp_path, server, "max_stop_time=3") as session:
            session.until("replication-stopped")
            send_line(session.process, line=b"command start\n")
            session.until("undo-failed")
            for _ in range(4):
                session.received.clear()
                session.until("progress")

    @pytest.mark.parametrize(("is_slow", "seconds"), [(False, 3), (True, 3)])
    def test_the_session_ends_before_replication_is_stopped_for_too_long(
        self, tmp_path: Path, seconds: int, *, is_slow: bool
    ) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        server.change(slow=is_slow)
        with backup(tmp_path, server, f"max_stop_time={seconds}") as session:
            session.until("error")
            session.until("end")
        assert session.last("error").fields["kind"] == "replication"
        assert session.last("error").text("text") == (
            f"the backup needs replication to be stopped for more than {seconds} seconds (--max-stop-time)"
        )
        assert session.names[-2:] == ["replication-runs", "end"]
        assert int(session.last("replication-runs").fields["milliseconds"]) >= 1000 * (seconds - 2)
        assert server.connections == [*SEVERAL]

    def test_a_session_that_stops_nothing_has_no_limit(self, tmp_path: Path) -> None:
        with backup(tmp_path, DatabaseServer(tmp_path, STOPPED), "max_stop_time=1") as session:
            session.until("replication-stopped")
            for _ in range(3):
                session.received.clear()
                session.until("progress")

    def test_a_server_that_does_not_count_its_temporary_tables_fails_the_session(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(failures={"SHOW GLOBAL STATUS": "ERROR 2013 (HY000): Lost connection"})
        with backup(tmp_path, server) as session:
            session.until("error")
        assert "Lost connection" in session.last("error").text("text")
        assert server.changes == []

    def test_a_start_between_two_stops_that_fails_fails_the_session(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(tables=[0, 1], failures={"START": "ERROR 1200 (HY000): Misconfigured replica"})
        with backup(tmp_path, server) as session:
            session.until("error")
            assert session.last("error").text("text") == "cannot start replication between two stops"
        assert session.last("undo-failed").text("text") == "connection ''\nERROR 1200 (HY000): Misconfigured replica"
        assert len(entries(tmp_path)) == 1

    def test_a_server_that_does_not_stop_fails_the_session_and_the_others_run_again(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("b"), Connection("c"))
        server.change(failures={"STOP SLAVE 'b'": "ERROR 1227 (42000): Access denied"})
        with backup(tmp_path, server) as session:
            session.until("error")
        assert session.last("error").fields["kind"] == "replication"
        assert session.last("error").text("text") == "cannot stop replication: ERROR 1227 (42000): Access denied"
        assert session.last("end").fields == {"status": "1", "undone": "yes"}
        assert server.connections == [BOTH, Connection("b"), Connection("c")]
        assert "STOP c SQL_THREAD" not in server.changes

    def test_a_connection_that_does_not_stop_in_time_fails_the_session(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, Connection("b"))
        server.change(blocked="b")
        with backup(tmp_path, server, "safe_timeout=1") as session:
            session.until("error")
            server.change(blocked="")
        assert session.last("error").fields["kind"] == "replication"
        assert session.last("error").text("text") == "connection 'b' did not stop within 1 seconds (--safe-timeout)"
        assert session.names == ["error", "replication-runs", "end"]
        assert server.connections == [Connection("b")]

    def test_a_lock_of_another_session_that_is_held_for_too_long_fails_the_session(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        holder = "await_stop() { while :; do wait_for_message 1; done; }"
        with backup(tmp_path, server, holder) as one:
            one.until("replication-stopping")
            with backup(tmp_path, server, "safe_timeout=1", name="2") as two:
                two.until("error")
            assert two.last("error").fields["kind"] == "replication"
            assert two.last("error").text("text") == (
                "another transfer has stopped or started replication for 1 seconds (--safe-timeout)"
            )
            assert two.names == ["error", "end"]
        assert server.connections == [BOTH]

    @pytest.mark.parametrize("statement", ["SHOW GLOBAL VARIABLES", "SHOW ALL"])
    def test_a_server_that_does_not_answer_fails_the_session(self, tmp_path: Path, statement: str) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(failures={statement: "ERROR 1045 (28000): Access denied for user 'x'@'localhost'"})
        with backup(tmp_path, server) as session:
            session.until("error")
        assert session.last("error").fields["kind"] == "replication"
        assert session.last("error").text("text") == (
            "cannot query the state of replication: ERROR 1045 (28000): Access denied for user 'x'@'localhost'"
        )
        assert server.changes == []

    def test_a_server_that_answers_but_once_is_not_taken_for_one_where_nothing_runs(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(once={"after": "SHOW ALL", "failures": {"SHOW ALL": "ERROR 2013 (HY000): Lost connection"}})
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert (session.last("replication-stopped").fields["connections"], server.changes) == (
                "1",
                ["STOP SQL_THREAD"],
            )
            server.change(failures={})
        assert server.connections == [BOTH]


class TestStarting:
    def test_replication_is_started_at_the_end_of_the_backup_and_not_again_at_the_end_of_the_session(
        self, tmp_path: Path
    ) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            send_line(session.process, line=b"command start\n")
            session.until("replication-runs")
            assert server.connections == [BOTH]
        assert session.names == ["replication-stopped", "replication-runs", "end"]
        assert server.changes == ["STOP SQL_THREAD", "START SQL_THREAD"]

    @pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
    def test_it_runs_again_after_a_signal(self, tmp_path: Path, signum: signal.Signals) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            session.process.send_signal(signum)
            session.until("end")
        assert session.process.returncode == 128 + signum
        assert (server.connections, session.names[-2:]) == ([BOTH], ["replication-runs", "end"])

    def test_it_runs_again_after_a_signal_while_the_server_is_slow_to_stop(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("b"))
        server.change(slow=True)
        with backup(tmp_path, server) as session:
            eventually(lambda: server.state.get("waiting"))
            session.process.send_signal(signal.SIGTERM)
            session.until("end")
            session.process.wait(TIMEOUT)
            assert session.processes() == []
        assert session.process.returncode == 143
        # it was not seen to be stopped, so it is started all the same
        assert server.changes == ["START SQL_THREAD"]

    def test_a_connection_that_cannot_stop_or_start_delays_the_start_of_no_other_one(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("b"))
        server.change(blocked="b")
        with backup(tmp_path, server) as session:
            eventually(lambda: server.state.get("waiting"))
            assert server.connections == [Connection("", "Yes", "No"), Connection("b")]
            session.process.send_signal(signal.SIGTERM)
            eventually(lambda: server.connections[0] == BOTH)
            assert "replication-runs" not in session.names
            server.change(blocked="")
            session.until("end")
        assert session.names[-2:] == ["replication-runs", "end"]
        assert server.connections == [BOTH, Connection("b")]

    def test_a_start_that_the_server_does_not_execute_is_an_error(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, Connection("b"))
        with backup(tmp_path, server, before="start_seconds=1") as session:
            session.until("replication-stopped")
            server.change(blocked="b")
        assert session.last("undo-failed").text("text") == (
            "connection 'b'\nthe server has not executed START for 1 seconds: it waits for another statement, for"
            " example for a STOP that waits for a transaction"
        )
        assert session.last("end").fields == {"status": "0", "undone": "no"}
        assert len(entries(tmp_path)) == 1

    def test_a_start_that_succeeds_at_the_second_attempt_of_the_clean_up_is_reported(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            server.change(passing={"START": ["ERROR 2002 (HY000): Can't connect"]})
        assert session.names == ["replication-stopped", "replication-runs", "end"]
        assert session.last("end").fields["undone"] == "yes"

    def test_a_session_that_waits_for_a_slow_server_gives_signs_of_life(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(slow=True)
        with backup(tmp_path, server) as session:
            eventually(lambda: server.state.get("waiting"))
            for _ in range(3):
                session.received.clear()
                session.until("progress")

    def test_the_next_script_on_the_host_starts_the_connections_that_a_killed_session_stopped(
        self, tmp_path: Path
    ) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            session.process.kill()
            session.process.wait(TIMEOUT)
            assert {connection.sql for connection in server.connections} == {"No"}
            (finished,) = events(on_host(tmp_path, "recover_stale_runs"))
        assert (finished.name, finished.fields) == (
            "finished-dead-run",
            {"run": RUN, "pid": str(session.process.pid), "replication": "started"},
        )
        assert server.connections == [*SEVERAL]
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("name", ["", "two words", "back\\slash", "$(touch gone)", "single'quote"])
    def test_a_connection_that_version_1_0_stopped_is_started_and_counted(self, tmp_path: Path, name: str) -> None:
        server = DatabaseServer(tmp_path, Connection(name, "No", "No"))
        words = ("start_replication", server.state["datadir"], "mariadb", name, "IO_THREAD, SQL_THREAD", *server.words)
        stale = tmp_path / "run" / "run.source.r9.999999999.1"
        stale.mkdir(parents=True)
        entry = output_of(f"printf '%q ' {render_command(Command(words))}")
        (stale / "undo.10000.replication").write_bytes(entry)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            assert session.last("replication-stopped").fields == {"connections": "1"}
            on_host(tmp_path, "recover_stale_runs")
            assert server.connections == [Connection(name, "No", "No")]
        assert session.names[-2:] == ["replication-runs", "end"]
        assert server.connections == [Connection(name)]
        assert not (tmp_path / "run").exists()

    def test_a_start_that_fails_is_reported_with_the_error_of_the_server_and_repeated_by_the_next_script(
        self, tmp_path: Path
    ) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("b"))
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            server.change(failures={"START SLAVE 'b'": "ERROR 1200 (HY000): Misconfigured replica"})
        assert session.names == ["replication-stopped", "undo-failed", "end"]
        failed = session.last("undo-failed")
        assert failed.text("entry").startswith("start_replication ")
        assert failed.text("text") == "connection 'b'\nERROR 1200 (HY000): Misconfigured replica"
        assert session.last("end").fields == {"status": "0", "undone": "no"}
        assert server.connections == [BOTH, Connection("b", "Yes", "No")]
        assert len(entries(tmp_path)) == 1
        server.change(failures={})
        assert [event.name for event in events(on_host(tmp_path, "recover_stale_runs"))] == ["finished-dead-run"]
        assert server.connections == [BOTH, Connection("b")]

    def test_a_server_that_accepts_but_does_not_start_is_found_out(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, Connection("b", "Yes", "Yes", "Could not execute Write_rows"))
        with backup(tmp_path, server, before="sleep() { :; }") as session:
            session.until("replication-stopped")
            server.change(deaf=True)
        assert session.last("undo-failed").text("text") == (
            "connection 'b'\nSQL_THREAD did not start to run within 5 seconds; Could not execute Write_rows"
        )
        assert session.last("end").fields["undone"] == "no"

    def test_more_may_run_by_then_than_ran_before(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, Connection("b", "No", "Yes"))
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            server.change(connections=[asdict(Connection("b", "Yes", "Yes"))])
        assert session.names[-2:] == ["replication-runs", "end"]
        assert server.connections == [Connection("b")]

    @pytest.mark.parametrize("gtid", ["Slave_Pos", "Current_Pos"])
    def test_relay_logs_that_a_start_would_delete_stay(self, tmp_path: Path, gtid: str) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("b", gtid=gtid))
        stopped = Connection("b", "No", "No", "Got fatal error 1236", gtid=gtid)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            server.change(connections=[asdict(Connection("", "Yes", "No")), asdict(stopped)])
        assert session.last("undo-failed").text("text") == (
            "connection 'b'\nits I/O thread has stopped too, and START SLAVE would delete its relay logs: check first"
            " that the primary has the binary logs from gtid_slave_pos on; Got fatal error 1236"
        )
        assert server.connections == [BOTH, stopped]
        assert len(entries(tmp_path)) == 1
        server.change(connections=[asdict(BOTH), asdict(Connection("b", "Yes", "No", gtid=gtid))])
        on_host(tmp_path, "recover_stale_runs")
        assert server.connections == [BOTH, Connection("b", gtid=gtid)]

    def test_a_connection_whose_threads_were_both_stopped_since_is_started_by_position(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            server.change(connections=[asdict(STOPPED_BOTH)])
        assert server.connections == [Connection("", "No", "Yes")]

    def test_a_connection_that_was_removed_meanwhile_is_reported(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, Connection("b"))
        with backup(tmp_path, server) as session:
            session.until("replication-stopped")
            server.change(connections=[])
        assert "There is no master connection 'b'" in session.last("undo-failed").text("text")

    def test_a_start_that_fails_is_repeated_until_it_succeeds(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(passing={"START": ["ERROR 2002 (HY000): Can't connect"] * 2})
        with backup(tmp_path, server, before="start_pause=1") as session:
            session.until("replication-stopped")
            send_line(session.process, line=b"command start\n")
            session.until("replication-runs")
            assert server.connections == [BOTH]
        assert session.names == ["replication-stopped", "undo-failed", "replication-runs", "end"]
        assert session.last("undo-failed").text("text") == "connection ''\nERROR 2002 (HY000): Can't connect"

    def test_the_next_stop_waits_until_the_connection_runs_that_did_not_start(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(passing={"START": ["ERROR 2002 (HY000): Can't connect"] * 2})
        again = SOURCE.replace(
            "do await_command; resume_replication;", 'do await_command; stop_replication "${client[@]}";'
        )
        # The first attempt fails after the backup, the second one before the next stop.
        script = again.replace("while :", "resume_replication; while :")
        with backup(tmp_path, server, "start_pause=100000", script=script) as session:
            session.until("undo-failed")
            send_line(session.process, line=b"command stop_again\n")
            session.until("replication-runs")
            session.until("replication-stopped")
        again_and_end = ["replication-runs", "replication-stopped", "replication-runs", "end"]
        assert session.names == ["replication-stopped", "undo-failed", *again_and_end]
        assert server.connections == [BOTH]


class TestSeveralSessions:
    """Several runs may copy one server at once."""

    @pytest.mark.parametrize("first_to_end", [0, 1])
    def test_the_last_session_to_end_starts_the_connections_that_the_first_one_stopped(
        self, tmp_path: Path, first_to_end: int
    ) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        with backup(tmp_path, server) as one, backup(tmp_path, server, name="2") as two:
            for session in (one, two):
                session.until("replication-stopped")
            sessions = [one, two]
            first, second = sessions.pop(first_to_end), sessions.pop()
            assert [session.last("replication-stopped").fields["connections"] for session in (one, two)] == ["3", "3"]
            first.end()
            assert first.names[-2:] == ["replication-left", "end"]
            assert {connection.sql for connection in server.connections} == {"No"}
            second.end()
            assert second.names[-2:] == ["replication-runs", "end"]
        assert server.connections == [*SEVERAL]
        assert len([change for change in server.changes if change.startswith("STOP")]) == 3
        assert not (tmp_path / "run").exists()

    def test_a_connection_that_somebody_has_started_since_counts_once(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH, Connection("sql", "No", "Yes"))
        with backup(tmp_path, server) as one:
            one.until("replication-stopped")
            server.change(connections=[asdict(BOTH), asdict(Connection("sql", "No", "No"))])
            with backup(tmp_path, server, name="2") as two:
                two.until("replication-stopped")
                words = [
                    shlex.split(path.read_text())[3].removeprefix("connection=")
                    for path in entries(tmp_path)
                    if two.directory in path.parents
                ]
                assert words == ["", "sql", ""]
                assert two.last("replication-stopped").fields == {"connections": "2"}
        assert server.connections == [BOTH, Connection("sql", "No", "Yes")]

    def test_a_session_that_was_killed_is_not_counted_on(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, *SEVERAL)
        with backup(tmp_path, server) as one, backup(tmp_path, server, name="2") as two:
            for session in (one, two):
                session.until("replication-stopped")
            two.process.kill()
            two.process.wait(TIMEOUT)
            one.end()
            assert one.names[-2:] == ["replication-runs", "end"]
            assert server.connections == [*SEVERAL]
            on_host(tmp_path, "recover_stale_runs")
        assert server.connections == [*SEVERAL]
        assert not (tmp_path / "run").exists()

    def test_one_that_others_finish_for_is_not_counted_on(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        with backup(tmp_path, server) as one, backup(tmp_path, server, name="2") as two:
            for session in (one, two):
                session.until("replication-stopped")
            two.process.kill()
            two.process.wait(TIMEOUT)
            finisher = "undo_at_once() { echo ready; read -r; return 1; }; recover_stale_runs"  # and cannot, in the end
            with running(host_script(tmp_path, finisher)):
                one.end()
                assert one.names[-2:] == ["replication-runs", "end"]
            assert server.connections == [BOTH]
            on_host(tmp_path, "recover_stale_runs")

    def test_one_for_which_the_server_is_slow_to_stop_is_waited_for(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, Connection("a"))
        with backup(tmp_path, server, "lock_seconds=0.02") as one:
            one.until("replication-stopped")
            server.change(connections=[asdict(Connection("a", "Yes", "No")), asdict(Connection("b"))], slow=True)
            with backup(tmp_path, server, name="2") as two:
                eventually(lambda: server.state.get("waiting"))
                send_line(one.process, line=b"command start\n")
                for _ in range(20):
                    one.received.clear()
                    one.until("progress")
                    assert one.names == []
                two.end()
            one.end()
        assert {one.names[-2], two.names[-2]} <= {"replication-runs", "replication-left"}
        assert "replication-runs" in {one.names[-2], two.names[-2]}
        assert server.connections == [Connection("a"), Connection("b")]

    def test_another_server_that_is_slow_to_stop_is_not_waited_for(self, tmp_path: Path) -> None:
        directories = [tmp_path / name for name in ("one", "two")]
        for directory in directories:
            directory.mkdir()
        one, two = (DatabaseServer(directory, BOTH) for directory in directories)
        one.change(slow=True)
        with backup(tmp_path, one) as first:
            eventually(lambda: one.state.get("waiting"))
            with backup(tmp_path, two, name="2") as second:
                second.until("replication-stopped")
            assert second.names == ["replication-stopped", "replication-runs", "end"]
            assert two.connections == [BOTH]
            assert first.names == []

    def test_the_lock_of_a_server_ends_with_its_session_and_not_with_the_programs_that_it_started(
        self, tmp_path: Path
    ) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        server.change(slow=True)
        with backup(tmp_path, server) as session:
            eventually(lambda: server.state.get("waiting"))
            assert not lock_is_free(tmp_path)
            session.process.kill()
            session.process.wait(TIMEOUT)
            assert session.processes() != []
            assert lock_is_free(tmp_path)
            on_host(tmp_path, "recover_stale_runs")
        assert server.connections == [BOTH]

    def test_a_lock_on_the_data_directory_does_not_prevent_a_start(self, tmp_path: Path) -> None:
        server = DatabaseServer(tmp_path, BOTH)
        stranger = os.open(server.state["datadir"], os.O_RDONLY)
        try:
            fcntl.flock(stranger, fcntl.LOCK_EX)
            with backup(tmp_path, server) as session:
                session.until("replication-stopped")
                assert entries(tmp_path) != []
            assert session.names == ["replication-stopped", "replication-runs", "end"]
        finally:
            os.close(stranger)
        assert server.connections == [BOTH]
        assert not (tmp_path / "run").exists()

    def test_another_server_on_the_host_is_no_reason_to_leave_it_stopped(self, tmp_path: Path) -> None:
        directories = [tmp_path / name for name in ("one", "two")]
        for directory in directories:
            directory.mkdir()
        one, two = (DatabaseServer(directory, BOTH) for directory in directories)
        with backup(tmp_path, one) as first, backup(tmp_path, two, name="2") as second:
            for session in (first, second):
                session.until("replication-stopped")
            first.end()
            assert (first.names[-2:], one.connections) == (["replication-runs", "end"], [BOTH])
            assert two.connections == [Connection("", "Yes", "No")]
        assert two.connections == [BOTH]


def lock_is_free(directory: Path) -> bool:
    (file,) = (directory / "run").glob("server.*")
    return subprocess.run(["flock", "--nonblock", file, "true"], check=False).returncode == 0
