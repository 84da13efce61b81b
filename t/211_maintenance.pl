# Maintenance that evaluates an index's expressions: what it puts into an index is an answer or nothing, whoever does it. Only ANALYZE, which samples, asks
# no daemon.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.breaker_threshold = 1000000', "steadytext.request_timeout = '10s'", 'autovacuum_naptime = 1s',
    'autovacuum_vacuum_threshold = 100000000', 'autovacuum_vacuum_insert_threshold = -1', 'autovacuum_analyze_threshold = 100000000' ]);
plan skip_all => 'this server comes without contrib modules' if $cluster->sql(q(SELECT count(*) FROM pg_available_extensions WHERE name IN ('pageinspect', 'amcheck'))) < 2;
$cluster->sql('CREATE EXTENSION pageinspect; CREATE EXTENSION amcheck; CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN');

# A table of alice's with rows of bob's, whose answers are in his cache. A page has four rows, so a range has sixteen.
my $rows = 200;
sub make {
    my ($table, $options) = @_;
    $cluster->sql("CREATE TABLE $table (id int, body text) WITH (fillfactor = 10); CREATE INDEX ${table}_i ON $table USING brin (steadytext_generate(body)) WITH (pages_per_range = 4$options);
        ALTER TABLE $table OWNER TO alice; GRANT INSERT, SELECT ON $table TO bob");
    $cluster->sql("INSERT INTO $table SELECT i, '$table ' || i FROM generate_series(1, $rows) i", user => 'bob');
}
sub ranges { my ($table) = @_; return $cluster->sql("SELECT count(*) FROM brin_revmap_data(get_raw_page('${table}_i', 1)) p(tid) WHERE tid <> '(0,0)'") }
# How many of five rows an index scan finds.
sub found {
    my ($table) = @_;
    return $cluster->sql("SET enable_seqscan = off; SELECT " . join ' + ', map { "(SELECT count(*) FROM $table WHERE steadytext_generate(body) = '$table $_')" } 1, 50, 100, 150, $rows);
}
# Runs while no daemon answers.
sub silenced {
    my ($sql) = @_;
    kill 'STOP', my $daemon = $cluster->echo_pid;
    my $result = $cluster->try_sql("SET steadytext.request_timeout = '200ms'; $sql");
    kill 'CONT', $daemon;
    ok($cluster->poll_until(q(SET client_min_messages = error; SELECT steadytext_generate('anybody?', use_cache => false)), 'anybody?'), 'a daemon answers again');
    return $result;
}

my %ways = (
    vacuumed   => 'VACUUM %s',
    analyzed   => 'VACUUM (ANALYZE) %s',
    summarized => q(SELECT brin_summarize_new_values('%s_i') > 0),
    by_range   => q(SELECT sum(brin_summarize_range('%s_i', block)) > 0 FROM generate_series(0, 60, 4) block),
);
for my $table (sort keys %ways) {
    make($table, '');
    my $before = ranges($table);
    my $sql = sprintf $ways{$table}, $table;
    like(silenced($sql)->{err}, qr/ERROR.*no answer within.*stores its rows, so it is given no fallback/s, "$sql: an error where no daemon answers");
    is(found($table), 5, "$sql: an index scan finds the rows then");
    $cluster->sql($sql);
    cmp_ok(ranges($table), '>', $before, "$sql: there are more summaries after it");
    is(found($table), 5, "$sql: and an index scan finds the rows");
}

# Autovacuum's work items.
make('automatic', ', autosummarize = on');
ok($cluster->wait_for(sub { ranges('automatic') > 1 }), 'autovacuum makes summaries');
is(found('automatic'), 5, 'and an index scan finds the rows');

# ANALYZE, by hand and by autovacuum, asks no daemon.
sub asked { return $cluster->sql('SELECT coalesce(sum(requests), 0) FROM steadytext_daemons') }
make('sampled', '');
$cluster->sql('CREATE INDEX ON sampled (length(steadytext_generate(body)))');
$cluster->sql('SELECT steadytext_cache_clear()');
my $asked = asked();
$cluster->sql('ANALYZE sampled');
is(asked(), $asked, 'ANALYZE asks no daemon');
is($cluster->sql("SELECT max(null_frac) FROM pg_stats WHERE tablename LIKE 'sampled%length%'"), 1, 'for it what is not cached is NULL');
$cluster->sql(q(INSERT INTO sampled SELECT i, 'more ' || i FROM generate_series(1, 20) i; SELECT steadytext_cache_clear()));
$asked = asked();
$cluster->sql('ALTER TABLE sampled SET (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0)');
ok($cluster->poll_until(q(SELECT autoanalyze_count > 0 FROM pg_stat_user_tables WHERE relname = 'sampled'), 't'), 'autovacuum analyzes');
is(asked(), $asked, 'and asks no daemon');
done_testing;
