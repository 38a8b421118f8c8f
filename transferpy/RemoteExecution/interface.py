"""Interface of remote execution: it runs commands on hosts and returns how they end."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transferpy.Exceptions import RemoteExecutionError


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """Exit status and output of a command that has ended, on the host as the caller named it.

    ``returncode`` after a signal is 255 on a remote host (ssh does not report the signal), and 128 plus the signal
    number on localhost. ``output`` is the end of standard output and standard error, in the order of arrival, without
    the last newline; bytes that the encoding of the locale cannot decode are surrogate escapes.
    """

    host: str
    returncode: int
    output: str


Command = str | Sequence[str]
"""A bash script, or the argument list of one program."""

Outcome = CommandResult | RemoteExecutionError
LineHandler = Callable[[str], None]
EndHandler = Callable[[Outcome], None]


class Job:
    """A command that ``start_job`` started on a host, as the caller named it.

    ``identifier`` is a unique word. The first process of the command has it in its argument list, and all processes of
    the command have it in their environment (``TRANSFERPY_JOB``).
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.identifier = uuid.uuid4().hex


class RemoteExecution(ABC):
    """Runs commands on hosts.

    Each ``host`` is a word that ``resolve`` accepts. ``on_line`` is called with each line of output as it arrives.
    Handlers run in the thread of the command. An exception that a handler raises is logged and does not end the
    command, but the outcome of the command is then an error.
    """

    @abstractmethod
    def resolve(self, word: str) -> str:
        """Return the host that ``word`` selects; raise RemoteExecutionError unless it selects exactly one."""

    def resolve_all(self, word: str) -> tuple[str, ...]:
        """Return all hosts that ``word`` selects, without duplicates; raise RemoteExecutionError if there is none.

        This default supports one host for each word.
        """
        return (self.resolve(word),)

    @abstractmethod
    def run(
        self, host: str, command: Command, *, on_line: LineHandler | None = None, timeout: float | None = None
    ) -> CommandResult:
        """Run ``command`` on ``host`` and wait for its end; end it after ``timeout`` seconds.

        Raise RemoteExecutionError if the host cannot be reached, a handler failed, or the timeout has passed.
        """

    @abstractmethod
    def start_job(
        self,
        host: str,
        command: Command,
        *,
        on_line: LineHandler | None = None,
        on_end: EndHandler | None = None,
        takes_input: bool = False,
    ) -> Job:
        """Start ``command`` and return without waiting for it; raise RemoteExecutionError unless there is one host.

        ``on_end`` is called once, with the outcome. A command that takes input can be written to with ``write_job``
        until this process ends; any other command reads the end of file at once.
        """

    @abstractmethod
    def write_job(self, host: str, job: Job, text: str) -> None:
        """Write ``text`` to the standard input of a command that takes input; keep it until the command has started.

        Raise RemoteExecutionError if the command has ended or does not read its input.
        """

    @abstractmethod
    def hand_script(self, host: str, job: Job, script: str) -> None:
        """Replace a command that takes input with the bash script ``script``: same process, no second login.

        Its standard input receives one line with a number of bytes, and then that many bytes: one line of shell that
        the command must evaluate. The script reads the rest of the input. Raise errors as ``write_job`` does.
        """

    @abstractmethod
    def monitor_job(self, host: str, job: Job) -> CommandResult | None:
        """Return the result of a command that has ended, or None while it runs.

        Raise RemoteExecutionError if the command could not be run, or one of its handlers failed.
        """

    @abstractmethod
    def wait_job(self, host: str, job: Job, timeout: float | None = None) -> CommandResult:
        """Wait for the end of a command, ``timeout`` seconds at most, and return its result.

        Raise errors as ``monitor_job`` does, and RemoteExecutionError after the timeout; the command continues to run.
        """

    @abstractmethod
    def kill_job(self, host: str, job: Job, *, grace: float = 10.0) -> CommandResult:
        """End all processes of a command on its host and return the result; do nothing if the command has ended.

        The first process gets TERM and ``grace`` seconds to end. Then all remaining processes get KILL. Raise
        RemoteExecutionError if the host cannot be reached, or processes remain; the message has their process IDs.
        """
