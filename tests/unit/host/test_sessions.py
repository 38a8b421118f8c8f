"""Whole sessions in a real bash: a copy by way of a file in place of a network, and every way to end a session."""

import base64
import gzip
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from bash import bash_command, output_of
from host_text import TIMEOUT, on_host, with_own_roots
from raw_events import Event, parse_event
from waiting import wait_until

from transferpy.agent.session_plan import DeliveryPlan, ListeningPlan, ReadingPlan, SendingPlan, SessionPlan
from transferpy.agent.session_script import session_script
from transferpy.Firewall import FirewallRule
from transferpy.model.options import TransferOptions
from transferpy.stream.codecs import codecs
from transferpy.stream.commands import Command, Pipeline, Variable, join
from transferpy.stream.pipelines import receiver, sender
from transferpy.stream.tar import archive, extract
from transferpy.stream.transports import Transport

RUN = "r1"
STREAM = join(Variable("run_directory"), "/../../stream")
FILE = Transport(listen=Command(("cat", STREAM)), connect=Command(("dd", "status=none", join("of=", *STREAM.parts))))
(CODEC,) = codecs(TransferOptions(), frozenset(), frozenset(), 1)
MD5 = Command(("md5sum",))
SEND = sender((archive("x", indexed=True),), CODEC, FILE, None)
RECEIVE = receiver((extract(indexed=True),), CODEC, FILE, None)


def sends(pipeline: Pipeline, *edges: str) -> dict[str, SendingPlan]:
    """Return the plan to send with this pipeline along each of the edges; by default along the first."""
    return {edge: SendingPlan(pipelines={"gzip": pipeline}) for edge in edges or ("0",)}


COMMON = SessionPlan(host="here", own_name="here.r1", cores=2, compress_threads=2, encrypt=False, digest=MD5)
SOURCE = replace(COMMON, reading=ReadingPlan(directory="", name="x"), sending=sends(SEND))
TARGET = replace(
    COMMON,
    listening=ListeningPlan(pipelines={"gzip": RECEIVE}, sender_address="127.0.0.1"),
    delivery=DeliveryPlan(directory="", staging_name=".transferpy-r1-0", source_name="x", final_name="x"),
)


def changed(plan: SessionPlan, **changes: object) -> SessionPlan:
    """Return a plan in which these attributes, of the plan itself or of one of its parts, have other values."""
    parts = {name: part for name in ("reading", "listening", "delivery") if (part := getattr(plan, name))}
    for name, value in changes.items():
        where = next((part for part in parts if hasattr(parts[part], name)), None)
        if where:
            parts[where] = replace(parts[where], **{name: value})
        else:
            plan = replace(plan, **{name: value})  # type: ignore[arg-type]  # the caller knows
    return replace(plan, **parts)


class Running:
    """A session that runs here, with the orders and the events of a real one."""

    def __init__(self, directory: Path, script: str) -> None:
        script = with_own_roots(directory, script)
        self.identifier = f"job-{directory.name}-{os.getpid()}-{id(self)}"
        command = bash_command(script, self.identifier)
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory)
        self.events: list[Event] = []

    def order(self, *words: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"command {' '.join(words)}\n".encode())
        self.process.stdin.flush()

    def next_events(self, *names: str) -> dict[str, Event]:
        """Return the next events of these names, without the other events before them."""
        found: dict[str, Event] = {}
        assert self.process.stdout
        while set(names) - set(found):
            line = self.process.stdout.readline()
            assert line, f"ended after {self.events}"
            if event := parse_event(line.decode(), RUN):
                self.events.append(event)
                found[event.name] = event
        return found

    def end(self) -> dict[str, Event]:
        """Return the remaining events of a session that ends by itself."""
        assert self.process.stdout
        found = [event for line in self.process.stdout if (event := parse_event(line.decode(), RUN))]
        self.process.communicate(timeout=TIMEOUT)
        self.events += found
        return {event.name: event for event in found}


class Host:
    """A directory with a source, a target, and the runs of the sessions in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sessions: list[Running] = []
        for name in ("source", "target"):
            (directory / name).mkdir()

    def source(self, **changes: object) -> Running:
        plan = changed(SOURCE, **{"directory": str(self.directory / "source"), **changes})
        return self.start(session_script(RUN, plan))

    def start_target(self, **changes: object) -> Running:
        plan = changed(TARGET, **{"directory": str(self.directory / "target"), **changes})
        return self.start(session_script(RUN, plan))

    def target(self, **changes: object) -> Running:
        target = self.start_target(**changes)
        with suppress(BrokenPipeError):  # one that could not begin
            target.order("receive", "gzip", "0", "token")
        return target

    def start(self, script: str) -> Running:
        self.sessions.append(Running(self.directory, script))
        return self.sessions[-1]

    def make_source(self, name: str = "x") -> None:
        (self.directory / "source" / name / "a").mkdir(parents=True)
        (self.directory / "source" / name / "a" / "file").write_text("content")
        (self.directory / "source" / name / "link").symlink_to("a")

    def left(self) -> list[str]:
        """Return the possible remains of sessions."""
        runs = self.directory / "run"
        kept = [*runs.rglob("*")] if runs.exists() else []
        return [str(path) for path in (*kept, *self.directory.glob("target/.transferpy*"))]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    for session in host.sessions:
        if session.process.poll() is None:
            session.process.communicate(timeout=TIMEOUT)
    assert host.left() == []


def sent(host: Host, **changes: object) -> Running:
    """Return a source session that has sent."""
    source = host.source(**changes)
    source.next_events("hello", "ready")
    source.order("send", "0", "gzip", "nowhere", "4400", "0", "0", "token")
    return source


def digest_of(events: dict[str, Event], name: str) -> tuple[str, str]:
    return events[name].fields["digest"], events[name].fields["entries"]


class TestCopy:
    @pytest.mark.parametrize("name", ["x", "-rf *", "new\nline\n", "it's $(touch gone) %h", "\udcff\x01\x7f"])
    def test_a_tree_is_sent_received_checked_and_published(self, host: Host, name: str) -> None:
        host.make_source(name)
        (host.directory / "target" / name).mkdir()
        sending = sender((archive(name, indexed=True),), CODEC, FILE, None)
        source = sent(host, name=name, sending=sends(sending))
        there = source.next_events("stages", "manifest", "digests")
        assert there["stages"].fields == {"job": "send_0", "statuses": "0,0,0"}
        target = host.target(directory=str(host.directory / "target" / name), source_name=name, final_name=f"{name}2")
        here = target.next_events("ready", "stages", "manifest", "digests")
        assert here["stages"].fields == {"job": "receive", "statuses": "0,0,0"}
        assert digest_of(here, "manifest") == digest_of(there, "manifest")
        assert digest_of(here, "digests") == digest_of(there, "digests")
        assert [path.name for path in (host.directory / "target" / name).iterdir()] == [".transferpy-r1-0"]
        target.order("publish")
        source.order("stop")
        assert target.end()["end"].fields == source.end()["end"].fields == {"status": "0", "undone": "yes"}
        final = host.directory / "target" / name / f"{name}2"
        assert (final / "a" / "file").read_text() == "content"
        assert list(final.parent.iterdir()) == [final]

    def test_one_source_serves_several_targets_and_digests_once(self, host: Host) -> None:
        host.make_source()
        source = host.source(sending=sends(SEND, "0", "1"))
        source.next_events("ready")
        lists = []
        for label in ("0", "1"):
            source.order("send", label, "gzip", "nowhere", "4400", "0", "0", "token")
            there = source.next_events("stages", "manifest", "digests")
            assert there["stages"].fields == {"job": f"send_{label}", "statuses": "0,0,0"}
            lists.append(digest_of(there, "digests"))
        source.order("stop")
        source.end()
        assert lists[0] == lists[1]
        assert [event.name for event in source.events].count("hello") == 1

    def test_the_digests_of_a_stream_that_ended_early_do_not_count_for_the_next_one(self, host: Host) -> None:
        host.make_source()
        failing = Pipeline((Command(("false",)), *SEND.stages[1:]))
        source = host.source(sending=sends(failing, "0") | sends(SEND, "1"))
        source.next_events("ready")
        source.order("send", "0", "gzip", "nowhere", "4400", "0", "0", "token")
        assert source.next_events("stages")["stages"].fields["statuses"] == "1,0,0"
        assert source.next_events("progress")  # by now, the digester has found the end of its index
        source.order("send", "1", "gzip", "nowhere", "4400", "0", "0", "token")
        assert digest_of(source.next_events("stages", "digests"), "digests")[1] == "1"
        source.order("stop")
        source.end()

    @pytest.mark.parametrize(
        ("change", "paths"),
        [
            ("echo more >>x/a/file", {"x/a/file"}),
            ("touch -d 2001-01-01 x/a/file", {"x/a/file"}),
            ("touch $'x/new\\nfile'", {"x/new\nfile", "x"}),
            ("rm x/link", {"x/link", "x"}),
            ("setfattr -n user.a -v 1 x/a/file", {"x/a/file"}),
            ("setfattr -n user.a -v 1 x/a", {"x/a"}),
            ("touch x/a/temporary && rm x/a/temporary", {"x/a"}),
            ("chmod 700 x/a", {"x/a"}),
        ],
    )
    def test_a_source_that_changes_during_the_copy_is_reported(self, host: Host, change: str, paths: set[str]) -> None:
        host.make_source()
        changing = Command(("bash", "-c", f"cat && {change}"))
        source = sent(host, sending=sends(Pipeline((*SEND.stages[:-1], changing, SEND.stages[-1]))))
        changed = source.next_events("changed")["changed"]
        assert {*changed.text("paths").split("\0")} - {""} == paths
        source.order("stop")
        assert "manifest" not in source.end()

    def test_a_file_that_becomes_a_pipe_is_reported_and_not_read(self, host: Host) -> None:
        host.make_source()
        changing = Command(("sh", "-c", "cat && rm x/a/file && mkfifo x/a/file"))
        source = sent(host, sending=sends(Pipeline((*SEND.stages[:-1], changing, SEND.stages[-1]))))
        assert source.next_events("changed")["changed"].text("paths").split("\0")[0] == "x/a/file"
        source.order("stop")
        assert source.end()["end"].fields["undone"] == "yes"

    def test_digests_that_never_come_to_an_end_are_waited_for_while_the_source_stands_still(self, host: Host) -> None:
        host.make_source()
        endless = Command(("sh", "-c", "exec sleep 1000"))
        script = session_script(RUN, changed(SOURCE, directory=str(host.directory / "source"), digest=endless))
        assert script.count(" interval=60\n") == 1
        source = host.start(script.replace(" interval=60\n", " interval=2\n"))
        source.next_events("hello", "ready")
        source.order("send", "0", "gzip", "nowhere", "4400", "0", "0", "token")
        source.next_events("stages", "manifest")
        (host.directory / "source" / "x" / "a" / "file").write_text("more")
        assert source.next_events("changed")["changed"].text("paths").split("\0")[0] == "x/a/file"
        source.order("stop")
        assert source.end()["end"].fields["undone"] == "yes"

    def test_a_stage_that_fails_is_reported_with_its_messages(self, host: Host) -> None:
        host.make_source()
        source = sent(
            host,
            sending=sends(Pipeline((Command(("sh", "-c", "echo it broke >&2; exit 3")), *SEND.stages[1:]))),
        )
        found = source.next_events("stderr", "stages")
        assert found["stages"].fields["statuses"] == "3,0,0"
        assert (found["stderr"].fields["stage"], found["stderr"].text("text")) == ("0", "it broke\n")
        source.order("stop")
        assert "manifest" not in source.end()

    def test_a_source_that_vanished_is_reported(self, host: Host) -> None:
        found = sent(host).next_events("stages", "stderr")
        assert found["stages"].fields == {"job": "manifest", "statuses": "1"}
        assert "No such file or directory" in found["stderr"].text("text")

    def test_keys_are_secret_and_fresh_and_gone_afterwards(self, host: Host) -> None:
        host.make_source()
        certificates = set()
        for _ in range(2):
            source = host.source(encrypt=True)
            found = source.next_events("hello", "ready")
            run_directory = Path(found["hello"].text("directory"))
            assert stat.S_IMODE(run_directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((run_directory / "key.pem").stat().st_mode) == 0o600
            certificates.add(base64.b64decode(found["ready"].fields["certificate"]))
            source.order("stop")
            source.end()
            assert not run_directory.exists()
        assert len(certificates) == 2
        assert all(certificate.startswith(b"-----BEGIN CERTIFICATE-----") for certificate in certificates)


def identity(path: Path) -> tuple[int, ...]:
    """Return the properties of a file that only a change of the file changes: not the access time."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_size, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns


class TestAbilities:
    def test_a_session_can_send_a_copy_that_it_received(self, host: Host) -> None:
        host.make_source()
        sent(host).next_events("checked")
        original = (host.directory / "stream").read_bytes()
        target = host.target(sending=sends(SEND))
        target.next_events("checked")
        (host.directory / "stream").unlink()
        target.order("send", "0", "gzip", "nowhere", "4400", "0", "0", "token")
        found = target.next_events("sending", "stages", "checked")
        assert found["stages"].fields == {"job": "send_0", "statuses": "0,0,0"}
        assert gzip.decompress((host.directory / "stream").read_bytes()) == gzip.decompress(original)
        target.order("publish")
        assert target.end()["end"].fields == {"status": "0", "undone": "yes"}
        assert (host.directory / "target" / "x" / "a" / "file").read_text() == "content"

    @pytest.mark.parametrize("command", ["receive gzip", "peer x", "publish"])
    def test_a_session_that_cannot_listen_takes_no_command_to_receive(self, host: Host, command: str) -> None:
        host.make_source()
        source = host.source()
        source.order(*command.split())
        assert source.end()["error"].text("text") == f"unexpected session command: {command.split(maxsplit=1)[0]}"

    @pytest.mark.parametrize("command", ["send 0 gzip nowhere 4400", "probe 0 nowhere 4400", "publish"])
    def test_a_session_takes_no_command_before_its_turn_or_without_the_ability(self, host: Host, command: str) -> None:
        target = host.start_target()
        target.next_events("ready")
        target.order(*command.split())
        found = target.end()
        assert found["error"].text("text") == f"unexpected session command: {command.split(maxsplit=1)[0]}"
        assert found["end"].fields == {"status": "1", "undone": "yes"}
        assert list((host.directory / "target").iterdir()) == []


class TestPublishing:
    @pytest.mark.parametrize("taking", ["echo mine >x", "mkdir x", "ln -s nowhere x", "mkfifo x"])
    def test_a_name_that_is_taken_by_now_is_never_taken_from_anything(self, host: Host, taking: str) -> None:
        host.make_source()
        source = sent(host)
        source.next_events("digests")
        target = host.target()
        target.next_events("digests")
        output_of(taking, cwd=host.directory / "target")
        before = identity(host.directory / "target" / "x")
        target.order("publish")
        found = target.end()
        assert found["error"].fields["kind"] == "publish"
        assert found["error"].text("text") == f"{host.directory}/target/x was created by another program during the run"
        assert found["end"].fields == {"status": "1", "undone": "yes"}
        assert identity(host.directory / "target" / "x") == before

    def test_a_target_directory_that_is_renamed_does_not_redirect_the_copy(self, host: Host) -> None:
        host.make_source()
        sent(host).next_events("digests")
        target = host.target()
        target.next_events("digests")
        (host.directory / "target").rename(host.directory / "moved")
        (host.directory / "target").mkdir()
        target.order("publish")
        assert "published" in target.end()
        assert (host.directory / "moved" / "x" / "a" / "file").exists()
        assert list((host.directory / "target").iterdir()) == []
        assert [path.name for path in (host.directory / "moved").iterdir()] == ["x"]


# Reports that it listens and accepts any connection: a listener of the user of the test, as the session requires.
LISTEN = "import socket, sys;socket.create_server(('127.0.0.1', int(sys.argv[1])), reuse_port=True).accept()[0].recv(1)"


class TestProbe:
    """A target listens for a probe, and reports its result before it listens for the stream."""

    def test_the_received_bytes_are_reported(self, host: Host) -> None:
        counted = Command(("sh", "-c", 'echo "bytes=5 microseconds=7" >"$0"', join(Variable("run_directory"), "/link")))
        target = host.start_target(probe=Pipeline((Command((sys.executable, "-c", LISTEN, Variable("port"))), counted)))
        port = int(target.next_events("probing")["probing"].fields["port"])
        socket.create_connection(("127.0.0.1", port)).close()
        assert target.next_events("link")["link"].fields == {"bytes": "5", "microseconds": "7"}
        target.order("stop")
        target.end()

    def test_a_listener_that_fails_is_reported_before_the_source_connects(self, host: Host) -> None:
        target = host.start_target(probe=Pipeline((Command(("false",)),)))
        target.next_events("link", "probing")
        assert [event.name for event in target.events if event.name != "progress"][-2:] == ["link", "probing"]
        target.order("stop")
        target.end()

    def test_one_that_nobody_wants_ends_before_the_stream(self, host: Host) -> None:
        host.make_source()
        sent(host).next_events("digests")
        listener = Command((sys.executable, "-c", LISTEN, Variable("port")))
        target = host.start_target(probe=Pipeline((listener, Command(("cat",)))))
        port = int(target.next_events("probing")["probing"].fields["port"])
        target.order("receive", "gzip", "0", "token")
        assert target.next_events("stages")["stages"].fields["job"] == "receive"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        assert "link" not in {event.name for event in target.events}
        target.order("stop")
        target.end()


class TestPlaces:
    def test_a_staging_directory_is_removed_whatever_holds_it_is_called(self, host: Host) -> None:
        directory = host.directory / "target" / "two\nlines\n"
        directory.mkdir()
        target = host.target(directory=str(directory), pipelines={"gzip": Pipeline((Command(("sleep", "60")),))})
        target.next_events("ready")
        assert [path.name for path in directory.iterdir()] == [".transferpy-r1-0"]
        target.process.terminate()
        assert target.end()["end"].fields == {"status": "143", "undone": "yes"}
        assert list(directory.iterdir()) == []

    @pytest.mark.parametrize("name", ["-", "-P", "--"])
    def test_a_relative_path_is_a_path_and_no_option(self, host: Host, name: str) -> None:
        (host.directory / name).mkdir()
        target = host.target(directory=name, pipelines={"gzip": Pipeline((Command(("sleep", "60")),))})
        target.next_events("ready")
        assert [path.name for path in (host.directory / name).iterdir()] == [".transferpy-r1-0"]
        target.process.terminate()
        target.end()

    def test_a_directory_that_cannot_be_entered_is_an_error(self, host: Host) -> None:
        found = host.target(directory=str(host.directory / "none")).end()
        assert found["error"].text("text") == f"cannot enter the directory {host.directory}/none"


def rule(directory: Path, name: str, opening: str) -> FirewallRule:
    """Return a rule whose opening is a shell command, and whose closing leaves a file."""
    closing = Command(("touch", str(directory / f"closed {name}")))
    return FirewallRule(tool=name, opening=Command(("sh", "-c", opening)), closing=closing)


# Listens on the port once one file exists, until another one exists; then it writes the stream.
GATED = """
import os, socket, sys, time
port, listen, accept, stream = sys.argv[1:]
while not os.path.exists(listen):
    time.sleep(0.01)
with socket.create_server(("", int(port)), reuse_port=True):
    while not os.path.exists(accept):
        time.sleep(0.01)
os.execvp("cat", ["cat", stream])
"""


def gated(listen: Path, accept: Path) -> dict[str, Pipeline]:
    """Return pipelines that receive the stream with a listener while these files exist."""
    listener = Command((sys.executable, "-c", GATED, Variable("port"), str(listen), str(accept), STREAM))
    return {"gzip": Pipeline((listener, *RECEIVE.stages[1:]))}


class TestFirewall:
    def test_a_door_is_opened_when_the_listener_is_seen_and_closed_after_the_stream(self, host: Host) -> None:
        host.make_source()
        sent(host).next_events("digests")
        gate, opened, closed = (host.directory / name for name in ("gate", "opened", "closed a"))
        target = host.target(
            firewall_rules=(rule(host.directory, "a", f"touch {opened}"),), pipelines=gated(gate, opened)
        )
        target.next_events("ready", "progress")
        assert not opened.exists()
        gate.touch()
        target.next_events("listening")
        assert opened.exists()
        assert target.next_events("stages")["stages"].fields["statuses"] == "0,0,0"
        assert closed.exists()
        closed.unlink()
        target.order("stop")
        assert target.end()["end"].fields["undone"] == "yes"
        assert not closed.exists()

    def test_a_listener_that_finds_its_port_taken_gets_another_one(self, host: Host) -> None:
        first = host.directory / "first"
        receiving = gated(host.directory, host.directory / "opened")["gzip"].stages
        failing = 'echo "bind: Address already in use" >&2; exit 1'
        script = f'[ -e {first} ] || {{ echo "$4" >{first}; {failing}; }}; exec "$@"'
        argv = receiving[0].argv  # type: ignore[union-attr]  # the first stage is a command
        listener = Command(("sh", "-c", script, "sh", *argv))
        target = host.target(pipelines={"gzip": Pipeline((listener, *receiving[1:]))})
        assert target.next_events("listening")["listening"].fields["port"] != first.read_text().strip()
        assert len(list((host.directory / "run").glob("port.*"))) == 1
        target.order("stop")
        target.end()

    def test_the_handshake_is_reported_while_the_stream_is_awaited(self, host: Host) -> None:
        gate, opened = host.directory / "gate", host.directory / "opened"
        target = host.target(pipelines=gated(gate, opened))
        gate.touch()
        target.next_events("listening")
        target.order("examine")
        watched = {"watched": "yes" if os.geteuid() == 0 else "no"}
        assert watched.items() <= target.next_events("handshake")["handshake"].fields.items()
        found = target.next_events("handshake")["handshake"].fields
        assert {**watched, "examined": "yes", "unresolved": ""}.items() <= found.items()
        target.order("stop")
        assert target.end()["end"].fields["undone"] == "yes"

    @pytest.mark.parametrize("tool", ["nft", "ip"])
    def test_a_tool_that_hangs_does_not_delay_the_report_of_the_packets(self, host: Host, tool: str) -> None:
        called = host.directory / "called"
        hanging = f'{tool}() {{ touch {called}; sleep 600; }}\ntimeout() {{ "${{@:2}}"; }}\n'
        plan = changed(TARGET, directory=str(host.directory / "target"))
        target = host.start(hanging + session_script(RUN, plan))
        target.next_events("ready")
        target.order("receive", "gzip", "0", "token")
        target.order("examine")
        assert target.next_events("handshake")["handshake"].fields["examined"] == "no"
        wait_until(called.exists)
        target.order("stop")
        assert target.end()["end"].fields["undone"] == "yes"

    def test_a_wanted_port_that_the_listener_finds_taken_fails_the_stream(self, host: Host) -> None:
        listener = Command(("sh", "-c", "echo 'bind: Address already in use' >&2; exit 1"))
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        target = host.target(port=port, pipelines={"gzip": Pipeline((listener, *RECEIVE.stages[1:]))})
        assert target.next_events("stages")["stages"].fields["statuses"].startswith("1,")
        target.end()

    def test_a_rule_that_cannot_be_added_is_reported_and_all_rules_are_removed(self, host: Host) -> None:
        firewall_rules = [
            rule(host.directory, name, opening)
            for name, opening in (("a", "true"), ("b", "echo no such table >&2; exit 1"), ("c", "true"))
        ]
        here = host.directory
        found = host.target(firewall_rules=tuple(firewall_rules), pipelines=gated(here, here / "never")).end()
        assert (found["error"].fields["kind"], found["end"].fields) == ("firewall", {"status": "1", "undone": "yes"})
        assert found["error"].text("text") == "cannot open the firewall: no such table"
        assert sorted(path.name for path in host.directory.glob("closed *")) == ["closed a", "closed b", "closed c"]

    def test_a_door_is_closed_before_the_half_copy_is_removed(self, host: Host) -> None:
        staging, closed = host.directory / "target" / ".transferpy-r1-0", host.directory / "closed first"
        closing = Command(("sh", "-c", f"[ ! -e {staging} ] || touch '{closed}'"))
        target = host.target(
            firewall_rules=(FirewallRule(tool="a", opening=Command(("true",)), closing=closing),),
            pipelines=gated(host.directory, host.directory / "never"),
        )
        target.next_events("listening")
        target.process.terminate()
        assert target.end()["end"].fields == {"status": "143", "undone": "yes"}
        assert closed.exists()
        assert not staging.exists()

    @pytest.mark.parametrize("waits", ["opening", "closing"])
    def test_a_door_that_waits_for_a_lock_keeps_no_signal_waiting(self, host: Host, waits: str) -> None:
        host.make_source()
        sent(host).next_events("digests")
        once, opened = host.directory / "once", host.directory / "opened"
        waiting = Command(("sh", "-c", f"[ -e {once} ] || {{ touch {once}; exec sleep 1000; }}"))
        touching = Command(("touch", str(opened)))
        opening, closing = (waiting, touching) if waits == "opening" else (touching, waiting)
        target = host.target(
            firewall_rules=(FirewallRule(tool="a", opening=opening, closing=closing),),
            pipelines=gated(host.directory, opened),
        )
        target.next_events("hello")
        deadline = time.monotonic() + TIMEOUT
        while not once.exists():
            assert time.monotonic() < deadline
        target.process.terminate()
        assert target.end()["end"].fields == {"status": "143", "undone": "yes"}


SLEEP = Command(("sleep", "60"))
BUSY_SOURCE = {"sending": sends(Pipeline((SLEEP, *SEND.stages[1:])))}
BUSY_TARGET = {"pipelines": {"gzip": Pipeline((SLEEP, *RECEIVE.stages[1:]))}}


def start_busy(host: Host, role: str) -> Running:
    """Return a session with a stream that does not end by itself."""
    if role == "target":
        return host.target(**BUSY_TARGET)
    host.make_source()
    return sent(host, **BUSY_SOURCE)


def await_busy(session: Running) -> list[psutil.Process]:
    """Wait until the stream flows; return the processes of the session, but for itself."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        found = psutil.Process(session.process.pid).children(recursive=True)
        with suppress(psutil.NoSuchProcess):  # one that ended since it was listed
            if any(child.name() == "sleep" for child in found):
                return found
        assert time.monotonic() < deadline
        session.next_events("progress")


def close_input(session: Running) -> None:
    assert session.process.stdin
    session.process.stdin.close()


def close_output(session: Running) -> None:
    assert session.process.stdout
    session.process.stdout.close()


ENDINGS: dict[str, tuple[Callable[[Running], None], int]] = {
    "an order": (lambda session: session.order("stop"), 0),
    "the end of its input": (close_input, 0),
    "nobody who listens": (close_output, 141),
    "TERM": (lambda session: session.process.send_signal(signal.SIGTERM), 143),
    "HUP": (lambda session: session.process.send_signal(signal.SIGHUP), 129),
    "INT": (lambda session: session.process.send_signal(signal.SIGINT), 130),
}


def test_whatever_ends_a_session_nothing_is_left(tmp_path: Path) -> None:
    """All at once, as most of the time is spent in waiting."""
    running: dict[tuple[str, str], tuple[Host, Running]] = {}
    for ending in ENDINGS:
        for role in ("source", "target"):
            (tmp_path / ending / role).mkdir(parents=True)
            host = Host(tmp_path / ending / role)
            running[ending, role] = host, start_busy(host, role)
    processes = {key: await_busy(session) for key, (_, session) in running.items()}
    for (ending, _), (_, session) in running.items():
        ENDINGS[ending][0](session)
    for key, (host, session) in running.items():
        assert session.process.wait(TIMEOUT) == ENDINGS[key[0]][1], key
        assert psutil.wait_procs(processes[key], TIMEOUT)[1] == [], key
        assert host.left() == [], key


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_session_that_loses_the_reader_of_its_commands_reports_that(host: Host, role: str) -> None:
    session = start_busy(host, role)
    await_busy(session)
    taking = psutil.Process(session.process.pid).children()[0]  # the first that it started
    (cat,) = taking.children()
    assert cat.cmdline() == ["cat"]
    cat.kill()
    found = session.end()
    assert found["error"].fields["kind"] == "host"
    assert found["error"].text("text") == "the process that reads the session commands was killed"
    assert found["end"].fields == {"status": "1", "undone": "yes"}


@pytest.mark.parametrize("role", ["source", "target"])
def test_the_next_script_cleans_up_after_a_killed_session(host: Host, role: str) -> None:
    session = start_busy(host, role)
    left_over = await_busy(session)
    session.process.kill()
    session.process.wait(TIMEOUT)
    assert host.left() != []
    assert any(process.is_running() for process in left_over)
    found = on_host(host.directory, "recover_stale_runs").decode()
    assert found == f"@transferpy r1 finished-dead-run run=r1 pid={session.process.pid}\n"
    assert psutil.wait_procs(left_over, TIMEOUT)[1] == []
