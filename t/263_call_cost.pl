# What PostgreSQL's planner is told of calls: the rows that a condition lets pass, and the time of daemons for a call over what they work on at once.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'jit = off', 'max_parallel_workers_per_gather = 0' ]
);
$cluster->ask_daemon('control', '{"slots": 16, "delay_ms": 1}');
$cluster->sql(q(CREATE TABLE docs (id int PRIMARY KEY, body text); INSERT INTO docs SELECT i, format('doc %s <say music>%s</say><say sleep>yes</say>', i, CASE WHEN i % 20 = 0 THEN 'yes' ELSE 'no' END) FROM generate_series(1, 1000) i; ANALYZE docs;
    CREATE ROLE app; CREATE ROLE other; GRANT ALL ON docs TO app, other;));

# The rows that the planner expects, and the cost of a row.
sub told {
    my ($settings, $condition) = @_;
    my ($cost, $rows) = $cluster->sql("$settings EXPLAIN SELECT id FROM docs WHERE $condition") =~ /Seq Scan on docs .*\.\.([\d.]+) rows=(\d+)/ or return;
    return { cost => $cost / 1000, rows => $rows };
}
my $music = q(steadytext_if('about the music', body));
my $as    = sub { my ($role, $condition, $settings) = @_; return told("SET ROLE $role; SET steadytext.read_ahead = on; " . ($settings // ''), $condition) };
is($as->('app', $music)->{rows}, 333, 'before any call: what PostgreSQL takes a function for');
$cluster->sql("SET ROLE app; SELECT count(*) FROM docs WHERE $music");
is($as->('app',   $music)->{rows},                          50,  'then as many as the answers have shown');
is($as->('app',   "NOT $music")->{rows},                    950, 'and the others');
is($as->('app',   $music =~ s/steadytext_/st_/r)->{rows},   50,  'by the short name');
is($as->('other', $music)->{rows},                          333, 'another role learns nothing of it');
is($as->('app',   q(steadytext_if('another', body)))->{rows}, 333, 'another question is another');
is($as->('app',   $music, 'SET steadytext.reorder = off;')->{rows}, 333, 'steadytext.reorder = off');
is($cluster->sql("SET ROLE app; SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT id FROM docs WHERE steadytext_if(\$1, body); EXPLAIN EXECUTE p('about the music')") =~ /rows=(\d+)/ && $1,
    333, 'a question that is not known yet');

# Constants are told apart by their places and types, and NULL is one.
$cluster->sql(q(SET ROLE app; CREATE TEMP TABLE kinds AS SELECT i AS id, format('kind %s <say label>%s</say>', i, CASE WHEN i % 3 = 0 THEN 'good' ELSE 'bad' END) AS body FROM generate_series(1, 60) i;
    SELECT count(steadytext_classify(body, ARRAY['good', 'bad'])) FROM kinds;));
for my $call (q(steadytext_classify(CASE WHEN body = ANY (ARRAY['good', 'bad']) THEN body END, NULL) = 'good'), q(steadytext_generate_choice(body || 'good' || 'bad', NULL) = 'good'),
    q(steadytext_if(NULL, body || 'about the music')), q(steadytext_if('', body || 'about the music'))) {
    is($cluster->try_sql("SET ROLE app; EXPLAIN SELECT id FROM docs WHERE $call AND length(body) > 3")->{state}, '', "planned: $call");
}

# A unit of cost is ten microseconds of a slot.
my $sleep = q(steadytext_if('will it sleep', body));
cmp_ok($as->('app', $music)->{cost}, '<', 100, 'a short call');
$cluster->sql('SELECT steadytext_stat_reset()');
is($as->('app', $music)->{rows}, 333, 'steadytext_stat_reset() forgets');
$cluster->ask_daemon('control', '{"delay_ms": 160}');
$cluster->sql("SET ROLE app; SELECT count(*) FROM docs WHERE id <= 64 AND $sleep");
my $long = $as->('app', $sleep)->{cost};
cmp_ok($long, '>=', 160_000 / 10 / 128, "a long call costs its time over what is under way at once ($long)");
cmp_ok($as->('app', $sleep, 'SET steadytext.read_ahead = off;')->{cost}, '>', 2 * $long, 'without read-ahead, its time');
is($as->('app', $music)->{cost}, $long, 'all of a kind cost the same, so that they stay in their order');
cmp_ok($as->('app', q(steadytext_generate(body) = 'x'))->{cost}, '<', 100, 'another kind has its own cost');
is($as->('app', $sleep, 'SET steadytext.reorder = off;')->{cost} < 10, 1, 'steadytext.reorder = off');

cmp_ok($as->('other', q(steadytext_generate(body) = 'x'))->{cost}, '>=', 2.5, 'a call of a kind that nobody has made yet');
ok($cluster->sql(q(SELECT bool_and(prosupport = '_steadytext.call_support'::regproc) FROM pg_proc WHERE proname ~ '^(steadytext|st)_(generate|embed|generate_json|generate_regex|generate_choice|if|classify|classify_all|score)$' AND prolang = 13)), 'each function that makes calls has it');
is($cluster->sql(q(SELECT has_function_privilege('app', '_steadytext.call_support(internal)', 'EXECUTE'))), 'f', 'nobody else may call it');
done_testing;
