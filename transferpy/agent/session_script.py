"""The script of a host session, rendered from its plan.

A session is one process on a host. It alone changes that host, and it undoes its changes however it ends. The fixed
part of its script comes from the files of ``transferpy/host``; this module adds the variables and the pipelines.
"""

from collections.abc import Iterable, Mapping

from transferpy.agent.session_plan import DeliveryPlan, ListeningPlan, ReadingPlan, SendingPlan, SessionPlan
from transferpy.host import assemble
from transferpy.stream.commands import Command
from transferpy.stream.renderer import (
    render_array,
    render_command,
    render_function,
    render_mapping,
    render_pipeline_function,
)


def session_script(run_id: str, plan: SessionPlan) -> str:
    """Return the script of a session."""
    role = "source" if plan.reading else "target"
    return assemble(
        "agent/send" if plan.reading else "agent/receive",
        variables=_variables(run_id, role, plan),
        functions=_functions(plan),
        call=f"{role}_session",
    )


def _variables(run_id: str, role: str, plan: SessionPlan) -> dict[str, str]:
    return {
        "run_id": run_id,
        "role": role,
        **(_reading_variables(plan.reading) if plan.reading else {}),
        **(_listening_variables(plan.listening) if plan.listening else {}),
        **(_delivery_variables(plan.delivery) if plan.delivery else {}),
        "own_name": plan.own_name,
        "cores": str(plan.cores),
        "transfer_type": plan.transfer_type,
        "encrypt": _yes_or_no(plan.encrypt),
        "checksum": _yes_or_no(plan.digest is not None),
        "priority": "low" if plan.low_priority else "normal",
    }


def _reading_variables(plan: ReadingPlan) -> dict[str, str]:
    variables = {
        "source_directory": plan.directory,
        "source_name": plan.name,
        "stop_slave": _yes_or_no(plan.stop_slave),
    }
    if plan.sample:
        variables["sample_directory"] = plan.sample.directory
        variables["sampled_bytes"] = str(plan.sample.bytes)
    return variables


def _listening_variables(plan: ListeningPlan) -> dict[str, str]:
    return {"wanted_port": str(plan.port), "probe": _yes_or_no(plan.probe is not None)}


def _delivery_variables(plan: DeliveryPlan) -> dict[str, str]:
    return {
        "target_directory": plan.directory,
        "staging_name": plan.staging_name,
        "source_name": plan.source_name,
        "final_name": plan.final_name,
        "owner": plan.owner,
        "create_target": _yes_or_no(plan.create_target),
        "prepare": _yes_or_no(plan.prepare is not None),
    }


def _functions(plan: SessionPlan) -> Iterable[str]:
    """Yield the arrays and functions that the fixed text reads and calls."""
    if plan.digest:
        yield render_array("digest_tool", tuple(map(str, plan.digest.argv)))
    yield render_mapping("watched_by", _metered_stages(plan))
    if plan.reading:
        yield from _reading_functions(plan.reading)
    yield from _sending_functions(plan.sending)
    if plan.listening:
        yield from _listening_functions(plan.listening)
    if plan.delivery:
        yield render_function("prepare_copy", (plan.delivery.prepare,) if plan.delivery.prepare else ())


def _metered_stages(plan: SessionPlan) -> dict[str, str]:
    """Return the program of the stage that measures the progress of the stream, by the label of the codec."""
    number = plan.reading.metered_stage if plan.reading else 0
    sent = {
        label: pipeline.names[number] for part in plan.sending.values() for label, pipeline in part.pipelines.items()
    }
    received = plan.listening.pipelines if plan.listening else {}
    return sent | {label: pipeline.names[0] for label, pipeline in received.items()}


def _reading_functions(plan: ReadingPlan) -> Iterable[str]:
    benchmarks = plan.sample.benchmarks if plan.sample else {}
    yield render_array("client", plan.client)
    yield render_array("tried", tuple(benchmarks))
    for label, command in benchmarks.items():
        yield render_function(f"try_{label}", (command,))


def _sending_functions(plans: Mapping[str, SendingPlan]) -> Iterable[str]:
    for edge, plan in plans.items():
        job = f"send_{edge}"
        for label, pipeline in plan.pipelines.items():
            yield render_pipeline_function(f"{job}_{label}", pipeline, job)
        if plan.probe:
            yield render_pipeline_function(f"probe_{edge}", plan.probe, "probe")


def _listening_functions(plan: ListeningPlan) -> Iterable[str]:
    closing = tuple(Command(("on_undo", "firewall", *rule.closing.argv)) for rule in plan.firewall_rules)
    yield render_function("note_firewall_rules", closing)
    yield render_function("open_firewall", tuple(rule.opening for rule in plan.firewall_rules))
    for label, pipeline in plan.pipelines.items():
        yield render_pipeline_function(f"receive_{label}", pipeline, "receive")
    if plan.probe:
        yield render_pipeline_function("probe", plan.probe, "probe")


def list_script(directory: str, name: str) -> str:
    """Return the script that prints a list which the session with that run directory holds, compressed, in base64."""
    return assemble("tools/list", call=render_command(Command(("print_list", directory, name))))


def finish_dead_runs_script(run_id: str) -> str:
    """Return the script that undoes what sessions left on a host that were killed before they could."""
    return assemble("lib/recovery", variables={"run_id": run_id}, call="finish_dead_runs")


def _yes_or_no(value: bool) -> str:  # noqa: FBT001 - it is all that there is to say
    return "yes" if value else "no"
