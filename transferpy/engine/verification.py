"""Verify a copy: compare the lists and digests of both ends."""

import logging
from collections.abc import Callable, Iterator

from transferpy.agent import protocol
from transferpy.agent.list_transfer import fetch_records
from transferpy.agent.session import Session
from transferpy.engine.differences import (
    NamedDifferences,
    additional_paths,
    differing_attributes,
    differing_entries,
    differing_paths,
    name_some,
)
from transferpy.engine.root_cause import raise_if_changed, raise_task_failure
from transferpy.engine.stream_run import StreamRun
from transferpy.Exceptions import RemoteExecutionError, VerificationError

logger = logging.getLogger(__name__)


def verify(run: StreamRun) -> None:
    """Wait for the checks of both ends, and compare their results.

    Raises:
        VerificationError: the results differ, a check could not be made, or the source changed during the copy.
    """
    await_checks(run, protocol.Checked, *run.both)
    raise_if_changed(run)
    options = run.plan.options
    checks: list[str] = []
    if options.parallel_checksum or not options.type.compares_files:
        checks.append(_compare_streams(run))
    if options.type.compares_files:
        checks.append(_compare_lists(run))
    else:
        counted = run.receiver.expect(protocol.Checked)
        run.update_report(bytes=counted.bytes, files=counted.files)
    if options.type.compares_tables:
        # The other checks read files whose damage would mislead them.
        if options.checksum:
            checks.append(_compare_files_with_stream(run))
        _compare_tables(run)
        _raise_if_of_another_server(run)
    run.update_report(checks=tuple(checks))


def await_checks(run: StreamRun, kind: type[protocol.Event], *sessions: Session) -> None:
    """Wait until each of ``sessions`` has sent an event of that kind, or the sender reports a change of the source.

    Raises:
        TransferpyError: a task of the sessions failed, or one of the sessions ended, failed or fell silent.
    """

    def is_known() -> bool:
        arrived = all(session.has(kind) for session in sessions)
        # After the checks of both ends, only the receiver matters: it publishes.
        changed = run.sender in sessions and run.sender.has(protocol.SourceChanged)
        return arrived or changed or any(run.failed_tasks())

    run.wait(*sessions, until=is_known)
    raise_task_failure(run)


def _compare_streams(run: StreamRun) -> str:
    """Compare the digest of the stream, or its size; return the check for the report.

    Raises:
        VerificationError: they differ.
    """
    if not _agree(run, protocol.StreamDigest):
        raise VerificationError(f"{run.edge.target}: the stream was damaged on the network")
    is_digest = run.plan.options.parallel_checksum
    compared = "checksum" if is_digest else "size"
    logger.info("%s: the %s of the stream agrees with the source", run.receiver.host, compared)
    return f"{run.plan.algorithm if is_digest else ''} {compared} of the stream agrees".strip()


def _compare_files_with_stream(run: StreamRun) -> str:
    """Compare the files of a hot copy, on the disk, with the stream of the backup tool; return the check for a report.

    Raises:
        VerificationError: they differ.
    """
    if not _agree(run, protocol.FileDigests):
        names = _name_differences(run, differing_paths, protocol.FileDigests.event_name)
        raise VerificationError(f"{run.edge.target}: files on the disk differ from those of the backup tool{names}")
    files = run.receiver.expect(protocol.Checked).files
    logger.info("%s: checksums of %s files agree with the source", run.receiver.host, files)
    return f"{run.plan.algorithm} checksums agree"


def _compare_lists(run: StreamRun) -> str:
    """Compare the lists of files of both ends; return the check for the report.

    Raises:
        VerificationError: they differ, other than in a coarser fraction of a time.
    """
    if not _agree(run, protocol.Manifest):
        _raise_unless_times_are_coarser(run)
    if not _agree(run, protocol.Attributes):
        names = _name_differences(run, differing_attributes, protocol.Attributes.event_name)
        raise VerificationError(f"{run.edge.target}: extended attributes, ACLs or capabilities differ{names}")
    if run.plan.options.checksum and not _agree(run, protocol.FileDigests):
        # Small files share a digest. The list of marks has an entry for each of them.
        names = _name_differences(run, differing_paths, "digests.marks", protocol.FileDigests.event_name)
        raise VerificationError(f"{run.edge.target}: the content differs{names}")
    compared = "checksums" if run.plan.options.checksum else "names, kinds, owners, sizes, times and attributes"
    entries = run.receiver.expect(protocol.Manifest).entries
    logger.info("%s: %s of %s entries agree with the source", run.receiver.host, compared, entries)
    return f"{run.plan.algorithm} {compared} agree".strip()


def _raise_unless_times_are_coarser(run: StreamRun) -> None:
    """Compare the entries of two manifests that differ.

    A file system may store a time with fewer digits than that of the source. This loss is a warning.
    """
    difference = f"{run.edge.target}: missing, or different in kind, mode, owner, size or time"
    coarser, others = NamedDifferences(), NamedDifferences()
    try:
        for entry in differing_entries(*_records(run, protocol.Manifest.event_name)):
            (coarser if entry.is_coarser_time else others).add(str(entry))
    except RemoteExecutionError as error:
        raise VerificationError(f"{difference}; the paths could not be fetched: {error}") from error
    if others.number or not coarser.number:
        raise VerificationError(f"{difference}: {others}")
    logger.warning(
        "%s: the file system stores coarser times than the source: %s entries lost a part of a second: %s",
        run.edge.target,
        coarser.number,
        coarser,
    )


def _agree(run: StreamRun, kind: type[protocol.ListDigest] | type[protocol.StreamDigest]) -> bool:
    """Return whether both ends have sent this digest, and the same."""
    digests = {event.digest if (event := session.last(kind)) else "" for session in run.both}
    return len(digests) == 1 and "" not in digests


def _raise_if_of_another_server(run: StreamRun) -> None:
    """Compare the end of the redo log in a hot copy with the positions of the server before and after the backup.

    The backup tool reads the end from the files, and the server reports the positions.

    Raises:
        VerificationError: the redo log ends at another position.
    """
    log, position = run.sender.last(protocol.RedoLog), run.receiver.last(protocol.Position)
    if log and not log.last:
        logger.warning("%s: the redo log was not compared: the server did not answer after the backup", run.sender.host)
    elif log and position and not log.first <= position.lsn <= log.last:
        raise VerificationError(
            f"{run.edge.target}: the backup has the files of another server: its redo log ends at {position.lsn}, but"
            f" that of the server was at {log.first} before the backup and at {log.last} after it"
        )


def _compare_tables(run: StreamRun) -> None:
    """Compare the tables of the server with those of the copy, which has those of one moment during the backup.

    The copy must have the files of all tables that the server had all the time. Its other tables must have all files,
    too, except for those that the server also lacked, such as the data of a table in the system tablespace. No list of
    the server has a table that was created and dropped in between: if such a table can be in the system tablespace
    (``innodb_file_per_table``), it may lack its data.

    Raises:
        VerificationError: files are missing in the copy, or the lists could not be fetched.
    """
    try:
        missing = "" if _agree(run, protocol.Tables) else name_some(additional_paths(*_records(run, "tables")))
        if not missing and not _agree(run, protocol.Lacking):
            source, copy = _records(run, "lacking")
            per_table = run.sender.expect(protocol.Lacking).file_per_table
            lacking = additional_paths(copy, source)
            missing = name_some(path for path in lacking if per_table or not path.endswith(".ibd"))
    except RemoteExecutionError as error:
        raise VerificationError(f"{run.edge.target}: the tables of the copy could not be compared: {error}") from error
    if missing:
        raise VerificationError(f"{run.edge.target}: the backup lacks tables: {missing}")


def _records(run: StreamRun, name: str) -> list[Iterator[str]]:
    return [fetch_records(run.remote, session, name) for session in run.both]


def _name_differences(run: StreamRun, differing: Callable[..., Iterator[str]], *lists: str) -> str:
    """Return the first few paths in which the first of ``lists`` differs that differs at all, for a message."""
    try:
        paths = (name_some(differing(*_records(run, name))) for name in lists)
        return f": {next(filter(None, paths), '')}"
    except RemoteExecutionError as error:
        return f"; the paths could not be fetched: {error}"
