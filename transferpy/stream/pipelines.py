"""The pipelines of the sender and of the receiver of a stream.

Their commands read variables of the session: ``port``, ``peer_address``, ``run_directory``, ``lane`` and the Perl
programs.
"""

from transferpy.stream.codecs import Codec
from transferpy.stream.commands import Command, Pipeline, Stage, Tee, Variable, join
from transferpy.stream.tar import LANE, RUN_DIRECTORY
from transferpy.stream.transports import PORT, Transport

_PROBE_BYTES = str(1 << 30)


def probe_sender(transport: Transport, bytes_per_second: int = 0) -> Pipeline:
    """Return the pipeline that sends zeros until the receiver closes the connection, to measure the link.

    Args:
        transport: the transport of the stream.
        bytes_per_second: the limit of the stream, which the probe must not exceed either; 0 for no limit.
    """
    zeros = Command(("head", "-c", _PROBE_BYTES, "/dev/zero"))
    return Pipeline((zeros, *_limiter(bytes_per_second), transport.connect))


def probe_receiver(transport: Transport) -> Pipeline:
    """Return the pipeline that receives zeros, and writes the rate and the round-trip time to the run directory."""
    result = join(RUN_DIRECTORY, "/link")
    count = Command(("perl", "-e", Variable("perl_count"), "--", result, PORT, Variable("sender_address")))
    return Pipeline((transport.listen, count))


def _limiter(bytes_per_second: int) -> tuple[Command, ...]:
    if not bytes_per_second:
        return ()
    account = join(RUN_DIRECTORY, "/limit")
    return (Command(("perl", "-e", Variable("perl_limit"), "--", str(bytes_per_second), account)),)


def sender(
    first: tuple[Stage, ...],
    codec: Codec | None,
    transport: Transport,
    digest: Command | None,
    bytes_per_second: int = 0,
) -> Pipeline:
    """Return the pipeline of the sender.

    Args:
        first: the stages that read the source.
        codec: the codec; None for an uncompressed stream.
        transport: the transport of the stream.
        digest: the command that digests the stream; None for no digest.
        bytes_per_second: the limit of the stream, which its lanes share; 0 for no limit.
    """
    compress = (codec.compress,) if codec else ()
    tee = (Tee(digest, join(RUN_DIRECTORY, "/sent", LANE, ".digest")),) if digest else ()
    return Pipeline((*first, *compress, *tee, *_limiter(bytes_per_second), transport.connect))


def receiver(last: tuple[Stage, ...], codec: Codec | None, transport: Transport, digest: Command | None) -> Pipeline:
    """Return the pipeline of the receiver; ``last`` unpacks, the other arguments are those of :func:`sender`."""
    decompression = (codec.decompress,) if codec else ()
    tee = (Tee(digest, join(RUN_DIRECTORY, "/received", LANE, ".digest")),) if digest else ()
    return Pipeline((transport.listen, *tee, *decompression, *last))
