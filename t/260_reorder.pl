# Conditions that make calls are evaluated after joins that leave fewer rows: fewer calls, the same rows in the same order. The daemon counts.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0' ]
);
my $stat = sub { my ($name) = @_; return $cluster->ask_daemon('stats', '{}') =~ /"$name":\s*(\d+)/ ? $1 : 0 };
$cluster->sql(q(CREATE TABLE movies (id int PRIMARY KEY, title text, year int);
    INSERT INTO movies SELECT i, 'movie ' || i, CASE WHEN i % 15 = 0 THEN 1999 ELSE 2000 + i % 10 END FROM generate_series(1, 150) i;
    CREATE TABLE reviews (id int PRIMARY KEY, movie int, body text, seen boolean);
    INSERT INTO reviews SELECT i, i % 150 + 1, 'review ' || i FROM generate_series(1, 2000) i;
    CREATE TABLE tags (movie int, tag text); INSERT INTO tags SELECT i % 150 + 1, 'tag ' || i % 7 FROM generate_series(1, 900) i;
    CREATE TABLE numbers (id int PRIMARY KEY, body text); INSERT INTO numbers SELECT i, CASE WHEN i % 10 = 0 THEN 'number ' || i ELSE 'x' || i END FROM generate_series(1, 500) i;
    ANALYZE movies, reviews, tags, numbers;
    CREATE ROLE app; GRANT ALL ON movies, reviews, tags TO app;
    CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM reviews WHERE steadytext_generate(body, use_cache => false) LIKE '%1%';
    CREATE VIEW open_view AS SELECT * FROM reviews WHERE steadytext_generate(body, use_cache => false) LIKE '%1%';
    GRANT SELECT ON barrier, open_view TO app;
    CREATE TABLE ruled (LIKE reviews); INSERT INTO ruled TABLE reviews; ALTER TABLE ruled ADD PRIMARY KEY (id); ANALYZE ruled; GRANT SELECT ON ruled TO app;
    ALTER TABLE ruled ENABLE ROW LEVEL SECURITY; CREATE POLICY odd ON ruled USING (id % 2 = 1);));

# Q(x) is a condition with a call about x, which about a third of the rows meet.
sub told {
    my ($reorder, $script) = @_;
    $script =~ s/\bQ\(([^()]*)\)/steadytext_generate($1, use_cache => false) LIKE '%1%'/g;
    my $before = $stat->('generate');
    my $result = $cluster->try_sql("\\set ON_ERROR_STOP off\nSET steadytext.reorder = $reorder;\n$script");
    my $calls  = $stat->('generate') - $before;
    $result->{err} =~ s/^psql:<stdin>:\d+: //mg;
    my @rows = split /\n/, $result->{out};
    @rows = sort @rows if $script !~ /ORDER BY/;
    return { told => join("\n", @rows, $result->{err}), calls => $calls };
}

sub same {
    my ($calls_on, $calls_off, $script) = @_;
    for my $read_ahead ('on', 'off') {
        my ($on, $off) = map { told($_, "SET steadytext.read_ahead = $read_ahead; $script") } 'on', 'off';
        (my $name = $script) =~ s/\s+/ /g;
        is($on->{told}, $off->{told}, 'the same rows: ' . substr $name, 0, 200);
        is($on->{calls}, $calls_on, "$calls_on calls (read_ahead = $read_ahead)");
        is($off->{calls}, $calls_off, "$calls_off without");
    }
    return;
}

my $joined = 'FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body)';
my %joins  = (
    'any join'    => '',
    'hash join'   => 'SET enable_nestloop = off; SET enable_mergejoin = off;',
    'merge join'  => 'SET enable_nestloop = off; SET enable_hashjoin = off;',
    'nested loop' => 'SET enable_mergejoin = off; SET enable_hashjoin = off;',
);
same(133, 2000, "$joins{$_} SELECT r.id, m.title $joined;") for sort keys %joins;
same(133, 2000, "SELECT count(*), max(title) $joined;");

# Conditions on both tables of a join go up together: each alone would be in the other's way.
for my $join (grep { !/nested/ } sort keys %joins) {    # a nested loop asks for the rows of one side by those of the other
    my ($on, $off) = map { told($_, "$joins{$join} SELECT r.id, m.title $joined AND Q(m.title)") } 'on', 'off';
    is($on->{told}, $off->{told}, "$join of two tables with a condition each: the same rows");
    cmp_ok($on->{calls}, '<=', 2 * 133, "$on->{calls} calls, $off->{calls} without");
    cmp_ok($on->{calls}, '<=', $off->{calls}, 'no more than without');
}
same(133, 2000, "SELECT r.movie, count(*) $joined GROUP BY 1 ORDER BY 1;");
same(133, 2000, "SELECT r.id $joined ORDER BY r.body DESC LIMIT 5;");
same(133, 2000, 'SELECT id FROM reviews r WHERE movie IN (SELECT id FROM movies WHERE year = 1999) AND Q(body);');
same(133, 2000, 'SELECT id FROM open_view r WHERE movie IN (SELECT id FROM movies WHERE year = 1999);');
same(133, 2000, "UPDATE reviews r SET seen = true FROM movies m WHERE m.id = r.movie AND m.year = 1999 AND Q(r.body) RETURNING r.id; UPDATE reviews SET seen = NULL WHERE seen;");
same(133, 2000, "BEGIN; DELETE FROM reviews r USING movies m WHERE m.id = r.movie AND m.year = 1999 AND Q(r.body) RETURNING r.id; ROLLBACK;");
same(133, 2000, "SELECT r.id $joined FOR UPDATE OF r;");
same(133, 2000, 'PREPARE p(int) AS SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = $1 AND Q(r.body); EXECUTE p(1999);');
same(133, 2000, "WITH w AS MATERIALIZED (SELECT r.id $joined) SELECT count(*) FROM w;");
same(68,  2000, 'SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie JOIN movies o ON o.id = m.id WHERE m.year = 1999 AND o.id < 80 AND Q(r.body);');
same(133, 2000, "SELECT r.id, (SELECT count(*) FROM tags t WHERE t.movie = r.movie) $joined;");
same(133, 2000, "SELECT r, m $joined;");    # whole rows

# Parts of a table, with their columns in other places; branches of UNION ALL, if they ask the same of the same columns.
$cluster->sql(q(CREATE TABLE parted (id int, movie int, body text, seen boolean) PARTITION BY RANGE (id); CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (700);
    CREATE TABLE high (gone int, seen boolean, body text, movie int, id int); ALTER TABLE high DROP COLUMN gone; ALTER TABLE parted ATTACH PARTITION high FOR VALUES FROM (700) TO (9999);
    INSERT INTO parted TABLE reviews;
    CREATE VIEW alike AS SELECT id, movie, body FROM low UNION ALL SELECT id, movie, body FROM high; CREATE VIEW unlike AS SELECT id, movie, body FROM low UNION ALL SELECT id, movie, lower(body) FROM high;
    CREATE VIEW more AS SELECT id, movie, body FROM low UNION ALL SELECT id, movie, body FROM high WHERE steadytext_generate(body, use_cache => false) LIKE '%review%'; ANALYZE));
for my $table ('parted', 'alike') {
    same(133, 2000, "SELECT r.id, m.title FROM $table r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body);");
    same(133, 2000, "SELECT count(*), min(m.title) FROM $table r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body);");
}
same(133, 2000, "UPDATE parted r SET seen = true FROM movies m WHERE m.id = r.movie AND m.year = 1999 AND Q(r.body) RETURNING r.id, r.body, m.title; UPDATE parted SET seen = NULL WHERE seen;");
same(133, 2000, 'BEGIN; DELETE FROM parted r USING movies m WHERE m.id = r.movie AND m.year = 1999 AND Q(r.body) RETURNING r; ROLLBACK;');
same(2000, 2000, 'SELECT r.id FROM unlike r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body);');
my ($on, $off) = map { told($_, 'SELECT r.id FROM more r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body);') } 'on', 'off';
is($on->{told}, $off->{told}, 'branches of which one asks more');

# Where it would not be fewer, or might be another result, nothing moves.
same(2000, 2000, 'SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie WHERE Q(r.body);');
same(2000, 2000, 'SELECT count(*) FROM reviews r JOIN tags t ON t.movie = r.movie WHERE Q(r.body);');
same(2000, 2000, 'SELECT r.id FROM reviews r LEFT JOIN movies m ON m.id = r.movie AND m.year = 1999 WHERE Q(r.body);');
same(10,   10,   'SELECT count(*) FROM movies m JOIN tags t ON t.movie = m.id WHERE m.year = 1999 AND Q(m.title);');
same(50,   50,   q(SELECT n.id, m.id FROM numbers n JOIN movies m ON m.id = split_part(n.body, ' ', 2)::int WHERE n.body LIKE 'number%' AND Q(n.body);));
same(500,  500,  q(SELECT n.id FROM numbers n JOIN movies m ON m.id * 10 = substr(n.body, 8)::int WHERE m.year = 1999 AND steadytext_generate(n.body, use_cache => false) LIKE 'number%';));
same(2000, 2000, 'SELECT r.id FROM barrier r JOIN movies m ON m.id = r.movie WHERE m.year = 1999;');
same(1000, 1000, 'SET ROLE app; SELECT r.id FROM ruled r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body);');
same(133,  2000, 'SET ROLE app; SELECT r.id FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND Q(r.body);');

# A join that stops at the first row that meets its conditions, as there is no second: the call is what finds it.
$cluster->sql('CREATE UNIQUE INDEX titles ON movies (title); ANALYZE movies');
my $loops = 'SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_indexscan = off; SET enable_bitmapscan = off;';
my $found = q(SELECT r.id, m.id FROM reviews r JOIN movies m ON m.title = steadytext_generate('movie ' || r.movie) WHERE r.id <= 1500);
like($cluster->sql("$loops EXPLAIN (VERBOSE, COSTS OFF) $found"), qr/Inner Unique: true/, 'such a join');
is($cluster->sql("$loops SELECT count(*) FROM ($found) q"), 1500, 'finds all rows');

# A view with a security barrier that a statement changes has no name of its own in the plan any more: its condition still comes first.
$cluster->sql(q(CREATE TABLE hidden AS SELECT i AS id, i AS movie, 'review ' || i AS body, 'secret ' || i AS secret FROM generate_series(1, 150) i;
    CREATE VIEW shown WITH (security_barrier) AS SELECT * FROM hidden WHERE steadytext_generate(body) <> 'review 7';
    CREATE VIEW over_shown AS SELECT * FROM shown WHERE id > 0; CREATE VIEW checked AS SELECT * FROM shown WITH CASCADED CHECK OPTION; ANALYZE hidden;
    CREATE TABLE guesses (guess text); INSERT INTO guesses VALUES ('secret 7'); ANALYZE guesses));
for my $view ('shown', 'over_shown', 'checked') {
    for my $change ("UPDATE $view v SET body = body FROM guesses g WHERE v.secret = g.guess", "DELETE FROM $view v USING guesses g WHERE v.secret = g.guess",
        "UPDATE $view v SET body = body WHERE secret IN (SELECT guess FROM guesses)", "WITH w AS (UPDATE $view v SET body = body FROM guesses g WHERE v.secret = g.guess RETURNING v.id) SELECT * FROM w") {
        # What the plan tells of rows is the same for a right guess of what the view hides, and for a wrong one.
        my @told = map { $cluster->sql("BEGIN; UPDATE guesses SET guess = '$_'; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $change; ROLLBACK") } 'secret 7', 'secret none';
        s/^ *(Steadytext:|Calls ).*//mg for @told;
        is($told[0], $told[1], "$change: tells nothing of what the view hides");
    }
}

# A parallel plan.
same(133, 2000, "SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(*) $joined;");

# Other transactions change rows that it waits for.
my $other = $cluster->session;
$other->ask(q(BEGIN; UPDATE reviews SET body = 'review none' WHERE id = 14; UPDATE reviews SET movie = 1 WHERE id = 164;));
my $update = $cluster->session->send(q(SET application_name = 'updater'; UPDATE reviews r SET seen = true FROM movies m WHERE m.id = r.movie AND m.year = 1999 AND steadytext_generate(r.body) LIKE '%review%' AND r.id < 320 RETURNING r.id));
ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'updater' AND wait_event_type = 'Lock'), 1, 20), 'it waits for another transaction');
$other->ask('COMMIT;');
$other->finish;
my @ids = sort { $a <=> $b } split /\n/, $update->finish->{out};
is_deeply(\@ids, [ grep { ($_ % 150 + 1) % 15 == 0 && $_ != 164 } 1 .. 319 ], 'and takes what it left');
done_testing;
