# By which names the gateway's connections go at a daemon: nobody can guess one, and no two have the same, so that a daemon that still believes in a
# connection that was lost does not pass over the next.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use SteadyText::Cluster;
use SteadyText::Zmtp;
use Test::More;

my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
my $port     = $listener->sockport;
my $cluster  = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.daemons = 'tcp://127.0.0.1:$port'", "steadytext.on_failure = 'error'", 'steadytext.cache_enabled = off' ]);

# The first half of the connections stays half open: the peer is not told that it has lost them. Connections that end before they say who they are do not count.
my (@names, @kept);
my $tries = 0;
while (@names < 6 && $tries++ < 60) {
    last unless IO::Select->new($listener)->can_read(60);
    my $gateway = $listener->accept or next;
    my $said = greet($gateway, 'ROUTER') or next;
    push @names, $said->{Identity};
    if (@names % 2) { shutdown $gateway, 2 }
    push @kept, $gateway;
    read_message($gateway, 60) unless @names % 2;    # it asks what the daemon is, hears nothing, and makes another connection
}
is(scalar(@names), 6, 'the gateway connects again whenever its connection is lost or mute');
is(scalar(grep { length == 16 && !/^\0/ } @names), 6, 'each time it names itself, as a ROUTER would not name it') or diag unpack 'H*', $_ for @names;
my %seen;
is(scalar(grep { !$seen{$_}++ } @names), 6, 'by another name');
done_testing;
