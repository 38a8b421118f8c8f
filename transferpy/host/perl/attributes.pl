# Extended attributes. Perl has no functions for them, and one program for many files is faster than one getfattr for each.
# requires: perl/system_calls
use strict;
use warnings;
use Errno;

for (qw(llistxattr lgetxattr lsetxattr)) {
    $system_call{$_} or die "the number of the system call $_ is not known for this machine\n";
}
my $attribute_buffer = "\0" x (64 << 10); # the kernel limits a list of names, and a value, to this size

sub attribute_names { # PATH: returns the names of the attributes of a file or symbolic link; one undefined name if that fails
    my ($path) = @_;
    my $length = syscall $system_call{llistxattr}, $path, $attribute_buffer, length $attribute_buffer;
    return split /\0/, substr $attribute_buffer, 0, $length if $length >= 0;
    return $!{EOPNOTSUPP} ? () : undef;
}

sub attribute { # PATH NAME: returns the value; undefined if that fails
    my ($path, $name) = @_;
    my $length = syscall $system_call{lgetxattr}, $path, $name, $attribute_buffer, length $attribute_buffer;
    return $length < 0 ? undef : substr $attribute_buffer, 0, $length;
}

sub set_attribute { # PATH NAME VALUE: returns 1 if that succeeds
    my ($path, $name, $value) = @_;
    return syscall($system_call{lsetxattr}, $path, $name, $value, length $value, 0) == 0;
}
