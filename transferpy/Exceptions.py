"""Errors of transferpy: one class and one exit status for each kind of failure.

Every message names the host and the path if there is one. It states the failure and, where possible, the remedy.
"""

import signal
from typing import ClassVar


class TransferpyError(Exception):
    """Base class of all errors that transferpy raises on purpose, with one problem or several, one line each."""

    exit_status: ClassVar[int] = 1
    """Exit status of ``transfer.py`` if this error ends the run."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems


class UsageError(TransferpyError):
    """The command line, the configuration file, the job file or the arguments of the Python API are invalid."""

    exit_status = 2


class RemoteExecutionError(TransferpyError):
    """A host cannot be resolved or reached, or a remote command failed to run to its end."""

    exit_status = 3


class PreflightError(TransferpyError):
    """The preflight found problems that prevent the transfer. Nothing was changed on any host."""

    exit_status = 4


class FirewallError(TransferpyError):
    """No port could be reserved on the target, or its firewall could not be opened."""

    exit_status = 5


class StreamError(TransferpyError):
    """A stage of the stream failed on the source or on the target, or the source could not connect to the target."""

    exit_status = 6


class VerificationError(TransferpyError):
    """The copy on the target differs from the source."""

    exit_status = 7


class PublishError(TransferpyError):
    """The verified copy could not be renamed to its final name on the target."""

    exit_status = 8


class ReplicationError(TransferpyError):
    """Replication on the source could not be stopped for the backup, or could not be confirmed to run after it."""

    exit_status = 9


class FinishError(TransferpyError):
    """The verified copy could not be prepared, or its owner could not be set."""

    exit_status = 10


class PostRunError(TransferpyError):
    """All copies succeeded, but a later step (report, metrics, log, hook, pruning) failed."""

    exit_status = 11


AftermathError = PostRunError
"""The name in version 1.0, for programs that import it."""


class JobRunningError(TransferpyError):
    """Another run of the same job has not ended yet."""

    exit_status = 12


def error_text(error: Exception) -> str:
    """Return the message of an error without its errno number and its file name, which the caller logs."""
    return getattr(error, "strerror", None) or str(error)


class Interrupted(BaseException):
    """A signal asked the run to stop: clean up and let this exception pass.

    The signal handlers of ``transfer.py`` raise it once, at any point of the main thread. It does not derive from
    Exception, so that no handler of ordinary failures catches it.
    """

    def __init__(self, signum: int) -> None:
        self.signum = signal.Signals(signum)
        super().__init__(f"ended by {self.signum.name}")
