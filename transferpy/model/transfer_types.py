"""The transfer types: one row for each. The module of the same name in planning.types has the rest of each type."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TransferType:
    """The properties of a transfer type that need no facts of a host.

    Attributes:
        name: the value of ``--type``.
        help_text: its help.
        has_named_copy: whether the copy gets the name of the source in the target directory; else the content of the
            copy fills the target directory, which has to be empty.
        compares_files: whether the lists and the checksums of all files are compared; else the stream is compared.
        compares_tables: whether the tables of the server are compared.
        reads_socket: whether the source is a socket and not a path to read.
        is_compressed: whether the source is compressed already, so that the stream never is.
        may_start_late: whether the stream may take any time until its first byte.
        fails_when_source_changes: whether the command that reads the source fails if the source changes meanwhile; else
            only a second look at the source detects it.
    """

    name: str
    help_text: str
    has_named_copy: bool = False
    compares_files: bool = False
    compares_tables: bool = False
    reads_socket: bool = False
    is_compressed: bool = False
    may_start_late: bool = False
    fails_when_source_changes: bool = True


_ROWS = (
    TransferType(
        name="file",
        help_text="copy a file or a directory tree to TARGET/NAME",
        has_named_copy=True,
        compares_files=True,
    ),
    TransferType(
        name="xtrabackup",
        help_text="SOURCE is the socket of a running MariaDB server, copy a hot backup of the server, unpacked, to the"
        " empty directory TARGET",
        compares_tables=True,
        reads_socket=True,
        may_start_late=True,
    ),
    TransferType(
        name="decompress",
        help_text="SOURCE is a tarball with one top directory, unpack the content of this directory to the empty"
        " directory TARGET",
        is_compressed=True,
        fails_when_source_changes=False,
    ),
)
TRANSFER_TYPES: Mapping[str, TransferType] = {row.name: row for row in _ROWS}
"""The transfer types by name."""
