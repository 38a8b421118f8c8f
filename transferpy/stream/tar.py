"""The stages that read the source and unpack the stream."""

import re

from transferpy.model.codecs import Program, formats
from transferpy.stream.commands import Argument, Command, Drain, FollowingNoLinks, Variable, join

RUN_DIRECTORY = Variable("run_directory")
LANE = Variable("lane")
"""The suffix of the files of a lane, one of the pipelines of a stream; empty for the first one."""

# Measured in docs/architecture.rst: larger blocks than the default of tar are faster, 1 MiB is slower again.
_TAR_BLOCKS = "256"  # of 512 bytes: 128 KiB

_ARCHIVE = (
    *("--format=posix", "--pax-option=delete=atime,delete=ctime"),
    *("--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sort=name"),
    *("--warning=no-timestamp", "--warning=no-file-ignored"),  # times are compared, and sockets are not copied
    "--no-unquote",  # else a backslash in the name of the source would begin an escape sequence
)
_LISTED = ("-vv", "--quoting-style=escape")
"""Given twice, ``-v`` lists the kind and the size of each member."""
_INDEX_FILE = join(Variable("lists"), "/members", LANE)
_INDEX: tuple[Argument, ...] = (*_LISTED, join("--index-file=", *_INDEX_FILE.parts))
_EXTRACT = (
    *("--preserve-permissions", "--same-owner", "--numeric-owner"),
    *("--acls", "--xattrs", "--xattrs-include=*", "--delay-directory-restore", "--warning=no-timestamp"),
)


_HEADER_SIZE = 512


def decompressors(head: bytes) -> tuple[Program, ...] | None:
    """Return the program that decompresses a tarball; none for a plain tarball, None for a file of another kind.

    Args:
        head: the first 512 bytes of the file.
    """
    # The first name in a plain tarball may begin with the magic of another format.
    if _is_tar_header(head):
        return ()
    return next((row.programs[-1:] for row in formats() if re.match(row.magic, head, re.DOTALL)), None)


def _is_tar_header(block: bytes) -> bool:
    """Return whether a block is the header of a member: all formats of tar have the same checksum.

    It is the sum of all bytes, with blanks in its own place. Some old programs added the bytes with a sign.
    """
    checksum = re.match(rb"\0?\s*([0-7]+)", block[148:156])
    summed = block[:148] + b" " * 8 + block[156:]
    sums = {sum(summed), sum(memoryview(summed).cast("b"))}
    return len(block) == _HEADER_SIZE and checksum is not None and int(checksum[1], 8) in sums


def archive(
    name: str, *, indexed: bool = False, passes_over_holes: bool = True, one_file_system: bool = False
) -> Command:
    """Return the command that writes an archive.

    Args:
        name: a file or directory in the working directory.
        indexed: whether tar lists each member in the run directory, for the digests of files.
        passes_over_holes: whether tar relies on the file systems for the holes of files; otherwise it reads them.
        one_file_system: whether tar leaves out the content of other file systems.
    """
    index = _INDEX if indexed else ()
    # With any value of --hole-detection, tar still does not read a file without blocks.
    sparse = ("--sparse",) if passes_over_holes else ()
    limit = ("--one-file-system", "--warning=no-xdev") if one_file_system else ()
    options = (*_ARCHIVE, *limit, *sparse, *index)
    return Command(("tar", "--create", *options, "-b", _TAR_BLOCKS, "--file=-", "--", f"./{name}"))


def archive_lane(*, indexed: bool = False, passes_over_holes: bool = True) -> tuple[Command, FollowingNoLinks]:
    """Return the commands that write the archive of a lane; the arguments are those of :func:`archive`.

    The list of all entries, which leaves out the content of other file systems where the user wants that, is
    distributed over the lanes before. tar opens each path of its list from the working directory. It must not follow a
    symbolic link that a user puts in the place of a directory meanwhile.
    """
    names = Command(("perl", "-e", Variable("perl_names"), "--", join(Variable("lists"), "/lane"), LANE))
    options = (*_ARCHIVE, *(("--sparse",) if passes_over_holes else ()), *(_INDEX if indexed else ()))
    source = ("--null", "--no-recursion", "--files-from=-")
    return names, FollowingNoLinks(Command(("tar", "--create", *options, *source, "-b", _TAR_BLOCKS, "--file=-")))


def extract_lane(*, indexed: bool = False) -> Drain:
    """Return the stage that unpacks the archive of a lane to the working directory.

    The directories exist already when they arrive, and with ``--keep-old-files``, tar would not set their attributes.
    tar is confined, because the links in one lane could lead the tar of another one out of the directory: a single tar
    makes such links at its end. It cannot open a file elsewhere, either.
    """
    listed, output = (_LISTED, _INDEX_FILE) if indexed else ((), None)
    command = Command(("tar", "--extract", *_EXTRACT, *listed, "-b", _TAR_BLOCKS, "--file=-"))
    return Drain(command, output=output, confined=True)


def extract(*, indexed: bool = False) -> Drain:
    """Return the stage that unpacks an archive to the working directory; ``indexed`` is that of :func:`archive`."""
    index = _INDEX if indexed else ()
    return Drain(Command(("tar", "--extract", *_EXTRACT, *index, "--keep-old-files", "-b", _TAR_BLOCKS, "--file=-")))


def extract_tarball() -> Drain:
    """Return the stage that unpacks a tarball of the user to the working directory.

    The exit status of tar is 0 also if the tarball was cut between two members, and tar stops at the first two blocks
    of zeros, even if data follows. With these options, tar reads to the end and lists the blocks of zeros that it
    found; it lists them only with ``--block-number``. If the tarball has several versions of a file (``tar --update``),
    the last one counts.
    """
    # Other programs write keywords for flags and times that Linux cannot set, and contiguous files, which it lacks.
    unused = ("--warning=no-unknown-keyword", "--warning=no-contiguous-cast")
    marks = ("--ignore-zeros", "--block-number", join("--index-file=", RUN_DIRECTORY, "/tarball.marks"))
    return Drain(Command(("tar", "--extract", *_EXTRACT, *unused, *marks, "-b", _TAR_BLOCKS, "--file=-")))


def read(name: str) -> Command:
    """Return the command that writes the content of a file in the working directory."""
    return Command(("cat", "--", f"./{name}"))
