# Writes a file in the working directory, to find a fault of its file system. Prints the kind of the fault and the message of the
# kernel, with a blank in between; nothing if there is no fault.
#
# Called as: perl -e PROGRAM FILE.
use strict;
use warnings;
use Errno ();
use Fcntl qw(O_CREAT O_EXCL O_WRONLY);
use IO::Handle ();

sub fault {
    my ($message, $stage) = ("$!", @_);
    my $kind = $!{EROFS} ? 'read-only' : $!{EDQUOT} ? 'quota' : $!{ENOSPC} ? $stage : 'other';
    print "$kind $message\n";
    unlink $ARGV[0];
    exit;
}

# The name of a file needs an inode, but no block of data.
sysopen my $file, $ARGV[0], O_CREAT | O_EXCL | O_WRONLY, 0600 or fault('inodes');
# If only a part fits, the kernel writes that part, and reports the error of the next write.
for (my $left = 128 << 10; $left > 0;) {
    $left -= syswrite($file, 'x' x $left) // fault('full');
}
$file->sync && close $file or fault('full');
unlink $ARGV[0];
