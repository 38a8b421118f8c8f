# Prints "relays=FLAG watches=FLAG": whether this host has the system calls of a relay and those of the watch over a connection, and
# permits them.
# requires: perl/system_calls
use strict;
use warnings;
use POSIX ();

printf "relays=%s watches=%s\n", map { $_ ? 'yes' : 'no' } can_relay(), can_watch();

sub can_relay {
    my ($splice, $memfd) = @system_call{qw(splice memfd_create)};
    return 0 if !$splice || !$memfd;
    my ($name, $place) = ('relay', pack 'q', 0);
    my $ring = syscall $memfd, $name, 0;
    pipe my $from, my $to or return 0;
    syswrite $to, 'x';
    return $ring >= 0 && syscall($splice, fileno $from, 0, $ring, $place, 1, 0) == 1;
}

sub can_watch { # the watch is a child of the transport, and takes a copy of its socket
    my ($open, $get) = @system_call{qw(pidfd_open pidfd_getfd)};
    return 0 if !$open || !$get;
    my $transport = $$;
    my $watch = fork // return 0;
    if (!$watch) {
        my $process = syscall $open, $transport, 0;
        POSIX::_exit($process < 0 || syscall($get, $process, 0, 0) < 0);
    }
    waitpid $watch, 0;
    return $? == 0;
}
