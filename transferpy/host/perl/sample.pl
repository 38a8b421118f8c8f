# Writes a sample of the data to standard output: pieces from all over it, as a copy of the files would meet them.
#
# Called as: perl -e PROGRAM LIST TOTAL. LIST holds records that end with a NUL: a size in bytes and a path, or those of
# a manifest. TOTAL is the sum of the sizes, about, by which the pieces are spread; 0 where it has to be added up first,
# which of many files takes a while. It ends when half a second is over: a disk that is slow, or a very long list, makes
# it a smaller sample.
use strict;
use warnings;
use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_RDONLY);
use POSIX ();

my ($pieces, $piece) = (32, 128 << 10);

my ($list, $total) = @ARGV;
$/ = "\0";
open my $records, '<', $list or die "cannot read $list: $!\n";

sub next_file { # returns the size and the path of the next that is not empty
    while (defined(my $record = <$records>)) {
        chomp $record;
        return ($1, $2) if $record =~ /^(?:f \S+ \S+ \S+ )?([0-9]+) (.*)$/s && $1;
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
my ($next, $passed, $wanted) = ($distance / 2, 0, 0);
while (my ($size, $name) = next_file()) {
    # The piece before this one may want more than its file had.
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
        last if $offset + $count >= $size;
    }
    $passed += $size;
}
