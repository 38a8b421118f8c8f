# Pieces of files of a hot copy, which are digested, and the list of their digests.
#
# The pieces follow from the stream of the backup alone, so both ends have the same ones. The head of a file is a piece: its first
# 64 KiB, or less, as they are when the file is complete, because mariadb-backup writes a part of a head twice. Most files have
# no other piece. Further pieces begin at multiples of 64 KiB, so that no page of memory has parts of two, and have 16 MiB at most.
#
# A record of the list is "DIGEST NUMBER RANGE ./NAME", ended by NUL. NUMBER is the number of the chunk. RANGE is the size of
# the file for its head, else "OFFSET+LENGTH". finish_list leaves out the numbers, and files that were removed or replaced later,
# and gives each file its last name.
# requires: perl/digest_tool perl/chunks perl/copy_bytes
use strict;
use warnings;
use Fcntl qw(F_SETFD O_CREAT O_EXCL O_RDWR);
use POSIX ();

my $longest_piece = 16 << 20;
# A digest tool takes longer to start than to digest many small files. The pieces of a batch are in memory.
my ($batch_files, $batch_bytes) = (100, 16 << 20);
my $most_workers = 4; # faster than most disks; a database needs memory and processors
my $most_changes = 100_000;

my $list;    # the name of the list
my $workers; # the number of processes that digest at once
my ($records, @batch); # the handle of the list that grows; pieces
my $batch_size = 0;
my %running;           # by PID, the labels of a batch, and the handle of the output of the tool
my (%changes, $changes); # by name, the changes after which a file no longer has it: [number of the chunk, new name or undef, 1 if it is the last name]; their number

sub start_list { # LIST WORKERS
    ($list, $workers) = @_;
    $workers = $most_workers if $workers > $most_workers;
    open $records, '>', "$list.raw" or fail "cannot write $list.raw: $!";
    $changes = 0;
}

sub next_pieces { # FILE SIZE [IS-COMPLETE]: returns offset and length of the pieces behind "next" of a file that has this size now
    my ($file, $size, $is_complete) = @_;
    my $end = $is_complete ? $size : $size - $size % $longest_head;
    my @pieces;
    while ($file->{next} < $end) {
        my $length = $end - $file->{next} < $longest_piece ? $end - $file->{next} : $longest_piece;
        push @pieces, [$file->{next}, $length];
        $file->{next} += $length;
    }
    return @pieces;
}

sub open_memory { # returns a handle of an empty file without a name
    my $name = "piece\0";
    my $descriptor = defined $system_call{memfd_create} ? syscall $system_call{memfd_create}, $name, 0 : -1;
    my $file;
    return $file if $descriptor >= 0 && open $file, '+<&=', $descriptor;
    $name = "$list.piece.$$"; # several processes make such files at the same time
    sysopen $file, $name, O_CREAT | O_EXCL | O_RDWR and unlink $name or fail "cannot write $name: $!";
    return $file;
}

sub add_piece { # LABEL LENGTH CODE: the code returns a handle of a file that has the data; it may run in another process
    start_batch() if @batch >= $batch_files || $batch_size + $_[1] > $batch_bytes;
    push @batch, [@_];
    $batch_size += $_[1];
}

sub start_batch { # digests the pieces of the batch; first waits until there is a free worker
    return if !@batch;
    reap() while keys %running >= $workers;
    my @pieces = splice @batch;
    $batch_size = 0;
    my ($process, $output) = start_process(sub {
        my @open = map { $_->[2]->() } @pieces;
        fcntl $_, F_SETFD, 0 for @open;
        exec { $tool[0] } @tool, map { '/dev/fd/' . fileno $_ } @open;
    });
    $running{$process} = [$output, map { $_->[0] } @pieces];
}

sub reap { # waits for the end of a process, and records its digests
    my $process = waitpid -1, 0;
    my ($output, @labels) = @{ delete $running{$process} // fail 'a process of the digester is missing' };
    my $status = $?;
    my @digests = digests_from($output);
    check($status);
    @digests == @labels or fail "$tool[0] printed something else than digests";
    record("$digests[$_] $labels[$_]") for 0 .. $#labels;
}

sub record {
    print {$records} "@_\0" or fail "cannot write $list: $!";
}

sub note_change { # NUMBER CHUNK
    my ($number, $chunk) = @_;
    my ($kind, $name, $new_name) = @$chunk{qw(kind name new_name)};
    return if $kind ne 'R' && $kind ne 'D' && !$chunk->{replaces};
    ++$changes <= $most_changes or fail 'too many files were renamed, removed or replaced during the backup';
    push @{ $changes{$name} }, [$number, $new_name];
    push @{ $changes{$new_name} }, [$number] if defined $new_name; # the file that had this name before
}

sub last_name { # NUMBER NAME: returns the last name of the file of a chunk; undef if the file was removed or replaced
    my ($number, $name) = @_;
    my @passed;
    while (defined $name && defined(my $change = next_change($number, $name))) {
        push @passed, $change;
        ($number, $name, my $is_last) = @$change;
        last if $is_last;
    }
    @$_[1, 2] = ($name, 1) for @passed; # the next call needs one step instead of all of them
    return $name;
}

sub next_change { # NUMBER NAME: returns the first change of this name behind a chunk; a hostile source may send many
    my ($number, $name) = @_;
    my $of_name = $changes{$name} // return;
    my ($first, $end) = (0, scalar @$of_name);
    while ($first < $end) {
        my $middle = $first + $end >> 1;
        if ($of_name->[$middle][0] > $number) {
            $end = $middle;
        } else {
            $first = $middle + 1;
        }
    }
    return $of_name->[$first];
}

sub finish_list { # [CODE]: writes the list; calls CODE with range and name, for a new digest, where a name had changes
    my ($digest_again) = @_;
    start_batch();
    reap() while %running;
    close $records and open my $raw, '<', "$list.raw" and open $records, '>', $list or fail "cannot write $list: $!";
    local $/ = "\0";
    while (defined(my $record = <$raw>)) {
        my ($digest, $number, $range, $name) = $record =~ m{^(\S+) (\d+) (\S+) \./(.*)\0$}s;
        my $last_name = last_name($number, $name) // next;
        if ($changes{$name} && $digest_again) {
            $digest_again->($range, $last_name);
        } else {
            record("$digest $range ./$last_name");
        }
    }
    start_batch();
    reap() while %running;
    close $records and unlink "$list.raw" or fail "cannot write $list: $!";
}
