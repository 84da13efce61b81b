# Five hundred queries made by chance, with read-ahead and without: the same rows in the same order, the same errors, and the same calls.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $seed = $ENV{STEADYTEXT_SEED} // 20261130;
my $most = $ENV{STEADYTEXT_QUERIES} // 500;
srand $seed;
note "STEADYTEXT_SEED=$seed";

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000000', 'jit = off' ]);
$cluster->sql(q(
    CREATE TABLE a (id int PRIMARY KEY, n int, t text, u text);
    INSERT INTO a SELECT i, i % 7, CASE WHEN i % 11 = 0 THEN NULL ELSE 'a ' || i END, 'u ' || i % 5 FROM generate_series(1, 60) i;
    CREATE TABLE b (id int PRIMARY KEY, a_id int, t text);
    INSERT INTO b SELECT i, i % 40, 'b ' || i % 13 FROM generate_series(1, 80) i;
    CREATE TABLE p (id int, t text) PARTITION BY RANGE (id);
    CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (30);
    CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (30) TO (100);
    INSERT INTO p SELECT i, 'p ' || i FROM generate_series(1, 50) i;
    CREATE TABLE target (id int, t text, g text);
    CREATE FUNCTION twice(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1 || $1 $$;
    CREATE FUNCTION opaque(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1 || '!'; END $$;
    CREATE FUNCTION complains(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF $1 ~ '3' THEN RAISE 'three in %', $1; END IF; RETURN $1; END $$;
    CREATE INDEX ON b (a_id);
    ANALYZE a, b, p, target;
));

sub any { return $_[ int rand @_ ] }
sub chance { return rand() < $_[0] }

# A text of one row; `$_[0]` is one of its columns.
sub text {
    my ($column) = @_;
    my @same = ($column) x 3;
    return any(@same, "'x ' || $column", "upper($column)", "coalesce($column, 'none')", "twice($column)", "opaque($column)", "concat('c ', $column)", "replace($column, ' ', '-')",
        chance(0.3) ? "complains($column)" : $column, chance(0.2) ? "CASE WHEN $column LIKE '%4%' THEN '!fault:error=row ' || $column ELSE $column END" : $column,
        "format('%s and %s', $column, $column)", chance(0.2) ? "nullif($column, 'a 33')" : $column);
}

sub call {
    my ($column) = @_;
    my $text = text("coalesce($column, 'null')");
    $text = text($column) if chance(0.1);
    my $cache = any('use_cache => false', 'use_cache => true');
    return any(
        ("steadytext_generate($text, $cache)") x 4,
        "st_generate($text, 20, $cache)",
        "steadytext_generate_choice($text, ARRAY['yes', 'no', 'u 1', 'b 1', 'a 1'], $cache)",
        "steadytext_embed($text, $cache) <-> steadytext_embed('fixed')",
        "length(steadytext_generate($text, $cache))",
        "CASE WHEN n % 2 = 0 THEN steadytext_generate($text, $cache) ELSE 'no call' END",
        "coalesce(steadytext_generate($text, $cache), 'none')",
        "coalesce($column, steadytext_generate($text, $cache))",
        "steadytext_generate(steadytext_generate($text, $cache) || ' again', $cache)",
        "steadytext_generate($text, 10 + n % 2, $cache)",
        "CASE WHEN steadytext_generate(coalesce($column, 'null'), $cache) LIKE '%1%' THEN steadytext_generate($text, $cache) WHEN id > 30 THEN steadytext_generate('w ' || id, $cache) END",
        "coalesce(nullif(steadytext_generate(coalesce($column, 'null'), $cache), 'a 7'), steadytext_generate($text, $cache))",
        "steadytext_generate(CASE WHEN steadytext_generate(coalesce($column, 'null'), $cache) > 'b' THEN $text ELSE 'low ' || id END, $cache)",
    );
}

sub filter {
    my ($column) = @_;
    my $call = "steadytext_generate(" . text("coalesce($column, 'null')") . ", use_cache => " . any('true', 'false') . ")";
    return any("id % 3 = 0", "id > 20", "$call <> 'a 4'", "$call LIKE '%1%'", "id < 40 AND $call ~ '2'", "($call LIKE '%1%' OR id < 5)", "(id < 5 OR $call LIKE '%1%')",
        "$column LIKE '%2%'", "$call <> 'x' AND " . "id < 30", "NOT ($call LIKE '%3%')", "10 / (id - 30) < 5", "$call IN ('a 1', 'a 2', 'b 5')",
        "$call <> 'a 4' AND steadytext_generate('and ' || id) LIKE '%2%'", "($call LIKE '%1%' AND id > 7) OR steadytext_generate('or ' || id % 9) LIKE '%3%'");
}

# Sources with the columns id, n, t and u.
sub source {
    my ($depth) = @_;
    my @simple = ('a', "(SELECT id, a_id AS n, t, t AS u FROM b)", "(SELECT id, id % 4 AS n, t, t AS u FROM p)", "(SELECT i AS id, i % 3 AS n, 'g ' || i AS t, 'h' AS u FROM generate_series(1, 40) i)",
        "(VALUES (1, 1, 'v 1', 'w'), (2, 2, 'v 2', NULL), (3, 1, 'v 3', 'w')) AS");
    return any(@simple) if $depth <= 0;
    my $inner = source($depth - 1);
    my $joined = any('JOIN', 'LEFT JOIN', 'FULL JOIN', 'RIGHT JOIN');
    return any(
        @simple,
        "(SELECT id, n, t, " . call('t') . "::text AS u FROM $inner s$depth" . any('', ' OFFSET 0', ' LIMIT 12', " WHERE " . filter('t')) . ")",
        "(SELECT a.id, a.n, b.t, a.u FROM a $joined b ON b.a_id = a.id)",
        "(SELECT a.id, a.n, a.t, a.u FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id AND " . (chance(0.4) ? "steadytext_generate(b.t) LIKE '%1%'" : 'b.id > 3') . "))",
        "(SELECT id, n, t, u FROM $inner s$depth UNION ALL SELECT id, 1, t, t FROM p)",
        "(SELECT id, n, t, u FROM $inner s$depth UNION SELECT id, id % 2, t, t FROM p)",
        "(SELECT min(id) AS id, n, max(t) AS t, " . any("max(steadytext_generate(u))", 'min(u)', "string_agg(steadytext_generate(coalesce(u, 'none')), ',' ORDER BY id)") . " AS u FROM $inner s$depth GROUP BY n)",
        "(SELECT id, n, t, lag(t) OVER (ORDER BY id, t, u) AS u FROM $inner s$depth)",
        "(SELECT a.id, a.n, a.t, l.g AS u FROM a, LATERAL (SELECT " . any("steadytext_generate(b.t)", 'b.t') . " AS g FROM b WHERE b.a_id = a.n" . any('', ' ORDER BY b.id LIMIT 1') . ") l)",
    );
}

sub query {
    my $source = source(int rand 3);
    my $where  = chance(0.5) ? ' WHERE ' . filter('t') : '';
    my $order  = any('', ' ORDER BY id, t', ' ORDER BY t, id DESC', chance(0.3) ? ' ORDER BY ' . call('t') . ', id, t' : '');
    my $limit  = any('', '', '', ' LIMIT 5', ' OFFSET 3 LIMIT 7', ' LIMIT 0', ' LIMIT 1');
    my $one    = call('t');
    my $list   = any("id, $one", "id, t, $one, " . call('u'), "$one AS g, *", "(SELECT count(*) FROM b WHERE b.a_id = s.id), $one", "id, row_number() OVER (ORDER BY id, t), $one");
    my $select = "SELECT $list FROM $source s$where$order$limit";
    my $salt = int rand 1e9;
    return any(
        ($select) x 8,
        "WITH w AS " . any('', 'MATERIALIZED ', 'NOT MATERIALIZED ') . "($select) SELECT * FROM w" . any('', ' LIMIT 3', ' UNION ALL SELECT * FROM w'),
        "SELECT count(*), count(DISTINCT g), max(g) FROM (SELECT $one AS g FROM $source s$where) q",
        "SELECT n, count($one) FILTER (WHERE " . filter('t') . "), max(" . call('t') . ") FILTER (WHERE id > 5) FROM $source s$where GROUP BY n ORDER BY n",
        "SELECT sum(length(steadytext_generate(coalesce(t, 'none')))) OVER (PARTITION BY n ORDER BY id, t) FROM $source s$where ORDER BY id, t",
        "SELECT DISTINCT $one FROM $source s$where ORDER BY 1",
        "SELECT $one FROM $source s$where EXCEPT SELECT t FROM b ORDER BY 1",
        "INSERT INTO target SELECT id, t, ($one)::text FROM $source s$where RETURNING *",
        "UPDATE a SET u = ($one)::text$where RETURNING *",
        "DELETE FROM a WHERE " . filter('t') . " RETURNING id, " . call('t'),
        "UPDATE a SET u = steadytext_generate(b.t || '$salt') FROM b WHERE b.a_id = a.id AND b.id < 30 RETURNING a.*",
        "WITH d AS (DELETE FROM b WHERE id < 20 RETURNING *) SELECT id, steadytext_generate(t) FROM d ORDER BY id",
        "SELECT ARRAY(SELECT $one FROM $source s$where), (SELECT $one FROM $source s ORDER BY id, t, u LIMIT 1)",
        "DECLARE c NO SCROLL CURSOR FOR $select; FETCH 3 FROM c; FETCH 4 FROM c",
        "PREPARE q(int) AS $select; EXECUTE q(1); EXECUTE q(2); DEALLOCATE q",
        "SELECT steadytext_generate(t) FROM a WHERE id = 1 FOR UPDATE",
    );
}

my %plans = (
    nestloop => 'SET enable_hashjoin = off; SET enable_mergejoin = off;',
    merge    => 'SET enable_hashjoin = off; SET enable_nestloop = off;',
    parallel => 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;',
    sorted   => 'SET enable_hashagg = off;',
    small    => q(SET work_mem = '64kB';),
    any      => '',
);

# Both ways in transactions that are rolled back. Only the rows of a parallel plan come in any order.
my $generated = sub { return $cluster->ask_daemon('stats') =~ /"generate":\s*(\d+)/ ? $1 : 0 };
my ($ahead, $moved, $failed, $differ, $more, $unexplained) = (0, 0, 0, 0, 0, 0);
for my $i (1 .. $most) {
    my $query = query();
    my $plan  = $ENV{STEADYTEXT_PLAN} // any(sort keys %plans);
    $plan = 'any' if $plan eq 'parallel' && $query =~ /ARRAY\(|LIMIT|FETCH/;  # with rows in any order they differ by themselves
    my (%result, %calls);
    for my $setting (any([ 'on', 'off' ], [ 'off', 'on' ])->@*) {
        $cluster->sql('SELECT steadytext_cache_clear()');
        my $before = $generated->();
        my $got = $cluster->try_sql("SET client_min_messages = error; SET steadytext.read_ahead = $setting; SET steadytext.reorder = $setting; $plans{$plan} BEGIN; $query; ROLLBACK");
        $calls{$setting} = $generated->() - $before;
        my $out = $got->{out};
        $out = join "\n", sort split /\n/, $out if $plan eq 'parallel' && $query !~ /ORDER BY/;
        $got->{err} =~ s/^CONTEXT:  parallel worker\n//mg;  # any of the processes may be the first to fail
        $result{$setting} = $got->{state} ? "$got->{state} $got->{err}" : $out;
    }
    my $explained = $query =~ /^(SELECT|INSERT|UPDATE|DELETE|WITH)/ ? $cluster->try_sql("$plans{$plan} EXPLAIN $query")->{out} : '';
    # steadytext_explain() looks into each plan, and runs parts of it.
    if ($explained ne '') {
        my $told = $cluster->try_sql("SET statement_timeout = '20s'; $plans{$plan} SELECT count(*) FROM steadytext_explain(\$q\$$query\$q\$)");
        if ($told->{state} ne '' || $told->{err} =~ /connection/) {
            $unexplained++;
            diag "query $i ($plan) is not explained: $query\n$told->{err}" if $unexplained <= 10;
        }
    }
    $ahead++ if $explained =~ /Read Ahead/;
    $moved++ if $explained && $explained ne $cluster->try_sql("SET steadytext.reorder = off; $plans{$plan} EXPLAIN $query")->{out};
    $failed++ if $result{off} =~ /^\w{5} .*ERROR/s;
    if ($result{on} ne $result{off}) {
        $differ++;
        diag "query $i ($plan): $query\n--- on:\n$result{on}\n--- off:\n$result{off}" if $differ <= 10;
    }
    # An error leaves calls in vain, a LIMIT at most as many as it took.
    if ($result{off} !~ /ERROR/ && $calls{on} > $calls{off} && $query !~ /LIMIT|FETCH/) {
        $more++;
        diag "query $i ($plan): $calls{on} requests instead of $calls{off}: $query\n$explained" if $more <= 10;
    }
}
note "$ahead of $most plans read ahead, $moved evaluate a condition after a join, $failed queries fail";
is($differ, 0, 'same rows, same errors');
is($more, 0, 'and not a request more');
is($unexplained, 0, 'steadytext_explain() tells what each would ask for');
cmp_ok($ahead, '>=', $most / 5, 'of which many read ahead');
ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'), 0, 5), 'no slot is in use');
ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":\s*0/ }, 10), 'the daemon does nothing');
done_testing;
