# Measures the rate of the stream on standard input, and writes it to the file RESULT: "bytes=COUNT microseconds=COUNT".
#
# Called as: perl -e PROGRAM RESULT.
#
# It counts for a fifth of a second, or for less once 8 MiB have come: by then a connection is at its speed. With the coarse
# clock, it counts for longer. It does not count the first piece, which was on its way before the clock ran.
# requires: perl/clock
use strict;
use warnings;

my $least = $gettime ? 0.02 : 0.08;
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
