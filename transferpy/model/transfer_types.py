"""The transfer types: one row for each. The module of the same name in planning.types has the rest of each type."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TransferType:
    """The properties of a transfer type that need no facts of a host."""

    name: str  # the value of --type
    help_text: str
    # whether the copy gets the name of the source in the target directory; else the content of the copy fills the
    # target directory, which must be empty
    has_named_copy: bool = False
    compares_files: bool = False  # whether the lists of all files are compared; else the stream is
    digests_files: bool = False  # whether the checksums of all files can be compared
    distributes_files: bool = False  # whether several pipelines can carry the files at the same time
    compares_tables: bool = False  # whether the tables of the server are compared
    reads_socket: bool = False  # whether the source is a socket and not a path to read
    is_compressed: bool = False  # whether the source is compressed already, so that the stream never is
    may_start_late: bool = False  # whether the stream may take any time until its first byte
    # whether the command that reads the source fails if the source changes meanwhile; else only a second look at the
    # source detects the change
    fails_when_source_changes: bool = True


_ROWS = (
    TransferType(
        name="file",
        help_text="copy a file or a directory tree to TARGET/NAME",
        has_named_copy=True,
        compares_files=True,
        digests_files=True,
        distributes_files=True,
    ),
    TransferType(
        name="xtrabackup",
        help_text="SOURCE is the socket of a running MariaDB server, copy a hot backup of the server, unpacked, to the"
        " empty directory TARGET",
        digests_files=True,
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
