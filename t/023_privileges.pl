# Least privilege: asking is for everyone, the rest is not; a role's answers are its own.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new;
$cluster->sql('CREATE ROLE plain LOGIN');
my $plain = sub { $cluster->try_sql($_[0], user => 'plain') };

is($cluster->sql(q(SELECT string_agg(c.relname || ' ' || a.privilege_type, ', ' ORDER BY c.relname)
    FROM pg_class c, LATERAL aclexplode(c.relacl) a WHERE c.relname ~ 'steadytext' AND a.grantee = 0)),
    'steadytext_progress SELECT, steadytext_queue SELECT, steadytext_queue_dead SELECT, steadytext_rate_limit_status SELECT', 'nothing but views of one\'s own rows is granted to PUBLIC');
is($plain->(q(SELECT steadytext_generate('may I ask?')))->{out}, 'may I ask?', 'a plain role may ask');
is($plain->(q(SELECT vector_dims(steadytext_embed('may I ask?'))))->{out}, 1024, 'and embed');
is($plain->(q(SELECT steadytext_config_get('default_seed')))->{out}, 42, 'and read a setting');
is($plain->(q(SELECT steadytext_generate('from a row')))->{out}, 'from a row', 'rows of steadytext_config bind it without its reading them');

my %forbidden = (
    q(SELECT * FROM steadytext_config)                        => '42501',
    q(SELECT steadytext_config_set('default_seed', '1'))      => '42501',
    q(SELECT steadytext_daemon_stop())                        => '42501',
    q(SELECT steadytext_daemon_start())                       => '42501',
    q(SELECT * FROM steadytext_metrics())                     => '42501',
    q(SELECT * FROM steadytext_audit_log)                     => '42501',
    q(SET steadytext.daemons = 'tcp://localhost:5555')        => '55P02',
    q(SET steadytext.cache_scope = 'database')                => '42501',
    q(SET steadytext.max_prompt_bytes = 10000000)             => '42501',
    q(SHOW steadytext.daemons)                                => '42501',
    q(SHOW steadytext.embedded_model)                         => '42501',
    q(SELECT _steadytext.follow_daemon_address())             => '42501',
);
is($plain->($_)->{state}, $forbidden{$_}, "refused: $_") for sort keys %forbidden;

my $cached = q(SELECT cached FROM steadytext_generate_ex('whose answer?'));
is($cluster->sql($cached), 'f', 'asked for the first time');
is($cluster->sql($cached), 't', 'the second time it is cached');
is($plain->($cached)->{out}, 'f', "another role's cached answer is not mine");
is($plain->("$cached; $cached")->{out}, "t\nt", 'but my own is');

# Works with public off the search path and with a trojan on it.
is($cluster->sql(q(SET search_path = pg_catalog; SELECT public.steadytext_generate('x'), public.st_config_get('default_seed'))),
    'x|42', 'public need not be on the search path');
is($cluster->sql(q(CREATE SCHEMA trojan; CREATE FUNCTION trojan.steadytext_config_get(text) RETURNS text LANGUAGE sql AS 'SELECT ''owned''';
    SET search_path = trojan, public, pg_catalog; SELECT public.st_config_get('default_seed'))), 42, 'a function of the same name is not called');

# What runs with more rights than its caller is prepared under a path of PostgreSQL's schema alone: an operator of the caller's is not its.
{
    $cluster->sql(q(CREATE SCHEMA snare AUTHORIZATION plain));
    $plain->(q(CREATE FUNCTION snare.same(uuid, uuid) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE LOG ''snare ran as %', current_user; RETURN true; END';
        CREATE OPERATOR snare.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = snare.same);
        CREATE FUNCTION snare.same(text, text) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE LOG ''snare ran as %', current_user; RETURN true; END';
        CREATE OPERATOR snare.= (LEFTARG = text, RIGHTARG = text, FUNCTION = snare.same)) =~ s/as %',/as %'',/gr);
    my $snared = 'SET search_path = snare, pg_catalog; SET client_min_messages = error;';
    my $id = $plain->(q(SELECT steadytext_generate_async('snared')))->{out};
    like($id, qr/^[0-9a-f-]{36}$/, 'a call is queued');
    $plain->("$snared SELECT public.$_") for "steadytext_cancel_async('$id')", "st_cancel_async('$id')", "steadytext_queue_requeue(ARRAY['$id'::pg_catalog.uuid])",
        "steadytext_generate_async('snared')", "steadytext_get_async_result('$id', 1)", "steadytext_enqueue('generate', '{\"prompt\": \"snared\"}')";
    unlike($cluster->log, qr/snare ran as (?!plain)/, 'no operator of the caller runs with other rights');
    is($plain->("$snared SELECT '$id'::pg_catalog.uuid OPERATOR(snare.=) '$id'")->{out}, 't', 'it is there');
    like($cluster->log, qr/snare ran as plain/, 'and would have told');
}

# The tables belong to a role that can do nothing else, and workers are that role.
is($cluster->sql(q(SELECT string_agg(DISTINCT c.relowner::regrole::text, ' ') FROM pg_class c WHERE c.relkind IN ('r', 'v') AND c.relname ~ 'steadytext')),
    'steadytext_owner', 'an unprivileged role owns the tables');
is($cluster->sql(q(SELECT string_agg(DISTINCT p.proowner::regrole::text, ' ') FROM pg_proc p WHERE p.prosecdef AND p.proname ~ 'steadytext|^st_|^cache_')),
    'steadytext_owner', 'and what runs with its rights');
is($cluster->sql(q(SELECT count(*) FROM pg_auth_members WHERE 'steadytext_owner'::regrole IN (roleid, member))), 0, 'nobody is a member of it');
is($cluster->try_sql('CREATE TABLE _steadytext.mine ()', user => 'plain')->{state}, '42501', 'nobody creates in the schema of internals');
{
    my $other = { database => 'second' };
    $cluster->sql(q(CREATE DATABASE second; CREATE ROLE crept IN ROLE steadytext_owner));
    is($cluster->try_sql('CREATE EXTENSION pg_steadytext CASCADE', %$other)->{state}, '42710', 'an owner role with members is refused');
    $cluster->sql(q(DROP ROLE crept));
    $cluster->sql(q(CREATE SCHEMA _steadytext), %$other);
    is($cluster->try_sql('CREATE EXTENSION pg_steadytext CASCADE', %$other)->{state}, '42P06', 'a schema that is there already is not taken over');
    $cluster->sql(q(DROP SCHEMA _steadytext; CREATE EXTENSION pg_steadytext CASCADE), %$other);
}

# What runs with its owner's rights looks nowhere but in PostgreSQL's own schema.
is($cluster->sql(q(SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p
    WHERE p.proname ~ 'steadytext|^st_' AND p.prosecdef AND p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp'])),
    '', 'SECURITY DEFINER always pins search_path');

# No body names a function in public, where an overload with better-fitting arguments would win: it names PostgreSQL's own and _steadytext's.
# A function whose search_path is the caller's is one call of a function in _steadytext, of whatever has no operator, cast or name to be found.
{
    my $members = q(SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e');
    my $bodies = qq(FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN ($members) m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE l.lanname <> 'c');
    cmp_ok($cluster->sql("SELECT count(*) $bodies"), '>', 80, 'functions in SQL and PL/pgSQL');
    is($cluster->sql("SELECT count(*) $bodies AND l.lanname NOT IN ('sql', 'plpgsql')"), 0, 'and in no other language');
    # Without comments and texts.
    my $code = q(regexp_replace(regexp_replace(p.prosrc, '--[^\n]*', '', 'g'), '''[^'']*''', '''''', 'g'));
    is($cluster->sql("SELECT string_agg(p.oid::regprocedure::text, ' ') $bodies AND (regexp_replace($code, " . q{'INSERT INTO public\.\w+', '', 'g') ~ 'public\.\w+\s*\(' OR }
        . $code . q{ ~ 'OPERATOR *\(|(?<![.\w])(st|steadytext)_\w+\s*\(')}), '', 'no body calls a function in public');
    is($cluster->sql("SELECT string_agg(p.oid::regprocedure::text, ' ') $bodies AND p.proconfig IS NULL AND p.proname <> 'steadytext_extract' AND p.prosrc !~ "
        . q{'^\s*SELECT (\* FROM |r\.document FROM )?_steadytext\.\w+\(([\w\s,]|''\[EOS\]'')*\)( r)?\s*$'}), '', 'one without a search_path of its own is one call of what has one, or is in C');
    is($cluster->sql(q{SELECT array_to_string(ARRAY(SELECT (regexp_matches(prosrc, '(?<![\w.])[a-z_]\w*\s*\(|::\s*[a-z_]\w*(?![\w.])', 'g'))[1]), ' ')
        FROM pg_proc WHERE proname = 'steadytext_extract'}), '', 'and the one that casts names the schema of every function and type');
    is($cluster->sql(qq(SELECT string_agg(DISTINCT p.oid::regprocedure::text, ' ') FROM pg_depend d JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
        WHERE p.pronamespace = 'public'::regnamespace AND d.deptype = 'n' AND (d.classid, d.objid) IN (SELECT m.classid, m.objid FROM ($members) m
              UNION SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w JOIN ($members) m ON m.objid = w.ev_class
              UNION SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN ($members) m ON m.objid = t.tgrelid
              UNION SELECT 'pg_policy'::regclass, o.oid FROM pg_policy o JOIN ($members) m ON m.objid = o.polrelid
              UNION SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN ($members) m ON m.objid = c.conrelid
              UNION SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a JOIN ($members) m ON m.objid = a.adrelid))), 'vector_dims(vector)',
        'nor does a view, a trigger, a policy, a constraint or a default depend on one, but for pgvector\'s, bound by its OID');
}

# Monitors see the statistics; administrators do the rest, but for what reaches other hosts.
{
    $cluster->sql(q(CREATE ROLE monitor LOGIN IN ROLE pg_monitor; CREATE ROLE ops; CREATE ROLE alice LOGIN IN ROLE ops; CREATE ROLE bob LOGIN));
    $cluster->sql("SELECT count(*) FROM $_", user => 'monitor') for qw(steadytext_metrics() steadytext_health_check() steadytext_daemons
        pg_stat_steadytext steadytext_rate_limit_status steadytext_cache_stats() steadytext_response_times() steadytext_frecency_status());
    pass('pg_monitor sees every statistic');
    is($cluster->try_sql(q(SELECT steadytext_stat_reset()), user => 'monitor')->{state}, '42501', 'and changes none');

    my @admin = (
        q(SELECT steadytext_config_set('default_seed', '43')), q(SELECT st_config_set('default_seed', '42')), q(SELECT steadytext_cache_clear()),
        q(SELECT * FROM steadytext_cache_evict_by_age(0, 0, 10, 0)), q(SELECT steadytext_cache_scheduled_eviction()),
        q(SELECT steadytext_cache_migrate_keys()), q(SELECT steadytext_cache_invalidate(prompt => 'x')), q(SELECT * FROM steadytext_cache_top(3)),
        q(SELECT steadytext_rate_limit_set('bob', requests => 1000)), q(SELECT steadytext_rate_limit_get('bob')),
        q(SELECT steadytext_rate_limit_reset('bob')), q(SELECT steadytext_rate_limit_remove('bob')), q(SELECT count(*) FROM steadytext_metrics()),
        q(SELECT steadytext_stat_reset()), q(SELECT * FROM steadytext_config));
    is($cluster->try_sql($_, user => 'alice')->{state}, '42501', "refused: $_") for @admin;
    $cluster->sql(q(SELECT steadytext_admin_grant('ops'); SELECT steadytext_config_set('default_seed', '42')));
    $cluster->sql(q(SELECT steadytext_generate(E'rung\x07')), user => 'bob');
    is($cluster->try_sql($_, user => 'alice')->{err}, '', "an administrator may: $_") for @admin;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_audit_log WHERE user_id = 'bob'), 1), "a role's bell is audited");
    is($cluster->sql(q(SELECT string_agg(DISTINCT user_id, ' ' ORDER BY user_id) FROM steadytext_audit_log), user => 'alice'), 'alice bob postgres', 'sees all audit rows');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'admin_grant')), 1, 'that there are administrators is audited');
    is($cluster->try_sql($_, user => 'alice')->{state}, '42501', "an administrator may not: $_") for q(DELETE FROM steadytext_audit_log),
        q(UPDATE steadytext_audit_log SET user_id = 'bob'), q(INSERT INTO steadytext_audit_log (event_type, user_id) VALUES ('x', 'bob')),
        q(SELECT steadytext_daemon_register('tcp://127.0.0.1:5999')), q(SELECT steadytext_config_set('daemon_port', '5999')),
        q(SELECT steadytext_admin_grant('bob')), q(SELECT steadytext_admin_revoke('ops')), q(SHOW steadytext.daemons);
    $cluster->sql(q(SELECT steadytext_admin_revoke('ops')));
    is($cluster->try_sql($_, user => 'alice')->{state}, '42501', "refused again: $_") for @admin;
    is($cluster->sql(q(SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE c.relname ~ 'steadytext' AND a.grantee = 'ops'::regrole)), 0, 'nothing is left');
    is($cluster->try_sql(q(SELECT steadytext_admin_grant('nobody"; DROP TABLE steadytext_config; --')))->{state}, '42704', 'a role is a role');
}

# A role learns nothing of another's prompts, by hits or by time: 20,000 calls, fresh prompts and the other's in pairs, now this one first, now that.
if ($ENV{STEADYTEXT_LONG_TESTS}) {
    $cluster->sql(q(CREATE ROLE asker LOGIN; CREATE ROLE prober LOGIN; CREATE SCHEMA probe;
        CREATE TABLE probe.times (fresh boolean, us float8, cached boolean); GRANT USAGE ON SCHEMA probe TO prober; GRANT ALL ON probe.times TO prober));
    $cluster->sql(q(SELECT count(steadytext_generate('secret ' || i)) FROM generate_series(1, 10000) i), user => 'asker');
    $cluster->sql(q(DO $$
        DECLARE start timestamptz; was_cached boolean; is_fresh boolean;
        BEGIN
            FOR i IN 2 .. 20001 LOOP
                is_fresh := (i + i / 2) % 2 = 0;
                start := clock_timestamp();
                SELECT cached INTO was_cached FROM steadytext_generate_ex(CASE WHEN is_fresh THEN 'public ' ELSE 'secret ' END || i / 2);
                INSERT INTO probe.times VALUES (is_fresh, extract(epoch FROM clock_timestamp() - start) * 1e6, was_cached);
            END LOOP;
        END $$), user => 'prober', timeout => 300);
    is($cluster->sql('SELECT count(*) FILTER (WHERE cached) FROM probe.times'), 0, 'not one of another\'s prompts is a hit');
    my ($theirs, $fresh) = split /\|/, $cluster->sql(q(SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE NOT fresh),
        percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FILTER (WHERE fresh) FROM probe.times));
    cmp_ok(abs($theirs / $fresh - 1), '<', 0.02, "and none is faster: medians of $theirs and $fresh us");
}

done_testing;
