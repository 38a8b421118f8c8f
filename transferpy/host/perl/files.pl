# The identity of a file, a rename that replaces nothing, and a new directory of its owner alone.
# requires: perl/system_calls
use strict;
use warnings;
use Errno qw(EINVAL ENODATA ENOSYS EOPNOTSUPP);
use Fcntl;

my $here = -100; # AT_FDCWD

# Returns DEVICE:INODE:HANDLE of the file at a path, or nothing if there is none; it does not follow a symbolic link.
#
# File systems soon reuse an inode number. The handle has the generation of the inode too, also where the file system does not
# record the time of a birth. On a file system without handles, and on FUSE, whose handles change when the kernel needs memory, HANDLE
# is a minus sign: such an identity proves nothing.
sub identity {
    my ($path) = @_;
    my ($device, $inode) = lstat $path or return;
    my ($buffer, $mount) = (pack('L l x128', 128, 0), pack 'l', 0);
    my $number = $system_call{name_to_handle_at};
    my $handle = '-';
    if ($number && !is_on_fuse($path) && syscall($number, $here, $path, $buffer, $mount, 0) == 0) {
        my ($size, $type) = unpack 'L l', $buffer;
        $handle = "$type." . unpack 'H*', substr $buffer, 8, $size;
    }
    return "$device:$inode:$handle";
}

# Returns whether the directory above a path is on FUSE.
sub is_on_fuse {
    my ($path) = @_;
    my ($above, $status) = ($path =~ m{\A(.*/)}s ? $1 : '.', "\0" x 256); # the status begins with the type of the file system
    return $system_call{statfs} && syscall($system_call{statfs}, $above, $status) == 0 &&
        unpack('l!', $status) == 0x65735546;
}

# Renames a file; fails if the new name exists, also if another process creates it at the same moment.
sub rename_new {
    my ($old, $new) = @_;
    my $number = $system_call{renameat2};
    return 1 if $number && syscall($number, $here, $old, $here, $new, 1) == 0; # 1: RENAME_NOREPLACE
    return 0 if $number && $! != EINVAL && $! != ENOSYS && $! != EOPNOTSUPP;
    # The file system cannot do that, as NFS and many FUSE file systems. link() and mkdir() never replace a name. rename()
    # replaces a directory only if it is empty, and a file never by a directory.
    lstat $old or return 0;
    return link($old, $new) && unlink $old if !-d _;
    mkdir $new, 0700 or return 0;
    return 1 if rename $old, $new;
    my $error = $!;
    rmdir $new;
    $! = $error;
    return 0;
}

# Makes a directory that only its owner can enter; dies if that fails. A default ACL of the directory above it has no effect: the
# new directory has no ACL, and nothing in it inherits one.
sub make_private {
    my ($path) = @_;
    # A default ACL takes the place of the umask, but adds no rights to those of this mode.
    mkdir $path, 0700 or die "$!\n";
    # A user who can write in the directory above can have replaced the new one.
    sysopen my $made, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW or die "it was replaced: $!\n";
    my (undef, undef, $mode, undef, $owner) = stat $made;
    die "another user has replaced it\n" if $owner != $>;
    die sprintf "its mode is %o: other users can enter it\n", $mode & 07777 if $mode & 0077;
    my $number = $system_call{fremovexattr} or return;
    for my $kind (qw(default access)) {
        my $attribute = "system.posix_acl_$kind"; # syscall refuses a constant
        next if syscall($number, fileno $made, $attribute) == 0 || $! == ENODATA || $! == EOPNOTSUPP;
        die "cannot remove its ACL: $!\n";
    }
}
