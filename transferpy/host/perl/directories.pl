# What a session does with directories and their entries.
#
# Called as: perl -e PROGRAM COMMAND ARGUMENT ... The commands are the subroutines of the files that this one requires, and:
#   rename_new OLD NEW  renames a file; fails if the new name exists
#   make_private PATH   makes a directory that only its owner can enter, without an ACL
# requires: perl/files perl/identify perl/locate perl/move
use strict;
use warnings;

my %command = (
    identify => \&identify,
    locate => \&locate,
    make_private => \&make_private,
    move => \&move,
    rename_new => sub { rename_new(@_) or die "$!\n" },
);
my $name = shift;
$command{$name}->(@ARGV);
