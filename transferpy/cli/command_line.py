"""The command line, completed with the configuration file and checked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transferpy.cli.arguments import argument_parser
from transferpy.cli.configuration import assign_default_options, parse_configurations
from transferpy.Exceptions import UsageError
from transferpy.model.locations import split_word
from transferpy.model.option import OptionError, OptionValue
from transferpy.model.options import OPTIONS, TOOL_OPTIONS, ToolOptions, TransferOptions, applicable_options

TransferArguments = tuple[str, str, list[str], list[str], dict[str, OptionValue]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        words: source and targets, or with a job file the names of transfers.
        given: the options of the command line alone.
        options: the options of the transfer; for a job file, only the options of the job as a whole.
        config: the given configuration file.
        job: the job file.
    """

    words: Sequence[str]
    given: Mapping[str, object]
    options: ToolOptions
    config: str | None
    job: str | None

    @property
    def arguments(self) -> TransferArguments:
        """Return the arguments of a Transferer; raise UsageError if the command line has none."""
        if not isinstance(self.options, TransferOptions):
            raise UsageError("--job: the source and the targets are in the job file")
        if len(self.words) <= 1:
            raise UsageError("a source and at least one target are needed (try transfer.py --help)")
        source, *targets = map(split_word, self.words)
        options = {"type" if name == "transfer_type" else name: value for name, value in asdict(self.options).items()}
        return source.host, source.path, [t.host for t in targets], [t.path for t in targets], options


def parse_command_line(config_file: str) -> CommandLine:
    """Return the command line in ``sys.argv``, completed with the configuration file that it names, or ``config_file``.

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
        options = _options(configured, given, is_job=job is not None)
    except OptionError as error:
        shown = OPTIONS[error.name].flag if error.name in given else error.name
        raise UsageError(f"{shown} {error.problem}") from error
    command_line = CommandLine(words=words, given=given, options=options, config=config, job=job)
    if job is None:
        _ = command_line.arguments  # raises
    return command_line


def _options(configured: Mapping[str, str], given: Mapping[str, object], *, is_job: bool) -> ToolOptions:
    """Return the options of a transfer or of a job as a whole; options ``given`` on the command line take precedence.

    For a job, the values of all options are checked, but not contradictions between them.
    """
    values: dict[str, Any] = assign_default_options({**configured, **given})
    if is_job:
        return ToolOptions(**{name: value for name, value in values.items() if name in TOOL_OPTIONS})
    if given.get("parallel_checksum") and "checksum" not in given:
        values["checksum"] = False
    return TransferOptions(**applicable_options(values, given))
