"""The notes: warnings for the user before a transfer that nothing prevents."""

from collections.abc import Iterator

from transferpy.model.codecs import CODECS, FALLBACK, Program
from transferpy.model.digests import ALGORITHMS
from transferpy.model.facts import HostFacts
from transferpy.model.options import AUTO
from transferpy.planning.compression import edge_codecs
from transferpy.planning.context import PlanContext
from transferpy.planning.digests import is_content_compared, planned_algorithm
from transferpy.planning.relays import relay_obstacle


def notes(context: PlanContext) -> list[str]:
    """Return the warnings for the user, each once."""
    kinds = (_source_notes, _codec_notes, _algorithm_notes, _stream_notes)
    return list(dict.fromkeys(note for kind in kinds for note in kind(context)))


def _source_notes(context: PlanContext) -> Iterator[str]:
    location, source = context.request.source, context.source
    if source.kind == "l":
        yield f"{location} is a symbolic link and is copied as one; to copy its target, end the path with a slash"
    database = context.source_host.database
    if database and database.files == "hidden":
        yield (
            f"{location}: this host hides the files of the server's process, so they cannot be compared with those that"
            " the backup tool reads; only the redo log is compared"
        )
    if mounts := ", ".join(f"{mount.path} ({mount.type})" for mount in source.mounts):
        action = "left out, as empty directories" if context.options.one_file_system else "copied, too"
        yield f"{location}: the file systems that are mounted in it are {action}: {mounts}"
    if source.server:
        yield (
            f"{location}: a running server uses these files: the copy fails if the server writes meanwhile, else it"
            " needs crash recovery; to copy a running server: --type xtrabackup"
        )
    if source.copied > source.disk:
        yield (
            f"{location}: files with holes are on a file system that may report holes incorrectly ({source.unproven});"
            " all holes are read, sent as zeros, and need space on the target"
        )
    if source.sockets:
        yield f"{location}: sockets are not copied: {source.sockets}"
    for _, target_location, target in context.targets:
        for name in target.leftovers:
            yield f"{target_location}: {name} is an incomplete copy of a run during which the host crashed; remove it"


def _codec_notes(context: PlanContext) -> Iterator[str]:
    wanted = context.options.compressor
    first = next(row for row in CODECS.values() if row.automatic_levels).name if wanted == AUTO else wanted
    for edge in context.edges:
        if not any(codec.name == FALLBACK for codec in edge_codecs(context, edge)):
            continue
        for host in (context.host(edge.sender), context.host(edge.receiver)):
            program, *others = CODECS[first].programs
            if first != FALLBACK and program.name not in host.tools:
                yield _replacement(host, program, CODECS[FALLBACK].programs[0])
            program, *others = CODECS[FALLBACK].programs
            if program.name not in host.tools:
                yield _replacement(host, program, others[0]) + ", on one processor"


def _replacement(host: HostFacts, program: Program, other: Program) -> str:
    return f"{host.host}: {program.name} is missing (Debian package {program.package}); {other.name} is used instead"


def _algorithm_notes(context: PlanContext) -> Iterator[str]:
    wanted, used = context.options.checksum_algorithm, planned_algorithm(context)
    if is_content_compared(context) and wanted not in {AUTO, used}:
        row = ALGORITHMS[wanted]
        for host in context.facts.values():
            if row.argv[0] not in host.tools:
                yield f"{host.host}: {row.argv[0]} is missing (Debian package {row.package}); {used} is used instead"


def _stream_notes(context: PlanContext) -> Iterator[str]:
    for edge in context.edges:
        obstacle = relay_obstacle(context, edge) if context.options.retries else ""
        if obstacle:
            yield f"{obstacle}: a stream whose connection breaks fails"
    for host in context.facts.values():
        if host.buffers and not host.buffers.watches:
            yield (
                f"{host.host}: the kernel permits no watch over a connection (pidfd_getfd): --stall-timeout has no"
                " effect on this host, but --idle-timeout has"
            )
