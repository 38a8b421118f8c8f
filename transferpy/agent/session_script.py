"""The host session: its script, the orders it takes and the events it sends.

A session is one process on a host; it alone changes that host, and undoes what it did however it ends. The fixed part
of its text is ``host.sh`` and ``session.sh``; this module puts the variables and the pipelines of a plan before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

from transferpy.Firewall import FirewallRule
from transferpy.model.options import TransferType
from transferpy.stream.commands import Command, Pipeline
from transferpy.stream.renderer import (
    render_array,
    render_assignment,
    render_function,
    render_mapping,
    render_pipeline_function,
)


@dataclass(frozen=True, kw_only=True)
class SourceSession:
    """What the session on the source is told.

    Attributes:
        directory: holds the source.
        name: of the source, in that directory.
        own_name: common name of the certificate it makes.
        cores: how many processes may digest at once.
        encrypt: whether a key is made.
        digest: the command that digests files, or None where they are not digested.
        senders: by target, as orders name it, a pipeline for each codec, by its label.
        probes: by target, what finds out how much the link carries.
        trials: by label of a codec, the command that compresses a sample.
        bytes: the sum of the sizes of its files, over which a sample is spread.
        sample_directory: holds what a sample is taken from, where that is not the source.
        low_priority: whether the session steps back behind the host's other work.
        transfer_type: what is copied.
        client: the words of the database's client, for a backup.
        stop_slave: whether replication is stopped for a backup.
    """

    directory: str
    name: str
    own_name: str
    cores: int
    encrypt: bool
    digest: Command | None
    senders: Mapping[str, Mapping[str, Pipeline]]
    probes: Mapping[str, Pipeline] = field(default_factory=dict)
    trials: Mapping[str, Command] = field(default_factory=dict)
    bytes: int = 0
    sample_directory: str = ""
    low_priority: bool = False
    transfer_type: TransferType = TransferType.FILE
    client: tuple[str, ...] = ()
    stop_slave: bool = False


@dataclass(frozen=True, kw_only=True)
class TargetSession:
    """What the session on a target is told; what both have in common is as in :class:`SourceSession`.

    Attributes:
        directory: the target directory.
        staging_name: the directory made in it, to receive.
        source_name: the name under which the copy arrives there.
        final_name: the name it gets at the end.
        own_name: common name of the certificate it makes.
        cores: how many processes may digest at once.
        encrypt: whether a key is made.
        digest: the command that digests files, or None where they are not digested.
        port: the port wanted, or 0.
        firewall_rules: what to open in the firewalls.
        receivers: a pipeline for each codec, by its label.
        probe: what finds out how much the link carries, or None.
        low_priority: whether the session steps back behind the host's other work.
        transfer_type: what is copied.
        prepare: the command that makes a hot copy ready to start, or None to leave it as it is.
        owner: who owns all that arrived, or empty to keep the owners.
        create_target: whether the directory is made if it is missing.
    """

    directory: str
    staging_name: str
    source_name: str
    final_name: str
    own_name: str
    cores: int
    encrypt: bool
    digest: Command | None
    port: int
    firewall_rules: tuple[FirewallRule, ...]
    receivers: Mapping[str, Pipeline]
    probe: Pipeline | None = None
    low_priority: bool = False
    transfer_type: TransferType = TransferType.FILE
    prepare: Command | None = None
    owner: str = ""
    create_target: bool = False


def source_script(run_id: str, session: SourceSession) -> str:
    """Return the script of the session on the source."""
    functions = [render_array("client", session.client), render_array("tried", tuple(session.trials))]
    for target, senders in session.senders.items():
        job = f"send_{target}"
        functions += [render_pipeline_function(f"{job}_{label}", sender, job) for label, sender in senders.items()]
    functions += [render_pipeline_function(f"probe_{label}", probe, "probe") for label, probe in session.probes.items()]
    functions += [render_function(f"try_{label}", (trial,)) for label, trial in session.trials.items()]
    variables = {
        "role": "source",
        "source_directory": session.directory,
        "source_name": session.name,
        "stop_slave": _word(session.stop_slave),
        "sample_directory": session.sample_directory,
        "sampled_bytes": str(0 if session.sample_directory else session.bytes),
        **_common(session),
    }
    if session.trials:
        variables["sampler"] = _text("sample.pl")
    functions.insert(0, render_mapping("watched_by", _watched(session)))
    return _script(run_id, variables, [*_digest_tool(session), *functions], "source_session")


def target_script(run_id: str, session: TargetSession) -> str:
    """Return the script of the session on a target."""
    listener = next(iter(session.receivers.values())).names[0]
    functions = [
        render_mapping("watched_by", dict.fromkeys(session.receivers, listener)),
        render_function(
            "note_firewall_rules",
            tuple(Command(("on_undo", "firewall", *rule.closing.argv)) for rule in session.firewall_rules),
        ),
        render_function("open_firewall", tuple(rule.opening for rule in session.firewall_rules)),
        *(
            render_pipeline_function(f"receive_{label}", receiver, "receive")
            for label, receiver in session.receivers.items()
        ),
        render_function("prepare_copy", (session.prepare,) if session.prepare else ()),
    ]
    if session.probe:
        functions.append(render_pipeline_function("probe", session.probe, "probe"))
    variables = {
        "role": "target",
        "target_directory": session.directory,
        "staging_name": session.staging_name,
        "source_name": session.source_name,
        "final_name": session.final_name,
        "wanted_port": str(session.port),
        "owner": session.owner,
        "create_target": _word(session.create_target),
        "prepare": _word(session.prepare is not None),
        "probe": _word(session.probe is not None),
        **_common(session),
    }
    return _script(run_id, variables, [*_digest_tool(session), *functions], "target_session")


def _watched(session: SourceSession) -> dict[str, str]:
    """Return by codec the stage whose reading shows how far the stream is."""
    # A backup tool reads the server's log once a second for ever: what it has written is what the next stage reads.
    number = 1 if session.transfer_type is TransferType.XTRABACKUP else 0
    return {label: sender.names[number] for senders in session.senders.values() for label, sender in senders.items()}


def list_script(directory: str, name: str) -> str:
    """Return the script that prints a list which the session with that run directory holds, compressed, in base64."""
    return "\n".join([render_assignment("directory", directory), render_assignment("list", name), _text("list.sh")])


def finish_dead_runs_script(run_id: str) -> str:
    """Return the script that undoes what sessions left on a host that were killed before they could."""
    return "\n".join([render_assignment("run_id", run_id), _text("host.sh"), _text("database.sh"), "finish_dead_runs"])


def _common(session: SourceSession | TargetSession) -> dict[str, str]:
    variables = {
        "own_name": session.own_name,
        "cores": str(session.cores),
        "transfer_type": session.transfer_type,
        "encrypt": _word(session.encrypt),
        "checksum": _word(session.digest is not None),
        "priority": "low" if session.low_priority else "normal",
    }
    if session.digest:
        variables["digester"] = _text("digest.pl")
    return variables


def _digest_tool(session: SourceSession | TargetSession) -> list[str]:
    return [render_array("digest_tool", tuple(map(str, session.digest.argv)))] if session.digest else []


def _word(value: bool) -> str:  # noqa: FBT001 - it is all that there is to say
    return "yes" if value else "no"


def _script(run_id: str, variables: Mapping[str, str], functions: list[str], call: str) -> str:
    assignments = [render_assignment(name, value) for name, value in {"run_id": run_id, **variables}.items()]
    return "\n".join([*assignments, *map(_text, ("host.sh", "database.sh", "session.sh")), *functions, call])


def _text(name: str) -> str:
    return (resources.files("transferpy") / "host" / name).read_text(encoding="utf-8")
