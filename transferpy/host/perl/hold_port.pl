# Binds a TCP port on all addresses and holds it, without listening, as long as the session runs. No process of another user can
# bind the port meanwhile, and no outgoing connection gets it. A listener of the same user shares the port by SO_REUSEPORT.
#
# Called as: perl -e PROGRAM PORT PID [weak]. PID is that of the session. Prints a line when it holds the port; exits with 2 if
# another socket has the port. With "weak", it also takes a port that closed connections of another program remember
# (TIME_WAIT); then other users can bind the port, too, but cannot listen.
use strict;
use warnings;
use Errno qw(EADDRINUSE EAFNOSUPPORT);
use Socket qw(AF_INET AF_INET6 INADDR_ANY IN6ADDR_ANY IPPROTO_IPV6 IPV6_V6ONLY SOCK_STREAM SOL_SOCKET SO_REUSEADDR
  SO_REUSEPORT pack_sockaddr_in pack_sockaddr_in6);

my ($port, $session, $weak) = @ARGV;
my ($held, $address);
if (socket $held, AF_INET6, SOCK_STREAM, 0) {
    $address = pack_sockaddr_in6($port, IN6ADDR_ANY);
    setsockopt $held, IPPROTO_IPV6, IPV6_V6ONLY, 0 or die "IPV6_V6ONLY: $!\n";
}
else {
    $! == EAFNOSUPPORT && socket $held, AF_INET, SOCK_STREAM, 0 or die "socket: $!\n";
    $address = pack_sockaddr_in($port, INADDR_ANY);
}
for my $option (SO_REUSEPORT, $weak ? SO_REUSEADDR : ()) {
    setsockopt $held, SOL_SOCKET, $option, 1 or die "setsockopt: $!\n";
}
if (!bind $held, $address) {
    exit 2 if $! == EADDRINUSE;
    die "bind: $!\n";
}
syswrite STDOUT, "held\n" or die "write: $!\n";
# A session that has ended, but for which its parent has not waited, has no program any more.
sleep 1 while -e "/proc/$session/exe";
