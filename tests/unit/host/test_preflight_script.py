"""The script of the preflight on a host: its answers are correct for any names."""

import fcntl
import html
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from bash import HOSTILE_NAMES, NASTIEST_NAMES, output_of
from fleet import request
from host_text import RUN, TIMEOUT, events, host_script
from raw_events import Event, parse_event

from transferpy.agent.preflight import PreflightQuery, preflight_script
from transferpy.agent.preflight_answers import parse_facts
from transferpy.host import assemble, perl_program
from transferpy.model.facts import HostFacts, SourceFacts, TargetFacts, TargetState
from transferpy.model.tools import packages
from transferpy.planning.query import preflight_queries
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_assignment, render_command


def answers_of(directory: Path, questions: PreflightQuery) -> HostFacts:
    """Return the answers of this machine to a preflight that changes no dead run and no firewall of the machine."""
    script = preflight_script(RUN, questions)
    calls = script.rindex("\nstart_activity_reports\n")
    script = (
        script[:calls]
        + "\nrecover_stale_runs() { :; }; iptables_facts() { :; }; nftables_facts() { :; }; firewalld_facts() { :; }"
        + script[calls:]
    )
    return parse_facts("db1", RUN, questions, output_of(script, cwd=directory).decode().splitlines())


def source(directory: Path, path: str) -> SourceFacts:
    found = answers_of(directory, PreflightQuery(source_path=path)).source
    assert found is not None
    return found


def target(directory: Path, path: str, name: str = "x") -> TargetFacts:
    return answers_of(directory, PreflightQuery(targets=((0, path, name),))).targets[0]


def identity(path: Path) -> str:
    status = path.lstat()
    return f"{status.st_dev}:{status.st_ino}"


def events_of(directory: Path, script: str, **tools: str) -> list[Event]:
    """Return the events of functions of the preflight on a host with these tools and those that the script needs."""
    path = directory / "tools"
    path.mkdir()
    for name in ("base64", "head", "grep", "cut", "uniq", "nproc"):
        (path / name).symlink_to(str(shutil.which(name)))
    for name, body in tools.items():
        (path / name.replace("_", "-").replace("-dot-", ".")).write_text(f"#!/bin/bash\n{body}\n")
        (path / name.replace("_", "-").replace("-dot-", ".")).chmod(0o755)
    narrow = f"{render_assignment('PATH', str(path))}\n{script}"
    return events(output_of(host_script(directory, narrow, "preflight/main"), cwd=directory))


class TestHost:
    def test_a_host_reports_its_identity(self, tmp_path: Path) -> None:
        facts = answers_of(tmp_path, PreflightQuery())
        assert (facts.uid, facts.cores) == (os.geteuid(), len(os.sched_getaffinity(0)))
        assert facts.boot == Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        assert {"tar", "flock", "awk", "perl", "cmp", "md5sum", "getent"} <= facts.tools <= {*packages()}

    def test_a_port_on_which_something_listens_is_named(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert port in answers_of(tmp_path, PreflightQuery()).listening
        assert port not in answers_of(tmp_path, PreflightQuery()).listening

    def test_a_tool_counts_only_if_it_can_be_run(self, tmp_path: Path) -> None:
        (tmp_path / "tools" / "tar").parent.mkdir()
        (tmp_path / "tools" / "tar").touch(mode=0o644)
        (tmp_path / "tools").rename(tmp_path / "elsewhere")
        script = f"PATH=$PATH:{tmp_path}/elsewhere; host_facts pigz tar socat 2>/dev/null"
        (event,) = events_of(tmp_path, script, pigz="", netstat="")
        assert event.fields["tools"] == "pigz"

    def test_the_buffers_of_sockets_are_those_of_the_kernel(self, tmp_path: Path) -> None:
        found = answers_of(tmp_path, PreflightQuery()).buffers
        assert found
        largest = [int(Path(f"/proc/sys/net/ipv4/tcp_{name}").read_text().split()[2]) for name in ("wmem", "rmem")]
        assert [found.send, found.receive] == largest

    @pytest.mark.parametrize(
        ("socat", "expected"), [("# setsockopt-listen", "yes"), ("# setsockopt-int", "no"), (None, "no")]
    )
    def test_buffers_are_forced_only_with_a_socat_that_can(
        self, tmp_path: Path, socat: str | None, expected: str
    ) -> None:
        # Only root has the capability.
        tools = {"perl": 'case "$2" in *setsockopt*) exit 0 ;; esac', **({"socat": socat} if socat else {})}
        (event,) = events_of(tmp_path, "buffer_facts", **tools)
        assert event.fields["forced"] == expected

    def test_buffers_are_not_forced_where_the_kernel_refuses_that(self, tmp_path: Path) -> None:
        (event,) = events_of(tmp_path, "buffer_facts", socat="# setsockopt-listen", perl="exit 1")
        assert event.fields["forced"] == "no"

    def test_a_host_with_the_system_calls_has_relays_and_watches(self, tmp_path: Path) -> None:
        found = answers_of(tmp_path, PreflightQuery()).buffers
        assert found
        assert (found.relays, found.watches) == (True, True)

    def test_a_host_without_the_system_calls_has_none(self, tmp_path: Path) -> None:
        (event,) = events_of(tmp_path, "buffer_facts", perl="exit 1")
        assert (event.fields["relays"], event.fields["watches"]) == ("no", "no")

    def test_a_host_that_forbids_copies_of_descriptors_has_no_watches(self) -> None:
        program = perl_program("perl/stream_abilities").replace("$process, 0, 0)", "$process, 9999, 0)")
        found = subprocess.run(["perl", "-e", program], capture_output=True, text=True, timeout=TIMEOUT, check=True)
        assert found.stdout == "relays=yes watches=no\n"

    def test_each_netcat_is_identified(self, tmp_path: Path) -> None:
        nc = "echo OpenBSD netcat >&2; exit 1"
        found = events_of(
            tmp_path, "netcat_facts nc ncat nc.openbsd", nc=nc, nc_dot_openbsd="read -r; head -c 9999 /dev/zero"
        )
        assert [(event.fields["name"], event.text("help")) for event in found] == [
            ("nc", "OpenBSD netcat\n"),
            ("nc.openbsd", "\0" * 500),
        ]


class TestFirewalls:
    LISTING = """case "$*" in -V) echo 'iptables v1.8.9 (nf_tables)' ;; *) echo "$0 $*"; echo two; echo three ;; esac"""

    def test_each_installed_tool_runs_with_little_work(self, tmp_path: Path) -> None:
        found = events_of(tmp_path, "iptables_facts; nftables_facts", iptables=self.LISTING, nft='echo "{ $* }"')
        assert [(event.fields["tool"], event.text("rules")) for event in found] == [
            ("iptables", f"{tmp_path}/tools/iptables -w 30 -S INPUT\ntwo\n"),
            ("nft", "{ -j list chains }"),
        ]

    def test_of_the_mangle_and_security_tables_only_chains_that_can_drop_input_are_reported(
        self, tmp_path: Path
    ) -> None:
        rules = """
            case "$*" in
              *mangle*)
                echo '-P INPUT ACCEPT'
                echo '-P OUTPUT ACCEPT'
                echo '-N LOG-AND-DROP'
                echo '-A PREROUTING -s 10.0.0.1 -j DROP'
                echo '-A INPUT -p tcp -j MARK --set-mark 1'
                echo '-A LOG-AND-DROP -j DROP'
                echo '-A INPUT -p udp -j DROP'
                ;;
              *security*) echo '-P INPUT DROP' ;;
            esac
        """
        found = events_of(tmp_path, "iptables_facts", iptables=rules)
        assert [(event.fields["tool"], event.text("rules")) for event in found] == [
            ("iptables", ""),
            ("iptables:mangle", "-P INPUT ACCEPT\n-A LOG-AND-DROP -j DROP\n"),
            ("iptables:security", "-P INPUT DROP\n"),
        ]

    @pytest.mark.parametrize(
        ("nft", "asked"),
        [
            ('echo \'{"nftables": [{"metainfo": {}}, {"chain": {"table": "filter"}}]}\'', set()),
            ('echo \'{"nftables": [{"metainfo": {}}, {"chain": {"table": "mangle"}}]}\'', {"mangle"}),
            ('echo \'{"nftables": [{"metainfo": {}}]}\'; exit 1', {"mangle", "security"}),
            ("echo unknown option", {"mangle", "security"}),
            (":", {"mangle", "security"}),
            (None, {"mangle", "security"}),
        ],
        ids=["neither", "mangle", "failed", "no JSON", "empty", "no nft"],
    )
    def test_a_table_of_iptables_is_listed_unless_nft_lists_all_chains_and_none_of_that_table(
        self, tmp_path: Path, nft: str | None, asked: set[str]
    ) -> None:
        listing = f"""case "$*" in -V) echo 'v1.8.9 (nf_tables)' ;; *-t*) echo "$4" >>{tmp_path}/asked ;; esac"""
        (tmp_path / "asked").touch()
        events_of(tmp_path, "iptables_facts; nftables_facts", iptables=listing, **({"nft": nft} if nft else {}))
        assert set((tmp_path / "asked").read_text().split()) == asked

    def test_each_tool_of_a_firewall_is_asked_once(self, tmp_path: Path) -> None:
        tools = {name: f'echo "{name} $*" >>{tmp_path}/asked; echo metainfo' for name in ("iptables", "nft")}
        events_of(tmp_path, "iptables_facts; nftables_facts", **tools)
        asked = (tmp_path / "asked").read_text().splitlines()
        assert sorted(asked) == sorted(set(asked))

    def test_of_thousands_of_chains_only_those_with_a_hook_are_reported(self, tmp_path: Path) -> None:
        # As nft prints them; a name cannot contain a brace.
        chain = '{"family": "inet", "table": "t", "name": "%s", "handle": 1%s}'
        hook = ', "type": "filter", "hook": "input", "prio": 0, "policy": "drop"'
        chains = [chain % ("first", hook), *(chain % (f"c{number}", "") for number in range(20_000))]
        chains += [chain % ("last", hook)]
        listing = '{"nftables": [{"metainfo": {"version": "1.0.6"}}, %s]}'
        (tmp_path / "listing").write_text(listing % ", ".join(f'{{"chain": {each}}}' for each in chains))
        script = "has_tool() { :; }; nft() { cat listing; }; nftables_facts"
        (event,) = events(output_of(host_script(tmp_path, script, "preflight/main"), cwd=tmp_path))
        found = json.loads(event.text("rules"))["nftables"]
        assert [item["chain"]["name"] for item in found] == ["first", "last"]

    def test_a_tool_that_fails_has_no_rules(self, tmp_path: Path) -> None:
        found = events_of(
            tmp_path, "iptables_facts; nftables_facts", ip6tables="echo no such table >&2; exit 1", nft="exit 1"
        )
        assert [(event.fields["tool"], event.text("rules")) for event in found] == [("ip6tables", ""), ("nft", "")]

    def test_the_older_tables_are_left_alone_where_they_are_not_in_use(self, tmp_path: Path) -> None:
        legacy = "echo 'iptables v1.8.9 (legacy)'; [ \"$1\" = -V ] || touch asked"
        script = 'has_line() { [ "$*" = "filter /proc/net/ip6_tables_names" ]; }; iptables_facts'
        found = events_of(tmp_path, script, iptables=legacy, iptables_legacy=legacy, ip6tables_legacy=self.LISTING)
        assert [event.fields["tool"] for event in found] == ["ip6tables-legacy"]
        assert not (tmp_path / "asked").exists()


IP = """
case "$4" in
  198.18.0.2) echo '198.18.0.2 dev eth0 src 198.18.0.1 uid 0 \\    cache' ;;
  198.18.9.9) echo '198.18.9.9 via 198.18.0.254 dev eth0 src 198.18.0.1 uid 0 \\    cache' ;;
  2001:db8::2) echo '2001:db8::2 from :: dev eth0 proto kernel src 2001:db8::1 metric 256 pref medium' ;;
  127.0.0.1) echo 'local 127.0.0.1 dev lo src 127.0.0.1 uid 0 \\    cache <local>' ;;
  192.0.2.1) echo 'unreachable 192.0.2.1' ;;
  *) echo 'RTNETLINK answers: Network is unreachable' >&2; exit 2 ;;
esac
"""
NAMES = """
case "$2" in
  db2) printf '198.18.0.2      %s\\n' 'STREAM db2' DGRAM RAW ;;
  db6) printf '%s STREAM\\n' 2001:db8::3 2001:db8::2 198.18.0.2 ;;
  lost) echo '203.0.113.1 STREAM' ;;
  refused) printf '%s STREAM\\n' 192.0.2.1 198.18.9.9 ;;
  *) exit 2 ;;
esac
"""


class TestRoutes:
    @pytest.mark.parametrize(
        ("call", "address", "seen"),
        [
            ("db2", "198.18.0.2", "198.18.0.1"),
            ("db6", "2001:db8::2", "2001:db8::1"),
            ("refused", "198.18.9.9", "198.18.0.1"),
            ("unknown 203.0.113.1 198.18.9.9", "198.18.9.9", "198.18.0.1"),
            ("lost 198.18.0.2", "198.18.0.2", "198.18.0.1"),
            ("localhost", "127.0.0.1", "127.0.0.1"),
        ],
    )
    def test_the_first_address_with_a_route_is_taken(self, tmp_path: Path, call: str, address: str, seen: str) -> None:
        (event,) = events_of(tmp_path, f"unset SSH_CONNECTION; route_facts 3 {call}", ip=IP, getent=NAMES)
        assert event == Event("route", {"index": "3", "address": address, "source": seen})

    def test_localhost_is_where_the_connection_to_this_host_came_from(self, tmp_path: Path) -> None:
        script = 'SSH_CONNECTION="198.18.9.9 50000 198.18.0.1 22"; route_facts 0 localhost'
        (event,) = events_of(tmp_path, script, ip=IP, getent=NAMES)
        assert (event.fields["address"], event.fields["source"]) == ("198.18.9.9", "198.18.0.1")

    @pytest.mark.parametrize("call", ["unknown", "lost", "unknown 203.0.113.1", "db2x ''"])
    def test_without_a_route_no_address_is_reported(self, tmp_path: Path, call: str) -> None:
        assert events_of(tmp_path, f"route_facts 0 {call}", ip=IP, getent=NAMES) == []


class TestSource:
    @pytest.mark.parametrize("name", NASTIEST_NAMES)
    def test_a_file_of_any_name_in_a_directory_of_any_name(self, tmp_path: Path, name: str) -> None:
        directory = tmp_path / name
        directory.mkdir()
        (directory / name).write_bytes(b"x" * 5000)
        found = source(tmp_path, f"{directory}/{name}")
        assert (found.directory, found.name, found.kind, found.error) == (str(directory), name, "f", "")
        assert (found.identity, found.files, found.inodes, found.bytes) == (identity(directory / name), 1, 1, 5000)
        assert found.disk == (directory / name).stat().st_blocks * 512

    def test_the_size_of_a_tree_is_the_space_that_its_copy_needs(self, tmp_path: Path) -> None:
        top = tmp_path / "x"
        for name in HOSTILE_NAMES:
            (top / name).mkdir(parents=True)
            (top / name / name).write_bytes(b"x" * 10)
            (top / name / "second").hardlink_to(top / name / name)
            (top / name / "link").symlink_to("/nowhere")
        with (top / "sparse").open("wb") as file:
            file.truncate(1 << 40)
        os.mkfifo(top / "fifo")
        found = source(tmp_path, str(top))
        everything = {path.lstat().st_ino: path.lstat() for path in (top, *top.rglob("*"))}
        assert found == SourceFacts(
            directory=str(tmp_path),
            name="x",
            kind="d",
            identity=identity(top),
            disk=sum(status.st_blocks for status in everything.values()) * 512,
            inodes=len(everything),
            files=len(HOSTILE_NAMES) + 1,
            directories=len(HOSTILE_NAMES) + 1,
            bytes=10 * len(HOSTILE_NAMES) + (1 << 40),
            largest=1 << 40,
        )

    @pytest.mark.parametrize("file", ["ibdata1", "aria_log_control"])
    def test_the_locks_of_a_data_directory_show_that_its_server_runs(self, tmp_path: Path, file: str) -> None:
        (tmp_path / "x").mkdir()
        with (tmp_path / "x" / file).open("w") as held:
            assert not source(tmp_path, str(tmp_path / "x")).server
            fcntl.lockf(held, fcntl.LOCK_EX)
            assert source(tmp_path, str(tmp_path / "x")).server
        assert not source(tmp_path, str(tmp_path / "x")).server

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
    def test_a_host_that_cannot_run_a_program_without_links_reports_the_error(self, tmp_path: Path) -> None:
        (tmp_path / "x").mkdir()
        assert source(tmp_path, str(tmp_path / "x")).links_error == ""
        script = assemble("preflight/source", variables={"run_id": RUN}, call=f"source_facts {tmp_path}/x")
        command = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "bash", "-c", script)
        (answer,) = events(subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT).stdout)
        assert answer.text("links_error") == "open_tree: Operation not permitted"

    def test_sockets_are_counted_apart(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        (tmp_path / "x").mkdir()
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("x/socket")
        found = source(tmp_path, str(tmp_path / "x"))
        assert (found.sockets, found.inodes) == (1, 1)
        assert source(tmp_path, str(tmp_path / "x/socket")).kind == "s"

    @pytest.mark.parametrize(
        ("path", "directory", "name", "kind"),
        [
            ("{0}/link", "{0}", "link", "l"),
            ("{0}/link/", "{0}/real", "tree\n", "d"),
            ("{0}/real/tree\n///", "{0}/real", "tree\n", "d"),
            ("{0}/real//tree\n", "{0}/real/", "tree\n", "d"),
            ("{0}/file/", "{0}", "file", "f"),
            ("{0}/dangling", "{0}", "dangling", "l"),
            ("{0}/none", "{0}", "none", ""),
            ("{0}/file/none", "{0}/file", "none", ""),
            ("file", ".", "file", "f"),
            ("-", ".", "-", "f"),
            ("real/tree\n", "./real", "tree\n", "d"),
            ("/dev", "/", "dev", "d"),
            ("//dev/", "/", "dev", "d"),
        ],
    )
    def test_a_path_has_a_directory_and_a_name(
        self, tmp_path: Path, path: str, directory: str, name: str, kind: str
    ) -> None:
        (tmp_path / "real" / "tree\n").mkdir(parents=True)
        (tmp_path / "link").symlink_to("real/tree\n")
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "file").touch()
        (tmp_path / "-").touch()
        found = source(tmp_path, path.format(tmp_path))
        assert (found.directory, found.name, found.kind) == (directory.format(tmp_path), name, kind)

    @pytest.mark.parametrize("name", NASTIEST_NAMES)
    def test_file_systems_that_may_be_wrong_about_holes_are_named(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name / name).mkdir(parents=True)
        (tmp_path / "link").symlink_to(name)
        path = os.fsencode(tmp_path / name / name)
        mount = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in path)
        (tmp_path / "mounts").write_bytes(b"1 2 0:9 / %s rw - x x x\n1 2 0:8 / /proc rw - x x x\n" % mount)
        script = f"""
            {render_assignment("hostile", name)}
            eval "$(declare -f list_unproven | sed 's,/proc/self/mountinfo,mounts,')"
            stat() {{
                for place in "${{@:5}}"; do
                    case $place in */"$hostile/$hostile") echo 65735546 fuseblk ;; *) echo ef53 ext2/ext3 ;; esac
                done
            }}
            for path in "$PWD/$hostile" link/; do list_unproven "$path"; echo "$REPLY"; done
        """
        assert output_of(host_script(tmp_path, script, "preflight/main"), cwd=tmp_path) == b"fuseblk\nfuseblk\n"

    @pytest.mark.parametrize("name", [*NASTIEST_NAMES, "disk 1", "\t7", "100%s %d\\n", "-v x"])
    def test_the_point_of_a_mount_can_have_any_name(self, tmp_path: Path, name: str) -> None:
        path = os.fsencode(tmp_path / name)
        point = b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes([byte]) for byte in path)
        (tmp_path / "mounts").write_bytes(b"1 2 0:9 / %s rw - tmpfs x x\n" % point)
        script = f"""
            {render_assignment("point", os.fspath(tmp_path / name))}
            eval "$(declare -f read_mounts | sed 's,/proc/self/mountinfo,mounts,')"
            read_mounts; [ "${{mount_points[0]}}" = "$point" ] && echo found
        """
        assert output_of(host_script(tmp_path, script, "preflight/main"), cwd=tmp_path) == b"found\n"

    def test_a_pseudo_file_system_that_a_later_mount_hides_is_no_part_of_the_source(self, tmp_path: Path) -> None:
        (tmp_path / "x" / "hidden").mkdir(parents=True)
        status = (tmp_path / "x").stat()
        device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        (tmp_path / "mounts").write_text(
            f"1 2 {device} / / rw - ext4 x x\n"
            f"1 2 0:999 / {tmp_path}/x/hidden rw - proc x x\n"
            f"1 2 {device} / {tmp_path}/x rw - proc x x\n"
        )
        script = f"""
            eval "$(declare -f read_mounts | sed 's,/proc/self/mountinfo,mounts,')"
            mount_facts {tmp_path}; mount_facts {tmp_path}/x
        """
        output = output_of(host_script(tmp_path, script, "preflight/main"), cwd=tmp_path)
        found = [(event.text("path"), event.fields["kind"]) for event in events(output)]
        assert found == [(f"{tmp_path}/x", "pseudo"), (f"{tmp_path}/x", "source")]

    def test_holes_on_virtual_file_systems_do_not_count(self, tmp_path: Path) -> None:
        assert source(tmp_path, "/proc/self/status").unproven == "proc"
        assert source(tmp_path, "/dev/shm").unproven == ""

    def test_a_source_that_cannot_be_read_is_reported(self, tmp_path: Path) -> None:
        find = "echo 'd 7:8'; [ \"$2\" = -maxdepth ] || echo \"find: '/x y/a': Permission denied\" >&2"
        perl = f'exec {shutil.which("perl")} "$@"'
        (event,) = events_of(tmp_path, "source_facts /x", find=find, perl=perl)
        assert event.text("error") == "find: '/x y/a': Permission denied"


class TestTarball:
    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_the_first_bytes_of_a_file_are_reported(self, tmp_path: Path, name: str) -> None:
        content = bytes(range(256)) * 3
        (tmp_path / name).write_bytes(content)
        for path in (f"{tmp_path}/{name}", f"{tmp_path}/{name}/", f"./{name}"):
            found = answers_of(tmp_path, PreflightQuery(source_path=path, magic=True))
            assert found.magic == content[:512]

    @pytest.mark.parametrize("content", [b"", b"x", b"\n" * 511])
    def test_all_bytes_of_a_short_file_are_reported(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x").write_bytes(content)
        assert answers_of(tmp_path, PreflightQuery(source_path=f"{tmp_path}/x", magic=True)).magic == content

    def test_a_source_that_is_not_a_file_is_not_read(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "directory").mkdir()
        for path in (tmp_path / "fifo", tmp_path / "directory", tmp_path / "none", "/dev/zero", "/"):
            assert answers_of(tmp_path, PreflightQuery(source_path=str(path), magic=True)).magic == b""

    def test_a_link_to_the_latest_one_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "sqldata.2026-11-22.tar").write_bytes(b"x" * 5000)
        (tmp_path / "latest").symlink_to("sqldata.2026-11-22.tar")
        (tmp_path / "dangling").symlink_to("nowhere")
        wanted = request(f"db1:{tmp_path}/latest", "db2:/srv/y", transfer_type="decompress")
        found = answers_of(tmp_path, replace(preflight_queries(wanted, {})["db1"], routes=()))
        assert found.source is not None
        assert (found.source.name, found.source.kind, found.source.bytes) == ("sqldata.2026-11-22.tar", "f", 5000)
        assert found.magic == b"x" * 512
        wanted = request(f"db1:{tmp_path}/dangling", "db2:/srv/y", transfer_type="decompress")
        found = answers_of(tmp_path, replace(preflight_queries(wanted, {})["db1"], routes=()))
        assert found.source is not None
        assert found.source.kind == ""


def answering(
    version: str = "10.11.14",
    datadir: str | Path = "/none",
    logs: tuple[str, str] = ("", ""),
    name: str = "10.11.14-MariaDB",
) -> str:
    """Return a bash script that answers as the client of a server does."""
    values = {
        "version": version,
        "datadir": str(datadir),
        "binary_log": logs[0],
        "relay_log": logs[1],
        "name": name,
    }
    fields = "".join(
        f'<field name="{key}">{html.escape(value)}</field>' if value else f'<field name="{key}" xsi:nil="true" />'
        for key, value in values.items()
    )
    return f"printf '%s\\n' {shlex.quote(f'<resultset><row>{fields}</row></resultset>')}"


def showing(settings: dict[str, str]) -> str:
    """Return a command that answers SHOW VARIABLES."""
    rows = "".join(
        f'<row><field name="Variable_name">{name}</field><field name="Value">{value}</field></row>'
        for name, value in settings.items()
    )
    return f"printf '%s\\n' {shlex.quote(f'<resultset>{rows}</resultset>')}"


class TestServer:
    """The answers of a server come from a program with the name of its client."""

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """Return a directory with a data directory and the socket of a server in it."""
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        (tmp_path / "data dir").mkdir()
        (tmp_path / "data dir" / "ibdata1").write_bytes(b"x" * 100_000)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
            yield tmp_path

    def database(
        self, place: Path, path: str, *options: str, files: str = "print qq(files=same\\n)", **clients: str
    ) -> Event:
        tools = {
            **{
                tool: f'exec /usr/bin/{tool} "$@"'
                for tool in ("find", "perl", "sed", "sort", "awk", "sleep", "timeout")
            },
            **clients,
        }
        program = render_assignment("perl_server_files", files)
        call = f"answer_seconds=1; {program}; {render_command(Command(('database_facts', path, *options)))}"
        (event,) = events_of(place, call, **tools)
        assert event.name == "database"
        return event

    def test_a_server_reports_its_version_and_its_size(self, place: Path) -> None:
        words = shlex.quote(f"--defaults-file=/r --socket=s --xml --skip-html --execute {ASKED}")
        client = f"""[[ $* != *datadir* || "$*" = {words} ]] || exit 9
            {answering("10.11", f"{place}/data dir", name="5.6.7, Debian <12>")}"""
        event = self.database(place, f"{place}/socket", "--defaults-file=/r", "--socket=s", mariadb=client)
        assert (event.fields["state"], event.text("version")) == ("server", "10.11")
        assert event.text("name") == "5.6.7, Debian <12>"
        assert event.text("datadir") == f"{place}/data dir"
        used = sum(path.stat().st_blocks * 512 for path in (place / "data dir", place / "data dir" / "ibdata1"))
        assert (int(event.fields["disk"]), event.fields["inodes"]) == (used, "2")

    def test_files_outside_the_data_directory_are_counted_and_such_tables_named(self, place: Path) -> None:
        data, outside = place / "data dir", place / "else where"
        paths = ("undo/undo001", "undo/other", "home/ibdata2", "system/ibdata3", "base/t.ibd", "t.MYD", "a.MAD")
        for path in paths:
            (outside / path).parent.mkdir(exist_ok=True, parents=True)
            (outside / path).write_bytes(b"x" * 40_000)
        (data / "base").symlink_to(outside / "base")
        (data / "d").mkdir()
        links = {"m.MYD": "t.MYD", "a.MAD": "a.MAD", "p#P#p1.MAI": "a.MAD"}
        for name, target in links.items():
            (data / "d" / name).symlink_to(outside / target)
        for name in ("i.isl", "p#P#p0.isl", "#sql-1.isl", *(f"q{number}#P#p0#SP#p0sp0.isl" for number in range(4))):
            (data / "d" / name).write_text("/path")
        settings = {
            "innodb_undo_directory": f"{outside}/undo",
            "innodb_data_home_dir": f"{outside}/home",
            "innodb_data_file_path": f"../../data dir/ibdata1:12M;ibdata2:12M;{outside}/system/ibdata3:12M:autoextend",
        }
        shown = showing(settings)
        client = f"if [[ $* = *SHOW* ]]; then {shown}; else {answering(datadir=data)}; fi"
        event = self.database(place, f"{place}/socket", mariadb=client)
        # All files but one, of which one counts twice; the small files; ibdata1; and three directories.
        assert int(event.fields["inodes"]) == len(paths) + 7 + 1 + 3
        assert int(event.fields["disk"]) >= len(paths) * 40_000
        assert event.text("outside") == "d/a, d/i, d/p, d/q0, d/q1 and 2 more"
        assert (event.text("device"), event.text("refused_option")) == ("", "")

    @pytest.mark.parametrize("size", ["3Graw", "100Mnewraw", "5RAW"])
    def test_a_raw_device_of_the_system_tablespace_is_named(self, place: Path, size: str) -> None:
        settings = {"innodb_data_home_dir": "", "innodb_data_file_path": f"ibdata1:12M;/dev/sdb:{size};/dev/sdc:{size}"}
        client = f"if [[ $* = *SHOW* ]]; then {showing(settings)}; else {answering(datadir=place / 'data dir')}; fi"
        assert self.database(place, f"{place}/socket", mariadb=client).text("device") == "/dev/sdb"

    @pytest.mark.parametrize(
        ("plugins", "directory", "refused"),
        [
            ("file_key_management=file_key_management.so;provider_lz4=provider_lz4.so", "/usr/lib/mysql/plugin/", ""),
            ("evil=evil.so", "/usr/lib/mysql/plugin/", "plugin_load=evil=evil.so"),
            ("file_key_management=file_key_management.so", "/opt/plugin/", "plugin_dir=/opt/plugin/"),
        ],
    )
    def test_plugins_that_a_target_refuses_are_reported_before_the_copy(
        self, place: Path, plugins: str, directory: str, refused: str
    ) -> None:
        row = f'<field name="plugin_load">{plugins}</field><field name="plugin_dir">{directory}</field>'
        loaded = f"printf '%s\\n' {shlex.quote(f'<resultset><row>{row}</row></resultset>')}"
        client = f"if [[ $* = *plugin_load* ]]; then {loaded}; else {answering(datadir=place / 'data dir')}; fi"
        assert self.database(place, f"{place}/socket", mariadb=client).text("refused_option") == refused

    def test_one_that_hangs_is_not_waited_for(self, place: Path) -> None:
        event = self.database(place, f"{place}/socket", mariadb="echo began; exec sleep 30")
        assert event.fields["state"] == "silent"
        assert event.text("error") == "the client printed no result; no answer within 1 seconds"

    @pytest.mark.parametrize(
        ("program", "error"),
        [
            ("die qq(the client ended\\n)", "perl ended with status [1-9][0-9]*: the client ended"),
            ("kill KILL => $$", "perl ended with status 137: .*"),
            ("print qq(other text\\n)", "perl ended with status 0: other text"),
            ("", "perl ended with status 0: no output"),
        ],
    )
    def test_files_of_a_server_that_cannot_be_examined_are_not_trusted(
        self, place: Path, program: str, error: str
    ) -> None:
        event = self.database(place, f"{place}/socket", files=program, mariadb=answering(datadir=place / "data dir"))
        assert event.fields["state"] == "files-unproven"
        assert re.fullmatch(error, event.text("error"), re.DOTALL)

    def test_the_logs_of_replication_are_not_counted(self, place: Path) -> None:
        data = place / "data dir"
        (data / "shop").mkdir()
        answer = answering(datadir=data, logs=(f"{data}/db2-bin", f"{data}/relay bin"))
        before = self.database(place, f"{place}/socket", mariadb=answer)
        (place / "tools").rename(place / "done")
        logs = (
            "db2-bin.000001",
            "db2-bin.000002",
            "relay bin.000017",
            "relay bin-@8907@88fd.000001",
            "relay bin-c.1000000",
        )
        tables = ("relay bin-c.ibd", "relay bin-000001.MYD")
        for name in logs:
            (data / name).write_bytes(b"x" * 1_000_000)
        for name in tables:
            (data / "shop" / name).touch()
        after = self.database(place, f"{place}/socket", mariadb=answer)
        assert int(after.fields["disk"]) - int(before.fields["disk"]) < 50_000
        assert int(after.fields["inodes"]) - int(before.fields["inodes"]) == len(tables)

    def test_text_that_the_client_adds_does_not_matter(self, place: Path) -> None:
        added = "echo Logging to file; echo --------------; echo 'SELECT @@datadir AS datadir'; echo datadir=/"
        client = f"echo 'Warning: World-writable config file' >&2; {added}; {answering('8.0.36', f'{place}/data dir')}"
        event = self.database(place, f"{place}/socket", mysql=client)
        assert (event.text("version"), event.text("datadir")) == ("8.0.36", f"{place}/data dir")

    @pytest.mark.parametrize(
        ("client", "error"),
        [
            ("echo 'ERROR 1045 (28000): Access denied' >&2; exit 1", "ERROR 1045 (28000): Access denied"),
            ("echo 'ERROR 2002 (HY000): no server' >&2; exit 1", "ERROR 2002 (HY000): no server"),
            (
                "printf -- '---\\nSELECT 1\\n---\\n\\nERROR 1820 (HY000): late\\nBye' >&2; exit 1",
                "ERROR 1820 (HY000): late\nBye",
            ),
            ("echo something else", "the client printed no result"),
            ("exit 0", "the client printed no result"),
        ],
    )
    def test_one_that_does_not_answer_as_it_should_is_quoted(self, place: Path, client: str, error: str) -> None:
        event = self.database(place, f"{place}/socket", mariadb=client)
        assert (event.fields["state"], event.text("error")) == ("silent", error)

    def test_without_a_client_there_is_no_answer(self, place: Path) -> None:
        event = self.database(place, f"{place}/socket")
        assert event.fields["state"] == "silent"
        assert re.search("mariadb.*: No such file or directory", event.text("error"))

    @pytest.mark.parametrize(
        ("path", "state"),
        [("none", "missing"), ("none/socket", "missing"), ("data dir", "other"), ("dangling", "other")],
    )
    def test_a_path_that_is_not_a_socket_is_reported_without_a_query(self, place: Path, path: str, state: str) -> None:
        (place / "dangling").symlink_to("nowhere")
        event = self.database(place, f"{place}/{path}", mariadb="touch asked")
        assert (event.fields, (place / "asked").exists()) == ({"state": state}, False)

    def test_the_version_of_each_installed_tool_is_reported(self, tmp_path: Path) -> None:
        tools = {"mariadb-backup": 'echo "$1 10.11.14" >&2', "xtrabackup": "exit 1"}
        found = events_of(tmp_path, "backup_facts mariadb-backup mariabackup xtrabackup", **tools)
        assert [(event.fields["tool"], event.text("version")) for event in found] == [
            ("mariadb-backup", "--version 10.11.14"),
            ("xtrabackup", ""),
        ]


ASKED = (
    "SELECT COALESCE((SELECT PLUGIN_VERSION FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'InnoDB'),"
    "     VERSION()) AS version, @@datadir AS datadir, @@log_bin_basename AS binary_log,"
    " @@relay_log_basename AS relay_log,"
    "     CONCAT(VERSION(), ', ', @@version_comment) AS name"
)


A_DATA_DIRECTORY = '<field name="Variable_name">datadir</field><field name="Value">/none</field>'


class TestFilesOfServer:
    """The process that answers at a socket, and its directories. Server and client are programs of this test."""

    SERVER = """
import os, socket, sys
os.chdir(sys.argv[1])
opened = open("ibdata1")
listener = socket.socket(socket.AF_UNIX)
listener.bind("../socket")
listener.listen()
print(flush=True)
kept = [listener.accept() for _ in range(2)]
sys.stdin.read()
"""
    CLIENT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect("socket")
for line in sys.stdin:
    rows = [{"thread": sys.argv[1]}]
    if "VARIABLES" in line:
        values = {"innodb_data_home_dir": "", "datadir": sys.argv[2], "innodb_log_group_home_dir": "./"}
        rows = [{"Variable_name": name, "Value": value} for name, value in values.items()]
    print("Logging to file", "<resultset>")
    for row in rows:
        print("<row>", *(f'<field name="{name}">{value}</field>' for name, value in row.items()), "</row>")
    print("</resultset>", flush=True)
"""

    @staticmethod
    def mounting(mounted: str, point: str) -> tuple[str, ...]:
        """Return the words that start a command in a mount namespace with this mount."""
        return ("unshare", "--mount", "bash", "-c", f'mount --bind {mounted} {point} && exec "$@"', "mounting")

    @pytest.fixture
    def inside(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return the working directory of the test: the path of a socket is short."""
        monkeypatch.chdir(tmp_path)
        return tmp_path

    @pytest.fixture
    def server(self, inside: Path) -> Iterator[subprocess.Popen[str]]:
        """Return a process that listens at a socket and has a file open in the directory ``data``."""
        with self.serving(inside) as process:
            yield process

    @contextmanager
    def serving(self, place: Path, *wrapper: str) -> Iterator[subprocess.Popen[str]]:
        for name in ("data", "copy"):
            (place / name).mkdir(exist_ok=True)
            (place / name / "ibdata1").touch()
        command = [*wrapper, sys.executable, "-c", self.SERVER, "data"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "\n"
            yield process
            process.kill()

    def files(
        self,
        datadir: Path,
        *,
        thread: int = 0,
        path: str = "none",
        wrapper: tuple[str, ...] = (),
        around: tuple[str, ...] = (),
    ) -> str:
        client = (*wrapper, sys.executable, "-c", self.CLIENT, str(thread), str(datadir))
        command = [*around, "perl", "-e", perl_program("perl/server_files"), "--", str(TIMEOUT), path, *client]
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=TIMEOUT).stdout

    @pytest.mark.usefixtures("server")
    def test_the_peer_of_the_client_has_them_open(self, tmp_path: Path) -> None:
        assert self.files(tmp_path / "data", thread=0) == "files=same\n"

    @pytest.mark.usefixtures("server")
    def test_a_directory_without_an_open_file_proves_nothing(self, tmp_path: Path) -> None:
        assert self.files(tmp_path / "copy", thread=0) == "files=unknown\n"
        (tmp_path / "data").rename(tmp_path / "moved")
        (tmp_path / "copy").rename(tmp_path / "data")
        assert self.files(tmp_path / "data", thread=0) == "files=unknown\n"

    def test_where_the_peer_is_not_known_the_thread_is(self, tmp_path: Path, server: subprocess.Popen[str]) -> None:
        wrapper = ("bash", "-c", '"$@"; :', "wrapper")  # a process between the program and the client
        assert self.files(tmp_path / "data", thread=os.getpid(), wrapper=wrapper) == "files=unknown\n"
        assert self.files(tmp_path / "data", thread=server.pid, wrapper=wrapper) == "files=same\n"

    @pytest.mark.parametrize(
        ("has_mount", "mounted", "point", "path"),
        [
            ("server", "outside", "data/データ", "data/データ"),
            ("server", "outside", "linked", "data/l"),
            ("server", "outside/t.ibd", "data/データ/t.ibd", "data/データ/t.ibd"),
            ("server", "outside/t.ibd", "linked/t.ibd", "data/l/t.ibd"),
            ("server", "outside/t.ibd", "m.MYD", "data/データ/m.MYD"),
            ("host", "outside/t.ibd", "data/データ/t.ibd", "data/データ/t.ibd"),
            ("server", "outside", "data/.snapshot", ""),
            ("server", "outside", "private", ""),  # has the target of a link that is no database
            ("server", "outside", "data/データ/one/two", ""),
            ("server", "data", "copy", ""),
        ],
    )
    def test_each_database_and_table_that_a_mount_makes_another_one_is_found(
        self, inside: Path, has_mount: str, mounted: str, point: str, path: str
    ) -> None:
        for name in ("outside", "linked", "data/データ/one/two", "data/.snapshot", "private"):
            (inside / name).mkdir(parents=True)
        for name in ("outside/t.ibd", "linked/t.ibd", "data/データ/t.ibd", "m.MYD", "outside/log", "private/log"):
            (inside / name).touch()
        (inside / "data/l").symlink_to(inside / "linked")
        (inside / "data/データ/m.MYD").symlink_to(inside / "m.MYD")
        (inside / "data/dangling").symlink_to("nowhere")
        (inside / "data/log").symlink_to(inside / "private/log")
        wrapper = self.mounting(mounted, point)
        with self.serving(inside, *(wrapper if has_mount == "server" else ())) as server:
            found = self.files(inside / "data", around=wrapper if has_mount == "host" else ())
        expected = f"own=/proc/{server.pid}/root{inside}/{point}\npath={inside}/{path}\n"
        assert found == (f"files=other\n{expected}" if path else "files=same\n")

    @pytest.mark.parametrize(("second", "expected"), [("1 2", "d"), ("1 3", ""), ("", "")])
    def test_a_database_that_comes_or_goes_meanwhile_is_not_another_one(self, second: str, expected: str) -> None:
        """The two numbers identify the file of the host and that of the server."""
        again = f"(d => '{second}')" if second else "()"
        program = f"""
            *database_paths = sub {{}};
            my @looks = ([d => '1 2'], [{again}]);
            *differing = sub {{ @{{ shift @looks }} }};
            print other_file(1, '/data') // '';
        """
        command = ["perl", "-M-warnings", "-e", perl_program("perl/roots") + program]
        assert subprocess.run(command, capture_output=True, check=True, text=True).stdout == expected

    @pytest.mark.usefixtures("server")
    def test_where_the_socket_of_the_client_cannot_be_seen_a_second_connection_has_the_same_peer(
        self, tmp_path: Path
    ) -> None:
        wrapper = ("bash", "-c", '"$@"; :', "wrapper")
        assert self.files(tmp_path / "data", path="socket", wrapper=wrapper) == "files=same\n"

    @pytest.mark.parametrize(
        ("client", "seconds", "error"),
        [
            ("true", TIMEOUT, "the client ended"),
            ("echo refused >&2", TIMEOUT, "refused\nthe client ended"),
            ("echo '</resultset>'; exec sleep 1000", TIMEOUT, "the server reports no data directory"),
            ("exec sleep 1000", 1, "no answer within 1 seconds"),
            (f"echo '{A_DATA_DIRECTORY}</resultset>'; exec sleep 1000", 1, "no answer within 1 seconds"),
        ],
    )
    def test_a_client_that_ends_or_hangs_proves_nothing(self, client: str, seconds: int, error: str) -> None:
        command = ["perl", "-e", perl_program("perl/server_files"), "--", str(seconds), "none", "bash", "-c", client]
        result = subprocess.run(command, capture_output=True, check=False, text=True, timeout=TIMEOUT)
        assert (result.returncode > 0, result.stdout, result.stderr) == (True, "", f"{error}\n")


class TestOwner:
    @pytest.mark.parametrize(
        ("owner", "unknown"),
        [
            *(("root", ""), ("root:root", ""), ("0:0", ""), ("4711:4711", "")),
            *(("nobody-at-all", "nobody-at-all"), ("root:nobody-at-all", "nobody-at-all")),
            ("nobody-at-all:root", "nobody-at-all"),
        ],
    )
    def test_an_unknown_owner_is_reported(self, tmp_path: Path, owner: str, unknown: str) -> None:
        assert answers_of(tmp_path, PreflightQuery(owner=owner)).unknown_owner == unknown


class TestTarget:
    @pytest.mark.parametrize(
        ("others", "empty"),
        [([], True), (["lost+found"], True), (["x"], False), ([".x"], False), (["lost+found", "-n"], False)],
    )
    def test_lost_and_found_is_not_content(self, tmp_path: Path, others: list[str], *, empty: bool) -> None:
        for name in others:
            (tmp_path / "y\n" / name).mkdir(parents=True)
        (tmp_path / "y\n").mkdir(exist_ok=True)
        assert target(tmp_path, str(tmp_path / "y\n")).empty is empty

    @pytest.mark.parametrize("name", NASTIEST_NAMES)
    def test_a_directory_of_any_name(self, tmp_path: Path, name: str) -> None:
        directory = tmp_path / name
        directory.mkdir()
        found = target(tmp_path, str(directory), name)
        assert (found.state, found.path, found.taken, found.final_identity) == (
            TargetState.DIRECTORY,
            str(directory),
            False,
            "",
        )
        assert list(found.ancestors) == [identity(path) for path in (directory, *directory.parents)]

    def test_the_free_space_is_that_of_the_file_system(self, tmp_path: Path) -> None:
        found, status = target(tmp_path, str(tmp_path)), os.statvfs(tmp_path)
        assert found.free == pytest.approx(status.f_bavail * status.f_frsize, rel=0.3)
        assert (found.inodes is None) == (status.f_files == 0)

    @pytest.mark.parametrize("make", ["touch {}", "mkdir {}", "ln -s nowhere {}", "ln -s / {}", "mkfifo {}"])
    @pytest.mark.parametrize("name", ["x", "-n", "two\nlines\n"])
    def test_a_final_name_is_taken_by_anything(self, tmp_path: Path, make: str, name: str) -> None:
        output_of(make.format(render_command(Command(("--", name)))), cwd=tmp_path)
        found = target(tmp_path, str(tmp_path), name)
        assert (found.taken, found.final_identity) == (True, identity(tmp_path / name))

    @pytest.mark.parametrize(
        ("path", "state", "real"),
        [
            ("{0}/none", TargetState.MISSING, "{0}"),
            ("{0}/none/none/", TargetState.MISSING, "{0}"),
            ("none", TargetState.MISSING, "{0}"),
            ("{0}/file/none", TargetState.OTHER, ""),
            ("{0}/dangling/none", TargetState.OTHER, ""),
            ("{0}/file", TargetState.OTHER, ""),
            ("{0}/dangling", TargetState.OTHER, ""),
            ("{0}/link", TargetState.DIRECTORY, "{0}/real/tree\n"),
            ("{0}/link/../", TargetState.DIRECTORY, "{0}/real"),
            ("real", TargetState.DIRECTORY, "{0}/real"),
            ("-", TargetState.DIRECTORY, "{0}/-"),
            ("/", TargetState.DIRECTORY if os.access("/", os.W_OK) else TargetState.READ_ONLY, "/"),
        ],
    )
    def test_a_target_is_a_directory_and_nothing_else(
        self, tmp_path: Path, path: str, state: TargetState, real: str
    ) -> None:
        (tmp_path / "real" / "tree\n").mkdir(parents=True)
        (tmp_path / "-").mkdir()
        (tmp_path / "link").symlink_to("real/tree\n")
        (tmp_path / "dangling").symlink_to("nowhere")
        (tmp_path / "file").touch()
        found = target(tmp_path, path.format(tmp_path))
        assert (found.state, found.path) == (state, real.format(tmp_path))
        if real:
            resolved = Path(real.format(tmp_path))
            known = found.ancestors[1:] if state is TargetState.MISSING else found.ancestors
            assert list(known) == [identity(above) for above in (resolved, *resolved.parents)]


class TestLeftovers:
    def test_a_half_copy_without_a_run_is_named_and_one_with_a_run_is_not(self, tmp_path: Path) -> None:
        dead, alive = ".transferpy-0123456789abcdef-0", ".transferpy-fedcba9876543210-0"
        for name in (dead, alive, ".transferpy-mine", "x"):
            (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "run" / "run.target.fedcba9876543210.1.2").mkdir(parents=True)
        script = host_script(tmp_path, f"target_facts 0 {tmp_path}/in x", "preflight/main")
        assert [event.fields["leftovers"] for event in events(output_of(script))] == [dead]

    def test_of_thousands_of_leftovers_a_hundred_are_reported(self, tmp_path: Path) -> None:
        for number in range(150):
            (tmp_path / "in" / f".transferpy-{number:016x}-0").mkdir(parents=True)
        script = host_script(tmp_path, f"target_facts 0 {tmp_path}/in x", "preflight/main")
        (event,) = events(output_of(script))
        assert event.fields["leftovers"].count(",") == 99


def test_questions_of_low_priority_step_back_behind_the_hosts_other_work(tmp_path: Path) -> None:
    for low in (False, True):
        script = preflight_script(RUN, PreflightQuery(source_path="/", low_priority=low), dry_run=True)
        nice = output_of(f"{script}\nwait; nice", cwd=tmp_path).decode().splitlines()[-1]
        assert int(nice) == (19 if low else os.nice(0))


class TestWatch:
    """The events of a host while a question has no answer yet."""

    def watched(self, directory: Path, question: str) -> list[str]:
        """Return the names of the events while a host deals with a question; it looks every 0.2 seconds."""
        script = preflight_script(RUN, PreflightQuery(targets=((0, "/srv", "x"),)))
        calls = script.rindex("\nstart_activity_reports\n")
        script = (
            script[:calls].replace(" -t 5 ", " -t 0.2 ")
            + f"\nstart_activity_reports; announce_path /srv; {question}; stop_activity_reports; wait"
        )
        events = (parse_event(line, RUN) for line in output_of(script, cwd=directory).decode().splitlines())
        return [event.name for event in events if event]

    def test_a_tool_that_makes_progress_is_reported_repeatedly(self, tmp_path: Path) -> None:
        busy = "timeout 2 sh -c 'while :; do :; done'"
        assert self.watched(tmp_path, busy).count("progress") >= 4

    def test_a_tool_that_waits_is_reported_once(self, tmp_path: Path) -> None:
        assert self.watched(tmp_path, "sleep 2").count("progress") <= 2

    def test_a_path_is_reported_before_it_is_examined(self) -> None:
        lines = preflight_script(RUN, PreflightQuery(source_path="/srv/x", targets=((0, "/srv/y", "x"),))).splitlines()
        for path, question in (("/srv/x", "source_facts /srv/x"), ("/srv/y", "target_facts 0 /srv/y x")):
            assert lines.index(f"announce_path {path}") == lines.index(question) - 1
