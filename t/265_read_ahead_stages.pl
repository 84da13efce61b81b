# Calls of a row that depend on others: behind a condition with a call, in CASE, COALESCE and FILTER, and calls within calls. They are asked ahead too, as soon as the
# calls before them are answered; no call more is made than without read-ahead, and rows, errors and what limits refuse are the same.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(
    daemon => 'echo',
    conf   => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000', 'jit = off', 'max_parallel_workers_per_gather = 0' ]
);
$cluster->ask_daemon('control', '{"slots": 64, "delay_ms": 5}');
$cluster->sql(q(CREATE TABLE docs (id int PRIMARY KEY, n int, body text, title text);
    INSERT INTO docs SELECT i, i % 7, format('doc %s <say music>%s</say><say sleep>%s</say>', i, CASE WHEN i % 2 = 0 THEN 'yes' ELSE 'no' END, CASE WHEN i % 3 = 0 THEN 'yes' ELSE 'no' END), 'title ' || i
        FROM generate_series(1, 300) i;
    ANALYZE docs; ));

my $music = q(steadytext_if('about the music', body));
my $sleep = q(steadytext_if('does it sleep', body));
my $asked = sub { return $cluster->ask_daemon('stats', '{}') =~ /"generate":\s*(\d+)/ ? $1 : 0 };

# What a script gives, with how many calls the daemon had.
sub told {
    my ($read_ahead, $settings, $script) = @_;
    my $before = $asked->();
    my $result = $cluster->try_sql("\\set ON_ERROR_STOP off\nSET steadytext.cache_enabled = off; SET steadytext.reorder = off; SET steadytext.read_ahead = $read_ahead; $settings\n$script");
    s/^psql:<stdin>:\d+: //mg, s/^LOCATION:.*\n//mg for $result->{out}, $result->{err};
    return { told => "$result->{out}\n$result->{err}", calls => $asked->() - $before };
}

for my $case (
    # the statement; the calls that it makes, of which all are begun ahead
    [ "SELECT id FROM docs WHERE $music AND $sleep" ],
    [ "SELECT id, steadytext_generate(title) FROM docs WHERE $music" ],
    [ "SELECT id, steadytext_generate(title) FROM docs WHERE n > 1 AND $music AND $sleep" ],
    [ "SELECT id, steadytext_generate('again ' || steadytext_generate('once ' || title)) FROM docs" ],
    [ "SELECT id, CASE WHEN n > 3 THEN steadytext_generate(title) ELSE 'x' END FROM docs" ],
    [ "SELECT id, CASE WHEN $music THEN steadytext_generate(title) WHEN $sleep THEN steadytext_generate(body) ELSE steadytext_generate('none of ' || id) END FROM docs" ],
    [ "SELECT id, coalesce(nullif(title, 'title 5'), steadytext_generate(body)), coalesce(steadytext_generate(title), 'none') FROM docs" ],
    [ "SELECT count(*) FILTER (WHERE $music), count(steadytext_generate(title)) FILTER (WHERE $sleep) FROM docs" ],
    [ "SELECT n, string_agg(steadytext_generate(title), ',' ORDER BY id) FROM docs WHERE $music GROUP BY n ORDER BY n" ],
    [ "SELECT id FROM docs WHERE (n > 3 AND $music) OR $sleep ORDER BY id" ],
    [ "SELECT id, $sleep IS NULL FROM docs WHERE NOT $music" ],
    [ "SELECT id, steadytext_generate(CASE WHEN $music THEN 'yes ' ELSE 'no ' END || title) FROM docs" ],
    [ "SELECT id, steadytext_generate('one of ten ' || id % 10) FROM docs WHERE $music" ],
    [ "SELECT id, steadytext_generate('again ' || steadytext_generate('one of ten ' || id % 10)) FROM docs" ],
) {
    my ($statement) = @$case;
    my ($on, $off) = map { told($_, '', $statement) } 'on', 'off';
    is($on->{told}, $off->{told}, "as without: $statement");
    cmp_ok($on->{calls}, '<=', $off->{calls}, "no more calls than the $off->{calls} without");
    my $plan = told('on', '', "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $statement")->{told};
    my ($begun) = $plan =~ /Calls Begun: (\d+)/;
    is(($plan =~ /Calls Taken: (\d+)/)[0], $begun, "all that is begun is taken ($begun)");
    cmp_ok(($plan =~ /Calls at Once: (\d+)/)[0], '>=', $begun < 40 ? 1 : 16, 'many at once');
    unlike($plan, qr/Row by Row/, 'and nothing is left to its turn');

    # From the cache all calls are answered at once, and nothing is waited for.
    $cluster->sql("SET steadytext.reorder = off; $statement");
    my ($cached, $in_turn) = map { $cluster->try_sql("SET steadytext.reorder = off; SET steadytext.read_ahead = $_; $statement") } 'on', 'off';
    is($cached->{out}, $in_turn->{out}, 'the same rows from the cache');
    cmp_ok($cached->{seconds}, '<', 4 * $in_turn->{seconds} + 0.5, sprintf 'in %.2f s for %.2f s', $cached->{seconds}, $in_turn->{seconds});
}
my $lateral = "SELECT d.id, l.id FROM docs d, LATERAL (SELECT e.id FROM docs e WHERE e.n = d.n AND steadytext_if('about the music', e.body) AND steadytext_if('does it sleep', e.body) ORDER BY e.id LIMIT 2) l WHERE d.id < 20 ORDER BY 1, 2";
$cluster->sql($lateral);
my ($cached, $in_turn) = map { $cluster->try_sql("SET steadytext.read_ahead = $_; $lateral") } 'on', 'off';
is($cached->{out}, $in_turn->{out}, 'anew for each row of a join: the same rows from the cache');
cmp_ok($cached->{seconds}, '<', 4 * $in_turn->{seconds} + 0.5, sprintf 'in %.2f s for %.2f s', $cached->{seconds}, $in_turn->{seconds});

# In a table with unequal texts each condition is asked of the rows that the one before lets pass: what a plan row by row asks.
is(told('on', '', "SELECT count(*) FROM docs WHERE $music AND $sleep")->{calls}, 450, '300 calls of the first condition, 150 of the second');

# The same errors, of the same row: a call that is to fail holds those behind it.
for my $case (
    "SELECT id, steadytext_generate(CASE WHEN id = 40 THEN ' ' ELSE title END) FROM docs WHERE $music",
    "SELECT id, steadytext_generate(CASE WHEN id = 40 THEN '!fault:error=broken' ELSE title END) FROM docs WHERE $music",
    "SELECT id, steadytext_generate(title) FROM docs WHERE steadytext_if('about the music', CASE WHEN id = 50 THEN '!fault:error=broken' ELSE body END)",
    "SELECT id, steadytext_generate(nullif(steadytext_generate(CASE WHEN id = 60 THEN 'stop' ELSE title END), 'stop')) FROM docs",
    "DECLARE c NO SCROLL CURSOR FOR SELECT steadytext_generate(title) FROM docs WHERE $music ORDER BY id; FETCH 5 FROM c; FETCH 7 FROM c",
    "SELECT id, steadytext_generate(title) FROM docs WHERE $music ORDER BY id LIMIT 7",
) {
    my ($on, $off) = map { told($_, '', "BEGIN; $case; COMMIT") } 'on', 'off';
    is($on->{told}, $off->{told}, "as without: $case");
}

# Arguments that are refused, of a call that only a later row makes: nothing is heard of them unless that row is wanted.
for my $bad (
    'steadytext_generate(title, 0)', 'steadytext_generate(title, seed => -5)', "steadytext_generate_regex(title, '(a')", "steadytext_classify(title, ARRAY['one'])",
    "steadytext_generate(title, model => 'http:x', unsafe_mode => true)", "steadytext_if(' ', title)::text", "steadytext_generate_json(title, '{\"type\": 5}')::text", "steadytext_generate(steadytext_generate(title), 0)",
) {
    for my $wanted (10, 60) {
        my ($on, $off) = map { told($_, '', "SELECT count(*) FROM (SELECT id FROM docs WHERE length(steadytext_generate(title)) > 0 AND (id <> 30 OR $bad IS NULL) LIMIT $wanted) q") } 'on', 'off';
        is($on->{told}, $off->{told}, "as without, $wanted rows are wanted: $bad");
    }
}

# Limits refuse the same call, and charge the same.
for my $settings ('SET steadytext.max_calls_per_statement = 100;', 'SET steadytext.max_tokens_per_statement = 600;') {
    my ($on, $off) = map { told($_, $settings, "SELECT id, steadytext_generate(title) FROM docs WHERE $music") } 'on', 'off';
    is($on->{told}, $off->{told}, "as without: $settings");
    like($on->{told}, qr/53400|more than/, 'refused');
}
for my $role ('on', 'off') {
    $cluster->sql(qq(CREATE ROLE "app_$role"; GRANT ALL ON docs TO "app_$role"; SELECT steadytext_rate_limit_set('app_$role', '*', requests => 101, per => '1 day')));
}
my %limited = map { $_ => told($_, qq(SET ROLE "app_$_";), "SELECT id, steadytext_generate(title) FROM docs WHERE $music")->{told} } 'on', 'off';
my %used = map { $_ => $cluster->sql("SELECT string_agg(concat_ws(' ', operation, used), ',' ORDER BY 1) FROM (SELECT to_jsonb(s)->>'operation' AS operation, to_jsonb(s)->>'used' AS used FROM steadytext_rate_limit_status s WHERE to_jsonb(s)::text LIKE '%app_$_\"%') q") } 'on', 'off';
like($limited{on}, qr/Rate limit/, 'a rate limit refuses');
is($limited{on} =~ s/[\d.]+ ?(?:ms|s|min|hours?|h)\b//gr =~ s/app_\w+//gr, $limited{off} =~ s/[\d.]+ ?(?:ms|s|min|hours?|h)\b//gr =~ s/app_\w+//gr, 'at the same call');
is($used{on}, $used{off}, "and has counted the same: $used{off}");

done_testing;
