"""The root causes of a failed stream, told apart from the secondary failures that they cause."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import NoReturn

from transferpy.agent.protocol import SourceChanged
from transferpy.agent.session import Session
from transferpy.engine.dead_connection import dead_connection, unanswered
from transferpy.engine.differences import name_some
from transferpy.engine.handshake import explain_handshake
from transferpy.engine.stream_run import StreamEnd, StreamRun
from transferpy.Exceptions import FinishError, PublishError, StreamError, TransferpyError, VerificationError
from transferpy.MariaDB import BACKUP_TOOLS, UNPACK_TOOLS

_OTHER_END_TIME = 5.0
"""Seconds that the other end has to report its failure: the first failure that arrives is often a secondary one."""

_BROKEN_PIPE = 141
_SIGNALLED = 128
_LATE_ERRORS: dict[str, type[TransferpyError]] = {
    "prepare": FinishError,
    "owner": FinishError,
    "sync": PublishError,
}
"""Tasks of a target that run after its checks; the first one that fails is the last one that runs."""
_PROGRESS_LINE = re.compile(r"\[\d\d\] [\d-]+ [\d:]+ ((Copying|Streaming) |.*(\.\.\.done|copied successfully\.)$)")
"""The lines of a backup tool about a file without a fault."""
_CUT_INPUT = re.compile(
    r"unexpected end|unexpected EOF|not look like a tar archive|premature end|incomplete|unfinished|\bempty$"
    r"|unrecognized (format|header)|format not recognized|unknown header",
    re.IGNORECASE | re.MULTILINE,
)
"""The messages of tools that unpack, when their input ends early."""
_LOST_PEER = ("Broken pipe", "Connection reset", "unexpected eof", "Connection refused")
_LINES, _LINES_OF_LONG_LOGS = 3, 8
"""The last lines of standard error that a message quotes; a backup tool prints other lines behind its error."""


def await_other_end(run: StreamRun, *sessions: Session, until: Callable[[], bool]) -> bool:
    """Give the other end a few seconds to report its failure; arguments and result are those of SessionManager.wait."""
    return run.sessions.wait(*sessions, until=until, deadline=time.monotonic() + _OTHER_END_TIME)


def raise_if_dead(run: StreamRun) -> None:
    """Raise a StreamError if an end of the connection got no answer: all other failures follow from that."""
    if unanswered(run):
        await_other_end(run, until=lambda: len(unanswered(run)) == len(run.both) or run.has_ended())
        raise StreamError("; ".join(unanswered(run)))


def raise_stream_failure(run: StreamRun) -> NoReturn:
    """Raise the error of a stream that has failed, after the other end had time to report its failure.

    Raises:
        VerificationError: a task beside the stream failed, or the source changed.
        StreamError: a stage failed.
        TransferpyError: a session ended, failed or fell silent.
    """
    raise_if_dead(run)
    if failures := _task_failures(run):
        raise VerificationError("; ".join([*_storage_faults(run), *failures.values()]))
    await_other_end(run, until=run.has_ended)
    raise_if_dead(run)
    if not run.plan.options.type.fails_when_source_changes:
        # A tarball that was truncated meanwhile is sent without an error. Only the second listing finds the change.
        await_other_end(run, until=lambda: run.sender_is_free)
        raise_if_changed(run)
    raise StreamError("; ".join(filter(None, [*_root_causes(run), _handshake_fault(run)])))


def raise_task_failure(run: StreamRun) -> None:
    """Raise the error of the tasks beside the stream that have failed, if there are any.

    Raises:
        VerificationError: a check could not be made.
        FinishError: the copy could not be prepared, or its owner could not be set.
        PublishError: the copy could not be written to disk.
    """
    if failures := _task_failures(run):
        messages = [*_storage_faults(run), *failures.values()]
        raise _LATE_ERRORS.get(next(iter(failures)), VerificationError)("; ".join(messages))


def _task_failures(run: StreamRun) -> dict[str, str]:
    """Return the message of each task beside the stream that has failed, by the name of the task."""
    return {task: _stage_failure(session, task, "-", task, status) for session, task, status in run.failed_tasks()}


def raise_if_changed(run: StreamRun) -> None:
    """Raise a VerificationError if the source changed during the copy."""
    if changed := run.sender.last(SourceChanged):
        raise VerificationError(f"{run.plan.source}: changed during the copy: {name_some(changed.paths)}")


def _root_causes(run: StreamRun) -> list[str]:
    """Return the failures of the highest rank, after a fault of the file system of the target."""
    ranked = [ranked for end in run.ends for ranked in _failures(run, end)]
    highest = min(rank for rank, _ in ranked)
    messages = (message for rank, message in ranked if rank == highest)
    return [*_storage_faults(run), *dict.fromkeys(messages)]  # two lanes can have the same one


def _handshake_fault(run: StreamRun) -> str:
    """Return the reason for which the sender could not connect; empty if that is not why the stream failed."""
    has_failed_to_connect = any(
        any(end.statuses) and end.statuses[-1] not in {0, _BROKEN_PIPE} for end in run.sending_ends
    )
    has_received = any(end.statuses for end in run.receiving_ends)
    with suppress(TransferpyError):  # the failure of the stream is reported in any case
        return explain_handshake(run) if has_failed_to_connect and not has_received else ""
    return ""


def _storage_faults(run: StreamRun) -> list[str]:
    return [f"{session.host}: {session.storage_fault}" for session in run.both if session.storage_fault]


class _Rank(IntEnum):
    """How likely a failure is a root cause, the most likely one first."""

    OWN_FAULT = 0
    LOST_PEER = 1  # the transport lost its peer, or the stage behind it
    CUT_INPUT = 2  # the stage before sent too little
    AFTER_FAILURE = 3  # a stage before it on this end failed
    BROKEN_PIPE = 4  # the stage behind it ended


def _failures(run: StreamRun, end: StreamEnd) -> Iterator[tuple[_Rank, str]]:
    """Yield the rank and the message of each failed stage; of all stages together if their connection was reset."""
    if message := dead_connection(run, end.session):
        yield _Rank.LOST_PEER, message
    else:
        yield from _ranked_failures(end)


def _ranked_failures(end: StreamEnd) -> Iterator[tuple[_Rank, str]]:
    """Yield the rank and the message of each failed stage."""
    input_failed = False
    for number, status in enumerate(end.statuses):
        name = end.stages[number] if number < len(end.stages) else end.task
        printed = end.session.errors.get((end.task, str(number)), "")
        # A tool that unpacks a hot copy and cannot make a file reports that, and exits with status 0.
        if status == 0 and not (name in UNPACK_TOOLS and printed):
            continue
        rank = _rank(end, number, printed)
        if input_failed and rank in {_Rank.OWN_FAULT, _Rank.CUT_INPUT} and status <= _SIGNALLED:
            rank = _Rank.AFTER_FAILURE
        # If a stage could not write, the stage behind it ended first.
        input_failed = rank != _Rank.BROKEN_PIPE and "Broken pipe" not in printed
        yield rank, _stage_failure(end.session, end.task, number, name, status)


def _rank(end: StreamEnd, number: int, printed: str) -> _Rank:
    status = end.statuses[number]
    transport = 0 if end.receives else len(end.stages) - 1
    if status == _BROKEN_PIPE:
        return _Rank.BROKEN_PIPE
    if status > _SIGNALLED:
        return _Rank.OWN_FAULT
    if number == transport:
        return _Rank.LOST_PEER if not printed or any(words in printed for words in _LOST_PEER) else _Rank.OWN_FAULT
    # A tool that survives SIGPIPE reports at length that it could not write.
    behind = end.session.errors.get((end.task, str(number + 1)), "")
    if "Broken pipe" in printed and any(end.statuses[number + 1 :][:1]) and not _CUT_INPUT.search(behind):
        return _Rank.BROKEN_PIPE
    # In front of the tar of a lane is the program that reads its names.
    first = transport if end.receives else end.stages.index("tar") if "tar" in end.stages else 0
    return _Rank.CUT_INPUT if number > first and _CUT_INPUT.search(printed) else _Rank.OWN_FAULT


def _stage_failure(session: Session, task: str, stage: int | str, name: str, status: int) -> str:
    """Return the message for one failed stage: its host, its exit status, and the end of its standard error."""
    end = f"was ended by signal {status - _SIGNALLED}" if status > _SIGNALLED else f"failed with status {status}"
    printed = session.errors.get((task, str(stage)), "") or session.errors.get((task, "-"), "")
    count = _LINES_OF_LONG_LOGS if task in {"prepare", "backup"} or name in BACKUP_TOOLS else _LINES
    lines = [line for line in printed.splitlines() if line.strip() and not _PROGRESS_LINE.match(line)][-count:]
    return f"{session.host}: {name} {end}" + (f": {'; '.join(lines)}" if lines else "")
