# Whose failure it is when an engine answers badly: what is wrong with one request is told its caller in the engine's own words and harms nobody;
# what is wrong with the engine opens its breaker; an engine that asks to come again is waited for.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Engine;
use Test::More;

my $engine  = SteadyText::Engine->new;
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '10s'",
    'steadytext.breaker_threshold = 3', sprintf "steadytext.daemons = '%s'", $engine->url ]);
my $json = JSON::PP->new->canonical;

sub configure { $cluster->append_conf(sprintf "steadytext.daemons = '%s'", join ', ', @_); $cluster->reload; return }
sub generate { my ($prompt) = @_; return $cluster->try_sql("SELECT steadytext_generate(\$p\$$prompt\$p\$, use_cache => false)") }
sub embed { my ($text) = @_; return $cluster->try_sql("SELECT steadytext_embed(\$p\$$text\$p\$, use_cache => false) IS NOT NULL") }
sub answered { my (%reply) = @_; return '!raw:' . $json->encode(\%reply) }
sub of_engine { my ($what) = @_; return $cluster->sql(sprintf q(SELECT %s FROM steadytext_daemons WHERE endpoint = '%s'), $what, $engine->url) }
sub asked { return $engine->count('/v1/chat/completions') + $engine->count('/v1/embeddings') }
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'the engine is ready');

# In every form in which engines say it: the words arrive, once, on one line, and neither breaker nor retry takes notice.
for my $case (
    [ 400, { error => { message => 'maximum context length is 4096 tokens', type => 'invalid_request_error', code => undef } }, qr/maximum context length is 4096 tokens/, 'OpenAI' ],
    [ 400, { object => 'error', message => 'too long for me' }, qr/too long for me/, 'older vLLM' ],
    [ 413, { error => 'input is too large' }, qr/input is too large/, 'Ollama' ],
    [ 422, { detail => [ { loc => [ 'body', 'max_tokens' ], msg => 'ensure this value is greater than 0' }, { loc => ['body'], msg => 'bad' } ] },
        qr/body\.max_tokens: ensure this value is greater than 0; body: bad/, 'FastAPI' ],
    [ 400, [ { error => { code => 400, message => 'tokens: out of range', status => 'INVALID_ARGUMENT' } } ], qr/tokens: out of range/, 'Google' ],
    [ 400, "<html>\n<head><style>b {}</style></head><body><h1>Bad Request</h1>\r\nnot today</body></html>", qr/: Bad Request not today$/m, 'a web page' ],
    [ 400, "line one\nline two\e[31m red\x07", qr/: line one line two \[31m red$/m, 'a text with control characters' ],
    [ 404, { error => { message => 'The model does not exist.' } }, qr/does not exist/, 'a model that it has not' ],
    [ 500, { error => { message => 'input is too large to process. increase the physical batch size', type => 'server_error', code => 500 } },
        qr/increase the physical batch size/, 'llama-server: 500 for what is wrong with the input' ],
    [ 503, { error => { message => 'no slot can hold this prompt' } }, qr/no slot can hold/, '503 for what is wrong with the input' ],
) {
    my ($status, $body, $words, $what) = @$case;
    for my $ask (\&generate, \&embed) {
        for my $again (1 .. 4) {  # more often than opens a breaker
            my $before = asked();
            my $result = $ask->(answered(status => $status, body => $body));
            is($result->{state}, '38000', "$what: an error of the call") or diag $result->{err};
            like($result->{err}, $words, "$what: in the engine's words");
            unlike($result->{err}, qr/[\x00-\x09\x0b-\x1f\x7f]/, "$what: without control characters");
            cmp_ok(asked() - $before, '<=', 2, "$what: asked once, and at most one check with it");
            last if $status < 500;
        }
    }
}
is(of_engine(q(state || ' ' || breaker || ' ' || failures)), 'ready closed 0', 'the engine has failed at nothing');
is($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_retries_total')), 0, 'nothing was sent twice');
like(generate(answered(status => 400, body => { error => 'x' x 5000 }))->{err}, qr/the daemon reported an error: x{200}\nDETAIL:  The whole of it: x{400}$/m,
    'long words are cut');

# An asynchronous call and one of a stored answer have the words too, and nothing is cached.
{
    my $prompt = answered(status => 400, body => { error => 'words for later' });
    my $id = $cluster->sql("SELECT steadytext_generate_async(\$p\$$prompt\$p\$)");
    ok($cluster->poll_until("SELECT error ~ 'words for later' FROM steadytext_check_async('$id')"), 'an asynchronous call tells the words')
        or diag $cluster->sql("SELECT * FROM steadytext_check_async('$id')");
    is($cluster->sql('SELECT count(*) FROM steadytext_cache'), 0, 'no failure is cached');
}

# Whatever one role's requests come back with, over and over, another role's are answered. 429 and 529 have a meaning of their own, see below.
{
    $cluster->sql('CREATE ROLE alice; CREATE ROLE bob');
    my @statuses = (300 .. 308, 400 .. 428, 430, 431, 451, 460, 499 .. 511, 520 .. 528, 530, 561, 598, 599);
    my %bodies = (empty => '', text => 'no such thing', html => '<html><body>Denied</body></html>', json => { error => { message => 'Your input was flagged' } });
    my @table = map { my $status = $_; [ "HTTP $status", map { { status => $status, body => $bodies{$_} } } sort keys %bodies ] } @statuses;
    push @table, [ 'a connection closed without a reply', map { { hangup => 1 } } 1 .. 4 ];
    push @table, map { my $status = $_; [ "HTTP $status, and a body after all", map { { status => $status, body => $_, late => 20 } } 'HTTP/1.1 200 OK', 'no such thing', { error => 'none' } ] } 204, 205, 304;
    push @table, [ 'HTTP 200 with nonsense', map { { body => $_ } } '', 'nonsense', {}, { choices => [ { message => { content => "\0" } } ], data => [ { embedding => ['x'] } ] } ];
    for my $case (@table) {
        my ($what, @replies) = @$case;
        my @calls = map { my $prompt = answered(%$_);
            map { "BEGIN PERFORM $_; EXCEPTION WHEN OTHERS THEN failed := failed + 1; END;" } "steadytext_generate(\$p\$$prompt\$p\$, use_cache => false)",
                "steadytext_embed(\$p\$$prompt\$p\$, use_cache => false)", "count(*) FROM steadytext_generate_stream(\$p\$$prompt\$p\$, use_cache => false)" } @replies;
        my $result = $cluster->try_sql("SET ROLE alice; SET client_min_messages = warning; DO \$do\$ DECLARE failed int := 0; BEGIN @calls "
            . "IF failed <> ${\ scalar @calls} THEN RAISE '% failed', failed; END IF; END \$do\$");
        is($result->{err}, '', "$what: all of one role's calls fail");
        $result = $cluster->try_sql("SET ROLE bob; SELECT steadytext_generate('mine', use_cache => false), steadytext_embed('mine', use_cache => false) IS NOT NULL, "
            . "(SELECT string_agg(t::text, '') FROM steadytext_generate_stream('mine', use_cache => false) t)");
        like($result->{out}, qr/^mine\|t\|.*mine/, "$what: those of another are answered") or diag $result->{err};
        is(of_engine(q(state || ' ' || breaker)), 'ready closed', "$what: the engine is none the worse");
    }
}

# An engine that puts off one role's requests, over and over, has put off that role: the gateway's own request is answered, and so are other roles'.
{
    my @replies = (
        [ 'HTTP 429', status => 429, body => { error => { message => 'Request too large: limit 30000 tokens per minute', code => 'rate_limit_exceeded' } } ],
        [ 'HTTP 429 of a text', status => 429, body => 'slow down' ],
        [ 'HTTP 529', status => 529, body => { error => { type => 'overloaded_error', message => 'Overloaded' } } ],
        [ 'HTTP 503 while it loads', status => 503, body => { error => { message => 'Loading model' } } ],
        [ 'HTTP 503 with Retry-After', status => 503, body => 'later' ],
        [ 'HTTP 200 with a rate limit', body => { error => { message => 'wait', code => 'rate_limit_exceeded' } } ],
    );
    my %asks = (a_text => 'steadytext_generate(%s, use_cache => false)', an_embedding => q(steadytext_embed(%s, use_cache => false) IS NOT NULL),
        a_stream => q((SELECT string_agg(t::text, '') FROM steadytext_generate_stream(%s, use_cache => false) t)));
    $cluster->sql('ALTER ROLE alice LOGIN; ALTER ROLE bob LOGIN');
    my $is_put_off = sub { my ($role, $call) = @_; my $result = $cluster->try_sql("SELECT $call", user => $role); return $result->{state} eq '57P03' ? 'put off' : $result->{state} || 'answered' };
    for my $case (@replies) {
        my ($what, %reply) = @$case;
        for my $kind (sort keys %asks) {
            my $call = sub { sprintf $asks{$kind}, "\$p\$$_[0]\$p\$" };
            is($is_put_off->(alice => $call->(answered(%reply, headers => { 'Retry-After' => '50' }))), 'put off', "$what to $kind: the call of one role is put off");
            my $before = asked();
            is($is_put_off->(alice => $call->('small')), 'put off', "$what to $kind: and so is her next one");
            is(asked(), $before, "$what to $kind: without asking the engine");
            is($is_put_off->(bob => $call->('mine')), 'answered', "$what to $kind: another role is answered");
            is(of_engine(q(concat_ws(' ', state, breaker, until))), 'ready closed', "$what to $kind: the engine is none the worse");
            is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'daemon')), 'healthy', "$what to $kind: and healthy");
            $cluster->sql(sprintf q(SELECT steadytext_daemon_reset('%s')), $engine->url);
            ok($cluster->wait_for(sub { $is_put_off->(alice => $call->('small')) eq 'answered' }), "$what to $kind: a reset ends her wait");
        }
    }
}

# An engine that has no path for embeddings is asked for texts.
for my $status (404, 405) {
    my $writer = SteadyText::Engine->new;
    $writer->next(path => '/v1/embeddings', times => 1000, status => $status, body => '404 page not found');
    configure($writer->url);
    ok($cluster->poll_until("SELECT string_agg(state, ' ') FROM steadytext_daemons WHERE endpoint = '" . $writer->url . q('), 'ready'), 'an engine without embeddings');
    is(embed('x')->{state}, '42704', "HTTP $status of the embeddings: nobody embeds") for 1 .. 4;
    is(generate('it writes')->{out}, 'it writes', 'and it writes');
    is($cluster->sql('SELECT breaker || failures FROM steadytext_daemons'), 'closed0', 'that is no failure');
}
configure($engine->url);
ok($cluster->poll_until(sprintf(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready' AND endpoint = '%s'), $engine->url), 1), 'the first engine is back');

# What stands before the engine fails without JSON: the call is sent again, and its words are the reason. The engine answers, so its breaker stays closed.
for my $case ([ 404, '404 page not found' ], [ 502, "<html><body>\n502 Bad Gateway\n</body></html>" ], [ 503, 'no healthy upstream' ]) {
    my ($status, $body) = @$case;
    my $result = generate(answered(status => $status, body => $body));
    is($result->{state}, '08006', "HTTP $status without JSON: a lost call") or diag $result->{err};
    my ($words) = $body =~ /(\d+ (?:page not found|Bad Gateway)|no healthy upstream)/;
    like($result->{err}, qr/HTTP $status: \Q$words\E/, "HTTP $status: with the words");
}
is(of_engine('breaker'), 'closed', 'the breaker is closed');

# An engine that fails at anything is told apart by one request of the gateway's own.
for my $case (
    [ qr/HTTP 500: CUDA error/, status => 500, body => { error => { message => 'CUDA error: out of memory' } } ],
    [ qr/HTTP 500/, status => 500 ],
    [ qr/refuses the key/, status => 403, body => { error => { message => 'no' } } ],
    [ qr/HTTP 404/, status => 404, body => 'page not found' ],
    [ qr/redirects/, status => 302 ],
    [ qr/did not|else than|empty reply/i, hangup => 1 ],
    [ qr/something else/, body => 'nonsense' ],
) {
    my ($words, @reply) = @$case;
    $engine->next(path => $_, times => 1000, @reply) for '/v1/chat/completions', '/v1/embeddings';
    my $result;
    ok($cluster->wait_for(sub { ($result = generate('anything'))->{state}; of_engine('breaker') eq 'open' }), 'an engine that fails at anything, a second after it last worked')
        or diag $result->{err};
    like(of_engine('reason'), $words, 'is told, and its breaker open');
    $engine->next(path => 'none', clear => 1);
    $cluster->sql(sprintf q(SELECT steadytext_daemon_reset('%s')), $engine->url);
    is(generate('better')->{out}, 'better', 'once it works again it is asked');
}

# What an engine repeats of a request is for its caller alone: whoever watches the server sees what happened, not the words.
{
    $cluster->sql('CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
    my $seen = sub { return $cluster->sql(q(SELECT concat_ws(' ', (SELECT string_agg(d::text, ' ') FROM steadytext_daemons d), (SELECT string_agg(h::text, ' ') FROM steadytext_health_check() h))), user => 'watcher') };
    for my $status (402, 403, 404, 429, 500, 503) {
        for my $body ('of my secret', { error => { message => 'of my secret', code => 'of my secret', type => 'of my secret' } }) {
            my $what = "HTTP $status, " . (ref $body ? 'JSON' : 'a text');
            my $reply = answered(status => $status, body => $body, headers => { 'Retry-After' => '1' });
            $cluster->try_sql("SET steadytext.request_timeout = '900ms'; SELECT steadytext_$_(\$p\$$reply\$p\$, use_cache => false)", user => 'alice') for qw(generate embed);
            unlike($seen->(), qr/my secret/, "$what: no view shows what it repeats of a request");
            $cluster->sql(sprintf q(SELECT steadytext_daemon_reset('%s')), $engine->url);
        }
    }
    like($seen->(), qr/HTTP 500|HTTP 503/, 'but what happened');
    like(generate(answered(status => 502, body => 'of my secret'))->{err}, qr/HTTP 502: of my secret/, 'the caller sees all of it');
}

# 503 while it loads, or with Retry-After, is as 429: the call waits, and the view says why.
for my $case (
    [ [ status => 503, body => { error => { message => 'Loading model', type => 'unavailable_error', code => 503 } } ], 'loading', qr/Loading model/, 'an engine that loads its model' ],
    [ [ status => 503, headers => { 'Retry-After' => '1' }, body => 'maintenance' ], 'ready', qr/maintenance/, '503 with Retry-After' ],
    [ [ status => 529, body => { error => { type => 'overloaded_error', message => 'Overloaded' } } ], 'ready', qr/Overloaded/, 'an overloaded engine' ],
    [ [ body => { error => { message => 'slow down', code => 429 } } ], 'ready', qr/slow down/, 'HTTP 200 with an error of code 429' ],
    [ [ body => { error => { message => 'wait a little', code => 'rate_limit_exceeded' } } ], 'ready', qr/wait a little/, 'HTTP 200 with a rate limit by name' ],
) {
    my ($reply, $state, $words, $what) = @$case;
    my $failures = of_engine('failures');
    $engine->next(path => '/v1/chat/completions', times => 3, @$reply);
    my $session = $cluster->session->send(q(SELECT steadytext_generate('patience', use_cache => false)));
    ok($cluster->wait_for(sub { of_engine(q(state || ' ' || coalesce(reason, ''))) =~ /^$state .*$words/ }), "$what: the view says why it waits, state $state")
        or diag of_engine(q(state || ' ' || coalesce(reason, '')));
    my $result = $session->finish;
    is($result->{out}, 'patience', "$what: the call has waited") or diag $result->{err};
    is(of_engine(q(state || ' ' || coalesce(reason, '') || failures)), "ready $failures", "$what: which is over, and was no failure");
}

# While it is put off health is degraded, and says until when; steadytext_daemon_reset() ends the wait.
for my $case ([ 429, 'slow down', 'ready' ], [ 503, 'Loading model', 'loading' ]) {
    my ($status, $words, $state) = @$case;
    my $health = sub { $cluster->sql("SELECT $_[0] FROM steadytext_health_check() WHERE component = 'daemon'") };
    $engine->next(path => $_, times => 1000, status => $status, headers => { 'Retry-After' => '50' }, body => { error => { message => $words } }) for '/v1/chat/completions', '/v1/embeddings';
    my $session = $cluster->session->send(q(SET steadytext.request_timeout = '100s'; SELECT steadytext_generate('kept waiting', use_cache => false)));
    ok($cluster->wait_for(sub { of_engine('until > now()') eq 't' }), "HTTP $status: until when it is put off is shown");
    is(of_engine('state'), $state, "HTTP $status: state $state");
    my $until = of_engine('until');
    is($health->('status'), 'degraded', "HTTP $status: which is degraded");
    like($health->(q(details ->> 'reason')), qr/\Q$words/, 'with its words');
    is($health->("abs(extract(epoch FROM (details ->> 'until')::timestamptz - '$until')) < 1"), 't', 'and until when');
    is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'overall')), 'degraded', 'so is all');
    $engine->next(path => 'none', clear => 1);
    $cluster->sql(sprintf q(SELECT steadytext_daemon_reset('%s')), $engine->url);
    my $result = $session->finish;
    is($result->{out}, 'kept waiting', "HTTP $status: a reset ends the wait") or diag $result->{err};
    is($cluster->sql("SELECT clock_timestamp() < '$until'"), 't', 'before its time');
    is($health->(q(status || coalesce(details ->> 'until', ''))) . of_engine(q(state || coalesce(reason || until, ''))), 'healthyready', 'and all is well');
}

# HTTP 200 with an error object: its code decides.
for my $case (
    [ { error => { message => 'prompt refused', code => 400 } }, '38000', qr/prompt refused/ ],
    [ { error => 'no code at all' }, '38000', qr/no code at all/ ],
    [ { error => { message => 'boom', type => 'server_error' } }, '38000', qr/boom/ ],
) {
    my ($body, $state, $words) = @$case;
    my $result = generate(answered(body => $body));
    is($result->{state}, $state, 'HTTP 200 with an error') or diag $result->{err};
    like($result->{err}, $words, 'has its words');
    my $stream = $cluster->try_sql('SELECT steadytext_generate_stream($p$' . answered(body => $body) . '$p$, use_cache => false)');
    is($stream->{state}, $state, 'as a stream too') or diag $stream->{err};
    like($stream->{err}, $words, 'with its words');
}

# An account that has nothing left is not asked to come again: another engine answers, or the call fails at once.
{
    my @used_up = (path => '/v1/chat/completions', times => 1, status => 429, headers => { 'Retry-After' => '5' },
        body => { error => { message => 'You exceeded your current quota', type => 'insufficient_quota', code => 'insufficient_quota' } });
    $engine->next(@used_up);
    my $before = asked();
    my $result = generate('for money');
    is($result->{state}, '53000', 'a quota that is used up') or diag $result->{err};
    like($result->{err}, qr/You exceeded your current quota/, 'is told');
    cmp_ok($result->{seconds}, '<', 1, 'at once');
    cmp_ok(asked() - $before, '<=', 2, 'and asked once, and at most one check with it');
    my $other = SteadyText::Engine->new;
    configure($engine->url . ' weight=1000', $other->url);
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 2), 'another engine');
    $engine->next(@used_up);
    is(generate('for money')->{out}, 'for money', 'answers instead') for 1;
    is($other->count('/v1/chat/completions'), 1, 'which was asked');
    configure($engine->url);
    ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 1), 'one again');
}

# One that is not ready when it is registered: state loading, and calls wait for it.
{
    my $late = SteadyText::Engine->new;
    $late->next(path => '/v1/models', times => 1000, status => 503, body => { error => { message => 'Loading model', code => 503 } });
    configure($late->url);
    ok($cluster->poll_until(q(SELECT state || ' ' || failures FROM steadytext_daemons), 'loading 0'), 'an engine whose models are not listed yet is loading')
        or diag $cluster->sql('SELECT state, reason FROM steadytext_daemons');
    like($cluster->sql('SELECT reason FROM steadytext_daemons'), qr/Loading model/, 'with its words');
    is($cluster->sql(q(SELECT status FROM steadytext_health_check() WHERE component = 'daemon')), 'degraded', 'which is not unhealthy');
    my $session = $cluster->session->send(q(SELECT steadytext_generate('early', use_cache => false)));
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%early%' AND state = 'active' AND pid <> pg_backend_pid()), 1), 'a call waits');
    $late->next(path => 'none', clear => 1);
    is($session->finish->{out}, 'early', 'and is answered once it is ready');
    is($cluster->sql(q(SELECT state || coalesce(reason, '') || breaker FROM steadytext_daemons)), 'readyclosed', 'then it is ready');
}
# ---- an engine that is busy ----------------------------------------------------------------------------------------------
# The gateway's own request waits behind a long one. That it takes too long then says nothing of the engine.
{
    my $busy = SteadyText::Engine->new(options => [ '--slots', 1 ]);
    $cluster->append_conf('steadytext.breaker_threshold = 1');
    configure($busy->url);
    ok($cluster->poll_until(qq(SELECT state FROM steadytext_daemons WHERE endpoint = '@{[$busy->url]}'), 'ready'), 'an engine of one slot is ready');
    my $long = $cluster->session->send(q(SELECT steadytext_generate('!http:slow=8000 long', use_cache => false)));
    ok($cluster->wait_for(sub { $busy->count('/v1/chat/completions') == 1 }), 'it is busy');
    my $refused = answered(status => 403, body => { error => { message => 'not that' } });
    isnt(generate($refused)->{state}, '', 'a request that its filter refuses fails');
    is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'which does not close the engine');
    like($long->finish->{out}, qr/long/, 'the long request is answered');
    is(generate('and another')->{out}, 'and another', 'as is everybody\'s');
}

done_testing;
