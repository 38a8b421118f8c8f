"""What the rest of transferpy knows about running commands on hosts."""

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transferpy.Exceptions import RemoteExecutionError


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """How a command ended.

    Attributes:
        host: where it ran, as the caller named the host.
        returncode: its exit status. A command that a signal ended has 255 on a remote host, because ssh says no more,
            and 128 plus the signal's number on localhost.
        output: the end of what it wrote, standard output and standard error as they came, without the last newline.
            Bytes that are no text in the locale's encoding are surrogate escapes.
    """

    host: str
    returncode: int
    output: str


Command = str | Sequence[str]
"""A bash script, or the arguments of one program."""

Outcome = CommandResult | RemoteExecutionError
LineHandler = Callable[[str], None]
EndHandler = Callable[[Outcome], None]


class Job:
    """A command that was started on a host, to be handed back to the RemoteExecution that started it.

    Attributes:
        host: where it runs, as the caller named the host.
        identifier: a word that no other job has, in the argument list of its first process and in the environment of
            the others (``TRANSFERPY_JOB``).
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.identifier = uuid.uuid4().hex


class RemoteExecution(ABC):
    """Runs commands on hosts.

    Handlers are called in the thread of the job. What a handler raises does not end the job: it is logged, and the job
    counts as failed when it has ended.
    """

    @abstractmethod
    def resolve(self, word: str) -> str:
        """Return the one host that ``word`` names.

        Raises:
            RemoteExecutionError: it names no host, or several.
        """

    def resolve_all(self, word: str) -> tuple[str, ...]:
        """Return the hosts that ``word`` names, each once; without a language for that, the one of ``resolve``.

        Raises:
            RemoteExecutionError: it names no host.
        """
        return (self.resolve(word),)

    @abstractmethod
    def run(
        self, host: str, command: Command, *, on_line: LineHandler | None = None, timeout: float | None = None
    ) -> CommandResult:
        """Run ``command`` on ``host`` and wait for its end.

        Args:
            host: a word that ``resolve`` knows.
            command: a bash script or an argument list.
            on_line: called with each line of output as it arrives.
            timeout: seconds after which the command is ended.

        Raises:
            RemoteExecutionError: the host cannot be reached, or the time is over.
        """

    @abstractmethod
    def run_many(self, commands: Mapping[str, str], *, timeout: float | None = None) -> dict[str, Outcome]:
        """Run on each host its own script, all at once, and return what became of each; raises nothing for one host."""

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
        """Start ``command`` on ``host`` and return at once; ``on_end`` is called once, with what became of it.

        Its standard input is at its end from the start, or, if ``takes_input``, when this process ends.

        Raises:
            RemoteExecutionError: ``host`` names no host, or several.
        """

    @abstractmethod
    def write_job(self, host: str, job: Job, text: str) -> None:
        """Give ``text`` to the standard input of a job that takes input, as soon as it has one.

        Raises:
            RemoteExecutionError: the job has ended, or does not read.
        """

    @abstractmethod
    def hand_script(self, host: str, job: Job, script: str) -> None:
        """Give a job that waits for it the bash script that it goes on with, in the same process and without a login.

        To its standard input goes a line with the number of bytes that follow, and then those: a command of shell that
        takes the place of the process, and leaves the rest of the input to the script.

        Raises:
            RemoteExecutionError: as write_job.
        """

    @abstractmethod
    def monitor_job(self, host: str, job: Job) -> CommandResult | None:
        """Return how ``job`` ended, or None while it runs.

        Raises:
            RemoteExecutionError: it could not be run, or one of its handlers failed.
        """

    @abstractmethod
    def wait_job(self, host: str, job: Job, timeout: float | None = None) -> CommandResult:
        """Wait for the end of ``job``.

        Raises:
            RemoteExecutionError: as monitor_job, and when ``timeout`` seconds are over; the job runs on then.
        """

    @abstractmethod
    def kill_job(self, host: str, job: Job, *, grace: float = 10.0) -> CommandResult:
        """End ``job`` on its host; harmless when it has ended already.

        The first process of the job gets TERM and ``grace`` seconds to end by itself; whatever is left of the job's
        processes then gets KILL.

        Raises:
            RemoteExecutionError: the host could not be reached, or processes are left; the message says which.
        """
