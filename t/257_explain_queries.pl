# Statements made by chance, of subqueries within subqueries and LATERAL, whose texts have values of any part of them: each is explained, or refused as
# the statement itself is.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $seed = $ENV{STEADYTEXT_SEED} // 1;
my $most = $ENV{STEADYTEXT_QUERIES} // 400;
srand $seed;
note "STEADYTEXT_SEED=$seed";

my $cluster = SteadyText::Cluster->new(daemon => 'echo', conf => [ "steadytext.on_failure = 'error'", 'jit = off' ]);
$cluster->sql(q(CREATE TABLE few AS SELECT i, 'few ' || i AS y FROM generate_series(1, 5) i; CREATE UNIQUE INDEX ON few (i);
    CREATE TABLE pairs AS SELECT i, 'pair ' || i AS y FROM generate_series(1, 4) i; ANALYZE few, pairs));

sub any { return $_[ int rand @_ ] }
my $names = 0;
sub name  { return 't' . ++$names }
sub table { my ($name) = @_; return any("(VALUES ('p'), ('q')) $name(y)", "few $name(i, y)", "pairs $name(i, y)", "(SELECT y FROM few OFFSET 0) $name") }

# A text, in which the columns `y` of the tables in scope may be.
sub text {
    my ($depth, @scope) = @_;
    my $kind = rand;
    return @scope ? any(any(@scope) . '.y', "'k'") : "'k'" if $depth <= 0 || $kind < 0.45;
    return text($depth - 1, @scope) . ' || ' . text($depth - 1, @scope) if $kind < 0.7;
    my $name = name();
    my @inner = ($depth - 1, @scope, $name);
    return any(
        sub { "(SELECT max(" . text(@inner) . ') FROM ' . table($name) . ')' },
        sub { '(SELECT ' . text(@inner) . ' FROM ' . table($name) . ' LIMIT 1)' },
        sub { '(SELECT ' . text(@inner) . " FROM few $name(i, y) WHERE i = 3)" },
        sub { '(SELECT count(*)::text FROM ' . table($name) . ' WHERE ' . text(@inner) . ' <> ' . text(@inner) . ')' },
        sub { 'CASE WHEN EXISTS (SELECT FROM ' . table($name) . ' WHERE ' . text(@inner) . ' = ' . text(@inner) . ") THEN 'e' ELSE " . text($depth - 1, @scope) . ' END' },
    )->();
}
sub call { return 'steadytext_generate(' . text(@_) . ')' }

sub query {
    my ($depth, @scope) = @_;
    my ($one, $two) = (name(), name());
    my $within = sub { return $depth > 0 ? query($depth - 1, @_) : 'SELECT 1::text AS y' };
    return any(
        sub { 'SELECT ' . call($depth, @scope, $one) . ' AS y FROM ' . table($one) },
        sub { 'SELECT count(' . call($depth, @scope, $one) . ')::text AS y FROM ' . table($one) },
        sub { "SELECT $two.y FROM " . table($one) . ', LATERAL (' . $within->(@scope, $one) . " OFFSET 0) $two" },
        sub { "SELECT $two.y FROM " . table($one) . ' LEFT JOIN LATERAL (' . $within->(@scope, $one) . ") $two ON true" },
        sub { "SELECT $one.y FROM " . table($one) . ' JOIN ' . table($two) . " ON $one.y = $two.y WHERE " . call($depth, @scope, $one, $two) . ' <> ' . text(1, @scope, $one, $two) },
        sub { 'WITH w AS MATERIALIZED (' . $within->(@scope) . ') SELECT ' . call($depth, @scope, 'w') . ' AS y FROM w' },
        sub { 'SELECT (SELECT string_agg(' . call($depth, @scope, $one, $two) . ", '') FROM " . table($two) . ') AS y FROM ' . table($one) },
        sub { 'SELECT ' . call($depth, @scope, $one) . ' AS y FROM ' . table($one) . ' WHERE ' . text($depth, @scope, $one) . " <> 'x' ORDER BY 1 LIMIT 3" },
    )->();
}

my $started = $cluster->sql('SELECT pg_postmaster_start_time()');
my ($explained, $known) = (0, 0);
my @wrong;
for my $i (1 .. $most) {
    my $query = query(3);
    $query = 'UPDATE few SET y = ' . call(2, 'few') . ' WHERE ' . text(3, 'few') . " <> 'z' AND EXISTS (SELECT FROM ($query) q)" if rand() < 0.25;
    my $plan  = any('', 'SET enable_hashjoin = off; SET enable_mergejoin = off;');
    my $limit = q(SET statement_timeout = '60s';);
    my $plain = $cluster->try_sql("$plan $limit EXPLAIN $query");
    my $told  = $cluster->try_sql("$plan $limit SELECT sum(calls) FROM steadytext_explain(\$q\$$query\$q\$)");
    push @wrong, "$i: $told->{state} instead of $plain->{state}: $query\n$told->{err}" if $told->{state} ne $plain->{state} || $told->{err} =~ /connection/;
    next if $told->{state} ne '';
    $explained++;
    $known++ if $told->{out} ne '';
}
is(join("\n", @wrong), '', 'each is explained, or refused as the statement is');
cmp_ok($explained, '>=', $most / 2, "$explained of $most are");
cmp_ok($known, '>=', $most / 20, "of $known the calls are known");
is($cluster->sql('SELECT pg_postmaster_start_time()'), $started, 'the server goes on');
done_testing;
