# steadytext_health_check(): right about each part, and quick whatever is down, stopped or locked.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.breaker_threshold = 1000" ]);
sub part { return $cluster->sql("SELECT string_agg(DISTINCT status, ',') FROM steadytext_health_check() WHERE component = '$_[0]'") }
sub detail { return $cluster->sql("SELECT details ->> '$_[1]' FROM steadytext_health_check() WHERE component = '$_[0]' LIMIT 1") }

# The median of 21 answers in a session that is there already, in milliseconds: how long it takes, not how busy the machine is.
my $session = $cluster->session;
sub quick {
    my ($when) = @_;
    my @took = sort { $a <=> $b } map { $session->ask(q(SELECT clock_timestamp() AS start \gset
        SELECT count(*) FROM steadytext_health_check() \g /dev/null
        SELECT extract(epoch FROM clock_timestamp() - :'start'::timestamptz) * 1000;)) } 1 .. 21;
    cmp_ok($took[10], '<', 50, sprintf '%s: answers within 50 ms (median %.1f ms, slowest %.1f ms)', $when, @took[10, 20]);
}

ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'overall'), 'healthy'), 'all is well')
    or diag $cluster->sql('SELECT * FROM steadytext_health_check()');
is($cluster->sql(q(SELECT string_agg(DISTINCT component, ' ' ORDER BY component) FROM steadytext_health_check())),
    'cache daemon gateway hub keeper launcher limits model overall queue shared_memory standby version', 'every part has a row');
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

# SQL of another version than the library, as between an installation and ALTER EXTENSION UPDATE.
{
    my $skew = $cluster->sql(q(BEGIN; UPDATE pg_extension SET extversion = '2000.1.1' WHERE extname = 'pg_steadytext';
        SELECT status || ' ' || (details ->> 'extension') FROM steadytext_health_check() WHERE component = 'version'; ROLLBACK));
    is($skew, 'degraded 2000.1.1', 'versions that differ are seen');
    is(part('version'), 'healthy', 'and that they do not');
}
is(detail(hub => 'configured'), 'no', 'the row of the hub says that there is none');
is(detail(standby => 'role'), 'primary', 'and the row of the standby that this is none');

# Everything stopped at once: the daemon, each worker, PostgreSQL's own processes and the postmaster; but the session that asks.
my $postmaster = (split ' ', do { open my $file, '<', $cluster->data_dir . '/postmaster.pid' or die; local $/; <$file> })[0];
my $mine = $session->ask('SELECT pg_backend_pid();');
my $status = sub { return $session->ask("SELECT string_agg(DISTINCT status, ',') FROM steadytext_health_check() WHERE component = '$_[0]';") };
{
    my @stopped = grep { $_ != $mine } $cluster->echo_pid, $postmaster, split ' ', `pgrep -P $postmaster`;
    kill 'STOP', @stopped;
    ok($cluster->wait_for(sub { $status->('gateway') eq 'unhealthy' }), 'a stopped gateway is found out');
    ok($cluster->wait_for(sub { $status->('launcher') eq 'unhealthy' }), 'a stopped launcher too');
    is($status->('daemon'), 'unhealthy', 'no daemon counts that nobody watches');
    is($status->('overall'), 'unhealthy');
    quick(scalar(@stopped) . ' processes stopped');
    kill 'CONT', reverse @stopped;
    ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'overall'), 'healthy'), 'all goes on');
}

# Everything down: the daemon killed, the workers ended, and a postmaster that cannot start others.
{
    my @workers = map { $cluster->worker_pid($_) } qw(gateway launcher);
    kill 'STOP', $postmaster;
    kill 'KILL', $cluster->echo_pid;
    kill 'TERM', @workers;
    ok($cluster->wait_for(sub { $status->('gateway') eq 'unhealthy' && $status->('launcher') eq 'unhealthy' }), 'workers that are gone are found out');
    is($session->ask(q(SELECT string_agg(details ->> 'pid', ',') FROM steadytext_health_check() WHERE component IN ('gateway', 'launcher');)), '0,0', 'there are none');
    quick('everything down');
    kill 'CONT', $postmaster;
    ok($cluster->poll_until(q(SELECT string_agg(status, ',') FROM steadytext_health_check() WHERE component IN ('gateway', 'launcher')), 'healthy,healthy'), 'workers come back');
}

# A daemon that is dead, and none at all.
{
    ok($cluster->poll_until(q(SELECT status FROM steadytext_health_check() WHERE component = 'daemon'), 'unhealthy'), 'a dead daemon is unhealthy');
    like(detail(daemon => 'reason'), qr/\w/, 'with a reason');
    quick('with the daemon dead');
    $cluster->sql(q(ALTER SYSTEM SET steadytext.daemons = ''; SELECT pg_reload_conf()));
    ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 0), 'no daemon');
    like(detail(daemon => 'reason'), qr/no daemon is configured/, 'which it says');
    is(part('overall'), 'unhealthy');
}
$session->finish;

done_testing;
