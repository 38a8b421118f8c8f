"""An inbox: items from other threads for the main thread, in which a signal handler may raise at any step."""

import queue
from collections import deque
from contextlib import suppress
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class Inbox(Generic[_Item]):
    """A queue whose first item is handled before it is removed.

    A signal handler may raise an exception between any two steps. An item that is handled twice does no harm. With a
    lost item, the clean-up would wait for the end of a session that has ended.
    """

    def __init__(self) -> None:
        self._items: deque[_Item] = deque()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        """One token for each item."""

    def put(self, item: _Item) -> None:
        """Append an item; any thread may call this."""
        self._items.append(item)
        self._tokens.put(None)

    def wait(self, seconds: float) -> None:
        """Return as soon as there is an item, at the latest after this time."""
        with suppress(queue.Empty):
            self._tokens.get(timeout=0 if self._items else seconds)

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def first(self) -> _Item:
        """The oldest item."""
        return self._items[0]

    def remove_first(self) -> None:
        """Remove the oldest item."""
        self._items.popleft()
