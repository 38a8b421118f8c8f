# Writes a sample of the data to standard output: pieces from all files, in the order of a copy.
#
# Called as: perl -e PROGRAM LIST TOTAL. LIST has records that end with NUL: a size in bytes and a path, or records of a manifest.
# TOTAL is the approximate sum of the sizes, over which the pieces are spread; 0 if the program has to add them up, which takes a
# while for many files. The program ends after half a second, so a slow disk or a very long list makes a smaller sample. It also
# ends when the pieces are complete, so that a file that has grown to any size does not make a larger sample.
use strict;
use warnings;
use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_RDONLY);
use POSIX ();

my ($pieces, $piece) = (32, 128 << 10);

my ($list, $total) = @ARGV;
$/ = "\0";
open my $records, '<', $list or die "cannot read $list: $!\n";

sub next_file { # returns the size and the path of the next file that is not empty
    while (defined(my $record = <$records>)) {
        chomp $record;
        my ($size, $name) = $record =~ /^([0-9]+) (.*)$/s;
        ($name, $size) = $record =~ m{^(.*?)//f (?:\S+ ){3}([0-9]+) }s if !defined $size;
        return ($size, $name) if $size;
    }
    return;
}

if (!$total) {
    while (my ($size) = next_file()) {
        $total += $size;
    }
    seek $records, 0, 0;
}
my $end = (POSIX::times())[0] + POSIX::sysconf(POSIX::_SC_CLK_TCK()) / 2;
my $distance = $total / $pieces;
my ($next, $passed, $wanted, $left) = ($distance / 2, 0, 0, $pieces * $piece);
while (my ($size, $name) = next_file()) {
    # The last piece may be longer than its file was.
    while ($wanted > 0 || $next < $passed + $size) {
        exit 0 if (POSIX::times())[0] > $end;
        my $offset = 0;
        if ($wanted <= 0) {
            ($offset, $wanted) = (int($next - $passed), $piece);
            $next += $distance > $piece ? $distance : $piece;
        }
        my $buffer = '';
        sysopen my $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or last;
        -f $file or last;
        sysseek $file, $offset, 0 if $offset;
        my $count = sysread $file, $buffer, $wanted;
        last if !$count;
        print $buffer;
        $wanted -= $count;
        $left -= $count;
        exit 0 if $left <= 0;
        last if $offset + $count >= $size;
    }
    $passed += $size;
}
