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

# ---- each operation by itself: outcome, time, stages, tokens ----------------------------------------------------------------
{
    my %call = (
        generate => q(steadytext_generate('of two', use_cache => false)),
        embed    => q(steadytext_embed('of two', use_cache => false)),
        rerank   => q(count(*) FROM steadytext_rerank('of two', ARRAY['of', 'two'])),
        json     => q(steadytext_generate_json('[2]', '{"type": "array"}', use_cache => false)),
        regex    => q(steadytext_generate_regex('22', '2+', use_cache => false)),
        choice   => q(steadytext_generate_choice('two', ARRAY['one', 'two'], use_cache => false)),
        stream   => q(count(*) FROM steadytext_generate_stream('of two')));
    $cluster->sql('SELECT steadytext_stat_reset()');
    for my $operation (sort keys %call) {
        $cluster->sql("SELECT $call{$operation}");
        my @of = (operation => $operation);
        is(total('sent_total', @of, result => 'ok'), 1, "$operation is counted as what it is");
        is(total('response_time_seconds_count', @of, cached => 'false'), 1, '  with its time');
        is(join(' ', map { total('stage_time_seconds_count', @of, stage => $_) } qw(queue pool network)), '1 1 1', '  and stages');
    }
    is(total('requests_total'), scalar keys %call, 'there are no other operations');
    is(total('stage_time_seconds_count', operation => $_, stage => 'engine'), 1, "what the daemon tells of its own time, with $_") for sort keys %call;
    is(join(' ', map { total("${_}_tokens_total", operation => 'generate') } qw(prompt completion)), '2 2', 'tokens in and out');
    is(join(' ', map { total('prompt_tokens_total', operation => $_) } qw(embed rerank)), '2 4', 'of embeddings and rankings too');
    is(total('saved_tokens_total'), 0, 'none were saved');
    my $stages = $cluster->sql(q(SELECT round(sum(value)::numeric, 5) FROM steadytext_metrics() WHERE name = 'steadytext_stage_time_seconds_sum'
        AND labels ->> 'operation' = 'generate'));
    cmp_ok($stages, '<=', total('response_time_seconds_sum', operation => 'generate'), 'stages are parts of the whole');
}

# ---- limits: a call turned away is limited, and no failure ------------------------------------------------------------------
{
    $cluster->sql(q(CREATE ROLE app LOGIN; SELECT steadytext_rate_limit_set('app', requests => 2, per => '1 day'); SELECT steadytext_stat_reset()));
    $cluster->sql(q(SET steadytext.on_limit = 'null'; SET client_min_messages = error;
        SELECT count(steadytext_generate('limited ' || i, use_cache => false)) FROM generate_series(1, 5) i), user => 'app');
    my %is = laws_hold('with limits');
    is("$is{limited} $is{ok}", '3 2', 'three of five are limited');
    is(total('requests_failed_total'), 0, 'none failed');
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
    is(total('daemon_connections_active'), 0, 'there is no connection');
    $cluster->sql('ALTER SYSTEM RESET steadytext.daemons; SELECT pg_reload_conf()');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'a daemon again');
    is(total('daemon_connections_active'), 1, 'with its connection');
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
    cmp_ok($series, '<', 10000, "there are $series series");
    is($cluster->sql(q(SELECT count(*), bool_and(finished_at <= before) FROM (SELECT finished_at, lag(finished_at, 1, 'infinity') OVER () AS before
        FROM steadytext_response_times()) t)), '1000|t', 'the last thousand calls, latest first');
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

    # The keeper comes when there is work; it ends in the midst of it.
    my $keeper = q(SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper');
    my $lines  = total('requests_total');
    $cluster->sql(q(SELECT count(steadytext_generate('for the keeper ' || i)) FROM generate_series(1, 200) i));
    my $pid;
    ok($cluster->wait_for(sub { $pid = $cluster->sql($keeper) }), 'a keeper');
    $cluster->sql("SELECT pg_terminate_backend($pid)");
    is(total('requests_total'), $lines + 200, 'with the keeper no request is lost');
    is($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt LIKE 'for the keeper%'), 200), 1, 'and no answer');

    # A worker that makes calls itself counts them as any session does.
    $cluster->sql(q(SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', '!fault:delay=100 job ' || i, 'use_cache', false))) FROM generate_series(1, 100) i));
    ok($cluster->wait_for(sub { $pid = $cluster->worker_pid('queue worker') }), 'a queue worker');
    ok($cluster->poll_until(q(SELECT count(*) > 5 FROM steadytext_queue WHERE status = 'completed'), 't'), 'that works');
    $cluster->sql("SELECT pg_terminate_backend($pid)");
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed'), 100, 60), 'and is followed by another');
    my %is = laws_hold('after a queue worker was terminated');
    cmp_ok(total('requests_total') - $lines - 200, '>=', 100, 'each job was counted');
}

# ---- a crash takes what was counted in the last ten seconds at most ---------------------------------------------------------
{
    my $load  = $cluster->session->send(q(SELECT count(steadytext_generate('lost ' || i, use_cache => false)) FROM generate_series(1, 10000000) i));
    my $start = total('requests_total');
    ok($cluster->wait_for(sub { total('requests_total') > $start }), 'calls are made');
    my ($begin, $counted) = (time, total('requests_total'));
    ok($cluster->wait_for(sub { time - $begin >= 10 }, 20), 'for ten seconds');
    my $last = total('requests_total');
    kill 'KILL', $cluster->worker_pid('gateway');
    $load->finish;
    ok($cluster->poll_until('SELECT 1', 1), 'back after a crash');
    my $now = total('requests_total');
    cmp_ok($now, '>=', $counted, sprintf 'what was counted ten seconds before is there: %d of %d calls since then were kept', $now - $counted, $last - $counted);
    laws_hold('after a crash');
    is(total('slots_in_use'), 0, 'gauges do not go on');

    my $requests = total('requests_total');
    $cluster->restart;
    is(total('requests_total'), $requests, 'a restart in good order loses nothing');

    # Shared memory is empty now: answers come from the table, and one of the original's from there too.
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'ready');
    $cluster->sql(q(INSERT INTO steadytext_cache (cache_key, prompt, response, generation_params)
        VALUES ('of the original', 'of the original', 'its answer', '{"max_tokens": 512, "seed": 42}')));
    my %before = map { $_ => total('cache_lookups_total', level => $_, result => 'hit') } qw(hot table legacy);
    my $saved = total('saved_tokens_total');
    $cluster->sql(q(SELECT steadytext_generate('for the keeper 7')));
    $cluster->sql(q(SELECT steadytext_generate('for the keeper 7')));
    is($cluster->sql(q(SELECT steadytext_generate('of the original'))), 'its answer', 'answered by the original');
    is(total('cache_lookups_total', level => $_, result => 'hit') - $before{$_}, 1, "one hit of level $_") for qw(hot table legacy);
    is(total('saved_tokens_total') - $saved, 8, 'tokens that no daemon had to make again');
}

# ---- under load, with everything going wrong at once --------------------------------------------------------------------
# Four sessions go through a thousand calls each, whatever happens; others are terminated in the midst of theirs, another has a limit.
{
    $cluster->sql(q(CREATE ROLE victim LOGIN; SELECT steadytext_rate_limit_set('app', requests => 50, per => '1 day'); SELECT steadytext_stat_reset()));
    my $calls = sub { my ($n) = @_; return qq(SET steadytext.request_timeout = '2s'; SET steadytext.on_limit = 'null'; SET client_min_messages = error;
        DO \$\$ BEGIN FOR i IN 1 .. $n LOOP BEGIN
            CASE i % 4 WHEN 0 THEN PERFORM steadytext_embed('embedded ' || i % 50);
                       WHEN 1 THEN PERFORM steadytext_generate('!fault:error ' || i % 50);
                       ELSE PERFORM steadytext_generate('asked ' || i % 50, use_cache => i % 2 = 0); END CASE;
            EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END \$\$; SELECT 'through') };
    my @load   = map { $cluster->session->send($calls->(1000)) } 1 .. 4;
    my @others = ($cluster->session(user => 'app')->send($calls->(200)));
    for my $round (1 .. 15) {
        push @others, $cluster->session(user => 'victim')->send($calls->(100_000));
        $cluster->wait_for(sub { total('requests_total') > $round * 80 }, 10);
        # Of those that wait for an answer: between two calls a cancel would end the whole session's statement.
        $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%fault%' AND usename <> 'victim' AND wait_event_type = 'Extension' ORDER BY random() LIMIT 2));
        $cluster->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'victim'));
        $cluster->sql("SELECT pg_terminate_backend(" . ($cluster->worker_pid('gateway') || 0) . ")") if $round % 5 == 0;
        kill 'KILL', $cluster->echo_pid if $round == 7;
        $cluster->start_echo            if $round == 8;
    }
    is(scalar(grep { $_->finish->{out} =~ /through/ } @load), 4, 'all sessions came through');
    $_->finish for @others;
    my %is = laws_hold('after chaos');
    my %of = split /[|\n]/, $cluster->sql('SELECT rolname, sum(calls) FROM pg_stat_steadytext GROUP BY 1');
    is($of{ $cluster->{PGUSER} }, 4000, 'what the sessions asked is what was counted') or diag explain \%of, \%is;
    is(total('requests_total'), eval { my $sum = 0; $sum += $_ for values %of; $sum }, 'in all as by role');
    is(total('response_time_seconds_count', operation => $_), total('outcomes_total', operation => $_), "each $_ has its time") for qw(generate embed);
    is($is{limited}, 150, 'of two hundred calls fifty were within the limit');
    cmp_ok($is{$_}, '>', 0, "some: $_") for qw(hit ok failed);
}

# ---- not counted ------------------------------------------------------------------------------------------------------
{
    my $before = total('requests_total');
    $cluster->sql(q(SET steadytext.track_calls = off; SELECT steadytext_generate('unseen')));
    is(total('requests_total'), $before, 'steadytext.track_calls = off');
}

done_testing;
