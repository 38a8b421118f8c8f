"""The reservation of ports: of any number of runs one has a port, and nothing is left of it afterwards."""

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from bash import run_bash
from host_text import TIMEOUT, in_session, read_lines, running, send_line, session_script, the_error
from waiting import wait_until

TAKE = "echo ready; read -r; lock_port 4400 && echo won || echo lost; read -r\n"


def port_files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "run").glob("port.*"))


def test_of_several_that_want_a_port_at_once_one_gets_it(tmp_path: Path) -> None:
    with ExitStack() as stack:
        lockers = [stack.enter_context(running(session_script(tmp_path, TAKE))) for _ in range(8)]
        send_line(*lockers)
        assert sorted(read_lines(*lockers)) == ["lost"] * 7 + ["won"]


def test_a_lock_ends_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    with running(session_script(tmp_path, TAKE)) as holder, running(session_script(tmp_path, TAKE)) as heir:
        send_line(holder)
        assert read_lines(holder) == ["won"]
        holder.send_signal(signal.SIGKILL)
        holder.wait(TIMEOUT)
        assert port_files(tmp_path) == ["port.4400"]
        send_line(heir)
        assert read_lines(heir) == ["won"]


def test_a_session_that_ends_while_it_asks_for_the_lock_leaves_no_file(tmp_path: Path) -> None:
    ends = "flock() { exit 1; }; lock_port 4400"
    undone = 'unset -f flock; release_locks; undo "$run_directory" && echo undone'
    assert in_session(tmp_path, f"trap '{undone}; exit 0' EXIT; {ends}") == b"undone\n"
    assert port_files(tmp_path) == []


def test_a_port_that_another_has_is_no_entry_of_ours(tmp_path: Path) -> None:
    script = 'flock() { return 1; }; lock_port 4400; compgen -G "$run_directory/undo.*" || echo none\n'
    assert in_session(tmp_path, script) == b"none\n"


def test_a_released_port_leaves_no_file_and_can_be_taken_again(tmp_path: Path) -> None:
    script = 'lock_port 4400 && unlock_port && ! compgen -G "$run_directory/undo.*" && echo released\n'
    assert in_session(tmp_path, script * 3) == b"released\n" * 3
    assert port_files(tmp_path) == []


def test_never_two_have_a_port_however_fast_it_changes_hands(tmp_path: Path) -> None:
    """Between opening and locking its file, a lock can be released and the file removed; such a lock is nobody's."""
    churn = """
        echo ready; read -r
        for ((won = tries = 0; won < 10 && tries < 100000; tries++)); do
          lock_port 4400 || continue
          mkdir critical || echo "two at once"
          rmdir critical
          won=$((won + 1))
          unlock_port
        done
        echo "$won"
    """
    with ExitStack() as stack:
        runs = [stack.enter_context(running(session_script(tmp_path, churn), cwd=tmp_path)) for _ in range(4)]
        send_line(*runs)
        assert [run.communicate(timeout=TIMEOUT)[0] for run in runs] == [b"10\n"] * 4
    assert port_files(tmp_path) == []


def test_the_clean_up_behind_a_dead_run_leaves_the_lock_of_its_heir(tmp_path: Path) -> None:
    with running(session_script(tmp_path, TAKE)) as heir:
        send_line(heir)
        assert read_lines(heir) == ["won"]
        assert in_session(tmp_path, 'remove_lock_file "$run_root/port.4400"; echo $?') == b"0\n"
        assert port_files(tmp_path) == ["port.4400"]
    assert in_session(tmp_path, 'remove_lock_file "$run_root/port.4400"; echo $?') == b"0\n"
    assert port_files(tmp_path) == []
    assert in_session(tmp_path, 'remove_lock_file "$run_root/port.4400"; echo $?') == b"0\n"


def test_a_child_that_takes_a_moment_to_end_keeps_no_file(tmp_path: Path) -> None:
    script = 'lock_port 4400; sleep 0.3 >/dev/null & unlock_port; echo "$run_root"/port.*'
    assert in_session(tmp_path, script) == f"{tmp_path}/run/port.*\n".encode()


BUSY = "heartbeat() { :; }; list_listening_ports() { ports=(22 %s); }\n"


@pytest.mark.parametrize(
    ("busy", "port"),
    [("{4400..4498}", b"4499"), ("{4401..4499}", b"4400"), ("{4400..4449} {4451..4499}", b"4450")],
)
def test_the_one_free_port_is_found(tmp_path: Path, busy: str, port: bytes) -> None:
    assert in_session(tmp_path, BUSY % busy + 'reserve_port 0; echo "$port"') == port + b"\n"


def test_a_port_that_another_run_reserved_is_passed_over(tmp_path: Path) -> None:
    with running(session_script(tmp_path, TAKE)) as holder:
        send_line(holder)
        assert read_lines(holder) == ["won"]
        assert in_session(tmp_path, BUSY % "{4401..4498}" + 'reserve_port 0; echo "$port"') == b"4499\n"


@pytest.mark.parametrize(
    ("busy", "wanted", "reason"),
    [
        ("{4400..4499}", 0, "no free port between 4400 and 4499"),
        ("4444", 4444, "port 4444 is in use"),
    ],
)
def test_without_a_port_the_session_fails(tmp_path: Path, busy: str, wanted: int, reason: str) -> None:
    result = run_bash(session_script(tmp_path, BUSY % busy + f"reserve_port {wanted}; echo never"))
    error = the_error(result.stdout)
    assert (error.fields["kind"], error.text("text")) == ("port", reason)
    assert b"never" not in result.stdout


def test_a_wanted_port_that_another_run_reserved_is_an_error(tmp_path: Path) -> None:
    with running(session_script(tmp_path, TAKE)) as holder:
        send_line(holder)
        assert read_lines(holder) == ["won"]
        result = run_bash(session_script(tmp_path, BUSY % "" + "reserve_port 4400; echo never"))
    error = the_error(result.stdout)
    assert (error.fields["kind"], error.text("text")) == ("port", "port 4400 is reserved by another transfer")


def test_a_port_that_has_a_listener_is_given_back(tmp_path: Path) -> None:
    script = """
        heartbeat() { :; }
        looks=0
        list_listening_ports() { ports=(); ((++looks != 1)) || ports=("$port"); }
        reserve_port 0; echo "$looks"
    """
    assert in_session(tmp_path, script) == b"2\n"
    assert len(port_files(tmp_path)) == 1


HOLDERS = {
    "outgoing connection": ("127.0.0.1", "connected"),
    "outgoing connection over IPv6": ("::1", "connected"),
    "connection that was closed and is remembered": ("127.0.0.1", "closed"),
    "socket without a listener": ("127.0.0.1", "bound"),
    "socket of IPv6 without a listener": ("::1", "bound"),
    "listener on one address": ("127.0.0.2", "listening"),
    "listener on one address of IPv6": ("::1", "listening"),
}


@contextmanager
def held(address: str, state: str) -> Iterator[int]:
    """Hold a port of an address by a socket in that state, without any option of sharing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server, socket.socket(family) as holder:
        holder.bind((address, 0))
        port: int = holder.getsockname()[1]
        if state == "listening":
            holder.listen()
        elif state != "bound":
            holder.connect(server.getsockname())
        if state == "closed":
            holder.close()
            server.accept()[0].close()
        yield port


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_port_that_any_socket_has_is_not_taken(tmp_path: Path, holder: str) -> None:
    with held(*HOLDERS[holder]) as port:
        result = run_bash(session_script(tmp_path, f"reserve_port {port}; echo never"))
        found = f"port={port}; lock_port {port}; take_port || echo left; unlock_port"
        assert b"left\n" in run_bash(session_script(tmp_path, found)).stdout
    assert the_error(result.stdout).text("text") == f"port {port} is in use"


def test_a_port_that_closed_connections_with_its_listener_remember_is_taken_if_it_is_wanted(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    assert in_session(tmp_path, f"heartbeat() {{ :; }}; reserve_port {port}; echo taken") == b"taken\n"


HOLD = "heartbeat() { :; }; echo ready; reserve_port %d; echo held; read -r; unlock_port; echo free; read -r\n"


def test_a_port_that_is_held_is_closed_to_all_but_a_listener_that_shares_it(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    with running(session_script(tmp_path, HOLD % port)) as session:
        assert read_lines(session) == ["held"]
        for address, family in (("", socket.AF_INET), ("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
            with pytest.raises(OSError, match="in use"):
                socket.create_server((address, port), family=family)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        listener = socket.create_server(("", port), reuse_port=True)
        with listener, socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()
        send_line(session)
        assert read_lines(session) == ["free"]
        socket.create_server(("", port)).close()


def test_a_port_does_not_outlive_a_session_that_is_killed(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    with running(session_script(tmp_path, HOLD % port)) as session:
        assert read_lines(session) == ["held"]
        session.kill()

    def can_be_bound() -> bool:
        with suppress(OSError), socket.create_server(("", port)):
            return True
        return False

    wait_until(can_be_bound)


def test_an_error_that_is_not_about_the_port_is_reported(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "perl").write_text("#!/bin/sh\necho no memory >&2; exit 12\n")
    (tools / "perl").chmod(0o755)
    result = run_bash(session_script(tmp_path, f"PATH={tools}:$PATH; {BUSY % ''}reserve_port 4400; echo never"))
    error = the_error(result.stdout)
    assert (error.fields["kind"], error.text("text")) == ("port", "cannot bind port 4400: no memory")


LINES = {
    "ss": "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\nESTAB 0 0 10.0.0.1:23 10.0.0.2:5\nLISTEN 0 128 [::]:4400 [::]:*\n",
    "netstat": (
        "Active Internet connections (servers and established)\n"
        "Proto Recv-Q Send-Q Local Address           Foreign Address         State\n"
        "tcp        0      0 0.0.0.0:22              0.0.0.0:*               LISTEN\n"
        "tcp        0      0 10.0.0.1:23             10.0.0.2:5              ESTABLISHED\n"
        "tcp6       0      0 :::4400                 :::*                    LISTEN\n"
    ),
}


@pytest.mark.parametrize("tool", LINES)
def test_either_tool_finds_the_ports_with_listeners(tmp_path: Path, tool: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tmp_path / "lines").write_text(LINES[tool])
    (tools / tool).write_text(f"#!/bin/sh\ncat {tmp_path}/lines\n")
    (tools / tool).chmod(0o755)
    hiding = "" if tool == "ss" else 'command() { [ "${2-}" != ss ] && builtin command "$@"; }\n'
    script = f'{hiding}PATH={tools}:$PATH; list_listening_ports; echo "${{ports[@]}}"'
    assert in_session(tmp_path, script) == b"22 4400\n"
