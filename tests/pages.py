"""Reads what docs/runbooks.rst says to type; the page itself says how that is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "runbooks.rst"
HOSTS = ("orch", "db1", "db2", "db3")
_BLOCK = re.compile(r"^\.\. code-block:: console\n\n((?:   .*\n|\n)+)", re.MULTILINE)
_TITLE = re.compile(r"^(\S.*)\n-+\n", re.MULTILINE)


@dataclass(frozen=True)
class Typed:
    """A command as root types it on a host; it may have several lines."""

    host: str
    command: str


def runbooks() -> dict[str, list[Typed]]:
    """Return all that is to be typed, in order, by the title of the section.

    Raises:
        ValueError: a line of a block is not what the page says that they are.
    """
    _, *parts = _TITLE.split(PAGE.read_text(encoding="utf-8"))
    sections = zip(parts[::2], parts[1::2], strict=True)
    return {title: [typed for block in _BLOCK.findall(text) for typed in _typed(block)] for title, text in sections}


def _typed(block: str) -> list[Typed]:
    found: list[Typed] = []
    for line in filter(None, (line[3:] for line in block.splitlines())):
        host, mark, command = line.partition("# ")
        if line.startswith("> ") and found:
            found[-1] = replace(found[-1], command=f"{found[-1].command}\n{line[2:]}")
        elif host in HOSTS and mark:
            found.append(Typed(host, command))
        else:
            raise ValueError(f"neither typed on a host nor the next line of it: {line!r}")
    return found
