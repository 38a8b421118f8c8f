"""Reads the commands of the pages of the manual; docs/runbooks.rst describes their format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[1] / "docs"
CHECKOUT_PROMPT = "checkout"
HOSTS = frozenset((CHECKOUT_PROMPT, "orch", *(f"db{number}" for number in range(1, 7))))
MODES = ("positions", "GTIDs")
"""The kinds of replication; a block with the caption "Only with MODE" is for one of them."""
_BLOCK = re.compile(
    r"^( *)\.\. (?:code-block|code|sourcecode):: *(\w*)\n((?:\1   :.*\n)*)\n((?:\1   .*\n| *\n)+)", re.MULTILINE
)
_TITLE = re.compile(r"^(\S.*)\n-+\n", re.MULTILINE)


@dataclass(frozen=True)
class Typed:
    """A command that root types on a host or in a checkout; it can have several lines."""

    host: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code on a page: language, options of the directive, lines without indentation."""

    page: str
    section: str
    language: str
    options: str
    text: str

    @property
    def by_hand(self) -> bool:
        """Return whether no test can run the block."""
        return ":class: by-hand\n" in self.options

    @property
    def reason(self) -> str:
        """Return the reason from the caption of the block; empty if there is none."""
        found = re.search(r":caption: By hand: (.+)\n", self.options)
        return found[1] if found else ""

    def is_for(self, mode: str) -> bool:
        """Return whether a test with this kind of replication runs the block; with "", return true."""
        return not mode or all(other == mode or f":caption: Only with {other}\n" not in self.options for other in MODES)

    def typed(self) -> list[Typed]:
        """Return the commands of the block, one for each host of its prompt.

        Raises:
            ValueError: a line is neither a command nor the continuation of one.
        """
        found: list[tuple[str, str]] = []
        for line in filter(None, self.text.splitlines()):
            hosts, mark, command = line.partition("# ")
            if line.startswith("> ") and found:
                found[-1] = (found[-1][0], f"{found[-1][1]}\n{line[2:]}")
            elif mark and HOSTS.issuperset(hosts.split(",")):
                found.append((hosts, command))
            else:
                raise ValueError(f"{self.page}: neither a command on a host nor a continuation line: {line!r}")
        return [Typed(host, command) for hosts, command in found for host in hosts.split(",")]


def page_names() -> list[str]:
    """Return the names of all pages of the manual."""
    return sorted(str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.rglob("*.rst"))


def blocks(page: str) -> list[Block]:
    """Return the blocks of code of a page, in order."""
    return list(_blocks(page, (DOCS / f"{page}.rst").read_text(encoding="utf-8")))


def _blocks(page: str, text: str) -> Iterator[Block]:
    top, *parts = _TITLE.split(text)
    for section, part in zip(["", *parts[::2]], [top, *parts[1::2]], strict=True):
        for indent, language, options, lines in _BLOCK.findall(part):
            shown = re.sub(rf"^{indent}   ", "", lines, flags=re.MULTILINE)
            yield Block(page=page, section=section, language=language, options=options, text=shown)


def typed_by_tests(page: str, mode: str = "") -> dict[str, list[Typed]]:
    """Return the commands of a page that a test runs, in order, by the title of their section.

    Args:
        page: name of the page.
        mode: one of MODES, which leaves out the blocks for others; "" for all blocks.
    """
    found: dict[str, list[Typed]] = {}
    for block in blocks(page):
        if block.language == "console" and not block.by_hand and block.is_for(mode):
            found.setdefault(block.section, []).extend(block.typed())
    return found


def literals(page: str) -> list[str]:
    """Return the lines of the literal blocks of a page; these blocks show output or files."""
    text = (DOCS / f"{page}.rst").read_text(encoding="utf-8")
    shown = re.findall(r"^(?!\.\. ).*::\n\n((?: +.*\n|\n)+)", text, re.MULTILINE)
    return [line.strip() for part in shown for line in part.splitlines() if line.strip()]
