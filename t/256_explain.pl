# steadytext_explain(): what a statement would ask for, near what it then asks for; and that nothing of it is run.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'jit = off' ]);
my $asked = sub { return $cluster->ask_daemon('stats', '{}') =~ /"generate":\s*(\d+)/ ? $1 : 0 };

# Texts of three-letter words, so that four bytes are about a token, as of English.
$cluster->sql(q(
    CREATE FUNCTION words(n int, seed int) RETURNS text LANGUAGE sql IMMUTABLE AS $$
        SELECT string_agg((ARRAY['one', 'two', 'six', 'ten', 'red', 'sea', 'sky', 'ink', 'oak', 'elm'])[1 + (hashint4(seed * 1000 + i) & 2147483647) % 10], ' ' ORDER BY i) FROM generate_series(1, n) i $$;
    CREATE TABLE docs (id int PRIMARY KEY, author int, body text, answer text);
    INSERT INTO docs SELECT i, i % 50, words(20 + i % 20, i), NULL FROM generate_series(1, 3000) i;
    CREATE TABLE authors (id int PRIMARY KEY, name text);
    INSERT INTO authors SELECT i, words(3, -i) FROM generate_series(0, 49) i;
    CREATE TABLE topics AS SELECT i AS id, words(28, i % 120) AS body FROM generate_series(1, 3000) i;
    CREATE TABLE skewed AS SELECT words(30, 200000 + least(i, 900)) AS body FROM generate_series(1, 3000) i;
    CREATE TABLE target (id int, answer text);
    CREATE TABLE acts (what text);
    CREATE FUNCTION acts(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO acts VALUES ($1); RETURN $1; END $$;
    ANALYZE; CREATE ROLE app LOGIN; GRANT SELECT ON docs, authors, topics, acts TO app;));

my $number = 0;
sub foreseen {
    my ($query) = @_;
    my $before = $asked->();
    my %row;
    @row{qw(calls distinct prompt completion)} = split /\|/, $cluster->sql("SELECT sum(calls), sum(distinct_calls), sum(prompt_tokens), sum(completion_tokens) FROM steadytext_explain(\$q\$$query\$q\$)");
    is($asked->(), $before, 'nothing is asked') if $row{calls} ne '';
    return \%row;
}

sub near {
    my ($what, $foreseen, $true) = @_;
    return cmp_ok(abs($foreseen - $true), '<=', 0.25 * $true, "$what: $foreseen for $true");
}

# Each is explained, then run, and counted. The answers' lengths are known from earlier calls of the kind.
$cluster->sql(q(SELECT count(steadytext_generate(words(30, 100000 + i))) FROM generate_series(1, 50) i));
my @queries = (
    q(SELECT steadytext_generate(body) FROM docs),
    q(SELECT steadytext_generate('one ' || body, 60) FROM docs WHERE id <= 1500),
    q(SELECT id FROM docs WHERE id % 3 = 0 AND steadytext_generate('two ' || body) <> ''),
    q(SELECT author, max(steadytext_generate('six ' || body)) FROM docs GROUP BY author),
    q(SELECT steadytext_generate('ten ' || a.name || ' ' || d.body) FROM docs d JOIN authors a ON a.id = d.author WHERE a.id < 10),
    q(SELECT steadytext_generate('red ' || body) FROM topics),
    q(SELECT steadytext_generate('sea ' || body) FROM docs ORDER BY id LIMIT 100),
    q(UPDATE docs SET answer = steadytext_generate('sky ' || body) WHERE author = 7),
    q(INSERT INTO target SELECT id, steadytext_generate('ink ' || body) FROM docs WHERE id > 2000),
    q(SELECT steadytext_generate(body) FROM docs WHERE id <= 2000),    # in the cache by now
    q(SELECT steadytext_generate(CASE WHEN id % 2 = 0 THEN body ELSE 'oak ' || body END) FROM docs WHERE id <= 2000),    # half of it
);
for my $query (@queries) {
    my $foreseen = foreseen($query);
    my ($calls, $hits, $prompt, $completion) = $cluster->sql("EXPLAIN (ANALYZE, COSTS OFF) $query") =~ /calls=(\d+) hits=(\d+) failures=0 prompt tokens=(\d+) completion tokens=(\d+)/;
    near("$query: calls", $foreseen->{calls}, $calls);
    near('tokens of prompts', $foreseen->{prompt}, $prompt);
    near('tokens of answers', $foreseen->{completion}, $completion);
}

# Where the first rows differ and the later ones do not, a sample of the first would mislead; what half a second can look at is counted.
my $distinct;
ok($cluster->wait_for(sub { ($distinct = foreseen(q(SELECT steadytext_generate(body) FROM skewed))->{distinct}) == 900 }), '900 texts in 3,000 rows') or diag $distinct;

# Texts with values that another part of the plan has: from there they come only if the statement is run. What is told is true, or nothing is told.
my $started = $cluster->sql('SELECT pg_postmaster_start_time()');
$cluster->sql(q(CREATE TABLE few AS SELECT i AS id, 'few ' || i AS t FROM generate_series(1, 5) i; CREATE TABLE pairs AS SELECT i AS id, 'pair ' || i AS t FROM generate_series(1, 4) i; ANALYZE few, pairs));
my $values = 0;
for my $query (
    q(SELECT q.* FROM few, LATERAL (SELECT count(steadytext_generate(pairs.t || few.t)) FROM pairs OFFSET 0) q),
    q(SELECT q.* FROM few, LATERAL (SELECT count(steadytext_generate(pairs.t || few.id)) FROM pairs OFFSET 0) q),
    q(SELECT q.* FROM few, LATERAL (SELECT count(steadytext_generate(pairs.t || (SELECT max(p.t || few.t) FROM pairs p))) FROM pairs OFFSET 0) q),
    q(SELECT q.* FROM few, LATERAL (SELECT count(steadytext_generate(pairs.t || (SELECT max(p.id + few.id) FROM pairs p))) FROM pairs OFFSET 0) q),
    q(SELECT q.* FROM few, LATERAL (SELECT count(steadytext_generate(pairs.t || (SELECT max(p.t || (SELECT max(r.t || few.t) FROM pairs r)) FROM pairs p))) FROM pairs OFFSET 0) q),
    q(SELECT q.* FROM few, LATERAL (WITH w AS MATERIALIZED (SELECT max(p.t || few.t) AS t FROM pairs p) SELECT count(steadytext_generate(pairs.t || (SELECT t FROM w))) FROM pairs OFFSET 0) q),
    q(SELECT steadytext_generate(t || (SELECT max(t || (SELECT min(t) FROM pairs)) FROM pairs)) FROM few),
    q(SELECT (SELECT string_agg(steadytext_generate(pairs.t || few.t), '') FROM pairs) FROM few),
    q(SELECT (SELECT steadytext_generate(few.t || 'one') LIMIT 1) FROM few),
    q(SELECT count(*) FROM few WHERE EXISTS (SELECT FROM pairs WHERE steadytext_generate(few.t || pairs.id) = 'x')),
    q(SELECT steadytext_generate(t || (SELECT max(t) FROM pairs)) FROM few),
    q(SELECT steadytext_generate(t || (SELECT t FROM pairs WHERE id = 3)) FROM few),
    q(WITH RECURSIVE r(n, t) AS (SELECT 1, 'r' UNION ALL SELECT n + 1, left(steadytext_generate(t || n), 20) FROM r WHERE n < 4) SELECT count(t) FROM r),
    q(UPDATE few SET t = steadytext_generate(t || (SELECT max(t) FROM pairs)) WHERE (SELECT count(*) > 0 FROM pairs)),
    q(UPDATE few SET t = steadytext_generate(few.t || p.t || (SELECT min(t) FROM pairs)) FROM pairs p WHERE p.id = few.id),
    q(UPDATE few SET (id, t) = (SELECT p.id, steadytext_generate(p.t || few.t) FROM pairs p WHERE p.id = few.id)),
    q(DELETE FROM few WHERE steadytext_generate(t || (SELECT max(t) FROM pairs)) = 'x'),
    q(WITH p AS MATERIALIZED (SELECT * FROM pairs) UPDATE few SET t = steadytext_generate(few.t || p.t) FROM p WHERE p.id = few.id),
    q(INSERT INTO few SELECT 9, steadytext_generate(t || (SELECT max(t) FROM pairs)) FROM few),
    q(MERGE INTO few USING pairs p ON p.id = few.id WHEN MATCHED THEN UPDATE SET t = steadytext_generate(few.t || p.t)),
) {
    next if $query =~ /^MERGE/ && $cluster->sql('SHOW server_version_num') < 150000;
    for my $plan ('', 'SET enable_hashjoin = off; SET enable_mergejoin = off;') {
        my $told = $cluster->try_sql("$plan SELECT sum(calls), sum(distinct_calls) FROM steadytext_explain(\$q\$$query\$q\$)");
        is($told->{state}, '', $query) or diag $told->{err};
        next if $told->{out} eq '|';
        $values++;
        my ($calls, $distinct) = split /\|/, $told->{out};
        my ($true) = $cluster->sql("$plan BEGIN; EXPLAIN (ANALYZE, COSTS OFF) $query; ROLLBACK") =~ /calls=(\d+)/;
        is($calls, $true // 0, 'all calls are told');
    }
}
is($cluster->sql('SELECT pg_postmaster_start_time()'), $started, 'the server goes on');
cmp_ok($values, '>=', 6, "the calls of $values of them are known");
my $sampled = $cluster->try_sql(q(SET statement_timeout = '20s'; SELECT calls IS NULL, row_count > 1e8 FROM steadytext_explain('SELECT steadytext_generate(i::text) FROM generate_series(1, 1000000000) i')));
is($sampled->{out} . $sampled->{state}, 't|t', 'what would take long before its first row is estimated');

# What a foreign server writes by itself is not read here.
$cluster->sql(qq(CREATE EXTENSION postgres_fdw; CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$cluster->{PGHOST}', port '$cluster->{PGPORT}', dbname 'steadytext');
    CREATE USER MAPPING FOR CURRENT_USER SERVER here; CREATE FOREIGN TABLE far (id int, answer text) SERVER here OPTIONS (table_name 'docs')));
for my $write (q(UPDATE far SET answer = 'x' WHERE id = 1), q(DELETE FROM far WHERE id = 1), q(UPDATE far SET answer = steadytext_generate(answer) WHERE id = 1)) {
    is($cluster->try_sql("SELECT * FROM steadytext_explain(\$q\$$write\$q\$)")->{state}, '', "explained: $write");
}

like($cluster->try_sql(q(SELECT * FROM steadytext_explain('SELECT nothing FROM docs')))->{err}, qr/column "nothing" does not exist\nLINE 1: SELECT nothing FROM docs\n               \^/, 'an error points into the query that is explained');

# Prices.
my $query = q(SELECT steadytext_generate('elm ' || body) FROM docs);
my $model = $cluster->sql("SELECT model FROM steadytext_explain(\$q\$$query\$q\$)");
is($cluster->sql("SELECT cost IS NULL AND seconds > 0 FROM steadytext_explain(\$q\$$query\$q\$)"), 't', 'without a price there is no cost; how long it may take is there');
$cluster->sql("SELECT steadytext_price_set('$model', 2, 8)");
is($cluster->sql("SELECT cost = (prompt_tokens * 2 + completion_tokens * 8) / 1000000.0 FROM steadytext_explain(\$q\$$query\$q\$)", user => $_), 't', "with one there is, for $_ too") for 'postgres', 'app';
$cluster->sql("SELECT steadytext_price_set('$model', NULL, NULL)");
is($cluster->sql("SELECT cost IS NULL FROM steadytext_explain(\$q\$$query\$q\$)"), 't', 'a price can be taken away');
is($cluster->try_sql("SELECT steadytext_price_set('$model', 1, 1)", user => 'app')->{state}, '42501', 'by an administrator');
is($cluster->try_sql("SELECT steadytext_price_set('$model', $_)")->{state}, '22004', "one price without the other: $_") for '1, NULL', 'NULL, 1';
for my $price (qw(-1 NaN Infinity 1e131071 1000000000000.1)) {
    is($cluster->try_sql("SELECT steadytext_price_set('$model', $_)")->{state}, '22023', "no price: $_") for "'$price', 1", "1, '$price'";
}
$cluster->sql('CREATE ROLE accountant LOGIN; SELECT steadytext_admin_grant($$accountant$$)');
for my $write (q(INSERT INTO steadytext_prices (model, per_million_prompt, per_million_completion, updated_by, updated_at) VALUES ('m', 1, 2, 'somebody else', '2001-01-01')),
               q(UPDATE steadytext_prices SET per_million_prompt = 3, updated_by = 'somebody else', updated_at = '2001-01-01' WHERE model = 'm'), q(SELECT steadytext_price_set('m', 4, 2))) {
    is($cluster->try_sql($write, user => 'accountant')->{err}, '', $write);
    is($cluster->sql(q(SELECT updated_by || (updated_at > '2020-01-01') FROM steadytext_prices WHERE model = 'm')), 'accountanttrue', '  who wrote it is named');
}
is($cluster->try_sql("INSERT INTO steadytext_prices VALUES ($_)", user => 'accountant')->{state} =~ /^2[23]/ ? 1 : 0, 1, "refused by hand: $_") for q('n', 'NaN', 1), q('n', 1, 'Infinity'), q(E'n\nn', 1, 1), q('', 1, 1);
$cluster->sql(q(DELETE FROM steadytext_prices WHERE model = 'm'), user => 'accountant');
is($cluster->sql(q(SELECT string_agg(user_id || ' ' || event_type || coalesce(' ' || (details ->> 'per_million_prompt'), ''), ', ' ORDER BY id) FROM steadytext_audit_log WHERE details ->> 'model' = 'm')),
    'accountant price_set 1, accountant price_set 3, accountant price_set 4, accountant price_remove', 'each is in the audit log');

# A text that means no good.
my %refused = (
    q(DROP TABLE docs)                                               => '42601',
    q(SELECT 1; DROP TABLE docs)                                     => '42601',
    q()                                                              => '42601',
    q(;)                                                             => '42601',
    q(EXPLAIN ANALYZE DELETE FROM docs)                              => '42601',
    q(COPY docs TO PROGRAM 'true')                                   => '42601',
    q(DO 'BEGIN DELETE FROM docs; END')                              => '42601',
    q(SELECT * INTO copy FROM docs)                                  => '0A000',
    q(SELECT steadytext_generate($1))                                => '42P02',
    q(SELECT steadytext_generate(body) FROM nowhere)                 => '42P01',
    q{SELECT steadytext_generate(body FROM docs}                     => '42601',
);
is($cluster->try_sql("SELECT * FROM steadytext_explain(\$q\$$_\$q\$)")->{state}, $refused{$_}, "refused: $_") for sort keys %refused;
$cluster->sql(q(CREATE TABLE secret AS SELECT 'secret' AS body));
is($cluster->try_sql("SELECT * FROM steadytext_explain('$_')", user => 'app')->{state}, '42501', "with the caller's rights: $_")
    for 'SELECT steadytext_generate(body) FROM secret', 'SELECT body FROM secret', 'UPDATE docs SET answer = steadytext_generate(body)', 'DELETE FROM docs';

# What would be noticed is not done.
for my $acting (
    q(SELECT steadytext_generate(acts(body)) FROM docs),
    q(SELECT steadytext_generate(body), acts(body) FROM docs),
    q(SELECT steadytext_generate(body) FROM docs WHERE acts(body) <> ''),
    q(SELECT steadytext_generate(body) FROM (SELECT acts(body) AS body FROM docs ORDER BY 1) q),
    q(SELECT steadytext_generate(body) FROM docs JOIN (SELECT acts(name) AS name, id FROM authors OFFSET 0) a ON a.id = docs.author),
    q(SELECT steadytext_generate(x) FROM acts('function') x),
    q(SELECT steadytext_generate(body) FROM docs WHERE id > (SELECT length(acts(max(body))) FROM docs)),
    q(WITH w AS (INSERT INTO acts VALUES ('with') RETURNING what) SELECT steadytext_generate(what) FROM w),
    q(WITH w AS MATERIALIZED (SELECT acts(body) AS body FROM docs) SELECT steadytext_generate(body) FROM w),
    q(INSERT INTO acts SELECT steadytext_generate(body) FROM docs),
    q(SELECT steadytext_generate(steadytext_generate(body)) FROM docs),
    q(SELECT max(steadytext_generate(body)) FROM docs WHERE steadytext_generate(body) <> ''),
    q(SELECT steadytext_generate('a constant')),
) {
    my $before = $asked->();
    is($cluster->try_sql("SELECT * FROM steadytext_explain(\$q\$$acting\$q\$)")->{state}, '', $acting);
    is($asked->() - $before . ' ' . $cluster->sql('SELECT count(*) FROM acts'), '0 0', 'has no effects and asks nothing');
}
is($cluster->sql(q(SELECT steadytext_generate('a constant'))), 'a constant', 'and nothing of it stays');

# A text of which each second byte is a token, or one in a template, is taken for what daemons have told of earlier ones, whatever these began with.
$cluster->sql(q(SELECT steadytext_stat_reset(); CREATE TABLE letters AS SELECT i AS id, (SELECT string_agg(chr(97 + (i * j) % 26), ' ' ORDER BY j) FROM generate_series(1, 40) j) AS body FROM generate_series(1, 300) i;
    ANALYZE letters; SELECT count(steadytext_generate('k l m ' || body)) FROM letters WHERE id <= 25));
{
    my $query = q(SELECT count(steadytext_generate('n o p q r s ' || body)) FROM letters);
    my $foreseen = foreseen($query);
    my ($prompt, $completion) = $cluster->sql("EXPLAIN (ANALYZE, COSTS OFF) $query") =~ /prompt tokens=(\d+) completion tokens=(\d+)/;
    near('tokens of prompts that are no quarter of their bytes', $foreseen->{prompt}, $prompt);
    near('tokens of their answers', $foreseen->{completion}, $completion);
}

# So it is with an engine over HTTP.
{
    my $engine = SteadyText::Engine->new;
    my $beside = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.daemons = '" . $engine->url . "'" ]);
    ok($beside->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'an engine over HTTP');
    $beside->sql(q(CREATE TABLE letters AS SELECT i AS id, (SELECT string_agg(chr(97 + (i * j) % 26), ' ' ORDER BY j) FROM generate_series(1, 40) j) AS body FROM generate_series(1, 100) i; ANALYZE letters;
        SELECT count(steadytext_generate('k l m ' || body)) FROM letters WHERE id <= 25));
    my $query = q(SELECT count(steadytext_generate('n o p q r s ' || body)) FROM letters);
    my $foreseen = $beside->sql("SELECT prompt_tokens FROM steadytext_explain(\$q\$$query\$q\$)");
    near('tokens of prompts', $foreseen, $beside->sql("EXPLAIN (ANALYZE, COSTS OFF) $query") =~ /prompt tokens=(\d+)/);
}

done_testing;
