# The clock of all timers. It cannot be set.
#
# The system call has a finer clock than perl without modules. Where its number is not known, the clock counts hundredths of a
# second.
# requires: perl/system_calls
use strict;
use warnings;
use POSIX ();

my ($tick, $time) = (POSIX::sysconf(POSIX::_SC_CLK_TCK()), "\0" x 16);
my $monotonic = 1; # CLOCK_MONOTONIC
my $gettime = $system_call{clock_gettime};
$gettime = 0 if $gettime && syscall($gettime, $monotonic, $time) != 0;

sub now { # returns the seconds since a moment in the past
    return (POSIX::times())[0] / $tick if !$gettime;
    syscall $gettime, $monotonic, $time;
    my ($seconds, $nanoseconds) = unpack 'q2', $time;
    return $seconds + $nanoseconds / 1e9;
}
