# Streams in the life of a server: the first row before the last is made; whatever ends a stream stops the engine's slot within 50 ms,
# by the daemon's own count; daemons that die, readers that are slow, a serial daemon that wants each token acknowledged.
use strict;
use warnings;
use Time::HiRes qw(time);
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Stops;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.breaker_threshold = 1000' ]);
my $slots = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');

sub stats { my ($endpoint) = @_; return JSON::PP::decode_json($cluster->ask_daemon('stats', '{}', $endpoint))->{result} }
sub outcomes {
    return $cluster->sql(q(SELECT string_agg(labels ->> 'outcome' || '=' || value, ' ' ORDER BY labels ->> 'outcome') FROM steadytext_metrics()
        WHERE name = 'steadytext_outcomes_total' AND labels ->> 'operation' = 'stream' AND value > 0));
}
sub words { my ($how_many) = @_; return join ' ', map { "word$_" } 1 .. $how_many }

# A session with a cursor over a stream that takes 20 ms for each of 200 tokens, of which two have been read.
sub begin_reading {
    my $session = $cluster->session;
    my $pid = $session->ask('SELECT pg_backend_pid();');
    $session->ask('BEGIN; DECLARE c CURSOR FOR '
        . "SELECT * FROM steadytext_generate_stream('!fault:delay=20 @{[ words(200) ]}', use_cache => false);");
    is($session->ask('FETCH c; FETCH c;'), "!fault:delay=20\n word1", 'two rows of many are read');
    return ($session, $pid);
}

# Has the session wait for all the rest.
sub read_on {
    my ($session, $pid) = @_;
    $session->hand_over('FETCH ALL FROM c;');
    ok($cluster->poll_until("SELECT state FROM pg_stat_activity WHERE pid = $pid", 'active'), 'and it waits for the others');
    return;
}

sub stops {
    my ($what, %ways) = @_;
    return stops_soon($cluster, $what, end => $ways{end}, working => sub { stats()->{in_flight} }, idle_at => sub { stats()->{cut_off_us} / 1000 },
        begin => sub { my @call = begin_reading(); $ways{begun}->(@call) if $ways{begun}; return @call });
}

my $signaller = $cluster->session;
stops('CLOSE', end => sub { $_[0]->ask('CLOSE c;') });
stops('ROLLBACK', end => sub { $_[0]->ask('ROLLBACK;') });
stops('an error of the transaction', end => sub { $_[0]->ask('SELECT 1/0;') });
stops('cancel', begun => \&read_on, end => sub { $signaller->ask("SELECT pg_cancel_backend($_[1]);") });
stops('terminate', end => sub { $signaller->ask("SELECT pg_terminate_backend($_[1]);") });
stops('cancel within a savepoint',
    begun => sub { $_[0]->ask('SAVEPOINT s;'); read_on(@_) },
    end   => sub { $signaller->ask("SELECT pg_cancel_backend($_[1]);") });

# LIMIT ends the statement, and with it the stream.
{
    my $before = stats()->{cancelled};
    my $start = time;
    is($cluster->sql("SELECT s FROM steadytext_generate_stream('!fault:delay=20 @{[ words(200) ]}', use_cache => false) s LIMIT 2"),
        "!fault:delay=20\n word1", 'LIMIT gives so many rows');
    cmp_ok(time - $start, '<', 3, 'and does not wait for the others');
    ok($cluster->wait_for(sub { stats()->{cancelled} == $before + 1 }), 'the engine was told');
    is(stats()->{in_flight}, 0, 'and is idle');
}

# An error in a block without a cursor: what it made lives until ROLLBACK, its stream does not.
{
    my $session = $cluster->session;
    $session->ask('BEGIN;');
    $session->ask('\set ON_ERROR_STOP off');
    $session->ask(q(SET statement_timeout = '200ms'; DO $$ BEGIN PERFORM count(*) FROM steadytext_generate_stream('!fault:delay=50 ) . words(100) . q('); END $$;));
    is($cluster->sql($slots), 0, 'an aborted transaction holds no slot while it waits for ROLLBACK');
    ok($cluster->wait_for(sub { stats()->{in_flight} == 0 }), 'nor a place in the engine');
    $session->finish;
}

# Rows come one by one: each of a cursor's is there when its token is.
{
    my ($first, $all) = split /\|/, $cluster->sql(q(
        CREATE FUNCTION clocked() RETURNS TABLE (first float8, whole float8) LANGUAGE plpgsql AS $$
        DECLARE
            c CURSOR FOR SELECT * FROM steadytext_generate_stream('!fault:delay=20 ) . words(25) . q(', use_cache => false);
            began timestamptz := clock_timestamp();
        BEGIN
            FOR row IN c LOOP
                first := coalesce(first, extract(epoch FROM clock_timestamp() - began) * 1000);
            END LOOP;
            whole := extract(epoch FROM clock_timestamp() - began) * 1000;
            RETURN NEXT;
        END $$;
        SELECT round(first::numeric, 1), round(whole::numeric, 1) FROM clocked()));
    cmp_ok($first, '<', $all / 2, "of $all ms the first row took $first");
}

# Two streams at once in one session, and whole answers between their rows.
{
    my $session = $cluster->session;
    $session->ask(q(BEGIN;
        DECLARE a CURSOR FOR SELECT * FROM steadytext_generate_stream('!fault:delay=10 a1 a2', use_cache => false);
        DECLARE b CURSOR FOR SELECT * FROM steadytext_generate_stream('!fault:delay=10 b1 b2', use_cache => false);));
    is($session->ask(q(FETCH a; FETCH b; SELECT steadytext_generate('between'); FETCH b; FETCH a; FETCH a; FETCH a; FETCH b; COMMIT;)),
        join("\n", '!fault:delay=10', '!fault:delay=10', 'between', ' b1', ' a1', ' a2', ' b2'), 'each goes on where it was');
    $session->finish;
}

# A reader slower than the daemon, with more text than the ring in shared memory holds: nothing is lost, and the engine does not wait.
{
    my $session = $cluster->session;
    my $text = join ' ', map { "größe$_" } 1 .. 3000;
    $session->ask("BEGIN; DECLARE c CURSOR FOR SELECT * FROM steadytext_generate_stream('$text', use_cache => false);");
    my $rows = $session->ask('FETCH c;');
    ok($cluster->wait_for(sub { stats()->{in_flight} == 0 }), 'the engine ends though nobody reads');
    $rows .= $session->ask('FETCH ALL FROM c;') =~ s/\n//gr;
    is($rows, $text, 'and every byte is there');
    $session->finish;
}

# A daemon that dies in the middle: an error, at once, and no second try.
{
    my $sends = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_sends_total');
    my $before = $cluster->sql($sends);
    my $lost = $cluster->try_sql("SELECT * FROM steadytext_generate_stream('!fault:exit-after=2,delay=50 a b c d')");
    is($lost->{state}, '08006', 'a lost daemon is an error');
    like($lost->{err}, qr/only its beginning/, 'that says the rows are not all');
    is($lost->{out}, '', 'psql shows none of them');
    cmp_ok($lost->{seconds}, '<', 5, 'soon');
    is($cluster->sql($sends) - $before, 1, 'it was sent once');
    $cluster->start_echo;
    ok($cluster->poll_until(q(SELECT state FROM steadytext_daemons LIMIT 1), 'ready'), 'the daemon is back');
}

# One that is silent: a row may take as long as request_timeout, not the whole.
{
    my $silent = $cluster->try_sql("SET steadytext.request_timeout = '300ms'; SELECT * FROM steadytext_generate_stream('!fault:delay=10000 a')");
    is($silent->{state}, 'HYT00', 'a row that does not come is a timeout') or diag $silent->{err};
    is($cluster->sql("SET steadytext.request_timeout = '1s'; SELECT count(*) FROM steadytext_generate_stream('!fault:delay=50 @{[ words(30) ]}')"), 31,
        'a stream may take longer than request_timeout');
}

# The counts add up, and the time to the first text is told.
{
    my %counts = map { split /=/ } split / /, outcomes();
    my $metrics = $cluster->sql(q(SELECT sum(value) FROM steadytext_metrics() WHERE name = 'steadytext_sent_total' AND labels ->> 'operation' = 'stream'));
    is($counts{sent}, $metrics, 'what was sent ended one way or another');
    like($cluster->sql(q(SELECT string_agg(labels ->> 'result' || '=' || value, ' ' ORDER BY 1) FROM steadytext_metrics()
        WHERE name = 'steadytext_sent_total' AND labels ->> 'operation' = 'stream')), qr/cancelled=[1-9]/, 'what was left is cancelled');
    cmp_ok($cluster->sql(q(SELECT count(*) FROM steadytext_metrics() WHERE name LIKE 'steadytext_stage_time%' AND labels ->> 'stage' = 'first_piece'
        AND labels ->> 'operation' = 'stream' AND value > 0)), '>', 0, 'first_piece is a stage');
}

# A serial daemon, as the Python one: it waits for an ACK after each token, and a connection is a stream's alone.
{
    my $serial = $cluster->start_echo(name => 'serial', options => ['--serial']);
    $cluster->append_conf("steadytext.daemons = '$serial->{endpoint}'");
    $cluster->reload;
    ok($cluster->poll_until(qq(SELECT kind FROM steadytext_daemons WHERE endpoint = '$serial->{endpoint}'), 'serial'), 'the serial daemon is known');
    is($cluster->sql(q(SELECT string_agg(s, '|') FROM steadytext_generate_stream('eins zwei drei', use_cache => false) s)), 'eins| zwei| drei',
        'its tokens are acknowledged');
    is($cluster->sql("SELECT s FROM steadytext_generate_stream('!fault:delay=20 @{[ words(100) ]}', use_cache => false) s LIMIT 2"),
        "!fault:delay=20\n word1", 'LIMIT');
    ok($cluster->wait_for(sub { stats($serial->{endpoint})->{stopped} == 1 }), 'stops it at its next token');
    is($cluster->sql(q(SELECT steadytext_generate('next', use_cache => false))), 'next', 'and the connection serves the next request');
    is(stats($serial->{endpoint})->{in_flight}, 0, 'nothing is left behind');
    is(stats($serial->{endpoint})->{malformed}, 0, 'and nothing was misunderstood');
}

# A real model: what it streams is what it would have said at once, whatever ends it.
{
    my $native = SteadyText::Cluster->new(daemon => 'native', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '5min'" ]);
    ok($native->poll_until('SELECT status FROM steadytext_daemon_status()', 'healthy', 120), 'steadytextd is there');
    for my $arguments ("'Why is the sky blue?', max_tokens => 24", "'Count to twenty.', max_tokens => 40, eos_string => '9'",
        "'Schreibe einen Satz über größere Bäume.', max_tokens => 24, seed => 7") {
        is($native->sql("SELECT string_agg(s, '') = steadytext_generate($arguments, use_cache => false) AND count(*) > 3
            FROM steadytext_generate_stream($arguments, use_cache => false) s"), 't', "$arguments: the same text in many rows");
    }
    is($native->sql(q(SELECT count(*) FROM (SELECT steadytext_generate_stream('Tell a long story.', max_tokens => 2000) LIMIT 2) x)), 2, 'LIMIT');
    my $next = $native->try_sql(q(SELECT count(*) FROM (SELECT steadytext_generate_stream('Hello!', max_tokens => 4)) x));
    is($next->{state}, '', 'and the model is free again') or diag $next->{err};
    is($native->sql(q(SELECT finish_reason, completion_tokens, cached FROM (SELECT count(s) FROM steadytext_generate_stream('Say more.', max_tokens => 8) s) x,
        LATERAL steadytext_generate_ex('Say more.', jsonb_build_object('max_tokens', 8, 'was', NULL) - 'was') WHERE x.count > 0)), 'length|8|t',
        'the whole is cached as steadytextd told it');
}

done_testing;
