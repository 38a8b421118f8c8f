"""Trees with every property that a copy must preserve, and a complete listing of a tree.

Both run on a host of the lab, as `trees.py plant|census PATH`. The functions at the end call them from a test.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host

Entry = dict[str, Any]

HOSTILE_NAMES: dict[str, bytes] = {
    "blanks": b" two  blanks ",
    "only-a-blank": b" ",
    "tab": b"a\ttab\t",
    "newline": b"a\nnewline\n",
    "only-a-newline": b"\n",
    "carriage-return": b"a\rreturn\x1b[2Jescape\x07",
    "single-quotes": b"it's 'quoted'",
    "double-quotes": b'"quoted" "',
    "backslash": b"back\\slash\\n\\",
    "command": b"$(touch owned)",
    "backticks": b"`touch owned`",
    "variable": b"$HOME ${PATH} $$",
    "glob": b"*?[a-z]*",
    "braces": b"{a,b}~root",
    "dash": b"-rf",
    "dashes": b"--help",
    "host-placeholder": b"%h %hosts %n %%",
    "percent-format": b"%s%n%d",
    "not-utf-8": b"caf\xe9 \xff\xfe\x80",
    "utf-8": "caf\u00e9 \u65e5\u672c \U0001f418".encode(),
    "separators": b"a;b&c|d>e<f(g)!#h",
    "equals": b"a=b,c=d",
    "colons": b"host:path@to:",
    "dots": b"...",
    "looks-like-tar": b"@file",
    "arrow": b"a -> b",
    "comment": b"# no comment",
    "brackets": b"[db2]",
    "255-bytes": b"n" * 251 + b"\xe9\n'$",
    "every-byte": bytes(byte for byte in range(1, 256) if byte != ord("/"))[:127],
    "every-other-byte": bytes(byte for byte in range(1, 256) if byte != ord("/"))[127:],
}
"""Names that a layer of the transfer could misinterpret."""


# --- planting, on the host


def plant(top: Path) -> None:
    """Create a tree with every kind of entry and every attribute."""
    top.mkdir()
    for planting in (_modes, _times, _symlinks, _hardlinks, _holes, _attributes, _special, _names):
        directory = top / planting.__name__.removeprefix("_")
        directory.mkdir()
        planting(directory)
        os.utime(directory, ns=(0, 1_111_111_111_123_456_789))
    os.chown(top, 4001, 4002)
    top.chmod(0o2751)
    os.setxattr(top, "user.top", b"of the tree")
    os.utime(top, ns=(0, 999_999_999_999_999_999))


def plant_file(path: Path) -> None:
    """Create one file with every attribute of a file."""
    _write_at(path, (0, b"begin"), (5 << 20, b"middle"), size=16 << 20)
    os.chown(path, 4_000_000_001, 4_000_000_002)
    path.chmod(0o6750)
    os.setxattr(path, "user.note", b"binary \0\n\xff")
    os.setxattr(path, "trusted.note", b"")
    os.setxattr(path, "security.capability", _CAPABILITY)
    os.setxattr(path, "system.posix_acl_access", _acl(7, 6, 5, 4, 7))
    os.utime(path, ns=(0, 1_234_567_890_123_456_789))


_CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # version 2, effective, cap_net_bind_service permitted


def _acl(owner: int, user: int, group: int, named_group: int, mask: int) -> bytes:
    """Return an ACL in the format of the kernel: permissions of owner, user 4711, group, group 4712, mask."""
    nobody = 0xFFFFFFFF
    entries = (
        *((1, owner, nobody), (2, user, 4711), (4, group, nobody)),
        *((8, named_group, 4712), (16, mask, nobody), (32, 0, nobody)),
    )
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _modes(top: Path) -> None:
    for mode in (0o000, 0o400, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644, 0o7777):
        file = top / f"file-{mode:04o}"
        file.write_bytes(b"x" * mode)
        os.chown(file, 10_000 + mode, 4_294_967_294)
        file.chmod(mode)
        directory = top / f"directory-{mode:04o}"
        directory.mkdir()
        (directory / "inside").write_bytes(b"inside")
        os.chown(directory, 20_000 + mode, 77_777)
        directory.chmod(mode)
    (top / "empty-file").touch()
    (top / "empty-directory").mkdir()
    (top / "nested" / "empty" / "directories").mkdir(parents=True)


def _times(top: Path) -> None:
    for time in (0, 1, 999_999_999, -1_500_000_001, 4_102_444_800_987_654_321, 1_700_000_000_000_000_001):
        (top / f"file{time}").write_bytes(b"then")
        (top / f"directory{time}").mkdir()
        (top / f"link{time}").symlink_to("anywhere")
        for name in ("file", "directory", "link"):
            os.utime(top / f"{name}{time}", ns=(0, time), follow_symlinks=False)


def _symlinks(top: Path) -> None:
    (top / "directory").mkdir()
    (top / "directory" / "file").write_bytes(b"linked to")
    targets = (
        *("directory", "directory/file", "directory/", "missing", "/etc/passwd", "/missing", "../symlinks"),
        *(".", "..", "loop9", "-rf", "a\nb -> c", " ", os.fsdecode(b"\xff\xfe"), "x" * 4000),
    )
    for number, target in enumerate(targets):
        link = top / f"loop{number}"
        link.symlink_to(target)
        os.chown(link, 30_000 + number, 40_000, follow_symlinks=False)
        os.utime(link, ns=(0, 1_600_000_000_000_000_001 + number), follow_symlinks=False)


def _hardlinks(top: Path) -> None:
    (top / "a").mkdir()
    (top / "b").mkdir()
    (top / "a" / "first").write_bytes(b"one content, three names")
    os.link(top / "a" / "first", top / "b" / "second")
    os.link(top / "a" / "first", top / "third\n")
    for number in range(2):
        (top / f"same-content-{number}").write_bytes(b"two files")
    for name, target in (("dangling", "nowhere"), ("absolute", "/etc"), ("upwards", "../hardlinks/a")):
        (top / name).symlink_to(target)
        os.link(top / name, top / "b" / name, follow_symlinks=False)


def _holes(top: Path) -> None:
    _write_at(top / "only-a-hole", size=16 << 20)
    _write_at(top / "in-the-middle", (0, b"begin"), (30 << 20, b"end"), size=(30 << 20) + 3)
    _write_at(top / "at-the-end", (0, b"begin" * 10_000), size=32 << 20)
    _write_at(top / "at-the-beginning", (32 << 20, b"end"), size=(32 << 20) + 3)
    _write_at(top / "many", *((place << 17, b"data") for place in range(300)), size=300 << 17)
    (top / "none").write_bytes(b"dense" * 100_000)


def _write_at(path: Path, *pieces: tuple[int, bytes], size: int) -> None:
    with path.open("wb") as file:
        for place, piece in pieces:
            file.seek(place)
            file.write(piece)
        file.truncate(size)


def _attributes(top: Path) -> None:
    plant_file(top / "file")
    directory = top / "directory"
    directory.mkdir()
    access = _acl(7, 7, 5, 5, 5)
    os.setxattr(directory, "system.posix_acl_access", access)
    os.setxattr(directory, "system.posix_acl_default", access)
    (directory / "inherits").write_bytes(b"the default")
    (directory / "below").mkdir()
    (directory / "without").write_bytes(b"removed again")
    os.removexattr(directory / "without", "system.posix_acl_access")
    only_default = top / "only-default"
    only_default.mkdir()
    os.setxattr(only_default, "system.posix_acl_default", access)
    odd = {"user.a=b": b"=c", "user.per%cent": b"%d", "user.caf\u00e9 \n": b"\n", "trusted.x": b"y" * 900}
    for name, value in odd.items():
        os.setxattr(directory, name, value)
    (top / "link").symlink_to("file")
    os.setxattr(top / "link", "trusted.of-the-link", b"1", follow_symlinks=False)


def _special(top: Path) -> None:
    os.mkfifo(top / "fifo")
    os.mknod(top / "character", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.mknod(top / "block", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    os.mknod(top / "large-numbers", stat.S_IFCHR | 0o600, os.makedev(511, 70_000))
    for number, path in enumerate(sorted(top.iterdir())):
        os.chown(path, 50_000 + number, 60_000)
        os.setxattr(path, "trusted.kind", b"special")
        os.utime(path, ns=(0, 1_500_000_000_000_000_001 + number))


def _names(top: Path) -> None:
    for number, name in enumerate(HOSTILE_NAMES.values()):
        directory = top / os.fsdecode(name)
        directory.mkdir()
        (directory / os.fsdecode(name)).write_bytes(b"%d" % number)
        (directory / "link").symlink_to(os.fsdecode(name))
        os.link(directory / os.fsdecode(name), directory / "other-name")
        os.utime(directory, ns=(0, number))


def plant_deep(top: Path) -> None:
    """Create a tree that is 1,500 directories deep."""
    top.mkdir()
    os.chdir(top)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Path("file").write_bytes(b"text")
    os.link("file", "name")


def plant_socket(path: Path) -> None:
    """Create a Unix socket without a listener."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


# --- the account, on the host


def census(top: str) -> dict[str, Entry]:
    """Return all properties that `rsync -aHAXS --numeric-ids` preserves, by path; `top` itself is ".".

    The census changes the current directory at each step, so that long paths are no problem.
    """
    found: dict[str, Entry] = {}
    groups: dict[tuple[int, int], str] = {}
    for path, name in _walk(top):
        status = os.lstat(name)
        entry = _entry(name, status)
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            entry["names"] = status.st_nlink
            entry["same as"] = groups.setdefault((status.st_dev, status.st_ino), path)
        found[path] = entry
    return found


def _walk(top: str) -> Iterator[tuple[str, str]]:
    """Yield each path with its name relative to the current directory, which changes during the iteration."""
    os.chdir(os.path.dirname(top) or ".")  # noqa: PTH120 -- a Path would drop what is behind the last slash
    yield ".", os.path.basename(top)  # noqa: PTH119 -- as above
    pending: list[tuple[str, list[str]]] = []

    def enter(path: str, name: str) -> None:
        if stat.S_ISDIR(os.lstat(name).st_mode):
            os.chdir(name)
            pending.append((path, sorted(os.listdir(), reverse=True)))  # noqa: PTH208 -- names, not paths

    enter(".", os.path.basename(top))  # noqa: PTH119 -- as above
    while pending:
        path, names = pending[-1]
        if not names:
            pending.pop()
            os.chdir("..")
            continue
        name = names.pop()
        yield f"{path}/{name}", name
        enter(f"{path}/{name}", name)


def _entry(name: str, status: os.stat_result) -> Entry:
    entry: Entry = {
        "mode": stat.filemode(status.st_mode),
        "owner": status.st_uid,
        "group": status.st_gid,
        "modified": status.st_mtime_ns,
        "attributes": {
            key: os.getxattr(name, key, follow_symlinks=False).hex()
            for key in sorted(os.listxattr(name, follow_symlinks=False))
        },
    }
    if stat.S_ISLNK(status.st_mode):
        entry["link to"] = os.readlink(name)  # noqa: PTH115 -- a Path would change it
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        entry["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
    elif stat.S_ISREG(status.st_mode):
        entry["size"] = status.st_size
        entry["data"] = _data(name)
    return entry


def _data(name: str) -> list[tuple[int, int, str]]:
    """Return the data segments of a file, with the digest of each segment."""
    pieces: list[tuple[int, int, str]] = []
    place = 0
    with open(name, "rb", buffering=0) as file:  # noqa: PTH123 -- as it is named in this directory
        while True:
            try:
                start = file.seek(place, os.SEEK_DATA)
            except OSError:
                return pieces
            place = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            digest = hashlib.sha256()
            left = place - start
            while left and (block := file.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
            pieces.append((start, place, digest.hexdigest()))


# --- calling it from a test


def plant_on(host: Host, path: str | bytes, what: str = "plant") -> None:
    """Run `plant`, `plant_file`, `plant_deep` or `plant_socket` on a host."""
    host.run(["/usr/bin/python3", __file__, what, path])


def census_on(host: Host, path: str | bytes) -> dict[str, Entry]:
    """Run `census` on a host."""
    wrote = host.run(["/usr/bin/python3", __file__, "census", path]).stdout
    return json.loads(wrote)  # type: ignore[no-any-return] # what census returned


if __name__ == "__main__":
    os.umask(0)
    action, argument = sys.argv[1:]
    if action == "census":
        print(json.dumps(census(argument)))
    else:
        plantings = (plant, plant_file, plant_deep, plant_socket)
        next(planting for planting in plantings if planting.__name__ == action)(Path(argument))
