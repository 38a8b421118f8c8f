# Runs a program for which no symbolic link in or below the working directory leads anywhere, also in the file systems that are mounted
# there. The program can still read the links themselves. Paths from the root directory are as before.
#
# Called as: perl -e PROGRAM COMMAND [ARGUMENT ...]. The working directory of the command is in a copy of the mounts, which has the
# option nosymfollow. Needs Linux 5.14 or later, and the right to mount. Fails before it runs the command if the kernel refuses. The
# numbers and structures are those of linux/mount.h and linux/fcntl.h.
# requires: perl/call
use strict;
use warnings;

my $working_directory = -100; # AT_FDCWD
my $clone = 1; # OPEN_TREE_CLONE. Without OPEN_TREE_CLOEXEC: the kernel keeps the copy for as long as its descriptor is open.
my $recursive = 0x8000; # AT_RECURSIVE
my $empty_path = 0x1000; # AT_EMPTY_PATH
my $no_links = pack 'Q4', 0x200000, 0, 0, 0; # struct mount_attr, of which attr_set is MOUNT_ATTR_NOSYMFOLLOW

my ($none, $here) = ('', '.');
my $mounts = call('open_tree', $working_directory, $here, $clone | $recursive);
call('mount_setattr', $mounts, $none, $empty_path | $recursive, $no_links, length $no_links);
chdir "/proc/self/fd/$mounts" or die "cannot enter the directory: $!\n";
exec { $ARGV[0] } @ARGV or die "cannot run $ARGV[0]: $!\n";
