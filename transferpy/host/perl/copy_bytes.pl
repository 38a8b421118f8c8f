# Copies of bytes between descriptors: the kernel makes them, where the number of the system call is known.
# requires: perl/system_calls perl/digest_tool
use strict;
use warnings;

my $longest_copy = 1 << 20;

sub copy_bytes { # FROM TO LENGTH NAME: copies from a pipe or to a pipe, or from a file to a file; returns the number of bytes
    my ($from, $to, $length, $name) = @_;
    my $done = 0;
    while ($done < $length) {
        my $count = copy_in_kernel($from, $to, $length - $done);
        # The following read or write reports an error.
        $count = copy_by_hand($from, $to, $length - $done, $name) if $count <= 0;
        last if !$count;
        $done += $count;
    }
    return $done;
}

sub copy_in_kernel { # FROM TO LENGTH
    my ($from, $to, $length) = @_;
    my ($splice, $sendfile) = @system_call{qw(splice sendfile)};
    return syscall $splice, fileno $from, 0, fileno $to, 0, $length, 0 if defined $splice && (-p $from || -p $to);
    return defined $sendfile ? syscall $sendfile, fileno $to, fileno $from, 0, $length : 0;
}

sub copy_by_hand { # FROM TO LENGTH NAME
    my ($from, $to, $length, $name) = @_;
    my $count = sysread $from, my $buffer, $length < $longest_copy ? $length : $longest_copy;
    defined $count or fail "cannot read $name: $!";
    for (my $done = 0; $done < $count;) {
        $done += syswrite($to, $buffer, $count - $done, $done) // fail "cannot copy $name: $!";
    }
    return $count;
}
