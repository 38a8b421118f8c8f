"""The speed of a copy: the choice of codec and digest, the limit of the rate, low priority."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from helpers import collect, start_transfer, transfer
from trees import census_on
from watching import SLOW, Run, assert_as_before, fill, replaced

if TYPE_CHECKING:
    from lab import Host, Lab

DATA, INTO = "db1:/srv/data", "db2:/srv/in"
STRUCK = "/var/lib/struck"
"""A file that a fault writes when it occurs; snapshots do not include it."""


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a directory /srv/data on db1 and a directory /srv/in on db2 and db3."""
    clean_lab["db1"].run("mkdir /srv/data")
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    return clean_lab


# --- compression


@pytest.mark.parametrize(
    ("options", "programs"),
    [
        (("--compressor", "zstd"), ("zstd", "zstd")),
        (("--compressor", "lz4"), ("lz4", "lz4")),
        (("--compressor", "pigz"), ("pigz", "pigz")),
    ],
    ids=["zstd", "lz4", "pigz"],
)
def test_the_requested_compressor_runs(ready: Lab, options: tuple[str, ...], programs: tuple[str, str]) -> None:
    fill(ready["db1"], "/srv/data/file")
    ready["db1"].shape(SLOW)
    with Run(ready, *options, DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        for host, program in zip(("db1", "db2"), programs, strict=True):
            assert ready[host].sh(f"pgrep -cx {program}") == "1"
        run.assert_streaming()
        ready["db1"].shape(None)
        assert run.end().status == 0, run.log
        assert "compression: " not in run.log
    assert census_on(ready["db2"], "/srv/in/data") == census_on(ready["db1"], "/srv/data")


def test_the_automatic_choice_fits_the_data_and_the_link_and_is_logged(ready: Lab) -> None:
    db1 = ready["db1"]
    chosen = rf"INFO  {INTO}: compression: (.*)\n"
    small = transfer(ready, DATA, INTO, check=True)
    assert "compression: " not in small.stderr
    fill(db1, "/srv/data/random", megabytes=2)
    random = transfer(ready, DATA, "db3:/srv/in", check=True)
    assert re.findall(r"compression: (none; a sample shrinks to \d+% at best)\n", random.stderr)
    # On a slow link, and on a link of unknown speed, the codec with the best compression wins.
    db1.run("rm -r /srv/data; mkdir /srv/data; seq 10000000 | head -c 70M >/srv/data/text")
    for host in ("db2", "db3"):
        ready[host].run("rm -rf /srv/in/data")
    db1.shape("40mbit")
    slow = transfer(ready, DATA, INTO, check=True)
    db1.shape(None)
    (reported,) = re.findall(chosen, slow.stderr)
    found = re.fullmatch(
        r"zstd -\d; a sample shrinks to (\d+)%, at \d+ MB/s on one core; the link carries (\d+) MB/s", reported
    )
    assert found, reported
    assert int(found[1]) < 50
    assert int(found[2]) < 40
    assert census_on(ready["db2"], "/srv/in/data") == census_on(db1, "/srv/data")


# --- digests


@pytest.mark.parametrize("algorithm", ["md5", "sha256", "xxh128", "b3"])
@pytest.mark.parametrize("of", ["every file", "the stream"])
def test_each_algorithm_is_the_one_at_work_on_both_hosts(ready: Lab, algorithm: str, of: str) -> None:
    ready["db1"].run("echo text >/srv/data/file")
    options = ["--checksum-algorithm", algorithm, *(["--parallel-checksum"] if of == "the stream" else [])]
    tool = f'touch {STRUCK}; exec $real "$@"'
    with replaced(ready["db1"], f"{algorithm}sum", tool), replaced(ready["db2"], f"{algorithm}sum", tool):
        result = transfer(ready, *options, DATA, INTO, check=True)
    for host in ("db1", "db2"):
        ready[host].run(["rm", STRUCK])
    assert f"(TLS 1.3, {algorithm} of {of})" in result.stderr
    assert census_on(ready["db2"], "/srv/in/data") == census_on(ready["db1"], "/srv/data")


def plant_large(host: Host) -> None:
    """Create a file of 600 MiB (ten segments) in /srv/data, with data in the second and last segment."""
    host.run(
        "cd /srv/data; truncate -s 600M large; echo begin | dd of=large bs=1M seek=100 conv=notrunc status=none;"
        " echo end | dd of=large bs=1M seek=599 conv=notrunc status=none; truncate -s 300M $'all\\nhole';"
        " echo text >$'new\\nline'; ln $'new\\nline' $'further \\\\ name'; ln large too; ln -s x link; ln link again"
    )


def test_large_files_with_holes_and_further_names_and_names_with_newlines_are_digested(ready: Lab) -> None:
    plant_large(ready["db1"])
    before = ready.snapshot()
    result = transfer(ready, DATA, INTO, check=True)
    assert "db2: checksums of 8 entries agree with the source" in result.stderr
    assert census_on(ready["db2"], "/srv/in/data") == census_on(ready["db1"], "/srv/data")
    ready["db2"].run("rm -r /srv/in/data")
    assert_as_before(ready, before)


DAMAGES = {
    # The damaged megabyte and its file, and the name in the message: the first name of the file.
    "data in the last segment": ("large", 599, r"data/large"),
    "a hole in a segment between": ("large", 300, r"data/large"),
    "a file that is all hole": (r"all\nhole", 299, r"data/all.*hole"),
    "a file with two names": (r"new\nline", 0, r"data/further \\+ name"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_byte_that_changes_on_the_targets_disk_is_found_wherever_it_is(ready: Lab, damage: str) -> None:
    plant_large(ready["db1"])
    before = ready.snapshot()
    name, megabyte, named = DAMAGES[damage]
    # At this time, all files are unpacked, and no file is digested.
    script = f"""
        if [[ $4 == */members ]]; then
            until [ -e "$4.end" ]; do sleep 0.05; done
            touch -r $'data/{name}' /srv/time
            printf X | dd of=$'data/{name}' bs=1M seek={megabyte} conv=notrunc,nocreat status=none &&
                touch -r /srv/time $'data/{name}' && rm /srv/time && touch {STRUCK}
        fi
        exec $real "$@"
    """
    with replaced(ready["db2"], "perl", script):
        result = transfer(ready, DATA, INTO)
    ready["db2"].run(["rm", STRUCK])
    assert result.status == 7, result.stderr
    reported = rf"ERROR {INTO}: failed: db2:/srv/in: the content differs: {named}\n"
    assert re.search(reported, result.stderr), result.stderr
    assert ready["db2"].sh("ls -A /srv/in") == ""
    assert_as_before(ready, before)


# --- start-up


def logins(orch: Host) -> list[str]:
    """Return the hosts to which runs have logged in since the last call."""
    hosts = sorted(orch.sh(f"cat {STRUCK}").split())
    orch.run(["rm", STRUCK])
    return hosts


@pytest.mark.parametrize(
    ("words", "status", "hosts"),
    [
        ((DATA, INTO), 0, ["db1", "db2"]),
        ((DATA, INTO, "db3:/srv/in"), 0, ["db1", "db2", "db3"]),
        (("--dry-run", DATA, INTO), 0, ["db1", "db2"]),
        ((DATA, "db2:/srv/missing"), 4, ["db1", "db2"]),
        # Two sessions on one host need two logins.
        ((DATA, "db1:/srv/other"), 0, ["db1", "db1"]),
    ],
    ids=["one target", "two targets", "dry run", "refused", "one host"],
)
def test_a_run_logs_in_to_each_host_but_once(ready: Lab, words: tuple[str, ...], status: int, hosts: list[str]) -> None:
    fill(ready["db1"], "/srv/data/file")
    ready["db1"].run("mkdir /srv/other")
    before = ready.snapshot()
    with replaced(ready["orch"], "ssh", f'echo "${{@: -2:1}}" >>{STRUCK}; exec $real "$@"'):
        result = collect(start_transfer(ready, *words))
    assert result.status == status, result.stderr
    assert logins(ready["orch"]) == hosts
    for host in ("db1", "db2", "db3"):
        ready[host].run("rm -rf /srv/in/data /srv/other/data")
    assert_as_before(ready, before)


def test_a_shell_that_ended_before_its_turn_came_is_done_without(ready: Lab) -> None:
    fill(ready["db1"], "/srv/data/file")
    ready["db1"].shape(SLOW)
    with (
        replaced(ready["orch"], "ssh", f'echo "${{@: -2:1}}" >>{STRUCK}; exec $real "$@"'),
        Run(ready, DATA, INTO, "db3:/srv/in") as run,
    ):
        run.wait_for_stream(ready["db2"])
        ready["db3"].run(["kill", "-KILL", *waiting_shells(ready["db3"])])
        run.assert_streaming()
        ready["db1"].shape(None)
        assert run.end().status == 0, run.log
    assert logins(ready["orch"]) == ["db1", "db2", "db3", "db3"]
    assert census_on(ready["db3"], "/srv/in/data") == census_on(ready["db1"], "/srv/data")


def test_a_shell_that_waits_for_a_run_that_was_killed_ends(ready: Lab) -> None:
    fill(ready["db1"], "/srv/data/file")
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, DATA, INTO, "db3:/srv/in") as run:
        run.wait_for_stream(ready["db2"])
        assert waiting_shells(ready["db3"])
        run.assert_streaming()
    ready["db1"].shape(None)
    assert_as_before(ready, before)


def waiting_shells(host: Host) -> list[str]:
    """Return the processes of a waiting preflight shell on a host."""
    return host.sh("pgrep -f ' transferpy [0-9a-f]+$'").split()


# --- limits


@pytest.mark.parametrize("options", [(), ("--no-encrypt", "--no-compress")], ids=["default", "bare"])
def test_no_more_bytes_leave_the_source_in_a_second_than_were_allowed(ready: Lab, options: tuple[str, ...]) -> None:
    fill(ready["db1"], "/srv/data/file", megabytes=4)
    began = time.monotonic()
    result = transfer(ready, "--bwlimit", "1M", *options, DATA, INTO, check=True)
    assert time.monotonic() - began >= 3
    assert "at most 1,048,576 bytes per second" in result.stderr
    (seconds,) = re.findall(r"db2: received \S+ \S+ in (\S+) s", result.stderr)
    assert float(seconds) >= 3
    assert census_on(ready["db2"], "/srv/in/data") == census_on(ready["db1"], "/srv/data")


NICENESS = "cat /proc/[0-9]*/stat | sed 's/^[0-9]* (\\(.*\\)) \\(.*\\)/\\2 \\1/' | awk '{ print $17, $NF }'"
"""A command that prints niceness and name of each process; niceness is the 17th field after the name."""


@pytest.mark.parametrize(("priority", "nice"), [("low", "19"), ("normal", "0")])
def test_at_low_priority_everything_on_the_hosts_is_nice(ready: Lab, priority: str, nice: str) -> None:
    fill(ready["db1"], "/srv/data/file", megabytes=40)
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, "--priority", priority, "--compressor", "zstd", DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        for host in ("db1", "db2"):
            found = [line.split() for line in ready[host].sh(NICENESS).splitlines()]
            stages = [(niceness, name) for niceness, name in found if name in {"tar", "zstd", "socat", "perl"}]
            assert {name for _, name in stages} == {"tar", "zstd", "socat", "perl"}
            assert {niceness for niceness, _ in stages} == {nice}
        run.assert_streaming()
        ready["db1"].shape(None)
        assert run.end().status == 0, run.log
    ready["db2"].run("rm -r /srv/in/data")
    assert_as_before(ready, before)
