# Nothing a daemon says is trusted: each bad reply is a clear error or a counted drop, and the next request is served.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.breaker_threshold = 1000' ]);
my $error   = "SET steadytext.on_failure = 'error'; SET steadytext.request_timeout = '700ms';";

sub counter {
    my ($name) = @_;
    return $cluster->sql("SELECT sum(value) FROM steadytext_metrics() WHERE name = 'steadytext_$name'");
}

sub gateway_pid { return $cluster->worker_pid('gateway') }

sub gateway_kilobytes { return $cluster->gateway_memory('RssAnon') }

my $first_pid = gateway_pid();
is($cluster->sql("SELECT steadytext_generate('warm up', use_cache => false)"), 'warm up', 'the daemon answers');
my $before = gateway_kilobytes();

# fault => what the caller sees: an SQLSTATE in error mode, or the right answer.
my @generate = (
    [ 'garbage',         '08006', 'text that is no JSON has no id: it is dropped, and the call ends by its deadline or at once' ],
    [ 'truncated',       '08P01', 'a reply cut in half' ],
    [ 'oversized=40000000', '08006', 'a reply beyond MAXMSGSIZE loses the connection' ],
    [ 'wrong-id',        '08006', 'a reply to another request is not taken for this one' ],
    [ 'previous-boot',   '08006', 'nor is one to a request of an earlier boot' ],
    [ 'null-id',         '08P01', 'a reply that names no request' ],
    [ 'nul',             '08P01', 'a NUL character, for which PostgreSQL has no room' ],
    [ 'bad-utf8',        '08P01', 'text that is not UTF-8' ],
    [ 'nan',             '08P01', 'NaN, which JSON does not have' ],
    [ 'deep-json',       '08P01', 'a hundred thousand nested arrays' ],
    [ 'multipart',       '08P01', 'a message of a hundred frames' ],
    [ 'empty',           '08P01', 'a message without a byte' ],
    [ 'no-reply',        '08006', 'silence' ],
    [ 'error=Out_of_luck', '38000', 'an error of the daemon' ],
);
for my $case (@generate) {
    my ($fault, $state, $what) = @$case;
    my $result = $cluster->try_sql("$error SELECT steadytext_generate('!fault:$fault', use_cache => false)");
    like($result->{state}, $state eq '08006' ? qr/^(?:08006|08P01|HYT00)$/ : qr/^$state$/, "generate: $what");
    cmp_ok($result->{seconds}, '<', 2, "$fault: and not later than its deadline");
    is($cluster->sql("SELECT steadytext_generate('after $fault', use_cache => false)"), "after $fault", "$fault: the next request is served");
}
for my $fault (qw(garbage truncated nan nul bad-utf8 empty)) {
    my $result = $cluster->try_sql("$error SELECT steadytext_embed('!fault:$fault', use_cache => false)");
    like($result->{state}, qr/^08(006|P01)$/, "embed: $fault");
    is($cluster->sql("SELECT steadytext_embed('!fault:$fault', use_cache => false) IS NULL"), 't', "embed: $fault falls back to NULL");
}

# Counts of tokens that cannot be: budgets, limits and usage would be charged with them.
{
    my $told = q(SELECT coalesce(prompt_tokens, -1), coalesce(completion_tokens, -1) FROM steadytext_generate_ex('!fault:tokens=%s x', '{"use_cache": false, "max_tokens": 100}'));
    is($cluster->sql(sprintf $told, $_), '-1|-1', "$_ tokens of a prompt of a few bytes, and of an answer of a hundred, are not believed") for qw(1000000000 9000 -1 1e300 "5");
    is($cluster->sql(sprintf $told, 90), '90|90', 'ninety are');
    is($cluster->sql(q(SELECT vector_dims(steadytext_embed('!fault:tokens=1000000000 x', use_cache => false)))), $cluster->sql('SHOW steadytext.embedding_dimensions'), 'nor of a text to embed');
    $cluster->sql(q(SELECT count(*) FROM steadytext_rerank('x', ARRAY['!fault:tokens=1000000000 x', 'y'])));
    ok($cluster->poll_until(q(SELECT sum(calls) > 6 FROM steadytext_usage), 't', 30), 'usage is written');
    cmp_ok($cluster->sql('SELECT sum(prompt_tokens + completion_tokens) FROM steadytext_usage'), '<', 10_000, 'and has none of them');
    is($cluster->try_sql(q(SET steadytext.on_failure = 'error'; SELECT steadytext_embed('!fault:zeros=5000 x', use_cache => false)))->{state}, '08P01', 'a vector of which nothing is left once it is cut is no embedding');
}

# A second reply, and one that comes too late, are dropped and counted.
{
    my $late = counter('late_replies_total');
    is($cluster->sql("SELECT steadytext_generate('!fault:duplicate', use_cache => false)"), '!fault:duplicate', 'a reply that comes twice is taken once');
    ok($cluster->wait_for(sub { counter('late_replies_total') == $late + 1 }, 5), 'the second one is counted');
    is($cluster->try_sql("SET steadytext.request_timeout = '100ms'; SELECT steadytext_generate('!fault:late=400', use_cache => false)")->{out},
        '[steadytext: no answer available]', 'a late reply is not waited for');
    ok($cluster->wait_for(sub { counter('late_replies_total') == $late + 2 }, 5), 'and counted when it comes');
}

# A thousand requests, each answered twice, while others run: every session gets the answers to its own questions.
{
    my $wrong = $cluster->sql(q(
        SELECT count(*) FROM generate_series(1, 1000) i,
            LATERAL (SELECT '!fault:duplicate ' || i AS prompt) p
        WHERE steadytext_generate(prompt, use_cache => false) IS DISTINCT FROM prompt));
    is($wrong, 0, 'no answer is given to the wrong question');
}

is(gateway_pid(), $first_pid, 'the gateway never crashed');
cmp_ok(gateway_kilobytes() - $before, '<', 32 * 1024, 'and grew by less than 32 MiB');
is($cluster->sql("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'"), 0, 'no slot is left in use');
is($cluster->sql("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_payload_bytes_in_use'"), 0, 'no payload is left');

done_testing;
