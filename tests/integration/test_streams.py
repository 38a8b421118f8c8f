"""Several pipelines, the lanes of a stream: the copy is that of one pipeline, and so are the faults."""

from __future__ import annotations

import json
import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from helpers import eventually, switch_drops, transfer
from trees import census_on, plant_on
from watching import Run, assert_as_before, end_by_signal, fill, replaced, wait_for_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

SOURCE, TARGET = "db1:/srv/data", "db2:/srv/in"
CONTINUES = "the stream continues at byte"


@pytest.fixture
def tree(clean_lab: Lab) -> Lab:
    """The clean lab, with a tree of all kinds of entries on db1, and a directory on db2."""
    source = clean_lab["db1"]
    source.run("mkdir -p /srv/data && cd /srv/data && mkdir many deep closed && mkdir deep/empty")
    plant_on(source, "/srv/data/kinds")
    source.run("cd /srv/data/many && seq 400 | split -l 1 -a 4 && cp -al xaaaa ../deep/linked")
    source.run("head -c 20M /dev/urandom >/srv/data/deep/large && echo closed >/srv/data/closed/file")
    source.run(
        "cd /srv/data && chmod 500 closed && touch -d 2001-02-03T04:05:06.123456789 deep/empty deep many closed ."
    )
    clean_lab["db2"].run("mkdir /srv/in")
    return clean_lab


def report_of(lab: Lab, *words: str, **kwargs: Any) -> dict[str, Any]:
    """Run a transfer that must succeed, and return the report of its first target."""
    result = transfer(lab, "--report", "/srv/report", *words, **kwargs)
    assert result.status == 0, result.stderr
    report = json.loads(lab["orch"].sh("cat /srv/report"))["transfers"][0]["targets"][0]
    lab["orch"].run("rm /srv/report")
    assert isinstance(report, dict)
    return report


@pytest.mark.parametrize("streams", [1, 2, 4, 16])
def test_a_tree_arrives_with_any_number_of_streams(tree: Lab, streams: int) -> None:
    before = tree.snapshot()
    report = report_of(tree, "--streams", str(streams), SOURCE, TARGET)
    assert report["streams"] == streams
    assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")
    tree["db2"].run("rm -r /srv/in/data")
    assert_as_before(tree, before)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--parallel-checksum",), id="checksum of the stream"),
        pytest.param(("--no-checksum", "--no-compress"), id="no checksum"),
        pytest.param(("--no-encrypt",), id="plain"),
        pytest.param(("--bwlimit", "60M", "--compressor", "zstd"), id="limited"),
        pytest.param(("--port", "5000"), id="ports of the user"),
        pytest.param(("--owner", "games:games", "--priority", "low"), id="owner"),
    ],
)
def test_streams_work_with_all_other_options(tree: Lab, options: tuple[str, ...]) -> None:
    report = report_of(tree, "--streams", "3", *options, SOURCE, TARGET)
    assert report["streams"] == 3
    assert report["checks"]
    if "--owner" not in options:
        assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


@pytest.mark.parametrize("flavour", ["openbsd", "traditional", "ncat"])
def test_several_netcats_carry_a_tree(tree: Lab, flavour: str) -> None:
    for host in ("db1", "db2"):
        tree[host].netcat(flavour)
        tree[host].hide("socat")
    report = report_of(tree, "--no-encrypt", "--streams", "3", SOURCE, f"{tree['db2'].ipv4}:/srv/in")
    assert report["streams"] == 3
    assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


def test_two_targets_get_a_tree_with_different_numbers_of_streams(tree: Lab) -> None:
    tree["db3"].run("mkdir /srv/in")
    with listeners_on(tree, "db3", free=2):
        result = transfer(tree, "--streams", "4", SOURCE, TARGET, "db3:/srv/in")
    assert result.status == 0, result.stderr
    assert "db3: 2 stream(s) instead of 4: no further port between 4400 and 4499 is free" in result.stderr
    for host in ("db2", "db3"):
        assert census_on(tree[host], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


@contextmanager
def listeners_on(lab: Lab, host: str, *, free: int) -> Iterator[None]:
    """Programs that listen on all ports in 4400-4499 but some."""
    program = (
        "import socket,sys,time\ns=[socket.create_server(('', p)) for p in map(int, sys.argv[1:])]\ntime.sleep(1e6)"
    )
    ports = map(str, range(4400, 4500 - free))
    process = lab[host].popen(["/usr/bin/python3", "-c", program, *ports])
    try:
        assert eventually(lambda: len(lab[host].sh("ss -Htln sport ge :4400").split("\n")) >= 100 - free)
        yield
    finally:
        process.kill()
        process.wait()


def test_a_host_with_three_free_ports_gets_three_streams(tree: Lab) -> None:
    with listeners_on(tree, "db2", free=3):
        report = report_of(tree, "--streams", "16", SOURCE, TARGET)
    assert report["streams"] == 3
    assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


def test_a_target_that_cannot_confine_tar_gets_one_stream(tree: Lab) -> None:
    with replaced(tree["db2"], "unshare", "echo no namespaces here >&2; exit 1"):
        result = transfer(tree, "--streams", "4", SOURCE, TARGET)
    assert result.status == 0, result.stderr
    assert "db2: 1 stream(s) instead of 4: tar cannot be confined to the copy: no namespaces here" in result.stderr
    assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


def test_a_source_whose_tar_would_follow_links_sends_one_stream(tree: Lab) -> None:
    refused = (
        'case "$*" in *mount_setattr*" -- true") echo mount_setattr: no right >&2; exit 1; esac; exec "$real" "$@"'
    )
    with replaced(tree["db1"], "perl", refused):
        result = transfer(tree, "--streams", "4", SOURCE, TARGET)
    assert result.status == 0, result.stderr
    reason = "the source host cannot run tar so that it follows no links: mount_setattr: no right"
    assert f"db1: 1 stream(s) instead of 4: {reason}" in result.stderr
    assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


def test_a_directory_that_becomes_a_link_during_the_copy_leads_no_stream_out_of_the_source(slow: Lab) -> None:
    source = slow["db1"]
    source.run("mkdir /srv/secret /srv/data/zz && seq 400 | (cd /srv/data/zz && split -l 1 -a 4)")
    source.run("cp -r /srv/data/zz/. /srv/secret")
    before = slow.snapshot()
    with Run(slow, "--streams", "4", "--no-compress", SOURCE, TARGET) as run:
        streaming(slow, run)
        source.run("mv /srv/data/zz /srv/moved && ln -s ../secret /srv/data/zz")
        source.shape(None)
        result = run.end()
    assert result.status == 6, result.stderr
    (failure,) = re.findall(r"ERROR .*failed: (.*)", result.stderr)
    assert re.search(
        r"db1: tar failed with status 2: tar: \./data/zz/x\w+: .*: Too many levels of symbolic links", failure
    )
    source.run("rm /srv/data/zz && mv /srv/moved /srv/data/zz")
    assert_as_before(slow, before)


def test_a_source_behind_a_link_arrives_with_its_mounted_file_systems(tree: Lab) -> None:
    source = tree["db1"]
    source.small_disk("/srv/data/disk", "16m")
    source.run("mkdir /srv/data/disk/inside && echo data >/srv/data/disk/inside/file && ln -s /srv /srv/alias")
    source.run("ln -s file /srv/data/disk/inside/link")
    report = report_of(tree, "--streams", "3", "db1:/srv/alias/data", TARGET)
    assert report["streams"] == 3
    assert census_on(tree["db2"], "/srv/in/data") == census_on(source, "/srv/data")
    tree["db2"].run("rm -r /srv/in/data")
    assert report_of(tree, "--streams", "3", "--one-file-system", SOURCE, TARGET)["streams"] == 3
    assert tree["db2"].sh("ls -A /srv/in/data/disk") == ""
    tree["db2"].run("rmdir /srv/in/data/disk")
    assert census_on(tree["db2"], "/srv/in/data/kinds") == census_on(source, "/srv/data/kinds")


def test_a_firewall_that_opens_one_port_only_leaves_one_stream(tree: Lab) -> None:
    opened = "[ ! -e /srv/opened ] || { echo too many rules >&2; exit 1; }; touch /srv/opened"
    once = f'case "$*" in "insert rule"*) {opened}; esac'
    with replaced(tree["db2"], "nft", f'{once}; exec "$real" "$@"'):
        result = transfer(tree, "--streams", "4", SOURCE, TARGET)
    assert result.status == 0, result.stderr
    assert "db2: 1 stream(s) instead of 4: cannot open the firewall: too many rules" in result.stderr
    assert census_on(tree["db2"], "/srv/in/data") == census_on(tree["db1"], "/srv/data")


def test_a_network_that_passes_one_port_only_is_named(tree: Lab) -> None:
    before = tree.snapshot()
    with switch_drops(tree, "tcp dport 5001-5003"):
        result = transfer(tree, "--port", "5000", "--streams", "3", "--connect-timeout", "3", SOURCE, TARGET)
    assert result.status == 6, result.stderr
    message = r"no connection to \S+ port 5000, 5001, 5002 within 3 seconds \(--connect-timeout\); is there a firewall"
    assert re.search(message, result.stderr), result.stderr
    assert_as_before(tree, before)


@pytest.fixture
def slow(tree: Lab) -> Lab:
    """The tree, with more data than the slow link of its host carries within the test."""
    for number in range(8):
        fill(tree["db1"], f"/srv/data/noise{number}", megabytes=8)
    return tree


def streaming(lab: Lab, run: Run) -> None:
    """Wait until data of all four streams has arrived."""
    run.wait_for("listens for")
    lab["db1"].shape("40mbit")
    run.wait_for_stream(lab["db2"])
    assert eventually(lambda: sum(count > 1 << 17 for count in received(lab)) == 4 or run.process.poll() is not None)
    run.assert_streaming()


def received(lab: Lab) -> list[int]:
    """Return the number of bytes that the target has received on each connection of a stream."""
    connections = lab["db2"].sh("ss -Hti state established '( sport >= :4400 and sport <= :4499 )'")
    return [int(count) for count in re.findall(r"bytes_received:(\d+)", connections)]


RESET = "ss -K dport = :{port}"
FAULTS = {
    "tar of the source": ("db1", "pkill -n -KILL -x tar", "db1: tar was ended by signal 9"),
    "tar of the target": ("db2", "pkill -n -KILL -x tar", "db2: tar was ended by signal 9"),
    "connection": ("db1", RESET, "db1: socat failed with status 1"),
}


def ports_of(run: Run) -> list[str]:
    """Return the ports of the four streams of a run."""
    found = re.search(r"port (.*) listens", run.log)
    assert found
    ports = found[1].split(", ")
    assert len(ports) == 4
    return ports


@pytest.mark.parametrize("fault", FAULTS)
def test_a_stream_that_fails_ends_the_others_with_one_cause(slow: Lab, fault: str) -> None:
    before = slow.snapshot()
    host, command, message = FAULTS[fault]
    retries = "0" if command == RESET else "5"
    with Run(slow, "--streams", "4", "--no-compress", "--retries", retries, SOURCE, TARGET) as run:
        streaming(slow, run)
        slow[host].run(command.format(port=ports_of(run)[2]))
        result = run.end()
    slow["db1"].shape(None)
    assert result.status == 6, result.stderr
    (failure,) = re.findall(r"ERROR .*failed: (.*)", result.stderr)
    assert message in failure
    assert failure.count("db1: ") + failure.count("db2: ") == 1
    assert_as_before(slow, before)


@pytest.mark.parametrize("program", ["socat", "ncat"])
def test_a_connection_that_breaks_continues_while_the_others_go_on(slow: Lab, program: str) -> None:
    words = ["--streams", "4", "--no-compress", SOURCE, TARGET]
    if program == "ncat":
        words[-1:] = ["--no-encrypt", f"{slow['db2'].ipv4}:/srv/in"]
        for name in ("db1", "db2"):
            slow[name].netcat(program)
            slow[name].hide("socat")
    before = slow.snapshot()
    with Run(slow, *words) as run:
        streaming(slow, run)
        ports = ports_of(run)
        for count, port in enumerate((ports[2], ports[0], ports[2]), start=1):
            slow["db1"].run(RESET.format(port=port))
            run.wait_for(CONTINUES, times=count)
        run.assert_streaming()
        slow["db1"].shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    broken = re.findall(r", stream (\d) of 4: the connection broke at byte", result.stderr)
    assert broken == ["3", "1", "3"]
    assert census_on(slow["db2"], "/srv/in/data") == census_on(slow["db1"], "/srv/data")
    slow["db2"].run("rm -r /srv/in/data")
    assert_as_before(slow, before)


def test_all_connections_that_break_at_the_same_time_continue(slow: Lab) -> None:
    with Run(slow, "--streams", "4", "--no-compress", SOURCE, TARGET) as run:
        streaming(slow, run)
        slow["db2"].run("ss -K state established '( sport >= :4400 and sport <= :4499 )'")
        run.wait_for(CONTINUES, times=4)
        slow["db1"].shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    assert census_on(slow["db2"], "/srv/in/data") == census_on(slow["db1"], "/srv/data")


def test_a_link_that_is_down_for_longer_than_the_stall_timeout_stops_no_stream(slow: Lab) -> None:
    with Run(slow, "--streams", "4", "--no-compress", "--stall-timeout", "3", SOURCE, TARGET) as run:
        streaming(slow, run)
        slow["db1"].cut(slow["db2"])
        run.wait_for("again: no connection within")
        slow["db1"].heal(slow["db2"])
        run.wait_for(CONTINUES, times=4, seconds=60)
        slow["db1"].shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    assert census_on(slow["db2"], "/srv/in/data") == census_on(slow["db1"], "/srv/data")


def test_a_connection_that_stays_broken_ends_all_streams(slow: Lab) -> None:
    before = slow.snapshot()
    with Run(slow, "--streams", "4", "--no-compress", "--retries", "2", SOURCE, TARGET) as run:
        streaming(slow, run)
        port = ports_of(run)[2]
        with switch_drops(slow, f"tcp dport {port}"):
            slow["db1"].run(RESET.format(port=port))
            result = run.end()
    slow["db1"].shape(None)
    assert result.status == 6, result.stderr
    (failure,) = re.findall(r"ERROR .*failed: (.*)", result.stderr)
    assert failure.startswith("db1 to db2, stream 3 of 4: the connection broke, and the stream could not continue")
    assert_as_before(slow, before)


def test_a_full_disk_is_the_one_cause(slow: Lab) -> None:
    slow["db2"].run("rmdir /srv/in && mkdir /srv/in")
    slow["db2"].small_disk("/srv/in", "400m")
    before = slow.snapshot()
    with Run(slow, "--streams", "4", "--no-compress", "--no-checksum", SOURCE, TARGET) as run:
        streaming(slow, run)
        slow["db2"].run("head -c 1G /dev/zero >/srv/in/other", check=False)
        slow["db1"].shape(None)
        result = run.end()
    slow["db2"].run("rm /srv/in/other")
    assert result.status == 6, result.stderr
    assert "db2: the file system of /srv/in is full; db2: tar" in result.stderr, result.stderr
    assert_as_before(slow, before)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_several_streams(slow: Lab, sent: signal.Signals) -> None:
    before = slow.snapshot()
    with Run(slow, "--streams", "4", "--no-compress", SOURCE, TARGET) as run:
        streaming(slow, run)
        rules = slow["db2"].sh("iptables -S; nft list ruleset")
        assert len(re.findall(r"dport 4\d{3}", rules)) >= 4
        deadline = end_by_signal(run, sent)
        slow["db1"].shape(None)
        wait_for_sessions(slow, deadline)
    assert_as_before(slow, before)


def test_a_limited_connection_is_not_the_limit_of_several(slow: Lab) -> None:
    slow["db1"].limit_connections("100mbit")
    report = report_of(slow, "--streams", "4", "--no-compress", SOURCE, TARGET)
    assert report["streams"] == 4
    sent = slow["db1"].sh("tc -s class show dev eth0 | grep -A1 htb | grep Sent")
    counts = [int(line.split()[1]) for line in sent.splitlines()]
    assert sum(count > 1 << 20 for count in counts) == 4
    slow["db1"].shape(None)


def test_several_streams_of_a_hot_copy_are_refused(clean_lab: Lab) -> None:
    result = transfer(clean_lab, "--type", "xtrabackup", "--streams", "2", "db1:/run/mysqld/mysqld.sock", TARGET)
    assert result.status == 2
    assert "--streams needs the transfer type file, not xtrabackup" in result.stderr
