# Read-ahead cannot be seen from within a statement: whatever field of whatever plan node an expression is in, whether it raises an error at a row that
# nobody wants or counts its calls, the rows, the error and the count are those without read-ahead.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'jit = off', 'max_parallel_workers_per_gather = 0' ]);
$cluster->sql(q(
    CREATE TABLE t (id int PRIMARY KEY, body text, j json, big float8, arr int[], na text COLLATE "C", nb text COLLATE "POSIX");
    INSERT INTO t SELECT i, 'b' || i, CASE WHEN i = 8 THEN '{"a": "\u0000"}' ELSE json_build_object('a', 'x' || i)::text END::json, CASE WHEN i >= 8 THEN 1.7e308 ELSE 1 END,
        CASE WHEN i >= 8 THEN '{1,2}'::int[] ELSE '{1}' END, 'c' || i, 'p' || i FROM generate_series(1, 60) i;
    CREATE TABLE one (x int PRIMARY KEY, m text);
    INSERT INTO one VALUES (1, 'm');
    CREATE SEQUENCE calls;
    CREATE FUNCTION raises(i int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN IF i >= 7 THEN RAISE 'row %', i; END IF; RETURN 1; END $$;
    CREATE FUNCTION counts(i int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM nextval('calls'); RETURN 1; END $$;
    CREATE FUNCTION counts_stable(i int) RETURNS int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM nextval('calls'); RETURN 1; END $$;
    CREATE FUNCTION raises_set(i int) RETURNS SETOF int LANGUAGE plpgsql STABLE AS $$ BEGIN IF i >= 7 THEN RAISE 'row %', i; END IF; RETURN NEXT 1; END $$;
    CREATE FUNCTION counts_set(i int) RETURNS SETOF int LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM nextval('calls'); RETURN NEXT 1; END $$;
    CREATE FUNCTION counts_stable_set(i int) RETURNS SETOF int LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM nextval('calls'); RETURN NEXT 1; END $$;
    CREATE FUNCTION id_of_frame() RETURNS int LANGUAGE sql STABLE AS 'SELECT 20';
    CREATE TYPE mood AS ENUM ('ok');
    CREATE FUNCTION mood_text(mood) RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN PERFORM nextval('calls'); RETURN 'ok'; END $$;
    CREATE CAST (mood AS text) WITH FUNCTION mood_text(mood);
    CREATE TABLE moods AS SELECT i AS id, 'ok'::mood AS m FROM generate_series(1, 40) i;
    CREATE TABLE pairs (a int, b int, m text, PRIMARY KEY (a, b));
    INSERT INTO pairs SELECT i, k, 'p' || i FROM generate_series(1, 60) i, generate_series(1, 2) k WHERE k = 1 OR i >= 8;
    -- Each has one row for an id below 8 and two from there on, in spite of a unique index.
    CREATE TABLE plain AS SELECT a AS k, b AS n, m AS v FROM pairs;
    CREATE INDEX ON plain (k);
    CREATE TABLE in_part AS TABLE plain;
    CREATE UNIQUE INDEX ON in_part (k) WHERE n = 1;
    CREATE TABLE computed AS TABLE plain;
    CREATE UNIQUE INDEX ON computed ((k * n + 1000 * n));
    CREATE TABLE broken AS TABLE plain;
    CREATE TABLE parent AS SELECT * FROM plain WHERE n = 1;
    CREATE UNIQUE INDEX ON parent (k);
    CREATE TABLE child () INHERITS (parent);
    INSERT INTO child SELECT * FROM plain WHERE n = 2;
    CREATE TABLE later (k int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text);
    INSERT INTO later SELECT k, v FROM ONLY parent;
    CREATE TABLE numbers (k numeric UNIQUE, v text);
    INSERT INTO numbers SELECT k + (n - 1) * 0.25, v FROM plain;
    ANALYZE t, one, moods, pairs, plain, in_part, computed, broken, parent, child, later, numbers;
));
like($cluster->try_sql('CREATE UNIQUE INDEX CONCURRENTLY ON broken (k)')->{err}, qr/could not create unique index/, 'an index that is not valid');

# F(x) is a call of a function that gives 1; S(x) one that gives a row. Each gives columns id and text; rows come one by one.
my %sources = (
    'the list of a scan'             => q(SELECT id, body || F(id) AS text FROM t OFFSET 0),
    'a condition'                    => q(SELECT id, body AS text FROM t WHERE F(id) = 1 OFFSET 0),
    'a condition of an index'        => q(SELECT t.id, body AS text FROM t, LATERAL (SELECT x FROM one WHERE x = F(t.id) OFFSET 0) o),
    'a function in FROM'             => q(SELECT t.id, body || v AS text FROM t, LATERAL S(t.id) v),
    'functions in FROM'              => q(SELECT t.id, body || v AS text FROM t, LATERAL ROWS FROM (S(t.id), generate_series(1, 1)) v(v, w)),
    'VALUES'                         => q(SELECT t.id, body || v AS text FROM t, LATERAL (VALUES (F(t.id)), (F(t.id + 0))) v(v)),
    'a set in a list'                => q(SELECT id, body || S(id) AS text FROM t OFFSET 0),
    'a one-time filter'              => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT x FROM one WHERE F(t.id) = 1 OFFSET 0) o),
    'a LIMIT'                        => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT x FROM one LIMIT F(t.id)) o),
    'an OFFSET'                      => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT x FROM one OFFSET F(t.id) - 1) o),
    'the input of a sort'            => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT x FROM one WHERE x = F(t.id) ORDER BY m LIMIT 1) o),
    'the key of a sort'              => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT x FROM one ORDER BY F(t.id + x) LIMIT 1) o),
    'an aggregate'                   => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT max(F(t.id + x - x)) AS x FROM one) o),
    'HAVING'                         => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT max(x) AS x FROM one HAVING F(t.id) = 1) o),
    'groups'                         => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT F(t.id + x - x) AS x FROM one GROUP BY 1) o),
    'a group for each row'           => q(SELECT id, max(body || F(id)) AS text FROM t GROUP BY id),
    'DISTINCT'                       => q(SELECT DISTINCT id, body || F(id) AS text FROM t),
    'the condition of a join'        => q(SELECT t.id, body AS text FROM t LEFT JOIN one ON F(t.id) = x),
    'a later part of UNION ALL'      => q(SELECT id, body AS text FROM t WHERE id < 5 UNION ALL (SELECT id, body || F(id + 20) FROM t ORDER BY body)),
    'a later function of UNION ALL'  => q(SELECT id, body AS text FROM t UNION ALL SELECT v, 'v' || v FROM S(20) v),
    'a CTE'                          => q(WITH w AS MATERIALIZED (SELECT id, body || F(id) AS text FROM t) SELECT * FROM w),
    'a window'                       => q(SELECT id, body || sum(F(id)) OVER (ORDER BY id) AS text FROM t),
    'the list of a window'           => q(SELECT id, body || F(id) || row_number() OVER (ORDER BY id) AS text FROM t),
    'a window of parts'              => q(SELECT id, body || lag(F(id), 1, 0) OVER (PARTITION BY id % 40 ORDER BY id) AS text FROM t),
    'a FILTER of a window'           => q(SELECT id, body || count(*) FILTER (WHERE F(id) = 1) OVER (ORDER BY id ROWS 2 PRECEDING) AS text FROM t),
    'a frame of a window'            => q(SELECT id, body || count(*) OVER (PARTITION BY id ORDER BY id ROWS F(id_of_frame()) PRECEDING) AS text FROM t),
    'a window that stands still'     => q(SELECT t.id, body || x AS text FROM t, LATERAL (SELECT sum(F(t.id)) OVER () AS x FROM one) o),
    'CASE'                           => q(SELECT id, CASE WHEN id > 2 THEN body || F(id) ELSE body END AS text FROM t OFFSET 0),
    'a subquery of a row'            => q(SELECT id, body || (SELECT F(t.id) FROM one) AS text FROM t OFFSET 0),
    'a subquery by a key'            => q(SELECT id, body || (SELECT F(o.id) FROM t o WHERE o.id = t.id) AS text FROM t OFFSET 0),
    'the key of a subquery'          => q(SELECT id, body || (SELECT o.nb FROM t o WHERE o.id = F(t.id)) AS text FROM t OFFSET 0),
    'a condition of a subquery by a key' => q(SELECT id, body || (SELECT o.nb FROM t o WHERE o.id = t.id AND F(t.id) = 1) AS text FROM t OFFSET 0),
    'an argument of a subquery by a key' => q(SELECT id, body || (SELECT o.nb FROM t o WHERE o.id = s.v) AS text FROM (SELECT id, body, F(id) AS v FROM t OFFSET 0) s),
    'EXISTS for each row'            => q(SELECT id, CASE WHEN EXISTS (SELECT 1 FROM t o WHERE o.id = t.id AND F(o.id) = 1 OFFSET 0) THEN body ELSE 'no' END AS text FROM t),
    'a subquery in CASE'             => q(SELECT id, CASE WHEN id >= 8 THEN body || (SELECT F(20)) ELSE body END AS text FROM t),
    'an aggregate in CASE'           => q(SELECT id, CASE WHEN id >= 8 THEN body || (SELECT max(F(x + 20)) FROM one) ELSE body END AS text FROM t),
    'a subquery behind OR'           => q(SELECT id, body AS text FROM t WHERE id < 8 OR 1 = (SELECT F(20))),
    'a subquery of a subquery'       => q(SELECT id, body AS text FROM t WHERE id < 8 OR 1 = (SELECT max(x) FROM one WHERE x = (SELECT F(20)))),
    'EXISTS in CASE'                 => q(SELECT id, CASE WHEN id >= 8 AND EXISTS (SELECT 1 FROM one WHERE F(20) = x) THEN 'y' ELSE body END AS text FROM t),
    'what is sorted'                 => q(SELECT id, body || F(id % 8) AS text FROM t ORDER BY 2 OFFSET 0),
);
# What raises by itself, and what casts.
my $by = sub { my ($table, $condition) = @_; return "SELECT id, body || CASE WHEN id < 8 THEN '' ELSE 'x' END || (SELECT v FROM $table WHERE $condition) AS text FROM t OFFSET 0" };
my %own = (
    'more rows than one'   => q(SELECT id, CASE WHEN id >= 8 THEN body || (SELECT x.id FROM t x) ELSE body END AS text FROM t),
    'more rows than one, by an index' => $by->('plain', 'k = t.id'),
    'more rows than one, by a part of a key' => $by->('(SELECT a, m AS v FROM pairs) p', 'a = t.id'),
    'more rows than one, a partial index' => $by->('in_part', 'k = t.id'),
    'more rows than one, an index of an expression' => $by->('computed', 'k = t.id'),
    'more rows than one, an index that is not valid' => $by->('broken', 'k = t.id'),
    'more rows than one, inherited' => $by->('parent', 'k = t.id'),
    'more rows than one, another operator' => $by->('parent', 'k >= t.id AND k < CASE WHEN t.id < 8 THEN t.id + 1 ELSE t.id + 3 END'),
    'more rows than one, of a list' => $by->('parent', 'k = ANY (ARRAY[t.id, CASE WHEN t.id < 8 THEN t.id ELSE t.id - 1 END])'),
    'more rows than one, another type' => $by->('numbers', 'k::int = t.id'),
    'more rows than one, compared with itself' => $by->('parent', 'k = k'),
    'json'                 => q(SELECT id, j ->> 'a' AS text FROM t),
    'a sum that is too big' => q(SELECT id, body || sum(big * 1) AS text FROM (SELECT a.id, a.body, a.big FROM t a JOIN (VALUES (1), (2)) v(n) ON true ORDER BY a.id) q GROUP BY id, body),
    'arrays that do not fit' => q(SELECT id, ARRAY[arr, ARRAY[1]]::text AS text FROM t),
    'a collation in doubt' => q(SELECT id, CASE WHEN id >= 8 THEN lower(na || nb) ELSE body END AS text FROM t),
    'a cast before'        => q(SELECT id, m || 'x' AS text FROM moods),
    'a cast behind'        => q(SELECT id, 'x' || m AS text FROM moods),
    'casts of concat'      => q(SELECT id, concat(m, 'x') AS text FROM moods),
);
my %plans = (any => '', indexes => 'SET enable_seqscan = off; SET enable_bitmapscan = off;', bitmaps => 'SET enable_seqscan = off; SET enable_indexscan = off;', loops => 'SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off; SET enable_hashagg = off;');

my @cases = map { [ $_, $own{$_} ] } sort keys %own;
for my $place (sort keys %sources) {
    for my $function (qw(raises counts counts_stable)) {
        my $source = $sources{$place} =~ s/\bF\(/$function(/gr =~ s/\bS\(/${function}_set(/gr;
        push @cases, [ "$place, which $function", $source ];
    }
}

for my $case (@cases) {
    my ($name, $source) = @$case;
    my $generate = 'steadytext_generate(text, use_cache => false)';
    my @queries = (
        "SELECT id FROM ($source) q WHERE $generate IS NOT NULL LIMIT 6",
        "SELECT id FROM (SELECT id, $generate AS answer FROM ($source) q OFFSET 0) q WHERE answer IS NOT NULL LIMIT 6",
        "SELECT id, $generate, (SELECT last_value FROM calls) FROM ($source) q LIMIT 6",
        "SELECT count($generate) FROM ($source) q",
    );
    my %seen;
    for my $setting (qw(on off)) {
        my $script = "\\set ON_ERROR_STOP off\nSET steadytext.read_ahead = $setting;\n";
        for my $plan (sort keys %plans) {
            $script .= "RESET ALL; SET steadytext.read_ahead = $setting; SET steadytext.reorder = $setting; $plans{$plan}\n";
            $script .= "SELECT '$plan $_'; SELECT setval('calls', 1, false);\n$queries[$_];\nSELECT last_value, is_called FROM calls;\n" for 0 .. $#queries;
        }
        my $got = $cluster->try_sql($script);
        $got->{err} =~ s/^psql:<stdin>:\d+: //mg;
        $seen{$setting} = "$got->{out}\n$got->{err}";
    }
    is($seen{on}, $seen{off}, $name);
}

# Two rows within the transaction, of a key that is checked at its end.
my @deferred = map {
    my $result = $cluster->try_sql("SET steadytext.read_ahead = $_; SET enable_seqscan = off; BEGIN; INSERT INTO later SELECT k, v FROM later WHERE k >= 8; "
          . "SELECT id FROM (SELECT id, body || (SELECT v FROM later WHERE k = t.id) AS text FROM t ORDER BY id OFFSET 0) q WHERE steadytext_generate(text, use_cache => false) IS NOT NULL LIMIT 6; ROLLBACK");
    "$result->{out}\n$result->{err}"
} qw(on off);
is($deferred[0], $deferred[1], 'more rows than one, a key that is checked later');
is($deferred[1], "1\n2\n3\n4\n5\n6\n", 'which are not wanted');

# And what is harmless is still read ahead.
for my $query (
    q(SELECT steadytext_generate(t.body || o.m) FROM t JOIN one o ON o.x = t.id),
    q(SELECT steadytext_generate(body || id) FROM t),
    q(SELECT steadytext_generate(body) FROM t WHERE id > (SELECT max(x) FROM one)),
    q(SELECT steadytext_generate(body || (SELECT max(m) FROM one)) FROM t),
    q(SELECT steadytext_generate(body || (SELECT m FROM one WHERE x = t.id)) FROM t),
    q(SELECT steadytext_generate(body || (SELECT m FROM pairs WHERE t.id = a AND 1 = b)) FROM t),
    q(SET enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT steadytext_generate(body || (SELECT m FROM pairs WHERE b = 1 AND a = t.id)) FROM t),
    q(SET enable_seqscan = off; SET enable_indexscan = off; EXPLAIN (COSTS OFF) SELECT steadytext_generate(body || (SELECT m FROM pairs WHERE b = 1 AND a = t.id)) FROM t),
    q(SET enable_seqscan = off; EXPLAIN (COSTS OFF) SELECT steadytext_generate(body || (SELECT x FROM one WHERE x = t.id)) FROM t),
    q(SELECT steadytext_generate(body || (SELECT v FROM numbers WHERE k = t.id)) FROM t),
    q(SELECT steadytext_generate(body || (SELECT m FROM one WHERE x = 1)) FROM t),
    q(SELECT steadytext_generate(text) FROM (SELECT body || (SELECT m FROM one WHERE x = t.id) AS text FROM t OFFSET 0) q),
    q(SELECT steadytext_generate(body) FROM t WHERE EXISTS (SELECT 1 FROM one WHERE x = t.id OFFSET 0)),
    q(SELECT steadytext_generate(t.body || v.x) FROM t, LATERAL (SELECT x FROM one WHERE x <> t.id ORDER BY m LIMIT 1) v),
    q(SELECT steadytext_generate(text) FROM (SELECT id, max(body) AS text FROM t GROUP BY id) q),
    q(SELECT steadytext_generate(text) FROM (SELECT body || raises(0) AS text FROM t ORDER BY 1) q),
) {
    like($cluster->sql($query =~ /EXPLAIN/ ? $query : "EXPLAIN (COSTS OFF) $query"), qr/Read Ahead/, "ahead: $query");
}
for my $query (map { $own{$_} } grep { /more rows/ } sort keys %own) {
    unlike($cluster->sql("EXPLAIN (COSTS OFF) SELECT steadytext_generate(text) FROM ($query) q"), qr/Read Ahead/, "not ahead: $query");
}
my $with_key = 'SELECT t.id, steadytext_generate(body || (SELECT m FROM pairs WHERE a = t.id AND b = 1), use_cache => false) FROM t ORDER BY id';
is($cluster->sql($with_key), join("\n", map { "$_|b${_}p$_" } 1 .. 60), 'and each row has its own');

# A function that is STABLE plans its statement late, and runs it with the snapshot of its caller: older than an index that was made meanwhile.
$cluster->sql(q(CREATE TABLE asked (k int, x text); INSERT INTO asked SELECT i, 'x' || i FROM generate_series(1, 8) i; CREATE TABLE keys (k int, y text); INSERT INTO keys SELECT i, '' FROM generate_series(1, 8) i;
    INSERT INTO keys VALUES (7, 'twice'); ANALYZE asked, keys;
    CREATE FUNCTION late(text) RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT string_agg(x, ' ') FROM (SELECT x FROM asked
        WHERE steadytext_generate(x || (SELECT y FROM keys WHERE keys.k = asked.k), use_cache => false) IS NOT NULL LIMIT 6) q); END $$;));
my ($holder, $caller) = ($cluster->session, $cluster->session);
$holder->ask('SELECT pg_advisory_lock(5);');
$caller->send('SELECT late((SELECT pg_advisory_xact_lock(5))::text)');
ok($cluster->poll_until(q(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted), '1'), 'a statement has its snapshot and waits');
$cluster->sql(q(DELETE FROM keys WHERE y = 'twice'; CREATE UNIQUE INDEX ON keys (k)));
$holder->ask('SELECT pg_advisory_unlock(5);');
is($caller->ask(q(SELECT 'next';)), "x1 x2 x3 x4 x5 x6\nnext", 'an index younger than the snapshot does not tell of one row') or diag $caller->{err};
$_->finish for $holder, $caller;
done_testing;
