# Sixteen sessions that are cancelled, timed out, terminated or rolled back while they wait for an answer (fault catalogue, row 6): in a
# plain statement, a block that catches, a cursor, a parallel worker. Each is free within 20 ms of the signal, and no slot is left.
#
# Times are taken on the server, by its clock. On a busy machine some wait for a processor, so the median must meet the 20 ms, and the
# slowest 200 ms.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $clients = 16;
my $cluster = SteadyText::Cluster->new(conf => [ 'steadytext.breaker_threshold = 1000', "steadytext.on_failure = 'error'", 'max_worker_processes = 64',
    'max_parallel_workers = 64', 'max_prepared_transactions = 2' ]);
my $slots = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');

# What a session waits in. `released` tells when it was let go; it is written by whoever catches the error.
$cluster->sql(q(
    CREATE TABLE signalled (pid int, at timestamptz);
    CREATE TABLE released (pid int, at timestamptz);
    CREATE TABLE big AS SELECT i FROM generate_series(1, 1000) i;
    ANALYZE big;
    CREATE FUNCTION hold(salt text) RETURNS text LANGUAGE sql PARALLEL SAFE AS $$ SELECT steadytext_generate('!fault:hold ' || salt, use_cache => false) $$;
    CREATE PROCEDURE wait_in(statement text) LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN query_canceled THEN
        INSERT INTO released VALUES (pg_backend_pid(), clock_timestamp());
    END $$;
    CREATE PROCEDURE wait_in_cursor() LANGUAGE plpgsql AS $$
    DECLARE
        found record;
        waiting CURSOR FOR SELECT hold(i::text) FROM big;
    BEGIN
        OPEN waiting;
        FETCH waiting INTO found;
    EXCEPTION WHEN query_canceled THEN
        INSERT INTO released VALUES (pg_backend_pid(), clock_timestamp());
    END $$;
    -- One after the other, while the rest goes on waiting. A session that is terminated cannot tell when: this sees it go.
    CREATE PROCEDURE signal_all(terminate boolean) LANGUAGE plpgsql AS $$
    DECLARE
        target int;
    BEGIN
        FOR target IN SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() LOOP
            INSERT INTO signalled VALUES (target, clock_timestamp());
            PERFORM CASE WHEN terminate THEN pg_terminate_backend(target) ELSE pg_cancel_backend(target) END;
            LOOP
                PERFORM pg_stat_clear_snapshot();
                EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = target AND state = 'active');
            END LOOP;
            IF terminate THEN
                INSERT INTO released VALUES (target, clock_timestamp());
            END IF;
        END LOOP;
    END $$));

# Has all sessions wait with `statement`, interrupts them, and looks at how they ended.
sub interrupt {
    my ($what, $setup, $statement, $signal, $requests) = @_;
    $cluster->sql('TRUNCATE released, signalled');
    my @sessions = map { $cluster->session->send("$setup $statement") } 1 .. $clients;
    ok($cluster->poll_until($slots, $requests // $clients), "$what: all wait");
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":(\d+)/ && $1 == ($requests // $clients) }), "$what: for the daemon");
    $signal->();
    $_->finish for @sessions;
    my ($count, $median, $slowest) = split /\|/, $cluster->sql(q(
        SELECT count(*), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 1), round(max(ms)::numeric, 1)
        FROM (SELECT extract(epoch FROM r.at - s.at) * 1000 AS ms FROM released r JOIN signalled s USING (pid)) x));
    is($count, $clients, "$what: all are released");
    cmp_ok($median, '<=', 20, "$what: $median ms after the signal");
    cmp_ok($slowest, '<=', 200, "$what: the last one after $slowest ms");
    note("row 6: $what: $count sessions free after $median ms at the median, $slowest ms at most");
    is_clean($what);
    return;
}

sub is_clean {
    my ($what) = @_;
    ok($cluster->poll_until($slots, 0, 1 + 1), "$what: no slot is in use a second later");
    ok($cluster->wait_for(sub { $cluster->ask_daemon('stats') =~ /"in_flight":0\b/ }, 10), "$what: the daemon was told to stop");
    is($cluster->sql("SELECT steadytext_generate('next', use_cache => false)"), 'next', "$what: the next request is served");
    return;
}

my $cancel    = sub { $cluster->sql('CALL signal_all(false)') };
my $terminate = sub { $cluster->sql('CALL signal_all(true)') };
my $waiting   = q(SELECT hold('x'));

interrupt('cancel, in a block that catches', '', "CALL wait_in(\$\$$waiting\$\$)", $cancel);
interrupt('cancel, in a cursor', '', 'CALL wait_in_cursor()', $cancel);
interrupt('terminate', '', $waiting, $terminate);

# statement_timeout is its own signal: it comes by the session's own clock.
{
    my $what = 'statement_timeout';
    $cluster->sql('CREATE TABLE overrun (ms float8)');
    my @sessions = map { $cluster->session->send(q(
        SET statement_timeout = '500ms';
        DO $$ DECLARE began timestamptz := statement_timestamp();
        BEGIN
            PERFORM hold('x');
        EXCEPTION WHEN query_canceled THEN
            SET LOCAL statement_timeout = 0;
            INSERT INTO overrun VALUES (extract(epoch FROM clock_timestamp() - began) * 1000 - 500);
        END $$)) } 1 .. $clients;
    $_->finish for @sessions;
    my ($count, $median, $slowest) = split /\|/, $cluster->sql(
        'SELECT count(*), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 1), round(max(ms)::numeric, 1) FROM overrun');
    is($count, $clients, "$what: all are released");
    cmp_ok($median, '<=', 20, "$what: $median ms later than asked");
    cmp_ok($slowest, '<=', 200, "$what: the last one $slowest ms later");
    note("row 6: $what: $count sessions free $median ms later than asked at the median, $slowest ms at most");
    is_clean($what);
}

# Parallel workers wait on their leader's behalf: cancelling the leader ends them all.
{
    my $parallel = join ' ', map { "SET $_;" } 'min_parallel_table_scan_size = 0', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0',
        'max_parallel_workers_per_gather = 2', 'parallel_leader_participation = off',
        'steadytext.read_ahead = off';    # a call for each worker
    interrupt('cancel, in parallel workers', $parallel, q(CALL wait_in($$SELECT count(hold(i::text)) FROM big$$)), $cancel, 2 * $clients);
}

# A call that is interrupted costs its savepoint, not its transaction; and what was learnt does not stand in the way of two-phase commit.
{
    my $out = $cluster->try_sql(q(
        CREATE TABLE kept (what text);
        SET statement_timeout = '300ms';
        BEGIN;
        INSERT INTO kept VALUES ('before');
        SAVEPOINT asking;
        \set ON_ERROR_STOP off
        SELECT hold('x');
        \set ON_ERROR_STOP on
        ROLLBACK TO asking;
        INSERT INTO kept VALUES (steadytext_generate('after'));
        PREPARE TRANSACTION 'asked';
        COMMIT PREPARED 'asked';
        SELECT string_agg(what, ' ') FROM kept))->{out};
    is($out, 'before after', 'a transaction goes on after its savepoint, and can be prepared');
    is_clean('rollback to a savepoint');
    $out = $cluster->sql(q(
        BEGIN;
        SELECT steadytext_generate('prepared and rolled back');
        PREPARE TRANSACTION 'asked';
        ROLLBACK PREPARED 'asked';
        SELECT cached FROM steadytext_generate_ex('prepared and rolled back')));
    is($out, "prepared and rolled back\nt", 'one that is prepared and rolled back has learnt its answer all the same');
}

done_testing;
