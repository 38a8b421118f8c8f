# Makes the lists of a tree from the sorted output of find.
#
# Called as: perl -e PROGRAM MANIFEST STAMPS ATTRIBUTES ENTRIES, in the working directory of find. The records on standard input end with
# NUL: "./PATH//FILE-SYSTEM DEVICE:INODE LINKS BLOCKS CTIME KIND MODE USER GROUP SIZE MTIME LINK". No path contains two slashes in sequence.
#
# MANIFEST gets "./PATH//KIND MODE USER GROUP SIZE MTIME", and " -> LINK" for a symbolic link. "-" stands for a field that a kind
# does not have. The size of a device is its number.
# STAMPS gets "./PATH//INODE CTIME". "-" stands for an inode number that the file system may change without a change of the file.
# ATTRIBUTES gets "./PATH//NAME VALUE" for each compared extended attribute, with the value in hexadecimal digits.
# ENTRIES gets "./PATH//KIND LINKS DEVICE:INODE BYTES". BYTES is the data of a regular file, without its holes, and 0 otherwise.
# requires: perl/attributes
use strict;
use warnings;
use Errno;

# Here an inode number stays the same for as long as the file exists. Network file systems and FUSE may make up new ones.
my %has_stable_inodes = map { $_ => 1 } qw(ext2 ext3 ext4 xfs btrfs f2fs jfs zfs tmpfs ramfs squashfs);

# Ignored: security.selinux and security.evm, which depend on the host; and the copy of an ACL that XFS lists as trusted.SGI_ACL_*.
my $compared = qr/^(?:user\.|trusted\.(?!SGI_ACL_)|security\.capability$|system\.posix_acl_(?:access|default)$)/;

my @files = @ARGV;
my @lists = map { open my $list, '>', $_ or die "cannot write $_: $!\n"; $list } @files;
my ($manifest, $stamps, $attributes, $entries) = @lists;

sub device_number { # PATH
    my $device = (lstat shift)[6];
    return defined $device && length $device ? $device : '-';
}

sub describe { # PATH KIND MODE USER GROUP SIZE MTIME LINK
    my ($path, $kind, $mode, $user, $group, $size, $mtime, $link) = @_;
    $mode = '-' if $kind eq 'l';
    $size = $kind =~ /[bc]/ ? device_number($path) : '-' if $kind !~ /[fl]/;
    return "$kind $mode $user $group $size $mtime" . ($kind eq 'l' ? " -> $link" : '');
}

sub list_attributes { # PATH
    my ($path) = @_;
    my @names = attribute_names($path);
    # An entry that was removed in the meantime is missing in the second list of the source.
    if (@names && !defined $names[0]) {
        return if $!{ENOENT};
        die "cannot list the extended attributes of $path: $!\n";
    }
    for my $name (sort grep { /$compared/ } @names) {
        my $value = attribute($path, $name);
        next if !defined $value && ($!{ENODATA} || $!{ENOENT});
        defined $value or die "cannot read the extended attribute $name of $path: $!\n";
        print $attributes "$path//$name ", unpack('H*', $value), "\0" or die "cannot write $files[2]: $!\n";
    }
}

$/ = "\0";
while (defined(my $record = <STDIN>)) {
    chomp $record;
    my ($path, $rest) = split m{//}, $record, 2;
    my ($file_system, $identity, $links, $blocks, $ctime, @fields) = split / /, $rest, 12;
    my ($kind, $size) = @fields[0, 4];
    my $bytes = $kind ne 'f' ? 0 : $size < $blocks * 512 ? $size : $blocks * 512;
    print $entries "$path//$kind $links $identity $bytes\0" or die "cannot write $files[3]: $!\n";
    my $inode = $identity =~ s/.*://r;
    $inode = '-' if !$has_stable_inodes{$file_system};
    print $manifest "$path//", describe($path, @fields), "\0" or die "cannot write $files[0]: $!\n";
    print $stamps "$path//$inode $ctime\0" or die "cannot write $files[1]: $!\n";
    list_attributes($path);
}
for (0 .. $#lists) {
    close $lists[$_] or die "cannot write $files[$_]: $!\n";
}
