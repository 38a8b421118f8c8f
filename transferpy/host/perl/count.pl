# Measures the rate of the stream on standard input, and writes it to the file RESULT: "bytes=COUNT microseconds=COUNT".
#
# Called as: perl -e PROGRAM RESULT.
#
# It counts for a fifth of a second, or for less once 8 MiB have come: by then a connection is at its speed. It does not count
# the first piece, which was on its way before the clock ran. clock_gettime has a finer clock than perl without modules. Where
# its number is not known, the clock counts hundredths of a second, and the program counts for longer.
# requires: perl/system_calls
use strict;
use warnings;
use POSIX ();

my $gettime = $system_call{clock_gettime};
my ($tick, $time) = (POSIX::sysconf(POSIX::_SC_CLK_TCK()), "\0" x 16);
my $monotonic = 1; # CLOCK_MONOTONIC
$gettime = 0 if $gettime && syscall($gettime, $monotonic, $time) != 0;
my $least = $gettime ? 0.02 : 0.08;

sub now {
    return (POSIX::times())[0] / $tick if !$gettime;
    syscall $gettime, $monotonic, $time;
    my ($seconds, $nanoseconds) = unpack 'q2', $time;
    return $seconds + $nanoseconds / 1e9;
}

my ($bytes, $passed, $began, $buffer) = (0, 0);
while (my $count = sysread STDIN, $buffer, 1 << 20) {
    if (!defined $began) {
        $began = now();
        next;
    }
    ($bytes, $passed) = ($bytes + $count, now() - $began);
    last if $passed >= ($bytes < 8 << 20 ? 0.2 : $least);
}
open my $result, '>', shift or exit 1;
printf $result "bytes=%d microseconds=%d\n", $bytes, $passed * 1e6;
close $result or exit 1;
