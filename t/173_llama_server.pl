# llama.cpp's own server as an engine over HTTP: the protocol as a real engine speaks it, not as t/tools/openai_server.py does.
use strict;
use warnings;
use HTTP::Tiny ();
use IO::Socket::INET;
use JSON::PP ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

chomp(my $built = `$SteadyText::Cluster::ROOT/scripts/build-llama --server --find`);
plan skip_all => "llama-server is not built: 'make llama-server' does it, in twenty minutes" if $built eq '';
chomp(my $models = `$SteadyText::Cluster::ROOT/scripts/models --print-dir`);

my @servers;
END { local $?; kill 'KILL', @servers if @servers; waitpid $_, 0 for @servers }

# A server of its own for each model, as llama-server has one.
sub start_server {
    my ($cluster, $model, @options) = @_;
    my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
    my $pid  = fork // die "fork: $!";
    if ($pid == 0) {
        open STDIN,  '<', '/dev/null';
        open STDOUT, '>', $cluster->run_dir . "/llama-server-$port.log";
        open STDERR, '>&', \*STDOUT;
        exec "$built/bin/llama-server", '--host', '127.0.0.1', '--port', $port, '--model', "$models/$model", '--threads', 2, '--offline', @options
            or POSIX::_exit(127);
    }
    push @servers, $pid;
    return { pid => $pid, url => "http://127.0.0.1:$port" };
}

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '60s'",
    'steadytext.embedding_dimensions = 384' ]);
my $writer   = start_server($cluster, 'smollm2-135m-instruct-q4_1.gguf', '--alias', 'smollm2', '--ctx-size', 8192, '--parallel', 4, '--slots');
my $embedder = start_server($cluster, 'all-minilm-l6-v2.gguf', '--alias', 'minilm', '--embeddings', '--pooling', 'mean');
my $status   = sub { my ($server) = @_; return HTTP::Tiny->new->get("$server->{url}/health")->{status} };
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$writer->{url}/v1, $embedder->{url}/v1/embeddings'; SELECT pg_reload_conf()");

# They are taken when they have loaded their models. The entry of the one says what it is for; the other answers 501 to an embedding.
ok($cluster->wait_for(sub { $status->($writer) eq '200' && $status->($embedder) eq '200' }, 60), 'two servers, one a model');
ok($cluster->poll_until(q(SELECT string_agg(DISTINCT kind || ' ' || state || ' ' || fingerprint, ', ' ORDER BY kind || ' ' || state || ' ' || fingerprint)
    FROM steadytext_daemons), 'http ready http:minilm, http ready http:smollm2'), 'are engines of the gateway') or diag $cluster->sql('SELECT * FROM steadytext_daemons');

# Generation: the same again, with the counts the engine tells.
{
    my $generate = q(SELECT steadytext_generate('Name three colours.', max_tokens => 24, use_cache => false));
    my $text = $cluster->sql($generate);
    like($text, qr/\w{3}/, 'a text');
    is($cluster->sql($generate), $text, 'the same again');
    is($cluster->sql(q(SELECT model || ' ' || fingerprint || ' ' || finish_reason || ' ' || completion_tokens || ' ' || (prompt_tokens > 5)
        FROM steadytext_generate_ex('Write a long story about a river.', '{"max_tokens": 8, "use_cache": false}'))), 'smollm2 http:smollm2 length 8 true',
        'it is told where it was cut');
    isnt($cluster->sql(q(SELECT steadytext_generate('Name three colours.', max_tokens => 24))), undef, 'cached');
    is($cluster->sql(q(SELECT cached FROM steadytext_generate_ex('Name three colours.', '{"max_tokens": 24}'))), 't', 'under its fingerprint');
    my @sessions = map { $cluster->session->send("SELECT steadytext_generate('Say hello to number $_.', max_tokens => 16, use_cache => false)") } 1 .. 8;
    is(scalar(grep { my $result = $_->finish; $result->{state} eq '' && $result->{out} =~ /\w/ } @sessions), 8, 'eight sessions at once');
}

# A stream: the text of the whole answer in many rows, with why it ended; its connection is closed as soon as nobody reads on.
{
    my $arguments = q('Name three colours.', max_tokens => 24, use_cache => false);
    is($cluster->sql("SELECT string_agg(s, '') = steadytext_generate($arguments) AND count(*) > 3 FROM steadytext_generate_stream($arguments) s"), 't',
        'a stream is the whole answer in many rows');
    is($cluster->sql(q(SELECT finish_reason || ' ' || completion_tokens || ' ' || cached FROM (SELECT count(*) FROM steadytext_generate_stream(
        'Write a long story about a sea.', max_tokens => 8)) x, LATERAL steadytext_generate_ex('Write a long story about a sea.', '{"max_tokens": 8}')
        WHERE x.count > 0)), 'length 8 true', 'with its reason and counts');
    my ($port) = $writer->{url} =~ /:(\d+)$/;
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
    my $idle = sub { return !grep { $_->{is_processing} } @{ JSON::PP::decode_json(HTTP::Tiny->new->get("$writer->{url}/slots")->{content}) } };
    ok($cluster->wait_for($idle, 10), 'and the engine stops');
}

# Embeddings: of length 1, and near what is near in meaning.
{
    is($cluster->sql(q(SELECT vector_dims(v), round((v <#> v)::numeric, 4) FROM steadytext_embed('a train to the coast', use_cache => false) v)), '384|-1.0000',
        'a vector of length 1');
    is($cluster->sql(q(SELECT t FROM unnest(ARRAY['The stock market fell.', 'We took the railway to the sea.', 'Bread needs yeast.']) t
        ORDER BY steadytext_embed(t) <=> steadytext_embed('a train to the coast') LIMIT 1)), 'We took the railway to the sea.', 'what is near in meaning is near');
}

# Structured answers have their form, whatever the engine makes of what it was asked.
{
    my $json = $cluster->sql(q(SELECT steadytext_generate_json('Make up a person.', '{"type": "object", "additionalProperties": false,
        "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 1, "maximum": 99}}, "required": ["name", "age"]}',
        max_tokens => 64, use_cache => false)));
    is($cluster->sql("SELECT (jsonb_typeof(j -> 'name'), jsonb_typeof(j -> 'age'), (j ->> 'age')::int BETWEEN 1 AND 99) FROM (SELECT \$x\$$json\$x\$::jsonb AS j) x"),
        '(string,number,t)', 'JSON of the schema') or diag $json;
    my $choice = $cluster->try_sql(q(SELECT steadytext_generate_choice('Is the sky blue?', ARRAY['yes', 'no'], use_cache => false)));
    like($choice->{out}, qr/^(?:yes|no)$/, 'one of the choices') or diag $choice->{err};
    my $regex = $cluster->try_sql(q(SELECT steadytext_generate_regex('A date:', '[0-9]{4}-[0-9]{2}-[0-9]{2}', max_tokens => 16, use_cache => false)));
    # It knows no regex.
    is($regex->{state}, '08P01', 'what does not match is no answer') or diag "$regex->{out}\n$regex->{err}";
}

# What the engine refuses is told in its words; a deadline is kept whatever it goes on doing.
{
    my $long = $cluster->try_sql(q(SELECT steadytext_generate(repeat('much too long ', 8000), use_cache => false)));
    is($long->{state}, '38000', 'a prompt beyond its context is refused') or diag $long->{err};
    like($long->{err}, qr/context/, 'in its own words');
    my $late = $cluster->try_sql(q(SET steadytext.request_timeout = '300ms'; SELECT steadytext_generate('Write a long story.', max_tokens => 2000, use_cache => false)));
    is($late->{state}, 'HYT00', 'a deadline is kept');
}

# Gone and back.
{
    kill 'KILL', $writer->{pid};
    ok($cluster->poll_until(qq(SET steadytext.on_failure = 'fallback'; SET client_min_messages = error; SELECT steadytext_generate('Anybody?', use_cache => false)),
        '[steadytext: no answer available]', 20), 'without it a call degrades');
    is($cluster->sql(q(SELECT vector_dims(steadytext_embed('still here', use_cache => false)))), 384, 'embeddings go on');
}

done_testing;
