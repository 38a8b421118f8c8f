"""The assembly of scripts for hosts from the files of ``transferpy/host``.

A file declares the files that it needs, in a comment: ``# requires: lib/events perl/digest``. A shell file stands in
the script as it is. A file of ``perl/`` becomes, after the files that it needs, the value of one variable of the shell:
``perl/digest`` that of ``perl_digest``.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from transferpy.stream.renderer import render_assignment

HOST = Path(__file__).parents[1] / "host"
"""The directory of the files."""
_REQUIRES = re.compile(r"^# requires: (.*)$", re.MULTILINE)


def assemble(
    *files: str, variables: Mapping[str, str] | None = None, functions: Iterable[str] = (), call: str = ""
) -> str:
    """Return a script for a host.

    Args:
        files: the names of the files that the call needs, such as ``agent/main``; the files that they require come
            with them, each once and before the files that require it.
        variables: the values of variables.
        functions: the text of functions, arrays and mappings.
        call: the commands at the end.

    Raises:
        ValueError: a file does not exist, or requires itself.
    """
    texts = (text for _, text in parts(*files))
    assignments = (render_assignment(name, value) for name, value in (variables or {}).items())
    return "\n".join((*texts, *assignments, *functions, call, ""))


def parts(*files: str) -> list[tuple[str, str]]:
    """Return the name and the text of each file that stands in a script made from ``files``, in their order."""
    return [
        (name, render_assignment(name.replace("/", "_"), perl_program(name)) if _is_perl(name) else _file(name))
        for name in _in_order(files, is_perl=False)
    ]


def perl_program(name: str) -> str:
    """Return the text of a perl program, such as ``perl/digest``, after the perl files that it requires."""
    return "\n".join(map(_file, _in_order((name,), is_perl=True)))


@cache
def _in_order(names: tuple[str, ...], *, is_perl: bool) -> tuple[str, ...]:
    """Return ``names`` and all that they require, each once, the required ones first."""
    ordered: dict[str, None] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"circular requirement: {' -> '.join((*path, name))}")
        if name not in ordered:
            # The shell takes a perl program as a whole.
            for required in _required(name) if is_perl or not _is_perl(name) else ():
                add(required, (*path, name))
            ordered[name] = None

    for name in names:
        add(name, ())
    return tuple(ordered)


def _required(name: str) -> list[str]:
    return [required for line in _REQUIRES.findall(_file(name)) for required in line.split()]


def _is_perl(name: str) -> bool:
    return name.startswith("perl/")


@cache
def _file(name: str) -> str:
    path = HOST / f"{name}.{'pl' if _is_perl(name) else 'sh'}"
    if not path.is_file():
        raise ValueError(f"unknown requirement: {name}")
    return path.read_text(encoding="utf-8")
