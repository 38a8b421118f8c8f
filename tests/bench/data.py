"""The test data, generated from a seed, so that every run of the benchmark copies the same bytes."""

from __future__ import annotations

import random
import sys
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ROW = 128
_RANDOM = 58
_CHUNK = 1 << 20
_LARGE_FILES = 4
_SMALL_FILE = 256 << 10
_FILES_PER_DIRECTORY = 1000
_TEXT_FILE = 1 << 10
_WORDS = 5000
_WORDS_OF_A_FILE = 250
_HUGE_CHUNKS = 64  # longer than the window of every codec in use
_SPARSE_CHUNKS = 10


def make(name: str, place: Path, amount: int) -> None:
    """Create a data set as a file or a directory, with the given amount (see ``contests.DATA``)."""
    makers: dict[str, Callable[[Path, int], None]] = {
        "tables": _make_tables,
        "half": _make_tables,
        "noise": lambda path, mebibytes: _make_tree(path, mebibytes << 20, _noise),
        "files": make_files,
        "huge": _make_huge,
        "sparse": _make_sparse,
        "three": _make_small,
    }
    makers[name](place, amount)


def _make_tables(directory: Path, mebibytes: int) -> None:
    _make_tree(directory, mebibytes << 20, _rows)


def _make_tree(directory: Path, size: int, chunk: Callable[[random.Random, int], bytes]) -> None:
    """Create files like database tables: four files contain 7/8 of the data, the others are small."""
    directory.mkdir(parents=True)
    source = random.Random(directory.name)
    small_files = size // 8 // _SMALL_FILE
    large, rest = divmod(size - small_files * _SMALL_FILE, _LARGE_FILES)
    sizes = {f"table{number}.ibd": large + (rest if not number else 0) for number in range(_LARGE_FILES)}
    sizes |= {f"small{number:04}.ibd": _SMALL_FILE for number in range(small_files)}
    for name, length in sizes.items():
        with (directory / name).open("wb") as file:
            for start in range(0, length, _CHUNK):
                file.write(chunk(source, start // _ROW)[: length - start])


def _rows(source: random.Random, key: int) -> bytes:
    """Return one chunk: half of each row is a constant text with a counter, the other half is random."""
    noise = source.randbytes(_CHUNK // _ROW * _RANDOM)
    return b"".join(
        b"%08d\x02active  2026-01-02 03:04:05 enwiki  NULL    revision_id 0000 " % (key + number)
        + noise[number * _RANDOM : (number + 1) * _RANDOM]
        for number in range(_CHUNK // _ROW)
    )


def _noise(source: random.Random, _key: int) -> bytes:
    return source.randbytes(_CHUNK)


def make_files(directory: Path, count: int) -> None:
    """Create ``count`` files of 1 KiB of random words; the frequency of a word decreases with its rank."""
    source = random.Random(directory.name)
    words = list(_words(source))
    weights = list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))
    for number in range(count):
        inside = directory / f"{number // _FILES_PER_DIRECTORY:04}"
        if number % _FILES_PER_DIRECTORY == 0:
            inside.mkdir(parents=True)
        text = b" ".join(source.choices(words, cum_weights=weights, k=_WORDS_OF_A_FILE))
        (inside / f"page {number:07}").write_bytes(text.ljust(_TEXT_FILE)[:_TEXT_FILE])


def _words(source: random.Random) -> Iterator[bytes]:
    for _ in range(_WORDS):
        yield bytes(source.choices(b"etaoinshrdlucmfwypvbgk", k=source.randint(2, 10)))


def _make_huge(path: Path, mebibytes: int) -> None:
    source = random.Random(path.name)
    chunks = [_rows(source, number * _CHUNK // _ROW) for number in range(_HUGE_CHUNKS)]
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.write(chunks[number % _HUGE_CHUNKS])


def _make_sparse(path: Path, mebibytes: int) -> None:
    """Create a sparse file with some chunks at equal distances, the last one at the end of the file."""
    source = random.Random(path.name)
    with path.open("wb") as file:
        for number in range(1, 1 + _SPARSE_CHUNKS):
            file.seek((mebibytes * number // _SPARSE_CHUNKS << 20) - _CHUNK)
            file.write(_rows(source, 0))


def _make_small(path: Path, size: int) -> None:
    path.write_bytes(b"abc"[:size])


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
