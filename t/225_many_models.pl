# Engines that serve more models than anybody counts, and names that nobody serves: the right model is asked, or it is said that it was not.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '20s'" ]);

# Sets the daemons and waits until what they serve is known: a model of each.
sub configure {
    my ($entries, @models) = @_;
    $cluster->append_conf("steadytext.daemons = '" . join(', ', @$entries) . q('));
    $cluster->reload;
    my $list = join ', ', map { "'$_'" } @models;
    ok($cluster->poll_until("SELECT count(DISTINCT model) FROM steadytext_models() WHERE served AND model IN ($list)", scalar @models), "@models[0 .. 0] and others are served")
        or diag $cluster->sql('SELECT endpoint, state, reason FROM steadytext_daemons');
    return;
}
sub generate { my ($prompt, $model, $set) = @_; return $cluster->try_sql(($set // '') . "SELECT steadytext_generate('$prompt', model => '$model')") }
sub embed { my ($text, $model, $set) = @_; return $cluster->try_sql(($set // '') . "SELECT steadytext_embed('$text', model => '$model') IS NOT NULL") }
sub warnings_of { my ($result) = @_; return scalar(() = $result->{err} =~ /^WARNING:\s+42704:/mg) }
my $error = q(SET steadytext.unknown_model = 'error'; );

my $local = SteadyText::Engine->new(options => [ '--model', 'local' ]);
my @many  = map { "org/model-$_" } 1 .. 300;
my $proxy = SteadyText::Engine->new(options => [ map { ('--model', $_) } @many ]);

# A proxy with 300 models beside an engine with one.
{
    configure([ $local->url, $proxy->url ], 'local', @many[ 0, -1 ]);
    my $last = $many[-1];
    is(generate('to the last', $last)->{out}, 'to the last', 'the last of 300 models answers');
    is($proxy->last->{body}{model}, $last, 'asked by its name');
    is($cluster->sql("SELECT model, fingerprint, cached FROM steadytext_generate_ex('to the last', jsonb_build_object('model', '$last'))"),
        "$last|http:$last|t", 'its answers are cached as its own');
    is(embed('to the last', $last)->{out}, 't', 'it embeds');
    is($proxy->last->{body}{model}, $last, 'by its name too');
    is($cluster->sql("SELECT string_agg(s, '') FROM steadytext_generate_stream('as a stream', model => '$last') s"), 'as a stream', 'it streams');
    my $id = $cluster->sql("SELECT steadytext_enqueue('generate', jsonb_build_object('prompt', 'queued', 'model', '$last'))");
    is($cluster->sql("SELECT steadytext_get_async_result('$id', 60)"), 'queued', 'and answers what was queued');
    is($proxy->last->{body}{model}, $last, 'all of it by that name');
    is($local->count('/v1/chat/completions') + $local->count('/v1/embeddings'), 0, 'the other engine was asked nothing');
}

# A name that nobody serves: the default answers and a WARNING says so, once a statement and name.
{
    my $result = $cluster->try_sql(q(SELECT steadytext_generate('row ' || i, model => name) FROM generate_series(1, 3) i, (VALUES ('none'), ('nobody')) names (name)));
    is(warnings_of($result), 2, 'a WARNING for each name, not for each row') or diag $result->{err};
    like($result->{err}, qr/no inference daemon serves model "none"\nDETAIL:\s+Model "local" answers instead\. There are: local, org\/model-1, org\/model-2, .*, and \d+ more\.\n/, 'it has both names, and those that there are');
    is($local->last->{body}{model}, 'local', 'the default is asked by its own name');
    my $asked = $local->count('/v1/chat/completions');
    is(warnings_of(generate('row 1', 'none')), 1, 'an answer from the cache is said to be another model\'s too');
    is($local->count('/v1/chat/completions'), $asked, 'without asking');
    is(warnings_of(embed('row', 'none')), 1, 'an embedding is');
    is(warnings_of($cluster->try_sql(q(SELECT * FROM steadytext_generate_stream('streamed', model => 'none')))), 1, 'a stream is');
    is(warnings_of($cluster->try_sql(q(SELECT steadytext_generate_json('1', '{"type": "integer"}', model => 'none')))), 1, 'and JSON');
    is(warnings_of($cluster->try_sql(q(SELECT steadytext_embed_async('queued', model => 'none')))), 1, 'a call that is queued, when it is queued');
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_cache WHERE prompt = 'row 1')), 'answers are kept');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE model_name IN ('none', 'nobody'))), 0, 'under the name of the model that gave them');
    is(warnings_of(generate('ignored', 'none', q(SET steadytext.unknown_model = 'ignore'; ))), 0, 'a session may want no WARNING');
}

# Or an error, before anything is sent.
{
    my $asked = sub { $_->count('/v1/chat/completions') + $_->count('/v1/embeddings') };
    my @before = map { $asked->() } $local, $proxy;
    for my $call (q(SELECT steadytext_generate('x', model => 'none')), q(SELECT steadytext_embed('x', model => 'none')),
        q(SELECT * FROM steadytext_generate_stream('x', model => 'none')), q(SELECT steadytext_generate_choice('x', ARRAY['a', 'b'], model => 'none')),
        q(SELECT * FROM steadytext_generate_ex('x', '{"model": "none"}')), q(SELECT steadytext_embed_async('x', model => 'none')),
        q(SELECT steadytext_generate('row 1', model => 'none'))) {
        my $result = $cluster->try_sql("$error SET steadytext.on_failure = 'null'; $call");
        is($result->{state}, '42704', $call);
    }
    is_deeply([ map { $asked->() } $local, $proxy ], \@before, 'nothing was sent');
    is(generate('by name', 'local', $error)->{out}, 'by name', 'a name that is known is none of it');
}

# A model that goes: what is cached of it stays its own, what is asked anew is another's, and said to be.
{
    my $gone = $many[0];
    generate('before it went', $gone);
    embed('before it went', $gone);
    $cluster->append_conf("steadytext.daemons = '" . $local->url . q('));
    $cluster->reload;
    ok($cluster->poll_until("SELECT bool_and(NOT served) FROM steadytext_models() WHERE model = '$gone'"), 'a model that nobody serves any more');
    my $cached = generate('before it went', $gone);
    is($cached->{out} . warnings_of($cached), 'before it went0', 'its answers are still in the cache');
    my $asked = generate('after it went', $gone);
    is($asked->{out} . warnings_of($asked), 'after it went1', 'another answers, with a WARNING') or diag $asked->{err};
    is($local->last->{body}{model}, 'local', 'by its own name');
    is(warnings_of(embed('after it went', $gone)), 1, 'embeddings too');
    is(generate('after it went, again', $gone, $error)->{state}, '42704', 'or nobody does');
    $cluster->sql(q(SELECT steadytext_embed('last of all')));
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'last of all'), 1), 'what was answered meanwhile');
    is($cluster->sql("SELECT count(*) FROM steadytext_cache WHERE model_name = '$gone' AND prompt LIKE 'after%'"), 0, 'is never kept as its answer');
}

# More models than are remembered of one engine: the others may be its own too, so it is asked.
{
    my @endless = map { "endless-$_" } 1 .. 1100;
    my $endless = SteadyText::Engine->new(options => [ map { ('--model', $_) } @endless ]);
    configure([ $local->url, $endless->url ], 'local', @endless[ 0, 999 ]);
    my $beyond = $endless[-1];
    is($cluster->sql("SELECT count(*) FROM steadytext_models() WHERE model = '$beyond'"), 0, 'a model beyond those that are remembered');
    for my $set ('', $error) {
        my $result = generate('beyond', $beyond, $set);
        is($result->{out} . warnings_of($result), 'beyond0', 'is asked');
        is($endless->last->{body}{model}, $beyond, 'by its name');
    }
    is($cluster->sql("SELECT model FROM steadytext_generate_ex('beyond', jsonb_build_object('model', '$beyond'))"), $beyond, 'and says who it is');
    is(embed('beyond', $beyond)->{out}, 't', 'it embeds');
    my $asked = $local->count('/v1/chat/completions');
    is(generate('x', 'nobody at all')->{state}, '38000', 'a name that it does not have either is its to refuse');
    is($local->count('/v1/chat/completions'), $asked, 'no other model answers');
    is(generate('a', 'free:model')->{state}, '22023', 'a colon is still for unsafe_mode');
    $endless->stop;
    ok($cluster->wait_for(sub { generate('when it is down', $beyond)->{state} eq '08001' }), 'when it is down nobody answers for it');
}

# An engine that comes to serve another model while it runs.
{
    my @listing = map { { id => $_ } } qw(local new-one);
    $local->next(path => '/v1/models', times => 1000, body => { object => 'list', data => \@listing });
    configure([ $local->url ], 'local', 'new-one');
    $local->next(clear => 1);
}

# Native daemons.
{
    my ($near, $far) = map { $cluster->start_echo(name => $_, options => [ '--model', $_, '--fingerprint', "$_:1" ]) } qw(near far);
    configure([ $near->{endpoint}, $far->{endpoint} ], 'near', 'far');
    is($cluster->sql(q(SELECT model FROM steadytext_generate_ex('hi', '{"model": "far"}'))), 'far', 'each model is asked by its name');
    my $result = $cluster->try_sql(q(SELECT model, fingerprint FROM steadytext_generate_ex('hi', '{"model": "none"}')));
    is($result->{out} . warnings_of($result), 'near|near:11', 'the default answers for one that is unknown, with a WARNING');
    is($cluster->try_sql(q(SELECT model FROM generate_series(1, 8) i, steadytext_generate_ex('hi ' || i, '{"model": "none", "use_cache": false}')))->{out}, join("\n", ('near') x 8),
        'whenever it is asked');
    my $refused = generate('x', 'none', $error);
    is($refused->{state}, '42704', 'or it is an error');
    like($refused->{err}, qr/no inference daemon serves model "none"\nDETAIL:\s+There are: near, far\.\n/, 'with the names that there are');

    # One that is down still has its model, and one that was never there has none.
    kill 'KILL', $far->{pid};
    ok($cluster->wait_for(sub { generate('far away', 'far')->{state} eq '08001' }), 'of a daemon that is down no other answers for its model');
    $cluster->append_conf("steadytext.daemons = '$near->{endpoint}, ipc://" . $cluster->run_dir . q(/nobody.sock'));
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE endpoint LIKE '%nobody.sock' AND failures > 0), 1), 'a daemon that is not there');
    $result = generate('beside nobody', 'none');
    is($result->{out} . warnings_of($result), 'beside nobody1', 'keeps no name from being unknown') or diag $result->{err};

    # The Python daemon never tells what it has: it is asked by whatever name.
    my $serial = $cluster->start_echo(name => 'serial', options => ['--serial']);
    $cluster->append_conf("steadytext.daemons = '$near->{endpoint}, $serial->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_models() WHERE served AND fingerprint = 'serial:' AND role = 'generation'), 1), 'a daemon that never tells');
    my $named = $cluster->try_sql($error . q(SELECT daemon FROM steadytext_generate_ex('hi', '{"model": "its own"}')));
    is($named->{out} . warnings_of($named), "$serial->{endpoint}0", 'is asked for a name that is unknown') or diag $named->{err};

    # What was answered so is found while the daemon is down, after a restart too.
    $cluster->append_conf("steadytext.daemons = '$serial->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_models() WHERE served AND fingerprint <> 'serial:'), 0), 'it alone');
    is(embed('kept', 'its own')->{out}, 't', 'embeds by that name');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'kept'), 1), 'which is kept');
    kill 'KILL', $serial->{pid};
    $cluster->restart;
    # The gateway reads what it remembers of models once it has begun.
    ok($cluster->wait_for(sub { $result = embed('kept', 'its own', $error); $result->{out} . warnings_of($result) eq 't0' }, 20), 'and found when it is down') or diag $result->{err};
}
done_testing;
