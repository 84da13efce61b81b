# Streams of engines that speak OpenAI's protocol over HTTP: rows as events come, whatever ends one closes its connection within 50 ms by
# the engine's own clock, readers that lag hold the engine up, what breaks off is an error and asked once.
use strict;
use warnings;
use List::Util qw(sum);
use SteadyText::Cluster;
use SteadyText::Engine;
use SteadyText::Stops;
use Test::More;

my $engine  = SteadyText::Engine->new;
my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000',
    sprintf "steadytext.daemons = '%s'", $engine->url ]);
my $slots = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
ok($cluster->poll_until('SELECT state FROM steadytext_daemons', 'ready'), 'the engine is ready');

sub words { my ($how_many) = @_; return join ' ', map { "word$_" } 1 .. $how_many }
sub rows { my ($prompt, $more) = @_; return "SELECT s FROM steadytext_generate_stream('$prompt', use_cache => false@{[ $more // '' ]}) s" }
sub joined { my ($prompt) = @_; return $cluster->sql("SELECT string_agg(s, '|') FROM (@{[ rows($prompt) ]}) x") }

# A row for each event, asked for as engines want it; the whole is cached with what the last events told.
{
    is($cluster->sql(q(SELECT string_agg(s, '|') FROM steadytext_generate_stream('one two three') s)), 'one| two| three', 'a row for each token');
    my $asked = $engine->last->{body};
    ok($asked->{stream} && $asked->{stream_options}{include_usage}, 'a stream with its counts is asked for');
    is_deeply([ @{$asked}{qw(model seed max_tokens)} ], [ 'test/echo', 42, 512 ], 'and all else as ever');
    is($cluster->sql(q(SELECT response, cached, finish_reason, prompt_tokens, completion_tokens, fingerprint FROM steadytext_generate_ex('one two three'))),
        'one two three|t|stop|3|3|http:test/echo', 'the answer is cached, with its counts and why it ended');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_generate_stream('cut at two', max_tokens => 3))), 3, 'an answer that was cut');
    is($cluster->sql(q(SELECT finish_reason FROM steadytext_generate_ex('cut at two', '{"max_tokens": 3}'))), 'length', 'is known as one');
    is(joined('größer 日本語 🙂 "x" \ y'), 'größer| 日本語| 🙂| "x"| \|' . ' y', 'any character');
    is(joined('!stream:odd a b c'), '!stream:odd| a| b| c', 'comments, CRLF and data of several lines');
    is(joined('!stream:no-done a'), '!stream:no-done| a', 'one that told why it ends needs no [DONE]');
    $cluster->append_conf(sprintf "steadytext.daemons = '%s/completions'", $engine->url);
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT state FROM steadytext_daemons WHERE endpoint LIKE '%completions'), 'ready'), 'an entry for completions');
    is(joined('as a completion'), 'as| a| completion', 'streams too');
    is($engine->last->{body}{prompt}, 'as a completion', 'as one');
    $cluster->append_conf(sprintf "steadytext.daemons = '%s'", $engine->url);
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT string_agg(endpoint || state, '') FROM steadytext_daemons), $engine->url . 'ready'), 'and back');
}

# Rows come one by one, and several streams side by side, over connections that are kept.
{
    my $session = $cluster->session;
    $session->ask(sprintf 'BEGIN; DECLARE a CURSOR FOR %s; DECLARE b CURSOR FOR %s;', rows('!stream:after=2,hang a1 a2'), rows('!stream:after=2,hang b1 b2'));
    is($session->ask('FETCH a; FETCH b; FETCH b; FETCH a;'), "!stream:after=2,hang\n!stream:after=2,hang\n b1\n a1", 'what has come is there while the rest has not');
    is($engine->count('streaming'), 2, 'of two streams');
    $session->finish;
    ok($cluster->wait_for(sub { $engine->count('streaming') == 0 }), 'which end with their session');
    my $before = $engine->count('connections');
    is($cluster->sql(q(SELECT count(*) FILTER (WHERE t = p) FROM generate_series(1, 50) i, LATERAL (VALUES ('row ' || i)) v(p),
        LATERAL (SELECT string_agg(s, '') FROM steadytext_generate_stream(p, use_cache => false) s) x(t))), 50, 'fifty, one after the other');
    cmp_ok($engine->count('connections') - $before, '<=', 5, 'need no connection of their own');
}

# A session with a cursor over a long stream, of which two rows have been read.
sub begin_reading {
    my $session = $cluster->session;
    my $pid = $session->ask('SELECT pg_backend_pid();');
    $session->ask(sprintf 'BEGIN; DECLARE c CURSOR FOR %s;', rows('!stream:delay=20 ' . words(500)));
    is($session->ask('FETCH c; FETCH c;'), "!stream:delay=20\n word1", 'two rows of many are read');
    return ($session, $pid);
}

sub wait_for_others {
    my ($session, $pid) = begin_reading();
    $session->hand_over('FETCH ALL FROM c;');
    ok($cluster->poll_until("SELECT state FROM pg_stat_activity WHERE pid = $pid", 'active'), 'and it waits for the others');
    return ($session, $pid);
}

sub stops {
    my ($what, $begin, $end) = @_;
    return stops_soon($cluster, $what, begin => $begin, end => $end, working => sub { $engine->count('streaming') },
        idle_at => sub { $engine->count('cut_off_us') / 1000 });
}

my $signaller = $cluster->session;
stops('CLOSE', \&begin_reading, sub { $_[0]->ask('CLOSE c;') });
stops('ROLLBACK', \&begin_reading, sub { $_[0]->ask('ROLLBACK;') });
stops('cancel', \&wait_for_others, sub { $signaller->ask("SELECT pg_cancel_backend($_[1]);") });
stops('terminate', \&begin_reading, sub { $signaller->ask("SELECT pg_terminate_backend($_[1]);") });

# LIMIT ends the statement, and with it the stream; the engine is none the worse for it.
{
    my $cut_off = $engine->count('cut_off');
    is($cluster->sql(rows('!stream:delay=20 ' . words(500)) . ' LIMIT 2'), "!stream:delay=20\n word1", 'LIMIT gives so many rows');
    ok($cluster->wait_for(sub { $engine->count('cut_off') == $cut_off + 1 }), 'and closes the connection');
    is($cluster->sql('SELECT breaker, failures FROM steadytext_daemons'), 'closed|0', 'no failure of the engine');
    my $late = $cluster->try_sql("SET steadytext.request_timeout = '300ms'; " . rows('!stream:after=1,hang a'));
    is($late->{state}, 'HYT00', 'a row that does not come is a timeout') or diag $late->{err};
    is($cluster->sql("SET steadytext.request_timeout = '1s'; SELECT count(*) FROM (@{[ rows('!stream:delay=50 ' . words(30)) ]}) x"), 31,
        'a stream may take longer than request_timeout');
}

# A reader that lags: the engine is held up, the gateway keeps no more than a little, and nothing is lost.
{
    my $rss = sub { return $cluster->gateway_memory('VmRSS') };
    my ($before, $held_up) = ($rss->(), $engine->count('held_up'));
    my $session = $cluster->session;
    $session->ask(sprintf 'BEGIN; DECLARE c CURSOR FOR SELECT length(s) FROM (%s) x;', rows('!stream:flood=10000 x'));
    is($session->ask('FETCH c;'), 1000, 'one row of ten million characters is read');
    ok($cluster->wait_for(sub { $engine->count('held_up') > $held_up }), 'the engine cannot send on');
    is($engine->count('streaming'), 1, 'and waits');
    cmp_ok($rss->() - $before, '<', 4096, 'the gateway has not grown by 4 MB');
    my $others = $cluster->sql(rows('while it waits') . ' LIMIT 3');
    is($others, "while\n it\n waits", 'others are served meanwhile');
    is(sum(split /\n/, $session->ask('FETCH ALL FROM c;')), 9_999_000, 'all the rest comes when it is asked for');
    is($session->ask('FETCH c;'), '', 'and then the end');
    $session->finish;
    $session = $cluster->session;
    $held_up = $engine->count('held_up');
    $session->ask(sprintf 'BEGIN; DECLARE c CURSOR FOR %s; FETCH c;', rows('!stream:flood=10000 x'));
    ok($cluster->wait_for(sub { $engine->count('held_up') > $held_up }), 'one that is held up');
    $session->ask('CLOSE c;');
    ok($cluster->wait_for(sub { $engine->count('streaming') == 0 }), 'can be left');
    $session->finish;
}

# What breaks off is an error, at once, and is not asked for again, not even of another engine.
{
    my $other = SteadyText::Engine->new;
    $cluster->append_conf(sprintf "steadytext.daemons = '%s, %s'", $engine->url, $other->url);
    $cluster->reload;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 2), 'two engines');
    my $sends = sub { $engine->count('/v1/chat/completions') + $other->count('/v1/chat/completions') };
    for my $case (
        [ 'stream:after=2,break',      '08006', 'a connection that is lost' ],
        [ 'stream:after=2,unfinished', '08006', 'an end that says nothing' ],
        [ 'stream:after=2,error',      '38000', 'an error in the midst' ],
        [ 'stream:after=2,garbage',    '08P01', 'half a JSON text' ],
    ) {
        my ($fault, $state, $what) = @$case;
        my $before = $sends->();
        my $result = $cluster->try_sql(rows("!$fault a b c"));
        is($result->{state}, $state, "$what: SQLSTATE $state") or diag $result->{err};
        like($result->{err}, qr/only its beginning/, "$what: the rows are not all");
        my $checks = $state ne '38000' ? 1 : 0;  # whether the engine fails at anything, at most once a second
        cmp_ok($sends->() - $before, '<=', 1 + $checks, "$what: it was asked once");
        my $degraded = $cluster->try_sql("SET steadytext.on_failure = 'fallback'; " . rows("!$fault a b c"));
        is($degraded->{state}, $state, "$what: an error whatever on_failure says");
    }
    for my $case (
        [ 'stream:after=0,break', '08006', 'a stream without a row' ],
        [ 'stream:after=0,error', '38000', 'an error at once' ],
        [ 'http:status=500',      '38000', 'HTTP 500 of an engine that works otherwise' ],
        [ 'http:status=400',      '38000', 'HTTP 400' ],
        [ 'http:half',            '08006', 'half a reply' ],
        [ 'http:html',            '08P01', 'a web page' ],
        [ 'http:endless',         '08P01', 'a reply without end' ],
    ) {
        my ($fault, $state, $what) = @$case;
        my $before = $sends->();
        my $result = $cluster->try_sql(rows("!$fault a"));
        is($result->{state}, $state, "$what: SQLSTATE $state") or diag "$result->{out} $result->{err}";
        my $checks = $what ne 'HTTP 400' ? 1 : 0;  # whether the engine fails at anything, at most once a second
        cmp_ok($sends->() - $before, '<=', 1 + $checks, "$what: it was asked once");
        is($cluster->sql("SET client_min_messages = error; SET steadytext.on_failure = 'fallback'; " . rows("!$fault a")), '[steadytext: no answer available]',
            "$what: before the first row on_failure rules");
    }
    like($cluster->try_sql(rows('!stream:after=2,error a b c'))->{err}, qr/EngineCore died/, 'the engine says what went wrong');
    $cluster->append_conf(sprintf "steadytext.daemons = '%s'", $engine->url);
    $cluster->reload;
    ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 1), 'one engine again');
    $engine->busy(1);
    my $waited = $cluster->try_sql("SET steadytext.request_timeout = '10s'; " . rows('patience'));
    is($waited->{out}, 'patience', '429 is no failure: nothing has come of it, so it waits') or diag $waited->{err};
    ok($cluster->poll_until($slots, 0), 'no failure keeps a slot');
    is($engine->count('streaming'), 0, 'or a connection');
}

done_testing;
