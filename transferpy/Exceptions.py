"""The errors of transferpy: one class, and one exit status, for each kind of failure.

Every message names host and path where there is one, says what happened and, where it helps, what to do next.
"""

import signal
from collections.abc import Sequence
from typing import ClassVar


class TransferpyError(Exception):
    """Base class of everything that transferpy raises on purpose.

    Attributes:
        exit_status: what ``transfer.py`` exits with when this error ends the run.
    """

    exit_status: ClassVar[int] = 1


class UsageError(TransferpyError):
    """The command line, the configuration file or the arguments of the Python API make no sense."""

    exit_status = 2


class RemoteExecutionError(TransferpyError):
    """A host cannot be found or reached, or a command on it could not be run to its end."""

    exit_status = 3


class PreflightError(TransferpyError):
    """The hosts were asked and the transfer cannot work; nothing was changed anywhere.

    Attributes:
        problems: every reason found, one line each.
    """

    exit_status = 4

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class FirewallError(TransferpyError):
    """No port could be reserved on the target, or its firewall could not be opened."""

    exit_status = 5


class StreamError(TransferpyError):
    """A stage of the stream failed, on the source or on the target, or the two never met."""

    exit_status = 6


class VerificationError(TransferpyError):
    """What arrived on the target is not what the source holds."""

    exit_status = 7


class PublishError(TransferpyError):
    """The checked copy could not get its final name on the target."""

    exit_status = 8


class ReplicationError(TransferpyError):
    """Replication on the source could not be stopped for the backup, or is not known to run again after it."""

    exit_status = 9


class FinishError(TransferpyError):
    """The checked copy could not be prepared, or not be given to its owner."""

    exit_status = 10


class PostRunError(TransferpyError):
    """The copies are as good as they are, but something that was to come after them failed."""

    exit_status = 11


class JobRunningError(TransferpyError):
    """Another run of the same job is still at work."""

    exit_status = 12


def reason(error: Exception) -> str:
    """Return what a message says of an error of the system: not its number, nor the file, which the message names."""
    return getattr(error, "strerror", None) or str(error)


class Interrupted(BaseException):
    """A signal asks the run to stop: clean up and let it pass.

    Raised by the signal handlers of ``transfer.py``, once, wherever the main thread is. No Exception, so that nothing
    takes it for a failure of its own.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signal.Signals(signum)
        super().__init__(f"ended by {self.signum.name}")
