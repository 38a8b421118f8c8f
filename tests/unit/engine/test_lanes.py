"""Several streams: their number, their directories, and the cause of a failure, with scripted sessions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fleet import V4_ROUTE, source_facts, source_host, target_facts, target_host
from reports import assert_valid
from scripted import ScriptedSession, answer, encoded
from scripted_runs import LISTS, fleet, fleet_with_much, source_session, target_session, transferer

from transferpy.model.facts import BufferFacts

PORTS = "4400,4401,4402"
SEND = f"send 0 CODEC 198.18.0.2 {PORTS} cer2"
LISTENING = "listening port=4400 more=4401,4402"
RECEIVED = tuple(f"stages job=receive{lane} statuses=0,0,0" for lane in ("-1", "-2", ""))
SENT = tuple(f"stages job=send_0{lane} statuses=0,0,0,0" for lane in ("-2", "-1"))
FIRST_SENT = ("stages job=send_0 statuses=0,0,0,0", *LISTS)


@pytest.fixture(autouse=True)
def _all_messages(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def sessions(
    sent: Sequence[str] = SENT,
    received: Sequence[str] = (LISTENING, "connected", *RECEIVED, *LISTS),
    ports: str = SEND,
) -> tuple[ScriptedSession, ScriptedSession]:
    """Return a source and a target of three lanes, with these events."""
    source, target = source_session(), target_session()
    source.reactions = {**source.reactions, ports: sent, "directories": FIRST_SENT}
    target.reactions = {**target.reactions, "receive CODEC 3": received}
    return source, target


def test_the_directories_follow_when_all_other_lanes_are_unpacked() -> None:
    source, target = sessions()
    made = transferer(fleet(source, target), streams=3)
    assert made.run() == [0]
    assert source.received == [SEND, "directories", "stop"]
    assert target.received == ["peer cer1", "receive CODEC 3", "publish"]
    assert made.report.targets[0].streams == 3
    assert_valid(made.report)


@pytest.mark.parametrize("failed", ["send_0-1", "send_0-2"])
def test_a_lane_that_fails_is_the_one_cause_and_no_directories_follow(
    failed: str, caplog: pytest.LogCaptureFixture
) -> None:
    sent = (f"stderr job={failed} stage=1 text={encoded('tar: broken')}", f"stages job={failed} statuses=0,2,0,0")
    source, target = sessions(sent, received=(LISTENING, "connected", "stages job=receive statuses=1,0,0"))
    assert transferer(fleet(source, target), streams=3).run() == [6]
    assert "directories" not in source.received
    assert "db2:/srv/y: failed: db1: tar failed with status 2: tar: broken" in caplog.messages


def test_two_lanes_with_the_same_failure_are_one_cause(caplog: pytest.LogCaptureFixture) -> None:
    sent = [f"stages job=send_0-{lane} statuses=0,2,0,0" for lane in (1, 2)]
    source, target = sessions(sent, received=(LISTENING, "connected", "stages job=receive statuses=1,0,0"))
    assert transferer(fleet(source, target), streams=3).run() == [6]
    assert "db2:/srv/y: failed: db1: tar failed with status 2" in caplog.messages


def test_fewer_lanes_than_requested_are_logged_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    listening = f"listening port=4400 more=4401 obstacle={encoded('no further port')}"
    received = (listening, "connected", *RECEIVED[::2], *LISTS)
    source, target = sessions(SENT[1:], received, ports="send 0 CODEC 198.18.0.2 4400,4401 cer2")
    made = transferer(fleet(source, target), streams=3)
    assert made.run() == [0]
    assert "db2: 2 stream(s) instead of 3: no further port" in caplog.messages
    assert made.report.targets[0].streams == 2


def test_a_target_cannot_open_more_lanes_than_requested() -> None:
    received = (f"listening port=4400 more={','.join(map(str, range(4401, 4410)))}", "connected", *RECEIVED, *LISTS)
    source, target = sessions(received=received)
    assert transferer(fleet(source, target), streams=3).run() == [0]


def test_a_target_with_too_many_ports_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    received = (f"listening port=4400 more={','.join(map(str, range(4401, 4417)))}",)
    source, target = sessions(received=received)
    assert transferer(fleet(source, target), streams=3).run() == [3]
    assert "'listening': more: more than 15 ports" in caplog.text


def test_no_connection_names_all_ports(caplog: pytest.LogCaptureFixture) -> None:
    source, target = sessions(sent=("sending",), received=(LISTENING,))
    assert transferer(fleet(source, target), streams=3, connect_timeout=1).run() == [6]
    assert "no connection to 198.18.0.2 port 4400, 4401, 4402 within 1 seconds" in caplog.text


def test_one_stream_in_spite_of_a_number_is_logged_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    source = source_host(routes={0: V4_ROUTE}, source=source_facts(links_error="open_tree: no"))
    remote = fleet(source_session(), target_session())
    remote.preflights = {
        facts.host: answer(facts) for facts in (source, target_host("db2", targets={0: target_facts()}))
    }
    assert transferer(remote, streams=3).run() == [0]
    reason = "the source host cannot run tar so that it follows no links: open_tree: no"
    assert f"db1: 1 stream(s) instead of 3: {reason}" in caplog.messages


def choice(
    caplog: pytest.LogCaptureFixture, *, gigabytes: int = 4, link: int = 100, sample: str = "", **options: Any
) -> str:
    """Return the line of the log that has the number of streams, after a probe of that many MB/s."""
    link_event = f"link bytes={link * 1_000_000} microseconds=1000000" if link else "link"
    source, target = source_session(), target_session(peer_c1=("probing port=4401", link_event))
    two = {"send 0 CODEC 198.18.0.2 4400,4401 cer2": SENT[1:], "directories": FIRST_SENT}
    source.reactions = {**source.reactions, **two, "probe 0 198.18.0.2 4401 cer2": ("probed",)}
    received = ("listening port=4400 more=4401", "connected", *RECEIVED[::2], *LISTS)
    target.reactions = {**target.reactions, "receive CODEC 2": received}
    remote = fleet_with_much(source, target, gigabytes=gigabytes)
    if sample:
        source.start = [*source.start[:-1], sample]
    assert transferer(remote, **options).run() == [0]
    (line,) = [message for message in caplog.messages if ": streams: " in message]
    return line.removeprefix("db2:/srv/y: streams: ")


def test_the_choice_of_the_number_is_logged_with_the_rates(caplog: pytest.LogCaptureFixture) -> None:
    expected = "1: the link carries 100 MB/s of the data; calculated for 4 and 4 processors: 1 stream(s) 845 MB/s"
    assert choice(caplog, compress=False) == expected


def test_the_rate_of_a_link_without_a_limit_is_logged_as_the_least_one(caplog: pytest.LogCaptureFixture) -> None:
    expected = (
        "2: the link carries at least 800 MB/s of the data; calculated for 4 and 4 processors: 1 stream(s) 845 MB/s,"
        " 2 stream(s) 1.28 GB/s"
    )
    assert choice(caplog, compress=False, link=800) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gigabytes": 1}, "1: the source has less than 2 GiB of data"),
        ({"port": 4400}, "1: a firewall may admit only the port of --port"),
        ({"link": 0}, "1: the rate of the link is unknown"),
        (
            {"compress": True, "sample": "sample size=0 trials="},
            "1: no sample of the data could be taken, so the speed of the compressor is unknown",
        ),
    ],
)
def test_one_stream_without_a_choice_is_logged_with_the_reason(
    options: dict[str, Any], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert choice(caplog, **{"compress": False, **options}) == expected


def test_the_relays_of_all_streams_have_a_limit_of_their_memory(caplog: pytest.LogCaptureFixture) -> None:
    buffers = BufferFacts(send=32 << 20, receive=32 << 20, forced=False, relays=True)
    source, target = sessions(SENT[1:], ports="send 0 CODEC 198.18.0.2 4400,4401 cer2")
    received = ("listening port=4400 more=4401", "connected", *RECEIVED[::2], *LISTS)
    target.reactions = {**target.reactions, "receive CODEC 2": received}
    hosts = (
        source_host(routes={0: V4_ROUTE}, source=source_facts(files=20), buffers=buffers, memory=4 << 30),
        target_host("db2", targets={0: target_facts()}, buffers=replace(buffers, receive=120 << 20)),
    )
    remote = fleet(source, target)
    remote.preflights = {facts.host: answer(facts) for facts in hosts}
    made = transferer(remote, streams=3)
    assert made.run() == [0]
    reason = "more of them need over 336 MB of memory to continue broken connections (--retries 0: none)"
    assert f"db1: 2 stream(s) instead of 3: {reason}" in caplog.messages
