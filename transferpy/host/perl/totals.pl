# Prints the totals of a tree, as a copy needs the space, and on the next line the last error of find.
#
# Called as: perl -e PROGRAM. The records on standard input end with NUL: "KIND DEVICE:INODE LINKS BLOCKS SIZE". The errors of
# find, on lines, stand before the record that follows them.
#
# A file with several names counts once, and holes do not count. Of millions of such files, a list would take all memory. Instead,
# each of them sets four bits among 128 million: a file whose bits are all set was counted before. Of 10 million such files, one
# in 200 is taken for another one, and not counted.
use strict;
use warnings;

my $bits = 1 << 27;
my $seen = '';

sub was_seen { # DEVICE:INODE
    use integer;
    my ($device, $inode) = split /:/, shift;
    my $hash = ($inode ^ $device << 40) * 2177342782468422677;
    $hash = ($hash ^ $hash >> 29) * 4564476756301768121;
    my ($place, $step) = ($hash, $hash >> 32 | 1);
    vec($seen, $bits - 1, 1) = 0 if $seen eq '';
    my $unset = 0;
    for (1 .. 4) {
        $place = $place + $step & $bits - 1;
        $unset ||= !vec $seen, $place, 1;
        vec($seen, $place, 1) = 1;
    }
    return !$unset;
}

my ($blocks, $inodes, $files, $directories, $bytes, $largest, $sockets, $error) = (0, 0, 0, 0, 0, 0, 0, '');
$/ = "\0";
while (defined(my $record = <STDIN>)) {
    my $is_complete = chomp $record;
    my @lines = split /\n/, $record;
    if ($is_complete) {
        my ($kind, $identity, $links, $used, $size) = split / /, pop @lines;
        if ($kind eq 's') {
            $sockets++;
        } elsif ($kind eq 'd' || $links == 1 || !was_seen($identity)) {
            $inodes++;
            $blocks += $used;
            $directories++ if $kind eq 'd';
            next if $kind ne 'f';
            ($files, $bytes) = ($files + 1, $bytes + $size);
            $largest = $size if $size > $largest;
        }
    }
    $error = pop @lines // $error;
}
printf "disk=%.0f inodes=%.0f files=%.0f directories=%.0f bytes=%.0f largest=%.0f sockets=%.0f\n%s\n",
    $blocks * 512, $inodes, $files, $directories, $bytes, $largest, $sockets, $error;
