# The part that both relays share: the transport, which is a child process, and the messages to and from the session.
#
# A relay is a stage of a pipeline. It runs the program of a transport, and can start it again while all other stages go on. After the end
# of a connection it waits for a command of the session: a line in the fifo "relay" of the run directory. It reports each event as a
# line "event NAME FIELD ..." in the fifo "control". Connections have numbers: the first one is 0. The name of the fifo ends with the suffix
# of the lane: "" for the first lane, "-1", "-2" and so on for the others. The events of these have the number of the lane.
#
# Each connection begins with a greeting, which both relays know: the token of the connection, which the orchestration host has drawn,
# and the lane. Without it, a receiver could take the data of another program, or that of another lane. The token of the first connection
# is in the file "token" of the run directory, those of further ones are in commands: the arguments of a process are public.
# requires: perl/system_calls perl/clock
use strict;
use warnings;
use Errno qw(EAGAIN EINTR);
use Fcntl;
use POSIX qw(WNOHANG);

my ($NONBLOCK, $SET_PIPE_SIZE) = (2, 1031); # SPLICE_F_NONBLOCK, F_SETPIPE_SZ
my $longest_copy = 1 << 20;
my $pause = 0.25; # seconds between two looks at the transport
my $greeting_length = 40;
my ($is_interrupted, $last_command) = (0, 0); # whether a connection has broken and no further one has begun; the time of the last command
my $splice = $system_call{splice};
my ($directory, $lane, @program); # the run directory, the suffix of the lane, and the command of the transport
my ($transport, $stream, $other_end, $connection, $status, $abandoned) = (0, undef, undef, 0, 0, 0);
my (%command, $commands, $control); # by word, the function of a command

sub begin_relay { # DIRECTORY LANE COMMAND ...
    ($directory, $lane, @program) = @_;
    # Opened for both directions, a fifo never blocks.
    sysopen $commands, "$directory/relay$lane", O_RDWR | O_NONBLOCK or die "cannot open the fifo relay: $!\n";
    sysopen $control, "$directory/control", O_RDWR or die "cannot open the fifo control: $!\n";
    $SIG{CHLD} = sub { }; # interrupts select
    $SIG{TERM} = $SIG{HUP} = $SIG{INT} = sub { stop_transport(); exit 143 };
    $0 = 'relay';
}

sub first_token {
    open my $file, '<', "$directory/token" or die "cannot read the token: $!\n";
    return readline $file;
}

sub greeting { # TOKEN
    return pack "A$greeting_length", $_[0] . $lane;
}

sub report { # EVENT FIELD ...
    push @_, "lane=$1" if $lane =~ /(\d+)/;
    syswrite $control, "event @_\n";
}

sub start_transport { # DESCRIPTOR: that of the transport for the stream, whose ends become $stream and $other_end
    my ($number) = @_;
    pipe my $from, my $to or die "pipe: $!\n";
    fcntl $to, $SET_PIPE_SIZE, $longest_copy;
    ($other_end, $stream) = $number == 0 ? ($from, $to) : ($to, $from);
    # A signal between the fork and the assignment would end the relay, but not the transport.
    my $signals = POSIX::SigSet->new(POSIX::SIGTERM(), POSIX::SIGHUP(), POSIX::SIGINT());
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $signals);
    $transport = fork // die "fork: $!\n";
    if ($transport) {
        POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $signals);
        return;
    }
    @SIG{qw(PIPE CHLD TERM HUP INT)} = ('DEFAULT') x 5;
    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $signals);
    open STDERR, '>', "$directory/relay$lane.err" or POSIX::_exit(1);
    POSIX::dup2(fileno $other_end, $number) // POSIX::_exit(1);
    no warnings 'exec';
    exec { $program[0] } @program or POSIX::_exit(127);
}

sub transport_ends { # SECONDS: returns whether the transport has ended, or ends within that time; sets $status
    my ($seconds) = @_;
    return 1 if !$transport;
    while (1) {
        if (waitpid($transport, WNOHANG) == $transport) {
            ($transport, $status) = (0, $? & 127 ? 128 + ($? & 127) : $? >> 8);
            return 1;
        }
        return 0 if $seconds <= 0;
        select undef, undef, undef, 0.01;
        $seconds -= 0.01;
    }
}

sub stop_transport {
    undef $_ for $stream, $other_end;
    kill 'KILL', $transport if $transport;
    transport_ends(10);
}

sub end_relay { # STATUS: ends as the stage of the transport would, with its messages
    my ($end) = @_;
    stop_transport();
    if ($end && open my $errors, '<', "$directory/relay$lane.err") { print STDERR <$errors> }
    exit $end;
}

sub report_break { # POSITION
    my ($position) = @_;
    end_relay($status || 1) if $abandoned;
    report("broken connection=$connection position=$position status=$status");
    ($is_interrupted, $last_command) = (1, now());
}

sub end_without_commands { # SECONDS: ends the relay if the session passes on no command for so long: no orchestration host is there
    return if !$is_interrupted || now() - $last_command < $_[0];
    stop_transport();
    print STDERR "no connection and no command for $_[0] seconds\n";
    exit 1;
}

$command{abandon} = sub { # from now on, the end of a connection ends the relay
    $abandoned = 1;
    end_relay($status || 1) if !$transport;
};

sub run_commands { # runs the commands that have arrived
    my $text = '';
    sysread $commands, $text, 4096;
    $last_command = now();
    for (split /\n/, $text) {
        my ($word, @numbers) = split;
        $command{$word}->(@numbers) if $command{$word};
    }
}

sub wait_for { # READ WRITE: waits for input or output on these handles, and for commands, for a moment; returns what is ready
    my ($reading, $writing) = ('', '');
    vec($reading, fileno $_, 1) = 1 for $commands, @{ $_[0] };
    vec($writing, fileno $_, 1) = 1 for @{ $_[1] };
    return ('', '') if select($reading, $writing, undef, $pause) <= 0;
    if (vec $reading, fileno $commands, 1) {
        run_commands();
        return ('', '');
    }
    return ($reading, $writing);
}

sub move { # FROM PLACE TO PLACE COUNT: moves bytes in the kernel; returns their number, 0 at the end, nothing if it would block
    my ($from, $from_place, $to, $to_place, $number) = @_;
    my $count = syscall $splice, fileno $from, $from_place // 0, fileno $to, $to_place // 0, $number, $NONBLOCK;
    return $count if $count >= 0;
    return if $! == EAGAIN || $! == EINTR;
    die "cannot move the stream: $!\n";
}
