"""One stream from its start to its verdict."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from transferpy.agent.list_transfer import fetch_records
from transferpy.agent.protocol import (
    AcceptPeer,
    Checked,
    Connected,
    Event,
    FileDigests,
    LinkMeasured,
    ListDigest,
    Listening,
    Manifest,
    Position,
    Probed,
    Probing,
    Publish,
    Published,
    Ready,
    Receive,
    ResumeReplication,
    SampleTaken,
    Send,
    Sending,
    SendProbe,
    SourceChanged,
    StreamDigest,
    Tables,
    parse_count,
)
from transferpy.agent.session import Session
from transferpy.agent.session_manager import SessionManager
from transferpy.engine.differences import differing_paths, name_some
from transferpy.Exceptions import (
    FinishError,
    PublishError,
    RemoteExecutionError,
    StreamError,
    TransferpyError,
    VerificationError,
)
from transferpy.MariaDB import BACKUP_TOOLS, UNPACK_TOOLS, lacking_tables
from transferpy.model.options import UNCOMPRESSED, TransferType
from transferpy.model.progress import Phase, Progress
from transferpy.model.units import size
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.RemoteExecution.interface import RemoteExecution
from transferpy.stream.codec_choice import choose, measured_sample, reason, shrinks

logger = logging.getLogger(__name__)

_READY_TIME = 120.0
"""Seconds for a session to begin, or to listen: it waits for the locks of firewalls and of nothing else."""
_OTHER_END_TIME = 5.0
"""Seconds that the other end gets to say why, when a stream fails: the first to fail is often only the victim."""
_FLOWING = 1 << 16
"""Bytes that are more than what the two ends say to each other before the first of the data."""
_BROKEN_PIPE = 141
_LATE_ERRORS: dict[str, type[TransferpyError]] = {
    "prepare": FinishError,
    "owner": FinishError,
    "sync": PublishError,
}
"""Jobs of a target that come after its checks; the first that fails is the last that runs."""
_SIGNALLED = 128
_PROGRESS_LINE = re.compile(r"\[\d\d\] [\d-]+ [\d:]+ ((Copying|Streaming) |.*(\.\.\.done|copied successfully\.)$)")
"""What a backup tool says of each file that went well."""
_LOST_PEER = ("Broken pipe", "Connection reset", "unexpected eof", "Connection refused")


@dataclass
class _Copy:
    """One stream, from the one source session to one target session."""

    sessions: SessionManager
    remote: RemoteExecution
    plan: TransferPlan
    edge: EdgePlan
    source_session: Session
    target_session: Session
    note: Callable[..., None]
    sending: bool = field(default=False, init=False)
    phase: Phase = field(default=Phase.WAITING, init=False)
    phase_began: float = field(default_factory=time.monotonic, init=False)
    codec: str = field(init=False)

    def __post_init__(self) -> None:
        self.codec = next(iter(self.edge.sending.pipelines))  # until one is chosen

    def run(self, *, last: bool) -> None:
        """Copy, check and publish; ``last`` lets the source end while the target publishes."""
        self._meet()
        try:
            self._stream()
        except VerificationError:
            if self.target_session.error:
                # What arrived is not whole; the source may be about to say why.
                self.sessions.wait(until=self._has_ended, deadline=time.monotonic() + _OTHER_END_TIME)
                self._raise_stream_failure()
            raise
        self._enter(Phase.CHECKING)
        if last and self.plan.options.stop_slave:
            self.sessions.send(self.source_session, ResumeReplication())
        self._check()
        if self.plan.options.prepare:
            logger.info("%s: preparing the copy", self.edge.final)
        if last:
            self.sessions.stop(self.source_session)  # it has said all that it had to say
        self._enter(Phase.PUBLISHING)
        self.sessions.send(self.target_session, Publish())
        self._wait_for_checks(Published, self.target_session)
        self.note_published()
        self._log_position()
        logger.info("%s: complete", self.edge.final)

    def note_published(self) -> None:
        """Note that the copy is good, and what was made for it, if its target has said so."""
        published = self.target_session.last(Published)
        if published is None:
            return
        self.note(status=0)
        if published.inode is not None:
            self.note(made_inode=published.inode, made_born=published.born)

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(
            target=self.edge.target,
            number=self.plan.edges.index(self.edge) + 1,
            of=len(self.plan.edges),
            phase=self.phase,
            # Until somebody takes it, it is in the buffers of the source.
            bytes=self.source_session.bytes if self.target_session.has(Connected) else 0,
            total=self.plan.facts.bytes,
            wire_bytes=self.target_session.received_bytes,
            seconds=time.monotonic() - self.phase_began,
        )

    def _enter(self, phase: Phase) -> None:
        self.phase, self.phase_began = phase, time.monotonic()

    @property
    def _sessions(self) -> tuple[Session, Session]:
        return self.source_session, self.target_session

    @property
    def _jobs(self) -> tuple[tuple[Session, str, tuple[str, ...]], ...]:
        """The stream's job on each end: whose, its name, and its stages."""
        return (
            (self.source_session, f"send_{self.edge.label}", self.edge.sending.pipelines[self.codec].names),
            (self.target_session, "receive", self.edge.listening.pipelines[self.codec].names),
        )

    @property
    def _lists(self) -> tuple[type[ListDigest], ...]:
        """The events by which both ends say what they hold, file by file."""
        if self.plan.options.transfer_type is not TransferType.FILE:
            return ()
        return (Manifest, FileDigests) if self.plan.options.checksum else (Manifest,)

    @property
    def source_is_free(self) -> bool:
        """Whether the source session waits for orders; else it is still busy with this stream or its checks."""
        session, job, _ = self._jobs[0]
        failed = any(session.statuses.get(job, ())) or any(_failed_checks(session))
        return not self.sending or failed or session.has(SourceChanged, Checked)

    def let_source_finish(self) -> None:
        """Wait for the checks of a source whose stream went well: what they find counts for the next target too."""
        session, job, _ = self._jobs[0]
        if job in session.statuses:
            with suppress(TransferpyError):  # then it is no longer alive
                self.sessions.wait(session, until=lambda: self.source_is_free)

    # --- do

    def _meet(self) -> None:
        """Have the target listen and the source connect."""
        source, target = self._sessions
        source.forget(Manifest, FileDigests, Tables, SourceChanged, StreamDigest, Checked, Sending, Probed)
        source.statuses.clear()
        self._wait_for(Ready, source, target)
        if self.plan.options.encrypt:
            self.sessions.send(target, AcceptPeer(source.expect(Ready).certificate))
        self.codec = self._choose_codec()
        words = {codec.label: codec.words for codec in self.edge.codecs}
        self.note(codec=words.get(self.codec, UNCOMPRESSED))
        self.sessions.send(target, Receive(self.codec))
        self._wait_for(Listening, target)
        port = target.expect(Listening).port
        opened = ", firewall opened" if self.edge.listening.firewall_rules else ""
        logger.info("%s: port %s listens for %s%s", target.host, port, source.host, opened)
        source.bytes = 0
        source.moved = target.moved = time.monotonic()
        self.sending = True
        self.sessions.send(source, Send(self.edge.label, self.codec, *self._address(Listening)))

    def _address(self, kind: type[Listening] | type[Probing]) -> tuple[str, int, str]:
        """Return the address, the port and the certificate of the target's listener."""
        target = self.target_session
        return self.edge.address, target.expect(kind).port, target.expect(Ready).certificate

    def _choose_codec(self) -> str:
        """Return the label of what compresses the stream, and log why, where there is a choice."""
        labels = tuple(self.edge.sending.pipelines)
        if len(labels) == 1:
            return labels[0]
        # The list of millions of files has to stand before a sample can be taken of them; that has no limit.
        self.sessions.wait(*self._sessions, until=lambda: self.source_session.has(SampleTaken))
        taken = self.source_session.expect(SampleTaken)
        sample = measured_sample(taken.size, taken.trials)
        link: float | None = self.plan.options.bwlimit or None
        if self.edge.listening.probe and shrinks(sample):
            link = self._probe_link()
        codec = choose(self.edge.codecs, sample, link, self.plan.sessions[self.edge.sender].cores)
        logger.info("%s: compression: %s", self.edge.target, reason(codec, sample, link))
        return codec.label if codec else UNCOMPRESSED

    def _probe_link(self) -> float | None:
        """Return how many bytes pass from the source to the target in a second, or None if that is not to be known."""
        source, target = self._sessions
        self._wait_for(Probing, target)
        if target.has(LinkMeasured):
            return None  # the listener ended before anybody could connect; that of the stream will say why
        self.sessions.send(source, SendProbe(self.edge.label, *self._address(Probing)))
        deadline = time.monotonic() + self.plan.options.connect_timeout
        met = self.sessions.wait(
            *self._sessions, until=lambda: target.has(LinkMeasured) or source.has(Probed), deadline=deadline
        )
        if not met:
            raise self._not_met(Probing)
        self._wait_for(Probed, source)
        # Whoever was faster to connect, and says nothing, keeps the target waiting: then the link stays unknown.
        deadline = time.monotonic() + _OTHER_END_TIME
        if not self.sessions.wait(*self._sessions, until=lambda: target.has(LinkMeasured), deadline=deadline):
            return None
        return target.expect(LinkMeasured).rate

    def _wait_for(self, kind: type[Event], *sessions: Session) -> None:
        """Wait until each of ``sessions`` has sent an event of that name."""

        def late() -> list[str]:
            return [session.host for session in sessions if not session.has(kind)]

        deadline = time.monotonic() + _READY_TIME
        self.sessions.wait(*self._sessions, until=lambda: not late() or self._has_failed(), deadline=deadline)
        self._raise_stream_failure()
        if late():
            raise RemoteExecutionError(f"{', '.join(late())}: not {kind.event_name} within {_READY_TIME:.0f} seconds")

    def _stream(self) -> None:
        """Wait for the end of the stream on both ends.

        Raises:
            StreamError: a stage failed, the two did not meet, or the stream stood still.
        """
        began = time.monotonic()
        sending = None
        while not self._has_ended() and not self._has_failed():
            now = time.monotonic()
            if sending is None and self.source_session.has(Sending):
                # Until now the source has listed what there is, or waited for a server; that has no limit.
                sending = self.source_session.moved = now
                self._enter(Phase.COPYING)
            if sending is not None:
                self._check_limits(now - sending, now - max(session.moved for session in self._sessions))
            self.sessions.wait(*self._sessions, until=lambda: self._has_ended() or self._has_failed(), deadline=now + 1)
        self._raise_stream_failure()
        took = max(time.monotonic() - began, 0.001)
        what, count = self._received()
        facts = self.plan.facts
        self.note(
            wire_bytes=self.target_session.received_bytes, stream_seconds=took, bytes=facts.bytes, files=facts.files
        )
        rate = f" ({size(count / took)}/s)" if count else ""
        logger.info("%s: received %s in %.1f s%s", self.target_session.host, what, took, rate)

    def _received(self) -> tuple[str, int]:
        """Return what has arrived, in words, and how many bytes that is, or 0 if nobody has counted them."""
        if self.plan.options.transfer_type is TransferType.FILE:
            return size(self.plan.facts.bytes), self.plan.facts.bytes
        # Of a server's files only an estimate is known, of a tarball's none: what counts is what passed the network.
        # Its digest is its size, but for --parallel-checksum.
        counted = self.target_session.last(StreamDigest)
        if counted is None or self.plan.options.parallel_checksum:
            return "the stream", 0
        try:
            count = parse_count(counted.digest)
        except ValueError:
            return "the stream", 0  # that it is no size, the comparison with the source's says
        return f"a stream of {size(count)}", count

    def _has_ended(self) -> bool:
        return all(job in session.statuses for session, job, _ in self._jobs)

    def _has_failed(self) -> bool:
        return any(any(session.statuses.get(job, ())) for session, job, _ in self._jobs) or any(self._failed_checks())

    def _check_limits(self, since_start: float, since_moved: float) -> None:
        options = self.plan.options
        if not self.target_session.has(Connected) and since_start > options.connect_timeout:
            raise self._not_met(Listening)
        # A backup may take its time until its first byte; a tree is read at once. What has left the source may all be
        # in the buffers between the two.
        moved = max(self.source_session.bytes, self.target_session.received_bytes)
        flows = options.transfer_type is not TransferType.XTRABACKUP or moved > _FLOWING
        if flows and since_moved > options.idle_timeout:
            names = f"{self.source_session.host} to {self.target_session.host}"
            raise StreamError(
                f"{names}: the stream stood still for {options.idle_timeout} seconds,"
                f" after {size(self.target_session.bytes)} (--idle-timeout)"
            )

    def _not_met(self, kind: type[Listening] | type[Probing]) -> StreamError:
        port = self.target_session.expect(kind).port
        return StreamError(
            f"{self.source_session.host} to {self.target_session.host}: no connection to {self.edge.address}"
            f" port {port} within {self.plan.options.connect_timeout} seconds;"
            " is there a firewall between the two? (--connect-timeout)"
        )

    def _raise_stream_failure(self) -> None:
        if not self._has_failed():
            return
        if not_listed := dict(self._failed_checks()):
            raise VerificationError("; ".join(not_listed.values()))
        # The first to fail is often only the victim of the other end.
        deadline = time.monotonic() + _OTHER_END_TIME
        self.sessions.wait(until=self._has_ended, deadline=deadline)
        if self.plan.options.transfer_type is TransferType.DECOMPRESS:
            # A tarball that shrank was sent in good order: that it is not what it was, only its second look tells.
            self.sessions.wait(until=lambda: self.source_is_free, deadline=deadline)
            self._raise_if_changed()
        raise StreamError("; ".join(self._culprits()))

    def _culprits(self) -> list[str]:
        """Say which stages failed: those that touch files before those that touch the network, victims last."""
        found: list[tuple[int, str]] = []
        for session, job, names in self._jobs:
            transport = 0 if job == "receive" else len(names) - 1
            statuses = session.statuses.get(job, ())
            for number, status in enumerate(statuses):
                name = names[number] if number < len(names) else job
                # Where it cannot make a file, a tool that unpacks a hot copy says so and ends with status 0.
                if status == 0 and not (name in UNPACK_TOOLS and (job, str(number)) in session.errors):
                    continue
                killed = status > _SIGNALLED
                # A transport that lost its peer, or the stage behind it, is seldom the cause; one that says anything
                # else is.
                said = session.errors.get((job, str(number)), "")
                lost = not said or any(words in said for words in _LOST_PEER)
                # A backup tool lives on after SIGPIPE, and says at length that it could not write.
                unread = name in BACKUP_TOOLS and "Broken pipe" in said and any(statuses[number + 1 : number + 2])
                victim = lost if number == transport else unread
                rank = 2 if status == _BROKEN_PIPE else 1 if victim and not killed else 0
                found.append((rank, _stage_failure(session, job, number, name, status)))
        worst = min(rank for rank, _ in found)
        return [text for rank, text in found if rank == worst]

    def _log_position(self) -> None:
        """Say where in the binary logs a hot copy stands: what the next command needs."""
        position = self.target_session.last(Position)
        if position and position.binlog:
            binlog = " ".join(position.binlog.split())
            self.note(position=binlog)
            logger.info("%s: binary log file, position and GTID: %s", self.edge.final, binlog)
        if position and position.replica:
            logger.info("%s: as its source replicates: %s", self.edge.final, " ".join(position.replica.split()))

    # --- check

    def _check(self) -> None:
        """Compare what both ends say of the data.

        Raises:
            VerificationError: they differ, or the source changed while it was read.
        """
        options = self.plan.options
        self._wait_for_checks(Checked, *self._sessions)
        self._raise_if_changed()
        is_file = options.transfer_type is TransferType.FILE
        if (options.parallel_checksum or not is_file) and not self._agree(StreamDigest):
            raise VerificationError(f"{self.edge.target}: the stream was damaged on its way")
        for kind in self._lists:
            if not self._agree(kind):
                raise VerificationError(f"{self.edge.target}: {self._difference(kind.event_name)}")
        if options.transfer_type is TransferType.XTRABACKUP and not self._agree(Tables):
            self._raise_if_tables_lack()
        if is_file:
            entries = self.target_session.expect(Manifest).entries
            agreed = "checksums" if options.checksum else "names, kinds, owners and sizes"
            logger.info("%s: %s of %s entries agree with the source", self.target_session.host, agreed, entries)
            self.note(checks=(f"{self.plan.algorithm} {agreed} agree".strip(),))
        if options.parallel_checksum or not is_file:
            agreed = "checksum" if options.parallel_checksum else "size"
            logger.info("%s: the %s of the stream agrees with the source", self.target_session.host, agreed)
            self.note(checks=(f"{self.plan.algorithm} {agreed} of the stream agrees".strip(),))
        if not is_file:
            counted = self.target_session.expect(Checked)
            self.note(bytes=counted.bytes, files=counted.files)

    def _raise_if_changed(self) -> None:
        if changed := self.source_session.last(SourceChanged):
            raise VerificationError(f"{self.plan.source}: changed during the copy: {name_some(changed.paths)}")

    def _wait_for_checks(self, kind: type[Event], *sessions: Session) -> None:
        """Wait until each of ``sessions`` has sent that event, or the source, if it is one of them, that it changed.

        Raises:
            VerificationError: a check could not be made.
            FinishError: preparing the copy, or giving it away, failed.
            PublishError: it could not be written to disk.
        """

        def known() -> bool:
            come = all(session.has(kind) for session in sessions)
            # Once both have checked, a source has nothing more to say: only its target knows what is published.
            changed = self.source_session in sessions and self.source_session.has(SourceChanged)
            return come or changed or any(self._failed_checks())

        self.sessions.wait(*sessions, until=known)
        failed = dict(self._failed_checks())
        if failed:
            raise _LATE_ERRORS.get(next(iter(failed)), VerificationError)("; ".join(failed.values()))

    def _failed_checks(self) -> list[tuple[str, str]]:
        return [failure for session in self._sessions for failure in _failed_checks(session)]

    def _agree(self, kind: type[ListDigest] | type[StreamDigest]) -> bool:
        """Return whether both ends have sent this digest, and the same."""
        digests = {event.digest if (event := session.last(kind)) else "" for session in self._sessions}
        return len(digests) == 1 and "" not in digests

    def _raise_if_tables_lack(self) -> None:
        """Compare the tables of the server with those of the copy, which may have some that are new.

        Raises:
            VerificationError: the copy lacks some, or that could not be found out.
        """
        try:
            lacking = lacking_tables(*self._records("tables"))
        except RemoteExecutionError as error:
            what = f"{self.edge.target}: whether all tables arrived is not known"
            raise VerificationError(f"{what}: {error}") from error
        if lacking:
            raise VerificationError(f"{self.edge.target}: the backup lacks tables: {name_some(lacking)}")

    def _records(self, name: str) -> list[Iterator[str]]:
        return [fetch_records(self.remote, session, name) for session in self._sessions]

    def _difference(self, name: str) -> str:
        what = "the content differs" if name == "digests" else "not complete, or of another kind, owner or size"
        # Small files share a digest; which of them differ, their marks say.
        held = ("digests.marks", name) if name == "digests" else (name,)
        try:
            named = (name_some(differing_paths(*self._records(each))) for each in held)
            return f"{what}: {next(filter(None, named), '')}"
        except RemoteExecutionError as error:
            return f"{what}; which files could not be found out: {error}"


def _failed_checks(session: Session) -> Iterator[tuple[str, str]]:
    """Yield the name of each job beside the stream that failed, and why."""
    for job in ("manifest", "stamps", "digest", "backup", "tables", "prepare", "owner", "sync"):
        status = max(session.statuses.get(job, (0,)))
        if status:
            yield job, _stage_failure(session, job, "-", job, status)


def _stage_failure(session: Session, job: str, stage: int | str, name: str, status: int) -> str:
    end = f"was ended by signal {status - 128}" if status > 128 else f"failed with status {status}"  # noqa: PLR2004 # shells
    said = session.errors.get((job, str(stage)), "") or session.errors.get((job, "-"), "")
    # Behind what matters, the log of a backup tool has lines that do not.
    count = 8 if job in {"prepare", "backup"} or name in BACKUP_TOOLS else 3
    lines = [line for line in said.splitlines() if line.strip() and not _PROGRESS_LINE.match(line)][-count:]
    return f"{session.host}: {name} {end}" + (f": {'; '.join(lines)}" if lines else "")
