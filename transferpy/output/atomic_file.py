"""Write a file so that a reader sees the old content or the new content, never a part."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, text: str, *, mode: int | None = None) -> None:
    """Replace the content of a file, or of the file that a symbolic link points to, in one step, also in a power cut.

    The replaced file keeps its owner, and its permissions unless ``mode`` sets them.

    Raises:
        OSError: the file cannot be written, or is a symbolic link of another user.
    """
    if path.is_symlink() and path.lstat().st_uid != os.geteuid():
        # In /tmp, any user can make a link to a file of root. The kernel's protection does not cover renames.
        raise PermissionError("this symbolic link belongs to another user")
    path = path.resolve()
    found = path.stat() if path.exists() else None
    if mode is None:
        umask = os.umask(0)
        os.umask(umask)
        mode = found.st_mode & 0o777 if found else 0o666 & ~umask
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, mode)
            if found:
                with suppress(PermissionError):  # a confined service may be root without the right to change owners
                    os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 # mkstemp returns text
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 # as above
        raise
