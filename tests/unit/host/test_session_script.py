"""Parts of a session, run by a real bash in a directory of their own."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from bash import run_bash
from host_text import SESSION, host_script, without_comments

from transferpy.agent.protocol import SessionFailed, parse_event
from transferpy.host import assemble

if TYPE_CHECKING:
    from pathlib import Path


def run_in_session(directory: Path, script: str) -> str:
    """Return the output of ``script``, which has the functions and the fifo of a session that has not begun."""
    directory.mkdir(exist_ok=True)
    variables = "run_id=x cores=2 checksum=no priority=normal"
    start = f"{variables}; run_directory={directory}; mkfifo {directory}/control"
    text = assemble(*SESSION, call=f"{start}\nexec {{control}}<>{directory}/control\n{script}")
    result = run_bash(without_comments(text))
    return result.stdout.decode()


def test_a_line_that_a_time_out_cuts_in_two_is_put_together_again(tmp_path: Path) -> None:
    script = """
        printf 'command se' >&$control; read_message 0.1; echo "status $?"
        printf 'nd 0 address\\n' >&$control; read_message 1
        echo "${pending_commands[@]}"
    """
    assert run_in_session(tmp_path, script) == "status 1\nsend 0 address\n"


def test_a_listener_that_takes_a_moment_is_waited_for(tmp_path: Path) -> None:
    script = """
        port=4400 looks=0
        has_own_listener() { ((++looks == 3)); }
        heartbeat() { :; }
        wait_for_listener receive; echo "status $? after $looks looks"
    """
    assert run_in_session(tmp_path, script) == "status 0 after 3 looks\n"


def test_only_a_listener_of_this_user_on_that_port_is_a_listener(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        script = f"""
            port={port}
            has_own_listener "$port"; echo "status $?"
            EUID_OF_ANOTHER=$((EUID + 1))
            eval "$(declare -f has_own_listener | sed s/EUID/EUID_OF_ANOTHER/)"
            has_own_listener "$port"; echo "status $?"
        """
        assert run_in_session(tmp_path, script) == "status 0\nstatus 1\n"
        with socket.create_connection(("127.0.0.1", port)):
            ours.close()
            # The connection is still there, and has the port.
            assert run_in_session(tmp_path / "again", script).startswith("status 1\n")


def test_a_listener_that_ended_is_not_waited_for(tmp_path: Path) -> None:
    script = """
        port=4400
        has_own_listener() { false; }
        heartbeat() { :; }
        task_statuses[receive]=1
        wait_for_listener receive; echo "status $?"
    """
    assert run_in_session(tmp_path, script) == "status 1\n"


def test_a_job_that_is_killed_counts_as_killed(tmp_path: Path) -> None:
    script = """
        start_task victim sleep 60
        kill -KILL "${task_pid[victim]}"
        wait_for_task victim
        echo "${task_statuses[victim]}"
        kill -KILL -- "-${task_pid[victim]}"
    """
    assert run_in_session(tmp_path, script).splitlines()[-1] == "137"


def test_the_tables_of_a_copy_are_the_files_of_its_databases(tmp_path: Path) -> None:
    copy = tmp_path / ".hidden" / "copy"
    names = ["shop/a.ibd", "shop/b.MYD", "shop/c.MAD", "linked/d.ibd", "a\nb/e.ibd"]
    others = ["ibdata1", "top.ibd", "shop/#sql-1.ibd", "#tmp/x.ibd", ".snapshot/x.ibd", "shop/deep/x.ibd"]
    (tmp_path / "elsewhere").mkdir()
    for name in (*names, *others, *(name.rpartition(".")[0] + ".frm" for name in names)):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(b"\xfe\1\n\6" + bytes(60))  # of an engine without files
    (copy / "linked").rename(tmp_path / "elsewhere" / "linked")
    (copy / "linked").symlink_to(tmp_path / "elsewhere" / "linked")
    (copy / "shop" / "empty.ibd").touch()
    (tmp_path / "empty").mkdir()
    script = """
        here=$PWD
        for directory in "$1" "$here/empty"; do
          list_tables copy "$directory" "$here/tables" "$here/lacking"; echo "status $?"
          tr '\\0' '|' <"$here/tables"; echo; wc -c <"$here/lacking"
        done
    """
    output = run_in_session(tmp_path, f"cd {tmp_path}; set -- {copy}; {script}")
    listed = sorted([*names, *(name.rpartition(".")[0] + ".frm" for name in names)])
    assert output == "status 0\n" + "".join(f"{name}|" for name in listed) + "\n0\nstatus 0\n\n0\n"


@pytest.mark.parametrize(("job", "status"), [("false", "1"), ("sleep 60", "137")])
def test_the_function_after_a_task_runs_once_for_each_kind_of_end(tmp_path: Path, job: str, status: str) -> None:
    script = f"""
        next() {{ echo "next ${{task_statuses[first]}}"; start_task second true; }}
        on_task_end=([first]=next)
        start_task first {job}
        [[ {job!r} != sleep* ]] || kill -KILL "${{task_pid[first]}}"
        wait_for_task first
        wait_for_task second
        wait_for_message 1; wait_for_message 1
        kill -KILL -- "-${{task_pid[first]}}" 2>/dev/null
    """
    reported = run_in_session(tmp_path, script).splitlines()
    assert [line for line in reported if not line.startswith("@")] == [f"next {status}"]


def test_the_last_message_of_a_task_is_read_before_it_counts_as_killed(tmp_path: Path) -> None:
    script = """
        start_task quick true
        wait "${task_pid[quick]}"
        read -r line <&$control
        printf 'command stop-not\\n%s\\n' "$line" >&$control
        wait_for_task quick
        echo "${task_statuses[quick]} ${pending_commands[*]}"
    """
    assert run_in_session(tmp_path, script).splitlines()[-1] == "0 stop-not"


def staging(directory: Path, meanwhile: str) -> str:
    """Return how the making of a staging directory ends when ``meanwhile`` happens between its steps."""
    script = f"""
        cd {directory}/target; exec {{target}}<.
        staging_name=.staging
        eval "original_$(declare -f make_directory)"
        make_directory() {{ original_make_directory "$@" && {{ {meanwhile}; }}; }}
        make_staging; echo "status $? in $(pwd -P)"
    """
    (directory / "target").mkdir()
    return run_in_session(directory, script)


def test_a_staging_directory_is_made_and_entered(tmp_path: Path) -> None:
    assert staging(tmp_path, ":") == f"status 0 in {tmp_path}/target/.staging/content\n"


def test_a_link_that_takes_the_place_of_the_staging_directory_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir(mode=0o700)
    assert staging(tmp_path, "mv .staging away; ln -s ../victim .staging").startswith("status 1 ")


def test_a_staging_directory_that_is_not_empty_is_not_ours(tmp_path: Path) -> None:
    assert staging(tmp_path, "touch .staging/planted").startswith("status 1 ")


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_a_created_target_is_recognised_with_any_end_of_its_name(tmp_path: Path, end: str) -> None:
    script = f"made_target=; make_target {tmp_path}/above/target{end}; echo made=$made_target"
    assert run_in_session(tmp_path, script) == "made=yes\n"
    assert (tmp_path / "above/target").is_dir()
    assert run_in_session(tmp_path / "again", script) == "made=\n"


def test_a_listing_of_nft_that_fails_does_not_pass_for_an_empty_one(tmp_path: Path) -> None:
    script = """
        nft() { echo 'netlink: Error: cache initialization failed'; return 1; }
        nft_delete_commented inet filter input transferpy-x; echo "status $?"
    """
    assert run_in_session(tmp_path, script).endswith("status 1\n")


def test_data_is_written_to_disk_during_the_stream(tmp_path: Path) -> None:
    script = """
        sync() { echo "$*" >>"$run_directory/synced"; }
        write_behind 1000; echo "${task_pid[sync]-none}"
        write_behind $((64 << 20)); wait_for_task sync
        write_behind $((127 << 20)); wait_for_task sync
        write_behind $((128 << 20)); wait_for_task sync
        cat "$run_directory/synced"
    """
    recorded = run_in_session(tmp_path, script).splitlines()
    assert [line for line in recorded if not line.startswith("@transferpy")] == ["none", "-f .", "-f ."]


def test_a_pipe_is_enlarged_and_a_perl_that_cannot_do_it_prints_nothing(tmp_path: Path) -> None:
    capacity = "import fcntl; print(fcntl.fcntl(0, fcntl.F_GETPIPE_SZ))"
    script = f"""
        sleep 0.1 | {{ widen_pipe; python3 -c '{capacity}'; }}
        perl() {{ echo "cannot" >&2; return 2; }}
        sleep 0.1 | {{ widen_pipe; python3 -c '{capacity}'; }} 2>&1
    """
    assert run_in_session(tmp_path, script) == f"{1 << 20}\n{1 << 16}\n"


def test_no_key_stays_where_something_could_not_be_undone(tmp_path: Path) -> None:
    (tmp_path / "key.pem").touch()
    script = "input= ; on_undo x false; end_session"
    assert "end status=0 undone=no" in run_in_session(tmp_path, script)
    assert {path.name for path in tmp_path.iterdir()} == {"control", "undo.10000.x"}


@pytest.mark.parametrize("end", ["dispatch 'command stop'", "fail host 'no more'", "kill -HUP $$"])
def test_a_signal_at_any_statement_of_the_end_leaves_nothing_behind(tmp_path: Path, end: str) -> None:
    for number in range(1, 25):
        script = f"""
            priority=low statements=0
            strike() {{ [ "$BASHPID" != $$ ] || ((++statements != {number})) || kill -TERM $$; }}
            begin_session
            on_undo x eval ': >{tmp_path}/undone'
            set -T
            trap strike DEBUG
            {end}
        """
        reported = run_bash(host_script(tmp_path, script, *SESSION), f"job-{tmp_path}").stdout
        (tmp_path / "undone").unlink()
        assert reported.endswith(b" undone=yes\n"), number
        assert not (tmp_path / "run").exists(), number


def test_a_job_that_is_stopped_is_gone_with_all_its_processes_and_forgotten(tmp_path: Path) -> None:
    script = """
        run_in_job() { sleep 1000 & sleep 1000; }
        heartbeat() { :; }
        start_task digest run_in_job
        group=${task_pid[digest]}
        until pgrep -g "$group" -c | grep -qx 3; do sleep 0.02; done
        stop_task digest
        pgrep -g "$group" -r D,R,S # init may need a moment to reap a dead process
        echo "${task_pid[digest]-none} ${task_statuses[digest]-none}"
    """
    assert run_in_session(tmp_path, script) == "none none\n"


def test_the_last_word_of_a_job_that_is_stopped_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    script = """
        heartbeat() { :; }
        start_task digest true
        until ! kill -0 "-${task_pid[digest]}" 2>/dev/null; do sleep 0.02; done
        stop_task digest
        start_task digest sleep 1000
        wait_for_message 0.2
        echo "${task_statuses[digest]-runs}"
        kill -- "-${task_pid[digest]}"
    """
    assert run_in_session(tmp_path, script) == "runs\n"


def test_a_job_that_has_ended_is_forgotten_without_a_wait_for_messages(tmp_path: Path) -> None:
    script = """
        start_task digest true
        wait_for_task digest
        read_message() { echo waits; return 1; }
        stop_task digest; echo "${task_pid[digest]-none}"
    """
    assert run_in_session(tmp_path, script) == "none\n"


def test_a_job_that_was_left_by_its_leader_or_takes_no_hint_is_ended_all_the_same(tmp_path: Path) -> None:
    script = """
        heartbeat() { :; }
        stay() { trap '' TERM; sleep 1000; }
        run_in_job() { (stay) & exit 1; }
        start_task digest run_in_job
        group=${task_pid[digest]}
        until ! kill -0 "$group" 2>/dev/null; do sleep 0.02; done
        task_statuses[digest]=1
        pgrep -c -g "$group" -r D,R,S
        stop_task digest; echo "stopped $?"
        pgrep -c -g "$group" -r D,R,S
    """
    assert run_in_session(tmp_path, script) == "2\nstopped 0\n0\n"


def test_an_event_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    output = run_in_session(tmp_path, "emit changed paths=$(printf '%0200000d' 1); emit progress bytes=1")
    (error,) = (parse_event(line, "x") for line in output.splitlines())
    assert error == SessionFailed(kind="host", text="the event changed has 200014 bytes, which is too long")


def test_all_stages_of_a_stream_count_for_its_progress(tmp_path: Path) -> None:
    # The first stage reads nothing, as tar does with empty files.
    script = """
        stream() { { for ((n = 0; n < 100000; n++)); do echo x; done; exec sleep 1000; } | (exec cat >/dev/null); }
        start_task send_0 stream
        stream_stage[send_0]=sleep
        until total=0; measure_progress send_0; ((total > 200000)); do sleep 0.05; done
        kill -- "-${task_pid[send_0]}"
        heartbeat
    """
    assert "total=" in run_in_session(tmp_path, script)


def test_the_input_of_a_backup_tool_is_not_progress_of_its_stream(tmp_path: Path) -> None:
    # As mariadb-backup does, which reads the log of the server while nothing takes its output.
    script = """
        backup() { measure_input send_0 dd if=/dev/zero of=/dev/null status=none | (exec wc -c >/dev/null); }
        start_task send_0 backup
        stream_stage[send_0]=wc
        until total=0; measure_progress send_0; [ -n "${stream_bytes[send_0]-}" ]; do sleep 0.05; done
        before=$total; sleep 0.2; total=0; measure_progress send_0; echo "$((total - before))"
        stream_stage[send_0]=dd # if it is observed, it counts
        total=0; measure_progress send_0
        [ "${stream_bytes[send_0]}" -gt 1000000 ] && echo "$((total >= stream_bytes[send_0]))"
        kill -- "-${task_pid[send_0]}"
    """
    assert run_in_session(tmp_path, script) == "0\n1\n"


@pytest.mark.parametrize(("codec", "trials", "status"), [("tr -d x", "one 3 N\ntwo 4 N\n", 0), ("false", "one ", 1)])
def test_each_codec_is_measured_on_the_sample(tmp_path: Path, codec: str, trials: str, status: int) -> None:
    script = f"""
        cd {tmp_path}; printf 'file//f - - - 4 1.5\\0' >$lists/manifest; printf 'xaaa' >file
        sample_directory= sampled_bytes=4 benchmarked=(one two) benchmark_one=({codec}) benchmark_two=(cat)
        take_sample; echo "status $?"; sed 's/[0-9]*$/N/' trials
    """
    assert run_in_session(tmp_path, script) == f"status {status}\n{trials if status == 0 else 'one N'}"


def test_a_session_without_the_ability_to_read_has_a_heartbeat(tmp_path: Path) -> None:
    assert run_in_session(tmp_path, "set -u; heartbeat; echo alive").endswith("\nalive\n")


def test_the_progress_of_all_lanes_is_reported_together(tmp_path: Path) -> None:
    script = """
        still() { { head -c "$1" /dev/zero; exec sleep 1000; } | (exec wc -c >/dev/null); }
        lanes=('' -1) progress_program[lane]=wc
        start_task send_0 still 3000000
        start_task send_0-1 still 5000000
        observe_stream send_0 lane
        until total=0; measure_progress send_0; ((${stream_bytes[send_0]-0} >= 3000000)); do sleep 0.05; done
        until total=0; measure_progress send_0-1; ((${stream_bytes[send_0-1]-0} >= 5000000)); do sleep 0.05; done
        stop_task send_0-1 # its bytes still count
        heartbeat
        stop_task send_0
    """
    line = next(line for line in run_in_session(tmp_path, script).splitlines() if " progress bytes=" in line)
    assert 8_000_000 <= int(line.partition("bytes=")[2].split()[0]) < 8_200_000


@pytest.mark.parametrize(("threads", "lanes", "expected"), [(64, 1, 64), (64, 4, 16), (7, 2, 3), (2, 4, 1)])
def test_the_lanes_share_the_processors_of_the_compressor(
    tmp_path: Path, threads: int, lanes: int, expected: int
) -> None:
    ports = ",".join(map(str, range(4400, 4400 + lanes)))
    script = f"""
        compress_threads={threads}
        accept_peer() {{ :; }}
        start_watch() {{ :; }}
        await_watch() {{ :; }}
        send_0_zstd1() {{ echo "$lane_threads" >"$run_directory/threads$lane"; statuses=(0); }}
        send_0_lanes_zstd1() {{ send_0_zstd1; }}
        send_stream 0 zstd1 ADDRESS {ports} 0 0 token
    """
    run_in_session(tmp_path, script)
    found = [file.read_text() for file in tmp_path.glob("threads*")]
    assert found == [f"{expected}\n"] * lanes


@pytest.mark.parametrize("failed", ["", "-1", "-2"])
def test_the_first_lane_that_fails_ends_the_others_and_is_the_only_one_reported(tmp_path: Path, failed: str) -> None:
    script = f"""
        lanes=('' -1 -2)
        last() {{ [ "$task" = "send_0{failed}" ] && return 3; sleep 1000; }}
        for lane in "${{lanes[@]}}"; do start_task "send_0$lane" last; done
        wait_for_lanes send_0; echo "status $?"
        echo "left: ${{!task_pid[*]}} ${{task_statuses[send_0]-}}"
    """
    printed = run_in_session(tmp_path, script)
    if failed:
        assert f"stages job=send_0{failed} statuses=3" in printed
        assert f"status 1\nleft: send_0{failed} \n" in printed
    else:
        assert "stages" not in printed  # the caller reports the first lane
        assert "status 0\nleft: send_0 3\n" in printed


def test_a_command_for_a_relay_goes_to_that_of_its_lane(tmp_path: Path) -> None:
    script = """
        for lane in '' -1 -2; do make_relay_fifo; done; lane=''
        rm "$run_directory/relay-2" # a command for a relay that does not exist has no effect
        exec {first}<>"$run_directory/relay" {second}<>"$run_directory/relay-1"
        for text in 'resume 1 2 300' 'finish 0' 'total 2 5'; do dispatch "command $text"; done
        read -r -t 1 -u "$first"; echo "first: $REPLY"
        read -r -t 1 -u "$second"; echo "second: $REPLY"
    """
    assert run_in_session(tmp_path, script) == "first: finish\nsecond: resume 2 300\n"


@pytest.mark.parametrize(("lane", "suffix"), [("", ""), (" lane=2", "-2")])
def test_an_event_of_a_relay_has_the_errors_of_its_lane(tmp_path: Path, lane: str, suffix: str) -> None:
    script = f"""
        emit() {{ echo "$@"; }}
        echo reset >"$run_directory/relay{suffix}.err"
        dispatch 'event broken connection=0 position=7 status=1{lane}'
    """
    text = "text=cmVzZXQ="
    assert run_in_session(tmp_path, script) == f"broken connection=0 position=7 status=1{lane} {text}\n"


def test_the_connections_of_lanes_are_reported_apart(tmp_path: Path) -> None:
    script = """
        emit() { echo "$@"; }
        take_port_back() { :; }; lend_port() { :; }; forget_handshake() { :; }; is_at_work() { :; }
        has_own_listener() { [[ " $listening " == *" $1 "* ]]; }
        command_relay() { echo "to relay: $*"; }
        on_relay[reopened]=await_further_connection at_once[reopen]=reopen_listener
        lanes=('' -1) lane_ports=(4400 4401)
        each_lane await_connection
        look() { listening=$1; echo "look: $1"; each_lane look_for_connection; }
        look '4400 4401'
        look '4401'
        look ''
        dispatch 'command reopen 1 1'
        look ''
        dispatch 'event reopened connection=1 position=9 lane=1'
        look '4401'
        look ''
    """
    assert run_in_session(tmp_path, script).splitlines() == [
        "look: 4400 4401",
        "look: 4401",
        "look: ",
        "connected",
        "to relay: reopen 1 1",
        "look: ",
        "reopened connection=1 position=9 lane=1",
        "look: 4401",
        "look: ",
    ]


def test_a_first_connection_that_breaks_before_it_was_seen_counts(tmp_path: Path) -> None:
    script = """
        emit() { echo "$@"; }
        take_port_back() { :; }; lend_port() { :; }; forget_handshake() { :; }; is_at_work() { :; }
        command_relay() { :; }
        lanes=('' -1) lane_ports=(4400 4401)
        each_lane await_connection
        reopen_listener reopen 0 1; echo "lane: $lane"
        reopen_listener reopen 1 1
    """
    assert run_in_session(tmp_path, script) == "lane: \nconnected\n"
