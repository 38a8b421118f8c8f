"""The relays of a stream, between programs that take the place of transports."""

import os
import random
import subprocess
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


class Relay:
    """A relay in a run directory, and the fifos by which it and the session talk."""

    def __init__(self, directory: Path, role: str, argument: str, *transport: str, lane: str) -> None:
        self.directory = directory
        for name in ("control", f"relay{lane}"):
            os.mkfifo(directory / name)
        self._control = os.open(directory / "control", os.O_RDWR | os.O_NONBLOCK)
        self._commands = os.open(directory / f"relay{lane}", os.O_RDWR)
        self._read = ""
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
        _, errors = self.process.communicate(timeout=TIMEOUT)
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
    """Return a transport of the sender: its Nth connection takes that number of bytes, the last one all, to a file."""
    words = " ".join(map(str, counts))
    script = f'set -- {words}; n=$(cat "$D/n" 2>/dev/null || echo 0); echo $((n+1)) >"$D/n"; shift "$n" || set --; '
    taking = 'if [ $# -gt 0 ]; then head -c "$1" >"$D/part.$n"; exit 1; else cat >"$D/part.$n"; fi'
    return "env", f"D={directory}", "bash", "-c", script + taking


def part(directory: Path, number: int) -> bytes:
    return (directory / f"part.{number}").read_bytes()


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
            made.command(f"resume 1 {taken - back}")
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
            made.command("resume 1 100000")
            made.wait_for("broken connection=1")
            made.command("resume 2 140000")
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
            made.command(f"resume 1 {len(STREAM) - 7}")
            wait_until((tmp_path / "part.1").exists)
            wait_until(lambda: part(tmp_path, 1) == STREAM[-7:])
            assert made.events() == [f"sent bytes={len(STREAM)}"]

    def test_a_further_lane_has_its_own_fifo_and_file_and_its_events_have_its_number(self, tmp_path: Path) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path, 5000), lane="-3") as made:
            made.stdin.write(STREAM[:9000])
            made.stdin.flush()
            made.wait_for("broken")
            made.command("resume 1 5000")
            made.end_input()
            made.wait_for("sent")
            assert [event.split()[-1] for event in made.events()] == ["lane=3", "lane=3"]
            wait_until(lambda: (tmp_path / "part.1").exists() and part(tmp_path, 1) == STREAM[5000:9000])
        assert (tmp_path / "relay-3.err").exists()

    @pytest.mark.parametrize("position", [0, len(STREAM)])
    def test_a_position_that_the_history_lacks_is_a_failure(self, tmp_path: Path, position: int) -> None:
        with relay(tmp_path, "send", HISTORY, *into(tmp_path, 8_000_000)) as made:
            made.stdin.write(STREAM[:8_500_000])
            made.stdin.flush()
            made.wait_for("broken")
            made.command(f"resume 1 {position}")
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
        with relay(tmp_path, "send", HISTORY, "sh", "-c", "head -c 5 >/dev/null; kill -KILL $$") as made:
            made.stdin.write(b"0123456789")
            made.stdin.flush()
            assert made.wait_for("broken") == "broken connection=0 position=10 status=137"
            made.command("abandon")
            assert made.end() == (137, "")

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


def out_of(directory: Path, *pieces: bytes, status: int = 1) -> tuple[str, ...]:
    """Return a transport of the receiver: its Nth connection prints the Nth piece."""
    for number, piece in enumerate(pieces):
        (directory / f"piece.{number}").write_bytes(piece)
    script = f'n=$(cat "$D/n" 2>/dev/null || echo 0); echo $((n+1)) >"$D/n"; cat "$D/piece.$n"; exit {status}'
    return "env", f"D={directory}", "sh", "-c", script


@pytest.mark.parametrize("role", ["send", "receive"])
def test_a_transport_that_ends_later_than_a_handshake_had_a_connection(tmp_path: Path, role: str) -> None:
    argument = HISTORY if role == "send" else "count"
    with relay(tmp_path, role, argument, "bash", "-c", "sleep 5.5; exit 1") as made:
        assert made.wait_for("broken") == "broken connection=0 position=0 status=1"
        made.command("abandon")
        assert made.end()[0] == 1


NOTICE = "2026/11/27 06:00:00 socat[1] N "
READY = f"{NOTICE}starting data transfer loop with FDs [6,6] and [1,1]"


@pytest.mark.parametrize("role", ["send", "receive"])
@pytest.mark.parametrize("ready", [(READY,), ()])
def test_the_notices_of_socat_show_whether_there_was_a_connection(
    tmp_path: Path, role: str, ready: tuple[str, ...]
) -> None:
    error = "2026/11/27 06:00:01 socat[1] E read(6): Connection reset by peer"
    lines = [f"{NOTICE}opening connection", *ready, error]
    script = 'printf "%s\\n" "$@" >&2; exit 1'
    argument = HISTORY if role == "send" else "count"
    with relay(tmp_path, role, argument, "bash", "-c", script, "socat", *lines) as made:
        if ready:
            assert made.wait_for("broken") == "broken connection=0 position=0 status=1"
            assert (tmp_path / "relay.err").read_text() == f"{error}\n"
            made.command("abandon")
        assert made.end() == (1, f"{error}\n")
        assert len([event for event in made.events() if event.startswith("broken")]) == len(ready)


class TestReceiver:
    def test_the_end_of_a_connection_is_not_the_end_of_the_stream(self, tmp_path: Path) -> None:
        pieces = (STREAM[:1000], STREAM[1000:5000], STREAM[5000:6000])
        with relay(tmp_path, "receive", "count", *out_of(tmp_path, *pieces)) as made:
            assert made.wait_for("broken") == "broken connection=0 position=1000 status=1"
            made.command("reopen 1")
            assert made.wait_for("reopened") == "reopened connection=1 position=1000"
            assert made.wait_for("broken connection=1") == "broken connection=1 position=5000 status=1"
            made.command("total 6000")
            made.command("reopen 2")
            assert made.wait_for("complete") == "complete"
            assert made.stdout.read() == STREAM[:6000]
            assert made.process.wait(TIMEOUT) == 0
            assert made.events()[-2:] == ["resumed connection=2", "complete"]
        assert (tmp_path / "count").read_text() == "6000"

    @pytest.mark.parametrize("status", [0, 1])
    def test_a_connection_that_ends_before_the_total_is_known_can_be_complete(
        self, tmp_path: Path, status: int
    ) -> None:
        with relay(tmp_path, "receive", "count", *out_of(tmp_path, STREAM[:1000], status=status)) as made:
            made.wait_for("broken")
            made.command("total 1000")
            made.wait_for("complete")
            assert made.stdout.read() == STREAM[:1000]
            assert made.process.wait(TIMEOUT) == 0

    def test_more_bytes_than_were_sent_are_a_failure(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", *out_of(tmp_path, STREAM[:1000])) as made:
            made.wait_for("broken")
            made.command("total 999")
            assert made.end() == (1, "received 1000 bytes, but the sender has sent 999\n")

    def test_bytes_behind_the_end_of_the_stream_are_not_passed_on(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", *out_of(tmp_path, b"", STREAM[:2000])) as made:
            assert made.process.wait(TIMEOUT) == 1  # without a byte, there was no connection
            assert made.events() == []

    def test_a_transport_that_still_runs_is_replaced(self, tmp_path: Path) -> None:
        """Bytes that it has not passed on do not count: the sender sends them again."""
        script = 'echo x >>"$D/n"; printf 0123456789; exec sleep 1000'
        with relay(tmp_path, "receive", "count", "env", f"D={tmp_path}", "sh", "-c", script) as made:
            assert made.stdout.read(10) == b"0123456789"
            made.command("reopen 1")
            assert made.wait_for("reopened") == "reopened connection=1 position=10"
            made.command("total 20")
            made.wait_for("complete")
            assert made.stdout.read() == b"0123456789"
        assert (tmp_path / "n").read_text() == "x\nx\n"

    def test_a_stage_behind_it_that_ends_ends_the_relay(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", "sh", "-c", "cat /dev/zero") as made:
            made.stdout.read(10)
            made.stdout.close()
            assert made.process.wait(TIMEOUT) == -13

    def test_the_errors_of_the_transport_are_those_of_the_stage(self, tmp_path: Path) -> None:
        with relay(tmp_path, "receive", "count", "sh", "-c", "echo bad certificate >&2; exit 3") as made:
            assert made.end() == (3, "bad certificate\n")


def test_a_relay_waits_until_its_transport_listens(tmp_path: Path) -> None:
    with relay(tmp_path, "receive", "count", "socat", "-u", "TCP4-LISTEN:0,bind=127.0.0.1", "STDOUT") as made:
        made.command("reopen 1")
        made.wait_for("reopened")
        listening = subprocess.run(["ss", "-Htlnp"], capture_output=True, text=True, check=True).stdout
        (child,) = Path(f"/proc/{made.process.pid}/task/{made.process.pid}/children").read_text().split()
        assert f"pid={child}," in listening


def test_the_history_holds_all_bytes_that_can_be_on_their_way() -> None:
    """The kernel doubles the size of a buffer that a program sets; two pipes and two programs have buffers, too."""
    megabyte = 1 << 20
    assert bytes_on_the_way(4 * megabyte, 8 * megabyte) == (2 * (4 + 8) + 4) * megabyte
    assert bytes_on_the_way(0, 8 * megabyte) > bytes_on_the_way(16 * megabyte, 8 * megabyte)
