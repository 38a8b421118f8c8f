# Copies standard input to standard output, at most RATE bytes a second in all LANES together. After a pause it may catch up on a tenth of a second.
#
# Called as: perl -e PROGRAM RATE LANES.
use strict;
use warnings;
use POSIX ();

my $rate = $ARGV[0] / $ARGV[1];
my $tick = POSIX::sysconf(POSIX::_SC_CLK_TCK());
my $size = int($rate / 20) || 1;
$size = 65536 if $size > 65536;
my ($began, $passed) = ((POSIX::times())[0], 0);
my ($count, $buffer);
while ($count = sysread STDIN, $buffer, $size) {
    for (my $done = 0; $done < $count;) {
        $done += syswrite(STDOUT, $buffer, $count - $done, $done) // exit 1;
    }
    $passed += $count;
    my $early = $passed / $rate - ((POSIX::times())[0] - $began) / $tick;
    if ($early > 0) {
        select undef, undef, undef, $early;
    } elsif ($early < -0.1) {
        ($began, $passed) = ((POSIX::times())[0], 0);
    }
}
exit(defined $count ? 0 : 1);
