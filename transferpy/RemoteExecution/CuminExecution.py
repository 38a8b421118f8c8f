"""Remote execution with cumin and ssh."""

import copy
import ipaddress
import random
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.LocalExecution import LOCALHOST, execute_locally
from transferpy.RemoteExecution.running_job import SSH_FAILED, RunningJob
from transferpy.RemoteExecution.threaded_execution import ThreadedExecution

_RETRY_PAUSES = (0.3, 0.6, 1.2, 2.4)  # mean seconds between the retries of a login that the host drops
_HOSTS_IN_MESSAGE = 4


class CuminExecution(ThreadedExecution):
    """Runs commands on every host that a query of cumin selects, and on ``localhost`` without cumin.

    Args:
        config: cumin's configuration; default: the content of ``config_file``.
    """

    config_file = "/etc/cumin/config.yaml"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._given_config = copy.deepcopy(dict(config)) if config is not None else None
        self._resolved: dict[str, str] = {LOCALHOST: LOCALHOST}
        self._lock = threading.Lock()

    @cached_property
    def _config(self) -> dict[str, Any]:
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - slow, and not needed for localhost

        config = self._given_config
        return cumin_transport.with_ssh_settings(
            cumin_transport.load_config(self.config_file) if config is None else config
        )

    def resolve(self, word: str) -> str:
        """Implement RemoteExecution.resolve: ``word`` is a query of cumin, an IP address or ``localhost``."""
        with self._lock:
            if word not in self._resolved:
                hosts = self._find(word)
                if len(hosts) > 1:
                    names = ", ".join(hosts[:_HOSTS_IN_MESSAGE]) + (", ..." if len(hosts) > _HOSTS_IN_MESSAGE else "")
                    raise RemoteExecutionError(f"{word}: selects {len(hosts)} hosts, but one is required: {names}")
                self._resolved |= {word: hosts[0], hosts[0]: hosts[0]}
            return self._resolved[word]

    def resolve_all(self, word: str) -> tuple[str, ...]:
        """Implement RemoteExecution.resolve_all: in the order of cumin."""
        with self._lock:
            if word in self._resolved:
                return (self._resolved[word],)
            hosts = self._find(word)
            self._resolved |= {host: host for host in hosts}
            return hosts

    def _find(self, word: str) -> tuple[str, ...]:
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - as above

        config = self._config
        # No backend of cumin accepts an address with colons.
        hosts = (word,) if _is_address(word) else cumin_transport.find_hosts(config, word.strip("\"'"))
        if not hosts:
            raise RemoteExecutionError(f"{word}: no such host")
        if any(host.startswith("-") for host in hosts):
            raise RemoteExecutionError(f"{word}: the name of a host cannot begin with -")
        return hosts

    def execute(self, job: RunningJob) -> int:
        """Implement ThreadedExecution.execute."""
        if job.target == LOCALHOST:
            return execute_locally(job)
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - as above

        for pause in _RETRY_PAUSES:
            returncode = cumin_transport.execute(self._config, job)
            # The pause is random: otherwise logins that were dropped together would be retried together.
            if returncode != SSH_FAILED or not job.prepare_retry(pause * (0.5 + random.random())):  # noqa: S311 - not a secret
                return returncode
        return cumin_transport.execute(self._config, job)


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
