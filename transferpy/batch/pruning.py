"""Pruning: the removal of old copies of a job on the target hosts."""

import logging
import secrets
from collections.abc import Sequence

from transferpy.agent.protocol import ProtocolError, Pruned, parse_event
from transferpy.batch.registry import CopyRecord
from transferpy.Exceptions import RemoteExecutionError
from transferpy.host import assemble
from transferpy.RemoteExecution.interface import RemoteExecution
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command

_MESSAGES = {
    "removed": (logging.INFO, "old copy removed"),
    "other": (logging.WARNING, "not removed: a different directory now has this name; transferpy will not remove it"),
    "shared": (logging.WARNING, "not removed: it contains more than the copy; transferpy will not remove it"),
    "failed": (logging.ERROR, "the old copy cannot be removed"),
}
"""The log line for each result of the script on the host; ``kept`` and ``gone`` are not logged."""
_FORGOTTEN = frozenset({"removed", "gone", "other", "shared"})
"""Results after which the registry has no record of the copy any more."""

logger = logging.getLogger(__name__)


def prune(remote: RemoteExecution, transfer: str, keep: int, records: list[CopyRecord]) -> bool:
    """Remove the old copies of a transfer, and their records from the list; return whether all could be removed.

    Args:
        remote: the hosts.
        transfer: the name of the transfer.
        keep: the number of copies to keep of each target.
        records: the records of the job, the oldest first.
    """
    succeeded = True
    for host, template in sorted({(record.host, record.template) for record in records if record.transfer == transfer}):
        place = (transfer, host, template)
        found = [record for record in reversed(records) if (record.transfer, record.host, record.template) == place]
        try:
            results = _prune_host(remote, host, keep, found)
        except RemoteExecutionError as error:
            logger.error("[%s] old copies cannot be removed: %s", transfer, error)  # noqa: TRY400 # an expected failure
            succeeded = False
            continue
        for record, result in zip(found, results, strict=True):
            if result in _MESSAGES:
                level, message = _MESSAGES[result]
                logger.log(level, "[%s] %s:%s: %s", transfer, host, record.path, message)
            if result in _FORGOTTEN:
                records.remove(record)
        succeeded = succeeded and "failed" not in results
    return succeeded


def _prune_host(remote: RemoteExecution, host: str, keep: int, records: Sequence[CopyRecord]) -> list[str]:
    """Remove all but the newest copies of one target, and return the result for each record.

    Args:
        remote: the hosts.
        host: the target host.
        keep: the number of copies to keep.
        records: the records, the newest first.

    Raises:
        RemoteExecutionError: the host did not report a result for each record.
    """
    run_id = secrets.token_hex(8)
    words = (word for each in records for word in (each.path, str(each.inode), str(each.born), each.holds))
    call = render_command(Command(("prune", str(keep), *words)))
    script = assemble("tools/prune", variables={"run_id": run_id}, call=call)
    lines: list[str] = []
    result = remote.run(host, script, on_line=lines.append)
    try:
        events = [event for line in lines if isinstance(event := parse_event(line, run_id), Pruned)]
    except ProtocolError as error:
        raise RemoteExecutionError(f"{host}: pruning returned a malformed event {error}") from error
    if len(events) != len(records):
        raise RemoteExecutionError(f"{host}: status {result.returncode}: {result.output[-500:]}")
    return [event.result for event in events]
