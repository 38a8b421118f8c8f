"""An inbox: items from other threads for the main thread, in which a signal handler may raise at any step."""

import queue
import time
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

    def wait(self, seconds: float) -> float:
        """Wait for an item, at most this time; return the seconds in which this process was suspended, as by Ctrl-Z."""
        began = time.monotonic()
        with suppress(queue.Empty):
            self._tokens.get(timeout=0 if self._items else seconds)
        late = time.monotonic() - began - seconds
        return late if late > seconds else 0.0

    def __bool__(self) -> bool:
        return bool(self._items)

    @property
    def first(self) -> _Item:
        """The oldest item."""
        return self._items[0]

    def remove_first(self) -> None:
        """Remove the oldest item."""
        self._items.popleft()
