# Sets the capacity of the pipe on standard input to 1 MiB, the most that every kernel allows: F_SETPIPE_SZ, by its number.
fcntl STDIN, 1031, 1 << 20;
