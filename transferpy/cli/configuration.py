"""The configuration file, and the default values of options."""

import configparser
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path

from transferpy.Exceptions import UsageError, error_text
from transferpy.model.option import OptionError, OptionValue
from transferpy.model.options import OPTIONS, known_options


def parse_configurations(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the values of a configuration file as text, by key; an empty dict if the file does not exist.

    Raises:
        UsageError: the file cannot be read, or a line, a key or a value is not valid; the message names file and line.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.SECTCRE = re.compile(r"\[(?P<header>.+)\]$")  # the default ignores text after the header
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        parser.read_string(text, source="the file")
    except FileNotFoundError:
        return {}
    except configparser.Error as error:
        raise UsageError(f"{path}: {textwrap.shorten(_syntax_error(error, text), 200)}") from error
    except (OSError, ValueError) as error:  # ValueError: the file is not UTF-8, or its name contains NUL
        raise UsageError(f"{path}: the configuration file cannot be read: {error_text(error)}") from error
    if parser.sections():
        raise UsageError(f"{path}: unknown section [{parser.sections()[0]}]; all options belong to [DEFAULT]")
    for name, value in parser.defaults().items():
        place = f"{path}: line {_line_of(name, text)}"
        if name not in OPTIONS:
            raise UsageError(f"{place}: unknown key {name!r}; the keys are {', '.join(OPTIONS)}")
        try:
            OPTIONS[name].parse(value)
        except OptionError as error:
            raise UsageError(f"{place}: {error}") from error
    return dict(parser.defaults())


def _syntax_error(error: configparser.Error, text: str) -> str:
    """Return the line number and the fault in one line; the messages of configparser have several lines."""
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno}: the line [DEFAULT] must come before {error.line.rstrip()!r}"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: {error.option} is set twice"
    if errors := getattr(error, "errors", ()):  # only a ParsingError has them
        number, _ = errors[0]
        line = text.split("\n")[number - 1]  # some versions of Python do not quote it
        return f"line {number}: no = in this line: {line!r}"
    return str(error)


def _line_of(name: str, text: str) -> int:
    lines = enumerate(text.split("\n"), start=1)
    return next((number for number, line in lines if re.split("[=:]", line)[0].strip().lower() == name), 0)


def assign_default_options(options: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return a new dict with a typed value for every option: the value in ``options``, or the default.

    Options that exclude each other are accepted, because callers add options to the values of the configuration file.

    Raises:
        UsageError: a name is unknown, or a value is not valid.
    """
    given = known_options(options)
    return {name: row.parse(given.get(name, row.default)) for name, row in OPTIONS.items()}
