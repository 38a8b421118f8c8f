"""The lock of a job, in the state directory of the job."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transferpy.batch.job_file import JobFile
from transferpy.Exceptions import JobRunningError, UsageError, error_text


def state_path(job: JobFile, job_path: str, suffix: str) -> Path:
    """Return the file of a job in its state directory; job files of the same name have different ones."""
    digest = hashlib.sha256(os.fsencode(Path(job_path).resolve())).hexdigest()[:8]
    return Path(job.state_directory) / f"{Path(job_path).stem}-{digest}{suffix}"


@contextmanager
def job_lock(job: JobFile, job_path: str) -> Iterator[int]:
    """Hold the lock of a job, and yield its file descriptor.

    The processes of the transfers inherit the descriptor: the job is locked until the last one has ended.

    Raises:
        UsageError: the state directory cannot be used.
        JobRunningError: another run holds the lock.
    """
    path = state_path(job, job_path, ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.parent.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            # Pruning removes, as root on other hosts, the directories that are listed there.
            raise PermissionError("another user owns the directory, or can write to it")
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UsageError(f"{path.parent}: the state directory cannot be used: {error_text(error)}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JobRunningError(f"{job_path}: another run of this job has not ended yet") from error
        yield lock
    finally:
        os.close(lock)
