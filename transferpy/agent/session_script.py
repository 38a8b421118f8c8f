"""The script of a host session, rendered from its plan.

A session is one process on a host. It alone changes that host, and it undoes its changes however it ends. The fixed
part of its script comes from the files of ``transferpy/host``; this module adds the variables and the pipelines.
"""

from collections.abc import Iterable, Mapping

from transferpy.agent.session_plan import DeliveryPlan, ListeningPlan, ReadingPlan, SendingPlan, SessionPlan
from transferpy.host import assemble
from transferpy.stream.commands import Command, join
from transferpy.stream.renderer import (
    render_array,
    render_command,
    render_function,
    render_function_of_all,
    render_mapping,
    render_pipeline_function,
)
from transferpy.stream.tar import LANE


def session_script(run_id: str, plan: SessionPlan) -> str:
    """Return the script of a session."""
    abilities = tuple(_abilities(plan))
    return assemble(
        *(f"agent/{ability}" for ability in abilities),
        f"types/{plan.transfer_type}",
        variables=_variables(run_id, plan),
        functions=(render_array("abilities", abilities), *_functions(plan)),
        call="run_session",
    )


def _abilities(plan: SessionPlan) -> Iterable[str]:
    """Yield the abilities in the order in which the session prepares them; each is a file of ``host/agent``."""
    if plan.reading:
        yield "read"
    if plan.delivery:
        yield "unpack"
    if plan.listening:
        yield "listen"
    if plan.sending:
        yield "connect"
    if plan.delivery:
        yield from ("verify", "publish")


def _variables(run_id: str, plan: SessionPlan) -> dict[str, str]:
    return {
        "run_id": run_id,
        **(_reading_variables(plan.reading) if plan.reading else {}),
        **(_listening_variables(plan.listening) if plan.listening else {}),
        **(_delivery_variables(plan.delivery) if plan.delivery else {}),
        "own_name": plan.own_name,
        "cores": str(plan.cores),
        **({"compress_threads": str(plan.compress_threads)} if plan.sending else {}),
        "transfer_type": plan.transfer_type,
        "owner": plan.owner,
        "encrypt": _yes_or_no(plan.encrypt),
        "one_file_system": _yes_or_no(plan.one_file_system),
        "checksum": _yes_or_no(plan.digest is not None),
        "priority": "low" if plan.low_priority else "normal",
    }


def _reading_variables(plan: ReadingPlan) -> dict[str, str]:
    variables = {
        "source_directory": plan.directory,
        "source_name": plan.name,
        "distributes": _yes_or_no(plan.distributes),
        "stop_slave": _yes_or_no(plan.stop_slave),
        "safe_timeout": str(plan.safe_timeout),
        "max_stop_time": str(plan.max_stop_time),
    }
    if plan.sample:
        variables["sample_directory"] = plan.sample.directory
        variables["sampled_bytes"] = str(plan.sample.bytes)
    return variables


def _listening_variables(plan: ListeningPlan) -> dict[str, str]:
    return {
        "wanted_port": str(plan.port),
        "shares_port": _yes_or_no(plan.shares_port),
        "probe": _yes_or_no(plan.probe is not None),
        "probe_buffer": str(plan.buffer.largest),
        "sender_address": plan.sender_address,
    }


def _delivery_variables(plan: DeliveryPlan) -> dict[str, str]:
    return {
        "target_directory": plan.directory,
        "staging_name": plan.staging_name,
        "source_name": plan.source_name,
        "final_name": plan.final_name,
        "create_target": _yes_or_no(plan.create_target),
        "prepare": _yes_or_no(plan.prepare is not None),
    }


def _functions(plan: SessionPlan) -> Iterable[str]:
    """Yield the arrays and functions that the fixed text reads and calls."""
    if plan.digest:
        yield render_array("digest_tool", tuple(map(str, plan.digest.argv)))
    yield render_mapping("progress_program", dict(_progress_programs(plan)))
    if plan.reading:
        yield from _reading_functions(plan.reading)
    yield from _sending_functions(plan.sending)
    if plan.listening:
        yield from _listening_functions(plan.listening)
    if plan.delivery:
        yield render_function("prepare_copy", (plan.delivery.prepare,) if plan.delivery.prepare else ())


def _progress_programs(plan: SessionPlan) -> Iterable[tuple[str, str]]:
    """Yield each pipeline, and the program of the stage whose input is the progress of the stream."""
    number = plan.reading.metered_stage if plan.reading else 0
    for edge, part in plan.sending.items():
        for label, pipeline in part.pipelines.items():
            yield f"send_{edge}_{label}", pipeline.names[number]
        for label, pipeline in part.lanes.items():
            yield f"send_{edge}_lanes_{label}", pipeline.names[number + 1]  # behind the names of its files
    if plan.listening:
        for label, pipeline in plan.listening.pipelines.items():
            yield f"receive_{label}", pipeline.names[0]
        for label, pipeline in plan.listening.lanes.items():
            yield f"receive_lanes_{label}", pipeline.names[0]


def _reading_functions(plan: ReadingPlan) -> Iterable[str]:
    benchmarks = plan.sample.benchmarks if plan.sample else {}
    yield render_array("client", plan.client)
    yield render_array("benchmarked", tuple(benchmarks))
    for label, command in benchmarks.items():
        yield render_array(f"benchmark_{label}", tuple(map(str, command.argv)))


def _sending_functions(plans: Mapping[str, SendingPlan]) -> Iterable[str]:
    for edge, plan in plans.items():
        task = f"send_{edge}"
        for label, pipeline in plan.pipelines.items():
            yield render_pipeline_function(f"{task}_{label}", pipeline, task)
        for label, pipeline in plan.lanes.items():
            yield render_pipeline_function(f"{task}_lanes_{label}", pipeline, task)
        if plan.probe:
            yield render_pipeline_function(f"send_probe_{edge}", plan.probe, "send_probe")


def _listening_functions(plan: ListeningPlan) -> Iterable[str]:
    closing = tuple(Command(("on_undo", join("firewall", LANE), *rule.closing.argv)) for rule in plan.firewall_rules)
    yield render_function("register_firewall_undo", closing)
    # After a restart of a firewall, a table of another one may be gone.
    yield render_function_of_all("open_firewall", tuple(rule.opening for rule in plan.firewall_rules))
    for label, pipeline in plan.pipelines.items():
        yield render_pipeline_function(f"receive_{label}", pipeline, "receive")
    for label, pipeline in plan.lanes.items():
        yield render_pipeline_function(f"receive_lanes_{label}", pipeline, "receive")
    if plan.probe:
        yield render_pipeline_function("receive_probe", plan.probe)


def list_script(directory: str, name: str) -> str:
    """Return the script that prints a list which the session with that run directory holds, compressed, in base64."""
    return assemble("tools/list", call=render_command(Command(("print_list", directory, name))))


def recovery_script(run_id: str) -> str:
    """Return the script that undoes, on a host, the changes of the sessions there that were killed."""
    return assemble("lib/recovery", variables={"run_id": run_id}, call="recover_stale_runs")


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - it is all that there is to say
    return "yes" if value else "no"
