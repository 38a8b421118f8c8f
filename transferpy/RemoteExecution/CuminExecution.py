"""Commands on other hosts, by cumin and ssh."""

import copy
import ipaddress
import random
import threading
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.jobs import ENVIRONMENT_VARIABLE, LOCALHOST, SSH_FAILED, RunningJob, ThreadedExecution
from transferpy.RemoteExecution.LocalExecution import LocalExecution

_PAUSES = (0.3, 0.6, 1.2, 2.4)
"""Seconds, more or less, between the tries of a login that the host drops."""
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
    """Runs commands on any host that cumin knows; those on ``localhost`` need no cumin.

    Args:
        config: cumin's configuration; by default, what ``config_file`` says.
    """

    config_file = "/etc/cumin/config.yaml"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._given_config = copy.deepcopy(dict(config)) if config is not None else None
        self._local = LocalExecution()
        self._resolved: dict[str, str] = {LOCALHOST: LOCALHOST}
        self._lock = threading.Lock()

    @cached_property
    def _config(self) -> dict[str, Any]:
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - slow, and localhost needs none

        config = self._given_config
        return cumin_transport.with_ssh_settings(
            cumin_transport.load_config(self.config_file) if config is None else config
        )

    def resolve(self, word: str) -> str:
        """As RemoteExecution.resolve: a query of cumin, an IP address, or ``localhost``; asked only once."""
        with self._lock:
            if word not in self._resolved:
                hosts = self._find(word)
                if len(hosts) > 1:
                    names = ", ".join(hosts[:_HOSTS_IN_MESSAGE]) + (", ..." if len(hosts) > _HOSTS_IN_MESSAGE else "")
                    raise RemoteExecutionError(f"{word}: one host is needed, this names {len(hosts)}: {names}")
                self._resolved |= {word: hosts[0], hosts[0]: hosts[0]}
            return self._resolved[word]

    def resolve_all(self, word: str) -> tuple[str, ...]:
        """As RemoteExecution.resolve_all: in the order in which cumin has them."""
        with self._lock:
            if word in self._resolved:
                return (self._resolved[word],)
            hosts = self._find(word)
            self._resolved |= {host: host for host in hosts}
            return hosts

    def _find(self, word: str) -> tuple[str, ...]:
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - as above

        config = self._config
        # No grammar of cumin's knows an address with colons.
        hosts = (word,) if _is_address(word) else cumin_transport.find_hosts(config, word.strip("\"'"))
        if not hosts:
            raise RemoteExecutionError(f"{word}: no such host")
        if any(host.startswith("-") for host in hosts):
            raise RemoteExecutionError(f"{word}: ssh would take this host for an option")
        return hosts

    def carry_out(self, job: RunningJob) -> int:
        """As ThreadedExecution.carry_out."""
        if job.target == LOCALHOST:
            return self._local.carry_out(job)
        from transferpy.RemoteExecution import cumin_transport  # noqa: PLC0415 - as above

        for pause in _PAUSES:
            returncode = cumin_transport.carry_out(self._config, job)
            # At random, or those that were dropped together would come back together.
            if returncode != SSH_FAILED or not job.may_try_again(pause * (0.5 + random.random())):  # noqa: S311 - no secret
                return returncode
        return cumin_transport.carry_out(self._config, job)

    def end(self, job: RunningJob, grace: float) -> None:
        """As ThreadedExecution.end."""
        if job.target == LOCALHOST:
            self._local.end(job, grace)
            return
        if not job.started.wait(_START_TIME):
            job.abort()
        seconds = grace if job.leader else min(grace, _UNTOLD_GRACE)
        words = (
            f"identifier={job.identifier} variable={ENVIRONMENT_VARIABLE}"
            f" leader={job.leader or 0} microseconds={round(seconds * 1e6)}"
        )
        killer = self.start_job(job.target, words + _KILLER)
        try:
            result = self.wait_job(job.target, killer, grace + _KILLER_TIME if job.leader else _SEARCH_TIME)
        except RemoteExecutionError as error:
            if job.leader:
                raise RemoteExecutionError(f"{error}; a command may still run there") from error
        else:
            if result.returncode != 0:
                raise RemoteExecutionError(f"{job.host}: a command could not be ended: {result.output}")
        finally:
            killer.abort()


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
