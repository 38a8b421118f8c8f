# Copies standard input to standard output, at most RATE bytes a second in all lanes of the stream together.
#
# Called as: perl -e PROGRAM RATE FILE. FILE, which all lanes have, contains the time at which the bytes so far are paid for. Each lane adds
# the time of its bytes and waits until then, so a lane that is alone has the whole rate. After a pause, a tenth of a second is made up for.
# requires: perl/clock
use strict;
use warnings;
use Fcntl qw(:flock O_RDWR O_CREAT);

my ($rate, $file) = @ARGV;
my $most_credit = 0.1; # seconds
my $size = int($rate / 20) || 1;
$size = 65536 if $size > 65536;
sysopen my $account, $file, O_RDWR | O_CREAT or die "cannot open $file: $!\n";
my ($count, $buffer);
while ($count = sysread STDIN, $buffer, $size) {
    for (my $done = 0; $done < $count;) {
        $done += syswrite(STDOUT, $buffer, $count - $done, $done) // exit 1;
    }
    my $seconds = pay($count / $rate);
    select undef, undef, undef, $seconds if $seconds > 0;
}
exit(defined $count ? 0 : 1);

sub pay { # SECONDS: adds them to the account; returns the seconds until they are over
    my ($seconds) = @_;
    flock $account, LOCK_EX or die "cannot lock $file: $!\n";
    sysseek $account, 0, 0;
    sysread $account, my $paid, 32;
    my $now = now();
    $paid = $now - $most_credit if !$paid || $paid < $now - $most_credit;
    $paid += $seconds;
    sysseek $account, 0, 0;
    syswrite $account, sprintf '%-32.6f', $paid;
    flock $account, LOCK_UN;
    return $paid - $now;
}
