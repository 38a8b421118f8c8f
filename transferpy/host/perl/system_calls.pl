# The numbers of the system calls for which perl has no function, on the machines where they are known. Programs do without the
# others, except for extended attributes, whose numbers are known for all machines of Debian 12.
use strict;
use warnings;
use Config;

# The newest ones have the same number on all of these machines.
my %since_5_2 = (open_tree => 428, move_mount => 429, pidfd_open => 434, pidfd_getfd => 438, mount_setattr => 442);
my %on_new_machines = (%since_5_2, llistxattr => 12, lgetxattr => 9, lsetxattr => 6);
my %on_32_bits = (%since_5_2, llistxattr => 233, lgetxattr => 230, lsetxattr => 227);
my %on_x86_of_32_bits = (%on_32_bits, memfd_create => 356);
my %system_call = %{ {
    x86_64 => {
        %since_5_2,
        clock_gettime => 228, statfs => 137, fstatfs => 138, posix_fadvise => 221, splice => 275, tee => 276,
        sync_file_range => 277, syncfs => 306, memfd_create => 319, sendfile => 40,
        fremovexattr => 199, name_to_handle_at => 303, open_by_handle_at => 304, renameat2 => 316,
        llistxattr => 195, lgetxattr => 192, lsetxattr => 189,
    },
    aarch64 => {
        clock_gettime => 113, statfs => 43, fstatfs => 44, posix_fadvise => 223, splice => 76, tee => 77,
        sync_file_range => 84, syncfs => 267, memfd_create => 279, sendfile => 71,
        fremovexattr => 16, name_to_handle_at => 264, open_by_handle_at => 265, renameat2 => 276, %on_new_machines,
    },
    riscv64 => { %on_new_machines, memfd_create => 279 },
    i386 => \%on_x86_of_32_bits,
    i586 => \%on_x86_of_32_bits,
    i686 => \%on_x86_of_32_bits,
    arm => { %on_32_bits, memfd_create => 385 },
    mips64el => { llistxattr => 5187, lgetxattr => 5184, lsetxattr => 5181, memfd_create => 5314 },
    mipsel => { llistxattr => 4231, lgetxattr => 4228, lsetxattr => 4225, memfd_create => 4354 },
    powerpc64le => { %since_5_2, llistxattr => 216, lgetxattr => 213, lsetxattr => 210, memfd_create => 360 },
    s390x => { %since_5_2, llistxattr => 231, lgetxattr => 228, lsetxattr => 225, memfd_create => 350 },
}->{ $Config{archname} =~ s/-.*//r } // {} };
