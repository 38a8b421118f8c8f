"""What became of a run, as values: who wants it as log lines, JSON or metrics makes them of these.

A run keeps its ``Record`` up to date; ``Record.report`` can be asked for at any time, also when a signal ended the run.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from transferpy.compression import NOTHING
from transferpy.options import Location

VERSION = 1
"""Of the JSON document: a field may be added without a new one, but none removed or given another meaning."""


@dataclass(frozen=True, kw_only=True)
class TargetReport:
    """What became of one target.

    Attributes:
        target: host and directory.
        final: where the copy stands, or would.
        status: 0, or the exit status of its failure; None if it was not tried.
        error: why it failed, else empty.
        codec: what the stream was compressed with, ``none`` for nothing; empty while that is not decided.
        bytes: sum of the sizes of the files that arrived; 0 while that is not known.
        files: how many regular files arrived; 0 while that is not known.
        wire_bytes: what came through the network, as it came.
        stream_seconds: how long the stream ran.
        seconds: wall time for this target, from its session to the end of its clean-up.
        checks: what was compared and agreed.
        position: of a hot copy, where it stands in the binary logs of its server.
        made_inode: of the target directory, if this run made it.
        made_born: when that was made, in seconds since 1970; 0 if its file system does not know.
    """

    target: Location
    final: Location
    status: int | None = None
    error: str = ""
    codec: str = ""
    bytes: int = 0
    files: int = 0
    wire_bytes: int = 0
    stream_seconds: float = 0.0
    seconds: float = 0.0
    checks: tuple[str, ...] = ()
    position: str = ""
    made_inode: int | None = None
    made_born: int = 0

    @property
    def ratio(self) -> float | None:
        """How many bytes on disk went into one on the wire."""
        return self.bytes / self.wire_bytes if self.bytes and self.wire_bytes else None


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """What became of a run.

    Attributes:
        name: of the transfer in its job file, else empty.
        source: host and path as the user gave them.
        transfer_type: what was copied.
        cipher: what the streams were encrypted with; empty if they were not, or nothing was planned.
        checksum: what the content of the data was compared by; as cipher.
        started: when, in UTC.
        seconds: wall time.
        status: what ``transfer.py`` exits with.
        errors: why the run as a whole failed; what failed for one target stands there.
        interrupted: the signal that ended it, else empty.
        dry_run: whether nothing was to be copied.
        attempts: how often it was tried; more than once by jobs only.
        targets: in the order in which they are served.
        plan: of a dry run, what would be done, a line each.
    """

    name: str = ""
    source: Location | None = None
    transfer_type: str = ""
    cipher: str = ""
    checksum: str = ""
    started: datetime
    seconds: float = 0.0
    status: int = 0
    errors: tuple[str, ...] = ()
    interrupted: str = ""
    dry_run: bool = False
    attempts: int = 1
    targets: tuple[TargetReport, ...] = ()
    plan: tuple[str, ...] = ()


class Record:
    """The report of a run that is at work.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._report = TransferReport(started=datetime.now(UTC))

    @property
    def report(self) -> TransferReport:
        """What is known by now."""
        return self._report

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return self._clock() - self._began

    def note(self, **changes: Any) -> None:
        """Set attributes of the report."""
        self._report = replace(self._report, **{"seconds": self.seconds, **changes})

    def note_target(self, index: int, **changes: Any) -> None:
        """Set attributes of one target's report."""
        targets = list(self._report.targets)
        targets[index] = replace(targets[index], **changes)
        self.note(targets=tuple(targets))


def interrupted(report: TransferReport, name: str, status: int) -> TransferReport:
    """Return the report of a run that the signal ``name`` ended, with the exit status of that."""
    return replace(report, interrupted=name, status=status)


def summary(report: TransferReport) -> Iterator[str]:
    """Yield a line for each target, and one for the run; nothing if no target was tried."""
    tried = [target for target in report.targets if target.status is not None]
    if not tried:
        return
    for target in report.targets:
        yield f"{target.final}: {_outcome(report, target)}"
    good = sum(target.status == 0 for target in tried)
    behind = ", but replication is not known to run again" if report.errors else ""
    yield f"{good} of {len(report.targets)} target(s) succeeded in {report.seconds:.1f} s{behind}"


def _outcome(report: TransferReport, target: TargetReport) -> str:
    if target.status is None:
        return "not tried"
    if target.status != 0:
        return f"FAILED with status {target.status} after {duration(target.seconds)}"
    words = [f"{size(target.bytes)} in {target.files} file(s)"] if target.files else []
    if target.stream_seconds and target.bytes:
        words.append(f"{size(target.bytes / target.stream_seconds)}/s on disk")
    if target.stream_seconds and target.wire_bytes:
        words.append(f"{size(target.wire_bytes / target.stream_seconds)}/s on the wire")
    compressed = target.codec not in {"", NOTHING}
    ratio = f" {target.ratio:.2f}:1" if target.ratio else ""
    words.append(f"{target.codec}{ratio}" if compressed else "not compressed")
    words += [report.cipher or "not encrypted", *target.checks]
    return f"ok in {duration(target.seconds)}: {', '.join(words)}"


def to_json(reports: Sequence[TransferReport], job: str = "") -> str:
    """Return the document that ``--report`` writes, for one run or for those of a job."""
    transfers = [_plain(report) for report in reports]
    document = {"version": VERSION, "job": job, "status": status_of(reports), "transfers": transfers}
    return json.dumps(document, indent=2) + "\n"


def status_of(reports: Sequence[TransferReport]) -> int:
    """Return the exit status of several runs: that of the first that a signal ended, or else that failed."""
    ended = [report.status for report in reports if report.interrupted and report.status]
    return next((status for status in (*ended, *(report.status for report in reports)) if status), 0)


def _plain(report: TransferReport) -> dict[str, Any]:
    """Return a report as what JSON knows, with what can be worked out from it."""
    values = asdict(report) | {"type": report.transfer_type, "started": report.started.isoformat()}
    del values["transfer_type"]
    for target, known in zip(values["targets"], report.targets, strict=True):
        target["ratio"] = known.ratio
    return values


def from_json(text: str) -> TransferReport:
    """Return the report in a document that holds one; a ValueError if it holds none."""
    try:
        (values,) = json.loads(text)["transfers"]
        values["transfer_type"] = values.pop("type")
        values["started"] = datetime.fromisoformat(values["started"])
        values["source"] = _location(values["source"])
        values |= {name: tuple(values[name]) for name in ("errors", "plan")}
        values["targets"] = tuple(_target_from(target) for target in values["targets"])
        return TransferReport(**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no report of a run: {error}") from error


def _target_from(values: dict[str, Any]) -> TargetReport:
    del values["ratio"]
    places = {name: _location(values[name]) for name in ("target", "final")}
    return TargetReport(**{**values, **places, "checks": tuple(values["checks"])})


def _location(values: Mapping[str, str] | None) -> Location | None:
    return None if values is None else Location(**values)


def size(number: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:  # noqa: PLR2004 # so that it never shows as 1000
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def duration(seconds: float) -> str:
    """Return a time span for people."""
    if seconds < 100:  # noqa: PLR2004 # more digits than that tell nobody anything
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
