# Pieces of files of a hot copy, which are digested, and the list of their digests.
#
# The pieces follow from the stream of the backup alone, so both ends have the same ones. The head of a file is a piece: its first
# 64 KiB, or less, as they are when the file is complete, because mariadb-backup writes a part of a head twice. Most files have
# no other piece. Further pieces end at multiples of 2 MiB or at the end of the file, and have 16 MiB at most. The kernel keeps up to
# 2 MiB of a file as one folio. So a folio of a complete piece is not written again, and can be dropped from memory.
#
# A record of the list is "DIGEST ID RANGE ./NAME", ended by NUL. ID is that of the file. RANGE is the size of the file for its head,
# else "OFFSET+LENGTH". finish_list leaves out the IDs, and files that were removed or replaced later, and gives each file its last
# name. The ID of a file is the time in microseconds at which its first part was read, or a little later.
# requires: perl/digest_tool perl/chunks perl/copy_bytes
use strict;
use warnings;
use Fcntl qw(F_SETFD O_CREAT O_EXCL O_RDWR);
use POSIX ();
use Time::HiRes qw(time);

my ($longest_piece, $longest_folio) = (16 << 20, 2 << 20);
# A digest tool takes longer to start than to digest many small files. The pieces of a batch are in memory.
my ($batch_files, $batch_bytes) = (100, 16 << 20);
my $most_workers = 4; # faster than most disks; a database needs memory and processors
my ($most_files, $most_changed) = (4_000_000, 1_000_000); # each needs memory

my $list;    # the name of the list
my $workers; # the number of processes that digest at once
my ($records, @batch); # the handle of the list that grows; pieces
my $batch_size = 0;
my %running;           # by PID, the labels of a batch, and the handle of the output of the tool
my %file_of;           # by name, the ID of each file that mbstream has at this point of the stream
my %changed;           # by name, 1 if a file of this name was renamed, removed or replaced, or has the name of a file from before
my $last_id = 0;

sub start_list { # LIST WORKERS
    ($list, $workers) = @_;
    $workers = $most_workers if $workers > $most_workers;
    open $records, '>', "$list.raw" or fail "cannot write $list.raw: $!";
}

sub next_pieces { # FILE SIZE [IS-COMPLETE]: returns offset and length of the pieces behind "next" of a file that has this size now
    my ($file, $size, $is_complete) = @_;
    my $end = $is_complete ? $size : $size - $size % $longest_folio;
    my @pieces;
    while ($file->{next} < $end) {
        my $length = $longest_piece - $file->{next} % $longest_piece;
        $length = $end - $file->{next} if $length > $end - $file->{next};
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

sub add_file { # NAME: returns the ID of a new file, which replaces that of this name
    my ($name) = @_;
    keys %file_of < $most_files or fail "the backup has more than $most_files files";
    note_change($name) if exists $file_of{$name};
    my $now = int(1e6 * time);
    $last_id = $now > $last_id ? $now : $last_id + 1;
    return $file_of{$name} = $last_id;
}

sub note_change { # NAME
    my ($name) = @_;
    $changed{$name} = 1;
    keys %changed <= $most_changed or fail 'too many files were renamed, removed or replaced during the backup';
}

sub take_name { # NAME [NEW-NAME]: removes or renames a file, if there is one, as mbstream does; returns [NAME, ID] of each file that
    # lost its name
    my ($name, $new_name) = @_;
    my $file = delete $file_of{$name} // return;
    my @lost = [$name, $file];
    note_change($name);
    return @lost if !defined $new_name;
    push @lost, [$new_name, $file_of{$new_name}] if exists $file_of{$new_name};
    note_change($new_name);
    $file_of{$new_name} = $file;
    return @lost;
}

sub finish_list { # [CODE]: writes the list; calls CODE with range and name, for a new digest, where a name had changes
    my ($digest_again) = @_;
    start_batch();
    reap() while %running;
    close $records and open my $raw, '<', "$list.raw" and open $records, '>', $list or fail "cannot write $list: $!";
    my %name_of = map { exists $file_of{$_} ? ($file_of{$_} => $_) : () } keys %changed;
    local $/ = "\0";
    while (defined(my $record = <$raw>)) {
        my ($digest, $id, $range, $name) = $record =~ m{^(\S+) (\d+) (\S+) \./(.*)\0$}s;
        my $last_name = $changed{$name} ? $name_of{$id} // next : $name;
        if ($changed{$name} && $digest_again) {
            $digest_again->($range, $last_name);
        } else {
            record("$digest $range ./$last_name");
        }
    }
    start_batch();
    reap() while %running;
    close $records and unlink "$list.raw" or fail "cannot write $list: $!";
}
