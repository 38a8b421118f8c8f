"""The command line, completed with the configuration file and checked."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transferpy.cli.arguments import argument_parser
from transferpy.cli.configuration import assign_default_options, parse_configurations
from transferpy.Exceptions import UsageError
from transferpy.model.locations import split_word
from transferpy.model.option import OptionError, OptionValue
from transferpy.model.options import OPTIONS, TOOL_OPTIONS, ToolOptions, TransferOptions, applicable_options
from transferpy.model.request import JobRequest

TransferArguments = tuple[str, str, list[str], list[str], dict[str, OptionValue]]
"""The arguments of a Transferer."""

logger = logging.getLogger(__name__)


def parse_command_line(config_file: str) -> tuple[ToolOptions, TransferArguments | JobRequest]:
    """Return the options and the request in ``sys.argv``, completed with the configuration file.

    The configuration file is ``config_file``, unless ``--config`` names another. Options on the command line take
    precedence. For a job, the values of all options are checked, but not contradictions between them.

    Raises:
        UsageError: the command line or the configuration file is not valid.
        SystemExit: the command line asks for the help or the version, which was printed.
    """
    given = vars(argument_parser(config_file).parse_intermixed_args())
    words, config, job = given.pop("words", []), given.pop("config"), given.pop("job")
    configured = parse_configurations(config_file if config is None else config)
    if config is not None and not Path(config).exists():
        logger.warning("%s: this configuration file does not exist; continuing without it", config)
    try:
        values: dict[str, Any] = assign_default_options({**configured, **given})
        if job is not None:
            options = ToolOptions(**{name: value for name, value in values.items() if name in TOOL_OPTIONS})
            return options, JobRequest(path=job, names=words, overrides=given, options=options, config=config)
        if given.get("parallel_checksum") and "checksum" not in given:
            values["checksum"] = False
        transfer_options = TransferOptions(**applicable_options(values, given))
    except OptionError as error:
        shown = OPTIONS[error.name].flag if error.name in given else error.name
        raise UsageError(f"{shown} {error.problem}") from error
    return transfer_options, _transfer_arguments(words, transfer_options)


def _transfer_arguments(words: Sequence[str], options: TransferOptions) -> TransferArguments:
    if len(words) <= 1:
        raise UsageError("a source and at least one target are needed (try transfer.py --help)")
    source, *targets = map(split_word, words)
    values = {"type" if name == "transfer_type" else name: value for name, value in asdict(options).items()}
    return source.host, source.path, [t.host for t in targets], [t.path for t in targets], values
