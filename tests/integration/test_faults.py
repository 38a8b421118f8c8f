"""Signals that end a run: at every step, and at random moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from watching import (
    DIGEST_TOOL,
    FLUSH,
    LAST_SYNC,
    MOVE,
    PROMISED_SECONDS,
    SLOW,
    Hold,
    Run,
    assert_as_before,
    case_name,
    end_by_signal,
    fill,
    wait_for_sessions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lab import Host, Lab

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL
TREE = ("db1:/srv/data", "db2:/srv/in")
TARBALL = ("--type", "decompress", "db1:/srv/made/tarball", "db2:/srv/empty")
ENDING = "-rf -- /run/transferpy/run.*"

# The steps of a run in order: host, next command, and a pattern for the arguments of the command.
STEPS = {
    "preflight: the source is measured": ("db1", "find", "*'%y %D:%i %n'*"),
    "preflight: the way to the target": ("db1", "getent", "*"),
    "preflight: the firewall": ("db2", "nft", "'-j list'*"),
    "preflight: the target": ("db2", "realpath", "*"),
    "the source begins": ("db1", "mkfifo", "*"),
    "the target begins": ("db2", "mkfifo", "*"),
    "the list of the source": ("db1", "sort", "*' /var/tmp/'*' -z'"),
    "the key of the source": ("db1", "openssl", "req*"),
    "the key of the target": ("db2", "openssl", "ca*"),
    "a port is locked": ("db2", "flock", "*"),
    "the firewall opens": ("db2", "nft", "insert*"),
    "the staging directory": ("db2", "perl", "*' make_private .transferpy-'*"),
    "the target is going to listen": ("db2", "socat", "*"),
    "the target listens": ("db1", "socat", "*"),
    "the stream begins": ("db1", "tar", "*"),
    "the stream flows": ("db1", "", ""),
    "the stream is unpacked": ("db2", "tar", "*"),
    "the source is looked at again": ("db1", "cmp", "*"),
    "the checksums of the source": ("db1", DIGEST_TOOL, "*"),
    "the list of the target": ("db2", "sort", "*' /var/tmp/'*' -z'"),
    "the checksums of the target": ("db2", DIGEST_TOOL, "*"),
    "what is digested goes to disk": ("db2", "sync", "'--file-system .'"),
    "the copy goes to disk": ("db2", *LAST_SYNC),
    "the copy gets its name": ("db2", *MOVE),
    "its name goes to disk": ("db2", "sync", "'-- /proc/'*"),
    "the target ends": ("db2", "rm", f"'{ENDING[:-1]}'*"),
    "the source ends": ("db1", "rm", f"'{ENDING[:-1]}'*"),
}
STEPS_OF_TARBALLS = {
    "preflight: what it is": ("db1", "head", "'-c 512 '*"),
    "the target is claimed": ("db2", "flock", "*"),
    "the target listens": ("db1", "socat", "*"),
    "the stream begins": ("db1", "cat", "*tarball*"),
    "the stream flows": ("db1", "", ""),
    "the stream is unpacked": ("db2", "tar", "*"),
    "the source is looked at again": ("db1", "cmp", "*"),
    "the copy goes to disk": ("db2", *FLUSH),
    "the copy is moved": ("db2", *MOVE),
    "its names go to disk": ("db2", "sync", "'-- /proc/'*"),
    "the target ends": ("db2", "rm", f"'{ENDING[:-1]}'*"),
}
KEYS = {"the key of the source", "the key of the target"}
STREAMS: list[tuple[str, ...]] = [(), ("--no-encrypt",), ("--no-compress",), ("--no-encrypt", "--no-compress")]


def cases(steps: Sequence[str]) -> list[tuple[str, signal.Signals, tuple[str, ...]]]:
    """Return each step with KILL and with another signal, on different kinds of stream."""
    found = []
    for number, step in enumerate(steps):
        for sent, stream in ((KILL, number), ((TERM, INT, HUP)[number % 3], number + 3)):
            options = STREAMS[stream % 4]
            found.append((step, sent, () if step in KEYS else options))
    return found


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a tree and a tarball of two megabytes each on db1, and target directories."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=2)
    clean_lab["db1"].run(
        "mkdir /srv/made /srv/data/sub; cd /srv; touch data/sub/another; tar --format=posix -czf made/tarball data"
    )
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in /srv/empty")
    return clean_lab


def end_at(lab: Lab, words: Sequence[str], moment: tuple[str, str, str], sent: signal.Signals) -> float:
    """Start a run, end it with a signal at a moment, and return the deadline of the clean-up (monotonic seconds)."""
    host, command, matching = moment
    with ExitStack() as stack:
        hold = stack.enter_context(Hold(lab[host], command, matching)) if command else None
        if hold is None:
            lab[host].shape(SLOW)
        run = stack.enter_context(Run(lab, *words))
        if hold is None:
            run.wait_for_stream(lab["db2"])
        else:
            hold.wait_for_call()
        deadline = end_by_signal(run, sent, hold if moment[1:] not in {LAST_SYNC, FLUSH} else None)
        # The wrapper must not disappear before: the shells have already resolved its path.
        wait_for_sessions(lab, deadline)
        return deadline


def copies(lab: Lab, words: Sequence[str]) -> int:
    """Return the number of copies with a final name; fail if a copy is incomplete."""
    target = words[-1].partition(":")[2]
    listing = "cd {} && find . -mindepth 1 -printf '%p %m %s %T@\\n' | sort && find . -type f | sort | xargs md5sum"
    copy = f"{target}/data" if "decompress" not in words else target
    if not lab["db2"].sh(f"ls -A {target}"):
        return 0
    assert lab["db2"].sh(listing.format(copy)) == lab["db1"].sh(listing.format("/srv/data"))
    return 1


def remove_copies(host: Host) -> None:
    host.run("find /srv/in /srv/empty -mindepth 1 -delete")


def assert_all_or_nothing(
    lab: Lab, words: Sequence[str], before: dict[str, list[str]], deadline: float, *, most: int
) -> None:
    """Assert that by the deadline (monotonic seconds) each host is unchanged, except for an allowed complete copy."""
    wait_for_sessions(lab, deadline)
    assert copies(lab, words) <= most
    remove_copies(lab["db2"])
    assert_as_before(lab, before, seconds=deadline - time.monotonic())


@pytest.mark.parametrize(("step", "sent", "options"), cases(list(STEPS)), ids=case_name)
def test_a_signal_at_any_step_leaves_nothing_but_a_whole_copy(
    ready: Lab, step: str, sent: signal.Signals, options: tuple[str, ...]
) -> None:
    before = ready.snapshot()
    deadline = end_at(ready, (*options, *TREE), STEPS[step], sent)
    steps = list(STEPS)
    may_stay = steps.index(step) >= steps.index("the copy gets its name")
    assert_all_or_nothing(ready, TREE, before, deadline, most=int(may_stay))


@pytest.mark.parametrize(("step", "sent", "options"), cases(list(STEPS_OF_TARBALLS)), ids=case_name)
def test_a_signal_at_any_step_of_a_tarball_leaves_nothing_but_a_whole_copy(
    ready: Lab, step: str, sent: signal.Signals, options: tuple[str, ...]
) -> None:
    before = ready.snapshot()
    deadline = end_at(ready, (*options, *TARBALL), STEPS_OF_TARBALLS[step], sent)
    steps = list(STEPS_OF_TARBALLS)
    may_stay = steps.index(step) >= steps.index("the copy is moved")
    assert_all_or_nothing(ready, TARBALL, before, deadline, most=int(may_stay))


def test_a_signal_at_a_moment_that_nobody_chose_leaves_nothing_but_a_whole_copy(ready: Lab) -> None:
    seed = int(os.environ.get("FAULT_SEED") or random.randrange(1 << 32))
    print(f"FAULT_SEED={seed} chooses these moments again")
    chosen = random.Random(seed)
    before = ready.snapshot()
    began = time.monotonic()
    with Run(ready, *TREE) as run:
        assert run.end().status == 0, run.log
    took = time.monotonic() - began
    remove_copies(ready["db2"])
    struck = 0
    for _ in range(20):
        words = (*chosen.choice(STREAMS), *chosen.choice((TREE, TARBALL)))
        sent, moment = chosen.choice((TERM, INT, HUP, KILL)), chosen.uniform(0.1, 1) * took
        with Run(ready, *words) as run:
            try:
                run.process.wait(moment)
            except subprocess.TimeoutExpired:
                struck += 1
            run.process.send_signal(sent)
            deadline = time.monotonic() + PROMISED_SECONDS
            status = run.end().status
        assert status in {0, -sent, 128 + sent}, (seed, moment, run.log)
        assert_all_or_nothing(ready, words, before, deadline, most=1)
    assert struck >= 8
