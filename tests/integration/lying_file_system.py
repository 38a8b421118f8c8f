"""A file system in user space with one file, "file"; its reports are wrong, or its disk fails.

Run it with fusepy of Debian.

Usage: lying_file_system.py DIRECTORY holes|faults|hangs SIZE

holes: the file has data, but 0 blocks, as some real file systems report.
hangs: a read of the file never ends. No signal ends a process that reads it.
faults: the file is a disk of SIZE bytes. A write of data that contains FAULT fails; everything else is stored.
"""

import errno
import stat
import sys
import time

import fusepy  # type: ignore[import-not-found]  # the python of Debian has it

FAULT = b"this block cannot be written"


class LyingFileSystem(fusepy.Operations):  # type: ignore[misc]  # fusepy has no types
    """The file system; its methods are the calls of FUSE."""

    def __init__(self, manner: str, size: int) -> None:
        self._has_faults = manner == "faults"
        self._hangs = manner == "hangs"
        self._data = bytearray(size if self._has_faults else b"data" * (size // 4))

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == "/file":
            return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": len(self._data), "st_blocks": 0}
        raise fusepy.FuseOSError(errno.ENOENT)

    def readdir(self, _path: str, _handle: int) -> list[str]:
        return [".", "..", "file"]

    def read(self, _path: str, size: int, offset: int, _handle: int) -> bytes:
        while self._hangs:
            time.sleep(60)
        return bytes(self._data[offset : offset + size])

    def write(self, _path: str, data: bytes, offset: int, _handle: int) -> int:
        if FAULT in data:
            raise fusepy.FuseOSError(errno.EIO)
        self._data[offset : offset + len(data)] = data
        return len(data)


if __name__ == "__main__":
    fusepy.FUSE(LyingFileSystem(sys.argv[2], int(sys.argv[3])), sys.argv[1], foreground=True, nothreads=True)
