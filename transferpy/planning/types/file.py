"""The transfer type file: a file or a directory tree, as an archive of tar."""

from transferpy.model.facts import HostFacts
from transferpy.planning.context import PlanContext
from transferpy.planning.types.strategy import TransferTypeStrategy
from transferpy.stream.commands import Stage
from transferpy.stream.tar import archive, archive_lane, extract, extract_lane


class _FileStrategy(TransferTypeStrategy):
    """tar on both sides."""

    def read(self, context: PlanContext) -> tuple[Stage, ...]:
        source = context.source
        stage = archive(
            source.name,
            indexed=context.options.checksum,
            passes_over_holes=not source.unproven,
            one_file_system=context.options.one_file_system,
        )
        return (stage,)

    def unpack(self, context: PlanContext, receiver: HostFacts) -> tuple[Stage, ...]:  # noqa: ARG002 - for other types
        return (extract(indexed=context.options.checksum),)

    def read_lane(self, context: PlanContext) -> tuple[Stage, ...]:
        return archive_lane(indexed=context.options.checksum, passes_over_holes=not context.source.unproven)

    def unpack_lane(self, context: PlanContext) -> tuple[Stage, ...]:
        return (extract_lane(indexed=context.options.checksum),)


STRATEGY = _FileStrategy()
