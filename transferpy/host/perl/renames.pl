# Checks the files NAME.ren of a hot copy. Prints the first one that does not have the form DATABASE/NAME; nothing if all have it.
#
# Called as: perl -e PROGRAM, in the directory of the copy. The names of the files are on standard input; NUL ends each. A source that is
# not trusted has written them, and --prepare, which runs as root, gives NAME.ibd the name that they have, also outside of the copy.
use strict;
use warnings;

my $longest = 511; # two names of files with a slash
my $name = qr{(?!\.\.?(?:/|\z))[^/\x00-\x1f\x7f]{1,255}};

$/ = "\0";
while (defined(my $path = <STDIN>)) {
    chomp $path;
    open my $file, '<', $path or die "cannot read $path: $!\n";
    defined read $file, my $text, $longest + 1 or die "cannot read $path: $!\n";
    next if $text =~ m{\A$name/$name\z};
    my $refused = substr("$path: $text", 0, 200) =~ s/[^ -~]/?/gr;
    print $refused or die "cannot write: $!\n";
    exit;
}
