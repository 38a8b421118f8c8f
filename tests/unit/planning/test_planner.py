"""The plan: every reason why a transfer cannot work is named before anything is changed, and no other."""

from collections.abc import Mapping
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
    answers,
    request,
    source_facts,
    source_host,
    target_facts,
    target_host,
)

from transferpy.agent.preflight import PreflightQuery, Route
from transferpy.Exceptions import PreflightError
from transferpy.model.facts import HostFacts, RouteFacts, TargetFacts, TargetState
from transferpy.model.locations import Location
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.model.tools import packages
from transferpy.planning.plan import TransferPlan
from transferpy.planning.planner import make_plan
from transferpy.planning.query import preflight_queries

PLAIN = request("db1:/srv/x", "db2:/srv/y", encrypt=False)
TWO = request("db1:/srv/x", "db2:/srv/y", "db2:/srv/z")


def problems(
    source: HostFacts, target: HostFacts, wanted: TransferRequest = REQUEST, silent: Mapping[str, str] | None = None
) -> list[str]:
    with pytest.raises(PreflightError) as refused:
        make_plan(wanted, answers(source, target), RUN, silent or {})
    return list(refused.value.problems)


def plan(source: HostFacts, *targets: HostFacts, wanted: TransferRequest = REQUEST) -> TransferPlan:
    return make_plan(wanted, answers(source, *targets), RUN, {})


def without(*tools: str) -> frozenset[str]:
    return frozenset(packages()) - {*tools}


SAME = "boot-of-db1"  # containers on one machine are that too: they share its kernel


class TestRefusal:
    @pytest.mark.parametrize(
        ("facts", "expected"),
        [
            ({"kind": ""}, "db1:/srv/x: no such file or directory"),
            (
                {"kind": "s"},
                "db1:/srv/x: is a socket and cannot be copied; to copy a running MariaDB server: --type xtrabackup",
            ),
            (
                {"error": "find: '/srv/x/a': Input/output error"},
                "db1:/srv/x: cannot be read: find: '/srv/x/a': Input/output error",
            ),
            ({"disk": 8_951_425}, "db2:/srv/y: 10,000,001 bytes are needed, but only 10,000,000 are free"),
            ({"inodes": 1000}, "db2:/srv/y: 1,002 inodes are needed, but only 1,000 are free"),
        ],
    )
    def test_a_source_that_cannot_be_copied(self, facts: dict[str, Any], expected: str) -> None:
        assert problems(source_host(source=source_facts(**facts)), target_host()) == [expected]

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (TargetFacts(state=TargetState.MISSING), "db2:/srv/y: no such directory; make it first"),
            (
                TargetFacts(state=TargetState.OTHER),
                "db2:/srv/y: is not a directory; a target is the directory that receives the copy",
            ),
            (target_facts(state=TargetState.READ_ONLY), "db2:/srv/y: is not writable"),
            (
                target_facts(taken=True, final_identity="7:99"),
                "db2:/srv/y/x: exists already; nothing is ever overwritten",
            ),
            # the identity says nothing across machines
            (
                target_facts(taken=True, final_identity="7:8"),
                "db2:/srv/y/x: exists already; nothing is ever overwritten",
            ),
        ],
    )
    def test_a_target_that_cannot_receive(self, target: TargetFacts, expected: str) -> None:
        assert problems(source_host(), target_host(targets={0: target})) == [expected]

    @pytest.mark.parametrize(
        ("target", "expected"),
        [
            (target_facts(taken=True, final_identity="7:8"), "db2:/srv/y/x: is the source itself"),
            (
                target_facts(taken=True, final_identity="7:99"),
                "db2:/srv/y/x: exists already; nothing is ever overwritten",
            ),
            (target_facts(ancestors=("7:9", "7:8", "7:2")), "db2:/srv/y: is inside the source db1:/srv/x"),
            (target_facts(ancestors=("7:8", "7:2")), "db2:/srv/y: is inside the source db1:/srv/x"),
        ],
    )
    def test_a_source_and_a_target_on_one_machine_that_collide(self, target: TargetFacts, expected: str) -> None:
        assert problems(source_host(), target_host(boot=SAME, targets={0: target})) == [expected]

    @pytest.mark.parametrize(
        ("wanted", "changes", "expected"),
        [
            (REQUEST, {"uid": 33}, "db2: remote commands run as user id 33, but owners and firewalls need root"),
            (REQUEST, {"tools": without("socat")}, "db2: socat is missing (Debian package socat)"),
            (REQUEST, {"tools": without("cmp")}, "db2: cmp is missing (Debian package diffutils)"),
            (
                REQUEST,
                {"tools": without("ss", "netstat")},
                "db2: ss is missing (Debian package iproute2); alternative: netstat (Debian package net-tools)",
            ),
            (
                PLAIN,
                {"tools": without("socat")},
                "db2: socat is missing (Debian package socat); alternative: nc (Debian package netcat-openbsd)",
            ),
            (
                PLAIN,
                {"tools": without("socat"), "netcats": {"nc": "BusyBox v1.35.0"}},
                "db2: socat is missing (Debian package socat); alternative: nc (Debian package netcat-openbsd)",
            ),
            (
                request("db1:/srv/x", "db2:/srv/y", firewall="iptables"),
                {"firewalls": {"nft": ""}},
                "db2: iptables is missing (Debian package iptables), required by --firewall",
            ),
            (
                request("db1:/srv/x", "db2:/srv/y", firewall="nftables"),
                {"firewalls": {"iptables": ""}},
                "db2: nft is missing (Debian package nftables), required by --firewall",
            ),
            (request("db1:/srv/x", "db2:/srv/y", port=22), {}, "db2: port 22 is in use"),
        ],
    )
    def test_a_host_that_lacks_something(self, wanted: TransferRequest, changes: dict[str, Any], expected: str) -> None:
        assert problems(source_host(netcats={"nc": NC_OPENBSD}), target_host(**changes), wanted) == [expected]

    def test_a_source_without_a_route_to_the_target(self) -> None:
        assert problems(source_host(routes={1: V4_ROUTE}), target_host()) == [
            "db1: has no address of db2, or no route to it; add the name to DNS or to /etc/hosts of db1"
        ]

    def test_a_netcat_that_cannot_speak_to_an_ipv6_target(self) -> None:
        old, new = {"nc": NC_TRADITIONAL}, {"nc": NC_OPENBSD}
        expected = "{}: nc does not support IPv6; install socat (Debian package socat)"
        for source, target, hosts in [(old, new, ["db1"]), (new, old, ["db2"]), (old, old, ["db1", "db2"])]:
            facts = (
                source_host(routes={0: V6_ROUTE}, netcats=source, tools=without("socat")),
                target_host(netcats=target, tools=without("socat")),
            )
            assert problems(*facts, PLAIN) == [expected.format(name) for name in hosts]
        assert plan(source_host(routes={0: V6_ROUTE}, netcats=old), target_host(netcats=old), wanted=PLAIN)

    def test_a_target_given_twice_in_two_spellings(self) -> None:
        source = source_host(routes={0: V4_ROUTE, 1: V4_ROUTE})
        target = target_host(targets={0: target_facts(), 1: target_facts()})
        assert problems(source, target, TWO) == [
            "db2:/srv/z: is the same directory as db2:/srv/y; this target is given twice",
            "db2:/srv/y: 12,097,152 bytes are needed, but only 10,000,000 are free",
        ]

    def test_targets_that_fit_one_by_one_but_not_together(self) -> None:
        source = source_host(routes={0: V4_ROUTE, 1: V4_ROUTE})
        shared = {0: target_facts(), 1: target_facts(ancestors=("7:10", "7:2"))}
        assert problems(source, target_host(targets=shared), TWO) == [
            "db2:/srv/y: 12,097,152 bytes are needed, but only 10,000,000 are free"
        ]
        apart = {0: target_facts(), 1: target_facts(ancestors=("6:10", "6:2"))}
        assert len(plan(source, target_host(targets=apart), wanted=TWO).edges) == 2

    def test_every_reason_is_named_at_once(self) -> None:
        wanted = request("db1:/srv/x", "db2:/srv/y", "db3:/srv/y", port=22)
        source = source_host(tools=without("ip", "tar"), source=source_facts(kind=""), routes={1: V4_ROUTE})
        target = target_host(uid=1, targets={0: TargetFacts(state=TargetState.MISSING)})
        assert problems(source, target, wanted, {"db3": "db3: no answer"}) == [
            "db3: no answer",
            "db1: tar is missing (Debian package tar)",
            "db1: ip is missing (Debian package iproute2)",
            "db2: remote commands run as user id 1, but owners and firewalls need root",
            "db2:/srv/y: no such directory; make it first",
            "db2: port 22 is in use",
            "db1:/srv/x: no such file or directory",
            "db1: has no address of db2, or no route to it; add the name to DNS or to /etc/hosts of db1",
        ]

    def test_a_silent_source_does_not_hide_what_is_wrong_with_the_targets(self) -> None:
        target = target_host(targets={0: TargetFacts(state=TargetState.MISSING)})
        with pytest.raises(PreflightError) as refused:
            make_plan(REQUEST, answers(target), RUN, {"db1": "db1: no answer"})
        assert refused.value.problems == ("db1: no answer", "db2:/srv/y: no such directory; make it first")


class TestPlan:
    def test_what_is_fine_is_not_refused(self) -> None:
        made = plan(source_host(), target_host())
        (edge,) = made.edges
        assert (made.notes, edge.address, str(edge.final)) == ((), "198.18.0.2", "db2:/srv/y/x")
        assert made.stream == "TLS 1.3, xxh128 of every file"

    def test_a_file_system_that_makes_inodes_as_needed_has_enough(self) -> None:
        assert plan(source_host(), target_host(targets={0: target_facts(inodes=None)})).notes == ()

    def test_only_the_source_needs_ip(self) -> None:
        assert plan(source_host(), target_host(tools=without("ip", "netstat", "pigz"))).edges

    @pytest.mark.parametrize(
        ("options", "stream"),
        [
            ({"compress": False}, "not compressed, TLS 1.3, xxh128 of every file"),
            ({"checksum": False}, "TLS 1.3, no checksum of files"),
            ({"checksum": False, "parallel_checksum": True}, "TLS 1.3, xxh128 of the stream"),
            ({"encrypt": False}, "not encrypted, xxh128 of every file"),
        ],
    )
    def test_the_stream_is_told_in_words(self, options: dict[str, Any], stream: str) -> None:
        netcats = {"nc": NC_OPENBSD}
        wanted = request("db1:/srv/x", "db2:/srv/y", **options)
        assert plan(source_host(netcats=netcats), target_host(netcats=netcats), wanted=wanted).stream == stream

    @pytest.mark.parametrize(
        ("source", "target", "note"),
        [
            (
                {"source": source_facts(kind="l")},
                {},
                (
                    "db1:/srv/x is a symbolic link and is copied as one;"
                    " end the path with a slash to copy what it points to"
                ),
            ),
            ({"source": source_facts(sockets=3)}, {}, "db1:/srv/x: sockets are not copied: 3"),
            (
                {"source": source_facts(server=True)},
                {},
                (
                    "db1:/srv/x: a running server uses these files: the copy fails if the server writes meanwhile,"
                    " else it needs crash recovery; to copy a running server: --type xtrabackup"
                ),
            ),
        ],
    )
    def test_what_the_user_should_know_is_noted(
        self, source: dict[str, Any], target: dict[str, Any], note: str
    ) -> None:
        assert plan(source_host(**source), target_host(**target)).notes == (note,)

    @pytest.mark.parametrize(
        ("compressor", "lacking", "notes"),
        [
            ("auto", ("pigz", "lz4"), ()),
            ("auto", ("pigz", "zstd"), ()),
            ("auto", ("zstd", "lz4"), ("{}: zstd is missing (Debian package zstd); pigz is used instead",)),
            ("zstd", ("zstd",), ("{}: zstd is missing (Debian package zstd); pigz is used instead",)),
            ("lz4", ("lz4",), ("{}: lz4 is missing (Debian package lz4); pigz is used instead",)),
            ("pigz", ("pigz",), ("{}: pigz is missing (Debian package pigz); gzip is used instead, on one processor",)),
            (
                "zstd",
                ("zstd", "pigz"),
                (
                    "{}: zstd is missing (Debian package zstd); pigz is used instead",
                    "{}: pigz is missing (Debian package pigz); gzip is used instead, on one processor",
                ),
            ),
        ],
    )
    @pytest.mark.parametrize("host", ["db1", "db2"])
    def test_what_stands_in_for_a_compressor_is_noted(
        self, compressor: str, lacking: tuple[str, ...], notes: tuple[str, ...], host: str
    ) -> None:
        tools = {host: without(*lacking)}
        hosts = [make(tools=tools.get(name, without())) for name, make in (("db1", source_host), ("db2", target_host))]
        wanted = request("db1:/srv/x", "db2:/srv/y", compressor=compressor)
        assert plan(*hosts, wanted=wanted).notes == tuple(note.format(host) for note in notes)

    @pytest.mark.parametrize("host", ["db1", "db2"])
    def test_what_stands_in_for_a_checksum_is_noted(self, host: str) -> None:
        tools = {host: without("b3sum", "xxh128sum")}
        hosts = [make(tools=tools.get(name, without())) for name, make in (("db1", source_host), ("db2", target_host))]
        wanted = request("db1:/srv/x", "db2:/srv/y", checksum_algorithm="b3")
        made = plan(*hosts, wanted=wanted)
        assert made.notes == (f"{host}: b3sum is missing (Debian package b3sum); md5 is used instead",)
        assert made.stream == "TLS 1.3, md5 of every file"

    def test_without_compression_nobody_misses_pigz(self) -> None:
        wanted = request("db1:/srv/x", "db2:/srv/y", compress=False)
        assert plan(source_host(tools=without("pigz")), target_host(), wanted=wanted).notes == ()

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
    def test_of_several_netcats_one_that_knows_ipv6_is_used(self, netcats: dict[str, str], used: str) -> None:
        made = plan(source_host(netcats=netcats, tools=without("socat")), target_host(), wanted=PLAIN)
        assert made.edges[0].sending.pipelines["none"].names[-1] == used

    def test_socat_carries_an_open_stream_where_a_host_has_it(self) -> None:
        netcats = {"nc": NC_OPENBSD}
        for tools, program in [(without(), "socat"), (without("socat"), "nc")]:
            made = plan(source_host(netcats=netcats, tools=tools), target_host(), wanted=PLAIN)
            (edge,) = made.edges
            ends = edge.sending.pipelines["none"].names[-1], edge.listening.pipelines["none"].names[0]
            assert ends == (program, "socat")

    def test_an_ipv6_address_is_written_as_the_program_of_the_stream_wants_it(self) -> None:
        netcats = {"nc": NC_OPENBSD}
        facts = source_host(routes={0: V6_ROUTE}, netcats=netcats), target_host(netcats=netcats)
        assert plan(*facts).edges[0].address == "[2001:db8::2]"
        assert plan(*facts, wanted=PLAIN).edges[0].address == "[2001:db8::2]"
        with_netcat = source_host(routes={0: V6_ROUTE}, netcats=netcats, tools=without("socat"))
        assert plan(with_netcat, target_host(), wanted=PLAIN).edges[0].address == "2001:db8::2"

    def test_the_door_admits_the_address_that_the_target_sees(self) -> None:
        routes = {0: RouteFacts(address="198.18.0.2", source="198.18.7.7")}
        made = plan(source_host(routes=routes), target_host(firewalls={"iptables": "-P INPUT DROP\n"}))
        (rule,) = made.edges[0].listening.firewall_rules
        assert "198.18.7.7" in rule.opening.argv

    def test_targets_on_one_host_do_not_share_a_staging_name(self) -> None:
        source = source_host(routes={0: V4_ROUTE, 1: V4_ROUTE})
        target = target_host(targets={0: target_facts(), 1: target_facts(ancestors=("6:10", "6:2"))})
        sessions = plan(source, target, wanted=TWO).sessions.values()
        names = [session.delivery.staging_name for session in sessions if session.delivery]
        assert names == [f".transferpy-{RUN}-0", f".transferpy-{RUN}-1"]


class TestQuestions:
    def test_each_host_is_asked_once_for_all_that_concerns_it(self) -> None:
        wanted = request("db1:/srv/x", "db2:/srv/y", "db1:/srv/z", "db2:/srv/z", encrypt=False)
        asked = preflight_queries(wanted, {"db2": ("198.18.0.2",)})
        assert asked == {
            "db1": PreflightQuery(
                source_path="/srv/x",
                routes=(
                    Route(index=0, host="db2", addresses=("198.18.0.2",)),
                    Route(index=1, host="db1"),
                    Route(index=2, host="db2", addresses=("198.18.0.2",)),
                ),
                targets=((1, "/srv/z", "x"),),
                netcat=True,
            ),
            "db2": PreflightQuery(targets=((0, "/srv/y", "x"), (2, "/srv/z", "x")), netcat=True),
        }

    def test_netcats_matter_only_without_encryption(self) -> None:
        assert not any(asked.netcat for asked in preflight_queries(REQUEST, {}).values())

    @pytest.mark.parametrize("priority", ["normal", "low"])
    def test_questions_have_the_priority_of_the_run(self, priority: str) -> None:
        asked = preflight_queries(request("db1:/srv/x", "db2:/srv/y", priority=priority), {})
        assert {host: found.low_priority for host, found in asked.items()} == dict.fromkeys(
            ("db1", "db2"), priority == "low"
        )

    @pytest.mark.parametrize(
        ("path", "name"), [("/srv/x", "x"), ("/srv/x/", "x"), ("/x//", "x"), ("x", "x"), ("/srv/x\n", "x\n")]
    )
    def test_the_copy_has_the_name_that_the_path_ends_with(self, path: str, name: str) -> None:
        assert (
            TransferRequest(
                source=Location(host="db1", path=path),
                targets=(Location(host="db2", path="/srv"),),
                options=TransferOptions(),
            ).final_name
            == name
        )
