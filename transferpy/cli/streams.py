"""Standard streams that are closed or cannot be written."""

import os
import sys
from pathlib import Path


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
