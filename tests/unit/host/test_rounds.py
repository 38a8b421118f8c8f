"""The measurement of a link: when it ends, and its result, from simulated times at which bytes arrive."""

import subprocess
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from transferpy.host import perl_program

MB = 1_000_000
INITIAL_WINDOW = 10 * 1460
DRIVER = """
my ($is_fine, $round_trip) = @ARGV;
set_clock($is_fine);
set_round_trip($round_trip || undef);
my $last = 0;
while (<STDIN>) {
    my ($seconds, $count) = split;
    $last = $seconds;
    last if is_over($seconds);
    count_bytes($seconds, $count);
}
print join ' ', measured($last), $last;
"""


class Measured(NamedTuple):
    rate: float
    end: float


def measured(arrivals: Iterable[tuple[float, int]], round_trip: float, *, is_fine: bool = True) -> Measured:
    """Return the measured rate in bytes per second, and the time at which the measurement ended."""
    lines = "".join(f"{seconds:.9f} {count}\n" for seconds, count in arrivals)
    command = ["perl", "-e", perl_program("perl/rounds") + DRIVER, "--", str(int(is_fine)), str(round_trip)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    count, seconds, end = map(float, done.stdout.split())
    return Measured(count / seconds, end)


def slow_start(rate: float, round_trip: float, piece: int = 16384, seconds: float = 8) -> Iterator[tuple[float, int]]:
    """Yield the arrivals of a connection that doubles its window with each round trip until it fills the link."""
    begin, window = 0.0, INITIAL_WINDOW
    while begin < seconds:
        at = begin
        for sent in range(0, window, piece):
            count = min(piece, window - sent)
            at += count / rate
            yield at, count
        begin = max(begin + round_trip, at)
        window *= 2 if window < rate * round_trip else 1


@pytest.mark.parametrize("round_trip", [0.0002, 0.002, 0.012, 0.035, 0.07, 0.2])
@pytest.mark.parametrize("rate", [2 * MB, 12 * MB, 117 * MB, 500 * MB])
def test_the_rate_is_that_of_the_link_and_not_of_its_slow_start(rate: float, round_trip: float) -> None:
    found = measured(slow_start(rate, round_trip), round_trip)
    assert 0.85 * rate < found.rate < 1.15 * rate
    assert found.end <= max(1, 15 * round_trip) + 0.1


def test_a_fast_link_nearby_is_measured_in_less_than_a_tenth_of_a_second() -> None:
    assert measured(slow_start(1000 * MB, 0.0001, piece=262144), 0.0001).end < 0.1


@pytest.mark.parametrize("is_fine", [True, False])
def test_a_link_of_an_unknown_round_trip_time_is_measured_within_a_second(*, is_fine: bool) -> None:
    found = measured(slow_start(117 * MB, 0.002), 0, is_fine=is_fine)
    assert 100 * MB < found.rate < 130 * MB
    assert found.end < 1.1


def test_a_host_that_is_busy_at_the_beginning_does_not_end_the_slow_start() -> None:
    # The bytes of the first rounds arrive as usual, those of the next five late.
    late = ((seconds + (0.175 if seconds > 0.1 else 0), count) for seconds, count in slow_start(117 * MB, 0.035))
    assert measured(late, 0.035).rate > 90 * MB


@pytest.mark.parametrize("end", [0.3, 20])
def test_a_link_on_which_nothing_arrives_any_more_has_no_high_rate(end: float) -> None:
    assert measured([(0.001, 1000), (0.002, 1000), (end, 1)], 0.035).rate < 100_000


def test_a_stream_that_ends_early_is_measured_as_a_whole() -> None:
    assert measured([(0.002, 5000), (0.004, 5000)], 0.035).rate == pytest.approx(2_500_000)
