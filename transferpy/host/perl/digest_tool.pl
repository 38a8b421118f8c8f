# The tool that digests data, and the failures of a digester and of its processes.
#
# The tool prints one line for each file among its arguments, which begins with the digest; without arguments it digests its
# standard input.
use strict;
use warnings;
use POSIX ();

my @tool; # its words
my ($failed, $has_reported) = (1, 99); # exit statuses

sub fail {
    print STDERR "@_\n";
    exit $failed;
}

sub check { # STATUS: that of the tool, or of a process of this program
    my ($status) = @_;
    exit $failed if $status == $has_reported << 8;
    fail "$tool[0] was ended by signal " . ($status & 127) if $status & 127;
    fail "$tool[0] failed with status " . ($status >> 8) . ', see above' if $status;
}

sub start_process { # CODE: runs CODE in a new process; returns its PID, and a handle of its standard output
    my ($code) = @_;
    pipe my $output_of_process, my $input or fail "cannot make a pipe: $!";
    my $process = fork // fail "cannot fork: $!";
    if (!$process) {
        $failed = $has_reported;
        open STDOUT, '>&', $input and open STDIN, '<', '/dev/null' or fail "cannot redirect: $!";
        $code->();
        POSIX::_exit(1);
    }
    return ($process, $output_of_process);
}

sub digests_from { # HANDLE: returns the digests that the tool has printed
    my ($output_of_tool) = @_;
    local $/;
    # For a name with a special character, a tool prints a backslash first.
    return map { /^\\?([0-9a-z]+)/ ? $1 : () } split /\n/, readline($output_of_tool) // '';
}
