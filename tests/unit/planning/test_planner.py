"""The plan of a run: its streams and its sessions."""

from typing import Any

import pytest
from fleet import (
    NC_OPENBSD,
    NC_TRADITIONAL,
    NCAT,
    REQUEST,
    RUN,
    V4_ROUTE,
    V6_ROUTE,
    database_host,
    plan,
    request,
    source_facts,
    source_host,
    target_facts,
    target_host,
    without,
)

from transferpy.model.facts import BufferFacts, RouteFacts
from transferpy.stream.commands import Drain, Watched

PLAIN = request("db1:/srv/x", "db2:/srv/y", encrypt=False)
MUCH = {"bytes": 100 << 30}
REFUSED = {"links_error": "open_tree: Operation not permitted\n"}
FOLLOWS = "the source host cannot run tar so that it follows no links: open_tree: Operation not permitted"
TWO = request("db1:/srv/x", "db2:/srv/y", "db2:/srv/z")


def test_a_transfer_that_nothing_prevents_has_a_plan_without_notes() -> None:
    made = plan(REQUEST, source_host(), target_host())
    (edge,) = made.edges
    assert (made.notes, edge.address, str(edge.final)) == ((), "198.18.0.2", "db2:/srv/y/x")
    assert made.stream == "TLS 1.3, xxh128 of every file"


def test_a_file_system_that_makes_inodes_as_needed_has_enough() -> None:
    assert plan(REQUEST, source_host(), target_host(targets={0: target_facts(inodes=None)})).notes == ()


@pytest.mark.parametrize(
    ("size", "options", "is_probed"),
    [
        (64 << 20, {}, True),
        (60 << 20, {}, False),
        (64 << 20, {"compress": False}, True),
        (64 << 20, {"compressor": "pigz"}, True),
        (64 << 20, {"bwlimit": 5_000_000}, True),
        (64 << 20, {"bwlimit": 4_000_000}, False),
    ],
)
def test_the_link_is_measured_for_much_data(size: int, options: dict[str, Any], *, is_probed: bool) -> None:
    much = source_host(source=source_facts(bytes=size, disk=size))
    (edge,) = plan(
        request("db1:/srv/x", "db2:/srv/y", **options), much, target_host(targets={0: target_facts(free=1 << 30)})
    ).edges
    assert [edge.sending.probe is not None, edge.listening.probe is not None] == [is_probed] * 2


def test_the_probe_of_a_limited_stream_has_the_same_limit() -> None:
    much = source_host(source=source_facts(bytes=64 << 20))
    (edge,) = plan(request("db1:/srv/x", "db2:/srv/y", bwlimit=5_000_000), much, target_host()).edges
    assert edge.sending.probe
    assert edge.sending.probe.names == ("head", "perl", "socat")


@pytest.mark.parametrize(
    ("tools", "sending", "receiving"),
    [((), 64 << 20, 15_625_000), (("socat",), 0, 0)],
    ids=["socat", "netcat"],
)
def test_only_socat_sets_the_buffers_of_its_sockets(tools: tuple[str, ...], sending: int, receiving: int) -> None:
    buffers = BufferFacts(send=4 << 20, receive=6 << 20, forced=True)
    changes: dict[str, Any] = {"tools": without(*tools), "netcats": {"nc": NC_OPENBSD}, "buffers": buffers}
    (edge,) = plan(PLAIN, source_host(memory=1 << 40, **changes), target_host(memory=10**9, **changes)).edges
    assert (edge.sending.buffer.largest, edge.listening.buffer.largest) == (sending, receiving)


def test_only_the_source_needs_ip() -> None:
    assert plan(REQUEST, source_host(), target_host(tools=without("ip", "netstat", "pigz"))).edges


@pytest.mark.parametrize(
    ("options", "stream"),
    [
        ({"compress": False}, "not compressed, TLS 1.3, xxh128 of every file"),
        ({"checksum": False}, "TLS 1.3, no checksum of files"),
        ({"checksum": False, "parallel_checksum": True}, "TLS 1.3, xxh128 of the stream"),
        ({"encrypt": False}, "not encrypted, xxh128 of every file"),
    ],
)
def test_the_plan_describes_the_stream_for_the_log(options: dict[str, Any], stream: str) -> None:
    netcats = {"nc": NC_OPENBSD}
    wanted = request("db1:/srv/x", "db2:/srv/y", **options)
    assert plan(wanted, source_host(netcats=netcats), target_host(netcats=netcats)).stream == stream


@pytest.mark.parametrize(
    ("netcats", "used"),
    [
        ({"nc": NC_OPENBSD}, "nc"),
        ({"nc": NC_TRADITIONAL}, "nc"),
        ({"nc": NC_TRADITIONAL, "nc.openbsd": NC_OPENBSD}, "nc.openbsd"),
        ({"nc": NC_TRADITIONAL, "ncat": NCAT}, "ncat"),
        ({"nc": "BusyBox v1.35.0", "nc.traditional": NC_TRADITIONAL}, "nc.traditional"),
        ({"nc": NCAT, "nc.openbsd": NC_OPENBSD}, "nc"),
    ],
)
def test_a_netcat_with_ipv6_takes_precedence(netcats: dict[str, str], used: str) -> None:
    made = plan(PLAIN, source_host(netcats=netcats, tools=without("socat")), target_host())
    assert made.edges[0].sending.pipelines["none"].names[-1] == used


def test_socat_takes_precedence_over_netcat() -> None:
    netcats = {"nc": NC_OPENBSD}
    for tools, program in [(without(), "socat"), (without("socat"), "nc")]:
        made = plan(PLAIN, source_host(netcats=netcats, tools=tools), target_host())
        (edge,) = made.edges
        ends = edge.sending.pipelines["none"].names[-1], edge.listening.pipelines["none"].names[0]
        assert ends == (program, "socat")


def test_each_end_is_watched_and_relies_on_the_keepalive_of_socat_only() -> None:
    netcats = {"nc": NC_OPENBSD}
    with_socat, with_netcat = source_host(netcats=netcats), source_host(netcats=netcats, tools=without("socat"))
    wanted = request("db1:/srv/x", "db2:/srv/y", encrypt=False, stall_timeout=9)
    for source, words in [(with_socat, ("yes", "yes")), (with_netcat, ("yes", "no"))]:
        (edge,) = plan(wanted, source, target_host()).edges
        stages = edge.sending.pipelines["none"].stages[-1], edge.listening.pipelines["none"].stages[0]
        watches = [stage.watch for stage in stages if isinstance(stage, Watched)]
        assert watches == [("9", "1", "10", role, word) for role, word in zip(("send", "receive"), words, strict=True)]


def test_an_ipv6_address_is_in_brackets_for_socat_only() -> None:
    netcats = {"nc": NC_OPENBSD}
    facts = source_host(routes={0: V6_ROUTE}, netcats=netcats), target_host(netcats=netcats)
    assert plan(REQUEST, *facts).edges[0].address == "[2001:db8::2]"
    assert plan(PLAIN, *facts).edges[0].address == "[2001:db8::2]"
    with_netcat = source_host(routes={0: V6_ROUTE}, netcats=netcats, tools=without("socat"))
    assert plan(PLAIN, with_netcat, target_host()).edges[0].address == "2001:db8::2"


def test_the_firewall_rule_admits_the_address_that_the_target_sees() -> None:
    routes = {0: RouteFacts(address="198.18.0.2", source="198.18.7.7")}
    made = plan(REQUEST, source_host(routes=routes), target_host(firewalls={"iptables": "-P INPUT DROP\n"}))
    (rule,) = made.edges[0].listening.firewall_rules
    assert "198.18.7.7" in rule.opening.argv


def test_targets_on_one_host_do_not_share_a_staging_name() -> None:
    source = source_host(routes={0: V4_ROUTE, 1: V4_ROUTE})
    target = target_host(targets={0: target_facts(), 1: target_facts(ancestors=("6:10", "6:2"))})
    sessions = plan(TWO, source, target).sessions.values()
    names = [session.delivery.staging_name for session in sessions if session.delivery]
    assert names == [f".transferpy-{RUN}-0", f".transferpy-{RUN}-1"]


@pytest.mark.parametrize(
    ("options", "source", "cores", "expected", "reason"),
    [
        pytest.param({}, {}, 64, 1, "the source has less than 2 GiB of data", id="little data"),
        pytest.param({}, MUCH, 64, 4, "", id="much data"),
        pytest.param({}, MUCH, 2, 1, "the hosts have 2 and 2 processors, too few for another stream", id="processors"),
        pytest.param({}, {**MUCH, "files": 3}, 64, 3, "", id="few files"),
        pytest.param({}, {**MUCH, "files": 1}, 64, 1, "the source has no second file", id="one file"),
        pytest.param({}, {**MUCH, "largest": 90 << 30}, 64, 1, "one file has most of the data", id="a large file"),
        pytest.param({}, {**MUCH, "largest": 60 << 30}, 64, 2, "", id="a file with more than half of the data"),
        pytest.param({}, {**MUCH, "inodes": 2_000_001}, 64, 1, "with 2,000,001 entries,", id="many entries"),
        pytest.param({}, {**MUCH, "directories": 20_001}, 64, 1, "with 20,001 directories,", id="many directories"),
        pytest.param({"port": 5000}, MUCH, 64, 1, "a firewall may admit only the port of --port", id="a port"),
        pytest.param({"bwlimit": 1 << 40}, MUCH, 64, 4, "", id="a limit"),
        pytest.param({"compressor": "zstd"}, MUCH, 64, 1, "the speed of --compressor zstd is", id="a compressor"),
        pytest.param({"compressor": "zstd", "compress": False}, MUCH, 64, 4, "", id="a compressor that is not used"),
        pytest.param({}, {**MUCH, **REFUSED}, 64, 1, FOLLOWS, id="a source host that follows links"),
        pytest.param({"streams": 4}, REFUSED, 64, 1, FOLLOWS, id="a number and a source host that follows links"),
        pytest.param({"streams": 1}, REFUSED, 64, 1, "", id="one stream may follow links"),
        pytest.param({"streams": 4}, {}, 2, 4, "", id="a number"),
        pytest.param({"streams": 4, "bwlimit": 1000}, {"directories": 1 << 20}, 2, 4, "", id="a number and a limit"),
        pytest.param({"streams": "4", "port": 5000}, {"files": 3}, 2, 3, "", id="a number and few files"),
        pytest.param({"streams": 4}, {"files": 0}, 2, 1, "", id="no file"),
    ],
)
def test_the_largest_number_of_streams_and_the_reason_for_one(
    options: dict[str, Any], source: dict[str, Any], cores: int, expected: int, reason: str
) -> None:
    made = plan(
        request("db1:/srv/x", "db2:/srv/y", **options),
        source_host(cores=cores, source=source_facts(**source), lists=1 << 40),
        target_host(cores=cores, targets={0: target_facts(free=1 << 50, inodes=1 << 30)}, lists=1 << 40),
    )
    (edge,) = made.edges
    assert edge.most_lanes == expected
    assert edge.one_lane_reason.startswith(reason)
    assert bool(edge.one_lane_reason) == bool(reason)
    assert bool(edge.sending.lanes) == bool(edge.listening.lanes) == (expected > 1)
    reading = made.sessions["source"].reading
    assert reading
    assert reading.distributes == (expected > 1)


def test_other_types_have_one_stream_without_a_reason() -> None:
    wanted = request("db1:/run/mysqld/mysqld.sock", "db2:/srv/y", transfer_type="xtrabackup")
    (edge,) = plan(wanted, database_host(), target_host()).edges
    assert (edge.most_lanes, edge.one_lane_reason) == (1, "")


def test_a_lane_has_the_stages_of_a_stream_and_reads_a_list() -> None:
    (edge,) = plan(request("db1:/srv/x", "db2:/srv/y", streams=2), source_host(), target_host()).edges
    assert edge.sending.lanes.keys() == edge.sending.pipelines.keys()
    for label, lane in edge.sending.lanes.items():
        assert lane.names == ("perl", *edge.sending.pipelines[label].names)
    for label, lane in edge.listening.lanes.items():
        assert lane.names == edge.listening.pipelines[label].names
        last = lane.stages[-1]
        assert isinstance(last, Drain)
        assert last.confined
        assert "--keep-old-files" not in last.command.argv
