# Writes its standard input twice: to standard output and to the file descriptor BRANCH. It fails when a reader of
# either is gone; otherwise it would read on to the end of the data.
#
# Called as: perl -e PROGRAM BRANCH.
#
# From a pipe to pipes the kernel passes the data on without a copy, by tee and splice. Where their numbers are not known, the
# program copies the data, in larger pieces than the command tee.
# requires: perl/system_calls
use strict;
use warnings;

open my $branch, '>&=', shift or die "no branch: $!\n";
my ($tee, $splice) = @system_call{qw(tee splice)};
my ($count, $buffer);
while ($tee && ($count = syscall $tee, 0, fileno $branch, 1 << 20, 0) > 0) {
    while ($count > 0) {
        my $done = syscall $splice, 0, 0, 1, 0, $count, 0;
        $done > 0 or die "cannot pass the stream on: $!\n";
        $count -= $done;
    }
}
while ($count = sysread STDIN, $buffer, 1 << 18) {
    for my $to (\*STDOUT, $branch) {
        for (my $done = 0; $done < $count;) {
            $done += syswrite($to, $buffer, $count - $done, $done) // die "cannot pass the stream on: $!\n";
        }
    }
}
defined $count or die "cannot read the stream: $!\n";
