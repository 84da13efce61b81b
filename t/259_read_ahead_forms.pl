# Read-ahead in windows, RETURNING and cursors: what is begun ahead and what is not, and that rows, errors and places are the same without. The daemon counts.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0', 'enable_hashagg = off' ]
);
my $stat  = sub { my ($name) = @_; return $cluster->ask_daemon('stats', '{}') =~ /"$name":\s*(\d+)/ ? $1 : 0 };
my $slots = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
$cluster->sql(q(CREATE TABLE docs (id int PRIMARY KEY, body text NOT NULL, answer text);
    INSERT INTO docs SELECT i, 'text ' || i FROM generate_series(1, 60) i;
    CREATE TABLE notes (doc int PRIMARY KEY, note text); INSERT INTO notes SELECT i, 'note ' || i FROM generate_series(1, 60) i; ANALYZE docs, notes;
    CREATE FUNCTION stamps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id % 7 = 0 THEN RETURN NULL; END IF; NEW.body := NEW.body || ' stamped'; RETURN NEW; END $$;
    CREATE TABLE stamped (LIKE docs); CREATE TRIGGER stamps BEFORE INSERT OR UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION stamps();));

# Each run of a script has texts of its own; G stands for the call.
my $run = 0;
sub told {
    my ($read_ahead, $script) = @_;
    $run++;
    $script =~ s/\bG\(([^()]*)\)/steadytext_generate('$run ' || $1)/g;
    my $before = $stat->('generate');
    my $result = $cluster->try_sql("\\set ON_ERROR_STOP off\nSET steadytext.read_ahead = $read_ahead;\n$script");
    my $calls  = $stat->('generate') - $before;
    s/^psql:<stdin>:\d+: //mg, s/\b$run (?=text|note)//g for $result->{out}, $result->{err};
    $result->{err} =~ s/^LOCATION:.*\n//mg;
    return { told => "$result->{out}\n$result->{err}", calls => $calls };
}

sub same {
    my ($script, %more) = @_;
    my ($on, $off) = map { told($_, $script) } 'on', 'off';
    (my $name = $script) =~ s/\s+/ /g;
    $name = substr $name, 0, 170;
    is($on->{told}, $off->{told}, "as without: $name");
    is($on->{calls}, $off->{calls}, "as many calls ($off->{calls})") unless $more{most};
    cmp_ok($on->{calls}, '<=', $more{most}, "$on->{calls} calls, $off->{calls} without") if $more{most};
    return $off;
}

sub reads_ahead {
    my ($wants, $query) = @_;
    my $plan = $cluster->sql("SET enable_sort = off; EXPLAIN (COSTS OFF) " . $query =~ s/\bG\(/steadytext_generate(/gr);
    ($wants ? \&like : \&unlike)->($plan, qr/Read Ahead/, ($wants ? 'ahead: ' : 'not ahead: ') . $query);
    return;
}

# ---- windows: the call above them, not in them ----
for my $case (
    [ 1, q(SELECT id, G(body), row_number() OVER (ORDER BY id) FROM docs) ],
    [ 1, q(SELECT id, G(body), lag(id) OVER w, rank() OVER w, sum(id) OVER w, count(*) OVER () FROM docs WINDOW w AS (PARTITION BY id % 3 ORDER BY id)) ],
    [ 1, q(SELECT id, G(body) || lead(body, 2) OVER (ORDER BY id) FROM docs) ],
    [ 1, q(SELECT id, G(body), max(body) FILTER (WHERE id > 3) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM docs) ],
    [ 1, q(SELECT id, G(body), row_number() OVER (ORDER BY id DESC) FROM docs ORDER BY id LIMIT 5) ],
    [ 1, q(SELECT d.id, G(d.body), sum(n.doc) OVER (ORDER BY d.id) FROM docs d JOIN notes n ON n.doc = d.id) ],
    [ 0, q(SELECT id, max(G(body)) OVER (ORDER BY id) FROM docs) ],
    [ 0, q(SELECT id, G(body), ntile(CASE WHEN id < 8 THEN 3 ELSE 0 END) OVER (PARTITION BY id ORDER BY id) FROM docs LIMIT 6) ],
    [ 0, q(SELECT id, G(body), nth_value(body, 9 - id) OVER (ORDER BY id) FROM docs LIMIT 6) ],
    [ 0, q(SELECT id, G(body), sum(10 / (8 - id)) OVER (ORDER BY id) FROM docs LIMIT 6) ],
    [ 0, q(SELECT id, G(body), sum(id) OVER (ORDER BY id RANGE 2 PRECEDING) FROM docs) ],
    [ 0, q(SELECT id, G(body), row_number() OVER (ORDER BY id) FROM docs WHERE 10 / (8 - id) < 20 LIMIT 6) ],
    [ 1, q(SELECT id, G(body), row_number() OVER (ORDER BY id) FROM (SELECT id, body || 10 / (8 - id) AS body FROM docs OFFSET 0) q LIMIT 6) ],    # what is sorted is read first
) {
    my ($wants, $query) = @$case;
    reads_ahead($wants, $query);
    same("SET enable_sort = off; $query;");
}
same(q(SELECT id, answer, r FROM (SELECT id, G(body) AS answer, row_number() OVER (ORDER BY id) AS r FROM docs) q WHERE r <= 5;));
same(q(SELECT id, answer, r FROM (SELECT id, G(body) AS answer, row_number() OVER (PARTITION BY id % 2 ORDER BY id) AS r FROM docs) q WHERE r <= 2 ORDER BY id;));
same(q(SELECT d.id, x.* FROM docs d, LATERAL (SELECT G(n.note), row_number() OVER (ORDER BY n.doc) FROM notes n WHERE n.doc BETWEEN d.id AND d.id + 2) x WHERE d.id < 20;));
same(q(WITH s AS MATERIALIZED (SELECT id, length(G(body)) AS l FROM docs) SELECT id, sum(l) OVER (ORDER BY id) FROM s;));

# ---- RETURNING: the row is known once it is written ----
for my $case (
    [ 0, q(UPDATE docs SET answer = 'x' RETURNING id, G(body)) ],
    [ 0, q(INSERT INTO stamped SELECT id, body FROM docs RETURNING id, G(body)) ],
    [ 0, q(DELETE FROM docs WHERE id > 50 RETURNING id, G(body)) ],
    [ 0, q(WITH w AS (UPDATE docs SET answer = 'x' RETURNING id, body) SELECT id, G(body) FROM w) ],
    [ 1, q(WITH w AS (INSERT INTO stamped SELECT id, body FROM docs RETURNING id, body) SELECT id, G(body) FROM (SELECT * FROM w ORDER BY id OFFSET 0) q) ],
    [ 1, q(INSERT INTO stamped SELECT id, body, G(body) FROM docs RETURNING id, body, answer) ],
) {
    my ($wants, $query) = @$case;
    reads_ahead($wants, $query);
    same("BEGIN; $query; ROLLBACK;");
}

# ---- cursors ----
my $sorted = 'SELECT id, G(body) FROM docs ORDER BY body';
for my $case (
    [ 1, "DECLARE c NO SCROLL CURSOR FOR $sorted" ],
    [ 1, "DECLARE c NO SCROLL CURSOR WITH HOLD FOR $sorted" ],
    [ 1, q(DECLARE c CURSOR FOR SELECT max(G(body)) FROM docs GROUP BY id % 5) ],
    [ 1, q(DECLARE c NO SCROLL CURSOR FOR SELECT id, G(note) FROM docs JOIN notes ON id = doc) ],
    [ 0, "DECLARE c CURSOR FOR $sorted" ],
    [ 0, "DECLARE c SCROLL CURSOR FOR $sorted" ],
    [ 0, q(DECLARE c NO SCROLL CURSOR FOR SELECT id, G(body) FROM docs) ],
    [ 0, q(DECLARE c NO SCROLL CURSOR FOR SELECT id, G(body) FROM docs LIMIT 5) ],
    [ 0, q(DECLARE c CURSOR FOR SELECT id, G(body) FROM docs FOR UPDATE) ],
) {
    reads_ahead(@$case);
}
my $moves = 'FETCH 3 FROM c; MOVE 2 FROM c; FETCH 1 FROM c; FETCH PRIOR FROM c; ROLLBACK';
same("BEGIN; DECLARE c $_ FOR $sorted; $moves;") for 'CURSOR', 'SCROLL CURSOR', 'NO SCROLL CURSOR';
same("BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT id, G(note) FROM docs JOIN notes ON id = doc ORDER BY id; FETCH 3 FROM c; FETCH ALL FROM c; FETCH 1 FROM c; COMMIT;");
same("BEGIN; DECLARE c CURSOR FOR SELECT id % 5, max(G(body)) FROM docs GROUP BY 1; $moves;", most => 120);    # those of the next group may be in vain
same("BEGIN; DECLARE c $_ WITH HOLD FOR $sorted; FETCH 2 FROM c; COMMIT; FETCH 2 FROM c; FETCH ALL FROM c; CLOSE c;") for 'CURSOR', 'NO SCROLL CURSOR';
same("BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT id, G(body) FROM docs $_; FETCH 2 FROM c; UPDATE docs SET answer = 'here' WHERE CURRENT OF c; SELECT id FROM docs WHERE answer = 'here'; ROLLBACK;")
  for '', 'FOR UPDATE', 'ORDER BY body', 'LIMIT 5';
same("BEGIN; DECLARE c NO SCROLL CURSOR FOR $sorted; FETCH 1 FROM c; SAVEPOINT s; FETCH 5 FROM c; ROLLBACK TO s; FETCH 2 FROM c; COMMIT;");
same("\\set FETCH_COUNT 7\n$_;") for $sorted, 'SELECT id, G(body) FROM docs';
same(q(DO $$ DECLARE c NO SCROLL CURSOR FOR SELECT id, G(body) AS answer FROM docs ORDER BY body; r record; BEGIN FOR r IN c LOOP RAISE NOTICE '%', r.answer; EXIT WHEN r.id = 14; END LOOP; END $$;), most => 60);
same(q(DO $$ DECLARE c refcursor; r record; BEGIN OPEN c NO SCROLL FOR SELECT id, G(note) AS answer FROM docs JOIN notes ON id = doc ORDER BY id; FETCH c INTO r; RAISE NOTICE '%', r; MOVE c; FETCH c INTO r; RAISE NOTICE '%', r; END $$;));

# A loop over the rows of a table reads ahead.
same(q(DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, G(body) AS answer FROM docs LOOP RAISE NOTICE '%', r.answer; END LOOP; END $$;));
$cluster->sql(q(CREATE FUNCTION loops() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN FOR r IN SELECT steadytext_generate('!fault:hold ' || body) FROM docs LOOP EXIT; END LOOP; END $$));
my $looping = $cluster->session->send(q(SET application_name = 'looping'; SELECT loops()));
ok($cluster->wait_for(sub { $stat->('in_flight') >= 10 }, 20), 'ten at once, in a loop');
$cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'looping'));
is($looping->finish->{state}, '57014', 'and cancelled');

# One row at a time behind a filter: at most as many calls in vain as there were rows, in all fetches together.
same('SET enable_hashjoin = off; SET enable_sort = off; BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT id, answer FROM (SELECT id, G(note) AS answer FROM docs JOIN notes ON id = doc ORDER BY id OFFSET 0) q WHERE answer IS NOT NULL; '
      . 'FETCH 1 FROM c; ' x 20 . 'ROLLBACK;', most => 40);

# A cursor that stands still has nothing under way.
my $session = $cluster->session;
$session->ask(q(BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT steadytext_generate('!fault:delay=20 held ' || body) FROM docs ORDER BY body; FETCH 3 FROM c;));
ok($cluster->poll_until($slots, 0, 5), 'no slot is in use between two FETCHes');
ok($cluster->wait_for(sub { $stat->('in_flight') == 0 }, 10), 'and the daemon does nothing');
$session->ask(q(FETCH 5 FROM c; ROLLBACK;));
$session->finish;
done_testing;
