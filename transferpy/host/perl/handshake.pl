# Watches the packets that open a TCP connection, at the network interfaces: those that arrive before the firewall of the host gets
# them, and those that leave after the firewall has let them pass. Changes nothing on the host.
#
# Called as: perl -e PROGRAM PORT PEER PID >FILE. PEER is the address of the other end, PID that of the session. Ends when the peer
# accepts a connection from this host, when FILE is removed, and with the session.
#
# Prints a line at the start, and one after each change. The last line has the complete state as fields of an event:
# seen: the kinds of packets from the peer (-in) and to it (-out): "open" (SYN), "accept" (SYN and ACK), "refuse" (RST or ICMP error);
# strangers: other addresses from which a SYN arrived; refusers: addresses from which an ICMP error arrived.
use strict;
use warnings;
use Socket qw(AF_INET AF_INET6 SOCK_DGRAM SOL_SOCKET SO_RCVTIMEO inet_ntop inet_pton);

my ($port, $address, $session) = @ARGV;
my ($AF_PACKET, $ETH_P_ALL, $SO_ATTACH_FILTER, $PACKET_HOST, $PACKET_OUTGOING) = (17, 3, 26, 0, 4);
my ($TCP, $RST, $ACK) = (6, 4, 16);
my $most_addresses = 4;

# By IP version: the first half byte, an instruction that sets X to the length of the header, the place of the protocol, ICMP, and its
# type for errors; the templates for both addresses.
my $family = $address =~ /:/ ? AF_INET6 : AF_INET;
my ($version, $length, $protocol_at, $icmp, $error, $addresses) =
  $family == AF_INET6 ? (0x60, [0x01, 0, 0, 40], 6, 58, 1, 'x8 a16 a16') : (0x40, [0xb1, 0, 0, 0], 9, 1, 3, 'x12 a4 a4');
my $peer = inet_pton($family, $address) // die "$address is no address\n";

# The kernel drops all other packets. An instruction: code, instructions to pass over if true and if false, operand.
my @filter = (
    [0x30, 0, 0, 0], [0x54, 0, 0, 0xf0], [0x15, 0, 12, $version], $length,
    [0x30, 0, 0, $protocol_at], [0x15, 0, 2, $icmp], [0x50, 0, 0, 0], [0x15, 8, 7, $error], [0x15, 0, 6, $TCP],
    [0x50, 0, 0, 13], [0x45, 0, 4, 6],    # SYN or RST
    [0x48, 0, 0, 0], [0x15, 3, 0, $port], [0x48, 0, 0, 2], [0x15, 1, 0, $port],    # one of the ports
    [0x06, 0, 0, 0], [0x06, 0, 0, 256],
);
my $instructions = join '', map { pack 'S C C L', @$_ } @filter;
# Without a protocol, the socket gets no packets before it has its filter.
socket my $socket, $AF_PACKET, SOCK_DGRAM, 0 or die "socket: $!\n";
setsockopt $socket, SOL_SOCKET, $SO_ATTACH_FILTER, pack 'S x![P] P', scalar @filter, $instructions or die "filter: $!\n";
setsockopt $socket, SOL_SOCKET, SO_RCVTIMEO, pack 'l! l!', 1, 0 or die "SO_RCVTIMEO: $!\n";
bind $socket, pack 'S n x16', $AF_PACKET, $ETH_P_ALL or die "bind: $!\n";

my (%seen, %strangers, %refusers);
my $reported = '';
report();
while (!($seen{'open-out'} && $seen{'accept-in'}) && -e "/proc/$session/exe" && (stat STDOUT)[3]) {
    my $from = recv $socket, my $packet, 256, 0;
    next if !$from;
    my $type = unpack 'x10 C', $from;
    # A part of a packet can be missing.
    note("$packet" . "\0" x 256, $type == $PACKET_OUTGOING ? 'out' : 'in') if $type == $PACKET_HOST || $type == $PACKET_OUTGOING;
    report();
}

sub note { # PACKET DIRECTION
    my ($packet, $direction) = @_;
    my ($protocol, $source, $destination, $content) = parse($packet);
    my $remote = $direction eq 'in' ? $source : $destination;
    if ($protocol != $TCP) {
        ($protocol, $source, $destination, $content) = parse(substr $content, 8);
        return if $protocol != $TCP || unpack('x2 n', $content) != $port;
        # The error is about a packet to the peer, or from it.
        return if ($direction eq 'in' ? $destination : $source) ne $peer;
        add(\%refusers, $remote) if $direction eq 'in';
        $seen{"refuse-$direction"} = 1;
        return;
    }
    my ($source_port, $destination_port, $flags) = unpack 'n n x9 C', $content;
    my $kind = $flags & $RST ? 'refuse' : $flags & $ACK ? 'accept' : 'open';
    return if $port != ($kind eq 'open' ? $destination_port : $source_port);
    if ($remote eq $peer) { $seen{"$kind-$direction"} = 1; }
    elsif ("$kind-$direction" eq 'open-in') { add(\%strangers, $remote); }
}

sub parse { # PACKET: returns the protocol, the addresses and the content
    my ($packet) = @_;
    my $size = $family == AF_INET6 ? 40 : (ord($packet) & 15) * 4;
    return (ord(substr $packet, $protocol_at, 1), unpack($addresses, $packet), substr $packet, $size);
}

sub add { # ADDRESSES ADDRESS: anybody can send packets from any number of addresses
    my ($set, $new) = @_;
    $set->{ inet_ntop($family, $new) } = 1 if keys %$set < $most_addresses;
}

sub report {
    my ($kinds, $others, $by) = map { join ',', sort keys %$_ } \(%seen, %strangers, %refusers);
    my $state = "seen=$kinds strangers=$others refusers=$by\n";
    syswrite STDOUT, $state or die "write: $!\n" if $state ne $reported;
    $reported = $state;
}
