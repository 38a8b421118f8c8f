"""Hosts that react as a test defines, and that fail on every other command."""

import base64
import gzip
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transferpy.model.facts import DatabaseFacts, HostFacts, SourceFacts, TargetFacts, TargetState
from transferpy.RemoteExecution.interface import (
    Command,
    CommandResult,
    EndHandler,
    Job,
    LineHandler,
    Outcome,
    RemoteExecution,
)

Reaction = str | CommandResult | BaseException
"""A reaction of a session to a command: print an event, end with a result, or raise an exception in the caller."""

HANGING = "(hangs)"
"""The last line of a preflight that does not end."""
END = ("ending", "end status=0 undone=yes", CommandResult(host="", returncode=0, output=""))


def encoded(text: str) -> str:
    return base64.b64encode(os.fsencode(text)).decode()


def packed(*records: str) -> str:
    """Return a list of records in the format in which a host sends it."""
    return base64.b64encode(gzip.compress(b"".join(os.fsencode(record) + b"\0" for record in records))).decode()


_TOKEN = r" [0-9a-f]{32}\b"


@dataclass
class ScriptedSession:
    """A session.

    Attributes:
        start: reactions to its start.
        reactions: reactions to each session command, and to ``kill``, which stands for ``kill_job``.
        received: the commands that it has received, without their tokens.
        tokens: the tokens of these commands.
    """

    start: Sequence[Reaction]
    reactions: Mapping[str, Sequence[Reaction]] = field(default_factory=dict)
    received: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)


class ScriptedJob(Job):
    def __init__(self, host: str, run: str, session: ScriptedSession, on_line: LineHandler, on_end: EndHandler) -> None:
        super().__init__(host)
        self.run, self.session, self.on_line, self.on_end = run, session, on_line, on_end
        self.outcome: Outcome | None = None

    def react(self, reactions: Sequence[Reaction]) -> None:
        """Print events (a line after ``!`` as it is), end, or raise."""
        for reaction in reactions:
            if isinstance(reaction, str):
                self.on_line(reaction[1:] if reaction.startswith("!") else f"@transferpy {self.run} {reaction}")
            elif isinstance(reaction, CommandResult):
                self.outcome = reaction
                self.on_end(reaction)
            else:
                raise reaction


@dataclass
class ScriptedRemote(RemoteExecution):
    """Remote execution on hosts that do not exist.

    Attributes:
        preflights: the output of the preflight of each host, or the error that it causes.
        sessions: the sessions of each host, in the order of their starts; an exception for a session that cannot start.
        runs: the output of each other script, by host and a word that the script contains.
        names: the hosts that words select, if they are not the words themselves.
        scripts: the hosts and their scripts, in the order in which they were started.
        logins: the hosts, in the order of the logins.
        jobs: the commands, in the same order.
    """

    preflights: Mapping[str, Sequence[str] | BaseException] = field(default_factory=dict)
    sessions: Mapping[str, list[ScriptedSession | BaseException]] = field(default_factory=dict)
    runs: Mapping[tuple[str, str], Sequence[str] | CommandResult | BaseException] = field(default_factory=dict)
    names: Mapping[str, str | BaseException] = field(default_factory=dict)
    scripts: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    jobs: list["ScriptedJob"] = field(default_factory=list)

    def resolve(self, word: str) -> str:
        found = self.names.get(word, word)
        if isinstance(found, BaseException):
            raise found
        return found

    def start_job(
        self,
        host: str,
        command: Command,
        *,
        on_line: LineHandler | None = None,
        on_end: EndHandler | None = None,
        takes_input: bool = False,
    ) -> Job:
        assert isinstance(command, str)
        assert on_line
        assert on_end
        self.scripts.append((host, command))
        self.logins.append(host)
        session = self._preflight(host, waits=takes_input) if "\nhost_facts " in command else self._next_session(host)
        job = ScriptedJob(host, run_of(command), session, on_line, on_end)
        self.jobs.append(job)
        job.react(session.start)
        return job

    def _preflight(self, host: str, *, waits: bool) -> ScriptedSession:
        output = self.preflights[host]
        lines: Sequence[Reaction] = [] if isinstance(output, BaseException) else output
        end = CommandResult(host=host, returncode=0, output="")
        ends = HANGING not in lines and not (waits and "asked" in lines)
        return ScriptedSession(
            [*(line for line in lines if line != HANGING), *[end] * ends], {"kill": [end], "end": [end]}
        )

    def _next_session(self, host: str) -> ScriptedSession:
        session = self.sessions[host].pop(0)
        if isinstance(session, BaseException):
            raise session
        return session

    def hand_script(self, host: str, job: Job, script: str) -> None:
        assert isinstance(job, ScriptedJob)
        assert job.host == host
        self.scripts.append((host, script))
        job.session = self._next_session(host)
        job.react(job.session.start)

    def write_job(self, host: str, job: Job, text: str) -> None:
        assert isinstance(job, ScriptedJob)
        assert job.host == host
        # The tests of codec_choice check the codec.
        command = re.sub(r"^(receive|send \d+) \w+", r"\1 CODEC", text.removeprefix("command ").removesuffix("\n"))
        # Most tests are not about buffers, and leave them to the kernel.
        command = re.sub(r"^(send \d+ CODEC \S+ [\d,]+ \d+) \d+\b", r"\1", command)
        command = re.sub(r"^(receive CODEC|(?:send \d+ CODEC|probe \d+) \S+ [\d,]+) 0\b", r"\1", command)
        job.session.tokens += re.findall(_TOKEN, command)
        command = re.sub(_TOKEN, "", command)
        job.session.received.append(command)
        job.react(job.session.reactions[command])

    def wait_job(self, host: str, job: Job, timeout: float | None = None) -> CommandResult:
        assert isinstance(job, ScriptedJob)
        assert job.host == host
        assert timeout
        output = self.preflights[host]
        if isinstance(output, BaseException):
            raise output
        return CommandResult(host=host, returncode=0, output="\n".join(output))

    def kill_job(self, host: str, job: Job, *, grace: float = 10.0) -> CommandResult:
        assert isinstance(job, ScriptedJob)
        assert job.host == host
        assert grace > 0
        job.session.received.append("kill")
        job.react(job.session.reactions["kill"])
        assert isinstance(job.outcome, CommandResult)
        return job.outcome

    def run(
        self, host: str, command: Command, *, on_line: LineHandler | None = None, timeout: float | None = None
    ) -> CommandResult:
        assert isinstance(command, str)
        assert on_line
        assert timeout is None or timeout > 0
        ((_, output),) = [
            (word, output) for (place, word), output in self.runs.items() if place == host and word in command
        ]
        if isinstance(output, BaseException):
            raise output
        if isinstance(output, CommandResult):
            return output
        for line in output:
            on_line(line.replace("RUN", run_of(command)) if line.startswith("@") else line)
        return CommandResult(host=host, returncode=0, output="")

    def monitor_job(self, host: str, job: Job) -> CommandResult | None:
        raise AssertionError((host, job))


def run_of(script: str) -> str:
    """Return the run of a script."""
    found = re.search(r"^run_id=(\w+)$", script, re.MULTILINE)
    return found[1] if found else ""


def answer(facts: HostFacts, *, owner: bool = False) -> list[str]:
    """Return the output of a preflight with ``facts``; ``owner`` for a preflight that looks for the owner of a copy."""
    lines = [
        f"finished-dead-run run={run}{' replication=started' * replication}" for run, replication in facts.finished
    ]
    lines += [f"undo-failed entry={encoded(entry)} text={encoded(text)}" for entry, text in facts.not_undone]
    lines.append(
        f"host uid={facts.uid} cores={facts.cores} memory={facts.memory} lists={facts.lists or 1 << 40}"
        f" boot={facts.boot}"
        f" tools={','.join(sorted(facts.tools))}"
        f" listening={','.join(map(str, facts.listening))}"
    )
    if facts.buffers:
        buffers = facts.buffers
        flags = (buffers.forced, buffers.relays, buffers.watches)
        forced, relays, watches = ("yes" if flag else "no" for flag in flags)
        sizes = f"send={buffers.send} receive={buffers.receive}"
        lines.append(f"buffers {sizes} forced={forced} relays={relays} watches={watches}")
    lines += [f"netcat name={name} help={encoded(text)}" for name, text in facts.netcats.items()]
    lines += [_source(facts.source)] if facts.source else []
    lines += [_database(facts.database)] if facts.database else []
    lines += [f"backup tool={tool} version={encoded(text)}" for tool, text in facts.backup_versions.items()]
    lines += [f"magic first={base64.b64encode(facts.magic).decode()}"] if facts.magic else []
    lines += [f"owner unknown={facts.unknown_owner}"] if owner else []
    if facts.source:
        lines += [
            f"mount path={encoded(mount.path)} type={mount.type} kind={mount.kind}" for mount in facts.source.mounts
        ]
    lines += [f"route index={n} address={route.address} source={route.source}" for n, route in facts.routes.items()]
    lines += [f"firewall tool={tool} rules={encoded(rules)}" for tool, rules in facts.firewalls.items()]
    lines += [_target(index, target) for index, target in facts.targets.items()]
    return [*lines, "asked"]


def _source(facts: SourceFacts) -> str:
    return (
        f"source directory={encoded(facts.directory)} name={encoded(facts.name)} kind={facts.kind}"
        f" server={'yes' if facts.server else 'no'}"
        f" identity={facts.identity} error={encoded(facts.error)} disk={facts.disk} inodes={facts.inodes}"
        f" files={facts.files} directories={facts.directories} bytes={facts.bytes} largest={facts.largest}"
        f" sockets={facts.sockets} links_error={encoded(facts.links_error)}"
    )


def _database(facts: DatabaseFacts) -> str:
    if facts.state != "server":
        return (
            f"database state={facts.state} error={encoded(facts.error)} datadir={encoded(facts.datadir)}"
            f" own={encoded(facts.own)} path={encoded(facts.path)}"
        )
    return (
        f"database state=server version={encoded(facts.version)} name={encoded(facts.name)}"
        f" datadir={encoded(facts.datadir)} disk={facts.disk} inodes={facts.inodes}"
        f" outside={encoded(facts.outside)}"
    )


def _target(index: int, facts: TargetFacts) -> str:
    if facts.state is TargetState.OTHER:
        return f"target index={index} state={facts.state}"
    inodes = "0:0" if facts.inodes is None else f"9:{facts.inodes}"
    return (
        f"target index={index} state={facts.state} path={encoded(facts.path)} ancestors={','.join(facts.ancestors)}"
        f" final={facts.final_identity} content={chr(120) * (not facts.empty)} leftovers={','.join(facts.leftovers)}"
        f" free={facts.free} inodes={inodes} mount={encoded(facts.mount)}"
    )
