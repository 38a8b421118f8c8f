"""Dry runs: the actions of a real run, and the estimate of its time."""

import re
from typing import Any

import pytest
from fleet import (
    REQUEST,
    RUN,
    V4_ROUTE,
    answers,
    database_host,
    request,
    source_facts,
    source_host,
    target_facts,
    target_host,
)

from transferpy.model.codecs import CODECS
from transferpy.model.facts import TargetState
from transferpy.model.locations import Location
from transferpy.model.options import TransferOptions
from transferpy.model.request import TransferRequest
from transferpy.planning.dry_run import dry_run_lines
from transferpy.planning.planner import make_plan


def estimate(*, targets: int = 1, gigabytes: float = 117, **options: Any) -> list[str]:
    """Return the times in the estimate for so many bytes: of a target, and of all."""
    places = tuple(Location(host="db2", path=f"/srv/y{number}") for number in range(targets))
    request = TransferRequest(source=REQUEST.source, targets=places, options=TransferOptions(**options))
    source = source_host(
        cores=2, source=source_facts(bytes=round(gigabytes * 1e9)), routes=dict.fromkeys(range(targets), V4_ROUTE)
    )
    found = {number: target_facts(ancestors=(f"7:{100 + number}",), free=100_000_000) for number in range(targets)}
    hosts = answers(source, target_host(targets=found))
    lines = [line for line in dry_run_lines(make_plan(request, hosts, RUN, {}), hosts) if line.startswith("estimate: ")]
    return [time for line in lines for time in re.findall(r"(?:estimate: |, )(.*?) (?:a target|in all)", line)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 117 GB at 1 Gbit/s take 1000 s; where data shrinks to half, 500 s, if the processors keep up.
        ({}, ["0:08:20 to 0:16:40"] * 2),
        ({"compress": False}, ["0:16:40"] * 2),
        ({"compressor": "zstd"}, ["0:08:20 to 0:16:40"] * 2),
        ({"compressor": "pigz"}, ["0:10:03 to 0:16:40"] * 2),
        ({"compressor": "pigz", "compress_threads": 1}, ["0:20:06"] * 2),
        ({"bwlimit": "55.79M"}, ["0:16:40 to 0:33:20"] * 2),
        ({"compressor": "zstd", "compress_level": 19}, []),
    ],
)
def test_the_estimate_is_a_range_that_depends_on_the_compression_ratio(
    options: dict[str, Any], expected: list[str]
) -> None:
    assert estimate(**options) == expected


def test_a_source_without_data_has_no_estimate() -> None:
    assert estimate(gigabytes=0) == []


def test_every_program_of_a_codec_has_a_rate() -> None:
    assert all(program.rate for row in CODECS.values() for program in row.programs)


def test_the_estimate_adds_the_times_of_the_targets() -> None:
    assert estimate(targets=2) == ["0:08:20 to 0:16:40", "0:16:40 to 0:33:20"]


def test_the_lines_have_each_command_that_a_hot_copy_runs_on_a_host() -> None:
    socket = "/run/mysqld/mysqld.sock"
    backup = request(
        f"db1:{socket}",
        "db2:/srv/y",
        transfer_type="xtrabackup",
        stop_slave=True,
        prepare=True,
        owner="mysql:mysql",
        create_target=True,
    )
    missing = target_facts(state=TargetState.MISSING)
    hosts = answers(database_host(), target_host(targets={0: missing}, firewalls={"iptables": "-P INPUT DROP\n"}))
    lines = list(dry_run_lines(make_plan(backup, hosts, RUN, {}), hosts))
    text = "\n".join(lines)
    assert "a server of about 5 MB" in lines[0]
    assert "db1 stops replication before each backup and starts it after the backup" in text
    assert "/srv/y is missing" in text
    assert re.search(f"mariadb-backup .*--socket={socket} --backup ", text)
    assert re.search("iptables .*-I INPUT", text)
    assert re.search("mariadb-backup .*--prepare", text)
    assert "chown -hR -- mysql:mysql /srv/y" in text
    assert lines[-1] == "nothing was changed"


def test_the_lines_have_the_pipelines_with_the_checksum_of_the_stream() -> None:
    hosts = answers(source_host(), target_host())
    wanted = request("db1:/srv/x", "db2:/srv/y", checksum=False, parallel_checksum=True, encrypt=False)
    pipelines = [line for line in dry_run_lines(make_plan(wanted, hosts, RUN, {}), hosts) if " | " in line]
    assert len(pipelines) == 2
    assert all("| tee >(" in line for line in pipelines)
    assert "tar " in pipelines[0]
    assert "tar " in pipelines[1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "port: a free port in 4400-4499;"),
        ({"streams": 4}, "port: free ports in 4400-4499, one for each stream (4);"),
        ({"streams": 4, "port": 5000}, "port: 5000 to 5003, one for each stream (4);"),
    ],
)
def test_the_ports_of_all_streams_are_listed(options: dict[str, Any], expected: str) -> None:
    hosts = answers(source_host(), target_host())
    made = make_plan(request("db1:/srv/x", "db2:/srv/y", **options), hosts, RUN, {})
    assert any(expected in line for line in dry_run_lines(made, hosts))


def pipelines(**options: Any) -> list[str]:
    """Return the lines that have the pipelines of a dry run."""
    source = source_facts(bytes=100 << 30, disk=5_000_000)
    hosts = answers(source_host(cores=64, source=source), target_host(cores=64))
    made = make_plan(request("db1:/srv/x", "db2:/srv/y", **options), hosts, RUN, {})
    return [line for line in dry_run_lines(made, hosts) if " | " in line]


def test_the_pipelines_are_those_of_each_of_several_streams() -> None:
    sending, receiving = pipelines(streams=4, compressor="zstd")
    assert sending.startswith("  db1 sends to db2, in each of 4 streams: perl ")
    assert "--files-from=- " in sending
    assert 'zstd --stdout --quiet -T"${lane_threads}"' in sending
    assert receiving.startswith("  receives, in each of 4 streams: socat ")
    assert "--keep-old-files" not in receiving


@pytest.mark.parametrize("streams", [1, "auto"])
def test_the_pipelines_are_those_of_one_stream_if_the_run_chooses_the_number(streams: int | str) -> None:
    sending, receiving = pipelines(streams=streams)
    assert "streams" not in sending + receiving
    assert "--files-from=- " not in sending
    assert "--keep-old-files" in receiving
