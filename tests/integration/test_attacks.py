"""Real attacks on a run: the attackers can neither read nor change data, nor write to other places."""

from __future__ import annotations

import io
import re
import tarfile
from subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

import pytest
from attackers import (
    NOBODY,
    Stranger,
    Wire,
    as_nobody,
    port_of,
    processes,
    run_of,
    squat,
    squatter,
    unpacked,
)
from databases import Server
from helpers import SYSTEM_PYTHON, Result, eventually, transfer, transfers
from lab import CHECKOUT
from trees import census_on
from watching import SLOW, Hold, Run, assert_as_before, fill, replaced

if TYPE_CHECKING:
    from lab import Host, Lab

SECRET = "the-customers-are-"
TREE, INTO = "db1:/srv/tree", "db2:/srv/in"
PLAIN = ("--no-encrypt", "--no-compress")


@pytest.fixture
def ready(clean_lab: Lab) -> Lab:
    """The clean lab, with a secret of one megabyte in /srv/tree of db1, and directories /srv/in and /srv/outside."""
    clean_lab["db1"].run(f"mkdir /srv/tree && yes {SECRET} | head -c 1000000 >/srv/tree/{SECRET}")
    for host in clean_lab:
        host.run("mkdir -p /srv/in /srv/outside && echo precious >/srv/outside/file")
    return clean_lab


def into(host: Host) -> str:
    """Return the target as an IPv4 address, because the strangers use IPv4."""
    return f"{host.ipv4}:/srv/in"


def hostile_archive(**more: str) -> bytes:
    """Return a tar archive with names outside of its directory; each of these names contains `owned`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:

        def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o755) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, mode
            content = b"owned\n" if kind == tarfile.REGTYPE else b""
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))

        add("tree", tarfile.DIRTYPE)
        add("tree/out", tarfile.SYMTYPE, "/srv/outside")
        add("tree/out/owned-by-link")
        add("tree/up", tarfile.SYMTYPE, "../../../outside")
        add("tree/up/owned-by-link-upwards")
        add("tree/hard", tarfile.LNKTYPE, "/srv/outside/file")
        add("tree/hard")
        add("/srv/outside/owned-absolute")
        add("../../outside/owned-upwards")
        add("tree/../../../outside/owned-from-within")
        add(more.get("top", "tree/owned-set-uid"), mode=0o6755)
    return stream.getvalue()


def assert_nothing_elsewhere(lab: Lab) -> None:
    for host in lab:
        assert host.sh("cat /srv/outside/file; ls -A /srv/outside") == "precious\nfile"
        assert host.sh("find / -xdev -name '*owned*' -not -path '/proc/*'") == ""


# --- on the wire


@pytest.mark.parametrize("options", [(), ("--no-compress",)], ids=["default", "no-compress"])
def test_a_listener_on_the_wire_sees_nothing_of_an_encrypted_run(ready: Lab, options: tuple[str, ...]) -> None:
    with Wire(ready, SECRET) as wire:
        transfer(ready, *options, TREE, INTO, check=True)
    assert wire.recorded > (1_000_000 if options else 10_000)
    assert wire.marks == 0


def test_a_listener_on_the_wire_sees_all_of_a_plain_run(ready: Lab) -> None:
    with Wire(ready, SECRET) as wire:
        transfer(ready, *PLAIN, TREE, INTO, check=True)
    assert wire.marks > 40_000


def test_no_argument_environment_or_log_has_a_key(ready: Lab) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=2)
    ready["orch"].run("mkdir -p /var/log/cumin && : >/var/log/cumin/cumin.log")
    seen: set[str] = set()
    keys: dict[str, set[str]] = {"db1": set(), "db2": set()}
    ready["db1"].shape(SLOW)
    with Run(ready, "--verbose", TREE, INTO) as run:
        while "INFO  db2: received " not in run.log and run.process.poll() is None:
            seen.update(processes(ready).splitlines())
            for host in ("db1", "db2"):
                keys[host] |= set(ready[host].sh("cat /run/transferpy/run.*/key.pem 2>/dev/null; true").splitlines())
        ready["db1"].shape(None)
        result = run.end()
    assert result.status == 0, result.stderr
    logs = unpacked(result.stderr + ready["orch"].sh("cat /var/log/cumin/cumin.log"))
    shown = "\n".join(seen)
    for host in ("db1", "db2"):
        secrets = [line for line in keys[host] if line and not line.startswith("-----")]
        assert len(secrets) >= 3
        assert [secret for secret in secrets if secret in shown or secret in logs] == []
    # The search would find a key.
    name = re.search(r"^run_id=\w{16}$", shown, re.MULTILINE)
    assert name
    assert name[0] in logs
    assert "certificate=" in logs


def test_no_argument_environment_or_log_has_the_password_of_the_database(ready: Lab) -> None:
    db1, password = ready["db1"], "pass-word-4711"
    server = Server(db1, 7)
    server.install()
    with server:
        server.execute(f"CREATE USER b@localhost IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO b@localhost")
        db1.run(f"umask 077; printf '[client]\\nuser=b\\npassword={password}\\n' >/srv/login.cnf")
        seen: set[str] = set()
        db1.shape(SLOW)
        options = ("--type", "xtrabackup", "--verbose", "--defaults-file", "/srv/login.cnf")
        with Run(ready, *options, f"db1:{server.socket}", INTO) as run:
            while (
                not re.search(r"INFO +\S+: received ", run.log)
                and run.process.poll() is None
                and "--backup" not in seen
            ):
                seen.update(processes(ready).splitlines())
            db1.shape(None)
            result = run.end()
        assert result.status == 0, result.stderr
    db1.run("rm -r /run/mysqld")
    logs = unpacked(result.stderr + ready["orch"].sh("cat /var/log/cumin/cumin.log"))
    shown = "\n".join(seen)
    assert password not in shown + logs
    assert "--defaults-file=/srv/login.cnf" in shown
    assert "--defaults-file=/srv/login.cnf" in logs


# --- strangers on the network

PAIR = ("/var/lib/stranger.pem", "/var/lib/stranger.key")
STRANGERS = ("no certificate", "self-made", "replayed", "garbage", "silent")


def key_pair(lab: Lab, manner: str, name: str) -> tuple[str, ...]:
    """The files with the certificate and the key of a stranger on db1."""
    if manner == "self-made":
        lab["db1"].run(
            f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=source.{name}"
            f" -out {PAIR[0]} -keyout {PAIR[1]}"
        )
    return PAIR if manner in {"self-made", "replayed"} else ()


def steal_key_pair(lab: Lab) -> None:
    """Save the certificate and the key of the source of a run."""
    with Hold(lab["db1"], "socat") as waiting, Run(lab, TREE, INTO) as run:
        waiting.wait_for_call()
        lab["db1"].run(f"cd /run/transferpy/run.* && cp certificate.pem {PAIR[0]} && cp key.pem {PAIR[1]}")
        waiting.let_go()
        assert run.end().status == 0, run.log


@pytest.mark.parametrize("manner", STRANGERS)
def test_a_stranger_on_the_source_host_that_connects_first_neither_writes_nor_reads_data(
    ready: Lab, manner: str
) -> None:
    source, target = ready["db1"], ready["db3"]
    if manner == "replayed":
        steal_key_pair(ready)
    before = target.snapshot()
    payload = hostile_archive()
    kind = {"garbage": "garbage", "silent": "silent"}.get(manner, "tls")
    with Hold(source, "socat") as waiting, Run(ready, "--no-compress", TREE, into(target)) as run:
        waiting.wait_for_call()
        pair = key_pair(ready, manner, run_of(target))
        stranger = Stranger(source, target.ipv4, run.port, kind, *pair, payload=payload)
        waiting.let_go()
        result = run.end()
    output = stranger.end()
    source.run(["rm", "-f", *PAIR])
    assert stranger.began == "connected"
    assert output.endswith("got 0\n")
    assert result.status == 6, result.stderr
    assert f"ERROR {into(target)}: failed: " in result.stderr
    assert target.sh("ls -A /srv/in") == ""
    assert_nothing_elsewhere(ready)
    assert_as_before(target, before)


@pytest.mark.parametrize("options", [(), PLAIN], ids=["encrypted", "plain"])
def test_strangers_from_elsewhere_are_turned_away_and_the_run_goes_on(ready: Lab, options: tuple[str, ...]) -> None:
    target, stranger_host = ready["db3"], ready["db2"]
    with Hold(ready["db1"], "socat") as waiting, Run(ready, *options, TREE, into(target)) as run:
        waiting.wait_for_call()
        manners = ("silent", "garbage", "tar", "tls")
        strangers = [
            Stranger(host, target.ipv4, run.port, manner, payload=hostile_archive())
            for manner in manners
            for host in (stranger_host, target)
        ]
        # Without a firewall, the kernel of the target accepts the connection, and socat closes it at once.
        assert [stranger.began for stranger in strangers] == ["connected"] * len(strangers)
        assert {stranger.end().splitlines()[-1] for stranger in strangers} == {"got 0"}
        waiting.let_go()
        assert run.end().status == 0, run.log
    assert census_on(target, "/srv/in/tree") == census_on(ready["db1"], "/srv/tree")
    assert_nothing_elsewhere(ready)


def test_a_firewall_keeps_strangers_away_where_there_is_only_netcat(ready: Lab) -> None:
    ready["db2"].hide("socat")
    with Hold(ready["db1"], "socat") as waiting, Run(ready, *PLAIN, TREE, into(ready["db2"])) as run:
        waiting.wait_for_call()
        stranger = Stranger(ready["db3"], ready["db2"].ipv4, run.port, "tar", payload=hostile_archive())
        assert stranger.began == "refused"
        waiting.let_go()
        assert run.end().status == 0, run.log
    assert_nothing_elsewhere(ready)


@pytest.mark.parametrize("from_source", [True, False], ids=["source", "elsewhere"])
def test_a_stranger_that_connects_first_without_encryption_fails_the_run_and_publishes_nothing(
    ready: Lab, *, from_source: bool
) -> None:
    target = ready["db3"]
    target.hide("socat")
    before = target.snapshot()
    host = ready["db1" if from_source else "db2"]
    with Hold(ready["db1"], "socat") as waiting, Run(ready, *PLAIN, TREE, into(target)) as run:
        waiting.wait_for_call()
        stranger = Stranger(host, target.ipv4, run.port, "tar", payload=hostile_archive())
        waiting.let_go()
        result = run.end()
    assert stranger.began == "connected"
    assert stranger.end().endswith("got 0\n")
    assert result.status in {6, 7}, result.stderr
    assert target.sh("ls -A /srv/in") == ""
    assert_nothing_elsewhere(ready)
    assert_as_before(target, before)


SHARING = ((), ("SO_REUSEADDR",), ("SO_REUSEPORT",), ("SO_REUSEADDR", "SO_REUSEPORT"))


@pytest.mark.parametrize("netcat", [None, "openbsd", "traditional"], ids=str)
def test_a_local_user_cannot_take_the_port_of_a_run(ready: Lab, netcat: str | None) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=2.5)
    ready["db1"].shape(SLOW)
    target, program = ready["db2"], "nc" if netcat else "socat"
    if netcat:
        target.netcat(netcat)
        target.hide("socat")
    attempts = [(version, options) for version in (4, 6) for options in SHARING]
    with Hold(target, program, "*[l]*") as waiting, Run(ready, *(PLAIN if netcat else ()), TREE, into(target)) as run:
        waiting.wait_for_call()
        port = port_of(target)
        assert {squat(target, port, version, *options) for version, options in attempts} == {"Address already in use"}
        waiting.let_go()
        run.wait_for_stream(target)
        # The listener has closed the port, and the firewall admits the source to it.
        assert {squat(target, port, version, *options) for version, options in attempts} == {"Address already in use"}
        run.assert_streaming()
        ready["db1"].shape(None)
        assert run.end().status == 0, run.log


@pytest.mark.parametrize("port", [0, 4444])
def test_a_local_user_who_takes_the_port_of_ncat_gets_no_data(ready: Lab, port: int) -> None:
    """An ncat does not share its port, so that the session cannot hold the port for it."""
    target = ready["db2"]
    target.netcat("ncat")
    target.hide("socat")
    with Hold(target, "nc", "*-l*") as waiting, Run(ready, *PLAIN, "--port", str(port), TREE, into(target)) as run:
        waiting.wait_for_call()
        with squatter(target, port_of(target)) as thief:
            waiting.let_go()
            result = run.end()
            thief.kill()
            assert thief.stdout
            assert thief.stdout.read() == b""
    if port:
        assert result.status == 6
        assert re.search("failed with status 2: .*Address already in use", result.stderr), result.stderr
        assert target.sh("ls -A /srv/in") == ""
    else:
        assert result.status == 0, result.stderr
        assert census_on(target, "/srv/in/tree") == census_on(ready["db1"], "/srv/tree")


# --- users without rights on a host


def test_a_user_without_rights_can_neither_create_read_nor_lock_the_files_of_a_run(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    target.run("chmod 1777 /srv/in")
    for host in (source, target):
        assert as_nobody(host, "mkdir /run/transferpy || ln -s /srv/in /run/transferpy").returncode != 0
    ready["db1"].shape(SLOW)
    fill(source, "/srv/tree/large", megabytes=2)
    with Run(ready, TREE, INTO) as run:
        run.wait_for_stream(target)
        staging = target.sh("ls -d /srv/in/.transferpy-*")
        (directory,) = target.sh("ls -d /run/transferpy/run.*").splitlines()
        lock = f"/run/transferpy/port.{run.port}"
        target.run(["test", "-e", lock])
        attempts = (
            *("ls /run/transferpy", f"ls {directory}", f"cat {directory}/key.pem", f"echo x >>{directory}/control"),
            *(f"touch {directory}/undo.10000.x", f"ln -s /srv/outside {directory}/x", f"rm -r {directory}"),
            *(f"cat {lock}", f"flock -n {lock} true", f"rm {lock}", "touch /run/transferpy/port.4400"),
            *(f"ls {staging}", f"cat {staging}/content/*", f"touch {staging}/x", f"mv {staging} {staging}x"),
            *(f"rm -rf {staging}; [ ! -e {staging} ]", "kill $(pgrep -f transferpy)"),
        )
        done = {attempt: as_nobody(target, attempt).returncode for attempt in attempts}
        assert [attempt for attempt, status in done.items() if status == 0] == []
        run.assert_streaming()
        source.shape(None)
        assert run.end().status == 0, run.log


@pytest.mark.parametrize(
    "planted", ["ln -s /srv/outside {}", "mkdir -m 777 {}", "touch {}"], ids=["link", "dir", "file"]
)
def test_an_entry_planted_under_the_staging_name_is_not_used(ready: Lab, planted: str) -> None:
    target = ready["db2"]
    target.run("chmod 777 /srv/in")
    # The list of processes shows the name before the session creates the directory.
    gate = "/var/lib/gate"
    wait = f"until [ -e {gate} ]; do sleep 0.05; done"
    waiting = f'case "$*" in *" make_private .transferpy-"*) {wait} ;; esac; exec $real "$@"'
    with replaced(target, "perl", waiting), Run(ready, TREE, INTO) as run:
        name = f"/srv/in/.transferpy-{run_of(target)}-0"
        assert as_nobody(target, planted.format(name)).returncode == 0
        target.run(["touch", gate])
        result = run.end()
        target.run(["rm", gate])
    assert result.status == 3, result.stderr
    assert "cannot make a directory in /srv/in" in result.stderr
    assert_nothing_elsewhere(ready)


def run_while_nobody(ready: Lab, script: str) -> Result:
    """Copy to a world-writable directory, run a script as nobody during the stream, and return the result."""
    source, target = ready["db1"], ready["db2"]
    fill(source, "/srv/tree/large", megabytes=2)
    target.run("chmod 777 /srv/in")
    source.shape(SLOW)
    with Run(ready, TREE, INTO) as run:
        run.wait_for_stream(target)
        assert as_nobody(target, script).returncode == 0
        run.assert_streaming()
        source.shape(None)
        return run.end()


def test_a_staging_directory_that_is_moved_away_leads_nowhere_else(ready: Lab) -> None:
    run_while_nobody(ready, "cd /srv/in && name=$(echo .transferpy-*) && mv $name away && ln -s /srv/outside $name")
    assert_nothing_elsewhere(ready)


def test_a_link_under_the_final_name_is_not_followed(ready: Lab) -> None:
    result = run_while_nobody(ready, "ln -s /srv/outside /srv/in/tree")
    assert result.status == 8, result.stderr
    assert "/srv/in/tree was created by another program during the run" in result.stderr
    assert ready["db2"].sh("ls -A /srv/in") == "tree"
    assert_nothing_elsewhere(ready)


@pytest.mark.parametrize("program", ["sleep 60", "su -c true"], ids=["his own", "set-uid"])
def test_processes_of_a_user_that_have_the_name_of_a_task_are_neither_ended_nor_waited_for(
    ready: Lab, program: str
) -> None:
    target = ready["db2"]
    fill(ready["db1"], "/srv/tree/large", megabytes=2)
    ready["db1"].shape(SLOW)
    with Run(ready, TREE, INTO) as run:
        run.wait_for_stream(target)
        job = target.sh("cat /run/transferpy/run.*/job")
        argv = [*NOBODY, "env", f"TRANSFERPY_JOB={job}", *program.split()]
        posing = target.popen(argv, stdin=PIPE, stdout=DEVNULL, start_new_session=True)
        run.assert_streaming()
        ready["db1"].shape(None)
        assert run.end().status == 0, run.log
    assert posing.poll() is None
    posing.kill()
    posing.wait()


# --- hostile sources


def test_a_hostile_tree_is_copied_as_data_and_writes_nothing_elsewhere(ready: Lab) -> None:
    source, target = ready["db1"], ready["db2"]
    source.run(
        "cd /srv/tree && ln -s /srv/outside out && ln -s ../../../srv/outside/file up && ln -s out chain"
        " && cp /bin/true set-uid && chmod 6755 set-uid && mknod null c 1 3 && mknod disk b 8 0 && mkfifo pipe"
        " && ln -s /srv/in/tree/made-later dangling && touch -- '-rf' '--checkpoint-action=exec=touch owned'"
    )
    transfer(ready, TREE, INTO, check=True)
    assert census_on(target, "/srv/in/tree") == census_on(source, "/srv/tree")
    kinds = "stat -c '%F %a' set-uid null disk && readlink out"
    assert target.sh(f"cd /srv/in/tree && {kinds}").splitlines() == [
        *("regular file 6755", "character special file 644", "block special file 644", "/srv/outside")
    ]
    target.run("rm /srv/in/tree/--checkpoint*")
    source.run("rm /srv/tree/--checkpoint*")
    assert_nothing_elsewhere(ready)


@pytest.mark.parametrize("options", [("--no-checksum",), PLAIN], ids=["encrypted", "plain"])
def test_a_source_host_that_sends_another_archive_writes_nothing_elsewhere(
    ready: Lab, options: tuple[str, ...]
) -> None:
    ready["db1"].run("cat >/var/lib/evil.tar", input=hostile_archive())
    before = ready["db2"].snapshot()
    with replaced(ready["db1"], "tar", "exec cat /var/lib/evil.tar"):
        result = transfer(ready, *options, "--no-compress", TREE, INTO)
    ready["db1"].run("rm /var/lib/evil.tar")
    assert result.status in {6, 7}, result.stderr
    assert ready["db2"].sh("ls -A /srv/in") == ""
    assert_nothing_elsewhere(ready)
    assert_as_before(ready["db2"], before)


@pytest.mark.parametrize("victim", ["owned-by-link", "file"], ids=["new file", "old file"])
def test_a_link_in_one_stream_leads_no_other_stream_out_of_the_copy(ready: Lab, victim: str) -> None:
    source = ready["db1"]
    source.run(
        "cd /srv/tree && touch more files of a tree && mkdir -m 700 /var/lib/evil && cd /var/lib/evil && mkdir tree"
    )
    source.run("cd /var/lib/evil && ln -s /srv/outside tree/out && tar cf link.tar tree/out && rm tree/out")
    source.run(f"cd /var/lib/evil && mkdir tree/out && touch tree/out/{victim} && tar cf file.tar tree/out/{victim}")
    script = """
    case $(readlink /proc/self/fd/2) in
      */send_0.1.err) exec "$real" "$@" ;;
      */send_0-1.1.err) cat >/dev/null; exec cat /var/lib/evil/link.tar ;;
    esac
    cat >/dev/null
    until [ -e /var/lib/evil/go ]; do sleep 0.1; done
    exec cat /var/lib/evil/file.tar"""
    with (
        replaced(source, "tar", script),
        Run(ready, "--streams", "3", "--no-compress", "--no-checksum", TREE, INTO) as run,
    ):
        made = "find /srv/in -name out -type l | grep -q ."
        assert eventually(lambda: ready["db2"].run(made, check=False).returncode == 0), run.log
        source.run("touch /var/lib/evil/go")
        result = run.end()
    source.run("rm -r /var/lib/evil")
    assert result.status == 6, result.stderr
    assert re.search(r"tree/out/\S+: Cannot open: (Read-only file system|File exists)", result.stderr), result.stderr
    assert ready["db2"].sh("ls -A /srv/in") == ""
    assert_nothing_elsewhere(ready)


def test_a_hostile_tarball_writes_nothing_elsewhere(ready: Lab) -> None:
    before = ready["db2"].snapshot()
    ready["db1"].run("cat >/srv/tarball", input=hostile_archive())
    result = transfer(ready, "--type", "decompress", "db1:/srv/tarball", INTO)
    assert result.status in {6, 7}, result.stderr
    assert_nothing_elsewhere(ready)
    assert_as_before(ready["db2"], before)


def test_a_tarball_that_gives_its_directory_away_lets_nobody_in_before_it_is_checked(ready: Lab) -> None:
    target = ready["db2"]
    ready["db1"].run(
        "cd /srv && mkdir -p top/sqldata && touch top/sqldata/file && chmod 777 top && chown nobody top"
        " && tar --create --file=tarball --no-recursion --directory=top . sqldata sqldata/file"
    )
    with (
        Hold(target, "sync") as waiting,
        Run(ready, "--type", "decompress", "db1:/srv/tarball", INTO) as run,
    ):
        waiting.wait_for_call()
        swap = "cd /srv/in/.transferpy-*/content && mv sqldata x && ln -s /srv/outside sqldata"
        assert target.sh("stat -c '%a %U' /srv/in/.transferpy-*/content") == "777 nobody"
        assert as_nobody(target, swap).returncode != 0
        waiting.let_go()
        assert run.end().status == 0, run.log
    assert target.sh("ls -A /srv/in") == "file"
    assert_nothing_elsewhere(ready)


# --- hosts that lie, and words that want to be commands

COMMAND = r"touch$IFS\/srv\/outside\/owned"
LIES = {
    "port": ("db3", rf"s/listening port=[0-9]*/&!!SYSTEM:{COMMAND}/"),
    "name": ("db1", r"s/ name=[^ ]*/ name=Li4vLi4vLi4vc3J2L291dHNpZGU=/"),  # ../../../srv/outside
}


@pytest.mark.parametrize("lie", LIES)
def test_a_host_that_lies_has_no_command_run_on_the_other(ready: Lab, lie: str) -> None:
    liar, expression = LIES[lie]
    script = f"""$real "$@" | sed -u '{expression}' | tee -a /var/lib/said"""
    with replaced(ready[liar], "bash", script):
        result = transfer(ready, *PLAIN, "--no-checksum", TREE, "db3:/srv/in")
        output = ready[liar].sh("cat /var/lib/said; rm /var/lib/said")
    assert re.search(r"!!SYSTEM:touch|name=Li4v", output), output
    assert result.status in {3, 4}, result.stderr
    assert ready["db3"].sh("ls -A /srv/in") == ""
    assert_nothing_elsewhere(ready)


FLOODS = {
    "events": r'"$1 progress bytes=1\n"',
    "long events": r'"$1 hello directory=" . ("QUJD" x 40_000) . "\n"',
    "other lines": r'"y\n"',
    "a line without end": r'"x" x 65_536',
}
MEASURED = """
import pathlib, re, sys
from transferpy import transfer
status = transfer.main()
peak = re.search("VmHWM: *(.*) kB", pathlib.Path("/proc/self/status").read_text().replace("\t", " "))
print(peak[1])
sys.exit(status)
"""


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize(("host", "event"), [("db1", "host"), ("db1", "sending"), ("db3", "listening")])
def test_a_host_that_prints_without_end_ends_the_run_which_needs_little_memory(
    ready: Lab, host: str, event: str, flood: str
) -> None:
    flooding = f"print {FLOODS[flood]} while /^(.transferpy \\S+) {event}\\b/m"
    script = f"""$real "$@" | perl -e '$| = 1; while (sysread STDIN, $_, 65_536) {{ print; {flooding} }}'"""
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    before = ready.snapshot()
    with replaced(ready[host], "bash", script):
        ended = ready["orch"].run([SYSTEM_PYTHON, "-c", MEASURED, TREE, "db3:/srv/in"], env=environment, check=False)
    assert ended.returncode == 3, ended.stderr
    text = ended.stderr.decode()
    assert re.search(
        rf"ERROR .*{host}: the host sent (more output than \d+ bytes|a line of more than \d+ bytes)", text
    ), text
    assert int(ended.stdout) < 150_000
    assert_as_before(ready, before)


TOUCH = "touch /srv/outside/owned"
HOSTS = (
    f"db1;{TOUCH}",
    f"$({TOUCH})",
    f"`{TOUCH}`",
    f"-oProxyCommand={TOUCH}",
    f"db1|{TOUCH}",
    f"db1\n{TOUCH}",
    "db1 db2",
)


def test_a_host_or_option_that_is_a_command_is_refused_wherever_it_stands(ready: Lab) -> None:
    runs: list[tuple[str, ...]] = [(f"{host}:/srv/tree", INTO) for host in HOSTS]
    runs += [("--owner", f"mysql;{TOUCH}", TREE, INTO), ("--defaults-file", f"x;{TOUCH}", TREE, INTO)]
    ready["orch"].run(f"printf '[DEFAULT]\\nowner = $({TOUCH})\\n' >/var/lib/hostile.conf")
    runs.append(("--config", "/var/lib/hostile.conf", TREE, INTO))
    assert [result.status for result in transfers(ready, *runs)] == [2] * len(runs)
    assert_nothing_elsewhere(ready)


PROGRAM = """
import sys
from transferpy.Transferer import Transferer
print([Transferer(host, "/srv/tree", ["db2"], ["/srv/in"], {}).run() for host in sys.argv[1:]])
"""


def test_a_host_that_is_a_command_is_refused_by_the_python_interface(ready: Lab) -> None:
    environment = {"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = ready["orch"].run([SYSTEM_PYTHON, "-c", PROGRAM, *HOSTS], env=environment)
    assert done.stdout.decode().strip() == str([[2]] * len(HOSTS))
    assert_nothing_elsewhere(ready)


@pytest.mark.parametrize(
    "name",
    [f"$({TOUCH.replace('/', chr(36) + 'IFS')})", "';touch owned;'", "|touch owned", "-rf", "!!SYSTEM:touch owned"],
)
def test_a_path_that_is_a_command_is_a_name_on_every_host(ready: Lab, name: str) -> None:
    source, target = ready["db1"], ready["db2"]
    source.run(["mv", "/srv/tree", f"/srv/{name}"])
    target.run(["mkdir", f"/srv/in/{name}"])
    transfer(ready, f"db1:/srv/{name}", f"db2:/srv/in/{name}", check=True)
    assert target.run(["cmp", f"/srv/in/{name}/{name}/{SECRET}", "-"], input=contents(source, name)).returncode == 0
    source.run(["mv", f"/srv/{name}", "/srv/tree"])
    target.run(["rm", "-r", f"/srv/in/{name}"])
    assert_nothing_elsewhere(ready)


def contents(host: Host, name: str) -> bytes:
    return host.run(["cat", f"/srv/{name}/{SECRET}"]).stdout
