# The holes of files and the errors of writes, as file systems report them, and the data that is in memory.
# requires: perl/system_calls
use strict;
use warnings;
use IO::Handle;

# Of ext2 to ext4, XFS, btrfs and tmpfs it is known that they report holes correctly, and that they keep the error of a write until
# the file is asked for it. Any other file system, such as one in user space, may report a hole where a program reads data.
my %is_known = map { $_ => 1 } 0xef53, 0x58465342, 0x9123683e, 0x01021994;
my $seek_data = 3;
my $write_and_wait = 7; # SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER

sub is_known { # DESCRIPTOR: returns whether the file is on one of these file systems
    my ($file) = @_;
    my $status = "\0" x 256; # it begins with the type of the file system
    return defined $system_call{fstatfs} && syscall($system_call{fstatfs}, $file, $status) == 0 &&
        $is_known{ unpack 'l!', $status };
}

sub find_data { # HANDLE OFFSET: returns the offset of the next data; undef if only a hole follows
    my ($file, $offset) = @_;
    return sysseek($file, $offset, $seek_data) // ($!{ENXIO} ? undef : $offset);
}

sub write_to_disk { # DESCRIPTOR [OFFSET LENGTH]: writes the data of the file to disk; fails also if an earlier write failed
    my ($file, $offset, $length) = @_;
    # If the data is already on disk, fsync still waits for the cache of the disk, for each file. This call does not.
    return syscall($system_call{sync_file_range}, $file, $offset // 0, $length // 0, $write_and_wait) == 0
        if defined $system_call{sync_file_range} && is_known($file);
    open my $handle, '<&', $file or return 0;
    return $handle->sync;
}

sub drop_from_memory { # DESCRIPTOR: the next read comes from the disk, except for data that is not on the disk yet
    # The kernel keeps up to 2 MiB of a file as one folio, and drops a folio only if all of it is in the range. This is the whole file.
    my ($file) = @_;
    my $dont_need = 4;
    # Without this call, data may be read from memory.
    syscall $system_call{posix_fadvise}, $file, 0, 0, $dont_need if defined $system_call{posix_fadvise};
}
