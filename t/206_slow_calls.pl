# steadytext.log_min_duration: slow calls in the server's log, with where their time went and never with a prompt.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'" ]);
my $seen = 0;
# The log of slow calls since the last look.
sub slow_calls { my $log = $cluster->log; my $new = substr $log, $seen; $seen = length $log; return $new =~ /^(.*duration: .*steadytext.*\n.*DETAIL:.*)$/mg }

$cluster->sql(q(SELECT steadytext_generate('secret one')));
is(scalar(() = slow_calls()), 0, 'off by default');

$cluster->sql(q(SET steadytext.log_min_duration = 300; SELECT steadytext_generate('secret two')));
is(scalar(() = slow_calls()), 0, 'a quick call is not logged');

$cluster->sql(q(SET steadytext.log_min_duration = 300; DO $$ BEGIN PERFORM steadytext_generate('!fault:delay=400 secret three'); END $$));
my @slow = slow_calls();
is(scalar @slow, 1, 'a slow one is');
like($slow[0], qr/LOG:  duration: 4\d\d\.\d{3} ms  steadytext generate: ok\n/, 'with its duration, operation and outcome');
like($slow[0], qr/DETAIL:  prompt [0-9a-f]{16}, model "\S*", queue \d+\.\d{3} ms, pool \d+\.\d{3} ms, network \d+\.\d{3} ms(, engine \d+\.\d{3} ms)?, \d+ and \d+ tokens\.$/, 'the hash of its prompt, stages and tokens');
chomp(my $hash = `printf '%s' '!fault:delay=400 secret three' | sha256sum | cut -c1-16`);
like($slow[0], qr/prompt $hash,/, 'which is the beginning of its SHA-256');

# Every call, of any kind and with any end.
my $all = 'SET steadytext.log_min_duration = 0;';
$cluster->sql("$all SELECT steadytext_generate('secret two')");
like((slow_calls())[0], qr/steadytext generate: hit\n.*prompt [0-9a-f]{16}, model "\S*"\.$/, 'a hit has no stages');
$cluster->sql("$all SELECT steadytext_embed('secret four')");
like((slow_calls())[0], qr/steadytext embed: ok\n/, 'an embedding');
$cluster->sql("$all SELECT count(*) FROM steadytext_rerank('secret', ARRAY['secret one', 'secret two'])");
like((slow_calls())[0], qr/steadytext rerank: \w+\n/, 'a reranking');
is($cluster->try_sql("$all SELECT steadytext_generate('!fault:error secret')")->{state}, '38000', 'a call that fails');
like((slow_calls())[0], qr/steadytext generate: failed\n/, 'is logged as that');
$cluster->try_sql("$all SET steadytext.request_timeout = '200ms'; SELECT steadytext_generate('!fault:delay=5000 secret')");
like((slow_calls())[0], qr/duration: 2\d\d\.\d{3} ms  steadytext generate: timed_out\n/, 'as one that comes too late');
$cluster->try_sql("$all SET statement_timeout = '200ms'; SELECT steadytext_generate('!fault:delay=5000 secret')");
like((slow_calls())[0], qr/steadytext generate: cancelled\n/, 'and one that is cancelled');

# The statement stands in the log only where PostgreSQL itself puts it: with errors.
my $log = $cluster->log;
$log =~ s/^.*(?:ERROR|STATEMENT|HINT|WARNING):.*\n(?:\t.*\n)*//mg;
unlike($log, qr/secret/, 'no prompt in the log of slow calls');

# pg_stat_activity meanwhile: who waits for what, and the workers by name.
{
    my $waiting = $cluster->session->send(q(SELECT steadytext_generate('!fault:delay=3000 waiting')));
    my $event = $cluster->sql(q(SELECT current_setting('server_version_num')::int >= 170000)) eq 't' ? 'SteadytextReply' : 'Extension';
    ok($cluster->poll_until(q(SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE query LIKE '%waiting%' AND pid <> pg_backend_pid()), "Extension $event"),
        'a waiting session has a wait event');
    $waiting->finish;
    is($cluster->sql(q(SELECT string_agg(backend_type, ', ' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type IN ('pg_steadytext gateway', 'pg_steadytext launcher'))),
        'pg_steadytext gateway, pg_steadytext launcher', 'workers have names');
    $cluster->sql(q(SELECT steadytext_generate('to be kept')));
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext keeper'), 1), 'the keeper too, while it is there');
}

# EXPLAIN (ANALYZE) sums up the calls of its statement, and nobody else's.
{
    my $explain = sub { my ($how, $query) = @_; return $cluster->sql("EXPLAIN ($how) $query") };
    my $ten = q(SELECT steadytext_generate('explained ' || i % 4) FROM generate_series(1, 10) i);
    like($explain->('ANALYZE', $ten), qr/Execution Time: .*\nSteadytext: calls=10 hits=6 failures=0 prompt tokens=8 completion tokens=8 saved tokens=12 time=\d+\.\d{3} ms\z/, 'a line more');
    like($explain->('ANALYZE', q(SELECT steadytext_generate('explained constant'))), qr/Steadytext: calls=1 hits=0/, 'what the planner makes of constants counts');
    unlike($explain->('ANALYZE', 'SELECT 1'), qr/Steadytext/, 'without calls it is as ever');
    unlike($explain->('COSTS OFF', $ten), qr/Steadytext/, 'without ANALYZE too');
    $cluster->sql(q(CREATE FUNCTION sums(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ DECLARE plan json; BEGIN
        EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || query INTO plan;
        RETURN QUERY SELECT concat_ws(' ', q #>> '{Steadytext,Calls}', q #>> '{Steadytext,Hits}', q #>> '{Steadytext,Completion Tokens}', (q #>> '{Steadytext,Time}')::float8 >= 0, q ->> 'Execution Time' IS NOT NULL)
            FROM json_array_elements(plan) q; END $$));
    is($cluster->sql("SELECT * FROM sums(\$q\$$ten\$q\$)"), '10 10 0 t t', 'in JSON they are members');
    is($cluster->sql(q(SELECT * FROM sums('SELECT 1'))), 't', 'and are not there without calls');
    $cluster->sql(q(CREATE TABLE twice (a text); CREATE RULE twice AS ON DELETE TO twice DO ALSO SELECT steadytext_generate('ruled ' || i) FROM generate_series(1, 3) i));
    is($cluster->sql(q(SELECT * FROM sums('DELETE FROM twice'))), "3 0 6 t t\nt", 'each statement of a rule has its own');
    like($explain->('ANALYZE, FORMAT yaml', $ten), qr/^  Execution Time: \S+\n  Steadytext: *\n    Calls: 10\n    Hits: 10\n.*\n    Time: \d+\.\d{3}\z/sm, 'in YAML too');
    like($explain->('ANALYZE, FORMAT xml', $ten), qr{<Query>.*</Execution-Time>\n    <Steadytext>\n      <Calls>10</Calls>.*\n    </Steadytext>\n  </Query>\n</explain>\z}s, 'and in XML');
    like($explain->('ANALYZE, BUFFERS', $ten), qr/Planning Time: .*Steadytext: calls=10 hits=10/s, 'with buffers');
    my $prepare = q(PREPARE ask(text) AS SELECT steadytext_generate($1 || i % 4) FROM generate_series(1, 10) i;);
    like($cluster->sql(qq($prepare EXPLAIN (ANALYZE) EXECUTE ask('executed '))), qr/Execution Time: .*\nSteadytext: calls=10 hits=6 /, 'EXECUTE has the line');
    like($cluster->sql(qq($prepare EXPLAIN ANALYZE CREATE TABLE kept AS EXECUTE ask('kept '))), qr/Execution Time: .*\nSteadytext: calls=10 hits=6 .* ms\z/, 'where a table is made of it, too');
    unlike($cluster->sql(qq($prepare EXPLAIN EXECUTE ask('executed '))), qr/Steadytext/, 'without ANALYZE not');
    unlike($cluster->sql(q(PREPARE one AS SELECT 1; EXPLAIN ANALYZE EXECUTE one)), qr/Steadytext/, 'nor without calls');
    like($cluster->sql(qq($prepare EXPLAIN (ANALYZE, FORMAT json) EXECUTE ask('executed '))), qr/\A\[.*\]\z/s, 'other formats are left alone there');
    is($cluster->sql(qq($prepare DO \$\$ DECLARE line text; found int := 0; BEGIN FOR line IN EXECUTE 'EXPLAIN (ANALYZE) EXECUTE ask(''executed '')' LOOP found := found + (line ~ '^Steadytext: calls=10')::int; END LOOP;
        CREATE TABLE lines AS SELECT found; END \$\$; SELECT found FROM lines)), 1, 'in a function, too');
    is($cluster->try_sql(q(PREPARE broken AS SELECT steadytext_generate('!fault:error ' || i) FROM generate_series(1, 2) i; EXPLAIN (ANALYZE) EXECUTE broken))->{state}, '38000', 'one that fails there');
    like($cluster->sql(qq($prepare EXPLAIN (ANALYZE) EXECUTE ask('executed '); SELECT steadytext_generate('between'); EXPLAIN (ANALYZE) EXECUTE ask('executed '))), qr/calls=10 hits=10.*calls=10 hits=10/s, 'each by itself');
    $cluster->sql(q(CREATE TABLE spread AS SELECT 'spread ' || i AS body FROM generate_series(1, 200) i; ALTER TABLE spread SET (parallel_workers = 3); ANALYZE spread));
    my $parallel = join ' ', map { "SET $_;" } 'min_parallel_table_scan_size = 0', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'max_parallel_workers_per_gather = 3', 'parallel_leader_participation = off';
    for my $read_ahead ('on', 'off') {
        my $plan = $cluster->sql("$parallel SET steadytext.read_ahead = $read_ahead; SET steadytext.cache_enabled = off; EXPLAIN (ANALYZE) SELECT count(steadytext_generate(body)) FROM spread");
        like($plan, qr/Workers Launched: [1-9].*\nSteadytext: calls=200 hits=0 failures=0 prompt tokens=400 completion tokens=400/s, "the calls of parallel workers are among them, read_ahead = $read_ahead");
    }
    is($cluster->try_sql(q(EXPLAIN (ANALYZE) SELECT steadytext_generate('!fault:error ' || i) FROM generate_series(1, 2) i))->{state}, '38000', 'one that fails');
    like($cluster->sql(qq(SELECT steadytext_generate('between'); EXPLAIN (ANALYZE) $ten)), qr/calls=10 /, 'each statement by itself');
}

$cluster->sql('CREATE ROLE plain LOGIN');
is($cluster->try_sql('SET steadytext.log_min_duration = 0', user => 'plain')->{state}, '42501', 'superusers switch it on');

# A call that is asked ahead takes as long as its answer, not as long as its row waits to be computed.
{
    $cluster->ask_daemon('control', '{"slots": 64, "delay_ms": 20}');
    my $plan = $cluster->sql(q(SET steadytext.cache_enabled = off; EXPLAIN (ANALYZE) SELECT steadytext_generate('in a line ' || i), pg_sleep(0.02) FROM generate_series(1, 60) i));
    like($plan, qr/SteadyText Read Ahead/, 'calls of rows that are computed slowly');
    my ($all) = $plan =~ /Execution Time: ([\d.]+)/;
    my ($calls) = $plan =~ /calls=60 .* time=([\d.]+) ms/;
    cmp_ok($calls / 60, '<', $all / 4, sprintf 'take %d ms each of the %d ms', $calls / 60, $all);
}

done_testing;
