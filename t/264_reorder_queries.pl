# Queries made by chance, whose conditions make calls: the same rows whether or not these change their places (steadytext.reorder). Joins of all kinds, unique columns,
# partitions, subqueries, conditions on two tables, in ON and in WHERE, behind AND, OR and NOT; plans that the planner's settings change. STEADYTEXT_SEED makes others.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $seed = $ENV{STEADYTEXT_SEED} // 264;
my $many = $ENV{STEADYTEXT_QUERIES} // 120;
srand $seed;
note("STEADYTEXT_SEED=$seed");
my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'jit = off', 'max_parallel_workers_per_gather = 0' ]);
my $says    = q(format('%s <say music>%s</say><say plot>%s</say><say label>%s</say>', t, CASE WHEN i * 7 % 5 < 2 THEN 'yes' ELSE 'no' END, CASE WHEN i * 11 % 7 < 4 THEN 'yes' ELSE 'no' END,
    (ARRAY['good', 'bad', 'mixed'])[i * 13 % 3 + 1]));
$cluster->sql(qq(CREATE TABLE a (id int PRIMARY KEY, k int, n int, txt text);
    INSERT INTO a SELECT i, i % 17, nullif(i % 6, 0), $says FROM generate_series(1, 90) i, LATERAL (SELECT 'a ' || i AS t) x;
    CREATE TABLE b (id int PRIMARY KEY, k int UNIQUE, n int, txt text UNIQUE);
    INSERT INTO b SELECT i, i * 2, nullif(i % 5, 0), $says FROM generate_series(1, 30) i, LATERAL (SELECT 'b ' || i AS t) x;
    CREATE TABLE c (id int, k int, n int, txt text); CREATE INDEX ON c (k);
    INSERT INTO c SELECT i, i % 23, nullif(i % 4, 0), CASE WHEN i % 9 > 0 THEN $says END FROM generate_series(1, 120) i, LATERAL (SELECT 'c ' || i % 40 AS t) x;
    CREATE TABLE p (id int, k int, n int, txt text) PARTITION BY RANGE (id);
    CREATE TABLE p_0 PARTITION OF p FOR VALUES FROM (0) TO (40); CREATE TABLE p_1 (gone int, txt text, n int, k int, id int); ALTER TABLE p_1 DROP COLUMN gone;
    ALTER TABLE p ATTACH PARTITION p_1 FOR VALUES FROM (40) TO (1000); INSERT INTO p SELECT i, i % 13, nullif(i % 3, 0), $says FROM generate_series(1, 80) i, LATERAL (SELECT 'p ' || i AS t) x;
    ANALYZE;));

my $any = sub { return $_[ rand @_ ] };

sub cheap {
    my @names = @_;
    my ($x, $y) = map { $any->(@names) } 1, 2;
    return $any->("$x.n = " . int(rand 4), "$x.k < " . int(rand 20), "$x.id % 3 = 1", "$x.n IS NULL", "$x.id < $y.id + 20", "$x.txt LIKE '%1%'");
}

sub with_call {
    my @names = @_;
    my ($x, $y) = map { $any->(@names) } 1, 2;
    return $any->("steadytext_if('about the music', $x.txt)", "steadytext_if('about the plot', $x.txt)", "NOT steadytext_if('about the plot', $x.txt)",
        "steadytext_classify($x.txt, ARRAY['good', 'bad', 'mixed']) = 'good'", "steadytext_classify($x.txt, ARRAY['good', 'bad', 'mixed']) IN ('bad', 'mixed')",
        "steadytext_if('about the music', $x.txt || $y.txt)", "steadytext_generate($x.txt) = $y.txt", "steadytext_generate($x.txt) LIKE '%3%'", "steadytext_if('about the music', $x.txt) IS NOT TRUE");
}

sub condition {
    my ($depth, @names) = @_;
    my $kind = rand;
    return cheap(@names) if $kind < 0.3;
    return with_call(@names) if $kind < 0.7 || $depth > 1;
    return '(' . condition($depth + 1, @names) . $any->(' OR ', ' AND ', ' OR ') . condition($depth + 1, @names) . ')' if $kind < 0.85;
    my $x     = $any->(@names);
    my $inner = $any->('a', 'b', 'c', 'p');
    my $more  = rand() < 0.4 ? ' AND ' . condition(2, 's') : '';
    return $any->("EXISTS (SELECT FROM $inner s WHERE s.k = $x.k$more)", "NOT EXISTS (SELECT FROM $inner s WHERE s.k = $x.k$more)", "$x.k IN (SELECT s.n FROM $inner s WHERE true$more)",
        "(SELECT count(*) FROM $inner s WHERE s.n = $x.n) > 10", "$x.k NOT IN (SELECT s.k FROM $inner s WHERE s.k IS NOT NULL AND s.id < 30)");
}

sub query {
    my @names = ('t1');
    my $from  = $any->('a', 'b', 'c', 'p') . ' t1';
    for my $i (2 .. 1 + int(rand 4)) {
        my $join = $any->('JOIN', 'JOIN', 'JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN');
        my $to   = $any->(@names);
        push @names, "t$i";
        my $on = $any->("t$i.k = $to.k", "t$i.k = $to.n", "t$i.id = $to.id", "t$i.id = $to.k");
        $on .= ' AND ' . condition(1, @names) if rand() < 0.3 && $join ne 'FULL JOIN';
        $from .= ' ' . $join . ' ' . $any->('a', 'b', 'c', 'p') . " t$i ON $on";
    }
    my $where = join ' AND ', map { condition(0, @names) } 1 .. 1 + int(rand 3);
    my $list  = join ', ', map { "$_.id" } @names;
    return rand() < 0.2 ? "SELECT $names[0].k, count(*), min($names[-1].id) FROM $from WHERE $where GROUP BY 1" : "SELECT $list FROM $from WHERE $where";
}

my ($moved, $rows) = (0, 0);
for my $number (1 .. $many) {
    my $query = query();
    my $plans = join '', map { rand() < 0.25 ? "SET enable_$_ = off; " : '' } qw(hashjoin mergejoin nestloop material memoize seqscan indexscan);
    my %told;
    for my $setting ('off', 'on') {
        my $got = $cluster->try_sql("$plans SET steadytext.reorder = $setting; SET statement_timeout = '60s'; $query");
        $told{$setting} = join("\n", sort(split /\n/, $got->{out}), $got->{err});
    }
    is($told{on}, $told{off}, "query $number") or diag("$plans $query") if $told{off} !~ /ERROR/;    # of a call that need not be made
    $rows += () = $told{on} =~ /\n/g;
    my @plan = map { my $setting = $_; $cluster->try_sql("$plans SET steadytext.reorder = $setting; SET steadytext.read_ahead = off; EXPLAIN (COSTS OFF) $query")->{out} } 'on', 'off';
    $moved++ if $plan[0] ne $plan[1];
}
cmp_ok($moved, '>', $many / 10, "$moved of $many plans have conditions in other places, $rows rows in all");
done_testing;
