"""A file system in user space with one file, "file"; its reports are wrong, or its disk fails.

Run it with fusepy of Debian.

Usage: lying_file_system.py DIRECTORY holes|faults|changes|hangs SIZE

holes: the file has data, but 0 blocks, as some real file systems report. Its inode number is another one at each look.
hangs: a read of the file never ends. No signal ends a process that reads it.
faults: the file is a disk of SIZE bytes. A write of data that contains FAULT fails; everything else is stored.
changes: the file is a disk of SIZE bytes. It stores WRONG in place of each CHANGE, and reports no error.
"""

import ctypes
import errno
import os
import stat
import sys
import time

import fusepy  # type: ignore[import-not-found]  # the python of Debian has it

FAULT = b"this block cannot be written"
CHANGE, WRONG = b"this text changes", b"this text CHANGES"

# Of linux/sched.h and sys/mount.h.
_CLONE_NEWNS = 0x20000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2


def leave_mount_namespace(mounted: str) -> None:
    """Move this process to a mount namespace of its own, without the file system that it serves.

    The kernel closes the files of a process after it has left its namespace. If the process is the last one there, the
    disk is unmounted first, and waits for ever for answers of this process.

    :param mounted: the directory of the file system.
    :raises OSError: if the kernel refuses it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for status in (
        libc.unshare(_CLONE_NEWNS),
        libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None),
        libc.umount2(os.fsencode(mounted), _MNT_DETACH),
    ):
        if status:
            raise OSError(ctypes.get_errno(), "the namespace cannot be left")


class LyingFileSystem(fusepy.Operations):  # type: ignore[misc]  # fusepy has no types
    """The file system; its methods are the calls of FUSE."""

    def __init__(self, directory: str, manner: str, size: int) -> None:
        self._directory = directory
        self._manner = manner
        self._looks = 1
        self._data = bytearray(size if manner in {"faults", "changes"} else b"data" * (size // 4))

    def init(self, _path: str) -> None:
        leave_mount_namespace(self._directory)

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == "/file":
            self._looks += 1
            return {
                "st_mode": stat.S_IFREG | 0o644,
                "st_ino": self._looks,
                "st_nlink": 1,
                "st_size": len(self._data),
                "st_blocks": 0,
            }
        raise fusepy.FuseOSError(errno.ENOENT)

    def readdir(self, _path: str, _handle: int) -> list[str]:
        return [".", "..", "file"]

    def read(self, _path: str, size: int, offset: int, _handle: int) -> bytes:
        while self._manner == "hangs":
            time.sleep(60)
        return bytes(self._data[offset : offset + size])

    def write(self, _path: str, data: bytes, offset: int, _handle: int) -> int:
        if self._manner == "faults" and FAULT in data:
            raise fusepy.FuseOSError(errno.EIO)
        if self._manner == "changes":
            data = data.replace(CHANGE, WRONG)
        self._data[offset : offset + len(data)] = data
        return len(data)


if __name__ == "__main__":
    served, requested, length = sys.argv[1:]
    fusepy.FUSE(
        LyingFileSystem(served, requested, int(length)),
        served,
        foreground=True,
        nothreads=True,
        use_ino=True,
        direct_io=requested == "changes",  # else the kernel keeps the data that this process has changed
        attr_timeout=0,
    )
