# Writes the directories that the files of a lane need, then runs the program that writes its archive.
#
# Called as: perl -e PROGRAM LIST COMMAND [ARGUMENT ...]. LIST is a file with paths, each of which ends with NUL; a directory comes
# after the one that contains it. The output begins with blocks: the length in 8 hexadecimal digits, and so many bytes of the list. A
# block of length 0 ends them. Two tars that make the same missing directory at the same time can both fail (GNU tar 1.34), so
# perl/make_parents makes it before tar runs. As a member of the archive, it would get its attributes, such as a default ACL, too early.
use strict;
use warnings;

my ($list, @command) = @ARGV;
open my $input, '<', $list or die "cannot read $list: $!\n";
my $count;
do {
    $count = sysread($input, my $bytes, 1 << 16) // die "cannot read $list: $!\n";
    my $block = sprintf('%08x', $count) . $bytes;
    for (my $done = 0; $done < length $block;) {
        $done += syswrite(STDOUT, $block, length($block) - $done, $done) // die "cannot write: $!\n";
    }
} while $count;
close $input;
exec { $command[0] } @command or die "cannot run $command[0]: $!\n";
