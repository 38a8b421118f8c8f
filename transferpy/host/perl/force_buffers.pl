# Succeeds if this process may set the buffers of a TCP socket beyond the limits of the kernel, which needs CAP_NET_ADMIN in the
# network namespace, or in that of the machine. The numbers are those in the options of socat.
use strict;
use warnings;

# SOL_SOCKET, SO_SNDBUFFORCE and SO_RCVBUFFORCE on most machines; fails on the others
my ($level, @names) = (1, 32, 33);
my ($AF_INET, $SOCK_STREAM) = (2, 1); # likewise: the module Socket takes longer than all the rest
socket my $socket, $AF_INET, $SOCK_STREAM, 0 or exit 1;
setsockopt $socket, $level, $_, pack 'i', 65536 or exit 1 for @names;
