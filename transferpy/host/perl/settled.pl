# Compares the changes of tables that mariadb-backup has applied to the copy with the tables of the server.
#
# Called as: perl -e PROGRAM SECONDS LOST REPEATED. The records on standard input are those of a server after the backup, from tables.pl.
# LOST is that of digest_stream. Prints "DATABASE/FILE", ended by NUL, for each file of a table with a definition that is older than
# SECONDS: these tables belong to the copy. REPEATED gets the names of tables that the copy lost by mistake; it is empty if there are none.
#
# mariadb-backup (10.11.19, 11.8.9) reads the tables of Aria and MyISAM after those of InnoDB. At the end, it applies all changes of tables
# since its beginning to the copy, also the changes that were before the read. So it removes or renames tables that had been created or
# renamed before. A table with a definition (.frm) that is older than the read had no change after the read.
use strict;
use warnings;

my $most_names = 10;
my ($seconds, $lost, $repeated) = @ARGV;
$/ = "\0";

sub read_times { # returns the time of the last read of each name
    open my $list, '<', $lost or die "cannot read $lost: $!\n";
    my %time_of;
    while (defined(my $record = <$list>)) {
        chomp $record;
        my ($time, $name) = split / /, $record, 2;
        $time_of{$name} = $time if $time > ($time_of{$name} // 0);
    }
    return %time_of;
}

my %read_at = read_times();
my %lost;
while (defined(my $record = <STDIN>)) {
    my ($name, $changed) = $record =~ m{^(.*)//\d+ ([0-9.]+)\0$}s or next;
    print "$name\0" or die "cannot write: $!\n" if $changed < $seconds;
    $lost{$name =~ s{(?:#P#.*)?\.[^./]*$}{}sr} = 1 if exists $read_at{$name} && $changed <= $read_at{$name};
}
my @names = sort keys %lost;
splice @names, $most_names, @names, 'and others' if @names > $most_names;
open my $list, '>', $repeated or die "cannot write $repeated: $!\n";
print {$list} join ', ', @names and close $list or die "cannot write $repeated: $!\n";
close STDOUT or die "cannot write: $!\n";
