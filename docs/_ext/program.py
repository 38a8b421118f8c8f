"""Directives that generate parts of the manual from the program.

``program-usage``, ``program-options``, ``program-examples``, ``program-exit-statuses`` and ``program-modules`` take no
arguments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from transferpy.cli import arguments
from transferpy.model.options import OPTIONS
from transferpy.transfer import CONFIG_FILE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from sphinx.application import Sphinx


def escaped(text: str) -> str:
    """Return reStructuredText that shows a text unchanged."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)


def usage() -> Iterator[str]:
    """Yield the usage of the program."""
    for line in arguments.argument_parser(CONFIG_FILE).format_usage().removeprefix("usage:").splitlines():
        yield f"| ``{line.strip()}``"


def options() -> Iterator[str]:
    """Yield every option of the parser, group by group."""
    for group in arguments.argument_parser(CONFIG_FILE)._action_groups:  # noqa: SLF001  # argparse has no public way
        actions = [action for action in group._group_actions if action.option_strings]  # noqa: SLF001  # as above
        if actions:
            yield from (f".. rubric:: {(group.title or '').capitalize()}", "")
        for action in actions:
            yield from option_lines(action)


def option_lines(action: argparse.Action) -> Iterator[str]:
    """Yield the names of one option, its help text and its key in the configuration file."""
    value = "{" + ",".join(action.choices) + "}" if action.choices else action.metavar
    words = [word if action.nargs == 0 else f"{word} {value}" for word in action.option_strings]
    yield from (f".. option:: {', '.join(words)}", "", f"   {escaped(action.help or '')}", "")
    if action.dest == "transfer_type":
        yield from ("   Key in the configuration file: ``transfer_type``.", "")
    elif action.dest not in OPTIONS and action.nargs != 0:
        yield from ("   Not valid in the configuration file.", "")


def examples() -> Iterator[str]:
    """Yield the examples of the program's help."""
    for title, command in arguments.EXAMPLES.items():
        yield from (f"{escaped(title[0].upper() + title[1:])}::", "", f"   {command}", "")


def exit_statuses() -> Iterator[str]:
    """Yield the exit statuses of the program."""
    for status, meaning in arguments.EXIT_STATUSES.items():
        yield from (status, f"   {escaped(meaning)}", "")


def directive(lines: Callable[[], Iterator[str]]) -> type[Directive]:
    """Return a directive that inserts the lines."""

    class FromProgram(Directive):
        has_content: ClassVar[bool] = False

        def run(self) -> list[nodes.Node]:
            node = nodes.Element()
            self.state.nested_parse(StringList(list(lines()), source=arguments.__file__), self.content_offset, node)
            return node.children

    return FromProgram


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives with Sphinx."""
    for name, lines in (
        ("program-usage", usage),
        ("program-options", options),
        ("program-examples", examples),
        ("program-exit-statuses", exit_statuses),
    ):
        app.add_directive(name, directive(lines))
    return {"parallel_read_safe": True}
