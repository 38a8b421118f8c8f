"""The interface of a transfer type."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace

from transferpy.agent.preflight import PreflightQuery
from transferpy.agent.session_plan import ReadingPlan, SamplePlan
from transferpy.model.facts import HostFacts, MountKind, SourceFacts
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.planning.context import PlanContext
from transferpy.stream.commands import Command, Stage


def _mount_problems(context: PlanContext) -> Iterator[str]:
    location, one_file_system = context.request.source, context.options.one_file_system
    remedy = "" if one_file_system else "; --one-file-system leaves it out"
    for mount in context.source.mounts:
        match mount.kind:
            case MountKind.SOURCE:
                yield f"{location}: is on a pseudo file system ({mount.type}), which cannot be copied"
            case MountKind.PSEUDO if not one_file_system:
                yield f"{location}: {mount.path} is a pseudo file system ({mount.type}), which cannot be copied{remedy}"
            case MountKind.LOOP:
                yield f"{location}: {mount.path} is a bind mount of a directory that contains it; unmount it"
            case MountKind.BIND if one_file_system:
                yield (
                    f"{location}: {mount.path} is a bind mount from the file system of the source, which"
                    " --one-file-system cannot leave out; unmount it, or copy without --one-file-system"
                )


class TransferTypeStrategy(ABC):
    """The decisions in which transfer types differ; the methods with a body are for a source that is a path."""

    def query(self, query: PreflightQuery, request: TransferRequest, *, is_source: bool) -> PreflightQuery:
        """Return ``query``, of the source host or of another host, with the additional queries of the type."""
        return replace(
            query,
            source_path=request.source.path if is_source else None,
            one_file_system=is_source and request.options.one_file_system,
        )

    def source_facts(self, host: HostFacts) -> SourceFacts | None:
        """Return the facts of the data on the source host; None if the host was not asked for them."""
        return host.source

    def effective_options(self, options: TransferOptions, facts: Mapping[str, HostFacts]) -> TransferOptions:  # noqa: ARG002 - for other types
        """Return ``options`` without those that have no effect with the tools of the hosts that answered."""
        return options

    def problems(self, context: PlanContext) -> Iterator[str]:
        """Yield every reason of the source and of the type that prevents the transfer; the source host has answered."""
        location, source = context.request.source, context.source
        if not source.kind:
            yield f"{location}: no such file or directory"
        elif source.kind == "s":
            yield f"{location}: is a socket and cannot be copied; to copy a running MariaDB server: --type xtrabackup"
        elif not source.name:
            yield f"{location}: is the root directory, which cannot be copied as a whole"
        elif mounts := list(_mount_problems(context)):
            yield from mounts
        elif source.error:
            yield f"{location}: cannot be read: {source.error}"

    def reading(self, context: PlanContext, benchmarks: Mapping[str, Command]) -> ReadingPlan:
        """Return how a session reads the source.

        Args:
            context: the request and the facts.
            benchmarks: by the label of a codec, the command to measure on a sample of the data; empty for no sample.
        """
        source = context.source
        sample = SamplePlan(benchmarks=benchmarks, bytes=source.bytes) if benchmarks else None
        return ReadingPlan(directory=source.directory, name=source.name, sample=sample)

    @abstractmethod
    def read(self, context: PlanContext) -> tuple[Stage, ...]:
        """Return the first stages of the sender."""

    @abstractmethod
    def unpack(self, context: PlanContext, receiver: HostFacts) -> tuple[Stage, ...]:
        """Return the last stages of a receiver."""

    def read_lane(self, context: PlanContext) -> tuple[Stage, ...]:
        """Return the first stages of each lane of a sender; only for types that distribute files."""
        raise NotImplementedError

    def unpack_lane(self, context: PlanContext) -> tuple[Stage, ...]:
        """Return the last stages of each lane of a receiver; only for types that distribute files."""
        raise NotImplementedError

    def prepare(self, context: PlanContext, receiver: HostFacts) -> Command | None:  # noqa: ARG002 - for other types
        """Return the command that prepares the copy on a receiver; None to leave it as it is."""
        return None
