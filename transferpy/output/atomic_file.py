"""Write a file so that a reader sees the old content or the new content, never a part."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path


def write_atomically(path: Path, text: str, *, mode: int | None = None) -> None:
    """Replace the content of a file in one step, also in case of a power cut.

    Args:
        path: the file; a symbolic link is followed.
        text: the new content.
        mode: the permissions; by default, those of the replaced file. Its owner always stays.

    Raises:
        OSError: the file cannot be written, or is a symbolic link of another user.
    """
    if path.is_symlink() and path.lstat().st_uid != os.geteuid():
        # In /tmp, any user can make a link to a file of root. The kernel's protection does not cover renames.
        raise PermissionError("this symbolic link belongs to another user")
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
                with suppress(PermissionError):  # a confined service may be root without the right to change owners
                    os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fsync(descriptor)
        os.replace(temporary, path)  # noqa: PTH105 # mkstemp returns text
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 # as above
        raise


def _mode_of_new_files() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
