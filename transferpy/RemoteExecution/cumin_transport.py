"""All that touches cumin and ClusterShell; imported only when a command is for another host: it takes 0.3 seconds.

Made for cumin 4.2 to 6 on ClusterShell 1.9.
"""

import copy
import logging
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import cumin
import yaml
from ClusterShell.Task import task_self
from ClusterShell.Worker.Ssh import SshClient, WorkerSsh
from cumin.transport import Transport
from cumin.transports import Command, Target
from cumin.transports.clustershell import NullReporter, SyncEventHandler

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.jobs import LONGEST_LINE, RunningJob

for _name in ("cumin", "ClusterShell"):
    # Without any handler Python prints warnings to the console.
    logging.getLogger(_name).addHandler(logging.NullHandler())

_DEFAULT_CONFIG = {"transport": "clustershell", "default_backend": "direct"}
# What the back-end "direct" takes for the name of one host, and no operator of its grammar.
_PLAIN_NAME = re.compile(r"(?!(?:and|or|xor)\b)[a-z0-9][a-z0-9._-]*", re.ASCII | re.IGNORECASE)
# A host that vanished is noticed after 15 seconds; a run of hours must not hang on it.
_SSH_OPTIONS = ("-oServerAliveInterval=5", "-oServerAliveCountMax=3")
# Ctrl-C at the terminal must not reach the ssh processes: with them gone nothing would be left to clean up with.
_SSH_PATH = "setsid ssh"


def load_config(path: str) -> dict[str, Any]:
    """Return cumin's configuration as read from ``path``; a file that is not there is no error.

    Raises:
        RemoteExecutionError: it cannot be read or is no configuration.
    """
    if not os.path.exists(path):  # noqa: PTH110 - cumin takes the name as text
        return dict(_DEFAULT_CONFIG)
    try:
        config = cumin.Config(path)
    except (cumin.CuminError, yaml.YAMLError, OSError, TypeError, ValueError) as error:
        raise RemoteExecutionError(f"{path}: no usable configuration of cumin: {_one_line(error)}") from error
    if not isinstance(config, Mapping):
        raise RemoteExecutionError(f"{path}: no usable configuration of cumin: no keys and values")
    # cumin hands the same dictionary to everyone in this process.
    return copy.deepcopy(dict(config)) or dict(_DEFAULT_CONFIG)


def with_ssh_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config`` with our options for ssh behind the administrator's: ssh takes the first value it sees."""
    section = dict(config.get("clustershell") or {})
    options = section.get("ssh_options") or []
    options = [options] if isinstance(options, str) else list(options)
    return {
        **config,
        "clustershell": {
            **section,
            "ssh_options": [*options, *_SSH_OPTIONS],
            "ssh_path": section.get("ssh_path") or _SSH_PATH,
        },
    }


def find_hosts(config: Mapping[str, Any], word: str) -> tuple[str, ...]:
    """Return the hosts that cumin finds for ``word``, in its order.

    Raises:
        RemoteExecutionError: cumin cannot tell.
    """
    if config.get("default_backend") == "direct" and _PLAIN_NAME.fullmatch(word):
        return (word,)  # the answer without the grammars of all back-ends, which take a tenth of a second to import
    from cumin.query import Query  # noqa: PLC0415 - as said above

    try:
        return tuple(map(str, Query(config).execute(word)))
    except Exception as error:  # a back-end of cumin may raise anything, and a DBA may type anything
        raise RemoteExecutionError(f"{word}: cumin cannot find this host: {_first_line(error)}") from error


def carry_out(config: Mapping[str, Any], job: RunningJob) -> int:
    """Run ``job`` by cumin in this thread, to its end, and return its exit status."""
    nodes = cumin.nodeset_fromlist([job.target])
    if list(nodes) != [job.target]:
        raise RemoteExecutionError("this is no plain host name")

    class Handler(_JobEventHandler):
        pass

    Handler.job = job
    try:
        worker = Transport.new(config, Target(nodes))
        task = task_self()
        task.set_default("distant_worker", _Worker)
        task.set_default("auto_tree", False)  # noqa: FBT003 - ClusterShell's signature
        for stream in ("stdout", "stderr"):
            # Otherwise ClusterShell keeps all output in memory.
            task.set_default(f"{stream}_msgtree", False)  # noqa: FBT003 - as above
        worker.commands = [Command(job.command, ok_codes=[])]
        worker.handler = Handler
        worker.reporter = NullReporter
        worker.progress_bars = False
        worker.execute()
    finally:
        # ClusterShell keeps one task for each thread, with three file descriptors, for ever.
        task_self().abort(kill=True)
    if Handler.returncode is None:
        raise RemoteExecutionError("cumin gave no exit status")
    return int(Handler.returncode)


class _JobEventHandler(SyncEventHandler):  # type: ignore[misc]  # cumin has no types
    """Hands over a job's output and exit status as they come; cumin makes the instance, so each job has a subclass."""

    job: ClassVar[RunningJob]
    returncode: ClassVar[int | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By the name of this class cumin's own messages, whole scripts among them, would be ours.
        self.logger = logging.getLogger("cumin.transports.clustershell.SyncEventHandler")

    def ev_read(self, _worker: Any, _node: str, _stream: str, line: bytes) -> None:
        """Take a line of output; cumin's own method, which keeps them all, is left out on purpose."""
        self.job.take_line(line)

    def ev_hup(self, worker: Any, node: str, returncode: int) -> None:
        """Take the exit status."""
        type(self).returncode = returncode
        super().ev_hup(worker, node, returncode)


class _Client(SshClient):  # type: ignore[misc]  # ClusterShell has no types
    """The ssh process of a job."""

    def _start(self) -> "_Client":
        super()._start()
        # ClusterShell closes its own end of the standard input at once, as cumin asks it to.
        self.worker.eh.job.attach(self.popen.pid, self.popen.stdin)
        return self

    def _readlines(self, stream_name: str) -> Iterator[bytes]:
        """Yield the lines that are there; ClusterShell's own method loses text around a carriage return."""
        stream = self.streams[stream_name]
        *lines, rest = (stream.rbuf + self._read(stream_name)).split(b"\n")
        if len(rest) > LONGEST_LINE:
            lines.append(rest)
            rest = b""
        stream.rbuf = rest
        yield from lines


class _Worker(WorkerSsh):  # type: ignore[misc]  # ClusterShell has no types
    SHELL_CLASS = _Client


def _first_line(error: Exception) -> str:
    # The lines below would show the grammar.
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(" :")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
