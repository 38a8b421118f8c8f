# The digester: the digest of every regular file that tar reads or writes, right behind it.
#
# Called as: perl -e PROGRAM INDEX OUTPUT WORKERS ROLE CHILDREN TOOL [ARGUMENT ...], in the directory that tar works in.
#
# INDEX is what "tar -vv" says of its members, in its order; INDEX.end stands there when no more is coming. A file is
# done when the next one is named. What tar has just read is still in memory, so that no disk is asked twice for it. What
# it wrote (ROLE is "target") is given to the disk first and forgotten in memory, so that the disk is what is read.
#
# OUTPUT.raw gets records, each ended by a NUL: of a file "DIGEST ./PATH"; of a file that is larger than a segment one for
# each segment, "DIGEST NUMBER ./PATH": they are digested while tar is still at work on the file, on all processors, and
# the word for one that holds nothing but zeros spares both ends the reading of holes. Small files cost a tool far more to
# open than to digest, so a bundle of them, read here, has one record, "DIGEST ./PATH to PATH": of the names, sizes and
# contents. A bundle ends where the index says, not the clock: both ends make the same ones. OUTPUT.marks gets the records
# of the large files too, and "MARK ./PATH" of each small one. A mark is a sum that only says which files of a bundle
# differ when its digests do. OUTPUT.count gets the number of files. TOOL prints a line for each file it is given, which
# begins with the digest, and digests its standard input where it is given none.
# requires: perl/system_calls
use strict;
use warnings;
use Fcntl qw(F_SETFD O_NOFOLLOW O_NONBLOCK O_RDONLY);
use IO::Handle;
use POSIX ();

my ($index, $output, $workers, $role, $children, @tool) = @ARGV;
my $on_target = $role eq 'target';

my $segment = 64 << 20; # what is left to do when the stream ends, at most, with a group of files
my $block = 1 << 20;
# At once: a process costs more than many small files, and each of them is open in it.
my ($batch_files, $batch_bytes) = (400, 64 << 20);
my ($small, $bundle_files, $bundle_bytes) = (64 << 10, 2_000, 64 << 20);
# So that the sum of a file's words is another one when they change places.
my $pad = pack 'V*', map { $_ * 0x9e3779b1 & 0xffffffff } 1 .. $small / 4;
# A file system writes a thousand files at once in the time of a few alone.
my ($group_files, $group_bytes) = $on_target ? (5_000, 64 << 20) : ($batch_files, $batch_bytes);
my $group_seconds = $on_target ? 5 : 1;
my $seconds_between_looks = 0.01;
my $set_pipe_size = 1031; # F_SETPIPE_SZ
my ($seek_data, $seek_set) = (3, 0);
# Without the one, what is read may come from memory; without the other, it is copied twice more.
my ($advise, $splice) = @system_call{qw(posix_fadvise splice)};
my ($will_need, $dont_need) = (3, 4);

my $lines;            # INDEX, once it is there
my $rest = '';        # of its last line
my $ended = 0;        # whether all of it has been read
my $current;          # the file that tar is at work on: [name, size]
my $next_segment;     # of that file, the next one to digest
my @bundle;           # small files that are done: [name, size] each
my $bundle_size = 0;  # of all files since its first
my @group;            # what can be given to the disk: [how to digest it, its size, the files] each
my ($group_count, $group_size, $group_since) = (0, 0, 0);
my ($writer, @written);   # who gives a group to the disk, and that group
my @ready;            # batches and segments that can be digested
my %running;          # by process: what it digests, and where its answer comes from
my $files = 0;
my ($failed, $has_said_why) = (1, 99); # statuses

sub fail {
    print STDERR "@_\n";
    exit $failed;
}

sub check { # STATUS: of the tool, or of a process of ours
    my ($status) = @_;
    exit $failed if $status == $has_said_why << 8;
    fail "$tool[0] was ended by signal " . ($status & 127) if $status & 127;
    fail "$tool[0] failed with status " . ($status >> 8) . ', see above' if $status;
}

sub has_written { # FILE [OFFSET LENGTH]: has the disk forgotten in memory what it holds of it
    my ($file, $offset, $length) = @_;
    syscall $advise, fileno $file, $offset || 0, $length || 0, $dont_need if $on_target && defined $advise;
}

sub will_read { # FILE: has the disk begin to read it, if it is small; a large one is read in good time as it is
    my ($file) = @_;
    syscall $advise, fileno $file, 0, 0, $will_need if $on_target && defined $advise && -s $file <= $block;
}

sub open_file { # NAME: only ever a regular file, whatever has that name by now
    my ($name) = @_;
    sysopen my $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or fail "cannot open $name: $!";
    -f $file or fail "$name is not a regular file any more";
    return $file;
}

sub open_small { # NAME: just its number, of whatever kind it is, which takes a third of the time; begins to read it
    my ($name) = @_;
    my $file = POSIX::open($name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) // fail "cannot open $name: $!";
    if ($on_target && defined $advise) {
        syscall $advise, $file + 0, 0, 0, $_ for $dont_need, $will_need;
    }
    return $file;
}

sub start { # NAMES CODE [BUNDLE]: has CODE print a digest of each of NAMES, in a process of its own, or of all, and marks
    my ($names, $code, $bundle) = @_;
    pipe my $answer, my $say or fail "cannot make a pipe: $!";
    my $process = fork // fail "cannot fork: $!";
    if (!$process) {
        $failed = $has_said_why;
        open STDOUT, '>&', $say and open STDIN, '<', '/dev/null' or fail "cannot redirect: $!";
        $code->();
        POSIX::_exit(1);
    }
    $running{$process} = { names => $names, answer => $answer, bundle => $bundle };
}

sub digest_batch { # NAME ...
    my @names = @_;
    my @open = map { open_file $_ } @names;
    has_written $_ for @open;
    # All are asked for before the first is waited for: a disk serves many at once in the time of a few.
    will_read $_ for @open;
    start \@names, sub {
        # By number: a name can hold what a tool prints in another way, or takes for an option.
        fcntl $_, F_SETFD, 0 for @open;
        exec { $tool[0] } @tool, map { '/dev/fd/' . fileno $_ } @open;
    };
}

sub digest_bundle { # FILE ...
    my @files = @_;
    my @names = map { $_->[0] } @files;
    start \@names, sub {
        # Before any file is open, so that it has none of them.
        my $tool = open_tool();
        my ($text, $marks) = ('', '');
        while (my @some = splice @files, 0, $batch_files) {
            # As in digest_batch, all are asked for before the first is waited for.
            my @open = map { open_small $_->[0] } @some;
            for (@some) {
                my ($name, $size) = @$_;
                my $file = shift @open;
                my $content = '';
                for (my $count = 1; $count > 0;) {
                    # If there is more by now than was named, one byte of it makes all the difference.
                    $count = POSIX::read($file, my $more, $size + 1 - length $content) // fail "cannot read $name: $!";
                    $content .= $more if $count > 0;
                    last if length $content >= $size;
                }
                # To ask that of each costs as much as to read it. What is read in full is as good as the file that was
                # named; that it is of another kind by now, the list of files tells.
                $size && length $content == $size || -f "/proc/self/fd/$file" or fail "$name is not a regular file any more";
                POSIX::close($file);
                $text .= pack 'w/a* w/a*', $name, $content;
                $marks .= sprintf "%08x\n", unpack '%32V*', ($content ^ substr $pad, 0, length $content) . "\0\0\0";
                write_all($tool, $text) and $text = '' if length $text >= $small;
            }
        }
        write_all($tool, $text);
        close $tool;
        check($?);
        print_and_end($marks);
    }, "$names[0] to " . substr $names[-1], 2;
}

sub digest_segment { # NAME SIZE NUMBER
    my ($name, $size, $number) = @_;
    my ($offset, $end) = ($number * $segment, ($number + 1) * $segment);
    $end = $size if $end > $size;
    my $file = open_file $name;
    if ((stat $file)[12] * 512 < $size) {
        # Not every file system knows what is data before that is on disk.
        !$on_target || $file->sync or fail "cannot write $name to disk: $!";
        my $data = sysseek $file, $offset, $seek_data;
        # A hole needs neither the disk nor a process: there may be thousands.
        return note("zeros $number $name\0") if !defined $data && $!{ENXIO} || defined $data && $data >= $end;
    }
    start ["$number $name"], sub {
        if ($on_target) {
            $file->sync or fail "cannot write $name to disk: $!";
            has_written $file, $offset, $end - $offset;
        }
        sysseek $file, $offset, $seek_set or fail "cannot read $name: $!";
        pass_on($file, $name, $end - $offset);
    };
}

sub print_and_end {
    print STDOUT @_;
    close STDOUT or POSIX::_exit(1);
    POSIX::_exit(0);
}

sub pass_on { # FILE NAME LENGTH: to the tool, from the first block on that is not all zeros
    my ($file, $name, $length) = @_;
    my ($zeros, $none, $tool) = (0, "\0" x $block);
    while ($length > 0) {
        my $count = sysread $file, my $buffer, $length < $block ? $length : $block;
        defined $count or fail "cannot read $name: $!";
        $count or fail "$name is shorter than it was";
        $length -= $count;
        if (!$tool) {
            if ($buffer eq ($count == $block ? $none : "\0" x $count)) {
                $zeros += $count;
                next;
            }
            $tool = open_tool();
            for (; $zeros > 0; $zeros -= $block) {
                write_all($tool, $zeros < $block ? "\0" x $zeros : $none);
            }
        }
        write_all($tool, $buffer);
        $length -= splice_to($tool, $file, $length);
    }
    print_and_end("zeros\n") if !$tool;
    close $tool;
    check($?);
    POSIX::_exit(0);
}

sub splice_to { # HANDLE FILE LENGTH: has the kernel pass on so many bytes, without copies; returns how many that were
    my ($to, $file, $length) = @_;
    my $done = 0;
    while (defined $splice && $done < $length) {
        my $count = syscall $splice, fileno $file, 0, fileno $to, 0, $length - $done, 0;
        last if $count <= 0; # what is wrong, reading and writing tells
        $done += $count;
    }
    return $done;
}

sub open_tool { # begins to digest what is written to the handle that it returns
    open my $tool, '|-', @tool or fail "cannot run $tool[0]: $!";
    fcntl $tool, $set_pipe_size, $block;
    return $tool;
}

sub write_all { # HANDLE TEXT
    my ($to, $text) = @_;
    for (my $done = 0; $done < length $text;) {
        $done += syswrite($to, $text, length($text) - $done, $done) // fail "$tool[0] does not read on: $!";
    }
    return 1;
}

sub collect { # STATUS JOB: takes in what a process said that has ended
    my ($status, $job) = @_;
    local $/;
    my @digests = map { /^\\?([0-9a-z]+)/ ? $1 : () } split /\n/, readline($job->{answer}) // '';
    my @names = @{ $job->{names} };
    check($status);
    @digests == @names + defined $job->{bundle} or fail "$tool[0] said something else than digests";
    my $all = defined $job->{bundle} ? shift(@digests) . " $job->{bundle}\0" : '';
    note(join('', map { shift(@digests) . " $_\0" } @names), $all);
}

sub note { # RECORDS [RECORD]: of each file, and the one of all of them, where they share a digest
    my ($each, $all) = @_;
    print OUTPUT $all || $each and print MARKS $each or fail "cannot write the list of digests: $!";
}

sub reap { # takes in whatever has ended
    my $some = 0;
    while ((my $process = waitpid -1, POSIX::WNOHANG()) > 0) {
        $some = 1;
        if (my $job = delete $running{$process}) {
            collect($?, $job);
        } elsif (defined $writer && $process == $writer) {
            $? == 0 or fail 'what arrived could not be written to disk';
            make_batches(splice @written);
            undef $writer;
        }
    }
    return $some;
}

sub make_batches { # PART OF A GROUP ...
    my (@batch, $size);
    for my $part (@_) {
        my ($digest, $bytes, @files) = @$part;
        push @ready, [$digest, @files] and next if $digest == \&digest_bundle;
        push @batch, @files;
        $size += $bytes;
        push @ready, [$digest, splice @batch] and $size = 0 if @batch == $batch_files || $size >= $batch_bytes;
    }
    push @ready, [\&digest_batch, @batch] if @batch;
}

sub close_bundle {
    add_to_group(\&digest_bundle, $bundle_size, splice @bundle) if @bundle;
    $bundle_size = 0;
}

sub add_to_group { # CODE SIZE FILE ...
    my ($digest, $size, @files) = @_;
    $group_since = time if !@group;
    push @group, [@_];
    $group_count += @files;
    $group_size += $size;
}

sub close_group { # when there is enough of it, or nothing more to wait for
    return if !@group || defined $writer;
    return if !$ended && $group_count < $group_files && $group_size < $group_bytes && time - $group_since < $group_seconds;
    ($group_count, $group_size) = (0, 0);
    return make_batches(splice @group) if !$on_target;
    @written = splice @group;
    $writer = fork // fail "cannot fork: $!";
    exec 'sync', '--file-system', '.' or POSIX::_exit(1) if !$writer;
}

sub processes_in { # FILE: the processes that it names, and those below them: a shell of its own runs the first stage
    open my $list, '<', shift or return ();
    return map { ($_, processes_in("/proc/$_/task/$_/children")) } split ' ', readline($list) // '';
}

sub reading_position { # how far tar is with the current file
    my @identity = stat $current->[0] or return 0;
    for my $process (processes_in($children)) {
        for my $link (glob "/proc/$process/fd/*") {
            my @other = stat $link;
            next if !@other || $other[0] != $identity[0] || $other[1] != $identity[1];
            open my $state, '<', $link =~ s/fd/fdinfo/r or next;
            return $1 if (readline($state) // '') =~ /^pos:\s*(\d+)/;
        }
    }
    return 0;
}

sub follow_current { # digests what is behind tar of a file that it is still at work on
    return if !$current || $current->[1] <= $segment || @ready;
    my $position = $on_target ? (-s $current->[0]) // 0 : reading_position();
    push @ready, [\&digest_segment, @$current, $next_segment++] while ($next_segment + 1) * $segment < $position;
}

sub finish_current {
    my $file = $current;
    undef $current;
    my ($name, $size) = @$file;
    if ($size <= $small) {
        push @bundle, $file;
    } elsif ($size <= $segment) {
        add_to_group(\&digest_batch, $size, $name);
    } else {
        push @ready, [\&digest_segment, $name, $size, $next_segment++] while $next_segment * $segment < $size;
    }
    $bundle_size += $size if @bundle;
    close_bundle() if @bundle == $bundle_files || $bundle_size >= $bundle_bytes;
}

my %escape = (a => "\a", b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", v => "\x0b");

sub take_lines { # of the index, as "ls -l" has them, with what cannot be printed escaped
    for (@_) {
        finish_current() if $current;
        my ($kind, $size, $name) = /^(.)\S+ +\S+ +(\d+) \S+ \S+ (.*)$/s or next;
        # A further name of a file that has been digested counts, and no more.
        $files++ if $kind eq '-' || $kind eq 'h';
        next if $kind ne '-';
        $name =~ s{\\([0-7]{3}|.)}{ length $1 == 3 ? chr oct $1 : $escape{$1} // $1 }ges if index($name, '\\') >= 0;
        ($current, $next_segment) = ([$name, $size], 0);
    }
}

sub read_index {
    my $last = -e "$index.end"; # before the look: what is written until then has been written
    if (!$lines && !open $lines, '<', $index) {
        undef $lines;
        $ended = $last;
        return 0;
    }
    my $count = sysread $lines, $rest, 1 << 16, length $rest;
    defined $count or fail "cannot read $index: $!";
    my @lines = split /\n/, $rest, -1;
    $rest = pop(@lines) // '';
    take_lines(@lines);
    if ($count == 0 && $last) {
        $rest eq '' or fail "the last line of $index is not whole";
        finish_current() if $current;
        close_bundle();
        $ended = 1;
    }
    return $count;
}

$SIG{CHLD} = sub { }; # ends the sleep
open OUTPUT, '>', "$output.raw" and open MARKS, '>', "$output.marks" or fail "cannot write $output: $!";
for (;;) {
    my $moved = reap();
    # What waits for a processor is enough, as each fork copies all that is known here. tar need not wait, its index is a
    # file.
    $moved += read_index() if !$ended && @ready < 2 * $workers;
    follow_current();
    close_group();
    while (@ready && keys %running < $workers) {
        my ($digest, @words) = @{ shift @ready };
        $digest->(@words);
    }
    last if $ended && !@group && !defined $writer && !@ready && !%running;
    select undef, undef, undef, $seconds_between_looks if !$moved;
}
close OUTPUT and close MARKS or fail "cannot write $output: $!";
open OUTPUT, '>', "$output.count" and print OUTPUT "$files\n" and close OUTPUT or fail "cannot write $output: $!";
