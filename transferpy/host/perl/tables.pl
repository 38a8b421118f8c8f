# Lists the tables of a server, or of a copy of one, and the data that they lack.
#
# Called as: perl -e PROGRAM KIND TABLES LACKING, in the data directory. KIND is "server" or "copy". The records on standard input are
# those of table_files.pl, sorted.
#
# TABLES gets a record for each file of a table: "DATABASE/FILE" for a copy, "DATABASE/FILE//IDENTITY" for a server. The identity of a
# definition (.frm and others) is its inode and ctime, which change with its content and its name. The identity of a data file is that of
# the .frm of its table. So if a record is in two lists of a server, the table existed all the time in between. Without a .frm, it is the
# inode of the data file. The record of a full-text index (FTS_...) has no database, because the file moves with its table to another one.
#
# LACKING gets "DATABASE/FILE" for each file that a table needs and does not have. The engine of a table is in the header of its .frm. A
# table in the system tablespace has no .ibd, so this is in the list, also for a server. A damaged .frm counts as a file that is lacking.
use strict;
use warnings;
use Errno;

# The files that a table of an engine has, by the number of the engine in a .frm and a .par. For the other engines, a backup has no data.
my %needed_by = (
    9 => ['.MYD', '.MYI'], # MyISAM
    10 => ['.MRG'],
    12 => ['.ibd'],
    16 => ['.ARZ'],
    17 => ['.CSV', '.CSM'],
    42 => ['.MAD', '.MAI'], # Aria
);
my $partitioned = 20;
my $most_partitions = 8192;
my $most_bytes = 2 << 20; # of the list of partitions: a name has at most 255 bytes, because it is a part of the name of a file
my $definition = qr/^\.(?:frm|par|TRG|TRN|opt)$/;
my $data = qr/\.(?:ibd|MYD|MYI|MRG|ARZ|CSV|CSM|MAD|MAI)$/;

my ($kind, @files) = @ARGV;
my ($tables, $lacking) = map { open my $list, '>', $_ or die "cannot write $_: $!\n"; $list } @files;

sub beginning { # FILE BYTES: returns the first bytes of a file; nothing if a server has removed it
    my ($path, $bytes) = @_;
    my $file;
    if (!open $file, '<', $path) {
        return if $kind eq 'server' && $!{ENOENT};
        die "cannot read $path: $!\n";
    }
    defined read $file, my $text, $bytes or die "cannot read $path: $!\n";
    return $text;
}

sub partition_files { # TABLE: returns the suffixes of the files that the partitions of a table need
    my ($table) = @_;
    my $list = beginning("$table.par", $most_bytes) // return;
    return '.par' if length $list < 12;
    my $number = unpack 'x8V', $list;
    my $names = 12 + ($number + 3 & ~3);
    return '.par' if $number > $most_partitions || length $list < $names + 4;
    my @engines = unpack "x12C$number", $list;
    my @names = split /\0/, substr($list, $names + 4, unpack "x${names}V", $list), $number + 1;
    return '.par' if @names <= $number || pop(@names) =~ /[^\0]/;
    return map { my $name = "#P#$names[$_]"; map { "$name$_" } @{$needed_by{$engines[$_]} // []} } 0 .. $#names;
}

sub needed_files { # TABLE FILES: returns the suffixes of the files that a table needs, and those of damaged definitions
    my ($table, $files) = @_;
    my $header = beginning("$table.frm", 64) // return;
    return if $header =~ /^TYPE=/; # a view
    return '.frm' if length $header < 64 || $header !~ /^\xfe\x01/;
    my $engine = ord substr $header, 3, 1;
    return @{$needed_by{$engine} // []} if $engine != $partitioned;
    return $files->{'.par'} ? partition_files($table) : '.par';
}

sub lacks_always { # TABLE SUFFIX INODE: succeeds unless a server has changed the table since it was listed
    my ($table, $suffix, $inode) = @_;
    my $name = $table . $suffix =~ s/\.[^.]+$//r;
    return ((lstat "$table.frm")[1] // 0) == $inode && ($suffix =~ /$definition/ || !grep { -e } "$table$suffix", "$name.isl");
}

sub record { # FILE IDENTITY
    my ($file, $identity) = @_;
    print $tables $file, $kind eq 'copy' ? '' : "//$identity", "\0" or die "cannot write $files[0]: $!\n";
}

sub list_table { # TABLE FILES: the fields of each file by its suffix
    my ($table, $files) = @_;
    my $frm = $files->{'.frm'};
    for my $suffix (sort keys %$files) {
        my ($inode, $ctime) = @{$files->{$suffix}};
        if ($suffix =~ $definition) {
            record("$table$suffix", "$inode $ctime");
        } elsif ($suffix =~ $data && $frm) {
            record("$table$suffix", "$frm->[0] $frm->[1]");
        } elsif ($suffix =~ /\.(?:ibd|ARZ)$/) {
            record($table =~ s{^[^/]*/(?=FTS_)}{}r . $suffix, $inode);
        }
    }
    # A server may have very many tables, most of them in a file of InnoDB.
    return if !$frm || $kind eq 'server' && $files->{'.ibd'};
    for my $suffix (grep { /$definition/ || !$files->{$_} } needed_files($table, $files)) {
        next if $kind eq 'server' && !lacks_always($table, $suffix, $frm->[0]);
        print $lacking "$table$suffix\0" or die "cannot write $files[1]: $!\n";
    }
}

my ($last, %files, %gone) = ('');

sub end_table {
    list_table($last, \%files) if %files;
    (%files, %gone) = ();
}

$/ = "\0";
while (defined(my $record = <STDIN>)) {
    chomp $record;
    my ($table, $file) = split m{//}, $record, 2;
    end_table() if $table ne $last;
    $last = $table;
    # The effects of one file are in the order of the alphabet.
    my ($suffix, $effect, @identity) = $file =~ /^(.*) (gone|here|new) (\d+) (\S+)$/s or die "unexpected record: $record\n";
    $gone{$suffix} = 1 if $effect eq 'gone';
    $files{$suffix} = \@identity if $effect eq 'new' || $effect eq 'here' && !$gone{$suffix};
}
end_table();
for (0 .. $#files) {
    close +($tables, $lacking)[$_] or die "cannot write $files[$_]: $!\n";
}
