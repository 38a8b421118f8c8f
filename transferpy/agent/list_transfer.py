"""Fetch a list that a session holds on its host."""

import binascii
import gzip
import os
import tempfile
import time
import zlib
from collections.abc import Iterator

from transferpy.agent.session import Session
from transferpy.agent.session_script import list_script
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.interface import RemoteExecution

_CHUNK = 1 << 16
_LONGEST_RECORD = 1 << 18
"""Bytes of a record, which holds a path, and another path or an extended attribute of 64 KiB in hexadecimal digits."""
_MOST_BYTES = 256 << 20
"""Bytes of a compressed list."""
_TIMEOUT = 300.0
"""Seconds to fetch a list, and then to read its records: a small list can hold any number of them."""


def fetch_records(remote: RemoteExecution, session: Session, name: str) -> Iterator[str]:
    """Fetch a list from the run directory of a session, and yield its records.

    Raises:
        RemoteExecutionError: the list does not arrive complete, or is too large.
    """
    path = f"{session.host}: {session.directory}/{name}"
    with tempfile.TemporaryFile() as file:

        def take(line: str) -> None:
            if file.tell() <= _MOST_BYTES:
                file.write(_decoded(line))

        result = remote.run(session.host, list_script(session.directory, name), on_line=take, timeout=_TIMEOUT)
        if file.tell() > _MOST_BYTES:
            raise RemoteExecutionError(f"{path} is larger than {_MOST_BYTES} bytes")
        if result.returncode != 0 or not file.tell():
            raise RemoteExecutionError(f"{session.host}: cannot read {session.directory}/{name}")
        file.seek(0)
        try:
            with gzip.open(file) as records:
                yield from _split(records, path)
        except (OSError, EOFError, zlib.error) as error:
            raise RemoteExecutionError(f"{path} arrived damaged") from error


def _decoded(line: str) -> bytes:
    try:
        return binascii.a2b_base64(os.fsencode(line))
    except binascii.Error:
        return b""  # the checksum of the list reports that a part is missing


def _split(stream: gzip.GzipFile, path: str) -> Iterator[str]:
    rest, deadline = b"", time.monotonic() + _TIMEOUT
    while chunk := stream.read(_CHUNK):
        *complete, rest = (rest + chunk).split(b"\0")
        if len(rest) > _LONGEST_RECORD:
            raise RemoteExecutionError(f"{path} has a record of more than {_LONGEST_RECORD} bytes")
        if time.monotonic() > deadline:
            raise RemoteExecutionError(f"{path} is too long to be read within {_TIMEOUT:.0f} seconds")
        yield from map(os.fsdecode, complete)
