# Measures the rate of the stream on standard input, and the round-trip time of its connection. Writes both to the file RESULT:
# "bytes=COUNT microseconds=COUNT rtt=MICROSECONDS"; rtt is 0 if it is unknown.
#
# Called as: perl -e PROGRAM RESULT PORT PEER. PORT is the local port of the connection, PEER the address of its other end.
#
# It ends when the rate grows no more, and at most after a second, or after 15 round trips if these are longer. It does not count the
# first piece, which was on its way before the clock ran.
# requires: perl/clock perl/rounds
use strict;
use warnings;

my ($file, $port, $peer) = @ARGV;
my ($began, $ss, $kernel, $answer, $round_trip) = (undef, undef, undef, '', 0);

set_clock($gettime);
while (!defined $began || !is_over(now() - $began)) {
    my $ready = wait_for_input(defined $began ? 0.005 : undef, \*STDIN, $kernel // ());
    read_round_trip() if $kernel && vec $ready, fileno $kernel, 1;
    next if !vec $ready, fileno STDIN, 1;
    my $count = sysread STDIN, my $buffer, 1 << 20 or last;
    if (defined $began) {
        count_bytes(now() - $began, $count);
    } else {
        ask_for_round_trip();
        $began = now();
    }
}
# On a busy host, the answer may still be on its way.
read_round_trip() while $kernel && wait_for_input(2, $kernel) =~ /[^\0]/;
kill 'KILL', $ss if $kernel;
my ($received, $seconds) = measured(defined $began ? now() - $began : 0);
open my $result, '>', $file or exit 1;
printf $result "bytes=%d microseconds=%d rtt=%d\n", $received, $seconds * 1e6, $round_trip * 1e6;
close $result or exit 1;

sub ask_for_round_trip { # asks the kernel, which has measured the time; without ss, it stays unknown
    no warnings 'exec';
    my $address = $peer =~ /:/ ? "[$peer]" : $peer;
    my @which = ('state', 'established', "sport = :$port and dst $address");
    return if $ss = open $kernel, '-|', 'ss', '-Htin', @which;
    undef $kernel;
    set_round_trip(undef);
}

sub wait_for_input { # SECONDS HANDLE ...: returns the handles with input, as select does
    my ($seconds, @handles) = @_;
    my $ready = '';
    vec($ready, fileno $_, 1) = 1 for @handles;
    select $ready, undef, undef, $seconds;
    return $ready;
}

sub read_round_trip {
    return if sysread $kernel, $answer, 4096, length $answer;
    close $kernel;
    undef $kernel;
    # The first one is the least that the kernel has seen, without the time in queues.
    my ($milliseconds) = ($answer =~ /\bminrtt:([0-9.]+)/, $answer =~ /\brtt:([0-9.]+)/);
    $round_trip = $milliseconds / 1000 if $milliseconds;
    set_round_trip($round_trip || undef);
}
