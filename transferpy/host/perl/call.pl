# Calls the kernel.
# requires: perl/system_calls
use strict;
use warnings;

sub call { # NAME ARGUMENT ...: calls the kernel; returns its result
    my ($name, @arguments) = @_;
    defined $system_call{$name} or die "the number of the system call $name is not known for this machine\n";
    my $result = syscall $system_call{$name}, @arguments;
    $result >= 0 or die "$name: $!\n";
    return $result;
}
