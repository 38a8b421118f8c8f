# The digester: digests every regular file that tar reads or writes, while tar is at work.
#
# Called as: perl -e PROGRAM INDEX OUTPUT WORKERS MODE CHILDREN TOOL [ARGUMENT ...], in the working directory of tar.
#
# INDEX is the output of "tar -vv", one line for each member, in the order of tar. The file INDEX.end exists once tar adds no
# further lines. A file is complete when tar names the next one. In the MODE "read", the data is still in memory, so the disk
# is read once. In the MODE "written", each file is written to disk and dropped from memory first, so that the digest is that of
# the data on the disk; the digester fails if the data of a file could not be written. CHILDREN is a file of /proc with the
# processes below which tar runs.
#
# OUTPUT.raw gets records, each ended by NUL. A file has "DIGEST ./PATH". A file that is larger than a segment has one record for
# each segment with data, "DIGEST NUMBER ./PATH", and one for all segments of zeros together, "zeros COUNT ./PATH". Segments are
# digested while tar is still at work on the file, on all processors. A hole is passed over at once, where the file system is
# known to report holes correctly; elsewhere it is read. So neither the memory nor the number of records depends on the size
# that a file claims to have. A tool takes far longer to open a small file than to digest it. So the digester reads small files
# itself, and a bundle of them has one record, "DIGEST ./PATH to PATH", of their names, sizes and contents. The index alone
# decides where a bundle ends, so both ends of the stream make the same bundles.
#
# OUTPUT.marks gets the same records of large files, and "MARK ./PATH" for each small one. A mark is a sum that only shows which
# files of a bundle differ if the digests of the bundle do. OUTPUT.count gets the number of files.
#
# requires: perl/digest_tool perl/system_calls perl/clock perl/file_systems
use strict;
use warnings;
use Fcntl qw(F_SETFD O_NOFOLLOW O_NONBLOCK O_RDONLY);
use IO::Handle;
use POSIX ();

(my ($index, $output, $workers, $mode, $children), @tool) = @ARGV;
my $is_written = $mode eq 'written';

# At the end of the stream, at most one segment and one group of files are left. A shift by these bits is exact for each size.
my $segment_bits = 26;
my $segment = 1 << $segment_bits;
my $block = 1 << 20;
# The files of one process of the tool: to start a process costs more than many small files, and all of them are open in it.
my ($batch_files, $batch_bytes) = (400, 64 << 20);
my ($small, $bundle_files, $bundle_bytes) = (64 << 10, 2_000, 64 << 20);
# Before the words of a file are summed, each is combined with the word at its place in this pad, so that their order counts.
my $pad = pack 'V*', map { $_ * 0x9e3779b1 & 0xffffffff } 1 .. $small / 4;
# A group of files is written to disk together: a file system writes a thousand files at once in the time of a few single ones.
my ($group_files, $group_bytes) = $is_written ? (5_000, 64 << 20) : ($batch_files, $batch_bytes);
my $group_seconds = $is_written ? 5 : 1;
my $poll_seconds = 0.01;
my $longest_line = 64 << 10; # of the index: the longest path has 4 KiB, and four characters stand for one of its bytes at most
my $set_pipe_size = 1031; # F_SETPIPE_SZ
my $seek_set = 0;
# Without posix_fadvise, the disk starts to read a file later. Without splice, data is copied twice more.
my ($advise, $splice) = @system_call{qw(posix_fadvise splice)};
my $will_need = 3;

my $lines;            # the handle of INDEX, once the file exists
my $rest = '';        # the incomplete last line of INDEX
my $ended = 0;        # 1 once all of INDEX has been read
# A file is a hash: name; size; for a large file also next, the number of its next segment to digest; limit, the number of
# segments of which tar has read or written the data; zeros, the number of those that have only zeros; running, the number of
# those that are being digested.
my $current;          # the file that tar reads or writes
my @bundle;           # small files that are complete
my $bundle_size = 0;  # the size of all files since the first one of the bundle
my @group;            # the files to write to disk next: [function that digests them, size, files] each
my ($group_count, $group_size, $group_since) = (0, 0, 0);
my ($writer, @written);   # the process that writes a group to disk, and that group
my @ready;            # batches, bundles and large files to digest: [function, arguments] each; it returns 1 to be called again
my %running;          # by the PID of a process: the names that it digests, the handle of its output, its bundle or large file
my $files = 0;

sub read_ahead { # FILE: the disk starts to read a small file; the kernel itself reads large ones ahead
    my ($file) = @_;
    syscall $advise, fileno $file, 0, 0, $will_need if $is_written && defined $advise && -s $file <= $block;
}

sub write_small { # DESCRIPTOR NAME: fails if the data could not be written to disk; its group was written to disk before
    my ($file, $name) = @_;
    !$is_written || write_to_disk($file) or fail "cannot write $name to disk: $!";
}

sub open_file { # NAME: returns a handle; fails if the name is no longer that of a regular file
    my ($name) = @_;
    sysopen my $file, $name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK or fail "cannot open $name: $!";
    -f $file or fail "$name is no longer a regular file";
    return $file;
}

sub open_small { # NAME: returns a descriptor, of a file of any kind, in a third of the time of open_file; starts to read it
    my ($name) = @_;
    my $file = POSIX::open($name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK) // fail "cannot open $name: $!";
    write_small($file + 0, $name);
    if ($is_written) {
        drop_from_memory($file + 0);
        syscall $advise, $file + 0, 0, 0, $will_need if defined $advise;
    }
    return $file;
}

sub start { # NAMES CODE [KEY VALUE]: runs CODE in a new process; it prints a digest for each name, or one for a bundle and marks
    my ($names, $code, @more) = @_;
    my ($process, $output_of_process) = start_process($code);
    $running{$process} = { names => $names, output => $output_of_process, @more };
    return 0;
}

sub digest_batch { # NAME ...
    my @names = @_;
    my @open = map { open_file $_ } @names;
    write_small(fileno $open[$_], $names[$_]) for 0 .. $#open;
    !$is_written || drop_from_memory(fileno $_) for @open;
    # All reads start before the first file is waited for: a disk serves many requests in the time of a few.
    read_ahead $_ for @open;
    start \@names, sub {
        # By descriptor: a tool prints some characters of a name in another way, and takes some names for options.
        fcntl $_, F_SETFD, 0 for @open;
        exec { $tool[0] } @tool, map { '/dev/fd/' . fileno $_ } @open;
    };
}

sub digest_bundle { # FILE ...
    my @files = @_;
    my @names = map { $_->{name} } @files;
    start \@names, sub {
        # The tool starts before the files are open, so that it does not inherit them.
        my $tool = open_tool();
        my ($text, $marks) = ('', '');
        while (my @some = splice @files, 0, $batch_files) {
            # As in digest_batch, all reads start before the first file is waited for.
            my @open = map { open_small $_->{name} } @some;
            for (@some) {
                my ($name, $size) = @$_{qw(name size)};
                my $file = shift @open;
                my $content = '';
                for (my $count = 1; $count > 0;) {
                    # If the file has grown, one more byte changes the digest.
                    $count = POSIX::read($file, my $more, $size + 1 - length $content) // fail "cannot read $name: $!";
                    $content .= $more if $count > 0;
                    last if length $content >= $size;
                }
                # A check of each file takes as long as the read. Data of the full size is that of the named file; if its kind
                # has changed, the manifests differ.
                $size && length $content == $size || -f "/proc/self/fd/$file" or fail "$name is no longer a regular file";
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
    }, bundle => "$names[0] to " . substr $names[-1], 2;
}

sub digest_segments { # FILE: starts to digest its next segment with data; returns 1 if there are more
    my ($file) = @_;
    my $name = $file->{name};
    my $handle = open_file $name;
    my $data = next_data($file, $handle);
    if ($data >= $file->{limit} * $segment) {
        pass_over($file, $file->{limit});
        return 0;
    }
    pass_over($file, $data >> $segment_bits);
    my $number = $file->{next}++;
    my ($offset, $end) = ($number * $segment, ($number + 1) * $segment);
    $end = $file->{size} if $end > $file->{size};
    $file->{running}++;
    start ["$number $name"], sub {
        if ($is_written) {
            $handle->sync or fail "cannot write $name to disk: $!";
            drop_from_memory(fileno $handle);
        }
        sysseek $handle, $offset, $seek_set or fail "cannot read $name: $!";
        pass_to_tool($handle, $name, $end - $offset);
    }, file => $file;
    return $file->{next} < $file->{limit};
}

sub next_data { # FILE HANDLE: returns the offset of the next data behind the segments that were digested
    my ($file, $handle) = @_;
    my $offset = $file->{next} * $segment;
    my @status = stat $handle;
    fail "$file->{name} has become shorter" if $status[7] < $file->{limit} * $segment && $status[7] < $file->{size};
    return $offset if $status[12] * 512 >= $file->{size} || !is_known(fileno $handle);
    # Some file systems know the holes of a file only after its data is on disk.
    !$is_written || $handle->sync or fail "cannot write $file->{name} to disk: $!";
    return find_data($handle, $offset) // $file->{size};
}

sub pass_over { # FILE NUMBER: all segments before that one are holes
    my ($file, $number) = @_;
    $file->{zeros} += $number - $file->{next};
    $file->{next} = $number;
    end_large_file($file);
}

sub end_large_file { # FILE: records its segments of zeros, once all of its segments have been digested
    my ($file) = @_;
    return if $file->{running} || $file->{next} * $segment < $file->{size} || !$file->{zeros};
    record("zeros $file->{zeros} $file->{name}\0");
}

sub print_and_end {
    print STDOUT @_;
    close STDOUT or POSIX::_exit(1);
    POSIX::_exit(0);
}

sub pass_to_tool { # FILE NAME LENGTH: if there are only zeros, the tool does not run, and the digest is the word "zeros"
    my ($file, $name, $length) = @_;
    my ($zeros, $none, $tool) = (0, "\0" x $block);
    while ($length > 0) {
        my $count = sysread $file, my $buffer, $length < $block ? $length : $block;
        defined $count or fail "cannot read $name: $!";
        $count or fail "$name has become shorter";
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

sub splice_to { # HANDLE FILE LENGTH: the kernel passes on bytes without a copy; returns their number
    my ($to, $file, $length) = @_;
    my $done = 0;
    while (defined $splice && $done < $length) {
        my $count = syscall $splice, fileno $file, 0, fileno $to, 0, $length - $done, 0;
        last if $count <= 0; # the following read or write reports the error
        $done += $count;
    }
    return $done;
}

sub open_tool { # starts the tool, and returns a handle for its standard input
    open my $tool, '|-', @tool or fail "cannot run $tool[0]: $!";
    fcntl $tool, $set_pipe_size, $block;
    return $tool;
}

sub write_all { # HANDLE TEXT
    my ($to, $text) = @_;
    for (my $done = 0; $done < length $text;) {
        $done += syswrite($to, $text, length($text) - $done, $done) // fail "$tool[0] has stopped reading: $!";
    }
    return 1;
}

sub collect { # STATUS PROCESS: records the output of a process that has ended
    my ($status, $process) = @_;
    my @digests = digests_from($process->{output});
    my ($bundle, $file, @names) = (@$process{qw(bundle file)}, @{ $process->{names} });
    check($status);
    @digests == @names + defined $bundle or fail "$tool[0] printed something else than digests";
    my $all = defined $bundle ? shift(@digests) . " $bundle\0" : '';
    if ($file && $digests[0] eq 'zeros') {
        $file->{zeros}++;
    } else {
        record(join('', map { shift(@digests) . " $_\0" } @names), $all);
    }
    if ($file) {
        $file->{running}--;
        end_large_file($file);
    }
}

sub record { # RECORDS [RECORD]: those of the single files, and that of their bundle
    my ($each, $all) = @_;
    print OUTPUT $all || $each and print MARKS $each or fail "cannot write the list of digests: $!";
}

sub reap { # handles all processes that have ended; returns 1 if there are any
    my $some = 0;
    while ((my $process = waitpid -1, POSIX::WNOHANG()) > 0) {
        $some = 1;
        if (my $ended_process = delete $running{$process}) {
            collect($?, $ended_process);
        } elsif (defined $writer && $process == $writer) {
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
    $group_since = now() if !@group;
    push @group, [@_];
    $group_count += @files;
    $group_size += $size;
}

sub close_group { # if it is large enough, or if it cannot grow
    return if !@group || defined $writer;
    return if !$ended && $group_count < $group_files && $group_size < $group_bytes && now() - $group_since < $group_seconds;
    ($group_count, $group_size) = (0, 0);
    return make_batches(splice @group) if !$is_written;
    @written = splice @group;
    $writer = fork // fail "cannot fork: $!";
    # Its error may be that of another run. Each file is asked for its own error when it is opened.
    open STDERR, '>', '/dev/null' and exec 'sync', '--file-system', '.' or POSIX::_exit(1) if !$writer;
}

sub processes_in { # FILE: returns the processes that it lists, and their descendants: tar is the child of a subshell
    open my $list, '<', shift or return ();
    return map { ($_, processes_in("/proc/$_/task/$_/children")) } split ' ', readline($list) // '';
}

sub reading_position { # returns the position of tar in the current file
    my @identity = stat $current->{name} or return 0;
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

sub follow_current { # digests the complete segments of the file that tar still reads or writes
    return if !$current || $current->{size} <= $segment || @ready;
    my $position = $is_written ? (-s $current->{name}) // 0 : reading_position();
    $position = $current->{size} if $position > $current->{size};
    my $limit = $position && $position - 1 >> $segment_bits; # the last segment may still grow
    return if $limit <= $current->{limit};
    $current->{limit} = $limit;
    push @ready, [\&digest_segments, $current];
}

sub finish_current {
    my $file = $current;
    undef $current;
    my ($name, $size) = @$file{qw(name size)};
    if ($size <= $small) {
        push @bundle, $file;
    } elsif ($size <= $segment) {
        add_to_group(\&digest_batch, $size, $name);
    } else {
        $file->{limit} = ($size - 1 >> $segment_bits) + 1;
        # follow_current may have added it.
        push @ready, [\&digest_segments, $file] if !grep { $_->[1] eq $file } @ready;
    }
    $bundle_size += $size if @bundle;
    close_bundle() if @bundle == $bundle_files || $bundle_size >= $bundle_bytes;
}

# Kind and mode, numbers of user and group, size or number of the device, time, name. tar prints some times of far years as a
# number, and puts spaces behind each time that is shorter than one before.
my $member = qr{^([-hlbcpd])\S{9}[ +.*]? \d+/\d+ +(\d+)(?:,\d+)? (?:-?\d{4,}-\d\d-\d\d \d\d:\d\d|-?\d+) +(\./.*)$}s;
my %escape = (a => "\a", b => "\b", f => "\f", n => "\n", r => "\r", t => "\t", v => "\x0b");

sub handle_lines { # of the index, in the format of "ls -l"; characters that cannot be printed are escaped
    for (@_) {
        next if /^d\S{9} +Creating directory: /; # the archive of a lane has files before their directories
        finish_current() if $current;
        my ($kind, $size, $name) = /$member/ or fail "tar printed an unknown line: $_";
        # A further name of a file is counted, but the file is not digested again.
        $files++ if $kind eq '-' || $kind eq 'h';
        next if $kind ne '-';
        $name =~ s{\\([0-7]{3}|.)}{ length $1 == 3 ? chr oct $1 : $escape{$1} // $1 }ges if index($name, '\\') >= 0;
        $current = { name => $name, size => $size, next => 0, limit => 0, zeros => 0, running => 0 };
    }
}

sub read_index {
    my $last = -e "$index.end"; # before the read: then the read returns the last line
    if (!$lines && !open $lines, '<', $index) {
        undef $lines;
        $ended = $last;
        return 0;
    }
    my $count = sysread $lines, $rest, 1 << 16, length $rest;
    defined $count or fail "cannot read $index: $!";
    my @lines = split /\n/, $rest, -1;
    $rest = pop(@lines) // '';
    length $rest <= $longest_line or fail "a line of $index is too long";
    handle_lines(@lines);
    if ($count == 0 && $last) {
        $rest eq '' or fail "the last line of $index is incomplete";
        finish_current() if $current;
        close_bundle();
        $ended = 1;
    }
    return $count;
}

$SIG{CHLD} = sub { }; # a signal ends the sleep of select
open OUTPUT, '>', "$output.raw" and open MARKS, '>', "$output.marks" or fail "cannot write $output: $!";
for (;;) {
    my $moved = reap();
    # Each fork copies the memory of this program, so it reads no more of the index than the processors and the disk need. tar
    # does not wait for it: the index is a file.
    $moved += read_index() if !$ended && @ready < 2 * $workers && $group_count < 2 * $group_files;
    follow_current();
    close_group();
    while (@ready && keys %running < $workers) {
        my ($digest, @words) = @{ $ready[0] };
        $digest->(@words) or shift @ready;
    }
    last if $ended && !@group && !defined $writer && !@ready && !%running;
    select undef, undef, undef, $poll_seconds if !$moved;
}
close OUTPUT and close MARKS or fail "cannot write $output: $!";
open OUTPUT, '>', "$output.count" and print OUTPUT "$files\n" and close OUTPUT or fail "cannot write $output: $!";
