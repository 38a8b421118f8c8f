"""Reads what the pages of the manual say to type; docs/runbooks.rst says how that is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[1] / "docs"
CHECKOUT_PROMPT = "checkout"
HOSTS = (CHECKOUT_PROMPT, "orch", "db1", "db2", "db3")
_BLOCK = re.compile(
    r"^( *)\.\. (?:code-block|code|sourcecode):: *(\w*)\n((?:\1   :.*\n)*)\n((?:\1   .*\n| *\n)+)", re.MULTILINE
)
_TITLE = re.compile(r"^(\S.*)\n-+\n", re.MULTILINE)


@dataclass(frozen=True)
class Typed:
    """A command as root types it on a host, or in a checkout; it may have several lines."""

    host: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code on a page: its language, its directive's options, its lines without their indentation."""

    page: str
    section: str
    language: str
    options: str
    text: str

    @property
    def by_hand(self) -> bool:
        """Whether only a person can type it."""
        return ":class: by-hand\n" in self.options

    @property
    def reason(self) -> str:
        """Why only a person can, as it stands above the block; empty if it does not say."""
        found = re.search(r":caption: By hand: (.+)\n", self.options)
        return found[1] if found else ""

    def typed(self) -> list[Typed]:
        """Return the commands in it.

        Raises:
            ValueError: a line is not what the manual says that they are.
        """
        found: list[Typed] = []
        for line in filter(None, self.text.splitlines()):
            host, mark, command = line.partition("# ")
            if line.startswith("> ") and found:
                found[-1] = replace(found[-1], command=f"{found[-1].command}\n{line[2:]}")
            elif host in HOSTS and mark:
                found.append(Typed(host, command))
            else:
                raise ValueError(f"{self.page}: neither typed on a host nor the next line of it: {line!r}")
        return found


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


def typed_by_tests(page: str) -> dict[str, list[Typed]]:
    """Return all that a test is to type of a page, in order, by the title of the section; no section without any."""
    found: dict[str, list[Typed]] = {}
    for block in blocks(page):
        if block.language == "console" and not block.by_hand:
            found.setdefault(block.section, []).extend(block.typed())
    return found


def literals(page: str) -> list[str]:
    """Return the lines of a page's literal blocks, which are to be looked at."""
    text = (DOCS / f"{page}.rst").read_text(encoding="utf-8")
    shown = re.findall(r"^(?!\.\. ).*::\n\n((?: +.*\n|\n)+)", text, re.MULTILINE)
    return [line.strip() for part in shown for line in part.splitlines() if line.strip()]
