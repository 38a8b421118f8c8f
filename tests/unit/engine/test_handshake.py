"""The reason for which there is no connection, as one sentence, from the packets that both hosts saw."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from scripted import END, encoded
from scripted_runs import fleet, source_session, target_session, transferer

from transferpy.agent.protocol import Handshake
from transferpy.engine.handshake import ConnectionAttempt, reason

QUIET = Handshake(watched=True, examined=True, listed=True)
SENT = replace(QUIET, seen=("open-out",))
ARRIVED = replace(QUIET, seen=("open-in",))
UNWATCHED = Handshake(watched=False, examined=True)
ATTEMPT = ConnectionAttempt(
    source="db1", target="db2", source_address="198.18.0.1", target_address="198.18.0.2", port=4400, sent=SENT
)
ALLOW = "allow 198.18.0.1 to connect to 198.18.0.2 port 4400"


def saw(seen: str, arriving: str = "", leaving: str = "", refusers: tuple[str, ...] = ()) -> Handshake:
    """Return the packets that a host saw, from the names of their kinds with blanks between them."""
    return replace(QUIET, seen=tuple(seen.split()), arriving=arriving, leaving=leaving, refusers=refusers)


@pytest.mark.parametrize(
    ("sent", "received", "message"),
    [
        (
            replace(QUIET, leaving="ip filter OUTPUT"),
            QUIET,
            (
                "no packet for this port left db1; its firewall can drop it in ip filter OUTPUT;"
                f" {ALLOW} in that firewall, and check the route of db1"
            ),
        ),
        # db1 rejects its own packets; the address of db2 has nothing to do with that
        (
            saw("refuse-in", refusers=("198.18.0.1",)),
            QUIET,
            "no packet for this port left db1; no chain of its firewall",
        ),
        (
            replace(QUIET, unresolved=("198.18.0.2",), leaving="ip filter OUTPUT"),
            QUIET,
            "db1 gets no answer from 198.18.0.2, the next hop to 198.18.0.2 (ARP or neighbour discovery); check",
        ),
        (
            SENT,
            replace(QUIET, strangers=("198.18.0.7", "198.18.0.8")),
            "packets for this port arrive at db2 from 198.18.0.7, 198.18.0.8, but only 198.18.0.1 is admitted; db1",
        ),
        # the firewall of db2 rejects the other address
        (
            saw("open-out refuse-in", refusers=("198.18.0.2",)),
            replace(QUIET, strangers=("198.18.0.7",)),
            "packets for this port arrive at db2 from 198.18.0.7, but only",
        ),
        # a listener without a firewall answers, and then refuses the other address
        (
            saw("open-out accept-in"),
            replace(QUIET, strangers=("198.18.0.7",)),
            "packets for this port arrive at db2 from 198.18.0.7, but only",
        ),
        # somebody else tries this port, too
        (
            SENT,
            replace(ARRIVED, strangers=("198.18.0.7",)),
            "the packets of db1 arrive at db2, but db2 does not answer;",
        ),
        (
            saw("open-out refuse-in", refusers=("198.18.0.9",)),
            QUIET,
            f"198.18.0.9 refuses the connection (ICMP); {ALLOW} in the firewall of that host",
        ),
        (
            saw("open-out refuse-in", refusers=("198.18.0.2",)),
            saw("open-in refuse-out", "inet filter input"),
            f"db2 refuses the connection; its firewall can reject it in inet filter input; {ALLOW} in that firewall",
        ),
        (
            saw("open-out refuse-in"),
            saw("open-in refuse-out"),
            f"db2 refuses the connection; no chain of its firewall can reject it; {ALLOW} in that firewall",
        ),
        (
            saw("open-out refuse-in"),
            QUIET,
            (
                "a device between the two refuses the connection in the name of 198.18.0.2;"
                f" {ALLOW} in the firewall of that device"
            ),
        ),
        (
            SENT,
            replace(ARRIVED, arriving="ip raw PREROUTING, ip mangle INPUT"),
            (
                "the packets of db1 arrive at db2, but db2 does not answer; its firewall can drop them in ip raw"
                f" PREROUTING, ip mangle INPUT; {ALLOW} in that firewall"
            ),
        ),
        (
            SENT,
            replace(ARRIVED, arriving="ip raw PREROUTING", leaving="ip filter OUTPUT"),
            (
                "the packets of db1 arrive at db2, but db2 does not answer; its firewall can drop them in ip raw"
                f" PREROUTING, or its firewall can drop the answers in ip filter OUTPUT; {ALLOW} in that firewall"
            ),
        ),
        (
            SENT,
            ARRIVED,
            (
                "the packets of db1 arrive at db2, but db2 does not answer; no chain of its firewall can drop"
                f" them; check its routes and its reverse path filter (rp_filter); {ALLOW} in that firewall"
            ),
        ),
        (
            SENT,
            replace(ARRIVED, listed=False),
            "the packets of db1 arrive at db2, but db2 does not answer; the chains of its firewall could not be",
        ),
        (
            SENT,
            saw("open-in accept-out"),
            (
                "db2 answers, but its answers do not arrive at db1; a firewall between the two drops them, or the"
                " route from db2 to 198.18.0.1 is wrong; check that route"
            ),
        ),
        (
            saw("open-out accept-in", "ip filter INPUT"),
            saw("open-in accept-out"),
            (
                "the answers of db2 arrive at db1, but db1 does not accept them; its firewall can drop them in ip"
                " filter INPUT; allow answers from 198.18.0.2 port 4400 in that firewall"
            ),
        ),
        (
            SENT,
            QUIET,
            (
                "packets left db1, but none arrived at db2; a firewall between the two drops them, or 198.18.0.2 is"
                f" not an address of db2; {ALLOW} in that firewall"
            ),
        ),
        (UNWATCHED, QUIET, "no packet arrived at db2; a firewall between the two drops them, or 198.18.0.2 is not"),
    ],
)
def test_the_packets_that_both_hosts_saw_give_the_reason(sent: Handshake, received: Handshake, message: str) -> None:
    assert reason(replace(ATTEMPT, sent=sent, received=received)).startswith(message)


@pytest.mark.parametrize("sent", [UNWATCHED, SENT, saw("open-out refuse-in", refusers=("198.18.0.2",))])
def test_without_the_packets_of_the_target_there_is_no_reason(sent: Handshake) -> None:
    assert reason(replace(ATTEMPT, sent=sent, received=UNWATCHED)) == ""


def test_names_of_chains_cannot_flood_or_control_a_terminal() -> None:
    found = reason(replace(ATTEMPT, received=replace(ARRIVED, arriving="\x1b[31m\n" * 100_000)))
    assert found.isprintable()
    assert len(found) < 2000


# --- the conversation

LISTENING = ("listening port=4400",)
NO_CONNECTION = "db1 to db2: no connection to 198.18.0.2 port 4400 within 1 seconds (--connect-timeout); "


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("on_source", "on_target", "message"),
    [
        (
            ("handshake watched=yes examined=no seen=open-out", "handshake watched=yes examined=yes seen=open-out"),
            ("handshake watched=yes examined=yes seen=open-in,refuse-in strangers= arriving=" + encoded("ip raw PRE"),),
            "the packets of db1 arrive at db2, but db2 does not answer; its firewall can drop them in ip raw PRE; ",
        ),
        # the tools of the target hang
        (
            ("handshake watched=yes examined=yes seen=open-out",),
            ("handshake watched=yes examined=no seen=open-in",),
            "the packets of db1 arrive at db2, but db2 does not answer; the chains of its firewall could not be listed",
        ),
        # the source does not answer
        (
            (),
            ("handshake watched=yes examined=yes strangers=198.18.0.7",),
            "packets for this port arrive at db2 from 198.",
        ),
        ((), (), "is there a firewall between the two?"),
    ],
)
def test_a_run_without_a_connection_reports_the_reason(
    on_source: Sequence[str],
    on_target: Sequence[str],
    message: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transferpy.engine.handshake._EXAMINATION_TIME", 0.5)
    source = source_session(send_0=("sending",), examine=on_source)
    target = target_session(peer=LISTENING, examine=on_target)
    assert transferer(fleet(source, target), connect_timeout=1).run() == [6]
    (error,) = errors(caplog)
    assert error.startswith(f"db2:/srv/y: failed: {NO_CONNECTION}{message}")


def test_a_target_that_dies_is_the_root_cause(caplog: pytest.LogCaptureFixture) -> None:
    dead = (f"error kind=host text={encoded('the disk is on fire')}", *END)
    source, target = source_session(send_0=("sending",)), target_session(peer=LISTENING, examine=dead)
    assert transferer(fleet(source, target), connect_timeout=1).run() == [3]
    assert errors(caplog) == ["db2:/srv/y: failed: db2: the disk is on fire"]


REFUSED = (
    "sending",
    f"stderr job=send_0 stage=2 text={encoded('Connection refused')}",
    "stages job=send_0 statuses=141,141,1",
)
SAW_REFUSAL = "handshake watched=yes examined=yes seen=open-out,refuse-in refusers=198.18.0.9"


@pytest.mark.parametrize(
    ("send", "peer", "message"),
    [
        (
            REFUSED,
            LISTENING,
            r"db1: socat failed with status 1: Connection refused; 198\.18\.0\.9 refuses the connection .*",
        ),
        # the failure has other causes
        (("sending", "stages job=send_0 statuses=2,0,0"), LISTENING, "db1: tar failed with status 2"),
        (("sending", "stages job=send_0 statuses=2,0,141"), LISTENING, "db1: tar failed with status 2"),
        (REFUSED, (*LISTENING, "connected"), "db1: socat failed with status 1: Connection refused"),
        (
            REFUSED,
            (*LISTENING, "stages job=receive statuses=1,0,0"),
            "db1: .* refused; db2: socat failed with status 1",
        ),
    ],
)
def test_a_connection_that_fails_has_its_reason_behind_its_error(
    send: Sequence[str],
    peer: Sequence[str],
    message: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transferpy.engine.root_cause._OTHER_END_TIME", 0.2)
    source, target = source_session(send_0=send, examine=(SAW_REFUSAL,)), target_session(peer=peer)
    assert transferer(fleet(source, target)).run() == [6]
    (error,) = errors(caplog)
    assert re.fullmatch(f"db2:/srv/y: failed: {message}", error), error
