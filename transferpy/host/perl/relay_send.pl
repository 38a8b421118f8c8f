# Passes the stream on standard input on to a transport. After a break, it continues on a new connection at the byte that the receiver
# needs.
#
# Called as: perl -e PROGRAM -- HISTORY DIRECTORY LANE COMMAND [ARGUMENT ...]. HISTORY is the number of bytes that can be on their way to
# the relay of the receiver: in the pipes, the programs and the sockets. DIRECTORY is the run directory, LANE the suffix of the lane,
# COMMAND the transport.
#
# The bytes of the stream are in a ring in memory, to which the kernel copies them; the pages of the ring then go to the transport without
# a further copy. A byte leaves the ring when HISTORY further bytes were passed on: the receiver certainly has it.
#
# Commands: "resume CONNECTION POSITION TOKEN" starts a connection; "finish" ends the relay, because the receiver has all bytes; "abandon".
# Events: "sent" with the number of all bytes, and "broken".
# requires: perl/relay
use strict;
use warnings;

my $history = shift @ARGV;
my $ahead = $longest_copy; # bytes that are read before they are sent
my $size = $history + $ahead;
my ($read, $next, $needed) = (0, 0, 0); # positions: behind the last byte of the ring, of the next byte to send, and of the first one to keep
my ($has_ended, $is_reported) = (0, 0);
my $longest_wait = 75; # seconds without a command after a break: for a minute, the other host can try to listen again

begin_relay(@ARGV);
my $name = 'history';
my $number = syscall $system_call{memfd_create}, $name, 1;
open my $ring, '+<&=', $number or die "cannot make the history of the stream: $!\n";

$command{finish} = sub { end_relay($has_ended ? 0 : 1) };
$command{resume} = sub { # CONNECTION POSITION TOKEN
    my ($new, $position, $token) = @_;
    stop_transport();
    my $first = $read > $size ? $read - $size : 0;
    if ($position < $first || $position > $read) {
        print STDERR "the receiver continues at byte $position, but the history has the bytes $first to $read\n";
        exit 1;
    }
    ($connection, $next, $needed) = ($new, $position, $position);
    $is_interrupted = 0;
    connect_with($token);
};

connect_with(first_token());
while (1) {
    my $room = $has_ended ? 0 : least($size - ($read - $needed), $ahead - ($read - $next));
    my ($readable, $writable) = wait_for($room > 0 ? [\*STDIN] : [], $stream && $next < $read ? [$stream] : []);
    fill($room) if vec $readable, 0, 1;
    send_bytes() if $stream && vec $writable, fileno $stream, 1;
    close_stream() if $has_ended && $stream && $next == $read;
    handle_end() if $transport && transport_ends(0);
    end_without_commands($longest_wait);
}

sub connect_with { # TOKEN
    start_transport(0);
    syswrite $stream, greeting($_[0]); # the pipe is empty, so it does not block
}

sub fill { # ROOM
    my ($room) = @_;
    my $place = $read % $size;
    my $count = move(\*STDIN, undef, $ring, pack('q', $place), least($room, $size - $place, $longest_copy)) // return;
    $has_ended = !$count;
    $read += $count;
}

sub send_bytes {
    my $place = $next % $size;
    $next += move($ring, pack('q', $place), $stream, undef, least($read - $next, $size - $place, $longest_copy)) // 0;
    $needed = $next - $history if $next - $history > $needed;
}

sub close_stream { # at the end of the stream: reports it before the receiver can see it
    report("sent bytes=$read") if !$is_reported;
    $is_reported = 1;
    undef $stream;
}

sub handle_end {
    # A transport that has not read the greeting had no connection.
    my $unread = "\0" x 8;
    my $has_read = ioctl($other_end, 0x541b, $unread) && $next + $greeting_length > unpack 'i', $unread; # FIONREAD
    end_relay($status) if $connection == 0 && $status && !$has_read;
    report_break($next) if $stream || $status || $abandoned;
    stop_transport();
}

sub least {
    my ($least, @others) = @_;
    for (@others) { $least = $_ if $_ < $least }
    return $least;
}
