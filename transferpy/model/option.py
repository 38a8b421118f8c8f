"""One option: its row in the table of options, and the kinds of values that a row can name."""

import re
from collections.abc import Collection
from configparser import ConfigParser
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, TypeVar

from transferpy.Exceptions import UsageError

OptionValue = bool | int | str
_T = TypeVar("_T", bound=OptionValue)


class OptionError(UsageError):
    """The value of an option is not valid, or contradicts another option.

    Attributes:
        name: name of the option; the message begins with it.
        problem: the rest of the message.
    """

    def __init__(self, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"{name} {problem}")


class OptionGroup(StrEnum):
    """A section of ``--help``, of the manual and of the configuration file, in that order."""

    COPY = "how to copy"
    NETWORK = "ports, firewall and limits"
    GENERAL = "general"


@dataclass(frozen=True)
class Switch:
    """True or false, in text as in INI files."""

    metavar: ClassVar[str] = ""
    expected: ClassVar[str] = "true or false"

    def parse(self, value: object) -> bool | None:
        """Return the value, from text if it is text; None if it is not valid."""
        return ConfigParser.BOOLEAN_STATES.get(_text(value).lower())


@dataclass(frozen=True)
class Number:
    """A whole number in a range."""

    lowest: int
    highest: int
    metavar: str = "N"

    @property
    def expected(self) -> str:
        """Return a description of the valid values."""
        return f"a whole number from {self.lowest} to {self.highest}"

    def parse(self, value: object) -> int | None:
        """Return the value, from text if it is text; None if it is not valid."""
        text = _text(value)
        is_number = re.fullmatch("[0-9]{1,9}", text)
        return int(text) if is_number and self.lowest <= int(text) <= self.highest else None


@dataclass(frozen=True)
class Rate:
    """Bytes per second; the units in text are those of rsync, where K is 1024."""

    metavar: ClassVar[str] = "RATE"
    expected: ClassVar[str] = "a number of bytes per second, for example 500K, 20M or 1.5G"
    _units: ClassVar[dict[str, int]] = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    _highest: ClassVar[int] = 1 << 50

    def parse(self, value: object) -> int | None:
        """Return the value, from text if it is text; None if it is not valid."""
        matched = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kmgt]?)(?:i?b)?", _text(value).lower())
        if not matched:
            return None
        rate = int(float(matched[1]) * self._units[matched[2]])
        is_rounded_to_zero = rate == 0 and float(matched[1]) > 0  # 0 would be no limit
        return None if is_rounded_to_zero or rate > self._highest else rate


@dataclass(frozen=True)
class Text:
    """Text that matches a pattern; ``completion`` is ``files`` or ``users`` if a shell can offer values."""

    expected: str
    pattern: str
    metavar: str
    completion: str = ""

    def parse(self, value: object) -> str | None:
        """Return the value, None if it is not valid."""
        return value if isinstance(value, str) and re.fullmatch(self.pattern, value) else None


@dataclass(frozen=True)
class Choice:
    """One of several words, which are read at each use: a row that is added to their table is a choice."""

    words: type[StrEnum] | Collection[str]
    metavar: ClassVar[str] = ""

    @property
    def expected(self) -> str:
        """Return a description of the valid values."""
        return "one of " + ", ".join(self.words)

    def parse(self, value: object) -> str | None:
        """Return the value as it is in the collection, None if it is not valid."""
        return next((word for word in self.words if value == word), None)


def _text(value: object) -> str:
    return str(value).strip() if isinstance(value, int | str) else ""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One row of the table of options.

    Attributes:
        name: attribute of TransferOptions; key of the configuration file and of job files.
        default: the value if none is given.
        values: the valid values.
        help_text: the description for users, without the default.
        group: the section of the help.
        only_for: the transfer type that the option requires; empty if all types accept it.
    """

    name: str
    default: OptionValue
    values: Switch | Number | Rate | Text | Choice
    help_text: str
    group: OptionGroup
    only_for: str

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


def option(
    group: OptionGroup,
    help_text: str,
    *,
    default: _T,
    values: Number | Rate | Text | Choice | None = None,
    only_for: str = "",
) -> _T:
    """Return a dataclass field that carries the row of an option; the type of ``default`` can imply the values."""
    implied = Choice(type(default)) if isinstance(default, StrEnum) else Switch()
    text = f"{only_for} only: {help_text}" if only_for else help_text
    row = {"default": default, "values": values or implied, "help_text": text, "group": group, "only_for": only_for}
    return field(default=default, metadata=row)
