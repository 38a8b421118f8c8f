# Distributes the entries of a tree over the lanes of a stream.
#
# Called as: perl -e PROGRAM ENTRIES PREFIX LANES. ENTRIES has the records of perl/manifest, "./PATH//KIND LINKS INODE BYTES", in the
# order of their paths. PREFIX.directories gets the paths of the directories. PREFIX gets those of the first lane, PREFIX-1 those of
# the second one, and so on, in the same order; PREFIX.parents, PREFIX-1.parents and so on get the directories that contain them. All
# paths end with NUL.
#
# Large files are distributed first, each to the lane with the least work so far. Other files follow in runs, so that the neighbours
# in a directory mostly stay together. All names of an inode are in one lane, because only one tar can link them. The work of an entry
# is its bytes and a constant. An entry is large if it has more work than a run. So their number depends on LANES only, and nothing
# else is kept in memory.
#
# The first lane gets no symbolic link: tar makes some links at the end of its archive, after it has set the times of the directories.
use strict;
use warnings;
use List::Util qw(reduce);

my ($entries, $prefix, $lanes) = @ARGV;
my $entry_work = 32 << 10; # to make a small file takes as long as to write this number of bytes
my $runs = 500;            # of a lane

my @outputs = map { open_output($_ ? "$prefix-$_" : $prefix) } 0 .. $lanes - 1;
my @parents = map { open_output($_ ? "$prefix-$_.parents" : "$prefix.parents") } 0 .. $lanes - 1;
my @last_parent = ('./') x $lanes; # of each lane: the last directory in its list
my $directories = open_output("$prefix.directories");
my @work = (0) x $lanes; # of each lane
my ($total, %large, %lane_of) = (0);

for_each(sub { $total += $_[1] });
my $longest = $total / ($lanes * $runs);
for_each(sub {
    my ($path, $work, $inode, $is_link) = @_;
    $large{ $inode // $path } += $work if $work > $longest && !$is_link;
});
for my $key (sort { $large{$b} <=> $large{$a} || $a cmp $b } keys %large) {
    my $lane = $lane_of{$key} = idlest();
    $work[$lane] += $large{$key};
}
my ($current, $run) = (idlest(), 0);
for_each(sub {
    my ($path, $work, $inode, $is_link) = @_;
    my $lane = $lane_of{ $inode // $path };
    if (!defined $lane) {
        ($current, $run) = (idlest(), 0) if $run > $longest;
        # The number of inodes with several names is not limited, so their lane follows from the number of the inode.
        $lane = defined $inode ? (split /:/, $inode)[1] % ($lanes - $is_link) + $is_link : $current || $is_link;
        $run += $work if $lane == $current;
        $work[$lane] += $work;
    }
    print { $outputs[$lane] } "$path\0" or die "cannot write $prefix: $!\n";
    add_parents($lane, $path =~ s{[^/]*\z}{}r);
}, sub { print $directories "$_[0]\0" or die "cannot write $prefix: $!\n" });
close $_ or die "cannot write $prefix: $!\n" for @outputs, @parents, $directories;

sub add_parents { # LANE DIRECTORY: adds all directories on its path that the last one did not have on its own; ends with a slash
    my ($lane, $directory) = @_;
    return if $directory eq $last_parent[$lane];
    while ($directory =~ m{/}g) {
        my $above = substr $directory, 0, pos $directory;
        next if $above eq substr $last_parent[$lane], 0, length $above;
        print { $parents[$lane] } substr($above, 0, -1) . "\0" or die "cannot write $prefix: $!\n";
    }
    $last_parent[$lane] = $directory;
}

sub open_output { # FILE
    open my $output, '>', $_[0] or die "cannot write $_[0]: $!\n";
    return $output;
}

sub idlest { # returns the lane with the least work
    return reduce { $work[$b] < $work[$a] ? $b : $a } 0 .. $lanes - 1;
}

sub for_each { # CODE [CODE]: calls it with the path and the work of each entry, its inode if it has several names, and 1 for a
               # symbolic link, else 0; calls the second one with the path of each directory
    my ($code, $code_of_directories) = @_;
    local $/ = "\0";
    open my $input, '<', $entries or die "cannot read $entries: $!\n";
    while (defined(my $record = <$input>)) {
        chomp $record;
        my ($path, $rest) = split m{//}, $record, 2;
        my ($kind, $links, $inode, $bytes) = split / /, $rest;
        if ($kind eq 'd') {
            $code_of_directories->($path) if $code_of_directories;
        } else {
            # Some file systems, such as those in user space, report 0 links.
            $code->($path, $entry_work + $bytes / ($links || 1), $links > 1 ? $inode : undef, $kind eq 'l' ? 1 : 0);
        }
    }
    close $input or die "cannot read $entries: $!\n";
}
