"""The continuation of a stream after its connection broke, with scripted sessions."""

from collections.abc import Sequence
from typing import Any

import pytest
from fleet import V4_ROUTE, source_host, target_facts, target_host
from scripted import ScriptedRemote, ScriptedSession, answer, encoded
from scripted_runs import LISTS, RECEIVED, SENT, source_session, target_session, transferer

from transferpy.engine import attempts
from transferpy.model.facts import BufferFacts
from transferpy.Transferer import Transferer

RELAYS = BufferFacts(send=4 << 20, receive=6 << 20, forced=False, relays=True)
FLOWS = ("listening port=4400", "established connection=0", "connected", "progress bytes=0", "progress bytes=100")
BROKEN = "broken connection={} position={} status=1 text=" + encoded("socat: Connection reset by peer\n")
CHECKED = (RECEIVED, *LISTS)
SEND = "send 0 CODEC 198.18.0.2 4400 cer2"


@pytest.fixture(autouse=True)
def all_messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def made(
    source: dict[str, Sequence[str]], target: dict[str, Sequence[str]], **options: Any
) -> tuple[Transferer, Any, Any]:
    """Return a run between hosts with relays, and its two sessions with these reactions to commands."""
    sending = source_session(send_0=source.pop("send", ("sending",)))
    receiving = target_session(peer=target.pop("receive", FLOWS))
    sending.reactions = {**sending.reactions, "finish 0": (SENT.format(0), *LISTS), "abandon 0": (), **source}
    receiving.reactions = {**receiving.reactions, "abandon 0": (), **target}
    hosts = (
        source_host(routes={0: V4_ROUTE}, buffers=RELAYS, memory=1 << 30),
        target_host("db2", targets={0: target_facts()}, buffers=RELAYS),
    )
    sessions: dict[str, list[ScriptedSession | BaseException]] = {"db1": [sending], "db2": [receiving]}
    remote = ScriptedRemote(preflights={facts.host: answer(facts) for facts in hosts}, sessions=sessions)
    return transferer(remote, **options), sending, receiving


def commands(session: Any) -> list[str]:
    return [line for line in session.received if not line.startswith(("peer", "receive", "send", "publish", "stop"))]


class TestLanes:
    SEND = "send 0 CODEC 198.18.0.2 4400,4401 cer2"
    LISTENING = ("listening port=4400 more=4401", "established connection=0 lane=1", *FLOWS[1:])
    BROKEN = BROKEN.format(0, 400) + " lane=1"

    def made(
        self, source: dict[str, Sequence[str]], target: dict[str, Sequence[str]], **options: Any
    ) -> tuple[Transferer, Any, Any]:
        """As the function of this name, with two lanes."""
        run, sending, receiving = made({}, {}, streams=2, **options)
        none: dict[str, Sequence[str]] = {"abandon 0": (), "abandon 1": ()}
        sending.reactions = {**sending.reactions, **none, **source}
        receiving.reactions = {**receiving.reactions, "peer cer1": (), **none, **target}
        return run, sending, receiving

    def test_each_lane_is_complete_by_itself(self) -> None:
        run, sending, receiving = self.made(
            {
                self.SEND: ("sending", "sent bytes=500 lane=1"),
                "finish 1": ("stages job=send_0-1 statuses=0,0,0,0",),
                "directories": ("sent bytes=900",),
                "finish 0": ("stages job=send_0 statuses=0,0,0,0", *LISTS),
            },
            {
                "receive CODEC 2": self.LISTENING,
                "total 1 500": ("complete lane=1", "stages job=receive-1 statuses=0,0,0"),
                "total 0 900": ("complete", "stages job=receive statuses=0,0,0", *LISTS),
            },
        )
        assert run.run() == [0]
        assert commands(sending) == ["finish 1", "directories", "finish 0"]
        assert commands(receiving) == ["total 1 500", "total 0 900"]

    def test_a_broken_lane_continues_while_the_other_one_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        run, sending, receiving = self.made(
            {
                self.SEND: ("sending", self.BROKEN),
                "resume 1 1 300": ("sent bytes=500 lane=1",),
                "finish 1": ("stages job=send_0-1 statuses=0,0,0,0",),
                "directories": ("sent bytes=900",),
                "finish 0": ("stages job=send_0 statuses=0,0,0,0", *LISTS),
            },
            {
                "receive CODEC 2": self.LISTENING,
                "reopen 1 1": ("reopened connection=1 position=300 lane=1", "established connection=1 lane=1"),
                "total 1 500": (
                    "established connection=1 lane=1",
                    "complete lane=1",
                    "stages job=receive-1 statuses=0,0,0",
                ),
                "total 0 900": ("complete", "stages job=receive statuses=0,0,0", *LISTS),
            },
        )
        assert run.run() == [0]
        assert commands(sending) == ["resume 1 1 300", "finish 1", "directories", "finish 0"]
        assert commands(receiving) == ["reopen 1 1", "total 1 500", "total 0 900"]
        assert "db1 to db2, stream 2 of 2: attempt 1 of 10 to continue the stream at byte 300" in caplog.messages
        assert run.report.targets[0].reconnects == 1

    def test_a_lane_that_is_lost_ends_the_stream(self) -> None:
        run, sending, receiving = self.made(
            {self.SEND: ("sending", self.BROKEN), "resume 1 1 300": (BROKEN.format(1, 400) + " lane=1",)},
            {"receive CODEC 2": self.LISTENING, "reopen 1 1": ("reopened connection=1 position=300 lane=1",)},
            retries=1,
        )
        sending.reactions["abandon 1"] = ("stages job=send_0-1 statuses=0,0,0,1",)
        receiving.reactions["abandon 1"] = ("stages job=receive-1 statuses=1,0,0",)
        assert run.run() == [6]
        assert commands(sending) == ["resume 1 1 300", "abandon 0", "abandon 1"]
        (report,) = run.report.targets
        assert report.error.startswith("db1 to db2, stream 2 of 2: the connection broke, and the stream could not")


def test_the_length_of_the_stream_completes_it() -> None:
    run, sending, receiving = made({"send": ("sending", "sent bytes=500")}, {"total 0 500": ("complete", *CHECKED)})
    assert run.run() == [0]
    assert (commands(sending), commands(receiving)) == (["finish 0"], ["total 0 500"])


@pytest.mark.parametrize("end", ["source", "target"])
def test_a_broken_connection_continues_at_the_byte_that_the_target_needs(
    end: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = BROKEN.format(0, 400)
    run, sending, receiving = made(
        {"send": ("sending", *[broken] * (end == "source")), "resume 0 1 300": ("sent bytes=500",)},
        {
            "receive": (*FLOWS, *[broken] * (end == "target")),
            "reopen 0 1": ("reopened connection=1 position=300",),
            "total 0 500": ("established connection=1", "complete", *CHECKED),
        },
    )
    assert run.run() == [0]
    assert commands(sending) == ["resume 0 1 300", "finish 0"]
    assert commands(receiving) == ["reopen 0 1", "total 0 500"]
    host = {"source": "db1", "target": "db2"}[end]
    assert f"db1 to db2: the connection broke at byte 400: {host}: socat: Connection reset by peer" in caplog.messages
    assert "db1 to db2: attempt 1 of 10 to continue the stream at byte 300" in caplog.messages


def test_a_connection_that_continues_is_in_the_report(caplog: pytest.LogCaptureFixture) -> None:
    run, _, _ = made(
        {"send": ("sending", BROKEN.format(0, 400)), "resume 0 1 300": ("sent bytes=500",)},
        {
            "reopen 0 1": ("reopened connection=1 position=300", "established connection=1", BROKEN.format(0, 9)),
            "total 0 500": ("complete", *CHECKED),
        },
    )
    assert run.run() == [0]
    (report,) = run.report.targets
    assert report.reconnects == 1  # the late event about the first connection has no effect
    assert report.interrupted_seconds > 0
    assert any(text.startswith("db1 to db2: the stream continues at byte 300, after ") for text in caplog.messages)


def test_the_end_of_the_last_connection_is_no_break_if_all_bytes_have_arrived() -> None:
    run, sending, receiving = made(
        {"send": ("sending", "sent bytes=500")},
        {"receive": (*FLOWS, "broken connection=0 position=500 status=0"), "total 0 500": ("complete", *CHECKED)},
    )
    assert run.run() == [0]
    assert (commands(sending), commands(receiving)) == (["finish 0"], ["total 0 500"])


def test_attempts_without_a_byte_are_limited(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(attempts, "_LONGEST_PAUSE", 0.0)
    run, sending, receiving = made(
        {
            "send": ("sending", BROKEN.format(0, 400)),
            **{f"resume 0 {n} 300": (BROKEN.format(n, 400),) for n in (1, 2, 3)},
        },
        {f"reopen 0 {n}": (f"reopened connection={n} position=300",) for n in (1, 2, 3)},
        retries=3,
    )
    sending.reactions["abandon 0"] = ("stages job=send_0 statuses=0,0,1",)
    receiving.reactions["abandon 0"] = ("stages job=receive statuses=1,0,0",)
    assert run.run() == [6]
    assert commands(sending)[:4] == ["resume 0 1 300", "resume 0 2 300", "resume 0 3 300", "abandon 0"]
    (report,) = run.report.targets
    assert report.error.startswith(
        "db1 to db2: the connection broke, and the stream could not continue: attempts: 3 (--retries), seconds: "
    )
    assert report.error.endswith("; it broke at byte 400: db1: socat: Connection reset by peer")
    assert caplog.text.count("the connection broke at byte 400: db1: socat") == 4


def test_a_stream_without_a_connection_for_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_LONGEST_OUTAGE", 0.0)
    run, sending, receiving = made({"send": ("sending", BROKEN.format(0, 400))}, {})
    sending.reactions["abandon 0"] = ("stages job=send_0 statuses=0,0,1",)
    receiving.reactions["abandon 0"] = ("stages job=receive statuses=1,0,0",)
    assert run.run() == [6]
    assert commands(receiving)[0] == "abandon 0"


@pytest.mark.parametrize("connection", [0, 1])
def test_a_hot_copy_whose_redo_log_is_overwritten_is_lost(connection: int) -> None:
    overwritten = f"redo-overwritten connection={connection}"
    run, sending, receiving = made(
        {
            "send": ("sending", BROKEN.format(0, 400)),
            "resume 0 1 300": (overwritten, BROKEN.format(1, 400)),
            "resume 0 2 300": ("sent bytes=500",),
        },
        {
            "reopen 0 1": ("reopened connection=1 position=300",),
            "reopen 0 2": ("reopened connection=2 position=300", "established connection=2"),
            "total 0 500": ("complete", *CHECKED),
        },
    )
    sending.reactions["abandon 0"] = ("stages job=send_0 statuses=0,0,1",)
    receiving.reactions["abandon 0"] = ("stages job=receive statuses=1,0,0",)
    if connection == 0:  # the event is late: it is about an earlier break
        assert run.run() == [0]
        return
    assert run.run() == [6]
    assert commands(sending)[:2] == ["resume 0 1 300", "abandon 0"]
    expected = "Connection reset by peer; db1: the server has overwritten redo log that mariadb-backup had to read"
    assert expected in run.report.targets[0].error


@pytest.mark.parametrize("connected", [(), ("established connection=0",)])
def test_a_stream_that_breaks_before_its_first_byte_continues_if_it_had_a_connection(
    connected: tuple[str, ...],
) -> None:
    flows = ("listening port=4400", *connected)
    run, sending, receiving = made(
        {"send": ("sending", BROKEN.format(0, 0)), "resume 0 1 0": ("sent bytes=500",)},
        {
            "receive": flows,
            "reopen 0 1": ("reopened connection=1 position=0", "established connection=1"),
            "total 0 500": ("complete", *CHECKED),
        },
    )
    error = f"stderr job=send_0 stage=2 text={encoded('socat: no route')}"
    sending.reactions["abandon 0"] = (error, "stages job=send_0 statuses=0,0,1")
    receiving.reactions["abandon 0"] = ("stages job=receive statuses=1,0,0",)
    assert run.run() == [0 if connected else 6]
    assert commands(sending)[:2] == (["resume 0 1 0", "finish 0"] if connected else ["abandon 0", "abandon 0"])
    if not connected:
        assert "socat: no route" in run.report.targets[0].error


def test_a_stage_that_fails_is_not_retried() -> None:
    run, sending, _ = made(
        {"send": ("sending",)},
        {
            "receive": (
                *FLOWS,
                f"stderr job=receive stage=2 text={encoded('tar: no space')}",
                "stages job=receive statuses=0,0,2",
            )
        },
    )
    sending.reactions["abandon 0"] = (f"{BROKEN.format(0, 400)}", "stages job=send_0 statuses=0,0,1")
    assert run.run() == [6]
    assert commands(sending)[0] == "abandon 0"
    assert "tar: no space" in run.report.targets[0].error


def test_without_retries_there_is_no_relay() -> None:
    run, sending, receiving = made({"send": (SENT.format(0), *LISTS)}, {"receive": (*FLOWS, *CHECKED)}, retries=0)
    assert run.run() == [0]
    assert (commands(sending), commands(receiving)) == ([], [])


class TestAttempts:
    def made(self, limit: int = 10) -> tuple[attempts.Attempts, list[float]]:
        time = [1000.0]
        return attempts.Attempts(limit, lambda: time[0]), time

    def test_interruptions_without_progress_count_as_one(self) -> None:
        """A receiver reports connections that carry nothing, for hours."""
        made, time = self.made()
        credit = 0.0
        for _ in range(100):
            made.begin()
            made.add()
            made.continue_at(5 << 20)
            time[0] += 1
            made.succeed()
            credit = max(credit, made.outage_after(0.0, is_interrupted=False))
            time[0] += 2
        assert credit == 1
        made.begin()
        assert made.are_late
        assert made.pause == 8

    def test_new_data_and_a_lasting_connection_begin_anew(self) -> None:
        made, time = self.made(limit=3)
        for number in range(20):
            made.begin()
            made.add()
            made.continue_at(number << 20)
            assert made.number == 1
            time[0] += 9
            made.succeed()
            time[0] += 9
        for _ in range(20):
            time[0] += 9
            made.begin()
            assert not made.are_late
            made.add()
            made.continue_at(20 << 20)
            made.succeed()
            time[0] += 10

    def test_the_attempts_of_one_break_have_longer_and_longer_pauses(self) -> None:
        made, _ = self.made(limit=7)
        made.begin()
        pauses = []
        while not made.are_used_up:
            pauses.append(made.pause)
            made.add()
        assert pauses == [0, 1, 2, 4, 8, 8, 8]

    def test_an_interruption_counts_until_the_source_makes_progress(self) -> None:
        made, time = self.made()
        made.begin()
        time[0] += 500
        assert made.outage_after(1000.0, is_interrupted=True) == 60
        assert made.outage_after(1000.0, is_interrupted=False) == 0
        made.succeed()
        time[0] += 500
        assert made.outage_after(1000.0, is_interrupted=False) == 60
        assert made.outage_after(1501.0, is_interrupted=False) == 0


def test_each_connection_has_its_own_token_which_both_ends_get() -> None:
    run, sending, receiving = made(
        {
            "send": ("sending", BROKEN.format(0, 400)),
            "resume 0 1 300": (BROKEN.format(1, 400),),
            "resume 0 2 300": ("sent bytes=500",),
        },
        {
            "reopen 0 1": ("reopened connection=1 position=300",),
            "reopen 0 2": ("reopened connection=2 position=300", "established connection=2"),
            "total 0 500": ("complete", *CHECKED),
        },
    )
    assert run.run() == [0]
    assert sending.tokens == receiving.tokens
    assert len({*sending.tokens}) == 3


def test_a_listener_that_has_ended_is_not_connected_to() -> None:
    run, sending, _ = made(
        {"send": ("sending", BROKEN.format(0, 400)), "resume 0 2 300": ("sent bytes=500",)},
        {
            "reopen 0 1": (BROKEN.format(1, 300), "reopened connection=1 position=300"),
            "reopen 0 2": ("reopened connection=2 position=300", "established connection=2"),
            "total 0 500": ("complete", *CHECKED),
        },
    )
    assert run.run() == [0]
    assert commands(sending) == ["resume 0 2 300", "finish 0"]
