# A node that floods its hub, and a hub that lies to its node: each keeps the other from nothing but its own part. t/271 has what a node may not bring.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::LyingHub;
use Test::More;
use Time::HiRes qw(time);

my $primary = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.read_ahead = off', "steadytext.cache_write_memory = '1MB'" ]);
$primary->sql(q(CREATE ROLE node LOGIN; CREATE ROLE asker LOGIN; CREATE ROLE other LOGIN; SELECT steadytext_hub_allow('node', 'asker'), steadytext_hub_allow('node', 'other')));
my $hub      = "host=$primary->{PGHOST} port=$primary->{PGPORT} user=node";
my $standby  = $primary->standby(conf => [ "steadytext.hub_conninfo = '$hub'", "steadytext.cache_write_memory = '16MB'" ]);
my $generate = sub { my ($prompt, $user) = @_; return $standby->sql("SELECT length(steadytext_generate($prompt))", user => $user // 'asker') };
my $there    = sub { my ($where, $prompt) = @_; return $where->poll_until("SELECT count(*) FROM steadytext_cache WHERE prompt = '$prompt'", 1) };
my $view     = sub { my ($column) = @_; return $standby->sql("SELECT $column FROM pg_stat_steadytext_hub") };
ok($standby->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'the standby has its daemon');
ok($standby->catch_up($primary), 'and what its primary has done');

# ---- a record that the hub can never take ------------------------------------------------------------------------------------------------

my $refused = $view->('refused');
$generate->(q('large ' || repeat('x', 300000)), 'other');
$generate->(q('small'));
ok($there->($primary, 'small'), 'an answer that has no room on the hub holds up no other');
ok($standby->poll_until("SELECT refused > $refused AND pending_writes = 0 AND reason IS NULL FROM pg_stat_steadytext_hub", 't'), 'it is refused, and counted');

# ---- a node by hand -----------------------------------------------------------------------------------------------------------------------

my $clears = $primary->sql('SELECT clears FROM _steadytext.cache_clears');
my %oid    = map { split /\|/ } split /\n/, $primary->sql('SELECT rolname, oid FROM pg_roles');
my $put    = sub {
    my ($batch, @records) = @_;
    return $primary->try_sql("SELECT taken, refused FROM _steadytext.hub_put(1, 7, $batch, $clears, ARRAY[" . join(', ', map { "'\\x" . unpack('H*', $_) . q('::bytea) } @records) . ']::bytea[])', user => 'node');
};
my $usage = sub { my ($role, $model, $calls) = @_; return 'U' . pack('VVVa128x4Q<7q<3', $role, 0, int(time / 86400), $model, $calls, 0, 0, 0, $calls, $calls, 0, 0, 0, 0) };
my $audit = sub { my ($number) = @_; return 'A' . pack('q<Z64Z48Z32Z128Z736', int(time * 1e6), 'asker', '', 'server_action', "number $number", '{}') };

is($put->(1, map { $usage->($oid{asker}, "model $_", 2) } 1 .. 150)->{out}, '150|0', 'usage of any models is taken');
ok($primary->poll_until(q(SELECT sum(calls) >= 300 FROM steadytext_usage WHERE role_name = 'asker' AND model LIKE 'model %' OR model = ''), 't'), 'and all of it is written')
    or diag $primary->sql('SELECT * FROM steadytext_usage');
is($primary->sql(q(SELECT count(*) <= 101 FROM steadytext_usage WHERE role_name = 'asker')), 't', 'in rows of a hundred models a day, and one for all others');
is($put->(2, map { $usage->($oid{asker}, "further $_", 2) } 1 .. 150)->{out}, '150|0', 'more of it');
ok($primary->poll_until(q(SELECT sum(calls) >= 600 FROM steadytext_usage WHERE role_name = 'asker'), 't'), 'is written too');
is($primary->sql(q(SELECT count(*) <= 101 FROM steadytext_usage WHERE role_name = 'asker')), 't', 'and takes no more rows');
is($put->(3, $usage->(4_000_000_000, 'model', 1))->{out}, '1|1', 'there is no usage of a role that is not there');

my $batch = 3;
$put->(++$batch, map { $audit->($_) } 1 .. 300) for 1 .. 5;
ok($primary->poll_until(q(SELECT count(*) >= 200 FROM steadytext_audit_log WHERE event_type = 'server_action'), 't'), 'audit rows are written');
$primary->sql('SELECT steadytext_frecency_refresh()');
cmp_ok($primary->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'server_action')), '<=', 1001, 'of 1,500 of a minute a thousand at most');

# Who sends as another node, is found out, and takes nothing from it.
is($put->(100, $usage->($oid{asker}, 'x', 1))->{out}, '1|0', 'batches may leave out numbers');
is($put->(99, $usage->($oid{asker}, 'x', 1))->{state}, '55000', 'an earlier one is an error');
like($primary->sql(q(SELECT string_agg(node, ',') FROM steadytext_hub_nodes)), qr/^[0-9a-f]{8}(,[0-9a-f]{8})*$/, 'the view tells nobody the whole number of a node');

# ---- a hub that lies -----------------------------------------------------------------------------------------------------------------------

my $megabytes = sub { my $kilobytes = $standby->memory($_[0], 'VmHWM'); return ($kilobytes // 0) / 1024 };
for my $mode (@SteadyText::LyingHub::MODES) {
    my $liar = SteadyText::LyingHub->new($mode);
    $standby->append_conf("steadytext.hub_conninfo = '${\ $liar->conninfo}'");
    $standby->reload;
    my ($most, $calls, $right) = (0, 0, 0);
    my $state = $mode eq 'state' ? '08006' : '08P01';
    ok($standby->wait_for(sub {
        $calls++;
        $right++ if $generate->("'$mode $calls'") == length "$mode $calls";
        my $worker = $standby->worker_pid('hub worker');
        my $now    = $worker eq '' ? 0 : $megabytes->($worker);
        $most = $now if $now > $most;
        return ($view->('reason') // '') eq $state;
    }, 30), "$mode: the view says what is wrong");
    cmp_ok($most, '<', 100, sprintf '%s: the worker has %.0f MB at most', $mode, $most);
    is($right, $calls, "$mode: $calls calls were answered meanwhile");
    $standby->append_conf("steadytext.hub_conninfo = '$hub'");
    $standby->reload;
    ok($there->($primary, "$mode 1"), "$mode: the right hub gets all");
    $liar->stop;
}
my $began = time;
ok($standby->stop, 'the standby stops');
cmp_ok(time - $began, '<', 10, 'in time');
done_testing;
