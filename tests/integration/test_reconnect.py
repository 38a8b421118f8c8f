"""Connections that break while the hosts and the programs of a stream live: the stream continues at the same byte."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import eventually
from watching import Run, arrived, assert_as_before, end_by_signal, fill, wait_for_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers import Result
    from lab import Host, Lab

SOURCE = "db1:/srv/data"
WORDS = (SOURCE, "db2:/srv/in")
SHORT = ("--stall-timeout", "3")
BROKE, CONTINUES = "the connection broke", "the stream continues at byte"
STREAM = "( sport >= :4400 and sport <= :4499 ) or ( dport >= :4400 and dport <= :4499 )"
RATE = "60mbit"
"""The 24 megabytes of the file take three seconds."""


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a file on db1 that does not fit into the buffers, and target directories."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=24)
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    return clean_lab


def reset(host: Host) -> None:
    """Reset the connection of the stream on a host."""
    assert host.sh(f"ss -HtnK state established '{STREAM}'")


def wait_for_more(host: Host) -> None:
    """Wait until more data has arrived on a host."""
    before = arrived(host)
    assert eventually(lambda: arrived(host) > before)


def digests(host: Host, directory: str) -> str:
    return host.sh(f"cd {directory} && find . -type f -print0 | sort -z | xargs -0 md5sum")


def assert_continued(lab: Lab, result: Result, copy: str = "/srv/in/data", *, times: int = 1) -> None:
    """Assert that the copy is complete, and that the connection broke at least so many times."""
    assert result.status == 0, result.stderr
    assert result.stderr.count(CONTINUES) >= times, result.stderr
    assert digests(lab["db2"], copy) == digests(lab["db1"], "/srv/data")


@contextmanager
def slow(lab: Lab, *words: str) -> Iterator[Run]:
    """A run whose stream has begun, and takes some seconds."""
    lab["db1"].shape(RATE)
    with Run(lab, *words) as run:
        run.wait_for_stream(lab["db2"])
        yield run


def choose(lab: Lab, program: str) -> tuple[str, ...]:
    """Leave each end one program for its transport; return the arguments of the run."""
    if program == "ipv6":
        return SOURCE, f"[{lab['db2'].ipv6}]:/srv/in"
    words = (SOURCE, f"{lab['db2'].ipv4}:/srv/in")
    if program == "tls":
        return words
    for name in ("db1", "db2"):
        lab[name].netcat(None if program == "socat" else program)
        if program != "socat":
            lab[name].hide("socat")
    return ("--no-encrypt", *words)


@pytest.mark.parametrize("program", ["tls", "ipv6", "socat", "openbsd", "traditional", "ncat"])
def test_connections_that_are_reset_do_not_fail_the_run(ready: Lab, program: str) -> None:
    before = ready.snapshot()
    with slow(ready, "--report", "/root/report", *choose(ready, program)) as run:
        for number, end in enumerate(("db2", "db1", "db2"), start=1):
            reset(ready[end])
            run.wait_for(CONTINUES, times=number)
            wait_for_more(ready["db2"])
        result = run.end()
    assert_continued(ready, result, times=3)
    (target,) = json.loads(ready["orch"].sh("cat /root/report"))["transfers"][0]["targets"]
    assert target["reconnects"] == 3
    assert 0 < target["interrupted_seconds"] < target["stream_seconds"]
    assert target["wire_bytes"] >= 24 << 20
    ready["db1"].shape(None)
    ready["orch"].run("rm /root/report")
    ready["db2"].run("rm -r /srv/in/data")
    for name in ("db1", "db2"):
        ready[name].unhide()
    assert_as_before(ready, before)


@pytest.mark.parametrize("end", ["db1", "db2"])
@pytest.mark.parametrize("sent", ["KILL", "TERM"])
def test_a_transport_that_is_killed_is_started_again(ready: Lab, end: str, sent: str) -> None:
    with slow(ready, *WORDS) as run:
        ready[end].run(["pkill", f"-{sent}", "-x", "socat"])
        assert_continued(ready, run.end())


@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["tls", "plain"])
def test_a_link_that_is_down_for_longer_than_the_stall_timeout(ready: Lab, options: tuple[str, ...]) -> None:
    with slow(ready, *SHORT, *options, *WORDS) as run:
        ready["db1"].cut(ready["db2"])
        run.wait_for(BROKE)
        run.wait_for("again: no connection within")
        ready["db1"].heal(ready["db2"])
        assert_continued(ready, run.end())


def test_a_firewall_that_rejects_everything_for_a_moment(ready: Lab) -> None:
    chain = "add chain inet shut input { type filter hook input priority -1; }"
    rule = "add rule inet shut input tcp dport 4400-4499 reject with tcp reset"
    with slow(ready, *WORDS) as run:
        ready["db2"].run(f"nft 'add table inet shut; {chain}; {rule}'")
        run.wait_for(BROKE, times=2)
        ready["db2"].run("nft delete table inet shut")
        assert_continued(ready, run.end())


def test_a_firewall_that_is_restarted_gets_the_rule_again(ready: Lab) -> None:
    """Its own rules refuse a further connection. A second firewall does not exist any more after it."""
    before = ready.snapshot()
    own = ready["db2"].sh("nft list ruleset")
    second = "add table inet a; add chain inet a input { type filter hook input priority -5; policy accept; }"
    ready["db2"].run(["nft", second])
    with slow(ready, "--no-checksum", *WORDS) as run:
        assert "transferpy" in ready["db2"].sh("nft list ruleset")
        ready["db2"].run(["nft", "-f", "-"], input=f"flush ruleset\n{own}".encode())
        assert "transferpy" not in ready["db2"].sh("nft list ruleset")
        reset(ready["db1"])
        run.wait_for(CONTINUES)
        assert "transferpy" in ready["db2"].sh("nft list ruleset")
        assert_continued(ready, run.end())
    ready["db1"].shape(None)
    ready["db2"].run("rm -r /srv/in/data")
    assert_as_before(ready, before)


KNOCKING = r"""
for try in {1..3000}; do
  {
    exec {link}<>"/dev/tcp/$0/$1" && printf 'GET / HTTP/1.0\r\nHost: of no interest\r\n\r\n' >&"$link" && echo in &&
      sleep 0.2
    exec {link}>&-
  } 2>/dev/null
  sleep 0.005
done
"""


@pytest.mark.parametrize("program", ["socat", "openbsd"])
def test_a_program_that_connects_between_two_connections_gives_no_byte(ready: Lab, program: str) -> None:
    """Without encryption, a user of the source host can connect, too."""
    with slow(ready, "--no-checksum", "--no-compress", *choose(ready, program)) as run:
        (port,) = re.findall(r"port (\d+) listens", run.log)
        knocking = ready["db1"].popen(
            ["bash", "-c", KNOCKING, ready["db2"].ipv4, port], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        reset(ready["db2"])
        run.wait_for(BROKE)
        result = run.end()
        knocking.kill()
        inside = knocking.communicate()[0].decode().count("in")
    assert inside or "another program than the sender" not in result.stderr
    if result.status == 0:
        assert digests(ready["db2"], "/srv/in/data") == digests(ready["db1"], "/srv/data")
    else:
        assert result.status == 6, result.stderr
        assert not arrived(ready["db2"])
    for name in ("db1", "db2"):
        ready[name].unhide()


@pytest.mark.parametrize("options", [("--parallel-checksum",), ("--compressor", "zstd"), ("--bwlimit", "4M")], ids=str)
def test_the_other_stages_of_the_stream_go_on(ready: Lab, options: tuple[str, ...]) -> None:
    with slow(ready, *options, *WORDS) as run:
        reset(ready["db1"])
        assert_continued(ready, run.end())


def test_a_tarball_continues(ready: Lab) -> None:
    ready["db1"].run("tar --create --file=/srv/tarball -C /srv data")
    with slow(ready, "--type", "decompress", "db1:/srv/tarball", "db2:/srv/in") as run:
        reset(ready["db2"])
        assert_continued(ready, run.end(), "/srv/in")


def test_the_end_of_a_stream_that_is_lost_in_the_network_arrives(ready: Lab) -> None:
    """The source has read everything, and the connection breaks before the target has it."""
    ready["db1"].run("truncate -s 3M /srv/data/file")
    ready["db1"].shape("4mbit")
    with Run(ready, *WORDS) as run:
        run.wait_for_stream(ready["db2"])
        assert eventually(lambda: not ready["db1"].sh("pgrep -x tar; true"))
        run.assert_streaming()
        reset(ready["db1"])
        assert_continued(ready, run.end())


def test_without_retries_a_broken_connection_fails_the_run(ready: Lab) -> None:
    before = ready.snapshot()
    with slow(ready, "--retries", "0", *WORDS) as run:
        reset(ready["db1"])
        result = run.end()
    assert result.status == 6, result.stderr
    assert BROKE not in result.stderr
    ready["db1"].shape(None)
    assert_as_before(ready, before)


def test_a_link_that_stays_down_fails_the_run_when_no_attempt_is_left(ready: Lab) -> None:
    before = ready.snapshot()
    with slow(ready, *SHORT, "--retries", "2", *WORDS) as run:
        ready["db1"].cut(ready["db2"])
        result = run.end()
    assert result.status == 6, result.stderr
    expected = (
        r"ERROR db2:/srv/in: failed: db1 to db2: the connection broke, and the stream could not continue: attempts: 2"
    )
    assert re.search(expected, result.stderr), result.stderr
    assert "did not answer for 3 seconds (--stall-timeout)" in result.stderr
    ready["db1"].heal(ready["db2"])
    ready["db1"].shape(None)
    assert_as_before(ready, before)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
def test_a_run_that_ends_while_it_waits_for_a_connection_leaves_nothing_behind(
    ready: Lab, sent: signal.Signals
) -> None:
    before = ready.snapshot()
    with slow(ready, *SHORT, *WORDS) as run:
        ready["db1"].cut(ready["db2"])
        run.wait_for("attempt 1 of 10")
        deadline = end_by_signal(run, sent)
    wait_for_sessions(ready, deadline)
    ready["db1"].heal(ready["db2"])
    ready["db1"].shape(None)
    assert_as_before(ready, before)


def test_the_next_target_is_served_after_one_whose_connection_is_lost(ready: Lab) -> None:
    with slow(ready, *SHORT, "--retries", "1", *WORDS, "db3:/srv/in") as run:
        ready["db1"].cut(ready["db2"])
        run.wait_for("ERROR db2:/srv/in: failed")
        ready["db1"].shape(None)
        result = run.end()
    assert result.status == 6, result.stderr
    assert digests(ready["db3"], "/srv/in/data") == digests(ready["db1"], "/srv/data")
    assert not arrived(ready["db2"])
    ready["db1"].heal(ready["db2"])


@pytest.mark.parametrize("stage", ["tar", "relay"])
def test_a_program_of_the_stream_that_dies_fails_the_run_at_once(ready: Lab, stage: str) -> None:
    before = ready.snapshot()
    with slow(ready, *WORDS) as run:
        ready["db2"].run(["pkill", "-KILL", "-x", stage])
        result = run.end()
    assert result.status == 6, result.stderr
    assert CONTINUES not in result.stderr
    ready["db1"].shape(None)
    assert_as_before(ready, before)
