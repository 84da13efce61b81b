# A daemon beyond a network that loses packets, is slow, falls silent, or whose names nobody answers for (fault catalogue, row 16): its
# calls end by their deadlines to a tenth of a second, and those of a daemon nearby never wait for it.
#
# The server and the daemon are in network namespaces of their own, with t/tools/bad_wire.py between them.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use SteadyText::Load;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'network namespaces need root'         if $> != 0;
plan skip_all => 'this kernel has no /dev/net/tun'       unless -c '/dev/net/tun';
my $name = "steady$$";
system("ip netns add $name-probe 2> /dev/null && ip netns del $name-probe") == 0
    or plan skip_all => 'network namespaces are not allowed here (or iproute2 is missing)';

my ($wire_in, $wire_out) = ('', '');
my $wire = IPC::Run::start([ 'python3', "$SteadyText::Cluster::ROOT/t/tools/bad_wire.py", $name ], '<', \$wire_in, '>', \$wire_out, '2>&1');
$wire->pump until $wire_out =~ /ready/ || !$wire->pumpable;
like($wire_out, qr/^ready/, 'a wire');

sub wire_is {
    for my $order (@_) {
        $wire_in .= "$order\n";
        $wire->pump until $wire_out =~ /^\Q$order\E$/m;
        $wire_out = '';
    }
    return;
}

my $cluster = SteadyText::Cluster->new(daemon => 'none',
    conf => [ 'steadytext.breaker_threshold = 1000', 'steadytext.allow_plaintext = on', "steadytext.pool_wait = '20s'" ]);
$cluster->stop;
ok($cluster->start(within => [ 'ip', 'netns', 'exec', "$name-here" ]), 'a server at one end');
my $near = $cluster->start_echo(name => 'near', options => [ '--model', 'near' ]);
my $far  = $cluster->start_echo(name => 'far', endpoint => 'tcp://198.18.7.2:5555', options => [ '--model', 'far' ],
    within => [ 'ip', 'netns', 'exec', "$name-there" ]);
sub use_daemons {
    my ($others) = @_;
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$near->{endpoint}, $others'; SELECT pg_reload_conf()");
    return;
}
sub far_is { my ($condition, $seconds) = @_;
    return $cluster->poll_until("SELECT $condition FROM steadytext_daemons WHERE endpoint = '$far->{endpoint}'", 't', $seconds) }
use_daemons($far->{endpoint});
ok(far_is(q(state = 'ready' AND kind = 'native'), 10), 'a daemon at the other');

# Calls of a daemon nearby go on meanwhile: the gateway's loop does not stand still for a tenth of a second.
sub near_is_served {
    my ($what, $meanwhile) = @_;
    my $load = SteadyText::Load->new($cluster, clients => 4, model => 'near');
    ok($load->await(500), "$what: calls of the near daemon");
    $meanwhile->();
    $load->await(500);
    is($load->finish, 4, "$what: end");
    is($load->not_right, '', "$what: are all right, " . $load->calls);
    # A gateway that waited for the network would stand still for each call of the far daemon, or for as long as the network is silent.
    my @pauses = $load->pauses;
    cmp_ok($pauses[2], '<=', 100, "$what: for $pauses[2] ms no call ended, but for two times");
    cmp_ok($pauses[0], '<=', 500, "$what: which were $pauses[0] ms at most");
    note("row 16: $what: of a daemon nearby no call ended for at most $pauses[0] ms; 99.9 % took at most " . $load->milliseconds(0.999)
        . ' ms, the slowest ' . $load->milliseconds(1));
    return;
}

# Calls of the far daemon that all time out: as long after they began as they may, to a tenth of a second, but for two:
# a busy machine may let a session, or a worker of the load, sleep that long.
sub far_times_out {
    my ($what, $timeout, $calls) = @_;
    my $load = SteadyText::Load->new($cluster, clients => 8, calls => $calls, model => 'far',
        set => [ "steadytext.on_failure = 'null'", "steadytext.request_timeout = '${timeout}ms'", 'client_min_messages = error' ]);
    is($load->join, 8, "$what: eight sessions");
    my ($unanswered) = $load->not_right =~ /^null: ([0-9]+)$/;
    cmp_ok($unanswered // 0, '>=', 8 * $calls - 2, "$what: no call is answered, but for two that found their answer when they woke up late");
    my ($first, $third_last, $last) = map { $load->milliseconds($_) } 0, (8 * $calls - 3) / (8 * $calls - 1), 1;
    cmp_ok($first, '>=', $timeout - 100, "$what: no call ends early ($first ms)");
    cmp_ok($third_last, '<=', $timeout + 100, "$what: nor late ($third_last ms), but for two");
    note("row 16: $what: calls with $timeout ms ended after $first to $third_last ms, the slowest two after $last ms at most");
    return;
}

sub far_answers {
    my ($what, $calls) = @_;
    my $load = SteadyText::Load->new($cluster, clients => 8, calls => $calls, model => 'far');
    is($load->join, 8, "$what: eight sessions ask the far daemon");
    is($load->not_right, '', "$what: and are all answered, within " . $load->milliseconds(1) . ' ms');
    return;
}

near_is_served('a good network', sub { far_answers('a good network', 100) });

near_is_served('200 ms of delay', sub {
    wire_is('delay 0.2');
    far_answers('200 ms of delay', 3);
    far_times_out('200 ms of delay', 300, 3);
});

near_is_served('a packet in ten lost', sub {
    wire_is('delay 0.02', 'loss 0.1');
    far_answers('a packet in ten lost', 10);
});

near_is_served('a network that falls silent', sub {
    wire_is('loss 1');
    my $cut = time;
    far_times_out('a network that falls silent', 1000, 2);
    ok(far_is(q(state <> 'ready'), 10), 'heartbeats miss it');
    my $took = time - $cut;
    cmp_ok($took, '<=', 4, 'within four seconds');
    note(sprintf 'row 16: heartbeats missed a silent network after %.2f s', $took);
    far_times_out('while it is not connected', 500, 2);
    wire_is('loss 0', 'delay 0');
    ok(far_is(q(state = 'ready'), 10), 'it is back');
    far_answers('back', 10);
});

# A name server that does not answer.
near_is_served('a name that hangs', sub {
    use_daemons('tcp://daemon.example:5555');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE endpoint LIKE '%example%'), 1), 'is a daemon that is not there');
});
my $start = time;
ok($cluster->stop, 'a fast stop while a name hangs');
cmp_ok(time - $start, '<=', 2, sprintf 'takes %.2f seconds', time - $start);

$cluster->discard;
$wire->finish;
is(`ip netns list | grep -c $name`, "0\n", 'the namespaces are gone');
done_testing;
