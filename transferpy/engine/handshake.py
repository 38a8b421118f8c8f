"""The reason for which a stream has no connection, from the packets that both hosts saw."""

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
class ConnectionAttempt:
    """The two ends of a connection, and the packets that each of them saw."""

    source: str  # the host that connects
    target: str  # the host that listens
    source_address: str  # the address from which the source should connect
    target_address: str  # the address that the source connects to
    port: int
    sent: Handshake = _UNKNOWN  # on the source
    received: Handshake = _UNKNOWN  # on the target

    @property
    def required_rule(self) -> str:
        """The connection that a firewall has to allow."""
        return f"allow {self.source_address} to connect to {self.target_address} port {self.port}"


def explain_handshake(run: StreamRun) -> str:
    """Let both hosts report the packets of the connection; return the reason for which there is no connection.

    The text is empty if there was a connection, or if the reason is unknown.

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
    attempt = ConnectionAttempt(
        source=run.sender.host,
        target=run.receiver.host,
        source_address=run.edge.listening.sender_address,
        target_address=run.edge.address.strip("[]"),
        port=listener.port,
        sent=run.sender.last(Handshake) or _UNKNOWN,
        received=run.receiver.last(Handshake) or _UNKNOWN,
    )
    # Only the first of several connections is watched. If it was made, another one is the reason.
    return "" if run.lanes > 1 and "accept-in" in attempt.sent.seen else reason(attempt)


def reason(attempt: ConnectionAttempt) -> str:
    """Return the reason for which there is no connection, and the next step; empty if it is unknown."""
    rules = (_not_sent, _other_address, _refused, _no_answer, _answer_lost, _answer_dropped, _nothing_arrived)
    return next(filter(None, (rule(attempt) for rule in rules)), "")


def _not_sent(attempt: ConnectionAttempt) -> str:
    """The source could not send the first packet."""
    sent = attempt.sent
    if not sent.watched or "open-out" in sent.seen:
        return ""
    if sent.unresolved:
        return (
            f"{attempt.source} gets no answer from {sent.unresolved[0]}, the next hop to {attempt.target_address} (ARP"
            " or neighbour discovery); check that this host is up, and check the network and the route of"
            f" {attempt.source}"
        )
    cause = _place("drop it", sent.leaving) or _no_place("drop it", sent)
    return (
        f"no packet for this port left {attempt.source}; {cause}; {attempt.required_rule} in that firewall, and check"
        f" the route of {attempt.source}"
    )


def _other_address(attempt: ConnectionAttempt) -> str:
    """The first packet arrived from an address that the target does not admit."""
    others = attempt.received.strangers
    if not others or "open-in" in attempt.received.seen:
        return ""
    return (
        f"packets for this port arrive at {attempt.target} from {', '.join(others)}, but only {attempt.source_address}"
        f" is admitted; {attempt.source} uses a second address, or a router translates its address (NAT); give an"
        f" address of {attempt.target} that {attempt.source} reaches without translation"
    )


def _refused(attempt: ConnectionAttempt) -> str:
    """A host or a router refused the connection."""
    sent, received = attempt.sent, attempt.received
    if "refuse-in" not in sent.seen:
        return ""
    routers = [address for address in sent.refusers if address != attempt.target_address]
    if routers:
        return (
            f"{', '.join(routers)} refuses the connection (ICMP); {attempt.required_rule} in the firewall of that host"
        )
    if "refuse-out" in received.seen:
        cause = _place("reject it", received.arriving) or _no_place("reject it", received)
        return f"{attempt.target} refuses the connection; {cause}; {attempt.required_rule} in that firewall"
    if received.watched:
        return (
            f"a device between the two refuses the connection in the name of {attempt.target_address};"
            f" {attempt.required_rule} in the firewall of that device"
        )
    return ""


def _no_answer(attempt: ConnectionAttempt) -> str:
    """The first packet arrived, but the target sent no answer."""
    received = attempt.received
    if "open-in" not in received.seen or "accept-out" in received.seen:
        return ""
    return (
        f"the packets of {attempt.source} arrive at {attempt.target}, but {attempt.target} does not answer;"
        f" {_drop(received)}; {attempt.required_rule} in that firewall"
    )


def _answer_lost(attempt: ConnectionAttempt) -> str:
    """The target sent an answer, which did not arrive."""
    sent = attempt.sent
    if "accept-out" not in attempt.received.seen or not sent.watched or "accept-in" in sent.seen:
        return ""
    return (
        f"{attempt.target} answers, but its answers do not arrive at {attempt.source}; a firewall between the two drops"
        f" them, or the route from {attempt.target} to {attempt.source_address} is wrong; check that route"
    )


def _answer_dropped(attempt: ConnectionAttempt) -> str:
    """The answer arrived, but the source did not take it."""
    if "accept-in" not in attempt.sent.seen:
        return ""
    return (
        f"the answers of {attempt.target} arrive at {attempt.source}, but {attempt.source} does not accept them;"
        f" {_drop(attempt.sent)}; allow answers from {attempt.target_address} port {attempt.port} in that firewall"
    )


def _nothing_arrived(attempt: ConnectionAttempt) -> str:
    """The first packet did not arrive."""
    received = attempt.received
    if not received.watched or "open-in" in received.seen:
        return ""
    beginning = f"packets left {attempt.source}, but none" if attempt.sent.watched else "no packet"
    return (
        f"{beginning} arrived at {attempt.target}; a firewall between the two drops them, or {attempt.target_address}"
        f" is not an address of {attempt.target}; {attempt.required_rule} in that firewall"
    )


def _drop(seen: Handshake) -> str:
    """Return the places on a host at which packets that have arrived, or the answers to them, can be lost."""
    places = (_place("drop them", seen.arriving), _place("drop the answers", seen.leaving))
    none = f"{_no_place('drop them', seen)}; check its routes and its reverse path filter (rp_filter)"
    return ", or ".join(filter(None, places)) or none


def _place(action: str, chains: str) -> str:
    """Return the part of a message about the chains that can take an action; empty if there are none."""
    return f"its firewall can {action} in {printable(one_line(chains[:_LONGEST_TEXT]))}" if chains else ""


def _no_place(action: str, seen: Handshake) -> str:
    """Return the sentence that no chain of a firewall was found."""
    return f"no chain of its firewall can {action}" if seen.listed else "the chains of its firewall could not be listed"
