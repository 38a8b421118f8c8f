"""After each kind of end (signals, killed processes, lost network), every host is unchanged."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attackers import as_nobody
from helpers import eventually, transfer
from lab import difference
from watching import (
    DIGEST_TOOL,
    LAST_SYNC,
    MOVE,
    SLOW,
    TEE,
    Hold,
    Run,
    arrived,
    assert_as_before,
    case_name,
    fill,
    process_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL
DATA, INTO = "db1:/srv/data", "db2:/srv/in"


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with ten megabytes in /srv/data of db1, and a directory /srv/in on db2 and db3."""
    fill(clean_lab["db1"], "/srv/data/file")
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    return clean_lab


# The moments of a run: host, command and arguments of the next command, or "streaming" on a slow link.
MOMENTS = {
    "preflight": ("db1", "getent", "*"),
    "keys": ("db2", "openssl", "*"),
    "streaming": ("db1", "", ""),
    "checking": ("db2", DIGEST_TOOL, "*"),
    "publishing": ("db2", *LAST_SYNC),
}


@pytest.mark.parametrize(
    ("sent", "moment"),
    [*((sent, moment) for sent in (TERM, KILL) for moment in MOMENTS), (INT, "streaming"), (HUP, "streaming")],
    ids=lambda value: value.name if isinstance(value, signal.Signals) else value,
)
def test_a_run_that_gets_a_signal_leaves_nothing_behind(ready: Lab, sent: signal.Signals, moment: str) -> None:
    host, command, matching = MOMENTS[moment]
    before = ready.snapshot()
    with ExitStack() as stack:
        if command:
            hold = stack.enter_context(Hold(ready[host], command, matching))
        else:
            ready[host].shape(SLOW)
        run = stack.enter_context(Run(ready, DATA, INTO))
        if command:
            hold.wait_for_call()
        else:
            run.wait_for_stream(ready["db2"])
        run.process.send_signal(sent)
        if sent == KILL:
            assert run.end().status == -KILL
        else:
            result = run.end()
            assert result.status == 128 + sent, result.stderr
            assert f"WARNING {sent.name}: stopping the run and cleaning up\n" in result.stderr
            assert result.stderr.endswith(f"ERROR ended by {sent.name}\n")
            assert "complete" not in result.stderr
            # The run ends by itself; the test still holds the command.
            assert_as_before(ready, before)
    assert_as_before(ready, before)


def test_a_run_that_is_killed_at_any_moment_leaves_nothing_but_a_whole_copy(ready: Lab) -> None:
    db1, db2 = ready["db1"], ready["db2"]
    names = [f"data{number}" for number in range(4)]
    for name in names:
        db1.run(["cp", "-r", "/srv/data", f"/srv/{name}"])
    before = ready.snapshot()

    def start(stack: ExitStack) -> list[Run]:
        return [stack.enter_context(Run(ready, f"db1:/srv/{name}", INTO)) for name in names]

    began = time.monotonic()
    with ExitStack() as stack:
        assert [run.end().status for run in start(stack)] == [0] * 4
    measured = time.monotonic() - began
    assert [copies(db1, db2, name) for name in names] == [1] * 4
    struck: list[bool] = []
    # A faster or slower machine needs other moments, so the test tries more waves, up to a limit.
    for wave in range(12):
        if wave >= 3 and sum(struck) >= 8:
            break
        db2.run("rm -rf /srv/in/data?")
        began = time.monotonic()
        with ExitStack() as stack:
            for number, run in enumerate(start(stack)):
                struck.append(still_runs(run, began + measured * (3 * number + wave % 3 + 0.5) / 12))
                run.process.send_signal(KILL if number % 2 else TERM)
        assert eventually(lambda: not any(host.sh("ls -d /run/transferpy; true") for host in ready))
        assert {copies(db1, db2, name) for name in names} <= {0, 1}
        db2.run("rm -rf /srv/in/data?")
        assert_as_before(ready, before)
    assert sum(struck) >= 8


def still_runs(run: Run, moment: float) -> bool:
    """Return whether a run was still active at a time (monotonic seconds)."""
    try:
        run.process.wait(max(0.0, moment - time.monotonic()))
    except subprocess.TimeoutExpired:
        return True
    return False


def copies(source: Host, target: Host, name: str) -> int:
    """Return the number of copies of /srv/NAME in /srv/in of the target; fail if a copy is incomplete."""
    if target.sh("ls /srv/in").split().count(name) == 0:
        return 0
    listing = "cd {} && find . -printf '%p %m %s %T@\\n' | sort && md5sum file"
    assert target.sh(listing.format(f"/srv/in/{name}")) == source.sh(listing.format(f"/srv/{name}"))
    return 1


def session_on(host: Host) -> int:
    """Return the process of the only session on a host."""
    return int(host.sh("cd /run/transferpy && ls -d run.*").split(".")[2])


@pytest.mark.parametrize("killed", ["db1", "db2"])
def test_a_session_that_is_killed_ends_the_run_which_cleans_up_behind_it(ready: Lab, killed: str) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        ready[killed].run(["kill", "-KILL", str(session_on(ready[killed]))])
        result = run.end()
    assert result.status == 3
    assert (
        f"ERROR {INTO}: failed: {killed}: the session ended early, with status 255:"
        " it was killed, or the connection was lost\n" in result.stderr
    )
    assert re.search(rf"INFO  {killed}: undid the changes of the stale run \w+\n", result.stderr)
    assert_as_before(ready, before)


def test_the_next_run_cleans_up_behind_one_that_was_killed_with_its_session(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    before = ready.snapshot()
    source.shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(target)
        run.process.send_signal(signal.SIGSTOP)  # otherwise it would clean up itself
        target.run(["kill", "-KILL", str(session_on(target))])
        run.process.send_signal(KILL)
        assert run.end().status == -KILL
    source.shape(None)
    left = difference(before, ready.snapshot())
    for trace in ("/srv/in/.transferpy-", "/run/transferpy/run.", 'comment "transferpy-'):
        assert trace in left
    result = transfer(ready, DATA, INTO, check=True)
    assert re.search(r"INFO  db2: undid the changes of the stale run \w+\n", result.stderr)
    assert copies(source, target, "data") == 1
    target.run("rm -r /srv/in/data")
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize(
    ("stage", "options"),
    [
        *((stage, ("--parallel-checksum",)) for stage in ("tar", TEE, DIGEST_TOOL)),
        *((compressor, ("--compressor", compressor)) for compressor in ("zstd", "lz4", "pigz")),
        ("socat", ("--retries=0",)),
        *((stage, ("--retries=0", "--no-encrypt")) for stage in ("socat", "nc")),
    ],
    ids=case_name,
)
def test_a_stage_that_is_killed_is_named_and_nothing_of_the_copy_stays(
    ready: Lab, stage: str, options: tuple[str, ...], host: str
) -> None:
    for either in ("db1", "db2"):
        ready[either].hide(*(["socat"] if stage == "nc" else []))
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, *options, DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        ready[host].run(["kill", "-KILL", process_of(ready[host], stage)])
        run.assert_streaming()
        ready["db1"].shape(None)
        result = run.end()
    name = DIGEST_TOOL if stage == TEE else stage
    assert result.status == 6, result.stderr
    assert re.search(rf"ERROR {INTO}: failed: .*{host}: {name} was ended by signal 9", result.stderr), result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_checksum_that_is_killed_is_no_checksum(ready: Lab, host: str) -> None:
    before = ready.snapshot()
    with Hold(ready[host], DIGEST_TOOL) as digest, Run(ready, DATA, INTO) as run:
        digest.wait_for_call()
        ready[host].run(["kill", "-KILL", *ready[host].sh(f"pgrep -x {DIGEST_TOOL}").split()])
        result = run.end()
    assert result.status == 7, result.stderr
    assert re.search(rf"ERROR {INTO}: failed: {host}: digest failed with status 1: .*signal 9", result.stderr)
    assert_as_before(ready, before)


def test_of_two_transfers_to_one_name_one_succeeds_and_the_other_reports_the_conflict(ready: Lab) -> None:
    fill(ready["db3"], "/srv/data/other", megabytes=0.1)
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, DATA, INTO) as loser:
        loser.wait_for_stream(ready["db2"])
        winner = transfer(ready, "db3:/srv/data", INTO, check=True)
        loser.assert_streaming()
        ready["db1"].shape(None)
        result = loser.end()
    assert "db2:/srv/in/data: complete" in winner.stderr
    assert result.status == 8
    assert f"ERROR {INTO}: failed: db2: /srv/in/data was created by another program during the run\n" in result.stderr
    assert ready["db2"].sh("ls /srv/in/data") == "other"
    ready["db2"].run("rm -r /srv/in/data")
    assert_as_before(ready, before)


def test_of_transfers_to_one_name_at_the_same_moment_exactly_one_wins(ready: Lab) -> None:
    for name in ("db1", "db3"):
        ready[name].run(f"rm -rf /srv/data; mkdir /srv/data; echo {name} | tee /srv/data/{name} >/srv/data/both")
    before = ready.snapshot()
    # All runs continue at the same time, just before their copies get their final names.
    with Hold(ready["db2"], *MOVE) as publishing, ExitStack() as stack:
        runs = [stack.enter_context(Run(ready, f"{name}:/srv/data", INTO)) for name in ("db1", "db3") * 2]
        assert eventually(
            lambda: ready["db2"].sh("pgrep -c -f '^/bin/sh /usr/local/bin/perl .* move all '; true") == "4"
        )
        publishing.let_go()
        results = [run.end() for run in runs]
    assert sorted(result.status for result in results) == [0, 8, 8, 8]
    winner = ready["db2"].sh("cat /srv/in/data/both")
    assert ready["db2"].sh("ls /srv/in/data").split() == sorted(["both", winner])
    ready["db2"].run("rm -r /srv/in/data")
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_connection_that_is_killed_ends_the_run_and_the_host_cleans_itself(ready: Lab, host: str) -> None:
    orch = ready["orch"]
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    with Run(ready, DATA, INTO) as run:
        run.wait_for_stream(ready["db2"])
        orch.run(["kill", "-KILL", *orch.sh(f"pgrep -f '^ssh .* {host} exec '").split()])
        result = run.end()
    assert result.status == 3
    assert f"ERROR {INTO}: failed: {host}: " in result.stderr
    assert "it was killed, or the connection was lost\n" in result.stderr
    assert_as_before(ready, before)


@pytest.fixture
def impatient(ready: Lab) -> Iterator[Lab]:
    """The lab, with a short ssh time-out in the configuration of cumin."""
    config = ready["orch"].sh("cat /etc/cumin/config.yaml")
    options = "".join(f"        - '-o {option}'\n" for option in ("ServerAliveInterval=1", "ConnectTimeout=2"))
    soon = config.replace("ssh_options:\n", f"ssh_options:\n{options}")
    ready["orch"].run(["tee", "/etc/cumin/config.yaml"], input=soon.encode())
    yield ready
    ready["orch"].run(["tee", "/etc/cumin/config.yaml"], input=f"{config}\n".encode())


@pytest.mark.parametrize(("retries", "seconds"), [("0", 15), ("5", 60)])
def test_a_host_that_is_cut_off_in_mid_stream_cleans_itself_soon(impatient: Lab, retries: str, seconds: float) -> None:
    before = impatient.snapshot()
    impatient["db1"].shape(SLOW)
    with Run(impatient, "--retries", retries, DATA, INTO) as run:
        run.wait_for_stream(impatient["db2"])
        impatient["orch"].cut(impatient["db2"])
        result = run.end()
    assert result.status == 3
    assert f"ERROR {INTO}: failed: db2: the session ended early, with status 255" in result.stderr
    assert "WARNING db2: could not be cleaned up; the next run on this host will do it: " in result.stderr
    # The stream has ended, and db2 detects its end. A relay waits for half a minute for a command to continue.
    assert_as_before(impatient, before, seconds=seconds)


def test_a_host_that_is_cut_off_cleans_itself_when_it_is_back(impatient: Lab) -> None:
    orch, db2 = impatient["orch"], impatient["db2"]
    before = impatient.snapshot()
    with Hold(db2, DIGEST_TOOL) as checking:
        with Run(impatient, DATA, INTO) as run:
            checking.wait_for_call()
            orch.cut(db2)
            assert run.end().status == 3
        assert session_on(db2)
        orch.heal(db2)
        assert_as_before(impatient, before, seconds=60)


def test_control_c_at_a_terminal_ends_the_run_in_good_order(ready: Lab) -> None:
    before = ready.snapshot()
    ready["db1"].shape(SLOW)
    keyboard, terminal = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    with Run(ready, DATA, INTO, stdin=terminal, preexec_fn=take_terminal) as run:
        run.wait_for_stream(ready["db2"])
        os.write(keyboard, b"\x03")
        result = run.end()
    os.close(keyboard)
    os.close(terminal)
    assert result.status == 130
    assert "WARNING SIGINT: stopping the run and cleaning up\n" in result.stderr
    assert_as_before(ready, before)


def test_a_run_under_nohup_with_its_terminal_gone_goes_on(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    before = ready.snapshot()
    source.shape(SLOW)
    with Run(ready, DATA, INTO, preexec_fn=lambda: signal.signal(HUP, signal.SIG_IGN)) as run:
        run.wait_for_stream(target)
        run.process.send_signal(HUP)
        run.assert_streaming()
        source.shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    assert "SIGHUP" not in result.stderr
    assert copies(source, target, "data") == 1
    target.run("rm -r /srv/in/data")
    assert_as_before(ready, before)


def test_a_run_that_was_stopped_for_longer_than_its_time_limits_goes_on(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    source.shape(SLOW)
    with Run(ready, "--idle-timeout", "3", DATA, INTO) as run:
        run.wait_for_stream(target)
        run.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        assert eventually(lambda: time.monotonic() - stopped > 6)
        run.process.send_signal(signal.SIGCONT)
        source.shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    assert copies(source, target, "data") == 1


@pytest.mark.parametrize("ending", [0, TERM])
def test_a_run_without_standard_streams_works_and_cleans_up(ready: Lab, ending: int) -> None:
    source, target = ready["db1"], ready["db2"]
    before = ready.snapshot()
    source.shape(SLOW)
    with Run(ready, DATA, INTO, preexec_fn=lambda: os.closerange(0, 3)) as run:
        assert eventually(lambda: arrived(target))
        if ending:
            run.process.send_signal(ending)
        else:
            source.shape(None)
        assert run.end().status == (128 + ending if ending else 0)
        assert run.log == ""
    assert copies(source, target, "data") == (0 if ending else 1)
    target.run("rm -rf /srv/in/data")
    assert_as_before(ready, before)


def test_a_run_whose_output_nobody_reads_succeeds(ready: Lab) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Run(ready, "--verbose", DATA, INTO, stdout=writing, stderr=writing) as run:
        os.close(writing)
        assert run.end().status == 0
    assert copies(ready["db1"], ready["db2"], "data") == 1


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_full_run_directory_is_named_in_the_error(ready: Lab, host: str) -> None:
    full = ready[host]
    full.small_disk("/run", "64k")
    full.run("mkdir /run/sshd; cat /dev/zero >/run/filler || true")
    before = ready.snapshot()
    result = transfer(ready, DATA, INTO)
    assert result.status in {3, 4}  # reported by the preflight or by the session, whichever needs space first
    assert re.search(rf"ERROR .*{host}: .* /run.*", result.stderr), result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_run_directory_that_becomes_full_is_named_in_the_error(ready: Lab, host: str) -> None:
    full = ready[host]
    full.small_disk("/run", "1m")
    full.run("mkdir /run/sshd")
    before = ready.snapshot()
    # The run takes no sample, because the removal of a sample would free space.
    with Hold(full, "openssl") as key, Run(ready, "--no-compress", DATA, INTO) as run:
        key.wait_for_call()
        full.run("cat /dev/zero >/run/filler || true")
        key.let_go()
        result = run.end()
    full.run("rm /run/filler")
    assert result.status == 3
    reported = r"(cannot make a key \(is /run/\S+ full\?\): |cannot write in /run/\S+: is it full\?\n)"
    assert re.search(f"ERROR {INTO}: failed: {host}: {reported}", result.stderr), result.stderr
    assert_as_before(ready, before)


def test_a_run_directory_that_cannot_be_created_is_named_in_the_error(ready: Lab) -> None:
    full = ready["db2"]
    full.small_disk("/run", "1m")
    full.run("mkdir /run/sshd; mount -o remount,ro /run")
    before = ready.snapshot()
    result = transfer(ready, DATA, INTO)
    assert result.status == 3
    assert "failed: db2: cannot make a directory below /run/transferpy: is /run full or read-only?" in result.stderr
    assert_as_before(ready, before)


@pytest.mark.parametrize("options", [(), ("--no-checksum",)])
@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_disk_without_room_for_the_lists_is_named_in_the_error(
    ready: Lab, host: str, options: tuple[str, ...]
) -> None:
    full = ready[host]
    full.small_disk("/var/tmp", "64k")
    full.run("cat /dev/zero >/var/tmp/filler || true")
    before = ready.snapshot()
    result = transfer(ready, *options, DATA, INTO)
    assert result.status in {3, 4, 6, 7}
    assert re.search(f"ERROR .*{host}: .*(/var/tmp.*|: No space left on device)\n", result.stderr), result.stderr
    assert_as_before(ready, before)
    full.run("rm /var/tmp/filler; mount -o remount,ro /var/tmp")
    before = ready.snapshot()
    result = transfer(ready, *options, DATA, INTO)
    assert result.status == 3
    assert f"failed: {host}: cannot make a directory in /var/tmp: is it full or read-only?" in result.stderr
    assert_as_before(ready, before)


def test_the_lists_of_a_session_that_was_killed_are_removed_by_the_next_one(ready: Lab) -> None:
    db1, name = ready["db1"], "transferpy.run.0123456789abcdef.1"
    as_nobody(db1, f"mkdir /var/tmp/{name}.1; touch /var/tmp/{name}.1/x")
    db1.run(f"cd /var/tmp; ln -s /srv {name}.2; mkdir -p {name}.3/again")
    transfer(ready, DATA, INTO, check=True)
    assert db1.sh("cd /var/tmp; echo *; ls -A */") == f"{name}.1 {name}.2\n{name}.1/:\nx\n\n{name}.2/:\ndata"
    db1.run("rm -r /var/tmp/*")


# Settings that break programs which get them: bash, perl, the compressors, tar, socat, openssl, sort.
HOSTILE_HABITS = """
export PERL_UNICODE=SDA PERL5OPT=-Mnothing PERL5LIB=/nowhere GZIP=--no PIGZ=--no TAR_OPTIONS=--no
export ZSTD_CLEVEL=22 TMPDIR=/no
export OPENSSL_CONF=/srv/openssl.cnf SSL_CERT_FILE=/no SOCAT_DEFAULT_LISTEN_IP=6 POSIXLY_CORRECT=1 BLOCKSIZE=7 TMOUT=1
export BASH_ENV=/root/.bashrc ENV=/root/.bashrc LC_ALL=tr_TR.UTF-8 IFS=e GREP_OPTIONS=-v LD_PRELOAD=/no/such/library.so
export HOME=/nowhere CDPATH=/ GLOBIGNORE='*' BASH_COMPAT=31 EXECIGNORE='*/find' PS4='$(echo trace >&2)' TERMINFO=/no
find() { echo function; }; sort() { :; }; printf() { :; }; export -f find sort printf
shopt -s expand_aliases failglob nocasematch; alias bash=false base64=false eval=false
trap '' TERM HUP PIPE INT; ulimit -S -f 0; ulimit -S -n 12; umask 0; cd /proc/self/fd; exec 7>/dev/null
set -v -x -e -u
echo 'a line of a login'
"""
# Options that an administrator uses in a terminal. Each of them breaks a program that uses ssh for its own protocol.
HOSTILE_SSH_CONFIG = """
Host db*
  RequestTTY force
  RemoteCommand cat
  SessionType none
  StdinNull yes
  ForkAfterAuthentication yes
  ControlMaster auto
  ControlPath /tmp/master-%C
  ControlPersist 600
  LocalForward 2222 localhost:22
  PermitLocalCommand yes
  LocalCommand echo hello
  LogLevel DEBUG3
  VisualHostKey yes
  SetEnv LC_ALL=tr_TR.UTF-8
"""


def has_packed_script(text: str) -> bool:
    return re.search("H4sI[A-Za-z0-9+/]{24}", text) is not None


def test_nothing_of_a_login_reaches_the_programs_of_a_run(ready: Lab) -> None:
    """The settings break the same programs in a shell of root; no message has a script, not even with --verbose."""
    source, target = ready["db1"], ready["db2"]
    before = ready.snapshot()
    try:
        ready["orch"].run("cat >/root/.ssh/config", input=HOSTILE_SSH_CONFIG.encode())
        for host in (source, target):
            host.run("cat >/root/.bashrc", input=HOSTILE_HABITS.encode())
            assert host.run("bash -c '. /root/.bashrc; tar --version; perl -e 1'", check=False).returncode
        for options in (["--bwlimit=20M", "--compressor=pigz"], ["--no-checksum", "--parallel-checksum"]):
            result = transfer(ready, "--verbose", *options, DATA, INTO, check=True)
            assert not has_packed_script(result.stderr)
            assert copies(source, target, "data") == 1
            target.run("rm -r /srv/in/data")
    finally:
        for name, file in (("orch", ".ssh/config"), ("db1", ".bashrc"), ("db2", ".bashrc")):
            ready[name].run(f"rm -f /root/{file}")
    assert_as_before(ready, before)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("set -v -x; exit 3", "db1: the command could not be started: "),
        ("exit 0", "db1: the command could not be started; the host ran another command: ForceCommand in its sshd"),
        ('echo "$BASH_EXECUTION_STRING: not allowed"; exit 1', "could not be started: exec /bin/bash"),
    ],
)
def test_a_start_file_that_ends_the_login_is_named_without_the_script(ready: Lab, start: str, message: str) -> None:
    try:
        ready["db1"].run("cat >/root/.bashrc", input=start.encode())
        result = transfer(ready, "--verbose", DATA, INTO)
    finally:
        ready["db1"].run("rm /root/.bashrc")
    assert result.status == 3
    assert message in result.stderr
    assert not has_packed_script(result.stderr)


ONLY_BACKUPS = "#!/bin/sh\necho only backups\n"
WRAPPER = '#!/bin/sh\nbash -c "$SSH_ORIGINAL_COMMAND"\necho "the command was: $SSH_ORIGINAL_COMMAND"\n'
REFUSAL = '#!/bin/sh\necho "not allowed: $SSH_ORIGINAL_COMMAND"\nexit 1\n'


@pytest.mark.parametrize(
    ("forced", "message"),
    [
        (ONLY_BACKUPS, "; the host ran another command: ForceCommand in its sshd_config, command= in authorized_keys"),
        (WRAPPER, ""),
        (REFUSAL, "could not be started: not allowed: exec /bin/bash"),
    ],
)
def test_a_forced_command_is_named_and_one_that_runs_the_command_does_no_harm(
    ready: Lab, forced: str, message: str
) -> None:
    source, keys = ready["db1"], "/root/.ssh/authorized_keys"
    before = ready.snapshot()
    try:
        source.run("cat >/usr/local/bin/forced; chmod 755 /usr/local/bin/forced", input=forced.encode())
        source.run(f"cp -p {keys} {keys}.kept; sed -i 's,^,command=\"/usr/local/bin/forced\" ,' {keys}")
        result = transfer(ready, "--verbose", DATA, INTO)
    finally:
        source.run(f"mv {keys}.kept {keys}; rm /usr/local/bin/forced")
    assert result.status == (3 if message else 0), result.stderr
    assert message in result.stderr
    assert not has_packed_script(result.stderr)
    ready["db2"].run("rm -rf /srv/in/data")
    assert_as_before(ready, before)


# Commands in the start files of the shell of root, and the start file of each shell for commands through ssh.
HABITS = "umask 077; PATH=/usr/bin:/bin; export PATH; alias tar=false; echo welcome to $HOME; printf 'half a line'"
SHELLS = {"/bin/bash": ".bashrc", "/bin/dash": "no such file", "/usr/bin/tcsh": ".tcshrc", "/usr/bin/zsh": ".zshenv"}


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if Path(shell).exists()])
def test_commands_in_the_start_files_of_roots_shell_do_not_affect_a_run(ready: Lab, shell: str) -> None:
    source, target = ready["db1"], ready["db2"]
    try:
        for host in (source, target):
            host.run(f"cp -p /etc/passwd /var/lib && usermod --shell {shell} root")
            host.run(f"cat >'/root/{SHELLS[shell]}'", input=HABITS.encode())
        assert ready["orch"].sh("ssh db1 'echo $0'").endswith(shell.rpartition("/")[2])
        before = ready.snapshot()
        transfer(ready, DATA, INTO, check=True)
        assert copies(source, target, "data") == 1
        target.run("rm -r /srv/in/data")
        assert_as_before(ready, before)
    finally:
        for host in (source, target):
            host.run(f"cp -p /var/lib/passwd /etc; rm '/root/{SHELLS[shell]}'")
