"""The library of the host scripts: events, processes, the undo list, and the clean-up after dead runs."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from bash import HOSTILE_NAMES, any_text, output_of, run_bash
from host_text import TIMEOUT, events, host_script, on_host, running, send_line
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from transferpy.host import HOST
from transferpy.stream.commands import Command
from transferpy.stream.renderer import render_assignment, render_command

RUN_IN_A_TRAP = (
    *(
        "lib/cgroup",
        "lib/directories",
        "lib/events",
        "lib/locks",
        "lib/processes",
        "lib/runs",
        "lib/termination",
        "lib/undo",
    ),
    *("firewall/iptables", "firewall/nftables", "replication"),
)
any_directory = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # one for all examples will do


class TestEvents:
    @given(value=any_text)
    @example(value="\n".join(HOSTILE_NAMES))
    @any_directory
    def test_any_value_reaches_the_orchestration_host(self, tmp_path: Path, value: str) -> None:
        script = f"{render_assignment('value', value)}\n" + 'emit said kind=x text="$(encode "$value")"'
        (event,) = events(on_host(tmp_path, script))
        assert (event.name, event.fields["kind"], event.text("text")) == ("said", "x", value)

    def test_a_session_whose_events_nobody_reads_ends(self, tmp_path: Path) -> None:
        script = host_script(tmp_path, "trap '' PIPE; echo ready; read -r; emit beat; emit beat; exit 0")
        with running(script) as process:
            assert process.stdout is not None
            process.stdout.close()
            send_line(process)
            assert process.wait(TIMEOUT) == 141

    def test_a_failure_is_reported_with_its_kind_and_ends_the_script(self, tmp_path: Path) -> None:
        result = run_bash(host_script(tmp_path, "trap 'emit end' EXIT; fail port $'two\\nlines'; emit never"))
        error, end = events(result.stdout)
        assert (result.returncode, error.fields["kind"], error.text("text"), end.name) == (
            1,
            "port",
            "two\nlines",
            "end",
        )

    @staticmethod
    def start_of(directory: Path, pid: int) -> bytes:
        return on_host(directory, f'read_start_time {pid} && echo "$REPLY" || echo none').strip()

    @pytest.mark.parametrize("name", ["plain", "a) b (c", ") ) 1 2 3", "new\nline) S 1", "\n\n", "\udcff"])
    def test_a_process_may_call_itself_as_it_likes(self, tmp_path: Path, name: str) -> None:
        renaming = "import os, sys; open('/proc/self/comm', 'wb', 0).write(os.fsencode(sys.argv[1]))"
        waiting = "print('ready', flush=True); sys.stdin.read()"
        script = render_command(Command(("exec", sys.executable, "-c", f"{renaming}; {waiting}", name)))
        with running(script) as process:
            assert Path(f"/proc/{process.pid}/comm").read_bytes() == os.fsencode(f"{name}\n")
            # the 22nd field, as proc(5) counts; the second ends with the last parenthesis
            expected = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b") ")[2].split()[19]
            assert self.start_of(tmp_path, process.pid) == expected

    def test_there_is_none_of_a_process_that_is_gone(self, tmp_path: Path) -> None:
        process = subprocess.Popen(["true"])
        process.wait()
        assert self.start_of(tmp_path, process.pid) == b"none"


JOB = f"job-of-this-test-{os.getpid()}"
# Waits for the end of its input, and has a child that does not.
PARENT = 'sleep 60 & echo ready; read -r; kill "$!"'


class TestProcesses:
    @pytest.mark.parametrize("function", ["is_own_process", "read_bytes_read", "read_stat"])
    def test_a_process_that_ends_while_its_file_is_read_leaves_nothing_for_the_next_read(
        self, tmp_path: Path, function: str
    ) -> None:
        script = f"""
            for ((number = 0; number < 500; number++)); do
              /bin/true &
              for attempt in {{1..8}}; do
                {function} $!
                IFS= read -r line </proc/uptime
                [[ $line == [0-9]* ]] || {{ printf '%s\\n' "$line"; break; }}
              done
            done"""
        assert on_host(tmp_path, script) == b""


class TestJobs:
    @pytest.mark.parametrize(("reaction", "ending"), [("", signal.SIGTERM), ("trap '' TERM;", signal.SIGKILL)])
    def test_all_processes_of_a_job_are_ended_and_no_others(
        self, tmp_path: Path, reaction: str, ending: signal.Signals
    ) -> None:
        with running(reaction + PARENT, JOB, job=JOB) as parent, running(PARENT, f"{JOB}2") as bystander:
            children = psutil.Process(parent.pid).children()
            deadline = time.monotonic() + TIMEOUT
            while [child.name() for child in children] != ["sleep"]:  # until then it is the shell that forked
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert on_host(tmp_path, f"end_processes 250 6000 sleep find_command {JOB}; echo $?") == b"0\n"
            assert parent.wait(TIMEOUT) == -ending
            assert psutil.wait_procs(children, TIMEOUT)[1] == []
            assert bystander.poll() is None

    def test_a_process_that_is_born_meanwhile_is_ended_in_the_same_way(self, tmp_path: Path) -> None:
        (tmp_path / "child.sh").write_text("trap 'touch told; exit' TERM; while :; do sleep 0.05; done")
        parent = "trap 'bash child.sh >/dev/null & exit' TERM; sleep 60 & echo ready; wait"
        with running(parent, JOB, job=JOB, cwd=tmp_path):
            assert on_host(tmp_path, f"end_processes 250 6000 sleep find_command {JOB}; echo $?") == b"0\n"
            assert (tmp_path / "told").exists()

    def test_a_slow_search_is_no_process_that_survives(self, tmp_path: Path) -> None:
        # On a host with many processes one search can take longer than the processes may take to end.
        slow = 'slow_search() { "$@"; sleep 0.3; }\n'
        with running("echo ready; exec sleep 60", JOB, job=JOB) as process:
            script = f'{slow} processes=(); kill_until_ended 10 sleep slow_search find_command {JOB}; echo "$?"'
            assert on_host(tmp_path, script) == b"0\n"
            assert process.wait(TIMEOUT) == -signal.SIGKILL

    def test_a_job_without_processes_is_ended_already(self, tmp_path: Path) -> None:
        assert on_host(tmp_path, f"end_processes 250 6000 sleep find_command {JOB}; echo $?") == b"0\n"

    def test_a_job_without_a_name_has_no_processes(self, tmp_path: Path) -> None:
        """A session that is killed while it writes down the name of its job leaves an empty file."""
        with running(PARENT, ""):
            assert on_host(tmp_path, 'processes=(); find_command ""; echo "${#processes[@]}"') == b"0\n"

    def test_the_process_that_asks_is_not_counted(self, tmp_path: Path) -> None:
        script = host_script(tmp_path, f'processes=(); find_command {JOB}; echo "${{#processes[@]}}"')
        assert run_bash(script, JOB, cwd=tmp_path).stdout == b"0\n"


RUN_DIRECTORY = 'run_directory=$run_root/run.x; mkdir -p -- "$run_directory"\n'
MARK = 'mark() { printf "%s\\0" "$@" >>done; }\n'


def with_undo(directory: Path, script: str) -> bytes:
    """Run a script that has a run directory, and the command ``mark``, which leaves its arguments in the file done."""
    return on_host(directory, RUN_DIRECTORY + MARK + script)


def done(directory: Path) -> list[str]:
    """Return the new marks since the last call."""
    path = directory / "done"
    marked = os.fsdecode(path.read_bytes()).split("\0")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return marked


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "run").glob("run.*/*"))


ADD = "on_undo a mark 1; on_undo b mark 2; on_undo a mark 3; on_undo b mark 4\n"


class TestUndo:
    @given(arguments=st.lists(any_text))
    @example(arguments=list(HOSTILE_NAMES))
    @any_directory
    def test_an_entry_runs_with_the_arguments_that_it_was_made_with(self, tmp_path: Path, arguments: list[str]) -> None:
        with_undo(
            tmp_path, f'{render_command(Command(("on_undo", "x", "mark", "-", *arguments)))}; undo "$run_directory"'
        )
        assert done(tmp_path) == ["-", *arguments]

    def test_entries_run_newest_first_and_once(self, tmp_path: Path) -> None:
        with_undo(tmp_path, f'{ADD} undo "$run_directory"')
        assert (done(tmp_path), entries(tmp_path)) == (["4", "3", "2", "1"], [])
        with_undo(tmp_path, 'undo "$run_directory"')
        assert done(tmp_path) == []

    def test_a_group_is_undone_alone(self, tmp_path: Path) -> None:
        with_undo(tmp_path, f'{ADD} undo "$run_directory" a')
        assert (done(tmp_path), entries(tmp_path)) == (["3", "1"], ["undo.10001.b", "undo.10003.b"])

    def test_order_holds_for_a_thousand_entries(self, tmp_path: Path) -> None:
        script = "on_undo x mark 1; undo_number=$((undo_number + 900)); on_undo x mark 2"
        with_undo(tmp_path, f'{script}; undo "$run_directory"')
        assert done(tmp_path) == ["2", "1"]

    def test_an_entry_that_fails_stays_and_is_reported_and_the_others_run(self, tmp_path: Path) -> None:
        broken = "broken() { mark tried; echo it broke >&2; return 3; }\n"
        output = with_undo(
            tmp_path,
            f"{broken} on_undo x mark 1; on_undo x broken 'a b'; on_undo x mark 3; undo \"$run_directory\"; echo $?",
        )
        (event,) = events(output)
        assert (event.name, event.text("entry"), event.text("text")) == ("undo-failed", "broken a\\ b ", "it broke")
        assert output.endswith(b"\n1\n")
        assert (done(tmp_path), entries(tmp_path)) == (["3", "tried", "1"], ["undo.10001.x"])
        with_undo(tmp_path, 'broken() { mark "mended $1"; }; undo "$run_directory"')
        assert (done(tmp_path), entries(tmp_path)) == (["mended a b"], [])

    def test_an_entry_that_a_full_disk_truncates_never_runs_and_its_change_is_not_made(self, tmp_path: Path) -> None:
        script = """
            trap 'undo "$run_directory"' EXIT
            on_undo x mark 1
            ln -s /dev/full "$run_directory/entry"
            on_undo x mark 2
            mark the change itself
        """
        result = run_bash(host_script(tmp_path, RUN_DIRECTORY + MARK + script), cwd=tmp_path)
        (error,) = events(result.stdout)
        assert error.text("text") == f"cannot write in {tmp_path}/run/run.x: is it full?"
        assert result.returncode == 1
        assert done(tmp_path) == ["1"]

    def test_a_long_message_of_an_entry_is_cut(self, tmp_path: Path) -> None:
        script = f"run_directory={tmp_path}; on_undo broken fail_at_length; undo {tmp_path}"
        recorded = on_host(tmp_path, f"fail_at_length() {{ printf '%0300000d' 1; return 1; }}\n{script} || :")
        (event,) = events(recorded)
        assert event.text("text") == "0" * 2000

    def test_half_an_entry_is_not_run(self, tmp_path: Path) -> None:
        with_undo(tmp_path, 'printf "mark half" >"$run_directory/entry"; undo "$run_directory"')
        assert done(tmp_path) == []

    def test_without_entries_nothing_is_undone(self, tmp_path: Path) -> None:
        assert with_undo(tmp_path, 'undo "$run_directory"; undo "$run_directory" x; undo /nowhere; echo $?') == b"0\n"


OF_ANOTHER_PORT = "delete rule ip6 other renamed handle 67\n"


class TestUndoCommands:
    def test_a_rule_is_deleted_as_often_as_it_stands_there(self, tmp_path: Path) -> None:
        fake = (
            'tool() { case "$3" in -C) [ -s rules ] ;; -D) echo "$@"; sed -i 1d rules ;; esac }; tool-save() { :; }\n'
        )
        (tmp_path / "rules").write_text("1\n2\n3\n")
        assert on_host(tmp_path, f"{fake} delete_while_present tool -s a") == b"-w 5 -D INPUT -s a\n" * 3
        assert on_host(tmp_path, f"{fake} delete_while_present tool -s a") == b""

    def test_a_rule_that_cannot_be_deleted_is_a_failure_and_no_loop(self, tmp_path: Path) -> None:
        fake = 'tool() { [ "$3" = -C ]; }\n'
        assert on_host(tmp_path, f"{fake} delete_while_present tool -s a; echo $?") == b"1\n"

    @pytest.mark.parametrize(
        ("words", "others"),
        [("1 ", ""), ("", OF_ANOTHER_PORT), ("inet fw in ", OF_ANOTHER_PORT)],
        ids=["of a port", "of all ports", "in version 1.0"],
    )
    def test_rules_with_the_comment_are_deleted_by_their_handles_and_no_others(
        self, tmp_path: Path, words: str, others: str
    ) -> None:
        (tmp_path / "rules").write_text(
            "table inet fw { # handle 1\n"
            "\tflags owner # progname x\n"
            "\tchain in { # handle 2\n"
            '\t\ttcp dport 1 accept comment "transferpy-r1" # handle 3\n'
            '\t\ttcp dport 1 accept comment "transferpy-r12" # handle 4\n'
            '\t\ttcp dport 1 accept comment "not transferpy-r1 # handle 9" # handle 5\n'
            "\t}\n"
            "}\n"
            "table ip6 other { # handle 1\n"
            "\tchain renamed { # handle 2\n"
            '\t\ttcp dport 1 accept comment "transferpy-r1" # handle 66\n'
            '\t\ttcp dport 12 accept comment "transferpy-r1" # handle 67\n'
        )
        fake = 'nft() { case "$2" in -a) cat rules ;; *) echo "$@"; sed -i "/ handle $7\\$/d" rules ;; esac }\n'
        output = on_host(tmp_path, f"{fake} nft_delete_commented {words}transferpy-r1; echo $?").decode()
        assert output == f"delete rule inet fw in handle 3\ndelete rule ip6 other renamed handle 66\n{others}0\n"

    @pytest.mark.parametrize(
        ("command", "reported", "status"),
        [
            ("nft_delete_commented inet fw in c", "Error: Operation not permitted", 1),
            ("nft_delete_commented inet fw in c", "bash: line 1: nft: No such file or directory", 1),
            ("delete_while_present nft -s a", "iptables: Bad rule (does a matching rule exist in that chain?).", 0),
        ],
    )
    def test_a_rule_that_is_gone_with_its_chain_is_deleted(
        self, tmp_path: Path, command: str, reported: str, status: int
    ) -> None:
        fake = f"nft() {{ echo '{reported}' >&2; return 1; }}; nft-save() {{ :; }}\n"
        output = on_host(tmp_path, f"{fake} {command}; echo $?").decode()
        assert output == (f"{reported}\n{status}\n" if status else "0\n")

    def test_a_lock_that_others_hold_does_not_pass_for_a_rule_that_is_gone(self, tmp_path: Path) -> None:
        fake = "tool() { echo 'Another app is currently holding the xtables lock' >&2; return 4; }\n"
        output = on_host(tmp_path, f"{fake} delete_while_present tool -s a; echo $?")
        assert output == b"Another app is currently holding the xtables lock\n1\n"

    def test_a_rule_of_nft_that_cannot_be_deleted_is_a_failure(self, tmp_path: Path) -> None:
        fake = """nft() { [ "$2" = -a ] && echo 'accept comment "c" # handle 3'; }\n"""
        assert on_host(tmp_path, f"{fake} nft_delete_commented inet fw in c; echo $?") == b"1\n"

    def test_a_rich_rule_is_removed_from_each_zone_that_has_it(self, tmp_path: Path) -> None:
        listing = tmp_path / "zones"
        listing.write_text(
            "drop\n  target: DROP\n  rich rules: \n\n"
            "home (default, active)\n  rich rules: \n\trule a b\n\trule a b c\n\n"
            "work (active)\n  sources: 10.0.0.0/8\n  rich rules: \n\trule a\n\trule a b\n"
        )
        fake = """
            search_stat() { pids=(1); }
            timeout() {
              case "$*" in
                *--list*) cat zones ;;
                *) echo "${*:4}"; [ -e stays ] || sed -i '/rule a b$/d' zones ;;
              esac
            }
        """
        (tmp_path / "stays").touch()
        output = on_host(tmp_path, f"{fake} firewalld_remove 'rule a b'; echo $?").decode()
        removed = [f"--zone={zone} --remove-rich-rule=rule a b" for zone in ("home", "work")]
        assert output.splitlines() == [*removed, "the rule is still there, in the zones: home", "work", "1"]
        (tmp_path / "stays").unlink()
        output = on_host(tmp_path, f"{fake} firewalld_remove 'rule a b'; firewalld_remove 'rule a b'; echo $?").decode()
        assert output.splitlines() == [removed[0], removed[1], "0"]
        assert "rule a b c" in listing.read_text()

    def test_a_firewalld_that_does_not_run_has_no_rule_and_one_that_hangs_may_have_one(self, tmp_path: Path) -> None:
        fake = "timeout() { echo 'FirewallD is not running' >&2; return %d; }; "
        call = "firewalld_remove 'rule a' 2>&1; echo $?"
        found, failing = "search_stat() { pids=(1); }; ", "search_stat() { pids=(); return 1; }; "
        assert on_host(tmp_path, fake % 252 + found + call) == b"0\n"
        assert on_host(tmp_path, fake % 124 + found + call) == b"FirewallD is not running\n1\n"
        assert on_host(tmp_path, fake % 127 + call) == b"0\n"  # no process of firewalld
        assert on_host(tmp_path, fake % 127 + failing + call) == b"FirewallD is not running\n1\n"

    def test_a_rich_rule_is_added_to_the_default_zone_and_to_each_active_zone(self, tmp_path: Path) -> None:
        fake = """
            timeout() {
              case "$*" in
                *default*) echo home ;;
                *active*) printf '%s\\n' 'home (default)' '  interfaces: eth0' work '  sources: 10.0.0.0/8' ;;
                *) echo "${*:4:2}" ;;
              esac
            }
        """
        output = on_host(tmp_path, f"{fake} firewalld_add 'rule a'; echo $?").decode()
        assert output.splitlines() == ["--zone=home --timeout=24h", "--zone=work --timeout=24h", "0"]

    def test_a_rule_that_is_still_listed_after_its_deletion_is_a_failure(self, tmp_path: Path) -> None:
        fake = """nft() { [ "$2" != -a ] || echo 'accept comment "c" # handle 3'; }\n"""
        output = on_host(tmp_path, f"{fake} nft_delete_commented c; echo $?")
        assert output == b'accept comment "c" # handle 3\n1\n'
        delete = "delete_while_present tool --dport 1 -m comment --comment c -j ACCEPT; echo $?"
        saved = "-A OTHER -p tcp -m tcp --dport 1 -m comment --comment c -j ACCEPT"
        fake = f"tool() {{ return 1; }}; tool-save() {{ echo '{saved}'; }}\n"
        output = on_host(tmp_path, fake + delete)
        assert output.decode() == f"the rule is still there, in another place: {saved}\n1\n"
        failing = "tool() { return 1; }; tool-save() { echo 'no memory' >&2; return 1; }\n"
        assert on_host(tmp_path, failing + delete) == b"no memory\n1\n"
        assert on_host(tmp_path, "tool() { return 1; }; tool-save() { :; }\n" + delete) == b"0\n"

    def test_the_root_of_the_runs_goes_with_the_last_of_them(self, tmp_path: Path) -> None:
        script = 'remove_run_directory "$run_root/run.{}"; echo $?; ls "$run_root" 2>/dev/null; true'
        for number in (1, 2):
            (tmp_path / "run" / f"run.{number}").mkdir(parents=True)
        assert on_host(tmp_path, script.format(1)) == b"0\nrun.2\n"
        assert on_host(tmp_path, script.format(2)) == b"0\n"
        assert not (tmp_path / "run").exists()


def stale_run(directory: Path, name: str, *commands: str, owner: str = "999999999.1") -> Path:
    """Make the run directory of a session that was killed, with undo entries."""
    path = directory / "run" / f"run.{name}.{owner}"
    path.mkdir(parents=True)
    for number, command in enumerate(commands, start=100):
        (path / f"undo.{number}.x").write_text(command)
    return path


class TestRecovery:
    def test_the_undo_list_of_each_stale_run_is_run_and_reported(self, tmp_path: Path) -> None:
        stale_run(tmp_path, "r7", "mark 1 ", "mark 2 ")
        stale_run(tmp_path, "r8", "mark 3 ")
        (tmp_path / "run" / "run.r8.999999999.1" / "entry").write_text("mark half")
        found = events(on_host(tmp_path, f"{MARK} recover_stale_runs"))
        assert [(event.name, event.fields) for event in found] == [
            ("finished-dead-run", {"run": "r7", "pid": "999999999"}),
            ("finished-dead-run", {"run": "r8", "pid": "999999999"}),
        ]
        assert done(tmp_path) == ["2", "1", "3"]
        assert not (tmp_path / "run").exists()

    def test_stale_runs_of_version_1_0_are_recovered_too(self, tmp_path: Path) -> None:
        target, staging = tmp_path / "target", tmp_path / "target" / ".transferpy-r7-0"
        (target / "content").mkdir(parents=True)
        (staging / "inside").mkdir(parents=True)
        staging.chmod(0o700)
        status = (target / "content").stat()
        stale_run(tmp_path, "source.r7", "mark 1 ")
        run = stale_run(tmp_path, "target.r7", f"remove_directory {staging} ", f"take_back {target} ")
        (run / "published").write_text(f"{status.st_dev}:{status.st_ino} content\0")
        found = events(on_host(tmp_path, f"{MARK} recover_stale_runs"))
        assert [event.fields.get("run", event.name) for event in found] == ["source.r7", "set-aside", "target.r7"]
        assert done(tmp_path) == ["1"]
        (aside,) = target.iterdir()
        assert [path.name for path in aside.iterdir()] == ["content"]
        assert not (tmp_path / "run").exists()

    def test_a_file_that_was_made_after_the_list_of_version_1_0_stays(self, tmp_path: Path) -> None:
        run = stale_run(tmp_path, "target.r7", f"take_back {tmp_path}/target ")
        (tmp_path / "target" / "restored").mkdir(parents=True)
        status = (tmp_path / "target" / "restored").stat()
        (run / "published").write_text(f"{status.st_dev}:{status.st_ino} restored\0")
        os.utime(run / "published", (status.st_ctime - 100, status.st_ctime - 100))
        on_host(tmp_path, f"{MARK} recover_stale_runs")
        assert [path.name for path in (tmp_path / "target").iterdir()] == ["restored"]

    def test_two_sessions_of_one_run_are_recovered_each_by_itself(self, tmp_path: Path) -> None:
        stale_run(tmp_path, "r7", "mark 1 ", "false ", owner="999999998.1")
        stale_run(tmp_path, "r7", "mark 2 ", "false ", owner="999999999.1")
        script = "recover_stale_runs; false() { mark mended; }; recover_stale_runs"
        found = events(on_host(tmp_path, f"{MARK} {script}"))
        assert [event.fields.get("pid", event.name) for event in found] == [
            *["undo-failed"] * 2,
            *("999999998", "999999999"),
        ]
        assert done(tmp_path) == ["1", "2", "mended", "mended"]
        assert not (tmp_path / "run").exists()

    def test_without_stale_runs_nothing_happens(self, tmp_path: Path) -> None:
        assert on_host(tmp_path, "recover_stale_runs; echo $?; ls") == b"0\n"

    def test_a_run_with_a_live_session_is_not_recovered(self, tmp_path: Path) -> None:
        script = 'read_stat $$; d=$run_root/run.r7.$$.${stat[19]}; mkdir -p "$d"; echo "mark 1 " >"$d/undo.100.x"'
        with running(host_script(tmp_path, f"{script}; echo ready; read -r")) as session:
            assert on_host(tmp_path, f"{MARK} recover_stale_runs") == b""
            assert len(entries(tmp_path)) == 1
            session.kill()
            session.wait(TIMEOUT)
            assert len(events(on_host(tmp_path, f"{MARK} recover_stale_runs"))) == 1
        assert done(tmp_path) == ["1"]

    def test_a_run_is_stale_if_another_process_has_the_pid_of_its_session(self, tmp_path: Path) -> None:
        stale_run(tmp_path, "r7", "mark 1 ", owner=f"{os.getpid()}.1")
        on_host(tmp_path, f"{MARK} recover_stale_runs")
        assert done(tmp_path) == ["1"]

    def test_the_processes_of_a_stale_run_are_ended_before_any_undo_entry_runs(self, tmp_path: Path) -> None:
        with running(PARENT, JOB, job=JOB) as orphan:
            # until the test collects it, it has a number, but no program any more
            path = stale_run(tmp_path, "r7", f"[ -e /proc/{orphan.pid}/exe ] && mark alive || mark gone")
            (path / "job").write_text(JOB)
            on_host(tmp_path, f"{MARK} recover_stale_runs")
            assert orphan.wait(TIMEOUT) == -signal.SIGTERM
        assert done(tmp_path) == ["gone"]

    def test_a_recovery_that_was_itself_killed_is_reported_with_the_process_of_the_session(
        self, tmp_path: Path
    ) -> None:
        claimed = stale_run(tmp_path, "r7", "mark 1 ", owner="999999999.1")
        # The first recovery is killed in the middle of the undo list, the second one finds its claim.
        script = f"{MARK} undo() {{ kill -KILL $BASHPID; }}; recover_stale_runs"
        assert run_bash(host_script(tmp_path, script), cwd=tmp_path).returncode == -signal.SIGKILL
        assert not claimed.exists()
        (finished,) = events(on_host(tmp_path, f"{MARK} recover_stale_runs"))
        assert (finished.fields["run"], finished.fields["pid"]) == ("r7", "999999999")

    def test_an_empty_job_file_ends_no_process(self, tmp_path: Path) -> None:
        (stale_run(tmp_path, "r7") / "job").touch()
        with running(PARENT, "") as bystander:
            fake = 'kill() { echo "kill $*"; }\n'
            assert b"kill" not in on_host(tmp_path, f"{fake} recover_stale_runs")
            assert bystander.poll() is None

    def test_an_undo_entry_that_fails_stays_for_the_next_run(self, tmp_path: Path) -> None:
        stale_run(tmp_path, "r7", "mark 1 ", "false ")
        (failed,) = events(on_host(tmp_path, f"{MARK} recover_stale_runs"))
        assert (failed.name, failed.text("entry"), done(tmp_path)) == ("undo-failed", "false ", ["1"])
        (finished,) = events(on_host(tmp_path, f"{MARK} false() {{ mark mended; }}; recover_stale_runs"))
        assert (finished.fields["run"], done(tmp_path)) == ("r7", ["mended"])
        assert not (tmp_path / "run").exists()

    def test_an_undo_entry_that_fails_is_tried_again_while_the_first_recovery_still_runs(self, tmp_path: Path) -> None:
        stale_run(tmp_path, "r7", "false ")
        twice = "recover_stale_runs; false() { mark mended; }; recover_stale_runs"
        failed, finished = events(on_host(tmp_path, f"{MARK} {twice}"))
        assert (failed.name, finished.name) == ("undo-failed", "finished-dead-run")
        assert (finished.fields["run"], done(tmp_path)) == ("r7", ["mended"])

    @pytest.mark.parametrize("name", RUN_IN_A_TRAP)
    def test_no_failure_is_without_a_number_where_a_trap_would_make_a_success_of_it(self, name: str) -> None:
        assert output_of("f() { false || return; }; trap 'f; echo $?' EXIT; exit 0") == b"0\n"  # that is why
        code = re.sub(r"#.*", "", (HOST / f"{name}.sh").read_text())
        assert re.findall(r".*\breturn(?! [0-9\"]).*", code) == []

    def test_only_directories_of_runs_are_touched(self, tmp_path: Path) -> None:
        elsewhere = stale_run(tmp_path / "elsewhere", "r7", "mark 1 ")
        root = tmp_path / "run"
        root.mkdir()
        (root / "run.link.1.1").symlink_to(elsewhere)
        (root / "run.file.1.1").touch()
        (root / "port.4400").touch()
        assert on_host(tmp_path, f"{MARK} recover_stale_runs") == b""
        assert sorted(path.name for path in root.iterdir()) == ["port.4400", "run.file.1.1", "run.link.1.1"]
        assert done(tmp_path) == []

    @pytest.mark.parametrize(
        "name", ["run.", "run.x", "run..", "run. .1", "run.-x.y.z", "run.a\nb.1.2", "run.$(x).'.1"]
    )
    def test_a_run_directory_with_a_strange_name_is_recovered(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "undo.100.x").write_text("mark 1 ")
        on_host(tmp_path, f"{MARK} recover_stale_runs")
        assert done(tmp_path) == ["1"]
        assert not (tmp_path / "run").exists()

    def test_each_stale_run_is_recovered_once_by_concurrent_processes(self, tmp_path: Path) -> None:
        for number in range(5):
            stale_run(tmp_path, f"r{number}", f"mark {number} ")
        script = host_script(tmp_path, f"{MARK} echo ready; read -r; recover_stale_runs")
        with ExitStack() as stack:
            finders = [stack.enter_context(running(script, cwd=tmp_path)) for _ in range(8)]
            send_line(*finders)
            output = b"".join(finder.communicate(timeout=TIMEOUT)[0] for finder in finders)
        assert sorted(event.fields["run"] for event in events(output)) == [f"r{n}" for n in range(5)]
        assert sorted(done(tmp_path)) == [str(number) for number in range(5)]
        assert not (tmp_path / "run").exists()
