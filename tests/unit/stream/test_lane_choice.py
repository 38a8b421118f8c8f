"""The number of lanes follows from the processors, the link, the costs of the stages and the data."""

import math
import re

import pages
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferpy.model.options import MOST_STREAMS
from transferpy.stream.codecs import Codec
from transferpy.stream.commands import Command
from transferpy.stream.lane_choice import (
    STAGE_SECONDS,
    DataLink,
    StageCosts,
    choose_lanes,
    link_of_data,
    most_lanes,
    stage_costs,
)

GIB = 1 << 30
FAST = math.inf
ZSTD = Codec(
    name="zstd",
    label="zstd1",
    display_name="zstd -1",
    compress=Command(("zstd",)),
    decompress=Command(("zstd",)),
    compress_lane=Command(("zstd",)),
    benchmark=Command(("zstd",)),
    threads=16,
)


def costs(codec: Codec | None = None, *, encrypt: bool = True, digests: bool = True) -> StageCosts:
    return stage_costs(encrypt=encrypt, digests=digests, codec=codec, ratio=2.0 if codec else 1.0, compression=400e6)


@pytest.mark.parametrize(
    ("link", "source_cores", "target_cores", "expected"),
    [
        pytest.param(FAST, 2, 2, 1, id="the lab"),
        pytest.param(FAST, 2, 64, 1, id="a small source"),
        pytest.param(FAST, 64, 2, 1, id="a small target"),
        pytest.param(FAST, 4, 4, 2, id="four processors"),
        pytest.param(FAST, 16, 16, 8, id="sixteen processors"),
        pytest.param(FAST, 256, 256, 16, id="more than enough processors"),
        pytest.param(117e6, 64, 64, 1, id="1 Gbit/s"),
        pytest.param(800e6, 64, 64, 1, id="a link that one pipeline fills"),
        pytest.param(1.18e9, 64, 64, 2, id="10 Gbit/s"),
    ],
)
def test_lanes_are_added_until_the_link_or_the_hosts_are_busy(
    link: float, source_cores: int, target_cores: int, expected: int
) -> None:
    assert choose_lanes(costs(), link, source_cores, target_cores, MOST_STREAMS) == expected


def test_the_processors_of_a_compressor_are_not_left_for_more_lanes() -> None:
    assert choose_lanes(costs(ZSTD), FAST, 4, 16, MOST_STREAMS) < choose_lanes(costs(), FAST, 4, 16, MOST_STREAMS)


def test_relays_need_processors_too() -> None:
    relayed = costs().with_relays(1.0)
    assert relayed.rate(MOST_STREAMS, 8, 64) < costs().rate(MOST_STREAMS, 8, 64)
    assert relayed.rate(1, 64, 64) == costs().rate(1, 64, 64)  # socat of the target is still the slowest stage


@pytest.mark.parametrize(
    ("data", "files", "largest", "expected"),
    [
        pytest.param(0, 0, 0, 1, id="nothing"),
        pytest.param(GIB - 1, 1000, 1, 1, id="little data"),
        pytest.param(3 * GIB, 1000, GIB // 2, 3, id="some data"),
        pytest.param(3 * GIB, 2, GIB, 2, id="two files"),
        pytest.param(1 << 50, 1 << 20, GIB, 4, id="much data"),
        pytest.param(100 * GIB, 1000, 80 * GIB, 1, id="one file has most of the data"),
        pytest.param(100 * GIB, 1000, 60 * GIB, 2, id="one file has more than half of the data"),
        pytest.param(100 * GIB, 1000, 40 * GIB, 3, id="one file is large"),
    ],
)
def test_the_data_limits_the_number_of_lanes(data: int, files: int, largest: int, expected: int) -> None:
    assert most_lanes(data, files, largest) == expected


TEN_GBIT = 1.18e9


@pytest.mark.parametrize(
    ("rate", "ratio", "encrypt", "expected"),
    [
        pytest.param(None, 2.0, True, None, id="unknown"),
        pytest.param(100e6, 2.0, True, DataLink(measured=200e6, most=200e6), id="slower than socat"),
        pytest.param(TEN_GBIT, 1.0, False, DataLink(measured=TEN_GBIT, most=TEN_GBIT), id="plain socat is faster"),
    ],
)
def test_the_probe_measures_a_link_that_is_slower_than_its_program(
    rate: float | None, ratio: float, expected: DataLink | None, *, encrypt: bool
) -> None:
    assert link_of_data(rate, ratio, encrypt=encrypt) == expected


@pytest.mark.parametrize("rate", [0.65e9, 0.845e9, TEN_GBIT])
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_two_lanes_fill_the_link_for_which_a_probe_as_fast_as_socat_shows_no_limit(rate: float, ratio: float) -> None:
    link = link_of_data(rate, ratio, encrypt=True)
    assert link
    assert link.measured == rate * ratio
    assert link.most == pytest.approx(2 * GIB / 1.27 * ratio)
    assert choose_lanes(costs(), link.most / ratio, 64, 64, MOST_STREAMS) == 2


def test_no_link_carries_more_than_the_limit_of_the_user() -> None:
    link = link_of_data(TEN_GBIT, 2.0, encrypt=True, limit=20_000_000)
    assert link
    assert link.most == 40_000_000
    assert choose_lanes(costs(), link.most, 64, 64, MOST_STREAMS) == 1


def stage_table() -> dict[str, float]:
    """Return the processor seconds of each stage for each GiB, from the table in the manual."""
    text = (pages.DOCS / "benchmarks.rst").read_text()
    lines = text.partition("**stages**")[2].partition("**Calculated**")[0].splitlines()
    rows = (re.match(r"``(\w+: .*?)`` .* ([0-9.]+)$", line) for line in lines)
    return {row[1]: float(row[2]) for row in rows if row}


def test_the_costs_of_the_stages_are_those_of_the_table_in_the_manual() -> None:
    table = stage_table()
    assert len(table) > len(STAGE_SECONDS)
    assert {name: table[name] for name in STAGE_SECONDS} == STAGE_SECONDS


@given(st.floats(1, 1e12), st.integers(1, 1024), st.integers(1, 1024), st.integers(1, MOST_STREAMS))
def test_the_chosen_lanes_are_within_bounds_and_never_slower_by_the_model(
    link: float, source_cores: int, target_cores: int, most: int
) -> None:
    chosen = choose_lanes(costs(), link, source_cores, target_cores, most)
    assert 1 <= chosen <= most
    assert costs().rate(chosen, source_cores, target_cores) >= costs().rate(1, source_cores, target_cores)
