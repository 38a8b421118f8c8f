"""What a run would do, for people to read before it does it; a pure function of the plan and the facts."""

from collections.abc import Iterator, Mapping

from transferpy.commands import Command, render_command, render_pipeline
from transferpy.compression import NOTHING
from transferpy.options import Compressor, TransferType
from transferpy.plan import TargetPlan, TransferPlan
from transferpy.preflight import HostFacts, TargetFacts, TargetState
from transferpy.report import duration, size

_NETWORK = 117e6
"""Bytes a second that 1 Gbit/s carries, which is what is assumed: no host says what lies between two."""
_DISK = 400e6
_COMPRESSORS = {Compressor.ZSTD: 200e6, Compressor.LZ4: 300e6, Compressor.PIGZ: 33e6}
"""Bytes a second for each processor, about, at their own levels; others are not estimated."""
_RATIO = 2.0
"""What data of databases mostly shrinks by, at least."""


def describe(plan: TransferPlan, facts: Mapping[str, HostFacts]) -> Iterator[str]:
    """Yield what would happen, line by line."""
    source = facts[plan.source.host]
    yield f"{plan.source}: {_amount(plan)}, to {len(plan.targets)} target(s), one after the other ({plan.stream})"
    for target in plan.targets:
        sender = plan.source_session.senders[target.label][_first(target)]
        yield f"  {plan.source.host} sends to {target.location.host}{_with(target)}: {render_pipeline(sender)}"
    if plan.options.stop_slave:
        yield f"  {plan.source.host} stops replication before the first stream, and starts it after the last"
    taken: dict[tuple[str, str], int] = {}
    for target in plan.targets:
        host = facts[target.location.host]
        yield from _target(plan, target, host, host.targets[int(target.label)], taken)
    seconds = [plan.facts.bytes / _rate(plan, target, source) for target in plan.targets]
    if any(seconds) and not plan.options.compress_level:
        yield (
            f"estimate: {duration(max(seconds))} a target, {duration(sum(seconds))} in all,"
            " if the network carries 1 Gbit/s and nothing else is at work; checks come on top of it"
        )
    yield "nothing was done"


def _amount(plan: TransferPlan) -> str:
    if plan.options.transfer_type is TransferType.XTRABACKUP:
        return f"a server of about {size(plan.facts.bytes)}"
    return f"{plan.facts.files} file(s), {size(plan.facts.bytes)}"


def _target(
    plan: TransferPlan, target: TargetPlan, host: HostFacts, found: TargetFacts, taken: dict[tuple[str, str], int]
) -> Iterator[str]:
    """Yield the lines of one target; ``taken`` adds up what those before it take of each file system."""
    disk = (host.boot, found.ancestors[0].partition(":")[0])
    before = found.free - taken.get(disk, 0)
    taken[disk] = taken.get(disk, 0) + plan.facts.disk
    least = "at most " if plan.options.transfer_type is TransferType.DECOMPRESS else ""
    yield f"{target.final}:"
    if found.state is TargetState.MISSING:
        yield f"  directory: {target.location.path} is missing, and would be made"
    yield f"  free space: {size(before)} before, {least}{size(before - plan.facts.disk)} after it"
    port = str(plan.options.port or "a free one of 4400-4499")
    yield f"  port: {port}, for {plan.source.host} at {target.address}"
    if target.session.doors:
        for door in target.session.doors:
            yield f"  firewall: {render_command(door.opening)}"
    else:
        yield "  firewall: none is to be opened"
    several = f"auto, one of {', '.join(target.candidates)}, chosen when it runs"
    yield f"  compression: {several if target.chooses else target.candidates[0]}"
    yield f"  receives{_with(target)}: {render_pipeline(target.session.receivers[_first(target)])}"
    if target.session.prepare:
        yield f"  prepares: {render_command(target.session.prepare)}"
    if plan.options.owner:
        yield f"  gives away: {render_command(Command(('chown', '-hR', '--', plan.options.owner, target.final.path)))}"


def _first(target: TargetPlan) -> str:
    """Return the label of the first that may compress the stream."""
    return next((codec.label for codec in target.codecs), NOTHING)


def _with(target: TargetPlan) -> str:
    return f", with {target.candidates[0]}" if target.chooses else ""


def _rate(plan: TransferPlan, target: TargetPlan, source: HostFacts) -> float:
    """Return about how many bytes of the source a second are copied to that target."""
    network = min(_NETWORK, plan.options.bwlimit or _NETWORK)
    compressed = [
        min(network * _RATIO, _COMPRESSORS[codec.compressor] * min(codec.threads, source.cores))
        for codec in target.codecs
    ]
    uncompressed = [network] if target.chooses or not compressed else []
    return min(max(*compressed, *uncompressed, 1), _DISK)
