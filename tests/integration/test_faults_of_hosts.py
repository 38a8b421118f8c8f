"""Faults of hosts and networks: leftovers of earlier runs, a wrong clock, full disks, lost packets."""

from __future__ import annotations

import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import SYSTEM_PYTHON, eventually, switch_drops, transfer
from lab import CHECKOUT, difference
from watching import SLOW, Hold, Run, arrived, assert_as_before, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab import Host, Lab

TREE = ("db1:/srv/data", "db2:/srv/in")
TARBALL = ("--type", "decompress", "db1:/srv/made/tarball", "db2:/srv/empty")
BOTH = pytest.mark.parametrize("words", [TREE, TARBALL], ids=["file", "decompress"])
MEGABYTES = 4


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a tree and a tarball of this tree on db1, and target directories."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=MEGABYTES)
    clean_lab["db1"].run("mkdir /srv/made /srv/data/many; cd /srv; touch data/many/{1..300}; tar -cf made/tarball data")
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in /srv/empty")
    return clean_lab


def into(words: Sequence[str]) -> str:
    """The name of the target in messages."""
    return words[-1]


def remove_copies(lab: Lab) -> None:
    lab["db2"].run("find /srv/in /srv/empty -mindepth 1 -delete")


def session_on(host: Host) -> str:
    """Return the process of the only session on a host."""
    return host.sh("cd /run/transferpy && ls -d run.*").split(".")[2]


# --- sessions that are killed


@pytest.mark.parametrize("killed", ["db1", "db2"])
def test_a_session_of_a_tarball_that_is_killed_is_cleaned_up_behind(ready: Lab, killed: str) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *TARBALL) as run:
        run.wait_for_stream(ready["db2"])
        ready[killed].run(["kill", "-KILL", session_on(ready[killed])])
        result = run.end()
    assert result.status == 3, result.stderr
    assert f"ERROR {into(TARBALL)}: failed: {killed}: the session ended early, with status 255" in result.stderr
    assert re.search(rf"INFO  {killed}: undid the changes of the stale run \w+", result.stderr), result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_kill_of_the_reader_of_commands_ends_the_run_with_that_cause(ready: Lab, host: str) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *TREE) as run:
        run.wait_for_stream(ready["db2"])
        ready[host].run(["kill", "-KILL", ready[host].sh("pgrep -x cat")])
        result = run.end()
    assert result.status == 3, result.stderr
    reported = f"ERROR {into(TREE)}: failed: {host}: the process that reads the session commands was killed\n"
    assert reported in result.stderr
    assert_as_before(ready, before)


@BOTH
def test_the_next_run_cleans_up_after_a_killed_run_and_its_two_killed_sessions(
    ready: Lab, words: Sequence[str]
) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *words) as run:
        run.wait_for_stream(ready["db2"])
        run.process.send_signal(signal.SIGSTOP)  # otherwise it would clean up itself
        for name in ("db1", "db2"):
            ready[name].run(["kill", "-KILL", session_on(ready[name])])
        run.process.kill()
        run.process.wait()
    ready["db1"].shape(None)
    left = difference(before, ready.snapshot())
    assert "/.transferpy-" in left
    assert "/run/transferpy/run." in left
    result = transfer(ready, *words, check=True)
    for host in ("db1", "db2"):
        assert re.search(rf"INFO  {host}: undid the changes of the stale run \w+", result.stderr), result.stderr
    remove_copies(ready)
    assert_as_before(ready, before)


# --- other remains and obstacles


def test_lock_files_that_nobody_holds_keep_no_port_from_being_used(ready: Lab) -> None:
    ready["db2"].run("mkdir -m 700 /run/transferpy; touch /run/transferpy/port.{4400..4499}")
    transfer(ready, *TREE, check=True)
    assert ready["db2"].sh("ls /run/transferpy | wc -l") == "99"
    ready["db2"].run("rm -r /run/transferpy")


@pytest.mark.parametrize("content", ["nothing", "an entry", "half an entry"])
def test_the_directory_of_a_dead_run_whose_process_id_is_used_again_is_cleaned_up(ready: Lab, content: str) -> None:
    before = ready.snapshot()
    run = "target.00112233aabbccdd"
    stale = f"/run/transferpy/run.{run}.1.1"  # process 1 exists, but has another start time
    ready["db2"].run(f"mkdir -m 700 /run/transferpy {stale} /srv/in/.transferpy-00112233aabbccdd-0")
    name = {"nothing": "", "an entry": "undo.10001.staging", "half an entry": "entry"}[content]
    words = "remove_directory /srv/in/.transferpy-00112233aabbccdd-0"
    if name:
        text = words if content == "an entry" else words[:25]
        ready["db2"].run(f"cat >{stale}/{name}", input=text.encode())
    result = transfer(ready, *TREE, check=True)
    assert f"INFO  db2: undid the changes of the stale run {run}\n" in result.stderr
    # A session writes an undo entry before the change. Without a complete entry, the stale run made no change.
    staged = [] if content == "an entry" else [".transferpy-00112233aabbccdd-0"]
    assert ready["db2"].sh("ls -A /srv/in").split() == [*staged, "data"]
    remove_copies(ready)
    assert_as_before(ready, before)


@contextmanager
def wrong_clock(host: Host, offset: str) -> Iterator[None]:
    """Set another time for the programs that scripts on the host start from now on; the file /run/clock has the offset.

    bash itself keeps the time of the machine.
    """
    library = host.sh("dpkg -L libfaketime | grep '/libfaketime[.]so[.]1$'")
    words = f"LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE=/run/clock FAKETIME_NO_CACHE=1"
    words += " DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1"
    host.run("cat >/run/clock", input=offset.encode())
    script = f'#!/bin/sh\nexec env {words} /bin/bash "$@"\n'
    host.run("cat >/usr/local/bin/bash && chmod 755 /usr/local/bin/bash", input=script.encode())
    try:
        yield
    finally:
        host.run("rm /usr/local/bin/bash /run/clock; rm -f /dev/shm/faketime_* /dev/shm/sem.faketime_*")


@BOTH
@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize("offset", ["-10m", "+10m"])
def test_a_clock_that_is_ten_minutes_off_does_not_matter(
    ready: Lab, words: Sequence[str], host: str, offset: str
) -> None:
    with wrong_clock(ready[host], offset):
        now, wrong = (int(ready["orch"].sh(f"ssh {name} 'bash -c \"date +%s\"'")) for name in ("db3", host))
        assert abs(wrong - now - int(offset[:-1]) * 60) < 60
        transfer(ready, *words, check=True)


@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize("offset", ["-1h", "+1h"])
def test_a_clock_that_is_set_during_the_copy_does_not_matter(ready: Lab, host: str, offset: str) -> None:
    before = ready.snapshot()
    with wrong_clock(ready[host], "+0"), Hold(ready[host], "tar") as copying, Run(ready, *TREE) as run:
        copying.wait_for_call()
        ready[host].run("cat >/run/clock", input=offset.encode())
        wrong, now = (int(ready["orch"].sh(f"ssh {name} 'bash -c \"date +%s\"'")) for name in (host, "db3"))
        copying.let_go()
        result = run.end()
    assert abs(wrong - now - int(offset[:-1]) * 3600) < 60
    assert result.status == 0, result.stderr
    remove_copies(ready)
    assert_as_before(ready, before)


# --- disks and files

IMPATIENT = (
    "from transferpy import transfer; from transferpy.agent import preflight_connection;"
    " preflight_connection._ANSWER_TIME = 12.0; raise SystemExit(transfer.main())"
)


@pytest.mark.parametrize(("host", "tool", "path"), [("db1", "find", "/srv/data"), ("db2", "stat", "/srv/in")])
def test_a_path_that_hangs_is_named_and_ends_the_run(ready: Lab, host: str, tool: str, path: str) -> None:
    before = ready.snapshot()
    # The tool uses no CPU time, as if its file system hangs. The test shortens 120 seconds to 12.
    hanging = f'#!/bin/sh\ncase "$*" in *{path}*) exec sleep 300 ;; *) exec /usr/bin/{tool} "$@" ;; esac\n'
    ready[host].run(f"cat >/usr/local/bin/{tool} && chmod 755 /usr/local/bin/{tool}", input=hanging.encode())
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = ready["orch"].run([SYSTEM_PYTHON, "-c", IMPATIENT, *TREE], env=environment, check=False)
    finally:
        ready[host].run(f"rm /usr/local/bin/{tool}")
    assert ended.returncode == 3, ended.stderr
    reported = f"ERROR {host}: no answer for 12 seconds while it looked at {path}: does a file system hang?\n"
    assert ended.stderr.decode().endswith(reported)
    assert_as_before(ready, before)


@pytest.mark.parametrize("runs_out", ["bytes", "inodes"])
def test_a_disk_that_fills_while_a_tarball_is_unpacked_is_named(ready: Lab, runs_out: str) -> None:
    db2 = ready["db2"]
    db2.small_disk("/srv/empty", "32m")
    db2.run("mount -o remount,nr_inodes=1000 /srv/empty")
    with Hold(db2, "tar") as unpacking, Run(ready, *TARBALL) as run:
        unpacking.wait_for_call()
        # The session does not read this directory, but it is on the same file system.
        filling = "cat /dev/zero >$s/other" if runs_out == "bytes" else "touch $s/{1..1000}"
        full = db2.run(f"s=$(ls -d /srv/empty/.transferpy-*); {filling}", check=False)
        assert b"No space left on device" in full.stderr
        unpacking.let_go()
        result = run.end()
    assert result.status == 6, result.stderr
    fault = "is full" if runs_out == "bytes" else "has no free inodes"
    reported = f"ERROR {into(TARBALL)}: failed: db2: the file system of /srv/empty {fault}; db2: tar failed"
    assert reported in result.stderr, result.stderr
    assert db2.sh("ls -A /srv/empty") == ""


@contextmanager
def failing_disk(host: Host, directory: str) -> Iterator[None]:
    """Move the content of a directory to a disk, all reads of which fail from then on."""
    image = "/srv/image"
    host.run(f"truncate -s 16M {image} && mkfs.ext4 -q -d {directory} {image} && mount -o loop {image} {directory}")
    try:
        yield
    finally:
        host.run(f"umount {directory}; rm {image}")


def test_a_file_that_cannot_be_read_any_more_is_named(ready: Lab) -> None:
    db1 = ready["db1"]
    with failing_disk(db1, "/srv/data"):
        before = ready["db2"].snapshot()
        # The run takes no sample, because a sample would load the file into memory.
        options = ("--no-checksum", "--compressor", "zstd")
        with Hold(db1, "tar") as reading, Run(ready, *options, *TREE) as run:
            reading.wait_for_call()
            db1.run("truncate -s 3M /srv/image")
            assert b"Input/output error" in db1.run("cat /srv/data/file", check=False).stderr
            reading.let_go()
            result = run.end()
    assert result.status == 6, result.stderr
    reported = rf"ERROR {into(TREE)}: failed: db1: tar failed .*\./data/\S+: (Read error|File shrank|Cannot)"
    assert re.search(reported, result.stderr), result.stderr
    assert_as_before(ready["db2"], before)


@pytest.mark.parametrize("change", ["rm tarball", "truncate -s 1M tarball", "echo more >>tarball"])
def test_a_tarball_that_changes_while_it_is_sent_is_refused(ready: Lab, change: str) -> None:
    before = ready["db2"].snapshot()
    with Hold(ready["db2"], "tar") as unpacking, Run(ready, "--no-compress", *TARBALL) as run:
        unpacking.wait_for_call()
        ready["db1"].run(f"cd /srv/made; {change}")
        run.assert_streaming()
        unpacking.let_go()
        result = run.end()
    assert result.status in {6, 7}, result.stderr
    assert re.search(f"ERROR {into(TARBALL)}: failed: db1:.*tarball", result.stderr), result.stderr
    assert_as_before(ready["db2"], before)


# --- the network


@BOTH
@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["encrypted", "open"])
def test_a_firewall_on_the_path_is_named_as_a_possible_cause(
    ready: Lab, words: Sequence[str], options: tuple[str, ...]
) -> None:
    before = ready.snapshot()
    with switch_drops(ready, "tcp dport 4400-4499"):
        result = transfer(ready, "--connect-timeout", "2", *options, *words)
    no_connection = (
        r"db1 to db2: no connection to \S+ port 44\d\d within 2 seconds \(--connect-timeout\); packets left db1, but"
        r" none arrived at db2; a firewall between the two drops them"
    )
    assert result.status == 6, result.stderr
    assert re.search(f"ERROR {into(words)}: failed: {no_connection}", result.stderr), result.stderr
    assert_as_before(ready, before)


@BOTH
def test_a_network_that_is_cut_before_the_connection_is_named(ready: Lab, words: Sequence[str]) -> None:
    before = ready.snapshot()
    with Hold(ready["db1"], "socat") as connecting, Run(ready, "--connect-timeout", "2", *words) as run:
        connecting.wait_for_call()
        ready["db1"].cut(ready["db2"])
        connecting.let_go()
        result = run.end()
    assert result.status == 6, result.stderr
    assert "db1 to db2: no connection to " in result.stderr
    assert_as_before(ready, before)


@BOTH
@pytest.mark.parametrize("options", [(), ("--no-encrypt", "--no-compress")], ids=["encrypted", "open"])
@pytest.mark.parametrize("share", [0.1, 0.8], ids=["midway", "in the last second"])
def test_a_network_that_is_cut_while_data_flows_is_named(
    ready: Lab, words: Sequence[str], options: tuple[str, ...], share: float
) -> None:
    db1, db2 = ready["db1"], ready["db2"]
    before = ready.snapshot()
    db1.shape("16mbit")
    with Run(ready, "--idle-timeout", "2", *options, *words) as run:
        assert eventually(lambda: arrived(db2) > share * MEGABYTES * 2**20)
        db1.cut(db2)
        run.assert_streaming()
        result = run.end()
    assert result.status == 6, result.stderr
    assert re.search(
        f"ERROR {into(words)}: failed: db1 to db2: the stream made no progress for 2 seconds", result.stderr
    ), result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize(("words", "reader"), [(TREE, "tar"), (TARBALL, "cat")], ids=["file", "decompress"])
def test_a_network_that_is_cut_before_the_end_of_the_stream_gets_through_is_named(
    ready: Lab, words: Sequence[str], reader: str
) -> None:
    """The source has sent all data and ends without an error; the data on the network is lost."""
    db1, db2 = ready["db1"], ready["db2"]
    db1.run("rm /srv/data/file; cd /srv; tar -cf made/tarball data")
    before = ready.snapshot()
    matching = "*" if reader == "tar" else "*tarball*"
    with Hold(db1, reader, matching) as reading, Run(ready, "--no-encrypt", "--idle-timeout", "2", *words) as run:
        reading.wait_for_call()
        assert eventually(lambda: f":{run.port}" in db2.sh("ss -Htn state established"))
        db1.cut(db2)
        reading.let_go()
        assert eventually(lambda: not db1.sh("pgrep -x socat; true"))
        result = run.end()
    assert result.status == 6, result.stderr
    assert re.search(
        f"ERROR {into(words)}: failed: db1 to db2: the stream made no progress for 2 seconds", result.stderr
    ), result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_an_ssh_connection_that_is_killed_ends_the_run_of_a_tarball(ready: Lab, host: str) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *TARBALL) as run:
        run.wait_for_stream(ready["db2"])
        ready["orch"].run(["kill", "-KILL", *ready["orch"].sh(f"pgrep -f '^ssh .* {host} exec '").split()])
        result = run.end()
    assert result.status == 3, result.stderr
    assert "it was killed, or the connection was lost\n" in result.stderr
    assert_as_before(ready, before)
