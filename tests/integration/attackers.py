"""Attackers of a run: a listener on the network path, strangers in the network, and a user without rights on a host."""

from __future__ import annotations

import base64
import gzip
import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from helpers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab import Host, Lab

_SNIFFER = """
import select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
print("listening", flush=True)
heard, marks = 0, 0
while True:
    ready = select.select([wire, sys.stdin], [], [])[0]
    if wire in ready:
        packet = wire.recv(1 << 17)
        heard += len(packet)
        marks += packet.count(sys.argv[1].encode())
    elif ready:
        break
print(heard, marks)
"""
_STRANGER = """
import socket, ssl, sys
address, port, source, manner, *pair = sys.argv[1:]
tar = sys.stdin.buffer.read()
try:
    link = socket.create_connection((address, int(port)), timeout=2)
except OSError as error:
    print("refused", error, flush=True)
    sys.exit()
print("connected", flush=True)
got = b""
try:
    if manner == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if pair:
            context.load_cert_chain(*pair)
        link = context.wrap_socket(link)
    if manner != "silent":
        link.sendall(tar)
        if manner == "tar":
            link.shutdown(socket.SHUT_WR)
    link.settimeout(20)
    while data := link.recv(65536):
        got += data
except (OSError, ValueError) as error:  # the second where the connection was over before it began
    print("ended", error, flush=True)
print("got", len(got), flush=True)
"""
_LISTENER = """
import socket, sys
family = socket.AF_INET6 if sys.argv[2] == "6" else socket.AF_INET
with socket.socket(family) as squatter:
    if family == socket.AF_INET6:
        squatter.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    for option in sys.argv[3:]:
        squatter.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    try:
        squatter.bind(("", int(sys.argv[1])))
        squatter.listen()
    except OSError as error:
        print(error.strerror, flush=True)
        sys.exit()
    print("listening", flush=True)
    squatter.settimeout(60)
    link, _ = squatter.accept()
    got = link.recv(1 << 16)
    print("got", len(got), flush=True)
"""
NOBODY = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--")
"""The command prefix that runs a program as a user without rights."""


def as_nobody(host: Host, script: str) -> subprocess.CompletedProcess[bytes]:
    """Run a bash script as a user without rights."""
    return host.run([*NOBODY, "bash", "-c", script], check=False)


class Wire:
    """A listener that records all traffic through the switch of a lab.

    Attributes:
        heard: the number of recorded bytes.
        marks: the number of occurrences of a text in these bytes.
    """

    recorded = marks = 0

    def __init__(self, lab: Lab, text: str) -> None:
        self._argv = ["nsenter", "--target", str(lab.state.switch), "--net", "--", "python3", "-c", _SNIFFER, text]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "listening\n"
        return self

    def __exit__(self, *_: object) -> None:
        output = self._process.communicate(timeout=60)[0]
        self.recorded, self.marks = map(int, output.split())


class Stranger:
    """A stranger that connects to a port: ``tls`` with or without a key pair, plain ``tar``, or ``silent``."""

    def __init__(self, host: Host, address: str, port: int, manner: str, *pair: str, payload: bytes = b"") -> None:
        argv = ["python3", "-c", _STRANGER, address, str(port), host.ipv4, manner, *pair]
        self._process = host.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(payload)
        self._process.stdin.close()
        self._process.stdin = None
        self.began = self._process.stdout.readline().decode().split()[0]
        """Return whether the connection was accepted or refused."""

    def end(self) -> str:
        """Return the output of the stranger at its end: the kind of end, and the number of received bytes."""
        assert self._process.stdout
        # communicate would lose buffered bytes after the first line.
        output: bytes = self._process.stdout.read()
        self._process.wait()
        return output.decode()


def squat(host: Host, port: int, version: int, *options: str) -> str:
    """Try to listen on a port of a host as a user without rights, with these socket options; return the error."""
    return host.run([*NOBODY, "python3", "-c", _LISTENER, str(port), str(version), *options]).stdout.decode().strip()


@contextmanager
def squatter(host: Host, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Listen on a port of a host as a user without rights; print the number of received bytes."""
    argv = [*NOBODY, "python3", "-c", _LISTENER, str(port), "4", "SO_REUSEADDR"]
    with host.popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"listening\n"
        try:
            yield process
        finally:
            process.kill()


def port_of(target: Host) -> int:
    """Wait until a run has reserved a port on a target, and return the port."""
    found: list[str] = []

    def look() -> bool:
        found[:] = re.findall(r"port\.(\d+)", target.sh("ls /run/transferpy; true"))
        return bool(found)

    assert eventually(look)
    return int(found[0])


def run_of(target: Host) -> str:
    """Wait until a run has a session on a target, and return the run."""
    assert eventually(lambda: "run." in target.sh("ls /run/transferpy; true"))
    return target.sh("cd /run/transferpy && ls -d run.*").split(".")[1]


def processes(lab: Lab) -> str:
    """Return argument lists and environments of all processes on all hosts, with unpacked scripts."""
    everything = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true"
    return unpacked("\n".join(host.sh(everything) for host in lab))


def unpacked(text: str) -> str:
    """Return a text, followed by the unpacked scripts that it contains."""
    packed = set(re.findall(r"<<<([A-Za-z0-9+/]+=*) \| gzip", text))
    return "\n".join([text, *(gzip.decompress(base64.b64decode(script)).decode() for script in packed)])
