"""Faults during hot copies: replication runs again, the target is empty again, the message names the cause."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from databases import HELD, RUNNING, SOCKET, Fleet, assert_unchanged, replicating, running_fleet
from helpers import transfer
from lab import difference
from watching import (
    DIGEST_TOOL,
    DIGESTER,
    FLUSH,
    GUARD,
    MOVE,
    PROMISED_SECONDS,
    SLOW,
    TEE,
    Hold,
    Run,
    case_name,
    end_by_signal,
    process_of,
    wait_for_sessions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

pytestmark = pytest.mark.lab

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL
BACKUP = ("--type", "xtrabackup", "--stop-slave")
TARGET = "db3:/srv/copy"
WORDS = (f"db2:{SOCKET}", TARGET)

# As in test_faults.py; the source is the replica on db2, the target is on db3.
STEPS = {
    "preflight: the server is asked": ("db2", "mariadb", "*VERSION*log_bin*"),
    "the key of the source": ("db2", "openssl", "req*"),
    "the target is claimed": ("db3", "flock", "*"),
    "the target is going to listen": ("db3", "socat", "*"),
    "replication is looked at": ("db2", "mariadb", "*'SHOW ALL SLAVES'*"),
    "replication is going to stop": ("db2", "mariadb", "*'STOP SLAVE'*"),
    "the target listens": ("db2", "socat", "*"),
    "the backup begins": ("db2", "mariadb-backup", "*--backup*"),
    "the stream flows": ("db2", "", ""),
    "the stream is unpacked": ("db3", "mbstream", "*"),
    "replication is going to start": ("db2", "mariadb", "*'START SLAVE'*"),
    "the copy is prepared": ("db3", "unshare", "*--prepare*"),
    "the copy goes to disk": ("db3", *FLUSH),
    "the copy is moved": ("db3", *MOVE),
    "the target ends": ("db3", "rm", "'-rf -- /run/transferpy/run.'*"),
}
STREAMS: list[tuple[str, ...]] = [(), ("--no-encrypt",), ("--no-compress",), ("--no-encrypt", "--no-compress")]


@pytest.fixture(scope="module")
def servers() -> Iterator[Fleet]:
    with running_fleet() as made:
        yield made


@pytest.fixture
def fleet(servers: Fleet) -> Iterator[Fleet]:
    """The fixture :func:`replicating`, for the tests of this module."""
    with replicating(servers) as fleet:
        yield fleet


@contextmanager
def streaming(fleet: Fleet, *options: str) -> Iterator[Run]:
    """A run during its stream, with replication stopped."""
    fleet["db3"].shape(SLOW)
    with Run(fleet.lab, *BACKUP, *options, *WORDS) as run:
        run.wait_for_stream(fleet["db3"])
        assert fleet.replica.replication() == {"": HELD}
        yield run
        fleet["db3"].shape(None)


def assert_as_it_was(fleet: Fleet, before: dict[str, list[str]], *, seconds: float = PROMISED_SECONDS) -> None:
    """Assert that within some seconds all hosts are unchanged and replication runs."""
    assert_unchanged(fleet, before, seconds=seconds)
    assert fleet.replica.replication() == {"": RUNNING}


def step_cases() -> list[tuple[str, signal.Signals, tuple[str, ...]]]:
    """Return each step with KILL or another signal, and the two most important steps with both."""
    signals = [(KILL, TERM, INT, HUP)[number % 4] for number in range(len(STEPS))]
    chosen = [
        (step, sent, STREAMS[(number + number // 4) % 4])
        for number, (step, sent) in enumerate(zip(STEPS, signals, strict=True))
    ]
    return [
        *((step, sent, () if "key" in step else options) for step, sent, options in chosen),
        ("replication is going to stop", KILL, ("--no-encrypt",)),
        ("replication is going to start", KILL, ()),
        ("the stream flows", TERM, ("--no-compress",)),
        ("the copy is moved", KILL, ()),
    ]


@pytest.mark.parametrize(("step", "sent", "options"), step_cases(), ids=case_name)
def test_a_signal_at_any_step_leaves_replication_running_and_a_whole_copy_or_none(
    fleet: Fleet, step: str, sent: signal.Signals, options: tuple[str, ...]
) -> None:
    host, command, matching = STEPS[step]
    before = fleet.snapshot()
    with ExitStack() as stack:
        hold = stack.enter_context(Hold(fleet[host], command, matching)) if command else None
        if hold is None:
            fleet["db3"].shape(SLOW)
        run = stack.enter_context(Run(fleet.lab, *BACKUP, "--prepare", *options, *WORDS))
        if hold is None:
            run.wait_for_stream(fleet["db3"])
        else:
            hold.wait_for_call()
        deadline = end_by_signal(run, sent, hold if (command, matching) != FLUSH else None)
        # The wrapper must not disappear before: the shells have already resolved its path.
        wait_for_sessions(fleet.lab, deadline)
    if list(STEPS).index(step) >= list(STEPS).index("the copy is moved"):
        remove_whole_copy(fleet["db3"])
    assert_as_it_was(fleet, before, seconds=deadline - time.monotonic())


def remove_whole_copy(host: Host) -> None:
    """Remove the copy, if there is one; fail if the copy is incomplete."""
    if host.sh("ls -A /srv/copy"):
        assert {"ibdata1", "xtrabackup_info", "mysql"} <= set(host.sh("ls /srv/copy").split())
        found = host.sh("ls -la --time-style=full-iso /srv/copy/shop")
        # For a table that was created shortly before, the tool writes a file that --prepare renames.
        assert len(re.findall(r"[.](?:ibd|new)$", found, re.MULTILINE)) == 3, found
        host.run("find /srv/copy -mindepth 1 -delete")


def test_a_signal_at_a_moment_that_nobody_chose_leaves_replication_running_and_a_whole_copy_or_none(
    fleet: Fleet,
) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(1 << 32))
    print(f"FAULT_SEED={seed} chooses these moments again")
    chosen = random.Random(seed)
    before = fleet.snapshot()
    began = time.monotonic()
    with Run(fleet.lab, *BACKUP, *WORDS) as run:
        assert run.end().status == 0, run.log
    took = time.monotonic() - began
    remove_whole_copy(fleet["db3"])
    struck = stopped = 0
    for _ in range(14):
        prepare = chosen.choice(((), ("--prepare",)))
        sent, moment = chosen.choice((TERM, INT, HUP, KILL)), chosen.uniform(0.1, 1) * took
        with Run(fleet.lab, *BACKUP, *prepare, *chosen.choice(STREAMS), *WORDS) as run:
            try:
                run.process.wait(moment)
            except subprocess.TimeoutExpired:
                struck += 1
                stopped += fleet.replica.replication() != {"": RUNNING}
            run.process.send_signal(sent)
            deadline = time.monotonic() + PROMISED_SECONDS
            status = run.end().status
        assert status in {0, -sent, 128 + sent}, (seed, moment, run.log)
        wait_for_sessions(fleet.lab, deadline)
        remove_whole_copy(fleet["db3"])
        assert_as_it_was(fleet, before, seconds=deadline - time.monotonic())
    assert struck >= 7
    assert stopped >= 1


# --- every process of the stream


@pytest.mark.parametrize(
    ("host", "process", "options"),
    [
        *(("db2", process, ("--encrypt",)) for process in ("mariadb-backup", DIGESTER, "wc")),
        *((host, "socat", ("--retries=0",)) for host in ("db2", "db3")),
        *(("db3", process, ("--encrypt",)) for process in (TEE, "wc", GUARD, "mbstream")),
        *((host, process, ("--compressor", process)) for host in ("db2", "db3") for process in ("zstd", "pigz")),
        *((host, DIGEST_TOOL, ("--parallel-checksum",)) for host in ("db2", "db3")),
        *(("db2", process, ("--no-compress",)) for process in ("mariadb-backup", DIGESTER)),
        ("db2", TEE, ("--no-checksum",)),
        ("db3", "mbstream", ("--no-compress",)),
    ],
    ids=case_name,
)
def test_a_process_of_the_stream_that_is_killed_is_named(
    fleet: Fleet, host: str, process: str, options: tuple[str, ...]
) -> None:
    before = fleet.snapshot()
    with streaming(fleet, *options) as run:
        fleet[host].run(["kill", "-KILL", process_of(fleet[host], process)])
        run.assert_streaming()
        fleet["db3"].shape(None)
        result = run.end()
    # The failure of the counting branch is a failure of its tee.
    named = {TEE: "wc", DIGESTER: "perl", GUARD: "perl"}.get(process, process)
    assert result.status == 6, result.stderr
    assert re.search(f"ERROR {TARGET}: failed: .*{host}: {named} was ended by signal 9", result.stderr), result.stderr
    assert_as_it_was(fleet, before)


def kill_session(host: Host) -> None:
    (name,) = host.sh("ls -d /run/transferpy/run.*").split()
    host.run(["kill", "-KILL", name.split(".")[-2]])


def test_a_session_of_the_target_that_is_killed_is_cleaned_up_behind(fleet: Fleet) -> None:
    before = fleet.snapshot()
    with streaming(fleet) as run:
        kill_session(fleet["db3"])
        fleet["db3"].shape(None)
        result = run.end()
    assert result.status == 3, result.stderr
    assert f"ERROR {TARGET}: failed: db3: the session ended early, with status 255" in result.stderr
    assert "INFO  db3: undid the changes of the stale run " in result.stderr
    assert_as_it_was(fleet, before)


def test_the_next_run_cleans_up_after_a_killed_run_and_its_two_killed_sessions(fleet: Fleet) -> None:
    before = fleet.snapshot()
    with streaming(fleet) as run:
        run.process.send_signal(signal.SIGSTOP)  # otherwise it would clean up itself
        kill_session(fleet["db2"])
        kill_session(fleet["db3"])
        run.process.kill()
        run.process.wait()
    left = difference(before, fleet.snapshot())
    assert "/srv/copy/.transferpy-" in left
    assert fleet.replica.replication() == {"": HELD}
    result = transfer(fleet.lab, *BACKUP, *WORDS, check=True)
    assert re.search(r"INFO  db2: undid the changes of the stale run \w+\n", result.stderr)
    assert re.search(r"INFO  db3: undid the changes of the stale run \w+\n", result.stderr)
    fleet["db3"].run("find /srv/copy -mindepth 1 -delete")
    assert_as_it_was(fleet, before)


# --- disks


@pytest.mark.parametrize("runs_out", ["bytes", "inodes"])
def test_a_disk_that_fills_in_mid_copy_is_named_and_the_copy_removed(fleet: Fleet, runs_out: str) -> None:
    db3 = fleet["db3"]
    db3.small_disk("/srv/small", "256m")
    db3.run(["mount", "-o", "remount,nr_inodes=2000", "/srv/small"])
    before = fleet.snapshot()
    filling = (
        "cat /dev/zero >/srv/small/other" if runs_out == "bytes" else "mkdir /srv/small.d; touch /srv/small/{1..2100}"
    )
    with Hold(db3, "mbstream") as unpacking, Run(fleet.lab, *BACKUP, WORDS[0], "db3:/srv/small") as run:
        unpacking.wait_for_call()
        assert b"No space left on device" in db3.run(filling, check=False).stderr
        unpacking.let_go()
        result = run.end()
    assert result.status in {6, 7}, result.stderr
    fault = "is full" if runs_out == "bytes" else "has no free inodes"
    assert f"ERROR db3:/srv/small: failed: db3: the file system of /srv/small {fault}; " in result.stderr, result.stderr
    assert db3.sh("ls -A /srv/small | grep -v '^[0-9]*$'; true") == ("other" if runs_out == "bytes" else "")
    db3.run("rm -rf /srv/small/* /srv/small.d")
    assert_as_it_was(fleet, before)


def test_a_file_of_the_server_that_cannot_be_read_fails_the_copy_and_is_named(fleet: Fleet) -> None:
    db2 = fleet["db2"]
    before = fleet.snapshot()
    # The file can be opened and has a size, but reading fails.
    db2.run("mount --bind /sys/class/net/lo/speed /srv/mysql/shop/payments.frm")
    try:
        assert db2.run("cat /srv/mysql/shop/payments.frm", check=False).returncode == 1
        result = transfer(fleet.lab, *BACKUP, *WORDS)
    finally:
        db2.run("umount /srv/mysql/shop/payments.frm")
    assert result.status == 6, result.stderr
    assert re.search(f"ERROR {TARGET}: failed: .*db2: mariadb-backup failed .*payments", result.stderr), result.stderr
    assert_as_it_was(fleet, before)


# --- the network


def test_a_source_that_cannot_reach_the_target_is_named_in_time(fleet: Fleet) -> None:
    before = fleet.snapshot()
    with Hold(fleet["db2"], "socat") as connecting, Run(fleet.lab, *BACKUP, "--connect-timeout", "2", *WORDS) as run:
        connecting.wait_for_call()
        fleet["db2"].cut(fleet["db3"])
        connecting.let_go()
        result = run.end()
    assert result.status == 6, result.stderr
    assert "db2 to db3: no connection to " in result.stderr
    assert (
        "within 2 seconds (--connect-timeout); packets left db2, but none arrived at db3; a firewall" in result.stderr
    )
    assert_as_it_was(fleet, before)


def test_a_replica_that_is_cut_off_replicates_again_when_tcp_has_given_up(fleet: Fleet) -> None:
    """The default of net.ipv4.tcp_retries2, 15, means a quarter of an hour; this test sets 3."""
    orch, db2 = fleet["orch"], fleet["db2"]
    config = orch.sh("cat /etc/cumin/config.yaml")
    options = "".join(f"        - '-o {option}'\n" for option in ("ServerAliveInterval=1", "ConnectTimeout=2"))
    orch.run(["tee", "/etc/cumin/config.yaml"], input=config.replace("options:\n", f"options:\n{options}").encode())
    db2.run("sysctl -q net.ipv4.tcp_retries2=3")
    before = fleet.snapshot()
    try:
        with streaming(fleet) as run:
            orch.cut(db2)
            result = run.end()
        assert result.status in {3, 9}, result.stderr
        assert "ERROR db2: transferpy does not know if replication runs again; check it there" in result.stderr
        assert_as_it_was(fleet, before)
    finally:
        orch.heal(db2)
        db2.run("sysctl -q net.ipv4.tcp_retries2=15")
        orch.run(["tee", "/etc/cumin/config.yaml"], input=f"{config}\n".encode())
