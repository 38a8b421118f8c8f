"""The reason for which the two ends of a stream did not meet, from the packets that both hosts saw."""

import time
from contextlib import suppress
from dataclasses import dataclass

from transferpy.agent.protocol import Connected, Examine, Handshake, Listening, Probing
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import RemoteExecutionError
from transferpy.model.text import one_line, printable

_EXAMINATION_TIME = 5.0
"""Seconds that the hosts have to report the packets and the chains of their firewalls."""
_LONGEST_TEXT = 300
"""Characters of the names of chains that a message contains."""
_UNKNOWN = Handshake(watched=False, examined=False)


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """The two ends of a connection, and the packets that each of them saw."""

    source: str  # the host that connects
    target: str  # the host that listens
    source_address: str  # the address from which the source should connect
    target_address: str  # the address that the source connects to
    port: int
    sent: Handshake = _UNKNOWN  # on the source
    received: Handshake = _UNKNOWN  # on the target

    @property
    def wish(self) -> str:
        """The connection that a firewall has to allow."""
        return f"allow {self.source_address} to connect to {self.target_address} port {self.port}"


def explain_handshake(run: StreamRun) -> str:
    """Let both hosts report the packets of the connection; return the reason for which there is no connection.

    The text is empty if the ends met, or if the reason is unknown.

    Raises:
        TransferpyError: one of the sessions ended, failed or fell silent, which is the root cause.
    """
    listener = run.receiver.last(Listening) or run.receiver.last(Probing)
    if listener is None or run.receiver.has(Connected):
        return ""
    for session in run.both:
        with suppress(RemoteExecutionError):  # the session has ended
            run.sessions.send(session, Examine())

    def is_examined() -> bool:
        events = (session.last(Handshake) for session in run.both)
        return all(event is not None and event.examined for event in events)

    run.sessions.wait(*run.both, until=is_examined, deadline=time.monotonic() + _EXAMINATION_TIME)
    return reason(
        Meeting(
            source=run.sender.host,
            target=run.receiver.host,
            source_address=run.edge.listening.sender_address,
            target_address=run.edge.address.strip("[]"),
            port=listener.port,
            sent=run.sender.last(Handshake) or _UNKNOWN,
            received=run.receiver.last(Handshake) or _UNKNOWN,
        )
    )


def reason(meeting: Meeting) -> str:
    """Return the reason for which there is no connection, and the next step; empty if it is unknown."""
    rules = (_nothing_left, _other_address, _refused, _no_answer, _answer_lost, _answer_dropped, _nothing_arrived)
    return next(filter(None, (rule(meeting) for rule in rules)), "")


def _nothing_left(meeting: Meeting) -> str:
    """The source could not send the first packet."""
    sent = meeting.sent
    if not sent.watched or "open-out" in sent.seen:
        return ""
    if sent.unresolved:
        return (
            f"{meeting.source} gets no answer from {sent.unresolved[0]}, the next hop to {meeting.target_address} (ARP"
            f" or neighbour discovery); check if it is up, and the network and the route of {meeting.source}"
        )
    cause = _place("drop it", sent.leaving) or _no_place("drop it", sent)
    return f"no packet for this port left {meeting.source}; {cause}; {meeting.wish} there, and check its route"


def _other_address(meeting: Meeting) -> str:
    """The first packet arrived from an address that is not let in."""
    others = meeting.received.strangers
    if not others or "open-in" in meeting.received.seen:
        return ""
    return (
        f"packets for this port arrive at {meeting.target} from {', '.join(others)}, but only {meeting.source_address}"
        f" is let in; {meeting.source} uses a second address, or a router translates its address (NAT); give an address"
        f" of {meeting.target} that {meeting.source} reaches without translation"
    )


def _refused(meeting: Meeting) -> str:
    """A host or a router refused the connection."""
    sent, received = meeting.sent, meeting.received
    if "refuse-in" not in sent.seen:
        return ""
    routers = [address for address in sent.refusers if address != meeting.target_address]
    if routers:
        return f"{', '.join(routers)} refuses the connection (ICMP); {meeting.wish} in the firewall there"
    if "refuse-out" in received.seen:
        cause = _place("reject it", received.arriving) or _no_place("reject it", received)
        return f"{meeting.target} refuses the connection; {cause}; {meeting.wish} there"
    if received.watched:
        return (
            f"a device between the two refuses the connection in the name of {meeting.target_address};"
            f" {meeting.wish} there"
        )
    return ""


def _no_answer(meeting: Meeting) -> str:
    """The first packet arrived, but the target sent no answer."""
    received = meeting.received
    if "open-in" not in received.seen or "accept-out" in received.seen:
        return ""
    return (
        f"the packets of {meeting.source} arrive at {meeting.target}, but {meeting.target} does not answer;"
        f" {_drop(received)}; {meeting.wish} there"
    )


def _answer_lost(meeting: Meeting) -> str:
    """The target sent an answer, which did not arrive."""
    sent = meeting.sent
    if "accept-out" not in meeting.received.seen or not sent.watched or "accept-in" in sent.seen:
        return ""
    return (
        f"{meeting.target} answers, but its answers do not arrive at {meeting.source}; a firewall between the two drops"
        f" them, or the route from {meeting.target} to {meeting.source_address} is wrong; check that route"
    )


def _answer_dropped(meeting: Meeting) -> str:
    """The answer arrived, but the source did not take it."""
    if "accept-in" not in meeting.sent.seen:
        return ""
    return (
        f"the answers of {meeting.target} arrive at {meeting.source}, but {meeting.source} does not accept them;"
        f" {_drop(meeting.sent)}; allow answers from {meeting.target_address} port {meeting.port} there"
    )


def _nothing_arrived(meeting: Meeting) -> str:
    """The first packet did not arrive."""
    received = meeting.received
    if not received.watched or "open-in" in received.seen:
        return ""
    beginning = f"packets left {meeting.source}, but none" if meeting.sent.watched else "no packet"
    return (
        f"{beginning} arrived at {meeting.target}; a firewall between the two drops them, or {meeting.target_address}"
        f" is not an address of {meeting.target}; {meeting.wish} in that firewall"
    )


def _drop(seen: Handshake) -> str:
    """Return the places on a host at which packets that have arrived, or the answers to them, can be lost."""
    places = (_place("drop them", seen.arriving), _place("drop the answers", seen.leaving))
    none = f"{_no_place('drop them', seen)}; check its routes and its reverse path filter (rp_filter)"
    return ", or ".join(filter(None, places)) or none


def _place(action: str, chains: str) -> str:
    """Return the sentence that a firewall can take an action in chains; empty if there are none."""
    return f"its firewall can {action} in {printable(one_line(chains[:_LONGEST_TEXT]))}" if chains else ""


def _no_place(action: str, seen: Handshake) -> str:
    """Return the sentence that no chain of a firewall was found."""
    return f"no chain of its firewall can {action}" if seen.listed else "the chains of its firewall could not be listed"
