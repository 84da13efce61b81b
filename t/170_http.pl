# Engines that speak OpenAI's protocol over HTTP: what they are asked, what becomes of their answers, and of their failures.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $engine  = SteadyText::Engine->new;
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10s'" ]);

sub configure {
    my (@entries) = @_;
    $cluster->append_conf(sprintf "steadytext.daemons = '%s'", join ', ', @entries);
    $cluster->reload;
    return;
}
sub becomes {
    my ($engine_or_url, $state, $test) = @_;
    my $url = ref $engine_or_url ? $engine_or_url->url : $engine_or_url;
    ok($cluster->poll_until("SELECT state FROM steadytext_daemons WHERE endpoint = '$url'", $state), $test)
        or diag $cluster->sql('SELECT * FROM steadytext_daemons');
    return;
}
sub generate { my ($prompt, $more) = @_; return $cluster->try_sql("SELECT steadytext_generate('$prompt', use_cache => false" . ($more // '') . ')') }
sub metric { my ($name) = @_; return $cluster->sql("SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_$name'") }

# An engine is up once it has listed its models; calls go as chats, and come back as from any daemon.
{
    configure($engine->url);
    becomes($engine, 'ready', 'an engine is ready');
    is($cluster->sql('SELECT kind, fingerprint FROM steadytext_daemons'), 'http|http:test/echo', 'known by its kind and model');
    is(generate('Why is the sky blue?')->{out}, 'Why is the sky blue?', 'it answers');
    my $asked = $engine->last->{body};
    is_deeply($asked->{messages}, [ { role => 'user', content => 'Why is the sky blue?' } ], 'asked as a chat');
    is_deeply([ @{$asked}{qw(model seed temperature max_tokens)} ], [ 'test/echo', 42, 0, 512 ], 'with model, seed, temperature and limit');
    generate('other', ', seed => 7, max_tokens => 9, eos_string => $$END$$');
    is_deeply([ @{ $engine->last->{body} }{qw(seed max_tokens)}, @{ $engine->last->{body}{stop} } ], [ 7, 9, 'END' ], 'as the caller wants');
    is($cluster->sql(q(SELECT model, fingerprint, daemon, prompt_tokens, completion_tokens, finish_reason, degraded
        FROM steadytext_generate_ex('one two three'))), 'test/echo|http:test/echo|' . $engine->url . '|3|3|stop|f', 'and the whole answer is told');
    is($cluster->sql(q(SELECT cached FROM steadytext_generate_ex('one two three'))), 't', 'it is cached');
    is($cluster->sql(q(SELECT round((steadytext_embed('a', use_cache => false) <#> steadytext_embed('a', use_cache => false))::numeric, 4))), '-1.0000',
        'embeddings are of length 1');
    is($engine->count('/v1/embeddings'), 2, 'from /v1/embeddings');
    my $many = $cluster->sql(q(SET steadytext.read_ahead = off; SELECT count(*) FILTER (WHERE steadytext_generate('row ' || i, use_cache => false) = 'row ' || i) FROM generate_series(1, 300) i));
    is($many, 300, 'row by row');
    cmp_ok($engine->count('connections'), '<', 30, 'over connections that are kept');

    my $ranking = $cluster->try_sql(q(SELECT * FROM steadytext_rerank('trains', ARRAY['railways', 'bread'])));
    is($ranking->{state}, '42704', 'it ranks nothing');
    like($ranking->{err}, qr/no daemon serves a model that ranks documents\nDETAIL:  Engines over HTTP do not rank;.*\nHINT:  .*steadytext\.embedded_reranker_model.*steadytext\.daemons/,
        '  which is said, with what to do');
}

# What goes wrong with one request is no harm to the others.
{
    my $rss = sub { return $cluster->gateway_memory('VmRSS') };
    my $before = $rss->();
    for my $case (
        [ 'garbage',    '08P01', 'half a JSON text, not UTF-8' ],
        [ 'html',       '08P01', 'a web page' ],
        [ 'huge',       '08P01', '64 MB' ],
        [ 'endless',    '08P01', 'a reply without end' ],
        [ 'half',       '08006', 'half a reply' ],
        [ 'redirect',   '08006', 'a redirect' ],
        [ 'status=500', '38000', 'HTTP 500 of an engine that works otherwise' ],
        [ 'status=400', '38000', 'what is wrong with the request' ],
    ) {
        my ($fault, $state, $what) = @$case;
        $cluster->sql(sprintf q(SELECT steadytext_daemon_reset('%s')), $engine->url);
        my $result = generate("!http:$fault x");
        is($result->{state}, $state, "$what: SQLSTATE $state") or diag $result->{err};
        is(generate('still here')->{out}, 'still here', "$what: the next is answered");
    }
    is($engine->count('/v1/stolen'), 0, 'a redirect is not followed');
    cmp_ok($rss->() - $before, '<', 32 * 1024, 'the gateway has not grown by 32 MB');
    like(generate('!http:status=400 x')->{err}, qr/as asked for/, 'the engine says what is wrong with a request');
}

# A cancelled call closes the engine's connection, and its slot is free.
{
    my $session = $cluster->session->send(q(SELECT steadytext_generate('!http:hang x', use_cache => false)));
    ok($cluster->poll_until('SELECT in_flight FROM steadytext_daemons', 1), 'a call is under way');
    $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%!http:hang x%' AND pid <> pg_backend_pid()));
    is($session->finish->{state}, '57014', 'it is cancelled');
    ok($cluster->wait_for(sub { $engine->count('cancelled') == 1 }), 'the engine sees it');
    ok($cluster->poll_until(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'), 0), 'no slot is in use');
    my $late = $cluster->try_sql(q(SET steadytext.request_timeout = '300ms'; SELECT steadytext_generate('!http:slow=3000 x', use_cache => false)));
    is($late->{state}, 'HYT00', 'a deadline that has passed has a state of its own');
    cmp_ok($late->{seconds}, '<', 2.5, 'and is kept');
}

# 429 is no failure: the call waits for as long as the engine asks, or goes to another.
{
    my $other = SteadyText::Engine->new;
    my $failures = sub { $cluster->sql('SELECT sum(failures) FROM steadytext_daemons') };
    my $before = $failures->();
    $engine->busy(1);
    my $waited = generate('patience');
    is($waited->{out}, 'patience', 'it waits');
    cmp_ok($waited->{seconds}, '>=', 0.9, 'as long as Retry-After says');
    $engine->busy(1);
    my $short = $cluster->try_sql(q(SET steadytext.request_timeout = '500ms'; SELECT steadytext_generate('no time', use_cache => false)));
    is($short->{state}, '57P03', 'unless its deadline is earlier: then it ends at once') or diag $short->{err};
    cmp_ok($short->{seconds}, '<', 0.45, 'at once');
    is($failures->(), $before, 'no failure is counted');
    cmp_ok(metric('come_again_total'), '>=', 2, 'but this is');
    configure($engine->url, $other->url);
    becomes($other, 'ready', 'a second engine');
    $engine->busy(1000);
    is($cluster->sql(q(SELECT count(*) FILTER (WHERE steadytext_generate('row ' || i, use_cache => false) = 'row ' || i) FROM generate_series(1, 50) i)), 50,
        'while one is busy the other serves');
    $engine->busy(0);
}

# Keys come from files that only the server can read, and are never shown.
{
    my $key  = 'sk-secret-0123456789';
    my $keyed = SteadyText::Engine->new(options => [ '--key', $key ]);
    my $file = $cluster->run_dir . '/engine.key';
    my $write = sub {
        my ($text, $mode) = @_;
        open my $handle, '>', $file or die "$file: $!";
        print {$handle} "$text\n";
        close $handle;
        chown +(getpwnam 'postgres')[2, 3], $file if $> == 0;
        chmod $mode, $file;
    };
    my $reason = sub { my ($like, $test) = @_;
        ok($cluster->poll_until("SELECT bool_or(reason ~ '$like') FROM steadytext_daemons"), $test) or diag $cluster->sql('SELECT * FROM steadytext_daemons') };
    $write->($key, 0644);
    configure($keyed->url . " key_file=$file");
    $reason->('cannot be used: It can be read by others', 'a key that others can read is not used');
    $write->('sk-wrong-9876543210', 0600);
    $reason->('refuses the key', 'a wrong key is refused');
    $write->($key, 0600);
    becomes($keyed, 'ready', 'the right one is taken without a reload');
    is(generate('with a key')->{out}, 'with a key', 'and serves');
    my $shown = $cluster->log . $cluster->sql('SELECT * FROM steadytext_daemons') . $cluster->sql('SHOW steadytext.daemons');
    unlike($shown, qr/sk-(?:secret|wrong)/, 'no key in log, view or setting');
}

# provider:model goes to that provider's engine, and never to another.
{
    my $remote = SteadyText::Engine->new(options => [ '--model', 'big', '--model', 'small' ]);
    configure($engine->url, $remote->url . ' provider=cloud');
    becomes($remote, 'ready', 'an engine of a provider');
    my $before = $remote->count('/v1/chat/completions');
    is(generate('to the cloud', q(, model => 'cloud:small', unsafe_mode => true))->{out}, 'to the cloud', 'it is asked');
    is($engine->last->{body}{model}, 'test/echo', 'the local one was not');
    is($remote->last->{body}{model}, 'small', 'by the name it knows');
    is(generate('x', q(, model => 'cloud:small'))->{state}, '22023', 'it needs unsafe_mode');
    for my $on_failure (qw(error fallback)) {
        my $unknown = $cluster->try_sql("SET steadytext.on_failure = '$on_failure'; SELECT steadytext_generate('x', use_cache => false, model => 'nobody:small', unsafe_mode => true)");
        is($unknown->{state}, '22023', "an unknown provider is an error (on_failure = $on_failure)") or diag $unknown->{out};
        is($cluster->try_sql("SET steadytext.on_failure = '$on_failure'; SELECT steadytext_embed('x', use_cache => false, model => 'nobody:small', unsafe_mode => true)")->{state},
            '22023', 'for embeddings too');
    }
    is(generate('x', q(, model => 'cloud:none', unsafe_mode => true))->{state}, '38000', 'an unknown model of a known provider is that provider\'s to refuse');
    is($remote->count('/v1/chat/completions'), $before + 2, 'it was asked twice in all');
    $remote->stop;
    ok($cluster->wait_for(sub { generate('x', q(, model => 'cloud:small', unsafe_mode => true))->{state} eq '08001' }, 20), 'when it is down nobody answers for it');
}

# A model without a chat template, an engine that only embeds, a path of its own.
{
    configure($engine->url . '/completions');
    becomes($engine->url . '/completions', 'ready', 'an entry for completions');
    is(generate('complete me')->{out}, 'complete me', 'serves');
    is($engine->last->{body}{prompt}, 'complete me', 'as a completion');
    configure($engine->url . '/embeddings');
    becomes($engine->url . '/embeddings', 'ready', 'an entry for embeddings');
    is(generate('x')->{state}, '42704', 'generates nothing');
}

# An engine that answers 501 to what its model is not for is asked for it no more, and is not the worse for it.
{
    my $writer = SteadyText::Engine->new(options => [ '--no-embeddings' ]);
    configure($writer->url, $engine->url . ' weight=1');
    becomes($_, 'ready', 'one that does and one that does not embed') for $writer, $engine;
    is($cluster->sql(q(SET steadytext.read_ahead = off; SELECT count(steadytext_embed('row ' || i, use_cache => false)) FROM generate_series(1, 40) i)), 40,
        'every embedding comes, from the other');
    is($writer->count('/v1/embeddings'), 2, 'which the first was asked for once, and once by the gateway itself');
    is($cluster->sql(sprintf q(SELECT breaker || ' ' || failures FROM steadytext_daemons WHERE endpoint = '%s'), $writer->url), 'closed 0', 'that is no failure');
    configure($writer->url);
    ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 1), 'alone');
    is($cluster->try_sql(q(SELECT steadytext_embed('x', use_cache => false)))->{state}, '42704', 'nobody embeds');
    is(generate('it writes')->{out}, 'it writes', 'and it writes');
}

# TLS: who cannot prove to be the host gets no prompt.
SKIP: {
    my $dir = $cluster->run_dir;
    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout $dir/ca.key -out $dir/ca.pem > $dir/openssl.log 2>&1 "
        . "&& openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout $dir/engine.key.pem -out $dir/engine.csr >> $dir/openssl.log 2>&1 "
        . "&& printf 'subjectAltName=DNS:localhost' > $dir/san "
        . "&& openssl x509 -req -in $dir/engine.csr -CA $dir/ca.pem -CAkey $dir/ca.key -CAcreateserial -days 2 -extfile $dir/san -out $dir/engine.crt >> $dir/openssl.log 2>&1 "
        . "&& cat $dir/engine.crt $dir/engine.key.pem > $dir/engine.pem && chmod 644 $dir/ca.pem") == 0 or die 'openssl failed';
    my $secure = SteadyText::Engine->new(options => [ '--certificate', "$dir/engine.pem" ]);
    configure($secure->url('localhost'));
    ok($cluster->poll_until(q(SELECT reason ~ 'certificate' AND state = 'connecting' FROM steadytext_daemons)), 'an unknown authority is not trusted')
        or diag $cluster->sql('SELECT * FROM steadytext_daemons');
    configure($secure->url('localhost') . " ca_file=$dir/ca.pem");
    becomes($secure->url('localhost'), 'ready', 'with ca_file it is');
    is(generate('secret')->{out}, 'secret', 'and serves');
    configure($secure->url('127.0.0.1') . " ca_file=$dir/ca.pem");
    ok($cluster->poll_until(q(SELECT reason ~ '(name|match)' AND state = 'connecting' FROM steadytext_daemons)), 'under another name it is not')
        or diag $cluster->sql('SELECT * FROM steadytext_daemons');
}
done_testing;
