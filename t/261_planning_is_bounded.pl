# Plans that no statement of a person has: what is looked at while planning is bounded, and can be cancelled.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'jit = off' ]);

# Each part of it is used twice by the next.
sub doubling {
    my ($n) = @_;
    my $with = join ', ', "c0 AS MATERIALIZED (SELECT 'a' || g AS a FROM generate_series(1, 2) g)",
        map { "c$_ AS MATERIALIZED (SELECT x.a FROM c" . ($_ - 1) . ' x, c' . ($_ - 1) . ' y LIMIT 1)' } 1 .. $n;
    return "WITH $with SELECT steadytext_generate(a) FROM c$n";
}

# Each is within the next.
sub nested {
    my ($n) = @_;
    my $text = "'x'";
    $text = "(SELECT max(y) FROM (VALUES ('b' || $text)) v(y))" for 1 .. $n;
    return "SELECT steadytext_generate('n' || $text || g) FROM generate_series(1, 2) g";
}

# Each column of a wide table named a thousand times, and a call in each of thousands of elements.
$cluster->sql('CREATE TABLE wide (' . join(', ', map { "c$_ int" } 0 .. 1599) . ')');
my $rows  = q(SELECT steadytext_generate('a' || c0::text), ARRAY[) . join(', ', ('ROW(wide.*)') x 1000) . '] FROM wide';
my $calls = 'SELECT ARRAY[' . join(', ', map { "steadytext_generate(c0::text, $_)" } 1 .. 5000) . '] FROM wide';

# Many calls behind the same large condition, of which each has a copy; and conditions within conditions, with a large one within all.
my $guarded = 'SELECT c0 FROM wide WHERE c1 > 2 AND (c0 <> ALL (ARRAY[' . join(', ', ('c0') x 6000) . ']) OR ARRAY[' . join(', ', map { "steadytext_generate(c1::text, $_)" } 1 .. 300) . '] IS NOT NULL)';
my $within  = "steadytext_classify(c0::text, ARRAY['a', 'b']) = ANY (ARRAY[" . join(', ', ('c1::text') x 5000) . '])';
$within = $_ % 2 ? "($within OR c0 > $_)" : "($within AND c0 < $_)" for 1 .. 400;
$within = "SELECT c0 FROM wide WHERE c1 > 2 AND $within";

my $off = 'SET steadytext.read_ahead = off; SET steadytext.reorder = off;';
for my $query (doubling(45), nested(150), doubling(3), nested(3), $rows, $calls, $guarded, $within) {
    my $plain = $cluster->try_sql("$off SET statement_timeout = '60s'; EXPLAIN $query");
    is($plain->{state}, '', substr($query, 0, 60) . ' ... is planned by PostgreSQL') or diag $plain->{err};
    my $ours = $cluster->try_sql("SET statement_timeout = '60s'; EXPLAIN $query");
    is($ours->{state}, '', 'with read-ahead too');
    cmp_ok($ours->{seconds}, '<=', 4 * $plain->{seconds} + 2, sprintf 'in %.2f s for %.2f s', $ours->{seconds}, $plain->{seconds});
    is($cluster->try_sql("SET statement_timeout = '60s'; SELECT count(*) FROM steadytext_explain(\$q\$$query\$q\$)")->{state}, '', 'and explained');
}
# A condition is evaluated once for a row, however many calls are behind it and however large it is.
$cluster->sql(q(CREATE TABLE texts AS SELECT i AS id, 'text ' || i AS body, repeat(md5(i::text), 100000) AS big FROM generate_series(1, 5) i));
my $behind = join ', ', map { "steadytext_generate(body, $_)" } 1 .. 300;
my $list   = '{' . join(',', 10 .. 300000) . '}';
for my $case (
    [ 'a large constant',  "SELECT count(*) FROM texts WHERE id <> ALL ('$list'::int[]) OR ARRAY[$behind] IS NOT NULL" ],
    [ 'a large parameter', "SET plan_cache_mode = force_generic_plan; PREPARE q(int[]) AS SELECT count(*) FROM texts WHERE id <> ALL (\$1) OR ARRAY[$behind] IS NOT NULL; EXECUTE q('$list')" ],
    [ 'a large column',    "SELECT count(*) FROM texts WHERE length(big) > 3 OR ARRAY[$behind] IS NOT NULL" ],
) {
    my ($name, $query) = @$case;
    my ($plain, $ours) = map { $cluster->try_sql("$_ SET steadytext.reorder = off; SET statement_timeout = '60s'; $query") } 'SET steadytext.read_ahead = off;', '';
    is($ours->{out}, 5, "300 calls behind a condition with $name, which is true of all rows") or diag $ours->{err};
    cmp_ok($ours->{seconds}, '<=', 4 * $plain->{seconds} + 2, sprintf 'in %.2f s for %.2f s', $ours->{seconds}, $plain->{seconds});
}
done_testing;
