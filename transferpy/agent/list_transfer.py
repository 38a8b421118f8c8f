"""Fetch a list that a session holds on its host."""

import gzip
import io
import os
import tempfile
import zlib
from base64 import b64decode
from collections.abc import Iterator

from transferpy.agent.session import Session
from transferpy.agent.session_script import list_script
from transferpy.Exceptions import RemoteExecutionError
from transferpy.RemoteExecution.interface import RemoteExecution

_CHUNK = 1 << 16


def fetch_records(remote: RemoteExecution, session: Session, name: str) -> Iterator[str]:
    """Fetch a list from the run directory of a session, and yield its records.

    Raises:
        RemoteExecutionError: the list does not arrive complete.
    """
    with tempfile.TemporaryFile() as file:

        def take(line: str) -> None:
            file.write(b64decode(line))

        result = remote.run(session.host, list_script(session.directory, name), on_line=take)
        if result.returncode != 0 or not file.tell():
            raise RemoteExecutionError(f"{session.host}: cannot read {session.directory}/{name}")
        file.seek(0)
        try:
            with gzip.open(file) as records:
                yield from _split(records)
        except (OSError, EOFError, zlib.error) as error:
            raise RemoteExecutionError(f"{session.host}: {session.directory}/{name} arrived damaged") from error


def _split(stream: io.BufferedIOBase | gzip.GzipFile) -> Iterator[str]:
    rest = b""
    while chunk := stream.read(_CHUNK):
        *complete, rest = (rest + chunk).split(b"\0")
        yield from map(os.fsdecode, complete)
