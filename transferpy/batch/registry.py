"""The registry of copies: the directories that a job has made. Pruning removes no other directory."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transferpy.output.atomic_file import write_atomically


@dataclass(frozen=True, kw_only=True)
class CopyRecord:
    """A directory that a job has made.

    Attributes:
        transfer: the name of the transfer.
        host: the target host.
        template: the path of the target in the job file, with its placeholders.
        path: the path of the directory.
        inode: its inode number.
        born: when it was made, in seconds since 1970; 0 if the file system does not record that.
        holds: the name of the only entry in the directory; empty if it may have several entries.
    """

    transfer: str
    host: str
    template: str
    path: str
    inode: int
    born: int = 0
    holds: str = ""


@dataclass(frozen=True)
class CopyRegistry:
    """The file that lists the copies of a job, the oldest first.

    All methods raise OSError if the file cannot be read or written, and ValueError if its content is invalid.
    """

    path: Path

    def read(self) -> list[CopyRecord]:
        """Return all records; none if there is no file."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        try:
            return [CopyRecord(**values) for values in json.loads(text)["copies"]]
        except (KeyError, TypeError) as error:
            raise ValueError(f"invalid content: {error}") from error

    def write(self, records: Sequence[CopyRecord]) -> None:
        """Replace all records."""
        text = json.dumps({"copies": [asdict(record) for record in records]}, indent=1)
        write_atomically(self.path, text + "\n", mode=0o600)

    def add(self, records: Iterable[CopyRecord]) -> None:
        """Add the records that the registry does not have yet."""
        self.write(list(dict.fromkeys([*self.read(), *records])))
