"""The number of lanes follows from the processors, the link, the costs of the stages and the data."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transferpy.model.options import MOST_STREAMS
from transferpy.stream.codecs import Codec
from transferpy.stream.commands import Command
from transferpy.stream.lane_choice import StageCosts, choose_lanes, link_of_data, most_lanes, stage_costs

GIB = 1 << 30
FAST = math.inf
ZSTD = Codec(
    name="zstd",
    label="zstd1",
    display_name="zstd -1",
    compress=Command(("zstd",)),
    decompress=Command(("zstd",)),
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
        pytest.param(FAST, 16, 16, 9, id="sixteen processors"),
        pytest.param(FAST, 256, 256, 16, id="more than enough processors"),
        pytest.param(117e6, 64, 64, 1, id="1 Gbit/s"),
        pytest.param(600e6, 64, 64, 1, id="a link that one pipeline fills"),
        pytest.param(1.18e9, 64, 64, 2, id="10 Gbit/s"),
        pytest.param(None, 64, 64, 1, id="an unknown link"),
    ],
)
def test_lanes_are_added_until_the_link_or_the_hosts_are_busy(
    link: float | None, source_cores: int, target_cores: int, expected: int
) -> None:
    assert choose_lanes(costs(), link, source_cores, target_cores, MOST_STREAMS) == expected


def test_the_processors_of_a_compressor_are_not_left_for_more_lanes() -> None:
    assert choose_lanes(costs(ZSTD), FAST, 4, 16, MOST_STREAMS) < choose_lanes(costs(), FAST, 4, 16, MOST_STREAMS)


def test_relays_need_processors_too() -> None:
    relayed = costs().with_relays(1.0)
    assert relayed.rate(MOST_STREAMS, 8, 64) < costs().rate(MOST_STREAMS, 8, 64)
    assert relayed.rate(1, 64, 64) == costs().rate(1, 64, 64)  # tar of the target is still the slowest stage


@pytest.mark.parametrize(
    ("data", "files", "expected"),
    [(0, 0, 1), (GIB - 1, 1000, 1), (3 * GIB, 1000, 3), (3 * GIB, 2, 2), (3 * GIB, 1, 1), (1 << 50, 1 << 20, 16)],
)
def test_little_data_and_few_files_have_few_lanes(data: int, files: int, expected: int) -> None:
    assert most_lanes(data, files) == expected


@pytest.mark.parametrize(
    ("rate", "ratio", "encrypt", "expected"),
    [
        (None, 2.0, True, None),
        (100e6, 2.0, True, 200e6),
        (1.1e9, 1.0, True, FAST),
        (1.1e9, 1.0, False, 1.1e9),
        (2.1e9, 1.0, False, FAST),
    ],
)
def test_a_probe_as_fast_as_its_program_shows_no_limit_of_the_link(
    rate: float | None, ratio: float, expected: float | None, *, encrypt: bool
) -> None:
    assert link_of_data(rate, ratio, encrypt=encrypt) == expected


@given(
    st.one_of(st.none(), st.floats(1, 1e12)), st.integers(1, 1024), st.integers(1, 1024), st.integers(1, MOST_STREAMS)
)
def test_the_chosen_lanes_are_within_bounds_and_never_slower_by_the_model(
    link: float | None, source_cores: int, target_cores: int, most: int
) -> None:
    chosen = choose_lanes(costs(), link, source_cores, target_cores, most)
    assert 1 <= chosen <= most
    assert costs().rate(chosen, source_cores, target_cores) >= costs().rate(1, source_cores, target_cores)
