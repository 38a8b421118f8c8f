"""Write a file so that a reader sees the old content or the new content, never a part."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, text: str, *, mode: int | None = None) -> None:
    """Write a file that whoever reads it sees as it was before or whole, also after a power cut; raises OSError.

    A file that is replaced hands on its owner, and its mode unless one is given.
    """
    if path.is_symlink() and path.lstat().st_uid != os.geteuid():
        # In /tmp anybody can lay one to a file of ours; the kernel's guard against that does not know of renames.
        raise PermissionError("this symbolic link is another user's")
    path = path.resolve()
    found = path.stat() if path.exists() else None
    if mode is None:
        mode = found.st_mode & 0o777 if found else _mode_of_new_files()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            if found:
                with suppress(PermissionError):  # a service may be root without the right to that
                    os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 # mkstemp gives text
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 # as above
        raise


def _mode_of_new_files() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
