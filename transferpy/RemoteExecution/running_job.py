"""The life cycle of a remote command."""

import base64
import gzip
import logging
import os
import shlex

from transferpy.Exceptions import RemoteExecutionError
from transferpy.host import launch_line
from transferpy.RemoteExecution.interface import CommandResult, EndHandler, Job, LineHandler, Outcome
from transferpy.RemoteExecution.job_streams import SCRIPT_TIME, JobInput, JobOutput, encodable
from transferpy.RemoteExecution.local_process import LocalProcess, SignalSafeEvent

logger = logging.getLogger(__name__)

SSH_FAILED = 255  # exit status of ssh when it cannot connect or loses the connection, and of some commands
_FORCED_COMMAND = (
    "; the host ran another command: ForceCommand in its sshd_config, command= in authorized_keys, or a start-up"
    " file of the login shell"
)
_LEVEL = 4  # of gzip: the highest level takes three times as long and saves 4 %
_DROPPED_LOGIN = ("kex_exchange_identification", "Connection reset by")


class RunningJob(Job):
    """A remote command, from its start to its outcome."""

    def __init__(  # noqa: PLR0913 - the arguments of start_job
        self,
        host: str,
        target: str,
        script: str,
        *,
        on_line: LineHandler | None,
        on_end: EndHandler | None,
        takes_input: bool,
    ) -> None:
        super().__init__(host)
        self.target = target  # the host that the word of the caller selects
        self.output = JobOutput(host, self.identifier, on_line)
        self.input = JobInput(is_open=takes_input)
        self.process = LocalProcess()
        self.command = pack_script(f"{self.output.marker_command}\n{script}", self.identifier)
        self.started = SignalSafeEvent()  # set when its first process runs on the host, and when it will never run
        self.ended = SignalSafeEvent()  # set when the outcome is known and the handlers have returned
        self.processes_ended = False  # True when no process of the command can remain on its host
        self.outcome: Outcome | None = None  # None while the command runs
        self._returncode = SSH_FAILED
        self._on_end = on_end

    @property
    def pid(self) -> int | None:
        """Process ID of the first process of the command on its host; None before it has started."""
        return self.output.pid

    @property
    def result(self) -> CommandResult:
        """The exit status, and the output up to now."""
        return CommandResult(host=self.host, returncode=self._returncode, output=self.output.text)

    def attach(self, pid: int, standard_input: int) -> None:
        """Set the local process and the descriptor of the pipe to its standard input, which the caller may close.

        ``pid`` is a child process whose exit status has not been read. OSError: the kept input cannot be written.
        """
        self.process.attach(pid)
        self.input.connect(standard_input)

    def take_line(self, raw: bytes) -> None:
        """Take one line of output without its newline."""
        if self.output.take_line(raw):
            self.started.set()

    def prepare_retry(self, pause: float) -> bool:
        """Return True, after ``pause`` seconds, if the host has dropped the login and a retry makes sense.

        An sshd drops random logins when too many arrive at the same time (MaxStartups).
        """
        if self.pid is not None or not any(message in self.output.text for message in _DROPPED_LOGIN):
            return False
        if self.process.killed.wait(pause):
            return False
        self.process.detach()
        self.input.disconnect()
        self.output.clear()
        return True

    def finish(self, returncode: int) -> None:
        """Set the outcome of a command whose local process has ended with ``returncode``."""
        self._returncode = returncode
        # ssh also returns 255 when it loses the connection: then processes may remain on the host.
        connection_lost = returncode == SSH_FAILED and self.pid is not None
        self.processes_ended |= not connection_lost and not self.process.killed.is_set()
        if self.output.handler_error is not None:
            self.set_outcome(_handler_failure(self.host, "output", self.output.handler_error))
        elif self.pid is not None:
            self.set_outcome(self.result)
        else:
            self.set_outcome(self._start_failure())

    def _start_failure(self) -> RemoteExecutionError:
        problem = "cannot be reached" if self._returncode == SSH_FAILED else "the command could not be started"
        if self._returncode == 0:
            problem += _FORCED_COMMAND
        lines = [line.strip() for line in self.output.text.split("\n") if line.strip()][-3:]
        details = "; ".join(lines) or f"exit status {self._returncode}"
        return RemoteExecutionError(f"{self.host}: {problem}: {encodable(details)}")

    def set_outcome(self, outcome: Outcome) -> None:
        """Close the local process and the input, and publish ``outcome`` to the handler and to waiting threads."""
        self.process.detach()
        self.input.close()
        self.outcome = outcome
        if self._on_end is not None:
            try:
                self._on_end(outcome)
            except Exception as error:  # a failed handler must not stop the threads that wait
                logger.exception("%s: the handler of the end of a command failed", self.host)
                self.outcome = _handler_failure(self.host, "end", error)
        self.started.set()
        self.ended.set()


def _handler_failure(host: str, handled: str, cause: Exception) -> RemoteExecutionError:
    error = RemoteExecutionError(f"{host}: the handler of the {handled} of a command failed: {cause}")
    error.__cause__ = cause
    return error


def pack_script(script: str, *arguments: str, is_launched: bool = False) -> str:
    """Return one line of shell that runs ``script`` in bash; every login shell parses it in the same way.

    The script is compressed and base64-encoded. So a login shell other than bash, the replacement of ``%h`` by
    ClusterShell and names that are not UTF-8 cannot change it. The shell process becomes the bash process (``exec``),
    in the environment that ``host/launch.sh`` makes; with ``is_launched``, the shell that reads the line has that
    environment. ``arguments`` are the positional parameters of the script and stay readable in the list of processes.
    Raise ValueError if an argument contains a character that a shell or ClusterShell interprets.
    """
    for argument in arguments:
        if shlex.quote(argument) != argument or "%" in argument:
            raise ValueError(f"not a plain word: {argument!r}")
    packed = base64.b64encode(gzip.compress(os.fsencode(script), _LEVEL, mtime=SCRIPT_TIME)).decode("ascii")
    unpack = f'eval "$(base64 -d <<<{packed} | gzip -d || echo exit 127)"'
    launch = ("bash --norc -c",) if is_launched else ("/bin/bash --norc -pc", shlex.quote(launch_line()))
    return " ".join(("exec", *launch, *map(shlex.quote, (unpack, "transferpy", *arguments))))
