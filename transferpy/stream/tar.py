"""The stages that read the source and unpack the stream."""

from transferpy.model.codecs import formats
from transferpy.stream.commands import Argument, Command, Drain, Variable, join

RUN_DIRECTORY = Variable("run_directory")

# Sizes measured in docs/architecture.rst: larger blocks than the tools' own are faster, 1 MiB is slower again.
_TAR_BLOCKS = "256"  # of 512 bytes: 128 KiB

_ARCHIVE = (
    *("--format=posix", "--pax-option=delete=atime,delete=ctime"),
    *("--sparse", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sort=name"),
    "--no-unquote",  # or a backslash in the name of the source would be taken for an escape sequence
)
_INDEX: tuple[Argument, ...] = ("-vv", join("--index-file=", RUN_DIRECTORY, "/members"))
"""Twice as talkative: with the kind and the size of each member."""
_EXTRACT = (
    *("--preserve-permissions", "--same-owner", "--numeric-owner"),
    *("--acls", "--xattrs", "--xattrs-include=*", "--delay-directory-restore"),
)


_TAR_MARK = b"ustar"


def decompressors(first: bytes, tar_mark: bytes) -> tuple[str, ...] | None:
    """Return the programs any of which decompresses a tarball; none for a plain one, None if it is no tarball.

    Args:
        first: its first six bytes.
        tar_mark: the five bytes at offset 257, where a tar header has its mark.
    """
    for row in formats():
        if first.startswith(row.magic):
            return tuple(program.name for program in row.programs)
    return () if tar_mark == _TAR_MARK else None


def archive(name: str, *, indexed: bool = False) -> Command:
    """Return the command that writes ``name``, in the working directory, as an archive.

    Args:
        name: of a file or directory.
        indexed: whether the session's digester is to hear of each file.
    """
    index = _INDEX if indexed else ()
    return Command(("tar", "--create", *_ARCHIVE, *index, "-b", _TAR_BLOCKS, "--file=-", "--", f"./{name}"))


def extract(*, indexed: bool = False) -> Drain:
    """Return the stage that unpacks such an archive into the working directory; ``indexed`` as for :func:`archive`."""
    index = _INDEX if indexed else ()
    return Drain(Command(("tar", "--extract", *_EXTRACT, *index, "--keep-old-files", "-b", _TAR_BLOCKS, "--file=-")))


def extract_tarball() -> Drain:
    """Return the stage that unpacks a tarball of others into the working directory.

    tar ends with status 0 also on one that was cut between two members, and at the first two blocks of zeros, whatever
    follows them. So it reads on to the end here, and says where it found such blocks, which it does only with
    ``--block-number``. A file may be in it several times, as ``tar --update`` adds it anew: the last one counts.
    """
    marks = ("--ignore-zeros", "--block-number", join("--index-file=", RUN_DIRECTORY, "/tarball.marks"))
    return Drain(Command(("tar", "--extract", *_EXTRACT, *marks, "-b", _TAR_BLOCKS, "--file=-")))


def read(name: str) -> Command:
    """Return the command that writes the file ``name`` as it is."""
    return Command(("cat", "--", f"./{name}"))


def decompress(program: str) -> Command:
    """Return the command that decompresses a stream with that program."""
    return Command((program, "--decompress", "--stdout"))
