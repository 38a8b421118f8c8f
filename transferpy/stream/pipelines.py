"""The stream: what each stage is called with, on the source and on the target.

One row of a table has both directions of a codec or of a transport, so that they cannot grow apart. The variables that
the commands read (``port``, ``peer_address``, ``run_directory``) are the session's.
"""

from transferpy.stream.codecs import Codec
from transferpy.stream.commands import Command, Pipeline, Stage, Tee, Variable, join
from transferpy.stream.tar import RUN_DIRECTORY
from transferpy.stream.transports import Transport

STREAM_DIGEST = join(RUN_DIRECTORY, "/stream.digest")
_PROBE_BYTES = str(1 << 30)


def probe_sender(transport: Transport) -> Pipeline:
    """Return what sends zeros until nobody takes them any more, to see how many of them pass."""
    return Pipeline((Command(("head", "-c", _PROBE_BYTES, "/dev/zero")), transport.connect))


def probe_receiver(transport: Transport) -> Pipeline:
    """Return what receives them, and leaves their number and how long that took in the run directory."""
    return Pipeline((transport.listen, Command(("perl", "-e", Variable("perl_count"), join(RUN_DIRECTORY, "/link")))))


def sender(
    first: Command, codec: Codec | None, transport: Transport, digest: Command | None, bytes_per_second: int = 0
) -> Pipeline:
    """Return what runs on the source.

    Args:
        first: the stage that reads the source.
        codec: the compressor, or None for none.
        transport: what carries the stream.
        digest: the command that digests the stream while it flows, or None.
        bytes_per_second: what may leave the host, or 0 for no limit.
    """
    compress = (codec.compress,) if codec else ()
    tee = (Tee(digest, STREAM_DIGEST),) if digest else ()
    limiter = (Command(("perl", "-e", Variable("perl_limit"), str(bytes_per_second))),) if bytes_per_second else ()
    return Pipeline((first, *compress, *tee, *limiter, transport.connect))


def receiver(last: tuple[Stage, ...], codec: Codec | None, transport: Transport, digest: Command | None) -> Pipeline:
    """Return what runs on the target, in the staging directory; ``last`` unpacks, the rest as for :func:`sender`."""
    decompression = (codec.decompress,) if codec else ()
    tee = (Tee(digest, STREAM_DIGEST),) if digest else ()
    return Pipeline((transport.listen, *tee, *decompression, *last))
