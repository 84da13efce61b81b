# steadytext_health_check(): right about each part, and quick whatever is down, stopped or locked.
use strict;
use warnings;
use List::Util qw(min);
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.breaker_threshold = 1000" ]);
sub part { return $cluster->sql("SELECT string_agg(DISTINCT status, ',') FROM steadytext_health_check() WHERE component = '$_[0]'") }
sub detail { return $cluster->sql("SELECT details ->> '$_[1]' FROM steadytext_health_check() WHERE component = '$_[0]' LIMIT 1") }

# The quickest of ten, in milliseconds: how long it takes, not how busy the machine is.
sub quick {
    my ($when) = @_;
    my @took = map { $cluster->sql(q(SELECT clock_timestamp() AS start \gset
        SELECT count(*) FROM steadytext_health_check() \g /dev/null
        SELECT extract(epoch FROM clock_timestamp() - :'start'::timestamptz) * 1000)) } 1 .. 10;
    cmp_ok(min(@took), '<', 50, "$when: answers within 50 ms");
}

ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'overall'), 'healthy'), 'all is well')
    or diag $cluster->sql('SELECT * FROM steadytext_health_check()');
is($cluster->sql(q(SELECT string_agg(DISTINCT component, ' ' ORDER BY component) FROM steadytext_health_check())),
    'cache daemon gateway keeper launcher limits model overall queue shared_memory standby version', 'every part has a row');
is($cluster->sql(q(SELECT component FROM steadytext_health_check() LIMIT 1)), 'overall', 'the first is overall');
like(detail(daemon => 'endpoint'), qr/^ipc:/, 'a daemon has its endpoint');
is($cluster->sql(q(SELECT (details ->> 'last_heartbeat')::timestamptz > now() - interval '1 minute' FROM steadytext_health_check() WHERE component = 'daemon')), 't', 'its last heartbeat');
is(detail(daemon => 'breaker'), 'closed', 'its breaker');
$cluster->sql(q(SELECT steadytext_generate('kept ' || i % 4) FROM generate_series(1, 8) i; SELECT steadytext_frecency_refresh()));
is(detail(cache => 'total_entries'), 4, 'the cache its entries');
is(detail(cache => 'hit_rate'), 0.5, 'and hit rate');
quick('in good health');

# Roles: for pg_monitor, not for everybody.
$cluster->sql('CREATE ROLE watcher LOGIN; CREATE ROLE nobody_special LOGIN; GRANT pg_monitor TO watcher');
is($cluster->try_sql('SELECT status FROM steadytext_health_check() LIMIT 1', user => 'watcher')->{out}, 'healthy', 'pg_monitor may look');
is($cluster->try_sql('SELECT status FROM steadytext_health_check()', user => 'nobody_special')->{state}, '42501', 'others may not');

# A table somebody has locked.
{
    my $locker = $cluster->session;
    $locker->ask('BEGIN; LOCK TABLE steadytext_cache IN ACCESS EXCLUSIVE MODE;');
    is(part('cache'), 'degraded', 'a locked cache is degraded');
    is(part('overall'), 'degraded', 'and so is all');
    quick('with the cache locked');
    $locker->finish;
}

# A breaker tripped by hand, and a daemon that is drained.
{
    my $endpoint = $cluster->echo_endpoint;
    $cluster->sql("SELECT steadytext_daemon_trip('$endpoint')");
    is(part('daemon'), 'unhealthy', 'a daemon whose breaker is open is unhealthy');
    is(detail(daemon => 'breaker'), 'open', 'and it says so');
    is(part('overall'), 'unhealthy', 'without another nobody answers');
    $cluster->sql("SELECT steadytext_daemon_reset('$endpoint')");
    is(part('overall'), 'healthy', 'well again');
}

# Everything stopped at once, then down.
{
    my @stopped = ($cluster->echo_pid, map { $cluster->worker_pid($_) } qw(gateway launcher));
    kill 'STOP', @stopped;
    ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'gateway'), 'unhealthy'), 'a stopped gateway is found out');
    is(part('daemon'), 'unhealthy', 'nobody looks after the daemons');
    is(part('overall'), 'unhealthy', 'all is unhealthy');
    quick('with daemon, gateway and launcher stopped');
    kill 'CONT', @stopped;
    ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'overall'), 'healthy'), 'going on, all is well again');
    kill 'KILL', $cluster->echo_pid;
    ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'daemon'), 'unhealthy'), 'a dead daemon is unhealthy');
    like(detail(daemon => 'reason'), qr/\w/, 'with a reason');
    quick('with the daemon dead');
    $cluster->sql(q(ALTER SYSTEM SET steadytext.daemons = ''; SELECT pg_reload_conf()));
    ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 0), 'no daemon');
    like(detail(daemon => 'reason'), qr/no daemon is configured/, 'which it says');
    is(part('overall'), 'unhealthy');
}

done_testing;
