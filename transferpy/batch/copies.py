"""The copies of a job: their registry on this host, and the removal of old copies on the target hosts."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transferpy.agent.protocol import ProtocolError, Pruned, PruneResult, parse_event
from transferpy.Exceptions import RemoteExecutionError, error_text
from transferpy.host import assemble
from transferpy.output.atomic_file import write_atomically
from transferpy.RemoteExecution.interface import RemoteExecution
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command

_TIMEOUT = 3600.0
"""Seconds for the removal of the old copies of one target; a disk may hang."""
_MESSAGES = {
    PruneResult.REMOVED: (logging.INFO, "old copy removed"),
    PruneResult.OTHER: (
        logging.WARNING,
        "not removed: a different directory now has this name; transferpy will not remove it",
    ),
    PruneResult.SHARED: (logging.WARNING, "not removed: it contains more than the copy; transferpy will not remove it"),
    PruneResult.IN_USE: (logging.WARNING, "not removed: a process uses the old copy"),
    PruneResult.CHANGED: (logging.WARNING, "not removed: the old copy has changed since it was made"),
    PruneResult.NOT_MOUNTED: (logging.WARNING, "the old copy was not found: its file system is not mounted there"),
    PruneResult.FAILED: (logging.ERROR, "the old copy cannot be removed"),
}
"""The log line for each result of the script on the host; the other results are not logged."""
_FORGOTTEN = frozenset({PruneResult.REMOVED, PruneResult.GONE, PruneResult.OTHER, PruneResult.SHARED})
"""Results after which there is no record any more."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CopyRecord:
    """A directory that a job has made. Pruning removes no other directory."""

    transfer: str
    host: str
    template: str  # the path of the target in the job file, with its placeholders
    path: str
    inode: int
    born: int = 0  # when it was made, in seconds since 1970; 0 if the file system does not record that
    holds: str = ""  # the name of the only entry in the directory; empty if it may have several entries
    published: int = 0  # when the copy got its final name, in seconds since 1970; 0 in records of version 1.0
    filesystem: str = ""  # the identity of its file system; empty in records of version 1.0


def update_registry(path: Path, change: Callable[[list[CopyRecord]], bool]) -> bool:
    """Let a function change the list of a job's copies, the oldest first.

    Return whether the function returned True, and the list could be read and written; an error is logged.
    """
    try:
        records = _read_registry(path)
        succeeded = change(records)
        text = json.dumps({"copies": [asdict(record) for record in records]}, indent=1)
        write_atomically(path, text + "\n", mode=0o600)
    except (OSError, ValueError) as error:
        logger.error("%s: the list of copies cannot be updated: %s", path, error_text(error))  # noqa: TRY400 # an expected failure
        return False
    return succeeded


def _read_registry(path: Path) -> list[CopyRecord]:
    try:
        return [CopyRecord(**values) for values in json.loads(path.read_text(encoding="utf-8"))["copies"]]
    except FileNotFoundError:
        return []
    except (KeyError, TypeError) as error:
        raise ValueError(f"invalid content: {error}") from error


def prune(remote: RemoteExecution, keep: Mapping[str, int], records: list[CopyRecord]) -> bool:
    """Remove old copies of transfers, and the records of copies that are gone; return whether all could be removed.

    ``keep`` is the number of copies to keep of each target, by the name of the transfer.
    """
    succeeded = True
    newest_first: dict[tuple[str, str, str], list[CopyRecord]] = {}
    for record in reversed(records):
        if record.transfer in keep:
            newest_first.setdefault((record.transfer, record.host, record.template), []).append(record)
    failures: dict[str, RemoteExecutionError] = {}
    order = {transfer: number for number, transfer in enumerate(keep)}
    for (transfer, host, _), found in sorted(newest_first.items(), key=lambda item: (order[item[0][0]], item[0])):
        try:
            if host in failures:
                raise failures[host]  # a host that hangs is waited for once
            results = _prune_host(remote, host, keep[transfer], found)
        except RemoteExecutionError as error:
            logger.error("[%s] old copies cannot be removed: %s", transfer, error)  # noqa: TRY400 # as above
            failures[host] = error
            succeeded = False
            continue
        for record, result in zip(found, results, strict=True):
            if result in _MESSAGES:
                level, message = _MESSAGES[result]
                logger.log(level, "[%s] %s:%s: %s", transfer, host, record.path, message)
            if result in _FORGOTTEN:
                records.remove(record)
        succeeded = succeeded and PruneResult.FAILED not in results
    return succeeded


def _prune_host(remote: RemoteExecution, host: str, keep: int, newest_first: Sequence[CopyRecord]) -> list[PruneResult]:
    """Remove old copies of one target; return the result for each, or raise RemoteExecutionError if one is missing."""
    run_id = secrets.token_hex(8)
    words = (word for each in newest_first for word in _words(each))
    call = render_command(Command(("prune", str(keep), *words)))
    script = assemble("tools/prune", variables={"run_id": run_id}, call=call)
    lines: list[str] = []
    result = remote.run(host, script, on_line=lines.append, timeout=_TIMEOUT)
    try:
        events = [event for line in lines if isinstance(event := parse_event(line, run_id), Pruned)]
    except ProtocolError as error:
        raise RemoteExecutionError(f"{host}: pruning returned a malformed event {error}") from error
    if len(events) != len(newest_first):
        raise RemoteExecutionError(f"{host}: status {result.returncode}: {result.output[-500:]}")
    return [event.result for event in events]


def _words(copy: CopyRecord) -> tuple[str, ...]:
    """Return the arguments for one copy."""
    return (copy.path, str(copy.inode), str(copy.born), copy.holds, str(copy.published), copy.filesystem)
