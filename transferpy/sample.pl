# Writes a sample of the data to standard output: pieces from all over it, as a copy of the files would meet them.
#
# Called as: perl -e PROGRAM LIST. LIST holds records that end with a NUL: a size in bytes and a path, or those of a
# manifest. A disk that is slow to find them makes it a smaller sample: it ends when half a second is over.
use strict;
use warnings;
use Fcntl qw(O_NOFOLLOW O_NONBLOCK O_RDONLY);
use POSIX ();

my ($pieces, $piece) = (32, 128 << 10);
my $end = (POSIX::times())[0] + POSIX::sysconf(POSIX::_SC_CLK_TCK()) / 2;

$/ = "\0";

sub each_file { # LIST CODE: calls CODE with the size and the path of each; twice through the list needs no memory
    my ($list, $code) = @_;
    open my $records, '<', $list or die "cannot read $list: $!\n";
    while (<$records>) {
        chomp;
        $code->($1, $2) if /^(?:f \S+ \S+ \S+ )?([0-9]+) (.*)$/s && $1;
    }
}

my ($list) = @ARGV;
my $total = 0;
each_file($list, sub { $total += $_[0] });
my $distance = $total / $pieces;
my ($next, $passed, $wanted) = ($distance / 2, 0, 0);
each_file($list, sub {
    my ($size, $name) = @_;
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
});
