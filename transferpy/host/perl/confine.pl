# Runs a program that can write only in and below the working directory: all other mounts of its mount namespace are read-only.
#
# Called as: unshare --mount --propagation slave perl -e PROGRAM COMMAND [ARGUMENT ...]. So an unmount of the host also reaches the
# namespace, and a file system that is mounted later can be written. Needs Linux 5.12 or later, and the right to mount. Fails before it
# runs the command if the kernel refuses. The numbers and structures are those of linux/mount.h and linux/fcntl.h.
# requires: perl/call
use strict;
use warnings;

my $working_directory = -100; # AT_FDCWD
my $clone = 1 | 02000000; # OPEN_TREE_CLONE and OPEN_TREE_CLOEXEC
my $recursive = 0x8000; # AT_RECURSIVE
my $empty_path = 4; # MOVE_MOUNT_F_EMPTY_PATH
my $read_only = pack 'Q4', 1, 0, 0, 0; # struct mount_attr, of which attr_set is MOUNT_ATTR_RDONLY

my ($none, $root, $here) = ('', '/', '.');
# The copy of the mount is not yet part of the namespace, and so stays writable.
my $writable = call('open_tree', $working_directory, $here, $clone);
call('mount_setattr', $working_directory, $root, $recursive, $read_only, length $read_only);
call('move_mount', $writable, $none, $working_directory, $here, $empty_path);
chdir "/proc/self/fd/$writable" or die "cannot enter the directory: $!\n";
exec { $ARGV[0] } @ARGV or die "cannot run $ARGV[0]: $!\n";
