# Finds out if the directories that a backup tool would read are those of the server that answers. Prints one of:
#   files=same
#   files=other process=PID directory=PATH, on three lines: at that path, the process has another directory
#   files=unknown: no process was found that answers and has files in these directories open
#
# Called as: perl -e PROGRAM -- CLIENT ... The command of the database client reads statements from standard input.
#
# In a container or in another mount namespace, a path means another file. The process of the server is the one at the other end
# of the client's socket. With a proxy or systemd there, it is the one with the thread of the connection: the server reports the
# number of the thread, which in another PID namespace is the number of no server.
# requires: perl/results perl/system_calls
use strict;
use warnings;
use IPC::Open2;
use Socket;

my $most_descriptors = 10_000; # a server opens its logs first
my @variables = qw(datadir innodb_data_home_dir innodb_log_group_home_dir innodb_undo_directory aria_log_dir_path);
opendir my $root, '/' or die "/: $!\n";
$/ = "</resultset>\n";

my $client = open2(my $answers, my $statements, @ARGV);
my @directories = directories(ask("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('" . join("', '", @variables) . "')"));
my ($result, @difference) = inspect(peer());
if ($result eq 'unknown') {
    my ($thread) = grep {/\Athread=/} ask('SELECT TID AS thread FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()');
    ($result, @difference) = inspect($thread =~ s/\D//gr);
}
close $statements;
waitpid $client, 0;
print map {"$_\n"} "files=$result", @difference;
close STDOUT or die "cannot write: $!\n";
exit;

sub ask { # STATEMENT: returns the lines of the result
    my ($statement) = @_;
    print {$statements} "$statement;\n" or die "the client ended: $!\n";
    $statements->flush;
    return rows(<$answers> // die "the client ended\n");
}

sub directories { # LINE ...: returns the paths of all directories, the data directory first
    my %value;
    my $name = '';
    for (@_) {
        $name = $1 if /\AVariable_name=(.*)/s;
        $value{$name} = $1 if /\AValue=(.*)/s;
    }
    # A relative path is one in the data directory.
    return map { m{\A/} ? $_ : "$value{datadir}/$_" } map { $value{$_} // '' } @variables;
}

sub peer { # returns the process at the other end of the client's socket; 0 if it is unknown or in another PID namespace
    my ($open, $get) = @system_call{qw(pidfd_open pidfd_getfd)};
    for my $socket (grep { (readlink // '') =~ /\Asocket:/ } $get ? glob "/proc/$client/fd/*" : ()) {
        my $process = syscall $open, $client, 0;
        my $descriptor = syscall $get, $process, $socket =~ s{.*/}{}r + 0, 0;
        open my $copy, '+<&=', $descriptor or return 0;
        my $credentials = getsockopt $copy, SOL_SOCKET, SO_PEERCRED;
        return $credentials ? unpack 'l', $credentials : 0;
    }
    return 0;
}

sub identity { # PATH
    my ($device, $inode) = stat shift;
    return defined $inode ? "$device:$inode" : 'none';
}

sub inspect { # PROCESS: compares the directories with those that this process has under the same paths
    my ($process) = @_;
    my @here = map { identity($_) } @directories;
    return 'unknown' if !$process || !chdir "/proc/$process/fd";
    # The working directory is not in this root, so the descriptors can still be read.
    my @there = chroot "/proc/$process/root" ? map { identity($_) } @directories : ();
    my $is_server = @there && has_open_file();
    chdir $root and chroot '.' or die "cannot return to /: $!\n";
    return 'unknown' if !$is_server;
    for (0 .. $#directories) {
        return 'other', "process=$process", "directory=$directories[$_]" if $here[$_] ne $there[$_];
    }
    return 'same';
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
