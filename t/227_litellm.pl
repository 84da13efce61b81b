# LiteLLM's proxy, in front of llama.cpp's servers, as an engine over HTTP: what many people have between a client and their engines.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::EngineCalls;
use SteadyText::RealEngine;
use Test::More;

my $missing = SteadyText::RealEngine->missing('llama-server', 'litellm');
plan skip_all => $missing if $missing;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '5min'",
    'steadytext.embedding_dimensions = 384' ]);
my ($key, $key_file) = ($SteadyText::RealEngine::KEY, $cluster->run_dir . '/litellm.key');
write_key($key_file, $key);
my $writer   = SteadyText::RealEngine->llama_server($cluster, 'smollm2-135m-instruct-q4_1.gguf', '--alias', 'smollm2', '--ctx-size', 8192, '--parallel', 4, '--slots');
my $embedder = SteadyText::RealEngine->llama_server($cluster, 'all-minilm-l6-v2.gguf', '--alias', 'minilm', '--embeddings', '--pooling', 'mean');
my $proxy    = SteadyText::RealEngine->litellm($cluster, smollm2 => $writer, minilm => $embedder);
my ($chats, $embeddings) = ("$proxy->{url}/v1/chat/completions model=smollm2 key_file=$key_file", "$proxy->{url}/v1/embeddings model=minilm key_file=$key_file");

sub configure {
    my (@entries) = @_;
    $cluster->sql(sprintf q(ALTER SYSTEM SET steadytext.daemons = '%s'; SELECT pg_reload_conf()), join ', ', @entries);
    return $cluster->poll_until(q(SELECT count(*) FILTER (WHERE state = 'ready') || ' of ' || count(*) FROM steadytext_daemons), @entries . ' of ' . @entries);
}
ok($cluster->wait_for(sub { $writer->is_up && $embedder->is_up && $proxy->is_up }, 180), 'two servers and the proxy') or diag $proxy->words;
ok(configure($chats, $embeddings), 'are engines of the gateway') or diag $cluster->sql('SELECT * FROM steadytext_daemons');

# Without a database of keys it says of a wrong one that it has none, and what its client gives up it has its engine finish.
check_engine($cluster, model => 'smollm2', embedder => 'minilm', dimensions => 384, key => $key, key_file => $key_file, at_work => sub { $writer->at_work },
    bad_key => [ qr/^08/, qr/refuses the key|No connected db/ ], goes_on => 1, instead => { regex => [ '08P01', qr/does not match/ ] });

# It knows its models by name, and says so.
ok(configure("$proxy->{url}/v1/chat/completions model=nobody key_file=$key_file"), 'an entry for a model that it has not');
my $result = $cluster->try_sql(q(SELECT steadytext_generate('Name a colour.', use_cache => false)));
is($result->{state}, '38000', 'has its calls refused') or diag $result->{err};
like($result->{err}, qr/nobody/, 'in its words');

# With the path alone all models that it lists are served, each by its name.
ok(configure("$proxy->{url}/v1 key_file=$key_file"), 'one entry for all models');
ok($cluster->poll_until(q(SELECT string_agg(DISTINCT model, ' ' ORDER BY model) FROM steadytext_models() WHERE served), 'minilm smollm2'), 'lists both');
like($cluster->sql(q(SELECT steadytext_generate('Name a colour.', max_tokens => 8, model => 'smollm2', use_cache => false))), qr/\w/, 'writes with the one');
is($cluster->sql(q(SELECT vector_dims(steadytext_embed('a colour', model => 'minilm', use_cache => false)))), 384, 'and embeds with the other');

# The engine behind it is gone: the calls fail with the proxy's words, and go on when it is back.
{
    ok(configure($chats, $embeddings), 'both entries');
    $writer->kill;
    my $gone = $cluster->try_sql(q(SELECT steadytext_generate('Anybody?', use_cache => false)));
    isnt($gone->{state}, '', 'without the engine a call fails') or diag $gone->{out};
    like($gone->{err}, qr/connect/i, 'in words');
    is($cluster->sql(q(SELECT vector_dims(steadytext_embed('still here', use_cache => false)))), 384, 'embeddings go on');
}
done_testing;
