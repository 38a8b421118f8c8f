"""The lines that a dry run prints: the actions of a real run; a pure function of the plan and the facts."""

from collections.abc import Iterator, Mapping

from transferpy.agent.session_plan import ListeningPlan, SendingPlan
from transferpy.model.codecs import programs
from transferpy.model.facts import HostFacts, TargetFacts, TargetState
from transferpy.model.options import AUTO, UNCOMPRESSED
from transferpy.model.text import duration, size
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.stream.commands import Command, Pipeline
from transferpy.stream.renderer import render_command, render_pipeline

_NETWORK = 117e6
"""The assumed speed of the link in bytes per second: 1 Gbit/s. The hosts do not know the real one."""
_DISK = 400e6
"""The assumed speed of the disks in bytes per second."""
_RATIOS = (2.0, 1.0)
"""The assumed compression ratios: of most databases, and of data that does not shrink."""


def dry_run_lines(plan: TransferPlan, facts: Mapping[str, HostFacts]) -> Iterator[str]:
    """Yield the actions of a real run, and an estimate of its time."""
    source = facts[plan.source.host]
    yield f"{plan.source}: {source_amount(plan)}, to {len(plan.edges)} target(s), one after the other ({plan.stream})"
    for edge in plan.edges:
        sender, pipeline = plan.sessions[edge.sender].host, _shown_pipeline(plan, edge, edge.sending)
        yield f"  {sender} sends to {edge.target.host}{_addition(plan, edge)}: {render_pipeline(pipeline)}"
    if plan.options.stop_slave:
        yield f"  {plan.source.host} stops replication before each backup and starts it after the backup"
    taken: dict[tuple[str, str], int] = {}
    for edge in plan.edges:
        host = facts[edge.target.host]
        yield from _target_lines(plan, edge, host, host.targets[int(edge.receiver)], taken)
    if plan.facts.bytes and not plan.options.compress_level:
        yield _estimate(plan, source)
    yield "nothing was changed"


def _estimate(plan: TransferPlan, source: HostFacts) -> str:
    """Return the estimated time of the streams, for data that shrinks and for data that does not."""
    spans = [[plan.facts.bytes / _rate(plan, edge, source, ratio) for edge in plan.edges] for ratio in _RATIOS]
    one, all_of_them = (_span(*map(kind, spans)) for kind in (max, sum))
    depends = ", depending on how much the data shrinks" if any(edge.codecs for edge in plan.edges) else ""
    return (
        f"estimate: {one} a target, {all_of_them} in all{depends},"
        " if the network carries 1 Gbit/s and the hosts are idle; the time of the checks is not included"
    )


def _span(least: float, most: float) -> str:
    return duration(least) if duration(least) == duration(most) else f"{duration(least)} to {duration(most)}"


def source_amount(plan: TransferPlan) -> str:
    """Return the amount of the data, for messages."""
    if plan.options.type.reads_socket:
        return f"a server of about {size(plan.facts.bytes)}"
    return f"{plan.facts.files} file(s), {size(plan.facts.bytes)}"


def _target_lines(
    plan: TransferPlan, edge: EdgePlan, host: HostFacts, found: TargetFacts, taken: dict[tuple[str, str], int]
) -> Iterator[str]:
    """Yield the lines of one target; ``taken`` is the space of each file system that earlier targets use."""
    disk = (host.boot, found.ancestors[0].partition(":")[0])
    before = found.free - taken.get(disk, 0)
    taken[disk] = taken.get(disk, 0) + plan.facts.copied
    least = "at most " if plan.options.type.is_compressed else ""
    yield f"{edge.final}:"
    if found.state is TargetState.MISSING:
        yield f"  directory: {edge.target.path} is missing and would be made"
    yield f"  free space: {size(before)} before, {least}{size(before - plan.facts.copied)} after the copy"
    yield f"  port: {_ports(plan, edge)}; {plan.sessions[edge.sender].host} connects to {edge.address}"
    if edge.listening.firewall_rules:
        for rule in edge.listening.firewall_rules:
            yield f"  firewall: {render_command(rule.opening)}"
    else:
        yield f"  firewall: no rule is added (--firewall {plan.options.firewall})"
    several = f"auto, one of {', '.join(edge.candidates)}, chosen during the run"
    yield f"  compression: {several if edge.is_codec_chosen_at_run_time else edge.candidates[0]}"
    pipeline = _shown_pipeline(plan, edge, edge.listening)
    yield f"  receives{_addition(plan, edge)}: {render_pipeline(pipeline)}"
    delivery = plan.sessions[edge.receiver].delivery
    if delivery and delivery.prepare:
        yield f"  prepares: {render_command(delivery.prepare)}"
    if plan.options.owner:
        command = Command(("chown", "-hR", "--", plan.options.owner, edge.final.path))
        yield f"  sets the owner: {render_command(command)}"


def _ports(plan: TransferPlan, edge: EdgePlan) -> str:
    first, most = plan.options.port, edge.most_lanes
    if most == 1:
        return str(first or "a free port in 4400-4499")
    streams = f"at most {most}, chosen during the run" if plan.options.streams == AUTO else str(most)
    ports = f"{first} to {first + most - 1}" if first else "free ports in 4400-4499"
    return f"{ports}, one for each stream ({streams})"


def _requested_lanes(plan: TransferPlan, edge: EdgePlan) -> int:
    """Return the number of lanes that the user requested; 1 if the run chooses it."""
    return 1 if plan.options.streams == AUTO else edge.most_lanes


def _shown_pipeline(plan: TransferPlan, edge: EdgePlan, end: SendingPlan | ListeningPlan) -> Pipeline:
    """Return the pipeline of an end of an edge with the first codec; of several lanes, that of each."""
    pipelines = end.lanes if _requested_lanes(plan, edge) > 1 else end.pipelines
    return pipelines[next((codec.label for codec in edge.codecs), UNCOMPRESSED)]


def _addition(plan: TransferPlan, edge: EdgePlan) -> str:
    """Return the addition to a line with a pipeline: the lanes and the codec for which it stands."""
    lanes = _requested_lanes(plan, edge)
    streams = f", in each of {lanes} streams" if lanes > 1 else ""
    return streams + (f", with {edge.candidates[0]}" if edge.is_codec_chosen_at_run_time else "")


def _rate(plan: TransferPlan, edge: EdgePlan, source: HostFacts, ratio: float) -> float:
    """Return the estimated bytes of the source per second on an edge, if the data shrinks by ``ratio``."""
    network = min(_NETWORK, plan.options.bwlimit or _NETWORK)
    rates = {program.name: program.rate for program in programs()}
    compressed = [
        min(network * ratio, rates[codec.compress.name] * min(codec.threads, source.cores)) for codec in edge.codecs
    ]
    uncompressed = [network] if edge.is_codec_chosen_at_run_time or not compressed else []
    return min(max(*compressed, *uncompressed, 1), _DISK)
