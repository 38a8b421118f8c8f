"""The checks of hot copies and tarballs: every reason that prevents the transfer is reported, and no other."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fleet import (
    BACKUP_TOOL,
    TARBALLS,
    V4_ROUTE,
    database_facts,
    database_host,
    plan,
    problems,
    request,
    source_facts,
    source_host,
    tarball_host,
    target_facts,
    target_host,
    without,
)

from transferpy.host import perl_program
from transferpy.model.facts import HostFacts, TargetFacts, TargetState
from transferpy.model.request import TransferRequest

SOCKET = "db1:/run/mysqld/mysqld.sock"
SILENT = "the server did not give a valid answer:"
CANNOT_COMPARE = "cannot compare the files of the server with those of this host"
WOULD_READ = "would read other files: /data; does the server run in a container?"
NO_PROCESS = "no process that answers at the socket has files in it open; does the server run in a container?"
BACKUP = request(SOCKET, "db2:/srv/y", transfer_type="xtrabackup")
PREPARED = replace(BACKUP, options=replace(BACKUP.options, prepare=True))
TARBALL = request("db1:/srv/backups/sqldata.tar", "db2:/srv/y", transfer_type="decompress")
MARIADB_11 = BACKUP_TOOL.replace("10.11", "11.4")


NO_TARBALL = "is not a tarball (zstd, gzip, lz4, bzip2, lzip, lzop, xz or plain tar)"
ALL_BACKUP_TOOLS = ("mariadb-backup", "mariabackup", "xtrabackup")


class TestServer:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, []),
            ({"state": "missing"}, [f"{SOCKET}: no such socket; is the server running?"]),
            (
                {"state": "other"},
                [f"{SOCKET}: is not a socket; --type xtrabackup needs the socket of a running server"],
            ),
            (
                {"state": "silent", "error": "ERROR 1045 (28000): Access denied for user 'root'@'localhost'"},
                [f"{SOCKET}: {SILENT} ERROR 1045 (28000): Access denied for user 'root'@'localhost'"],
            ),
            (
                {"state": "silent", "error": "ERROR 2002 (HY000): Can't connect to local server through socket"},
                [f"{SOCKET}: {SILENT} ERROR 2002 (HY000): Can't connect to local server through socket"],
            ),
            (
                {"state": "files-other", "datadir": "/data/", "own": "/proc/17/root/data", "path": "/data"},
                [f"{SOCKET}: the server uses /proc/17/root/data, but the backup tool {WOULD_READ}"],
            ),
            (
                {"state": "files-unknown", "datadir": "/data/"},
                [f"{SOCKET}: cannot prove that the server uses /data/ of this host: {NO_PROCESS}"],
            ),
            (
                {"state": "files-unproven", "error": "perl ended with status 1: the client ended"},
                [f"{SOCKET}: {CANNOT_COMPARE}: perl ended with status 1: the client ended"],
            ),
            # the data of the server, not the size of the socket
            ({"disk": 8_951_425}, ["db2:/srv/y: 10,000,001 bytes are needed, but only 10,000,000 are free"]),
            ({"outside": "d/t, e/u"}, [f"{SOCKET}: tables with DATA DIRECTORY cannot be copied: d/t, e/u"]),
            (
                {"device": "/dev/sdb"},
                [f"{SOCKET}: the system tablespace is on a raw device, which cannot be copied: /dev/sdb"],
            ),
            ({"refused_option": "plugin_dir=/x"}, []),
            ({"inodes": 1000}, ["db2:/srv/y: 1,002 inodes are needed, but only 1,000 are free"]),
        ],
    )
    def test_a_server_that_cannot_be_copied(self, changes: dict[str, Any], expected: list[str]) -> None:
        facts = database_facts(**changes)
        if facts.state != "server":
            facts = replace(facts, version="", disk=0, inodes=0)
        assert problems(BACKUP, database_host(facts), target_host()) == expected

    def test_plugins_that_a_target_refuses_cannot_be_prepared(self) -> None:
        wanted = request(SOCKET, "db2:/srv/y", transfer_type="xtrabackup", prepare=True)
        facts = database_facts(refused_option="plugin_load=evil=evil.so")
        (problem,) = problems(wanted, database_host(facts), target_host())
        assert problem.startswith(f"{SOCKET}: a target cannot prepare the copy")
        assert problem.endswith("it refuses an option of the backup: plugin_load=evil=evil.so")

    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("/run/" + 34 * "é" + 34 * "x", None),
            ("/run/" + 34 * "é" + 35 * "x", "is longer than 107 bytes, which is the limit for the path of a socket"),
        ],
    )
    @pytest.mark.parametrize("state", ["server", "missing", "files-unknown"])
    def test_a_path_that_no_socket_has(self, path: str, problem: str | None, state: str) -> None:
        wanted = request(f"db1:{path}", "db2:/srv/y", transfer_type="xtrabackup")
        found = problems(wanted, database_host(database_facts(state=state)), target_host())
        if problem:
            assert found == [f"db1:{path}: {problem}"]
        else:
            assert len(found) == (state != "server")

    @pytest.mark.parametrize(
        ("server", "source", "target", "expected"),
        [
            ("10.11.9-MariaDB", {"mariadb-backup": BACKUP_TOOL}, {"mariadb-backup": BACKUP_TOOL}, []),
            (
                "10.11.9-MariaDB",
                {"mariadb-backup": MARIADB_11},
                {"mariadb-backup": BACKUP_TOOL},
                ["db1: mariadb-backup has version 11.4, but the server has version 10.11"],
            ),
            (
                "11.4.2-MariaDB",
                {"mariadb-backup": MARIADB_11},
                {"mariadb-backup": BACKUP_TOOL},
                ["db2: mariadb-backup has version 10.11, but the server has version 11.4"],
            ),
            (
                "10.6.18-MariaDB",
                {"mariadb-backup": BACKUP_TOOL},
                {"mariadb-backup": BACKUP_TOOL},
                [
                    "db1: mariadb-backup has version 10.11, but the server has version 10.6",
                    "db2: mariadb-backup has version 10.11, but the server has version 10.6",
                ],
            ),
            # only the tool that would be used counts
            ("10.11.9-MariaDB", {"mariadb-backup": BACKUP_TOOL, "xtrabackup": "xtrabackup version 8.0.35-31"}, {}, []),
            # an unknown version is not refused
            ("10.11.9-MariaDB", {"mariadb-backup": "cannot open shared object file"}, {"mariadb-backup": ""}, []),
        ],
    )
    def test_a_tool_of_another_major_version_than_the_server(
        self, server: str, source: dict[str, str], target: dict[str, str], expected: list[str]
    ) -> None:
        source_of = database_host(database_facts(version=server), backup_versions=source)
        assert problems(BACKUP, source_of, target_host(backup_versions=target)) == expected

    @pytest.mark.parametrize("checksum", [True, False])
    @pytest.mark.parametrize("inodes", [4_000_000, 4_000_001])
    def test_a_server_with_more_files_than_the_digesters_can_follow(self, inodes: int, *, checksum: bool) -> None:
        assert "$most_changed) = (4_000_000, " in perl_program("perl/pieces")
        wanted = replace(BACKUP, options=replace(BACKUP.options, checksum=checksum))
        found = problems(wanted, database_host(database_facts(inodes=inodes)), target_host())
        limit = f"{SOCKET}: the server has 4,000,001 files and directories, but --checksum allows only 4,000,000"
        assert [text for text in found if "--checksum" in text] == ([limit] if checksum and inodes > 4_000_000 else [])

    @pytest.mark.parametrize(
        ("name", "is_accepted"),
        [
            *(("10.11.19-MariaDB-0+deb12u1-log, Debian 12", True), ("11.4.2-log, mariadb.org: MariaDB Server", True)),
            *(("5.5.5-10.11.19-MariaDB, Debian 12", True), ("5.6.51-log, Debian 12", False)),
            *(("8.0.36-log, Debian 12", False), ("10.11.19-log, Debian 12", False), ("5.7.9, Debian 12", False)),
            *(("MariaDB, Debian 12", False), ("5.5.5-MariaDB, Debian 12", False), (", ", False)),
        ],
    )
    def test_a_server_whose_name_its_backup_tool_refuses(self, name: str, *, is_accepted: bool) -> None:
        expected = f"{SOCKET}: mariadb-backup refuses a server of the name '{name}' (set by its option --version)"
        found = problems(BACKUP, database_host(database_facts(name=name)), target_host())
        assert found == ([] if is_accepted else [expected])

    def test_facts_without_a_server_are_a_defect(self) -> None:
        with pytest.raises(ValueError, match="db1: the preflight did not query the server"):
            problems(BACKUP, source_host(), target_host())


class TestTools:
    @pytest.mark.parametrize(
        ("wanted", "source", "target", "expected"),
        [
            (BACKUP, ("mariadb-backup", "mariabackup"), ("mbstream",), []),
            (
                BACKUP,
                ALL_BACKUP_TOOLS,
                ALL_BACKUP_TOOLS,
                ["db1: mariadb-backup is missing (Debian package mariadb-backup)"],
            ),
            (BACKUP, ("mariadb",), (), []),
            (BACKUP, ("mariadb", "mysql"), (), ["db1: mariadb is missing (Debian package mariadb-client)"]),
            (BACKUP, ("mbstream", "xbstream"), ("mariadb", "mysql"), []),
            (
                BACKUP,
                (),
                ("mbstream", "xbstream"),
                ["db2: mbstream is missing (Debian package mariadb-backup)"],
            ),
            (
                PREPARED,
                (),
                ALL_BACKUP_TOOLS,
                ["db2: mariadb-backup is missing (Debian package mariadb-backup)"],
            ),
            (PREPARED, (), ("mariadb-backup", "mariabackup"), []),
            # no other type misses them
            (TARBALL, (*ALL_BACKUP_TOOLS, "mariadb", "mysql", "zstd"), (*ALL_BACKUP_TOOLS, "mbstream"), []),
        ],
    )
    def test_one_of_several_equivalent_tools_is_needed(
        self, wanted: TransferRequest, source: tuple[str, ...], target: tuple[str, ...], expected: list[str]
    ) -> None:
        make = database_host if wanted is not TARBALL else lambda tools: tarball_host("zstd", tools=tools)
        assert problems(wanted, make(tools=without(*source)), target_host(tools=without(*target))) == expected

    @pytest.mark.parametrize(
        ("tarball", "missing", "expected"),
        [
            ("gzip", ("pigz",), []),
            ("gzip", ("gzip",), ["db2: gzip is missing (Debian package gzip)"]),
            ("zstd", ("zstd",), ["db2: zstd is missing (Debian package zstd)"]),
            ("lz4", ("lz4",), ["db2: lz4 is missing (Debian package lz4)"]),
            ("xz", ("xz",), ["db2: xz is missing (Debian package xz-utils)"]),
            ("lzip", ("lzip", "xz"), ["db2: lzip is missing (Debian package lzip)"]),
            ("plain", ("zstd", "lz4", "xz", "pigz", "gzip", "bzip2"), []),
        ],
    )
    def test_a_tarball_needs_its_decompressor_on_the_target(
        self, tarball: str, missing: tuple[str, ...], expected: list[str]
    ) -> None:
        target = target_host(tools=without(*missing))
        assert problems(TARBALL, tarball_host(tarball, tools=without(*missing)), target) == expected

    @pytest.mark.parametrize("wanted", [BACKUP, PREPARED, TARBALL])
    def test_the_new_owner_must_exist_on_the_target(self, wanted: TransferRequest) -> None:
        source = database_host() if wanted is not TARBALL else tarball_host("gzip")
        assert problems(wanted, source, target_host(unknown_owner="mysql")) == [
            "db2: the user or group mysql does not exist (--owner)"
        ]


class TestTarball:
    @pytest.mark.parametrize(
        ("source", "magic", "expected"),
        [
            ({"kind": "d"}, b"", "is not a file; --type decompress needs a tarball"),
            ({"kind": "p"}, b"", "is not a file; --type decompress needs a tarball"),
            ({"kind": "b"}, b"\x1f\x8b", "is not a file; --type decompress needs a tarball"),
            ({"kind": ""}, b"", "no such file or directory"),
            ({"error": "find: 'x': Input/output error"}, b"", "cannot be read: find: 'x': Input/output error"),
            *[({}, head, NO_TARBALL) for head in (b"", b"\x1f", b"#!/bin/sh\n", b"7z\xbc\xaf\x27\x1c", bytes(512))],
        ],
    )
    def test_a_file_of_another_kind_is_refused(self, source: dict[str, Any], magic: bytes, expected: str) -> None:
        facts = source_facts("/srv/backups", "sqldata.tar", **{"kind": "f", **source})
        found = problems(TARBALL, source_host(source=facts, magic=magic), target_host())
        assert found == [f"db1:/srv/backups/sqldata.tar: {expected}"]

    @pytest.mark.parametrize("name", TARBALLS)
    def test_the_first_bytes_of_a_file_make_it_a_tarball(self, name: str) -> None:
        assert problems(TARBALL, tarball_host(name), target_host()) == []


def for_each_type(facts: Mapping[str, Any]) -> Iterable[tuple[TransferRequest, HostFacts]]:
    return [(BACKUP, database_host(**facts)), (TARBALL, tarball_host("gzip", **facts))]


class TestTarget:
    @pytest.mark.parametrize(("wanted", "source"), for_each_type({}))
    def test_a_target_directory_must_be_empty(self, wanted: TransferRequest, source: HostFacts) -> None:
        full = target_host(targets={0: target_facts(empty=False)})
        assert problems(wanted, source, full) == [
            f"db2:/srv/y: is not empty; --type {wanted.options.transfer_type} needs an empty directory"
        ]

    @pytest.mark.parametrize(("wanted", "source"), for_each_type({}))
    def test_a_missing_target_directory_is_the_only_reason(self, wanted: TransferRequest, source: HostFacts) -> None:
        missing = target_host(targets={0: TargetFacts(state=TargetState.MISSING)})
        assert problems(wanted, source, missing) == ["db2:/srv/y: no such directory; make it first"]

    @pytest.mark.parametrize(("wanted", "source"), for_each_type({"boot": "one", "routes": {0: V4_ROUTE}}))
    def test_the_name_of_the_source_is_not_checked(self, wanted: TransferRequest, source: HostFacts) -> None:
        """Neither is anything called like the source in the way, nor can the target lie in it."""
        taken = target_facts(taken=True, final_identity="7:8", ancestors=("7:9", "7:8"))
        assert problems(wanted, source, target_host(boot="one", targets={0: taken})) == []

    def test_the_target_of_a_file_or_tree_may_contain_other_files(self) -> None:
        full = target_host(targets={0: target_facts(empty=False)})
        assert problems(request("db1:/srv/x", "db2:/srv/y"), source_host(), full) == []


def test_every_reason_is_reported_at_once() -> None:
    wanted = request(SOCKET, "db2:/srv/y", "db3:/srv/y", transfer_type="xtrabackup", prepare=True)
    source = database_host(database_facts(state="missing"), tools=without(*ALL_BACKUP_TOOLS), routes={1: V4_ROUTE})
    target = target_host(tools=without("mbstream", "xbstream"), targets={0: target_facts(empty=False)})
    assert problems(wanted, source, target, silent={"db3": "db3: no answer"}) == [
        "db3: no answer",
        "db1: mariadb-backup is missing (Debian package mariadb-backup)",
        "db2: mbstream is missing (Debian package mariadb-backup)",
        "db2:/srv/y: is not empty; --type xtrabackup needs an empty directory",
        f"{SOCKET}: no such socket; is the server running?",
        "db1: has no address of db2, or no route to it; add the name to DNS or to /etc/hosts of db1",
    ]


@pytest.mark.parametrize("wanted", [BACKUP, TARBALL])
def test_problems_of_targets_are_reported_also_if_the_source_does_not_answer(wanted: TransferRequest) -> None:
    full = target_host(targets={0: target_facts(empty=False)})
    assert problems(wanted, full, silent={"db1": "db1: no answer"}) == [
        "db1: no answer",
        f"db2:/srv/y: is not empty; --type {wanted.options.transfer_type} needs an empty directory",
    ]


@pytest.mark.parametrize(
    ("missing", "compares"),
    [((), True), (("mariadb-backup",), True), (("mariadb-backup", "mariabackup"), False), (("mbstream",), False)],
)
def test_files_of_a_server_are_compared_unless_the_stream_is_of_another_tool(
    missing: tuple[str, ...], *, compares: bool
) -> None:
    source = database_host(tools=without(*missing), routes={0: V4_ROUTE})
    made = plan(BACKUP, source, target_host(tools=without(*missing)))
    assert made.options.checksum == compares
    (edge,) = made.edges
    digest = made.sessions[edge.receiver].digest
    assert (made.algorithm, digest is not None) == ("xxh128" if compares else "", compares)
    sent, received = (next(iter(part.pipelines.values())).names for part in (edge.sending, edge.listening))
    assert ("perl" in sent) == compares
    assert ("perl" in received) == (compares or missing == ("mbstream",))


class TestSources:
    def test_the_root_directory_is_not_copied(self) -> None:
        source = source_host(source=source_facts("/", ""))
        (problem,) = problems(request("db1:/srv/x", "db2:/srv/y"), source, target_host())
        assert problem.startswith("db1:/srv/x: is the root directory, ")

    @pytest.mark.parametrize("name", ["var", "var/tmp"])
    def test_the_directory_of_the_lists_is_not_copied(self, name: str) -> None:
        directory, _, name = f"/{name}".rpartition("/")
        source = source_host(source=source_facts(directory or "/", name))
        found = problems(request(f"db1:{directory}/{name}", "db2:/srv/y"), source, target_host())
        assert found == [f"db1:{directory}/{name}: contains /var/tmp, where a run stores its lists"]

    def test_the_lists_of_all_files_need_space_on_disk(self) -> None:
        source = source_host(source=source_facts(inodes=1_000_000), lists=900_000_000)
        target = target_host(targets={0: target_facts(inodes=2_000_000)}, lists=800_000_000)
        found = problems(request("db1:/srv/x", "db2:/srv/y"), source, target)
        assert found == ["db2: the lists of files need 850,000,000 bytes in /var/tmp, but only 800,000,000 are free"]

    def test_the_lists_of_a_hot_copy_need_space_for_each_part_of_a_file(self) -> None:
        source = database_host(database_facts(disk=(10 << 20) * 100_000, inodes=100), lists=900_000_000)
        target = target_host(targets={0: target_facts(free=2 << 40)}, lists=50_000_000)
        found = problems(BACKUP, source, target)
        assert found == ["db2: the lists of files need 50,085,000 bytes in /var/tmp, but only 50,000,000 are free"]
