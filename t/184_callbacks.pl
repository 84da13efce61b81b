# Callbacks run in a worker that is connected as the role, after the result is recorded: nothing they set or do reaches the queue or another
# role's callback, none that never ends holds up the queue, another role or a stop, and each is called once.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.request_timeout = '6s'", 'max_worker_processes = 20' ]);
$cluster->sql(q(
    CREATE TABLE heard (request_id uuid, what text, pid int DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp());
    GRANT ALL ON heard TO PUBLIC;
    CREATE FUNCTION public.tells(id uuid) RETURNS void LANGUAGE sql AS $$
        INSERT INTO public.heard SELECT id, concat_ws(' ', session_user, current_user, current_setting('is_superuser'), current_setting('search_path'),
            current_setting('default_transaction_read_only'), current_setting('synchronous_commit')) $$;
    CREATE FUNCTION public.sets(id uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('search_path', 'public', false), set_config('default_transaction_read_only', 'on', false),
            set_config('synchronous_commit', 'on', false), set_config('steadytext.request_timeout', '1h', false), pg_advisory_lock(7);
    END $$;
    CREATE FUNCTION public.never_ends(id uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        LOOP
            BEGIN
                INSERT INTO public.heard VALUES (id, 'never');
                PERFORM pg_sleep(600);
            EXCEPTION WHEN query_canceled THEN NULL;
            END;
        END LOOP;
    END $$;
    CREATE FUNCTION public.climbs(id uuid) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        EXECUTE 'SET SESSION AUTHORIZATION postgres';
    END $$;
    CREATE FUNCTION public.changes(id uuid) RETURNS void LANGUAGE sql AS 'SELECT';
    CREATE FUNCTION public.gives_many(id uuid) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION public.of_two(a uuid, b uuid) RETURNS void LANGUAGE sql AS 'SELECT';
    CREATE FUNCTION public.of_text(a text) RETURNS void LANGUAGE sql AS 'SELECT';
    CREATE FUNCTION public.raises(id uuid) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no, thanks'; END $$;
));
my @roles = map { "role_$_" } 'a' .. 'h';
$cluster->sql("CREATE ROLE $_ LOGIN") for @roles;
$cluster->sql('CREATE ROLE no_login; CREATE ROLE no_connect LOGIN; REVOKE CONNECT ON DATABASE ' . $cluster->{PGDATABASE} . ' FROM PUBLIC; GRANT CONNECT ON DATABASE '
    . $cluster->{PGDATABASE} . ' TO ' . join ', ', @roles);

my $number = 0;
sub enqueue {
    my ($role, $callback) = @_;
    $number++;
    return $cluster->sql("SET ROLE $role; SELECT steadytext_enqueue('generate', '{\"prompt\": \"number $number\", \"use_cache\": false}', callback => 'public.$callback(uuid)')",
        user => $role =~ /^no_/ ? 'postgres' : $role);
}
sub state_of { my ($id) = @_; return $cluster->sql("SELECT callback_state, callback_error FROM steadytext_queue WHERE request_id = '$id'") }
sub ends_as {
    my ($id, $expected, $what, $seconds) = @_;
    return ok($cluster->poll_until("SELECT callback_state FROM steadytext_queue WHERE request_id = '$id'", $expected, $seconds), $what) || diag state_of($id);
}
sub heard { my ($id) = @_; return $cluster->sql("SELECT string_agg(what, ',') FROM heard WHERE request_id = '$id'") }

# A callback is a session of the role that queued the call, but uses the shares of the role that had connected, in parallel workers too.
{
    my $forced = $cluster->sql(q(SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')));
    $cluster->sql(q(CREATE ROLE guise LOGIN; GRANT guise TO role_a; GRANT CONNECT ON DATABASE ) . $cluster->{PGDATABASE} . q( TO guise;
        CREATE FUNCTION public.queues(id uuid) RETURNS void LANGUAGE sql AS $$ SELECT public.steadytext_generate_async('from a callback') $$;
        CREATE FUNCTION public.asks_in_parallel(id uuid) RETURNS void LANGUAGE plpgsql AS $$
            BEGIN PERFORM public.steadytext_generate('!fault:delay=3000 in parallel', use_cache => false); END $$;
        ALTER FUNCTION public.asks_in_parallel SET ) . $forced . q( = on));
    my $ask = sub { my ($callback) = @_; return $cluster->sql("SET ROLE guise; SELECT steadytext_enqueue('generate', '{\"prompt\": \"x\", \"use_cache\": false}', callback => 'public.$callback(uuid)')", user => 'role_a') };
    ends_as($ask->('queues'), 'done', 'a callback queues a call');
    is($cluster->sql(q(SELECT user_oid || ' ' || session_user_oid FROM steadytext_queue WHERE prompt = 'from a callback')), 'guise role_a', 'which is of its role, and of the role that had connected');
    my $limited = $cluster->sql(q(SELECT steadytext_rate_limit_set('*', requests => 1, per => '1 hour')));
    my $second = $ask->('asks_in_parallel');
    ends_as($second, 'failed', 'its own call is the one that the limit of each role allows who had connected');
    like(state_of($second), qr/53400: Rate limit exceeded: 1 requests per/, 'so what its callback asks is refused');
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('*')));
}

# As whom, and with what settings.
{
    my $id = enqueue('role_a', 'tells');
    ends_as($id, 'done', 'a callback is called');
    is(heard($id), 'role_a role_a off pg_catalog, pg_temp off local', 'by a session of the role');
    my $sets = enqueue('role_a', 'sets');
    ends_as($sets, 'done', 'one that sets what it can');
    my $after = enqueue('role_a', 'tells');
    ends_as($after, 'done', 'and the next one');
    is(heard($after), 'role_a role_a off pg_catalog, pg_temp off local', 'which finds nothing of it');
    is($cluster->sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0, 'nor a lock');
    my $climbs = enqueue('role_a', 'climbs');
    ends_as($climbs, 'failed', 'nothing leads to another role');
    like(state_of($climbs), qr/failed\|42501: /, 'which is noted');
    is($cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext callback worker' AND usename NOT IN ('role_a', 'guise')"), 0, 'its worker is of that role');
    my $raises = enqueue('role_a', 'raises');
    ends_as($raises, 'failed', 'one that raises');
    is(state_of($raises), 'failed|P0001: no, thanks', 'has its error kept');
    is($cluster->try_sql(sprintf q(SET ROLE role_a; SELECT steadytext_enqueue('generate', '{"prompt": "x"}', callback => '%s')), $_)->{state}, '42883', "$_ is no callback")
        for 'public.gives_many(uuid)', 'public.of_two(uuid, uuid)', 'public.of_text(text)', 'pg_catalog.max(pg_catalog.int4)';
    my $changed = $cluster->sql(q(SET ROLE role_a; SELECT steadytext_enqueue('generate', '{"prompt": "!fault:delay=1000", "use_cache": false}', callback => 'public.changes(uuid)')));
    $cluster->sql(q(DROP FUNCTION public.changes; CREATE FUNCTION public.changes(id uuid) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1'));
    ends_as($changed, 'failed', 'one that has become none meanwhile');
    like(state_of($changed), qr/failed\|42883: /, 'is not called, and the reason is noted');
    $cluster->sql("ALTER ROLE role_b SET synchronous_commit = on; ALTER ROLE role_b SET search_path = public; ALTER ROLE role_b SET steadytext.request_timeout = '1h'");
    my $own = enqueue('role_b', 'tells');
    ends_as($own, 'done', 'a role with settings of its own');
    is(heard($own), 'role_b role_b off pg_catalog, pg_temp off local', 'has none of them there');
}

# Whoever writes the queue's table, and even its owner, gets no callback called that its role has not asked for, nor another than that.
{
    $cluster->sql(q(CREATE FUNCTION public.robs(id uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard SELECT id, current_user'; GRANT EXECUTE ON FUNCTION robs(uuid) TO PUBLIC));
    my $owner  = 'SET ROLE steadytext_owner;';
    my $forged = q(request_type, prompt, user_id, user_oid, status, completed_at, callback, callback_state);
    for my $role ('postgres', 'role_c') {
        my $id = $cluster->sql(qq($owner INSERT INTO steadytext_queue ($forged) VALUES ('generate', 'x', '$role', '$role'::regrole, 'completed', now(), 'public.robs', 'due') RETURNING request_id));
        $cluster->sql(q(SELECT steadytext_generate_async('wakes the worker')));
        ends_as($id, 'failed', "a callback written for $role");
        is(state_of($id), 'failed|42501: the role has not asked for it', '  is refused');
        is(heard($id), '', '  and not called');
    }
    my $id = enqueue('role_c', 'tells');
    ends_as($id, 'done', 'a callback that was asked for');
    $cluster->sql(qq($owner UPDATE steadytext_queue SET callback = 'public.robs', user_oid = 'postgres'::regrole, callback_state = 'due' WHERE request_id = '$id'));
    $cluster->sql(q(SELECT steadytext_generate_async('wakes the worker again')));
    ends_as($id, 'failed', '  is not another role\'s afterwards');
    $cluster->sql(qq($owner UPDATE steadytext_queue SET user_oid = 'role_c'::regrole, callback_state = 'due' WHERE request_id = '$id'));
    $cluster->sql(q(SELECT steadytext_generate_async('wakes the worker a third time')));
    ends_as($id, 'done', '  nor another function');
    like(heard($id), qr/^(role_c role_c off pg_catalog, pg_temp off local,?){2}$/, '  than the role named');
    for my $sql ("INSERT INTO _steadytext.queue_callbacks VALUES ('$id', 10, 'public.robs')", "UPDATE _steadytext.queue_callbacks SET role = 10", 'TRUNCATE _steadytext.queue_callbacks',
        'ALTER TABLE _steadytext.queue_callbacks DISABLE TRIGGER ALL', 'CREATE TRIGGER t BEFORE INSERT ON _steadytext.queue_callbacks EXECUTE FUNCTION _steadytext.cache_changed()') {
        is($cluster->try_sql("$owner $sql")->{state}, '42501', "$sql: not as steadytext_owner");
    }
    $cluster->sql(q(CREATE ROLE adm LOGIN; SELECT steadytext_admin_grant('adm')));
    is($cluster->try_sql("SET ROLE adm; $_")->{state}, '42501', "$_: nor as an administrator")
        for 'UPDATE _steadytext.queue_callbacks SET callback = $$public.robs$$', "INSERT INTO _steadytext.queue_callbacks VALUES ('$id', 10, 'public.robs', 10)",
        'DELETE FROM _steadytext.queue_callbacks', 'SELECT FROM _steadytext.queue_callbacks';
    is($cluster->sql(qq(DELETE FROM heard; DELETE FROM steadytext_queue WHERE request_id = '$id'; SELECT count(*) FROM _steadytext.queue_callbacks WHERE request_id = '$id')), 0, 'of a request deleted by hand nothing is left');
    is($cluster->sql(q(SELECT count(*) > 0 FROM _steadytext.queue_callbacks; BEGIN; TRUNCATE steadytext_queue; SELECT count(*) FROM _steadytext.queue_callbacks; ROLLBACK)), "t\n0", 'nor of all, of a TRUNCATE');
}

# Another role's function that has taken the name is not called.
{
    $cluster->sql(q(CREATE SCHEMA shared; GRANT ALL ON SCHEMA shared TO PUBLIC; CREATE ROLE landlord LOGIN; GRANT role_d, role_e TO landlord));
    my $make = sub { my ($role) = @_; return $cluster->sql("SET ROLE $role; CREATE FUNCTION shared.called(id uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard SELECT id, current_user'") };
    my $ask  = sub { return $cluster->sql(q(SET ROLE role_d; SELECT steadytext_enqueue('generate', '{"prompt": "!fault:delay=1500 x", "use_cache": false}', callback => 'shared.called(uuid)'))) };
    my %takes = (
        'renamed, and another made' => sub { $cluster->sql('SET ROLE role_d; ALTER FUNCTION shared.called(uuid) RENAME TO was_called'); $make->('role_e') },
        'dropped by the owner of the schema, and another made' => sub {
            $cluster->sql('ALTER SCHEMA shared OWNER TO landlord; SET ROLE landlord; DROP FUNCTION shared.called(uuid)'); $make->('landlord') },
        'given to another role' => sub { $cluster->sql('ALTER FUNCTION shared.called(uuid) OWNER TO role_e') },
        'made a procedure' => sub { $cluster->sql('SET ROLE role_d; DROP FUNCTION shared.called(uuid); CREATE PROCEDURE shared.called(id uuid) LANGUAGE sql AS $$SELECT 1$$') },
        'revoked' => sub { $cluster->sql('ALTER FUNCTION shared.called(uuid) OWNER TO role_e; SET ROLE role_e; REVOKE ALL ON FUNCTION shared.called(uuid) FROM PUBLIC, role_d') },
    );
    for my $what (sort keys %takes) {
        $make->('role_d');
        my $id = $ask->();
        $takes{$what}->();
        ends_as($id, 'failed', "a function that is $what meanwhile");
        like(state_of($id), qr/failed\|42(501|883|809): /, '  is not called, which is noted');
        is(heard($id), '', '  nor heard of');
        $cluster->sql('DROP ROUTINE shared.called(uuid)');
    }
    $make->('role_d');
    my $id = $ask->();
    $cluster->sql('SET ROLE role_d; DROP FUNCTION shared.called(uuid)');
    $make->('role_d');
    ends_as($id, 'done', 'a function that its owner has made anew is called');
    is(heard($id), 'role_d', '  as the role');
}

# A database may not give its callbacks more time than the server does, nor take all places.
{
    $cluster->sql('CREATE DATABASE greedy');
    my $in = { database => 'greedy' };
    $cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE; ALTER DATABASE greedy SET steadytext.request_timeout = '1h';
        CREATE FUNCTION public.never_ends(id uuid) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(600)'), %$in);
    $cluster->sql("SELECT steadytext_enqueue('generate', '{\"prompt\": \"x\"}', callback => 'public.never_ends(uuid)')", %$in, user => $_) for @roles[0 .. 3];
    my $held = q(SELECT count(*) FROM pg_stat_activity WHERE datname = 'greedy' AND backend_type = 'pg_steadytext callback worker');
    ok($cluster->poll_until($held, 3), 'a database holds three places of four');
    my $start = time;
    my $id = enqueue('role_h', 'tells');
    ends_as($id, 'done', '  so that another database has one');
    cmp_ok(time - $start, '<', 6, '  at once');
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT count(*) FROM steadytext_queue WHERE callback_state = 'failed' AND callback_error LIKE '57014: it took longer than 6000 ms'), %$in) == 4 }, 60),
        '  for as long as the server lets callbacks run') or diag $cluster->sql('SELECT callback_state, callback_error FROM steadytext_queue', %$in);
}

# Roles that may not come.
{
    my $id = enqueue('no_connect', 'tells');
    ends_as($id, 'failed', 'a role that may not connect');
    is(state_of($id), 'failed|42501: role "no_connect" may not connect to this database', 'is told so');
    $id = enqueue('no_login', 'tells');
    if ($cluster->sql('SHOW server_version_num') >= 170000) {
        ends_as($id, 'failed', 'a role that may not connect either');
    } else {
        ends_as($id, 'failed', 'a role that may not log in');
        is(state_of($id), 'failed|28000: role "no_login" may not log in, which a callback needs before PostgreSQL 17', 'is told so');
    }
}

# One that never ends, whatever is done about it.
{
    my $start = time;
    my $endless = enqueue('role_a', 'never_ends');
    my $next = enqueue('role_a', 'tells');
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext callback worker' AND wait_event = 'PgSleep'), 1), 'a callback without end');
    my $other = enqueue('role_b', 'tells');
    ends_as($other, 'done', 'does not hold up another role');
    cmp_ok(time - $start, '<', 6, 'at all');
    my $plain = $cluster->sql(q(SELECT steadytext_generate_async('goes on')));
    ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$plain'", 'completed'), 'nor the queue');
    ends_as($endless, 'failed', 'it is ended');
    is(state_of($endless), 'failed|57014: it took longer than 6000 ms', 'and it is noted why');
    cmp_ok(time - $start, '<', 20, 'a second after its time');
    is(heard($endless), '', 'what it did is undone');
    ends_as($next, 'done', 'the next one of its role is called');
}

# A worker that is ended before its time: called again, three times at most.
{
    my $id = enqueue('role_c', 'never_ends');
    for my $try (1 .. 3) {
        my $query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_steadytext callback worker' AND usename = 'role_c' AND wait_event = 'PgSleep'";
        ok($cluster->poll_until(qq(SELECT pg_terminate_backend(pid) FROM ($query) w, steadytext_queue WHERE request_id = '$id' AND callback_tries = $try), 't'),
            "its worker is ended, $try");
    }
    ends_as($id, 'failed', 'a callback whose worker is ended again and again is given up');
    like(state_of($id), qr/its worker was ended again and again/, 'which is noted');
}

# Eight roles, four of them with callbacks that never end, and places for four workers.
{
    my @endless = map { enqueue($_, 'never_ends') } map { ($_) x 2 } @roles[0 .. 3];
    my $start = time;
    my @honest = map { enqueue($_, 'tells') } map { ($_) x 5 } @roles[4 .. 7];
    ends_as($_, 'done', 'an honest one', 90) for @honest;
    note sprintf 'four hostile roles beside four honest ones: all honest callbacks after %.1f s', time - $start;
    cmp_ok($cluster->sql(q(SELECT max(count) FROM (SELECT count(*) FROM heard WHERE what LIKE 'role_%' GROUP BY request_id) t)), '==', 1, 'each called once');
    ends_as($_, 'failed', 'a hostile one', 90) for @endless;
}

# A role that is gone.
{
    my $held = $cluster->sql(q(SET ROLE role_h; SELECT steadytext_enqueue('generate', '{"prompt": "!fault:delay=1000", "use_cache": false}', callback => 'public.tells(uuid)')));
    $cluster->sql('DROP OWNED BY role_h; DROP ROLE role_h');
    ok($cluster->poll_until("SELECT status <> 'pending' AND status <> 'processing' AND coalesce(callback_state NOT IN ('due', 'running'), true) FROM steadytext_queue WHERE request_id = '$held'", 't'), 'a role that is gone');
    is(heard($held), '', 'gets no callback');
}

# A fast stop while callbacks run.
{
    enqueue('role_a', 'never_ends');
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext callback worker' AND wait_event = 'PgSleep'), 1), 'a callback without end again');
    my $start = time;
    ok($cluster->stop('fast'), 'the server is stopped');
    cmp_ok(time - $start, '<', 2, 'in time');
    ok($cluster->start, 'and starts');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE callback_state IN ('due', 'running')), 0, 60), 'what was in hand is called again, and ended');
}

done_testing;
