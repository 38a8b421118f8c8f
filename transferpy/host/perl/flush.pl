# Writes files to disk, and fails if the data of one of them could not be written.
#
# Called as: perl -e PROGRAM DESCRIPTOR. Standard input has the names, each ended by NUL.
#
# The kernel reports a failed write once to each descriptor: to a descriptor of the file, and to a descriptor of any file that was
# opened on the same file system before the write. So no other process can take the error. The file itself forgets an error
# when the kernel drops it from memory. The file system does not, but its error may belong to another file. DESCRIPTOR was opened
# before the files were made.
# requires: perl/file_systems
use strict;
use warnings;
use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_RDONLY);

my $descriptor = 0 + shift;
my $synced = defined $system_call{syncfs}
    ? syscall($system_call{syncfs}, $descriptor) == 0
    : system('sync', '--file-system', "/proc/self/fd/$descriptor") == 0;
my $error = $!;
$/ = "\0";
while (defined(my $name = <STDIN>)) {
    chomp $name;
    sysopen my $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or die "cannot open $name: $!\n";
    write_to_disk(fileno $file) or die "cannot write $name to disk: $!\n";
}
$synced or die "the file system could not write all data to disk since the copy began: $error\n";
