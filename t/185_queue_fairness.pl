# What one role's asynchronous calls can do to another's: rows of many parts, a full queue, jobs that kill their worker, rows that make no
# sense, memory, roles of the same name.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.request_timeout = '90s'", 'steadytext.queue_memory = 16MB', 'max_prepared_transactions = 2' ]);
$cluster->sql('CREATE ROLE hog LOGIN; CREATE ROLE honest LOGIN; CREATE ROLE third LOGIN');
sub set { my (%to) = @_; $cluster->sql(join('', map { "ALTER SYSTEM SET steadytext.$_ = '$to{$_}';" } sort keys %to) . 'SELECT pg_reload_conf()'); return }
sub column { my ($id, $what) = @_; return $cluster->sql("SELECT $what FROM steadytext_queue WHERE request_id = '$id'") }
sub ends {
    my ($id, $status) = @_;
    return $cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$id'", $status, 60)
        || !diag column($id, "concat_ws(' ', status, error, kill_count, lost_count)");
}
sub empty_queue { return $cluster->poll_until('SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL', 0, 120) }
my $worker_pid = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker');

# ---- turns ------------------------------------------------------------------------------------------------------------------
# The daemon works on eight at a time, 20 ms each: 4,000 parts take it ten seconds.
kill 'KILL', $cluster->echo_pid;
$cluster->start_echo(options => [ '--slots', 8, '--delay-ms', 20 ]);
ok($cluster->poll_until(q(SELECT state FROM steadytext_daemons), 'ready'), 'a daemon works on eight at a time');
sub singles {
    my ($user, $what) = @_;
    my $ids = $cluster->sql(qq(SELECT array_agg(steadytext_enqueue('generate', jsonb_build_object('prompt', '$what ' || i, 'use_cache', false)))
        FROM generate_series(1, 20) i), user => $user);
    $cluster->poll_until("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$ids') AND status = 'completed'", 20, 60);
    return split /\|/, $cluster->sql("SELECT extract(epoch FROM min(completed_at) - min(created_at)), extract(epoch FROM max(completed_at) - min(created_at))
        FROM steadytext_queue WHERE request_id = ANY ('$ids')");
}
my ($first_alone, $last_alone) = singles('honest', 'alone');
my $many = $cluster->sql(q(SELECT steadytext_enqueue('batch_generate', jsonb_build_object('use_cache', false, 'prompts', (SELECT jsonb_agg('part ' || i)
    FROM generate_series(1, 4000) i)))), user => 'hog');
ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$many'", 'processing'), 'a row of 4,000 parts is under way');
my ($first, $last) = singles('honest', 'beside it');
is(column($many, 'status'), 'processing', 'and still is when the jobs of another role are done');
my ($first_own, $last_own) = singles('hog', 'own');
is(column($many, 'status'), 'processing', 'and when those of its own role are');
cmp_ok($first, '<', 4 * $first_alone + 0.5, 'the first of another role is done soon');
cmp_ok($last,  '<', 4 * $last_alone + 0.5,  'so is the last');
cmp_ok($last_own, '<', 6 * $last_alone + 1, 'and the last of its own');
diag sprintf 'jobs of 20 ms, first and last: alone %.2f and %.2f s, beside 4,000 parts of another role %.2f and %.2f s, of the same %.2f and %.2f s',
    $first_alone, $last_alone, $first, $last, $first_own, $last_own;
ok(ends($many, 'completed'), 'the row ends');
is(column($many, q(results = ARRAY(SELECT 'part ' || i FROM generate_series(1, 4000) i))), 't', 'with its answers in order');
is(column($many, 'jsonb_object_keys(params)'), 'use_cache', 'its texts are kept once');

# A thousand rows of one role, then one of another.
$cluster->sql(q(SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', '!fault:delay=200 many ' || i, 'use_cache', false), priority => 10)) FROM generate_series(1, 1000) i), user => 'hog');
my $late = $cluster->sql(q(SELECT steadytext_enqueue('generate', '{"prompt": "late", "use_cache": false}', priority => 1)), user => 'honest');
ok(ends($late, 'completed'), 'a job behind a thousand of another role is done');
cmp_ok($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE prompt LIKE '%many %' AND completed_at IS NULL)), '>', 500, 'before most of them, whatever their priority');

# The same after SET ROLE, with which a role is many.
$cluster->sql(q(SELECT count(steadytext_cancel_async(request_id)) FROM steadytext_queue WHERE completed_at IS NULL));
$cluster->sql(join '', map { "CREATE ROLE guise_$_ NOLOGIN; GRANT guise_$_ TO hog;" } 1 .. 8);
$cluster->sql("SET ROLE guise_$_; " . q(SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', '!fault:delay=200 guise ' || i || current_user, 'use_cache', false), priority => 10)) FROM generate_series(1, 50) i), user => 'hog') for 1 .. 8;
my $ids = $cluster->sql(q(SELECT array_agg(steadytext_enqueue('generate', jsonb_build_object('prompt', 'beside ' || i, 'use_cache', false))) FROM generate_series(1, 50) i), user => 'honest');
ok($cluster->poll_until("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$ids') AND status = 'completed'", 50, 60), 'fifty jobs beside four hundred of one role in eight guises are done');
my $done = $cluster->sql(qq(SELECT count(*) FROM steadytext_queue WHERE prompt LIKE '%guise %' AND completed_at < (SELECT max(completed_at) FROM steadytext_queue WHERE request_id = ANY ('$ids'))));
cmp_ok($done, '<', 150, "when as many of the other are done, not eight times as many ($done)");

# Slow ones: who comes later finds a daemon that has room.
$cluster->ask_daemon('control', '{"delay_ms": 0}');
$cluster->sql(q(SELECT count(steadytext_cancel_async(request_id)) FROM steadytext_queue WHERE completed_at IS NULL));
$cluster->sql(q(SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', '!fault:delay=15000 slow ' || i, 'use_cache', false))) FROM generate_series(1, 40) i), user => 'hog');
ok($cluster->poll_until(q(SELECT count(*) >= 30 FROM steadytext_queue WHERE prompt LIKE '%slow%' AND status = 'processing'), 't'), 'jobs of fifteen seconds, more than there is room for, are claimed');
my $quick = $cluster->sql(q(SELECT steadytext_enqueue('generate', '{"prompt": "quick", "use_cache": false}')), user => 'honest');
ok(ends($quick, 'completed'), "another role's job is done");
cmp_ok(column($quick, 'extract(epoch FROM completed_at - created_at)'), '<', 8, 'before any of them ends');
$cluster->sql(q(SELECT count(steadytext_cancel_async(request_id)) FROM steadytext_queue WHERE completed_at IS NULL));

# ---- limits and batches ------------------------------------------------------------------------------------------------------
$cluster->sql(q(SELECT steadytext_rate_limit_set('third', requests => 10, per => '1 second')));
my $limited = $cluster->sql(q(SELECT steadytext_enqueue('batch_generate', jsonb_build_object('prompts', (SELECT jsonb_agg('limited ' || i) FROM generate_series(1, 35) i)))), user => 'third');
ok(ends($limited, 'completed'), 'a batch of more parts than a limit allows ends when the limit has allowed them all');
is(column($limited, q(results = ARRAY(SELECT 'limited ' || i FROM generate_series(1, 35) i))), 't', 'with all answers');
cmp_ok(column($limited, 'extract(epoch FROM completed_at - started_at)'), '>', 2.5, 'no sooner');

# A single request waits as long as the limit said, and is counted when it ends.
{
    $cluster->sql(q(CREATE ROLE patient LOGIN; SELECT steadytext_rate_limit_set('patient', requests => 1, per => '4 seconds')));
    my $counted = q(SELECT coalesce(sum(value), 0) FROM steadytext_metrics() WHERE name = 'steadytext_outcomes_total' AND labels ->> 'outcome' = 'limited');
    my $before = $cluster->sql($counted);
    my $waits = $cluster->sql(q(SELECT FROM steadytext_generate('uses it up'); SELECT steadytext_generate_async('waits for the limit')), user => 'patient') =~ s/\s//gr;
    ok($cluster->poll_until("SELECT error IS NOT NULL FROM steadytext_queue WHERE request_id = '$waits'", 't'), 'a job meets a limit');
    like(column($waits, 'error'), qr/1 requests per 4s.*role "patient".*retry after \d+ ms\. It is tried again at .* UTC\./, 'its error says which, and when it is tried again');
    ok(ends($waits, 'completed'), 'it is done');
    cmp_ok(column($waits, 'extract(epoch FROM completed_at - created_at)'), '>', 3, 'no sooner than the limit allows');
    is($cluster->sql(q(SELECT refused FROM steadytext_rate_limit_status WHERE role = 'patient')), 1, 'the limit was asked once in vain');
    is(column($waits, 'retry_count'), 0, 'which was no attempt');
    is($cluster->sql($counted), $before, 'nor a call that has ended');
    is(column($waits, 'error'), '', 'no error is left');
}

# ---- a full queue ------------------------------------------------------------------------------------------------------------
ok(empty_queue(), 'nothing is queued');
set(queue_max_length => 40);
my $hold = sub { my ($n) = @_; return "SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', '!fault:hold ' || i, 'use_cache', false))) FROM generate_series(1, $n) i" };
my $places = sub { return $cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_queue_jobs')) };
my $greedy = $cluster->try_sql($hold->(21), user => 'hog');
is($greedy->{state}, '53400', 'a role may have half of what others leave');
like($greedy->{err}, qr/role "hog" has its share.*It has 20 of at most 20/s, 'with the reason');
ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_queue_jobs'), 0), 'what was refused takes no place');
is($cluster->sql($hold->(20), user => 'hog'), 20, 'that much it may have');
is($cluster->sql($hold->(10), user => 'honest'), 10, 'another role has half of the rest');
is($cluster->try_sql($hold->(1), user => 'hog')->{state}, '53400', 'and the first no more');
my $before = $places->();
# SET ROLE, with which a member acts as another role, gives no other share.
$cluster->sql('CREATE ROLE guise NOLOGIN; GRANT guise TO hog');
is($cluster->try_sql('SET ROLE guise; ' . $hold->(1), user => 'hog')->{state}, '53400', 'nor as another role that it is a member of');
is($places->(), $before, 'which takes no place');
# Subtransactions that are rolled back, in whatever order, and cancels in them.
my $own = $cluster->sql(q(SELECT request_id FROM steadytext_queue WHERE user_id = 'honest' AND completed_at IS NULL LIMIT 1));
$cluster->sql("BEGIN; SAVEPOINT a; SELECT steadytext_generate_async('!fault:hold'); SAVEPOINT b; SELECT steadytext_generate_async('!fault:hold');
    RELEASE b; ROLLBACK TO a; SAVEPOINT c; SELECT steadytext_cancel_async('$own'); ROLLBACK TO c; COMMIT", user => 'third');
is($places->(), $before, 'what was rolled back to a savepoint counts nothing');
$cluster->sql("BEGIN; SAVEPOINT a; SELECT steadytext_cancel_async('$own'); ROLLBACK TO a; COMMIT; BEGIN; SELECT steadytext_cancel_async('$own'); ROLLBACK", user => 'honest') for 1 .. 5;
is($places->(), $before, 'neither do cancels that were');
$cluster->sql("SELECT count(steadytext_cancel_async(request_id)) FROM unnest(ARRAY['$own'::uuid, gen_random_uuid()]) request_id", user => 'third') for 1 .. 5;
is($places->(), $before, "neither do those of other roles' requests, or of none");
$cluster->sql("BEGIN; SAVEPOINT a; SELECT steadytext_generate_async('!fault:hold'); RELEASE a; COMMIT", user => 'third');
is($places->(), $before + 1, 'what was released counts');
# Sessions side by side cannot overfill it.
my @beside = map { $cluster->session(user => 'third') } 1 .. 3;
$_->ask('BEGIN; ' . $hold->(2) . ';') for @beside;
$_->ask('COMMIT;') for @beside;
is($places->(), $before + 1 + 4, 'sessions side by side have the share of one');
like($beside[2]{err}, qr/role "third" has its share/, 'the last of them is told');
is($cluster->try_sql(qq(BEGIN; SELECT steadytext_cancel_async('$own'); PREPARE TRANSACTION 'q'), user => 'honest')->{state}, '0A000', 'such a transaction cannot be prepared');
$cluster->sql(q(SELECT count(steadytext_cancel_async(request_id)) FROM steadytext_queue WHERE completed_at IS NULL));
is($places->(), 0, 'cancelled, all places are free');
set(queue_max_length => 100000);
set(queue_max_per_role => 3);
is($cluster->try_sql($hold->(4), user => 'hog')->{state}, '53400', 'a share of a fixed size');
is($cluster->sql($hold->(4)), 4, 'which does not bind a superuser');
$cluster->sql(q(SELECT count(steadytext_cancel_async(request_id)) FROM steadytext_queue WHERE completed_at IS NULL));
set(queue_max_per_role => 0);

# ---- jobs that kill their worker -----------------------------------------------------------------------------------------------
# A worker's first job reads the budgets, and stands there as long as their table is locked, which a prepared transaction does over restarts: so
# the worker dies at work on that very job.
ok(empty_queue(), 'nothing is queued');
ok($cluster->poll_until("SELECT count(*) FROM ($worker_pid) w", 0), 'no worker is there');
$cluster->sql(q(BEGIN; LOCK TABLE steadytext_budgets IN ACCESS EXCLUSIVE MODE; PREPARE TRANSACTION 'lock'));
my ($poison, $neighbours) = split /\|/, $cluster->sql(q(SELECT steadytext_generate_async('poison'),
    (SELECT array_agg(steadytext_enqueue('generate', jsonb_build_object('prompt', 'neighbour ' || i, 'use_cache', false))) FROM generate_series(1, 50) i)), user => 'hog');
my $stuck = q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker' AND wait_event_type = 'Lock');
for my $time ('first', 'second') {
    my $pid;
    ok($cluster->wait_for(sub { ($pid) = $cluster->try_sql($stuck)->{out} =~ /^(\d+)$/; $pid }, 60), "a worker is at work on the job, for the $time time");
    kill 'SEGV', $pid;
    ok($cluster->wait_for(sub { !kill 0, $pid }, 60), 'it dies, and the server with it');
}
ok($cluster->poll_until('SELECT 1', 1, 60), 'the server serves');
ok(ends($poison, 'failed'), 'the second time it is dead') or diag $cluster->sql("SELECT status, kill_count, lost_count, error FROM steadytext_queue WHERE request_id = '$poison'");
is($cluster->sql("SELECT gid FROM pg_prepared_xacts; ROLLBACK PREPARED 'lock'"), 'lock', 'which is known without another try');
is(column($poison, 'error'), 'its worker died 2 times while at work on it', 'and says why');
ok($cluster->poll_until("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$neighbours') AND status = 'completed'", 50, 60), 'its neighbours are done');
is($cluster->sql("SELECT max(kill_count) FROM steadytext_queue WHERE request_id = ANY ('$neighbours')"), 0, 'and charged nothing');
is($cluster->sql("SELECT steadytext_queue_requeue(ARRAY['$poison'::uuid])", user => 'hog'), 1, 'it may be queued again');
ok(ends($poison, 'completed'), 'and done');

# ---- rows that make no sense ---------------------------------------------------------------------------------------------------
my @bad = (
    [ q('generate', 'x', NULL, '[1]'),                         qr/params must be a JSON object/ ],
    [ q('generate', 'x', NULL, '{"max_tokens": 1e100}'),       qr/max_tokens must be/ ],
    [ q('generate', 'x', NULL, '{"max_tokens": {"a": []}}'),   qr/max_tokens must be/ ],
    [ q('generate', NULL, NULL, NULL),                         qr/Prompt cannot be/i ],
    [ q('batch_generate', NULL, NULL, NULL),                   qr/a batch needs prompts/ ],
    [ q('batch_generate', NULL, ARRAY['x', NULL], NULL),       qr/cannot be/i ],
    [ q('batch_embed', NULL, array_fill('x'::text, '{100001}'), NULL), qr/at most 100000 parts/ ],
    [ q('generate_json', 'x', NULL, '{"schema": 7}'),          qr/schema/i ],
    [ q('rerank', NULL, NULL, '{"query": 1, "documents": {"a": 1}}'), qr/./ ],
    [ q('generate', repeat('x', 5000000), NULL, NULL),         qr/more than a quarter of steadytext.queue_memory/ ],
);
$cluster->sql("INSERT INTO steadytext_queue (request_type, prompt, prompts, params, session_id, max_retries) VALUES ($_->[0]::jsonb, 'bad', 0)") for @bad;
my $nobodys = $cluster->sql(q(INSERT INTO steadytext_queue (request_type, prompt, user_id, user_oid) VALUES ('generate', 'x', 'nobody there', 'hog'::regrole) RETURNING request_id));
my $good = $cluster->sql(q(SELECT steadytext_enqueue('generate', '{"prompt": "good", "use_cache": false}', 1)), user => 'honest');
ok(ends($good, 'completed'), 'rows written by hand that make no sense hold up nothing');
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE session_id = 'bad' AND status = 'failed'), scalar @bad), 'each fails')
    or diag $cluster->sql(q(SELECT request_type, left(prompt, 20), left(params::text, 40), status, error FROM steadytext_queue WHERE session_id = 'bad'));
my @errors = split /\n/, $cluster->sql(q(SELECT coalesce(error, '') FROM steadytext_queue WHERE session_id = 'bad' ORDER BY id));
like($errors[$_], $bad[$_][1], "with its reason: $errors[$_]") for 0 .. $#bad;
ok(ends($nobodys, 'failed'), "a name that is not the role's is nobody");
like(column($nobodys, 'error'), qr/role "nobody there" does not exist/, 'and said to be');

# ---- roles of the same name ------------------------------------------------------------------------------------------------------
$cluster->sql('CREATE ROLE again LOGIN; CREATE ROLE renamed LOGIN');
my $old = $cluster->sql(q(SELECT steadytext_generate_async('a secret')), user => 'again');
my $mine = $cluster->sql(q(SELECT steadytext_generate_async('mine')), user => 'renamed');
ok(ends($old, 'completed') && ends($mine, 'completed'), 'two roles have answers');
$cluster->sql('ALTER ROLE renamed RENAME TO other_name; DROP ROLE again; CREATE ROLE again LOGIN');
is($cluster->sql('SELECT count(*) FROM steadytext_queue', user => 'again'), 0, "a new role of the name does not see the old one's requests");
is($cluster->sql("SELECT count(*) FROM steadytext_check_async('$old')", user => 'again'), 0, 'nor their answers');
is($cluster->sql("SELECT steadytext_cancel_async('$old'), steadytext_queue_requeue(ARRAY['$old'::uuid])", user => 'again'), 'f|0', 'nor changes them');
is($cluster->sql("SELECT result FROM steadytext_check_async('$mine')", user => 'other_name'), 'mine', 'a role that is renamed keeps its own');
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE user_oid::text ~ '^[0-9]+$')), 1, 'what is gone is a number');

# ---- memory ------------------------------------------------------------------------------------------------------------------
# 40,000 parts in rows as large as they may be, beside 10,000 rows. All of it and the answers would be 20 MB and more in the worker's memory.
$cluster->sql(q(SELECT count(steadytext_enqueue('batch_generate', jsonb_build_object('use_cache', false, 'prompts',
        (SELECT jsonb_agg(j || ' ' || i || repeat(' a part', 50)) FROM generate_series(1, 8000) i)))) FROM generate_series(1, 5) j;
    SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', i || repeat(' a row', 200), 'use_cache', false))) FROM generate_series(1, 10000) i), user => 'hog');
my ($base, $peak) = (0, 0);
$cluster->wait_for(sub {
    my ($pid) = $cluster->try_sql($worker_pid)->{out} =~ /^(\d+)$/;
    my $now = $pid && -d "/proc/$pid" ? eval { $cluster->memory($pid, 'RssAnon') / 1024 } : undef;
    $base = $now if defined $now && !$base;
    $peak = $now if defined $now && $now > $peak;
    return $cluster->sql('SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL') eq '0';
}, 180);
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL OR (status <> 'completed' AND prompt LIKE '% a row%'))), 0, 'all is done');
is($cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE cardinality(results) = 8000)), 5, 'the batches too');
cmp_ok($peak, '<', 16 + 24, 'in the memory that steadytext.queue_memory allows, beside what a worker has at its start');
diag sprintf '%.0f MB at most', $peak;
my $too_large = $cluster->try_sql(q(SELECT steadytext_enqueue('batch_generate', jsonb_build_object('prompts', (SELECT jsonb_agg(repeat('x', 1000)) FROM generate_series(1, 5000))))), user => 'hog');
is($too_large->{state}, '54000', 'a row of more than a quarter of it is refused');
my $vectors = $cluster->try_sql(q(SELECT steadytext_enqueue('batch_embed', jsonb_build_object('texts', (SELECT jsonb_agg('x'::text) FROM generate_series(1, 5000))))), user => 'hog');
is($vectors->{state}, '54000', 'so is one whose vectors would be');
my $parts = $cluster->try_sql(q(SELECT steadytext_enqueue('batch_generate', jsonb_build_object('prompts', (SELECT jsonb_agg('x'::text) FROM generate_series(1, 100001))))), user => 'hog');
is($parts->{state}, '54000', 'and one of more than 100,000 parts');

done_testing;
