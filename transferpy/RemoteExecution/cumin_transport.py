"""The only module that uses cumin (4.2 to 6) and ClusterShell (1.9).

Its import takes 0.3 seconds, so it is imported only for commands on other hosts.
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
from transferpy.RemoteExecution.job_streams import LONGEST_LINE
from transferpy.RemoteExecution.running_job import RunningJob

for _name in ("cumin", "ClusterShell"):
    # Python prints the warnings of a logger without a handler to the console.
    logging.getLogger(_name).addHandler(logging.NullHandler())

_DEFAULT_CONFIG = {"transport": "clustershell", "default_backend": "direct"}
# A word that the backend "direct" reads as the name of one host, and not as an operator of its grammar.
_PLAIN_NAME = re.compile(r"(?!(?:and|or|xor)\b)[a-z0-9][a-z0-9._-]*", re.ASCII | re.IGNORECASE)
# The protocol needs these values, whatever ssh_config has: a process and a connection of its own, which runs the given
# command without a terminal and without side effects. Without a terminal, ssh has no escape character.
_PROTOCOL_OPTIONS = (
    *("-oRemoteCommand=none", "-oSessionType=default", "-oStdinNull=no", "-oForkAfterAuthentication=no"),
    *("-oControlMaster=no", "-oControlPath=none", "-oControlPersist=no"),
    *("-oClearAllForwardings=yes", "-oForwardAgent=no", "-oForwardX11=no", "-oTunnel=no", "-oPermitLocalCommand=no"),
    *("-oLogLevel=INFO", "-oVisualHostKey=no"),
)
# ssh detects a host that is down after 15 seconds; without these options it waits for hours. Nobody can answer ssh.
_SSH_OPTIONS = ("-oServerAliveInterval=5", "-oServerAliveCountMax=3", "-oBatchMode=yes")
# For ssh, the last one of -t and -T wins, and both win over RequestTTY.
_NO_TERMINAL = "-T"
# Ctrl-C in the terminal must not end the ssh processes: the clean-up on the hosts needs them.
_SSH_PATH = "setsid ssh"


def load_config(path: str) -> dict[str, Any]:
    """Return the configuration of cumin in the file ``path``, or a default if the file does not exist.

    Raise RemoteExecutionError if the file cannot be read, or its content is not a mapping in YAML.
    """
    if not os.path.exists(path):  # noqa: PTH110 - cumin needs a str
        return dict(_DEFAULT_CONFIG)
    try:
        config = cumin.Config(path)
    except (cumin.CuminError, yaml.YAMLError, OSError, TypeError, ValueError) as error:
        raise RemoteExecutionError(f"{path}: invalid cumin configuration: {_one_line(error)}") from error
    if not isinstance(config, Mapping):
        raise RemoteExecutionError(f"{path}: invalid cumin configuration: not a mapping")
    # cumin returns the same dictionary to all callers in this process.
    return copy.deepcopy(dict(config)) or dict(_DEFAULT_CONFIG)


def with_ssh_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config`` with more options for ssh, around those of the administrator: for ssh, the first value wins."""
    section = dict(config.get("clustershell") or {})
    options = section.get("ssh_options") or []
    options = [options] if isinstance(options, str) else options
    section["ssh_options"] = [*_PROTOCOL_OPTIONS, *options, *_SSH_OPTIONS, _NO_TERMINAL]
    section["ssh_path"] = section.get("ssh_path") or _SSH_PATH
    return {**config, "clustershell": section}


def find_hosts(config: Mapping[str, Any], word: str) -> tuple[str, ...]:
    """Return the hosts of a query, in the order of cumin; raise RemoteExecutionError if cumin cannot run the query."""
    if config.get("default_backend") == "direct" and _PLAIN_NAME.fullmatch(word):
        return (word,)  # cumin gives the same result
    from cumin.query import Query  # noqa: PLC0415 - slow: it imports the grammars of all backends

    try:
        return tuple(map(str, Query(config).execute(word)))
    except Exception as error:  # backends of cumin raise exceptions of any type
        raise RemoteExecutionError(f"{word}: cumin cannot find this host: {_first_line(error)}") from error


def execute(config: Mapping[str, Any], job: RunningJob) -> int:
    """Run ``job`` with cumin in this thread, wait for its end and return its exit status.

    Raises:
        RemoteExecutionError: the target is not a plain host name, or cumin returned no exit status.
        cumin.CuminError: cumin cannot use its configuration.
    """
    nodes = cumin.nodeset_fromlist([job.target])
    if list(nodes) != [job.target]:
        raise RemoteExecutionError("not a plain host name")

    handler: Any = type("Handler", (_JobEventHandler,), {"job": job})
    try:
        worker = Transport.new(config, Target(nodes))
        task = task_self()
        task.set_default("distant_worker", _Worker)
        task.set_default("auto_tree", False)  # noqa: FBT003 - ClusterShell's signature
        for stream in ("stdout", "stderr"):
            # By default ClusterShell keeps all output in memory.
            task.set_default(f"{stream}_msgtree", False)  # noqa: FBT003 - as above
        worker.commands = [Command(job.command, ok_codes=[])]
        worker.handler = handler
        worker.reporter = NullReporter
        worker.progress_bars = False
        worker.execute()
    finally:
        # ClusterShell never deletes the task of a thread, which has three open file descriptors.
        task_self().abort(kill=True)
    if handler.returncode is None:
        raise RemoteExecutionError("cumin returned no exit status")
    return int(handler.returncode)


class _JobEventHandler(SyncEventHandler):  # type: ignore[misc]  # cumin has no types
    """Passes the output and the exit status of a job on. cumin creates the instance, so each job has a subclass."""

    job: ClassVar[RunningJob]
    returncode: ClassVar[int | None] = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # cumin names this logger after the class, so its messages (with whole scripts) would appear as transferpy's.
        self.logger = logging.getLogger("cumin.transports.clustershell.SyncEventHandler")

    def ev_read(self, _worker: Any, _node: str, _stream: str, line: bytes) -> None:
        """Pass on a line of output; the method of the base class is not called, because it keeps all lines."""
        self.job.take_line(line)

    def ev_hup(self, worker: Any, node: str, returncode: int) -> None:
        """Store the exit status."""
        type(self).returncode = returncode
        super().ev_hup(worker, node, returncode)


class _Client(SshClient):  # type: ignore[misc]  # ClusterShell has no types
    """The ssh process of a job."""

    def _start(self) -> "_Client":
        super()._start()
        # cumin has ClusterShell close its end of the standard input after this method.
        self.worker.eh.job.attach(self.popen.pid, self.popen.stdin)
        return self

    def _readlines(self, stream_name: str) -> Iterator[bytes]:
        """Yield the complete lines; ClusterShell's own method loses text around a carriage return."""
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
    # The other lines describe the grammar of the query.
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(" :")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
