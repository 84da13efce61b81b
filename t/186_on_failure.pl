# steadytext.on_failure = auto, the default: a fallback where rows go to a client, an error where they are stored. A fallback that the
# planner made a constant of goes with the next use of the plan.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.breaker_threshold = 1000000', "steadytext.breaker_recovery = '200ms'", 'max_parallel_workers = 4' ]);
my $fallback = '[steadytext: no answer available]';
my $one      = q(steadytext_generate('!fault:error one'));

is($cluster->sql('SHOW steadytext.on_failure'), 'auto', 'auto is the default');

$cluster->sql(q(
    CREATE TABLE source (id int PRIMARY KEY, prompt text);
    INSERT INTO source SELECT i, CASE WHEN i = 40 THEN '!fault:error forty' ELSE 'prompt ' || i END FROM generate_series(1, 60) i;
    CREATE TABLE target (id int, answer text, embedding vector);
    CREATE TABLE derived (prompt text, answer text GENERATED ALWAYS AS (steadytext_generate(prompt)) STORED);
    CREATE TABLE plain (prompt text);
    INSERT INTO plain SELECT prompt FROM source WHERE id BETWEEN 30 AND 40;
    CREATE TABLE triggered (prompt text, answer text);
    CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.answer := steadytext_generate(NEW.prompt); RETURN NEW; END $$;
    CREATE TRIGGER fill BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION fill();
    CREATE TABLE noted (prompt text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM steadytext_generate(NEW.prompt); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT ON noted FOR EACH ROW EXECUTE FUNCTION note();
    CREATE FUNCTION ask(p text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE answer text; BEGIN SELECT steadytext_generate(p) INTO answer; RETURN answer; END $$;
    CREATE FUNCTION keep(p text) RETURNS text LANGUAGE plpgsql AS $$ DECLARE a text := steadytext_generate(p); BEGIN INSERT INTO target (answer) VALUES (a); RETURN a; END $$;
    CREATE FUNCTION put(a text) RETURNS void LANGUAGE sql AS $$ INSERT INTO target (answer) VALUES (a) $$;
    CREATE PROCEDURE keep_all() LANGUAGE plpgsql AS $$ DECLARE p text; BEGIN FOR p IN SELECT steadytext_generate(prompt) FROM source LOOP INSERT INTO target (answer) VALUES (p); END LOOP; END $$;
    CREATE MATERIALIZED VIEW answers AS SELECT id, steadytext_generate(prompt) AS answer FROM source WITH NO DATA;
));

# Rows that go to a client.
for my $case (
    [ 'SELECT',            "SELECT count(*), count(*) FILTER (WHERE a = '$fallback') FROM (SELECT steadytext_generate(prompt) a FROM source) s", '60|1' ],
    [ 'of a constant',     "SELECT $one",                                                                       $fallback ],
    [ 'WITH',              "WITH a AS MATERIALIZED (SELECT $one AS a) SELECT a FROM a",                         $fallback ],
    [ 'a cursor',          "BEGIN; DECLARE c CURSOR FOR SELECT $one; FETCH c; COMMIT",                          $fallback ],
    [ 'COPY TO',           "COPY (SELECT $one) TO STDOUT",                                                      $fallback ],
    [ 'EXECUTE',           "PREPARE p AS SELECT steadytext_generate(\$1); EXECUTE p('!fault:error one')",       $fallback ],
    [ 'VALUES',            "VALUES ($one)",                                                                     $fallback ],
    [ 'a function',        "SELECT ask('!fault:error one')",                                                    $fallback ],
    [ 'a stream',          "SELECT * FROM steadytext_generate_stream('!fault:error one')",                      $fallback ],
    [ 'SELECT FOR UPDATE', "SELECT $one FROM source WHERE id = 1 FOR UPDATE",                                   $fallback ],
    [ 'an embedding',      "SELECT steadytext_embed('!fault:error one') IS NULL",                               't' ],
    [ 'beside an INSERT of the same message', "SELECT $one; INSERT INTO target (id) VALUES (0); SELECT 1",      "$fallback\n1" ],
  )
{
    my ($what, $sql, $expected) = @$case;
    my $result = $cluster->try_sql($sql);
    is($result->{out}, $expected, "$what: a fallback") or diag $result->{err};
    like($result->{err}, qr/WARNING/, "$what: with a warning");
}

# Rows that are stored.
for my $case (
    [ 'INSERT ... SELECT',             "INSERT INTO target SELECT id, steadytext_generate(prompt) FROM source ORDER BY id" ],
    [ 'INSERT ... VALUES',             "INSERT INTO target (answer) VALUES ($one)" ],
    [ 'INSERT ... RETURNING',          "INSERT INTO target (answer) VALUES ('x') RETURNING $one" ],
    [ 'an embedding',                  "INSERT INTO target (embedding) VALUES (steadytext_embed('!fault:error one'))" ],
    [ 'UPDATE',                        "UPDATE source SET prompt = steadytext_generate(prompt)" ],
    [ 'DELETE',                        "DELETE FROM source WHERE steadytext_generate(prompt) = 'no'" ],
    [ 'a WITH that writes',            "WITH w AS (INSERT INTO target (answer) SELECT steadytext_generate(prompt) FROM source RETURNING answer) SELECT * FROM w" ],
    [ 'CREATE TABLE AS',               "CREATE TABLE made AS SELECT steadytext_generate(prompt) FROM source" ],
    [ 'SELECT INTO',                   "SELECT steadytext_generate(prompt) INTO made FROM source" ],
    [ 'EXPLAIN ANALYZE of it',         "EXPLAIN ANALYZE CREATE TABLE made AS SELECT $one" ],
    [ 'EXPLAIN ANALYZE of an INSERT',  "EXPLAIN ANALYZE INSERT INTO target (answer) VALUES ($one)" ],
    [ 'CREATE TABLE AS EXECUTE',       "PREPARE p AS SELECT steadytext_generate(prompt) FROM source; CREATE TABLE made AS EXECUTE p" ],
    [ 'REFRESH MATERIALIZED VIEW',     "REFRESH MATERIALIZED VIEW answers" ],
    [ 'CREATE MATERIALIZED VIEW',      "CREATE MATERIALIZED VIEW made AS SELECT steadytext_generate(prompt) FROM source" ],
    [ 'COPY into a generated column',  "COPY derived (prompt) FROM STDIN;\nfine\n!fault:error copied\n\\.\n" ],
    [ 'INSERT into a generated column', "INSERT INTO derived VALUES ('!fault:error generated')" ],
    [ 'CREATE INDEX',                  "CREATE INDEX made ON plain (steadytext_generate(prompt))" ],
    [ 'ALTER TABLE ADD generated',     "ALTER TABLE plain ADD answer text GENERATED ALWAYS AS (steadytext_generate(prompt)) STORED" ],
    [ 'ALTER TABLE ... USING',         "ALTER TABLE plain ALTER prompt TYPE text USING steadytext_generate(prompt)" ],
    [ 'a DEFAULT',                     "ALTER TABLE plain ADD answer text DEFAULT $one" ],
    [ 'a trigger before',              "INSERT INTO triggered VALUES ('!fault:error triggered')" ],
    [ 'a trigger after',               "INSERT INTO noted VALUES ('!fault:error noted')" ],
    [ 'a function of an INSERT',       "INSERT INTO target (answer) VALUES (ask('!fault:error asked'))" ],
    [ 'EXECUTE of an INSERT',          "PREPARE p AS INSERT INTO target (answer) VALUES (steadytext_generate(\$1)); EXECUTE p('!fault:error one')" ],
    [ 'a function that stores later',  "SELECT keep('!fault:error kept')" ],
    [ 'an argument that is stored',    "SELECT put(steadytext_generate('!fault:error put'))" ],
    [ 'DO that stores later',          "DO \$\$ DECLARE a text; BEGIN a := $one; INSERT INTO target (answer) VALUES (a); END \$\$" ],
    [ 'CALL that stores row by row',   "CALL keep_all()" ],
    [ 'a batch',                       "INSERT INTO target (answer) SELECT response FROM steadytext_generate_batch(ARRAY['fine', '!fault:error batch'])" ],
  )
{
    my ($what, $sql) = @$case;
    my $result = $cluster->try_sql($sql);
    like($result->{state}, qr/^(?:38000|08\d\d\d|55000)$/, "$what: an error") or diag $result->{out}, $result->{err};
    like($result->{err}, qr/DETAIL:.*stores its rows, so it is given no fallback. \d+ of its calls were answered/, "$what: which says why");
}
like($cluster->try_sql("INSERT INTO target SELECT id, steadytext_generate(prompt) FROM source ORDER BY id")->{err}, qr/39 of its calls were answered; from the cache/,
    'and how many calls were answered');
like($cluster->try_sql(q(INSERT INTO target (answer) VALUES (steadytext_generate('!fault:error=refused'))))->{err}, qr/HINT:  To store the other rows, take the value of steadytext_try_generate/,
    'what a daemon refused is not to be run again');
like($cluster->try_sql(q(INSERT INTO target (answer) SELECT s FROM steadytext_generate_stream('streamed') s
    UNION ALL SELECT steadytext_generate(prompt) FROM source WHERE prompt LIKE '!fault%'))->{err}, qr/1 of its calls were answered/, 'a stream is one of them');
is($cluster->sql(qq(SELECT count(*) FROM target WHERE answer = '$fallback')), 0, 'no fallback is in a table');
is($cluster->sql(q(SELECT count(*) FROM source WHERE prompt LIKE 'prompt%')), 59, 'or instead of what was there');

# After a fallback what puts values into rows is refused, by whichever command; what does not goes on.
$cluster->sql('CREATE SCHEMA later; CREATE TABLE later.kept AS SELECT 1 AS i; CREATE TABLE later.other (i int); CREATE ROLE later; CREATE VIEW later.view AS SELECT 1 AS i;
    CREATE MATERIALIZED VIEW later.made AS SELECT 1 AS i');
sub after_a_fallback { my ($command) = @_; return $cluster->try_sql("SET search_path = later, public; SET client_min_messages = error; DO \$\$ DECLARE a text; BEGIN a := $one; $command; END \$\$") }
for my $command ('DROP TABLE IF EXISTS nope', 'DROP TABLE other', 'TRUNCATE kept', 'CREATE TEMP TABLE t (x int)', 'CREATE TABLE generated (x int, y int GENERATED ALWAYS AS (x) STORED)',
    'CREATE TABLE empty AS SELECT 1 AS i WITH NO DATA', 'ALTER TABLE kept ADD COLUMN more text', 'ALTER TABLE kept ALTER i SET NOT NULL', 'ALTER TABLE kept DROP COLUMN more', 'ALTER TABLE kept RENAME TO renamed',
    'ALTER TABLE renamed RENAME TO kept', 'CREATE INDEX ON kept (i)', 'REINDEX TABLE kept', 'GRANT SELECT ON kept TO later', q(COMMENT ON TABLE kept IS 'x'), 'CREATE VIEW v AS SELECT 1 AS i',
    'CREATE SCHEMA more', q(CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'), 'CREATE SEQUENCE s', 'SET LOCAL work_mem = 1024', 'LOCK TABLE kept', 'ANALYZE kept', 'NOTIFY later', 'PERFORM count(*) FROM kept',
    'REFRESH MATERIALIZED VIEW made WITH NO DATA') {
    is(after_a_fallback($command)->{err}, '', "after a fallback: $command");
}
for my $command ('INSERT INTO kept VALUES (1)', 'UPDATE kept SET i = 2', 'DELETE FROM kept', 'CREATE TABLE filled AS SELECT 1 AS i', 'CREATE MATERIALIZED VIEW filled AS SELECT 1 AS i',
    'REFRESH MATERIALIZED VIEW made', q(ALTER TABLE kept ADD COLUMN with_default text DEFAULT 'x'), 'ALTER TABLE kept ADD COLUMN made int GENERATED ALWAYS AS (i) STORED', 'ALTER TABLE kept ALTER i TYPE text USING 1',
    q(EXECUTE 'WITH w AS (INSERT INTO kept VALUES (1) RETURNING i) SELECT FROM w')) {
    like(after_a_fallback($command)->{err}, qr/stores its rows/, "after a fallback not: $command");
}

# Workers of a parallel query ask their leader.
{
    my $parallel = q(SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
        SET parallel_leader_participation = off; SET client_min_messages = error;);
    $cluster->sql('ANALYZE source; ALTER TABLE source SET (parallel_workers = 2)');
    like($cluster->sql("$parallel EXPLAIN (COSTS off) SELECT steadytext_generate(prompt) FROM source"), qr/Gather/, 'a parallel plan');
    is($cluster->sql("$parallel SELECT count(*) FILTER (WHERE a = '$fallback') FROM (SELECT steadytext_generate(prompt) a FROM source OFFSET 0) s"), 1, 'its fallbacks go to the client');
    like($cluster->try_sql("$parallel CREATE TABLE made AS SELECT steadytext_generate(prompt) FROM source")->{err}, qr/stores its rows/, 'and are refused where rows are stored');
    like($cluster->try_sql("$parallel DO \$\$ DECLARE a text[]; BEGIN a := ARRAY(SELECT steadytext_generate(prompt) FROM source); INSERT INTO target (answer) SELECT unnest(a); END \$\$")->{err},
        qr/stores its rows/, 'also when they are stored later');
}

# Other policies are as they were.
is($cluster->sql("SET client_min_messages = error; SET steadytext.on_failure = 'fallback'; INSERT INTO target (answer) VALUES ($one) RETURNING answer"), $fallback, 'fallback stores one on demand');
is($cluster->sql("SET client_min_messages = error; SET steadytext.on_failure = 'null'; INSERT INTO target (answer) VALUES ($one) RETURNING answer IS NULL"), 't', 'null a NULL');
is($cluster->try_sql("SET steadytext.on_failure = 'error'; SELECT $one")->{state}, '38000', 'error raises everywhere');

# A fallback that the planner made a constant of does not outlast the outage: prepared statements, plpgsql, SQL functions.
{
    $cluster->sql(q(CREATE FUNCTION constant() RETURNS text LANGUAGE plpgsql AS $$ DECLARE a text; BEGIN a := steadytext_generate('back again'); RETURN a; END $$;
        CREATE FUNCTION selected() RETURNS text LANGUAGE plpgsql AS $$ DECLARE a text; BEGIN SELECT steadytext_generate('back again') INTO a FROM source LIMIT 1; RETURN a; END $$));
    my $session = $cluster->session;
    $session->ask(q(SET client_min_messages = error; SET plan_cache_mode = force_generic_plan; SET steadytext.request_timeout = '300ms';
        PREPARE again AS SELECT steadytext_generate('back again');));
    my $pid = $cluster->echo_pid;
    kill 'STOP', $pid;
    for my $ask ('EXECUTE again', 'SELECT constant()', 'SELECT selected()') {
        is($session->ask("$ask;"), $fallback, "$ask: a fallback while the daemon is stopped");
        is($session->ask("$ask;"), $fallback, 'again');
    }
    kill 'CONT', $pid;
    ok($cluster->poll_until(q(SET client_min_messages = error; SELECT steadytext_generate('anybody?', use_cache => false)), 'anybody?', 60), 'the daemon goes on');
    for my $ask ('EXECUTE again', 'SELECT constant()', 'SELECT selected()') {
        is($session->ask("$ask;"), 'back again', "$ask: an answer once it goes on");
    }
    $session->finish;
}

# ANALYZE asks no daemon.
{
    $cluster->sql(q(CREATE TABLE indexed AS SELECT 'indexed ' || i AS prompt FROM generate_series(1, 200) i;
        CREATE INDEX ON indexed (steadytext_generate(prompt));
        CREATE STATISTICS by_answer ON (steadytext_generate(prompt)), prompt FROM indexed;
        SELECT steadytext_frecency_refresh(); INSERT INTO indexed SELECT 'new ' || i FROM generate_series(1, 50) i;));
    $cluster->sql('SELECT steadytext_cache_clear()');
    my $requests = sub { my ($n) = $cluster->ask_daemon('stats') =~ /"generate":(\d+)/; return $n };
    my $before = $requests->();
    is($cluster->try_sql(q(SET steadytext.on_failure = 'error'; ANALYZE indexed))->{err}, '', 'ANALYZE of an expression index is silent');
    is($cluster->try_sql(q(VACUUM ANALYZE indexed))->{err}, '', 'so is VACUUM ANALYZE');
    is($requests->(), $before, 'neither asks the daemon');
    is($cluster->sql(q(SELECT null_frac FROM pg_stats WHERE tablename = 'indexed_steadytext_generate_idx')), 1, 'what is not cached counts as NULL');
    $cluster->sql(q(SELECT count(steadytext_generate(prompt)) FROM indexed; ANALYZE indexed));
    is($cluster->sql(q(SELECT null_frac FROM pg_stats WHERE tablename = 'indexed_steadytext_generate_idx')), 0, 'what is cached counts');

    # However they are asked.
    $cluster->sql(q(
        CREATE FUNCTION batched(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT response FROM public.steadytext_generate_batch(ARRAY[$1]) $$;
        CREATE FUNCTION streamed(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT string_agg(s, '') FROM public.steadytext_generate_stream($1) s $$;
        CREATE TABLE asked AS SELECT 'asked ' || i AS prompt FROM generate_series(1, 20) i;
        CREATE INDEX ON asked (batched(prompt)); CREATE INDEX ON asked (streamed(prompt));
        SELECT steadytext_frecency_refresh(); SELECT steadytext_cache_clear()));
    $before = $requests->();
    is($cluster->try_sql(q(SET steadytext.on_failure = 'error'; ANALYZE asked))->{err}, '', 'nor of an index on a batch or a stream');
    is($requests->(), $before, 'is a daemon asked');
}
done_testing;
