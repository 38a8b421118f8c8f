"""Compression: the choice of a codec, and the measurements for it."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from bash import PIPES, output_of

from transferpy.host import perl_program
from transferpy.model.codecs import CODECS
from transferpy.model.options import TransferOptions
from transferpy.stream.codec_choice import CodecBenchmark, Sample, choice_summary, choose_codec, measured_sample
from transferpy.stream.codecs import Codec, codecs
from transferpy.stream.commands import Command, Pipeline
from transferpy.stream.pipelines import probe_receiver, probe_sender, sender
from transferpy.stream.renderer import render_assignment, render_command, render_pipeline_function
from transferpy.stream.transports import Transport

MB = 1e6
ALL = frozenset({"zstd", "lz4", "pigz", "gzip"})
# As measured on one processor, of data that halves.
HALVES = Sample(
    size=8_000_000,
    benchmarks={
        "zstd1": CodecBenchmark(size=4_000_000, seconds=8 / 430),
        "zstd3": CodecBenchmark(size=3_900_000, seconds=8 / 230),
        "lz41": CodecBenchmark(size=4_200_000, seconds=8 / 700),
    },
)
NOISE = Sample(size=1000, benchmarks={label: CodecBenchmark(size=1000, seconds=1e-6) for label in HALVES.benchmarks})


def offered(tools: frozenset[str] = ALL, cores: int = 2, **options: object) -> tuple[Codec, ...]:
    return codecs(TransferOptions(**options), tools, tools, cores)  # type: ignore[arg-type]  # checked there


def chosen(sample: Sample, link: float | None, cores: int = 2) -> str:
    codec = choose_codec(offered(cores=cores), sample, link, cores)
    return codec.label if codec else "none"


@pytest.mark.parametrize("name", CODECS)
def test_a_lane_compresses_with_the_processors_that_its_session_sets(name: str) -> None:
    (codec,) = offered(cores=64, compressor=name)
    words = output_of(f"lane_threads=17; printf '%s\\n' {render_command(codec.in_lane.compress)}").decode().split()
    parallel = CODECS[name].programs[0].is_parallel
    assert words == [re.sub("64", "17", str(word)) for word in codec.compress.argv]
    assert parallel == any("17" in word for word in words)


class TestChoice:
    @pytest.mark.parametrize(
        ("link", "cores", "label"),
        [
            (1000 * MB, 2, "none"),  # no compressor keeps up
            (118 * MB, 2, "zstd1"),  # 1 Gbit/s
            (24 * MB, 2, "zstd3"),  # 200 Mbit/s: a smaller stream is faster
            (300 * MB, 2, "lz41"),
            (1000 * MB, 33, "zstd3"),  # with many processors even the slowest does
        ],
    )
    def test_the_codec_with_the_highest_throughput_is_chosen(self, link: float, cores: int, label: str) -> None:
        assert chosen(HALVES, link, cores) == label

    @pytest.mark.parametrize("link", [None, 1.0, 1e12])
    def test_data_that_does_not_shrink_is_not_compressed(self, link: float | None) -> None:
        assert chosen(NOISE, link) == "none"
        assert not NOISE.is_compressible
        assert HALVES.is_compressible

    def test_data_that_shrinks_is_compressed_if_the_speed_of_the_link_is_unknown(self) -> None:
        assert chosen(HALVES, None) == "zstd1"

    def test_without_a_sample_the_first_codec_is_chosen(self) -> None:
        assert chosen(Sample(size=0, benchmarks={}), None) == "zstd1"

    def test_the_summary_of_a_choice_has_its_measurements(self) -> None:
        zstd = offered()[0]
        assert choice_summary(zstd, HALVES, 118 * MB) == (
            "zstd -1; a sample shrinks to 50%, at 430 MB/s on one core; the link carries 118 MB/s"
        )
        assert choice_summary(None, HALVES, None) == "none; a sample shrinks to 49% at best"
        assert choice_summary(zstd, Sample(size=0, benchmarks={}), None) == "zstd -1; no sample could be taken"


class TestCodecs:
    @pytest.mark.parametrize(
        ("tools", "labels"),
        [
            (ALL, ["zstd1", "zstd3", "lz41"]),
            (ALL - {"zstd"}, ["lz41"]),
            (ALL - {"lz4"}, ["zstd1", "zstd3"]),
            (frozenset({"pigz"}), ["pigz1"]),
            (frozenset(), ["pigz1"]),
        ],
    )
    def test_only_codecs_that_both_hosts_have_are_candidates(self, tools: frozenset[str], labels: list[str]) -> None:
        for pair in [(tools, ALL), (ALL, tools)]:
            assert [codec.label for codec in codecs(TransferOptions(), *pair, 2)] == labels

    def test_the_codec_of_last_resort_keeps_the_level_of_the_options(self) -> None:
        options = TransferOptions(compressor="pigz", compress_level=7)
        (codec,) = codecs(options, frozenset(), frozenset(), 2)
        assert (codec.label, codec.compress.argv[0]) == ("pigz7", "gzip")

    @pytest.mark.parametrize("compressor", CODECS)
    def test_a_codec_has_the_level_and_the_threads_of_the_options(self, compressor: str) -> None:
        (codec,) = offered(compressor=compressor, compress_level=7, compress_threads=3)
        assert "-7" in codec.compress.argv
        assert codec.threads == (1 if compressor == "lz4" else 3)
        (codec,) = offered(ALL - {compressor}, compressor=compressor, compress_level=7)
        assert "-7" not in codec.compress.argv or compressor == "pigz"  # gzip has the same levels

    @pytest.mark.parametrize("compressor", ["auto", *CODECS])
    def test_decompression_restores_the_data(self, compressor: str) -> None:
        content = os.urandom(1000) * 1000
        for codec in offered(compressor=compressor):
            for compress in (codec.compress, codec.benchmark):
                packed = subprocess.run(compress.argv, input=content, capture_output=True, check=True).stdout  # type: ignore[arg-type]  # no variables
                assert len(packed) < len(content) / 10
                unpack = codec.decompress.argv
                assert subprocess.run(unpack, input=packed, capture_output=True, check=True).stdout == content  # type: ignore[arg-type]  # as above


class TestSample:
    def test_the_results_of_a_sample_are_benchmarks(self) -> None:
        assert measured_sample(8, [("zstd1", 4, 2_000_000), ("lz41", 5, 1)]) == Sample(
            size=8,
            benchmarks={"zstd1": CodecBenchmark(size=4, seconds=2.0), "lz41": CodecBenchmark(size=5, seconds=1e-6)},
        )

    def test_an_empty_sample_has_no_benchmarks(self) -> None:
        assert measured_sample(0, [("zstd1", 0, 1)]).benchmarks == {}


def sampled(directory: Path) -> bytes:
    """Return the sample of the files in a directory."""
    names = sorted(path for path in directory.rglob("*") if path.is_file())
    records = b"".join(b"%d %s\0" % (path.stat().st_size, os.fsencode(path)) for path in names)
    sample = sample_of_list(directory, records)
    assert sample == sample_of_list(directory, records, sum(path.stat().st_size for path in names))
    return sample


PROCESSOR_TIME = """
use POSIX ();
BEGIN {
    my $times = \\&POSIX::times;
    no warnings;
    *POSIX::times = sub { my @times = $times->(); $times[1] + $times[2] };
}
"""
"""A clock for the sampler on which other processes have no influence."""


def sample_of_list(directory: Path, records: bytes, total: int = 0) -> bytes:
    (directory / "list").write_bytes(records)
    command = ["perl", "-e", PROCESSOR_TIME + perl_program("perl/sample"), "--", str(directory / "list"), str(total)]
    return subprocess.run(command, capture_output=True, check=True).stdout


class TestSampler:
    def test_pieces_come_from_all_over_a_file(self, tmp_path: Path) -> None:
        with (tmp_path / "x").open("wb") as file:
            for number in range(64):
                file.write(bytes([number]) * (1 << 20))
        sample = sampled(tmp_path)
        assert len(sample) == 4 << 20
        assert len(set(sample)) == 32

    def test_small_files_are_sampled_one_after_the_other(self, tmp_path: Path) -> None:
        for number in range(100):
            (tmp_path / f"new\nline {number}").write_bytes(bytes([number]) * 1000)
        assert len(set(sampled(tmp_path))) > 90

    def test_a_long_list_leaves_time_for_the_sample(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"x" * 1000)
        count = 2_000_000
        sample = sample_of_list(tmp_path, b"1000 %s\0" % os.fsencode(tmp_path / "x") * count)
        assert len(sample) > 100_000

    def test_missing_files_and_fifos_are_not_sampled(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        names = [tmp_path / "none", tmp_path / "fifo"]
        assert sample_of_list(tmp_path, b"".join(b"1000 %s\0" % os.fsencode(name) for name in names)) == b""


VALUES = {"port": "1", "sender_address": "127.0.0.1"}
"""Of a connection that does not exist."""


def run(directory: Path, pipeline: Pipeline) -> list[int]:
    script = [
        PIPES,
        *(render_assignment(name, value) for name, value in VALUES.items()),
        render_assignment("run_directory", str(directory)),
        render_pipeline_function("stream", pipeline),
        'stream; echo "${statuses[*]}"',
    ]
    return [int(word) for word in output_of("\n".join(script)).split()]


def test_a_probe_ends_by_itself_and_reports_the_received_bytes(tmp_path: Path) -> None:
    transport = Transport(listen=Command(("cat", "/dev/zero")), connect=Command(("head", "-c", "1000000")))
    assert run(tmp_path, probe_receiver(transport)) == [141, 0]
    words = dict(word.split("=") for word in (tmp_path / "link").read_text().split())
    # The first of the two clocks is finer.
    assert int(words["microseconds"]) >= 20_000
    assert int(words["bytes"]) > 1_000_000


@pytest.mark.parametrize(
    ("ss", "microseconds"),
    [
        ("echo ' cubic rtt:36.2/17.1 cwnd:10 rcv_rtt:40 minrtt:35.072'", 35_072),
        ("echo ' cubic rtt:36.2/17.1 cwnd:10'", 36_200),
        ("echo ' cubic cwnd:10'", 0),
        ("exit 1", 0),
        ("exec sleep 600", 0),
    ],
    ids=["minimum", "smoothed", "without", "failure", "hanging"],
)
def test_the_round_trip_time_is_that_of_the_kernel(tmp_path: Path, ss: str, microseconds: int) -> None:
    (tmp_path / "ss").write_text(f"#!/bin/bash\n{ss}\n")
    (tmp_path / "ss").chmod(0o755)
    command = ["perl", "-e", perl_program("perl/count"), "--", str(tmp_path / "link"), "4400", "::1"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    with Path("/dev/zero").open("rb") as zeros:
        subprocess.run(command, stdin=zeros, env={"PATH": path}, check=True, timeout=60)
    assert f" rtt={microseconds}\n" in (tmp_path / "link").read_text()


def test_a_probe_sends_until_the_receiver_closes_the_connection(tmp_path: Path) -> None:
    taking = Transport(
        listen=Command(("true",)), connect=Command(("dd", "status=none", "bs=1000", "count=9", "of=/dev/null"))
    )
    assert run(tmp_path, probe_sender(taking)) == [141, 0]


@pytest.mark.parametrize(("rate", "seconds"), [(1_000_000, 1.5), (100_000_000, 0.0)])
def test_a_limit_holds_and_loses_nothing(tmp_path: Path, rate: int, seconds: float) -> None:
    content = os.urandom(2_000_000)
    (tmp_path / "x").write_bytes(content)
    writing = Transport(listen=Command(("true",)), connect=Command(("dd", "status=none", f"of={tmp_path}/out")))
    began = time.monotonic()
    assert run(tmp_path, sender((Command(("cat", str(tmp_path / "x"))),), None, writing, None, rate)) == [0, 0, 0]
    assert time.monotonic() - began >= seconds
    assert (tmp_path / "out").read_bytes() == content
