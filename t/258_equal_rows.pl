# A statement that reads ahead asks for equal inputs once, with use_cache => false and without the cache too. The daemon counts.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0', 'enable_sort = off' ]
);
my $stat = sub { my ($name) = @_; return $cluster->ask_daemon('stats', '{}') =~ /"$name":\s*(\d+)/ ? $1 : 0 };
$cluster->sql(q(CREATE TABLE docs (id int PRIMARY KEY, body text NOT NULL, answer text);
    INSERT INTO docs SELECT i, 'text ' || i % 20 FROM generate_series(1, 2000) i; ANALYZE docs;
    CREATE ROLE one; CREATE ROLE two; GRANT ALL ON docs TO one, two;
    CREATE FUNCTION asks(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN steadytext_generate($1, use_cache => false); END $$;
    CREATE FUNCTION sets(i int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN IF i = 1000 THEN PERFORM set_config('steadytext.default_max_tokens', '7', false); END IF; RETURN ''; END $$;));

sub asked {
    my ($query, $kind) = @_;
    $kind //= 'generate';
    my $before = $stat->($kind);
    my $result = $cluster->try_sql($query);
    is($result->{state}, '', substr $query, 0, 150) or diag $result->{err};
    return ($stat->($kind) - $before, $result->{out} // '');
}

sub calls_and_rows {
    my ($calls, $rows, $query, $kind) = @_;
    my ($asked, $out) = asked($query, $kind);
    is($asked, $calls, "$calls calls");
    is($out, $rows, 'and each row has its own answer');
    return;
}

my $right = sub { "SELECT count(*) FROM (SELECT body, $_[0] AS answer FROM docs ORDER BY id) q WHERE answer = body" };
my $plain = $right->('steadytext_generate(body, use_cache => false)');
calls_and_rows(20, 2000, $plain);
calls_and_rows(20, 2000, $plain);    # another statement asks anew
calls_and_rows(20, 2000, 'SET steadytext.cache_enabled = off; ' . $right->('steadytext_generate(body)'));
calls_and_rows(20, 2000, q(SELECT count(steadytext_embed(body, false)) FROM docs), 'embed');
calls_and_rows(20, 2000, q(SELECT count(*) FROM docs WHERE steadytext_generate(body, use_cache => false) = body));
calls_and_rows(20, '',   q(UPDATE docs SET answer = steadytext_generate(body, use_cache => false)));
calls_and_rows(20, 2000, q(SET work_mem = '64kB'; ) . $plain);
calls_and_rows(200, 200, q(SET steadytext.read_ahead = off; SELECT count(steadytext_generate(body, use_cache => false)) FROM docs WHERE id <= 200));

# More answers than work_mem: some are asked again, all are right.
my ($many, $out) = asked(q(SET work_mem = '64kB'; ) . $right->(q(left(steadytext_generate(body || repeat(' long', 1200), use_cache => false), length(body)))));
is($out, 2000, 'each row has its own answer');
cmp_ok($many, '>', 20, "beyond work_mem some are asked again: $many");

# Not equal: other arguments, other settings, another role, a statement within.
calls_and_rows(40, 2000, q(SELECT count(*) FROM (SELECT body, steadytext_generate(body, use_cache => false) AS a, steadytext_generate(body, use_cache => false, seed => 7) AS b FROM docs OFFSET 0) q
    WHERE a = body AND b = body));
calls_and_rows(20, 2000, q(SELECT count(*) FROM (SELECT body, steadytext_generate(body, use_cache => false) AS a, CASE WHEN id > 5 THEN steadytext_generate(body, use_cache => false) ELSE body END AS b
    FROM docs OFFSET 0) q WHERE a = body AND b = body));
calls_and_rows(40, 2000, q(SELECT count(*) FROM (SELECT sets(id) || steadytext_generate(body, NULL, false) AS answer, body FROM docs ORDER BY id) q WHERE answer = body));
my ($of_roles, $rows) = asked(q(SELECT count(*) FROM (SELECT left(set_config('role', CASE id / 20 % 2 WHEN 0 THEN 'one' ELSE 'two' END, false), 0) || steadytext_generate(body, use_cache => false) AS answer, body
    FROM docs ORDER BY id) q WHERE answer = body));
is($rows, 2000, 'each row has its own answer');
cmp_ok($of_roles, '>=', 40, "each role asks for itself: $of_roles");
cmp_ok($of_roles, '<=', 100, 'once, but for what is begun in vain');
calls_and_rows(120, 100, q(SELECT count(*) FROM (SELECT body, steadytext_generate(body, use_cache => false) AS a, asks(body) AS b FROM docs WHERE id <= 100 ORDER BY id) q WHERE a = body AND b = body));

# A portal that is run in parts is one statement.
calls_and_rows(20, 2000, q(DO $$ DECLARE r record; n int = 0; BEGIN FOR r IN SELECT steadytext_generate(body, use_cache => false) AS answer, body FROM docs ORDER BY id LOOP n := n + (r.answer = r.body)::int; END LOOP;
    PERFORM set_config('x.n', n::text, false); END $$; SELECT current_setting('x.n')));

# What fails is asked for each row, as ever.
calls_and_rows(10, 10, q(SET steadytext.on_failure = 'null'; SELECT count(*) FROM (SELECT steadytext_generate('!fault:error=broken ' || id % 1, use_cache => false) AS answer FROM docs WHERE id <= 10 OFFSET 0) q WHERE answer IS NULL));

# Each row is a call that is counted; those that are equal cost what cached ones cost.
like($cluster->sql("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $plain"), qr/Steadytext: calls=2000 hits=\d+ failures=0/, 'each row is counted');
calls_and_rows(20, 2000, "SET steadytext.max_calls_per_statement = 20; $plain");
$cluster->sql(q(CREATE ROLE app LOGIN; GRANT SELECT ON docs TO app));
for my $case ([ 'off', '', 200 ], [ 'on', '53400', undef ]) {
    my ($hits_count, $state, $answers) = @$case;
    $cluster->sql("DELETE FROM steadytext_rate_limit_rules; ALTER ROLE app SET steadytext.limit_cache_hits = $hits_count; SELECT steadytext_rate_limit_set('app', requests => 25)");
    my $result = $cluster->try_sql(q(COPY (SELECT steadytext_generate(body, use_cache => false) FROM docs WHERE id <= 200 ORDER BY id) TO STDOUT), user => 'app');
    is($result->{state}, $state, "requests are limited, limit_cache_hits = $hits_count");
    is(scalar(split /\n/, $result->{out} // ''), $state ? 25 : 200, 'up to the refusal');
    is($cluster->sql(q(SELECT used FROM steadytext_rate_limit_status WHERE role = 'app' AND unit = 'requests')), $state ? 25 : 20, 'and are charged');
    $cluster->sql(q(DROP OWNED BY app; DROP ROLE app; CREATE ROLE app LOGIN; GRANT SELECT ON docs TO app));
}

# Each process of a parallel plan has its own answers.
my ($parallel, $count) = asked(q(SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(steadytext_generate(body, use_cache => false)) FROM docs));
is($count, 2000, 'a parallel plan');
cmp_ok($parallel, '<=', 60, "each process asks once: $parallel");
done_testing;
