# A request's life when something goes wrong: cancel, timeout, rollback, terminate, a full table, shutdown.
#
# Whatever happens, the slot comes back at once, the daemon is told, and the next request is served.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.max_requests = 86', 'steadytext.breaker_threshold = 1000' ]);
my $slots   = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
my $hold    = q(SELECT steadytext_generate('!fault:hold ' || random(), use_cache => false));

sub in_flight {
    my ($count) = @_;
    return $cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":\s*$count\b/ }, 10);
}

sub waiting_pid {
    my ($count) = @_;
    $cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'active'
        AND wait_event IN ('Extension', 'SteadytextReply')), $count);
    return $cluster->sql(q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND state = 'active'
        AND wait_event IN ('Extension', 'SteadytextReply') LIMIT 1));
}

sub is_clean {
    my ($what) = @_;
    ok($cluster->poll_until($slots, 0, 1), "$what: the slot is free within a second");
    ok(in_flight(0), "$what: the daemon was told to stop");
    is($cluster->sql("SELECT steadytext_generate('still here', use_cache => false)"), 'still here', "$what: the next request is served");
    return;
}

# Cancel: returns within 20 ms of the signal (fault catalogue, row 6).
{
    my $session = $cluster->session->send($hold);
    my $pid     = waiting_pid(1);
    my $start   = time;
    $cluster->sql("SELECT pg_cancel_backend($pid)");
    my $result = $session->finish;
    is($result->{state}, '57014', 'a cancelled call ends as PostgreSQL says');
    cmp_ok(time - $start, '<', 1, 'and at once');
    is_clean('cancel');
}

# statement_timeout, inside a block that goes on after the error.
{
    my $result = $cluster->sql(q(
        SET statement_timeout = '200ms';
        DO $$ BEGIN PERFORM steadytext_generate('!fault:hold', use_cache => false);
              EXCEPTION WHEN query_canceled THEN RAISE INFO 'caught'; END $$;
        SELECT 'went on'));
    is($result, 'went on', 'statement_timeout can be caught');
    is_clean('statement_timeout');
}

# The call's own deadline: the fallback, a warning, and never later than asked.
{
    my $result = $cluster->try_sql("SET steadytext.request_timeout = '300ms'; $hold");
    is($result->{out}, '[steadytext: no answer available]', 'a call that gets no answer in time falls back');
    like($result->{err}, qr/WARNING:.*no answer within 300 ms/, 'and says so');
    cmp_ok($result->{seconds}, '<', 0.3 + 0.6, 'never much later than its deadline');
    is_clean('deadline');
}

# pg_terminate_backend: FATAL runs no PG_CATCH, the slot comes back all the same.
{
    my $session = $cluster->session->send($hold);
    my $pid     = waiting_pid(1);
    $cluster->sql("SELECT pg_terminate_backend($pid)");
    $session->finish;
    is_clean('terminate');
}

# A read of the configuration that is cancelled halfway leaves no defaults behind.
{
    $cluster->sql(q(SELECT steadytext_config_set('default_max_tokens', '3')));
    my $locker = $cluster->session;
    $locker->ask('BEGIN; LOCK TABLE steadytext_config IN ACCESS EXCLUSIVE MODE;');
    my $session = $cluster->session;
    $session->ask("\\set ON_ERROR_STOP off\nSET statement_timeout = '300ms'; SELECT steadytext_generate('configured'); SET statement_timeout = 0;");
    $locker->ask('COMMIT;');
    $locker->finish;
    is($session->ask(q(SELECT a.cache_key = b.cache_key FROM steadytext_generate_ex('configured') a, steadytext_generate_ex('configured', '{"max_tokens": 3}') b;)), 't',
        'after a cancelled read of steadytext_config the next call obeys it');
    is($session->finish->{state}, '57014', 'which was cancelled');
    $cluster->sql(q(SELECT steadytext_config_set('default_max_tokens', '512')));
}

# on_failure
{
    my $deadline = "SET steadytext.request_timeout = '100ms'";
    is($cluster->try_sql("$deadline; SET steadytext.on_failure = 'null'; SELECT steadytext_generate('!fault:hold') IS NULL")->{out},
        't', 'on_failure = null gives NULL');
    is($cluster->try_sql("$deadline; SET steadytext.on_failure = 'error'; SELECT steadytext_generate('!fault:hold')")->{state},
        'HYT00', 'on_failure = error raises');
    is($cluster->try_sql("$deadline; SELECT steadytext_embed('!fault:hold') IS NULL")->{out},
        't', 'an embedding falls back to NULL, never to zeros');
    my $warned = $cluster->try_sql(
        "$deadline; SELECT count(steadytext_generate('!fault:hold ' || i)) FROM generate_series(1, 3) i")->{err};
    is(scalar(() = $warned =~ /WARNING/g), 1, 'three rows, one cause, one warning');
    is($cluster->try_sql("SELECT cached FROM steadytext_generate_ex('!fault:hold again', '{}')",)->{state}, '', 'asking works');
    is_clean('on_failure');
}

# A role that has its share of the table waits in line until its deadline, and another role is served (t/198 and t/199 have more).
{
    $cluster->sql('CREATE ROLE other LOGIN');
    my @sessions = map { $cluster->session->send($hold) } 1 .. 64;
    ok($cluster->poll_until($slots, 64), 'one role has 64 of 86 slots');
    my $result = $cluster->try_sql("SET steadytext.on_failure = 'error'; SET steadytext.request_timeout = '500ms'; SELECT steadytext_generate('one more')");
    is($result->{state}, '53000', 'one more request finds no room');
    like($result->{err}, qr/HINT:.*steadytext\.max_requests/, 'with the setting to raise');
    like($result->{err}, qr/DETAIL:.*64 of 86 request slots; the free ones are kept for other roles/, 'and why');
    cmp_ok($result->{seconds}, '<', 0.5 + 0.6, 'never much later than its deadline');
    is($cluster->sql("SELECT steadytext_generate('of another role')", user => 'other'), 'of another role', 'another role is served');

    # Fast shutdown with 64 requests in flight.
    my $gateway = $cluster->worker_pid('gateway');
    my $start   = time;
    ok($cluster->stop('fast'), 'fast shutdown succeeds');
    cmp_ok(time - $start, '<', 2, 'in under two seconds');
    ok(!kill(0, $gateway), 'no gateway is left behind');
    $_->finish for @sessions;
    ok($cluster->start, 'and the server starts again');
    is($cluster->sql("SELECT steadytext_generate('up again')"), 'up again', 'and serves');
}

done_testing;
