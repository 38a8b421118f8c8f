"""The request to copy a source to targets, and the request to run a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location
from transferpy.model.options import ToolOptions, TransferOptions


@dataclass(frozen=True, kw_only=True)
class TransferRequest:
    """The source, the targets and the options of one run; raises UsageError if they contradict each other."""

    source: Location
    targets: tuple[Location, ...]
    options: TransferOptions

    def __post_init__(self) -> None:
        if not self.targets:
            raise UsageError(f"{self.source}: no target to copy to")
        seen = set()
        for target in self.targets:
            directory = (target.host, target.path.rstrip("/"))
            if directory in seen:
                raise UsageError(f"{target}: this target is given twice")
            seen.add(directory)
            if self.options.create_target and ".." in target.path.split("/"):
                raise UsageError(f"{target}: with create_target, a target path must not contain ..")
        if self.options.type.reads_socket and not self.source.path.startswith("/"):
            raise UsageError(f"{self.source}: the path of a socket must be absolute")
        if self.options.type.has_named_copy and self.final_name in {"", ".", ".."}:
            raise UsageError(
                f"{self.source}: this source path has no name that the copy could get;"
                " end it with the name of a file or directory"
            )

    @property
    def final_name(self) -> str:
        """Return the name that a copied file or tree gets in the target directory."""
        return self.source.path.rstrip("/").rpartition("/")[2]

    def final(self, target: Location) -> Location:
        """Return the final location of the copy on a target."""
        if not self.options.type.has_named_copy:
            return target
        return Location(host=target.host, path=f"{target.path.rstrip('/')}/{self.final_name}")


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """A run of a job that the command line asks for."""

    path: str  # the job file
    names: Sequence[str]  # the transfers to run, in this order; empty for all
    overrides: Mapping[str, object]  # options of the command line, which override those of the job file
    options: ToolOptions  # the options of the job as a whole
    config: str | None  # the given configuration file

    @property
    def job_name(self) -> str:
        """The name of the job in reports: that of its file, without the suffix."""
        return Path(self.path).stem
