# Nothing gets in: some 450 attacks on every argument of every function that a text can reach, names that are attacks themselves, and a
# schema full of trojans.
use strict;
use warnings;
use utf8;
use SteadyText::Attack;
use SteadyText::Cluster;
use Test::More;

binmode $_, ':encoding(UTF-8)' for Test::More->builder->output, Test::More->builder->failure_output;
my $cluster = SteadyText::Cluster->new(conf => [ 'log_min_error_statement = panic', 'log_min_messages = log', "steadytext.fallback_text = 'none'" ]);

# All that an attack would have changed.
my $state = <<'SQL';
SELECT md5(string_agg(said, E'\n' ORDER BY said COLLATE "C")) FROM (
    SELECT concat('relation', oid, relname, relkind, relowner, relacl, relhastriggers) FROM pg_class WHERE relnamespace NOT IN ('pg_toast'::regnamespace, 'attack'::regnamespace)
    UNION ALL SELECT concat('function', oid, proname, prosrc, proacl, proowner, proconfig) FROM pg_proc WHERE pronamespace <> 'attack'::regnamespace
    UNION ALL SELECT concat('role', oid, rolname, rolsuper, rolpassword) FROM pg_authid
    UNION ALL SELECT concat('trigger', oid, tgname) FROM pg_trigger UNION ALL SELECT concat('database', datname, datacl) FROM pg_database
    UNION ALL SELECT concat('schema', nspname, nspacl) FROM pg_namespace UNION ALL SELECT concat('policy', polname) FROM pg_policy
    UNION ALL SELECT concat('setting', name, setting) FROM pg_file_settings
    UNION ALL SELECT concat('row', id, word) FROM victim
    UNION ALL SELECT concat('lock', objid) FROM pg_locks WHERE locktype = 'advisory'
    UNION ALL SELECT concat('config', key, value) FROM steadytext_config WHERE description IS NOT NULL) s (said)
SQL

# Puts each text into a call; how many calls were not refused. It is not undone: what an attack did would be seen.
$cluster->sql(<<'SQL');
CREATE TABLE victim (id int, word text);
INSERT INTO victim VALUES (1, 'whole');
CREATE SCHEMA attack;
CREATE TABLE attack.vectors (place serial, text text);
CREATE FUNCTION attack.run(call text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE vector text; answered int := 0;
BEGIN
    FOR vector IN SELECT v.text FROM attack.vectors v ORDER BY v.place LOOP
        BEGIN
            EXECUTE call USING vector;
            answered := answered + 1;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    RETURN answered;
END $$;
SQL

my @vectors = SteadyText::Attack::vectors();
cmp_ok(scalar @vectors, '>=', 300, scalar(@vectors) . ' attacks');
{
    my $insert = join ', ', map { my $text = $_; utf8::encode($text); my $hex = unpack 'H*', $text; "(convert_from('\\x$hex', 'UTF8'))" } @vectors;
    $cluster->sql("INSERT INTO attack.vectors (text) VALUES $insert");
}

# As prompts they are data: the daemon that echoes gives them back as they are.
is($cluster->sql(q(SELECT count(*) FROM attack.vectors WHERE steadytext_generate(text) IS DISTINCT FROM text)), 0, 'every attack as a prompt comes back as it is');
is($cluster->sql(q(SELECT count(*) FROM attack.vectors WHERE steadytext_generate(text) IS DISTINCT FROM text)), 0, 'and from the cache');
$cluster->sql('SELECT steadytext_frecency_refresh()');
is($cluster->sql(q(SELECT count(DISTINCT v.text) FROM attack.vectors v JOIN steadytext_cache c ON c.prompt = v.text AND c.response = v.text)), scalar @vectors, 'and out of the table');

# Every argument of every function gets every attack.
{
    my @targets = SteadyText::Attack::targets($cluster);
    cmp_ok(scalar @targets, '>', 100, scalar(@targets) . ' arguments that a text can reach');
    my $before = $cluster->sql($state);
    my $calls = join '', map { "SELECT attack.run(\$call\$$_->[2]\$call\$);\n" } @targets;
    my $result = $cluster->try_sql("SET client_min_messages = error; SET statement_timeout = '120s'; LISTEN intruder;\n$calls SELECT coalesce(current_setting('intruder.was', true), '');", timeout => 1800);
    is($result->{err}, '', 'all are called');
    unlike($result->{out}, qr/Asynchronous notification/, 'no notification was sent');
    my @answered = split /\n/, $result->{out}, -1;
    is($answered[-1], '', 'no setting was made');
    cmp_ok(scalar(grep { /^\d+$/ && $_ > 0 } @answered), '>', 40, 'many take the texts as the data they are');
    is($cluster->sql($state), $before, 'no object, role, setting, lock or row is another than before');
    ok(!-e $cluster->data_dir . '/intruder', 'no program was run');
}

# Names that are attacks: a role, a database.
{
    my $name   = q(x"'; DROP TABLE public.victim; --);
    my $quoted = '"' . $name =~ s/"/""/gr . '"';
    $cluster->sql("CREATE ROLE $quoted LOGIN; SELECT steadytext_rate_limit_set(\$\$$name\$\$, requests => 3)");
    my $ask = q(SELECT cached FROM steadytext_generate_ex('by any name'));
    is($cluster->sql("$ask; $ask", user => $name), "f\nt", 'a role with such a name has its cache');
    is($cluster->try_sql(q(SELECT count(steadytext_generate('n' || i)) FROM generate_series(1, 3) i), user => $name)->{state}, '53400', 'and its limit');
    $cluster->sql("SELECT steadytext_admin_grant(\$\$$name\$\$); SELECT steadytext_admin_revoke(\$\$$name\$\$)");
    my $database = q(d"'; DROP DATABASE steadytext; --);
    $cluster->sql(q(CREATE DATABASE ) . '"' . $database =~ s/"/""/gr . '"');
    my $in = { database => "dbname='" . $database =~ s/(['\\])/\\$1/gr . "'" };
    $cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE; SELECT steadytext_generate('elsewhere'); SELECT steadytext_frecency_refresh()), %$in);
    is($cluster->sql(q(SELECT scope FROM steadytext_cache), %$in), "$database/postgres", 'a database with such a name has its keeper');
    is($cluster->sql('SELECT word FROM victim'), 'whole', 'the victim is whole');
}

# Trojans (CVE-2018-1058): functions and operators of PostgreSQL's names in a schema that comes first for everybody, also before the
# extension is made. Each tells the log that it ran.
{
    my $in = { database => 'trojan' };
    $cluster->sql(q(CREATE DATABASE trojan; CREATE ROLE mallory LOGIN; ALTER DATABASE trojan SET search_path = public, pg_catalog));
    $cluster->sql(q(SET search_path = pg_catalog; GRANT CREATE ON SCHEMA public TO mallory; CREATE TABLE public.victim (id int, word text); CREATE EXTENSION vector SCHEMA public), %$in);
    $cluster->sql(<<'SQL', %$in, user => 'mallory');
SET search_path = pg_catalog;
DO $$
DECLARE
    type text; name text; body text := 'BEGIN RAISE LOG ''trojan %% ran as %%'', %L, current_user; RETURN NULL; END';
BEGIN
    FOREACH type IN ARRAY '{text,int4,int8,float8,numeric,timestamptz,interval,name,jsonb,oid,bool}'::text[] LOOP
        FOREACH name IN ARRAY '{octet_length,length,lower,ln,exp,isfinite,round,coalesce_,to_jsonb,quote_ident,left,format,jsonb_build_object,sum,now,abs}'::text[] LOOP
            EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', name, type, type, format(body, name));
        END LOOP;
        EXECUTE format('CREATE FUNCTION public.both_(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', type, type, type, format(body, 'operator on ' || type));
        EXECUTE format('CREATE FUNCTION public.same_(%s, %s) RETURNS bool LANGUAGE plpgsql AS %L', type, type, format(body, 'comparison of ' || type));
        FOREACH name IN ARRAY '{+,-,*,/,||}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.both_)', name, type, type);
        END LOOP;
        FOREACH name IN ARRAY '{=,<>,<,>,<=,>=,~,!~}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.same_)', name, type, type);
        END LOOP;
    END LOOP;
    EXECUTE format('CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE plpgsql AS %L', format(body, 'now'));
    EXECUTE format('CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS %L', format(body, 'clock_timestamp'));
    EXECUTE format('CREATE FUNCTION public.gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS %L', format(body, 'gen_random_uuid'));
    EXECUTE format('CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE plpgsql AS %L', format(body, 'current_setting'));
    EXECUTE format('CREATE FUNCTION public.unnest(text[]) RETURNS text LANGUAGE plpgsql AS %L', format(body, 'unnest'));
    EXECUTE format('CREATE FUNCTION public.jsonb_populate_record(anyelement, jsonb) RETURNS anyelement LANGUAGE plpgsql AS %L', format(body, 'jsonb_populate_record'));
    CREATE DOMAIN public.jsonb AS pg_catalog.jsonb CHECK (public.same_(1, 1));
    CREATE DOMAIN public.float8 AS pg_catalog.float8 CHECK (public.same_(2, 2));
    CREATE DOMAIN public.inet AS pg_catalog.inet CHECK (public.same_(3, 3));
    CREATE TABLE public.pg_proc (a int); CREATE TABLE public.pg_class (a int); CREATE TABLE public.pg_roles (a int); CREATE TABLE public.pg_settings (a int);
END $$;
SQL
    is($cluster->try_sql('CREATE FUNCTION public.steadytext_version() RETURNS text LANGUAGE sql AS $$ SELECT NULL $$; ', %$in, user => 'mallory')->{err}, '', 'mallory prepares');
    is($cluster->try_sql('CREATE EXTENSION pg_steadytext', %$in)->{state}, '42723', 'a function that is there already is not taken over');
    $cluster->sql('SET search_path = pg_catalog; DROP FUNCTION public.steadytext_version(); CREATE EXTENSION pg_steadytext', %$in);
    unlike($cluster->log, qr/trojan .* ran/, 'making the extension calls no trojan');

    my @calls = SteadyText::Attack::targets($cluster, calls => 1, in => { database => 'steadytext' });
    cmp_ok(scalar @calls, '>', 100, scalar(@calls) . ' functions');
    my @safe = grep { $_->[0] !~ /daemon_(start|stop)/ } @calls;
    my $script = "\\set ON_ERROR_STOP 0\nSET client_min_messages = fatal;\n" . join '', map { "$_->[2];\n" } @safe;
    $cluster->try_sql($script, %$in, timeout => 300);
    $cluster->try_sql($script, %$in, timeout => 300, user => 'mallory');
    my $views = "\\set ON_ERROR_STOP 0\n" . join '', map { "SELECT * FROM public.$_;\n" } qw(steadytext_cache_with_frecency steadytext_daemons
        steadytext_rate_limit_status pg_stat_steadytext steadytext_progress);
    $cluster->try_sql($views, %$in);
    # The keeper works here too, under the same search_path.
    $cluster->sql(q(SELECT public.steadytext_generate(pg_catalog.concat('kept', E'\x01')); SELECT public.steadytext_frecency_refresh()), %$in);
    is($cluster->sql(q(SET search_path = pg_catalog; SELECT count(*) FROM public.steadytext_cache WHERE prompt LIKE 'kept%'), %$in), 1, 'the keeper writes');
    is($cluster->sql(q(SET search_path = pg_catalog; SELECT count(*) > 0 FROM public.steadytext_audit_log WHERE event_type = 'suspicious_input'), %$in), 't', 'audit rows too');
    my ($ran) = $cluster->log =~ /(trojan .* ran as .*)/;
    is($ran, undef, 'nobody called a trojan, whoever calls what');
    $cluster->sql(q(SELECT public.now()), %$in);
    like($cluster->log, qr/trojan now ran as postgres/, 'it would have told');
}

# Snares: whatever the extension's SQL names, in bodies and in C++, is there a second time, and first in the search_path: functions and
# operators with the very arguments, types, relations, casts; and each function of the extension has overloads in public. All are PUBLIC's to plant, where
# public is everybody's, as on PostgreSQL 14. A snare may run as its planter, who called; never as anybody else.
{
    my $in = { database => 'snared' };
    my $sprung = sub { my %by = map { $_ => 1 } $cluster->log =~ /trojan (.* ran as (?!planter\b).*)/g; join ', ', sort keys %by };
    my $before = $sprung->();
    $cluster->sql(q(CREATE DATABASE snared; CREATE ROLE planter LOGIN; CREATE ROLE passer LOGIN));
    $cluster->sql(q(CREATE EXTENSION pg_steadytext CASCADE; CREATE TABLE public.victim (id int, word text); CREATE SCHEMA snare AUTHORIZATION planter;
        GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT USAGE ON SCHEMA snare TO PUBLIC; INSERT INTO steadytext_config (key, value) VALUES ('cache_max_entries', '3') ON CONFLICT (key) DO UPDATE SET value = excluded.value), %$in);
    my @calls = grep { $_->[0] !~ /daemon_(start|stop)|frecency_refresh|queue_wait/ } SteadyText::Attack::targets($cluster, calls => 1, full => 1, in => $in);
    cmp_ok(scalar @calls, '>', 150, scalar(@calls) . ' functions are called');
    my $calls = join '', map { "$_->[2];\n" } @calls;
    my %names = SteadyText::Attack::names_in_sql($cluster);
    my $planted = $cluster->try_sql(SteadyText::Attack::snares(%names), %$in, user => 'planter', timeout => 300);
    my ($snares, $overloads) = ($planted->{err} =~ /snare: (\d+)/, $planted->{err} =~ /overloads: (\d+)/);
    cmp_ok($snares // 0, '>', 500, ($snares // 0) . ' snares') or diag $planted->{err};
    cmp_ok($overloads // 0, '>', 500, ($overloads // 0) . ' overloads') or diag $planted->{err};
    # And what literals, NULLs and defaults could mean, in each schema that somebody may create in: a plain role in its own, one with CREATE on
    # public there, the owner of the database in those that are first for the superuser and the workers too.
    $cluster->sql(q(CREATE ROLE holder LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_monitor TO monitor; ALTER DATABASE snared OWNER TO holder));
    $cluster->sql(q(CREATE SCHEMA postgres; CREATE SCHEMA steadytext_owner; CREATE SCHEMA monitor; GRANT USAGE ON SCHEMA postgres, steadytext_owner, monitor TO PUBLIC), %$in, user => 'holder');
    my %likenesses;
    for my $user ('holder', 'planter') {
        my $result = $cluster->try_sql(SteadyText::Attack::likenesses(\%names), %$in, user => $user, timeout => 600);
        is($result->{state}, '', "$user plants likenesses") or diag $result->{err};
        $likenesses{$1} += $2 while $result->{err} =~ /likenesses in (\w+): (\d+)/g;
    }
    is(join(' ', sort keys %likenesses), 'monitor postgres public snare steadytext_owner', '  in every schema they may create in');
    cmp_ok($likenesses{$_}, '>', 1000, "  $likenesses{$_} in $_") for sort keys %likenesses;
    my $path = 'SET search_path = snare, public, pg_catalog;';
    # The tester's own statements name everything.
    my $quiet = "\\set ON_ERROR_STOP 0\n";

    $cluster->try_sql("$quiet$calls", %$in, timeout => 300);
    is($sprung->(), $before, 'a superuser under the path of the installation steps into none');
    $cluster->try_sql("$quiet $path SET client_min_messages = fatal; $calls", %$in, user => 'planter', timeout => 300);
    is($sprung->(), $before, 'a caller with its own path gets none to run with other rights');
    # Health, incidents and figures, and all else, as who watches the server calls them.
    $cluster->try_sql("$quiet SET client_min_messages = fatal; $calls", %$in, user => 'monitor', timeout => 300);
    is($sprung->(), $before, 'nor one who watches the server');
    $cluster->sql(q(CREATE TABLE snare.trap (id pg_catalog.uuid)), %$in, user => 'planter');
    my $queue = join '', map { "SELECT $_;\n" } q(public.steadytext_generate_async('a'::pg_catalog.text, 5)), q(public.steadytext_generate_batch_async('{b,c}'::pg_catalog.text[], 5)),
        q(public.steadytext_embed_async('d'::pg_catalog.text, true, 42, NULL::pg_catalog.text, false)), q(public.steadytext_rerank_async('q'::pg_catalog.text, '{x,y}'::pg_catalog.text[], 't'::pg_catalog.text, true, 42)),
        q(public.steadytext_enqueue('batch_embed'::pg_catalog.text, '{"texts": ["x", "y"]}'::pg_catalog.jsonb, 5, 3, NULL::pg_catalog.regprocedure)),
        q(public.steadytext_enqueue('generate_json'::pg_catalog.text, '{"prompt": "x", "schema": {"type": "integer"}}'::pg_catalog.jsonb, 5, 3, NULL::pg_catalog.regprocedure)),
        q(public.steadytext_enqueue('generate'::pg_catalog.text, '{"no": 1}'::pg_catalog.jsonb, 5, 3, NULL::pg_catalog.regprocedure));
    # Workers come to a database whose path is the planter's, and that of the role whose rights they have.
    $cluster->sql(q(ALTER DATABASE snared SET search_path = snare, public, pg_catalog; ALTER ROLE steadytext_owner SET search_path = snare, public, pg_catalog));
    $cluster->sql('SET search_path = pg_catalog; SET ROLE planter; SELECT public.steadytext_config_get($$cache_max_entries$$::pg_catalog.text)', %$in);
    for my $user ('planter', 'passer', 'postgres') {
        $cluster->try_sql("$quiet SET search_path = pg_catalog; SET client_min_messages = fatal; $queue", %$in, user => $user);
        $cluster->sql(qq(SET search_path = pg_catalog; SELECT public.steadytext_generate(pg_catalog.concat('kept ', i, E'\\x01'), 5, true, 42, '[EOS]'::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, NULL::pg_catalog.text, false) FROM pg_catalog.generate_series(1, 5) i), %$in, user => $user);
    }
    my $pinned = sub { $cluster->sql("SET search_path = pg_catalog; $_[0]", %$in) };
    ok($cluster->wait_for(sub { $pinned->(q(SELECT count(*) FROM public.steadytext_queue WHERE completed_at IS NULL)) == 0 }, 60), 'the queue worker does every kind') or diag $pinned->(q(SELECT * FROM public.steadytext_queue));
    cmp_ok($pinned->(q(SELECT count(DISTINCT request_type) FROM public.steadytext_queue WHERE status = 'completed')), '>=', 4, '  most of them with results');
    $pinned->(q(SELECT public.steadytext_frecency_refresh()));
    ok($cluster->wait_for(sub { $pinned->(q(SELECT count(*) FROM public.steadytext_audit_log WHERE event_type = 'suspicious_input')) > 0 }), 'the keeper writes audit rows');
    ok($cluster->wait_for(sub { $pinned->(q(SELECT count(*) FROM public.steadytext_cache)) == 3 }), '  evicts') or diag $pinned->(q(SELECT count(*) FROM public.steadytext_cache));
    ok($cluster->wait_for(sub { $pinned->(q(SELECT public.steadytext_frecency_refresh() IS NOT NULL AND count(*) > 0 FROM public.steadytext_usage)) eq 't' }), '  counts');
    is($pinned->(q(SELECT string_agg(DISTINCT role_name, ' ' ORDER BY role_name) FROM public.steadytext_usage)), 'monitor passer planter postgres', '  for everyone');
    $cluster->sql(q(SET search_path = pg_catalog; SELECT * FROM public.steadytext_selfcheck()), %$in);
    $cluster->append_conf("steadytext.incident_delay = '100ms'");
    $cluster->reload;
    $pinned->(q(SELECT public.steadytext_daemon_register('ipc:///tmp/nobody-listens.sock'::pg_catalog.text, 1)));
    ok($cluster->wait_for(sub { $pinned->(q(SELECT public.steadytext_frecency_refresh() IS NOT NULL AND count(*) FILTER (WHERE closed_at IS NULL) > 0 FROM public.steadytext_incidents WHERE subject LIKE '%nobody%')) eq 't' }), 'the keeper writes an incident');
    $pinned->(q(SELECT public.steadytext_daemon_unregister('ipc:///tmp/nobody-listens.sock'::pg_catalog.text)));
    ok($cluster->wait_for(sub { $pinned->(q(SELECT public.steadytext_frecency_refresh() IS NOT NULL AND count(*) FILTER (WHERE closed_at IS NOT NULL) > 0 FROM public.steadytext_incidents WHERE subject LIKE '%nobody%')) eq 't' }), '  and its end');
    is($sprung->(), $before, 'workers step into none');
    $cluster->try_sql(q(SELECT 'a'::pg_catalog.text OPERATOR(snare.=) 'b'; SELECT snare.now()), %$in);
    isnt($sprung->(), $before, 'they would have told');
    $cluster->sql(q(ALTER ROLE steadytext_owner RESET search_path));
}

done_testing;
