"""The interface of the command line tool for other programs. Importing it has no side effects.

Programs may assign another path to ``CONFIG_FILE`` before they call ``option_parse`` or ``main``.
"""

from transferpy.cli.command_line import TransferArguments, parse_command_line
from transferpy.cli.configuration import assign_default_options, parse_configurations
from transferpy.cli.main import exit_for_usage, run_command_line
from transferpy.Exceptions import UsageError
from transferpy.model.locations import split_word
from transferpy.model.request import JobRequest

__all__ = ["CONFIG_FILE", "assign_default_options", "main", "option_parse", "parse_configurations", "split_target"]

CONFIG_FILE = "/etc/transferpy/transferpy.conf"


def split_target(target: str) -> tuple[str, str]:
    """Return host and path of HOST:PATH; end the program with status 2 if the argument is not valid."""
    try:
        location = split_word(target)
    except UsageError as error:
        exit_for_usage(error)
    return location.host, location.path


def option_parse() -> TransferArguments:
    """Return source host, source path, target hosts, target paths and options, from ``sys.argv``.

    The configuration file provides the options that the command line does not give. An invalid command line or
    configuration file ends the program with status 2; --help and --version end it with status 0.
    """
    try:
        _, request = parse_command_line(CONFIG_FILE)
    except UsageError as error:
        exit_for_usage(error)
    if isinstance(request, JobRequest):
        exit_for_usage(UsageError("--job: the source and the targets are in the job file"))
    return request


def main() -> int:
    """Run the command line tool and return its exit status; an invalid command line raises SystemExit."""
    return run_command_line(CONFIG_FILE)
