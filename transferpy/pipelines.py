"""The stream: what each stage is called with, on the source and on the target.

One row of a table has both directions of a codec or of a transport, so that they cannot grow apart. The variables that
the commands read (``port``, ``peer_address``, ``run_directory``) are the session's.
"""

import re
from dataclasses import dataclass

from transferpy.commands import Argument, Command, Drain, Pipeline, Stage, Tee, Variable, join
from transferpy.compression import Codec

PORT = Variable("port")
PEER_ADDRESS = Variable("peer_address")
RUN_DIRECTORY = Variable("run_directory")
STREAM_DIGEST = join(RUN_DIRECTORY, "/stream.digest")

# Sizes measured in docs/architecture.rst: larger blocks than the tools' own are faster, 1 MiB is slower again.
_TAR_BLOCKS = "256"  # of 512 bytes: 128 KiB
_SOCAT_BUFFER = "262144"

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


@dataclass(frozen=True, kw_only=True)
class Transport:
    """What carries the stream: the command that listens, for a target, and the one that connects, for a source."""

    listen: Command
    connect: Command


# By flavour: to listen, to connect and end at the end of input, and whether it speaks IPv6. The option -w of openbsd's
# is not used: it would also cut a stream that pauses, with exit status 0. An ncat that listens would close its own
# direction at once; the traditional one takes that for the end and cuts its stream, with exit status 0 on both sides.
_NETCATS = {
    "openbsd": (("-l",), ("-N",), True),
    "traditional": (("-l", "-p"), ("-q", "0"), False),
    "ncat": (("--recv-only", "--no-shutdown", "-l"), ("--send-only",), True),
}


def netcat_flavour(help_text: str) -> str | None:
    """Return which netcat prints ``help_text`` for ``-h``: openbsd, traditional, ncat, or None for another."""
    for flavour, pattern in (("openbsd", r"^OpenBSD netcat"), ("ncat", r"^Ncat "), ("traditional", r"^\[v1\.\d")):
        if re.search(pattern, help_text, re.MULTILINE):
            return flavour
    return None


def netcat_speaks_ipv6(flavour: str) -> bool:
    """Tell whether a netcat of that flavour knows IPv6."""
    return _NETCATS[flavour][2]


def netcat(program: str, flavour: str, *, ipv6: bool) -> Transport:
    """Return the transport that a netcat of that flavour is, under the name that the host knows it by."""
    listening, connecting, knows_ipv6 = _NETCATS[flavour]
    family = ("-6" if ipv6 else "-4",) if knows_ipv6 else ()
    return Transport(
        listen=Command((program, *family, *listening, PORT)),
        connect=Command((program, *family, *connecting, PEER_ADDRESS, PORT)),
    )


def tls(peer_name: str, source_address: str) -> Transport:
    """Return TLS 1.3 by socat, for a side whose peer must show the one certificate pinned for this run.

    Args:
        peer_name: the common name of that certificate.
        source_address: the address that the listener sees the source at; it goes on listening when others connect.
    """
    own_key = (",cert=", RUN_DIRECTORY, "/certificate.pem,key=", RUN_DIRECTORY, "/key.pem")
    checks = (
        *(",cafile=", RUN_DIRECTORY, "/peer.pem,verify=1,openssl-min-proto-version=TLS1.3"),
        f",commonname={peer_name}",
    )
    return _socat("OPENSSL-LISTEN:", "OPENSSL:", source_address, *own_key, *checks)


def plain(source_address: str) -> Transport:
    """Return an open stream by socat, which needs a third less of the processors than any netcat.

    Args:
        source_address: as for :func:`tls`.
    """
    return _socat("TCP-LISTEN:", "TCP:", source_address)


def _socat(listening: str, connecting: str, source_address: str, *options: str | Variable) -> Transport:
    family, source = ("6", f"[{source_address}]/128") if ":" in source_address else ("4", f"{source_address}/32")
    only_source = f",pf=ip{family},reuseaddr,range={source}"
    socat: tuple[Argument, ...] = ("socat", "-u", "-b", _SOCAT_BUFFER)
    return Transport(
        listen=Command((*socat, join(listening, PORT, only_source, *options), "STDOUT")),
        # Else the end of each block waits for what was sent before it to arrive: a sixth of the time on a fast link.
        connect=Command((*socat, "STDIN", join(connecting, PEER_ADDRESS, ":", PORT, ",nodelay", *options))),
    )


# By the first bytes of the file: the format, and the programs that decompress it, the fastest first.
_FORMATS: dict[bytes, tuple[str, tuple[str, ...]]] = {
    b"\x1f\x8b": ("gzip", ("pigz", "gzip")),
    b"\x28\xb5\x2f\xfd": ("zstd", ("zstd",)),
    b"\x04\x22\x4d\x18": ("lz4", ("lz4",)),
    b"\xfd7zXZ\x00": ("xz", ("xz",)),
}
_TAR_MARK = b"ustar"


def decompressors(first: bytes, tar_mark: bytes) -> tuple[str, ...] | None:
    """Return the programs any of which decompresses a tarball; none for a plain one, None if it is no tarball.

    Args:
        first: its first six bytes.
        tar_mark: the five bytes at offset 257, where a tar header has its mark.
    """
    for magic, (_, programs) in _FORMATS.items():
        if first.startswith(magic):
            return programs
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
