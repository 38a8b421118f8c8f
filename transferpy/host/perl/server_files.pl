# Finds out if the files that a backup tool would read are those of the server that answers. Prints one of:
#   files=same
#   files=other own=PATH path=PATH, on three lines: at "path", the server has another file, which this host has at "own"
#   files=hidden: the kernel does not show the process or its files to this program, as in a container without CAP_SYS_PTRACE
#   files=unknown: no process was found that answers and has files in these directories open
#
# Called as: perl -e PROGRAM -- SECONDS SOCKET CLIENT ... The command of the database client reads statements from standard input. The
# program fails if the client or the server needs more than SECONDS to answer.
#
# The process of the server is the process at the other end of the client's socket. If this is a proxy or systemd, the process of the
# server is the one with the thread of the connection. The server reports the ID of this thread. In another PID namespace, no server has
# this ID.
# requires: perl/results perl/system_calls perl/roots perl/clock
use strict;
use warnings;
use Cwd qw(abs_path);
use Errno;
use IO::Select;
use IPC::Open2;
use Socket;

my $most_descriptors = 10_000; # a server opens its logs first
my @variables = qw(datadir innodb_data_home_dir innodb_log_group_home_dir innodb_undo_directory aria_log_dir_path);

my ($seconds, $path, @command) = @ARGV;
my $client = open2(my $answers, my $statements, @command);
my $deadline = now() + $seconds;
$SIG{PIPE} = 'IGNORE'; # the end of the client is an error with a message
my @directories = directories(ask("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('" . join("', '", @variables) . "')"));
my $process = peer();
my $state = examine($process);
if ($state ne 'found') {
    # Only MariaDB has this column.
    my $query = 'SELECT TID AS thread FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()';
    my ($thread) = eval { grep {/\Athread=/} ask($query) };
    die $@ if $@ =~ /\Ano answer/;
    my $owner = ($thread // '') =~ s/\D//gr;
    my $found = examine($owner);
    ($process, $state) = ($owner, $found) if $found ne 'unknown';
}
close $statements;
IO::Select->new($answers)->can_read($seconds); # its end
print map { tr/\n/?/r . "\n" } $state eq 'found' ? compare() : "files=$state";
close STDOUT or die "cannot write: $!\n";
exit;

END { kill KILL => $client } # a failure is reported at once, also if the client hangs

sub ask { # STATEMENT: returns the lines of the result
    my ($statement) = @_;
    my $answer = '';
    syswrite $statements, "$statement;\n" or die "the client ended\n";
    until ($answer =~ m{</resultset>\n}) {
        my $rest = $deadline - now();
        $rest > 0 && IO::Select->new($answers)->can_read($rest) or die "no answer within $seconds seconds\n";
        sysread $answers, $answer, 1 << 16, length $answer or die "the client ended\n";
    }
    return rows($answer);
}

sub directories { # LINE ...: returns the paths of all directories, the data directory first
    my %value;
    my $name = '';
    for (@_) {
        $name = $1 if /\AVariable_name=(.*)/s;
        $value{$name} = $1 if /\AValue=(.*)/s;
    }
    die "the server reports no data directory\n" if !$value{datadir};
    # A relative path is one in the data directory.
    return map { s{(?<=.)/+\z}{}r } map { m{\A/} ? $_ : "$value{datadir}/$_" } map { $value{$_} // '' } @variables;
}

sub peer { # returns the process at the other end of the client's socket; 0 if it is in another PID namespace or not known
    my $socket = copy_of_socket() // new_connection() // return 0;
    my $credentials = getsockopt $socket, SOL_SOCKET, SO_PEERCRED;
    return $credentials ? unpack 'l', $credentials : 0;
}

sub copy_of_socket { # returns a copy of the client's socket; undef if the client has none or the kernel refuses that
    my ($open, $get) = @system_call{qw(pidfd_open pidfd_getfd)};
    my ($socket) = grep { (readlink // '') =~ /\Asocket:/ } glob "/proc/$client/fd/*";
    return undef if !$get || !$socket;
    my $process = syscall $open, $client, 0;
    my $descriptor = syscall $get, $process, $socket =~ s{.*/}{}r + 0, 0;
    return undef if $descriptor < 0;
    open my $copy, '+<&=', $descriptor or return undef;
    return $copy;
}

sub new_connection { # returns a connection without a login: the server may log it as aborted
    socket my $connection, AF_UNIX, SOCK_STREAM, 0 or return undef;
    return connect($connection, pack_sockaddr_un($path)) ? $connection : undef;
}

sub examine { # PROCESS: returns "found" if this is the process of the server; else "hidden" or "unknown"
    my ($process) = @_;
    return 'unknown' if !$process;
    my ($is_server) = in_root($process, sub { has_open_file() ? 1 : 0 });
    return $is_server ? 'found' : 'unknown' if defined $is_server;
    return $!{EACCES} || $!{EPERM} ? 'hidden' : 'unknown';
}

sub compare { # returns the lines of the result
    my $path = other_file($process, $directories[0], @directories) // return 'files=same';
    my ($own) = in_root($process, sub { abs_path($path) // $path });
    return 'files=other', "own=/proc/$process/root$own", "path=$path";
}

sub has_open_file { # succeeds if a descriptor in the working directory is that of a file in one of the directories
    opendir my $descriptors, '.' or return 0;
    my $count = 0;
    while (defined(my $descriptor = readdir $descriptors)) {
        last if ++$count > $most_descriptors;
        my ($name) = (readlink $descriptor // '') =~ m{/([^/]+)\z} or next;
        my $identity = identity($descriptor);
        return 1 if grep { identity("$_/$name") eq $identity } @directories;
    }
    return 0;
}
