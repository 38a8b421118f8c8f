# Prints the path at which the directory of an identity is now, however it or a directory above it was renamed. Prints nothing if
# the directory does not exist any more. Fails if neither of both is certain.
#
# Called as: locate PATH IDENTITY. PATH is where the directory was.
# requires: perl/files
use strict;
use warnings;
use Errno qw(ESTALE);
use Fcntl;

# Prints a path and ends the program, if the directory is there.
sub try_path {
    my ($path, $identity) = @_;
    (identity($path) // '') eq $identity or return;
    print $path or die "cannot write: $!\n";
    exit 0;
}

# Opens the directory of a handle, which can be anywhere on the file system of the directory ABOVE.
sub try_handle {
    my ($above, $identity) = @_;
    my $number = $system_call{open_by_handle_at};
    my ($type, $handle) = $identity =~ /:(\d+)\.(.*)\z/ or return;
    return if !$number;
    my $bytes = pack 'H*', $handle;
    sysopen my $mount, $above, O_RDONLY | O_DIRECTORY or die "cannot open $above: $!\n";
    my $found = syscall $number, fileno $mount, pack('L l', length $bytes, $type) . $bytes, O_RDONLY | O_DIRECTORY;
    exit 0 if $found < 0 && $! == ESTALE;
    try_path(readlink "/proc/self/fd/$found", $identity) if $found >= 0;
    return;
}

sub locate {
    my ($path, $identity) = @_;
    try_path($path, $identity);
    my ($above) = $path =~ m{\A(.*)/}s;
    $above =~ s{/[^/]*\z}{} while $above ne '' && !-d $above;
    $above = '/' if $above eq '';
    die "its file system is not mounted at $above\n" if (stat $above)[0] != (split /:/, $identity)[0];
    try_handle($above, $identity);
    opendir my $listing, $above or die "cannot read $above: $!\n";
    try_path("$above/$_", $identity) for readdir $listing;
    die "it is not at $path any more, and was not found\n";
}
