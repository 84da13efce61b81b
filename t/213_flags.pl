# Each feature flag of docs/migration.md, off and on while the server runs: what calls do then, and that it works again afterwards.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Monitoring;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", "steadytext.breaker_recovery = '1h'" ]);

# A setting for new sessions and for the workers; each test then waits for what a worker does.
my $set = sub {
    my ($name, $value) = @_;
    $cluster->sql("ALTER SYSTEM SET steadytext.$name = '$value'");
    $cluster->reload;
    return $cluster->poll_until("SELECT setting FROM pg_settings WHERE name = 'steadytext.$name'", $value);
};
my $metric = sub {
    my ($name, $labels) = @_;
    return $cluster->sql(qq(SELECT coalesce(sum(value), 0) FROM steadytext_metrics() WHERE name = 'steadytext_$name' AND labels \@> '$labels'));
};
my $hits    = sub { return $metric->('cache_lookups_total', qq({"level": "$_[0]", "result": "hit"})) };
my $cached  = sub { return $cluster->sql("SELECT cached FROM steadytext_generate_ex('$_[0]')") };
my $rows    = sub { return $cluster->sql("SELECT count(*) FROM steadytext_cache WHERE prompt = '$_[0]'") };
my $refresh = sub { return $cluster->sql('SELECT steadytext_frecency_refresh() >= 0') };

# ---- the cache in shared memory --------------------------------------------------------------------------------------------
{
    ok($set->('hot_cache', 'off'), 'hot_cache: off');
    is($cached->('hot'), 'f', '  a new call asks a daemon');
    $refresh->();
    my ($hot, $table) = ($hits->('hot'), $hits->('table'));
    is($cached->('hot'), 't', '  the table answers it');
    is($cached->('hot'), 't', '  again and again');
    is($hits->('hot') - $hot, 0, '  none from shared memory');
    is($hits->('table') - $table, 2, '  each from the table');
    ok($set->('hot_cache', 'on'), 'hot_cache: on');
    ($hot, $table) = ($hits->('hot'), $hits->('table'));
    $cached->('hot') for 1 .. 2;
    is(join(' ', $hits->('table') - $table, $hits->('hot') - $hot), '1 1', '  the table once, then shared memory');
    $set->('hot_cache', 'off');
    $cluster->sql('SELECT steadytext_cache_clear()');
    $set->('hot_cache', 'on');
    is($cached->('hot'), 'f', '  what was cleared meanwhile does not come back');
}

# ---- the keeper ------------------------------------------------------------------------------------------------------------
{
    my $health = q(SELECT status, details ->> 'reason' FROM steadytext_health_check() WHERE component = 'keeper');
    ok($set->('keeper', 'off'), 'keeper: off');
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper'), 0), '  it leaves');
    is($cached->('kept later'), 'f', '  a new call is answered');
    is($cached->('kept later'), 't', '  and cached in shared memory');
    is($cluster->sql($health), 'degraded|steadytext.keeper is off', '  the health check says why nothing is written');
    my $refused = $cluster->try_sql('SELECT steadytext_frecency_refresh()');
    is($refused->{state}, '55000', '  a refresh is refused');
    like($refused->{err}, qr/steadytext\.keeper = on/, '  and says what to do');
    is($rows->('kept later'), 0, '  the answer is not in the table');
    my $session = $cluster->session->send('SELECT steadytext_frecency_refresh()');
    like($session->finish->{err}, qr/switched off/, '  nobody waits for it');
    ok($set->('keeper', 'on'), 'keeper: on');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'kept later'), 1), '  what waited is written');
    is($cluster->sql($health), 'healthy|', '  and all is well');
}

# ---- limits ----------------------------------------------------------------------------------------------------------------
{
    $cluster->sql(q(CREATE ROLE few LOGIN; SELECT steadytext_rate_limit_set('few', 'generate', requests => 1, per => '1 day');
        SELECT steadytext_budget_set('few', '1 day', 1, 'enforce')));
    my $call = sub { return $cluster->try_sql(q(SELECT steadytext_generate('of few')), user => 'few')->{state} };
    ok($set->('limit_shadow_mode', 'on'), 'limits: off');
    is(join(' ', map { $call->() } 1 .. 3), '  ', '  none is refused');
    cmp_ok($metric->('limit_shadow_refusals_total', '{}'), '>', 0, '  but counted');
    ok($set->('limit_shadow_mode', 'off'), 'limits: on');
    is($call->(), '53400', '  and what was used meanwhile counts');
}

# ---- keys --------------------------------------------------------------------------------------------------------------------
{
    my $left = q(INSERT INTO steadytext_cache (cache_key, prompt, response, model_name, seed, generation_params) VALUES
        ('%1$s', '%1$s', 'from the original', 'qwen3-1.7b', 42, '{"max_tokens": 512, "seed": 42}'));
    $cluster->sql(sprintf $left, $_) for 'old one', 'old two';
    my $key = sub { return $cluster->sql("SELECT cache_key FROM steadytext_cache WHERE response = 'from the original' AND prompt = '$_[0]'") };
    my $count = q(SELECT count(*) FROM steadytext_cache);
    $refresh->();
    $cached->('new one');
    ok($set->('new_cache_keys', 'off'), 'new keys: off');
    my $before = $cluster->sql($count);
    is($cluster->sql(q(SELECT steadytext_generate('old one') FROM generate_series(1, 3))), join("\n", ('from the original') x 3), '  a row of the original answers');
    is($cached->('new one'), 'f', '  an answer under a key of this version does not');
    is($cached->('new two'), 'f', '  nor is one kept');
    is($cluster->sql(q(SELECT vector_dims(steadytext_embed('new three')))), 1024, '  an embedding');
    $refresh->();
    is($cached->('new two'), 'f', '  in shared memory or the table');
    is($key->('old one'), 'old one', '  the row has its key still');
    is($cluster->sql($count), $before, '  and the table its rows');
    ok($set->('new_cache_keys', 'on'), 'new keys: on');
    is($cached->('new one'), 't', '  what had been kept answers again');
    is($cluster->sql(q(SELECT steadytext_generate('old one'))), 'from the original', '  the row of the original too');
    $refresh->();
    isnt($key->('old one'), 'old one', '  and has a key of this version now');
    ok($set->('legacy_cache_keys', 'off'), 'old keys: off');
    is($cluster->sql(q(SELECT steadytext_generate('old two'))), 'old two', '  a row of the original does not answer');
    ok($set->('legacy_cache_keys', 'on'), 'old keys: on');
}

# ---- breakers ------------------------------------------------------------------------------------------------------------------
{
    my $endpoint = $cluster->sql('SELECT endpoint FROM steadytext_daemons');
    my $breaker  = q(SELECT breaker FROM steadytext_daemons);
    my $call     = sub { return $cluster->try_sql(q(SELECT steadytext_generate('x', use_cache => false)))->{state} };
    $cluster->sql("SELECT steadytext_daemon_trip('$endpoint')");
    is($cluster->sql($breaker), 'open', 'a breaker is open');
    isnt($call->(), '', '  nothing is sent');
    ok($set->('breaker_threshold', '0'), 'breaker: off');
    ok($cluster->wait_for(sub { $call->() eq '' }), '  what was open is closed');
    is($cluster->try_sql(q(SELECT steadytext_generate('!fault:garbage', use_cache => false)))->{state} ne '', 1, '  failures') for 1 .. 8;
    is($cluster->sql($breaker), 'closed', '  open none');
    is($call->(), '', '  and the next call is sent');
    ok($set->('breaker_threshold', '3'), 'breaker: on');
    $cluster->sql("SELECT steadytext_daemon_reset('$endpoint')");
    ok($cluster->wait_for(sub { $cluster->try_sql(q(SELECT steadytext_generate('!fault:garbage', use_cache => false))); $cluster->sql($breaker) eq 'open' }), '  failures open it again');
    $cluster->sql("SELECT steadytext_daemon_reset('$endpoint')");
}

# ---- batching: several sessions' embeddings in a message (t/181_batch_window.pl has the rest) ------------------------------------
{
    my $embed  = q(SELECT md5(steadytext_embed('of many', use_cache => false)::text));
    my $alone  = $cluster->sql($embed);
    my $shared = sub { return $metric->('shared_sends_total', '{}') };
    my $together = sub {
        my $gate = $cluster->session;
        $gate->ask('SELECT pg_advisory_lock(1);');
        my @sessions = map { $cluster->session->send("SELECT pg_advisory_lock_shared(1); SELECT md5(steadytext_embed('of many $_', use_cache => false)::text)") } 1 .. 8;
        $cluster->poll_until(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted), 8);
        $gate->finish;
        $_->finish for @sessions;
    };
    $together->();
    is($shared->(), 0, 'batching: off');
    ok($set->('batch_window', '300'), 'batching: on');
    ok($cluster->wait_for(sub { $together->(); $shared->() > 0 }), '  messages are shared');
    is($cluster->sql($embed), $alone, '  the answer is the same');
    ok($set->('batch_window', '0'), 'batching: off again');
    ok($cluster->wait_for(sub { my $before = $shared->(); $together->(); $shared->() == $before }), '  none is shared');
}

# ---- listener --------------------------------------------------------------------------------------------------------------------
{
    my $listen = '127.0.0.1:' . SteadyText::Monitoring::free_port();
    my $answers = sub { return SteadyText::Monitoring::get("http://$listen/metrics")->{success} ? 1 : 0 };
    is($answers->(), 0, 'listener: off');
    for my $time (1, 2) {
        ok($set->('metrics_listen', $listen), 'listener: on');
        ok($cluster->wait_for(sub { $answers->() }, 10), '  it answers');
        ok($set->('metrics_listen', 'off'), 'listener: off');
        ok($cluster->wait_for(sub { !$answers->() }, 10), '  it does not');
    }
    is($cluster->sql(q(SELECT steadytext_generate('after all'))), 'after all', '  and calls are answered');
}

# ---- the two that roles may set themselves; and statistics -----------------------------------------------------------------------
is($cluster->sql(qq(SET steadytext.$_ = off; SELECT string_agg(steadytext_generate('row ' || i), ',' ORDER BY i) FROM generate_series(1, 3) i)), 'row 1,row 2,row 3', "$_: off")
    for qw(cache_enabled read_ahead track_calls);

done_testing;
