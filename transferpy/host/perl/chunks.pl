# The stream of mariadb-backup, on standard input: chunks of several files in turn (the format "xbstream").
#
# A chunk begins with a mark, its flags and its kind, and the length and the text of a name. The rest depends on the kind:
#   P  a part of the file: its length, its offset and its CRC-32, then the data
#   S  the offset at which the file goes on
#   E  nothing: the file is complete
#   R  the length and the text of a new name of a complete file, which may be that of another one
#   D  nothing: the complete file is removed
# With the flag 2, the first part of a file may replace a complete file of this name. mbstream reads a chunk when it has finished
# with the chunk before.
# requires: perl/digest_tool
use strict;
use warnings;

my ($chunk_mark, $chunk_start) = ('XBSTCK01', 14); # the second is the length of the beginning that all kinds of chunks have
my %numbers_of = (P => 20, S => 8, E => 0, R => 0, D => 0); # by kind, the length of the numbers behind the name
my $replaces = 2;
my $longest_name = 511;
my $longest_head = 64 << 10; # mariadb-backup writes a part of the head of a file twice

sub next_chunk { # returns the next chunk as a hash, with its text up to the data; nothing at the end of the stream
    my $text = read_exactly($chunk_start, 'may end');
    return if $text eq '';
    my ($mark, $flags, $kind, $length) = unpack 'a8 C a V', $text;
    $mark eq $chunk_mark && exists $numbers_of{$kind} or fail 'the stream is not one of mariadb-backup: unknown format';
    my $name = read_name($length);
    my $numbers = read_exactly($numbers_of{$kind});
    $text .= $name . $numbers;
    my ($size, $offset) = $kind eq 'P' ? unpack 'Q<2', $numbers : (0, 0);
    my $new_name;
    if ($kind eq 'R') {
        my $length_of_new = read_exactly(4);
        $new_name = read_name(unpack 'V', $length_of_new);
        $text .= $length_of_new . $new_name;
    }
    return {
        kind => $kind, name => $name, new_name => $new_name, size => $size, offset => $offset, text => $text,
        replaces => $kind eq 'P' && $flags & $replaces && $offset == 0,
    };
}

sub check_order { # NAME SIZE OFFSET END: fails if a file of this size so far cannot go on with that part
    my ($name, $size, $offset, $end) = @_;
    $offset == $size || $offset < $size && $end <= $longest_head
        or fail "mariadb-backup sent the parts of $name in another order than expected";
}

sub read_name { # LENGTH: fails if a file of this name may be outside of the copy
    my ($length) = @_;
    $length <= $longest_name or fail 'the stream of the backup has a name that is too long';
    my $name = read_exactly($length);
    $name =~ m{\0|(?:^|/)\.{0,2}(?:/|$)} and fail "the stream of the backup has a name that is not allowed: $name";
    return $name;
}

sub read_exactly { # LENGTH [MAY-END]
    my ($length, $may_end) = @_;
    my $text = '';
    while (length $text < $length) {
        my $count = sysread STDIN, $text, $length - length $text, length $text;
        defined $count or fail "cannot read the stream of the backup: $!";
        next if $count;
        $may_end && $text eq '' or fail 'unexpected end of the stream of the backup';
        last;
    }
    return $text;
}
