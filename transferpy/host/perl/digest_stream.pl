# Digests the stream of mariadb-backup on standard input, on the source.
#
# Called as: perl -e PROGRAM LIST LOST WORKERS TOOL [ARGUMENT ...]. LIST gets the digests of all pieces. LOST gets a record for each
# file that the stream renames, removes or replaces by a rename: "SECONDS NAME", ended by NUL. SECONDS is the time at which its
# first part was read, or a little later.
# requires: perl/chunks perl/pieces
use strict;
use warnings;

my %open; # by name, each file that is not complete: name, ID, size, head, the offset of its next piece, and the data from there on

(my ($list_of_stream, $lost, $processes), @tool) = @ARGV;
start_list($list_of_stream, $processes);
open my $lost_names, '>', $lost or fail "cannot write $lost: $!";
while (my $chunk = next_chunk()) {
    my ($kind, $name) = @$chunk{qw(kind name)};
    take_change($chunk) if $kind eq 'R' || $kind eq 'D';
    next if $kind ne 'P' && $kind ne 'E';
    my $file = $open{$name} //= { name => $name, id => add_file($name), size => 0, head => '', next => $longest_head, tail => '' };
    if ($kind eq 'P') {
        take_part($file, $chunk->{offset}, $chunk->{offset} + $chunk->{size});
    } else {
        end_file($file);
        delete $open{$name};
    }
}
close $lost_names or fail "cannot write $lost: $!";
finish_list();

sub take_change { # CHUNK
    for (take_name(@{ $_[0] }{qw(name new_name)})) {
        my ($name, $id) = @$_;
        printf {$lost_names} "%.6f %s\0", $id / 1e6, $name or fail "cannot write $lost: $!";
    }
}

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
        add_piece("$file->{id} $place+$length ./$name", $length, sub { $piece });
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
        add_piece("$file->{id} $place+$length ./$name", $length, sub { $piece });
    }
    my $piece = memory_with($head);
    add_piece("$file->{id} $size ./$name", length $head, sub { $piece });
}

sub memory_with { # TEXT
    my ($text) = @_;
    my $piece = open_memory();
    syswrite($piece, $text) // fail "cannot copy a piece: $!";
    return $piece;
}
