# An engine over HTTP whose reply never ends where libcurl sets no bound: headers behind the body, informational replies, extensions of a chunk.
# The gateway's memory stays bounded, another daemon serves meanwhile, and the view of daemons says what was wrong with the headers.
use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();
use SteadyText::Cluster;
use Test::More;

my $most = 256;    # megabytes in a connection
my $head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
my $line = 'X-0123456789: ' . 'y' x 1000 . "\r\n";
my %lies = (
    trailers  => [ "${head}2\r\n{}\r\n0\r\n", $line x 1000 ],
    informed  => [ '',                        "HTTP/1.1 103 Early Hints\r\n$line\r\n" x 1000 ],
    extension => [ "${head}1;",               'x' x 1_000_000 ]);

# Says how many megabytes it sent, a line for each connection that ended.
sub lie {
    my ($listener, $tell, $first, $then) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $until = time + 120;
    while (time < $until) {
        my $client = $listener->accept or next;
        sysread $client, my $request, 65536;
        my $sent = 0;
        if ($first eq '' || syswrite $client, $first) { $sent++ while $sent < $most && defined syswrite $client, $then }
        syswrite $tell, "$sent\n";
        close $client;
    }
    POSIX::_exit(0);
}

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'steadytext.cache_enabled = off' ]);
my $honest  = $cluster->sql('SHOW steadytext.daemons');
my $gateway = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway'));
my $peak    = sub { return $cluster->memory($gateway, 'VmHWM') / 1024 };
is($cluster->sql(q(SELECT steadytext_generate('before'))), 'before', 'an honest daemon answers');
my $before = $peak->();

for my $name (sort keys %lies) {
    my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => 0, ReuseAddr => 1) or die "listen: $!";
    my $port     = $listener->sockport;
    pipe my $told, my $tell or die "pipe: $!";
    my $liar = fork // die "fork: $!";
    lie($listener, $tell, @{ $lies{$name} }) if $liar == 0;
    close $tell;
    $cluster->append_conf("steadytext.daemons = '$honest, http://127.0.0.1:$port'");
    $cluster->reload;
    my ($calls, $right, @sent) = (0, 0);
    $told->blocking(0);
    $cluster->wait_for(sub {
        while (defined(my $each = <$told>)) { chomp $each; push @sent, $each }
        $calls++;
        $right++ if $cluster->try_sql("SELECT steadytext_generate('$name $calls')")->{out} eq "$name $calls";
        return @sent >= 2;
    }, 60);
    cmp_ok(scalar(@sent), '>=', 2, "$name: its connections end");
    is($right, $calls, "$name: meanwhile $calls calls of the honest daemon are answered");
    ok($cluster->poll_until("SELECT reason ~ 'the headers of its reply have more than 262144 bytes' FROM steadytext_daemons WHERE endpoint ~ '$port'"), "$name: the view says why")
        if $name eq 'trailers';
    kill 'KILL', $liar;
    waitpid $liar, 0;
}
cmp_ok($peak->() - $before, '<', 64, sprintf 'the gateway has had %.0f MB more than before', $peak->() - $before);
is($cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type ~ 'gateway')), $gateway, 'the gateway is the same');
done_testing;
