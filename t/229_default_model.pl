# The first of several entries turns out not to serve what it was taken for: calls that name no model of their own have the answer of the next one's
# model, the very first call too, and the cache knows whose it is.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '20s'",
    'steadytext.embedding_dimensions = 8' ]);

# An engine is found out once in the life of a connection: each case has engines of its own.
sub of_models { my (@models) = @_; return SteadyText::Engine->new(options => [ map { ('--model', $_) } @models ]) }
sub without_embeddings { my ($model) = @_; return SteadyText::Engine->new(options => [ '--model', $model, '--no-embeddings' ]) }
sub without_texts {
    my $engine = of_models(@_);
    $engine->next(path => '/v1/chat/completions', times => 1_000_000, status => 501, body => { error => { message => 'not supported' } });
    return $engine;
}
sub taken_for {
    my ($role, @models) = @_;
    return $cluster->poll_until(sprintf(q(SELECT count(*) FROM steadytext_models() WHERE served AND role = '%s' AND model IN (%s)), $role, join ', ', map { "'$_'" } @models), scalar @models);
}
sub configure {
    my ($role, $models, @engines) = @_;
    $cluster->append_conf("steadytext.daemons = '" . join(', ', map { $_->url } @engines) . q('));
    $cluster->reload;
    return ok(taken_for($role, @$models), "@$models: taken to serve $role")
        || diag $cluster->sql('SELECT endpoint, state, reason FROM steadytext_daemons');
}
sub kept_as { my ($text) = @_; return sub { $cluster->sql("SELECT string_agg(DISTINCT model_name || ' ' || fingerprint, ', ') FROM steadytext_cache WHERE prompt LIKE '$text%'") } }
sub becomes { my ($ask, $expected, $test) = @_; return ok($cluster->wait_for(sub { $ask->() eq $expected }), $test) || diag $ask->() }
sub warnings_of { my ($result) = @_; return join ' ', $result->{err} =~ /^DETAIL:\s+Model "([^"]+)" answers instead/mg }

# Embeddings, asked in each way. The other engine's vectors come, as when it is asked by name, and are kept as its own.
my %ways = (
    'a call'     => sub { my ($text) = @_; return $cluster->try_sql("SELECT steadytext_embed('$text 1')") },
    'an index'   => sub { my ($text) = @_; return $cluster->try_sql("CREATE TEMP TABLE rows AS SELECT steadytext_embed('$text ' || i) AS v FROM generate_series(1, 3) i; SELECT v FROM rows LIMIT 1") },
    'a batch'    => sub { my ($text) = @_; return $cluster->try_sql("SELECT min(embedding::text) FILTER (WHERE text_input = '$text 1') FROM steadytext_embed_batch(ARRAY(SELECT '$text ' || i FROM generate_series(1, 100) i))
        HAVING count(embedding) = 100") },
    'the queue'  => sub { my ($text) = @_; return $cluster->try_sql("SELECT id AS job FROM (SELECT steadytext_embed_async('$text 1') AS id) x \\gset\nSELECT steadytext_get_async_result(:'job', 60) AS text \\gset\nSELECT embedding FROM steadytext_check_async(:'job')") },
    'one that needs no cache' => sub { my ($text) = @_; return $cluster->try_sql("SELECT steadytext_embed('$text 1', use_cache => false)") },
);
for my $way (sort keys %ways) {
    my ($writer, $embedder) = (without_embeddings('writer'), of_models('embedder'));
    configure(embedding => [qw(writer embedder)], $writer, $embedder);
    my $result = $ways{$way}->($way);
    is($result->{state}, '', "$way: is answered") or diag $result->{err};
    is($result->{out}, $cluster->sql("SELECT steadytext_embed('$way 1', model => 'embedder', use_cache => false)"), "$way: by the engine that embeds");
    is($embedder->last->{body}{model}, 'embedder', "$way: by its own name");
    cmp_ok($writer->count('/v1/embeddings'), '>', 0, "$way: after the first was asked");
    next if $way =~ /no cache/;
    becomes(kept_as($way), 'embedder http:embedder', "$way: it is kept as that engine's");
    my $texts = $embedder->count('texts');
    $cluster->sql("SELECT steadytext_embed('$way 1')");
    is($embedder->count('texts'), $texts, "$way: and found there");
}

# Many sessions find it out at once, and each gets all of its answers.
{
    my ($writer, $embedder) = (without_embeddings('writer'), of_models('embedder'));
    configure(embedding => [qw(writer embedder)], $writer, $embedder);
    my @sessions = map { $cluster->session->send("SELECT count(embedding) FROM steadytext_embed_batch(ARRAY(SELECT 'session $_ row ' || i FROM generate_series(1, 300) i))") } 1 .. 6;
    my @same     = map { $cluster->session->send(q(SELECT count(steadytext_embed('the same for all'))))} 1 .. 6;
    my @results  = map { $_->finish } @sessions;
    is(join(' ', map { $_->{out} } @results), join(' ', (300) x 6), 'six sessions with 300 texts each') or diag map { $_->{err} } @results;
    @results = map { $_->finish } @same;
    is(join(' ', map { $_->{out} } @results), join(' ', (1) x 6), 'and six with the same text') or diag map { $_->{err} } @results;
    becomes(kept_as('session'), 'embedder http:embedder', 'all are kept as that engine\'s');
}

# However many engines turn out not to embed; and none at all.
{
    my @writers = map { without_embeddings("writer$_") } 1 .. 5;
    my $embedder = of_models('embedder');
    configure(embedding => [ 'embedder', map { "writer$_" } 1 .. 5 ], @writers, $embedder);
    is($cluster->try_sql(q(SELECT steadytext_embed('after five') IS NOT NULL))->{out}, 't', 'the sixth engine embeds');
    is($embedder->count('texts'), 1, 'asked once');
    @writers = map { without_embeddings("writer$_") } 6, 7;
    configure(embedding => [ 'writer6', 'writer7' ], @writers);
    is($cluster->try_sql(q(SELECT steadytext_embed('nobody'))) ->{state}, '42704', 'where no engine embeds that is an error') for 1, 2;
}

# A limit of the model counts what that model answered.
{
    my ($writer, $embedder) = (without_embeddings('writer'), of_models('embedder'));
    configure(embedding => [qw(writer embedder)], $writer, $embedder);
    $cluster->sql(qq(SELECT steadytext_rate_limit_set('*', 'model:$_', tokens => 3, per => '1 hour'))) for qw(writer embedder);
    is($cluster->try_sql(q(SELECT steadytext_embed('limited', use_cache => false) IS NOT NULL))->{out}, 't', 'the first call is within the limit of either model');
    is($cluster->try_sql(q(SET steadytext.on_limit = 'error'; SELECT steadytext_embed('limited', use_cache => false)))->{state}, '53400', 'and was the one that the embedder may have');
    is($cluster->sql(q(SELECT coalesce(sum(used), 0) FROM steadytext_rate_limit_status WHERE operation = 'model:writer')), 0, 'the other has given nothing');
    $cluster->sql(qq(SELECT steadytext_rate_limit_remove('*', 'model:$_'))) for qw(writer embedder);
}

# The engine comes back, and is taken for both again.
{
    my ($writer, $embedder) = (without_embeddings('writer'), of_models('embedder'));
    configure(embedding => [qw(writer embedder)], $writer, $embedder);
    is($cluster->try_sql(q(SELECT steadytext_embed('before') IS NOT NULL))->{out}, 't', 'before a connection is lost');
    $writer->next(path => '/v1/chat/completions', times => 1_000_000, status => 401, body => { error => { message => 'who?' } });
    ok($cluster->wait_for(sub { $cluster->try_sql(q(SELECT steadytext_generate('x', model => 'writer', use_cache => false))); taken_for(embedding => 'writer') }), 'the engine is connected to anew');
    my $asked = $writer->count('/v1/embeddings');
    is($cluster->try_sql(q(SELECT steadytext_embed('afterwards') IS NOT NULL))->{out}, 't', 'after it too');
    cmp_ok($writer->count('/v1/embeddings'), '>', $asked, 'though the engine had to be found out again');
    becomes(kept_as('afterwards'), 'embedder http:embedder', 'whose the vector is is known');
}

# Calls by names that are not the model's that answers: steadytext.unknown_model rules the first call as all others.
for my $case (
    [ embedding => \&without_embeddings, q(SELECT count(steadytext_embed('%s', model => '%s'))), 1 ],
    [ generation => \&without_texts, q(SELECT steadytext_generate('%s', model => '%s')), undef ],
    [ generation => \&without_texts, q(SELECT string_agg(s, '') FROM steadytext_generate_stream('%s', model => '%s') s), undef ],
    [ generation => \&without_texts, q(SELECT steadytext_generate_choice('%1$s', ARRAY['%1$s', 'other'], model => '%2$s')), undef ],
) {
    my ($role, $make, $call, $expected) = @$case;
    my $text = "named $role " . length $call;
    for my $name (qw(first none)) {
        my ($first, $second) = ($make->('first'), of_models('second'));
        configure($role => [qw(first second)], $first, $second);
        my $result = $cluster->try_sql(sprintf $call, "$text $name", $name);
        is($result->{out}, $expected // "$text $name", "$call of $name: is answered") or diag $result->{err};
        is(warnings_of($result), $name eq 'first' ? 'second' : 'first second', 'by the second, with a WARNING');
        is($second->last->{body}{model}, 'second', 'which was asked by its name');
        ($first, $second) = ($make->('first'), of_models('second'));
        configure($role => [qw(first second)], $first, $second);
        is($cluster->try_sql(q(SET steadytext.unknown_model = 'error'; ) . sprintf $call, "$text $name again", $name)->{state}, '42704', 'or it is an error');
    }
}

# A text without a model has always gone to whoever writes.
{
    my ($first, $second) = (without_texts('first'), of_models('second'));
    configure(generation => [qw(first second)], $first, $second);
    is($cluster->try_sql(q(SELECT steadytext_generate('of nobody'))) ->{out}, 'of nobody', 'a text');
    is($cluster->sql(q(SELECT model || ' ' || fingerprint || ' ' || cached FROM steadytext_generate_ex('of nobody'))), 'second http:second false', 'is never another\'s in the cache');
    ($first, $second) = (without_texts('first'), of_models('second'));
    configure(generation => [qw(first second)], $first, $second);
    is($cluster->try_sql(q(SELECT string_agg(s, '') FROM steadytext_generate_stream('a stream') s))->{out}, 'a stream', 'a stream');
}

# Of engines that have the default model, not each has it as its own default.
{
    my ($first, $second) = (of_models('shared'), of_models(qw(other shared)));
    configure(embedding => [qw(shared other)], $first, $second);
    is($cluster->sql(q(SELECT count(embedding) FROM steadytext_embed_batch(ARRAY(SELECT 'either ' || i FROM generate_series(1, 200) i)))), 200, 'texts for two engines');
    is($cluster->sql(q(SELECT count(steadytext_embed('either, alone ' || i)) FROM generate_series(1, 10) i)), 10, 'and one by one');
    cmp_ok($second->count('/v1/embeddings shared'), '>', 0, 'the second has its share');
    is($second->count('/v1/embeddings other'), 0, 'and makes them with the default model, not with its own');
}

# Documents are ranked by a daemon that ranks.
{
    my $writer = without_embeddings('writer');
    my $native = $cluster->start_echo(name => 'native', options => ['--without-reranker']);
    $cluster->append_conf("steadytext.daemons = '" . $writer->url . ", $native->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND fingerprint IS NOT NULL), 2), 'an engine and a daemon');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_rerank('in which order?', ARRAY['a', 'b']) WHERE score IS NOT NULL)), 2, 'documents are ranked');
    becomes(kept_as('in which order?'), 'echo-embedding echo:1', 'and that is kept as what the daemon did');
    is($cluster->try_sql(q(SELECT steadytext_embed('beside a daemon') IS NOT NULL))->{out}, 't', 'and a text embedded');
}
done_testing;
