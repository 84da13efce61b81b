# llama.cpp's own server as an engine over HTTP: the protocol as a real engine speaks it, not as t/tools/openai_server.py does.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::EngineCalls;
use SteadyText::RealEngine;
use Test::More;
use Time::HiRes qw(time);

my $missing = SteadyText::RealEngine->missing('llama-server');
plan skip_all => $missing if $missing;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '5min'",
    'steadytext.embedding_dimensions = 384' ]);
my ($key, $key_file) = ($SteadyText::RealEngine::KEY, $cluster->run_dir . '/llama-server.key');
write_key($key_file, $key);
my $writer   = SteadyText::RealEngine->llama_server($cluster, 'smollm2-135m-instruct-q4_1.gguf', '--alias', 'smollm2', '--ctx-size', 8192, '--parallel', 4, '--slots');
my $embedder = SteadyText::RealEngine->llama_server($cluster, 'all-minilm-l6-v2.gguf', '--alias', 'minilm', '--embeddings', '--pooling', 'mean');
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$writer->{url}/v1 key_file=$key_file, $embedder->{url}/v1/embeddings key_file=$key_file'; SELECT pg_reload_conf()");

# They are taken when they have loaded their models. The entry of the one says what it is for; the other answers 501 to an embedding.
ok($cluster->wait_for(sub { $writer->is_up && $embedder->is_up }, 60), 'two servers, one a model');
ok($cluster->poll_until(q(SELECT string_agg(DISTINCT kind || ' ' || state || ' ' || fingerprint, ', ' ORDER BY kind || ' ' || state || ' ' || fingerprint)
    FROM steadytext_daemons), 'http ready http:minilm, http ready http:smollm2'), 'are engines of the gateway') or diag $cluster->sql('SELECT * FROM steadytext_daemons');

# It knows no regex: what it answers does not match.
check_engine($cluster, model => 'smollm2', embedder => 'minilm', dimensions => 384, key => $key, key_file => $key_file, at_work => sub { $writer->at_work },
    bad_key => [ qr/^08/, qr/refuses the key/ ], instead => { regex => [ '08P01', qr/does not match/ ] });

# Eight sessions beside each other, of which it works on four at once.
{
    my @sessions = map { $cluster->session->send("SELECT steadytext_generate('Say hello to number $_.', max_tokens => 16, use_cache => false)") } 1 .. 8;
    is(scalar(grep { my $result = $_->finish; $result->{state} eq '' && $result->{out} =~ /\w/ } @sessions), 8, 'eight sessions at once');
}

# The connection of a stream is closed as soon as nobody reads on.
{
    my $port = $writer->port;
    # Of this server's clients, those connected now.
    my $connections = sub { open my $table, '<', '/proc/net/tcp' or die $!; return scalar grep { /^\s*\d+: \S+ \S+:@{[ sprintf '%04X', $port ]} 01/ } <$table> };
    my @took;
    for (1 .. 3) {
        my $session = $cluster->session;
        $session->ask(q(BEGIN; DECLARE c CURSOR FOR SELECT * FROM steadytext_generate_stream('Tell a story of a thousand pages.', max_tokens => 2000, use_cache => false);));
        $session->ask('FETCH c; FETCH c;');
        my ($open, $start) = ($connections->(), time);
        $session->hand_over('CLOSE c;');
        1 until $connections->() < $open || time > $start + 10;
        push @took, 1000 * (time - $start);
        $session->finish;
    }
    my ($best) = sort { $a <=> $b } @took;
    cmp_ok($best, '<=', 50, sprintf 'CLOSE closes the connection %.1f ms later', $best);
    ok($cluster->wait_for(sub { $writer->at_work == 0 }, 10), 'and the engine stops');
}

# A deadline is kept whatever it goes on doing.
is($cluster->try_sql(q(SET steadytext.request_timeout = '300ms'; SELECT steadytext_generate('Write a long story.', max_tokens => 2000, use_cache => false)))->{state},
    'HYT00', 'a deadline is kept');

# Gone and back.
{
    $writer->kill;
    ok($cluster->poll_until(qq(SET steadytext.on_failure = 'fallback'; SET client_min_messages = error; SELECT steadytext_generate('Anybody?', use_cache => false)),
        '[steadytext: no answer available]', 20), 'without it a call degrades');
    is($cluster->sql(q(SELECT vector_dims(steadytext_embed('still here', use_cache => false)))), 384, 'embeddings go on');
}

done_testing;
