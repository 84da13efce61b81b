# The cache under concurrency and bad luck: single flight, keepers that die, tables that are not what they should be, old keys.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'max_connections = 260' ]);
my $requests = sub { my ($n) = $cluster->ask_daemon('stats') =~ /"generate":(\d+)/; return $n // 0 };
my $flush    = sub { return $cluster->sql('SELECT steadytext_frecency_refresh()') };
my $metric   = sub { return $cluster->sql("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_$_[0]'") };
my $pgbench = SteadyText::Cluster::server_program('pgbench');

sub bench {
    my ($script, @options) = @_;
    my $output = '';
    my $file = $cluster->run_dir . '/bench.sql';
    open my $out, '>', $file or die $!;
    print {$out} $script;
    close $out;
    my $run = IPC::Run::start([ $pgbench, '-n', '-h', $cluster->{PGHOST}, '-p', $cluster->{PGPORT}, '-U', $cluster->{PGUSER}, '-f', $file,
        @options, $cluster->{PGDATABASE} ], '<', \undef, '>&', \$output);
    return ($run, \$output);
}

# Single flight: 200 connections, 1000 calls, 50 keys, held replies: 50 requests.
{
    my $before = $requests->();
    my ($run, $output) = bench(qq(\\set key (:client_id + 7 * random(0, 1000)) % 50
        SELECT steadytext_generate('!fault:hold key ' || (CASE WHEN :client_id < 50 THEN :client_id ELSE :key END));\n), '-c', 200, '-j', 2, '-t', 5);
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":\s*50\b/ && $metric->('single_flight_joins_total') >= 150 }, 60),
        'fifty requests are held, a hundred and fifty sessions wait for them');
    $cluster->ask_daemon('control', '{"release": true}');
    ok($run->finish, 'a thousand calls are answered') or diag $$output;
    is($requests->() - $before, 50, 'by fifty requests');
}

# A waiter cancels alone; a leader that is cancelled, or killed, hands over.
{
    my $before = $requests->();
    my $ask    = q(SELECT pg_backend_pid(); SELECT steadytext_generate('!fault:hold shared'));
    my $joins  = $metric->('single_flight_joins_total');
    my ($leader, @waiters) = map { my $n = $_; my $session = $cluster->session; $session->send("SET application_name = 'flight$n'; $ask");
        $cluster->wait_for(sub { $n == 0 ? $requests->() == $before + 1 : $metric->('single_flight_joins_total') >= $joins + $n }); $session } 0 .. 3;
    my $end = sub { my ($how, $n) = @_; $cluster->sql("SELECT pg_$how\_backend(pid) FROM pg_stat_activity WHERE application_name = 'flight$n'") };
    $end->('cancel', 1);
    is($waiters[0]->finish->{state}, '57014', 'a waiter is cancelled');
    is($requests->(), $before + 1, 'which asks nothing of the daemon');
    $end->('cancel', 0);
    is($leader->finish->{state}, '57014', 'the leader is cancelled');
    ok($cluster->wait_for(sub { $requests->() == $before + 2 }), 'one of the waiters asks in its place');
    $end->('terminate', 2);
    ok($cluster->wait_for(sub { $requests->() == $before + 3 }), 'and when that is terminated, the last one');
    $waiters[1]->finish;
    $cluster->ask_daemon('control', '{"release": true}');
    like($waiters[2]->finish->{out}, qr/hold shared$/, 'which gets the answer');
}

# Ten sessions, fifty prompts each, the same fifty: one right row for each.
{
    $cluster->sql('SELECT steadytext_cache_clear()');
    my $joins = $metric->('single_flight_joins_total');
    my @sessions = map { $cluster->session->send(q(SELECT count(*) FILTER (WHERE steadytext_generate('prompt ' || i) = 'prompt ' || i)
        FROM (SELECT i FROM generate_series(1, 50) i ORDER BY random()) x)) } 1 .. 10;
    is_deeply([ map { $_->finish->{out} } @sessions ], [ (50) x 10 ], 'ten sessions get every answer right');
    $flush->();
    is($cluster->sql(q(SELECT count(*), count(*) FILTER (WHERE response = prompt) FROM steadytext_cache)), '50|50', 'a right row for each prompt');
    is($cluster->sql(q(SELECT sum(access_count) FROM steadytext_cache)), 500 - ($metric->('single_flight_joins_total') - $joins),
        'every call that did not wait for another is counted');
}

# kill -9 of the keeper: no committed row is lost, none is there twice.
for my $round (1 .. 3) {
    my $writer = $cluster->session->send(qq(SELECT count(steadytext_generate('round $round ' || i)) FROM generate_series(1, 3000) i));
    my $keeper;
    $cluster->wait_for(sub { $keeper = $cluster->sql(q(SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper')) });
    $cluster->wait_for(sub { $cluster->sql(qq(SELECT count(*) FROM steadytext_cache WHERE prompt LIKE 'round $round %')) > 100 });
    my $committed = $cluster->sql(qq(SELECT string_agg(cache_key, ',' ORDER BY cache_key) FROM steadytext_cache));
    kill 'KILL', $keeper;
    $writer->finish;
    ok($cluster->poll_until('SELECT true', 't', 30), "round $round: the server is back");
    my $lost = $cluster->sql("SELECT count(*) FROM unnest(string_to_array('$committed', ',')) k WHERE NOT EXISTS (SELECT FROM steadytext_cache WHERE cache_key = k)");
    is($lost, 0, 'no committed row is lost');
    is($cluster->sql('SELECT count(*) - count(DISTINCT cache_key) FROM steadytext_cache'), 0, 'none is there twice');
    is($cluster->sql('SELECT sum(entries) = (SELECT count(*) FROM steadytext_cache) FROM _steadytext.cache_ledger'), 't', 'the ledger agrees');
}
is($cluster->sql(q(SELECT steadytext_generate('after the keepers'))), 'after the keepers', 'calls go on');
$flush->();
is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'after the keepers')), 1, 'and are written');

# Nobody waits for the table.
{
    my $locker = $cluster->session;
    $locker->ask('BEGIN; LOCK TABLE steadytext_cache IN ACCESS EXCLUSIVE MODE;');
    my $start = time;
    is($cluster->sql(q(SELECT steadytext_generate('while locked'))), 'while locked', 'a call is answered while the table is locked');
    cmp_ok(time - $start, '<', 1, 'at once');
    $locker->ask('COMMIT;');
    $locker->finish;
    $flush->();
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'while locked')), 1, 'and its answer is written once it is not');
}

# No room on the disk: calls work, the rest is written when there is room again.
{
    $cluster->sql(q(CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT ON steadytext_cache EXECUTE FUNCTION full_disk()));
    my $full = $cluster->try_sql(q(SELECT steadytext_generate('no room'); SELECT steadytext_frecency_refresh()));
    is($full->{out}, 'no room', 'a call is answered without room for a row');
    is($full->{state}, '55000', 'a refresh says that it failed');
    ok($cluster->wait_for(sub { (() = $cluster->log =~ /ERROR:.*no space left/g) > 4 }), 'the log says why, of each attempt');
    $cluster->sql('DROP TRIGGER full_disk ON steadytext_cache');
    is($cluster->sql(q(SELECT steadytext_generate('room again'))), 'room again', 'then there is room');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt IN ('no room', 'room again')), 2, 60), 'and rows are written, also those that found none');

    # What is wrong with a row is its own affair.
    $cluster->sql(q(ALTER TABLE steadytext_cache ADD CONSTRAINT unwanted CHECK (prompt <> 'unwanted') NOT VALID; SELECT steadytext_generate('unwanted'), steadytext_generate('wanted')));
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'wanted'), 1), 'an answer that the table refuses holds up no other');
    ok($cluster->poll_until(q(SELECT pending_writes FROM steadytext_frecency_status()), 0), 'and is given up');
    $cluster->sql('ALTER TABLE steadytext_cache DROP CONSTRAINT unwanted');
}

# A database that goes while answers wait to be written for it.
{
    $cluster->sql('CREATE DATABASE passing');
    $cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE; SELECT count(steadytext_generate('passing ' || i)) FROM generate_series(1, 100) i), database => 'passing');
    my $start = time;
    $cluster->sql('DROP DATABASE passing');
    cmp_ok(time - $start, '<', 6, 'DROP DATABASE is not held up');
}

# Rows of the original: found before, during and after their migration; a hit moves one at a time.
{
    $cluster->sql(q(SELECT steadytext_cache_clear();
        INSERT INTO steadytext_cache (cache_key, prompt, response, model_name, seed, eos_string, generation_params)
            SELECT 'old ' || i || CASE WHEN i % 4 = 0 THEN '::EOS::END' ELSE '' END, 'old ' || i, 'old answer ' || i, 'steadytext-default', 42,
                   CASE WHEN i % 4 = 0 THEN 'END' END, '{"max_tokens": 100, "seed": 42}' FROM generate_series(1, 200) i;
        INSERT INTO steadytext_cache (cache_key, prompt, embedding)
            SELECT encode(sha256(convert_to('embed:old ' || i, 'UTF8')), 'hex'), 'old ' || i, array_fill(0.03125, ARRAY[1024])::vector FROM generate_series(1, 50) i));
    my $replay = q(SELECT (SELECT count(*) FILTER (WHERE steadytext_generate('old ' || i, 100, true, 42, CASE WHEN i % 4 = 0 THEN 'END' ELSE '[EOS]' END) = 'old answer ' || i)
        FROM generate_series(1, 200) i) || ' ' || (SELECT count(*) FILTER (WHERE (steadytext_embed('old ' || i)::real[])[1] = 0.03125) FROM generate_series(1, 50) i));
    my $before = $requests->();
    is($cluster->sql($replay), '200 50', 'before: every old row answers');
    is($cluster->sql(q(SELECT steadytext_generate('old 1', 101))), 'old 1', 'but not a call of other max_tokens');
    is($cluster->sql(q(SELECT steadytext_generate('old 1', 100, seed => 43))), 'old 1', 'or of another seed');
    is($cluster->sql(q(SELECT steadytext_generate('old 1', 100, model => 'other', use_cache => false))), 'old 1', 'or model');
    $flush->();
    cmp_ok($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE fingerprint = 'legacy')), '>=', 200, 'what was hit has its standard key');
    $cluster->sql(q(SELECT steadytext_cache_clear();
        INSERT INTO steadytext_cache (cache_key, prompt, response, model_name, seed, eos_string, generation_params)
            SELECT 'old ' || i || CASE WHEN i % 4 = 0 THEN '::EOS::END' ELSE '' END, 'old ' || i, 'old answer ' || i, 'steadytext-default', 42,
                   CASE WHEN i % 4 = 0 THEN 'END' END, '{"max_tokens": 100, "seed": 42}' FROM generate_series(1, 200) i;
        INSERT INTO steadytext_cache (cache_key, prompt, embedding)
            SELECT encode(sha256(convert_to('embed:old ' || i, 'UTF8')), 'hex'), 'old ' || i, array_fill(0.03125, ARRAY[1024])::vector FROM generate_series(1, 50) i));
    is($cluster->sql('SELECT migrated, merged, skipped, remaining FROM steadytext_cache_migrate_keys(120)'), '120|0|0|130', 'a batch is migrated');
    $cluster->sql('UPDATE steadytext_cache SET access_count = access_count WHERE false');  # forgets what shared memory has
    is($cluster->sql($replay), '200 50', 'during: every row answers');
    $flush->();
    $cluster->sql('SELECT steadytext_cache_migrate_keys()');
    is($cluster->sql('SELECT remaining FROM steadytext_cache_migrate_keys()'), 0, 'the rest');
    $cluster->sql('UPDATE steadytext_cache SET access_count = access_count WHERE false');
    is($cluster->sql($replay), '200 50', 'after: every row answers');
    $flush->();
    is($cluster->sql('SELECT count(*) FROM steadytext_cache WHERE cache_key = prompt'), 0, 'no old key is left');
    is($cluster->sql('SET steadytext.legacy_cache_keys = off; UPDATE steadytext_cache SET access_count = access_count WHERE false;
        ' . $replay), '0 0', 'legacy_cache_keys = off: they answer no more');
    $flush->();
    cmp_ok($cluster->sql('SELECT steadytext_cache_clear_legacy()'), '>=', 250, 'and go');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE fingerprint IN ('legacy', 'unknown') OR fingerprint IS NULL)), 0, 'all of them');
}

# What the original kept of failures (zeros for a vector, text that has not the form) answers nobody, whatever its key; the daemon is asked, once.
{
    my $embeddings = sub { my ($n) = $cluster->ask_daemon('stats') =~ /"embed":(\d+)/; return $n // 0 };
    my $calls = q(SELECT (SELECT steadytext_embed('failed') <> array_fill(0, ARRAY[1024])::vector), (SELECT embedding IS NOT NULL FROM steadytext_embed_batch(ARRAY['failed'])),
        (SELECT steadytext_generate_choice('pick', ARRAY['pick', 'other']) = 'pick'));
    my $insert = q(SELECT steadytext_cache_clear();
        INSERT INTO steadytext_cache (cache_key, prompt, embedding) VALUES (encode(sha256('embed:failed'), 'hex'), 'failed', array_fill(0, ARRAY[1024])::vector);
        INSERT INTO steadytext_cache (cache_key, prompt, response, model_name, seed) VALUES (md5('choice:pick:other|pick:42'), 'pick', 'neither', 'steadytext-default', 42));
    my $forget = q(UPDATE steadytext_cache SET access_count = access_count WHERE false);
    for my $step ([ 'under the original keys', $forget ], [ 'under the keys that they are migrated to', 'SELECT steadytext_cache_migrate_keys()' ]) {
        my ($where, $do) = @$step;
        $cluster->sql($insert);
        $cluster->sql($do);
        my $before = $embeddings->();
        is($cluster->sql($calls), 't|t|t', "$where: what failed is asked for");
        is($embeddings->() - $before, 1, "$where: once");
        $flush->();
    }
    $cluster->sql("UPDATE steadytext_cache SET embedding = array_fill(0, ARRAY[1024])::vector WHERE prompt = 'failed'");
    is($cluster->sql($calls), 't|t|t', 'under the keys of today: too');
}

# A ledger that cannot be true counts for nothing: no call fails, nothing is evicted for it, and the keeper counts the rows.
{
    $cluster->sql(q(SELECT steadytext_cache_clear(); SELECT count(steadytext_generate('counted ' || i)) FROM generate_series(1, 20) i));
    $flush->();
    my $true = $cluster->sql('SELECT count(*), sum(entry_bytes) FROM steadytext_cache');
    my $most = '9223372036854775807';
    for my $nonsense ("(0, $most, $most), (0, $most, $most)", "(0, -$most, 0), (0, -$most, -$most)", '(0, -1000, 0)', '(0, 0, -1000000)', "(0, 0, $most)", '(0, 1000000, 0)',
        '(0, 5000000000, 5000000000000)', '(0, 1, 200), (1, -1, -200)') {
        $cluster->sql("INSERT INTO _steadytext.cache_ledger VALUES $nonsense");
        is($cluster->sql('SELECT entries, bytes FROM _steadytext.cache_size()'), $true, "the size is the table's beside $nonsense");
        is($cluster->sql('SELECT total_entries, (SELECT evicted_count FROM steadytext_cache_evict_by_age(1000)), (SELECT evicted_count FROM steadytext_cache_evict_by_frecency(1000)) FROM steadytext_cache_stats()'), '20|0|0', '  nothing is evicted');
        is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'cache')), 'healthy', '  the cache is well');
        $cluster->sql(q(SELECT steadytext_generate('counted once more'); SELECT steadytext_frecency_refresh()));
        is($cluster->sql('SELECT sum(entries), sum(bytes) FROM _steadytext.cache_ledger'), $cluster->sql('SELECT count(*), sum(entry_bytes) FROM steadytext_cache'), '  and the keeper puts it right');
        $cluster->sql(q(DELETE FROM steadytext_cache WHERE prompt = 'counted once more'));
    }
    unlike($cluster->log, qr/out of range/, 'no overflow');
}

# A restore of many answers looks each one up by the indexes, although the table is small when its first row comes.
{
    $cluster->sql(q(INSERT INTO steadytext_cache (cache_key, prompt) SELECT 'few ' || i, 'x' FROM generate_series(1, 3) i; ANALYZE steadytext_cache));
    my $read = q(SELECT seq_tup_read, n_tup_ins FROM pg_stat_user_tables WHERE relname = 'steadytext_cache');
    my ($before) = split /\|/, $cluster->sql($read);
    $cluster->sql(q(INSERT INTO steadytext_cache (id, cache_key, prompt) SELECT 1000000 + i, 'many ' || i, 'x' FROM generate_series(1, 3000) i));
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE cache_key LIKE 'many %')), 3000, 'many answers are restored');
    my $after;
    ok($cluster->wait_for(sub { ($after, my $inserted) = split /\|/, $cluster->sql($read); $inserted >= 3000 }), '  as statistics tell');
    cmp_ok($after - $before, '<', 100_000, '  and each is not looked up in all of the table: ' . ($after - $before) . ' rows read');
    $cluster->sql('SELECT steadytext_cache_clear()');
}

# Another role finds nothing of this one's, unless the scope is the database.
{
    $cluster->sql(q(CREATE ROLE other LOGIN; SELECT steadytext_generate('mine alone')));
    my $cached = q(SELECT cached FROM steadytext_generate_ex('mine alone'));
    is($cluster->sql($cached), 't', 'cached for its role');
    is($cluster->sql($cached, user => 'other'), 'f', 'not for another');
    $cluster->sql(q(ALTER DATABASE steadytext SET steadytext.cache_scope = 'database'));
    $cluster->sql($cached);
    is($cluster->sql($cached, user => 'other'), 't', 'unless the scope is the database');
    $cluster->sql(q(ALTER DATABASE steadytext RESET steadytext.cache_scope));
}

# Nor does a role, or a database, that is made anew under the old name: names are in the key, numbers are compared.
{
    my $cached = q(SELECT cached FROM steadytext_generate_ex('my secret'));
    $cluster->sql('CREATE ROLE alice LOGIN');
    is($cluster->sql($cached, user => 'alice'), 'f', 'a role asks');
    is($cluster->sql($cached, user => 'alice'), 't', 'and finds its answer');
    $flush->();
    is($cluster->sql(q(SELECT scope_role = 'alice'::regrole FROM steadytext_cache WHERE prompt = 'my secret')), 't', 'whose row has its number');
    $cluster->sql('DROP ROLE alice; CREATE ROLE alice LOGIN');
    is($cluster->sql($cached, user => 'alice'), 'f', 'its namesake finds nothing, in shared memory or in the table');
    $flush->();
    is($cluster->sql(q(SELECT scope_role = 'alice'::regrole FROM steadytext_cache WHERE prompt = 'my secret')), 't', 'and its own answer takes the row\'s place');

    $cluster->sql('CREATE DATABASE again');
    $cluster->sql(qq(CREATE EXTENSION pg_steadytext CASCADE; $cached; $cached), database => 'again');
    $cluster->sql('DROP DATABASE again');
    $cluster->sql('CREATE DATABASE again');
    is($cluster->sql(qq(SET client_min_messages = error; CREATE EXTENSION pg_steadytext CASCADE; $cached), database => 'again'), 'f', 'a database finds nothing of its namesake');

    $cluster->sql('CREATE DATABASE "a"; CREATE DATABASE "a/b"; CREATE ROLE "b/c" LOGIN; CREATE ROLE c LOGIN; CREATE ROLE "100%" LOGIN');
    $cluster->sql('CREATE EXTENSION pg_steadytext CASCADE', database => $_) for 'a', 'a/b';
    my $key = sub { $cluster->sql(q(SELECT cache_key FROM steadytext_generate_ex('whose?')), user => $_[1], database => $_[0]) };
    isnt($key->('a', 'b/c'), $key->('a/b', 'c'), 'role b/c of database a and role c of database a/b have keys of their own');
    $cluster->sql('SELECT steadytext_frecency_refresh()', database => $_) for 'a', 'a/b';
    is($cluster->sql(q(SELECT scope, scope_role = '"b/c"'::regrole FROM steadytext_cache), database => 'a'), 'a/b%2Fc|t', 'as their scopes say');
    is($cluster->sql(q(SELECT scope, scope_role = 'c'::regrole FROM steadytext_cache), database => 'a/b'), 'a%2Fb/c|t', 'and the roles in them');
    $cluster->sql(q(SELECT steadytext_generate('per cent')), user => '100%');
    $flush->();
    is($cluster->sql(q(SELECT scope, scope_role = '"100%"'::regrole FROM steadytext_cache WHERE prompt = 'per cent')), 'steadytext/100%25|t', 'also with a per cent sign');
}

# One database's clear is no other's; what was asked before a clear does not come back after it.
{
    my $where = q(SELECT steadytext_generate('where from?'));
    $cluster->sql("$where; SELECT steadytext_frecency_refresh();
        ALTER TABLE steadytext_cache DISABLE TRIGGER USER; UPDATE steadytext_cache SET response = 'the table' WHERE prompt = 'where from?'; ALTER TABLE steadytext_cache ENABLE TRIGGER USER");
    is($cluster->sql($where), 'where from?', 'an answer is in shared memory');
    $cluster->sql('SELECT steadytext_cache_clear()', database => 'again');
    is($cluster->sql($where), 'where from?', 'where another database\'s clear leaves it');
    $cluster->sql('BEGIN; SELECT steadytext_cache_clear(); ROLLBACK');
    is($cluster->sql($where), 'the table', 'a clear that is rolled back leaves the table as it was');

    my $late = $cluster->session->send(q(SELECT steadytext_generate('!fault:hold late')));
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":\s*1\b/ }), 'a call is under way');
    $cluster->sql('SELECT steadytext_cache_clear()');
    $cluster->ask_daemon('control', '{"release": true}');
    is($late->finish->{out}, '!fault:hold late', 'which is answered after a clear');
    $flush->();
    is($cluster->sql('SELECT count(*) FROM steadytext_cache'), 0, 'and not kept');

    $cluster->sql(q(CREATE FUNCTION slow_insert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
        CREATE TRIGGER slow_insert AFTER INSERT ON steadytext_cache FOR EACH STATEMENT EXECUTE FUNCTION slow_insert()));
    my $waits = sub { my ($type) = @_; $cluster->poll_until(qq(SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = '$type'), 1, 20) };
    my $holder = $cluster->session;
    $holder->ask('SELECT pg_advisory_lock(4711);');
    $cluster->sql(q(SELECT steadytext_generate('in hand')));
    ok($waits->('advisory'), 'the keeper has a row in hand');
    my $clear = $cluster->session->send('SELECT steadytext_cache_clear()');
    ok($waits->('object'), 'a clear waits for it');
    $holder->ask('SELECT pg_advisory_unlock(4711);');
    is($clear->finish->{out}, 1, 'and deletes it');
    $cluster->sql('DROP TRIGGER slow_insert ON steadytext_cache');
    $flush->();
    is($cluster->sql('SELECT count(*) FROM steadytext_cache'), 0, 'for good');

    $holder->ask('BEGIN; SELECT steadytext_cache_clear();');
    $cluster->sql(q(SELECT steadytext_generate('meanwhile')));
    is($cluster->sql('SELECT count(*) FROM steadytext_cache'), 0, 'while a clear is not committed nothing is written');
    $holder->ask('COMMIT;');
    $holder->finish;
    is($cluster->sql(q(SELECT steadytext_generate('afterwards'))), 'afterwards', 'then calls are kept again');
    $flush->();
    is($cluster->sql(q(SELECT string_agg(prompt, ',') FROM steadytext_cache)), 'afterwards', 'those asked after it');
    is($cluster->try_sql(q(BEGIN; DELETE FROM steadytext_cache; PREPARE TRANSACTION 'clear'))->{state}, '0A000', 'a change of the cache cannot be prepared');
}

# A table that is not what it should be: a warning, and calls that work.
{
    my $warned = $cluster->try_sql(q(BEGIN; ALTER EXTENSION pg_steadytext DROP VIEW steadytext_cache_with_frecency; ALTER TABLE steadytext_cache RENAME response TO answer;
        SELECT steadytext_generate('strange table'); ROLLBACK;));
    like($warned->{out}, qr/strange table/, 'a call is answered though a column is missing');
    like($warned->{err}, qr/WARNING:.*steadytext_cache cannot be used.*\n.*Column "response" is missing/, 'and a warning says which');
    $cluster->sql(q(INSERT INTO steadytext_cache (cache_key, prompt, response, model_name, generation_params) VALUES
        ('wrong type', 'wrong type', 'x', 'steadytext-default', '{"max_tokens": "many"}'), ('no object', 'no object', 'x', 'steadytext-default', '[]'), ('huge', 'huge', 'x', 'steadytext-default', '{"max_tokens": 1e100}')));
    my $odd = $cluster->try_sql(q(SELECT steadytext_generate('huge'), steadytext_generate('wrong type'), steadytext_generate('no object')));
    is($odd->{out}, 'huge|wrong type|no object', 'rows of the original with values of wrong types are left out');
    like($odd->{err}, qr/WARNING:.*a row of public.steadytext_cache is left out/, 'with a warning');
    $cluster->sql(q(INSERT INTO steadytext_cache (cache_key, prompt) SELECT i, 'bloat' || (SELECT string_agg(md5(i * j || ''), '') FROM generate_series(1, 45) j)
        FROM generate_series(1, 15000) i;
        DELETE FROM steadytext_cache WHERE prompt LIKE 'bloat%'));
    my $bloated = $cluster->try_sql(q(SELECT steadytext_generate('bloated'); SELECT steadytext_cache_scheduled_eviction()));
    like($bloated->{out}, qr/^bloated/, 'a call works beside a bloated table');
    like($bloated->{err}, qr/WARNING:.*takes \d+ MB for/, 'of which eviction warns');
    $cluster->sql(q(CREATE DATABASE bare));
    my $bare = $cluster->try_sql(q(CREATE EXTENSION pg_steadytext CASCADE;
        ALTER EXTENSION pg_steadytext DROP FUNCTION steadytext_cache_top(int); DROP FUNCTION steadytext_cache_top(int);
        ALTER EXTENSION pg_steadytext DROP VIEW steadytext_cache_with_frecency; DROP VIEW steadytext_cache_with_frecency;
        ALTER EXTENSION pg_steadytext DROP FUNCTION _steadytext.cache_migrate(int); DROP FUNCTION _steadytext.cache_migrate(int);
        ALTER EXTENSION pg_steadytext DROP FUNCTION _steadytext.cache_trust(); DROP FUNCTION _steadytext.cache_trust();
        ALTER EXTENSION pg_steadytext DROP FUNCTION _steadytext.cache_migrated_key(steadytext_cache); DROP FUNCTION _steadytext.cache_migrated_key(steadytext_cache);
        ALTER EXTENSION pg_steadytext DROP FUNCTION _steadytext.cache_stats(); DROP FUNCTION _steadytext.cache_stats();
        ALTER EXTENSION pg_steadytext DROP FUNCTION _steadytext.hub_get(int, text[], bytea[], int[]); DROP FUNCTION _steadytext.hub_get(int, text[], bytea[], int[]);
        ALTER EXTENSION pg_steadytext DROP SEQUENCE steadytext_cache_id_seq;
        ALTER EXTENSION pg_steadytext DROP TABLE steadytext_cache; DROP TABLE steadytext_cache;
        SELECT steadytext_generate('no table')), database => 'bare');
    like($bare->{out}, qr/no table/, 'so it is without the table') or diag $bare->{err};
    like($bare->{err}, qr/WARNING:.*steadytext_cache cannot be used/, 'with a warning');
}
done_testing;
