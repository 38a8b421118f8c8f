"""The commands of a hot copy: how to log in, back up, unpack and prepare.

Replication is stopped and started by functions of ``database.sh``, which look at its state between the statements.
"""

import re
from collections.abc import Iterable

from transferpy.model.tools import BACKUP_TOOL, DATABASE_CLIENT, UNPACK_TOOL
from transferpy.stream.commands import Command

BACKUP_TOOLS = tuple(BACKUP_TOOL.packages)
UNPACK_TOOLS = tuple(UNPACK_TOOL.packages)
CLIENTS = tuple(DATABASE_CLIENT.packages)

_BY_SOCKET = "--protocol=socket"
_LEAST_MEMORY = 100 << 20
"""Bytes that mariadb-backup takes by itself to prepare."""


def login(socket: str, defaults_file: str) -> tuple[str, ...]:
    """Return the options that every tool of a server needs to log in.

    Args:
        socket: the server's socket.
        defaults_file: a file on that host with user and password, or empty for root by the socket. No secret of it ever
            stands in an argument list.
    """
    # It has to be the first option.
    defaults = (f"--defaults-file={defaults_file}",) if defaults_file else ()
    # Where an option file names a host, the socket alone would count for nothing, and another server be copied.
    return (*defaults, "--host=localhost", _BY_SOCKET, f"--socket={socket}")


def client(program: str, socket: str, defaults_file: str) -> tuple[str, ...]:
    """Return the words of the client, to which ``--execute`` and a statement are added."""
    # A server that hangs accepts connections all the same, and says nothing.
    return (program, *login(socket, defaults_file), "--connect-timeout=30", "--batch", "--skip-column-names")


def backup(program: str, socket: str, defaults_file: str, cores: int) -> Command:
    """Return the command that writes a hot copy of a server to its standard output, and its log to standard error."""
    options = login(socket, defaults_file)
    if program == "xtrabackup":  # which does not know it
        options = tuple(option for option in options if option != _BY_SOCKET)
    return Command(
        (
            *(program, *options, "--backup", "--stream=xbstream"),
            *("--slave-info", "--close-files", f"--parallel={cores}"),
        )
    )


def unpack(program: str) -> Command:
    """Return the command that unpacks such a stream into the working directory.

    It ends with status 0 on a stream that was cut, and on an empty one: others have to prove that it is whole.
    """
    return Command((program, "--extract", "--directory=."))


def prepare(program: str, memory: int) -> Command:
    """Return the command that makes the copy in the working directory ready to start.

    Args:
        program: the backup tool of that host.
        memory: bytes that are free there; it takes half of them.
    """
    return Command((program, "--prepare", "--target-dir=.", f"--use-memory={max(memory // 2, _LEAST_MEMORY)}"))


def lacking_tables(server: Iterable[str], copy: Iterable[str]) -> list[str]:
    """Return the tables of a server that a copy of it lacks, sorted; the copy may have more.

    Args:
        server: the files that hold the data of its tables, as paths below its data directory.
        copy: those of the copy. Of a table that it saw being made, mariadb-backup (10.11.19, seen in the lab) writes a
            file that ends with ".new", and gives that its name when the copy is prepared.
    """
    return sorted(set(server) - set(map(_name_when_prepared, copy)))


def _name_when_prepared(file: str) -> str:
    return f"{file.removesuffix('.new').removesuffix('.ibd')}.ibd" if file.endswith(".new") else file


def major_version(text: str) -> str | None:
    """Return the major version, such as ``10.11``, in what a server or a tool says of its version; None if none is."""
    found = re.search(r"(\d+\.\d+)\.\d+", text)
    return found[1] if found else None
