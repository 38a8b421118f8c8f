"""The protocol between the orchestration host and the scripts on hosts."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass

MARK = "@transferpy"


@dataclass(frozen=True)
class Event:
    """One line that a script on a host sent: a name, and fields whose values hold no blanks."""

    name: str
    fields: Mapping[str, str]

    def text(self, field: str) -> str:
        """Return a field that travels in base64."""
        return decode(self.fields.get(field, ""))


def decode(value: str) -> str:
    """Return the text that a script sent in base64, empty for what is no base64.

    Bytes that are no text become surrogate escapes.
    """
    try:
        return os.fsdecode(base64.b64decode(value, validate=True))
    except ValueError:
        return ""


def parse_count(text: str) -> int:
    """Return the number that a script sent; a ValueError for what is none, or more than any host can count."""
    number = int(text)
    if not 0 <= number < 1 << 64:
        raise ValueError(f"not a number of anything: {text[:20]}")
    return number


def parse_event(line: str, run_id: str) -> Event | None:
    """Return the event that ``line`` is, or None for anything else that a host may print."""
    mark, _, rest = line.strip().partition(" ")
    run, _, rest = rest.partition(" ")
    words = rest.split()
    if mark != MARK or run != run_id or not words:
        return None
    pairs = (word.partition("=") for word in words[1:])
    return Event(words[0], {key: value for key, _, value in pairs})
