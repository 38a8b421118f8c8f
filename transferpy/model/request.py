"""The request: the source, the targets and the options of one run, checked when it is made."""

from dataclasses import dataclass

from transferpy.Exceptions import UsageError
from transferpy.model.locations import Location
from transferpy.model.options import TransferOptions


@dataclass(frozen=True, kw_only=True)
class TransferRequest:
    """The source, the targets and the options of one run.

    Raises:
        UsageError: they contradict each other.
    """

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
