# The gateway ends and comes back; daemons come, go and share the work.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'" ]);
my $ask = sub { $cluster->sql("SELECT steadytext_generate('$_[0]', use_cache => false)") };
is($ask->('hello'), 'hello', 'served');

# A request outlives the gateway that took it.
{
    my $session = $cluster->session->send("SELECT steadytext_generate('!fault:delay=1500 survivor', use_cache => false)");
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":\s*1\b/ }), 'a request is in flight');
    my $old = $cluster->worker_pid('gateway');
    $cluster->sql("SELECT pg_terminate_backend($old)");
    is($session->finish->{out}, '!fault:delay=1500 survivor', 'its successor sends it again');
    isnt($cluster->worker_pid('gateway'), $old, 'there is a successor');
}

# Terminated ten times in a row, under load: no wrong answer, no hung session.
{
    my $load = $cluster->session->send(q(
        SELECT count(*) FILTER (WHERE steadytext_generate('load ' || i, use_cache => false) = 'load ' || i) FROM generate_series(1, 20000) i));
    for my $round (1 .. 10) {
        my $pid = $cluster->worker_pid('gateway');
        $cluster->sql("SELECT pg_terminate_backend($pid)") if $pid;
        ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext gateway' AND pid <> ) . ($pid || 0), 1, 5),
            "gateway back, round $round");
    }
    is($load->finish->{out}, '20000', 'every answer is right');
}

# kill -9 of the gateway makes PostgreSQL rebuild shared memory: sessions are gone, the next is served.
{
    kill 'KILL', $cluster->worker_pid('gateway');
    ok($cluster->poll_until(q(SELECT steadytext_generate('after the crash', use_cache => false)), 'after the crash', 30), 'served after a crash restart');
    is($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use')), 0, 'no slot is left over');
}

# Three daemons of weights 1, 2 and 5 share the work; one that dies is left out.
{
    my @daemons = map { $cluster->start_echo(name => "weighted$_") } 1, 2, 5;
    $cluster->sql(sprintf q(ALTER SYSTEM SET steadytext.daemons = '%s'; SELECT pg_reload_conf()),
        join ', ', map { "$_->{endpoint} weight=" . ($_->{name} =~ /(\d)$/)[0] } @daemons);
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemon_status() WHERE status = 'healthy'), 3), 'three daemons are healthy');
    my $served = sub { my ($n) = $cluster->ask_daemon('stats', '{}', $_[0]{endpoint}) =~ /"generate":(\d+)/; $n // 0 };
    my @before = map { $served->($_) } @daemons;
    $cluster->sql(q(SELECT count(steadytext_generate('share ' || i, use_cache => false)) FROM generate_series(1, 800) i));
    my @share = map { $served->($daemons[$_]) - $before[$_] } 0 .. 2;
    is_deeply(\@share, [ 100, 200, 500 ], 'shares follow the weights') or diag "@share";

    kill 'KILL', $daemons[2]{pid};
    my $start = time;
    is($cluster->sql(q(SELECT count(steadytext_generate('go on ' || i, use_cache => false)) FROM generate_series(1, 300) i)), 300,
        'with one dead the others serve every call');
    cmp_ok(time - $start, '<', 10, 'without waiting for it');
}

# All daemons down: the breaker opens, calls fail in no time, and recovery is noticed.
{
    my $only = $cluster->start_echo(name => 'only');
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$only->{endpoint}'; SELECT pg_reload_conf()");
    ok($cluster->poll_until(q(SELECT steadytext_generate('alone', use_cache => false)), 'alone'), 'served by the only daemon');
    kill 'KILL', $only->{pid};
    ok($cluster->wait_for(sub { $cluster->try_sql(q(SELECT steadytext_generate('x', use_cache => false)))->{state} eq '08001' }, 20), 'its breaker opens');
    my $quick = $cluster->sql(q(SET steadytext.on_failure = 'null'; SELECT max(total_ms) < 50 FROM generate_series(1, 100),
        LATERAL steadytext_generate_ex('down', '{"use_cache": false}')));
    is($quick, 't', 'a call then costs next to nothing');
    my $start = time;
    $cluster->start_echo(name => 'only');
    ok($cluster->poll_until(q(SELECT steadytext_generate('back', use_cache => false)), 'back', 10), 'its return is noticed');
    cmp_ok(time - $start, '<', 3, 'within seconds, not after the whole recovery time');
}

# A daemon too slow to say who it is gets one request at a time and is asked again. Nothing is cached under a guess at its model.
{
    my $slow = $cluster->start_echo(name => 'slow', options => [ '--fingerprint', 'slow:1' ]);
    $cluster->ask_daemon('control', '{"fault": "delay=2500", "count": 1, "methods": ["info"]}', $slow->{endpoint});
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$slow->{endpoint}'; SELECT pg_reload_conf()");
    is($ask->('meanwhile'), 'meanwhile', 'it serves before it is known');
    ok($cluster->poll_until(q(SELECT kind FROM steadytext_daemons), 'serial', 10), 'as if it were a serial one');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_models() WHERE fingerprint LIKE 'serial:%')), 0, 'of which nobody claims to know the models');
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_models() WHERE fingerprint = 'slow:1'), 't', 10), 'its models are known in the end');
    is($cluster->sql(q(SELECT kind FROM steadytext_daemons)), 'native', 'and what it is');
}

done_testing;
