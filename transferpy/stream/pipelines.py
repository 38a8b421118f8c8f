"""The stream: what each stage is called with, on the source and on the target.

One row of a table has both directions of a codec or of a transport, so that they cannot grow apart. The variables that
the commands read (``port``, ``peer_address``, ``run_directory``) are the session's.
"""

from transferpy.stream.codecs import Codec
from transferpy.stream.commands import Command, Pipeline, Stage, Tee, join
from transferpy.stream.tar import RUN_DIRECTORY
from transferpy.stream.transports import Transport

STREAM_DIGEST = join(RUN_DIRECTORY, "/stream.digest")


# Passes on what it reads, and not more of it in a second than so many bytes; in a tenth of one it may catch up.
_LIMITER = r"""
use strict; use warnings; use POSIX ();
my $rate = shift; my $tick = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my $size = int($rate / 20) || 1; $size = 65536 if $size > 65536;
my ($began, $passed) = ((POSIX::times())[0], 0);
my ($count, $buffer);
while ($count = sysread STDIN, $buffer, $size) {
    for (my $done = 0; $done < $count;) { $done += syswrite(STDOUT, $buffer, $count - $done, $done) // exit 1 }
    $passed += $count;
    my $early = $passed / $rate - ((POSIX::times())[0] - $began) / $tick;
    if ($early > 0) { select undef, undef, undef, $early }
    elsif ($early < -0.1) { ($began, $passed) = ((POSIX::times())[0], 0) }
}
exit(defined $count ? 0 : 1);
"""

# Counts what comes in a fifth of a second, or, where that is much, in less: after 8 MiB a connection is at its speed.
# clock_gettime, by its number on some machines, has a finer clock than perl has without modules; where that counts
# hundredths of a second, as elsewhere, it takes some more of them. What came first was on its way before the clock ran.
_COUNTER = r"""
use strict; use warnings; use Config; use POSIX ();
my $gettime = { x86_64 => 228, aarch64 => 113 }->{ $Config{archname} =~ s/-.*//r };
my ($tick, $time) = (POSIX::sysconf(POSIX::_SC_CLK_TCK()), "\0" x 16);
$gettime = 0 if $gettime && syscall($gettime, 1, $time) != 0; # the clock that nobody sets
my $least = $gettime ? 0.02 : 0.08;
sub now {
    return (POSIX::times())[0] / $tick if !$gettime;
    syscall $gettime, 1, $time;
    my ($seconds, $nanoseconds) = unpack "q2", $time;
    return $seconds + $nanoseconds / 1e9;
}
my ($bytes, $passed, $began, $buffer) = (0, 0);
while (my $count = sysread STDIN, $buffer, 1 << 20) {
    if (!defined $began) { $began = now(); next }
    ($bytes, $passed) = ($bytes + $count, now() - $began);
    last if $passed >= ($bytes < 8 << 20 ? 0.2 : $least);
}
open my $result, ">", shift or exit 1;
printf $result "bytes=%d microseconds=%d\n", $bytes, $passed * 1e6;
close $result or exit 1;
"""
_PROBE_BYTES = str(1 << 30)


def probe_sender(transport: Transport) -> Pipeline:
    """Return what sends zeros until nobody takes them any more, to see how many of them pass."""
    return Pipeline((Command(("head", "-c", _PROBE_BYTES, "/dev/zero")), transport.connect))


def probe_receiver(transport: Transport) -> Pipeline:
    """Return what receives them, and leaves their number and how long that took in the run directory."""
    return Pipeline((transport.listen, Command(("perl", "-e", _COUNTER, join(RUN_DIRECTORY, "/link")))))


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
    limiter = (Command(("perl", "-e", _LIMITER, str(bytes_per_second))),) if bytes_per_second else ()
    return Pipeline((first, *compress, *tee, *limiter, transport.connect))


def receiver(last: tuple[Stage, ...], codec: Codec | None, transport: Transport, digest: Command | None) -> Pipeline:
    """Return what runs on the target, in the staging directory; ``last`` unpacks, the rest as for :func:`sender`."""
    decompression = (codec.decompress,) if codec else ()
    tee = (Tee(digest, STREAM_DIGEST),) if digest else ()
    return Pipeline((transport.listen, *tee, *decompression, *last))
