"""The scripts that run on hosts, and their assembly from the files of this directory.

A file declares the files that it needs, in a comment: ``# requires: lib/events perl/digest firewall/*``. A script
contains the shell files unchanged. A Perl program, after the Perl files that it requires, becomes the value of a shell
variable: ``perl/digest`` becomes ``perl_digest``.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

HOST = Path(__file__).parent
"""The directory of the files."""
_REQUIRES = re.compile(r"^# requires: (.*)$", re.MULTILINE)


def assemble(
    *files: str, variables: Mapping[str, str] | None = None, functions: Iterable[str] = (), call: str = ""
) -> str:
    """Return a script for a host.

    Args:
        files: names of files, such as ``agent/main``. The script also contains the files that they require, each once
            and before the files that require it.
        variables: names and values of shell variables.
        functions: texts of shell functions, arrays and mappings.
        call: the commands at the end of the script.

    Raises:
        ValueError: a file does not exist, or requires itself.
    """
    texts = (text for _, text in parts(*files))
    assignments = (_assignment(name, value) for name, value in (variables or {}).items())
    return "\n".join((*texts, *assignments, *functions, call, ""))


def parts(*files: str) -> list[tuple[str, str]]:
    """Return the name and the text of each file of a script that is assembled from ``files``, in their order."""
    return [
        (name, _assignment(name.replace("/", "_"), perl_program(name)) if _is_perl(name) else _file(name))
        for name in _in_order(files, is_perl=False)
    ]


def launch_line() -> str:
    """Return ``launch.sh`` as one line, for the command line of bash."""
    return "; ".join(line for line in _file("launch").splitlines() if line and not line.startswith("#"))


def perl_program(name: str) -> str:
    """Return the text of a Perl program, such as ``perl/digest``, after the Perl files that it requires."""
    return "\n".join(map(_file, _in_order((name,), is_perl=True)))


@cache
def _in_order(names: tuple[str, ...], *, is_perl: bool) -> tuple[str, ...]:
    """Return ``names`` and the files that they require, each once, after the files that it requires."""
    ordered: dict[str, None] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ValueError(f"circular requirement: {' -> '.join((*path, name))}")
        if name not in ordered:
            # A shell variable contains a Perl program with the files that it requires.
            for required in _required(name) if is_perl or not _is_perl(name) else ():
                add(required, (*path, name))
            ordered[name] = None

    for name in names:
        add(name, ())
    return tuple(ordered)


def _required(name: str) -> list[str]:
    return [file for line in _REQUIRES.findall(_file(name)) for pattern in line.split() for file in _matching(pattern)]


def _matching(pattern: str) -> list[str]:
    """Return the name of a file, or those of all files of a directory for ``DIRECTORY/*``."""
    directory, _, name = pattern.rpartition("/")
    return sorted(f"{directory}/{path.stem}" for path in (HOST / directory).iterdir()) if name == "*" else [pattern]


def _assignment(name: str, value: str) -> str:
    return f"{name}={shlex.quote(value)}"


def _is_perl(name: str) -> bool:
    return name.startswith("perl/")


@cache
def _file(name: str) -> str:
    path = HOST / f"{name}.{'pl' if _is_perl(name) else 'sh'}"
    if not path.is_file():
        raise ValueError(f"unknown requirement: {name}")
    return path.read_text(encoding="utf-8")
