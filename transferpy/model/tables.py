"""The words that options accept where the names of the rows of a table are among them."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

AUTO = "auto"
"""The word that leaves a choice to transferpy."""


@dataclass(frozen=True)
class RowNames(Collection[str]):
    """Some fixed words and the names of the rows of a table, which are read at each use.

    Attributes:
        before: the words before the names.
        table: the table, by the names of its rows.
        after: the words after the names.
    """

    before: tuple[str, ...]
    table: Mapping[str, object]
    after: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """Yield the words in their order."""
        yield from (*self.before, *self.table, *self.after)

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self.before) + len(self.table) + len(self.after)

    def __contains__(self, word: object) -> bool:
        """Return whether the option accepts a word."""
        return word in tuple(self)
