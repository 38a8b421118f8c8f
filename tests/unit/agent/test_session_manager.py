"""The sessions of a run: events and malformed events, silence, and the end of sessions."""

import logging
import signal
import time
from typing import Any

import pytest
from bash import HOSTILE_NAMES, any_text
from hypothesis import given
from hypothesis import strategies as st
from scripted import END, Reaction, ScriptedRemote, ScriptedSession, encoded, packed

from transferpy.agent import list_transfer, session_manager
from transferpy.agent import session as session_module
from transferpy.agent.inbox import Inbox
from transferpy.agent.list_transfer import fetch_records
from transferpy.agent.protocol import Connected, Ending, Hello, Listening, Probed, Probing, Publish, Stop
from transferpy.agent.session import Session
from transferpy.agent.session_events import SessionEvents
from transferpy.agent.session_manager import SessionManager
from transferpy.Exceptions import FirewallError, Interrupted, PublishError, RemoteExecutionError, TransferpyError
from transferpy.RemoteExecution.interface import Command, CommandResult

RUN = "r1"
HELLO = f"hello directory={encoded('/run/transferpy/run.x')}"
NOT_STARTED = f"undo-failed entry={encoded('start_replication /srv mariadb x')} text={encoded('ERROR 1200' + chr(10))}"
SCRIPT = f"run_id={RUN}\n"


def start_sessions(*sessions: ScriptedSession, **more: object) -> tuple[SessionManager, list[Session]]:
    """Return a conversation with sessions on db1, db2 ..."""
    hosts = [f"db{number}" for number in range(1, len(sessions) + 1)]
    remote = ScriptedRemote(sessions={host: [session] for host, session in zip(hosts, sessions, strict=True)}, **more)  # type: ignore[arg-type]  # the caller knows
    made = SessionManager(remote, RUN)
    return made, [made.start(host, SCRIPT) for host in hosts]


def session_after(*words: Reaction) -> Session:
    """Return a session whose events have all been handled."""
    made, (session,) = start_sessions(ScriptedSession([*words, "connected"]))
    made.wait(until=lambda: session.has(Connected))
    return session


class TestEvents:
    def test_the_events_of_a_session_are_stored(self) -> None:
        session = session_after(
            HELLO,
            "!Welcome to db1!",
            "stages job=receive statuses=0,141,2",
            f"stderr job=receive stage=2 text={encoded(' no space' + chr(10))}",
            "progress bytes=100",
            "progress",
            "progress bytes=70",
            "progress bytes=101",
        )
        assert (session.directory, session.alive, session.bytes) == ("/run/transferpy/run.x", True, 101)
        assert session.statuses == {"receive": (0, 141, 2)}
        assert session.errors == {("receive", "2"): "no space"}

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("port", FirewallError),
            ("firewall", FirewallError),
            ("publish", PublishError),
            ("other", RemoteExecutionError),
        ],
    )
    def test_the_session_names_the_kind_of_an_error(self, kind: str, error: type[TransferpyError]) -> None:
        session = session_after(f"error kind={kind} text={encoded('why')}")
        assert (type(session.error), str(session.error), session.alive) == (error, "db1: why", False)

    @pytest.mark.parametrize(
        ("counts", "problem"),
        [
            ((1 << 30, 1 << 29), "536870912 bytes of the stream after 1073741824 bytes"),
            ((1, (1 << 64) - 1), "18446744073709551615 bytes of the stream after 1 bytes"),
        ],
    )
    def test_a_progress_that_is_not_possible_is_an_error(self, counts: tuple[int, int], problem: str) -> None:
        session = session_after(*(f"progress bytes={count}" for count in counts))
        assert str(session.error) == f"db1: the session reported {problem}, which is not possible"
        assert session.bytes == counts[0]

    def test_texts_of_a_host_have_a_greatest_length(self) -> None:
        session = session_after(
            f"stderr job=receive stage=2 text={encoded('x' * 9000)}", f"error kind=host text={encoded('y' * 9000)}"
        )
        assert session.errors == {("receive", "2"): "x" * 4000}
        assert str(session.error) == f"db1: {'y' * 4000}"

    @pytest.mark.parametrize("event", ["stages job=t{} statuses=0", "stderr job=t{} stage=0 text="])
    def test_a_session_with_tasks_without_end_is_refused(self, event: str) -> None:
        session, events = Session("db1"), SessionEvents(RUN)
        for number in range(2001):
            events.handle_line(session, f"@transferpy {RUN} {event.format(number)}")
        assert str(session.error) == "db1: the session reported more than 2000 tasks"

    def test_a_change_that_was_not_undone_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        session_after(f"undo-failed entry={encoded('remove_directory /srv/y')} text={encoded('busy' + chr(10))}")
        assert caplog.messages == ["db1: not undone, the next run tries again: remove_directory /srv/y: busy"]

    def test_an_option_of_a_copy_that_can_be_prepared_by_hand_is_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        session_after(f"unknown-option text={encoded('tmpdir=/srv')}")
        message = "an option that no backup tool writes, read it before you prepare the copy: tmpdir=/srv"
        assert caplog.messages == [f"db1: backup-my.cnf of the copy has {message}"]

    @given(
        name=st.sampled_from(["progress", "stages", "stderr", "error", "hello", "end", "manifest", "ready", "x"]),
        fields=st.dictionaries(st.sampled_from(["job", "stage", "statuses", "bytes", "kind", "text"]), any_text),
    )
    def test_each_line_is_an_event_or_no_event_or_an_error_of_the_session(
        self, name: str, fields: dict[str, str]
    ) -> None:
        session = Session("db1")
        SessionEvents(RUN).handle_line(session, f"@transferpy {RUN} {name} {' '.join(map('='.join, fields.items()))}")
        assert session.error is None or isinstance(session.error, TransferpyError)
        assert session.directory is not None

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ((), ""),
            (("replication-stopped connections=0",), ""),
            (("replication-stopping",), session_module._UNKNOWN),
            (("replication-stopping", "replication-runs"), ""),
            (("replication-stopped connections=2",), session_module._UNKNOWN),
            (("replication-stopped connections=2", "replication-runs"), ""),
            (("replication-stopped connections=2", "replication-left"), ""),
            (("replication-stopped connections=2", NOT_STARTED), f"{session_module._STOPPED}ERROR 1200"),
            (("replication-stopped connections=2", NOT_STARTED, "replication-runs"), ""),
            ((NOT_STARTED,), f"{session_module._STOPPED}ERROR 1200"),
            (("replication-stopped connections=2", "finished-dead-run run=r1 pid=100"), ""),
            (("replication-stopped connections=2", "finished-dead-run run=r1 pid=101"), session_module._UNKNOWN),
            ((f"undo-failed entry={encoded('remove_directory /start_replication')} text=",), ""),
        ],
    )
    def test_only_word_that_it_runs_is_word_that_replication_runs(self, words: tuple[str, ...], expected: str) -> None:
        hello = f"hello directory={encoded('/run/transferpy/run.r1.100.200')}"
        assert session_after(hello, *words).replication.error == expected

    def test_a_stop_without_a_number_is_nonsense(self) -> None:
        session = session_after("replication-stopped")
        problem = "malformed event 'replication-stopped': it lacks connections"
        assert str(session.error) == f"db1: the session sent a {problem}"

    @pytest.mark.parametrize("port", ["", "4400!!SYSTEM:reboot", "4400,verify=0", "-1", "444444", "x"])
    @pytest.mark.parametrize("event", ["listening", "probing"])
    def test_a_port_that_is_none_is_nonsense_and_never_gets_to_the_other_host(self, event: str, port: str) -> None:
        session = session_after(f"{event} port={port}")
        problem = f"malformed event '{event}': port: {port!r} is not a port"
        assert str(session.error) == f"db1: the session sent a {problem}"
        assert not session.has(Listening, Probing)

    def test_only_a_session_that_reports_so_has_left_nothing(self) -> None:
        assert session_after("end status=0 undone=yes").undone
        assert not session_after("end status=0 undone=no").undone
        assert not session_after("ending").undone


class TestWaiting:
    def test_it_ends_when_the_condition_holds(self) -> None:
        made, (one, two) = start_sessions(ScriptedSession(["probed"]), ScriptedSession(["probed"]))
        assert made.wait(one, two, until=lambda: one.has(Probed) and two.has(Probed))

    def test_it_ends_at_the_deadline(self) -> None:
        made, (session,) = start_sessions(ScriptedSession([]))
        assert not made.wait(session, until=lambda: False, deadline=time.monotonic())

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ((f"error kind=port text={encoded('no port')}",), "db1: no port"),
            ((CommandResult(host="db1", returncode=7, output=""),), "db1: the session ended early, with status 7"),
            (
                (CommandResult(host="db1", returncode=255, output="ssh: x\nssh: lost"),),
                "db1: the session ended early, with status 255: ssh: lost",
            ),
            (
                ("end status=1 undone=yes", CommandResult(host="db1", returncode=1, output="@transferpy r1 end")),
                "db1: the session ended early, with status 1",
            ),
        ],
    )
    def test_a_session_that_ends_ends_it(self, words: tuple[Reaction, ...], message: str) -> None:
        made, (session,) = start_sessions(ScriptedSession(words))
        with pytest.raises(TransferpyError) as raised:
            made.wait(session, until=lambda: False)
        assert str(raised.value) == message

    @pytest.mark.parametrize("end", ["", "Timeout, server db1 not responding.\r"])
    def test_a_line_that_a_lost_connection_cuts_is_no_malformed_event(self, end: str) -> None:
        lost = CommandResult(host="db1", returncode=255, output=f"@transferpy {RUN} stages job=se{end}")
        made, (session,) = start_sessions(ScriptedSession([f"stages job=se{end}", lost]))
        with pytest.raises(RemoteExecutionError) as raised:
            made.wait(session, until=lambda: False)
        text = "db1: the session ended early, with status 255: it was killed, or the connection was lost"
        assert str(raised.value) == text

    def test_a_malformed_event_of_a_session_that_ends_by_itself_is_named(self) -> None:
        made, (session,) = start_sessions(
            ScriptedSession(["stages", CommandResult(host="db1", returncode=1, output="")])
        )
        with pytest.raises(RemoteExecutionError, match=r"^db1: the session sent a malformed event 'stages': it lacks"):
            made.wait(session, until=lambda: False)

    def test_a_malformed_event_is_an_error_although_the_session_does_not_end(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_module, "_CUT_TIME", 0.1)
        made, (session,) = start_sessions(ScriptedSession(["stages"]))
        with pytest.raises(RemoteExecutionError, match="malformed event"):
            made.wait(session, until=lambda: False)

    def test_a_malformed_event_of_a_session_that_sends_further_events_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(session_module, "_CUT_TIME", 3600.0)
        made, (session,) = start_sessions(ScriptedSession(["stages", "progress"]))
        with pytest.raises(RemoteExecutionError, match="malformed event"):
            made.wait(session, until=lambda: False)

    def test_a_session_that_is_silent_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session_manager, "_SILENCE", -1.0)
        made, (session,) = start_sessions(ScriptedSession([]))
        with pytest.raises(RemoteExecutionError, match=r"^db1: no heartbeat for -1 seconds$"):
            made.wait(session, until=lambda: False)

    def test_a_session_is_not_silent_while_this_process_is_suspended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        session = Session("db1")
        session.heard = session.moved = 0.0
        monkeypatch.setattr(Inbox, "wait", lambda _inbox, _seconds: 1000.0)
        SessionEvents(RUN).handle_next([session], 0)
        assert session.heard == session.moved == pytest.approx(1000, abs=1)

    def test_an_event_that_a_session_did_not_send_cannot_be_used(self) -> None:
        with pytest.raises(RemoteExecutionError, match=r"^db1: the session sent no event 'listening'$"):
            Session("db1").expect(Listening)

    def test_a_session_that_is_not_needed_may_end(self) -> None:
        made, (one, two) = start_sessions(ScriptedSession(END), ScriptedSession(["probed"]))
        assert made.wait(two, until=lambda: one.outcome is not None)

    def test_an_order_to_a_session_that_is_gone_is_an_error_at_once(self) -> None:
        gone = ScriptedSession([], {"publish": [RemoteExecutionError("db1: the job has ended")]})
        made, (session,) = start_sessions(gone)
        with pytest.raises(RemoteExecutionError, match="the job has ended"):
            made.send(session, Publish())


class TestEnding:
    @pytest.mark.parametrize("last_word", ["published", "ending", f"error kind=host text={encoded('x')}"])
    def test_a_session_that_ends_by_itself_is_not_killed(self, last_word: str) -> None:
        scripted = ScriptedSession([HELLO, last_word, *END])
        made, (session,) = start_sessions(scripted)
        made.wait(until=lambda: not session.alive or session.ending)
        made.end(session)
        assert (scripted.received, session.undone) == ([], True)

    def test_a_signal_loses_no_event(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # A session of which the end got lost would be waited for, for ten minutes.
        made, (session,) = start_sessions(ScriptedSession([HELLO, "ending", *END]))
        credit = Session.credit
        interrupted: list[bool] = []

        def interrupt(self: Session, seconds: float) -> None:
            interrupted.append(not interrupted or not interrupted[-1])
            if interrupted[-1]:
                raise Interrupted(signal.SIGHUP)
            credit(self, seconds)

        monkeypatch.setattr(Session, "credit", interrupt)
        for _ in range(100):
            try:
                made.wait(until=lambda: session.outcome is not None, deadline=time.monotonic() + 5)
            except Interrupted:
                continue
            break
        assert any(interrupted)
        assert session.outcome is not None
        assert session.undone
        assert session.has(Hello)
        assert session.has(Ending)

    def test_the_end_of_a_stopped_session_is_awaited(self) -> None:
        scripted = ScriptedSession([HELLO], {"stop": END})
        made, (session,) = start_sessions(scripted)
        made.send(session, Stop())
        made.end(session)
        assert scripted.received == ["stop"]

    def test_any_other_is_killed_once(self) -> None:
        scripted = ScriptedSession([HELLO], {"kill": END})
        made, (session,) = start_sessions(scripted)
        made.end(session)
        made.end(session)
        made.end_all()
        assert scripted.received == ["kill"]

    def test_a_session_that_never_was_leaves_nothing_to_finish(self) -> None:
        made, (session,) = start_sessions(
            ScriptedSession([CommandResult(host="db1", returncode=255, output="ssh: no")])
        )
        made.wait(until=lambda: session.outcome is not None)
        made.end(session)
        assert not session.undone

    @pytest.mark.parametrize(
        ("clean_up", "recorded"),
        [
            (
                ["@transferpy RUN finished-dead-run run=r1 pid=100"],
                ["db1: undid the changes of the stale run r1"],
            ),
            ([], []),
            (RemoteExecutionError("db1: cannot be reached"), []),
        ],
    )
    def test_a_session_that_was_killed_before_its_first_event_is_recovered(
        self, clean_up: list[str] | RemoteExecutionError, recorded: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        asked: list[float | None] = []

        class Asked(ScriptedRemote):
            def run(self, host: str, command: Command, **more: Any) -> CommandResult:
                asked.append(more["timeout"])
                return super().run(host, command, **more)

        caplog.set_level(logging.INFO)
        mute = ScriptedSession([], {"kill": [CommandResult(host="db1", returncode=143, output="")]})
        made = SessionManager(Asked(sessions={"db1": [mute]}, runs={("db1", "recover_stale_runs"): clean_up}), RUN)
        made.end(made.start("db1", SCRIPT))
        assert (mute.received, asked) == (["kill"], [session_manager._DOUBTFUL_TIME])
        # A failure of this recovery is not reported: most likely there was nothing to undo.
        assert caplog.messages == recorded

    def test_the_recovery_undoes_the_changes_of_a_killed_session(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        runs = {("db1", "recover_stale_runs"): ["@transferpy RUN finished-dead-run run=r1 pid=100", "noise"]}
        made, (session,) = start_sessions(
            ScriptedSession([HELLO, CommandResult(host="db1", returncode=137, output="")]), runs=runs
        )
        made.wait(until=lambda: session.outcome is not None)
        made.end(session)
        assert caplog.messages == ["db1: undid the changes of the stale run r1"]

    def test_a_clean_up_that_fails_is_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        runs = {("db1", "recover_stale_runs"): CommandResult(host="db1", returncode=141, output="")}
        made, (session,) = start_sessions(
            ScriptedSession([HELLO, CommandResult(host="db1", returncode=137, output="")]), runs=runs
        )
        made.wait(until=lambda: session.outcome is not None)
        made.end(session)
        assert "\n".join(caplog.messages) == (
            "db1: could not be cleaned up; the next run on this host will do it:"
            " db1: the clean-up ended with status 141 (/run/transferpy/run.x)"
        )

    def test_one_that_cannot_be_ended_does_not_keep_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        lost = ScriptedSession([HELLO], {"kill": [RemoteExecutionError("db1: cannot be reached")]})
        other = ScriptedSession([HELLO], {"kill": END})
        made, (session, _) = start_sessions(lost, other)
        made.wait(until=lambda: session.has(Hello))
        made.end_all()
        assert other.received == ["kill"]
        assert "\n".join(caplog.messages) == (
            "db1: could not be cleaned up; the next run on this host will do it: db1: cannot be reached"
            " (/run/transferpy/run.x)"
        )

    def test_a_signal_in_the_midst_of_it_comes_after_it(self) -> None:
        class Once(dict[str, tuple[Reaction, ...]]):
            def __missing__(self, command: str) -> tuple[Reaction, ...]:
                self[command] = END
                return (Interrupted(15),)

        interrupted, other = ScriptedSession([HELLO], Once()), ScriptedSession([HELLO], {"kill": END})
        made, (session, _) = start_sessions(interrupted, other)
        with pytest.raises(Interrupted):
            made.end_all()
        assert (interrupted.received, other.received, session.undone) == (["kill", "kill"], ["kill"], True)


STOPPED = "replication-stopped connections=1"
SOURCE = f"hello directory={encoded(f'/run/transferpy/run.{RUN}.100.99')}"
UNKNOWN = f"db1: {session_module._UNKNOWN}"
DENIED = f"undo-failed entry={encoded('start_replication /srv/')} text={encoded('denied')}"
BY_HAND = "db1: replication is stopped and does not start again, start it by hand: denied"


class TestReplication:
    @pytest.mark.parametrize(
        ("words", "broken"),
        [
            ((STOPPED,), UNKNOWN),
            (("replication-stopped connections=0",), ""),
            ((STOPPED, "replication-runs"), ""),
            ((STOPPED, "replication-left"), ""),
            ((STOPPED, DENIED), BY_HAND),
            ((STOPPED, DENIED, "replication-runs"), ""),
            ((STOPPED, "end status=0 undone=yes"), UNKNOWN),
            ((STOPPED, f"undo-failed entry={encoded('remove_directory /x')} text="), UNKNOWN),
            ((STOPPED, "finished-dead-run run=source.another"), UNKNOWN),
            ((STOPPED, f"finished-dead-run run={RUN} pid=100"), ""),
        ],
    )
    def test_replication_counts_as_stopped_until_the_host_reports_that_it_runs(
        self, words: tuple[str, ...], broken: str
    ) -> None:
        made, (session,) = start_sessions(ScriptedSession([SOURCE, *words, "connected"]))
        made.wait(until=lambda: session.has(Connected))
        assert made.replication_errors() == broken

    @pytest.mark.parametrize(
        "clean_up",
        [
            RemoteExecutionError("db1: cannot be reached"),
            CommandResult(host="db1", returncode=1, output=""),
            ["noise"],
        ],
    )
    def test_a_source_that_died_and_does_not_answer_is_an_error(
        self, clean_up: RemoteExecutionError | CommandResult | list[str]
    ) -> None:
        killed = CommandResult(host="db1", returncode=137, output="")
        made, (session,) = start_sessions(
            ScriptedSession([SOURCE, STOPPED, killed]), runs={("db1", "recover_stale_runs"): clean_up}
        )
        made.wait(until=lambda: session.outcome is not None)
        made.end_all()
        assert made.replication_errors() == UNKNOWN

    def test_a_source_that_died_and_was_cleaned_up_after_is_well(self) -> None:
        killed = CommandResult(host="db1", returncode=137, output="")
        runs = {("db1", "recover_stale_runs"): [f"@transferpy RUN finished-dead-run run={RUN} pid=100"]}
        made, (session,) = start_sessions(ScriptedSession([SOURCE, STOPPED, killed]), runs=runs)
        made.wait(until=lambda: session.outcome is not None)
        made.end_all()
        assert made.replication_errors() == ""


class TestRecords:
    def test_a_list_comes_as_it_is(self) -> None:
        text = packed(*HOSTILE_NAMES)
        lines = [text[place : place + 76] for place in range(0, len(text), 76)]
        made, (session,) = start_sessions(ScriptedSession([HELLO]), runs={("db1", " digests\n"): lines})
        made.wait(until=lambda: session.has(Hello))
        assert list(fetch_records(made._remote, session, "digests")) == list(HOSTILE_NAMES)

    def test_a_list_longer_than_one_read_is_split_correctly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(list_transfer, "_CHUNK", 7)
        made, (session,) = start_sessions(
            ScriptedSession([HELLO]), runs={("db1", " digests\n"): [packed(*HOSTILE_NAMES)]}
        )
        assert list(fetch_records(made._remote, session, "digests")) == list(HOSTILE_NAMES)

    @pytest.mark.parametrize("cut", [0, 4, 12, 40, -8, -4])
    def test_a_list_that_is_cut_short_is_an_error(self, cut: int) -> None:
        made, (session,) = start_sessions(
            ScriptedSession([HELLO]), runs={("db1", " digests\n"): [packed(*HOSTILE_NAMES)[:cut]]}
        )
        with pytest.raises(RemoteExecutionError, match="arrived damaged" if cut else "cannot read"):
            list(fetch_records(made._remote, session, "digests"))
