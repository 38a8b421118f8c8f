"""The files that are generated from the table of options: the configuration file and the shell completions.

``pytest --update-golden tests/unit/cli/test_option_files.py`` writes them; the same test compares them.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from transferpy.cli.arguments import argument_parser
from transferpy.model.option import OptionGroup
from transferpy.model.options import OPTIONS
from transferpy.transfer import CONFIG_FILE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
_GENERATED = re.compile(r"(# generated: begin\n).*?( *# generated: end\n)", re.DOTALL)
_TITLE = "Configuration of transferpy: /etc/transferpy/transferpy.conf, or the file that transfer.py --config names."
_INTRODUCTION = """
Each key is an option of transfer.py, with "_" in place of "-". Each line below shows the default; remove the "#" in
front of a key to change its value. A key that is shown without a value is off by default. Options on the command line
take precedence over this file. An unknown key, an invalid value or a key that is set twice ends the run with exit
status 2 before it connects to a host. An option for one transfer type has no effect on other types. Write comments on
lines of their own.
"""


def written_files() -> Iterator[tuple[Path, str]]:
    """Yield the path and the text of each file."""
    yield ROOT / "transferpy.conf", configuration()
    generators: dict[str, Callable[[str], str]] = {"transfer.py.bash": bash_completion, "_transfer_py": zsh_completion}
    for name, completion in generators.items():
        path = ROOT / "docs/completion" / name
        yield path, completion(path.read_text())


def configuration() -> str:
    """Return a configuration file that has every option with its default in a comment."""
    parts = [*_comment(_TITLE), "#", *_comment(_INTRODUCTION), "", "[DEFAULT]"]
    for group in OptionGroup:
        parts += ["", *_comment(f"--- {group} ---")]
        for row in OPTIONS.values():
            if row.group is group:
                default = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
                parts += ["", *_comment(row.help_text), *_comment(f"Value: {row.values.expected}.")]
                parts.append(f"#{row.name} = {default}".rstrip())
    return "\n".join(parts) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def bash_completion(text: str) -> str:
    """Return the completion for bash with the generated parts of ``text`` replaced."""
    cases = [f"    {_bash_case(action)}\n" for action in _actions() if action.nargs != 0]
    words = " ".join(word for action in _actions() for word in action.option_strings)
    lines = textwrap.wrap(words, 110, break_on_hyphens=False, break_long_words=False)
    parts = iter(("".join(cases), "\n".join(("_transfer_py_options='", *lines, "'\n"))))
    return _GENERATED.sub(lambda found: found[1] + next(parts) + found[2], text)


def _bash_case(action: argparse.Action) -> str:
    offer = {"files": "_transfer_py_offer -f", "users": "_transfer_py_offer -u", "": ":"}[_completion(action)]
    if action.choices:
        offer = f"_transfer_py_offer -W '{' '.join(action.choices)}'"
    return f"{action.option_strings[0]}) {offer} ;;"


def zsh_completion(text: str) -> str:
    """Return the completion for zsh with the generated part of ``text`` replaced."""
    specifications = [spec for action in _actions() for spec in _zsh_specifications(action)]
    lines = ["_arguments -s -S", *specifications, "'*:source or target:_transfer_py_location'"]
    part = " \\\n  ".join(lines) + "\n"
    return _GENERATED.sub(lambda found: found[1] + part + found[2], text)


def _zsh_specifications(action: argparse.Action) -> Iterator[str]:
    help_text = (action.help or "").partition(" (default")[0].partition("; ")[0]
    completer = {"files": "_files", "users": "_users", "": ""}[_completion(action)]
    if action.choices:
        completer = f"({' '.join(action.choices)})"
    value = f"{str(action.metavar or action.dest).lower().partition('[')[0]}:{completer}"
    for word in action.option_strings:
        shown = f"turn off {action.option_strings[0]}" if word.startswith("--no-") else help_text
        escaped = re.sub(r"([\[\]:])", r"\\\1", shown.replace("'", "'\\''"))
        yield f"'{word}[{escaped}]'" if action.nargs == 0 else f"'{word}=[{escaped}]:{value}'"


def _actions() -> list[argparse.Action]:
    parser = argument_parser(CONFIG_FILE)
    return [action for action in parser._actions if action.option_strings]  # noqa: SLF001  # argparse has no public way


def _completion(action: argparse.Action) -> str:
    return OPTIONS[action.dest].values.completion if action.dest in OPTIONS else "files"  # --job and --config
