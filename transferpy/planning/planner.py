"""The plan of a run, decided from the request and the facts of its hosts; a pure function."""

from collections.abc import Mapping
from dataclasses import replace

from transferpy.agent.session_plan import DeliveryPlan, ListeningPlan, ReadingPlan, SendingPlan, SessionPlan
from transferpy.Exceptions import PreflightError
from transferpy.Firewall import firewall_rules
from transferpy.model.facts import HostFacts
from transferpy.model.options import LOW_PRIORITY
from transferpy.model.request import TransferRequest
from transferpy.model.tools import NETCATS
from transferpy.planning.checks import problems
from transferpy.planning.compression import benchmarks, codecs_by_label, edge_codecs, is_compressed, is_link_probed
from transferpy.planning.context import PlanContext
from transferpy.planning.digests import file_digest, is_content_compared, planned_algorithm, stream_digest
from transferpy.planning.notes import notes
from transferpy.planning.plan import EdgePlan, TransferPlan
from transferpy.planning.programs import best_netcat, is_ipv6
from transferpy.planning.relays import is_relayed
from transferpy.planning.streams import most_streams, streams_limit
from transferpy.planning.topology import SOURCE, Edge, Node
from transferpy.planning.types import transfer_type_strategy
from transferpy.stream.codecs import compressor_threads
from transferpy.stream.peer_watch import PeerWatch
from transferpy.stream.pipelines import probe_receiver, probe_sender, receiver, sender
from transferpy.stream.socket_buffers import receive_bounds, send_bounds
from transferpy.stream.transports import Transport, netcat, plain, tls


def make_plan(
    request: TransferRequest, facts: Mapping[str, HostFacts], run_id: str, silent: Mapping[str, str]
) -> TransferPlan:
    """Return the plan of a run.

    Args:
        request: with hosts that are resolved.
        facts: the facts of the hosts that answered.
        run_id: the name of the run.
        silent: the error of each host that did not answer.

    Raises:
        PreflightError: something prevents the transfer; the error has every reason.
    """
    source_host = facts.get(request.source.host)
    strategy = transfer_type_strategy(request.options.transfer_type)
    source_facts = strategy.source_facts(source_host) if source_host else None
    request = replace(request, options=strategy.effective_options(request.options, facts))
    context = PlanContext(request=request, facts=facts, source_facts=source_facts, run_id=run_id)
    if found := [*silent.values(), *problems(context)]:
        raise PreflightError(*found)
    edges = tuple(_edge_plan(context, edge) for edge in context.edges)
    nodes = {node.name: node for edge in context.edges for node in (edge.sender, edge.receiver)}
    return TransferPlan(
        source=request.source,
        options=request.options,
        facts=context.source,
        edges=edges,
        sessions={name: _session_plan(context, node, edges) for name, node in nodes.items()},
        stream=_stream_text(context),
        algorithm=planned_algorithm(context) if is_content_compared(context) else "",
        notes=tuple(notes(context)),
    )


def _stream_text(context: PlanContext) -> str:
    """Return how the data travels, for the log."""
    options = context.options
    parts = [] if is_compressed(context) else ["not compressed"]
    parts.append("TLS 1.3" if options.encrypt else "not encrypted")
    if options.parallel_checksum:
        parts.append(f"{planned_algorithm(context)} of the stream")
    elif options.type.digests_files:
        parts.append(f"{planned_algorithm(context)} of every file" if options.checksum else "no checksum of files")
    if options.bwlimit:
        parts.append(f"at most {options.bwlimit:,} bytes per second")
    return ", ".join(parts)


def _session_plan(context: PlanContext, node: Node, edges: tuple[EdgePlan, ...]) -> SessionPlan:
    """Return the plan of the session of a node, composed of the ends of its edges."""
    options, host = context.options, context.host(node)
    is_source = node.name == SOURCE
    return SessionPlan(
        host=host.host,
        own_name=_certificate_name(context, node),
        cores=host.cores,
        compress_threads=compressor_threads(options, host.cores),
        encrypt=options.encrypt,
        digest=file_digest(context),
        one_file_system=options.one_file_system,
        low_priority=options.priority == LOW_PRIORITY,
        transfer_type=options.transfer_type,
        owner=options.owner,
        reading=_reading_plan(context, edges) if is_source else None,
        sending={edge.label: edge.sending for edge in edges if edge.sender == node.name},
        listening=next((edge.listening for edge in edges if edge.receiver == node.name), None),
        delivery=None if is_source else _delivery_plan(context, node),
    )


def _reading_plan(context: PlanContext, edges: tuple[EdgePlan, ...]) -> ReadingPlan:
    plan = transfer_type_strategy(context.options.transfer_type).reading(context, benchmarks(context))
    return replace(plan, distributes=any(edge.most_lanes > 1 for edge in edges))


def _delivery_plan(context: PlanContext, node: Node) -> DeliveryPlan:
    strategy = transfer_type_strategy(context.options.transfer_type)
    return DeliveryPlan(
        directory=node.location.path,
        staging_name=f".transferpy-{context.run_id}-{node.name}",
        source_name=context.source.name,
        final_name=context.request.final_name,
        prepare=strategy.prepare(context, context.host(node)),
        create_target=context.options.create_target,
    )


def _edge_plan(context: PlanContext, edge: Edge) -> EdgePlan:
    address, limit = context.route(edge).address, streams_limit(context, edge)
    needs_brackets = is_ipv6(address) and "socat" in context.host(edge.sender).tools
    return EdgePlan(
        label=edge.label,
        sender=edge.sender.name,
        receiver=edge.receiver.name,
        target=edge.receiver.location,
        final=context.request.final(edge.receiver.location),
        address=f"[{address}]" if needs_brackets else address,
        most_lanes=limit.most,
        one_lane_reason=limit.reason,
        codecs=edge_codecs(context, edge),
        sending=_sending_plan(context, edge),
        listening=_listening_plan(context, edge),
        relayed=is_relayed(context, edge),
    )


def _sending_plan(context: PlanContext, edge: Edge) -> SendingPlan:
    transport = _transport(context, edge, edge.sender, edge.receiver)
    stream = transport.relayed() if is_relayed(context, edge) else transport
    strategy = transfer_type_strategy(context.options.transfer_type)
    digest, limit = stream_digest(context), context.options.bwlimit
    codecs = codecs_by_label(context, edge)
    return SendingPlan(
        pipelines={
            label: sender(strategy.read(context), codec, stream, digest, limit) for label, codec in codecs.items()
        },
        lanes={
            label: sender(strategy.read_lane(context), codec and codec.in_lane, stream, digest, limit)
            for label, codec in codecs.items()
            if most_streams(context, edge) > 1
        },
        probe=probe_sender(transport, limit) if is_link_probed(context) else None,
        buffer=send_bounds(context.host(edge.sender), settable=transport.sets_buffers),
    )


def _listening_plan(context: PlanContext, edge: Edge) -> ListeningPlan:
    host, options = context.host(edge.receiver), context.options
    transport = _transport(context, edge, edge.receiver, edge.sender)
    stream = transport.relayed() if is_relayed(context, edge) else transport
    sender_address = context.route(edge).source
    strategy = transfer_type_strategy(options.transfer_type)
    digest, codecs = stream_digest(context), codecs_by_label(context, edge)
    return ListeningPlan(
        pipelines={
            label: receiver(strategy.unpack(context, host), codec, stream, digest) for label, codec in codecs.items()
        },
        lanes={
            label: receiver(strategy.unpack_lane(context), codec, stream, digest)
            for label, codec in codecs.items()
            if most_streams(context, edge) > 1
        },
        sender_address=sender_address,
        port=options.port,
        shares_port=transport.shares_port,
        firewall_rules=firewall_rules(host.firewalls, options.firewall, sender_address, context.run_id),
        probe=probe_receiver(transport) if is_link_probed(context) else None,
        buffer=receive_bounds(host, settable=transport.sets_buffers),
    )


def _transport(context: PlanContext, edge: Edge, node: Node, peer: Node) -> Transport:
    """Return the transport of an edge for the session of ``node``, at one of its ends."""
    host, route, options = context.host(node), context.route(edge), context.options
    peer_probes = options.encrypt or "socat" in context.host(peer).tools
    watch = PeerWatch(seconds=options.stall_timeout, peer_probes=peer_probes)
    if options.encrypt:
        return tls(_certificate_name(context, peer), route.source, watch)
    if "socat" in host.tools:
        return plain(route.source, watch)
    program, flavour = best_netcat(host) or (NETCATS[0], "openbsd")
    return netcat(program, flavour, watch, ipv6=is_ipv6(route.address))


def _certificate_name(context: PlanContext, node: Node) -> str:
    return f"{SOURCE if node.name == SOURCE else 'target'}.{context.run_id}"
