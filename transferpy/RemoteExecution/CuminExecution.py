"""Remote execution with cumin and ssh."""

import copy
import ipaddress
import random
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.LocalExecution import LOCALHOST, LocalExecution
from transferpy.RemoteExecution.running_job import SSH_FAILED, RunningJob
from transferpy.RemoteExecution.threaded_execution import ThreadedExecution

_RETRY_PAUSES = (0.3, 0.6, 1.2, 2.4)
"""Mean seconds between the retries of a login that the host drops."""
_HOSTS_IN_MESSAGE = 4
_START_TIME = 1.0
"""Seconds that a job gets to show its first process before we cut its ssh off and look for it on the host."""
_KILLER_TIME = 30.0
"""Seconds for ending a job, on top of what it gets to end by itself."""
_SEARCH_TIME = 5.0
"""The same for a job that most likely never began: nobody shall wait longer for a host that cannot be reached."""

_UNTOLD_GRACE = 2.0
"""The most seconds that a job gets to end by itself whose first words were lost: it has only just begun."""

# The killer finds the job's processes by the identifier in an argument list or environment, and their descendants. It
# must not carry the identifier in either itself; other users, who can read it there, may have given it to what they
# started, set-uid programs among that. A process ID counts only together with the start time of the process.
_KILLER = r"""
declare -A births=()
birth_of() {
  local line
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return
  set -- ${line##*) }
  [[ $1 != Z ]] && birth=${20}
}
lives() { birth_of "$1" && [[ $birth == "${births[$1]-}" ]]; }
own() { grep -qs "^Uid:[[:blank:]]*$UID[[:blank:]]" "/proc/$1/status"; }
add() { birth_of "$1" && births[$1]=$birth; }
look() {
  local pid parent found=1
  for pid in "${!births[@]}"; do lives "$pid" || unset "births[$pid]"; done
  while IFS=/ read -r _ _ pid _; do ! own "$pid" || add "$pid"; done < <(
    grep -lszxF -f - /proc/[0-9]*/cmdline <<<"$identifier"
    grep -lszxF -f - /proc/[0-9]*/environ <<<"$variable=$identifier")
  while ((found)); do
    found=0
    while IFS=$' \t:/' read -r _ _ pid _ _ parent; do
      [[ -n ${births[$parent]-} && -z ${births[$pid]-} ]] && add "$pid" && found=1
    done < <(grep -sH ^PPid: /proc/[0-9]*/status)
  done
}
now() { echo "${EPOCHREALTIME/[.,]/}"; }
look
if ((! leader)); then
  # It had no time to say which one it is; its subshells are younger, or of the same tick of the clock.
  for pid in "${!births[@]}"; do
    grep -sqzxF -f - "/proc/$pid/cmdline" <<<"$identifier" || continue
    ((leader)) && ((births[$pid] > births[$leader] || births[$pid] == births[$leader] && pid > leader)) || leader=$pid
  done
fi
end=$(($(now) + microseconds))
if lives "$leader"; then
  kill -TERM "$leader"
  while lives "$leader" && (($(now) < end)); do sleep 0.05; done
fi
for round in {1..50}; do
  look
  ((${#births[@]})) || exit 0
  # Stopped first, or a shell would go on to its next command when its child is killed before it.
  kill -STOP "${!births[@]}" 2>/dev/null
  kill -KILL "${!births[@]}" 2>/dev/null
  sleep 0.05
done
echo "processes that survive SIGKILL: ${!births[*]}"
exit 1
"""


class CuminExecution(ThreadedExecution):
    """Runs commands on every host that a query of cumin selects, and on ``localhost`` without cumin.

    Args:
        config: cumin's configuration; default: the content of ``config_file``.
    """

    config_file = "/etc/cumin/config.yaml"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._given_config = copy.deepcopy(dict(config)) if config is not None else None
        self._local = LocalExecution()
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
            return self._local.execute(job)
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - as above

        for pause in _RETRY_PAUSES:
            returncode = cumin_transport.execute(self._config, job)
            # The pause is random: otherwise logins that were dropped together would be retried together.
            if returncode != SSH_FAILED or not job.prepare_retry(pause * (0.5 + random.random())):  # noqa: S311 - not a secret
                return returncode
        return cumin_transport.execute(self._config, job)

    def end_processes(self, job: RunningJob, grace: float) -> None:
        """Implement ThreadedExecution.end_processes."""
        if job.target == LOCALHOST:
            self._local.end_processes(job, grace)
            return
        if not job.started.wait(_START_TIME):
            job.process.kill()
        seconds = grace if job.pid else min(grace, _UNTOLD_GRACE)
        words = (
            f"identifier={job.identifier} variable=TRANSFERPY_JOB"
            f" leader={job.pid or 0} microseconds={round(seconds * 1e6)}"
        )
        killer = self.start_job(job.target, words + _KILLER)
        try:
            result = self.wait_job(job.target, killer, grace + _KILLER_TIME if job.pid else _SEARCH_TIME)
        except RemoteExecutionError as error:
            if job.pid:
                raise RemoteExecutionError(f"{error}; a command may still run there") from error
        else:
            if result.returncode != 0:
                raise RemoteExecutionError(f"{job.host}: a command could not be ended: {result.output}")
        finally:
            killer.process.kill()


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
