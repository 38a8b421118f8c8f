# Names the table to which each file of a server belongs, and applies the files with which --prepare finishes a backup.
#
# Called as: perl -e PROGRAM KIND, in the data directory. KIND is "server" or "copy". The records on standard input end with NUL:
# "DATABASE/FILE//INODE CTIME". Those on standard output are "DATABASE/TABLE//SUFFIX EFFECT INODE CTIME", such as "shop/a//.frm here 5
# 1.0" and "shop/a//#P#p0.ibd here 6 1.0". The EFFECT is "here" for a file, "gone" for a file that --prepare removes, and "new" for a file
# that --prepare makes.
#
# For an InnoDB table that changes during the backup, mariadb-backup (10.11.19) writes NAME.new, the data of a new table; NAME.del, if
# NAME.ibd was removed; NAME.ren, with the new DATABASE/NAME of NAME.ibd. --prepare applies them in the order del, ren, new. On a server, a
# table with DATA DIRECTORY has NAME.isl in place of NAME.ibd.
use strict;
use warnings;

my ($kind) = @ARGV;

sub new_name { # FILE: returns the DATABASE/NAME in a file NAME.ren
    my ($path) = @_;
    open my $file, '<', $path or die "cannot read $path: $!\n";
    defined read $file, my $name, 4096 or die "cannot read $path: $!\n";
    return $name;
}

sub name_table { # DATABASE/NAME SUFFIX EFFECT FIELDS
    my ($name, $suffix, $effect, $fields) = @_;
    my ($table, $partition) = $name =~ /^(.+?)(#P#.*|)$/is or return;
    print "$table//$partition$suffix $effect $fields\0" or die "cannot write: $!\n";
}

$/ = "\0";
while (defined(my $record = <STDIN>)) {
    chomp $record;
    my ($path, $fields) = split m{//}, $record, 2;
    # Other directories than those of databases begin with "." or "#", and so do temporary tables.
    my ($name, $suffix) = $path =~ m{^([^.#/][^/]*/[^.#].*)(\.[^.]+)$}s or next;
    if ($kind eq 'server') {
        name_table($name, $suffix eq '.isl' ? '.ibd' : $suffix, 'here', $fields);
    } elsif ($suffix eq '.new') {
        name_table($name =~ s/\.ibd$//r, '.ibd', 'new', $fields);
    } elsif ($suffix eq '.del') {
        name_table($name, '.ibd', 'gone', $fields);
    } elsif ($suffix eq '.ren') {
        name_table($name, '.ibd', 'gone', $fields);
        name_table(new_name($path), '.ibd', 'new', $fields);
    } else {
        name_table($name, $suffix, 'here', $fields);
    }
}
