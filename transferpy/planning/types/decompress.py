"""The transfer type decompress: the content of a tarball."""

from collections.abc import Iterator
from dataclasses import replace

from transferpy.agent.preflight import PreflightQuery
from transferpy.model.codecs import formats
from transferpy.model.facts import HostFacts
from transferpy.model.request import TransferRequest
from transferpy.planning.context import PlanContext
from transferpy.planning.programs import missing_program
from transferpy.planning.types.strategy import TransferTypeStrategy
from transferpy.stream.commands import Command, Stage
from transferpy.stream.tar import decompressors, extract_tarball, read


class _DecompressStrategy(TransferTypeStrategy):
    """cat on the source, a decompressor and tar on the target."""

    def query(self, query: PreflightQuery, request: TransferRequest, *, is_source: bool) -> PreflightQuery:
        query = super().query(query, request, is_source=is_source)
        # A symbolic link, to the latest tarball for instance, is followed.
        path = f"{query.source_path}/" if query.source_path else None
        return replace(query, source_path=path, magic=True)

    def problems(self, context: PlanContext) -> Iterator[str]:
        location, source = context.request.source, context.source
        yield from super().problems(context)
        if source.kind not in {"", "f", "l"}:
            yield f"{location}: is not a file; --type decompress needs a tarball"
        elif source.kind and not source.error:
            yield from self._format_problems(context)

    def _format_problems(self, context: PlanContext) -> Iterator[str]:
        programs = decompressors(context.source_host.magic)
        if programs is None:
            names = ", ".join(row.programs[-1].name for row in formats())
            yield f"{context.request.source}: is not a tarball ({names} or plain tar)"
        for host in context.facts.values():
            for program in programs or ():
                if host.targets and program.name not in host.tools:
                    yield missing_program(host, program.name)

    def read(self, context: PlanContext) -> tuple[Stage, ...]:
        return (read(context.source.name),)

    def unpack(self, context: PlanContext, receiver: HostFacts) -> tuple[Stage, ...]:
        programs = decompressors(context.source_host.magic) or ()
        return (*(Command(program.decompress_tarball(receiver.memory)) for program in programs), extract_tarball())


STRATEGY = _DecompressStrategy()
