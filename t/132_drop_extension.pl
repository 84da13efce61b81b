# DROP EXTENSION while workers are at work, and CREATE EXTENSION after it: nobody ends anybody but a callback, and the new one knows nothing of the old one's answers.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'log_lock_waits = on' ]);
my $waits = sub { my ($who) = @_; return $cluster->wait_for(sub { $cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND $who") > 0 }) };
my $again = q(DROP EXTENSION pg_steadytext CASCADE; CREATE EXTENSION pg_steadytext);

# ---- locks: whichever table a keeper waits for in the midst of its work --------------------------------------------------------
for my $table (qw(steadytext_cache steadytext_usage)) {
    $cluster->sql('SELECT steadytext_frecency_refresh()');
    my $holder = $cluster->session->send("BEGIN; LOCK TABLE $table IN EXCLUSIVE MODE; SELECT steadytext_generate('$table waits');");
    ok($waits->(q(backend_type = 'pg_steadytext keeper')), "$table is locked: the keeper waits");
    my $dropper = $cluster->session->send("SET application_name = 'dropper'; $again;");
    ok($waits->(q(application_name = 'dropper')), 'DROP EXTENSION waits for the keeper');
    $holder->send('COMMIT;');
    is($holder->finish->{state}, '', 'the table is free');
    is($dropper->finish->{state}, '', 'the extension is dropped, and made again');
}

# ---- the extension's own lock ------------------------------------------------------------------------------------------------
# PostgreSQL locks the extension for whoever says that a function of his depends on it, and keeps it locked while he likes: no worker waits for that.
{
    my $row = sub { my ($table, $where) = @_; return $cluster->poll_until("SELECT count(*) FROM $table WHERE $where", 1) };
    $cluster->sql(q(CREATE ROLE eve LOGIN; CREATE SCHEMA eves AUTHORIZATION eve; CREATE ROLE bob LOGIN));
    $cluster->sql(q(CREATE FUNCTION eves.f() RETURNS int LANGUAGE sql AS 'SELECT 1'), user => 'eve');
    my $eve = $cluster->session(user => 'eve');
    $eve->ask('BEGIN; ALTER FUNCTION eves.f() DEPENDS ON EXTENSION pg_steadytext;');
    my $locked = q(SELECT count(*) FROM pg_locks WHERE classid = 'pg_extension'::regclass AND objsubid = 0 AND mode = 'AccessExclusiveLock' AND granted);
    is($cluster->sql($locked), 1, 'a role without rights has the extension locked');
    my $id = $cluster->sql(q(SELECT steadytext_generate_async('meanwhile')), user => 'bob');
    ok($row->('steadytext_queue', "request_id = '$id' AND status = 'completed'"), 'asynchronous calls are carried out');
    $cluster->sql(q(SELECT steadytext_generate('meanwhile' || chr(1))), user => 'bob');
    ok($row->('steadytext_cache', q(prompt = 'meanwhile' || chr(1))), 'answers are written');
    ok($row->('steadytext_audit_log', q(user_id = 'bob')), 'and audit rows');

    # Who may not drop it keeps no worker waiting either; who drops it by what it depends on waits for workers as any other does.
    my $holder = $cluster->session->send('BEGIN; LOCK TABLE steadytext_cache IN EXCLUSIVE MODE; SELECT steadytext_generate($$locked again$$);');
    ok($waits->(q(backend_type = 'pg_steadytext keeper')), 'a keeper waits in the midst of its work');
    $eve->ask('COMMIT;');
    is($cluster->try_sql('DROP EXTENSION pg_steadytext', user => 'eve')->{state}, '42501', 'a role without rights is refused at once');
    my $dropper = $cluster->session->send(q(SET application_name = 'dropper'; DROP EXTENSION vector CASCADE; CREATE EXTENSION pg_steadytext CASCADE;));
    ok($waits->(q(application_name = 'dropper')), 'DROP EXTENSION vector CASCADE waits for the keeper');
    is($cluster->sql(q(SELECT count(*) FROM pg_locks WHERE relation IS NOT NULL AND mode = 'AccessExclusiveLock' AND pid = (SELECT pid FROM pg_stat_activity WHERE application_name = 'dropper'))), 0,
        'before it has locked a table');
    $holder->send('COMMIT;');
    is($_->finish->{state}, '', 'all goes on') for $holder, $dropper, $eve;
}

# ---- jobs ---------------------------------------------------------------------------------------------------------------------
$cluster->sql(q(SELECT count(steadytext_generate_async('!fault:hold job ' || i)) FROM generate_series(1, 3) i));
ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_queue WHERE status = 'processing'), 't'), 'jobs are under way');
$cluster->sql('DROP EXTENSION pg_steadytext CASCADE');
ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^pg_steadytext (queue|keeper)'), 0, 40), 'the workers leave a database whose extension is dropped');

# ---- callbacks ------------------------------------------------------------------------------------------------------------------
# One that catches every cancel is not waited for. If the extension stays after all, it is called again.
{
    my $timeout = 60;
    $cluster->sql("ALTER SYSTEM SET steadytext.request_timeout = '${timeout}s'; SELECT pg_reload_conf()");
    $cluster->sql(q(CREATE EXTENSION pg_steadytext; CREATE TABLE heard (id uuid); GRANT ALL ON heard TO PUBLIC;
        CREATE FUNCTION public.never_ends(id uuid) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            LOOP
                BEGIN
                    INSERT INTO public.heard VALUES (id);
                    PERFORM pg_sleep(600);
                EXCEPTION WHEN query_canceled THEN NULL;
                END;
            END LOOP;
        END $$));
    my $workers = q(SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'pg_steadytext callback worker' AND wait_event = 'PgSleep');
    $cluster->sql(q(SELECT steadytext_enqueue('generate', '{"prompt": "x"}', callback => 'public.never_ends(uuid)')), user => 'bob');
    my $worker;
    ok($cluster->wait_for(sub { $worker = $cluster->sql($workers) }), 'a callback without end is in hand');
    my $start = time;
    $cluster->sql('BEGIN; DROP EXTENSION pg_steadytext CASCADE; ROLLBACK');
    ok($cluster->wait_for(sub { my $now = $cluster->sql($workers); $now && $now ne $worker }), 'DROP EXTENSION ends it; after a rollback it is called again');
    $cluster->sql('DROP EXTENSION pg_steadytext CASCADE');
    cmp_ok(time - $start, '<', $timeout, 'neither waits until its time is over');
    is($cluster->sql(q(SELECT count(*) FROM heard)), 0, 'what it did is undone');
    $cluster->sql('ALTER SYSTEM RESET steadytext.request_timeout; SELECT pg_reload_conf(); DROP TABLE heard');
}

# ---- answers -------------------------------------------------------------------------------------------------------------------
my $cached = q(SELECT cached FROM steadytext_generate_ex('known to the old one'));
$cluster->sql('CREATE EXTENSION pg_steadytext');
$cluster->sql(q(SELECT steadytext_generate('known to the old one')));
is($cluster->sql($cached), 't', 'an answer is cached');
$cluster->sql($again);
is($cluster->sql($cached), 'f', 'an extension that is made after it does not know it');
is($cluster->sql("BEGIN; $again; $cached; COMMIT"), 'f', 'nor one that is made in the same transaction');
$cluster->sql(q(SELECT steadytext_generate('known to the old one'); SELECT steadytext_frecency_refresh()));
is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'known to the old one')), 1, 'what it has asked itself is in its table');

unlike($cluster->log, qr/deadlock detected|does not exist/, 'the log knows of no deadlock and of nothing missing');
done_testing;
