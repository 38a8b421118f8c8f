"""Lines of the shell files of hosts that ran, from the traces that trace.sh makes of the scripts that contain them."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Lines = dict[str, set[int]]
"""Numbers of lines by the name of the file."""

_COMMANDS = {"CallExpr", "DeclClause", "TestClause", "ArithmCmd", "LetClause"}
_HEADERS = {"ForClause", "CaseClause"}
_SUBSTITUTIONS = {"CmdSubst", "ProcSubst"}  # bash is not exact about the lines of their commands
_PACKED = re.compile(rb"base64 -d <<<([A-Za-z0-9+/=]+) \| gzip -d")
_TRACED = re.compile(rb"^\++@(\d+)@ (eval '(?:[^']|'\\'')*')?", re.MULTILINE)
_ALIKE = 0.9  # part of the lines of a file that a script has in their places: tests replace single ones


class ShellFiles:
    """The shell files of hosts.

    Args:
        texts: the files, by name.
    """

    def __init__(self, texts: Mapping[str, bytes]) -> None:
        self._lines = {name: text.splitlines() for name, text in texts.items()}
        self._commands = {name: dict(commands(text)) for name, text in texts.items()}

    @property
    def executable(self) -> Lines:
        """The lines on which a command begins that a trace can contain."""
        return {name: set(found) for name, found in self._commands.items()}

    def executed(self, traces: Iterator[bytes]) -> Lines:
        """Return the lines of commands that ran."""
        traced: Lines = {name: set() for name in self._lines}
        for trace in traces:
            for name, number in self._traced(trace):
                traced[name].add(number)
        return {
            name: {first for first, last in found.items() if not traced[name].isdisjoint(range(first, last + 1))}
            for name, found in self._commands.items()
        }

    def _traced(self, trace: bytes) -> Iterator[tuple[str, int]]:
        script, _, lines = trace.partition(b"\0")
        packed = _PACKED.search(script)
        places = self.places(gzip.decompress(base64.b64decode(packed[1])) if packed else script, 1)
        for number, evaluated in _TRACED.findall(lines):
            if place := places.get(int(number)):
                yield place
            # The lines of a text that eval runs are numbered from the line of the eval on.
            if inner := evaluated and self.places(evaluated[6:-1].replace(b"'\\''", b"'"), int(number)):
                places = inner

    def places(self, script: bytes, start: int) -> dict[int, tuple[str, int]]:
        """Return, by the number of a line of a script, the file and the line of the file that it comes from.

        Args:
            script: the text.
            start: the number of its first line.
        """
        lines = script.splitlines()
        once = {line for line, times in Counter(lines).items() if times == 1}
        numbers = {line: number for number, line in enumerate(lines) if line in once}
        found: dict[int, tuple[str, int]] = {}
        for name, content in self._lines.items():
            shifts = Counter(numbers[line] - number for number, line in enumerate(content) if line in numbers)
            for shift, _ in shifts.most_common(1):
                alike = sum(ours == theirs for ours, theirs in zip(content, lines[shift:], strict=False))
                if shift >= 0 and alike >= _ALIKE * len(content):
                    found |= {start + shift + number: (name, number + 1) for number in range(len(content))}
        return found


def commands(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each command of a shell file that a trace can contain.

    Raises:
        CalledProcessError: shfmt cannot parse the file.
    """
    text = text.replace(b"/[", b"/_")  # shfmt takes a pattern in an array for a subscript
    parsed = subprocess.run(["shfmt", "--to-json"], input=text, capture_output=True, check=True).stdout
    nodes: list[Any] = [json.loads(parsed)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            kind = node.get("Type")
            nodes += node.values() if kind not in _SUBSTITUTIONS else ()
            if kind in _COMMANDS:
                yield node["Pos"]["Line"], node["End"]["Line"]
            elif kind in _HEADERS:
                yield node["Pos"]["Line"], node["Pos"]["Line"]


def shell_files(directory: Path) -> ShellFiles:
    """Return the shell files below a directory, named as from there."""
    found = sorted(path for path in directory.rglob("*.sh") if path.stem != "launch")  # it runs before the trace begins
    return ShellFiles({str(path.relative_to(directory)): path.read_bytes() for path in found})
