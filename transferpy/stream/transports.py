"""Transports: the two ends of the connection that carries a stream."""

import re
from dataclasses import dataclass, replace

from transferpy.stream.commands import Argument, Command, Relayed, Stage, Variable, Watched, join
from transferpy.stream.peer_watch import PeerWatch
from transferpy.stream.tar import LANE, RUN_DIRECTORY

PORT = Variable("port")
PEER_ADDRESS = Variable("peer_address")
PEER_PORT = Variable("peer_port")
HISTORY = Variable("history")
"""The number of bytes that the relay of a lane of a sender keeps."""
COUNT_FILE = join("receive", LANE, ".read")
"""The file of the run directory to which the relay of a receiver writes the number of its bytes."""
SEND_BUFFER, RECEIVE_BUFFER = Variable("send_buffer"), Variable("receive_buffer")
"""The options of socat that set the buffer of the socket, with a comma before them; empty to leave it to the kernel."""
_SOCAT_BUFFER = "262144"


@dataclass(frozen=True, kw_only=True)
class Transport:
    """The two stages of a connection: the receiver listens, the sender connects."""

    listen: Stage
    connect: Stage
    shares_port: bool = True  # whether the listener sets SO_REUSEPORT, so that the session can hold the port for it
    sets_buffers: bool = False  # whether the commands set the buffers of their sockets

    def relayed(self) -> "Transport":
        """Return the transport of a stream that survives a broken connection."""
        if not isinstance(self.listen, Watched) or not isinstance(self.connect, Watched):
            raise TypeError("a relay needs the program of a transport")
        return replace(
            self,
            listen=Relayed(self.listen, Variable("perl_relay_receive"), COUNT_FILE),
            connect=Relayed(self.connect, Variable("perl_relay_send"), HISTORY),
        )


# By flavour: the pattern of its help, the options to listen, the options to connect and to end at the end of input,
# whether it supports IPv6, and whether it sets SO_REUSEPORT. The option -w of openbsd is not used: it would also cut a
# stream that pauses, with exit status 0. A listening ncat would close its own direction at once; the traditional netcat
# would take that for the end and cut its stream, with exit status 0 on both sides.
_NETCATS = {
    "openbsd": ("^OpenBSD netcat", ("-l",), ("-N",), True, True),
    "ncat": ("^Ncat ", ("--recv-only", "--no-shutdown", "-l"), ("--send-only",), True, False),
    "traditional": (r"^\[v1\.\d", ("-l", "-p"), ("-q", "0"), False, True),
}


def netcat_flavour(help_text: str) -> str | None:
    """Return the flavour of a netcat from its output of ``-h``: openbsd, traditional or ncat; None for another one."""
    return next((name for name, row in _NETCATS.items() if re.search(row[0], help_text, re.MULTILINE)), None)


def netcat_supports_ipv6(flavour: str) -> bool:
    """Return whether a netcat of a flavour supports IPv6."""
    return _NETCATS[flavour][3]


def netcat(program: str, flavour: str, watch: PeerWatch, *, ipv6: bool) -> Transport:
    """Return the transport of a netcat: ``program`` is its name on the host."""
    _, listening, connecting, supports_ipv6, shares_port = _NETCATS[flavour]
    family = ("-6" if ipv6 else "-4",) if supports_ipv6 else ()
    return Transport(
        listen=watch.receiver(Command((program, *family, *listening, PORT))),
        connect=watch.sender(Command((program, *family, *connecting, PEER_ADDRESS, PEER_PORT))),
        shares_port=shares_port,
    )


def tls(peer_name: str, source_address: str, watch: PeerWatch) -> Transport:
    """Return TLS 1.3 with socat; the peer must have the one certificate that is pinned for this run.

    Args:
        peer_name: the common name of the certificate of the peer.
        source_address: the address of the sender, as the listener sees it; other connections are refused.
        watch: the watch over the connection.
    """
    own_key = (",cert=", RUN_DIRECTORY, "/certificate.pem,key=", RUN_DIRECTORY, "/key.pem")
    checks = f",verify=1,openssl-min-proto-version=TLS1.3,commonname={peer_name}"
    # A session that receives a stream and sends it on has one peer on each side.
    sender, receiver = (
        (*own_key, ",cafile=", RUN_DIRECTORY, f"/{peer}.pem", checks) for peer in ("sender", "receiver")
    )
    return _socat("OPENSSL", source_address, watch, sender, receiver)


def plain(source_address: str, watch: PeerWatch) -> Transport:
    """Return an unencrypted stream with socat, which uses a third less processor time than any netcat."""
    return _socat("TCP", source_address, watch)


def _socat(
    protocol: str,
    source_address: str,
    watch: PeerWatch,
    listen_options: tuple[str | Variable, ...] = (),
    connect_options: tuple[str | Variable, ...] = (),
) -> Transport:
    family, source = ("6", f"[{source_address}]/128") if ":" in source_address else ("4", f"{source_address}/32")
    only_source = f",pf=ip{family},reuseaddr,reuseport,range={source}"
    probes = watch.socat_options  # the accepted connection inherits them
    socat: tuple[Argument, ...] = ("socat", "-u", "-b", _SOCAT_BUFFER)
    listening = join(f"{protocol}-LISTEN:", PORT, only_source, probes, RECEIVE_BUFFER, *listen_options)
    # Without nodelay, the end of each block waits for the acknowledgement of earlier data: a sixth of the time on a
    # fast link.
    connecting = join(f"{protocol}:", PEER_ADDRESS, ":", PEER_PORT, ",nodelay", probes, SEND_BUFFER, *connect_options)
    return Transport(
        listen=watch.receiver(Command((*socat, listening, "STDOUT"))),
        connect=watch.sender(Command((*socat, "STDIN", connecting))),
        sets_buffers=True,
    )
