"""The warnings before a transfer that nothing prevents."""

from dataclasses import replace
from typing import Any

import pytest
from fleet import (
    REQUEST,
    plan,
    request,
    source_facts,
    source_host,
    target_host,
    without,
)

from transferpy.model.facts import BufferFacts


@pytest.mark.parametrize(
    ("source", "target", "note"),
    [
        (
            {"source": source_facts(kind="l")},
            {},
            ("db1:/srv/x is a symbolic link and is copied as one; to copy its target, end the path with a slash"),
        ),
        ({"source": source_facts(sockets=3)}, {}, "db1:/srv/x: sockets are not copied: 3"),
        (
            {"source": source_facts(disk=1, bytes=2, unproven="fuseblk nfs")},
            {},
            (
                "db1:/srv/x: files with holes are on a file system that may report holes incorrectly (fuseblk nfs); all"
                " holes are read, sent as zeros, and need space on the target"
            ),
        ),
        (
            {"source": source_facts(server=True)},
            {},
            (
                "db1:/srv/x: a running server uses these files: the copy fails if the server writes meanwhile,"
                " else it needs crash recovery; to copy a running server: --type xtrabackup"
            ),
        ),
    ],
)
def test_a_source_that_may_surprise_the_user_causes_a_warning(
    source: dict[str, Any], target: dict[str, Any], note: str
) -> None:
    assert plan(REQUEST, source_host(**source), target_host(**target)).notes == (note,)


@pytest.mark.parametrize(
    ("compressor", "lacking", "notes"),
    [
        ("auto", ("pigz", "lz4"), ()),
        ("auto", ("pigz", "zstd"), ()),
        ("auto", ("zstd", "lz4"), ("{}: zstd is missing (Debian package zstd); pigz is used instead",)),
        ("zstd", ("zstd",), ("{}: zstd is missing (Debian package zstd); pigz is used instead",)),
        ("lz4", ("lz4",), ("{}: lz4 is missing (Debian package lz4); pigz is used instead",)),
        ("pigz", ("pigz",), ("{}: pigz is missing (Debian package pigz); gzip is used instead, on one processor",)),
        (
            "zstd",
            ("zstd", "pigz"),
            (
                "{}: zstd is missing (Debian package zstd); pigz is used instead",
                "{}: pigz is missing (Debian package pigz); gzip is used instead, on one processor",
            ),
        ),
    ],
)
@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_missing_compressor_causes_a_warning_with_its_replacement(
    compressor: str, lacking: tuple[str, ...], notes: tuple[str, ...], host: str
) -> None:
    tools = {host: without(*lacking)}
    hosts = [make(tools=tools.get(name, without())) for name, make in (("db1", source_host), ("db2", target_host))]
    wanted = request("db1:/srv/x", "db2:/srv/y", compressor=compressor)
    assert plan(wanted, *hosts).notes == tuple(note.format(host) for note in notes)


@pytest.mark.parametrize("host", ["db1", "db2"])
def test_a_missing_digest_tool_causes_a_warning_with_its_replacement(host: str) -> None:
    tools = {host: without("b3sum", "xxh128sum")}
    hosts = [make(tools=tools.get(name, without())) for name, make in (("db1", source_host), ("db2", target_host))]
    wanted = request("db1:/srv/x", "db2:/srv/y", checksum_algorithm="b3")
    made = plan(wanted, *hosts)
    assert made.notes == (f"{host}: b3sum is missing (Debian package b3sum); md5 is used instead",)
    assert made.stream == "TLS 1.3, md5 of every file"


def test_without_compression_a_missing_compressor_causes_no_warning() -> None:
    wanted = request("db1:/srv/x", "db2:/srv/y", compress=False)
    assert plan(wanted, source_host(tools=without("pigz")), target_host()).notes == ()


@pytest.mark.parametrize("host", ["db1", "db2"])
@pytest.mark.parametrize(
    ("lacking", "options", "note"),
    [
        ({}, {}, ""),
        (
            {"relays": False},
            {},
            "{}: the host lacks system calls (splice, memfd): a stream whose connection breaks fails",
        ),
        ({"relays": False}, {"retries": 0}, ""),
        (
            {"watches": False},
            {"retries": 0},
            (
                "{}: the kernel permits no watch over a connection (pidfd_getfd): --stall-timeout has no effect on this"
                " host, but --idle-timeout has"
            ),
        ),
    ],
)
def test_a_host_that_cannot_watch_or_continue_a_stream_causes_a_warning(
    lacking: dict[str, Any], options: dict[str, Any], note: str, host: str
) -> None:
    whole = BufferFacts(send=1, receive=1, forced=True, relays=True, watches=True)
    buffers = {host: replace(whole, **lacking)}
    makers = (("db1", source_host), ("db2", target_host))
    hosts = [make(buffers=buffers.get(name, whole), memory=1 << 30) for name, make in makers]
    wanted = request("db1:/srv/x", "db2:/srv/y", **options)
    assert plan(wanted, *hosts).notes == ((note.format(host),) if note else ())


@pytest.mark.parametrize(
    ("claimed", "memory", "tools", "obstacle"),
    [
        (6 << 20, 1 << 30, (), ""),
        (6 << 20, 50_000_000, (), "14.7 MB"),
        (1 << 60, 64 << 30, ("a new socat",), ""),  # the stream sets a smaller one
        (1 << 60, 64 << 30, (), "1.15e+06 TB"),
        (600 << 20, 64 << 30, (), "638 MB"),
    ],
)
def test_a_target_does_not_decide_how_much_memory_the_source_uses(
    claimed: int, memory: int, tools: tuple[str, ...], obstacle: str
) -> None:
    buffers = BufferFacts(send=4 << 20, receive=claimed, forced=bool(tools), relays=True, watches=True)
    made = plan(REQUEST, source_host(buffers=buffers, memory=memory), target_host(buffers=buffers, memory=memory))
    text = f"db1: the buffers of a connection to db2 can hold {obstacle}, too much to keep"
    assert made.notes == ((f"{text}: a stream whose connection breaks fails",) if obstacle else ())
    assert made.edges[0].relayed == (not obstacle)
