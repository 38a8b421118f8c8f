"""A copy that differs from its source fails with the cause and leaves nothing behind."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest
from helpers import SYSTEM_PYTHON, Result, eventually, transfer
from lab import CHECKOUT, difference
from trees import census_on
from watching import DIGEST_TOOL, Hold, Run, assert_as_before, fill, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Lab

TREE, INTO = "db1:/srv/tree", "db2:/srv/in"
STRUCK = "/var/lib/struck"
"""A file that a fault writes when it occurs; snapshots do not include it."""


@pytest.fixture
def ready(clean_lab: Lab) -> Iterator[Lab]:
    """The clean lab with a small tree in /srv/tree of db1, and a directory /srv/in on db2 and db3."""
    clean_lab["db1"].run("mkdir -p /srv/tree/sub; cd /srv/tree; echo one >a; echo two >sub/b; ln -s a link")
    for name in ("db2", "db3"):
        clean_lab[name].run("mkdir /srv/in")
    yield clean_lab
    for host in clean_lab:
        host.run(["rm", "-f", STRUCK])


def failed(lab: Lab, result: Result, status: int, reason: str) -> None:
    """Assert that a copy to INTO failed with that error (a regular expression)."""
    assert result.status == status, result.stderr
    assert re.search(rf"ERROR {INTO}: failed: {reason}", result.stderr), result.stderr
    assert ": complete\n" not in result.stderr
    assert lab["db2"].sh("ls -A /srv/in") == ""


# --- the written data differs from the sent data


def on_the_disk(*names: str) -> str:
    """Return a wrapper of perl that changes a byte of each file after the unpacking and before the first digest.

    The times of the files stay, as they do when a disk fails.
    """
    damage = 'printf X | dd of="$name" bs=1 seek=1 conv=notrunc,nocreat status=none'
    return f"""
        if [[ $4 == */members ]]; then
            until [ -e "$4.end" ]; do sleep 0.05; done
            for name in {" ".join(f"$'{name}'" for name in names)}; do
                touch -r "$name" {STRUCK} && {damage} && touch -r {STRUCK} "$name" || exit
            done
        fi
        exec $real "$@"
    """


@pytest.mark.parametrize(
    "options", [(), ("--no-encrypt",), ("--no-compress",)], ids=["default", "plain", "no-compress"]
)
def test_a_byte_that_changes_on_the_targets_disk_is_found_and_its_file_named(
    ready: Lab, options: tuple[str, ...]
) -> None:
    before = ready.snapshot()
    with replaced(ready["db2"], "perl", on_the_disk("tree/sub/b")):
        result = transfer(ready, *options, TREE, INTO)
    ready["db2"].run(["test", "-e", STRUCK])
    failed(ready, result, 7, r"db2:/srv/in: the content differs: tree/sub/b\n")
    assert_as_before(ready, before)


def test_of_thousands_of_small_files_the_damaged_ones_are_named(ready: Lab) -> None:
    ready["db1"].run("mkdir /srv/tree/many && cd /srv/tree/many && seq -w 5000 | split -l 1 -a 4 - $'new\\nline '")
    before = ready.snapshot()
    names = [f"tree/many/new\\nline {suffix}" for suffix in ("aaaa", "adah", "ahkh")]  # of three bundles
    with replaced(ready["db2"], "perl", on_the_disk(*names)):
        result = transfer(ready, TREE, INTO)
    ready["db2"].run(["test", "-e", STRUCK])
    assert result.status == 7
    (reported,) = re.findall(r"the content differs: (.*)\n", result.stderr)
    assert sorted(reported.split(", ")) == names
    assert ready["db2"].sh("ls -A /srv/in") == ""
    assert_as_before(ready, before)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        pytest.param(
            "rm tree/a; truncate -s 1 tree/b; touch tree/another; chown 1 tree/d; chmod u+s tree/e",
            "tree (time), tree/a (missing), tree/another (not in the source), tree/b (size, time), tree/d (owner)",
            id="missing-short-another-owner-mode",
        ),
        pytest.param(
            "touch -hd @1.000000001 tree/link; touch -d @2.5 tree/sub; touch -d @-3.5 tree/b",
            "tree/b (time), tree/link (time), tree/sub (time)",
            id="times",
        ),
        pytest.param(
            "rm -r tree/sub; ln -sf b tree/link; rm tree/a; mkfifo tree/a",
            "tree (time), tree/a (kind, mode, size, time), tree/link (time, link), tree/sub (missing),"
            " tree/sub/b (missing)",
            id="missing-directory-link-kind",
        ),
    ],
)
def test_the_manifest_is_always_compared_and_the_error_names_the_differences(
    ready: Lab, damage: str, named: str
) -> None:
    ready["db1"].run("cd /srv/tree; echo text | tee b c d >e")
    before = ready.snapshot()
    script = f'$real "$@" || exit; {damage} && touch {STRUCK}'
    with replaced(ready["db2"], "tar", script):
        result = transfer(ready, "--no-checksum", TREE, INTO)
    ready["db2"].run(["test", "-e", STRUCK])
    failed(ready, result, 7, r"db2:/srv/in: missing, or different in kind, mode, owner, size or time: (.*)")
    listed = result.stderr.partition("size or time: ")[2].splitlines()[0]
    assert named == re.sub(r" and \d+ more$", "", listed)
    assert_as_before(ready, before)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("setfattr -x user.a tree/a", "tree/a (user.a)"),
        ("setfattr -n user.a -v 2 tree/a", "tree/a (user.a)"),
        (
            "setfacl -b tree/sub; chmod 775 tree/sub",
            "tree/sub (system.posix_acl_access), tree/sub (system.posix_acl_default)",
        ),
        ("setcap -r tree/b", "tree/b (security.capability)"),
        ("setfattr -hn trusted.more -v 1 tree/link", "tree/link (trusted.more)"),
    ],
)
def test_attributes_are_compared_always_and_those_that_differ_are_named(ready: Lab, damage: str, named: str) -> None:
    ready["db1"].run(
        "cd /srv/tree; echo text >b; setfattr -n user.a -v 1 a; setcap cap_net_raw+ep b; ln -sf a link;"
        "setfacl -m u:5:rwx,d:u:5:rwx sub"
    )
    before = ready.snapshot()
    with replaced(ready["db2"], "tar", f'$real "$@" || exit; {damage} && touch {STRUCK}'):
        result = transfer(ready, "--no-checksum", TREE, INTO)
    ready["db2"].run(["test", "-e", STRUCK])
    failed(ready, result, 7, re.escape(f"db2:/srv/in: extended attributes, ACLs or capabilities differ: {named}\n"))
    assert_as_before(ready, before)


@pytest.mark.parametrize(
    ("host", "message"),
    [("db1", "the source could not be read completely"), ("db2", "the copy could not be unpacked completely")],
)
def test_an_unknown_message_of_tar_fails_the_copy(ready: Lab, host: str, message: str) -> None:
    before = ready.snapshot()
    with replaced(ready[host], "tar", '$real "$@" || exit; echo tar: an odd thing happened >&2'):
        result = transfer(ready, TREE, INTO)
    failed(ready, result, 7, f"{host}: {message}: tar: an odd thing happened\n")
    assert_as_before(ready, before)


def test_a_tar_that_fails_on_either_host_is_named_with_its_messages(ready: Lab) -> None:
    before = ready.snapshot()
    for host, script in (("db1", '$real "$@"'), ("db2", "cat >/dev/null")):
        with replaced(ready[host], "tar", f"{script}; echo tar: an odd thing happened >&2; exit 2"):
            result = transfer(ready, TREE, INTO)
        failed(ready, result, 6, rf"{host}: tar failed with status 2: tar: an odd thing happened\n")
    assert_as_before(ready, before)


# --- the source changes while it is read

CHANGES = [
    # The change of the source during the transfer of its large file, and the expected message.
    pytest.param("echo more >>m-large", "m-large", id="grows"),
    pytest.param("truncate -s 16M m-large", "m-large", id="shrinks"),
    pytest.param("printf X | dd of=m-large bs=1 seek=16M conv=notrunc", "m-large", id="same-size"),
    pytest.param("cp -p m-large new && mv new m-large", "m-large", id="is-replaced-by-its-like"),
    pytest.param("rm m-large", "m-large", id="vanishes"),
    pytest.param("echo more >>a", "a", id="grows-when-it-was-sent"),
    pytest.param("rm sub/b", "sub", id="vanishes-before-it-is-sent"),
    pytest.param("echo new >sub/c", "sub", id="another-one-appears"),
    pytest.param("chmod 600 a", "a", id="mode"),
]


@pytest.mark.parametrize(("change", "named"), CHANGES)
def test_a_source_that_changes_while_it_is_read_fails_the_copy(ready: Lab, change: str, named: str) -> None:
    fill(ready["db1"], "/srv/tree/m-large", megabytes=24)
    before = ready.snapshot()
    # While the target does not read, the source can only fill the buffers between both hosts.
    with Hold(ready["db2"], "tar") as extracting, Run(ready, "--no-compress", TREE, INTO) as run:
        extracting.wait_for_call()
        ready["db1"].run("until find /proc/$(pgrep -x tar)/fd -lname /srv/tree/m-large | grep .; do sleep 0.05; done")
        ready["db1"].run(f"cd /srv/tree; {change}")
        run.assert_streaming()
        extracting.let_go()
        result = run.end()
    assert result.status in {6, 7}, result.stderr
    failed(ready, result, result.status, rf"db1:(/srv/tree: changed during the copy|.*tar: \./tree).*\b{named}\b")
    left = ready.snapshot()
    for section in ("db1 files", "db1 processes"):
        assert not [line for line in left.pop(section) if "transferpy" in line]
        before.pop(section)
    assert eventually(lambda: not difference(before, ready.snapshot())), difference(before, ready.snapshot())


# --- the stream is damaged, or cut short

FLIP = """
import shutil, sys
data = sys.stdin.buffer.read(1_000_000)
sys.stdout.buffer.write(data[:-1] + bytes([data[-1] ^ 1]))
open("{struck}", "w")
shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)
"""
CUT = """
import shutil, sys
stream = sys.stdin.buffer
while True:
    header = stream.read(512)
    size = int(header[124:135], 8)
    sys.stdout.buffer.write(header + stream.read((size + 511) // 512 * 512))
    if header[156:157] == b"0":  # a regular file
        break
open("{struck}", "w")
shutil.copyfileobj(stream, open("/dev/null", "wb"))
"""


def filtered(program: str, pattern: str) -> str:
    """Return a wrapper of a command that filters its input with a Python program if an argument matches."""
    words = shlex.quote(program.format(struck=STRUCK))
    return f"""if [[ " $* " == {pattern} ]]; then /usr/bin/python3 -c {words} | $real "$@"; else exec $real "$@"; fi"""


def test_a_stream_that_is_damaged_on_its_way_is_found_by_the_checksum_of_the_stream(ready: Lab) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=3)
    before = ready.snapshot()
    with replaced(ready["db1"], "socat", filtered(FLIP, "*' TCP:'*")):
        result = transfer(ready, "--no-encrypt", "--no-compress", "--parallel-checksum", TREE, INTO)
    ready["db1"].run(["test", "-e", STRUCK])
    failed(ready, result, 7, r"db2:/srv/in: the stream was damaged on the network\n")
    assert_as_before(ready, before)


def test_a_stream_that_is_damaged_on_its_way_is_found_by_the_checksums_of_the_files(ready: Lab) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=3)
    before = ready.snapshot()
    with replaced(ready["db1"], "socat", filtered(FLIP, "*' TCP:'*")):
        result = transfer(ready, "--no-encrypt", "--no-compress", TREE, INTO)
    ready["db1"].run(["test", "-e", STRUCK])
    failed(ready, result, 7, r"db2:/srv/in: the content differs: tree/large\n")
    assert_as_before(ready, before)


@pytest.mark.parametrize(
    ("compressor", "reported"),
    [("pigz", "pigz: .*corrupt"), ("zstd", ".*Decoding error"), ("lz4", ".*[Ee]rror")],
    ids=["pigz", "zstd", "lz4"],
)
def test_a_compressed_stream_that_is_damaged_on_its_way_does_not_unpack(
    ready: Lab, compressor: str, reported: str
) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=3)
    before = ready.snapshot()
    with replaced(ready["db1"], "socat", filtered(FLIP, "*' TCP:'*")):
        result = transfer(ready, "--no-encrypt", "--no-checksum", "--compressor", compressor, TREE, INTO)
    ready["db1"].run(["test", "-e", STRUCK])
    failed(ready, result, 6, rf"db2: {compressor} failed with status \d+: {reported}")
    assert_as_before(ready, before)


PROXY = f"""
import os, re, socket, sys, threading
words = sys.argv[1:]
place = next(number for number, word in enumerate(words) if word.startswith("OPENSSL:"))
address, port = re.match(r"OPENSSL:\\[?([^\\]]*?)\\]?:(\\d+),", words[place]).groups()
listener = socket.create_server(("127.0.0.1", 0))
words[place] = words[place].replace(words[place].split(",")[0], "OPENSSL:127.0.0.1:%d" % listener.getsockname()[1], 1)
if os.fork():
    os.execv("/usr/bin/socat", ["socat", *(word.replace("pf=ip6", "pf=ip4") for word in words)])
near = listener.accept()[0]
far = socket.create_connection((address, port))
def carry(source, sink, flip):
    passed = 0
    while data := bytearray(source.recv(65536)):
        if flip and passed < 1_000_000 <= passed + len(data):
            data[-1] ^= 1
            open("{STRUCK}", "w")
        passed += len(data)
        try:
            sink.sendall(data)
        except OSError:
            break
    source.close()
    sink.close()
back = threading.Thread(target=carry, args=(far, near, False), daemon=True)
back.start()
carry(near, far, True)
back.join()
"""
"""A replacement for socat on the source: it connects through a proxy that flips one bit of the stream."""


def test_an_encrypted_stream_that_is_damaged_on_its_way_ends_the_connection(ready: Lab) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=3)
    before = ready.snapshot()
    script = f'[[ "$*" == *OPENSSL:* ]] || exec $real "$@"; exec /usr/bin/python3 -c {shlex.quote(PROXY)} "$@"'
    with replaced(ready["db1"], "socat", script):
        result = transfer(ready, "--retries=0", "--no-compress", "--no-checksum", TREE, INTO)
    ready["db1"].run(["test", "-e", STRUCK])
    failed(ready, result, 6, r"db2: socat failed with status 1: .*(bad record mac|decryption failed)")
    assert_as_before(ready, before)


@pytest.mark.parametrize("options", [("--no-checksum",), ("--checksum",)], ids=["manifest", "checksum"])
def test_a_stream_that_ends_too_soon_where_tar_sees_no_harm_is_found(ready: Lab, options: tuple[str, ...]) -> None:
    before = ready.snapshot()
    # socat ends with 0 on both hosts, and so does tar, because the data ends after a complete file.
    with replaced(ready["db1"], "socat", filtered(CUT, "*' TCP:'*")):
        result = transfer(ready, "--retries=0", "--no-encrypt", "--no-compress", *options, TREE, INTO)
    ready["db1"].run(["test", "-e", STRUCK])
    failed(
        ready, result, 7, r"db2:/srv/in: missing, or different in kind, mode, owner, size or time: tree/.*tree/sub/b"
    )
    assert_as_before(ready, before)


# --- the disk of the target fills

FAULT = "db2: the file system of /srv/in"


@pytest.mark.parametrize("options", [(), ("--no-encrypt",), ("--no-encrypt", "--no-compress")], ids=" ".join)
def test_a_disk_that_fills_in_mid_copy_is_named_and_the_copy_removed(ready: Lab, options: tuple[str, ...]) -> None:
    fill(ready["db1"], "/srv/tree/large", megabytes=8)
    ready["db2"].small_disk("/srv/in", "16m")
    with Hold(ready["db2"], "tar") as extracting, Run(ready, *options, TREE, INTO) as run:
        extracting.wait_for_call()
        full = ready["db2"].run("cat /dev/zero >/srv/in/other-data", check=False)
        assert b"No space left on device" in full.stderr
        ready["db2"].run("truncate -s -4M /srv/in/other-data")
        before = ready.snapshot()
        extracting.let_go()
        result = run.end()
    assert result.status == 6, result.stderr
    assert f"ERROR db2:/srv/in: failed: {FAULT} is full; db2: tar failed with status 2: " in result.stderr
    assert ready["db2"].sh("ls -A /srv/in") == "other-data"
    assert "/srv/in/.transferpy" in str(before)


def test_a_disk_that_runs_out_of_inodes_in_mid_copy_is_named_and_the_copy_removed(ready: Lab) -> None:
    ready["db1"].run("touch /srv/tree/{1..50}")
    ready["db2"].small_disk("/srv/in", "16m")
    ready["db2"].run("mount -o remount,nr_inodes=100 /srv/in")
    with Hold(ready["db2"], "tar") as extracting, Run(ready, TREE, INTO) as run:
        extracting.wait_for_call()
        full = ready["db2"].run("mkdir /srv/in/other && touch /srv/in/other/{1..100}", check=False)
        assert b"No space left on device" in full.stderr
        extracting.let_go()
        result = run.end()
    assert result.status == 6, result.stderr
    assert f"ERROR db2:/srv/in: failed: {FAULT} has no free inodes; db2: tar failed with status 2: " in result.stderr
    assert ready["db2"].sh("ls -A /srv/in") == "other"


def test_a_file_system_that_becomes_read_only_in_mid_copy_is_named(ready: Lab) -> None:
    """The session cannot remove its staging directory there, so the next run does that."""
    db2 = ready["db2"]
    db2.small_disk("/srv/in", "16m")
    before = ready.snapshot()
    with Hold(db2, "tar") as extracting, Run(ready, TREE, INTO) as run:
        extracting.wait_for_call()
        db2.run("mount -o remount,ro /srv/in")
        extracting.let_go()
        result = run.end()
    assert result.status == 6, result.stderr
    assert f"ERROR db2:/srv/in: failed: {FAULT} is read-only; db2: tar failed with status 2: " in result.stderr
    db2.run("mount -o remount,rw /srv/in")
    transfer(ready, TREE, INTO, check=True)
    db2.run("rm -r /srv/in/tree")
    assert_as_before(ready, before)


# --- several targets

RUN = """
import json, sys
from transferpy.Transferer import Transferer
hosts, paths = zip(*(word.split(":") for word in sys.argv[2:]))
print(json.dumps(Transferer(*sys.argv[1].split(":"), hosts, paths, {}).run()))
"""


def test_a_target_that_fails_stops_no_other_and_each_has_its_status(ready: Lab) -> None:
    for name in ("db2", "db3"):
        ready[name].run("mkdir /srv/{first,second}")
    before = census_on(ready["db1"], "/srv/tree")
    counting = f'echo >>{STRUCK}; exec $real "$@"'
    # On db3, a byte changes. On the second target of db2, the disk gets full.
    damage = on_the_disk("tree/a")
    failing = f'[[ $PWD == /srv/second/* ]] || exec $real "$@"; touch {STRUCK}; cat >/dev/null; exit 2'
    targets = ("db2:/srv/first", "db3:/srv/first", "db2:/srv/second", "db2:/srv/in")
    with (
        replaced(ready["db1"], DIGEST_TOOL, counting),
        replaced(ready["db3"], "perl", damage),
        replaced(ready["db2"], "tar", failing),
    ):
        done = ready["orch"].run(
            [SYSTEM_PYTHON, "-c", RUN, TREE, *targets],
            env={"PYTHONPATH": str(CHECKOUT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
    assert done.stdout == b"[0, 7, 6, 0]\n"
    for name in ("db2", "db3"):
        ready[name].run(["test", "-e", STRUCK])
    assert census_on(ready["db2"], "/srv/first/tree") == before == census_on(ready["db2"], "/srv/in/tree")
    assert ready["db3"].sh("ls -A /srv/first") == ready["db2"].sh("ls -A /srv/second") == ""
    assert ready["db1"].sh(f"wc -l <{STRUCK}") == "1"  # one call for all files, independent of the number of targets


def test_a_target_that_fails_while_the_source_still_digests_costs_no_second_digest(ready: Lab) -> None:
    digesting = f'echo >>{STRUCK}; until [ -e /srv/go ]; do sleep 0.05; done; exec $real "$@"'
    with (
        replaced(ready["db1"], DIGEST_TOOL, digesting),
        replaced(ready["db2"], DIGEST_TOOL, "exit 1"),
        Run(ready, TREE, INTO, "db3:/srv/in") as run,
    ):
        run.wait_for("ERROR db2:/srv/in: failed: db2: digest failed")
        assert "db3: port" not in run.log
        ready["db1"].run("touch /srv/go")
        result = run.end()
    assert result.status == 7
    assert "db3:/srv/in/tree: complete" in result.stderr
    assert ready["db1"].sh(f"wc -l <{STRUCK}") == "1"  # one call for all files


def test_the_exit_status_is_that_of_the_first_target_that_failed(ready: Lab) -> None:
    failing = f"touch {STRUCK}; cat >/dev/null; echo tar: no >&2; exit 2"
    with replaced(ready["db2"], "tar", failing):
        result = transfer(ready, TREE, "db3:/srv/in", INTO)
    ready["db2"].run(["test", "-e", STRUCK])
    assert result.status == 6
    assert "db3:/srv/in/tree: complete" in result.stderr
    assert "1 of 2 target(s) succeeded" in result.stderr


def test_a_source_that_changes_between_two_targets_fails_the_second(ready: Lab) -> None:
    with Hold(ready["db2"], "sync", "--\\ *") as publishing, Run(ready, TREE, INTO, "db3:/srv/in") as run:
        publishing.wait_for_call()
        ready["db1"].run("echo more >>/srv/tree/a")
        publishing.let_go()
        result = run.end()
    assert result.status == 7, result.stderr
    assert re.search(r"ERROR db3:/srv/in: failed: db1:/srv/tree: changed during the copy: .*tree/a", result.stderr)
    assert "db2:/srv/in/tree: complete" in result.stderr
    assert ready["db3"].sh("ls -A /srv/in") == ""
