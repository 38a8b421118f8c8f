"""The hooks of a job: commands on this host that run after its transfers."""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from transferpy.Exceptions import error_text
from transferpy.model.text import duration

_TIME_LIMIT = 300.0  # seconds that a hook may run
_MAXIMUM_LINE = 1 << 16  # the maximum number of bytes of its output in one log line
_OUTPUT_GRACE = 1.0  # seconds to wait for output after its end: a process that it left behind may keep it open

logger = logging.getLogger(__name__)


def run_hook(arguments: Sequence[str], document: str) -> bool:
    """Run a program with the report on its standard input, log its output, and return whether it succeeded."""
    name = arguments[0]
    try:
        process = _start(arguments, document)
    except OSError as error:
        logger.error("the hook %s could not be run: %s", name, error_text(error))  # noqa: TRY400 # an expected failure
        return False
    output = threading.Thread(target=_log_output, args=(name, process), daemon=True)
    output.start()
    try:
        status = process.wait(_TIME_LIMIT)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        logger.error("the hook %s was killed after %s", name, duration(_TIME_LIMIT))  # noqa: TRY400 # as above
        return False
    output.join(_OUTPUT_GRACE)
    if status < 0:
        logger.error("the hook %s was ended by signal %d", name, -status)
    elif status:
        logger.error("the hook %s failed with status %d", name, status)
    return status == 0


def _start(arguments: Sequence[str], document: str) -> "subprocess.Popen[bytes]":
    # A file in memory, unlike a pipe, does not block this program if the hook does not read it.
    with os.fdopen(os.memfd_create("report"), "r+b") as report:
        report.write(document.encode())
        report.seek(0)
        # With start_new_session, Ctrl-C at the terminal does not reach the hook, and its process group can be killed.
        return subprocess.Popen(  # noqa: S603 # the job file names the program
            arguments, stdin=report, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )


def _log_output(name: str, process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout  # noqa: S101 # for mypy: a pipe
    for line in iter(partial(process.stdout.readline, _MAXIMUM_LINE), b""):
        logger.info("%s: %s", name, line.decode("utf-8", "backslashreplace").rstrip("\n"))
