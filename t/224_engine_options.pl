# What entries of engines over HTTP may say: how requests go there, with which headers, to which URL; and what an engine teaches by itself.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'" ]);
my $json = JSON::PP->new->canonical;

sub configure {
    my ($entry) = @_;
    $cluster->append_conf("steadytext.daemons = '$entry'");
    $cluster->reload;
    my ($url) = split ' ', $entry;
    return $cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$url'", 'ready');
}
sub generate { my ($prompt, $more) = @_; return $cluster->try_sql("SELECT steadytext_generate('$prompt', use_cache => false" . ($more // '') . ')') }
sub in_file { my ($name, $text) = @_;
    my $file = $cluster->run_dir . "/$name";
    open my $handle, '>', $file or die "$file: $!";
    print {$handle} $text;
    close $handle;
    chown +(getpwnam 'postgres')[2, 3], $file if $> == 0;
    chmod 0600, $file;
    return $file }

# A model that refuses parameters teaches so, once each; the call that it refused is answered.
{
    my $engine = SteadyText::Engine->new(options => ['--o1']);
    ok(configure($engine->url), 'an engine as OpenAI runs for o1');
    my $result = generate('what do you take?', ', max_tokens => 33');
    is($result->{out}, 'what do you take?', 'the first call is answered') or diag $result->{err};
    my $known = $engine->count('/v1/chat/completions');
    is($known, 5, 'after two refusals, each of which the gateway has found true by a request of its own');
    my $asked = $engine->last->{body};
    is($asked->{max_completion_tokens}, 33, 'with what it calls max_tokens');
    ok(!exists $asked->{max_tokens} && !exists $asked->{temperature}, 'without what it refuses');
    generate("again $_") for 1 .. 3;
    is($engine->count('/v1/chat/completions'), $known + 3, 'then it is known');
    is($cluster->sql(q(SELECT breaker || failures || ' ' || reason FROM steadytext_daemons)),
        'closed0 learned: model test/echo takes max_completion_tokens, not max_tokens; model test/echo takes no temperature', 'and shown as the reason');
    is($cluster->sql(q(SELECT string_agg(s, '') FROM steadytext_generate_stream('as a stream') s)), 'as a stream', 'a stream too');

    ok(configure($engine->url . ' max_tokens_param=max_completion_tokens omit="temperature,seed,stop" strict=on header.X-Team="a b" header.api-key=@'
        . in_file('api.key', "secret-0815\n") . ' extra_body=' . in_file('body.json', qq({\n  "reasoning_effort": "low"\n}\n))), 'an entry that says all of it');
    ok($cluster->wait_for(sub { generate('in your words', q(, eos_string => 'END')); !exists $engine->last->{body}{seed} }), 'is heard');
    my $last = $engine->last;
    is_deeply([ sort keys %{ $last->{body} } ], [qw(max_completion_tokens messages model reasoning_effort)], 'what is omitted, renamed, added');
    is_deeply([ @{ $last->{headers} }{qw(X-Team api-key)} ], [ 'a b', 'secret-0815' ], 'headers, one from a file');
    $cluster->sql(q(SELECT steadytext_generate_json('7', '{"type": "integer"}', use_cache => false)));
    ok($engine->last->{body}{response_format}{json_schema}{strict}, 'schemas are strict');
    like($cluster->sql('SELECT fingerprint FROM steadytext_daemons'), qr{^http:test/echo\+[0-9a-f]{8}$}, 'other members are another fingerprint');
    unlike($cluster->log . $cluster->sql('SELECT * FROM steadytext_daemons'), qr/secret-0815/, 'no secret in log or view');
    $cluster->append_conf(sprintf "steadytext.daemons = '%s extra_body=%s'", $engine->url, in_file('bad.json', '[1]'));
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT bool_or(reason ~ 'bad.json" cannot be used: It is not one JSON object') FROM steadytext_daemons)), 'a file that is no JSON object is the reason')
        or diag $cluster->sql('SELECT state, reason FROM steadytext_daemons');
}

# An engine that says so of one request, which may hold whatever its role likes, has taught nothing: the gateway's own request with this parameter is answered.
{
    my $engine = SteadyText::Engine->new;
    ok(configure($engine->url), 'an engine that takes all parameters');
    $cluster->sql('CREATE ROLE liar');
    my @asks = ([ 'steadytext_generate(%s, use_cache => false)', qw(max_tokens temperature seed stop) ],
        [ '(SELECT count(*) FROM steadytext_generate_stream(%s, use_cache => false))', qw(stream_options max_tokens) ],
        [ 'steadytext_embed(%s, use_cache => false)', 'encoding_format' ]);
    my @forms = (sub { { error => { message => "Unsupported parameter: '$_[0]' is not supported with this model.", param => $_[0], code => 'unsupported_parameter' } } },
        sub { { error => { message => "$_[0]: does not support 0 with this model", param => $_[0], code => 'unsupported_value' } } },
        sub { { error => { message => "you wrote: unsupported", param => $_[0], code => undef } } },
        sub { { detail => [ { loc => [ 'body', $_[0] ], msg => 'Extra inputs are not permitted', type => 'extra_forbidden' } ] } });
    for my $ask (@asks) {
        my ($call, @parameters) = @$ask;
        for my $parameter (@parameters) {
            for my $form (@forms) {
                my $lie = '!raw:' . $json->encode({ status => 400, body => $form->($parameter) });
                my $result = $cluster->try_sql('SET ROLE liar; SELECT ' . sprintf $call, "\$p\$$lie\$p\$");
                is($result->{state}, '38000', "$parameter: its caller is told") or diag $result->{err};
            }
        }
    }
    $cluster->sql(q(SELECT steadytext_generate('of another', eos_string => 'END', use_cache => false)));
    my $asked = $engine->last->{body};
    ok(exists $asked->{$_}, "others' calls have $_ as ever") for qw(max_tokens temperature seed stop);
    $cluster->sql(q(SELECT count(*) FROM steadytext_generate_stream('of another', use_cache => false)));
    ok(exists $engine->last->{body}{stream_options}, 'streams their options');
    $cluster->sql(q(SELECT steadytext_embed('of another', use_cache => false)));
    ok(exists $engine->last->{body}{encoding_format}, 'embeddings their format');
    is($cluster->sql(q(SELECT concat_ws(' ', state, breaker, failures, reason) FROM steadytext_daemons)), 'ready closed 0', 'nothing was learned');
}

# A query goes where it belongs; what has no place in an endpoint is refused with a word.
{
    my $azure = SteadyText::Engine->new(options => [ '--query', 'api-version=2024-10-21' ]);
    ok(configure($azure->url . '/chat/completions?api-version=2024-10-21'), 'an endpoint with a query');
    is(generate('with a version')->{out}, 'with a version', 'is asked with it');
    ok(configure($azure->url . '?api-version=2024-10-21'), 'one for texts and embeddings');
    is($cluster->sql(q(SELECT steadytext_embed('x', use_cache => false) IS NOT NULL)), 't', 'too');
    for my $case ([ 'https://user:secret@example.com/v1', qr/user or a password/ ], [ 'https://example.com/v1#x', qr/fragment/ ]) {
        my ($endpoint, $why) = @$case;
        my $result = $cluster->try_sql("SELECT steadytext_daemon_register('$endpoint', 1)");
        is($result->{state}, '22023', "$endpoint is refused");
        like($result->{err}, $why, 'with the reason');
    }
}

# What an engine, or what stands before it, packs is unpacked, within the limit of all replies.
{
    my $engine = SteadyText::Engine->new;
    ok(configure($engine->url), 'an engine that packs what it sends');
    for my $encoding (qw(gzip deflate)) {
        my %answer = (encoding => $encoding, body => { choices => [ { message => { content => "packed by $encoding" }, finish_reason => 'stop' } ] });
        is($cluster->sql('SELECT steadytext_generate($p$!raw:' . $json->encode(\%answer) . '$p$)'), "packed by $encoding", $encoding);
    }
    my $bomb = $cluster->try_sql('SELECT steadytext_generate($p$!raw:' . $json->encode({ encoding => 'gzip', bomb => 128 }) . '$p$)');
    is($bomb->{state}, '08P01', '128 MB of blanks in an eighth of a megabyte are not taken') or diag $bomb->{err};
    is(generate('still here')->{out}, 'still here', 'and harms nobody');
}
done_testing;
