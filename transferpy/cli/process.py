"""The process of the command line tool: the signals that end a run, and standard streams that cannot be used."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from transferpy.Exceptions import Interrupted

logger = logging.getLogger(__name__)


@contextmanager
def interrupting_signals() -> Iterator[list[signal.Signals]]:
    """Raise Interrupted at the first HUP, INT or TERM, and yield the list of all that were received.

    Later signals are only logged, because the clean-up that the first signal started must finish. A signal that is
    ignored from the start (nohup, background jobs) stays ignored.
    """
    received: list[signal.Signals] = []

    def receive(signum: int, _frame: FrameType | None) -> None:
        received.append(signal.Signals(signum))
        name = received[-1].name
        if len(received) > 1:
            logger.warning("%s: the run is already stopping; please wait until everything is cleaned up", name)
            return
        logger.warning("%s: stopping the run and cleaning up", name)
        raise Interrupted(signum)

    previous = {signum: signal.getsignal(signum) for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    handled = {signum: handler for signum, handler in previous.items() if handler not in {signal.SIG_IGN, None}}
    try:
        for signum in handled:
            signal.signal(signum, receive)
        yield received
    finally:
        for signum, handler in handled.items():
            signal.signal(signum, handler)


def replace_closed_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed, for this process and its child processes.

    Otherwise the next file or socket that is opened gets the number of the stream, and with it the output of programs.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # stays open until the process ends
            os.set_inheritable(stream.fileno(), True)  # noqa: FBT003  # takes no keyword
            setattr(sys, name, stream)


def discard_unwritable_output() -> None:
    """Discard buffered output that a standard stream cannot write; Python would exit with status 120 for it."""
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
