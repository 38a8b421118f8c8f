# Prints the rows of the results that a database client has written as XML to standard input: for each row the line "row", and a
# line NAME=VALUE for each field. NULL is an empty value. A blank stands for a line break in a value.
use strict;
use warnings;

my %character = (amp => '&', lt => '<', gt => '>', quot => '"');
local $/;
my $text = <STDIN> // '';
while ($text =~ m{(<row>)|<field name="([^"]*)"(?: xsi:nil="true" />|>(.*?)</field>)}gs) {
    my $line = defined $1 ? 'row' : "$2=" . ($3 // '');
    $line =~ tr/\n/ /;
    $line =~ s/&(amp|lt|gt|quot);/$character{$1}/g;
    print "$line\n";
}
close STDOUT or die "cannot write: $!\n";
