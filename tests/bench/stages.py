"""The stages of a stream as contenders: each stage alone, and the whole stream. Nothing here needs a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferpy.model.codecs import CODECS
from transferpy.stream.commands import Drain, Watched
from transferpy.stream.peer_watch import PeerWatch
from transferpy.stream.renderer import render_command
from transferpy.stream.tar import archive, extract
from transferpy.stream.transports import plain, tls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transferpy.stream.commands import Stage

SOURCE, TARGET = "source", "target"
ARCHIVE = "archive"
"""The archive of the data set, as a file on both hosts; it is the input of a stage, and ``ARCHIVE.CODEC`` is too."""
DIRECTORY = "/srv/stages"
"""The directory of these files and of the keys, on both hosts."""
PORT = 5999
SENDER_ADDRESS = "0.0.0.0"
"""It stands for the address of the source in the commands."""
NAME_IN_CERTIFICATES = "stages"
STAGE_CODECS = ("zstd", "lz4")
"""The codecs from which a run chooses by itself."""
_WATCH = PeerWatch(seconds=30, peer_probes=True)


@dataclass(frozen=True, kw_only=True)
class OneStage:
    """One program of a stream, whose processor time is measured.

    Attributes:
        end: SOURCE or TARGET, the host on which the program runs.
        sending: the command on the source; empty if the program runs on the target alone.
        receiving: the command on the target; empty if the program runs on the source alone.
        feed: the file in DIRECTORY that is the input of the first of them; empty for no input.
    """

    end: str
    sending: str = ""
    receiving: str = ""
    feed: str = ""


def stages(data: str) -> Iterator[tuple[str, OneStage]]:
    """Yield the name and the commands of each stage of a stream of a data set."""
    yield "source: tar --create", OneStage(end=SOURCE, sending=render_command(archive(data)))
    for name in STAGE_CODECS:
        compress = CODECS[name].programs[0].compress(CODECS[name].default_level, 1)
        yield f"source: {name}", OneStage(end=SOURCE, sending=" ".join(compress), feed=ARCHIVE)
    yield "source: xxh128sum", OneStage(end=SOURCE, sending="xxh128sum", feed=ARCHIVE)
    for end in (SOURCE, TARGET):
        for name, transport in (
            ("socat, TLS", tls(NAME_IN_CERTIFICATES, SENDER_ADDRESS, _WATCH)),
            ("socat, not encrypted", plain(SENDER_ADDRESS, _WATCH)),
        ):
            sending, receiving = _program(transport.connect), _program(transport.listen)
            yield f"{end}: {name}", OneStage(end=end, sending=sending, receiving=receiving, feed=ARCHIVE)
    for name in STAGE_CODECS:
        decompress = " ".join(CODECS[name].programs[0].decompress)
        yield f"target: {name}", OneStage(end=TARGET, receiving=decompress, feed=f"{ARCHIVE}.{name}")
    yield "target: tar --extract", OneStage(end=TARGET, receiving=_program(extract()), feed=ARCHIVE)
    yield "target: xxh128sum", OneStage(end=TARGET, receiving="xxh128sum", feed=ARCHIVE)


def _program(stage: Stage) -> str:
    """Return the command of a stage without the programs that only watch it."""
    match stage:
        case Drain(command=command) | Watched(command=command):
            return render_command(command)
        case _:
            raise TypeError(stage)
