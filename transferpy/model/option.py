"""One option: its row in the table of options, and the kinds of values that a row can name."""

import re
from collections.abc import Callable, Mapping
from configparser import ConfigParser
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from transferpy.Exceptions import UsageError

OptionValue = bool | int | str
_T = TypeVar("_T", bound=OptionValue)
_HIGHEST_RATE = 1 << 50


class OptionError(UsageError):
    """The value of an option is not valid, or contradicts another option. The message is its name and the problem."""

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"{name} {problem}")


@dataclass(frozen=True)
class Values:
    """The values that an option accepts."""

    # returns the typed value of a typed value or of its text, None if it is not valid
    parse: Callable[[object], OptionValue | None]
    description: str = ""  # completes the phrase "must be"; empty for choices
    metavar: str = ""  # placeholder of the value in the help; empty for switches and choices
    completion: str = ""  # files or users if a shell can offer values
    choices: Callable[[], tuple[str, ...]] = tuple  # returns the valid words; none if there is no list of them

    @property
    def expected(self) -> str:
        """Return a description of the valid values that completes the phrase "must be"."""
        return self.description or "one of " + ", ".join(self.choices())


def choice(*words: str, table: Mapping[str, object] = {}) -> Values:
    """Return one of several words, or the name of a row of a table, which is read at each use."""

    def choices() -> tuple[str, ...]:
        return (*words, *table)

    return Values(lambda value: next((word for word in choices() if value == word), None), choices=choices)


def number(lowest: int, highest: int, metavar: str = "N") -> Values:
    """Return a whole number in a range."""

    def parse(value: object) -> int | None:
        digits = _stripped(value)
        is_number = re.fullmatch("[0-9]{1,9}", digits)
        return int(digits) if is_number and lowest <= int(digits) <= highest else None

    return Values(parse, f"a whole number from {lowest} to {highest}", metavar)


def zero_or(values: Values) -> Values:
    """Return these values and the number 0."""
    zero = number(0, 0)

    def parse(value: object) -> OptionValue | None:
        parsed = zero.parse(value)
        return values.parse(value) if parsed is None else parsed

    return Values(parse, f"0 or {values.description}", values.metavar)


def word_or(word: str, values: Values) -> Values:
    """Return these values and one word."""
    description = f"{word} or {values.description}"
    return Values(lambda value: word if value == word else values.parse(value), description, values.metavar)


def text(description: str, pattern: str, metavar: str, completion: str = "") -> Values:
    """Return text that matches a pattern."""

    def parse(value: object) -> str | None:
        return value if isinstance(value, str) and re.fullmatch(pattern, value) else None

    return Values(parse, description, metavar, completion)


def _switch(value: object) -> bool | None:
    return ConfigParser.BOOLEAN_STATES.get(_stripped(value).lower())


def _rate(value: object) -> int | None:
    matched = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kmgt]?)(?:i?b)?", _stripped(value).lower())
    if not matched:
        return None
    rate = int(float(matched[1]) * (1 << 10 * " kmgt".index(matched[2] or " ")))
    is_rounded_to_zero = rate == 0 and float(matched[1]) > 0  # 0 would be no limit
    return None if is_rounded_to_zero or rate > _HIGHEST_RATE else rate


def _stripped(value: object) -> str:
    return str(value).strip() if isinstance(value, int | str) else ""


SWITCH = Values(_switch, "true or false")
RATE = Values(_rate, "a number of bytes per second, for example 500K, 20M or 1.5G", "RATE")


class OptionGroup(StrEnum):
    """A section of ``--help``, of the manual and of the configuration file, in that order."""

    COPY = "how to copy"
    NETWORK = "ports, firewall and limits"
    GENERAL = "general"

    def option(self, help_text: str, *, default: _T, values: Values = SWITCH, only_for: str = "") -> _T:
        """Return a dataclass field that carries the row of an option."""
        if only_for:
            help_text = f"{only_for} only: {help_text}"
        row = {"default": default, "values": values, "help_text": help_text, "group": self, "only_for": only_for}
        return field(default=default, metadata=row)


COPY, NETWORK, GENERAL = OptionGroup


@dataclass(frozen=True, kw_only=True)
class Option:
    """One row of the table of options."""

    name: str  # attribute of TransferOptions; key of the configuration file and of job files
    default: OptionValue
    values: Values
    help_text: str  # without the default
    group: OptionGroup
    only_for: str  # the transfer type that the option requires; empty if all types accept it

    @property
    def flag(self) -> str:
        """Return the option as it is typed on the command line."""
        return "--type" if self.name == "transfer_type" else "--" + self.name.replace("_", "-")

    def parse(self, value: object) -> OptionValue:
        """Return the typed value of a typed value or of its text; raise OptionError if it is not valid."""
        parsed = self.values.parse(value)
        if parsed is None:
            raise OptionError(self.name, f"must be {self.values.expected}, not {value!r}")
        return parsed
