# Finds the chains of the firewall that can drop packets of a connection. Prints two lines: the names of such chains for packets that
# arrive, and of those for packets that leave, with commas in between.
#
# Called as: perl -e PROGRAM ADDRESS PORT. ADDRESS is that of the peer, PORT that of the listener. Reads the output of "nft list
# ruleset", and that of each iptables-save after a line with @ and the name of the tool.
#
# A chain with a hook is printed if it can come to a rule that drops or rejects packets, or has such a policy; not if it can come to a
# rule that accepts the port.
use strict;
use warnings;

my ($address, $port) = @ARGV;
my ($tool, $table, $chain) = ('', '', '');
my (%hook, %next, %drops, %accepts);
while (<STDIN>) {
    s/"[^"]*"//g; # comments and names of interfaces
    if (/^\@(\S+?)(?:-legacy)?-save$/) { $tool = $1; }
    elsif (/^\*(\S+)/) { $table = "$tool $1"; }
    elsif (/^:(\S+) (\S+)/) {
        $chain = "$table $1";
        $hook{$chain} = lc $1 if $2 ne '-';
        $drops{$chain} = 1 if $2 eq 'DROP';
    }
    elsif (/^table (\S+ \S+) \{/) { $table = $1; }
    elsif (/^\s*chain (\S+) \{/) { $chain = "$table $1"; }
    elsif (/^\s*type \S+ hook (\S+) /) {
        $hook{$chain} = $1;
        $drops{$chain} = 1 if /policy drop;/;
    }
    else {
        $chain = "$table $1" if /^-A (\S+)/;
        $drops{$chain} = 1 if /(?<![@\w-])(?:drop|reject|DROP|REJECT)\b/;
        $accepts{$chain} = 1 if /dport $port .*\baccept\b/i;
        push @{ $next{$chain} }, "$table $1" while /(?:jump|goto|-j|-g) ([\w-]+)/g;
    }
}

sub reaches { # RULES CHAIN VISITED: whether the chain, or one that it calls, is one of RULES
    my ($rules, $from, $visited) = @_;
    return 0 if $visited->{$from}++;
    return 1 if $rules->{$from};
    return !!grep { reaches($rules, $_, $visited) } @{ $next{$from} };
}

my $other_version = $address =~ /:/ ? qr/^ip(?!6)/ : qr/^ip6/;
for my $hooks (qr/ingress|prerouting|input/, qr/output|postrouting|egress/) {
    my @found = grep { $hook{$_} =~ $hooks && !/$other_version/ && reaches(\%drops, $_, {}) && !reaches(\%accepts, $_, {}) }
      sort keys %hook;
    splice @found, 5, @found, '...' if @found > 5;
    print join(', ', @found), "\n";
}
