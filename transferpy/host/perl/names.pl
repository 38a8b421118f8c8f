# Prints the paths that the tar of a lane sends.
#
# Called as: perl -e PROGRAM PREFIX LANE. Prints the file PREFIX with the suffix of the lane. The first lane, which has an empty suffix,
# then waits for the file PREFIX.unpacked, and prints PREFIX.directories: the attributes of a directory are final only when its files
# are unpacked.
use strict;
use warnings;
use IO::Poll qw(POLLERR);

my ($prefix, $lane) = @ARGV;
print_file("$prefix$lane");
exit if length $lane;
my $reader = IO::Poll->new;
$reader->mask(\*STDOUT => POLLERR); # tar has ended
until (-e "$prefix.unpacked") {
    kill 'PIPE', $$ if $reader->poll(0.02) > 0; # as if it had written
}
print_file("$prefix.directories");

sub print_file { # FILE
    my ($file) = @_;
    open my $input, '<', $file or die "cannot read $file: $!\n";
    while (my $count = sysread($input, my $buffer, 1 << 16) // die "cannot read $file: $!\n") {
        for (my $done = 0; $done < $count;) {
            $done += syswrite(STDOUT, $buffer, $count - $done, $done) // die "cannot write: $!\n";
        }
    }
}
