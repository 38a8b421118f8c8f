# Makes the directories at the beginning of a lane, then runs the program that unpacks its archive, which follows on the standard input.
#
# Called as: perl -e PROGRAM COMMAND [ARGUMENT ...]. The input is that of perl/send_parents. Another lane may make the same directory.
use strict;
use warnings;
use Errno qw(EEXIST);

my $path = '';
while (my $length = hex read_exactly(8)) {
    $path .= read_exactly($length);
    make_directory($1) while $path =~ s/\A([^\0]*)\0//;
}
die "the list of directories is cut\n" if length $path;
exec { $ARGV[0] } @ARGV or die "cannot run $ARGV[0]: $!\n";

sub read_exactly { # LENGTH: not more, because the rest of the input is for the program
    my ($length) = @_;
    my $bytes = '';
    while ((my $missing = $length - length $bytes) > 0) {
        my $count = sysread(STDIN, $bytes, $missing, length $bytes) // die "cannot read: $!\n";
        die "Unexpected EOF in the list of directories\n" if !$count;
    }
    return $bytes;
}

sub make_directory { # PATH
    my ($directory) = @_;
    return if mkdir $directory, 0700;
    my $error = $!;
    lstat $directory;
    die "cannot make the directory $directory: $error\n" if $error != EEXIST || !-d _;
}
