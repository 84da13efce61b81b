# Summaries of more than a model's window holds, by an engine that refuses longer prompts; many requests at once, few in all; interrupted,
# refused by limits, and what is left in the cache.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;
use Time::HiRes qw(time);

# An engine with a window of some 500 tokens, which answers with the prompt.
my $engine  = SteadyText::Engine->new(options => [ '--window', 1500, '--answer-ms', 20 ]);
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", sprintf "steadytext.daemons = '%s'", $engine->url ]);
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'the engine is ready');
$cluster->sql(q(CREATE TABLE reports AS SELECT i, format('Report %s: %s', i, repeat(md5(i::text) || ' ', 1)) AS body FROM generate_series(1, 1000) i));
my $summary = q(SELECT steadytext_summarize(body, '{}') FROM reports);

# ---- a thousand rows, more than twenty windows of this engine ------------------------------------------------------------------
{
    cmp_ok($cluster->sql('SELECT sum(length(body)) FROM reports'), '>', 20 * 1500, 'twenty times the window');
    my $result = $cluster->try_sql($summary);
    is($result->{err}, '', 'is summarised without a warning');
    like($result->{out}, qr/^These are summaries of parts of the following texts\. There are 1000 texts/, 'in parts');
    cmp_ok($engine->count('longest'), '<=', 1500, 'no request is beyond the window');
    cmp_ok($engine->count('beyond'), '<=', 40, 'few were refused before parts became small enough');
    cmp_ok($engine->count('/v1/chat/completions') - $engine->count('beyond'), '<=', 128, 'few are needed');
    cmp_ok($engine->count('at_once'), '>', 2, 'many at once');
    is($cluster->sql(q(SELECT breaker FROM steadytext_daemons)), 'closed', 'the engine is not to blame');
    my $asked = $engine->count('/v1/chat/completions');
    is($cluster->sql($summary), $result->{out}, 'the same again');
    cmp_ok($engine->count('/v1/chat/completions') - $asked, '<=', 40, 'mostly from the cache');
    is($cluster->sql(q(SET steadytext.on_failure = 'auto'; CREATE TABLE kept AS SELECT steadytext_summarize(body, '{}') AS answer FROM reports; SELECT answer FROM kept)), $result->{out}, 'a statement may store it');
}

# ---- what cannot be made to fit ------------------------------------------------------------------------------------------------
{
    my $small = SteadyText::Engine->new(options => [ '--window', 100 ]);
    $cluster->append_conf(sprintf "steadytext.daemons = '%s'", $small->url);
    $cluster->reload;
    ok($cluster->poll_until(sprintf(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND endpoint LIKE '%%%d%%'), $small->{port}), 1), 'an engine with hardly a window');
    my $refused = $cluster->try_sql(q(SELECT steadytext_summarize(repeat('long ', 1000), '{}')));
    is($refused->{state}, '38000', 'where no part fits it is an error');
    like($refused->{err}, qr/maximum context length/, 'in the words of the engine');
    cmp_ok($small->count('/v1/chat/completions'), '<=', 128, 'after few requests');
    my $fallback = $cluster->try_sql(q(SET steadytext.on_failure = 'auto'; SELECT steadytext_summarize(repeat('long ', 1000), '{}')));
    is($fallback->{out}, 'Unable to generate summary', 'or a fallback');
    is(scalar(() = $fallback->{err} =~ /WARNING/g), 1, 'with one warning');
    is($cluster->try_sql(q(SET steadytext.on_failure = 'auto'; CREATE TABLE stored AS SELECT steadytext_summarize(repeat('long ', 1000), '{}')))->{state}, '38000', 'which is not stored');
    is($cluster->sql(q(SET client_min_messages = error; SET steadytext.on_failure = 'auto'; SELECT steadytext_extract_facts('One is odd here. Two is even.'))),
        '{"facts": ["One is odd here.", "Two is even."]}', 'facts are sentences then');
    is($cluster->sql(q(SET client_min_messages = error; SET steadytext.on_failure = 'null'; SELECT steadytext_extract_facts('One is odd here.') IS NULL)), 't', 'or NULL');
    $cluster->append_conf(sprintf "steadytext.daemons = '%s'", $engine->url);
    $cluster->reload;
    ok($cluster->poll_until(sprintf(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND endpoint LIKE '%%%d%%'), $engine->{port}), 1), 'the first engine again');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE response LIKE 'Unable%' OR response LIKE '[steadytext%')), 0, 'no fallback is cached');
}

# ---- an end before the end -------------------------------------------------------------------------------------------------------
{
    $cluster->sql(q(UPDATE reports SET body = 'Anew: ' || body));
    my $stopped = $cluster->try_sql("SET statement_timeout = '200ms'; $summary");
    is($stopped->{state}, '57014', 'statement_timeout ends it');
    cmp_ok($stopped->{seconds}, '<', 5, 'in time');
    ok($cluster->poll_until(q(SELECT sum(value) FROM steadytext_metrics() WHERE name = 'steadytext_daemon_in_flight'), 0), 'nothing is left under way');
    like($cluster->sql($summary), qr/^These are summaries/, 'and it can be had later');
}

# ---- limits bind each request ------------------------------------------------------------------------------------------------------
{
    $cluster->sql(q(CREATE ROLE few LOGIN; GRANT SELECT ON reports TO few; SELECT steadytext_rate_limit_set('few', 'generate', requests => 5, per => '1 day')));
    is($cluster->try_sql($summary, user => 'few')->{state}, '53400', 'beyond a limit it is an error');
    is($cluster->sql("SET steadytext.on_limit = 'null'; SELECT steadytext_summarize(body, '{}') IS NULL FROM reports", user => 'few'), 't', 'or NULL, as steadytext.on_limit says');
}

# ---- groups ------------------------------------------------------------------------------------------------------------------------
is($cluster->sql(q(SELECT count(DISTINCT steadytext_summarize) FROM (SELECT steadytext_summarize(body, '{}') FROM reports GROUP BY i % 50) s)), 50, 'a summary of each group');
is($cluster->sql(q(SELECT count(*) FROM (SELECT steadytext_summarize_partial(body, '{}') OVER (ORDER BY i) FROM reports WHERE i <= 20) s)), 20, 'over a window');
is($cluster->sql(q(SET work_mem = '1MB'; SELECT sum((s -> 'stats' ->> 'row_count')::int) FROM (SELECT steadytext_summarize_partial(body || j, '{}') AS s FROM reports, generate_series(1, 20) j GROUP BY i % 500) g)), 20000,
    'many groups, more than work_mem has room for');

done_testing;
