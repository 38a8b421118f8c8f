# Passes the stream of a transport on to standard output, and counts the bytes. The end of a connection is not the end of the stream:
# that is at the number of bytes that the sender reports to the session.
#
# Called as: perl -e PROGRAM -- COUNT DIRECTORY LANE COMMAND [ARGUMENT ...]. COUNT is a file of the run directory, which has the number of
# bytes so far. DIRECTORY is the run directory, LANE the suffix of the lane, COMMAND the transport.
#
# Commands: "reopen CONNECTION TOKEN" waits for a connection again, "total BYTES" is the length of the stream, and "abandon".
# Events: "reopened" when the transport listens, with the position from which it continues; "established" after the greeting of a
# connection; "broken"; and "complete" at the end of the stream.
# requires: perl/relay perl/clock
use strict;
use warnings;

my $count_file = shift @ARGV;
my ($passed, $is_full, $total, $counted) = (0, 0, undef, -1);
my $longest_wait = 30; # seconds without a command after a break: an attempt and the pause after it take less than 20 seconds
my ($expected, $greeting); # the greeting of the connection, and the part of it that has arrived
my $next_count = 0; # the time of the next write of the count

begin_relay(@ARGV);
sysopen my $counter, "$directory/$count_file", O_WRONLY | O_CREAT or die "cannot write $count_file: $!\n";
$SIG{PIPE} = \&end_with_next_stage;

$command{total} = sub { $total = $_[0]; check_total() };
$command{reopen} = sub { # CONNECTION TOKEN
    stop_transport();
    ($connection, $is_full) = ($_[0], 0);
    expect_connection($_[1]);
    my $limit = now() + 3;
    select undef, undef, undef, 0.01 until transport_ends(0) || listens() || now() > $limit;
    # Without a listener, the connection of the sender would reach another program.
    return handle_end() if !$transport || !listens();
    report("reopened connection=$connection position=$passed");
};

write_count();
expect_connection(first_token());
while (1) {
    # The end of a pipe to which one writes is readable when no process reads from it.
    my ($readable, $writable) = wait_for([\*STDOUT, $stream && !$is_full ? $stream : ()], $is_full ? [\*STDOUT] : []);
    end_with_next_stage() if vec $readable, fileno STDOUT, 1;
    $is_full = 0 if vec $writable, fileno STDOUT, 1;
    if ($stream && vec $readable, fileno $stream, 1) {
        length $greeting < $greeting_length ? read_greeting() : pass_on();
    }
    write_count();
    end_without_commands($longest_wait);
}

sub end_with_next_stage {
    stop_transport();
    $SIG{PIPE} = 'DEFAULT';
    kill 'PIPE', $$;
}

sub expect_connection { # TOKEN
    ($expected, $greeting) = (greeting($_[0]), '');
    start_transport(1);
    undef $other_end; # else the end of the transport would not end the stream
}

sub read_greeting {
    my $count = sysread $stream, $greeting, $greeting_length - length $greeting, length $greeting;
    return if !defined $count;
    return handle_end() if !$count;
    return if length $greeting < $greeting_length;
    if ($greeting eq $expected) {
        $is_interrupted = 0;
        return report("established connection=$connection");
    }
    stop_transport();
    $status = 1; # not that of the signal
    open my $errors, '>', "$directory/relay$lane.err";
    print $errors "another program than the sender has connected to the port\n";
    close $errors;
    $greeting = '';
    handle_end();
}

sub pass_on {
    my $count = move($stream, undef, \*STDOUT, undef, defined $total ? $total - $passed : $longest_copy);
    return $is_full = 1 if !defined $count;
    return handle_end() if !$count;
    $passed += $count;
    check_total();
}

sub check_total {
    return if !defined $total || $passed < $total;
    write_count('at once');
    if ($passed > $total) {
        print STDERR "received $passed bytes, but the sender has sent $total\n";
        end_relay(1);
    }
    report('complete');
    end_relay(0);
}

sub handle_end { # all bytes of the connection were passed on
    undef $stream;
    stop_transport() if !transport_ends(1);
    end_relay($status || 1) if $connection == 0 && length $greeting < $greeting_length; # it was never made
    report_break($passed);
}

sub write_count { # [AT ONCE]
    return if $passed == $counted || !@_ && now() < $next_count;
    ($counted, $next_count) = ($passed, now() + 0.5);
    sysseek $counter, 0, 0;
    syswrite $counter, $passed;
}

sub listens { # returns whether the transport has a socket that listens
    my %is_own = map { (readlink($_) // '') =~ /\Asocket:\[(\d+)\]/ ? ($1 => 1) : () } glob "/proc/$transport/fd/*";
    for my $table (qw(tcp tcp6)) {
        open my $sockets, '<', "/proc/self/net/$table" or next;
        <$sockets>;
        while (<$sockets>) { # the kernel lists the sockets that listen first
            my ($state, $inode) = (split)[3, 9];
            last if $state ne '0A';
            return 1 if $is_own{$inode};
        }
    }
    return 0;
}
