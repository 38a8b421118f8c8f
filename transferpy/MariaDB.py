"""The commands of a hot copy: how to log in, back up, unpack and prepare.

Functions of ``host/replication.sh`` stop and start replication, which depends on its state between the statements.
"""

import re

from transferpy.model.tools import BACKUP_TOOL, DATABASE_CLIENT, UNPACK_TOOL
from transferpy.stream.commands import Command, Tee, Variable, join

BACKUP_TOOLS = tuple(BACKUP_TOOL.packages)
UNPACK_TOOLS = tuple(UNPACK_TOOL.packages)
CLIENTS = tuple(DATABASE_CLIENT.packages)

_BY_SOCKET = "--protocol=socket"
_INDEX, _DIGESTS, _LOST = (join(Variable("lists"), f"/{name}") for name in ("members", "digests.unsorted", "lost"))
_LEAST_MEMORY = 100 << 20
"""The default of mariadb-backup for preparing, in bytes."""


def login(socket: str, defaults_file: str) -> tuple[str, ...]:
    """Return the options with which every tool logs in to a server.

    ``defaults_file`` is an option file on the host with user and password, so that no argument list contains a
    password; empty for root through the socket.
    """
    # --defaults-file must be the first option.
    defaults = (f"--defaults-file={defaults_file}",) if defaults_file else ()
    # If an option file named another host, the tool would ignore the socket and copy another server.
    return (*defaults, "--host=localhost", _BY_SOCKET, f"--socket={socket}")


def client(program: str, socket: str, defaults_file: str) -> tuple[str, ...]:
    """Return the command of the client without ``--execute`` and the statement."""
    return (program, *client_options(socket, defaults_file))


def client_options(socket: str, defaults_file: str) -> tuple[str, ...]:
    """Return the options of the client without ``--execute`` and the statement, for any name in UTF-8."""
    # A server that hangs still accepts connections. The locale and an option file can name another character set. An
    # option file can name another delimiter, or a database that does not exist. With "force", a failure is no error.
    return (
        *login(socket, defaults_file),
        *("--default-character-set=utf8mb4", "--connect-timeout=30", "--delimiter=;", "--database=", "--skip-force"),
    )


def has_known_stream(program: str) -> bool:
    """Return whether the stream of a backup tool has the format of mariadb-backup, and not that of Percona's tool."""
    return program != "xtrabackup"


def backup(program: str, socket: str, defaults_file: str, cores: int) -> Command:
    """Return the command that writes a hot backup of a server to standard output, and a log to standard error."""
    options = login(socket, defaults_file)
    if program == "xtrabackup":  # it does not have this option
        options = tuple(option for option in options if option != _BY_SOCKET)
    options += ("--backup", "--stream=xbstream", "--slave-info", "--close-files", f"--parallel={cores}")
    return Command((program, *options))


def digest_stream(digest: Command, cores: int) -> Tee:
    """Return the stage that digests the files in the stream of a hot backup, on the source."""
    program = ("perl", "-e", Variable("perl_digest_stream"))
    return Tee(Command((*program, _DIGESTS, _LOST, str(cores), *digest.argv)), "/dev/null")


def check_stream(*, indexed: bool) -> Command:
    """Return the stage that refuses files outside of the copy: mbstream (10.11.19) renames a file to any name.

    If it is ``indexed``, the stage lists the chunks that mbstream has unpacked, for the digests of files.
    """
    return Command(("perl", "-e", Variable("perl_pass_chunks"), *((_INDEX,) if indexed else ())))


def unpack(program: str) -> Command:
    """Return the command that unpacks a hot backup to the working directory.

    Its exit status is 0 even if the stream was cut or is empty: other checks must prove that the backup is complete.
    """
    return Command((program, "--extract", "--directory=."))


def prepare(program: str, memory: int) -> Command:
    """Return the command that prepares the hot backup in the working directory, so that a server can start on it.

    The command uses half of the ``memory``, in bytes, that is free on the host.
    """
    return Command((program, "--prepare", "--target-dir=.", f"--use-memory={max(memory // 2, _LEAST_MEMORY)}"))


def major_version(text: str) -> str | None:
    """Return the major version, such as ``10.11``, from a version text of a server or a tool; None if it has none."""
    found = re.search(r"(\d+\.\d+)(\.\d|$)", text)
    return found[1] if found else None


def may_accept(program: str, name: str) -> bool:
    """Return False if a backup tool is known to refuse a server of this name, which its option ``--version`` sets.

    mariadb-backup (10.11.19) needs the word MariaDB and a number from 10.0 on. It ignores "5.5.5-" before the number.
    """
    return program == "xtrabackup" or re.match(r"(5\.5\.5-)?[1-9]\d\.\d+\.\d.*MariaDB", name) is not None
