"""The run of the command line tool: one transfer or one job, and its exit status."""

import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

from transferpy.cli.command_line import TransferArguments, parse_command_line
from transferpy.cli.console import Console
from transferpy.cli.process import discard_unwritable_output, interrupting_signals, replace_closed_streams
from transferpy.Exceptions import Interrupted, PostRunError, TransferpyError, UsageError
from transferpy.model.options import ToolOptions
from transferpy.model.progress import Observer
from transferpy.model.report import TransferReport
from transferpy.model.request import JobRequest
from transferpy.output.metrics import report_series
from transferpy.output.outputs import write_outputs

logger = logging.getLogger(__name__)


def run_command_line(config_file: str) -> int:
    """Do what ``sys.argv`` requests and return the exit status.

    Raises:
        SystemExit: the command line is not valid, or the help or the version was printed.
    """
    replace_closed_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # warnings of libraries are for their developers
    try:
        with Console() as console, interrupting_signals() as received:
            status = 1
            with suppress(Interrupted):
                status = _run(config_file, console, received)
            if received:
                logger.error("ended by %s", received[0].name)
                status = 128 + received[0]
    finally:
        discard_unwritable_output()
    return status


def exit_for_usage(error: UsageError) -> NoReturn:
    """Log a usage error and end the program with its exit status."""
    logger.error("%s", error)
    raise SystemExit(error.exit_status) from error


def _run(config_file: str, console: Console, received: Sequence[signal.Signals]) -> int:
    try:
        options, request = parse_command_line(config_file)
    except UsageError as error:
        exit_for_usage(error)
    logs_opened = console.apply(options)
    try:
        if isinstance(request, JobRequest):
            from transferpy.batch.run import run_job_file  # noqa: PLC0415  # loads cumin, which --help does not need

            status = run_job_file(request, received)
        else:
            status = _transfer(request, options, console.observer, received)
    except TransferpyError as error:
        for problem in error.problems:
            logger.error("%s", problem)  # noqa: TRY400  # an expected failure needs no traceback
        return error.exit_status
    except Exception as error:  # the last line of defence: users get one line, and a traceback with --verbose only
        is_verbose = logger.isEnabledFor(logging.DEBUG)
        hint = "" if is_verbose else " (run it with --verbose for the traceback)"
        failure = f"{type(error).__name__}: {error}"
        logger.exception("unexpected error: %s%s", failure, hint, exc_info=is_verbose)
        return 1
    return status or (0 if logs_opened else PostRunError.exit_status)


def _transfer(
    arguments: TransferArguments, options: ToolOptions, observer: Observer, received: Sequence[signal.Signals]
) -> int:
    """Run one transfer, write the requested outputs, and return the exit status."""
    started, transferer = datetime.now(UTC), None
    status = 1
    try:
        from transferpy.Transferer import Transferer  # noqa: PLC0415  # loads cumin, which --help does not need

        transferer = Transferer(*arguments, observer=observer)
        statuses = transferer.run()
        failed = next(filter(None, statuses), 0 if statuses else 1)
        status = failed if 0 <= failed <= 255 else 1  # noqa: PLR2004  # an exit status has 8 bits
    except TransferpyError as error:
        status = error.exit_status
        raise
    finally:
        report = replace(transferer.report if transferer else TransferReport(started=started), status=status)
        if received:
            report = replace(report, status=128 + received[0], interrupted=received[0].name)
        is_written = write_outputs(options, [report], report_series(report))
    return status or (0 if is_written else PostRunError.exit_status)
