"""How the two ends of a stream are compared."""

from transferpy.planning.context import PlanContext
from transferpy.stream.commands import Command
from transferpy.stream.digests import STREAM_SIZE, available_algorithm, digest_command


def is_content_compared(context: PlanContext) -> bool:
    """Return whether digests of the data are compared, of the files or of the stream."""
    return context.options.checksum or context.options.parallel_checksum


def planned_algorithm(context: PlanContext) -> str:
    """Return the digest algorithm."""
    tools = frozenset.intersection(*(host.tools for host in context.facts.values()))
    return available_algorithm(context.options.checksum_algorithm, tools)


def file_digest(context: PlanContext) -> Command | None:
    """Return the command that digests files; None if files are not digested."""
    return digest_command(planned_algorithm(context)) if context.options.checksum else None


def stream_digest(context: PlanContext) -> Command | None:
    """Return the command that digests the stream at both ends; None if the stream is not compared."""
    if context.options.parallel_checksum:
        return digest_command(planned_algorithm(context))
    # The lists of files show a missing part of the data. Without them, only the size does.
    return None if context.options.type.compares_files else STREAM_SIZE
