"""A copy is equal to that of `rsync -aHAXS --numeric-ids`: every kind of file, attribute and name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from helpers import transfer, transfers
from trees import HOSTILE_NAMES, census_on, plant_on
from watching import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

STREAMS = pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="default"),
        pytest.param(("--no-encrypt",), id="no-encrypt"),
        pytest.param(("--no-compress",), id="no-compress"),
        pytest.param(("--no-encrypt", "--no-compress", "--no-checksum"), id="bare"),
        pytest.param(("--no-encrypt", "--no-compress", "--parallel-checksum"), id="bare-parallel-checksum"),
        pytest.param(("--compressor", "zstd", "--compress-level", "19"), id="zstd"),
        pytest.param(("--compressor", "lz4", "--checksum-algorithm", "b3"), id="lz4-b3"),
        pytest.param(("--compressor", "pigz", "--checksum-algorithm", "md5"), id="pigz-md5"),
        pytest.param(("--no-encrypt", "--checksum-algorithm", "sha256", "--priority", "low"), id="sha256-low"),
    ],
)

ODD_TARGET = (
    "mkdir -m 2777 /srv/target; setfacl -d -m u:4000:rwx,g:4000:rwx /srv/target; touch -d 2001-01-01 /srv/target"
)
"""A target directory that passes its group and a default ACL on to new entries."""


@STREAMS
def test_a_tree_with_everything_arrives_as_it_is(clean_lab: Lab, options: tuple[str, ...]) -> None:
    plant_on(clean_lab["db1"], "/srv/tree")
    clean_lab["db2"].run(ODD_TARGET)
    before = census_on(clean_lab["db1"], "/srv/tree")
    result = transfer(clean_lab, *options, "db1:/srv/tree", "db2:/srv/target", check=True)
    assert "WARNING" not in result.stderr
    assert census_on(clean_lab["db2"], "/srv/target/tree") == before == census_on(clean_lab["db1"], "/srv/tree")
    assert clean_lab["db2"].sh("ls -A /srv/target") == "tree"


@pytest.mark.parametrize("options", [(), ("--no-encrypt", "--no-compress")], ids=["default", "bare"])
def test_a_single_file_arrives_with_all_its_attributes(clean_lab: Lab, options: tuple[str, ...]) -> None:
    plant_on(clean_lab["db1"], "/srv/file", "plant_file")
    clean_lab["db2"].run(ODD_TARGET)
    transfer(clean_lab, *options, "db1:/srv/file", "db2:/srv/target", check=True)
    arrived = census_on(clean_lab["db2"], "/srv/target/file")
    assert arrived == census_on(clean_lab["db1"], "/srv/file")
    assert len(arrived["."]["attributes"]) == 4
    assert clean_lab["db2"].sh("ls -A /srv/target") == "file"


def test_the_census_of_these_tests_finds_no_difference_in_a_copy_by_rsync(clean_lab: Lab) -> None:
    plant_on(clean_lab["db1"], "/srv/tree")
    clean_lab["db1"].run("rsync -aHAXS --numeric-ids --modify-window=-1 /srv/tree /srv/copy/")
    assert census_on(clean_lab["db1"], "/srv/copy/tree") == census_on(clean_lab["db1"], "/srv/tree")


CHANGES = (
    "chmod u-s modes/file-4755",
    "chmod +t attributes",
    "chown :1 modes/file-0400",
    "chown -h 1 symlinks/loop3",
    "touch -d @1700000000.000000002 times/file1700000000000000001",
    "touch -d @1700000000.000000002 times/directory1700000000000000001",
    "touch -h -d @1700000000.000000002 times/link1700000000000000001",
    "ln -sfn elsewhere symlinks/loop3",
    "cp -a hardlinks/third* x && mv x hardlinks/third$'\\n'",
    "cp -a --remove-destination hardlinks/b/second hardlinks/third$'\\n'",
    "cp --sparse=never --preserve=all holes/many x && mv x holes/many",
    "setfacl -x u:4711 attributes/file",
    "setfacl -k attributes/only-default",
    "setcap -r attributes/file",
    "setfattr -h -x trusted.of-the-link attributes/link",
    "setfattr -x user.a=b attributes/directory",
    "rm special/block && mknod special/block c 7 200",
    "rm special/block && mknod special/block b 7 201",
    "printf X | dd conv=notrunc of=attributes/file status=none",
    "rmdir modes/empty-directory",
    "rm modes/empty-file",
)


def test_the_census_sees_every_difference(clean_lab: Lab) -> None:
    plant_on(clean_lab["db1"], "/srv/tree")
    before = census_on(clean_lab["db1"], "/srv/tree")
    for change in CHANGES:
        clean_lab["db1"].run(f"cd /srv/tree && {change}")
        after = census_on(clean_lab["db1"], "/srv/tree")
        assert after != before, change
        before = after


def test_hostile_names_are_only_names_as_sources_and_as_targets(clean_lab: Lab) -> None:
    db1, db2 = clean_lab["db1"], clean_lab["db2"]
    runs: list[tuple[bytes, bytes]] = []
    for name in HOSTILE_NAMES.values():
        source, target = b"/srv/" + name, b"/srv/" + name + b"/" + name
        # The parser drops blanks around a path. A slash at the end keeps them, but only a directory can have one.
        directory = name.strip(b" \t") != name
        if directory:
            db1.run(["mkdir", source])
        db1.run(["tee", source + b"/" + name if directory else source], input=name)
        db2.run(["mkdir", "-p", target])
        slash = b"/" if directory else b""
        runs.append((b"db1:" + source + slash, b"db2:" + target + slash))
    for label, name, result in zip(HOSTILE_NAMES, HOSTILE_NAMES.values(), transfers(clean_lab, *runs), strict=True):
        assert result.status == 0, f"{label}: {result.stderr}"
        assert census_on(db2, b"/srv/" + name + b"/" + name + b"/" + name) == census_on(db1, b"/srv/" + name), label
        assert db2.run(["ls", "-A", "--zero", b"/srv/" + name + b"/" + name]).stdout == name + b"\0", label
        # A name can neither send control sequences to the terminal nor start a new log line.
        assert all(character.isprintable() or character == "\n" for character in result.stderr), label
        assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+ ", line) for line in result.stderr.split("\n")[:-1])


def test_a_path_may_be_spelled_in_other_ways(clean_lab: Lab) -> None:
    spellings = (
        "db1:/srv/tree/",
        "db1://srv/.//other/../tree//",
        "db1:tree/",
        "db1:./../srv/tree",
        " db1 : /srv/tree ",
    )
    numbers = range(len(spellings))
    clean_lab["db1"].run("mkdir -p /srv/tree/sub /srv/other; echo text >/srv/tree/sub/file; ln -s /srv/tree /root/tree")
    clean_lab["db2"].run(f"cd /srv; mkdir {' '.join(map(str, numbers))}; ln -s /srv /root/targets")
    try:
        runs = [(spelling, f"db2:targets/{number}") for number, spelling in enumerate(spellings)]
        for number, result in zip(numbers, transfers(clean_lab, *runs), strict=True):
            assert result.status == 0, result.stderr
            assert census_on(clean_lab["db2"], f"/srv/{number}/tree") == census_on(clean_lab["db1"], "/srv/tree")
    finally:
        for host in ("db1", "db2"):
            clean_lab[host].run("rm -f /root/tree /root/targets")


def test_a_directory_of_the_root_directory_is_copied(clean_lab: Lab) -> None:
    clean_lab["db1"].run("mkdir /srv/sub; echo text >/srv/sub/file; ln /srv/sub/file /srv/name; chmod 711 /srv")
    clean_lab["db2"].run("mkdir /srv/target")
    try:
        transfer(clean_lab, "db1:/srv", "db2:/srv/target", check=True)
        assert census_on(clean_lab["db2"], "/srv/target/srv") == census_on(clean_lab["db1"], "/srv")
    finally:
        clean_lab["db1"].run("chmod 755 /srv")


LINKS = {"directory": "directory", "file": "file", "absolute": "/srv/directory", "chain": "directory-link"}


def plant_links(lab: Lab) -> list[str]:
    """Create a directory, a file and links to them on db1, and a target for each link on db2; return the names."""
    lab["db1"].run("cd /srv; mkdir directory; echo text | tee file >directory/inside; chown -R 12:34 directory file")
    for name, to in {**LINKS, "dangling": "missing"}.items():
        lab["db1"].run(["ln", "-s", to, f"/srv/{name}-link"])
        lab["db2"].run(["mkdir", f"/srv/{name}-link"])
    lab["db1"].run("cd /srv; touch -h -d @1234567890.123456789 *-link; chown -h 12:34 *-link")
    return [f"{name}-link" for name in (*LINKS, "dangling")]


def test_a_symbolic_link_as_the_source_is_copied_as_a_link_and_the_log_reports_it(clean_lab: Lab) -> None:
    links = plant_links(clean_lab)
    runs = [(f"db1:/srv/{link}", f"db2:/srv/{link}") for link in links]
    for link, result in zip(links, transfers(clean_lab, *runs), strict=True):
        assert result.status == 0, result.stderr
        assert f"WARNING db1:/srv/{link} is a symbolic link and is copied as one" in result.stderr
        assert census_on(clean_lab["db2"], f"/srv/{link}/{link}") == census_on(clean_lab["db1"], f"/srv/{link}")
        assert clean_lab["db2"].sh(f"ls -A /srv/{link}") == link


def test_a_slash_behind_a_symbolic_link_copies_its_destination_under_the_name_of_the_link(clean_lab: Lab) -> None:
    links = plant_links(clean_lab)[:-1]
    runs = [(f"db1:/srv/{link}/", f"db2:/srv/{link}") for link in links]
    for link, result in zip(links, transfers(clean_lab, *runs), strict=True):
        assert result.status == 0, result.stderr
        assert "WARNING" not in result.stderr
        original = clean_lab["db1"].sh(f"readlink -f /srv/{link}")
        assert census_on(clean_lab["db2"], f"/srv/{link}/{link}") == census_on(clean_lab["db1"], original)


def test_a_source_without_data_is_copied(clean_lab: Lab) -> None:
    makings = {
        "directory": "mkdir -m 1770",
        "file": "install -m 4755 /dev/null",
        "hole": "truncate -s 3G",
        "fifo": "mkfifo -m 640",
        "device": "mknod -m 640 {} b 7 200 #",
    }
    for kind, making in makings.items():
        clean_lab["db1"].run(f"cd /srv; {making.format(kind)} {kind}")
        clean_lab["db1"].run(f"cd /srv; chown 1234:5678 {kind}; touch -d @1000000000.000000001 {kind}")
    clean_lab["db2"].run("mkdir /srv/target")
    runs = [("--no-checksum", f"db1:/srv/{kind}", "db2:/srv/target") for kind in makings]
    for kind, result in zip(makings, transfers(clean_lab, *runs), strict=True):
        assert result.status == 0, result.stderr
        assert census_on(clean_lab["db2"], f"/srv/target/{kind}") == census_on(clean_lab["db1"], f"/srv/{kind}")


def test_a_sparse_file_beyond_eight_gibibytes_keeps_its_holes_and_its_data(clean_lab: Lab) -> None:
    clean_lab["db1"].run("truncate -s 12G /srv/large; echo here | dd of=/srv/large bs=1 seek=10G conv=notrunc")
    clean_lab["db2"].run("mkdir /srv/target")
    transfer(clean_lab, "--no-checksum", "db1:/srv/large", "db2:/srv/target", check=True)
    assert census_on(clean_lab["db2"], "/srv/target/large") == census_on(clean_lab["db1"], "/srv/large")
    assert int(clean_lab["db2"].sh("stat -c %b /srv/target/large")) < 100


def test_twenty_thousand_small_files_arrive(clean_lab: Lab) -> None:
    making = "mkdir -p /srv/tree/{1..100}; cd /srv/tree; for d in *; do (cd $d; seq 200 | split -l 1 -a 3); done"
    clean_lab["db1"].run(making, timeout=300)
    clean_lab["db2"].run("mkdir /srv/target")
    result = transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target", check=True, timeout=600)
    arrived = census_on(clean_lab["db2"], "/srv/target/tree")
    assert len(arrived) == 20_101
    assert arrived == census_on(clean_lab["db1"], "/srv/tree")
    assert "db1:/srv/tree: 20000 file(s)" in result.stderr


def test_sockets_are_left_out_and_the_log_reports_it(clean_lab: Lab) -> None:
    clean_lab["db1"].run("mkdir -p /srv/tree/sub; echo text >/srv/tree/sub/file")
    for name in ("one.sock", "sub/two\nlines.sock"):
        plant_on(clean_lab["db1"], f"/srv/tree/{name}", "plant_socket")
    clean_lab["db2"].run("mkdir /srv/target")
    result = transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target", check=True)
    assert "WARNING db1:/srv/tree: sockets are not copied: 2" in result.stderr
    source = census_on(clean_lab["db1"], "/srv/tree")
    left_out = {path for path, entry in source.items() if entry["mode"].startswith("s")}
    assert len(left_out) == 2
    expected = {path: entry for path, entry in source.items() if path not in left_out}
    assert census_on(clean_lab["db2"], "/srv/target/tree") == expected


def test_a_pipe_with_several_names_becomes_one_for_each(clean_lab: Lab) -> None:
    clean_lab["db1"].run("mkdir /srv/tree; cd /srv/tree; mkfifo -m 640 first; ln first second")
    clean_lab["db2"].run("mkdir /srv/target")
    transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target", check=True)
    expected = census_on(clean_lab["db1"], "/srv/tree")
    for name in ("./first", "./second"):
        assert expected[name].pop("names") == 2
        assert expected[name].pop("same as") == "./first"
    assert census_on(clean_lab["db2"], "/srv/target/tree") == expected


def test_a_tree_deeper_than_a_thousand_directories_arrives(clean_lab: Lab) -> None:
    plant_on(clean_lab["db1"], "/srv/tree", "plant_deep")
    clean_lab["db2"].run("mkdir /srv/target")
    transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target", check=True, timeout=300)
    arrived = census_on(clean_lab["db2"], "/srv/target/tree")
    assert len(arrived) == 1503
    assert arrived == census_on(clean_lab["db1"], "/srv/tree")


def test_a_path_longer_than_the_system_takes_is_a_clear_error_that_leaves_nothing(clean_lab: Lab) -> None:
    deep = "d=$(printf %0200d 1); mkdir $d; cd -P ./$d"
    clean_lab["db1"].run(f"mkdir /srv/tree; cd /srv/tree; for i in {{1..25}}; do {deep}; done; echo text >f")
    clean_lab["db2"].run("mkdir /srv/target")
    result = transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target")
    assert result.status in {
        6,
        7,
    }  # the digester on the source or tar on the target may fail first
    assert re.search(r"db[12]: .* failed with status .*File name too long", result.stderr)
    assert clean_lab["db2"].sh("ls -A /srv/target") == ""


def test_an_attribute_that_the_target_cannot_keep_fails_the_copy(clean_lab: Lab) -> None:
    large = "setfattr -n user.large -v $(printf %03000d 0)"
    clean_lab["db1"].run(f"echo text >/srv/file; {large} /srv/file")
    # tmpfs does not support such attributes before Linux 6.6; newer versions count them as inodes.
    clean_lab["db2"].small_disk("/srv/target", "16m")
    clean_lab["db2"].run("mount -o remount,nr_inodes=5 /srv/target")
    tried = clean_lab["db2"].run(f"cd /srv/target; mkdir d; touch d/try; {large} d/try", check=False)
    assert tried.returncode, "the target takes the attribute"
    clean_lab["db2"].run("rm -r /srv/target/d")
    result = transfer(clean_lab, "db1:/srv/file", "db2:/srv/target")
    assert result.status == 7
    assert re.search(r"db2: .* cannot hold all attributes: .*'user\.large'.* file './file'", result.stderr)
    assert clean_lab["db2"].sh("ls -A /srv/target") == ""


OWNED = """
mkdir -p /srv/tree/sub && cd /srv/tree && for name in user group both plain capable; do echo $name >$name; done
chmod 4755 user && chmod 2755 group && chmod 6711 both && setcap cap_net_bind_service,cap_net_raw+ep capable
chmod 3777 sub && cp -a capable user sub && ln user sub/second && ln -s user link && chown -h 5:6 link plain
mkfifo fifo
"""


@pytest.mark.parametrize("packed", [False, True], ids=["tree", "tarball"])
@pytest.mark.parametrize(
    "owner", ["mysql", "mysql:daemon", "65001"], ids=["user", "user-and-group", "a-number-without-a-name"]
)
def test_set_uid_bits_and_capabilities_stay_when_the_copy_gets_an_owner(
    clean_lab: Lab, owner: str, *, packed: bool
) -> None:
    clean_lab["db1"].run(OWNED)
    clean_lab["db2"].run("mkdir /srv/target")
    before = census_on(clean_lab["db1"], "/srv/tree")
    if packed:
        clean_lab["db1"].run("tar -C /srv --xattrs --xattrs-include=* --acls -cf /srv/x.tar tree")
    words = ("--type=decompress", "db1:/srv/x.tar") if packed else ("db1:/srv/tree",)
    transfer(clean_lab, "--owner", owner, *words, "db2:/srv/target", check=True)
    copy = "/srv/target" if packed else "/srv/target/tree"
    after = census_on(clean_lab["db2"], copy)
    listed = "find . -mindepth 1 -printf '%p %y %m %s\\n' | sort; find . -type f | sort | xargs getcap"
    there, here = clean_lab["db1"].sh(f"cd /srv/tree; {listed}"), clean_lab["db2"].sh(f"cd {copy}; {listed}")
    assert here == there
    assert len(after) == len(before)
    user, _, group = owner.partition(":")
    ids = clean_lab["db2"].sh(f"cd {copy}; find . -printf '%U\\n' | sort -u").split()
    assert ids == [clean_lab["db2"].sh(f"id -u {user} 2>/dev/null || echo {user}").strip()]
    if group:
        ids = clean_lab["db2"].sh(f"cd {copy}; find . -printf '%G\\n' | sort -u").split()
        assert ids == [clean_lab["db2"].sh(f"getent group {group} | cut -d: -f3").strip()]


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ('chmod u-s "${*: -1}/user"', "does not keep set-uid bits"),
        ('setcap -r "${*: -1}/capable"', "does not keep set-uid bits"),
        ('chown -h 5 "${*: -1}/link"', "does not keep the owner: ./tree/link"),
    ],
    ids=["set-uid", "capability", "owner"],
)
def test_an_owner_or_a_privilege_that_gets_lost_fails_the_copy(clean_lab: Lab, lost: str, message: str) -> None:
    clean_lab["db1"].run(OWNED)
    clean_lab["db2"].run("mkdir /srv/target")
    script = f"""
        if [ "$3" != restore ]; then exec $real "$@"; fi
        $real "$@" && set -- ./tree && {lost}
    """
    with replaced(clean_lab["db2"], "perl", script):
        result = transfer(clean_lab, "--owner", "mysql", "db1:/srv/tree", "db2:/srv/target")
    assert result.status == 10, result.stderr
    assert message in result.stderr
    assert clean_lab["db2"].sh("ls -A /srv/target") == ""


@pytest.fixture
def old_disk(clean_lab: Lab) -> Iterator[Host]:
    """A target directory on a file system with small inodes, which hold neither nanoseconds nor years after 2038."""
    target = clean_lab["db2"]
    target.run("truncate -s 32M /root/image && mkfs.ext4 -q -I 128 /root/image && mkdir /srv/target")
    target.run("mount -o loop /root/image /srv/target && rmdir /srv/target/lost+found")
    yield target
    target.run("umount /srv/target && rm /root/image")


def test_times_that_lose_their_fractions_on_the_target_are_a_warning_with_names_and_number(
    clean_lab: Lab, old_disk: Host
) -> None:
    clean_lab["db1"].run("mkdir /srv/tree && cd /srv/tree && touch -d @1.5 a b c d e f && ln -s a link")
    clean_lab["db1"].run("cd /srv/tree && touch -hd @-2.25 link && touch -d @1700000000 whole && touch -d @3.99 .")
    result = transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target", check=True)
    named = "tree (time), tree/a (time), tree/b (time), tree/c (time), tree/d (time) and 3 more"
    assert f"stores coarser times than the source: 8 entries lost a part of a second: {named}\n" in result.stderr
    # The comparison was that of the disk: it keeps the same times after it was out of memory.
    times = "cd /srv/target && find tree -printf '%T@ %p\\n' | sort"
    listed = old_disk.sh(times)
    old_disk.run("umount /srv/target && mount -o loop /root/image /srv/target")
    assert old_disk.sh(times) == listed


@pytest.mark.parametrize("time", ["2040-01-01", "2038-01-19T03:14:08"])
def test_a_time_that_the_target_cannot_hold_fails_the_copy_and_is_named(
    clean_lab: Lab, old_disk: Host, time: str
) -> None:
    clean_lab["db1"].run(f"mkdir /srv/tree && cd /srv/tree && touch -d @1 a b && touch -d {time}Z b; touch -d @5 .")
    result = transfer(clean_lab, "db1:/srv/tree", "db2:/srv/target")
    assert result.status == 7, result.stderr
    assert re.search(r"different in kind, mode, owner, size or time: tree/b \(time\)\n", result.stderr), result.stderr
    assert old_disk.sh("ls -A /srv/target") == ""
