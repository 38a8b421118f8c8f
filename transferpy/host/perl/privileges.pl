# Lists or restores the privileges of files that the kernel removes with a change of the owner: set-uid and set-gid bits, and
# capabilities.
#
# Called as: perl -e PROGRAM list|restore. "list" reads paths, and prints "MODE CAPABILITY PATH" for each file with privileges, the
# capability in hexadecimal digits. "restore" reads these records. All records end with NUL.
# requires: perl/attributes
use strict;
use warnings;

my $name = 'security.capability';
my $privileged_modes = 06000;

sub list_privileges { # PATH
    my ($path) = @_;
    my $mode = (lstat $path)[2] // die "cannot examine $path: $!\n";
    my $capability = attribute($path, $name);
    defined $capability || $!{ENODATA} || $!{EOPNOTSUPP} or die "cannot read the capabilities of $path: $!\n";
    return if !defined $capability && !($mode & $privileged_modes);
    printf "%o %s %s\0", $mode & 07777, unpack('H*', $capability // ''), $path;
}

sub restore_privileges { # RECORD
    my ($mode, $capability, $path) = split / /, $_[0], 3;
    chmod oct $mode, $path or die "cannot restore the mode of $path: $!\n";
    $capability eq '' or set_attribute($path, $name, pack 'H*', $capability) or die "cannot restore the capabilities of $path: $!\n";
}

my $handle = $ARGV[0] eq 'list' ? \&list_privileges : \&restore_privileges;
$/ = "\0";
while (defined(my $record = <STDIN>)) {
    chomp $record;
    $handle->($record);
}
close STDOUT or die "cannot write the list: $!\n";
