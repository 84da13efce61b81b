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
    my ($url) = map { s/=[^&]*/=***/gr } split ' ', $entry;  # as the view shows it
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

# A key in the query, in a header or in a file is the gateway's and the engine's: what people see has the names of the query, and functions take that name too.
{
    my $engine = SteadyText::Engine->new(options => [ '--key', 'KEYFILE-secret-0815', '--query', 'api-version=2024-10-21&api-key=QUERY-secret-0815' ]);
    my $options = 'header.X-Api-Key=HEADER-secret-0815 key_file=' . in_file('engine.key', "KEYFILE-secret-0815\n");
    my $own     = $engine->url . '?api-version=2024-10-21&api-key=QUERY-secret-0815';
    my $public  = $engine->url . '?api-version=***&api-key=***';
    $cluster->append_conf("steadytext.daemons = '$own $options'");
    $cluster->reload;
    ok($cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$public'", 'ready'), 'an engine whose key stands in the query')
        or diag $cluster->sql('SELECT endpoint, state, reason FROM steadytext_daemons');
    is(generate('with a key')->{out}, 'with a key', 'is asked with it');
    for my $status (400, 403, 404, 429, 500, 503) {
        my $patience = $status == 429 ? '900ms' : '20s';
        my @told = map { $_->{out} . $_->{err} } $cluster->try_sql("SET steadytext.request_timeout = '$patience'; SELECT steadytext_generate('!http:quote=$status x', use_cache => false)"),
            $cluster->try_sql("SET steadytext.request_timeout = '$patience'; SELECT * FROM steadytext_generate_stream('!http:quote=$status x', use_cache => false)");
        unlike("@told", qr/secret/, "HTTP $status: what the engine repeats of it is left out");
        like("@told", qr/api-key=\*\*\*/, "HTTP $status: of the rest nothing") if $status =~ /400|404|500/;
        $cluster->sql("SELECT steadytext_daemon_reset('$own')");
    }

    # In every place where it is named.
    $cluster->sql("SELECT steadytext_daemon_trip('$public')");
    is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'open', 'trip takes the public name');
    is(generate('x')->{state}, '08004', 'and it is tripped');
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_daemon_health WHERE endpoint ~ 'api-key')), 'its row for those who read the original table');
    $cluster->sql("SELECT steadytext_daemon_reset('$public')");
    is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'reset too');
    my %shown = map { $_ => $cluster->sql("SELECT string_agg(t::text, ' ') FROM $_ t") } qw(steadytext_daemon_status() steadytext_daemons steadytext_daemon_health steadytext_health_check()
        steadytext_metrics() steadytext_incidents steadytext_audit_log steadytext_selfcheck() steadytext_models());
    unlike($shown{$_}, qr/secret/, "$_ does not show it") for sort keys %shown;
    like($shown{$_}, qr/api-key=\*{3}/, "$_ has the name") for qw(steadytext_daemon_status() steadytext_daemons steadytext_daemon_health steadytext_health_check() steadytext_metrics());
    is($cluster->sql(q(SELECT daemon FROM steadytext_generate_ex('who answers?'))), $public, 'so has an answer');

    $cluster->sql("CREATE ROLE limited LOGIN; SELECT steadytext_rate_limit_set('limited', 'daemon:$public', requests => 1, per => '1 day')");
    my ($first, $second) = map { $cluster->try_sql("SELECT steadytext_generate('call $_', use_cache => false)", user => 'limited') } 1, 2;
    is($first->{out}, 'call 1', 'a limit takes the public name') or diag $first->{err};
    is($second->{state}, '53400', 'and binds') or diag $second->{err};
    unlike($second->{err}, qr/secret/, 'in words without the key');

    # Two that are called the same are told apart by a number.
    my $twins = $engine->url . '?api-version=2024-10-21&api-key=QUERY-secret-4711';
    $cluster->append_conf("steadytext.daemons = '$own $options, $twins $options'");
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT string_agg(endpoint, ' ' ORDER BY endpoint) FROM steadytext_daemons), "$public $public#2"), 'of two with one public name the second has a number')
        or diag $cluster->sql('SELECT endpoint FROM steadytext_daemons');
    ok($cluster->poll_until("SELECT reason ~ 'Resource not found' FROM steadytext_daemons WHERE endpoint = '$public#2'"), 'its engine refuses the query');
    unlike($cluster->sql('SELECT string_agg(t::text, $$ $$) FROM steadytext_daemons t'), qr/secret/, 'in words without it');
    $cluster->sql("SELECT steadytext_daemon_trip('$public#2')");
    is($cluster->sql('SELECT endpoint FROM steadytext_daemons WHERE breaker <> \'closed\''), "$public#2", 'by which it is tripped');
    $cluster->sql("SELECT steadytext_daemon_drain('$public#2')");
    ok($cluster->poll_until(q(SELECT string_agg(endpoint, ' ') FROM steadytext_daemons WHERE state = 'draining'), "$public#2"), 'drained');
    is($cluster->sql("SELECT steadytext_daemon_register('$public', 7)"), 'f', 'the first is there');
    ok($cluster->poll_until(q(SELECT string_agg(endpoint, ' ') FROM steadytext_daemons WHERE weight = 7), $public), 'and has its weight');
    $cluster->sql("SELECT steadytext_daemon_unregister('$public#2')");
    ok($cluster->poll_until(q(SELECT string_agg(endpoint, ' ') FROM steadytext_daemons), $public), 'the second is taken out');
    my $unknown = $cluster->try_sql("SELECT steadytext_daemon_trip('https://example.com/v1?api-key=OTHER-secret')");
    is($unknown->{state}, '42704', 'one that is not there');
    unlike($unknown->{err} =~ s/^(?:STATEMENT|LINE).*$//mgr, qr/OTHER-secret/, 'is not repeated');
    # PostgreSQL itself logs settings that change and statements that fail.
    my $log = join "\n", grep { !/parameter "steadytext.daemons" changed|STATEMENT:|statement:/ } split /\n/, $cluster->log;
    my ($line) = $log =~ /^(.*(?:QUERY|HEADER|KEYFILE|OTHER)-secret.*)$/m;
    is($line, undef, 'the log does not have it');
    $cluster->sql('ALTER SYSTEM RESET steadytext.daemons');
}

# What an engine, or what stands before it, packs is unpacked, within the limit of all replies.
{
    my $engine = SteadyText::Engine->new;
    ok(configure($engine->url), 'an engine that packs what it sends');
    generate('what do you unpack?');
    my %offered = map { $_ => 1 } split /, */, $engine->last->{headers}{'Accept-Encoding'};  # all that libcurl was built with
    ok($offered{$_}, "$_ is offered") for qw(gzip deflate);
    my $events = [ map { 'data: ' . $json->encode({ choices => [ { index => 0, delta => { content => "$_ " } } ] }) . "\n\n" } 1 .. 3 ];
    push @$events, "data: [DONE]\n\n";
    for my $encoding (qw(gzip deflate br zstd)) {
        SKIP: {
            skip "this libcurl has no $encoding" unless $offered{$encoding};
            my %answer = (encoding => $encoding, body => { choices => [ { message => { content => "packed by $encoding" }, finish_reason => 'stop' } ] });
            is($cluster->sql('SELECT steadytext_generate($p$!raw:' . $json->encode(\%answer) . '$p$)'), "packed by $encoding", $encoding);
            my $refused = generate('!raw:' . $json->encode({ encoding => $encoding, status => 400, body => { error => { message => "words packed by $encoding" } } }));
            like($refused->{err}, qr/words packed by $encoding/, "$encoding: what the engine says of an error");
            is($cluster->sql(q{SELECT string_agg(s, '') FROM steadytext_generate_stream($p$!raw:} . $json->encode({ encoding => $encoding, stream => $events }) . '$p$) s'),
                '1 2 3 ', "$encoding: a stream");
            my $bomb = $cluster->try_sql('SELECT steadytext_generate($p$!raw:' . $json->encode({ encoding => $encoding, bomb => 128 }) . '$p$)');
            is($bomb->{state}, '08P01', "$encoding: 128 MB of blanks, packed small, are not taken") or diag $bomb->{err};
            my $damaged = $cluster->try_sql('SELECT steadytext_generate($p$!raw:' . $json->encode({ headers => { 'Content-Encoding' => $encoding }, body => 'not packed at all' }) . '$p$)');
            is($damaged->{state}, '08006', "$encoding: nor is what cannot be unpacked") or diag $damaged->{err};
            like($damaged->{err}, qr/DETAIL:.*[Ee]ncoding[^.]*\.$/m, "$encoding: which is told");
            is(generate('still here')->{out}, 'still here', "$encoding: and harms nobody");
        }
    }
    my $unknown = $cluster->try_sql('SELECT steadytext_generate($p$!raw:' . $json->encode({ headers => { 'Content-Encoding' => 'x-unheard-of' }, body => 'whatever' }) . '$p$)');
    is($unknown->{state}, '08006', 'an encoding that nobody has asked for is no answer') or diag $unknown->{err};
    like($unknown->{err}, qr/DETAIL:.*encodings\.$/m, 'and told as such');
    is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'none of it is held against the engine');
    is(generate('still here')->{out}, 'still here', 'and harms nobody');
}
done_testing;
