# What is counted: every call once, by how it ended; no counter is lost with a worker, a crash or a restart.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.request_timeout = '20s'", "steadytext.breaker_threshold = 1000" ]);

sub total {
    my ($name, %labels) = @_;
    my $conditions = join '', map { " AND labels ->> '$_' = '$labels{$_}'" } sort keys %labels;
    return $cluster->sql("SELECT coalesce(sum(value), 0) FROM steadytext_metrics() WHERE name = 'steadytext_$name'$conditions");
}
sub outcomes { return map { $_ => total('outcomes_total', outcome => $_) } qw(refused limited hit joined degraded sent) }
sub results { return map { $_ => total('sent_total', result => $_) } qw(ok failed timed_out cancelled) }

# In flight at the daemon are this many requests.
sub in_flight {
    my ($n) = @_;
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":\s*$n\b/ }), "$n requests are in flight");
}

sub laws_hold {
    my ($when) = @_;
    my (%outcome, %result);
    %outcome = outcomes();
    %result  = results();
    my ($outcomes, $results) = (0, 0);
    $outcomes += $_ for values %outcome;
    $results  += $_ for values %result;
    is(total('requests_total'), $outcomes, "$when: requests = refused + limited + hit + joined + sent + degraded");
    is($outcome{sent}, $results, "$when: sent = ok + failed + timed_out + cancelled");
    return (%outcome, %result);
}

# A session that has asked, and waits for an answer that takes its time.
my $number = 0;
sub waiting_session {
    my ($what, %options) = @_;
    return $cluster->session->send(($options{before} // '') . sprintf q(SELECT %s('!fault:delay=%d slow %s', use_cache => %s)),
        $what, $options{delay} // 15000, $options{number} // ++$number, $options{cache} ? 'true' : 'false');
}
sub backends { return $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE '%slow%' AND pid <> pg_backend_pid())) }

# ---- each end of a call has its place ------------------------------------------------------------------------------
{
    $cluster->sql('SELECT steadytext_stat_reset()');
    is(total('requests_total'), 0, 'counting began anew');
    is($cluster->sql('SELECT count(*) FROM steadytext_response_times()'), 0, 'no times');
    is($cluster->sql('SELECT count(*) FROM pg_stat_steadytext'), 0, 'no statements');

    # 4 answered, 6 from the cache.
    $cluster->sql(q(SELECT steadytext_generate('question ' || i % 3) FROM generate_series(1, 9) i; SELECT steadytext_embed('text')));
    # 2 are not requests: their arguments are bad.
    is($cluster->try_sql(q(SELECT steadytext_generate(''))) ->{state}, '22023') for 1 .. 2;

    # 1 cancelled, 1 whose error a block catches, 1 terminated, 1 ended by statement_timeout.
    my @sessions = (
        waiting_session('steadytext_generate'),
        $cluster->session->send(q(DO $$ BEGIN PERFORM steadytext_generate('!fault:delay=15000 slow caught', use_cache => false);
            EXCEPTION WHEN query_canceled THEN PERFORM steadytext_generate('after the block'); END $$)),
        waiting_session('steadytext_embed'));
    in_flight(3);
    my @backends = split /\n/, backends();
    my ($embeds) = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT steadytext_embed%slow%' AND pid <> pg_backend_pid()));
    $cluster->sql("SELECT pg_cancel_backend($_)") for grep { $_ != $embeds } @backends;
    $cluster->sql("SELECT pg_terminate_backend($embeds)");
    $_->finish for @sessions;
    is(waiting_session('steadytext_generate', before => "SET statement_timeout = '300ms';")->finish->{state}, '57014', 'statement_timeout');

    # 1 beyond its deadline, with a fallback; 1 joined, 1 answered.
    waiting_session('steadytext_generate', before => "SET steadytext.request_timeout = '300ms';")->finish;
    my @same = map { waiting_session('steadytext_generate', delay => 1500, number => 'same', cache => 1) } 1 .. 2;
    $_->finish for @same;

    # 1 refused: no such room. The daemon's own failure, and an unreadable answer: 2 failed.
    $cluster->sql(q(SELECT steadytext_generate('!fault:error oh', use_cache => false)));
    $cluster->sql(q(SELECT steadytext_generate('!fault:garbage oh', use_cache => false)));

    my %is = laws_hold('a call of each kind');
    is_deeply(\%is, { refused => 0, limited => 0, hit => 6, joined => 1, degraded => 0, sent => 13, ok => 6, failed => 2, timed_out => 1, cancelled => 4 },
        'each call is counted once, as what it was') or diag explain \%is;
    is(total('requests_failed_total'), 3, 'cancelled ones are no failures');
    is(total('failures_total', cause => $_), 1, "failed: $_") for qw(timeout engine invalid_reply);
    is(total('fallbacks_total'), 3, 'each gave a fallback');
    is(total('cache_hits_total'), 6, 'hits');
    is(total('cache_lookups_total', level => 'hot', result => 'hit'), 6, 'all of the hot cache');
    is(total('response_time_seconds_count'), 20, 'the histogram has each call');
    is(total('response_time_seconds_bucket', le => '+Inf'), 20);
    is($cluster->sql('SELECT count(*), count(*) FILTER (WHERE success) FROM steadytext_response_times()'), '20|13', 'the last calls, with their success');
    is($cluster->sql('SELECT sum(calls), sum(hits), sum(failures) FROM pg_stat_steadytext'), '20|7|3', 'and by statement');
    is($cluster->sql(q(SELECT DISTINCT rolname || ' ' || datname FROM pg_stat_steadytext)), "$cluster->{PGUSER} $cluster->{PGDATABASE}");
}

# ---- and when nobody answers ------------------------------------------------------------------------------------------
{
    my $before = total('outcomes_total', outcome => 'degraded');
    $cluster->sql(q(ALTER SYSTEM SET steadytext.daemons = ''; SELECT pg_reload_conf()));
    ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 0), 'no daemon');
    $cluster->sql(q(SELECT steadytext_generate('nobody ' || i, use_cache => false) FROM generate_series(1, 5) i));
    is(total('outcomes_total', outcome => 'degraded'), $before + 5, 'degraded');
    is(total('failures_total', cause => 'not_configured'), 5, 'and why');
    laws_hold('without a daemon');
    $cluster->sql('ALTER SYSTEM RESET steadytext.daemons; SELECT pg_reload_conf()');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'a daemon again');
}

# ---- queries are told apart, roles are no labels -----------------------------------------------------------------------
{
    $cluster->sql(q(SET compute_query_id = on; SELECT steadytext_generate('one'); SELECT steadytext_generate('one'), 2));
    is($cluster->sql(q(SELECT count(DISTINCT queryid) FROM pg_stat_steadytext)), 2, 'two queries, two ids');
    my $series = $cluster->sql('SELECT count(*) FROM steadytext_metrics()');
    $cluster->sql(q(DO $$ BEGIN FOR i IN 1 .. 10000 LOOP EXECUTE format('CREATE ROLE many%s', i); EXECUTE format('SET LOCAL ROLE many%s', i);
        PERFORM steadytext_generate('by many ' || i % 2); RESET ROLE; END LOOP; END $$));
    is($cluster->sql('SELECT count(*) FROM steadytext_metrics()'), $series, '10,000 roles later there are as many series as before');
    my ($rows, $deallocations) = split /\|/, $cluster->sql(q(SELECT (SELECT count(*) FROM pg_stat_steadytext),
        (SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_stat_deallocations_total')));
    cmp_ok($rows, '<=', 1024, 'the view is bounded');
    cmp_ok($deallocations, '>=', 900, 'and says how many rows had to go');
}

# ---- nothing is lost with a worker, a crash or a restart ----------------------------------------------------------------
{
    my %names = (requests => 'requests_total', sends => 'sends_total', daemon => 'daemon_requests_total');
    my %before = map { $_ => total($names{$_}) } keys %names;
    for my $worker (qw(gateway launcher)) {
        my $pid = $cluster->worker_pid($worker);
        $cluster->sql("SELECT pg_terminate_backend($pid)");
        ok($cluster->poll_until("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext $worker' AND pid <> $pid", 1), "$worker is back");
        ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'and so is the daemon');
        is(total($names{$_}), $before{$_}, "no $_ is lost") for sort keys %names;
    }

    my $file = $cluster->data_dir . '/pg_steadytext/stats';
    my $written = (stat $file)[9];
    ok($cluster->wait_for(sub { (stat $file)[9] > $written + 1 }, 10), 'the counters are written down within ten seconds');
    my $requests = total('requests_total');
    my $lost     = $cluster->session->send(q(SELECT count(steadytext_generate('lost ' || i, use_cache => false)) FROM generate_series(1, 100000) i));
    ok($cluster->wait_for(sub { total('requests_total') > $requests }), 'some more calls');
    kill 'KILL', $cluster->worker_pid('gateway');
    $lost->finish;
    ok($cluster->poll_until('SELECT 1', 1), 'back after a crash');
    cmp_ok(total('requests_total'), '>=', $requests, 'counters go on from what was written');
    laws_hold('after a crash');
    is(total('slots_in_use'), 0, 'gauges do not');

    $requests = total('requests_total');
    $cluster->restart;
    is(total('requests_total'), $requests, 'a restart in good order loses nothing');
}

# ---- under load, with everything going wrong at once --------------------------------------------------------------------
{
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'ready');
    $cluster->sql('SELECT steadytext_stat_reset()');
    my @load = map {
        my $me = $_;
        $cluster->session->send(qq(SET steadytext.request_timeout = '2s'; SET client_min_messages = error;
            DO \$\$ BEGIN FOR i IN 1 .. 1000 LOOP BEGIN
                PERFORM steadytext_generate(CASE WHEN i % 5 = 0 THEN '!fault:error ' ELSE '' END || i % 50, use_cache => i % 2 = 0);
                EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END \$\$;
            SELECT 'through'))
    } 1 .. 4;
    for my $round (1 .. 15) {
        $cluster->wait_for(sub { total('requests_total') > $round * 60 }, 10);
        $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%fault%' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 2));
        $cluster->sql("SELECT pg_terminate_backend(" . ($cluster->worker_pid('gateway') || 0) . ")") if $round % 5 == 0;
    }
    is(scalar(grep { $_->finish->{out} =~ /through/ } @load), 4, 'all sessions came through');
    my %is = laws_hold('after chaos');
    is(total('requests_total'), 4000, 'what the sessions asked is what was counted') or diag explain \%is;
    is(total('response_time_seconds_count'), 4000);
    is($cluster->sql('SELECT sum(calls) FROM pg_stat_steadytext'), 4000);
    cmp_ok($is{hit}, '>', 0, 'some were hits');
    cmp_ok($is{failed}, '>', 0, 'some failed');
}

# ---- not counted ------------------------------------------------------------------------------------------------------
{
    my $before = total('requests_total');
    $cluster->sql(q(SET steadytext.track_calls = off; SELECT steadytext_generate('unseen')));
    is(total('requests_total'), $before, 'steadytext.track_calls = off');
}

done_testing;
