"""Connections that are dead, as the watch over each end reports them (host/perl/watch_peer.pl)."""

import re

from transferpy.agent.session import Session
from transferpy.engine.stream_run import StreamRun

_NO_ANSWER = "the peer did not answer"
_TIMED_OUT = r"\b(?:read|write|SSL_\w+)\(.*: Connection timed out$|^Ncat: Connection timed out\.$"
_REPORT = re.compile(rf"^dead connection: (.+)$|{_TIMED_OUT}", re.MULTILINE)
"""The line of the watch, or the error of a transport whose kernel was faster than the watch."""


def unanswered(run: StreamRun) -> list[str]:
    """Return a message for each end of the stream, or of the link probe, that got no answer from its peer.

    Such an end is the root cause of all other failures: packets are lost, or the peer is down.
    """
    return [message for session in run.both if _NO_ANSWER in (message := dead_connection(run, session))]


def dead_connection(run: StreamRun, session: Session) -> str:
    """Return the message of a session whose connection is dead; empty if the session has not reported that."""
    tasks = {"send_probe", "receive_probe", *(end.task for end in run.ends)}
    peer = run.receiver if session is run.sender else run.sender
    for (task, _), printed in session.errors.items():
        if task in tasks and (found := _REPORT.search(printed)):
            return f"{session.host}: the connection to {peer.host} is dead: {found[1] or _NO_ANSWER}"
    return ""
