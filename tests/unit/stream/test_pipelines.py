"""The pipelines of a stream: with every codec and every netcat, the data arrives unchanged."""

import os
import subprocess
from pathlib import Path

import pytest
from bash import FILE, HOSTILE_NAMES, PIPES, output_of
from fleet import NC_OPENBSD, NC_TRADITIONAL, NCAT

from transferpy.model.digests import ALGORITHMS
from transferpy.model.options import TransferOptions
from transferpy.stream.codecs import Codec, codecs
from transferpy.stream.commands import Command, Pipeline, Stage, Watched
from transferpy.stream.digests import digest_command
from transferpy.stream.peer_watch import PeerWatch
from transferpy.stream.pipelines import receiver, sender
from transferpy.stream.renderer import render_argument, render_assignment, render_command, render_pipeline_function
from transferpy.stream.tar import archive, extract
from transferpy.stream.transports import netcat, netcat_flavour, netcat_supports_ipv6, plain, tls


def run(pipeline: Pipeline, run_directory: Path, directory: Path) -> list[int]:
    """Run a pipeline in a directory; return its statuses, and fail on any word of complaint."""
    script = [
        PIPES,
        render_assignment("run_directory", str(run_directory)),
        f"cd -- {render_argument(str(directory))}",
        render_pipeline_function("stream", pipeline),
        'stream; echo "${statuses[*]}"',
    ]
    statuses = [int(word) for word in output_of("\n".join(script)).split()]
    assert {path.name: path.read_text() for path in run_directory.glob("*.err") if path.stat().st_size} == {}
    return statuses


def make_tree(top: Path) -> None:
    """Create a tree with all metadata that ``rsync -aHS`` keeps and that need no root."""
    top.mkdir()
    for number, name in enumerate(HOSTILE_NAMES):
        (top / name).mkdir(mode=0o751)
        (top / name / name).write_bytes(os.fsencode(name) * number)
        (top / name / name).chmod(0o640)
        (top / name / "link").symlink_to(name)
        (top / name / "dangling").symlink_to(f"/nowhere/{name}")
        os.utime(top / name / name, ns=(1, 1_000_000_000 + number))
    (top / "second name").hardlink_to(top / "two words" / "two words")
    os.mkfifo(top / "fifo")
    with (top / "sparse").open("wb") as file:
        file.truncate(10_000_000)
    (top / "empty directory").mkdir()
    (top / "empty file").touch(mode=0o4711)
    os.utime(top, ns=(5, 123_456_789))


def listing(top: Path) -> bytes:
    """Return kind, mode, owner, links, size, blocks, time and target of everything, and the content of the files."""
    find = ["find", ".", "-printf", r"%P %y %m %U %G %n %l %T@\0", "(", "-type", "f", "-printf", r"%s\0", ")"]
    found = subprocess.run(find, cwd=top, capture_output=True, check=True).stdout
    digests = subprocess.run(
        "find . -type f -print0 | sort -z | xargs -0 md5sum -z", shell=True, cwd=top, capture_output=True, check=True
    ).stdout
    return b"\n".join(sorted(found.split(b"\0"))) + digests


def a_codec(compressor: str, source_tools: tuple[str, ...], target_tools: tuple[str, ...]) -> Codec:
    options = TransferOptions(compressor=compressor)
    (codec,) = codecs(options, frozenset(source_tools), frozenset(target_tools), 2)
    return codec


@pytest.mark.parametrize("digest", [*ALGORITHMS, None])
@pytest.mark.parametrize(
    "codec",
    [
        None,
        a_codec("pigz", (), ()),
        a_codec("pigz", ("pigz",), ()),
        a_codec("pigz", (), ("pigz",)),
        a_codec("pigz", ("pigz",), ("pigz",)),
        a_codec("zstd", ("zstd",), ("zstd",)),
        a_codec("lz4", ("lz4",), ("lz4",)),
        a_codec("zstd", ("zstd", "pigz"), ("pigz",)),
    ],
    ids=["none", "gzip-gzip", "pigz-gzip", "gzip-pigz", "pigz-pigz", "zstd", "lz4", "zstd-pigz"],
)
def test_a_tree_arrives_as_it_was(tmp_path: Path, codec: Codec | None, digest: str | None) -> None:
    name = HOSTILE_NAMES[0] + "\n'$(x)"
    directories = [tmp_path / part for part in ("source", "target", "run")]
    for directory in directories:
        directory.mkdir()
    source, target, run_directory = directories
    make_tree(source / name)
    command = digest_command(digest) if digest else None
    sending = sender((archive(name),), codec=codec, transport=FILE, digest=command)
    assert set(run(sending, run_directory, source)) == {0}
    digests = [(run_directory / "sent.digest").read_text() for _ in range(1) if digest]
    receiving = receiver((extract(),), codec=codec, transport=FILE, digest=command)
    assert set(run(receiving, run_directory, target)) == {0}
    digests += [(run_directory / "received.digest").read_text() for _ in range(1) if digest]
    assert len(set(digests)) == (1 if digest else 0)
    assert listing(target / name) == listing(source / name)
    assert (target / name / "sparse").stat().st_blocks < 100


def statuses_on_target(codec: Codec | None, directory: Path) -> list[int]:
    """Run the receiver in a directory that is its run directory too; return the exit statuses of its stages."""
    receiving = render_pipeline_function("stream", receiver((extract(),), codec=codec, transport=FILE, digest=None))
    beginning = [PIPES, render_assignment("run_directory", str(directory))]
    script = "\n".join([*beginning, receiving, 'stream; echo "${statuses[*]}"'])
    return [int(word) for word in output_of(script, cwd=directory).split()]


@pytest.mark.parametrize("compressor", ["pigz", "zstd", "lz4"])
@pytest.mark.parametrize("kept", [0, 1, 100, 100_000, -1])
def test_a_compressed_stream_that_is_cut_short_fails_on_the_target(tmp_path: Path, kept: int, compressor: str) -> None:
    content = os.urandom(200_000)
    (tmp_path / "x").write_bytes(content)
    codec = a_codec(compressor, (compressor,), (compressor,))
    assert set(run(sender((archive("x"),), codec=codec, transport=FILE, digest=None), tmp_path, tmp_path)) == {0}
    stream = (tmp_path / "stream").read_bytes()
    (tmp_path / "stream").write_bytes(stream[:kept])
    (tmp_path / "x").unlink()
    assert any(statuses_on_target(codec, tmp_path))


def test_files_on_the_target_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("from the source")
    assert set(run(sender((archive("x"),), codec=None, transport=FILE, digest=None), tmp_path, tmp_path)) == {0}
    (tmp_path / "x").write_text("on the target")
    assert statuses_on_target(None, tmp_path) == [0, 2]
    assert (tmp_path / "x").read_text() == "on the target"


@pytest.mark.parametrize(
    ("help_text", "flavour"),
    [
        (NC_OPENBSD, "openbsd"),
        (NC_TRADITIONAL, "traditional"),
        (NCAT, "ncat"),
        (f"nc: a warning\n{NC_OPENBSD}", "openbsd"),
        ("BusyBox v1.35.0 (Debian 1:1.35.0-4) multi-call binary.\n\nUsage: nc [OPTIONS] HOST PORT", None),
        ("GNU netcat 0.7.1, a rewrite of the famous networking tool.", None),
        ("usage: nc [-46CDdFhklNnrStUuvZz] OpenBSD netcat", None),
        ("", None),
    ],
)
def test_the_help_of_a_netcat_shows_its_flavour(help_text: str, flavour: str | None) -> None:
    assert netcat_flavour(help_text) == flavour


WATCH = PeerWatch(seconds=30, peer_probes=True)
PROBES = "keepalive,keepidle=5,keepintvl=5,keepcnt=7"


def words(stage: Stage) -> list[str]:
    """Return the arguments that the command of a transport gets in a session."""
    assert isinstance(stage, Watched)
    printing = Command(("printf", r"%s\n", *stage.command.argv))
    script = f"port=4400 peer_address=PEER peer_port=4401 run_directory=/run/r\n{render_command(printing)}"
    return output_of(script).decode().splitlines()


@pytest.mark.parametrize(
    ("flavour", "ipv6", "listen", "connect"),
    [
        ("openbsd", False, "nc -4 -l 4400", "nc -4 -N PEER 4401"),
        ("openbsd", True, "nc -6 -l 4400", "nc -6 -N PEER 4401"),
        ("traditional", False, "nc -l -p 4400", "nc -q 0 PEER 4401"),
        ("ncat", False, "nc -4 --recv-only --no-shutdown -l 4400", "nc -4 --send-only PEER 4401"),
        ("ncat", True, "nc -6 --recv-only --no-shutdown -l 4400", "nc -6 --send-only PEER 4401"),
    ],
)
def test_each_flavour_of_netcat_gets_its_own_arguments(flavour: str, listen: str, connect: str, *, ipv6: bool) -> None:
    transport = netcat("nc", flavour, WATCH, ipv6=ipv6)
    assert (words(transport.listen), words(transport.connect)) == (listen.split(), connect.split())
    assert netcat_supports_ipv6(flavour) or not ipv6


LISTENING_FOR = pytest.mark.parametrize(
    ("source", "listening_for"),
    [
        ("198.18.0.1", "pf=ip4,reuseaddr,reuseport,range=198.18.0.1/32"),
        ("2001:db8::1", "pf=ip6,reuseaddr,reuseport,range=[2001:db8::1]/128"),
    ],
)


@LISTENING_FOR
def test_an_unencrypted_stream_admits_the_source_only(source: str, listening_for: str) -> None:
    transport = plain(source, WATCH)
    assert words(transport.listen) == f"socat -u -b 262144 TCP-LISTEN:4400,{listening_for},{PROBES} STDOUT".split()
    assert words(transport.connect) == ["socat", "-u", "-b", "262144", "STDIN", f"TCP:PEER:4401,nodelay,{PROBES}"]


@LISTENING_FOR
def test_each_side_of_tls_shows_its_own_key_and_accepts_one_other(source: str, listening_for: str) -> None:
    transport = tls("target.r1", source, WATCH)
    pinned = (
        "cert=/run/r/certificate.pem,key=/run/r/key.pem,cafile=/run/r/{}.pem,verify=1"
        ",openssl-min-proto-version=TLS1.3,commonname=target.r1"
    )
    listening = f"socat -u -b 262144 OPENSSL-LISTEN:4400,{listening_for},{PROBES},{pinned.format('sender')} STDOUT"
    connecting = f"socat -u -b 262144 STDIN OPENSSL:PEER:4401,nodelay,{PROBES},{pinned.format('receiver')}"
    assert words(transport.listen) == listening.split()
    assert words(transport.connect) == connecting.split()
