# The numbers of the system calls for which perl has no function, on the machines where they are known. Elsewhere the hash
# is empty, and each program does without them.
use strict;
use warnings;
use Config;

my %system_call = %{ {
    x86_64 => {
        clock_gettime => 228, fstatfs => 138, posix_fadvise => 221, splice => 275, tee => 276,
        sync_file_range => 277, syncfs => 306,
        fremovexattr => 199, name_to_handle_at => 303, open_by_handle_at => 304, renameat2 => 316,
    },
    aarch64 => {
        clock_gettime => 113, fstatfs => 44, posix_fadvise => 223, splice => 76, tee => 77,
        sync_file_range => 84, syncfs => 267,
        fremovexattr => 16, name_to_handle_at => 264, open_by_handle_at => 265, renameat2 => 276,
    },
}->{ $Config{archname} =~ s/-.*//r } // {} };
