# A database with every kind of thing that the extension keeps in it, and what there is to see of each: for tests that move it.
package SteadyText::Kinds;

use strict;
use warnings;

our @ALL = ('settings', 'prompts', 'limits', 'budgets', 'queue', 'calls that wait', 'cache', 'generated columns', 'expression indexes');
our %SHOWS = (
    settings => q(SELECT string_agg(key || '=' || value, ' ' ORDER BY key COLLATE "C") FROM steadytext_config WHERE key IN ('default_max_tokens', 'mine')),
    prompts  => q(SELECT string_agg(version || v.template, ' ' ORDER BY version) || ' ' || (SELECT string_agg(label || version_num, ' ' ORDER BY label) FROM steadytext_prompt_labels('greeting')) FROM steadytext_prompt_versions v),
    limits   => q(SELECT (SELECT string_agg(r::text, ' ') FROM steadytext_rate_limit_rules r) || (SELECT string_agg(user_id || requests_per_minute, ' ') FROM steadytext_rate_limits)),
    budgets  => q(SELECT string_agg(b::text, ' ') FROM steadytext_budgets b),
    queue    => q(SELECT string_agg(concat_ws(' ', request_id, prompt, status, result, user_oid), ' ' ORDER BY prompt) FROM steadytext_queue),
    'calls that wait' => q(SELECT run_at AT TIME ZONE 'UTC' FROM steadytext_queue WHERE status = 'pending'),
    cache    => q(SELECT string_agg(concat_ws(' ', cache_key, response, scope, fingerprint), ' ') FROM steadytext_cache WHERE prompt = 'kept in the cache'),
    'generated columns'  => q(SELECT string_agg(id || answer, ' ' ORDER BY id) FROM note),
    'expression indexes' => q(SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT string_agg(i.prompt, ' ') || (SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('by_answer') AND indisvalid)
        FROM indexed i WHERE steadytext_generate(prompt, 9) = 'three'),
);

# Makes them. Role alice is there; answers come from an echo daemon. Gives whether the call of the queue was carried out.
sub make {
    my ($cluster) = @_;
    $cluster->sql(q(
        SELECT steadytext_config_set('default_max_tokens', '77'), steadytext_config_set('mine', 'kept');
        SELECT steadytext_prompt_create('greeting', 'Hello {{ name }}'), steadytext_prompt_update('greeting', 'Hi {{ name }}'), steadytext_prompt_label_set('greeting', 'production', 1);
        SELECT steadytext_rate_limit_set('alice', 'embed', 1000, '1 hour');
        INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('alice', 5000);
        SELECT steadytext_budget_set('alice', '1 day', 100000, 'warn');
        SELECT steadytext_generate('kept in the cache');
        CREATE TABLE note (id int PRIMARY KEY, prompt text, answer text GENERATED ALWAYS AS (steadytext_generate(prompt, 9)) STORED);
        INSERT INTO note VALUES (1, 'one'), (2, 'two');
        CREATE TABLE indexed (id int PRIMARY KEY, prompt text);
        INSERT INTO indexed VALUES (1, 'three');
        CREATE INDEX by_answer ON indexed (steadytext_generate(prompt, 9));));
    $cluster->sql(q(SELECT steadytext_generate_async('asked')), user => 'alice');
    my $done = $cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed'), 1);
    $cluster->sql(q(INSERT INTO steadytext_queue (request_type, prompt, run_at) VALUES ('generate', 'waits', '2100-01-01 00:00:00Z')));
    $cluster->sql('SELECT steadytext_frecency_refresh()');
    return $done;
}

# What is there of one kind; the SQLSTATE where it cannot be seen.
sub look {
    my ($server, $database, $kind) = @_;
    my $seen = $server->try_sql($SHOWS{$kind}, database => $database);
    return $seen->{state} eq '' ? $seen->{out} : $seen->{state};
}

1;
