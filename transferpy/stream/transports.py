"""Transports: the two ends of the connection that carries a stream."""

import re
from dataclasses import dataclass

from transferpy.stream.commands import Argument, Command, Variable, join
from transferpy.stream.tar import RUN_DIRECTORY

PORT = Variable("port")
PEER_ADDRESS = Variable("peer_address")
_SOCAT_BUFFER = "262144"


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
