# The holes of files, as their file system reports them.
# requires: perl/system_calls
use strict;
use warnings;

# The file systems that are known to report holes correctly: ext2 to ext4, XFS, btrfs, tmpfs. Any other one, such as one in user
# space, may report a hole where a program reads data.
my %reports_holes = map { $_ => 1 } 0xef53, 0x58465342, 0x9123683e, 0x01021994;
my $seek_data = 3;

sub reports_holes { # HANDLE: returns whether the file is on one of these file systems
    my ($file) = @_;
    my $status = "\0" x 256; # it begins with the type of the file system
    return defined $system_call{fstatfs} && syscall($system_call{fstatfs}, fileno $file, $status) == 0 &&
        $reports_holes{ unpack 'l!', $status };
}

sub find_data { # HANDLE OFFSET: returns the offset of the next data; undef if only a hole follows
    my ($file, $offset) = @_;
    return sysseek($file, $offset, $seek_data) // ($!{ENXIO} ? undef : $offset);
}
