"""The preflight finds every reason to refuse a run before any change, and reports all of them together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from helpers import BOTH_CUMINS, SYSTEM_PYTHON, Result, eventually, transfer, transfers
from lab import difference
from trees import census_on

from transferpy.cli.arguments import EXIT_STATUSES

if TYPE_CHECKING:
    from lab import Host, Lab


def refusals(lab: Lab, *runs: tuple[str, ...], status: int = 4, python: str = SYSTEM_PYTHON) -> list[list[str]]:
    """Run the command several times and return the messages of each run; fail unless it refuses and changes no host."""
    before = lab.snapshot()
    results = transfers(lab, *runs, python=python)
    assert eventually(lambda: not difference(before, lab.snapshot())), difference(before, lab.snapshot())
    return [refusal(result, status) for result in results]


def refused(lab: Lab, *words: str, status: int = 4, python: str = SYSTEM_PYTHON) -> list[str]:
    """Run the command and return its messages; fail unless it refuses and changes no host."""
    (messages,) = refusals(lab, words, status=status, python=python)
    return messages


def refusal(result: Result, status: int) -> list[str]:
    """Return the messages of a run; fail unless it ended with that status."""
    assert (result.status, result.stdout) == (status, ""), result.stderr
    messages = [line.partition(" ERROR ")[2] for line in result.stderr.splitlines() if " ERROR " in line]
    if status == 4:
        last = messages.pop()
        assert last == f"refused: {len(messages)} problem(s); nothing was changed"
    return messages


@pytest.fixture
def stage(clean_lab: Lab) -> Lab:
    """The clean lab, with a tree /srv/tree on db1, and an empty directory /srv/target on db2 and db3."""
    clean_lab["db1"].run("mkdir /srv/tree; echo text >/srv/tree/file")
    for host in ("db2", "db3"):
        clean_lab[host].run("mkdir /srv/target")
    return clean_lab


# --- hosts


@BOTH_CUMINS
def test_a_host_that_cannot_be_reached_is_named(stage: Lab, python: str) -> None:
    hosts = ("nowhere", "198.18.0.250", "nowhere.lab.example")
    as_source = [(f"{host}:/srv/tree", "db2:/srv/target") for host in hosts]
    as_target = [("db1:/srv/tree", f"{host}:/srv/target") for host in hosts]
    found = refusals(stage, *as_source, *as_target, status=3, python=python)
    for host, messages in zip(hosts * 2, found, strict=True):
        assert len(messages) == 1
        assert messages[0].startswith(f"{host}: cannot be reached: ssh: ")


@pytest.mark.parametrize("tool", ["base64", "gzip"])
def test_a_host_that_cannot_run_the_preflight_reports_the_reason(stage: Lab, tool: str) -> None:
    stage["db2"].hide(tool)
    (message,) = refused(stage, "db1:/srv/tree", "db2:/srv/target", status=3)
    assert message.startswith("db2: ")
    assert f"{tool}: command not found" in message


# --- the source


def test_a_source_that_is_missing_is_named(stage: Lab) -> None:
    stage["db1"].run("ln -s nothing /srv/link")
    paths = ("/srv/missing", "/srv/tree/file/below", "/srv/missing/tree", "missing", "/srv/missing/", "/srv/link/")
    found = refusals(stage, *((f"db1:{path}", "db2:/srv/target") for path in paths))
    assert found == [[f"db1:{path}: no such file or directory"] for path in paths]


def test_a_socket_as_the_source_is_refused(stage: Lab) -> None:
    stage["db1"].run(["python3", "-c", "import socket; socket.socket(socket.AF_UNIX).bind('/srv/it.sock')"])
    (message,) = refused(stage, "db1:/srv/it.sock", "db2:/srv/target")
    assert message.startswith("db1:/srv/it.sock: is a socket and cannot be copied")


def test_the_root_directory_by_way_of_a_link_is_refused(stage: Lab) -> None:
    stage["db1"].run("ln -s / /srv/link")
    messages = refused(stage, "db1:/srv/link/", "db2:/srv/target")
    assert "db1:/srv/link/: is the root directory, which cannot be copied as a whole" in messages


DEAD_MOUNT = """
import ctypes, os
os.mknod("/srv/fuse", 0o20600, os.makedev(10, 229))  # the machine may not have it in /dev
device = os.open("/srv/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mount(b"dead", b"/srv/tree/dead", b"fuse", 0, options) == 0, os.strerror(ctypes.get_errno())
"""
"""A file system without its server, which even root cannot read."""


def test_a_part_of_the_source_that_cannot_be_read_is_named(stage: Lab) -> None:
    stage["db1"].run("mkdir /srv/tree/dead")
    before = stage.snapshot()
    stage["db1"].run(["python3", "-c", DEAD_MOUNT])
    try:
        assert b"not connected" in stage["db1"].run("ls /srv/tree/dead", check=False).stderr
        result = transfer(stage, "db1:/srv/tree", "db2:/srv/target")
    finally:
        stage["db1"].run("umount /srv/tree/dead; rm /srv/fuse")
    (message,) = refusal(result, 4)
    assert re.fullmatch(r"db1:/srv/tree: cannot be read: .*/srv/tree/dead.*not connected", message)
    assert not difference(before, stage.snapshot())


# --- the target


def test_a_target_that_is_no_directory_is_named(stage: Lab) -> None:
    stage["db2"].run("cd /srv; touch file; mkfifo fifo; ln -s nothing link")
    missing, other = "no such directory; make it first", "is not a directory; a target is the directory that"
    paths = {
        "/srv/missing": missing,
        "missing": missing,
        "/srv/file/below": other,
        "/srv/file": other,
        "/srv/fifo": other,
        "/srv/link": other,
    }
    found = refusals(stage, *(("db1:/srv/tree", f"db2:{path}") for path in paths))
    for (path, problem), messages in zip(paths.items(), found, strict=True):
        assert len(messages) == 1
        assert messages[0].startswith(f"db2:{path}: {problem}")


def test_a_target_on_a_read_only_file_system_is_named(stage: Lab) -> None:
    stage["db2"].small_disk("/srv/target", "16m")
    stage["db2"].run("mount -o remount,ro /srv/target")
    assert stage["db2"].run("touch /srv/target/try", check=False).returncode
    assert refused(stage, "db1:/srv/tree", "db2:/srv/target") == ["db2:/srv/target: is not writable"]


def test_a_final_name_that_exists_is_never_overwritten_whatever_it_is(stage: Lab) -> None:
    makings = ("touch {}", "mkdir {}", "ln -s nothing {}", "ln -s . {}", "mkfifo {}", "mkdir -p {}/file", "ln -s {} {}")
    for number, making in enumerate(makings):
        stage["db2"].run(f"mkdir /srv/{number}; " + making.replace("{}", f"/srv/{number}/tree"))
    targets = [f"db2:/srv/{number}" for number in range(len(makings))]
    found = refusals(stage, *(("db1:/srv/tree", target) for target in targets), ("db1:/srv/tree", *targets))
    expected = [f"{target}/tree: exists already; nothing is ever overwritten" for target in targets]
    assert found == [*([message] for message in expected), expected]


def test_a_source_is_not_copied_onto_or_into_itself(stage: Lab) -> None:
    stage["db1"].run("mkdir /srv/tree/sub; cd /srv; ln -s . around; ln -s tree/sub inside; ln -s tree link")
    inside = "is inside the source db1:/srv"
    expected = {
        ("db1:/srv/tree", "db1:/srv"): "db1:/srv/tree: is the source itself",
        ("db1:/srv/tree", "db1.lab.example:/srv/"): "db1.lab.example:/srv/tree: is the source itself",
        ("db1:/srv/tree", "db1:/srv/around"): "db1:/srv/around/tree: is the source itself",
        ("db1:/srv/around/tree/file", "db1:/srv/tree"): "db1:/srv/tree/file: is the source itself",
        ("db1:/srv/tree", "db1:/srv/tree"): f"db1:/srv/tree: {inside}/tree",
        ("db1:/srv/tree", "db1:/srv/tree/sub"): f"db1:/srv/tree/sub: {inside}/tree",
        ("db1:/srv/tree", "db1:/srv/inside"): f"db1:/srv/inside: {inside}/tree",
        ("db1:/srv/link/", "db1:/srv/tree/sub"): f"db1:/srv/tree/sub: {inside}/link/",
    }
    assert refusals(stage, *expected) == [[message] for message in expected.values()]


def test_a_target_that_is_given_twice_is_refused_in_any_spelling(stage: Lab) -> None:
    stage["db2"].run("ln -s target /srv/link")
    paths = ("/srv//target", "/srv/./target/", "/srv/link", "/srv/target/../target", "../srv/target")
    again = [*(f"db2:{path}" for path in paths), f"{stage['db2'].ipv4}:/srv/target", "db2.lab.example:/srv/target"]
    found = refusals(stage, *(("db1:/srv/tree", "db2:/srv/target", "db3:/srv/target", word) for word in again))
    same = "is the same directory as db2:/srv/target; this target is given twice"
    assert found == [[f"{word}: {same}"] for word in again]


# --- space


def random_file(host: Host, path: str, size: str) -> None:
    host.run(["dd", "if=/dev/urandom", f"of={path}", f"bs={size}", "count=1", "status=none"])


def test_the_error_about_too_few_free_bytes_has_the_figures(stage: Lab) -> None:
    random_file(stage["db1"], "/srv/tree/large", "6M")
    stage["db2"].small_disk("/srv/target", "4m")
    (message,) = refused(stage, "db1:/srv/tree", "db2:/srv/target")
    found = re.fullmatch(r"db2:/srv/target: ([\d,]+) bytes are needed, but only ([\d,]+) are free", message)
    assert found
    needed, free = (int(number.replace(",", "")) for number in found.groups())
    assert 6 << 20 < needed < 8 << 20
    assert free == 4 << 20


def test_two_targets_on_one_file_system_share_its_space(stage: Lab) -> None:
    random_file(stage["db1"], "/srv/tree/large", "6M")
    stage["db2"].small_disk("/srv/target", "10m")
    stage["db2"].run("mkdir /srv/target/{a,b}")
    (message,) = refused(stage, "db1:/srv/tree", "db2:/srv/target/a", "db2:/srv/target/b")
    assert re.fullmatch(r"db2:/srv/target/a.*bytes are needed, but only .* are free", message)


def test_the_error_about_too_few_free_inodes_has_the_figures(stage: Lab) -> None:
    stage["db1"].run("touch /srv/tree/{1..50}")
    stage["db2"].small_disk("/srv/target", "4m")
    stage["db2"].run("mount -o remount,nr_inodes=40 /srv/target")
    (message,) = refused(stage, "db1:/srv/tree", "db2:/srv/target")
    assert re.fullmatch(r"db2:/srv/target: 54 inodes are needed, but only 39 are free", message)


PSEUDO = "is a pseudo file system ({}), which cannot be copied; --one-file-system leaves it out"


def test_pseudo_file_systems_in_the_source_are_named_and_can_be_left_out(stage: Lab) -> None:
    db1, db2 = stage["db1"], stage["db2"]
    db1.run("cd /srv/tree; mkdir 'a proc' pts; mount -t proc proc 'a proc'; mount -t devpts devpts pts")
    try:
        # Their content changes all the time, so no snapshots are compared.
        found = refusal(transfer(stage, "db1:/srv/tree", "db2:/srv/target"), 4)
        assert found == [
            f"db1:/srv/tree: /srv/tree/{path} {PSEUDO.format(kind)}"
            for path, kind in (("a proc", "proc"), ("pts", "devpts"))
        ]
        found = refusal(transfer(stage, "--one-file-system", "db1:/srv/tree/a proc/sys", "db2:/srv/target"), 4)
        assert found == ["db1:/srv/tree/a proc/sys: is on a pseudo file system (proc), which cannot be copied"]
        result = transfer(stage, "--one-file-system", "db1:/srv/tree", "db2:/srv/target", check=True)
    finally:
        db1.run("umount '/srv/tree/a proc' /srv/tree/pts")
    assert "left out, as empty directories: /srv/tree/a proc (proc), /srv/tree/pts (devpts)" in result.stderr
    assert (
        db2.sh("cd /srv/target/tree; find . -printf '%y %m %P\\n' | sort")
        == "d 555 a proc\nd 755 \nd 755 pts\nf 644 file"
    )


def test_a_directory_that_is_mounted_within_itself_is_named(stage: Lab) -> None:
    db1 = stage["db1"]
    db1.run("mkdir -p /srv/tree/sub/self /srv/tree/other /srv/elsewhere")
    loop = "db1:/srv/tree: /srv/tree/sub/self is a bind mount of a directory that contains it; unmount it"
    for mounted in ("/srv/tree", "/srv/tree/sub", "/srv"):
        db1.run(f"mount --bind {mounted} /srv/tree/sub/self")
        try:
            assert (
                refusals(stage, *((*options, "db1:/srv/tree", "db2:/srv/target") for options in LIMITS)) == [[loop]] * 2
            )
        finally:
            db1.run("umount /srv/tree/sub/self")
    db1.run("mount --bind /srv/elsewhere /srv/tree/other")
    try:
        (message,) = refused(stage, "--one-file-system", "db1:/srv/tree", "db2:/srv/target")
        assert "/srv/tree/other is a bind mount from the file system of the source" in message
        transfer(stage, "db1:/srv/tree", "db2:/srv/target", check=True)
    finally:
        db1.run("umount /srv/tree/other; rmdir /srv/elsewhere")


LIMITS = ((), ("--one-file-system",))


@pytest.mark.parametrize("checksum", ["--checksum", "--no-checksum", "--parallel-checksum"])
def test_another_file_system_in_the_source_is_copied_or_left_out(stage: Lab, checksum: str) -> None:
    db1, db2 = stage["db1"], stage["db2"]
    db1.run("mkdir -m 700 /srv/tree/disk")
    db1.small_disk("/srv/tree/disk", "4m")
    random_file(db1, "/srv/tree/disk/inner", "3M")
    for options, files in ((LIMITS[0], "2"), (LIMITS[1], "1")):
        result = transfer(stage, checksum, *options, "db1:/srv/tree", "db2:/srv/target", check=True)
        assert "/srv/tree/disk (tmpfs)" in result.stderr
        assert db2.sh("find /srv/target/tree -type f | wc -l; ls -d /srv/target/tree/disk") == (
            f"{files}\n/srv/target/tree/disk"
        )
        db2.run("rm -r /srv/target/tree")


def test_a_target_on_the_root_file_system_is_refused_if_a_mount_is_required(stage: Lab) -> None:
    (message,) = refused(stage, "--require-mount", "db1:/srv/tree", "db2:/opt")
    assert message.startswith("db2:/opt: is on the root file system of the host; --require-mount needs a mount point")
    (message,) = refused(stage, "--require-mount", "--create-target", "db1:/srv/tree", "db2:/opt/backup/today")
    assert message.startswith("db2:/opt/backup/today: is on the root file system of the host")
    stage["db2"].small_disk("/srv/target", "4m")
    transfer(stage, "--require-mount", "--create-target", "db1:/srv/tree", "db2:/srv/target/today", check=True)


def test_holes_and_further_names_of_files_need_no_space(stage: Lab) -> None:
    db1, db2 = stage["db1"], stage["db2"]
    random_file(db1, "/srv/tree/large", "5M")
    db1.run("cd /srv/tree; truncate -s 200M hole; for i in {1..60}; do ln large name$i; done")
    db2.small_disk("/srv/target", "8m")
    transfer(stage, "--no-checksum", "db1:/srv/tree", "db2:/srv/target", check=True)
    assert len(census_on(db2, "/srv/target/tree")) == 64
    assert db2.sh("stat -c '%h %s' /srv/target/tree/name60 /srv/target/tree/hole") == "61 5242880\n1 209715200"


# --- tools


@pytest.mark.parametrize(
    ("tool", "package", "hosts"),
    [
        ("tar", "tar", ("db1", "db2")),
        ("flock", "util-linux", ("db1", "db2")),
        ("awk", "mawk", ("db1", "db2")),
        ("perl", "perl-base", ("db1", "db2")),
        ("cmp", "diffutils", ("db1", "db2")),
        ("md5sum", "coreutils", ("db1", "db2")),
        ("getent", "libc-bin", ("db1", "db2")),
        ("socat", "socat", ("db1", "db2")),
        ("openssl", "openssl", ("db1", "db2")),
        ("ip", "iproute2", ("db1",)),
    ],
)
def test_a_needed_tool_that_is_missing_is_named_with_host_and_package(
    stage: Lab, tool: str, package: str, hosts: tuple[str, ...]
) -> None:
    for host in ("db1", "db2"):
        stage[host].hide(tool)
    messages = refused(stage, "db1:/srv/tree", "db2:/srv/target", "db3:/srv/target")
    found = [message for message in messages if "is missing" in message]
    assert found == [f"{host}: {tool} is missing (Debian package {package})" for host in hosts]


def test_a_host_with_nothing_to_carry_the_stream_is_named_where_the_stream_is_not_encrypted(stage: Lab) -> None:
    stage["db2"].netcat(None)
    stage["db2"].hide("socat")
    (message,) = refused(stage, "--no-encrypt", "db1:/srv/tree", "db2:/srv/target")
    assert message == "db2: socat is missing (Debian package socat); alternative: nc (Debian package netcat-openbsd)"


def test_tools_that_the_options_do_not_need_may_be_missing(stage: Lab) -> None:
    for host in ("db1", "db2"):
        stage[host].hide("socat", "openssl", "xargs", "pigz", "zstd", "lz4", "xxh128sum", "b3sum")
    transfer(stage, "--no-encrypt", "db1:/srv/tree", "db2:/srv/target", check=True)
    assert stage["db2"].sh("cat /srv/target/tree/file") == "text"


NO_PIGZ = "pigz is missing (Debian package pigz); gzip is used instead, on one processor"


@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize(
    ("hidden", "options", "reported"),
    [
        (
            ("pigz",),
            ("--compressor", "pigz"),
            [NO_PIGZ],
        ),
        (("zstd",), ("--compressor", "zstd"), ["zstd is missing (Debian package zstd); pigz is used instead"]),
        (("lz4",), ("--compressor", "lz4"), ["lz4 is missing (Debian package lz4); pigz is used instead"]),
        (
            ("zstd", "pigz"),
            ("--compressor", "zstd"),
            [
                "zstd is missing (Debian package zstd); pigz is used instead",
                NO_PIGZ,
            ],
        ),
        (
            ("zstd", "lz4", "pigz"),
            (),
            [
                "zstd is missing (Debian package zstd); pigz is used instead",
                NO_PIGZ,
            ],
        ),
        (("zstd",), (), []),
    ],
    ids=["pigz", "zstd", "lz4", "zstd and pigz", "auto: none of them", "auto: zstd"],
)
def test_another_compressor_replaces_a_missing_one_with_a_warning(
    stage: Lab, hidden: tuple[str, ...], options: tuple[str, ...], reported: list[str], host: str
) -> None:
    stage["db1"].run("yes some text | head -c 2M >/srv/tree/large")
    stage[host].hide(*hidden)
    result = transfer(stage, *options, "db1:/srv/tree", "db2:/srv/target", check=True)
    assert re.findall(r"WARNING (.*)", result.stderr) == [f"{host}: {text}" for text in reported]
    assert census_on(stage["db2"], "/srv/target/tree") == census_on(stage["db1"], "/srv/tree")
    # The kind of error depends on the tool, but there is one.
    if not options:
        expected = "lz4 -1" if hidden == ("zstd",) else "gzip -1" if host == "db1" else "pigz -1"
        assert f"INFO  db2:/srv/target: compression: {expected}; a sample shrinks to " in result.stderr


@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize(
    ("algorithm", "hidden", "instead"),
    [
        ("xxh128", ("xxh128sum",), "b3"),
        ("b3", ("b3sum",), "xxh128"),
        ("b3", ("xxh128sum", "b3sum"), "md5"),
        ("auto", ("xxh128sum", "b3sum"), "md5"),
    ],
)
def test_another_digest_tool_replaces_a_missing_one_with_a_warning(
    stage: Lab, algorithm: str, hidden: tuple[str, ...], instead: str, host: str
) -> None:
    stage[host].hide(*hidden)
    result = transfer(stage, "--checksum-algorithm", algorithm, "db1:/srv/tree", "db2:/srv/target", check=True)
    package = {"xxh128": "xxhash", "b3": "b3sum"}.get(algorithm)
    warning = f"{host}: {algorithm}sum is missing (Debian package {package}); {instead} is used instead"
    assert re.findall(r"WARNING (.*)", result.stderr) == ([warning] if package else [])
    assert f"(TLS 1.3, {instead} of every file)" in result.stderr
    assert stage["db2"].sh("cat /srv/target/tree/file") == "text"


# --- all at once


@BOTH_CUMINS
def test_all_problems_are_reported_at_once(stage: Lab, python: str) -> None:
    stage["db2"].run("touch /srv/a-file; mkdir /srv/target/missing")
    stage["db2"].hide("socat")
    stage["db3"].hide("tar", "cmp")
    targets = ("db2:/srv/a-file", "db2:/srv/target", "db3:/srv/none", "nowhere:/srv", "db3:/srv/target")
    messages = refused(stage, "db1:/srv/missing", *targets, python=python)
    assert len(messages) == len(set(messages)) == 8
    for expected in (
        "nowhere: cannot be reached",
        "db1:/srv/missing: no such file or directory",
        "db2:/srv/a-file: is not a directory",
        "db2:/srv/target/missing: exists already",
        "db2: socat is missing",
        "db3: tar is missing",
        "db3: cmp is missing",
        "db3:/srv/none: no such directory",
    ):
        assert sum(message.startswith(expected) for message in messages) == 1, expected


# --- the command line and the configuration file

WRONG_COMMAND_LINES: dict[tuple[str, ...], str] = {
    ("--port", "70000"): "port must be a whole number from 0 to 65535, not '70000'",
    ("--port", "-1"): "port must be a whole number from 0 to 65535, not '-1'",
    ("--port", "ssh"): "port must be a whole number from 0 to 65535, not 'ssh'",
    ("--type", "folder"): "'folder'",
    ("--nonsense",): "--nonsense",
    ("--stop-slave",): "--stop-slave needs the transfer type xtrabackup",
    (";reboot:/srv",): "contains ';'",
    ("$(touch /tmp/owned):/srv",): "contains '$'",
    ("`touch /tmp/owned`:/srv",): "contains '`'",
    ("db2 db3:/srv",): "contains ' '",
    ("db2|cat:/srv",): "contains '|'",
    ("db2\ndb3:/srv",): "which is not valid in a host name",
    ("root@db2:/srv",): "contains '@'",
    ("'db2:/srv",): 'contains "\'"',
    ("../db2:/srv",): "contains '/'",
    ("-oProxyCommand=x:/srv",): "-oProxyCommand=x:/srv",
    ("db2",): "'db2' is not HOST:PATH",
    ("db2:",): "the path is empty",
    (":/srv",): "the host is empty",
    ("db3:/srv", "db3:/srv/"): "this target is given twice",
}


def test_a_wrong_command_line_is_a_usage_error_that_names_the_mistake(stage: Lab) -> None:
    found = refusals(stage, *(("db1:/srv/tree", "db2:/srv/target", *words) for words in WRONG_COMMAND_LINES), status=2)
    for reported, messages in zip(WRONG_COMMAND_LINES.values(), found, strict=True):
        assert reported in " ".join(messages)


@BOTH_CUMINS
def test_a_source_that_means_several_hosts_or_none_is_refused(stage: Lab, python: str) -> None:
    hosts = ("db[1-2]", "db2,db3", "*", "db[2-", "&", "!")
    before = stage.snapshot()
    results = transfers(stage, *((f"{host}:/srv/tree", "db1:/srv") for host in hosts), python=python)
    for host, result in zip(hosts, results, strict=True):
        assert result.status in {2, 3}
        assert host in result.stderr
    assert not difference(before, stage.snapshot())


GARBAGE: dict[bytes, str] = {
    b"\x00\xff\xfe garbage \x80": "cannot be read",
    b"just some words\n": "just some words",
    b"port = 4400\n": "line 1: the line [DEFAULT] must come before 'port = 4400'",
    b"[DEFAULT]\nprot = 4400\n": "unknown key 'prot'",
    b"[DEFAULT]\nport = 70000\n": "port must be a whole number from 0 to 65535, not '70000'",
    b"[DEFAULT]\n\nencrypt = perhaps\n": "line 3: encrypt must be true or false, not 'perhaps'",
    b"[transferpy]\nport = 4400\n": "unknown section [transferpy]",
}


def test_garbage_in_the_configuration_file_is_an_error_that_names_file_and_place(stage: Lab) -> None:
    files = [f"/srv/{number}.conf" for number in range(len(GARBAGE))]
    for file, text in zip(files, GARBAGE, strict=True):
        stage["orch"].run(["tee", file], input=text)
    runs = [("--config", file, "db1:/srv/tree", "db2:/srv/target") for file in files]
    for file, reported, messages in zip(files, GARBAGE.values(), refusals(stage, *runs, status=2), strict=True):
        assert len(messages) == 1
        assert messages[0].startswith(file)
        assert reported in messages[0]


def test_the_statuses_that_these_tests_see_are_those_that_help_documents(stage: Lab) -> None:
    shown = transfer(stage, "--help").stdout
    documented = dict(re.findall(r"^  (\d[\d, ]*?)  +(.*)$", shown, re.MULTILINE))
    assert documented == EXIT_STATUSES
    assert documented["2"] == "the command line, the configuration file or the job file is not valid"
    assert documented["3"] == "a host cannot be reached, or a remote command could not be run"
    assert documented["4"] == "the preflight found a reason to refuse the transfer; nothing was changed"
