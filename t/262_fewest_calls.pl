# The set of statements in t/data/fewest_calls.sql: the rows of PostgreSQL's plan, never more calls than it makes, and hardly more than the fewest
# possible; and what the order of two conditions is made of: each role's own answers. The daemon counts.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0' ]
);
my $stat = sub { my ($name) = @_; return $cluster->ask_daemon('stats', '{}') =~ /"$name":\s*(\d+)/ ? $1 : 0 };
$cluster->ask_daemon('control', '{"delay_ms": 2}');    # as long as a call takes by chance is nothing beside it
my $text = do { local (@ARGV, $/) = ('t/data/fewest_calls.sql'); <> };
my ($setup) = $text =~ /^-- setup\n(.*?)^-- query/ms;
$cluster->sql($setup =~ s/:rows/200/r);

sub told {
    my ($settings, $statement) = @_;
    $cluster->sql('SELECT steadytext_cache_clear()');
    my $before = $stat->('generate');
    my $result = $cluster->try_sql("$settings $statement");
    return { rows => join("\n", sort(split /\n/, $result->{out}), $result->{err}), calls => $stat->('generate') - $before };
}

my ($number, $sum, $fewest_sum) = (0, 0, 0);
while ($text =~ /^-- query: ([^\n]*)\n(.*?)^-- fewest\n(.*?)(?=^-- |\z)/msg) {
    my ($name, $statement, $count) = ($1, $2, $3);
    my $fewest = $cluster->sql($count);
    my $plain  = told('SET steadytext.reorder = off; SET steadytext.read_ahead = off;', $statement);
    my $in_turn = told('SET steadytext.read_ahead = off;', $statement);
    my $ours    = told('', $statement);
    is($ours->{rows},    $plain->{rows}, "$name: the same rows");
    is($in_turn->{rows}, $plain->{rows}, "$name: the same without read-ahead");
    cmp_ok($ours->{calls},    '<=', 1.02 * $fewest,  "$name: $ours->{calls} calls, $fewest are the fewest, $plain->{calls} are PostgreSQL's");
    cmp_ok($ours->{calls},    '<=', $plain->{calls}, "$name: no more than PostgreSQL's");
    cmp_ok($in_turn->{calls}, '<=', $plain->{calls}, "$name: nor without read-ahead");
    $number++;
    $sum        += $ours->{calls};
    $fewest_sum += $fewest;
}
cmp_ok($number, '>=', 20, "$number statements");
cmp_ok($sum, '<=', 1.02 * $fewest_sum, "$sum calls, $fewest_sum are the fewest");

# A mark compared with a number, on its way over a join.
is(told('', q(SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999 AND steadytext_score('suspense', r.body) >= 0))->{calls},
    $cluster->sql('SELECT count(*) FROM reviews r JOIN movies m ON m.id = r.movie WHERE m.year = 1999'), 'a mark');

# ---- what the order is made of --------------------------------------------------------------------------------------

$cluster->sql(q(CREATE ROLE app; CREATE ROLE other; GRANT ALL ON reviews, movies TO app, other;
    CREATE VIEW barrier WITH (security_barrier) AS SELECT * FROM reviews WHERE steadytext_if('about the plot', body); GRANT SELECT ON barrier TO app;));
my $both = q(steadytext_if('about the plot', body) AND steadytext_if('about the music', body));
my $first = sub { my ($settings, $statement) = @_; return $cluster->sql("$settings EXPLAIN (COSTS OFF) $statement") =~ /Filter: .*?about the (\w+)/ ? $1 : '' };
my $asked = sub { my ($role) = @_; return $first->("SET ROLE $role;", "SELECT id FROM reviews WHERE $both") };
is($asked->('app'), 'plot', 'a role that has asked nothing yet: as written');
$cluster->sql("SET ROLE app; SELECT count(*) FROM reviews WHERE $both");
is($asked->('app'),   'music', 'once it has: the one that drops more');
is($asked->('other'), 'plot',  'another role learns nothing of it');
is($first->("SET ROLE other; SET steadytext.cache_scope = 'database';", "SELECT id FROM reviews WHERE $both"), 'plot', 'nor by a setting') if $cluster->try_sql("SET ROLE other; SET steadytext.cache_scope = 'database'")->{err} eq '';
is($first->('SET ROLE app; SET steadytext.reorder = off;', "SELECT id FROM reviews WHERE $both"), 'plot', 'steadytext.reorder = off');
unlike($cluster->sql("SET ROLE app; EXPLAIN (COSTS OFF) SELECT id FROM barrier WHERE steadytext_if('about the music', body)"),
    qr/Filter: .*about the music.*about the plot/, 'not past a security barrier');
is($first->('SET ROLE app; SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS ' . "SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND steadytext_if(\$1, body);", "EXECUTE p('about the music')"),
    'plot', 'a question that is not known yet');
is($first->('SET ROLE app;', "SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND st_if('about the music', body)"), 'music', 'a short name is the same function');
# PostgreSQL puts the last last, by what it takes functions for.
my $last = q((((((steadytext_if('about the music', body) > false) > false) > false) > false) > false));
is($first->('SET ROLE app;', "SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND 10 / length(steadytext_if('about the plot', body)::text) >= 0 AND $last"),
    'plot', 'not past what may raise an error');
is($first->('SET ROLE app;', "SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND $last"), 'music', 'but past what may not');

# What comes first is asked about texts that the other one kept from it. So it must take them as the other one does.
$cluster->sql("SET ROLE app; SELECT count(*) FROM reviews WHERE steadytext_generate_choice(body, ARRAY['music', 'warm', 'cold']) = 'music'");
is($first->('SET ROLE app;', "SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND steadytext_generate_choice(body, ARRAY['music', 'warm', 'cold']) = 'music'"), 'plot', 'one that refuses NULL stays');
is($first->('SET ROLE app;', "SELECT id FROM reviews WHERE steadytext_if('about the plot', body) AND steadytext_if('about the music', body || '')"), 'plot', 'one about another text too');
$cluster->sql("SELECT steadytext_stat_reset()");
is($asked->('app'), 'plot', 'steadytext_stat_reset() forgets');
$cluster->sql("SET steadytext.track_calls = off; SET ROLE app; SELECT count(*) FROM reviews WHERE $both");
is($asked->('app'), 'plot', 'steadytext.track_calls = off counts nothing');

# The one whose calls take longer drops more, but not for the time that it takes.
$cluster->sql('SELECT steadytext_cache_clear()');
$cluster->ask_daemon('control', '{"delay_ms": 30}');
$cluster->sql("SET ROLE app; SELECT count(*) FROM reviews WHERE steadytext_if('about the music', body)");
$cluster->ask_daemon('control', '{"delay_ms": 2}');
$cluster->sql("SET ROLE app; SELECT count(*) FROM reviews WHERE steadytext_if('about the plot', body)");
is($first->('SET ROLE app;', "SELECT id FROM reviews WHERE steadytext_if('about the music', body) AND steadytext_if('about the plot', body)"), 'plot', 'by the time that calls take');
done_testing;
