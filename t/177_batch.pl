# Batches: what the daemon sees of them, bad luck in the midst of one, limits, other sessions, memory.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000' ]);
my $stat  = sub { my ($name, $endpoint) = @_; return $cluster->ask_daemon('stats', '{}', $endpoint) =~ /"$name":\s*(\d+)/ ? $1 : 0 };
my $count = sub { return $cluster->sql("SELECT coalesce(sum(value), 0) FROM steadytext_metrics() WHERE name = 'steadytext_$_[0]'") };
my $slots = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
my $held  = q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT '!fault:hold ' || i FROM generate_series(1, 40) i), use_cache => false));
my $median = sub { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ] };

# Waits until a batch named by its session has this much under way at the daemon.
sub under_way {
    my ($requests) = @_;
    return $cluster->wait_for(sub { $stat->('in_flight') == $requests });
}

sub is_clean {
    my ($what) = @_;
    ok($cluster->poll_until($slots, 0, 2), "$what: no slot is in use");
    ok($cluster->wait_for(sub { $stat->('in_flight') == 0 }, 10), "$what: the daemon does nothing");
    is($cluster->sql('SELECT count(*) FROM steadytext_progress'), 0, "$what: nothing is under way");
    return;
}

# A thousand prompts, fifty different: the daemon is asked fifty times, a thousand calls are counted.
{
    my ($asked, $counted) = ($stat->('generate'), $count->('requests_total'));
    is($cluster->sql(q(SELECT count(*), count(*) FILTER (WHERE response = prompt), count(DISTINCT response), count(*) FILTER (WHERE NOT cached)
        FROM steadytext_generate_batch(ARRAY(SELECT 'prompt ' || i % 50 FROM generate_series(1, 1000) i)))), '1000|1000|50|50', 'a thousand rows');
    is($stat->('generate') - $asked, 50, 'of fifty requests');
    is($count->('requests_total') - $counted, 1000, 'each counted as a call');
    is($cluster->sql(q(SELECT string_agg(labels->>'outcome' || ' ' || value, ', ' ORDER BY labels->>'outcome') FROM steadytext_metrics()
        WHERE name = 'steadytext_outcomes_total' AND labels->>'operation' = 'generate' AND labels->>'outcome' IN ('sent', 'joined'))), 'joined 950, sent 50',
        'which asked, or got what another had asked for');
}

# Another session that wants the same waits for the batch, and the batch for it.
{
    my $asked = $stat->('generate');
    my $single = $cluster->session->send(q(SELECT steadytext_generate('!fault:hold 3', 512)));
    ok(under_way(1), 'a session asks');
    my @batches = map { $cluster->session->send(qq(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT '!fault:hold ' || i FROM generate_series(1, 20) i ORDER BY i * $_ % 21)))) } 1, 5;
    ok(under_way(20), 'two batches ask for what it asks and nineteen more');
    $cluster->ask_daemon('control', '{"release": true}');
    is(join(' ', map { $_->finish->{out} } @batches), '20 20', 'both get all');
    like($single->finish->{out}, qr/hold 3/, 'as does the session');
    is($stat->('generate') - $asked, 20, 'of twenty requests');
}

# How far it is, in the view and beside the query.
{
    $cluster->sql(q(CREATE ROLE nosy LOGIN; CREATE ROLE ops LOGIN; SELECT steadytext_admin_grant('ops'); CREATE DATABASE elsewhere));
    $cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE; SELECT steadytext_admin_grant('ops')), database => 'elsewhere');
    my $batch = $cluster->session->send(q(SET application_name = 'watched'; SET steadytext.on_failure = 'null'; SET client_min_messages = error;
        SELECT count(*) FROM steadytext_generate_batch(ARRAY['prompt 1', 'one', '!fault:error=broken', '!fault:delay=1100', '!fault:hold last', NULL])));
    ok($cluster->poll_until('SELECT operation, total, done, cached, failed, started > now() - interval \'1 min\' FROM steadytext_progress', 'generate|6|5|1|1|t'), 'five of six are done');
    is($cluster->sql(q(SELECT p.pid = a.pid FROM steadytext_progress p, pg_stat_activity a WHERE application_name = 'watched')), 't', 'by the session that asks');
    is($cluster->sql('SELECT count(*) FROM steadytext_progress', user => 'nosy'), 0, 'which is not everyone\'s to see');
    is($cluster->sql('SELECT count(*) FROM steadytext_progress', user => 'ops'), 1, 'but an administrator\'s');
    is($cluster->sql('SELECT count(*) FROM steadytext_progress', user => 'ops', database => 'elsewhere'), 0, '  of the database alone');
    is($cluster->sql(q(SELECT query ~ '^/\* steadytext: 5 of 6 done \*/ .*SELECT count' FROM pg_stat_activity WHERE application_name = 'watched')), 't', 'pg_stat_activity says so too');
    $cluster->ask_daemon('control', '{"release": true}');
    is($batch->ask(''), 6, 'it comes to its end');
    is($cluster->sql(q(SELECT query ~ '^SELECT count|^SET' FROM pg_stat_activity WHERE application_name = 'watched')), 't', 'the query is itself again');
    $batch->finish;
}

# Cancelled, timed out, terminated: the daemon stops all it was asked for.
{
    my @took;
    for my $round (1 .. 5) {
        my $batch = $cluster->session->send("SET application_name = 'victim'; $held");
        ok(under_way(40), "round $round: forty are under way");
        my $pid   = $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'victim'));
        my $start = time;
        kill 'INT', $pid;
        1 until $stat->('in_flight') == 0 || time > $start + 10;
        push @took, 1000 * (time - $start);
        is($batch->finish->{state}, '57014', "round $round: cancelled");
    }
    is_clean('cancel');
    my $typical = $median->(@took);
    cmp_ok($typical, '<=', 50, sprintf('the daemon has stopped %.0f ms after the signal', $typical));
    note(join ' ', 'milliseconds from signal to an idle daemon, as seen from outside:', map { sprintf '%.0f', $_ } @took);

    my $terminated = $cluster->session->send("SET application_name = 'victim'; $held");
    ok(under_way(40), 'forty are under way');
    $cluster->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'victim'));
    is($terminated->finish->{state}, '57P01', 'terminated');
    is_clean('terminate');

    my $late = $cluster->try_sql("SET statement_timeout = '300ms'; $held");
    is($late->{state}, '57014', 'statement_timeout');
    cmp_ok($late->{seconds}, '<', 3, 'in time');
    is_clean('statement_timeout');
    is($cluster->sql(qq(SET client_min_messages = error; SET statement_timeout = '300ms'; DO \$\$ BEGIN PERFORM ($held); EXCEPTION WHEN query_canceled THEN NULL; END \$\$;
        SELECT count(*) FROM steadytext_generate_batch(ARRAY['after', 'that']))), 2, 'a block that catches it goes on');
    is_clean('a block that catches');
}

# Rows that no daemon answers in time, or at all, are their own affair.
is($cluster->sql(q(SET client_min_messages = error; SET steadytext.request_timeout = '500ms'; SET steadytext.on_failure = 'null';
    SELECT string_agg(coalesce(response, '-'), ' ' ORDER BY ordinality) FROM ROWS FROM (steadytext_generate_batch(
        ARRAY['one', '!fault:hold', 'two', '!fault:garbage', 'three'], use_cache => false)) WITH ORDINALITY)), 'one - two - three', 'a row that gets no answer is NULL');
is_clean('no answer in time');
like($cluster->try_sql(q(SET steadytext.on_failure = 'null'; SELECT steadytext_generate_batch(ARRAY(SELECT '!fault:error=broken ' || i FROM generate_series(1, 30) i))))->{err},
    qr/\AWARNING:[^\n]*broken\n(?!.*WARNING)/s, 'one warning for all of them');

# Rate limits bind each row; of its own concurrency a batch makes use.
{
    $cluster->sql(q(CREATE ROLE app LOGIN; SELECT steadytext_rate_limit_set('app', concurrency => 3)));
    my $most = sub { $cluster->ask_daemon('stats') =~ /"max_concurrent":\s*(\d+)/ && $1 };
    is($cluster->sql(q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT '!fault:delay=5 c' || i FROM generate_series(1, 30) i)) WHERE response ~ '^!'), user => 'app'),
        30, 'thirty rows, three at once');
    is($cluster->sql(q(SELECT refused FROM steadytext_rate_limit_status WHERE unit = 'concurrency') . ' LIMIT 1') > 0, 1, 'others waited for them');
    $cluster->sql(q(SELECT steadytext_rate_limit_set('app', requests => 40)));
    my $twice = q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'limited ' || i % 10 FROM generate_series(1, 20) i)));
    is($cluster->sql($twice, user => 'app'), 20, 'twenty rows, ten different');
    is($cluster->sql(q(SELECT used FROM steadytext_rate_limit_status WHERE role = 'app' AND unit = 'requests')), 20, 'are twenty requests');
    is($cluster->sql($twice, user => 'app'), 20, 'twenty more');
    is($cluster->try_sql($twice, user => 'app')->{state}, '53400', 'the forty-first is refused');
    is($cluster->sql("SET client_min_messages = error; SET steadytext.on_limit = 'null'; SELECT count(response) FROM ($twice) x(response)", user => 'app'), 1, 'or is NULL');
    is_clean('limits');

    # What waits for a limit is counted, and woken when another session's call makes room.
    my $waits = $count->('limit_waits_total');
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('app'); SELECT steadytext_rate_limit_set('app', concurrency => 1)));
    my $holder = $cluster->session(user => 'app')->send(q(SELECT steadytext_generate('!fault:hold the one')));
    ok(under_way(1), 'a session has the one call that its role may have');
    my $waiting = $cluster->session(user => 'app')->send(q(SET steadytext.on_limit = 'wait'; SELECT count(response) FROM steadytext_generate_batch(ARRAY['waits 1', 'waits 2'])));
    ok($cluster->wait_for(sub { $count->('limit_waits_total') > $waits }), 'a batch waits for it');
    $cluster->ask_daemon('control', '{"release": true}');
    $holder->finish;
    is($waiting->finish->{out}, 2, 'and is answered then');
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('app')));
}

# As many at once as the daemons work on, and half as many again; the others are heard.
{
    my $small = $cluster->start_echo(name => 'small', options => [ '--slots', 4, '--delay-ms', 20 ]);
    $cluster->append_conf("steadytext.daemons = '$small->{endpoint}'");
    $cluster->reload;
    $cluster->poll_until(qq(SELECT count(*) FROM steadytext_daemons WHERE endpoint = '$small->{endpoint}' AND state = 'ready' AND kind = 'native'), 1);
    my $batch = $cluster->session->send(q(SELECT count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'four slots ' || i FROM generate_series(1, 300) i))));
    my @seen  = map { $_->[0] } grep { $_->[1] } map { [ split /\|/, $cluster->sql(qq(SELECT in_flight, (SELECT count(*) FROM steadytext_progress WHERE done BETWEEN 10 AND 250)
        FROM steadytext_daemons WHERE endpoint = '$small->{endpoint}')) ] } 1 .. 20;
    is($batch->finish->{out}, 300, 'three hundred rows');
    my ($most) = sort { $b <=> $a } @seen;
    cmp_ok($most, '<=', 6, "a daemon of four slots had $most requests at most");
    cmp_ok($median->(@seen), '>=', 4, 'and was kept full');

    # It dies in the midst of a batch: what it had goes to the other, and each row is answered.
    my $other = $cluster->start_echo(name => 'other', options => [ '--slots', 4, '--delay-ms', 20 ]);
    $cluster->append_conf("steadytext.daemons = '$small->{endpoint}, $other->{endpoint}'", 'steadytext.breaker_threshold = 5');
    $cluster->reload;
    $cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND kind = 'native'), 2);
    $batch = $cluster->session->send(q(SELECT count(*) FILTER (WHERE response = prompt) FROM steadytext_generate_batch(ARRAY(SELECT 'killed ' || i FROM generate_series(1, 300) i))));
    ok($cluster->poll_until('SELECT done BETWEEN 50 AND 250 FROM steadytext_progress', 't'), 'in the midst of a batch');
    kill 'KILL', $small->{pid};
    is($batch->finish->{out}, 300, 'a daemon is killed, and every row is answered');
    kill 'KILL', $other->{pid};
    is($cluster->sql(q(SET client_min_messages = error; SET steadytext.on_failure = 'null'; SET steadytext.request_timeout = '2s';
        SELECT count(response), count(*) FROM steadytext_generate_batch(ARRAY(SELECT 'gone ' || i FROM generate_series(1, 300) i)))), '0|300', 'with none left no row is');
    ok($cluster->poll_until($slots, 0, 2), 'and no slot is in use');
}

# A hundred thousand texts: a hundred megabytes of answers are not in memory.
{
    my $narrow = $cluster->start_echo(name => 'narrow', options => [ '--dimensions', 8 ]);
    $cluster->append_conf("steadytext.daemons = '$narrow->{endpoint}'", 'steadytext.embedding_dimensions = 256', "work_mem = '4MB'");
    $cluster->reload;
    $cluster->poll_until(qq(SELECT count(*) FROM steadytext_daemons WHERE endpoint = '$narrow->{endpoint}' AND state = 'ready' AND kind = 'native'), 1);
    my $batch  = $cluster->session;
    my $pid    = $batch->ask('SELECT pg_backend_pid();');
    my $memory = sub { return $cluster->memory($pid, 'RssAnon') / 1024 };
    my ($before, $peak, $start) = ($memory->(), 0, time);
    $batch->{out} = '';
    $batch->hand_over(q(SELECT count(*) FILTER (WHERE text_input = 'text ' || i AND embedding IS NOT NULL) FROM ROWS FROM (steadytext_embed_batch(
        ARRAY(SELECT 'text ' || i FROM generate_series(1, 100000) i), use_cache => false)) WITH ORDINALITY b(text_input, embedding, cached, ms, i);));
    while ($batch->{out} !~ /\n/ && time < $start + 120) {
        my $now = $memory->();
        $peak = $now if $now > $peak;
        $batch->{run}->pump_nb;
        Time::HiRes::sleep(0.02);
    }
    my $took = time - $start;
    is($batch->finish->{out}, 100000, 'a hundred thousand rows, in order') or diag($batch->{err});
    cmp_ok($peak - $before, '<', 50, sprintf('%.0f MB more memory than before at most', $peak - $before));
    note(sprintf '%.1f s', $took);
}

done_testing;
