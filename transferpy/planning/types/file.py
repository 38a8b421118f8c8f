"""The transfer type file: a file or a directory tree, as an archive of tar."""

from collections.abc import Iterator

from transferpy.model.facts import HostFacts, SourceFacts
from transferpy.model.locations import Location
from transferpy.planning.context import PlanContext
from transferpy.planning.types.strategy import TransferTypeStrategy
from transferpy.stream.commands import Command, Stage
from transferpy.stream.tar import archive, extract


def path_problems(location: Location, source: SourceFacts) -> Iterator[str]:
    """Yield the reasons why a path cannot be read."""
    if not source.kind:
        yield f"{location}: no such file or directory"
    elif source.kind == "s":
        yield f"{location}: is a socket and cannot be copied; to copy a running MariaDB server: --type xtrabackup"
    elif not source.name:
        yield f"{location}: is the root directory, which cannot be copied as a whole"
    elif source.error:
        yield f"{location}: cannot be read: {source.error}"


class _FileStrategy(TransferTypeStrategy):
    """tar on both sides."""

    def problems(self, context: PlanContext) -> Iterator[str]:
        yield from path_problems(context.request.source, context.source)

    def read(self, context: PlanContext) -> Command:
        return archive(context.source.name, indexed=context.options.checksum)

    def unpack(self, context: PlanContext, receiver: HostFacts) -> tuple[Stage, ...]:  # noqa: ARG002 - for other types
        return (extract(indexed=context.options.checksum),)


STRATEGY = _FileStrategy()
