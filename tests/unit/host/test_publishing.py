"""Publishing: a target directory gets all entries or none, and entries of others stay unchanged."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from bash import HOSTILE_NAMES, output_of, run_bash
from host_text import TIMEOUT, events, on_host, session_script

from transferpy.host import perl_program
from transferpy.stream.renderer import render_argument, render_assignment

if TYPE_CHECKING:
    from pathlib import Path

    from raw_events import Event

STAGING = ".transferpy-r1-0"
CONTENT = f"{STAGING}/content"

# Runs the shell command MEANWHILE before the entry NAME is renamed.
RACE = r"""
    export MEANWHILE NAME
    perl_directories='BEGIN { *CORE::GLOBAL::syscall = sub($@) {
        my $number = shift;
        system "bash", "-c", $ENV{MEANWHILE} if $_[2] eq "-100" && $_[1] =~ m{/\Q$ENV{NAME}\E\z};
        return CORE::syscall($number, @_);
    } }'$perl_directories
"""
# The same, where the system has no call that renames without replacing.
RACE_WITHOUT_SUPPORT = r"""
    export MEANWHILE NAME
    perl_directories='BEGIN {
        *CORE::GLOBAL::syscall = sub($@) {
            my $number = shift;
            return CORE::syscall($number, @_) if $_[2] ne "-100";
            system "bash", "-c", $ENV{MEANWHILE} if $_[1] =~ m{/\Q$ENV{NAME}\E\z};
            $! = 22;
            return -1;
        };
    }'$perl_directories
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a target directory with the staging directory of a run in it."""
    return make_target(tmp_path)


def make_target(directory: Path) -> Path:
    path = directory / "it's a $(target)\n"
    for name in (CONTENT, f"{STAGING}/taken"):
        (path / name).mkdir(parents=True)
    return path


def in_target(target: Path, script: str, *, owner: str = "") -> str:
    """Return the text of a session that does ``script`` on the content of the staging directory, and undoes it all."""
    variables = {"target_directory": str(target), "staging_name": STAGING, "owner": owner}
    start = [
        *(render_assignment(name, value) for name, value in variables.items()),
        'cd -- "$target_directory" && exec {target}<. && cd -- "$staging_name" && exec {staging}<. && cd content',
        'printf "%s\\0" . "/proc/self/fd/$target/." | identify >"$run_directory/staging" && heartbeat() { :; }',
        "trap 'undo \"$run_directory\"' EXIT",
    ]
    return session_script(target.parent, "\n".join([*start, script]))


def events_of(target: Path, script: str, *, owner: str = "") -> list[Event]:
    """Return the events of such a session."""
    result = run_bash(in_target(target, script, owner=owner))
    assert result.stderr == b""
    return events(result.stdout)


def failure(target: Path, script: str, *, owner: str = "") -> tuple[str, str]:
    """Return kind and text of the one error that such a session ends with."""
    (error,) = events_of(target, script, owner=owner)
    assert error.name == "error"
    return error.fields["kind"], error.text("text")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def restored_with_same_number(target: Path) -> bool:
    """Kill a session that has moved a file, replace this file, and return whether the new one has its inode number."""
    (target / CONTENT / "a").touch()
    (target / CONTENT / "z").touch()
    run_bash(in_target(target, f"{KILL} NAME=z {RACE} publish_content"))
    number = (target / "a").stat().st_ino
    (target / "a").unlink()
    for attempt in range(1000):
        restored = target.parent / f"restored.{attempt}"
        restored.write_text("restored")
        if restored.stat().st_ino == number:
            restored.rename(target / "a")
            return True
    return False


class TestEmptiness:
    @pytest.mark.parametrize(
        ("others", "empty"),
        [
            ([], True),
            (["lost+found/"], True),
            (["lost+found"], True),
            (["x"], False),
            ([".hidden"], False),
            (["x/"], False),
            (["lost+found/", "lost"], False),
            ([".transferpy-r2-0/"], False),
        ],
    )
    def test_lost_and_found_and_the_staging_directory_do_not_count(
        self, target: Path, others: list[str], *, empty: bool
    ) -> None:
        for name in others:
            (target / name).mkdir() if name.endswith("/") else (target / name).touch()
        assert output_of(in_target(target, "target_is_empty && echo empty || echo full")) == (
            b"empty\n" if empty else b"full\n"
        )
        assert [event.name for event in events_of(target, "lock_target")] == ([] if empty else ["error"])

    def test_a_directory_that_cannot_be_searched_is_not_empty(self, target: Path) -> None:
        script = 'find() { return 1; }; finds_nothing . || echo "not searched"; target_is_empty || echo full'
        assert output_of(in_target(target, script)) == b"not searched\nfull\n"
        assert failure(target, "find() { return 1; }; lock_target")[0] == "host"

    def test_a_dangling_link_is_something(self, target: Path) -> None:
        (target / "link").symlink_to("nowhere")
        assert failure(target, "lock_target") == ("host", f"{target} is not empty")

    def test_a_directory_that_another_session_has_claimed_is_refused(self, target: Path) -> None:
        script = 'lock_target; exec {other}<"$target_directory"; target=$other; lock_target'
        assert failure(target, script) == ("host", f"another transfer uses {target}")

    def test_a_claim_ends_with_its_session(self, target: Path) -> None:
        for _ in range(2):
            assert events_of(target, "lock_target") == []


def make_content(staging: Path) -> set[str]:
    """Make a copy of everything that can have a name, and return the names."""
    for name in HOSTILE_NAMES:
        (staging / name).write_bytes(os.fsencode(name))
    (staging / "directory" / "inside").mkdir(parents=True)
    (staging / ".hidden").touch()
    (staging / "dangling").symlink_to("nowhere")
    (staging / "fifo").unlink(missing_ok=True)
    os.mkfifo(staging / "fifo")
    return {*HOSTILE_NAMES, "directory", ".hidden", "dangling", "fifo"}


class TestPublishing:
    def test_everything_is_moved_whatever_it_is_called(self, target: Path) -> None:
        expected = make_content(target / CONTENT)
        assert events_of(target, "publish_content") == []
        assert names(target) == expected | {STAGING}
        assert names(target / CONTENT) == set()
        assert all((target / name).read_bytes() == os.fsencode(name) for name in HOSTILE_NAMES)
        assert (target / "directory" / "inside").is_dir()

    def test_the_files_that_a_server_needs_to_start_are_moved_last(self, target: Path) -> None:
        for name in ("zz", "mysql", "ibdata1", "xtrabackup_info", "a", "ib_logfile0"):
            (target / CONTENT / name).touch()
        assert events_of(target, 'publish_content; cp -- "$run_directory/published" ../../../order') == []
        records = (target.parent / "order").read_text().split("\0")[:-1]
        order = [record.partition(" ")[2] for record in records]
        assert order == ["a", "ib_logfile0", "zz", "ibdata1", "mysql", "xtrabackup_info"]

    @pytest.mark.parametrize(("publish", "place"), [("publish_content", "a"), ("publish_entry", "final")])
    def test_the_new_names_are_on_disk_before_it_is_done(self, target: Path, publish: str, place: str) -> None:
        (target / CONTENT / "a").touch()
        script = f"""
            source_name=a final_name=final
            sync() {{ [ "$2" -ef "$target_directory" ] && [ -e "$2/{place}" ] && echo "$#" >>../../../synced; }}
            {publish}
        """
        assert events_of(target, script) == []
        assert (target.parent / "synced").read_text() == "2\n"

    @pytest.mark.parametrize("publish", ["publish_content", "publish_entry"])
    def test_a_disk_that_does_not_take_the_names_is_a_failure(self, target: Path, publish: str) -> None:
        (target / CONTENT / "a").touch()
        script = f"source_name=a final_name=final; sync() {{ echo broken >&2; return 1; }}; {publish}"
        assert failure(target, script) == ("publish", f"cannot write {target} to disk: broken")
        assert names(target) == {STAGING}

    @pytest.mark.parametrize("publish", ["publish_content", "publish_entry"])
    def test_a_session_that_is_ended_before_the_names_are_on_disk_takes_them_back(
        self, target: Path, publish: str
    ) -> None:
        (target / CONTENT / "a").touch()
        script = f"source_name=a final_name=final; sync() {{ ls -A ../.. >../../../there; exit 143; }}; {publish}"
        assert run_bash(in_target(target, script)).returncode == 143
        assert names(target) == {STAGING}
        assert set((target.parent / "there").read_text().split()) == {STAGING, "a" if "content" in publish else "final"}

    def test_an_entry_that_others_put_there_meanwhile_stays(self, target: Path) -> None:
        (target / CONTENT / "a").write_text("of the run")
        script = """
            source_name=a final_name=final
            sync() { echo of others >../../other; command mv -f ../../other ../../final; exit 143; }
            publish_entry
        """
        assert run_bash(in_target(target, script)).returncode == 143
        assert (target / "final").read_text() == "of others\n"

    def test_nothing_to_move_is_fine(self, target: Path) -> None:
        assert events_of(target, "publish_content") == []
        assert names(target) == {STAGING}

    def test_a_published_copy_stays_at_the_end_of_the_session(self, target: Path) -> None:
        (target / CONTENT / "a").touch()
        assert output_of(in_target(target, 'publish_content; compgen -G "$run_directory/undo.*" || echo none')) == (
            b"none\n"
        )
        assert names(target) == {STAGING, "a"}

    def test_a_new_entry_in_the_target_fails_the_session_before_any_move(self, target: Path) -> None:
        make_content(target / CONTENT)
        (target / "of others").touch()
        assert failure(target, "publish_content") == ("publish", f"{target} is not empty any more")
        assert names(target) == {STAGING, "of others"}

    @pytest.mark.parametrize("of_others", [": >", "mkdir ", "ln -s nowhere "])
    @pytest.mark.parametrize("name", ["dangling", "directory", "two words", "zz last"])
    @pytest.mark.parametrize("supported", [True, False], ids=["renameat2", "without-renameat2"])
    def test_a_new_entry_during_the_moves_fails_the_session_which_undoes_all_moves(
        self, target: Path, name: str, of_others: str, *, supported: bool
    ) -> None:
        make_content(target / CONTENT)
        (target / CONTENT / "zz last").touch()
        other = f"{of_others}{render_argument(str(target / name))}"
        script = f"{RACE if supported else RACE_WITHOUT_SUPPORT} {{ publish_content; }}"
        assignments = render_assignment("MEANWHILE", other) + "\n" + render_assignment("NAME", name)
        kind, text = failure(target, f"{assignments}\n{script}")
        assert (kind, text) == ("publish", f"cannot move the copy to {target}: {name}: File exists")
        assert names(target) == {STAGING, name}
        assert not (target / name).is_dir() or names(target / name) == set()

    def test_a_move_that_fails_is_reported_with_the_error_of_the_system(self, target: Path) -> None:
        make_content(target / CONTENT)
        script = "MEANWHILE='rm ./fifo' NAME=fifo; " + RACE + "publish_content"
        assert failure(target, script) == (
            *("publish",),
            f"cannot move the copy to {target}: fifo: No such file or directory",
        )
        assert names(target) == {STAGING}

    def test_a_lost_and_found_of_both_is_the_targets_own(self, target: Path) -> None:
        (target / "lost+found").mkdir(mode=0o700)
        (target / CONTENT / "lost+found").mkdir(mode=0o755)
        (target / CONTENT / "a").touch()
        assert events_of(target, "publish_content") == []
        assert names(target) == {STAGING, "lost+found", "a"}
        assert (target / "lost+found").stat().st_mode & 0o777 == 0o700

    def test_a_lost_found_directory_of_the_source_is_published(self, target: Path) -> None:
        (target / "lost+found").mkdir()
        (target / CONTENT / "lost+found").mkdir()
        (target / CONTENT / "lost+found" / "#17").touch()
        (target / CONTENT / "a").touch()
        assert failure(target, "publish_content")[1] == f"cannot move the copy to {target}: lost+found: File exists"
        assert (names(target), names(target / "lost+found")) == ({STAGING, "lost+found"}, set())

    def test_the_owner_of_the_directory_is_set_too(self, target: Path) -> None:
        (target / CONTENT / "a").touch()
        script = """
            chown() { [ "$1 $2" = '-- mysql:dba' ] && [ "$3" -ef "$target_directory" ] && echo "$#" >../../../set; }
            publish_content
        """
        assert events_of(target, script, owner="mysql:dba") == []
        assert (target.parent / "set").read_text() == "3\n"

    def test_an_owner_that_cannot_be_set_takes_all_back(self, target: Path) -> None:
        make_content(target / CONTENT)
        script = "chown() { return 1; }; publish_content"
        assert failure(target, script, owner="mysql") == ("publish", f"cannot set the owner of {target}")
        assert names(target) == {STAGING}

    def test_the_directory_may_be_renamed_on_the_way(self, target: Path) -> None:
        """Whoever may rename things on the way to it cannot make the run write elsewhere."""
        make_content(target / CONTENT)
        script = 'command mv -- "$target_directory" ../../../moved; mkdir -- "$target_directory"; publish_content'
        assert events_of(target, script) == []
        assert names(target.parent / "moved") > {*HOSTILE_NAMES}
        assert names(target) == set()


# Kills the session and the program that moves the entries.
KILL = "MEANWHILE='kill -KILL $SESSION $PPID'; export SESSION=$$\n"


def aside(directory: Path) -> Path:
    """Return the one directory of the entries that were renamed."""
    (found,) = directory.glob("transferpy-incomplete-*")
    return found


class TestTakingBack:
    def test_the_next_script_renames_the_entries_that_a_killed_session_had_moved(self, target: Path) -> None:
        expected = make_content(target / CONTENT)
        result = run_bash(in_target(target, f"{KILL} NAME=directory {RACE} publish_content"))
        assert result.returncode == -9
        moved = names(target) - {STAGING}
        assert moved
        assert moved | names(target / CONTENT) == expected
        recovered, finished = events(on_host(target.parent, "recover_stale_runs"))
        assert (recovered.name, recovered.text("path")) == ("set-aside", str(aside(target)))
        assert finished.name == "finished-dead-run"
        assert names(target) == {STAGING, aside(target).name}
        assert names(aside(target)) == moved
        assert aside(target).stat().st_mode & 0o777 == 0o700
        assert not (target.parent / "run").exists()

    def test_an_entry_is_renamed_in_a_directory_that_was_renamed(self, target: Path) -> None:
        make_content(target / CONTENT)
        run_bash(in_target(target, f"{KILL} NAME=directory {RACE} publish_content"))
        moved = names(target) - {STAGING}
        (target.parent / "above").mkdir()
        target.rename(target.parent / "above" / "renamed")
        target.mkdir()
        for name in moved:
            (target / name).write_text("of others")
        on_host(target.parent, "recover_stale_runs")
        assert names(target) == moved
        assert names(aside(target.parent / "above" / "renamed")) == moved

    def test_the_next_script_leaves_a_copy_alone_that_was_all_moved(self, target: Path) -> None:
        """It may be a running server's by then."""
        expected = make_content(target / CONTENT)
        result = run_bash(in_target(target, "chown() { kill -KILL $$; }; publish_content", owner="mysql"))
        assert result.returncode == -9
        assert len(list((target.parent / "run").glob("run.*/undo.*.publish"))) == 1
        on_host(target.parent, "recover_stale_runs")
        assert names(target) == expected | {STAGING}
        assert not (target.parent / "run").exists()

    def test_the_next_script_goes_on_where_a_session_was_killed_that_took_all_back(self, target: Path) -> None:
        expected = make_content(target / CONTENT)
        script = """
            chown() { find() { kill -KILL $$; }; return 1; }
            publish_content
        """
        result = run_bash(in_target(target, script, owner="mysql"))
        assert result.returncode == -9
        assert names(target / STAGING / "taken") == expected
        on_host(target.parent, "recover_stale_runs")
        assert names(target) == {STAGING}

    def test_an_entry_with_the_number_of_one_that_was_moved_stays(self, target: Path) -> None:
        """A file system gives a number again, with another generation."""
        make_content(target / CONTENT)
        run_bash(in_target(target, f"{KILL} NAME=directory {RACE} publish_content"))
        (published,) = target.parent.glob("run/run.*/published")
        identities = [record.split(b" ", 1) for record in published.read_bytes().split(b"\0")[:-1]]
        other = [b"%s0000 %s\0" % (identity[:-4], name) for identity, name in identities]
        published.write_bytes(b"".join(other))
        moved = names(target)
        on_host(target.parent, "recover_stale_runs")
        assert names(target) == moved

    def test_a_file_that_was_restored_with_the_same_inode_number_stays(self, tmp_path: Path) -> None:
        for attempt in range(20):  # another process may take the number first
            target = make_target(tmp_path / str(attempt))
            if restored_with_same_number(target):
                break
        else:
            pytest.skip("this file system does not use an inode number again soon")
        on_host(target.parent, "recover_stale_runs")
        assert (target / "a").read_text() == "restored"

    def test_an_entry_without_a_proven_identity_is_renamed_and_not_removed(self, target: Path) -> None:
        make_content(target / CONTENT)
        script = """
            perl_directories=${perl_directories//name_to_handle_at =>/none =>}
            chown() { return 1; }
            publish_content
        """
        recovered, error = sorted(events_of(target, script, owner="mysql"), key=lambda event: event.name, reverse=True)
        assert (recovered.name, error.name) == ("set-aside", "error")
        assert names(target) == {STAGING, aside(target).name}
        assert (aside(target) / "directory" / "inside").is_dir()

    @pytest.mark.parametrize("change", ["touch", "cp -p ../../../old"], ids=["new", "older"])
    def test_a_copy_that_somebody_has_written_into_is_renamed_aside(self, target: Path, change: str) -> None:
        make_content(target / CONTENT)
        (target.parent / "old").touch()
        os.utime(target.parent / "old", (1, 1))
        script = f"chown() {{ sleep 0.02; {change} ../../directory/inside/new; return 1; }}; publish_content"
        events_of(target, script, owner="mysql")
        assert (aside(target) / "directory" / "inside" / "new").exists()

    @pytest.mark.parametrize("name", ["a", "two words", " blank at both ends ", "new\nline", "-rf", "*"])
    def test_a_session_undoes_only_its_own_moves(self, target: Path, name: str) -> None:
        (target / CONTENT / name).write_text("of the run")
        (target / CONTENT / "z").mkdir()
        (target / CONTENT / "z" / "inside").touch()
        script = f"""
            chown() {{
                command mv -- "$target_directory/"{render_argument(name)} ../../../kept
                echo of others >"$target_directory/"{render_argument(name)}
                return 1
            }}
            publish_content
        """
        failure(target, script, owner="mysql")
        assert names(target) == {STAGING, name}
        assert (target / name).read_text() == "of others\n"

    def test_a_directory_that_is_gone_has_nothing_to_take_back(self, target: Path) -> None:
        (target / CONTENT / "a").touch()
        script = 'chown() { rm -r -- "$target_directory"; return 1; }; publish_content'
        failure(target, script, owner="mysql")
        assert not target.exists()


LOG = "".join(f"[00] 2026-11-22 02:00:{number:02} copying ./db/t{number}.ibd\n" for number in range(30))
COMPLETED = "[00] 2026-11-22 02:01:00 completed OK!\n"


class TestLog:
    @pytest.mark.parametrize(
        ("log", "completed"),
        [
            (LOG + COMPLETED, True),
            (COMPLETED, True),
            (LOG + COMPLETED.rstrip("\n"), True),
            (LOG + COMPLETED + "[00] a last word\n\n", True),
            ("", False),
            (LOG, False),
            (COMPLETED + LOG, False),
            (LOG + "[00] mysqlbackup: error: completed with errors\n", False),
            (LOG + "[00] completed\n", False),
        ],
    )
    def test_a_backup_is_complete_if_its_log_ends_so(self, target: Path, log: str, *, completed: bool) -> None:
        (target / "log").write_text(log)
        assert output_of(in_target(target, "log_is_complete ../../log && echo yes || echo no")) == (
            b"yes\n" if completed else b"no\n"
        )

    def test_a_missing_log_has_no_text(self, target: Path) -> None:
        result = run_bash(in_target(target, "log_is_complete ../../none"))
        assert result.returncode != 0

    def test_the_error_of_an_incomplete_log_has_its_last_lines(self, target: Path) -> None:
        (target / "log").write_text(LOG + "[00] Error 24: Too many open files\n")
        result = run_bash(in_target(target, "check_backup_log ../../log"))
        lines = result.stderr.decode().splitlines()
        assert (result.returncode, len(lines)) == (1, 21)
        assert lines[-2:] == [
            "[00] Error 24: Too many open files",
            "the log of the backup does not end with 'completed OK!'",
        ]

    @pytest.mark.parametrize(
        ("prepared", "fails"),
        [
            ("echo 'completed OK!' >&2", False),
            ("echo 'completed OK!' >&2; return 1", True),
            ("echo 'InnoDB: no space left' >&2", True),
            ("true", True),
        ],
    )
    def test_preparing_takes_both_the_status_and_the_log(self, target: Path, prepared: str, *, fails: bool) -> None:
        script = f"""
            prepare_copy() {{ {prepared}; }}
            run_preparation no 2>"$run_directory/prepare.err" && echo ready || echo failed
        """
        assert output_of(in_target(target, script)) == (b"failed\n" if fails else b"ready\n")


@pytest.mark.parametrize(
    ("printed", "kind", "message"),
    [
        (
            "mbstream: Can't create/write to file './db/t.ibd' (Errcode: 28 \"No space left on device\")",
            *("content", "the copy could not be unpacked completely"),
        ),
        ("tar: an unknown message", "content", "the copy could not be unpacked completely"),
        ("an unknown message", "content", "the copy could not be unpacked completely"),
        (
            "tar: setxattrat: Cannot set 'user.x' extended attribute for file './a': Operation not supported",
            *("attributes", "the file system cannot hold all attributes"),
        ),
        (
            "tar: acl_set_file_at: Cannot set POSIX ACLs for file './a': No space left on device",
            "content",
            "the copy could",
        ),
        (
            "x tar: acl_set_file_at: Cannot set POSIX ACLs for file './a': Operation not supported",
            "content",
            "the copy could",
        ),
    ],
)
def test_a_program_that_unpacks_prints_nothing_but_faults(target: Path, printed: str, kind: str, message: str) -> None:
    known = "tar: acl_delete_def_file_at: Cannot drop default POSIX ACLs for file './a': Operation not supported"
    script = f"""
        task_statuses[receive]='0 0 0'
        printf '%s\n' {render_argument(known)} {render_argument(printed)} >"$run_directory/receive.2.err"
        fail_for_messages
    """
    found, text = failure(target, script)
    assert found == kind
    assert text.startswith(message)
    assert text.endswith(f": {printed}")


def test_known_messages_about_a_file_system_without_acls_are_not_errors(target: Path) -> None:
    script = """
        task_statuses[receive]='0 0'
        echo "tar: an old message" >"$run_directory/receive.3.err" # of a longer pipeline before
        for words in 'set_file_at: Cannot set' 'delete_def_file_at: Cannot drop default'; do
            echo "tar: acl_$words POSIX ACLs for file './a': Operation not supported"
        done >"$run_directory/receive.1.err"
        fail_for_messages && echo no fault
    """
    assert output_of(in_target(target, script)) == b"no fault\n"


def test_messages_that_cannot_be_read_are_a_fault(target: Path) -> None:
    assert failure(target, "task_statuses[receive]='0 0'; fail_for_messages")[0] == "content"


OPTIONS = """# This options file was generated by innobackupex.

# The server
[mysqld]
innodb_checksum_algorithm=crc32
innodb_data_file_path=ibdata1:12M;ibdata2:12M:autoextend:max:2G
innodb_log_file_size=100663296
innodb_undo_directory=/srv/undo it's/
innodb_undo_tablespaces=3
innodb_compression_level=6
innodb_buffer_pool_filename=ib_buffer_pool

plugin_dir="/usr/lib/mysql/plugin/"
plugin_load=file_key_management=file_key_management;provider_lz4=provider_lz4
file_key_management_encryption_algorithm=aes_cbc
file_key_management_filekey=
file_key_management_filename=/etc/mysql/keys
innodb_encrypt_log=0
innodb_encrypt_tables=OFF

"""
"""The option file of a copy, as mariadb-backup 10.11.19 writes it."""


class TestHotCopy:
    """The checks of a hot copy before it is published."""

    @pytest.mark.parametrize("tool", ["xtrabackup", "mariadb_backup"])
    def test_the_position_of_the_copy_is_reported(self, target: Path, tool: str) -> None:
        staging = target / CONTENT
        (staging / f"{tool}_info").write_text("tool_name = mariadb-backup\n")
        (staging / f"{tool}_binlog_info").write_text("db2-bin.000007\t342\t0-1-105\n")
        (staging / f"{tool}_slave_info").write_text("CHANGE MASTER TO MASTER_LOG_FILE='db1-bin.000012';\n")
        (staging / f"{tool}_checkpoints").write_text(
            "backup_type = full-backuped\nto_lsn = 17\nlast_lsn = 4711\nx = 5\n"
        )
        event, *_lists = events_of(target, "check_copy_xtrabackup")
        assert (event.name, event.text("binlog"), event.text("replica"), event.fields["lsn"]) == (
            *("position", "db2-bin.000007\t342\t0-1-105"),
            *("CHANGE MASTER TO MASTER_LOG_FILE='db1-bin.000012';", "4711"),
        )

    @pytest.mark.parametrize("lsn", ["1 binlog=x", "-1", "", "\0", "1" * 21, "1\x0b", f"1{' ' * 999_999}"])
    def test_a_position_that_is_no_number_is_none(self, target: Path, lsn: str) -> None:
        (target / CONTENT / "xtrabackup_info").write_text("x")
        (target / CONTENT / "xtrabackup_checkpoints").write_text(f"last_lsn = {lsn}\n")
        event, *_lists = events_of(target, "check_copy_xtrabackup")
        assert (event.fields["lsn"], event.text("binlog")) == ("0", "")

    def test_the_tables_of_the_copy_are_reported(self, target: Path) -> None:
        staging = target / CONTENT
        (staging / "xtrabackup_info").write_text("x")
        (staging / "shop").mkdir()
        for name in ("a.ibd", "b.new", "c.frm"):
            (staging / "shop" / name).write_text("x")
        _position, tables, lacking = events_of(target, "check_copy_xtrabackup")
        assert (tables.name, tables.fields["entries"]) == ("tables", "3")
        assert (lacking.name, lacking.fields["entries"]) == ("lacking", "1")  # the definition is damaged

    def test_a_server_without_binary_log_has_no_position(self, target: Path) -> None:
        (target / CONTENT / "xtrabackup_info").write_text("x")
        (target / CONTENT / "xtrabackup_binlog_info").touch()
        event, *_lists = events_of(target, "check_copy_xtrabackup")
        assert (event.text("binlog"), event.text("replica")) == ("", "")

    @pytest.mark.parametrize("files", [[], ["ibdata1", "xtrabackup_checkpoints"], ["xtrabackup_info"]])
    def test_without_its_info_file_it_is_none(self, target: Path, files: list[str]) -> None:
        for name in files:
            (target / CONTENT / name).touch()
        assert failure(target, "check_copy_xtrabackup") == (
            *("content",),
            "the received backup has no info file: it is incomplete",
        )

    def test_a_copy_with_the_options_of_its_backup_tool_is_prepared(self, target: Path) -> None:
        (target / CONTENT / "xtrabackup_info").write_text("x")
        (target / CONTENT / "backup-my.cnf").write_text(OPTIONS)
        assert events_of(target, "prepare=yes; check_copy_xtrabackup")[0].name == "position"

    @pytest.mark.parametrize(
        "line",
        [
            "plugin_load=file_key_management=file_key_management.so",
            "plugin_load=eperi_key_management_plugin=eperi_key_management_plugin",
            "innodb_buffer_pool_filename=dumps/pool",
            f"innodb_data_file_path={';'.join(f'ibdata{number}:1024M' for number in range(100))}:autoextend",
        ],
    )
    def test_less_usual_options_of_a_backup_tool_are_accepted(self, target: Path, line: str) -> None:
        (target / CONTENT / "xtrabackup_info").write_text("x")
        (target / CONTENT / "backup-my.cnf").write_text(f"{OPTIONS}{line}\n")
        assert events_of(target, "prepare=yes; check_copy_xtrabackup")[0].name == "position"

    @pytest.mark.parametrize("directory", ["/usr/lib/mysql/plugin/", "/usr/lib64/mysql/plugin"])
    def test_plugins_may_come_from_the_directory_of_the_system(self, target: Path, directory: str) -> None:
        """The backup tool may be a script of an administrator, in a directory such as /usr/local/bin."""
        options = target / "backup-my.cnf"
        options.write_text(f"plugin_dir={directory}\n")
        command = ["perl", "-e", perl_program("perl/backup_options"), str(options), str(target / "bin/mariadb-backup")]
        assert subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT).stdout == b""

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
    def test_a_confined_program_writes_only_below_its_directory_and_keeps_no_other_file_system(
        self, tmp_path: Path
    ) -> None:
        script = """
            mount -t tmpfs none "$1" && mount --make-shared "$1" && cd -- "$1" && mkdir disk copy || exit
            mount -t tmpfs none disk && cd copy || exit
            confine bash -c '
              touch begun; until [ -e ended ]; do sleep 0.05; done
              grep -c "/disk " /proc/self/mountinfo; touch inside; touch ../outside' 2>&1 &
            until [ -e begun ]; do sleep 0.05; done
            umount ../disk && touch ended && wait "$!"
            ls . ..
        """
        functions = "$(declare -p perl_confine; declare -f confine)"
        call = f'unshare --mount bash -c "{functions}; $1" bash "$2"'
        words = f"set -- {render_argument(script)} {render_argument(str(tmp_path))}"
        lines = output_of(session_script(tmp_path / "run", f"{words}; {call}")).decode().splitlines()
        assert lines == [
            *("0", "touch: cannot touch '../outside': Read-only file system"),
            *(".:", "begun", "ended", "inside", "", "..:", "copy", "disk"),
        ]

    @pytest.mark.parametrize(
        "directory", ["lib/plugin/", "lib/mysql/plugin", "lib64/a/b/plugin/", "plugin", "bin/../lib/plugin"]
    )
    def test_plugins_come_from_the_directory_of_the_backup_tool(self, tmp_path: Path, directory: str) -> None:
        """A tarball of MariaDB is often in /usr/local or /opt, with a link to its tools in /usr/local/bin."""
        for name in ("mariadb-10.11/bin", "links", f"mariadb-10.11/{directory}"):
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "mariadb-10.11/bin/mariadb-backup").touch()
        (tmp_path / "mariadb").symlink_to("mariadb-10.11")
        tool = tmp_path / "links/mariadb-backup"
        tool.symlink_to("../mariadb/bin/mariadb-backup")
        options = tmp_path / "backup-my.cnf"
        options.write_text(f'plugin_dir="{tmp_path}/mariadb/{directory}"\n')
        command = ["perl", "-e", perl_program("perl/backup_options"), str(options), str(tool)]
        refused = subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT).stdout
        assert (refused == b"") == (directory.startswith("lib"))

    @pytest.mark.parametrize(
        "line",
        [
            "plugin_load=evil.so",
            "plugin_load=file_key_management=../evil",
            "plugin_load=file_key_management;evil=evil",
            "plugin-load=evil",
            "plugin_load_add=evil",
            "plugin_dir=.",
            "plugin_dir=/usr/lib/mysql/plugin/../../../../srv/copy",
            "plugin_dir=/srv/usr/lib/mysql/plugin",
            "plugin_dir=/opt/lib/mysql/plugin",
            "plugin_load=file_key_management=file_key_management.so.so",
            " plugin_load=evil.so",
            "!include evil",
            "!includedir .",
            "[mariadb-backup]",
            "[mysqld] plugin_load=evil",
            "innodb_data_file_path=../ibdata1:12M",
            "innodb_data_file_path=/srv/ibdata1:12M:autoextend",
            "innodb_data_home_dir=..",
            "innodb_log_group_home_dir=..",
            "innodb_buffer_pool_filename=../x",
            "innodb_buffer_pool_filename=..",
            "innodb_buffer_pool_filename=x/../../y",
            "innodb_data_file_path=ibdata1:3Graw",
            "loose_innodb_page_size=4096",
            "datadir=/srv",
            "tmpdir=/srv",
            "file_key_management",
            f"#{'x' * 510}plugin_load=evil.so",
            f"innodb_undo_directory={'x' * 489}plugin_load=evil.so",
            f"innodb_undo_directory={'x' * 4073}tmpdir=/srv",
            "innodb_page_size=4096\\",
            "#\rplugin_load=evil.so",
            "#" * 499 + "\n" * (64 << 10),
        ],
    )
    def test_an_option_with_which_a_source_runs_code_on_the_target_is_refused(self, target: Path, line: str) -> None:
        """--prepare of mariadb-backup reads these options as root."""
        (target / CONTENT / "xtrabackup_info").write_text("x")
        (target / CONTENT / "backup-my.cnf").write_text(f"{OPTIONS}{line}\n", newline="")
        kind, message = failure(target, "prepare=yes; check_copy_xtrabackup")
        assert (kind, message.split(":")[0]) == (
            *("content",),
            "backup-my.cnf of the received backup has an option that no backup tool writes",
        )
        option, position, *_lists = events_of(target, "check_copy_xtrabackup")
        assert (option.name, position.name) == ("unknown-option", "position")
        assert option.text("text") == message.split(": ", 1)[1]

    @pytest.mark.parametrize(
        "name", ["shop/b", "@65e5 x/t#P#p1#SP#s@0020", f"{'d' * 255}/{'n' * 255}", "..d/...", "d/#sql-1"]
    )
    def test_a_copy_may_rename_its_tables(self, target: Path, name: str) -> None:
        staging = target / CONTENT
        (staging / "xtrabackup_info").write_text("x")
        (staging / "shop").mkdir()
        (staging / "shop/a.ren").write_text(name)
        assert events_of(target, "check_copy_xtrabackup")[0].name == "position"

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            *(
                ("shop/a.ren", content)
                for content in ("", "b", "/", "shop/", "/b", "shop/b/c", "shop//b", "/srv/shop/b")
            ),
            *(("shop/a.ren", content) for content in ("../b", "shop/..", "./b", "shop/.", "../../victim/y", "..")),
            *(("shop/a.ren", content) for content in ("shop/b\n", "shop/b\0", "shop/b\0/../../y", "shop\n/b")),
            ("shop/a.ren", f"shop/{'b' * 256}"),
            ("shop/a.ren", f"shop/{'b' * 250}{'/' * 4096}"),
            ("a.ren", "../y"),
            ("shop/.ren", "../y"),
            (".shop/a.ren", "../y"),
            ("shop/more/#a.ren", "../y"),
        ],
    )
    def test_a_source_cannot_rename_a_table_out_of_the_copy(self, target: Path, path: str, content: str) -> None:
        """--prepare of mariadb-backup gives a file of a table any such name."""
        staging = target / CONTENT
        (staging / "xtrabackup_info").write_text("x")
        (staging / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).write_text(content)
        kind, message = failure(target, "check_copy_xtrabackup")
        assert (kind, message.split(": ")[:2]) == (
            *("content",),
            ["the received backup renames a table to a name that is none", f"./{path}"],
        )
