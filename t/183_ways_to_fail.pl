# Each way in which nobody takes a request has an SQLSTATE, a message, a hint and a counter of its own, whichever kind of call meets it.
use strict;
use warnings;
use SteadyText::Calls;
use SteadyText::Cluster;
use Test::More;

my $slots = 16;  # as many as one role may have of 22
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ 'steadytext.max_requests = 22', 'steadytext.pool_size = 1',
    "steadytext.pool_wait = '200ms'", "steadytext.request_timeout = '30s'" ]);
my @counters = qw(queue_full pool_exhausted breakers_open daemons_down);

sub counted {
    my $names = join ', ', map { "'steadytext_${_}_total'" } @counters;
    return map { /(\w+)\|(\d+)/ } split /\n/, $cluster->sql("SELECT substring(name, '^steadytext_(.*)_total'), value::bigint FROM steadytext_metrics() WHERE name IN ($names)");
}

# Sessions that have their requests under way until they are told to go.
sub occupy {
    my ($count, $condition) = @_;
    my @sessions = map { $cluster->session->send(qq(SELECT steadytext_generate('!fault:hold $_', use_cache => false))) } 1 .. $count;
    ok($cluster->poll_until($condition, $count), "$count requests are under way");
    return @sessions;
}
sub release {
    my ($daemon, @sessions) = @_;
    $cluster->ask_daemon('control', '{"release": true}', $daemon->{endpoint});
    is(scalar(grep { $_->finish->{out} =~ /^!fault:hold/ } @sessions), scalar @sessions, 'those under way have their answers');
    return;
}

sub use_daemon {
    my ($kind, @options) = @_;
    my $daemon = $cluster->start_echo(name => $kind, options => \@options);
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$daemon->{endpoint}'; SELECT pg_reload_conf()");
    ok($cluster->poll_until(q(SELECT kind FROM steadytext_daemons WHERE state = 'ready'), $kind), "a $kind daemon");
    return $daemon;
}

# A call waits for room as long as it may, so it gets little time.
sub all_fail {
    my ($way, $state, $message, $hint, $counter) = @_;
    for my $case (@SteadyText::Calls::ALL) {
        my ($function, $call, $degraded, $null) = @$case;
        my %before = counted();
        my @settings = $counter eq 'queue_full' ? "steadytext.request_timeout = '300ms'" : ();
        my $raised = SteadyText::Calls::ask($cluster, $call, 'error', @settings);
        is($raised->{state}, $state, "$way: $function: SQLSTATE $state") or diag $raised->{out} . $raised->{err};
        like($raised->{err}, qr/^ERROR:  $state: $message$/m, "$way: $function: message");
        like($raised->{err}, qr/^HINT:  .*$hint/m, "$way: $function: hint");
        my %after = counted();
        is(join(' ', grep { $after{$_} > $before{$_} } @counters), $counter, "$way: $function: $counter counts it, and nothing else");
        is(SteadyText::Calls::ask($cluster, $call, 'fallback', @settings)->{out}, $degraded, "$way: $function: a fallback by default");
        is(SteadyText::Calls::ask($cluster, $call, 'null', @settings)->{out}, $null, "$way: $function: NULL if wanted");
    }
    return;
}

my $daemon = use_daemon('native');
{
    my @sessions = occupy($slots, q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'));
    all_fail('queue full', '53000', 'too many requests under way', 'steadytext\.max_requests', 'queue_full');
    release($daemon, @sessions);
}

$cluster->sql("SELECT steadytext_daemon_trip('$daemon->{endpoint}')");
all_fail('breaker open', '08004', 'the circuit breaker of every inference daemon that is up is open', 'steadytext_daemon_reset', 'breakers_open');
$cluster->sql("SELECT steadytext_daemon_reset('$daemon->{endpoint}')");
is($cluster->sql(q(SELECT steadytext_generate('closed'))), 'closed', 'it is closed');

my @down = ('08001', 'no inference daemon can be reached', 'reason FROM steadytext_daemons', 'daemons_down');
$cluster->sql("SELECT steadytext_daemon_drain('$daemon->{endpoint}')");
ok($cluster->poll_until(q(SELECT state FROM steadytext_daemons), 'draining'), 'drained');
all_fail('all drained', @down);
$cluster->sql("SELECT steadytext_daemon_undrain('$daemon->{endpoint}')");
kill 'KILL', $daemon->{pid};
ok($cluster->poll_until(q(SELECT state || ' ' || breaker FROM steadytext_daemons), 'connecting open'), 'killed');
all_fail('all down', @down);

$daemon = use_daemon('serial', '--serial');
{
    my @sessions = occupy(1, q(SELECT pool_in_use FROM steadytext_daemons WHERE state = 'ready'));
    all_fail('pool exhausted', '53300', 'no connection to daemon \S+ became free', 'steadytext\.pool_size or steadytext\.pool_wait', 'pool_exhausted');
    release($daemon, @sessions);
}

done_testing;
