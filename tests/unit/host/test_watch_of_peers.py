"""The watch over the connection of a transport, on connections of this host."""

import fcntl
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from host_text import TIMEOUT
from waiting import wait_until

from transferpy.host import perl_program

PROGRAM = perl_program("perl/watch_peer")
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def watched(role: str, *command: str) -> list[str]:
    return ["perl", "-e", PROGRAM, "4", "1", "3", role, "yes", "pipeline", *command]


def run(*command: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(watched("send", *command), input=given, capture_output=True, check=False, timeout=TIMEOUT)


def test_the_command_gets_its_arguments_and_its_input_and_leaves_its_status() -> None:
    ended = run("sh", "-c", 'cat; printf "<%s>" "$@"; exit 7', "sh", "two words", "", "-n", given=b"stream")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"stream<two words><><-n>", b"")


def test_the_command_is_the_process_of_the_stage_and_gets_its_signals() -> None:
    ended = run("sh", "-c", "kill -TERM $$")
    assert ended.returncode == -signal.SIGTERM


@pytest.mark.parametrize(("role", "wide"), [("send", 0), ("receive", 1)])
def test_the_pipe_to_the_neighbour_of_the_transport_is_enlarged(role: str, wide: int) -> None:
    capacities = "import fcntl; print(*(fcntl.fcntl(end, fcntl.F_GETPIPE_SZ) for end in (0, 1)))"
    ended = subprocess.run(
        watched(role, "python3", "-c", capacities), input=b"", capture_output=True, check=False, timeout=TIMEOUT
    )
    sizes = [1 << 16, 1 << 16]
    sizes[wide] = 1 << 20
    assert (ended.stdout, ended.stderr) == (f"{sizes[0]} {sizes[1]}\n".encode(), b"")


def test_a_command_that_does_not_exist_fails_as_in_a_shell() -> None:
    ended = run("no-such-program")
    assert (ended.returncode, ended.stderr) == (127, b"no-such-program: No such file or directory\n")


def test_the_watch_keeps_no_pipe_of_the_pipeline_open() -> None:
    """The command closes its output and goes on."""
    process = subprocess.Popen(
        watched("receive", "sh", "-c", "exec >&-; read -r line"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdin
    assert process.stdout.read() == b""
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(TIMEOUT) == 1


@contextmanager
def connected(role: str) -> Iterator[tuple["subprocess.Popen[bytes]", socket.socket]]:
    """A transport that is connected to a socket of this process, in a process group of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"TCP:127.0.0.1:{server.getsockname()[1]}"
        ends = ("STDIN", address) if role == "send" else (address, "STDOUT")
        process = subprocess.Popen(
            watched(role, "socat", "-u", *ends),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        peer, _ = server.accept()
        try:
            with peer:
                yield process, peer
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=TIMEOUT)


def watchers(process: "subprocess.Popen[bytes]") -> list[str]:
    """Return the processes that watch; a transport does not wait for one that has ended."""
    command = ["pgrep", "--runstates", "R,S,D", "-g", str(process.pid), "-x", "watch_peer"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


def keepalive_is_set(port: int) -> bool:
    command = ["ss", "-Htno", "state", "established", f"( sport = :{port} )"]
    return "timer:(keepalive" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_keepalive_is_set_on_the_connection_of_a_program_that_has_no_option_for_it() -> None:
    with connected("send") as (_, peer):
        wait_until(lambda: keepalive_is_set(peer.getpeername()[1]))


def test_a_reset_that_the_transport_does_not_notice_ends_the_pipeline() -> None:
    """A transport that waits for its input does not look at its connection."""
    with connected("send") as (process, peer):
        wait_until(lambda: keepalive_is_set(peer.getpeername()[1]))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        peer.close()
        assert process.wait(TIMEOUT) == -signal.SIGKILL
        assert process.stderr
        assert process.stderr.read() == b"dead connection: the peer reset it\n"


@pytest.mark.parametrize("resets", [False, True])
def test_a_receiver_is_not_watched_after_the_end_of_the_stream(*, resets: bool) -> None:
    """The peer may be gone before a slow receiver has read everything."""
    with connected("receive") as (process, peer):
        wait_until(lambda: keepalive_is_set(peer.getpeername()[1]))
        assert process.stdout
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 1 << 16)
        peer.sendall(b"x" * 100_000)  # more than the pipe holds, less than the pipe and the socket
        peer.shutdown(socket.SHUT_WR)
        if resets:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        peer.close()
        wait_until(lambda: not watchers(process))
        assert process.poll() is None
        assert len(process.stdout.read()) == 100_000
        assert process.wait(TIMEOUT) == 0


def test_the_watch_ends_with_its_transport() -> None:
    with connected("receive") as (process, peer):
        wait_until(lambda: watchers(process) != [])
        process.kill()
        wait_until(lambda: not watchers(process))
        assert peer.recv(1) == b""


@pytest.mark.parametrize("name", ["pidfd_open", "pidfd_getfd"])
def test_without_the_system_calls_the_command_runs_without_a_watch(name: str) -> None:
    program = PROGRAM.replace("my ($open, $get) =", f"delete $system_call{{{name}}}; my ($open, $get) =")
    assert program != PROGRAM
    command = ["perl", "-e", program, "4", "1", "3", "send", "yes", "pipeline", "cat"]
    ended = subprocess.run(command, input=b"stream", capture_output=True, check=False, timeout=TIMEOUT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"stream", b"")
