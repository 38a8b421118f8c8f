"""One stream at run time: the two sessions of its edge, and the state of the stream."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from transferpy.agent.protocol import Checked, Connected, Event, Sending, SourceChanged
from transferpy.agent.session import Session
from transferpy.agent.session_manager import SessionManager
from transferpy.Exceptions import RemoteExecutionError, StreamError
from transferpy.model.progress import Phase, Progress
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.RemoteExecution.interface import RemoteExecution
from transferpy.stream.commands import Pipeline

_READY_TIME = 120.0
"""Seconds that a session has to start, or to listen; it waits for the locks of firewalls and for nothing else."""
CHECK_TASKS = (
    "manifest",
    "distribution",
    "redo_log",
    "stamps",
    "digest",
    "backup",
    "tables",
    "totals",
    "prepare",
    "owner",
    "sync",
)
"""The tasks of a session beside its stream, in the order in which they run. If one fails, the stream has failed."""


class StreamEnd(NamedTuple):
    """One end of a lane of a stream: its session, the task of its pipeline, the names of the stages, and its role."""

    session: Session
    task: str
    stages: tuple[str, ...]
    receives: bool

    @property
    def statuses(self) -> tuple[int, ...]:
        """The exit statuses of the stages; empty before the end of the task."""
        return self.session.statuses.get(self.task, ())


@dataclass(eq=False, kw_only=True)
class StreamRun:
    """One stream of a run."""

    sessions: SessionManager  # the manager of the sessions
    remote: RemoteExecution  # runs commands on the hosts
    plan: TransferPlan  # the plan of the run
    edge: EdgePlan  # the plan of the stream
    sender: Session  # the session that sends
    receiver: Session  # the session that receives
    update_report: Callable[..., None]  # sets attributes of the target's report
    codec: str = field(init=False)  # the label of the codec; that of the first candidate before one is chosen
    lanes: int = field(default=1, init=False)  # the number of lanes; 1 before it is known
    directories_sent: bool = field(default=False, init=False)  # True after the command to send the directories
    sending: bool = field(default=False, init=False)  # True after the command to send
    phase: Phase = field(default=Phase.WAITING, init=False)  # the phase of the copy
    interruptions: int = field(default=0, init=False)  # how often the stream continued on a new connection
    interrupted_seconds: float = field(default=0.0, init=False)  # the sum of the times without a connection before that
    _began: float = field(default_factory=time.monotonic, init=False)
    _phase_began: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        self.codec = next(iter(self.edge.sending.pipelines))

    @property
    def both(self) -> tuple[Session, Session]:
        """The two sessions."""
        return self.sender, self.receiver

    @property
    def names(self) -> str:
        """The two hosts, for messages."""
        return f"{self.sender.host} to {self.receiver.host}"

    @property
    def ends(self) -> tuple[StreamEnd, ...]:
        """The two ends of each lane of the stream, those of the sender first."""
        return (*self.sending_ends, *self.receiving_ends)

    @property
    def sending_ends(self) -> tuple[StreamEnd, ...]:
        """The ends at the sender, that of the first lane first."""
        pipelines = self.edge.sending.lanes if self.lanes > 1 else self.edge.sending.pipelines
        return self._ends(self.sender, f"send_{self.edge.label}", pipelines, receives=False)

    @property
    def receiving_ends(self) -> tuple[StreamEnd, ...]:
        """The ends at the receiver, that of the first lane first."""
        # A single lane has the same names in both.
        return self._ends(self.receiver, "receive", self.edge.listening.pipelines, receives=True)

    def _ends(
        self, session: Session, task: str, pipelines: Mapping[str, Pipeline], *, receives: bool
    ) -> tuple[StreamEnd, ...]:
        names = pipelines[self.codec].names
        tasks = (task, *(f"{task}-{lane}" for lane in range(1, self.lanes)))
        return tuple(StreamEnd(session, each, names, receives) for each in tasks)

    def enter(self, phase: Phase) -> None:
        """Begin a phase."""
        self.phase, self._phase_began = phase, time.monotonic()

    def add_interruption(self, seconds: float) -> None:
        """Report that the stream continues after this time without a connection."""
        self.interruptions += 1
        self.interrupted_seconds += seconds
        self.update_report(reconnects=self.interruptions, interrupted_seconds=self.interrupted_seconds)

    @property
    def progress(self) -> Progress:
        """The progress of the copy."""
        return Progress(
            target=self.edge.target,
            number=self.plan.edges.index(self.edge) + 1,
            of=len(self.plan.edges),
            phase=self.phase,
            # Without a connection, the bytes are in the buffers of the sender.
            bytes=self.sender.bytes if self.receiver.has(Connected) else 0,
            total=self.plan.facts.bytes,
            wire_bytes=self.receiver.received_bytes,
            seconds=time.monotonic() - self._phase_began,
            streams=self.lanes,
        )

    def has_ended(self) -> bool:
        """Return whether the stream has ended on both ends; a failed lane ends the others, which are not reported."""
        return all(
            all(end.statuses for end in ends) or any(any(end.statuses) for end in ends)
            for ends in (self.sending_ends, self.receiving_ends)
        )

    @property
    def waits_for_directories(self) -> bool:
        """True when all lanes but the first one have succeeded, and the directories were not sent yet."""
        further = (*self.sending_ends[1:], *self.receiving_ends[1:])
        return bool(further) and not self.directories_sent and all(end.statuses for end in further)

    def has_failed(self) -> bool:
        """Return whether a stage of the stream has failed, or a task beside the stream."""
        return any(any(end.statuses) for end in self.ends) or any(self.failed_tasks())

    def failed_tasks(self) -> Iterator[tuple[Session, str, int]]:
        """Yield the session, the name and the status of each task beside the stream that has failed."""
        for session in self.both:
            for task in CHECK_TASKS:
                if status := max(session.statuses.get(task, (0,))):
                    yield session, task, status

    @property
    def sender_is_free(self) -> bool:
        """True if the sender waits for commands; False while it works on this stream or on its checks."""
        failed = any(any(end.statuses) for end in self.sending_ends) or any(
            session is self.sender for session, _, _ in self.failed_tasks()
        )
        return not self.sending or failed or self.sender.has(SourceChanged, Checked)

    @property
    def flows(self) -> bool:
        """True after the start of the stream."""
        return self.sender.has(Sending)

    def wait(self, *sessions: Session, until: Callable[[], bool], deadline: float | None = None) -> bool:
        """As SessionManager.wait, at most until the end of the time for the whole copy.

        Raises:
            StreamError: the copy takes too long.
            TransferpyError: one of the sessions ended, failed or fell silent.
        """
        limit = self._began + self.plan.options.copy_timeout
        holds = self.sessions.wait(*sessions, until=until, deadline=limit if deadline is None else min(deadline, limit))
        if not holds and time.monotonic() >= limit:
            text = f"the copy took more than {self.plan.options.copy_timeout} seconds (--copy-timeout)"
            raise StreamError(f"{self.names}: {text}")
        return holds

    def wait_for(self, kind: type[Event], *sessions: Session) -> bool:
        """Wait until each of ``sessions`` has sent an event of that kind; return False if the stream failed first.

        Raises:
            RemoteExecutionError: a session did not send the event in time.
            TransferpyError: a session ended, failed or fell silent.
        """

        def late() -> list[str]:
            return [session.host for session in sessions if not session.has(kind)]

        deadline = time.monotonic() + _READY_TIME
        self.wait(*self.both, until=lambda: not late() or self.has_failed(), deadline=deadline)
        if self.has_failed():
            return False
        if late():
            raise RemoteExecutionError(f"{', '.join(late())}: not {kind.event_name} within {_READY_TIME:.0f} seconds")
        return True
