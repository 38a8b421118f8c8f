# Measures a command: passes its standard input to the command, and prints the size of the output in bytes and the time in
# microseconds. Fails if the command fails.
#
# Called as: perl -e PROGRAM COMMAND [ARGUMENT ...].
# requires: perl/clock
use strict;
use warnings;

my ($began, $size) = (now(), 0);
open my $output, '-|', @ARGV or exit 1;
while (my $count = sysread $output, my $buffer, 1 << 18) {
    $size += $count;
}
close $output or exit 1;
printf "%d %d\n", $size, (now() - $began) * 1e6;
