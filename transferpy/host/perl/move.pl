# Moves entries of the directory FROM to the directory TO, and replaces nothing. Standard input has a record "IDENTITY NAME" for
# each entry, which a null byte ends.
#
# Called as: move WHICH FROM TO. WHICH is one of:
#   all     every entry; the first one that cannot be moved ends the program. No other user can enter FROM
#   proven  the entries whose identity is proven
#   similar also the entries with the device and the inode of a record without a handle; TO is made for the first one
# requires: perl/files
use strict;
use warnings;

# Succeeds if the file at a path is that of a record.
sub is_recorded {
    my ($which, $path, $identity) = @_;
    my $found = identity($path) // return 0;
    my ($device, $inode, $handle) = split /:/, $identity;
    return $found eq $identity if ($handle // '-') ne '-';
    return $which eq 'similar' && $found =~ /\A$device:$inode:/;
}

sub move_entry {
    my ($which, $from, $to, $identity, $name) = @_;
    return if $which ne 'all' && !is_recorded($which, "$from/$name", $identity);
    make_private($to) if $which eq 'similar' && !-e $to;
    rename_new("$from/$name", "$to/$name") or die "$name: $!\n";
    return if $which eq 'all' || is_recorded($which, "$to/$name", $identity);
    # Another process replaced the entry between the look and the rename.
    rename_new("$to/$name", "$from/$name") or die "$name: it was replaced; it cannot be moved back from $to: $!\n";
    return;
}

sub move {
    my ($which, $from, $to) = @_;
    my $failed = 0;
    local $/ = "\0";
    while (my $record = <STDIN>) {
        chomp $record;
        next if eval { move_entry($which, $from, $to, split(/ /, $record, 2)); 1 };
        print STDERR $@;
        $failed = 1;
        last if $which eq 'all';
    }
    exit $failed;
}
