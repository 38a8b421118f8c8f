# Passes the stream of mariadb-backup on to mbstream, and lists its chunks. Refuses names outside of the copy, to which mbstream
# would rename files.
#
# Called as: perl -e PROGRAM [INDEX].
#
# INDEX gets a record for each chunk, when mbstream has finished with the chunk: "KIND LENGTH OFFSET SIZE REPLACES NAMES", ended by NUL.
# NAMES is the name, which has LENGTH bytes, and the new name. mbstream has read all bytes that this program has written, without
# those in the pipe. After the record "end" come the chunks that are finished only when mbstream has ended.
# requires: perl/chunks perl/copy_bytes
use strict;
use warnings;

my $unread_bytes = 0x541b; # FIONREAD; on some machines, it has another number
my $passed = 0;            # bytes
my %open;                  # by name, each file that is not complete: its size so far, and the end of its last part
my $is_renamed;            # 1 if no part was passed on since a rename
# mariadb-backup (10.11.19) sends parts of 2 MiB or more, except for the last one of a file.
my ($part_bytes, $parts_of_file, $further_parts) = (1 << 20, 2, 10_000);
my ($parts, $ends) = (0, 0); # numbers of chunks: parts and seeks; ends of files
my @pending;               # records of chunks that mbstream may not have finished: [number of bytes up to their end, record]

my ($index) = @ARGV;
open INDEX, '>', $index // '/dev/null' or fail "cannot write $index: $!";
my $has_count = ioctl STDOUT, $unread_bytes, my $unread = "\0" x 8;
print INDEX "end\0" if !$has_count;
while (my $chunk = next_chunk()) {
    my ($name, $new_name, $size) = @$chunk{qw(name new_name size)};
    take_part($chunk) if $chunk->{kind} eq 'P';
    check_number($chunk->{kind}) if defined $index;
    my $text = before_end($chunk) . $chunk->{text};
    write_text($text);
    copy_bytes(\*STDIN, \*STDOUT, $size, $name) == $size or fail 'unexpected end of the stream of the backup';
    $passed += length($text) + $size;
    my $record = join ' ', @$chunk{qw(kind)}, length $name, $chunk->{offset}, $size, $chunk->{replaces} || 0, $name . ($new_name // '');
    push @pending, [$passed, $record];
    list_finished();
}
print INDEX "end\0" if $has_count;
print INDEX map { "$_->[1]\0" } @pending;
close INDEX or fail "cannot write $index: $!";

sub take_part { # CHUNK
    my ($name, $offset, $size) = @{ $_[0] }{qw(name offset size)};
    my $file = $open{$name} //= { size => 0 };
    my $end = $offset + $size;
    # For the digester, the size of a file is at most that of its parts: each piece takes time and memory.
    check_order($name, $file->{size}, $offset, $end) if defined $index;
    $file->{end} = $end;
    $file->{size} = $end if $end > $file->{size};
}

sub check_number { # KIND: a record of the index may be longer than its chunk, and needs space in /var/tmp
    my ($kind) = @_;
    $ends++ if $kind eq 'E';
    $parts++ if $kind eq 'P' || $kind eq 'S';
    $parts <= $further_parts + $parts_of_file * $ends + $passed / $part_bytes
        or fail 'the stream of the backup has too many small parts';
}

sub before_end { # CHUNK: returns the text to pass on before it
    # At the end of a file, mbstream (10.11.19) compares the checksum of the last part with its buffer again. After a rename, that buffer
    # contains the new name. So an empty part comes before the first end after a rename. A file that is empty has no part. If it
    # replaces another one, mbstream fails, because only a part can have this flag.
    my ($chunk) = @_;
    my ($kind, $name) = @$chunk{qw(kind name)};
    $is_renamed = $kind eq 'R' || $is_renamed && $kind ne 'P';
    return '' if $kind ne 'E';
    my $file = delete $open{$name};
    return '' if !$is_renamed && $file;
    $is_renamed = 0;
    return $chunk_mark . pack 'C a V/a Q< Q< V', $file ? 0 : $replaces, 'P', $name, 0, $file ? $file->{end} : 0, 0;
}

sub list_finished { # a chunk is finished if mbstream has begun to read the next one
    $unread = unpack 'i', $unread if $has_count && ioctl STDOUT, $unread_bytes, $unread = "\0" x 8;
    while (@pending && (!$has_count || $pending[0][0] < $passed - $unread)) {
        print INDEX $pending[0][1], "\0" or fail "cannot write $index: $!";
        shift @pending;
    }
    INDEX->flush;
}

sub write_text {
    my ($text) = @_;
    for (my $done = 0; $done < length $text;) {
        $done += syswrite(STDOUT, $text, length($text) - $done, $done) // fail "cannot pass a chunk on: $!";
    }
}
