"""What a run would do, for people to read before it does it; a pure function of the plan and the facts."""

from collections.abc import Iterator, Mapping

from transferpy.model.codecs import programs
from transferpy.model.facts import HostFacts, TargetFacts, TargetState
from transferpy.model.options import UNCOMPRESSED
from transferpy.model.units import duration, size
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_command, render_pipeline

_NETWORK = 117e6
"""Bytes a second that 1 Gbit/s carries, which is what is assumed: no host says what lies between two."""
_DISK = 400e6
_RATIOS = (2.0, 1.0)
"""What data shrinks by: that of databases mostly, at least; and what does not shrink at all."""


def describe(plan: TransferPlan, facts: Mapping[str, HostFacts]) -> Iterator[str]:
    """Yield what would happen, line by line."""
    source = facts[plan.source.host]
    yield f"{plan.source}: {amount(plan)}, to {len(plan.edges)} target(s), one after the other ({plan.stream})"
    for edge in plan.edges:
        sender = edge.sending.pipelines[_first(edge)]
        yield f"  {plan.sessions[edge.sender].host} sends to {edge.target.host}{_with(edge)}: {render_pipeline(sender)}"
    if plan.options.stop_slave:
        yield f"  {plan.source.host} stops replication before the first stream, and starts it after the last"
    taken: dict[tuple[str, str], int] = {}
    for edge in plan.edges:
        host = facts[edge.target.host]
        yield from _target(plan, edge, host, host.targets[int(edge.receiver)], taken)
    if plan.facts.bytes and not plan.options.compress_level:
        yield _estimate(plan, source)
    yield "nothing was done"


def _estimate(plan: TransferPlan, source: HostFacts) -> str:
    """Return how long the streams take, from data that shrinks to data that does not: nobody has looked at it yet."""
    spans = [[plan.facts.bytes / _rate(plan, edge, source, ratio) for edge in plan.edges] for ratio in _RATIOS]
    one, all_of_them = (_span(*map(kind, spans)) for kind in (max, sum))
    depends = ", by how much the data shrinks" if any(edge.codecs for edge in plan.edges) else ""
    return (
        f"estimate: {one} a target, {all_of_them} in all{depends},"
        " if the network carries 1 Gbit/s and nothing else is at work; checks come on top of it"
    )


def _span(least: float, most: float) -> str:
    return duration(least) if duration(least) == duration(most) else f"{duration(least)} to {duration(most)}"


def amount(plan: TransferPlan) -> str:
    """Return how much the source holds, in words."""
    if plan.options.type.reads_socket:
        return f"a server of about {size(plan.facts.bytes)}"
    return f"{plan.facts.files} file(s), {size(plan.facts.bytes)}"


def _target(
    plan: TransferPlan, edge: EdgePlan, host: HostFacts, found: TargetFacts, taken: dict[tuple[str, str], int]
) -> Iterator[str]:
    """Yield the lines of one target; ``taken`` adds up what those before it take of each file system."""
    disk = (host.boot, found.ancestors[0].partition(":")[0])
    before = found.free - taken.get(disk, 0)
    taken[disk] = taken.get(disk, 0) + plan.facts.disk
    least = "at most " if plan.options.type.is_compressed else ""
    yield f"{edge.final}:"
    if found.state is TargetState.MISSING:
        yield f"  directory: {edge.target.path} is missing, and would be made"
    yield f"  free space: {size(before)} before, {least}{size(before - plan.facts.disk)} after it"
    port = str(plan.options.port or "a free one of 4400-4499")
    yield f"  port: {port}, for {plan.sessions[edge.sender].host} at {edge.address}"
    if edge.listening.firewall_rules:
        for rule in edge.listening.firewall_rules:
            yield f"  firewall: {render_command(rule.opening)}"
    else:
        yield "  firewall: none is to be opened"
    several = f"auto, one of {', '.join(edge.candidates)}, chosen when it runs"
    yield f"  compression: {several if edge.is_codec_chosen_at_run_time else edge.candidates[0]}"
    yield f"  receives{_with(edge)}: {render_pipeline(edge.listening.pipelines[_first(edge)])}"
    delivery = plan.sessions[edge.receiver].delivery
    if delivery and delivery.prepare:
        yield f"  prepares: {render_command(delivery.prepare)}"
    if plan.options.owner:
        yield f"  gives away: {render_command(Command(('chown', '-hR', '--', plan.options.owner, edge.final.path)))}"


def _first(edge: EdgePlan) -> str:
    """Return the label of the first that may compress the stream."""
    return next((codec.label for codec in edge.codecs), UNCOMPRESSED)


def _with(edge: EdgePlan) -> str:
    return f", with {edge.candidates[0]}" if edge.is_codec_chosen_at_run_time else ""


def _rate(plan: TransferPlan, edge: EdgePlan, source: HostFacts, ratio: float) -> float:
    """Return about how many bytes of the source a second are copied to that target, if the data shrinks by so much."""
    network = min(_NETWORK, plan.options.bwlimit or _NETWORK)
    rates = {program.name: program.rate for program in programs()}
    compressed = [
        min(network * ratio, rates[codec.compress.name] * min(codec.threads, source.cores)) for codec in edge.codecs
    ]
    uncompressed = [network] if edge.is_codec_chosen_at_run_time or not compressed else []
    return min(max(*compressed, *uncompressed, 1), _DISK)
