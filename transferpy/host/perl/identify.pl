# Prints a record "IDENTITY NAME" for each name on standard input. A null byte ends each name and each record.
# requires: perl/files
use strict;
use warnings;

sub identify {
    local ($/, $\) = ("\0", "\0");
    while (my $name = <STDIN>) {
        chomp $name;
        my $identity = identity($name =~ m{\A/} ? $name : "./$name") // die "cannot examine $name: $!\n";
        print "$identity $name" or die "cannot write: $!\n";
    }
    close STDOUT or die "cannot write: $!\n";
    return;
}
