"""Runs for databases: messages about replication, about the copy, and about late failures."""

import logging
import re
import socket
from dataclasses import replace
from typing import Any

import pytest
from fleet import V4_ROUTE, database_facts, database_host, tarball_host, target_facts, target_host
from scripted import END, Reaction, ScriptedRemote, ScriptedSession, answer, encoded, packed

from transferpy.agent import session
from transferpy.engine.root_cause import _PROGRESS_LINE
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.facts import HostFacts
from transferpy.RemoteExecution.interface import CommandResult
from transferpy.Transferer import Transferer

RUN_DIRECTORY = "/run/transferpy/run.r1.{}.200"
STOPPED, RUNS = "replication-stopped connections=2", "replication-runs milliseconds=1500"
ENTRY = "start_replication /srv/sqldata/ mariadb '' IO_THREAD,\\ SQL_THREAD mariadb --socket=/run/mysqld/mysqld.sock "
NOT_STARTED = (
    f"undo-failed entry={encoded(ENTRY)} text={encoded('ERROR 1200 (HY000): Misconfigured replica' + chr(10))}"
)
TABLES = "tables digest=t1 entries=3"
LACKING = "lacking digest=n1 entries=0"
DIGESTS = "digests digest=d1 entries=5"
UNKNOWN = f"db1: {session._UNKNOWN}"
BROKEN = "db1: replication is stopped and does not start again, start it by hand: "
END_THAT_STARTS = ("ending", RUNS, *END[1:])
END_WITH_WORK_LEFT = ("ending", NOT_STARTED, "end status=0 undone=no", CommandResult(host="", returncode=0, output=""))
POSITION = (
    f"position binlog={encoded('db2-bin.000007' + chr(9) + '342' + chr(9) + '0-1-105')}"
    f" replica={encoded('CHANGE MASTER TO' + chr(10) + 'MASTER_LOG_POS=4471;')}"
)


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def size(digest: str | None) -> tuple[str, ...]:
    return () if digest is None else (f"stream-digest job=x digest={digest}",)


def source_session(targets: int = 1, *, sent: str | None = "4711", **reactions: Any) -> ScriptedSession:
    """Return a source that stops and starts replication and sends well, but for ``reactions``.

    These are: send_0, stop, and started, the words after the end of each stream.
    """
    sends, started = {}, reactions.pop("started", (RUNS,))
    for n in range(targets):
        usual = (
            STOPPED,
            *size(sent),
            f"stages job=send_{n} statuses=0,0,0,0",
            *started,
            TABLES,
            LACKING,
            DIGESTS,
            "checked",
        )
        sends[f"send {n} CODEC 198.18.0.2 4400 cer2"] = reactions.pop(f"send_{n}", usual)
    hello = f"hello directory={encoded(RUN_DIRECTORY.format(100))}"
    others = {"stop": END, "kill": ("ending", RUNS, *END[1:]), **reactions}
    return ScriptedSession([hello, "ready certificate=cer1", "sample size=0 trials="], {**sends, **others})


def target_session(*, received: str | None = "4711", position: str = POSITION, **reactions: Any) -> ScriptedSession:
    """Return a target that receives well, but for ``reactions``: peer, publish."""
    stream = ("listening port=4400", "connected", *size(received), "stages job=receive statuses=0,0,0,0")
    usual = {
        "peer": (*stream, position, TABLES, LACKING, DIGESTS, "checked"),
        "publish": ("published", *END),
        "kill": END,
        **reactions,
    }
    hello = f"hello directory={encoded(RUN_DIRECTORY.format(101))}"
    return ScriptedSession(
        [hello, "ready port=4400 certificate=cer2"], {"peer cer1": (), "receive CODEC": usual.pop("peer"), **usual}
    )


def remote(source: HostFacts, session: ScriptedSession, *targets: ScriptedSession, **more: Any) -> ScriptedRemote:
    owner = bool(more.pop("owner", ""))
    hosts = [
        replace(source, routes=dict.fromkeys(range(len(targets)), V4_ROUTE)),
        *(target_host(f"db{n + 2}", targets={n: target_facts()}) for n in range(len(targets))),
    ]
    sessions: dict[str, Any] = {facts.host: [made] for facts, made in zip(hosts, (session, *targets), strict=True)}
    preflights = {facts.host: answer(facts, owner=owner and facts.host != "db1") for facts in hosts}
    return ScriptedRemote(preflights=preflights, sessions=sessions, **more)


def back_up(source: ScriptedSession, *targets: ScriptedSession, runs: Any = None, **options: Any) -> list[int]:
    """Copy a server with replication stopped and return the statuses."""
    fleet = remote(database_host(), source, *targets, runs=runs or {}, owner=options.get("owner"))
    hosts = [f"db{n + 2}" for n in range(len(targets))]
    wanted = {"type": "xtrabackup", "stop_slave": True, **options}
    return Transferer("db1", "/run/mysqld/mysqld.sock", hosts, ["/srv/y"] * len(targets), wanted, remote=fleet).run()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


STREAM = "not compressed, TLS 1.3"
SEND = "send {} CODEC 198.18.0.2 4400 cer2"


class TestReplication:
    def test_a_run_that_succeeds_logs_its_steps(self, caplog: pytest.LogCaptureFixture) -> None:
        source, target = source_session(), target_session()
        assert back_up(source, target, compress=False) == [0]
        assert (source.received, target.received) == (
            [SEND.format(0), "stop"],
            ["peer cer1", "receive CODEC", "publish"],
        )
        assert [message.partition(" in ")[0] for message in caplog.messages] == [
            f"db1:/run/mysqld/mysqld.sock: a server of about 5 MB, to db2:/srv/y ({STREAM}, xxh128 of every file)",
            "db2: port 4400 listens for db1",
            "db1: replication stopped: 2 connection(s)",
            "db2: received a stream of 4.71 kB",
            "db1: replication runs as before",
            "db2: the size of the stream agrees with the source",
            "db2: checksums of 0 files agree with the source",
            "db2:/srv/y: binary log file, position and GTID: db2-bin.000007 342 0-1-105",
            "db2:/srv/y: replication position of its source: CHANGE MASTER TO MASTER_LOG_POS=4471;",
            "db2:/srv/y: complete",
            "db2:/srv/y: ok",
            "1 of 1 target(s) succeeded",
        ]

    def test_the_preparation_of_the_copy_is_logged_before_it_begins(self, caplog: pytest.LogCaptureFixture) -> None:
        published = target_session().reactions["publish"]
        target = target_session(publish=(f"error kind=host text={encoded('the end')}", *published[1:]))
        assert back_up(source_session(), target, prepare=True) == [3]
        logged = caplog.messages
        assert logged.index("db2:/srv/y: preparing the copy") < logged.index("db2:/srv/y: failed: db2: the end")

    @pytest.mark.parametrize(
        ("digest", "options", "status"),
        [
            ("0cc175b9c0f1b6a831c399e269772661", {"checksum": False, "parallel_checksum": True}, 0),
            # Looks like a size, and is none.
            ("11111111111111111111111111111111", {"checksum": False, "parallel_checksum": True}, 0),
            ("nonsense", {}, 7),
            ("-1", {}, 7),
            ("9" * 5000, {}, 7),
        ],
    )
    def test_only_a_number_is_logged_as_a_size(
        self, digest: str, options: dict[str, Any], status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        sent = digest if status == 0 else "4711"
        assert back_up(source_session(sent=sent), target_session(received=digest), **options) == [status]
        (logged,) = (message for message in caplog.messages if "received" in message)
        assert re.fullmatch(r"db2: received the stream in \d+\.\d s", logged)

    def test_replication_is_stopped_only_on_request(self) -> None:
        sent = (*size("4711"), "stages job=send_0 statuses=0,0,0,0", TABLES, LACKING, DIGESTS, "checked")
        source = source_session(send_0=sent)
        assert back_up(source, target_session(), stop_slave=False) == [0]
        assert source.received == [SEND.format(0), "stop"]

    def test_the_report_has_the_time_of_all_stops(self) -> None:
        fleet = remote(database_host(), source_session(2), target_session(), target_session())
        run = Transferer("db1", "/run/s", ["db2", "db3"], ["/srv/y"] * 2, {"type": "xtrabackup"}, remote=fleet)
        assert run.run() == [0, 0]
        assert run.report.replication_stopped_seconds == 3.0

    def test_a_last_target_that_fails_leaves_it_to_the_end_of_the_session(self) -> None:
        source = source_session(2, stop=END_THAT_STARTS)
        failing = target_session(peer=("listening port=4400", "stages job=receive statuses=0,0,0,0,1"))
        failing.received = source.received
        assert back_up(source, target_session(), failing) == [0, 6]
        # Before the target is seen to its end, which may have a lot to remove.
        assert source.received == [SEND.format(0), "peer cer1", "receive CODEC", SEND.format(1), "stop", "kill"]

    @pytest.mark.parametrize("targets", [1, 2])
    def test_one_that_does_not_start_again_is_status_9_though_every_target_succeeded(
        self, targets: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = source_session(targets, started=(NOT_STARTED,), stop=END_WITH_WORK_LEFT)
        sessions = [target_session() for _ in range(targets)]
        runs = {("db1", "\nrecover_stale_runs"): [f"@transferpy RUN {NOT_STARTED}"]}
        assert back_up(source, *sessions, runs=runs) == [0] * (targets - 1) + [9]
        assert errors(caplog) == [f"{BROKEN}ERROR 1200 (HY000): Misconfigured replica"]
        assert caplog.messages[-1].startswith(f"{targets} of {targets} target(s) succeeded in ")
        assert caplog.messages[-1].endswith(" s, but replication may not run again")

    def test_a_target_that_failed_keeps_its_status_and_both_errors_are_reported(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        failing = target_session(peer=("listening port=4400", "stages job=receive statuses=0,0,0,0,1"))
        source = source_session(stop=END_WITH_WORK_LEFT)
        runs = {("db1", "\nrecover_stale_runs"): [f"@transferpy RUN {NOT_STARTED}"]}
        assert back_up(source, failing, runs=runs) == [6]
        assert errors(caplog) == [
            "db2:/srv/y: failed: db2: mbstream failed with status 1",
            f"{BROKEN}ERROR 1200 (HY000): Misconfigured replica",
        ]

    def test_one_that_starts_at_the_second_attempt_is_fine(self, caplog: pytest.LogCaptureFixture) -> None:
        source = source_session(started=(NOT_STARTED,), stop=("ending", RUNS, *END[1:]))
        assert back_up(source, target_session()) == [0]
        assert errors(caplog) == []

    def test_one_that_the_next_script_starts_is_fine(self, caplog: pytest.LogCaptureFixture) -> None:
        source = source_session(started=(NOT_STARTED,), stop=END_WITH_WORK_LEFT)
        runs = {("db1", "\nrecover_stale_runs"): ["@transferpy RUN finished-dead-run run=r1 pid=100"]}
        assert back_up(source, target_session(), runs=runs) == [0]
        assert errors(caplog) == []

    def test_one_that_another_run_needs_stopped_is_left_to_it(self, caplog: pytest.LogCaptureFixture) -> None:
        source = source_session(started=("replication-left",))
        assert back_up(source, target_session()) == [0]
        assert "db1: another transfer needs replication stopped, and will start it again" in caplog.messages

    def test_without_a_running_connection_no_stop_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        sent = (*size("4711"), "stages job=send_0 statuses=0,0,0,0", TABLES, LACKING, DIGESTS, "checked")
        source = source_session(send_0=("replication-stopped connections=0", *sent))
        assert back_up(source, target_session()) == [0]
        assert "db1: replication does not run, so there is nothing to stop" in caplog.messages
        assert not [message for message in caplog.messages if "as before" in message]

    def test_one_that_cannot_be_stopped_fails_the_run(self, caplog: pytest.LogCaptureFixture) -> None:
        reported = encoded("cannot stop replication: ERROR 1227 (42000): Access denied\n")
        source = source_session(send_0=(f"error kind=replication text={reported}", *END))
        assert back_up(source, target_session(peer=("listening port=4400",))) == [9]
        assert errors(caplog) == ["db2:/srv/y: failed: db1: cannot stop replication: ERROR 1227 (42000): Access denied"]

    @pytest.mark.parametrize(
        ("found", "logged"),
        [
            (["@transferpy RUN finished-dead-run run=r1 pid=100"], []),
            ([f"@transferpy RUN {NOT_STARTED}"], [f"{BROKEN}ERROR 1200 (HY000): Misconfigured replica"]),
            (["@transferpy RUN finished-dead-run run=source.another"], [UNKNOWN]),
            ([], [UNKNOWN]),
            (RemoteExecutionError("db1: cannot be reached"), [UNKNOWN]),
        ],
    )
    def test_of_a_source_that_was_killed_only_word_that_it_runs_counts(
        self, found: Any, logged: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        killed = CommandResult(host="db1", returncode=137, output="")
        source = source_session(send_0=(STOPPED, killed))
        target = target_session(peer=("listening port=4400", "connected"))
        assert back_up(source, target, runs={("db1", "\nrecover_stale_runs"): found}) == [3]
        assert errors(caplog)[1:] == logged

    def test_a_connection_that_an_earlier_run_could_not_start_is_reported(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        fleet = remote(database_host(not_undone=((ENTRY, "ERROR 1200"),)), source_session(), target_session())
        Transferer("db1", "/run/mysqld/mysqld.sock", ["db2"], ["/srv/y"], {"type": "xtrabackup"}, remote=fleet).run()
        assert "db1: replication does not start, the next run tries again: ERROR 1200" in caplog.messages

    def test_one_that_an_earlier_run_had_stopped_is_not_started_without_a_word(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        fleet = remote(database_host(finished=(("source.r7", True),)), source_session(), target_session())
        Transferer("db1", "/run/mysqld/mysqld.sock", ["db2"], ["/srv/y"], {"type": "xtrabackup"}, remote=fleet).run()
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings[0] == "db1: started replication, which that run had stopped"


class TestCopy:
    def test_files_that_differ_from_the_stream_are_named(self, caplog: pytest.LogCaptureFixture) -> None:
        usual = target_session().reactions["receive CODEC"]
        changed = "digests digest=d2 entries=5"
        target = target_session(peer=tuple(changed if event == DIGESTS else event for event in usual))
        lists = {
            ("db1", " digests\n"): [packed("a 7 ./ibdata1", "b 65536+9 ./shop/t.ibd")],
            ("db2", " digests\n"): [packed("a 8 ./ibdata1", "unknown - ./it's", "x 65536+9 ./shop/t.ibd")],
        }
        assert back_up(source_session(), target, runs=lists) == [7]
        text = "files on the disk differ from those of the backup tool: ibdata1, shop/t.ibd, it's"
        assert errors(caplog)[0] == f"db2:/srv/y: failed: db2:/srv/y: {text}"

    @pytest.mark.parametrize(
        ("sent", "received"), [("4711", "4710"), ("4711", None), (None, "4711"), (None, None), ("", "")]
    )
    def test_streams_of_different_size_are_not_the_same(
        self, sent: str | None, received: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        target = target_session(received=received)
        assert back_up(source_session(sent=sent), target) == [7]
        assert errors(caplog) == ["db2:/srv/y: failed: db2:/srv/y: the stream was damaged on the network"]
        assert target.received == ["peer cer1", "receive CODEC", "kill"]

    @pytest.mark.parametrize(
        ("events", "status", "message"),
        [
            (
                (f"stderr job=prepare stage=- text={encoded('a' + chr(10) + 'b: no space')}", "prepare"),
                *(10, "db2: prepare failed with status 1: a; b: no space"),
            ),
            ((f"stderr job=owner stage=- text={encoded('x')}", "owner"), 10, "db2: owner failed with status 1: x"),
            (("sync",), 8, "db2: sync failed with status 1"),
            ((f"error kind=publish text={encoded('not empty')}",), 8, "db2: not empty"),
        ],
    )
    def test_a_failure_after_the_checks_has_its_own_status(
        self, events: tuple[str, ...], status: int, message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        words = [
            f"stages job={event} statuses=1" if event in {"prepare", "owner", "sync"} else event for event in events
        ]
        target = target_session(publish=(*words, *END))
        assert back_up(source_session(), target, prepare=True, owner="mysql") == [status]
        assert errors(caplog) == [f"db2:/srv/y: failed: {message}"]

    def test_a_server_that_does_not_answer_right_before_the_backup_fails_the_target(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        error = f"stderr job=redo_log stage=- text={encoded('ERROR 1040 (08004): Too many connections')}"
        source = source_session(send_0=(error, "stages job=redo_log statuses=1"))
        assert back_up(source, target_session(peer=("listening port=4400",))) == [7]
        expected = "db1: redo_log failed with status 1: ERROR 1040 (08004): Too many connections"
        assert errors(caplog) == [f"db2:/srv/y: failed: {expected}"]

    @pytest.mark.parametrize("failing", ["source", "target"])
    def test_a_fault_of_the_backup_that_the_session_finds_fails_the_target(
        self, failing: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        log = f"stderr job=backup stage=- text={encoded('Error 24' + chr(10) + 'the log does not end')}"
        stream = (STOPPED, *size("4711"), "stages job=send_0 statuses=0,0,0,0", RUNS)
        sent = (*stream, log, "stages job=backup statuses=1")
        no_info = f"error kind=content text={encoded('the received backup has no info file')}"
        received = ("listening port=4400", *size("4711"), "stages job=receive statuses=0,0,0,0", no_info, *END)
        if failing == "source":
            assert back_up(source_session(send_0=sent), target_session()) == [7]
            expected = "db1: backup failed with status 1: Error 24; the log does not end"
        else:
            assert back_up(source_session(stop=END_THAT_STARTS), target_session(peer=received)) == [7]
            expected = "db2: the received backup has no info file"
        assert errors(caplog) == [f"db2:/srv/y: failed: {expected}"]

    @pytest.mark.parametrize(
        ("tables", "lacking", "per_table", "missing"),
        [
            (("new/b.frm", "shop/a.frm", "shop/c.frm"), ("shop/s.ibd",), 1, ""),
            (("new/b.frm", "shop/a.frm"), ("shop/s.ibd",), 1, "shop/c.frm"),
            (("shop/a.frm", "shop/c.frm"), (), 1, ""),
            (("shop/a.frm", "shop/c.frm"), ("new/b.ibd", "shop/s.ibd"), 1, "new/b.ibd"),
            # Such a table may have been in the system tablespace, and dropped before the server was asked.
            (("shop/a.frm", "shop/c.frm"), ("new/b.ibd", "shop/s.ibd"), 0, ""),
            (("shop/a.frm", "shop/c.frm"), ("new/b.MYI", "new/b.ibd"), 0, "new/b.MYI"),
        ],
    )
    def test_a_copy_has_every_table_that_the_server_had_all_the_time_and_the_data_of_all_others(
        self,
        tables: tuple[str, ...],
        lacking: tuple[str, ...],
        per_table: int,
        missing: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        stream = ("listening port=4400", "connected", *size("4711"), "stages job=receive statuses=0,0,0,0")
        events = (POSITION, "tables digest=t2 entries=2", "lacking digest=n2 entries=1", DIGESTS, "checked")
        sent = (STOPPED, *size("4711"), "stages job=send_0 statuses=0,0,0,0", RUNS, TABLES)
        runs = {
            ("db1", " tables\n"): [packed("shop/a.frm", "shop/c.frm")],
            ("db1", " lacking\n"): [packed("shop/s.ibd")],
            ("db2", " tables\n"): [packed(*tables)],
            ("db2", " lacking\n"): [packed(*lacking)],
        }
        sends = (*sent, f"{LACKING} file_per_table={per_table}", DIGESTS, "checked")
        source = source_session(send_0=sends, stop=END_THAT_STARTS if missing else END)
        assert back_up(source, target_session(peer=(*stream, *events)), runs=runs) == [7 if missing else 0]
        error = f"db2:/srv/y: failed: db2:/srv/y: the backup lacks tables: {missing}"
        assert errors(caplog) == [error] * bool(missing)

    def test_tables_that_cannot_be_compared_fail_the_copy(self, caplog: pytest.LogCaptureFixture) -> None:
        stream = ("listening port=4400", "connected", *size("4711"), "stages job=receive statuses=0,0,0,0")
        target = target_session(peer=(*stream, POSITION, "tables digest=t2 entries=2", LACKING, DIGESTS, "checked"))
        runs = {("db1", " tables\n"): [packed("a")], ("db2", " tables\n"): RemoteExecutionError("db2: lost")}
        assert back_up(source_session(stop=END_THAT_STARTS), target, runs=runs) == [7]
        assert errors(caplog) == [
            "db2:/srv/y: failed: db2:/srv/y: the tables of the copy could not be compared: db2: lost"
        ]

    @pytest.mark.parametrize(("lsn", "status"), [(899, 7), (900, 0), (950, 0), (1000, 0), (1001, 7), (0, 7)])
    def test_the_redo_log_of_a_copy_ends_where_its_server_was(
        self, lsn: int, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        checks = (STOPPED, *size("4711"), "stages job=send_0 statuses=0,0,0,0", RUNS)
        source = source_session(send_0=(*checks, "redo-log first=900 last=1000", TABLES, LACKING, DIGESTS, "checked"))
        assert back_up(source, target_session(position=f"{POSITION} lsn={lsn}")) == [status]
        message = f"db2:/srv/y: the backup has the files of another server: its redo log ends at {lsn}, but that of the"
        assert (f"{message} server was at 900 before the backup and at 1000 after it" in caplog.text) == (status == 7)

    def test_without_an_answer_of_the_server_after_the_backup_the_redo_log_is_not_compared(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        checks = (STOPPED, *size("4711"), "stages job=send_0 statuses=0,0,0,0", RUNS)
        source = source_session(send_0=(*checks, "redo-log first=900 last=0", TABLES, LACKING, DIGESTS, "checked"))
        assert back_up(source, target_session(position=f"{POSITION} lsn=950")) == [0]
        assert "db1: the redo log was not compared: the server did not answer after the backup" in caplog.messages

    @pytest.mark.parametrize("position", ["position binlog= replica=", "checked"])
    def test_a_server_without_binary_log_has_no_position(self, position: str, caplog: pytest.LogCaptureFixture) -> None:
        assert back_up(source_session(), target_session(position=position)) == [0]
        assert not [message for message in caplog.messages if "binary log" in message or "replicates" in message]

    def test_a_backup_tool_that_could_not_write_is_the_cause_if_the_next_stage_lacks_input(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        words = (
            f"stderr job=send_0 stage=0 text={encoded('Broken pipe (32)' + chr(10) + 'no memory')}",
            f"stderr job=send_0 stage=1 text={encoded('unexpected end of the stream of the backup')}",
        )
        source = source_session(send_0=(STOPPED, *words, "stages job=send_0 statuses=3,1,0,0"), stop=END_THAT_STARTS)
        target = target_session(peer=("listening port=4400", "connected", "stages job=receive statuses=0,0,0,0"))
        assert back_up(source, target) == [6]
        cause = "db1: mariadb-backup failed with status 3: Broken pipe (32); no memory"
        assert errors(caplog) == [f"db2:/srv/y: failed: {cause}"]

    def test_a_failing_backup_tool_is_named_with_its_last_words(self, caplog: pytest.LogCaptureFixture) -> None:
        words = (
            f"stderr job=send_0 stage=0 text={encoded(chr(10).join(['copying'] * 20 + ['Error 24', 'Too many files']))}"
        )
        source = source_session(send_0=(STOPPED, words, "stages job=send_0 statuses=1,0,0,0"), stop=END_THAT_STARTS)
        target = target_session(peer=("listening port=4400", "connected", "stages job=receive statuses=0,0,0,0"))
        assert back_up(source, target) == [6]
        (error,) = errors(caplog)
        assert error.startswith("db2:/srv/y: failed: db1: mariadb-backup failed with status 1: copying; copying; ")
        assert error.endswith("; copying; Error 24; Too many files")
        assert 3 < len(error.split("; ")) < 20


class TestTarball:
    def unpack(self, source: ScriptedSession, target: ScriptedSession) -> list[int]:
        fleet = remote(tarball_host("zstd"), source, target)
        options = {"type": "decompress"}
        return Transferer("db1", "/srv/backups/sqldata.tar", ["db2"], ["/srv/y"], options, remote=fleet).run()

    def sent(self, *reported: Reaction) -> ScriptedSession:
        return source_session(send_0=(*size("4711"), "stages job=send_0 statuses=0,0,0", *reported))

    def received(self, *reported: Reaction) -> ScriptedSession:
        stream = ("listening port=4400", "connected", *size("4711"), "stages job=receive statuses=0,0,0,0")
        return target_session(peer=(*stream, *reported))

    def test_a_run_that_succeeds_logs_its_steps(self, caplog: pytest.LogCaptureFixture) -> None:
        source = self.sent("checked")
        assert self.unpack(source, self.received("checked")) == [0]
        assert source.received == [SEND.format(0), "stop"]
        assert [message.partition(" in ")[0] for message in caplog.messages] == [
            f"db1:/srv/backups/sqldata.tar: 1 file(s), 4 MB, to db2:/srv/y ({STREAM})",
            "db2: port 4400 listens for db1",
            "db2: received a stream of 4.71 kB",
            "db2: the size of the stream agrees with the source",
            "db2:/srv/y: complete",
            "db2:/srv/y: ok",
            "1 of 1 target(s) succeeded",
        ]

    def test_one_that_changes_while_it_is_read_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        changed = f"changed job=send_0 paths={encoded('sqldata.tar')}"
        assert self.unpack(self.sent(changed), self.received("checked")) == [7]
        assert "db1:/srv/backups/sqldata.tar: changed during the copy: sqldata.tar" in caplog.text

    def test_a_file_that_is_truncated_while_it_is_read_is_reported_as_changed(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        changed = f"changed job=send_0 paths={encoded('sqldata.tar')}"
        source = source_session(send_0=("stages job=send_0 statuses=0,0,0", changed))
        target = target_session(peer=("listening port=4400", "connected", "stages job=receive statuses=0,0,0,2"))
        assert self.unpack(source, target) == [7]
        assert "db1:/srv/backups/sqldata.tar: changed during the copy: sqldata.tar" in caplog.text

    def test_one_that_is_not_as_it_should_be_is_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        wrong = f"error kind=content text={encoded('the tarball has 2 top-level entries')}"
        assert self.unpack(self.sent("checked"), self.received(wrong, *END)) == [7]
        assert errors(caplog) == ["db2:/srv/y: failed: db2: the tarball has 2 top-level entries"]


def test_a_server_that_does_not_answer_is_refused_before_anything_begins(caplog: pytest.LogCaptureFixture) -> None:
    silent = database_facts(state="silent", error="ERROR 1045 (28000): Access denied")
    fleet = remote(database_host(silent), source_session(), target_session())
    options = {"type": "xtrabackup", "stop_slave": True}
    assert Transferer("db1", "/run/mysqld/mysqld.sock", ["db2"], ["/srv/y"], options, remote=fleet).run() == [4]
    assert caplog.messages == [
        "db1:/run/mysqld/mysqld.sock: the server did not give a valid answer: ERROR 1045 (28000): Access denied",
        "refused: 1 problem(s); nothing was changed",
    ]


# The log of mariadb-backup 10.11 after it failed to copy the definition of a table.
SAID = """\
[00] 2026-11-22 21:06:48 Streaming /srv/mysql//aria_log_control to <STDOUT>
[00] 2026-11-22 21:06:48         ...done
[00] 2026-11-22 21:06:48 aria table file ./mysql/proc.MAI is copied successfully.
[00] 2026-11-22 21:06:48 Streaming ./mysql/gtid_slave_pos.ibd
[01] 2026-11-22 21:06:51         ...done
[01] 2026-11-22 21:06:51 Streaming ./shop/payments.frm to <STDOUT>
2026-11-22 21:06:51 0 [Warning] InnoDB: Retry attempts for reading partial data failed.
[01] 2026-11-22 21:06:51 Error: copy_file() failed.
[00] 2026-11-22 21:06:51 Failed to copy file ./shop/payments.frm
[00] 2026-11-22 21:06:51 Backup files error
[00] 2026-11-22 21:06:48 Connecting to MariaDB server host: localhost, user: root, password: not set, port: not set
[00] 2026-11-22 21:06:49 Acquiring BACKUP LOCKS...
[00] 2026-11-22 21:06:49 Stop copying aria log file tail: /srv/mysql//aria_log.00000001, copied 0 bytes
[00] 2026-11-22 21:06:50 Redo log (from LSN 44894 to 8478268) was copied.
[00] 2026-11-22 21:06:50 completed OK!
mariabackup: Stopping log copying thread.
"""


def test_the_lines_of_a_backup_tool_about_copied_files_are_not_errors() -> None:
    lines = SAID.splitlines()
    assert [line for line in lines if not _PROGRESS_LINE.match(line)] == lines[6:]


def test_the_error_of_a_failed_backup_omits_the_copied_files(caplog: pytest.LogCaptureFixture) -> None:
    log = "\n".join([*SAID.splitlines()[:10], *SAID.splitlines()[:5] * 3])
    failing = (STOPPED, f"stderr job=send_0 stage=0 text={encoded(log)}", "stages job=send_0 statuses=1,0,0,0")
    target = target_session(peer=("listening port=4400", "stages job=receive statuses=0,0,0,0"))
    assert back_up(source_session(send_0=failing, stop=END_THAT_STARTS), target) == [6]
    reported = "; ".join(SAID.splitlines()[6:10])
    assert errors(caplog) == [f"db2:/srv/y: failed: db1: mariadb-backup failed with status 1: {reported}"]
