"""Connect to hosts that print the output of scripts; report the error and the peak memory in MiB, a line each.

Called as: hostile_hosts.py session|preflight|list SCRIPT [HOSTS].
"""

import re
import sys
import time
from pathlib import Path

from transferpy.agent import list_transfer, preflight_connection
from transferpy.agent.list_transfer import fetch_records
from transferpy.agent.preflight import PreflightQuery
from transferpy.agent.session import Session
from transferpy.agent.session_manager import SessionManager
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution import threaded_execution
from transferpy.RemoteExecution.LocalExecution import LocalExecution

RUN = "r1"


class Fleet(LocalExecution):
    """Runs the commands of all hosts on this one."""

    def resolve(self, word: str) -> str:
        return word


def talk_with_session(script: str, _hosts: int) -> None:
    remote = Fleet()
    sessions = SessionManager(remote, RUN)
    session = sessions.start("db1", script)
    time.sleep(2)  # the run is busy, and its inbox fills
    try:
        sessions.wait(session, until=lambda: False, deadline=time.monotonic() + 20)
    finally:
        remote.kill_job("db1", sessions._jobs[session], grace=0.1)


def query(script: str, hosts: int) -> None:
    vars(preflight_connection)["preflight_script"] = lambda *_words, **_options: script
    queries = {f"db{number}": PreflightQuery() for number in range(hosts)}
    answers = preflight_connection.run_preflight(Fleet(), RUN, queries, timeout=20, dry_run=False)
    raise RemoteExecutionError("; ".join(answers.silent.values()))


def fetch(script: str, _hosts: int) -> None:
    vars(list_transfer)["list_script"] = lambda *_words: script
    for _ in fetch_records(Fleet(), Session("db1"), "manifest"):
        pass


if __name__ == "__main__":
    # A command that was ended leaves processes that the test kills.
    threaded_execution._CLOSE_TIMEOUT = 0.5
    kind = {"session": talk_with_session, "preflight": query, "list": fetch}[sys.argv[1]]
    try:
        kind(sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else 1)
    except RemoteExecutionError as error:
        print(error)
    peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1024 if peak else 0)
