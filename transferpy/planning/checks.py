"""The checks: every reason that prevents a transfer, found from the request and the facts, one line each.

The reasons that depend on the transfer type are found by the modules of ``planning.types``.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterator

from transferpy.Firewall import firewall_backend
from transferpy.model.facts import HostFacts, TargetFacts, TargetState
from transferpy.model.locations import Location
from transferpy.model.options import AUTO, FIREWALL_BACKENDS
from transferpy.model.tools import HOST_TOOLS, HostRole
from transferpy.planning.context import PlanContext
from transferpy.planning.programs import best_netcat, first_available, is_ipv6, missing_program
from transferpy.planning.streams import most_streams
from transferpy.planning.topology import Edge
from transferpy.planning.types import transfer_type_strategy
from transferpy.stream.transports import netcat_supports_ipv6

_LIST_BYTES = 850  # on disk for each entry, in all lists that exist at the same time: a path has about 70 characters
_PART_BYTES = 10 << 20  # mariadb-backup sends most files in parts of this size
_PART_LIST_BYTES = 500  # on disk for each of these parts: the digest of a piece in several lists, and a chunk
_LANE_BYTES = 250  # on disk for each entry that is distributed over lanes: the entry, and its path in a list
_LISTS = "/var/tmp"  # noqa: S108 - of the hosts, see host/lib/lists.sh
HIGHEST_PORT = 65535
_SLACK_BYTES = 1 << 20  # the directories and block sizes of the target differ a little from those of the source


def problems(context: PlanContext) -> list[str]:
    """Return every reason that prevents the transfer."""
    found = [problem for host in context.facts.values() for problem in _host_problems(context, host)]
    for _, location, target in context.targets:
        found += _directory_problems(context, location, target)
    found += _duplicate_problems(context)
    if context.source_facts:
        found += transfer_type_strategy(context.options.transfer_type).problems(context)
        for edge in context.edges:
            if edge.receiver.location.host in context.facts:
                found += _edge_problems(context, edge)
        found += _space_problems(context)
        found += _list_problems(context)
    return list(dict.fromkeys(found))


def _host_problems(context: PlanContext, host: HostFacts) -> Iterator[str]:
    if host.uid != 0:
        yield f"{host.host}: remote commands run as user id {host.uid}, but owners and firewalls need root"
    yield from _tool_problems(context, host)
    if host.unknown_owner:
        yield f"{host.host}: the user or group {host.unknown_owner} does not exist (--owner)"
    if context.options.firewall in FIREWALL_BACKENDS and host.targets:
        backend = firewall_backend(context.options.firewall)
        if not any(backend.TOOL in tool for tool in host.firewalls):
            yield f"{host.host}: {backend.TOOL} is missing (Debian package {backend.PACKAGE}), required by --firewall"
        elif backend.IS_DAEMON and not host.firewalls[backend.TOOL]:
            yield f"{host.host}: {backend.PACKAGE} does not run: start it, or omit --firewall"


def _tool_problems(context: PlanContext, host: HostFacts) -> Iterator[str]:
    role = HostRole(
        options=context.options,
        is_source=host.host == context.request.source.host,
        is_target=bool(host.targets),
    )
    for tool in HOST_TOOLS:
        if tool.is_needed(role) and not first_available(tool.packages, host):
            yield missing_program(host, *tool.packages)
    if not context.options.encrypt and "socat" not in host.tools and not best_netcat(host):
        yield (f"{host.host}: socat is missing (Debian package socat); alternative: nc (Debian package netcat-openbsd)")


def _directory_problems(context: PlanContext, location: Location, target: TargetFacts) -> Iterator[str]:
    match target.state:
        case TargetState.MISSING if not context.options.create_target:
            yield f"{location}: no such directory; make it first"
        case TargetState.OTHER:
            yield f"{location}: is not a directory; a target is the directory that receives the copy"
        case TargetState.READ_ONLY:
            yield f"{location}: is not writable"
    if context.options.require_mount and target.mount in {"", "/"} and target.state is not TargetState.OTHER:
        yield (
            f"{location}: is on the root file system of the host; --require-mount needs a mount point, which is this"
            " directory or one above it: is the disk not mounted?"
        )
    if not context.options.type.has_named_copy and not target.empty:
        leftovers = ", ".join(target.leftovers)
        remains = f" (remove the incomplete copy of an earlier run: {leftovers})" if leftovers else ""
        yield f"{location}: is not empty; --type {context.options.transfer_type} needs an empty directory{remains}"
    if context.options.port and context.options.streams != AUTO:
        last = context.options.port + int(context.options.streams) - 1
        if last > HIGHEST_PORT:
            yield f"{location}: --streams {context.options.streams} needs the ports up to {last}; choose another --port"
    if context.options.port in context.facts[location.host].listening:
        yield f"{location.host}: port {context.options.port} is in use"


def _duplicate_problems(context: PlanContext) -> Iterator[str]:
    """Yield the targets that are one directory under two paths."""
    seen: dict[tuple[str, str], Location] = {}
    for _, location, target in context.targets:
        if not target.ancestors:
            continue
        key = (context.facts[location.host].boot, target.ancestors[0])
        if key in seen:
            yield f"{location}: is the same directory as {seen[key]}; this target is given twice"
        seen.setdefault(key, location)


def _edge_problems(context: PlanContext, edge: Edge) -> Iterator[str]:
    """Yield the reasons of one stream and its copy."""
    if context.options.type.has_named_copy:
        yield from _name_problems(context, edge)
    sender, receiver = context.host(edge.sender), context.host(edge.receiver)
    route = sender.routes.get(edge.target)
    if route is None:
        yield (
            f"{sender.host}: has no address of {receiver.host}, or no route to it; add the name to DNS or to"
            f" /etc/hosts of {sender.host}"
        )
    elif not context.options.encrypt and is_ipv6(route.address):
        for host in {sender.host: sender, receiver.host: receiver}.values():
            netcat = best_netcat(host)
            if netcat and not netcat_supports_ipv6(netcat[1]) and "socat" not in host.tools:
                yield f"{host.host}: {netcat[0]} does not support IPv6; install socat (Debian package socat)"


def _name_problems(context: PlanContext, edge: Edge) -> Iterator[str]:
    source, location = context.source, edge.receiver.location
    receiver = context.host(edge.receiver)
    target = receiver.targets[edge.target]
    is_same_machine = receiver.boot == context.source_host.boot
    if is_same_machine and source.kind == "d" and source.identity in target.ancestors:
        yield f"{location}: is inside the source {context.request.source}"
    elif target.taken and is_same_machine and target.final_identity == source.identity:
        yield f"{context.request.final(location)}: is the source itself"
    elif target.taken:
        yield f"{context.request.final(location)}: exists already; nothing is ever overwritten"


def _space_problems(context: PlanContext) -> Iterator[str]:
    """Yield the file systems that are too small for all of their targets together."""
    sharing: dict[tuple[str, str], list[tuple[Location, TargetFacts]]] = defaultdict(list)
    for _, location, target in context.targets:
        if target.ancestors:
            sharing[location.host, target.ancestors[0].partition(":")[0]].append((location, target))
    for together in sharing.values():
        location, target = together[0]
        needed = (context.source.copied + _SLACK_BYTES) * len(together)
        inodes = (context.source.inodes + 2) * len(together)
        if needed > target.free:
            yield f"{location}: {needed:,} bytes are needed, but only {target.free:,} are free"
        if target.inodes is not None and inodes > target.inodes:
            yield f"{location}: {inodes:,} inodes are needed, but only {target.inodes:,} are free"


def _list_problems(context: PlanContext) -> Iterator[str]:
    """Yield the hosts whose /var/tmp is too small for the lists of files."""
    if not context.options.type.compares_files and not context.options.checksum:
        return
    source = f"{posixpath.join(context.source.directory, context.source.name)}/"
    if context.options.type.compares_files and f"{_LISTS}/".startswith(source):
        yield f"{context.request.source}: contains {_LISTS}, where a run stores its lists"
    is_distributed = any(
        most_streams(context, edge) > 1 for edge in context.edges if edge.target in context.source_host.routes
    )
    needed = context.source.inodes * (_LIST_BYTES + (_LANE_BYTES if is_distributed else 0))
    if context.options.type.reads_socket:
        needed += max(context.source.disk, context.source.bytes) // _PART_BYTES * _PART_LIST_BYTES
    for host in context.facts.values():
        if host.lists is not None and needed > host.lists:
            yield f"{host.host}: the lists of files need {needed:,} bytes in {_LISTS}, but only {host.lists:,} are free"
