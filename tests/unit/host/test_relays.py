"""The relays of a stream, between programs that take the place of transports."""

import fcntl
import os
import random
import socket
import struct
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from host_text import TIMEOUT
from waiting import wait_until

from transferpy.host import perl_program
from transferpy.stream.socket_buffers import bytes_on_the_way

STREAM = random.Random(1).randbytes(9_000_000)
HISTORY = 3 << 20


def token(connection: int) -> str:
    return f"{connection + 0xAFFE:032x}"


def greeting(connection: int, lane: str = "") -> bytes:
    """Return the first bytes of a connection."""
    return f"{token(connection)}{lane}".ljust(40).encode()


class Relay:
    """A relay in a run directory, and the fifos by which it and the session talk."""

    def __init__(self, directory: Path, role: str, argument: str, *transport: str, lane: str) -> None:
        self.directory = directory
        for name in ("control", f"relay{lane}"):
            os.mkfifo(directory / name)
        (directory / "token").write_text(token(0))
        self._control = os.open(directory / "control", os.O_RDWR | os.O_NONBLOCK)
        self._commands = os.open(directory / f"relay{lane}", os.O_RDWR)
        self._read = ""
        self.output = b""
        self.process = subprocess.Popen(
            ["perl", "-e", perl_program(f"perl/relay_{role}"), "--", argument, str(directory), lane, *transport],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def command(self, text: str) -> None:
        """Send a command, as the session does."""
        os.write(self._commands, f"{text}\n".encode())

    def end_input(self) -> None:
        """End the stream that the relay reads."""
        self.stdin.close()
        self.process.stdin = None  # communicate would flush it

    def events(self) -> list[str]:
        """Return all events so far."""
        with suppress(BlockingIOError):
            self._read += os.read(self._control, 65536).decode()
        return [line.removeprefix("event ") for line in self._read.splitlines()]

    def wait_for(self, event: str) -> str:
        """Wait for an event that begins with a text, and return it."""
        wait_until(lambda: any(each.startswith(event) for each in self.events()))
        return next(each for each in self.events() if each.startswith(event))

    def end(self) -> tuple[int, str]:
        """Wait for the end of the relay; return its status and its standard error."""
        self.output, errors = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, errors.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=TIMEOUT)
        os.close(self._control)
        os.close(self._commands)


@contextmanager
def relay(directory: Path, role: str, argument: object, *transport: str, lane: str = "") -> Iterator[Relay]:
    made = Relay(directory, role, str(argument), *transport, lane=lane)
    try:
        yield made
    finally:
        made.close()


def into(directory: Path, *counts: int) -> tuple[str, ...]:
    """Return a transport of the sender: its Nth connection takes that number of bytes, the last one all, to a file.

    In the file, the greeting of the connection comes first.
    """
    words = " ".join(map(str, counts))
    script = f'set -- {words}; n=$(cat "$D/n" 2>/dev/null || echo 0); echo $((n+1)) >"$D/n"; shift "$n" || set --; '
    taking = 'if [ $# -gt 0 ]; then head -c $(($1 + 40)) >"$D/part.$n"; exit 1; else cat >"$D/part.$n"; fi'
    return "env", f"D={directory}", "bash", "-c", script + taking


def part(directory: Path, number: int, lane: str = "") -> bytes:
    """Return the bytes of the Nth connection, after its greeting; nothing before all of the greeting has arrived."""
    got = (directory / f"part.{number}").read_bytes()
    assert greeting(number, lane).startswith(got[:40])
    return got[40:]


class TestSender:
    def test_the_stream_arrives_and_its_length_is_reported(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path)) as made:
            made.stdin.write(STREAM)
            made.end_input()
            assert made.wait_for("sent") == f"sent bytes={len(STREAM)}"
            wait_until(lambda: part(tmp_path, 0) == STREAM)
            assert made.process.poll() is None
            made.command("finish")
            assert made.process.wait(TIMEOUT) == 0
            assert made.events() == [f"sent bytes={len(STREAM)}"]

    @pytest.mark.parametrize("back", [0, 1, 4095, 4096, 1_000_000, HISTORY - 1])
    def test_it_continues_at_each_byte_of_the_history(self, tmp_path: Path, back: int) -> None:
        taken = 5_000_001
        with relay(tmp_path, "send", HISTORY, *into(tmp_path, taken)) as made:
            made.stdin.write(STREAM[: taken + 1])
            made.stdin.flush()
            assert made.wait_for("broken").startswith("broken connection=0 position=")
            made.command(f"resume 1 {taken - back} {token(1)}")
            made.stdin.write(STREAM[taken + 1 :])
            made.end_input()
            made.wait_for("sent")
            wait_until(lambda: part(tmp_path, 1) == STREAM[taken - back :])

    def test_it_continues_several_times_with_small_and_odd_pieces(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", 70_001, *into(tmp_path, 100_003, 50_021)) as made:
            pieces = [STREAM[start : start + 997] for start in range(0, 400_000, 997)]
            for piece in pieces[:160]:
                os.write(made.stdin.fileno(), piece)
            made.wait_for("broken connection=0")
            made.command(f"resume 1 100000 {token(1)}")
            made.wait_for("broken connection=1")
            made.command(f"resume 2 140000 {token(2)}")
            for piece in pieces[160:]:
                os.write(made.stdin.fileno(), piece)
            made.end_input()
            total = sum(map(len, pieces))
            assert made.wait_for("sent") == f"sent bytes={total}"
            wait_until((tmp_path / "part.2").exists)
            wait_until(lambda: part(tmp_path, 2) == STREAM[140_000:total])
        assert part(tmp_path, 1) == STREAM[100_000:150_021]

    def test_the_end_of_the_stream_is_sent_again(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path)) as made:
            made.stdin.write(STREAM)
            made.end_input()
            made.wait_for("sent")
            made.command(f"resume 1 {len(STREAM) - 7} {token(1)}")
            wait_until((tmp_path / "part.1").exists)
            wait_until(lambda: part(tmp_path, 1) == STREAM[-7:])
            assert made.events() == [f"sent bytes={len(STREAM)}"]

    def test_a_further_lane_has_its_own_fifo_and_file_and_its_events_have_its_number(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path, 5000), lane="-3") as made:
            made.stdin.write(STREAM[:9000])
            made.stdin.flush()
            made.wait_for("broken")
            made.command(f"resume 1 5000 {token(1)}")
            made.end_input()
            made.wait_for("sent")
            assert [event.split()[-1] for event in made.events()] == ["lane=3", "lane=3"]
            wait_until(lambda: (tmp_path / "part.1").exists() and part(tmp_path, 1, "-3") == STREAM[5000:9000])
        assert (tmp_path / "relay-3.err").exists()

    @pytest.mark.parametrize("position", [0, len(STREAM)])
    def test_a_position_that_the_history_lacks_is_a_failure(self, tmp_path: Path, position: int) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path, 8_000_000)) as made:
            made.stdin.write(STREAM[:8_500_000])
            made.stdin.flush()
            made.wait_for("broken")
            made.command(f"resume 1 {position} {token(1)}")
            status, errors = made.end()
        assert status == 1
        assert errors.startswith(f"the receiver continues at byte {position}, but the history has the bytes ")

    def test_it_reads_little_more_than_the_transport_takes(self, tmp_path: Path) -> None:
        """What it reads counts as progress of the source."""
        with relay(tmp_path, "send", 24 << 20, "sleep", "1000") as made:
            os.set_blocking(made.stdin.fileno(), False)
            written = 0
            with suppress(BlockingIOError):
                while written < len(STREAM):
                    written += os.write(made.stdin.fileno(), STREAM[:65536])
            assert written < 4 << 20

    def test_a_transport_without_a_connection_ends_the_relay(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, "sh", "-c", "echo refused >&2; exit 7") as made:
            assert made.end() == (7, "refused\n")
            assert not any(event.startswith("broken") for event in made.events())

    def test_a_transport_that_is_killed_is_a_broken_connection(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, "sh", "-c", "head -c 45 >/dev/null; kill -KILL $$") as made:
            made.stdin.write(b"0123456789")
            made.stdin.flush()
            assert made.wait_for("broken") == "broken connection=0 position=10 status=137"
            made.command("abandon")
            assert made.end() == (137, "")

    def test_a_transport_that_reads_the_greeting_had_a_connection(self, tmp_path: Path) -> None:
        """A slow source may not have any data yet."""
        with relay(tmp_path, "send", HISTORY, "sh", "-c", "head -c 40 >/dev/null; exit 1") as made:
            assert made.wait_for("broken") == "broken connection=0 position=0 status=1"

    def test_a_stream_that_is_finished_before_its_end_is_a_failure(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path)) as made:
            made.command("finish")
            assert made.end() == (1, "")

    def test_an_abandoned_relay_ends_with_its_connection(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path, 1000)) as made:
            made.command("abandon")
            made.stdin.write(STREAM[:2000])
            made.stdin.flush()
            assert made.process.wait(TIMEOUT) == 1
            assert made.events() == []

    def test_a_signal_ends_the_transport_too(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, "sh", "-c", f"echo $$ >{tmp_path}/pid; exec cat >/dev/null") as made:
            wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith("\n"))
            made.process.terminate()
            assert made.process.wait(TIMEOUT) == 143
            assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


LISTENER = ("socat", "-u", "TCP4-LISTEN:0,bind=127.0.0.1", "STDOUT")


def listening_port(made: Relay) -> int:
    """Return the port of the transport of a relay, once it listens."""
    found: list[int] = []

    def is_found() -> bool:
        (child,) = Path(f"/proc/{made.process.pid}/task/{made.process.pid}/children").read_text().split() or ("none",)
        lines = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True, check=True).stdout.splitlines()
        found[:] = [int(line.split()[3].rpartition(":")[2]) for line in lines if f"pid={child}," in line]
        return bool(found)

    wait_until(is_found)
    return found[0]


def send(made: Relay, *pieces: bytes, reset: bool = False) -> None:
    """Connect to the transport of a relay, send these bytes, and end or reset the connection."""
    with socket.create_connection(("127.0.0.1", listening_port(made)), TIMEOUT) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if reset:
            wait_until(lambda: not unread(connection))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def unread(connection: socket.socket) -> int:
    """Return the bytes of a connection that the transport has not acknowledged or not read."""
    outgoing: int
    (outgoing,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"1234"))
    peer = f"127.0.0.1:{connection.getsockname()[1]}"
    lines = subprocess.run(["ss", "-Htn"], capture_output=True, text=True, check=True).stdout.splitlines()
    return outgoing + sum(int(line.split()[1]) for line in lines if line.split()[4] == peer)


class TestReceiver:
    def test_the_end_of_a_connection_is_not_the_end_of_the_stream(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            send(made, greeting(0), STREAM[:1000], reset=True)
            assert made.wait_for("broken").startswith("broken connection=0 position=1000 status=")
            made.command(f"reopen 1 {token(1)}")
            assert made.wait_for("reopened") == "reopened connection=1 position=1000"
            send(made, greeting(1), STREAM[1000:5000])
            assert made.wait_for("broken connection=1") == "broken connection=1 position=5000 status=0"
            made.command("total 6000")
            made.command(f"reopen 2 {token(2)}")
            made.wait_for("reopened connection=2")
            send(made, greeting(2), STREAM[5000:6000])
            assert made.wait_for("complete") == "complete"
            assert made.stdout.read() == STREAM[:6000]
            assert made.process.wait(TIMEOUT) == 0
            assert made.events()[-2:] == ["established connection=2", "complete"]
        assert (tmp_path / "count").read_text() == "6000"

    @pytest.mark.parametrize("reset", ["", "reset"])
    def test_a_connection_that_ends_before_the_total_is_known_can_be_complete(self, tmp_path: Path, reset: str) -> None:
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            send(made, greeting(0), STREAM[:1000], reset=bool(reset))
            made.wait_for("broken")
            made.command("total 1000")
            made.wait_for("complete")
            assert made.stdout.read() == STREAM[:1000]
            assert made.process.wait(TIMEOUT) == 0

    def test_more_bytes_than_were_sent_are_a_failure(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            send(made, greeting(0), STREAM[:1000])
            made.wait_for("broken")
            made.command("total 999")
            assert made.end() == (1, "received 1000 bytes, but the sender has sent 999\n")

    @pytest.mark.parametrize(
        "first",
        [
            b"GET / HTTP/1.0\r\nHost: 127.0.0.1:4400\r\n\r\n",
            greeting(0)[:39],
            greeting(0)[:39] + b"x",
            greeting(1),
            greeting(0, "-1"),
            b"",
        ],
    )
    def test_bytes_of_another_program_are_never_passed_on(self, tmp_path: Path, first: bytes) -> None:
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            send(made, first, STREAM[:2000] if len(first) >= 40 else b"")
            status, errors = made.end()
            assert 0 < status < 128  # no signal
            assert ("another program than the sender" in errors) == (len(first) >= 40)
            assert not made.events()
            assert made.output == b""

    def test_another_program_on_a_further_connection_ends_the_attempt(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            send(made, greeting(0), STREAM[:1000], reset=True)
            made.wait_for("broken")
            made.command(f"reopen 1 {token(1)}")
            made.wait_for("reopened")
            send(made, greeting(0), STREAM[1000:2000])
            assert made.wait_for("broken connection=1").startswith("broken connection=1 position=1000 status=")
            assert (tmp_path / "relay.err").read_text().startswith("another program than the sender has connected")
            made.command("total 2000")
            made.command(f"reopen 2 {token(2)}")
            assert made.wait_for("reopened connection=2") == "reopened connection=2 position=1000"
            send(made, greeting(2)[:7], greeting(2)[7:], STREAM[1000:2000])
            made.wait_for("complete")
            assert made.stdout.read() == STREAM[:2000]
            assert "established connection=1" not in made.events()

    def test_a_transport_that_cannot_listen_is_a_broken_connection(self, tmp_path: Path) -> None:
        listener = f"test -e {tmp_path}/n && exit 9; touch {tmp_path}/n; exec {' '.join(LISTENER)}"
        with relay(tmp_path, "receive", "count", "sh", "-c", listener) as made:
            send(made, greeting(0), STREAM[:1000])
            made.wait_for("broken")
            made.command(f"reopen 1 {token(1)}")
            assert made.wait_for("broken connection=1") == "broken connection=1 position=1000 status=9"
            assert not any(event.startswith("reopened") for event in made.events())

    def test_a_transport_that_still_runs_is_replaced(self, tmp_path: Path) -> None:
        """Bytes that it has not passed on do not count: the sender sends them again."""
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            port = listening_port(made)
            with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
                connection.sendall(greeting(0) + b"0123456789")
                assert made.stdout.read(10) == b"0123456789"
                made.command(f"reopen 1 {token(1)}")
                assert made.wait_for("reopened") == "reopened connection=1 position=10"
            made.command("total 20")
            send(made, greeting(1), b"abcdefghij")
            made.wait_for("complete")
            assert made.stdout.read() == b"abcdefghij"

    @pytest.mark.parametrize("state", ["connected", "broken"])
    def test_a_stage_behind_it_that_ends_ends_the_relay(self, tmp_path: Path, state: str) -> None:
        with relay(tmp_path, "receive", "count", *LISTENER) as made:
            send(made, greeting(0), b"0123456789", reset=state == "broken")
            made.wait_for("established")
            made.stdout.read(10)
            if state == "broken":
                made.wait_for("broken")
            made.stdout.close()
            assert made.process.wait(TIMEOUT) == -13

    def test_the_errors_of_the_transport_are_those_of_the_stage(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", "sh", "-c", "echo bad certificate >&2; exit 3") as made:
            assert made.end() == (3, "bad certificate\n")


def test_the_history_holds_all_bytes_that_can_be_on_their_way() -> None:
    """The kernel doubles the size of a buffer that a program sets; two pipes and two programs have buffers, too."""
    megabyte = 1 << 20
    assert bytes_on_the_way(4 * megabyte, 8 * megabyte) == (2 * (4 + 8) + 4) * megabyte
    assert bytes_on_the_way(0, 8 * megabyte) > bytes_on_the_way(16 * megabyte, 8 * megabyte)
