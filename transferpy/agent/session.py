"""A session on a host, as its events describe it."""

import logging
import re
import time
from typing import TYPE_CHECKING

from transferpy.agent.protocol import Event, parse_count
from transferpy.Exceptions import (
    FirewallError,
    PublishError,
    RemoteExecutionError,
    ReplicationError,
    TransferpyError,
    VerificationError,
)
from transferpy.model.text import one_line

if TYPE_CHECKING:
    from transferpy.RemoteExecution.interface import Outcome

logger = logging.getLogger(__name__)
_UNKNOWN = "it is not known whether replication runs again; look there, and start it by hand if it does not"
_STOPPED = "replication is stopped and does not start again, start it by hand: "
_START = "start_replication "
"""How those entries of an undo list begin that start replication."""

_ERRORS: dict[str, type[TransferpyError]] = {
    "port": FirewallError,
    "firewall": FirewallError,
    "attributes": VerificationError,
    "publish": PublishError,
    "replication": ReplicationError,
    "content": VerificationError,
}
# What the readers of an event rely on. A session that sends less is not one to work with.
_FIELDS = {
    "ready": {"certificate"},
    "listening": {"port"},
    "probing": {"port"},
    "stages": {"job", "statuses"},
    "stderr": {"job", "stage"},
    "manifest": {"digest", "entries"},
    "digests": {"digest", "entries"},
    "tables": {"digest", "entries"},
    "stream-digest": {"digest"},
    "error": {"kind"},
    "finished-dead-run": {"run"},
    "replication-stopped": {"connections"},
}


class Session:
    """A session on a host, as far as its events have told.

    Attributes:
        host: where it runs.
        seen: the last event of each name.
        statuses: the exit statuses of the stages of each job that has ended, by the job's name.
        errors: the end of what a stage wrote to its standard error, by job and number of the stage.
        bytes: how far the stream is, as the stage that reads it counts.
        moved: when that last grew (monotonic seconds).
        outcome: how the session's command ended, once it has.
        error: why the session cannot go on.
        stopping: whether it was told to stop.
        replication_error: why replication does not run again, as long as it is not known to.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.seen: dict[str, Event] = {}
        self.statuses: dict[str, tuple[int, ...]] = {}
        self.errors: dict[tuple[str, str], str] = {}
        self.bytes = self._first_bytes = 0
        self.moved = self.heard = time.monotonic()
        self.outcome: Outcome | None = None
        self.error: TransferpyError | None = None
        self.stopping = False
        self.replication_error = ""

    @property
    def alive(self) -> bool:
        """Whether the session can still take orders."""
        return self.outcome is None and self.error is None

    @property
    def flowed(self) -> int:
        """Bytes since the stage that reads the stream was first looked at: before, it has read its own files."""
        return self.bytes - self._first_bytes

    @property
    def ending(self) -> bool:
        """Whether the session is on its way to its end by itself."""
        return self.stopping or not self.seen.keys().isdisjoint({"published", "error", "ending", "end"})

    @property
    def undone(self) -> bool:
        """Whether the session said that it left nothing behind."""
        end = self.seen.get("end")
        return end is not None and end.fields.get("undone") == "yes"

    @property
    def directory(self) -> str:
        """Its run directory; empty until it has said hello."""
        return self.seen["hello"].text("directory") if "hello" in self.seen else ""

    def forget(self, *names: str) -> None:
        """Forget events that the next stream will bring anew."""
        for name in names:
            self.seen.pop(name, None)

    def take(self, event: Event) -> None:
        """Take an event in; one that makes no sense is an error of the session's."""
        self.heard = time.monotonic()
        try:
            self._take(event)
            self.seen[event.name] = event
        except ValueError:
            words = " ".join(f"{key}={value}" for key, value in event.fields.items())
            self.error = RemoteExecutionError(f"{self.host}: the session sent nonsense: {event.name} {words[:200]}")

    def _take(self, event: Event) -> None:
        _check_fields(event)
        self._take_replication(event)
        match event.name:
            case "progress":
                moved = parse_count(event.fields.get("bytes", "0"))
                if moved > self.bytes:
                    self.moved = self.heard
                self.bytes = max(moved, self.bytes)
                self._first_bytes = self._first_bytes or moved
            case "stages":
                words = event.fields["statuses"].split(",")
                self.statuses[event.fields["job"]] = tuple(int(word) for word in words)
            case "checked" | "published":
                for number in event.fields.values():
                    parse_count(number)
            case "stderr":
                self.errors[event.fields["job"], event.fields["stage"]] = event.text("text").strip()
            case "error":
                kind = _ERRORS.get(event.fields["kind"], RemoteExecutionError)
                self.error = kind(f"{self.host}: {one_line(event.text('text'))}")
            case "undo-failed":
                entry, text = event.text("entry"), one_line(event.text("text"))
                log_not_undone(self.host, entry, text)
            case "finished-dead-run":
                log_finished(self.host, event.fields["run"], replication="replication" in event.fields)

    def _take_replication(self, event: Event) -> None:
        match event.name:
            case "replication-stopping":
                self.replication_error = _UNKNOWN
            case "replication-stopped":
                # Only word that it runs takes this back: the session may die, or its host be cut off.
                if event.fields["connections"] != "0":
                    self.replication_error = _UNKNOWN
                    logger.info("%s: replication stopped: %s connection(s)", self.host, event.fields["connections"])
                else:
                    logger.info("%s: replication does not run, so there is nothing to stop", self.host)
            case "undo-failed" if event.text("entry").startswith(_START):
                self.replication_error = _STOPPED + one_line(event.text("text"))
            case "finished-dead-run" if f"/run.{event.fields['run']}." in self.directory:
                self.replication_error = ""
            case "replication-runs":
                self.replication_error = ""
                logger.info("%s: replication runs as before", self.host)
            case "replication-left":
                self.replication_error = ""
                logger.info("%s: another transfer needs replication stopped, and will start it again", self.host)


def _check_fields(event: Event) -> None:
    if not event.fields.keys() >= _FIELDS.get(event.name, set()):
        raise ValueError(f"not all fields of {event.name}")
    # The port goes to the other host, into an address of socat, and that can name a command to run.
    if event.name in {"listening", "probing"} and not re.fullmatch("[0-9]{1,5}", event.fields["port"]):
        raise ValueError("no port")


def log_finished(host: str, run: str, *, replication: bool) -> None:
    """Log that a host was cleaned of what a run had left there; ``replication`` if that was stopped, too."""
    logger.info("%s: undid what the run %s had left there", host, run)
    if replication:
        # Somebody may have stopped it on purpose since.
        logger.warning("%s: replication, which that run had stopped, was started", host)


def log_not_undone(host: str, entry: str, text: str) -> None:
    """Log that a host could not undo what an entry of an undo list says, and why."""
    if entry.startswith(_START):
        logger.warning("%s: replication does not start, the next run tries again: %s", host, text)
        return
    logger.warning("%s: not undone, the next run tries again: %s: %s", host, entry, text)
