"""A directory with a job file and a program in place of transfer.py, and hosts on which old copies are removed."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedRemote

from transferpy.batch import scheduler
from transferpy.batch.run import run_job_file
from transferpy.model.options import ToolOptions
from transferpy.model.request import JobRequest
from transferpy.RemoteExecution.interface import CommandResult

PROGRAM = """\
import json, os, sys, time
*options, source, target = sys.argv[1:]
log = open({log!r}, "a", buffering=1)
write = lambda event: print(event, source, target, time.monotonic(), file=log)
write("begin")
time.sleep({seconds})
write("end")
attempts = open({log!r}).read().count("end " + source)
status = {statuses}.get(source, [0])[min(attempts, len({statuses}.get(source, [0]))) - 1]
place = dict(zip(("host", "path"), target.split(":", 1)))
final = dict(place, path=place["path"] + "/x")
one = dict(target=place, final=final, status=status, error="", codec="", bytes=1, files=1, wire_bytes=1, ratio=1,
    stream_seconds=1, seconds=1, checks=[], position="", made_inode=7, made_born=8)
run = dict(name="", source=dict(zip(("host", "path"), source.split(":", 1))), type="file", cipher="", checksum="",
    started="2026-11-22T00:00:00+00:00", seconds=1, status=status, errors=[], interrupted="", dry_run=False,
    attempts=1, targets=[one], plan=[])
print("2026-11-22 00:00:00 INFO  a log line", file=sys.stderr)
assert "--report=-" in options
print(json.dumps(dict(version=1, job="", status=status, transfers=[run])))
"""


class Hosts(ScriptedRemote):
    """Hosts that return results for the removal of old copies."""

    def __init__(self, answer: Callable[[str], list[str]] = lambda _: []) -> None:
        super().__init__()
        self.answer = answer
        self.removals: list[str] = []

    def run(self, host: str, command: Any, *, on_line: Any = None, timeout: float | None = None) -> CommandResult:
        assert timeout
        self.removals.append(command)
        run_id = command.partition("run_id=")[2].split("\n")[0]
        for result in self.answer(command):
            on_line(f"@transferpy {run_id} pruned result={result}")
        return CommandResult(host=host, returncode=1, output="no such thing")


class JobDirectory:
    """A directory with a job file and a program in place of transfer.py."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.monkeypatch = path, monkeypatch
        self.state = path / "state"
        self.remote = Hosts()
        self.received: list[Any] = []

    def write(self, text: str, *, seconds: float = 0, statuses: Mapping[str, list[int]] = {}) -> None:
        source = PROGRAM.format(log=str(self.path / "log"), seconds=seconds, statuses=dict(statuses))
        (self.path / "program.py").write_text(source)
        self.monkeypatch.setattr(scheduler, "_PROGRAM", (sys.executable, str(self.path / "program.py")))
        (self.path / "j.yaml").write_text(f"state_directory: {self.state}\n{text}")

    def run(self, *names: str, **options: Any) -> int:
        request = JobRequest(
            path=str(self.path / "j.yaml"),
            names=names,
            overrides={},
            options=ToolOptions(**{"report": str(self.path / "report.json"), **options}),
            config=None,
        )
        return run_job_file(request, self.received, self.remote)

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "report.json").read_text())
        return found

    @property
    def events(self) -> list[list[str]]:
        """The lines that the program logged: begin or end, source, target, time."""
        log = self.path / "log"
        return [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def records(self) -> list[dict[str, Any]]:
        (registry,) = self.state.glob("*.json")
        found: list[dict[str, Any]] = json.loads(registry.read_text())["copies"]
        return found


def transfers(*pairs: tuple[str, str], more: str = "") -> str:
    lines = (f"  t{n}: {{source: '{a}:/x', targets: '{b}:/srv/{{date}}'{more}}}\n" for n, (a, b) in enumerate(pairs))
    return "transfers:\n" + "".join(lines)


def most_at_once(events: list[list[str]], host: str = "") -> int:
    now = most = 0
    for what, source, target, _ in events:
        if host in {"", source.partition(":")[0], target.partition(":")[0]}:
            now += 1 if what == "begin" else -1
            most = max(most, now)
    return most
