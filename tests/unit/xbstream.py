"""Makes streams in the format of mariadb-backup."""

import struct
import zlib

REPLACES = 2


def chunk(kind: str, name: str, *, flags: int = 0) -> bytes:
    """Return a chunk of a kind, up to the end of its name."""
    encoded = name.encode()
    return b"XBSTCK01" + bytes([flags, ord(kind)]) + struct.pack("<I", len(encoded)) + encoded


def part(name: str, data: bytes, offset: int = 0, *, flags: int = 0) -> bytes:
    """Return a part of a file."""
    return chunk("P", name, flags=flags) + struct.pack("<QQI", len(data), offset, zlib.crc32(data)) + data


def end(name: str) -> bytes:
    """Return the end of a file."""
    return chunk("E", name)


def file(name: str, data: bytes, *, flags: int = 0) -> bytes:
    """Return a complete file; an empty one has no part."""
    return (part(name, data, flags=flags) if data else b"") + end(name)


def seek(name: str, offset: int) -> bytes:
    """Return the offset at which a file goes on."""
    return chunk("S", name) + struct.pack("<Q", offset)


def rename(name: str, new_name: str) -> bytes:
    """Return a new name of a file."""
    encoded = new_name.encode()
    return chunk("R", name) + struct.pack("<I", len(encoded)) + encoded


def remove(name: str) -> bytes:
    """Return the removal of a file."""
    return chunk("D", name)
