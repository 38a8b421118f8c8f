"""The parser of the command line, and the help that it prints."""

import argparse
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from typing import Any, NoReturn

from transferpy import __version__
from transferpy.Exceptions import UsageError
from transferpy.model.option import SWITCH, Option
from transferpy.model.options import OPTIONS

EXIT_STATUSES = {
    "0": "all targets succeeded",
    "1": "unexpected error; please report it as a bug",
    "2": "the command line, the configuration file or the job file is not valid",
    "3": "a host cannot be reached, or a remote command could not be run",
    "4": "the preflight found a reason to refuse the transfer; nothing was changed",
    "5": "the target has no free port, or its firewall could not be opened",
    "6": "the stream failed",
    "7": "the copy differs from the source",
    "8": "the verified copy could not be renamed to its final name",
    "9": "replication on the source could not be stopped, or may not run again",
    "10": "the copy could not be prepared, or its owner could not be set",
    "11": "all copies succeeded, but a later step failed (report, metrics, log, hook or removal of old copies)",
    "12": "another run of the same job has not ended yet",
    "129, 130, 143": "SIGHUP, SIGINT or SIGTERM ended the run; the clean-up is complete",
}

EXAMPLES = {
    "copy the directory /srv/sqldata of db1 to /srv/sqldata on db2 and db3": (
        "transfer.py db1.example.org:/srv/sqldata db2.example.org:/srv db3.example.org:/srv"
    ),
    "fast copy in a trusted network that detects network faults only": (
        "transfer.py --no-encrypt --parallel-checksum db1:/srv/dump.tar db2:/srv"
    ),
    "hot backup of the server on the replica db1, with replication stopped, ready to start on db2": (
        "transfer.py --type xtrabackup --stop-slave --prepare --owner mysql"
        " db1:/run/mysqld/mysqld.sock db2:/srv/sqldata"
    ),
    "unpack a tarball of db1 into the empty directory /srv/sqldata of db2": (
        "transfer.py --type decompress db1:/srv/backups/sqldata.tar.zst db2:/srv/sqldata"
    ),
    "IPv6 address, in brackets": "transfer.py '[2001:db8::1]:/srv/sqldata' db2.example.org:/srv",
}


def argument_parser(config_file: str) -> argparse.ArgumentParser:
    """Return the parser of the command line; its namespace has only the given options, with values as text.

    ``config_file`` is the configuration file that is read by default.
    """
    parser = _ArgumentParser(
        prog="transfer.py",
        usage="%(prog)s [OPTIONS] HOST:PATH HOST:PATH [HOST:PATH ...]\n       %(prog)s [OPTIONS] --job FILE [NAME ...]",
        description="Copy a file, a directory tree or a running MariaDB server from one host directly to others,\n"
        "and verify the copies. Existing files are never overwritten.",
        epilog="\n".join(_epilog()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        add_help=False,
    )
    group = parser.add_argument_group("source and targets")
    words_help = (
        "the source (a file or a directory; --type can change this), then one or more targets (existing directories)"
    )
    group.add_argument("words", metavar="HOST:PATH", nargs="*", help=words_help)
    job_help = "run the transfers of this job file: all of them, or only the transfers with the given names"
    group.add_argument("--job", metavar="FILE", default=None, help=job_help)
    for title, rows in groupby(OPTIONS.values(), key=lambda row: row.group):
        group = parser.add_argument_group(title)
        for row in rows:
            _add_option(group, row)
    config_help = f"configuration file; options on the command line take precedence (default: {config_file})"
    group.add_argument("--config", metavar="FILE", default=None, help=config_help)
    group.add_argument("--version", action="version", version=f"%(prog)s {__version__}", help="print the version")
    group.add_argument("-h", "--help", action="help", help="print this help")
    return parser


class _ArgumentParser(argparse.ArgumentParser):
    """A parser that raises UsageError, so that all usage errors are reported alike."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (try {self.prog} --help)")

    def print_help(self, file: Any = None) -> None:
        # The reader of a pipe may have closed it. A text longer than the buffer of the stream is written at once.
        with suppress(OSError):
            super().print_help(file)


def _add_option(group: argparse._ArgumentGroup, row: Option) -> None:
    kind: dict[str, Any] = {"metavar": row.values.metavar}
    default = row.default
    if row.values is SWITCH:
        kind = {"action": argparse.BooleanOptionalAction}
        default = "on" if default else "off"
    elif choices := row.values.choices():
        kind = {"choices": choices}
    shown = f" (default: {default})" if default != "" else ""
    group.add_argument(row.flag, dest=row.name, help=row.help_text + shown, **kind)


def _epilog() -> Iterator[str]:
    yield "examples:"
    for title, command in EXAMPLES.items():
        yield from (f"  {title}:", f"      {command}")
    yield from ("", "exit status (with several targets: the status of the first target that failed):")
    for status, meaning in EXIT_STATUSES.items():
        yield f"  {status:<13}  {meaning}"
