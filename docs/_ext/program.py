"""Directives that generate parts of the manual from the program.

``program-usage``, ``program-options``, ``program-examples``, ``program-exit-statuses``, ``program-tools`` and
``program-modules`` take no arguments.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

import transferpy
from transferpy.cli import arguments
from transferpy.model.codecs import CODECS, formats
from transferpy.model.digests import ALGORITHMS
from transferpy.model.options import OPTIONS
from transferpy.model.tools import HOST_TOOLS
from transferpy.transfer import CONFIG_FILE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from sphinx.application import Sphinx

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
DESCRIBED = {".py", ".sh", ".pl"}


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


def tools() -> Iterator[str]:
    """Yield a table of the programs that hosts need, their Debian packages, and when they need them."""
    rows = [(tool.packages, tool.needed_for) for tool in HOST_TOOLS]
    rows += [
        ({program.name: program.package for program in codec.programs}, f"--compressor {codec.name}")
        for codec in CODECS.values()
    ]
    unpacking = [row.programs[-1] for row in formats()]
    rows += [({program.name: program.package}, "the targets of a tarball in its format") for program in unpacking]
    rows += [({row.argv[0]: row.package}, f"--checksum-algorithm {row.name}") for row in ALGORITHMS.values()]
    yield from (".. list-table::", "   :header-rows: 1", "")
    for programs, packages, needed_for in (
        ("program", "Debian package", "needed for"),
        *((" or ".join(names), ", ".join(dict.fromkeys(filter(None, names.values()))), use) for names, use in rows),
    ):
        yield from (f"   * - {programs}", f"     - {packages}", f"     - {escaped(needed_for)}")


def parts() -> list[str]:
    """Return the parts of the package in the import order, which ``make lint`` checks."""
    (contract,) = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    return [part for layer in contract["layers"] for part in layer.split(" | ")]


def modules() -> Iterator[str]:
    """Yield the parts of the package in the import order, and their files, with the first line of each description."""
    package = Path(transferpy.__file__).parent
    for part in parts():
        directory = package / part
        is_package = directory.is_dir()
        main = directory / "__init__.py" if is_package else directory.with_suffix(".py")
        yield from (f"* ``{part if is_package else main.name}``: {description(main)}", "")
        for path in sorted(path for path in directory.rglob("*") if path.suffix in DESCRIBED and path != main):
            name = (path.parent if path.name == "__init__.py" else path).relative_to(package)
            yield f"  * ``{name}``: {description(path)}"
        yield ""


def description(path: Path) -> str:
    """Return the first line of the docstring of a Python module, or of the description in another file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return next((line[2:] for line in text.splitlines() if re.match("# [A-Z]", line)), "")


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
        ("program-tools", tools),
        ("program-modules", modules),
    ):
        app.add_directive(name, directive(lines))
    return {"parallel_read_safe": True}
