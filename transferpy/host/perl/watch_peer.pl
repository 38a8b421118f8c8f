# Runs the program of a transport, and ends it when the other end of the connection is dead.
#
# Called as: perl -e PROGRAM SECONDS INTERVAL COUNT ROLE PROBING ENDED COMMAND [ARGUMENT ...]. INTERVAL and COUNT are those of the TCP
# keepalive; ROLE is send or receive; PROBING is yes if the other end sends keepalive probes for certain. ENDED is "pipeline" to end
# the process group, or "transport" to end the program alone. COMMAND replaces this program, so its exit status and its signals are
# those of the stage. A child process looks at the connection four times a second.
#
# A slow peer is not dead: its kernel answers as long as the host runs, also while the program there takes no data, and while this
# one has none to send. Each of the two conditions has to last for SECONDS: the peer sends no packet at all; or this end repeats data,
# and the peer acknowledges nothing. The kernel has no such condition: TCP_USER_TIMEOUT also ends a connection whose peer takes no data
# but answers, and keepalive does not work while there is data to send.
# requires: perl/system_calls
use strict;
use warnings;
use Errno qw(EPIPE ETIMEDOUT);

my ($seconds, $interval, $count, $role, $probing, $ended) = splice @ARGV, 0, 6;
# The module Socket takes longer than all the rest. These numbers are those of all machines that have pidfd_getfd.
my ($SOL_SOCKET, $SO_ERROR, $SO_KEEPALIVE, $SO_LINGER) = (1, 4, 9, 13);
my ($TCP, $KEEPIDLE, $KEEPINTVL, $KEEPCNT, $TCP_INFO) = (6, 4, 5, 6, 11);
my ($ESTABLISHED, $FIN_WAIT1, $FIN_WAIT2, $CLOSE, $CLOSE_WAIT, $LISTEN) = (1, 4, 5, 7, 8, 10);
my %is_open = map { $_ => 1 } $ESTABLISHED, $FIN_WAIT1, $FIN_WAIT2, $CLOSE_WAIT;
my $no_answer = "the peer did not answer for $seconds seconds (--stall-timeout)";
# Turns are counted, not the time: a host that was paused wakes up after a long time without packets.
my ($turn, $limit) = (0.25, $seconds - 0.5);

# The pipe between this stage and its neighbour gets its capacity here: perl/widen_pipe would be one more process.
fcntl $role eq 'send' ? \*STDIN : \*STDOUT, 1031, 1 << 20;
my ($transport, $pipeline) = ($$, getpgrp);
my $watcher = fork;
if (!defined $watcher || $watcher) {
    no warnings 'exec';
    exec { $ARGV[0] } @ARGV or print STDERR "$ARGV[0]: $!\n";
    exit 127;
}
$0 = 'watch_peer';
# An open pipe would keep the next stage from seeing the end of the stream.
opendir my $descriptors, '/proc/self/fd' or exit;
close STDIN;
close STDOUT;
for my $number (grep { /\d/ && $_ > fileno STDERR } readdir $descriptors) {
    open my $descriptor, '<&=', $number or next;
    close $descriptor;
}

my ($open, $get) = @system_call{qw(pidfd_open pidfd_getfd)};
my $process = $open ? syscall $open, $transport, 0 : -1;
exit if $process < 0;
vec(my $process_ends = '', $process, 1) = 1;
my ($connected, $before, $silent, $asked, $unanswered, $closed) = (0, 0, 0, 0, 0, 0);
while (select(my $has_ended = $process_ends, undef, undef, $turn) <= 0) {
    my ($socket, $state, $repeated, $probes, $last_answer, $received) = connection() or next;
    next if !($connected ||= $is_open{$state}); # a short stream can be over before the first look
    last if $state == $CLOSE_WAIT && $role eq 'receive'; # all data has arrived
    $silent = $is_open{$state} && $received == $before ? $silent + $turn : 0;
    $before = $received;
    # A peer that takes no data, and sends no probes, answers only the probes of this end, which can be two minutes apart.
    $asked = $probing eq 'yes' || $probes || $repeated ? $asked + $turn : 0;
    $unanswered = $repeated ? $unanswered + $turn : 0;
    $unanswered = $last_answer / 1000 if $unanswered > $last_answer / 1000;
    # While packets arrive, the network may be back: the next repetition can be as far away as the cut was long.
    end_stream($socket, $no_answer)
        if $unanswered >= ($silent <= 2 * $interval ? 2 * $limit : $limit) || $silent >= $limit && $asked >= 1;
    # A transport that neither reads nor writes does not notice that the kernel has closed the connection.
    $closed = $state == $CLOSE ? $closed + $turn : 0;
    next if $closed < 2;
    my $error = unpack 'l', getsockopt $socket, $SOL_SOCKET, $SO_ERROR;
    # The transport has read the error, or the reset came after all data. Some transports exit with 0 after a reset: the numbers of
    # bytes at both ends, or the lists of files, prove that the stream is complete.
    last if !$error || $error == EPIPE && $role eq 'receive';
    end_stream($socket, $error == ETIMEDOUT ? $no_answer : 'the peer reset it');
}

sub end_stream { # SOCKET REASON
    my ($socket, $reason) = @_;
    print STDERR "dead connection: $reason\n";
    # With a reset, the end of the stream does not look complete to the peer, if packets reach it.
    setsockopt $socket, $SOL_SOCKET, $SO_LINGER, pack 'i2', 1, 0;
    # The first stage of the pipeline can wait for its disk. This process is one of the group.
    kill $ended eq 'pipeline' ? ('-KILL', $pipeline) : ('KILL', $transport);
    exit;
}

sub connection { # returns the socket and the state of the connection, its repeated packets and probes without an answer, the
                 # milliseconds since the last acknowledgement, and the number of packets that have arrived; nothing without one
    opendir my $list, "/proc/$transport/fd" or return;
    for my $number (readdir $list) {
        next if (readlink("/proc/$transport/fd/$number") // '') !~ /\Asocket:/;
        my $descriptor = syscall $get, $process, $number + 0, 0;
        next if $descriptor < 0;
        open my $socket, '+<&=', $descriptor or next;
        my @info = unpack 'C x C C x52 L x80 L', getsockopt($socket, $TCP, $TCP_INFO) // next;
        next if $info[0] == $LISTEN;
        keep_alive($socket) if !$connected;
        return ($socket, @info);
    }
    return;
}

sub keep_alive { # SOCKET: a netcat has no options for that
    my ($socket) = @_;
    setsockopt $socket, $TCP, $_->[0], $_->[1] + 0 for [$KEEPIDLE, $interval], [$KEEPINTVL, $interval], [$KEEPCNT, $count];
    setsockopt $socket, $SOL_SOCKET, $SO_KEEPALIVE, 1;
}
