# Digests the stream of mariadb-backup on standard input, on the source.
#
# Called as: perl -e PROGRAM LIST WORKERS TOOL [ARGUMENT ...]. LIST gets the digests of all pieces.
# requires: perl/chunks perl/pieces
use strict;
use warnings;

my %open; # by name, each file that is not complete: size, head, the offset of its next piece, and the data from there on
my $number = 0;

(my ($list_of_stream, $processes), @tool) = @ARGV;
start_list($list_of_stream, $processes);
while (my $chunk = next_chunk()) {
    $number++;
    note_change($number, $chunk);
    my $name = $chunk->{name};
    my $file = $open{$name} // { name => $name, size => 0, head => '', next => $longest_head, tail => '' };
    if ($chunk->{kind} eq 'P') {
        $open{$name} = $file;
        take_part($file, $chunk->{offset}, $chunk->{offset} + $chunk->{size});
    } elsif ($chunk->{kind} eq 'E') {
        end_file($file);
        delete $open{$name};
    }
}
finish_list();

sub take_part { # FILE OFFSET END
    my ($file, $offset, $end) = @_;
    my $name = $file->{name};
    check_order($name, $file->{size}, $offset, $end);
    if ($offset < $longest_head) {
        my $length = ($end < $longest_head ? $end : $longest_head) - $offset;
        substr($file->{head}, $offset, $length) = read_exactly($length);
    }
    for (next_pieces($file, $end)) {
        my ($place, $length) = @$_;
        my $piece = memory_with($file->{tail});
        my $rest = $length - length $file->{tail};
        copy_bytes(\*STDIN, $piece, $rest, $name) == $rest or fail 'unexpected end of the stream of the backup';
        $file->{tail} = '';
        add_piece("$number $place+$length ./$name", $length, sub { $piece });
    }
    my $rest = $end - ($file->{next} > $offset ? $file->{next} : $offset);
    $file->{tail} .= read_exactly($rest);
    $file->{size} = $end if $end > $file->{size};
}

sub end_file { # FILE
    my ($file) = @_;
    my ($name, $size, $head, $tail) = @$file{qw(name size head tail)};
    for (next_pieces($file, $size, 'is complete')) {
        my ($place, $length) = @$_;
        my $piece = memory_with($tail);
        add_piece("$number $place+$length ./$name", $length, sub { $piece });
    }
    my $piece = memory_with($head);
    add_piece("$number $size ./$name", length $head, sub { $piece });
}

sub memory_with { # TEXT
    my ($text) = @_;
    my $piece = open_memory();
    syswrite($piece, $text) // fail "cannot copy a piece: $!";
    return $piece;
}
