# Compares files with those that another process has at the same paths. In a container or in another mount namespace, a path can mean
# another file.
use strict;
use warnings;
use Cwd qw(abs_path);
use Errno;

my $most_arguments = 1000;
opendir my $root, '/' or die "/: $!\n";

# Returns the results of a function that sees the paths of a process. Its working directory has the descriptors of the process.
sub in_root { # PROCESS FUNCTION: without a result and with an error if the kernel refuses that
    my ($process, $function) = @_;
    my $entered = chdir "/proc/$process/fd" && chroot "/proc/$process/root";
    my $error = $!;
    # The working directory is not in this root, so the descriptors can still be read.
    my @results = $entered ? $function->() : ();
    chdir $root and chroot '.' or die "cannot return to /: $!\n";
    $! = $entered ? 0 : $error;
    return @results;
}

sub identity { # PATH
    my ($device, $inode) = stat shift;
    return defined $inode ? "$device:$inode" : 'none';
}

sub listed { # DEPTH DIRECTORY ...: returns the paths of the directories in these directories, and those of the links
    my ($depth, @directories) = @_;
    my @kinds = ('(', '-type', 'd', '-o', '-type', 'l', ')');
    local $/ = "\0";
    my @command = ('find', (map {"$_/"} @directories), '-mindepth', 1, '-maxdepth', $depth, @kinds, '-printf', '%H%P\0');
    open my $found, '-|', @command or die "cannot run find: $!\n";
    chomp(my @paths = <$found>);
    return @paths;
}

sub mounted { # FILE DIRECTORY ...: returns the paths below these directories at which the mountinfo of a process has mounts
    my ($mountinfo, @directories) = @_;
    my %path_of = map { (abs_path($_) // 'none') => $_ } @directories;
    my @paths;
    local $/ = "\n";
    open my $mounts, '<', $mountinfo or die "cannot read $mountinfo: $!\n";
    while (my $mount = <$mounts>) {
        my $place = (split / /, $mount)[4] =~ s/\\([0-7]{3})/chr oct $1/ger;
        my $below = '';
        while ($place =~ s{(/[^/]+)\z}{}) {
            $below = "$1$below";
            push @paths, "$path_of{$place}$below" if defined $path_of{$place};
        }
    }
    return @paths;
}

# Returns the paths of databases and tables that can mean other files for a process although it has the same data directory, and so the
# same names in it: the databases, the links in them, and mounts.
sub database_paths { # PROCESS DATA-DIRECTORY
    my ($process, $directory) = @_;
    my @paths = listed(2, $directory);
    my @links = grep { m{\A\Q$directory\E/[^/]+\z} && -l } @paths;
    my @linked = grep {-d} @links;
    # Other links, such as that of a socket or a log, are no databases for either of the two processes.
    my %is_other = map { $_ => 1 } @links;
    delete @is_other{ @linked, in_root($process, sub { grep {-d} @links }) };
    @paths = grep { !$is_other{$_} } @paths;
    my @rest = @linked;
    while (my @some = splice @rest, 0, $most_arguments) {
        push @paths, listed(1, @some);
    }
    push @paths, mounted('/proc/self/mountinfo', $directory, @linked);
    push @paths, in_root($process, sub { mounted('../mountinfo', $directory, @linked) });
    # Other names are not those of databases and tables.
    return grep { m{\A\Q$directory\E(?:/[^/.#][^/]*){1,2}\z} } @paths;
}

sub differing { # PROCESS PATH ...: returns the two identities of each path at which the process has another file
    my ($process, @paths) = @_;
    my @there = in_root($process, sub { map { identity($_) } @paths });
    die "the process of the server cannot be examined: $!\n" if @there != @paths;
    my @here = map { identity($_) } @paths;
    return map { $here[$_] eq $there[$_] ? () : ($paths[$_] => "$here[$_] $there[$_]") } 0 .. $#paths;
}

# Returns a path at which a process has another file, of the paths given and of those in a data directory; undef if there is none.
sub other_file { # PROCESS DATA-DIRECTORY PATH ...
    my ($process, $directory, @paths) = @_;
    my %first = differing($process, @paths, database_paths($process, $directory)) or return undef;
    # A database or a table may have been created or removed in between. A difference of links or mounts stays.
    my %second = differing($process, keys %first);
    my ($path) = grep { ($second{$_} // '') eq $first{$_} } sort keys %first;
    return $path;
}
