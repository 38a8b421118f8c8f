"""However a run ends, every host is as it was before: by signals, by kills of any part of it, without its network."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from helpers import eventually, transfer
from lab import difference
from watching import SLOW, Hold, Run, assert_as_before, fill

if TYPE_CHECKING:
    from lab import Host, Lab

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL
DATA, INTO = "db1:/srv/data", "db2:/srv/in"


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with ten megabytes in /srv/data of db1, and a directory /srv/in on db2 and db3."""
    fill(clean_lab["db1"], "/srv/data/file")
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    return clean_lab


# The moments of a run: on which host which command is then about to run, or, with a slow link, "streaming".
MOMENTS = {
    "preflight": ("db1", "getent"),
    "keys": ("db2", "openssl"),
    "streaming": ("db1", ""),
    "checking": ("db2", "md5sum"),
    "publishing": ("db2", "sync"),
}


@pytest.mark.parametrize(
    ("sent", "moment"),
    [*((sent, moment) for sent in (TERM, KILL) for moment in MOMENTS), (INT, "streaming"), (HUP, "streaming")],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_a_run_that_gets_a_signal_leaves_nothing_behind(ready: Lab, sent: signal.Signals, moment: str) -> None:
    host, command = MOMENTS[moment]
    before = ready.snapshot()
    with ExitStack() as stack:
        if command:
            hold = stack.enter_context(Hold(ready[host], command))
        else:
            ready[host].shape(SLOW)
        run = stack.enter_context(Run(ready, DATA, INTO))
        if command:
            hold.wait_for_call()
        else:
            run.wait_for_stream(ready["db2"])
        run.process.send_signal(sent)
        if sent == KILL:
            assert run.end().status == -KILL
        else:
            result = run.end()
            assert result.status == 128 + sent, result.stderr
            assert f"WARNING {sent.name}: stopping the run and cleaning up\n" in result.stderr
            assert result.stderr.endswith(f"ERROR ended by {sent.name}\n")
            assert "complete" not in result.stderr
            # By itself: what holds the command is still there.
            assert_as_before(ready, before)
    assert_as_before(ready, before)


def test_a_run_that_is_killed_at_any_moment_leaves_nothing_but_a_whole_copy(ready: Lab) -> None:
    db1, db2 = ready["db1"], ready["db2"]
    names = [f"data{number}" for number in range(4)]
    for name in names:
        db1.run(["cp", "-r", "/srv/data", f"/srv/{name}"])
    before = ready.snapshot()

    def start(stack: ExitStack) -> list[Run]:
        return [stack.enter_context(Run(ready, f"db1:/srv/{name}", INTO)) for name in names]

    began = time.monotonic()
    with ExitStack() as stack:
        assert [run.end().status for run in start(stack)] == [0] * 4
    measured = time.monotonic() - began
    assert [copies(db1, db2, name) for name in names] == [1] * 4
    struck = []
    for wave in range(3):
        db2.run("rm -rf /srv/in/data?")
        began = time.monotonic()
        with ExitStack() as stack:
            for number, run in enumerate(start(stack)):
                struck.append(still_runs(run, began + measured * (3 * number + wave + 0.5) / 12))
                run.process.send_signal(KILL if number % 2 else TERM)
        assert eventually(lambda: not any(host.sh("ls -d /run/transferpy; true") for host in ready))
        assert {copies(db1, db2, name) for name in names} <= {0, 1}
        db2.run("rm -rf /srv/in/data?")
        assert_as_before(ready, before)
    assert sum(struck) >= 8


def still_runs(run: Run, moment: float) -> bool:
    """Whether a run still goes on at a moment (monotonic seconds)."""
    try:
        run.process.wait(max(0.0, moment - time.monotonic()))
    except subprocess.TimeoutExpired:
        return True
    return False


def copies(source: Host, target: Host, name: str) -> int:
    """How many copies of /srv/NAME are in /srv/in of the target; one that is not whole fails the test."""
    if target.sh("ls /srv/in").split().count(name) == 0:
        return 0
    listing = "cd {} && find . -printf '%p %m %s %T@\\n' | sort && md5sum file"
    assert target.sh(listing.format(f"/srv/in/{name}")) == source.sh(listing.format(f"/srv/{name}"))
    return 1


def session_on(host: Host) -> int:
    """The process of the one session on a host."""
    return int(host.sh("cd /run/transferpy && ls -d run.*").split(".")[3])


@pytest.mark.parametrize("killed", ["db1", "db2"])
def test_a_session_that_is_killed_ends_the_run_which_cleans_up_behind_it(ready: Lab, killed: str) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        ready[killed].run(["kill", "-KILL", str(session_on(ready[killed]))])
        result = run.end()
    assert result.status == 3
    assert (
        f"ERROR {INTO}: failed: {killed}: the session ended early, with status 255:"
        " it was killed, or the connection was lost\n" in result.stderr
    )
    role = "source" if killed == "db1" else "target"
    assert re.search(
        rf"INFO  {killed}: undid what the run {role}\.\w+, which was killed, had left there\n", result.stderr
    )
    assert_as_before(ready, before)


def test_the_next_run_cleans_up_behind_one_that_was_killed_with_its_session(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    before = ready.snapshot()
    source.shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(target)
        run.process.send_signal(signal.SIGSTOP)  # or it would clean up itself
        target.run(["kill", "-KILL", str(session_on(target))])
        run.process.send_signal(KILL)
        assert run.end().status == -KILL
    source.shape(None)
    left = difference(before, ready.snapshot())
    for trace in ("/srv/in/.transferpy-", "/run/transferpy/run.target.", 'comment "transferpy-'):
        assert trace in left
    result = transfer(ready, DATA, INTO, check=True)
    assert re.search(r"INFO  db2: undid what the run target\.\w+, which was killed, had left there\n", result.stderr)
    assert copies(source, target, "data") == 1
    target.run("rm -r /srv/in/data")
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize("stage", ["tar", "pigz", "tee", "md5sum", "socat", "nc"])
def test_a_stage_that_is_killed_is_named_and_nothing_of_the_copy_stays(ready: Lab, stage: str, host: str) -> None:
    options = ["--no-encrypt"] if stage == "nc" else ["--parallel-checksum"]
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *options, DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        ready[host].run(["kill", "-KILL", ready[host].sh(f"pgrep -x {stage}")])
        run.assert_streaming()
        ready["db1"].shape(None)
        result = run.end()
    name = "md5sum" if stage == "tee" else stage
    assert result.status == 6, result.stderr
    assert re.search(rf"ERROR {INTO}: failed: .*{host}: {name} was ended by signal 9", result.stderr), result.stderr
    assert_as_before(ready, before)
