"""The checks: every reason that prevents a transfer is reported at once, and no other."""

from typing import Any

import pytest
from fleet import (
    NC_OPENBSD,
    NC_TRADITIONAL,
    REQUEST,
    RUN,
    V4_ROUTE,
    V6_ROUTE,
    answers,
    plan,
    problems,
    request,
    source_facts,
    source_host,
    target_facts,
    target_host,
    without,
)

from transferpy.Exceptions import PreflightError
from transferpy.model.facts import MountFacts, MountKind, TargetFacts, TargetState
from transferpy.model.request import TransferRequest
from transferpy.planning.planner import make_plan

PLAIN = request("db1:/srv/x", "db2:/srv/y", encrypt=False)
TWO = request("db1:/srv/x", "db2:/srv/y", "db2:/srv/z")


SAME = "boot-of-db1"  # containers on one machine are that too: they share its kernel


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
        (
            {"disk": 0, "bytes": 8_951_425, "unproven": "nfs"},
            "db2:/srv/y: 10,000,001 bytes are needed, but only 10,000,000 are free",
        ),
        ({"inodes": 1000}, "db2:/srv/y: 1,002 inodes are needed, but only 1,000 are free"),
    ],
)
def test_a_source_that_cannot_be_copied(facts: dict[str, Any], expected: str) -> None:
    assert problems(REQUEST, source_host(source=source_facts(**facts)), target_host()) == [expected]


BIND = (
    "is a bind mount from the file system of the source, which --one-file-system cannot leave out; unmount it, or copy"
    " without --one-file-system"
)


@pytest.mark.parametrize(
    ("kind", "one_file_system", "expected"),
    [
        ("source", False, "is on a pseudo file system (proc), which cannot be copied"),
        ("source", True, "is on a pseudo file system (proc), which cannot be copied"),
        (
            "pseudo",
            False,
            "/srv/x/m is a pseudo file system (proc), which cannot be copied; --one-file-system leaves it out",
        ),
        ("loop", False, "/srv/x/m is a bind mount of a directory that contains it; unmount it"),
        ("loop", True, "/srv/x/m is a bind mount of a directory that contains it; unmount it"),
        ("bind", True, f"/srv/x/m {BIND}"),
        ("pseudo", True, ""),
        ("bind", False, ""),
        ("other", False, ""),
        ("other", True, ""),
    ],
)
def test_a_mount_in_the_source_that_cannot_be_copied(kind: str, *, one_file_system: bool, expected: str) -> None:
    mount = MountFacts(path="/srv/x/m", type="proc", kind=MountKind(kind))
    wanted = request("db1:/srv/x", "db2:/srv/y", one_file_system=one_file_system)
    source = source_host(source=source_facts(mounts=(mount,)))
    assert problems(wanted, source, target_host()) == [f"db1:/srv/x: {expected}"] * bool(expected)
    if not expected:
        (note,) = plan(wanted, source, target_host()).notes
        action = "left out, as empty directories" if one_file_system else "copied, too"
        assert note == f"db1:/srv/x: the file systems that are mounted in it are {action}: /srv/x/m (proc)"


@pytest.mark.parametrize(("mount", "is_refused"), [("/", True), ("", True), ("/srv", False), ("/srv/y", False)])
@pytest.mark.parametrize("state", [TargetState.DIRECTORY, TargetState.MISSING])
def test_a_target_whose_disk_is_not_mounted_is_refused_on_request(
    mount: str, state: TargetState, *, is_refused: bool
) -> None:
    target = target_host(targets={0: target_facts(mount=mount, state=state)})
    for require_mount in (False, True):
        wanted = request("db1:/srv/x", "db2:/srv/y", require_mount=require_mount, create_target=True)
        found = problems(wanted, source_host(), target)
        assert [message.partition(":/srv/y: is on the root file system")[0] for message in found] == (
            ["db2"] if require_mount and is_refused else []
        )


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
        # an identity is not comparable between machines
        (
            target_facts(taken=True, final_identity="7:8"),
            "db2:/srv/y/x: exists already; nothing is ever overwritten",
        ),
    ],
)
def test_a_target_that_cannot_receive(target: TargetFacts, expected: str) -> None:
    assert problems(REQUEST, source_host(), target_host(targets={0: target})) == [expected]


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
def test_a_source_and_a_target_on_one_machine_that_collide(target: TargetFacts, expected: str) -> None:
    assert problems(REQUEST, source_host(), target_host(boot=SAME, targets={0: target})) == [expected]


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
        (
            request("db1:/srv/x", "db2:/srv/y", firewall="firewalld"),
            {"firewalls": {"firewall-cmd": ""}},
            "db2: firewalld does not run: start it, or omit --firewall",
        ),
        (request("db1:/srv/x", "db2:/srv/y", port=22), {}, "db2: port 22 is in use"),
    ],
)
def test_a_host_that_lacks_something(wanted: TransferRequest, changes: dict[str, Any], expected: str) -> None:
    assert problems(wanted, source_host(netcats={"nc": NC_OPENBSD}), target_host(**changes)) == [expected]


def test_a_source_without_a_route_to_the_target() -> None:
    assert problems(REQUEST, source_host(routes={1: V4_ROUTE}), target_host()) == [
        "db1: has no address of db2, or no route to it; add the name to DNS or to /etc/hosts of db1"
    ]


def test_a_netcat_that_cannot_speak_to_an_ipv6_target() -> None:
    old, new = {"nc": NC_TRADITIONAL}, {"nc": NC_OPENBSD}
    expected = "{}: nc does not support IPv6; install socat (Debian package socat)"
    for source, target, hosts in [(old, new, ["db1"]), (new, old, ["db2"]), (old, old, ["db1", "db2"])]:
        facts = (
            source_host(routes={0: V6_ROUTE}, netcats=source, tools=without("socat")),
            target_host(netcats=target, tools=without("socat")),
        )
        assert problems(PLAIN, *facts) == [expected.format(name) for name in hosts]
    assert plan(PLAIN, source_host(routes={0: V6_ROUTE}, netcats=old), target_host(netcats=old))


def test_a_target_given_twice_in_two_spellings() -> None:
    source = source_host(routes={0: V4_ROUTE, 1: V4_ROUTE})
    target = target_host(targets={0: target_facts(), 1: target_facts()})
    assert problems(TWO, source, target) == [
        "db2:/srv/z: is the same directory as db2:/srv/y; this target is given twice",
        "db2:/srv/y: 12,097,152 bytes are needed, but only 10,000,000 are free",
    ]


def test_targets_that_fit_one_by_one_but_not_together() -> None:
    source = source_host(routes={0: V4_ROUTE, 1: V4_ROUTE})
    shared = {0: target_facts(), 1: target_facts(ancestors=("7:10", "7:2"))}
    assert problems(TWO, source, target_host(targets=shared)) == [
        "db2:/srv/y: 12,097,152 bytes are needed, but only 10,000,000 are free"
    ]
    apart = {0: target_facts(), 1: target_facts(ancestors=("6:10", "6:2"))}
    assert len(plan(TWO, source, target_host(targets=apart)).edges) == 2


def test_every_reason_is_reported_at_once() -> None:
    wanted = request("db1:/srv/x", "db2:/srv/y", "db3:/srv/y", port=22)
    source = source_host(tools=without("ip", "tar"), source=source_facts(kind=""), routes={1: V4_ROUTE})
    target = target_host(uid=1, targets={0: TargetFacts(state=TargetState.MISSING)})
    assert problems(wanted, source, target, silent={"db3": "db3: no answer"}) == [
        "db3: no answer",
        "db1: tar is missing (Debian package tar)",
        "db1: ip is missing (Debian package iproute2)",
        "db2: remote commands run as user id 1, but owners and firewalls need root",
        "db2:/srv/y: no such directory; make it first",
        "db2: port 22 is in use",
        "db1:/srv/x: no such file or directory",
        "db1: has no address of db2, or no route to it; add the name to DNS or to /etc/hosts of db1",
    ]


def test_problems_of_targets_are_reported_also_if_the_source_does_not_answer() -> None:
    target = target_host(targets={0: TargetFacts(state=TargetState.MISSING)})
    with pytest.raises(PreflightError) as refused:
        make_plan(REQUEST, answers(target), RUN, {"db1": "db1: no answer"})
    assert refused.value.problems == ("db1: no answer", "db2:/srv/y: no such directory; make it first")


def test_the_ports_of_several_streams_must_exist() -> None:
    wanted = request("db1:/srv/x", "db2:/srv/y", port=65530, streams=8)
    expected = "db2:/srv/y: --streams 8 needs the ports up to 65537; choose another --port"
    assert problems(wanted, source_host(), target_host()) == [expected]


def test_the_lists_of_several_streams_need_more_space() -> None:
    several = request("db1:/srv/x", "db2:/srv/y", streams=2)
    source = source_host(source=source_facts(inodes=100), lists=100_000)
    assert problems(REQUEST, source, target_host()) == []
    (problem,) = problems(several, source, target_host())
    assert problem == "db1: the lists of files need 110,000 bytes in /var/tmp, but only 100,000 are free"
