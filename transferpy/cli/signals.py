"""Signals that end a run."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from transferpy.Exceptions import Interrupted

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

logger = logging.getLogger(__name__)


@contextmanager
def interrupting_signals() -> Iterator[list[signal.Signals]]:
    """Raise Interrupted at the first HUP, INT or TERM, and yield the list of all that were received.

    Later signals are only logged, because the clean-up that the first signal started must finish. A signal that is
    ignored from the start (nohup, background jobs) stays ignored.
    """
    received: list[signal.Signals] = []

    def receive(signum: int, _frame: FrameType | None) -> None:
        name = signal.Signals(signum).name
        received.append(signal.Signals(signum))
        if len(received) > 1:
            logger.warning("%s: the run is already stopping; please wait until everything is cleaned up", name)
            return
        logger.warning("%s: stopping the run and cleaning up", name)
        raise Interrupted(signum)

    previous = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    handled = {signum: handler for signum, handler in previous.items() if handler not in {signal.SIG_IGN, None}}
    try:
        for signum in handled:
            signal.signal(signum, receive)
        yield received
    finally:
        for signum, handler in handled.items():
            signal.signal(signum, handler)
