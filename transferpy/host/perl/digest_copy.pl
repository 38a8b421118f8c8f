# Digests the files of a hot copy on the target, behind mbstream.
#
# Called as: perl -e PROGRAM INDEX LIST WORKERS TOOL [ARGUMENT ...], in the directory of the copy.
#
# INDEX is that of pass_chunks. The file INDEX.end exists once mbstream has ended. Each piece is written to disk and dropped from
# memory first, so that the digest is that of the data on the disk. LIST is that of digest_stream, with the same pieces.
# requires: perl/pieces perl/file_systems perl/clock
use strict;
use warnings;
use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_RDONLY);

# The pieces of a group are written to disk together: a file system writes a thousand files at once as fast as a few single files.
my ($group_pieces, $group_bytes, $group_seconds) = (5_000, 64 << 20, 5);
my $poll_seconds = 0.05;
my $seek_set = 0;

# By name, each file that is not complete: its ID, its size, the offset of its next piece, and the pieces that are not on disk yet.
my %open;
my ($chunks, $rest) = (undef, ''); # the handle of INDEX, once it exists; its incomplete last record
my (@group, $group_size, $group_since); # pieces to write to disk next: the arguments of add_from_disk

(my ($index, $list_of_copy, $processes), @tool) = @ARGV;
start_list($list_of_copy, $processes);
while (defined(my $record = next_record())) {
    if ($record eq 'end') {
        wait_a_moment() until has_ended();
    } else {
        take_record(split / /, $record, 6);
    }
    close_group() if @group && ($group_size >= $group_bytes || @group >= $group_pieces);
}
close_group();
finish_list(sub { # RANGE NAME
    my ($range, $name) = @_;
    add_from_disk('', $name, $range =~ /^(\d+)\+(\d+)$/);
});

sub has_ended {
    return -e "$index.end";
}

sub next_record { # waits for it; returns undef at the end of the index
    for (;;) {
        my $end = index $rest, "\0";
        return substr substr($rest, 0, $end + 1, ''), 0, -1 if $end >= 0;
        my $is_last = has_ended(); # before the read: then the read returns the last record
        undef $chunks if !$chunks && !open $chunks, '<', $index;
        my $count = $chunks ? sysread $chunks, $rest, 1 << 16, length $rest : 0;
        defined $count or fail "cannot read $index: $!";
        return if !$count && $is_last;
        wait_a_moment() if !$count;
    }
}

sub wait_a_moment {
    close_group() if @group && now() - $group_since >= $group_seconds;
    select undef, undef, undef, $poll_seconds;
}

sub take_record { # KIND LENGTH OFFSET SIZE REPLACES NAMES
    my ($kind, $length, $offset, $size, $replaces, $names) = @_;
    my ($name, $new_name) = (substr($names, 0, $length), substr $names, $length);
    take_name($name, $kind eq 'R' ? $new_name : undef) if $kind eq 'R' || $kind eq 'D';
    return if $kind ne 'P' && $kind ne 'E';
    my $file = $open{$name} //= { id => add_file($name), size => 0, next => $longest_head, held => [] };
    if ($kind eq 'P') {
        $file->{size} = $offset + $size if $offset + $size > $file->{size};
        push @{ $file->{held} }, next_pieces($file, $file->{size});
        release_pieces($file, $name, (-s $name) // 0);
    } else {
        add_to_group($file, $name, @$_) for @{ $file->{held} }, next_pieces($file, $file->{size}, 'is complete');
        add_to_group($file, $name);
        delete $open{$name};
    }
}

sub release_pieces { # FILE NAME SIZE: adds the pieces inside of the size that the file has on disk
    # In a page-compressed file, mbstream passes over zeros. At the end of a part, the file is too short until mbstream writes a
    # later part or closes the file.
    my ($file, $name, $size) = @_;
    my $pieces = $file->{held};
    add_to_group($file, $name, @{ shift @$pieces }) while @$pieces && $pieces->[0][0] + $pieces->[0][1] <= $size;
}

sub add_to_group { # FILE NAME [OFFSET LENGTH]: without the last two, the head
    my ($file, $name, $offset, $length) = @_;
    ($group_size, $group_since) = (0, now()) if !@group;
    push @group, ["$file->{id} ", $name, $offset // (), $length // ()];
    $group_size += $length // 0;
}

sub close_group {
    # An error of sync may be that of another run. Each file is asked for its own error when it is opened.
    system "sync --file-system . 2>/dev/null" if @group;
    add_from_disk(@$_) for splice @group;
    start_batch();
}

sub add_from_disk { # PREFIX NAME [OFFSET LENGTH]
    my ($prefix, $name, $offset, $length) = @_;
    my $range = defined $length ? "$offset+$length" : (-s $name) // 'missing';
    ($offset, $length) = (0, $longest_head) if !defined $length;
    add_piece("$prefix$range ./$name", $length, sub { read_from_disk($name, 0 + $offset, 0 + $length) });
}

sub read_from_disk { # NAME OFFSET LENGTH: returns a handle of this piece, which is empty if the file has another name by now
    my ($name, $offset, $length) = @_;
    my $piece = open_memory();
    if (!sysopen my $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) {
        $!{ENOENT} or fail "cannot open $name: $!";
    } else {
        -f $file or fail "$name is not a regular file";
        write_to_disk(fileno $file, $offset, $length) or fail "cannot write $name to disk: $!";
        drop_from_memory(fileno $file);
        sysseek $file, $offset, $seek_set or fail "cannot read $name: $!";
        copy_bytes($file, $piece, $length, $name);
    }
    return $piece;
}
