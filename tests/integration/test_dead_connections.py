"""Connections whose peer vanishes: both ends notice that in time, and a slow peer is not taken for a dead one."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from helpers import eventually, switch_drops, transfer
from lab import HostSpec, Lab
from watching import SLOW, Hold, Run, arrived, assert_as_before, fill, wait_for_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from helpers import Result
    from lab import Host

SECONDS = 3
LIMIT = ("--stall-timeout", str(SECONDS), "--retries", "0")
REPEATED = re.compile(r"timer:\(on,[^,]*,([2-9]|\d\d+)\)")
"""The timer of a connection that has sent its data again at least twice."""
LONG = 3 * SECONDS
"""Seconds for which a slow peer does nothing."""
WORDS = ("db1:/srv/data", "db2:/srv/in")
PORTS = "tcp dport 4400-4499"
ANSWERS = "tcp sport 4400-4499"
NO_ANSWER = "{}: the connection to {} is dead: the peer did not answer for 3 seconds (--stall-timeout)"
DB1, DB2 = NO_ANSWER.format("db1", "db2"), NO_ANSWER.format("db2", "db1")
FLAVOURS = ("openbsd", "traditional", "ncat")
PROGRAMS = [("tls", "tls"), ("socat", "socat"), *((flavour, flavour) for flavour in FLAVOURS), ("socat", "openbsd")]
TRANSPORTS = pytest.mark.parametrize("programs", PROGRAMS, ids=lambda pair: "-to-".join(dict.fromkeys(pair)))
"""The program of the source and that of the target."""


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a file on db1 that does not fit into the buffers, and target directories."""
    fill(clean_lab["db1"], "/srv/data/file", megabytes=24)
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    return clean_lab


def choose(lab: Lab, programs: tuple[str, str]) -> tuple[str, ...]:
    """Leave each end one program for its transport; return the arguments of the run."""
    # One of the netcats does not support IPv6.
    words = ("db1:/srv/data", f"{lab['db2'].ipv4}:/srv/in")
    if programs == ("tls", "tls"):
        return (*LIMIT, *words)
    for name, program in zip(("db1", "db2"), programs, strict=True):
        lab[name].netcat(None if program == "socat" else program)
        if program != "socat":
            lab[name].hide("socat")
    return (*LIMIT, "--no-encrypt", *words)


def connections(host: Host, states: str = "established") -> list[list[str]]:
    """Return the words of `ss` about each connection of a stream, with its timer."""
    ports = "( sport >= :4400 and sport <= :4499 ) or ( dport >= :4400 and dport <= :4499 )"
    return [line.split() for line in host.sh(f"ss -Htno state {states} '{ports}'").splitlines()]


def wait_for_connection(host: Host) -> None:
    assert eventually(lambda: connections(host))


def wait_for_closed_window(source: Host) -> None:
    """Wait until the kernel of the source probes a window that is closed."""
    assert eventually(lambda: any("timer:(persist" in words[-1] for words in connections(source, "connected")))


@contextmanager
def stopped(host: Host, program: str) -> Iterator[None]:
    """A program that does nothing, as if its disk hung."""
    host.run(["pkill", "-STOP", "-x", program])
    try:
        yield
    finally:
        host.run(["pkill", "-CONT", "-x", program], check=False)


def error(result: Result) -> str:
    """Return the error of the only target that failed."""
    (line,) = re.findall(r"ERROR \S+: failed: (.*)", result.stderr)
    assert result.status == 6, result.stderr
    return str(line)


def assert_both_noticed(result: Result, target: str = "db2") -> None:
    """Assert that the message has both ends and no secondary failure."""
    assert error(result) == f"{NO_ANSWER.format('db1', target)}; {NO_ANSWER.format(target, 'db1')}"


# --- dead peers


@TRANSPORTS
def test_both_ends_notice_a_cut_while_data_flows(ready: Lab, programs: tuple[str, str]) -> None:
    words = choose(ready, programs)
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *words) as run:
        run.wait_for_stream(ready["db2"])
        ready["db1"].cut(ready["db2"])
        assert_both_noticed(run.end(), ready["db2"].ipv4)
    ready["db1"].shape(None)
    assert_as_before(ready, before)


@TRANSPORTS
def test_both_ends_notice_a_cut_before_the_first_byte(ready: Lab, programs: tuple[str, str]) -> None:
    words = choose(ready, programs)
    before = ready.snapshot()
    with Hold(ready["db1"], "tar"), Run(ready, *words) as run:
        wait_for_connection(ready["db2"])
        ready["db1"].cut(ready["db2"])
        assert_both_noticed(run.end(), ready["db2"].ipv4)
    assert_as_before(ready, before)


@TRANSPORTS
def test_both_ends_notice_a_cut_while_the_target_takes_no_data(ready: Lab, programs: tuple[str, str]) -> None:
    words = choose(ready, programs)
    before = ready.snapshot()
    ready["db1"].shape("100mbit")
    with Run(ready, *words) as run:
        run.wait_for_stream(ready["db2"])
        with stopped(ready["db2"], "tar"):
            wait_for_closed_window(ready["db1"])
            ready["db1"].cut(ready["db2"])
            result = run.end()
    assert_both_noticed(result, ready["db2"].ipv4)
    ready["db1"].shape(None)
    assert_as_before(ready, before)


@pytest.mark.parametrize("match", [PORTS, ANSWERS, f"{PORTS} tcp flags & syn == 0"], ids=["to", "from", "state"])
@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["tls", "plain"])
@pytest.mark.parametrize("version", [4, 6])
def test_packets_that_are_lost_in_one_direction_are_noticed(
    ready: Lab, match: str, options: tuple[str, ...], version: int
) -> None:
    target = ready["db2"].ipv4 if version == 4 else f"[{ready['db2'].ipv6}]"
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *LIMIT, *options, "db1:/srv/data", f"{target}:/srv/in") as run:
        run.wait_for_stream(ready["db2"])
        with switch_drops(ready, match):
            result = run.end()
    assert result.status == 6, result.stderr
    assert re.search(r"failed: \S+: the connection to \S+ is dead: the peer did not answer for 3", result.stderr)
    assert " ended by signal" not in result.stderr
    ready["db1"].shape(None)
    assert_as_before(ready, before)


def test_a_cut_in_the_handshake_of_tls_is_noticed(ready: Lab) -> None:
    """TCP is connected, and no other data gets through."""
    before = ready.snapshot()
    with switch_drops(ready, f"{PORTS} tcp flags & psh == psh"):
        result = transfer(ready, *LIMIT, *WORDS)
    assert error(result).startswith(DB1)
    assert_as_before(ready, before)


def test_a_cut_in_the_link_probe_is_noticed(ready: Lab) -> None:
    ready["db1"].run("for i in {1..1000000}; do echo text; done >/srv/data/text; truncate -s 64M /srv/data/file")
    ready["db1"].run("for i in {1..14}; do cat /srv/data/text /srv/data/text >/srv/data/text.$i; done")
    before = ready.snapshot()
    with Hold(ready["db1"], "head", "*/dev/zero*"), Run(ready, *LIMIT, *WORDS) as run:
        wait_for_connection(ready["db2"])
        ready["db1"].cut(ready["db2"])
        assert_both_noticed(run.end())
    assert_as_before(ready, before)


@contextmanager
def socket_buffers(host: Host, name: str, values: str) -> Iterator[None]:
    """Set the sizes of the socket buffers of a host: the lowest, the first and the highest number of bytes."""
    before = host.sh(f"sysctl -n net.ipv4.{name}")
    host.run(["sysctl", "-qw", f"net.ipv4.{name}={values}"])
    try:
        yield
    finally:
        host.run(["sysctl", "-qw", f"net.ipv4.{name}={before}"])


@contextmanager
def unsent_end(lab: Lab, *options: str) -> Iterator[Run]:
    """A stream whose source has ended, while its last data is in the kernel of the source: the target takes none."""
    db1, db2 = lab["db1"], lab["db2"]
    # The kernel sends the last data of an earlier test for some time, after the end of both programs.
    assert eventually(lambda: not connections(db1, "fin-wait-1"), seconds=60)
    with (
        socket_buffers(db1, "tcp_wmem", "4096 4194304 4194304"),
        socket_buffers(db2, "tcp_rmem", "4096 131072 262144"),
        Hold(db2, "tar", "*extract*") as unpacking,
        Run(lab, *options, "--no-compress", *WORDS) as run,
    ):
        unpacking.wait_for_call()
        assert eventually(lambda: connections(db1, "fin-wait-1") and not db1.sh("pgrep -x socat; true")), run.log
        wait_for_closed_window(db1)
        yield run
        unpacking.let_go()
        run.end()


@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["tls", "plain"])
def test_a_cut_after_the_last_byte_is_noticed_by_the_target(ready: Lab, options: tuple[str, ...]) -> None:
    ready["db1"].run("truncate -s 3M /srv/data/file")
    before = ready.snapshot()
    with unsent_end(ready, *LIMIT, *options) as run:
        ready["db1"].cut(ready["db2"])
        result = run.end()
    assert error(result) == DB2
    ready["db1"].heal(ready["db2"])
    assert_as_before(ready, before)


def test_a_target_that_is_switched_off_is_noticed_by_the_source() -> None:
    with Lab.up({"orch": HostSpec(), "db1": HostSpec(), "db2": HostSpec()}) as lab:
        config = lab["orch"].sh("cat /etc/cumin/config.yaml")
        soon = config.replace("ssh_options:\n", "ssh_options:\n        - '-o ConnectTimeout=2'\n")
        lab["orch"].run(["tee", "/etc/cumin/config.yaml"], input=soon.encode())
        fill(lab["db1"], "/srv/data/file")
        lab["db2"].run("mkdir /srv/in")
        before = lab["db1"].snapshot()
        lab["db1"].shape(SLOW)
        with Run(lab, *LIMIT, *WORDS) as run:
            run.wait_for_stream(lab["db2"])
            for other in ("orch", "db1"):
                lab["db2"].cut(lab[other])  # a host that is killed in a lab would say good-bye
            result = run.end()
        assert error(result) == DB1
        lab["db1"].shape(None)
        assert_as_before(lab["db1"], before)


def test_hosts_that_lose_each_other_and_the_orchestration_host_clean_themselves(ready: Lab) -> None:
    before = ready.snapshot()
    hosts = [ready["db1"], ready["db2"]]
    hosts[0].shape(SLOW)
    with Run(ready, *LIMIT, *WORDS) as run:
        run.wait_for_stream(hosts[1])
        hosts[0].cut(hosts[1])
        for host in hosts:
            ready["orch"].cut(host)
        # The source still waits for a command, so its end has to be noticed by sshd.
        assert eventually(lambda: not hosts[1].sh("ls /run/transferpy 2>/dev/null; true"), seconds=60), run.log
        assert not hosts[0].sh("pgrep -x 'tar|socat'; true")
        run.process.kill()
        ready["db1"].shape(None)
        ready.restore()
    wait_for_sessions(ready, time.monotonic() + 60)
    assert_as_before(ready, before)


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "flowing"])
@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["tls", "plain"])
def test_a_peer_that_resets_the_connection_is_a_broken_connection(
    ready: Lab, options: tuple[str, ...], *, idle: bool
) -> None:
    before = ready.snapshot()
    db1, db2 = ready["db1"], ready["db2"]
    db1.shape(SLOW)
    with Hold(db1, "tar") as reading, Run(ready, *LIMIT, *options, *WORDS) as run:
        wait_for_connection(db2)
        if not idle:
            reading.let_go()
            run.wait_for_stream(db2)
        made = "add table inet other; add chain inet other input { type filter hook input priority 0; }"
        db2.run(["nft", f"{made}; add rule inet other input {PORTS} reject with tcp reset"])
        result = run.end()
    db2.run("nft delete table inet other")
    assert re.search(r"Connection reset by peer|is dead: the peer (reset it|did not answer)", error(result))
    db1.shape(None)
    assert_as_before(ready, before)


def test_a_dead_connection_to_one_target_leaves_the_others_alone(ready: Lab) -> None:
    with Hold(ready["db1"], "tar") as reading, Run(ready, *LIMIT, *WORDS, "db3:/srv/in") as run:
        wait_for_connection(ready["db2"])
        ready["db1"].cut(ready["db2"])
        run.wait_for("db2:/srv/in: failed: ")
        reading.let_go()
        result = run.end()
    assert_both_noticed(result)
    assert "INFO  db3:/srv/in/data: complete" in result.stderr


# --- slow peers


def assert_nothing_happens(run: Run) -> None:
    """Assert that the stream survives a time without progress."""
    time.sleep(LONG)
    run.assert_streaming()


@TRANSPORTS
def test_a_target_that_takes_no_data_for_a_long_time_is_not_dead(ready: Lab, programs: tuple[str, str]) -> None:
    words = choose(ready, programs)
    ready["db1"].shape("100mbit")
    with Run(ready, *words) as run:
        run.wait_for_stream(ready["db2"])
        with stopped(ready["db2"], "tar"):
            wait_for_closed_window(ready["db1"])
            before = arrived(ready["db2"])
            assert_nothing_happens(run)
            assert arrived(ready["db2"]) == before
        result = run.end()
    assert result.status == 0, result.stderr


@TRANSPORTS
def test_a_source_that_reads_nothing_for_a_long_time_is_not_dead(ready: Lab, programs: tuple[str, str]) -> None:
    words = choose(ready, programs)
    with Hold(ready["db1"], "tar") as reading, Run(ready, *words) as run:
        wait_for_connection(ready["db2"])
        assert_nothing_happens(run)
        assert arrived(ready["db2"]) == 0
        reading.let_go()
        result = run.end()
    assert result.status == 0, result.stderr


@pytest.mark.parametrize("options", [(), ("--no-encrypt",)], ids=["tls", "plain"])
def test_a_slow_target_is_not_dead_after_the_source_has_sent_everything(ready: Lab, options: tuple[str, ...]) -> None:
    ready["db1"].run("truncate -s 3M /srv/data/file")
    with unsent_end(ready, *LIMIT, *options) as run:
        assert_nothing_happens(run)
    assert run.process.returncode == 0


def test_a_network_that_comes_back_in_time_goes_on(ready: Lab) -> None:
    db1, db2 = ready["db1"], ready["db2"]
    db1.shape(SLOW)
    with Run(ready, "--stall-timeout", "60", *WORDS) as run:
        run.wait_for_stream(db2)
        db1.cut(db2)
        assert eventually(lambda: any(REPEATED.search(words[-1]) for words in connections(db1)))
        db1.heal(db2)
        db1.shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
