# Checks the option file backup-my.cnf of a hot copy. Prints the first line that no backup tool writes; nothing if there is none.
#
# Called as: perl -e PROGRAM FILE TOOL. A source that is not trusted has written the file, and --prepare, which runs as root, obeys it: with
# other options it loads a library of the copy, or writes files outside of it. So only the options are allowed that mariadb-backup (10.11
# and 11.8) and xtrabackup write: numbers, words, and file names below the copy. A library may only be that of a plugin for keys or
# for compression, from the plugin directory that belongs to TOOL, the path of the backup tool of this host.
use strict;
use warnings;
use Cwd qw(realpath);
use File::Basename qw(dirname);

my ($path, $tool) = @ARGV;
my $most_bytes = 64 << 10;
# --prepare reads the rest of a line of 4096 bytes as another line.
my $longest_line = 4_000;
my $word = qr/[\w-]*/;
my $name = qr/\w[\w.+-]*/;
my $size = qr/\d+[KMG]?/i;
my $tablespace = qr/$name:$size(?::autoextend(?::max:$size)?)?/;
my $keys = qr/\w*key_management\w*/;
my $plugin = qr/(?:$keys|provider_\w+)(?:=[\w-]+(?:\.so)?)?/;
my %value_of = (
    map({ ("innodb_$_" => $word) } qw(checksum_algorithm compression_level encrypt_log encrypt_tables fast_checksum log_block_size
        log_checksum_algorithm log_checksums log_file_size log_files_in_group page_size redo_log_encrypt undo_log_encrypt
        undo_tablespaces)),
    map({ ($_ => $word) } qw(master_key_id redo_log_version server_id server_uuid)),
    innodb_buffer_pool_filename => qr{$name(?:/$name)*},
    innodb_data_file_path => qr/$tablespace(?:;$tablespace)*/,
    innodb_undo_directory => qr/.+/, # that of the source; --prepare uses the undo tablespaces in the copy
    plugin_dir => qr{"?(?:/$name)+/?"?},
    plugin_load => qr/$plugin(?:;$plugin)*/,
);

sub is_known { # LINE
    my ($line) = @_;
    return if length $line > $longest_line || $line =~ /[\x00-\x1f\x7f]/;
    # --prepare looks for plugin_load at the beginning of each 511 bytes of a line.
    return if $line =~ /.plugin_load/;
    return 1 if $line eq '' || $line eq '[mysqld]' || $line =~ /^#/;
    my ($option, $value) = $line =~ /^(\w+)=(.*)\z/ or return;
    return 1 if $option =~ /^${keys}_/;
    my $known = $value_of{$option} // return;
    return $value =~ /^$known\z/ && ($option ne 'plugin_dir' || belongs_to_tool($value =~ tr/"//dr));
}

sub belongs_to_tool { # DIRECTORY
    my ($directory) = map { realpath($_) // $_ } @_;
    my $prefix = dirname(dirname(realpath($tool) // $tool)) =~ s{/\z}{}r;
    # The tool may be a script in another directory, which calls that of the system.
    return $directory =~ m{^(?:\Q$prefix\E|/usr)/lib(?:64)?/(?:[\w-]+/){0,2}plugin/?\z};
}

open my $file, '<', $path or die "cannot read $path: $!\n";
defined read $file, my $text, $most_bytes + 1 or die "cannot read $path: $!\n";
my ($refused) = grep { !is_known($_) } split /\n/, $text;
$refused = "more than $most_bytes bytes" if length $text > $most_bytes;
if (defined $refused) {
    $refused =~ s/[^ -~]/?/g;
    print substr $refused, 0, 200 or die "cannot write: $!\n";
}
