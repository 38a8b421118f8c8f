"""The end of a session and of a stale run: their processes, found without a look at the memory of any process."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bash import bash_command, output_of, run_bash
from host_text import SESSION, TIMEOUT, host_script, on_host

LYING_FILE_SYSTEM = Path(__file__).parents[2] / "integration" / "lying_file_system.py"
NO_CGROUP = "find_own_cgroup() { return 1; }\n"
BEGIN = "priority=low; begin_session\n"
# A process with a process session of its own, whose parent runs, and one of a task that has lost its parent.
TASKS = """
    stray() { setsid sleep 1000 & echo "$!" >>processes; wait; }
    orphan() { (sleep 1000 & echo "$!" >>processes); exec sleep 1000; }
    heartbeat() { :; }
    start_task one stray; start_task two orphan
    until [ "$(wc -l <processes)" = 2 ]; do sleep 0.01; done
"""


def processes_of(directory: Path) -> list[int]:
    """Return the processes that TASKS has started and that still run."""
    return [pid for pid in map(int, (directory / "processes").read_text().split()) if runs(pid)]


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def identifier(directory: Path) -> str:
    return f"job-{os.getpid()}-{directory.name}"


def cgroups(directory: Path) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"transferpy.{identifier(directory)}"))


@contextmanager
def file_that_hangs(directory: Path) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Mount a file system whose file cannot be read, and yield the file and the process of the file system."""
    mount = directory / "hanging"
    mount.mkdir()
    argv = ["/usr/bin/python3", str(LYING_FILE_SYSTEM), str(mount), "hangs", str(1 << 20)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + TIMEOUT
            while not mount.is_mount():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield mount / "file", server
        finally:
            server.kill()
            subprocess.run(["umount", "--lazy", str(mount)], check=True)


@pytest.mark.parametrize("setting", ["", NO_CGROUP], ids=["cgroup", "no cgroup"])
class TestProcesses:
    def test_the_end_of_a_session_ends_all_its_processes(self, tmp_path: Path, setting: str) -> None:
        script = host_script(tmp_path, f"{setting}{BEGIN}{TASKS}exit 0", *SESSION)
        result = run_bash(script, identifier(tmp_path), cwd=tmp_path)
        assert result.stdout.endswith(b" end status=0 undone=yes\n")
        assert processes_of(tmp_path) == []
        assert cgroups(tmp_path) == []

    def test_the_recovery_ends_the_processes_of_a_session_that_was_killed(self, tmp_path: Path, setting: str) -> None:
        script = host_script(tmp_path, f"{setting}{BEGIN}{TASKS}kill -KILL $$", *SESSION)
        run_bash(script, identifier(tmp_path), cwd=tmp_path)
        assert len(processes_of(tmp_path)) == 2
        assert bool(cgroups(tmp_path)) == (not setting)
        assert b" finished-dead-run " in on_host(tmp_path, "recover_stale_runs")
        assert processes_of(tmp_path) == []
        assert cgroups(tmp_path) == []

    def test_neither_of_both_reads_the_memory_of_a_process(self, tmp_path: Path, setting: str) -> None:
        """A user can make such a read wait for ever."""
        script = host_script(tmp_path, f"{setting}{BEGIN}{TASKS}recover_stale_runs\nexit 0", *SESSION, "lib/recovery")
        (tmp_path / "run" / "run.dead.4194304.1").mkdir(parents=True)
        (tmp_path / "run" / "run.dead.4194304.1" / "cgroup").touch()
        trace = tmp_path / "trace"
        strace = [b"strace", b"-f", b"-e", b"trace=openat", b"-o", os.fsencode(trace)]
        subprocess.run(
            [*strace, *bash_command(script, identifier(tmp_path))], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL
        )
        opened = trace.read_text()
        assert "/proc/uptime" in opened
        assert "/cmdline" not in opened
        assert "/environ" not in opened


def test_the_first_looks_for_processes_that_end_are_soon_and_the_later_ones_rare(tmp_path: Path) -> None:
    script = """
        set -m; sleep 1000 & group=$!; set +m
        disown "$group"
        looks=()
        look() { looks+=("$1"); [ ${#looks[@]} -lt 6 ] || { kill -s KILL "$group" 2>/dev/null; sleep 0.02; }; }
        processes=(); signal_until_ended CONT 100000 look find_groups "$group"; echo "$? ${looks[*]:0:6}"
    """
    assert on_host(tmp_path, script) == b"0 0.005 0.01 0.02 0.05 0.05 0.05\n"


@pytest.mark.parametrize("search", ["find_session $$", "find_command x", "find_groups $group"])
def test_a_search_that_cannot_run_is_a_failure_and_not_a_search_that_finds_nothing(tmp_path: Path, search: str) -> None:
    script = f"""
        set -m; sleep 1000 & group=$!; set +m
        search() {{ PATH=/nowhere; processes=(); signal_until_ended TERM 1 true {search} 2>/dev/null; echo "$?"; }}
        (search)
        (trap search EXIT; exit 0) # bash changes the status of "return" in a trap
        kill "$group"
    """
    assert on_host(tmp_path, script) == b"1\n1\n"


@pytest.mark.parametrize("setting", ["", NO_CGROUP], ids=["cgroup", "no cgroup"])
def test_the_firewall_and_replication_do_not_wait_for_a_process_that_hangs(tmp_path: Path, setting: str) -> None:
    with file_that_hangs(tmp_path) as (file, file_system):
        script = f"""{setting}{BEGIN}
            on_undo firewall touch {tmp_path}/closed
            on_undo replication touch {tmp_path}/resumed
            on_undo staging touch {tmp_path}/removed
            : >"$run_directory/key.pem"
            hang() {{ exec cat {file}; }}
            start_task hanging hang
            until [ "$(cat /proc/${{task_pid[hanging]}}/comm)" = cat ]; do sleep 0.01; done
            echo ready 1>&"$events"
            read -r -u "$control" line
            exit 0"""
        command = bash_command(host_script(tmp_path, script, *SESSION), identifier(tmp_path))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as session:
            assert session.stdout is not None
            while session.stdout.readline() != b"ready\n":
                pass
            session.terminate()
            deadline = time.monotonic() + TIMEOUT
            while not all((tmp_path / name).exists() for name in ("closed", "resumed")):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert list((tmp_path / "run").rglob("key.pem")) == []
            assert session.poll() is None
            assert not (tmp_path / "removed").exists()
            file_system.kill()  # the process that hangs ends with it
            output = session.communicate(timeout=TIMEOUT)[0]
        assert output.endswith(b" undone=yes\n")
        assert (tmp_path / "removed").exists()


@pytest.mark.parametrize("group", ["firewall", "replication"])
def test_an_undo_that_hangs_is_ended_after_a_time_and_all_others_are_done(tmp_path: Path, group: str) -> None:
    script = f"""
        run_directory={tmp_path}/run/run.x; mkdir -p "$run_directory"; urgent_seconds=1
        on_undo {group} sleep 1000
        on_undo staging touch {tmp_path}/removed
        start_urgent_undo "$run_directory" undo_at_once "$run_directory" replication
        undo_the_rest "$run_directory" undo_at_once "$run_directory" replication; echo "$?"
        ls "$run_directory" | sed 's/.*[.]//'
        until processes=(); find_groups "$spared_group"; [ "${{processes[*]-}}" = '' ]; do sleep 0.02; done
    """
    program = host_script(tmp_path, script).replace("urgent_seconds=300", "", 1)
    assert output_of(program, cwd=tmp_path) == f"1\n{group}\n".encode()
    assert (tmp_path / "removed").exists()


def test_a_session_that_cannot_leave_its_cgroup_still_ends_its_processes(tmp_path: Path) -> None:
    # Another program has moved the session out of its control group, and has removed the group above it.
    script = host_script(tmp_path, f"{BEGIN}{TASKS}leave_cgroup; cgroup=$cgroup/gone/session; exit 0", *SESSION)
    result = run_bash(script, identifier(tmp_path), cwd=tmp_path)
    assert result.stdout.endswith(b" end status=0 undone=yes\n")
    assert processes_of(tmp_path) == []
    for directory in cgroups(tmp_path):
        directory.rmdir()
