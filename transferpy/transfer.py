"""The command line tool: arguments, configuration file, logging, signals and exit status.

Importing this module changes nothing: ``main`` alone sets up streams, logging and signals.
"""

import argparse
import configparser
import logging
import os
import re
import signal
import sys
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from transferpy import __version__
from transferpy.cli.console import Console
from transferpy.Exceptions import Interrupted, PostRunError, TransferpyError, UsageError, error_text
from transferpy.model.locations import split_word
from transferpy.model.options import (
    OPTION_NAMES,
    XTRABACKUP_OPTIONS,
    ChecksumAlgorithm,
    Compressor,
    FirewallChoice,
    OptionValue,
    Priority,
    TransferOptions,
    TransferType,
    known_options,
    options_from_mapping,
    typed_option,
)
from transferpy.model.progress import Observer
from transferpy.model.report import TransferReport
from transferpy.output.metrics import of_report
from transferpy.output.outputs import write_outputs

CONFIG_FILE = "/etc/transferpy/transferpy.conf"

EXIT_STATUSES = {
    "0": "every target succeeded",
    "1": "unexpected error: please report it",
    "2": "the command line, the configuration file or the job file is wrong",
    "3": "a host cannot be reached, or a command on it could not be run",
    "4": "refused after asking the hosts; nothing was changed",
    "5": "no free port on the target, or its firewall could not be opened",
    "6": "the stream failed",
    "7": "the copy differs from its source",
    "8": "the checked copy could not get its final name",
    "9": "replication on the source could not be stopped, or is not known to run again",
    "10": "the copy could not be prepared, or not be given to its owner",
    "11": "all copies are good, but a report, metrics, a log, a hook or the removal of old copies failed",
    "12": "another run of the same job is still at work",
    "129, 130, 143": "ended by SIGHUP, SIGINT, SIGTERM; everything was cleaned up",
}

EXAMPLES = {
    "copy the directory /srv/sqldata of db1 to /srv/sqldata on db2 and on db3": (
        "transfer.py db1.example.org:/srv/sqldata db2.example.org:/srv db3.example.org:/srv"
    ),
    "fast, inside a trusted network, checked against network faults only": (
        "transfer.py --no-encrypt --parallel-checksum db1:/srv/dump.tar db2:/srv"
    ),
    "a hot copy of the running server of db1, ready to start on db2; db1 is a replica, which stands still meanwhile": (
        "transfer.py --type xtrabackup --stop-slave --prepare --owner mysql"
        " db1:/run/mysqld/mysqld.sock db2:/srv/sqldata"
    ),
    "unpack a tarball of db1 in the empty directory /srv/sqldata of db2": (
        "transfer.py --type decompress db1:/srv/backups/sqldata.tar.zst db2:/srv/sqldata"
    ),
    "an IPv6 literal stands in brackets": "transfer.py '[2001:db8::1]:/srv/sqldata' db2.example.org:/srv",
}

_WORDS_HELP = "the source: a file or a directory, or what --type says; then the targets: existing directories"
_JOB_HELP = "run the transfers that stand in this file: all of them, or those whose names follow"
_TYPE_HELP = (
    "file: a file or a tree into TARGET/NAME; xtrabackup: SOURCE is the socket of a running MariaDB, a hot backup lands"
    " unpacked in the empty directory TARGET; decompress: SOURCE is a tarball with one top directory, its content lands"
    " in the empty directory TARGET"
)
_COMPRESS_HELP = (
    "compress the stream; off may be faster where the network is faster than a compressor, or the data is compressed"
    " already"
)
_COMPRESSOR_HELP = (
    "what compresses; auto takes what has the data arrive first, by a sample of it and a look at the link; where a"
    " host lacks it, pigz stands in"
)
_LEVEL_HELP = (
    "of the compressor, if that is not auto; zstd has 1 to 19, pigz 1 to 9, lz4 1 to 12; 0 is the one that serves speed"
)
_PARALLEL_CHECKSUM_HELP = (
    "compare the stream at both ends while it flows: finds faults of the network only; ignored with --checksum, which"
    " it turns off where that is not given"
)
_DEFAULTS_FILE_HELP = (
    "xtrabackup only: file on the source host with what its tools log in with; without it, they do so as root by the"
    " socket"
)
_ALGORITHM_HELP = "what data is compared by; auto takes the fastest that the hosts have"
_CREATE_TARGET_HELP = (
    "make a target directory that is missing, and those above it, for root only; they go away again if the run fails"
)
_PORT_HELP = (
    "port on the target; 0 finds a free one in 4400-4499 and reserves it, so that concurrent runs never collide"
)
_FIREWALL_HELP = "firewall of the target that is opened for the stream; auto finds out which, none opens nothing"
_IDLE_HELP = "how long the stream may stand still before it has failed"
_PRIORITY_HELP = "low has all that a run starts on the hosts step back behind their other work, by nice and ionice"
_BWLIMIT_HELP = (
    "bytes that may leave the source in a second, for all targets together; K, M and G are 1024 of them and so on, as"
    " with rsync; 0 for no limit"
)
_OWNER_HELP = "who is to own all that arrives, as the target knows him; without it, the owners stay as they are"

_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

logger = logging.getLogger(__name__)


def parse_configurations(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return what the configuration file ``path`` sets, as text by name; nothing if there is no such file.

    A file that cannot be read or understood, and a key or value that is none, is a UsageError naming file and place.
    """
    parser = ConfigParser(interpolation=None)
    parser.SECTCRE = re.compile(r"\[(?P<header>.+)\]$")  # otherwise what follows a header on its line is dropped
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        parser.read_string(text, source="the file")
    except FileNotFoundError:
        return {}
    except configparser.Error as error:
        raise UsageError(f"{path}: {textwrap.shorten(_syntax_error(error, text), 200)}") from error
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a file name that no file can have
        raise UsageError(f"{path}: the configuration file cannot be read: {error_text(error)}") from error
    if parser.sections():
        raise UsageError(f"{path}: unknown section [{parser.sections()[0]}]; options stand in the section [DEFAULT]")
    for name, value in parser.defaults().items():
        place = f"{path}: line {_line_of(name, text)}"
        if name not in OPTION_NAMES:
            raise UsageError(f"{place}: unknown key {name!r}; the keys are {', '.join(OPTION_NAMES)}")
        try:
            typed_option(name, value)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from error
    return dict(parser.defaults())


def _syntax_error(error: configparser.Error, text: str) -> str:
    """Return where in a text and what; configparser's own words are of files with any sections, and have line ends."""
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno}: the line [DEFAULT] has to come before {error.line.rstrip()!r}"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: {error.option} is set for the second time"
    if errors := getattr(error, "errors", ()):  # of a ParsingError; not each kind of it has them
        number, _ = errors[0]  # the line itself is quoted by some versions of Python only
        line = text.split("\n")[number - 1]
        return f"line {number}: no = in this line: {line!r}"
    return str(error)


def assign_default_options(options: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return a new dict with a typed value for every option: those of ``options``, text or typed, and the defaults.

    How options exclude each other is not looked at here: who reads the configuration file sets more on top of it. An
    unknown name or a value of another kind is a UsageError.
    """
    given = known_options(options)
    values = {name: given.get(name, getattr(TransferOptions, name)) for name in OPTION_NAMES}
    return {name: _plain(typed_option(name, value)) for name, value in values.items()}


def split_target(target: str) -> tuple[str, str]:
    """Return host and path of a HOST:PATH; end the program with status 2 if it is none."""
    try:
        location = split_word(target)
    except UsageError as error:
        _exit_for_usage(error)
    return location.host, location.path


def option_parse() -> tuple[str, str, list[str], list[str], dict[str, OptionValue]]:
    """Return source host, source path, target hosts, target paths and options that ``sys.argv`` asks for.

    The configuration file fills in what the command line leaves out. What makes no sense ends the program with status
    2, and so do --help and --version with status 0.
    """
    try:
        return _parse().arguments
    except UsageError as error:
        _exit_for_usage(error)


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What ``sys.argv`` and the configuration file ask for.

    Attributes:
        words: source and targets, or the names of transfers of a job.
        given: the options of the command line alone.
        options: all options.
        config: the configuration file that was given, or None.
        job: the job file, or None.
    """

    words: Sequence[str]
    given: Mapping[str, object]
    options: dict[str, OptionValue]
    config: str | None
    job: str | None

    @property
    def arguments(self) -> tuple[str, str, list[str], list[str], dict[str, OptionValue]]:
        """Those of a Transferer; a UsageError if there are none."""
        if self.job is not None:
            raise UsageError("--job has a source and targets of its own")
        if len(self.words) <= 1:
            raise UsageError("a source and at least one target are needed (try transfer.py --help)")
        source, *targets = map(split_word, self.words)
        return source.host, source.path, [t.host for t in targets], [t.path for t in targets], self.options


def _parse() -> CommandLine:
    given = vars(argument_parser().parse_intermixed_args())
    words, config, job = given.pop("words", []), given.pop("config"), given.pop("job")
    configured = parse_configurations(CONFIG_FILE if config is None else config)
    if config is not None and not Path(config).exists():
        logger.warning("%s: there is no such configuration file: going on without one", config)
    # The transfers of a job say themselves what goes together.
    options = _merge(configured, given) if job is None else assign_default_options({**configured, **given})
    command_line = CommandLine(words=words, given=given, options=options, config=config, job=job)
    if job is None:
        _ = command_line.arguments
    return command_line


def main() -> int:
    """Run the command line tool and return its exit status; a wrong command line raises SystemExit."""
    _replace_closed_streams()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what the libraries under us warn their developers of
    try:
        with Console() as console, signals() as received:
            status = 1
            with suppress(Interrupted):
                status = _transfer(console, received)
            if received:
                logger.error("ended by %s", received[0].name)
                status = 128 + received[0]
    finally:
        _drop_what_nobody_takes()
    return status


def argument_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its namespace holds only the options that were given, as text."""
    parser = _ArgumentParser(
        prog="transfer.py",
        usage="%(prog)s [OPTIONS] HOST:PATH HOST:PATH [HOST:PATH ...]\n       %(prog)s [OPTIONS] --job FILE [NAME ...]",
        description="Copy a file, a tree or a running MariaDB from one host of the fleet directly to others, checked"
        " at the end. Nothing is ever overwritten.",
        epilog="\n".join((*_example_lines(), "", *_exit_status_lines())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    hosts = parser.add_argument_group("what and where to")
    hosts.add_argument("words", metavar="HOST:PATH", nargs="*", help=_WORDS_HELP)
    hosts.add_argument("--job", metavar="FILE", default=None, help=_JOB_HELP)
    copy = parser.add_argument_group("how to copy")
    _add_option(copy, "transfer_type", _TYPE_HELP, choices=list(TransferType))
    _add_option(copy, "compress", _COMPRESS_HELP)
    _add_option(copy, "compressor", _COMPRESSOR_HELP, choices=list(Compressor))
    _add_option(copy, "compress_level", _LEVEL_HELP, metavar="N")
    _add_option(copy, "compress_threads", "processors that the compressor may use; 0 takes all", metavar="N")
    _add_option(copy, "encrypt", "encrypt the stream")
    _add_option(copy, "checksum", "compare every file with its source: finds faults of network and disks")
    _add_option(copy, "parallel_checksum", _PARALLEL_CHECKSUM_HELP)
    _add_option(copy, "checksum_algorithm", _ALGORITHM_HELP, choices=list(ChecksumAlgorithm))
    _add_option(copy, "stop_slave", "xtrabackup only: stop replication around the backup")
    _add_option(copy, "prepare", "xtrabackup only: make the copy ready to start on each target")
    _add_option(copy, "defaults_file", _DEFAULTS_FILE_HELP, metavar="FILE")
    _add_option(copy, "owner", _OWNER_HELP, metavar="USER[:GROUP]")
    _add_option(copy, "create_target", _CREATE_TARGET_HELP)
    _add_option(copy, "dry_run", "ask the hosts, say what would happen, and do nothing")
    network = parser.add_argument_group("ports, firewall and limits")
    _add_option(network, "port", _PORT_HELP, metavar="N")
    _add_option(network, "firewall", _FIREWALL_HELP, choices=list(FirewallChoice))
    _add_option(network, "bwlimit", _BWLIMIT_HELP, metavar="RATE")
    _add_option(network, "connect_timeout", "how long source and target may take to meet", metavar="SECONDS")
    _add_option(network, "idle_timeout", _IDLE_HELP, metavar="SECONDS")
    general = parser.add_argument_group("general")
    _add_option(general, "priority", _PRIORITY_HELP, choices=list(Priority))
    _add_option(general, "verbose", "log every remote command and its output too")
    _add_option(general, "quiet", "show errors only, and no progress")
    _add_option(general, "report", "write what became of the run as JSON; - is standard output", metavar="FILE")
    _add_option(general, "metrics", "put metrics for Prometheus into that file, beside those there", metavar="FILE")
    _add_option(general, "log_file", "append the log lines to that file too", metavar="FILE")
    _add_option(general, "syslog", "send the log lines to the system's log too")
    config_help = f"configuration file, over which the command line wins (default: {CONFIG_FILE})"
    general.add_argument("--config", metavar="FILE", default=None, help=config_help)
    general.add_argument("--version", action="version", version=f"%(prog)s {__version__}", help="show the version")
    general.add_argument("-h", "--help", action="help", help="show this help")
    return parser


class _ArgumentParser(argparse.ArgumentParser):
    """A parser that raises what is wrong as a UsageError, so that there is one way to tell it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (try {self.prog} --help)")


def _add_option(group: argparse._ArgumentGroup, name: str, text: str, **kind: Any) -> None:
    default = getattr(TransferOptions, name)
    if isinstance(default, bool):
        kind["action"] = argparse.BooleanOptionalAction
        default = "on" if default else "off"
    if "choices" in kind:
        kind["choices"] = [choice.value for choice in kind["choices"]]  # as argparse shows them in its error
    option = "--type" if name == "transfer_type" else "--" + name.replace("_", "-")
    shown = f" (default: {default})" if default != "" else ""
    group.add_argument(option, dest=name, help=text + shown, **kind)


def _example_lines() -> Iterator[str]:
    yield "examples:"
    for what, command in EXAMPLES.items():
        yield from (f"  {what}:", f"      {command}")


def _exit_status_lines() -> Iterator[str]:
    yield "exit status (with several targets: that of the first one that failed):"
    for status, meaning in EXIT_STATUSES.items():
        yield f"  {status:<13}  {meaning}"


def _merge(configured: Mapping[str, str], given: Mapping[str, object]) -> dict[str, OptionValue]:
    """Return the options of a run, the type under the name ``type``; what was ``given`` on the command line wins."""
    options = assign_default_options({**configured, **given})
    if given.get("parallel_checksum") and "checksum" not in given:
        options["checksum"] = False
    if options["transfer_type"] != TransferType.XTRABACKUP:
        # Defaults of the fleet, for the backups in it.
        options |= {name: getattr(TransferOptions, name) for name in XTRABACKUP_OPTIONS if name not in given}
    merged = {name: _plain(value) for name, value in asdict(options_from_mapping(options)).items()}
    return {"type" if name == "transfer_type" else name: value for name, value in merged.items()}


def _plain(value: OptionValue) -> OptionValue:
    return str(value) if isinstance(value, StrEnum) else value


def _line_of(name: str, text: str) -> int:
    lines = enumerate(text.split("\n"), start=1)
    return next((number for number, line in lines if re.split("[=:]", line)[0].strip().lower() == name), 0)


def _exit_for_usage(error: UsageError) -> NoReturn:
    logger.error("%s", error)
    raise SystemExit(error.exit_status) from error


def _transfer(console: Console, received: Sequence[signal.Signals]) -> int:
    """Do what the command line asks for and return the exit status."""
    try:
        command_line = _parse()
    except UsageError as error:
        _exit_for_usage(error)
    complete = console.apply(command_line.options)
    try:
        if command_line.job is None:
            status = _copy(command_line, console.observer, received)
        else:
            from transferpy.batch.jobs import run_job_file  # noqa: PLC0415  # what it needs, --help need not wait for

            status = run_job_file(command_line.job, command_line.words, command_line, received)
    except TransferpyError as error:
        for problem in getattr(error, "problems", (error,)):
            logger.error("%s", problem)  # noqa: TRY400  # an expected failure needs no traceback
        return error.exit_status
    except Exception as error:  # the last line of defence: no user ever sees a bare traceback
        verbose = logger.isEnabledFor(logging.DEBUG)
        hint = "" if verbose else " (run it with --verbose for the traceback)"
        reason = f"{type(error).__name__}: {error}"
        logger.exception("unexpected error: %s%s", reason, hint, exc_info=verbose)
        return 1
    return status or (0 if complete else PostRunError.exit_status)


def _copy(command_line: CommandLine, observer: Observer, received: Sequence[signal.Signals]) -> int:
    """Run one transfer, tell what became of it to who asked for that, and return the exit status."""
    arguments, options = command_line.arguments, command_line.options
    started, transferer = datetime.now(UTC), None
    status, told = 1, False
    try:
        from transferpy.Transferer import Transferer  # noqa: PLC0415  # loads cumin, which --help need not wait for

        transferer = Transferer(*arguments, observer=observer)
        status = _exit_status(transferer.run())
    except TransferpyError as error:
        status = error.exit_status
        raise
    finally:
        report = replace(transferer.report if transferer else TransferReport(started=started), status=status)
        if received:
            report = replace(report, status=128 + received[0], interrupted=received[0].name)
        told = write_outputs(options, [report], of_report(report))
    return status or (0 if told else PostRunError.exit_status)


def _exit_status(statuses: Sequence[int]) -> int:
    """Return 0 if there are statuses and all are 0, else the first other, as 1 if no process can exit with it."""
    failed = next((status for status in statuses if status != 0), 0 if statuses else 1)
    return failed if 0 <= failed <= 255 else 1  # noqa: PLR2004  # an exit status has 8 bits


@contextmanager
def signals() -> Iterator[list[signal.Signals]]:
    """Turn the first HUP, INT or TERM into Interrupted, and yield the list in which each that comes is noted.

    Further ones only get a message: the clean-up that the first one started must finish. A signal that is ignored from
    the start (nohup, background jobs) stays ignored.
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


def _replace_closed_streams() -> None:
    """Put /dev/null in place of each standard stream that was closed, for us and for the processes that we start.

    Otherwise the next file or socket that is opened gets its number, and then what others print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  # stays open, as what it replaces
            os.set_inheritable(stream.fileno(), True)  # noqa: FBT003  # takes no keyword
            setattr(sys, name, stream)


def _drop_what_nobody_takes() -> None:
    """Lose what a standard stream does not take: for that Python would exit with 120, whatever became of the run."""
    for stream in filter(None, (sys.__stdout__, sys.__stderr__)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
