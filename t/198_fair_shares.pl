# Eight honest roles beside one hostile role that takes all it can get: the honest calls are answered, every one of them, and their 99th
# percentile is at most twice of what it is without the hostile role. Each row of the table prints its figure. With STEADYTEXT_LONG_TESTS each
# row lasts a minute.
#
# Both are measured one right after the other, and a row that misses the goal gets up to three more tries: what else runs on the machine makes a
# figure worse, never better. For comparison, the first row's hostile sessions ask for nothing and only use the processors, which no share bounds.
#
# What one process would hold for ever is taken back: a session that is stopped, and one that fetches no more.
use strict;
use warnings;
use Time::HiRes qw(sleep time);
use SteadyText::Cluster;
use Test::More;

my $seconds = $ENV{STEADYTEXT_LONG_TESTS} ? 60 : 2;
my $slots   = 64;
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.max_requests = $slots", "steadytext.payload_memory = '4MB'", "steadytext.on_failure = 'error'",
    "steadytext.incident_window = '30s'", "steadytext.incident_delay = '1s'", 'max_connections = 150' ]);
my $in_use = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');
my $memory = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_payload_bytes_in_use');
my @honest = map { "honest$_" } 1 .. 8;
$cluster->sql("CREATE ROLE $_ LOGIN") for @honest, 'hostile';

# An engine that works on sixteen requests at once, 20 ms each.
my $engine = $cluster->start_echo(name => 'engine', options => [ '--slots', 16, '--delay-ms', 20 ]);
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$engine->{endpoint}'; SELECT pg_reload_conf()");
ok($cluster->poll_until(q(SELECT string_agg(endpoint || state, '') FROM steadytext_daemons), "$engine->{endpoint}ready"), 'an engine of sixteen slots');

# Calls of a role one after the other for so long, timed on the server.
$cluster->sql(q(
    CREATE TABLE honest_calls (load int, ms float8, outcome text);
    GRANT INSERT ON honest_calls TO PUBLIC;
    CREATE SEQUENCE honest_ready;
    GRANT USAGE ON honest_ready TO PUBLIC;
    CREATE FUNCTION ask_honestly(load int, seconds float8) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        until timestamptz := clock_timestamp() + seconds * interval '1 s';
        began timestamptz;
        outcome text;
        i int := 0;
    BEGIN
        WHILE clock_timestamp() < until LOOP
            i := i + 1;
            began := clock_timestamp();
            BEGIN
                outcome := CASE steadytext_generate(format('%s %s %s', load, current_user, i), use_cache => false)
                    WHEN format('%s %s %s', load, current_user, i) THEN 'right' ELSE 'wrong' END;
            EXCEPTION WHEN OTHERS THEN
                outcome := SQLSTATE || ' ' || SQLERRM;
            END;
            INSERT INTO honest_calls VALUES (load, extract(epoch FROM clock_timestamp() - began) * 1000, outcome);
            PERFORM pg_sleep(0.01);
        END LOOP;
    END $$));

my $load = 0;
sub honest_calls {
    $load++;
    my @sessions = map { $cluster->session(user => $_)->send("SELECT ask_honestly($load, $seconds)") } @honest;
    $_->finish for @sessions;
    my ($calls, $right, $p99) = split /\|/, $cluster->sql("SELECT count(*), count(*) FILTER (WHERE outcome = 'right'),
        percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) FROM honest_calls WHERE load = $load");
    return ($calls, $right, $p99);
}

# `begin` starts what the hostile role does and returns its sessions; it goes on until it is cancelled. Returns how many times as long as
# without it the slowest honest call of a hundred took.
sub measure {
    my ($what, $begin, $begun) = @_;
    my (undef, undef, $alone) = honest_calls();
    my @sessions = $begin->();
    ok($cluster->wait_for($begun, 15), "$what: it has begun") if $begun;
    my ($calls, $right, $p99) = honest_calls();
    $cluster->sql(q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'hostile'));
    $_->finish for @sessions;
    is($right, $calls, "$what: all $calls honest calls are answered")
        or diag $cluster->sql("SELECT outcome, count(*) FROM honest_calls WHERE load = $load AND outcome <> 'right' GROUP BY 1");
    note(sprintf '%-40s p99 %.1f ms, without %.1f ms: %.2f times', $what, $p99, $alone, $p99 / $alone);
    ok($cluster->poll_until($in_use, 0, 20), "$what: nothing is left in use") or diag $cluster->sql($in_use);
    return $p99 / $alone;
}
sub beside {
    my ($what, @how) = @_;
    my $times = measure($what, @how);
    for (my $tries = 1; $times > 2 && $tries < 4; $tries++) {
        my $again = measure($what, @how);
        $times = $again if $again < $times;
    }
    cmp_ok($times, '<=', 2, "$what: p99 at most twice of what it is without");
    return;
}
sub hostile { my ($statement, $times) = @_; return map { $cluster->session(user => 'hostile')->send($statement) } 1 .. $times }
my $quiet = q(SET client_min_messages = error; SET steadytext.on_failure = 'null';);
my $again = sub { my ($call) = @_; return "$quiet DO \$\$ BEGIN FOR i IN 1 .. 1000000 LOOP PERFORM $call; END LOOP; END \$\$" };
# A stream has begun with its first piece, so as many begin as the engine works on for one role: three quarters of its slots.
my $many  = sub { $cluster->sql($in_use) >= 12 };

measure('sessions that only compute', sub { hostile('SELECT count(*) FROM generate_series(1, 10000000000)', 8) });
beside('calls that never end', sub { hostile(q(SELECT steadytext_generate('!fault:hold ' || random(), use_cache => false)), 40) });
beside('as many short calls as there is room for', sub { hostile($again->(q(steadytext_generate('x' || i, use_cache => false))), 40) });
beside('cursors over streams, fetched once', sub { hostile(q(BEGIN; DO $$ DECLARE c refcursor; t text; BEGIN FOR i IN 1 .. 16 LOOP
    c := NULL; OPEN c FOR SELECT steadytext_generate_stream('!fault:delay=20 ' || repeat('word ', 4000) || i); FETCH c INTO t; END LOOP; END $$; SELECT pg_sleep(1000)), 3) }, $many);
beside('requests that fill payload memory', sub { hostile($again->(q(steadytext_generate('!fault:delay=1000 ' || repeat('x', 100000) || i, use_cache => false))), 40) });
beside('deadlines of a millisecond', sub { hostile("SET steadytext.request_timeout = '1ms'; " . $again->(q(steadytext_generate('x' || i, use_cache => false))), 8) });
beside('a batch without an end', sub { hostile("$quiet SELECT count(*) FROM generate_series(1, 1000) r, steadytext_generate_batch((SELECT array_agg('b' || r || ' ' || i)
    FROM generate_series(1, 10000) i), use_cache => false)", 2) });
beside('prompts that the engine refuses', sub { hostile($again->(q(steadytext_generate('!fault:error ' || i, use_cache => false))), 8) });
is($cluster->sql('SELECT breaker FROM steadytext_daemons'), 'closed', 'none of it was a failure of the engine');
is($cluster->sql(q(SELECT coalesce(string_agg(condition, ' '), '') FROM steadytext_incidents WHERE condition IN ('error_rate', 'breaker_flapping', 'daemon_down'))), '',
    'or an incident of the server');

# ---- what is past its deadline is taken back ----------------------------------------------------------------------------

# Seventeen streams in one session are one too many.
{
    my $result = $cluster->try_sql(q(BEGIN; DO $$ DECLARE c refcursor; t text; BEGIN FOR i IN 1 .. 17 LOOP
        c := NULL; OPEN c FOR SELECT steadytext_generate_stream('!fault:delay=20 ' || repeat('word ', 400) || i); FETCH c INTO t; END LOOP; END $$));
    is($result->{state}, '53400', 'the seventeenth stream of a session is refused');
    like($result->{err}, qr/HINT:.*close their cursors/, 'with what to do');
    ok($cluster->poll_until($in_use, 0, 10), 'and the others end with their transaction');
}

# A stream that nobody fetches ends at its deadline, whether it is still being made or waits to be read.
for my $case ([ 'that is being made', "!fault:delay=50 @{[ 'word ' x 1000 ]}" ], [ 'that has been made', 'one two three' ]) {
    my ($which, $prompt) = @$case;
    my $session = $cluster->session;
    $session->ask("SET steadytext.request_timeout = '4s';");
    $session->ask("BEGIN; DECLARE c CURSOR FOR SELECT steadytext_generate_stream('$prompt', use_cache => false);");
    $session->ask('FETCH c;');
    is($cluster->sql($in_use), 1, "a stream $which");
    ok($cluster->poll_until("SELECT ($in_use) + ($memory)", 0, 15), 'is fetched no more: its slot and memory are free');
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats', '{}', $engine->{endpoint}) =~ /"in_flight":0\b/ }, 5), 'and its place in the engine');
    $session->hand_over('FETCH c;');
    like($session->finish->{err}, qr/HYT00: no answer within 4000 ms/, 'the next fetch says so');
}

# A session that is stopped holds nothing beyond its deadline, and hears of it when it goes on.
{
    my $session = $cluster->session;
    my $pid = $session->ask('SELECT pg_backend_pid();');
    $session->ask("SET steadytext.request_timeout = '1s';");
    $session->hand_over(q(SELECT steadytext_generate('!fault:hold', use_cache => false);));
    ok($cluster->poll_until($in_use, 1), 'a call is under way');
    kill 'STOP', $pid;
    ok($cluster->poll_until("SELECT ($in_use) + ($memory)", 0, 10), 'its session is stopped: the gateway ends it after its deadline');
    is($cluster->sql(q(SELECT steadytext_generate('in its slot', use_cache => false))), 'in its slot', 'another has the slot');
    kill 'CONT', $pid;
    like($session->finish->{err}, qr/HYT00: no answer within 1000 ms/, 'and it is told so when it goes on');
    cmp_ok($cluster->sql(q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_taken_back_total')), '>=', 3, 'what was taken back is counted');
    is($cluster->sql("SELECT ($in_use) + ($memory)"), 0, 'nothing is left in use');
}

# ---- deadlines and what they cost ----------------------------------------------------------------------------------------

# Who waits for another's request and then makes it has one deadline for both.
{
    my $prompt = q(SELECT steadytext_generate('!fault:hold for both'));
    my $leader = $cluster->session->send("SET steadytext.request_timeout = '2s'; $prompt");
    ok($cluster->poll_until($in_use, 1), 'a session asks');
    my $follower = $cluster->session;
    $follower->ask("SET steadytext.request_timeout = '3s';");
    my $began = time;
    $follower->hand_over("$prompt;");
    like($leader->finish->{err}, qr/no answer within 2000 ms/, 'and gives up');
    like($follower->finish->{err}, qr/no answer within 3000 ms/, 'the other one asks in its place');
    my $took = time - $began;
    cmp_ok($took, '<', 4.5, 'within its own deadline');
    note(sprintf 'a follower that came to lead: %.1f s at 3 s', $took);
}

# A call that is given up after it was sent has cost what was reserved for it.
{
    $cluster->sql(q(SELECT steadytext_rate_limit_set('hostile', tokens => 5000, per => '1 day')));
    my $result = $cluster->try_sql(q(SET client_min_messages = error; SET steadytext.request_timeout = '200ms'; SET steadytext.on_failure = 'null';
        SELECT count(steadytext_generate('!fault:hold ' || i, max_tokens => 1000, use_cache => false)) FROM generate_series(1, 10) i), user => 'hostile');
    is($result->{state}, '53400', 'calls that time out use up a limit of tokens') or diag $result->{err};
}

done_testing;
