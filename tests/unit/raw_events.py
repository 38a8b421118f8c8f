"""Events as a script on a host prints them: a name, and the text of each field."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """An event before any validation."""

    name: str
    fields: Mapping[str, str]

    def text(self, field: str) -> str:
        """Return a field that travels in base64."""
        return os.fsdecode(base64.b64decode(self.fields.get(field, ""), validate=True))


def parse_event(line: str, run_id: str) -> Event | None:
    """Return the event of ``line``, or None for any other line."""
    mark, run, name, *pairs = [*line.split(), "", "", ""][: max(3, len(line.split()))]
    if (mark, run) != ("@transferpy", run_id) or not name:
        return None
    return Event(name, {key: value for key, _, value in (pair.partition("=") for pair in pairs)})
