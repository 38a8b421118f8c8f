"""A run for its caller: one status for each target and no exception, for any output of the hosts."""

import logging
import re
import socket
import time
from types import MappingProxyType
from typing import Any

import pytest
from fleet import database_host, source_facts, source_host, target_facts, target_host
from reports import assert_valid
from scripted import END, HANGING, Reaction, ScriptedJob, ScriptedRemote, answer, encoded, packed
from scripted_runs import (
    FORCED,
    HELLO,
    LISTS,
    RECEIVED,
    SENT,
    fleet,
    fleet_with_much,
    source_session,
    target_session,
    transferer,
)

from transferpy.agent.preflight_connection import _NOT_STARTED
from transferpy.engine import streaming
from transferpy.Exceptions import Interrupted, RemoteExecutionError
from transferpy.model.facts import HostFacts, TargetFacts, TargetState
from transferpy.model.text import size
from transferpy.RemoteExecution.interface import CommandResult, Job
from transferpy.Transferer import Transferer


@pytest.fixture(autouse=True)
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)


@pytest.fixture(autouse=True)
def _no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferpy.engine.root_cause._OTHER_END_TIME", 0.1)


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transferpy.agent.session_manager._SILENCE", 4.0)


class TestContract:
    def test_a_run_that_succeeds_gives_a_zero_for_each_target(self) -> None:
        targets = [target_session() for _ in range(3)]
        source = source_session(3)
        assert transferer(fleet(source, *targets), 3).run() == [0, 0, 0]
        assert source.received == [f"send {n} CODEC 198.18.0.2 4400 cer2" for n in range(3)] + ["stop"]
        assert [target.received for target in targets] == [["peer cer1", "receive CODEC", "publish"]] * 3

    @pytest.mark.parametrize(
        "options", [{}, {"type": "file"}, {"transfer_type": "file"}, {"verbose": True, "port": "0"}]
    )
    def test_options_come_by_position_or_by_name_and_are_never_changed(self, options: dict[str, object]) -> None:
        before = dict(options)
        place = ("db1", "/srv/x", ["db2"], ["/srv/y"])
        for made in (
            Transferer(*place, options, remote=fleet(source_session(), target_session())),
            Transferer(*place, options=options, remote=fleet(source_session(), target_session())),
            Transferer(*place, options=MappingProxyType(options), remote=fleet(source_session(), target_session())),
            Transferer(*place, remote=fleet(source_session(), target_session())),
        ):
            assert made.run() == [0]
        assert options == before
        assert Transferer.__init__.__defaults__ == ({},)

    def test_the_options_count_as_they_were_when_it_was_made(self) -> None:
        options: dict[str, object] = {"compress": False}
        remote = fleet(source_session(), target_session())
        made = Transferer("db1", "/srv/x", ["db2"], ["/srv/y"], options, remote=remote)
        options |= {"compress": True, "port": "nonsense"}
        assert made.run() == [0]
        assert not any("pigz --" in script for _, script in remote.scripts)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"port": 70000}, "port must be a whole number from 0 to 65535, not 70000"),
            ({"port": None}, "port must be a whole number from 0 to 65535, not None"),
            ({"compress": "perhaps"}, "compress must be true or false, not 'perhaps'"),
            ({"type": "tape"}, "transfer_type must be one of file, xtrabackup, decompress, not 'tape'"),
            ({"colour": "red"}, "unknown option 'colour'; the options are transfer_type, "),
            ({1: 2}, "unknown option 1; the options are transfer_type, "),
            ({"stop_slave": True}, "stop_slave needs the transfer type xtrabackup, not file"),
        ],
    )
    def test_bad_options_are_a_result_and_no_exception(
        self, options: dict[str, object], message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert Transferer("db1", "/srv/x", ["db2"], ["/srv/y"], options, remote=ScriptedRemote()).run() == [2]
        assert [record.getMessage()[: len(message)] for record in caplog.records] == [message]

    @pytest.mark.parametrize(
        ("source", "hosts", "paths", "message"),
        [
            (("db1", "/x"), ["db2", "db3"], ["/y"], "2 target hosts, but 1 target paths"),
            (("db1", "/x"), [], [], "db1:/x: no target to copy to"),
            (("db1", "/x"), ["db2", "db2"], ["/y", "/y/"], "db2:/y/: this target is given twice"),
            (("db1", ""), ["db2"], ["/y"], "the path is empty or not text: ''"),
            (("", "/x"), ["db2"], ["/y"], "the host is empty or not text: ''"),
            ((None, "/x"), ["db2"], ["/y"], "the host is empty or not text: None"),
            (("db1", "/x"), ["$(x)"], ["/y"], "the host '$(x)' contains '$', which is not valid in a host name"),
            (("db1", "/"), ["db2"], ["/y"], "db1:/: this source path has no name that the copy could get;"),
        ],
    )
    def test_nonsense_is_a_result_and_no_exception(
        self, source: Any, hosts: list[str], paths: list[str], message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert Transferer(source[0], source[1], hosts, paths, {}, remote=ScriptedRemote()).run() == [2]
        assert [record.getMessage()[: len(message)] for record in caplog.records] == [message]


class TestBeforeTheFirstTarget:
    def test_host_names_are_resolved_before_any_host_is_contacted(self, caplog: pytest.LogCaptureFixture) -> None:
        names = {"db2": RemoteExecutionError("db2: matches two hosts")}
        assert transferer(ScriptedRemote(names=names)).run() == [3]
        assert caplog.messages == ["db2: matches two hosts"]

    def test_two_words_for_one_host_are_one_target(self, caplog: pytest.LogCaptureFixture) -> None:
        remote = ScriptedRemote(names={"db3": "db2"})
        assert transferer(remote, 2).run() == [2]
        assert caplog.messages == ["db2:/srv/y: this target is given twice"]

    @pytest.mark.parametrize("word", ["db[3-3]", '"A:backup"', "db[2-2]"])
    def test_a_set_of_one_host_that_is_named_besides_is_no_second_target(self, word: str) -> None:
        silent = {host: RemoteExecutionError(f"{host}: cannot be reached") for host in ("db1", "db2")}
        remote = ScriptedRemote(names={word: "db2"}, preflights=silent)
        run = Transferer("db1", "/srv/x", [word, "db2"], ["/srv/y", "/srv/y/"], remote=remote)
        run.run()
        assert [str(target.target) for target in run.report.targets] == ["db2:/srv/y"]

    def test_a_host_of_two_sets_keeps_its_first_place(self) -> None:
        class Sets(ScriptedRemote):
            def resolve_all(self, word: str) -> tuple[str, ...]:
                return ("db2", "db3", "db4") if word == "db[2-4]" else (word,)

        silent = {f"db{number}": RemoteExecutionError("cannot be reached") for number in range(1, 5)}
        run = Transferer("db1", "/srv/x", ["db[2-4]", "db2"], ["/srv", "/srv"], remote=Sets(preflights=silent))
        assert run.run() == [3]
        assert [target.target.host for target in run.report.targets] == ["db2", "db3", "db4"]

    def test_hosts_that_cannot_be_reached_are_all_named(self, caplog: pytest.LogCaptureFixture) -> None:
        errors = {host: RemoteExecutionError(f"{host}: cannot be reached") for host in ("db1", "db2")}
        assert transferer(ScriptedRemote(preflights=errors)).run() == [3]
        assert caplog.messages == ["db1: cannot be reached; db2: cannot be reached"]

    def test_every_problem_is_a_line(self, caplog: pytest.LogCaptureFixture) -> None:
        missing = target_host(targets={0: TargetFacts(state=TargetState.MISSING)})
        remote = ScriptedRemote({"db1": RemoteExecutionError("db1: cannot be reached"), "db2": answer(missing)})
        assert transferer(remote).run() == [4]
        assert caplog.messages == [
            "db1: cannot be reached",
            "db2:/srv/y: no such directory; make it first",
            "refused: 2 problem(s); nothing was changed",
        ]

    @pytest.mark.parametrize(
        "reported",
        [
            [],
            ["host uid=0"],
            ["host uid=x cores= memory= lists= boot= tools= listening=", "asked"],
            answer(target_host())[:-1],
        ],
    )
    def test_an_answer_that_is_none_is_shown(self, reported: list[str], caplog: pytest.LogCaptureFixture) -> None:
        remote = ScriptedRemote({"db1": answer(source_host()), "db2": reported})
        assert transferer(remote).run() == [3]
        (message,) = caplog.messages
        assert message.startswith("db2: the preflight query ended with status 0 and returned a malformed event ")
        assert message.endswith(reported[-1] if reported else "nothing")

    @pytest.mark.parametrize(
        ("reported", "where"),
        [
            ([], _NOT_STARTED),
            ([f"asking about={encoded('/srv/y')}"], " while it looked at /srv/y: does a file system hang?"),
            ([f"asking about={encoded('/srv/y')}", "progress", "asking about="], ""),
        ],
    )
    def test_a_host_that_stops_answering_fails_and_the_error_names_the_path(
        self, reported: list[str], where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Ending(ScriptedRemote):
            def kill_job(self, host: str, *_arguments: object, **_options: object) -> CommandResult:
                killed.append(host)
                raise RemoteExecutionError(f"{host}: a command could not be ended")

        killed: list[str] = []
        monkeypatch.setattr("transferpy.agent.preflight_connection._ANSWER_TIME", 0.1)
        remote = Ending({"db1": answer(source_host()), "db2": [*reported, HANGING]})
        assert transferer(remote).run() == [3]
        assert caplog.messages == [f"db2: no answer for 0 seconds{where}"]
        assert killed == ["db2"]

    def test_the_remains_of_dead_runs_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        remote = fleet(source_session(), target_session())
        remote.preflights = {**remote.preflights, "db2": answer(target_host(finished=(("target.r7", False),)))}
        assert transferer(remote).run() == [0]
        assert "db2: undid the changes of the stale run target.r7" in caplog.messages

    def test_the_source_receives_the_addresses_that_this_host_resolves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def known(host: str, *_arguments: object, **_options: object) -> list[tuple[object, ...]]:
            return [(0, 0, 0, "", (f"2001:db8::{host[-1]}", 0, 0, 0)), (0, 0, 0, "", (f"198.18.0.{host[-1]}", 0))] * 2

        monkeypatch.setattr(socket, "getaddrinfo", known)
        remote = fleet(source_session(), target_session())
        assert transferer(remote).run() == [0]
        assert remote.scripts[0][1].splitlines()[-4] == "route_facts 0 db2 2001:db8::2 198.18.0.2"

    def test_a_signal_ends_the_questions_and_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Ended(ScriptedRemote):
            def write_job(self, host: str, job: Job, text: str) -> None:
                recorded.append((host, text))
                super().write_job(host, job, text)

            def kill_job(self, host: str, *_arguments: object, **_options: object) -> CommandResult:
                recorded.append((host, "kill"))
                raise RemoteExecutionError(f"{host}: cannot be reached")

        def interrupted(*_arguments: object) -> HostFacts:
            raise Interrupted(15)

        recorded: list[tuple[str, str]] = []
        monkeypatch.setattr("transferpy.agent.preflight_connection.parse_facts", interrupted)
        remote = Ended({"db1": answer(source_host()), "db2": [HANGING]})
        with pytest.raises(Interrupted):
            transferer(remote).run()
        assert recorded == [("db1", "end\n"), ("db2", "kill")]


class TestShells:
    """The use and the end of the connections of the preflight."""

    def test_a_session_goes_on_in_the_shell_that_has_answered(self) -> None:
        remote = fleet(source_session(), target_session())
        assert transferer(remote).run() == [0]
        assert [(host, "\nhost_facts " in script) for host, script in remote.scripts] == [
            *(("db1", True), ("db2", True), ("db2", False), ("db1", False))  # the receiver has more to prepare
        ]
        assert remote.logins == ["db1", "db2"]

    def test_one_that_has_waited_too_long_is_not_counted_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("transferpy.agent.preflight_connection._WAITING_TIME", 0)
        remote = fleet(source_session(), target_session())
        assert transferer(remote).run() == [0]
        assert remote.logins == ["db1", "db2", "db2", "db1"]

    def test_one_that_has_ended_meanwhile_is_not_counted_on(self) -> None:
        class Ending(ScriptedRemote):
            def start_job(self, host: str, *arguments: Any, **options: Any) -> Job:
                job = super().start_job(host, *arguments, **options)
                if host == "db2" and len(self.logins) == 2:
                    assert isinstance(job, ScriptedJob)
                    job.react([CommandResult(host=host, returncode=255, output="")])
                return job

        scripted = fleet(source_session(), target_session())
        remote = Ending(scripted.preflights, scripted.sessions)
        assert transferer(remote).run() == [0]
        assert remote.logins == ["db1", "db2", "db2"]

    def test_one_that_dies_when_it_is_to_go_on_is_done_without(self) -> None:
        class Dying(ScriptedRemote):
            def hand_script(self, host: str, job: Job, script: str) -> None:
                if host == "db1":
                    super().hand_script(host, job, script)
                    return
                assert isinstance(job, ScriptedJob)
                job.react([CommandResult(host=host, returncode=255, output="")])
                raise RemoteExecutionError(f"{host}: the command takes no input: Broken pipe")

        scripted = fleet(source_session(), target_session())
        remote = Dying(scripted.preflights, scripted.sessions)
        assert transferer(remote).run() == [0]
        assert remote.logins == ["db1", "db2", "db2"]

    @pytest.mark.parametrize(
        ("dry_run", "state", "status"),
        [(True, TargetState.DIRECTORY, 0), (True, TargetState.MISSING, 4), (False, TargetState.MISSING, 4)],
    )
    def test_where_no_session_follows_they_are_seen_to_their_end(
        self, *, dry_run: bool, state: TargetState, status: int
    ) -> None:
        facts = target_facts() if state is TargetState.DIRECTORY else TargetFacts(state=state)
        remote = ScriptedRemote({"db1": answer(source_host()), "db2": answer(target_host(targets={0: facts}))})
        assert transferer(remote, dry_run=dry_run).run() == [status]
        assert remote.logins == ["db1", "db2"]
        assert [job.outcome is not None for job in remote.jobs] == [True, True]


class TestTargets:
    @pytest.mark.parametrize(
        ("changes", "status", "message"),
        [
            (
                {"start": (HELLO, f"error kind=port text={encoded('no free port')}", *END)},
                *(5, "db2: no free port"),
            ),
            ({"start": (HELLO, f"error kind=firewall text={encoded('no')}", *END)}, 5, "db2: no"),
            ({"start": (HELLO, f"error kind=host text={encoded('disk full')}", *END)}, 3, "db2: disk full"),
            ({"start": (HELLO, f"error kind=new text={encoded('what')}", *END)}, 3, "db2: what"),
            (
                {"start": (CommandResult(host="db2", returncode=255, output="ssh: broken\nlost"),)},
                *(3, "db2: the session ended early, with status 255: lost"),
            ),
            (
                {"start": (CommandResult(host="db2", returncode=1, output=""),)},
                *(3, "db2: the session ended early, with status 1"),
            ),
            (
                {"peer": ("listening port=4400", "stages job=receive statuses=0,1,0")},
                *(6, "db2: zstd failed with status 1"),
            ),
            (
                {
                    "peer": (
                        "listening port=4400",
                        f"stderr job=receive stage=2 text={encoded('tar: x: No space left on device')}",
                        "stages job=receive statuses=141,0,2",
                    )
                },
                *(6, "db2: tar failed with status 2: tar: x: No space left on device"),
            ),
            (
                {"peer": ("listening port=4400", "stages job=receive statuses=0,0,137")},
                6,
                "db2: tar was ended by signal 9",
            ),
            (
                {"peer": ("listening port=4400", RECEIVED, "stages job=digest statuses=1")},
                *(7, "db2: digest failed with status 1"),
            ),
            (
                {
                    "publish": (
                        f"error kind=publish text={encoded('was created by another program during the run')}",
                        *END,
                    )
                },
                *(8, "db2: was created by another program during the run"),
            ),
            (
                {"start": (HELLO, "ready port=4400")},
                3,
                "db2: the session sent a malformed event 'ready': it lacks certificate",
            ),
            ({"peer": ("listening",)}, 3, "db2: the session sent a malformed event 'listening': it lacks port"),
            (
                {"peer": ("listening port=4400", "stages job=receive statuses=0,x")},
                3,
                "db2: the session sent a malformed event 'stages': statuses: 'x' is not a number from 0 to 2^64 - 1",
            ),
            (
                {"peer": ("listening port=4400", "progress bytes=")},
                3,
                "db2: the session sent a malformed event 'progress': bytes: '' is not a number from 0 to 2^64 - 1",
            ),
            ({"publish": (RemoteExecutionError("db2: lost"),)}, 3, "db2: lost"),
        ],
    )
    def test_a_target_that_fails_does_not_stop_the_next(
        self, changes: dict[str, Any], status: int, message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        failing, next_one = target_session(**changes), target_session()
        assert transferer(fleet(source_session(2), failing, next_one), 2).run() == [status, 0]
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert errors == [f"db2:/srv/y: failed: {message}"]
        assert next_one.received == ["peer cer1", "receive CODEC", "publish"]
        assert "1 of 2 target(s) succeeded in " in caplog.messages[-1]


class TestSource:
    """One session on the source serves all targets, unless it is busy or has ended before the next one."""

    @pytest.mark.parametrize(
        ("send", "peer", "status", "message"),
        [
            # it still tries to connect, which may take it minutes
            (
                ("sending",),
                ("listening port=4400",),
                6,
                "db1 to db2: no connection to 198.18.0.2 port 4400 within 1 seconds (--connect-timeout);",
            ),
            (
                ("sending",),
                ("listening port=4400", "connected"),
                6,
                "db1 to db2: the stream made no progress for 1 seconds, after 0 B",
            ),
            ((), ("listening port=4400", "stages job=receive statuses=0,0,2"), 6, "db2: tar failed with status 2"),
            # it still digests, and then falls silent
            (
                (SENT.format(0), LISTS[0]),
                ("listening port=4400", "connected", RECEIVED, "stages job=digest statuses=1"),
                *(7, "db2: digest failed with status 1"),
            ),
            ((f"error kind=host text={encoded('disk full')}", *END), ("listening port=4400",), 3, "db1: disk full"),
            (
                ("stages job=send_0",),
                ("listening port=4400",),
                3,
                "db1: the session sent a malformed event 'stages': it lacks statuses",
            ),
        ],
    )
    @pytest.mark.usefixtures("_impatient")
    def test_a_source_that_cannot_serve_the_next_target_is_replaced(
        self,
        send: tuple[Reaction, ...],
        peer: tuple[Reaction, ...],
        status: int,
        message: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        source, next_source = source_session(2, send_0=send), source_session(2)
        remote = fleet(source, target_session(peer=peer), target_session())
        remote.sessions["db1"].append(next_source)
        assert transferer(remote, 2, connect_timeout=1, idle_timeout=1).run() == [status, 0]
        assert f"db2:/srv/y: failed: {message}" in caplog.text
        assert source.received[0] == "send 0 CODEC 198.18.0.2 4400 cer2"
        assert next_source.received == ["send 1 CODEC 198.18.0.2 4400 cer2", "stop"]

    @pytest.mark.parametrize(
        "send",
        [
            (SENT.format(0), *LISTS),
            (SENT.format(0), f"changed job=send_0 paths={encoded('x/a')}"),
            ("stages job=send_0 statuses=0,0,1",),
            (SENT.format(0), LISTS[0], "stages job=digest statuses=123"),
            (SENT.format(0), "stages job=stamps statuses=1"),
        ],
    )
    def test_a_source_that_waits_for_orders_serves_the_next_target_too(self, send: tuple[Reaction, ...]) -> None:
        source = source_session(2, send_0=send)
        peer = ("listening port=4400", "connected", RECEIVED, "manifest digest=other entries=3", *LISTS[1:])
        remote = fleet(source, target_session(peer=peer), target_session(), runs=NO_LISTS)
        assert transferer(remote, 2).run()[1] == 0
        assert source.received == ["send 0 CODEC 198.18.0.2 4400 cer2", "send 1 CODEC 198.18.0.2 4400 cer2", "stop"]

    def test_a_source_that_is_gone_after_its_last_word_does_not_matter(self) -> None:
        source = source_session()
        source.reactions = {**source.reactions, "stop": [RemoteExecutionError("db1: lost")]}
        assert transferer(fleet(source, target_session())).run() == [0]
        assert source.received == ["send 0 CODEC 198.18.0.2 4400 cer2", "stop", "stop", "kill"]

    def test_no_event_of_a_source_makes_a_copy_complete(self, caplog: pytest.LogCaptureFixture) -> None:
        source = source_session()
        source.reactions = {
            **source.reactions,
            "stop": (f"changed job=send_0 paths={encoded('x/a')}", "published", *END),
        }
        target = target_session(
            publish=(f"error kind=publish text={encoded('was created by another program during the run')}", *END)
        )
        assert transferer(fleet(source, target)).run() == [8]
        assert "db2:/srv/y: failed: db2: was created by another program during the run" in caplog.text
        assert "complete" not in caplog.text

    def test_a_target_that_claims_progress_does_not_make_a_stream_move(self, caplog: pytest.LogCaptureFixture) -> None:
        source = source_session(send_0=("sending", "progress bytes=1000"))
        remote = fleet(source, target_session(peer=("listening port=4400", "connected")))
        began, claims = time.monotonic(), [0]

        def claim(_progress: object) -> None:
            # Several times a second: more events would exceed the budget of the host.
            if time.monotonic() - began > 0.1 * len(claims):
                claims.append(1000 * len(claims))
                remote.jobs[-1].react([f"progress bytes={claims[-1]}"])

        made = Transferer("db1", "/srv/x", ["db2"], ["/srv/y"], {"idle_timeout": 1}, remote=remote, observer=claim)
        assert made.run() == [6]
        assert len(claims) > 5
        assert "the stream made no progress for 1 seconds" in caplog.text

    def test_a_target_may_be_slow_with_what_is_in_the_buffers_after_the_end_of_the_source(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(streaming, "_BUFFER_TIME", 3.0)
        source = source_session(send_0=("sending", "progress bytes=1000", SENT.format(0)))
        remote = fleet(source, target_session(peer=("listening port=4400", "connected")))
        began, claims = time.monotonic(), [0]

        def claim(_progress: object) -> None:
            if time.monotonic() - began > 0.2 * len(claims):
                claims.append(10 * len(claims))
                remote.jobs[-1].react([f"progress bytes={claims[-1]}"])

        made = Transferer("db1", "/srv/x", ["db2"], ["/srv/y"], {"idle_timeout": 1}, remote=remote, observer=claim)
        assert made.run() == [6]
        assert time.monotonic() - began >= 3
        assert "the stream made no progress for 1 seconds" in caplog.text

    @pytest.mark.parametrize(
        ("send", "receive"),
        [
            (("progress",), ("listening port=4400", "connected")),
            (("sending", "progress bytes=1000"), ("listening port=4400", "connected")),
            ((SENT.format(0),), ("listening port=4400", "connected", RECEIVED)),
            ((SENT.format(0), *LISTS), ("listening port=4400", "connected", RECEIVED)),
        ],
        ids=["before the stream", "in the stream", "before the checks of the source", "before those of the target"],
    )
    def test_no_step_of_a_copy_lasts_forever(
        self, send: tuple[str, ...], receive: tuple[str, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        remote = fleet(source_session(send_0=send), target_session(peer=receive))
        assert transferer(remote, copy_timeout=1).run() == [6]
        assert "db2:/srv/y: failed: db1 to db2: the copy took more than 1 seconds (--copy-timeout)" in caplog.text


class TestHotCopy:
    @pytest.mark.parametrize(
        ("sent", "received", "message"),
        [
            # the sent bytes may be in the buffers on the path, although few bytes have arrived
            (10_000_000, (300, 300), "the stream made no progress for 1 seconds, after 300 B (--idle-timeout)"),
            (0, (300, 100_000), "the stream made no progress for 1 seconds, after 100 kB (--idle-timeout)"),
            # its first byte may take a backup longer than that
            (9_000, (300, 9_000), "no connection to 198.18.0.2 port 4400 within 4 seconds (--connect-timeout);"),
        ],
    )
    def test_a_stream_that_flowed_may_not_stand_still(
        self, sent: int, received: tuple[int, int], message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = source_session(send_0=("sending", f"progress bytes={sent}"))
        target = target_session(peer=("listening port=4400", *(f"progress bytes={count}" for count in received)))
        remote = fleet(source, target)
        remote.preflights = {**remote.preflights, "db1": answer(database_host())}
        options = {"type": "xtrabackup", "idle_timeout": 1, "connect_timeout": 4}
        made = Transferer("db1", "/run/mysqld/mysqld.sock", ["db2"], ["/srv/y"], options, remote=remote)
        assert made.run() == [6]
        assert f"db2:/srv/y: failed: db1 to db2: {message}" in caplog.text


NO_LISTS = {
    (host, f" {name}\n"): [packed()] for host in ("db1", "db2") for name in ("manifest", "digests", "digests.marks")
}


UNKNOWN = "the content differs; the paths could not be fetched"


class TestChecks:
    def test_the_error_about_a_changed_source_has_the_names(self, caplog: pytest.LogCaptureFixture) -> None:
        changed = f"changed job=send_0 paths={encoded(chr(0).join(['x/a', 'x/new' + chr(10) + 'line', '']))}"
        assert transferer(fleet(source_session(send_0=(SENT.format(0), changed)), target_session())).run() == [7]
        assert "db1:/srv/x: changed during the copy: x/a, x/new\nline" in caplog.text

    @pytest.mark.parametrize(
        ("event", "runs", "message"),
        [
            (
                "manifest digest=m2 entries=3",
                {
                    ("db1", " manifest\n"): [packed("./x//d 755 0 0 - 1.5", "./x/a//f 644 0 0 5 1.5")],
                    ("db2", " manifest\n"): [packed("./x//d 755 0 0 - 1.0")],
                },
                "missing, or different in kind, mode, owner, size or time: x/a (missing)",
            ),
            (
                "manifest digest=m2 entries=3",
                {(host, " manifest\n"): RemoteExecutionError(f"{host}: lost") for host in ("db1", "db2")},
                "missing, or different in kind, mode, owner, size or time; the paths could not be fetched: db1: lost",
            ),
            (
                "attributes digest=a2 entries=3",
                {
                    ("db1", " attributes\n"): [packed("./x//user.a 00")],
                    ("db2", " attributes\n"): [packed("./x//user.a 01")],
                },
                "extended attributes, ACLs or capabilities differ: x (user.a)",
            ),
            (
                "digests digest=d2 entries=2",
                {
                    ("db1", " digests.marks\n"): [packed("0  ./x/a")],
                    ("db2", " digests.marks\n"): [packed("1  ./x/a")],
                },
                "the content differs: x/a",
            ),
            (
                "digests digest=d2 entries=2",
                {
                    ("db1", " digests.marks\n"): RemoteExecutionError("db1: lost"),
                    ("db2", " digests.marks\n"): [packed()],
                },
                f"{UNKNOWN}: db1: lost",
            ),
            (
                "digests digest=d2 entries=2",
                {
                    ("db1", " digests.marks\n"): [packed("0  ./x/a")],
                    ("db2", " digests.marks\n"): CommandResult(host="db2", returncode=1, output=""),
                },
                f"{UNKNOWN}: db2: cannot read /run/transferpy/run.x/digests.marks",
            ),
            (
                "digests digest=d2 entries=2",
                {("db1", " digests.marks\n"): [packed("0  ./x/a")[:20]], ("db2", " digests.marks\n"): [packed()]},
                f"{UNKNOWN}: db1: /run/transferpy/run.x/digests.marks arrived damaged",
            ),
            (
                "digests digest=d2 entries=2",
                {
                    **{(host, " digests.marks\n"): [packed("0 ./x/a", "1 ./x/b")] for host in ("db1", "db2")},
                    ("db1", " digests\n"): [packed("0 ./x/a to x/b")],
                    ("db2", " digests\n"): [packed("1 ./x/a to x/b")],
                },
                "the content differs: x/a to x/b",
            ),
        ],
    )
    def test_the_error_names_the_differences(
        self, event: str, runs: dict[tuple[str, str], Any], message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        events = {word.split()[0]: word for word in (*LISTS, event)}
        peer = ("listening port=4400", "connected", RECEIVED, *events.values())
        target = target_session(peer=peer)
        assert transferer(fleet(source_session(), target, runs=runs)).run() == [7]
        assert f"db2:/srv/y: failed: db2:/srv/y: {message}" in caplog.messages
        assert target.received == ["peer cer1", "receive CODEC", "kill"]

    def test_coarser_times_are_a_warning_with_their_number(self, caplog: pytest.LogCaptureFixture) -> None:
        exact = [f"./x/{number}//f 644 0 0 5 {number}.1234567890" for number in range(7)]
        runs = {
            ("db1", " manifest\n"): [packed(*exact)],
            ("db2", " manifest\n"): [packed(*(record.replace("4567890", "0000000") for record in exact))],
        }
        peer = ("listening port=4400", "connected", RECEIVED, "manifest digest=m2 entries=7", *LISTS[1:])
        target = target_session(peer=peer)
        assert transferer(fleet(source_session(), target, runs=runs)).run() == [0]
        named = ", ".join(f"x/{number} (time)" for number in range(5))
        assert f"7 entries lost a part of a second: {named} and 2 more" in caplog.text

    @pytest.mark.parametrize("digests", [("a", "b"), ("a", None), (None, "a"), (None, None), ("", "")])
    def test_a_stream_whose_digests_do_not_agree_is_damaged(
        self, digests: tuple[str | None, str | None], caplog: pytest.LogCaptureFixture
    ) -> None:
        words = [[f"stream-digest job=x digest={digest}"] if digest is not None else [] for digest in digests]
        source = source_session(send_0=(*words[0], SENT.format(0), *LISTS[:2], "checked"))
        target = target_session(peer=("listening port=4400", *words[1], RECEIVED, *LISTS[:2], "checked"))
        options = {"checksum": False, "parallel_checksum": True}
        assert transferer(fleet(source, target), **options).run() == [7]
        assert "db2:/srv/y: failed: db2:/srv/y: the stream was damaged on the network" in caplog.messages

    def test_a_stream_whose_digests_agree_is_good(self) -> None:
        digest = "stream-digest job=x digest=a"
        source = source_session(send_0=(digest, SENT.format(0), *LISTS[:2], "checked"))
        target = target_session(peer=("listening port=4400", digest, RECEIVED, *LISTS[:2], "checked"))
        assert transferer(fleet(source, target), checksum=False, parallel_checksum=True).run() == [0]

    def test_lists_without_a_digest_agree_on_nothing(self) -> None:
        lists = ("manifest digest= entries=0", "attributes digest= entries=0", "digests digest= entries=0", "checked")
        source = source_session(send_0=(SENT.format(0), *lists))
        target = target_session(peer=("listening port=4400", RECEIVED, *lists))
        assert transferer(fleet(source, target, runs=NO_LISTS)).run() == [7]


class TestMessages:
    @pytest.mark.parametrize(
        ("sent", "received", "culprits"),
        [
            # the stage that touches files is to blame before the network, and victims only where there is nobody else
            (
                "2,141,141",
                "0,1,2",
                "db1: tar failed with status 2; db2: zstd failed with status 1",
            ),
            ("141,141,1", "0,0,137", "db2: tar was ended by signal 9"),
            ("141,141,1", "1,0,0", "db1: socat failed with status 1; db2: socat failed with status 1"),
            ("141,0,0", "141,0,0", "db1: tar was ended by signal 13; db2: socat was ended by signal 13"),
            ("141,141,143", "0,1,0", "db1: socat was ended by signal 15; db2: zstd failed with status 1"),
            ("0,0,0,5", "0,0,0", "db1: send_0 failed with status 5"),
            ("0,0,0", "0,1,2", "db2: zstd failed with status 1"),
            ("0,0,0", "141,1,2", "db2: zstd failed with status 1"),
            ("0,0,0", "1,141,2", "db2: tar failed with status 2"),
            ("0,0,0", "0,137,2", "db2: zstd was ended by signal 9"),
            ("0,0,0", "0,137,137", "db2: zstd was ended by signal 9; db2: tar was ended by signal 9"),
        ],
    )
    def test_the_stage_that_failed_is_named_and_not_its_victims(
        self, sent: str, received: str, culprits: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = source_session(send_0=(f"stages job=send_0 statuses={sent}",))
        target = target_session(peer=("listening port=4400", f"stages job=receive statuses={received}"))
        assert transferer(fleet(source, target)).run() == [6]
        assert f"db2:/srv/y: failed: {culprits}" in caplog.messages

    @pytest.mark.parametrize(
        ("printed", "received", "causes"),
        [
            # socat lost its peer; the others got too little
            (
                {0: "E read(5): Connection reset by peer", 2: "tar: This does not look like a tar archive"},
                "1,1,2",
                "socat",
            ),
            ({0: "E SSL_read(): unexpected eof while reading", 1: "zstd: unexpected end of file"}, "1,1,2", "socat"),
            # nothing reports the loss but the tools whose input ended
            ({1: "/*stdin*\\ : Read error (39) : premature end", 2: "tar: Unexpected EOF in archive"}, "0,1,2", "zstd"),
            ({2: "tar: Unexpected EOF in archive"}, "0,0,2", "tar"),
            # tar has a fault of its own, and then the others have no reader
            ({0: "E write(1): Broken pipe", 1: "zstd: Broken pipe", 2: "tar: x: Cannot open"}, "1,1,2", "tar"),
            ({0: "E write(1): Broken pipe", 2: "tar: x: Wrote only 64512 of 131072 bytes"}, "1,141,2", "tar"),
        ],
    )
    def test_a_failure_that_follows_from_another_one_is_not_named(
        self, printed: dict[int, str], received: str, causes: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        errors = (f"stderr job=receive stage={stage} text={encoded(text)}" for stage, text in printed.items())
        target = target_session(peer=("listening port=4400", *errors, f"stages job=receive statuses={received}"))
        assert transferer(fleet(source_session(send_0=("stages job=send_0 statuses=0,0,0",)), target)).run() == [6]
        (message,) = (message for message in caplog.messages if "failed:" in message)
        assert re.findall("db[12]: ([a-z]+) failed", message) == [causes]

    def test_a_source_whose_fault_cuts_the_stream_is_the_only_cause(self, caplog: pytest.LogCaptureFixture) -> None:
        errors = f"stderr job=receive stage=1 text={encoded('zstd: unexpected end of file')}"
        source = source_session(send_0=("stages job=send_0 statuses=2,0,0",))
        target = target_session(peer=("listening port=4400", errors, "stages job=receive statuses=0,1,2"))
        assert transferer(fleet(source, target)).run() == [6]
        assert "db2:/srv/y: failed: db1: tar failed with status 2" in caplog.messages

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ("full", "is full"),
            ("inodes", "has no free inodes"),
            ("quota", "has a quota, which is exceeded"),
            ("read-only", "is read-only"),
            ("other", "cannot be written: Input/output error"),
        ],
    )
    @pytest.mark.parametrize(
        ("end", "message"),
        [
            (("stages job=receive statuses=141,141,2",), "db2: tar failed with status 2"),
            ((RECEIVED, "stages job=digest statuses=1"), "db2: digest failed with status 1"),
            ((RECEIVED, f"error kind=content text={encoded('lost')}", *END), "lost"),
        ],
    )
    def test_a_fault_of_the_file_system_of_the_target_comes_first(
        self, fault: str, words: str, end: tuple[Reaction, ...], message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        storage = f"storage fault={fault} path={encoded('/srv/y')} text={encoded('Input/output error')}"
        target = target_session(peer=("listening port=4400", storage, *end))
        assert transferer(fleet(source_session(), target)).run()[0] in {6, 7}
        assert f"db2:/srv/y: failed: db2: the file system of /srv/y {words}; {message}" in caplog.messages

    @pytest.mark.parametrize(
        ("on_source", "on_target", "named"),
        [
            ("dead connection: NOBODY", "", "db1"),
            ("", "dead connection: NOBODY", "db2"),
            ("dead connection: NOBODY", "dead connection: NOBODY", "db1 db2"),
            ("dead connection: NOBODY", "dead connection: the peer reset it", "db1"),
            ("E write(5, 0x5, 65536): Broken pipe", "E read(6, 0x7, 262144): Connection timed out", "db2"),
            ("E SSL_write(): Connection timed out", "dead connection: NOBODY", "db1 db2"),
            ("E SSL_write(): Connection timed out", "Ncat: Connection timed out.", "db1 db2"),
        ],
    )
    def test_an_end_without_an_answer_is_the_only_cause(
        self, on_source: str, on_target: str, named: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        nobody = "the peer did not answer for 30 seconds (--stall-timeout)"
        texts = (text.replace("NOBODY", nobody) for text in (on_source, on_target))
        sent, received = (f"text={encoded(text)}" for text in texts)
        source = source_session(send_0=(f"stderr job=send_0 stage=2 {sent}", "stages job=send_0 statuses=137"))
        errors = (f"stderr job=receive stage=0 {received}", "stages job=receive statuses=1,1,2")
        target = target_session(peer=("listening port=4400", "connected", *errors))
        assert transferer(fleet(source, target)).run() == [6]
        (message,) = (message for message in caplog.messages if "failed:" in message)
        assert (
            re.findall(r"(db[12]): the connection to db[12] is dead: the peer did not answer", message) == named.split()
        )
        assert len(message.split("; ")) == len(named.split())

    def test_a_reset_that_only_one_end_reports_follows_from_a_fault_of_the_other_one(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        reset = f"stderr job=send_0 stage=2 text={encoded('dead connection: the peer reset it')}"
        source = source_session(send_0=(reset, "stages job=send_0 statuses=137"))
        for statuses, cause in (("0,0,2", "db2: tar failed with status 2"), ("0,0,0", "db1: the connection to db2 is")):
            target = target_session(
                peer=("listening port=4400", "connected", f"stages job=receive statuses={statuses}")
            )
            caplog.clear()
            assert transferer(fleet(source, target)).run() == [6]
            (message,) = (message for message in caplog.messages if "failed:" in message)
            assert message.startswith(f"db2:/srv/y: failed: {cause}")

    def test_a_dead_connection_of_a_link_probe_is_the_cause_and_does_not_count_for_the_next_target(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        text = encoded("dead connection: the peer did not answer for 30 seconds (--stall-timeout)")
        source = source_session(2)
        probes = {
            "probe 0 198.18.0.2 4400 cer2": (f"stderr job=send_probe stage=1 text={text}", "probed"),
            "probe 1 198.18.0.2 4400 cer2": ("probed",),
        }
        source.reactions = {**source.reactions, **probes}
        targets = (target_session(peer_c1=("probing port=4400",)) for _ in range(2))
        assert transferer(fleet_with_much(source, *targets), 2).run() == [6, 0]
        assert "db2:/srv/y: failed: db1: the connection to db2 is dead: the peer did not answer" in caplog.text

    def test_a_run_that_succeeds_logs_its_steps(self, caplog: pytest.LogCaptureFixture) -> None:
        assert transferer(fleet(source_session(), target_session())).run() == [0]
        recorded = [message.partition(" in ")[0] for message in caplog.messages]
        assert recorded == [
            "db1:/srv/x: 20 file(s), 4 MB, to db2:/srv/y (TLS 1.3, xxh128 of every file)",
            "db2:/srv/y: compression: zstd -1; no sample could be taken",
            "db2:/srv/y: streams: 1: the source has less than 2 GiB of data",
            "db2: port 4400 listens for db1",
            "db2: received 4 MB",
            "db2: checksums of 3 entries agree with the source",
            "db2:/srv/y/x: complete",
            "db2:/srv/y/x: ok",
            "1 of 1 target(s) succeeded",
        ]

    def test_a_link_that_nobody_can_look_at_is_not_looked_at(self, caplog: pytest.LogCaptureFixture) -> None:
        source, target = source_session(), target_session(peer_c1=("link", "probing port=4400"))
        assert transferer(fleet_with_much(source, target)).run() == [0]
        assert "db2:/srv/y: compression: zstd -1; a sample shrinks to 10%, at 100 MB/s on one core" in caplog.messages
        assert source.received == ["send 0 CODEC 198.18.0.2 4400 cer2", "stop"]

    @pytest.mark.usefixtures("_impatient")
    def test_a_link_that_transports_nothing_is_reported(self, caplog: pytest.LogCaptureFixture) -> None:
        source, target = source_session(), target_session(peer_c1=("probing port=4401",))
        source.reactions = {**source.reactions, "probe 0 198.18.0.2 4401 cer2": ()}
        assert transferer(fleet_with_much(source, target), connect_timeout=1).run() == [6]
        reported = (
            "db2:/srv/y: failed: db1 to db2: no connection to 198.18.0.2 port 4401 within 1 seconds (--connect-timeout)"
        )
        assert reported in caplog.text

    @pytest.mark.usefixtures("_impatient")
    def test_a_link_that_another_took_stays_unknown(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("transferpy.engine.root_cause._OTHER_END_TIME", 0.5)
        source, target = source_session(), target_session(peer_c1=("probing port=4401",))
        source.reactions = {**source.reactions, "probe 0 198.18.0.2 4401 cer2": ("probed",)}
        assert transferer(fleet_with_much(source, target)).run() == [0]
        assert "db2:/srv/y: compression: zstd -1; a sample shrinks to 10%, at 100 MB/s on one core" in caplog.messages

    def test_the_measured_rate_of_the_link_decides_on_the_codec(self, caplog: pytest.LogCaptureFixture) -> None:
        link = "link bytes=10000000 microseconds=1000000"
        source, target = source_session(), target_session(peer_c1=("probing port=4401", link))
        source.reactions = {**source.reactions, "probe 0 198.18.0.2 4401 cer2": ("probed",)}
        assert transferer(fleet_with_much(source, target)).run() == [0]
        assert "; the link carries 10 MB/s" in caplog.text

    def test_the_buffers_of_the_stream_follow_from_the_measured_link(self, caplog: pytest.LogCaptureFixture) -> None:
        link = "link bytes=100000000 microseconds=1000000 rtt=35000"
        peer = target_session().reactions["receive CODEC"]
        source, target = source_session(), target_session(peer_c1=("probing port=4401", link))
        target.reactions = {**target.reactions, "receive CODEC 10500000": peer}
        source.reactions = {
            **source.reactions,
            "probe 0 198.18.0.2 4401 67108864 cer2": ("probed",),
            "send 0 CODEC 198.18.0.2 4400 10500000 cer2": source.reactions["send 0 CODEC 198.18.0.2 4400 cer2"],
        }
        made = transferer(fleet_with_much(source, target, buffers=FORCED))
        assert made.run() == [0]
        text = "link: 100 MB/s, round-trip time 35.0 ms; send buffer 10.5 MB, receive buffer 10.5 MB"
        assert f"db2:/srv/y: {text}" in caplog.messages
        (report,) = made.report.targets
        assert (report.link_rate, report.round_trip_seconds) == (100e6, 0.035)
        assert (report.send_buffer, report.receive_buffer) == (10_500_000, 10_500_000)
        assert_valid(made.report)

    def test_a_link_without_a_round_trip_time_leaves_the_buffers_to_the_kernel(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        link = "link bytes=100000000 microseconds=1000000"
        source, target = source_session(), target_session(peer_c1=("probing port=4401", link))
        source.reactions = {**source.reactions, "probe 0 198.18.0.2 4401 67108864 cer2": ("probed",)}
        assert transferer(fleet_with_much(source, target, buffers=FORCED)).run() == [0]
        text = "send buffer as the kernel chooses, receive buffer as the kernel chooses"
        assert f"db2:/srv/y: link: 100 MB/s, round-trip time unknown; {text}" in caplog.messages

    def test_an_uncompressed_stream_has_a_probe_too(self) -> None:
        link = "link bytes=100000000 microseconds=1000000 rtt=35000"
        source, target = source_session(), target_session(peer_c1=("probing port=4401", link))
        source.reactions = {**source.reactions, "probe 0 198.18.0.2 4401 cer2": ("probed",)}
        made = transferer(fleet_with_much(source, target), compress=False)
        assert made.run() == [0]
        assert made.report.targets[0].link_rate == 100e6

    def test_a_stream_that_fails_before_its_listener_is_ready_is_reported(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        source, target = source_session(), target_session(peer=("stages job=receive statuses=1,0,0",))
        assert transferer(fleet(source, target)).run() == [6]
        assert "db2:/srv/y: failed: db2: socat failed with status 1" in caplog.messages
        assert source.received == ["stop"]

    def test_the_failure_of_the_source_is_the_cause_of_missing_files_on_the_target(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = source_session(send_0=("stages job=send_0 statuses=2,0,0",))
        missing = f"error kind=content text={encoded('x is not there')}"
        target = target_session(peer=("listening port=4400", RECEIVED, missing, *END))
        assert transferer(fleet(source, target)).run() == [6]
        assert "db2:/srv/y: failed: db1: tar failed with status 2" in caplog.messages

    def test_notes_are_warnings(self, caplog: pytest.LogCaptureFixture) -> None:
        remote = fleet(source_session(), target_session())
        remote.preflights = {**remote.preflights, "db1": answer(source_host(source=source_facts(sockets=2)))}
        assert transferer(remote).run() == [0]
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "db1:/srv/x: sockets are not copied: 2"
        ]

    def test_a_long_stream_logs_its_progress(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("transferpy.output.run_log._PAUSE", -1.0)
        source = source_session(send_0=("sending", "progress bytes=1000000"))
        target = target_session(peer=("listening port=4400", "connected"))
        assert transferer(fleet(source, target), connect_timeout=1, idle_timeout=1).run() == [6]
        assert any(message.startswith("db2:/srv/y: 1 MB of 4 MB (25%) sent, ") for message in caplog.messages)

    def test_bytes_that_nobody_receives_do_not_count_as_sent(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("transferpy.output.run_log._PAUSE", -1.0)
        source = source_session(send_0=("sending", "progress bytes=1000000"))
        target = target_session(peer=("listening port=4400",))
        assert transferer(fleet(source, target), connect_timeout=1, idle_timeout=1).run() == [6]
        assert not [message for message in caplog.messages if "1 MB of" in message]
        assert "no connection to " in caplog.text

    def test_a_session_that_is_never_ready_is_named(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("transferpy.engine.stream_run._READY_TIME", 0.2)
        assert transferer(fleet(source_session(), target_session(start=(HELLO,)))).run() == [3]
        assert "db2:/srv/y: failed: db2: not ready within 0 seconds" in caplog.messages

    @pytest.mark.parametrize(
        ("number", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (999.6, "1 kB"),
            (1000, "1 kB"),
            (123_456, "123 kB"),
            (999_499, "999 kB"),
            (999_500, "1 MB"),
            (5_432_100_000, "5.43 GB"),
            (12e15, "1.2e+04 TB"),
        ],
    )
    def test_sizes_are_for_people(self, number: float, text: str) -> None:
        assert size(number) == text


class TestEnd:
    @pytest.mark.parametrize("ending", [Interrupted(15), ZeroDivisionError("a bug")])
    def test_a_signal_or_a_bug_ends_the_sessions_before_it_goes_on(self, ending: BaseException) -> None:
        source, target = source_session(), target_session(publish=(ending,))
        with pytest.raises(type(ending)):
            transferer(fleet(source, target)).run()
        assert source.received[-1] in {"stop", "kill"}
        assert target.received == ["peer cer1", "receive CODEC", "publish", "kill"]

    def test_a_session_that_cannot_be_ended_is_a_warning_and_does_not_hide_the_failure(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        lost = {"peer": ("listening port=4400", "stages job=receive statuses=0,0,2")}
        target = target_session(**lost, kill=(RemoteExecutionError("db2: cannot be reached"),))
        assert transferer(fleet(source_session(), target)).run() == [6]
        assert (
            "db2: could not be cleaned up; the next run on this host will do it: db2: cannot be reached"
            " (/run/transferpy/run.x)" in caplog.messages
        )

    @pytest.mark.parametrize("end", ["end status=137 undone=no", "beat"])
    def test_the_next_script_undoes_the_changes_that_a_session_left(
        self, end: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        killed = (end, CommandResult(host="db2", returncode=137, output=""))
        target = target_session(peer=("listening port=4400", "stages job=receive statuses=0,0,2"), kill=killed)
        runs = {("db2", "\nrecover_stale_runs"): ["@transferpy RUN finished-dead-run run=r1 pid=100"]}
        assert transferer(fleet(source_session(), target, runs=runs)).run() == [6]
        assert "db2: undid the changes of the stale run r1" in caplog.messages
