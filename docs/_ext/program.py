"""Directives that have the manual say what the program itself says, so that the two cannot disagree.

``program-usage``, ``program-options``, ``program-examples`` and ``program-exit-statuses`` take no arguments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from transferpy import transfer
from transferpy.model.options import OPTION_NAMES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from sphinx.application import Sphinx


def escaped(text: str) -> str:
    """Return a text as reStructuredText that shows it as it is."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def usage() -> Iterator[str]:
    """Yield the usage of the program."""
    for line in transfer.argument_parser().format_usage().removeprefix("usage:").splitlines():
        yield f"| ``{line.strip()}``"


def options() -> Iterator[str]:
    """Yield every option of the parser, group by group."""
    for group in transfer.argument_parser()._action_groups:  # noqa: SLF001  # there is no public way to ask for them
        actions = [action for action in group._group_actions if action.option_strings]  # noqa: SLF001  # as above
        if actions:
            yield from (f".. rubric:: {(group.title or '').capitalize()}", "")
        for action in actions:
            yield from described(action)


def described(action: argparse.Action) -> Iterator[str]:
    """Yield one option: its words, what it is for, and its key in the configuration file."""
    value = "{" + ",".join(action.choices) + "}" if action.choices else action.metavar
    words = [word if action.nargs == 0 else f"{word} {value}" for word in action.option_strings]
    yield from (f".. option:: {', '.join(words)}", "", f"   {escaped(action.help or '')}", "")
    if action.dest == "transfer_type":
        yield from ("   In the configuration file it is called ``transfer_type``.", "")
    elif action.dest not in OPTION_NAMES and action.nargs != 0:
        yield from ("   In the configuration file it has no meaning.", "")


def examples() -> Iterator[str]:
    """Yield the examples of the program's help."""
    for what, command in transfer.EXAMPLES.items():
        yield from (f"{escaped(what[0].upper() + what[1:])}::", "", f"   {command}", "")


def exit_statuses() -> Iterator[str]:
    """Yield the exit statuses of the program."""
    for status, meaning in transfer.EXIT_STATUSES.items():
        yield from (status, f"   {escaped(meaning)}", "")


def directive(lines: Callable[[], Iterator[str]]) -> type[Directive]:
    """Return a directive in whose place those lines stand."""

    class FromProgram(Directive):
        has_content: ClassVar[bool] = False

        def run(self) -> list[nodes.Node]:
            node = nodes.Element()
            self.state.nested_parse(StringList(list(lines()), source=transfer.__file__), self.content_offset, node)
            return node.children

    return FromProgram


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known to Sphinx."""
    for name, lines in (
        ("program-usage", usage),
        ("program-options", options),
        ("program-examples", examples),
        ("program-exit-statuses", exit_statuses),
    ):
        app.add_directive(name, directive(lines))
    return {"parallel_read_safe": True}
