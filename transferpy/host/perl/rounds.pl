# The rate of a connection, from the times at which its bytes arrive. All times are seconds since the first ones.
#
# A connection starts slowly, and doubles its rate with each round trip. So the bytes of each round trip are counted, and the measurement
# is over when the rate grows no more: three times in a row, two rounds together had not a quarter more than the best two before them.
# The result is the rate from the best two to the end. Short round trips are joined to one round, because bytes arrive in pieces. A
# measurement of few bytes has at least ten rounds: a host that is busy for a moment delays the slow start.
use strict;
use warnings;

my ($most_seconds, $most_rounds, $least_seconds, $least_rounds, $enough_bytes) = (1, 15, 0.2, 10, 8 << 20);
my ($slot, $least_round, $usual_round); # the bytes are counted for each slot of time
my ($slots_per_round, @slots);
my ($bytes, $rounds, $best, $best_round) = (0, 0, 0, 0);

sub set_clock { # IS_FINE: whether the clock counts less than hundredths of a second
    ($least_round, $usual_round) = $_[0] ? (0.01, 0.05) : (0.04, 0.08);
    $slot = $least_round / 2;
}

sub set_round_trip { # SECONDS: undef if it is unknown
    my $round = shift // $usual_round;
    $slots_per_round = int(($round > $least_round ? $round : $least_round) / $slot + 0.999);
}

sub count_bytes { # SECONDS COUNT
    my ($seconds, $count) = @_;
    $slots[$seconds / $slot] += $count;
    $bytes += $count;
}

sub is_over { # SECONDS: whether the measurement is over at that time
    my ($seconds) = @_;
    return $seconds >= $most_seconds if !$slots_per_round;
    while (($rounds + 1) * $slots_per_round * $slot <= $seconds) {
        next if ++$rounds < 2;
        my $both = carried($rounds - 2);
        ($best, $best_round) = ($both, $rounds) if $both > 1.25 * $best;
    }
    return 1 if $seconds >= $most_seconds && $rounds >= $most_rounds;
    return 0 if !$best_round || $rounds < $best_round + 3;
    return $bytes >= $enough_bytes || ($seconds >= $least_seconds && $rounds >= $least_rounds);
}

sub measured { # SECONDS: returns the bytes, and the seconds in which they arrived
    return ($bytes, shift) if $rounds < 2;
    my $from = $best_round ? $best_round - 2 : 0;
    return (carried($from), ($rounds - $from) * $slots_per_round * $slot);
}

sub carried { # FROM: returns the bytes of all rounds from that one on
    my $sum = 0;
    $sum += $slots[$_] // 0 for $_[0] * $slots_per_round .. $rounds * $slots_per_round - 1;
    return $sum;
}
