# When jobs of the async queue begin and how long they stay: priority and age, a full queue, attempts put off, callbacks without end,
# rows that have been kept long enough.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

# One at a time, so that the order in which jobs end is the order in which they began.
my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.pool_size = 1', "steadytext.request_timeout = '3s'" ]);
my $serial  = $cluster->start_echo(name => 'serial', options => ['--serial']);
sub set { my (%to) = @_; $cluster->sql(join('', map { "ALTER SYSTEM SET steadytext.$_ = '$to{$_}';" } sort keys %to) . 'SELECT pg_reload_conf()'); return }
sub use_daemon {
    my ($endpoint) = @_;
    set(daemons => $endpoint);
    return ok($cluster->poll_until(q(SELECT string_agg(endpoint || ' ' || state, ',') FROM steadytext_daemons), "$endpoint ready"), "$endpoint is ready");
}
sub enqueue { my ($prompt, $more) = @_; return "steadytext_enqueue('generate', jsonb_build_object('prompt', $prompt, 'use_cache', false)" . ($more // '') . ')' }
sub enqueued { return $cluster->sql('SELECT ' . enqueue(@_)) }
sub column { my ($id, $what) = @_; return $cluster->sql("SELECT $what FROM steadytext_queue WHERE request_id = '$id'") }
my $worker = q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker');

# ---- order -----------------------------------------------------------------------------------------------------------------
use_daemon($serial->{endpoint});
my $first = enqueued(q('!fault:hold while the others are queued'));
ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$first'", 'processing'), 'one job is under way');
$cluster->sql('BEGIN; SELECT ' . join(', ', map { enqueue("'of priority $_'", ", priority => $_") } 1, 10, 5) . ', ' . enqueue(q('also of priority 5')) .
    ', ' . enqueue(q('old, of priority 1'), ', priority => 1') . ', ' . enqueue(q('older than that'), ', priority => 2') . q(;
    UPDATE steadytext_queue SET run_at = now() - interval '8 minutes 30 seconds' WHERE prompt = 'old, of priority 1';
    UPDATE steadytext_queue SET run_at = now() - interval '9 minutes 30 seconds' WHERE prompt = 'older than that'; COMMIT));
$cluster->ask_daemon('control', '{"release": true}', $serial->{endpoint});
ok($cluster->poll_until('SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL', 0), 'all end');
is($cluster->sql(q(SELECT string_agg(prompt, '; ' ORDER BY completed_at, id) FROM steadytext_queue WHERE prompt !~ '^!')),
    'older than that; of priority 10; old, of priority 1; of priority 5; also of priority 5; of priority 1',
    'priority goes first, equal ones in their order, and a minute of waiting outweighs a step');
like(column($first, 'session_id'), qr/^[0-9a-f]+\.[0-9a-f]+$/, 'a row names the session it came from');

# ---- a full queue ----------------------------------------------------------------------------------------------------------
use_daemon($cluster->echo_endpoint);
set(queue_max_length => 3);
my @held = map { enqueued("'!fault:hold $_'") } 1, 2;
my $full = $cluster->try_sql('BEGIN; SELECT ' . enqueue(q('the third')) . '; SELECT ' . enqueue(q('the fourth')) . '; COMMIT');
is($full->{state}, '53400', 'what goes beyond queue_max_length is refused, as part of a transaction too');
like($full->{err}, qr/It has 3 of at most 3/, 'with the reason');
$cluster->sql('BEGIN; SELECT ' . enqueue(q('of a transaction')) . '; ROLLBACK');
my $third = enqueued(q('!fault:hold 3'));
ok($third, 'what was rolled back takes no place');
is($cluster->try_sql('SELECT ' . enqueue(q('one more')))->{state}, '53400', 'the queue is full');
is($cluster->try_sql("SELECT steadytext_generate_async('one more')")->{state}, '53400', 'for every function');
is($cluster->sql(q(SELECT details ->> 'jobs' FROM steadytext_health_check() WHERE component = 'queue')), 3, 'the health check knows its length');
is($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_queue_jobs')), 3, 'so do the metrics');
like($cluster->sql('SELECT steadytext_prometheus()'), qr/^steadytext_queue_oldest_job_seconds [0-9.e-]+$/m, 'and Prometheus');
$cluster->sql("SELECT steadytext_cancel_async('$held[0]')");
ok(enqueued(q('room again')), 'one that ends makes room');
set(queue_max_length => 0);
is($cluster->sql('SELECT count(' . enqueue(q('no limit ' || i)) . ') FROM generate_series(1, 10) i'), 10, '0 is no limit');
$cluster->ask_daemon('control', '{"release": true}');
set(queue_max_length => 100000);

# ---- attempts put off ------------------------------------------------------------------------------------------------------
my $failing = enqueued(q('!fault:error fails'), ', max_retries => 4');  # the last pause is longer than a worker stays without work
ok($cluster->poll_until("SELECT status = 'pending' AND retry_count > 0 AND ($worker) = 0 FROM steadytext_queue WHERE request_id = '$failing'", 't'),
    'a job that fails is put off, and the worker leaves while nothing is due');
ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$failing'", 'failed'), 'then another worker makes the last attempt');
my $waited = column($failing, 'extract(epoch FROM completed_at - created_at)');
cmp_ok($waited, '>', 0.75 * (1 + 2 + 4 + 8), 'after pauses that double');
cmp_ok($waited, '<', 1.25 * (1 + 2 + 4 + 8) + 5, 'and no longer');

# A rate limit is no attempt, nor is an engine that asks to come again.
$cluster->sql(q(CREATE ROLE limited LOGIN; SELECT steadytext_rate_limit_set('limited', requests => 1, per => '1 second')));
my $limited = $cluster->sql(q(SELECT array_agg(steadytext_enqueue('generate', jsonb_build_object('prompt', 'limited ' || i, 'use_cache', false), max_retries => 0)) FROM generate_series(1, 3) i), user => 'limited');
my $other = enqueued(q('of another role'));
ok($cluster->poll_until("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$limited') AND status = 'completed'", 3), 'limited jobs are done when the limit allows');
is($cluster->sql("SELECT max(retry_count) FROM steadytext_queue WHERE request_id = ANY ('$limited')"), 0, 'waiting for it was no attempt');
is($cluster->sql("SELECT completed_at < (SELECT max(completed_at) FROM steadytext_queue WHERE request_id = ANY ('$limited')) FROM steadytext_queue WHERE request_id = '$other'"), 't', 'other roles go on meanwhile');
my $engine = SteadyText::Engine->new;
use_daemon($engine->url);
$engine->busy(4);
set(request_timeout => '900ms');  # earlier than the engine's Retry-After
my $busy = enqueued(q('come again'), ', max_retries => 0');
ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$busy'", 'completed'), '429: it is done later') or diag column($busy, 'error');
is(column($busy, 'retry_count'), 0, 'which was no attempt');
cmp_ok(column($busy, 'extract(epoch FROM completed_at - created_at)'), '>', 0.5, 'but took its time');
set(request_timeout => '3s');
use_daemon($cluster->echo_endpoint);

# Nor is it one that no daemon can be reached, however long that lasts: what was queued is done when one is back.
for my $case ([ 'no daemon can be reached', 'ipc://' . $cluster->run_dir . '/nowhere.sock', qr/no inference daemon can be reached/ ], [ 'none is configured', '', qr/no inference daemon is configured/ ]) {
    my ($what, $daemons, $error) = @$case;
    set(daemons => $daemons);
    ok($cluster->poll_until(q(SELECT string_agg(endpoint, ',') FROM steadytext_daemons), $daemons), "$what: so it is");
    my @kinds = ([ generate => q('{"prompt": "%s", "use_cache": false}') ], [ embed => q('{"text_input": "%s", "use_cache": false}') ], [ batch_generate => q('{"prompts": ["%s 1", "%s 2"]}') ]);
    my @jobs = map { my ($kind, $params) = @$_; $cluster->sql(sprintf q(SELECT steadytext_enqueue('%s', %s, max_retries => 1)), $kind, $params =~ s/%s/$what/gr) } @kinds;
    my %tried;
    ok($cluster->wait_for(sub { $tried{ column($jobs[0], 'started_at') }++; keys %tried > 4 }, 30), "$what: a job is tried more often than it may fail");
    is(column($jobs[0], q(status || ' ' || retry_count)), 'pending 0', "$what: which were no attempts") unless column($jobs[0], 'status') eq 'processing';
    like(column($jobs[0], 'error'), $error, "$what: and says why it waits");
    $cluster->sql('BEGIN; SELECT ' . enqueue(qq('old, $what'), ', max_retries => 0') . qq(; UPDATE steadytext_queue SET created_at = now() - interval '2 days' WHERE prompt = 'old, $what'; COMMIT));
    ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE prompt = 'old, $what'", 'failed', 30), "$what: one that was queued days ago fails by its attempts");
    use_daemon($cluster->echo_endpoint);
    ok($cluster->poll_until(sprintf(q(SELECT count(*) FROM steadytext_queue WHERE request_id IN (%s) AND status = 'completed'), join ', ', map { "'$_'" } @jobs), scalar @jobs, 60), "$what: all are done when a daemon is back")
        or diag $cluster->sql('SELECT status, error FROM steadytext_queue');
}

# ---- callbacks -------------------------------------------------------------------------------------------------------------
$cluster->sql(q(CREATE TABLE told (request_id uuid); CREATE FUNCTION public.never_ends(id uuid) RETURNS void LANGUAGE sql
    AS 'INSERT INTO public.told VALUES ($1); SELECT pg_catalog.pg_sleep(600)'));
my $endless = enqueued(q('and then'), q(, callback => 'public.never_ends(uuid)'));
ok($cluster->poll_until("SELECT status, callback_state FROM steadytext_queue WHERE request_id = '$endless'", 'completed|failed'), 'a callback that does not end is ended');
like(column($endless, 'callback_error'), qr/^57014: /, 'its error says so');
is($cluster->sql('SELECT count(*) FROM told'), 0, 'what it did is undone');
my $gone = $cluster->sql('BEGIN; CREATE FUNCTION public.short_lived(id uuid) RETURNS void LANGUAGE sql AS $$$$; SELECT ' .
    enqueue(q('and then'), q(, callback => 'public.short_lived(uuid)')) . '; DROP FUNCTION public.short_lived; COMMIT');
ok($cluster->poll_until("SELECT status, callback_state FROM steadytext_queue WHERE request_id = '$gone'", 'completed|failed'), 'a callback that is gone costs no result');
like(column($gone, 'callback_error'), qr/^42883: /, 'but is noted');
is(enqueued(q('next')) =~ /^[0-9a-f-]{36}$/ && $cluster->poll_until('SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL', 0), 1, 'the next job is done');

# ---- retention -------------------------------------------------------------------------------------------------------------
my $staying = enqueued(q('!fault:hold for long'));
$cluster->sql(q(UPDATE steadytext_queue SET completed_at = completed_at - interval '8 days' WHERE prompt LIKE 'of priority%'));
my $young = $cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE (prompt LIKE 'of priority%') IS NOT TRUE));
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE prompt LIKE 'of priority%'), 0), 'rows that ended before queue_retention go');
is($cluster->sql('SELECT count(*) FROM steadytext_queue'), $young, 'the others stay');
# Thousands that wait for tomorrow hold up nothing that was queued behind them, and what one look does not see the next does at once.
$cluster->sql(q(INSERT INTO steadytext_queue (request_type, prompt, run_at) SELECT 'generate', 'tomorrow', now() + interval '1 day' FROM generate_series(1, 6000);
    INSERT INTO steadytext_queue (request_type, prompt, status, completed_at) SELECT 'generate', 'long ago', 'completed', now() - interval '8 days' FROM generate_series(1, 60000)));
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE prompt = 'long ago'), 0), 'sixty thousand rows go although six thousand wait before them');
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE prompt = 'tomorrow')), 6000, 'which stay');
$cluster->sql(q(DELETE FROM steadytext_queue WHERE prompt = 'tomorrow'));
set(queue_retention => '1s');
ok($cluster->poll_until('SELECT string_agg(request_id::text, $$,$$) FROM steadytext_queue', $staying), 'however long it is; what has not ended stays');
$cluster->ask_daemon('control', '{"release": true}');

done_testing;
