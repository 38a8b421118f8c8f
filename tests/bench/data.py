"""The data that is copied: made from a seed, so that every run of the benchmark copies the same bytes."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ROW = 128
_RANDOM = 58
_CHUNK = 1 << 20
_LARGE_FILES = 4
_SMALL_FILE = 256 << 10
_FILES_PER_DIRECTORY = 1000


def make_tables(directory: Path, size: int) -> None:
    """Make files like those of database tables: four hold 7/8 of the bytes, the rest are small; gzip halves them."""
    directory.mkdir(parents=True)
    source = random.Random(directory.name)
    small_files = size // 8 // _SMALL_FILE
    large, rest = divmod(size - small_files * _SMALL_FILE, _LARGE_FILES)
    sizes = {f"table{number}.ibd": large + (rest if not number else 0) for number in range(_LARGE_FILES)}
    sizes |= {f"small{number:04}.ibd": _SMALL_FILE for number in range(small_files)}
    for name, length in sizes.items():
        with (directory / name).open("wb") as file:
            for start in range(0, length, _CHUNK):
                file.write(_rows(source, start // _ROW)[: length - start])


def _rows(source: random.Random, key: int) -> bytes:
    """One chunk: half of each row is the same text with a key that counts, the other half is noise."""
    noise = source.randbytes(_CHUNK // _ROW * _RANDOM)
    return b"".join(
        b"%08d\x02active  2026-01-02 03:04:05 enwiki  NULL    revision_id 0000 " % (key + number)
        + noise[number * _RANDOM : (number + 1) * _RANDOM]
        for number in range(_CHUNK // _ROW)
    )


def make_files(directory: Path, count: int) -> None:
    """Make ``count`` files of a few bytes."""
    for number in range(count):
        inside = directory / f"{number // _FILES_PER_DIRECTORY:04}"
        if number % _FILES_PER_DIRECTORY == 0:
            inside.mkdir(parents=True)
        (inside / f"page {number:07}").write_bytes(b"%d\n" % number)
