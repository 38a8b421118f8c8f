# The results that a database client writes as XML.
use strict;
use warnings;

my %character = (amp => '&', lt => '<', gt => '>', quot => '"');

# Returns a list of lines: for each row the line "row", and a line NAME=VALUE for each field. NULL is an empty value. A blank
# stands for a line break in a value.
sub rows {
    my ($text) = @_;
    my @lines;
    while ($text =~ m{(<row>)|<field name="([^"]*)"(?: xsi:nil="true" />|>(.*?)</field>)}gs) {
        my $line = defined $1 ? 'row' : "$2=" . ($3 // '');
        $line =~ tr/\n/ /;
        $line =~ s/&(amp|lt|gt|quot);/$character{$1}/g;
        push @lines, $line;
    }
    return @lines;
}
