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
    q(SELECT _steadytext.follow_daemon_address('daemon_port', '5555')) => '42501',
);
is($plain->($_)->{state}, $forbidden{$_}, "refused: $_") for sort keys %forbidden;

# What everybody may call, as the catalogue has it: what asks, or shows what is one's own. Of what the extension keeps for itself only what such a function,
# a view of such rows or a column's expression names, or a trigger whose table somebody may be granted; what runs as the owner needs no grant.
{
    my $functions = q(
        WITH members AS (
            SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e'),
        functions AS (
            SELECT p.oid, p.proname, p.pronamespace::regnamespace::text AS schema, has_function_privilege('public', p.oid, 'EXECUTE') AS is_everybodys,
                   p.prorettype = 'trigger'::regtype AS is_fired, p.prosecdef AS runs_as_owner, CASE p.prokind WHEN 'a' THEN '' ELSE pg_get_functiondef(p.oid) END AS body
            FROM members JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid),
        said (by, body) AS (
            SELECT oid, body FROM functions WHERE (is_everybodys OR is_fired) AND NOT runs_as_owner
            UNION ALL
            SELECT c.oid, pg_get_viewdef(c.oid) FROM members JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid
            WHERE c.relkind = 'v' AND has_table_privilege('public', c.oid, 'SELECT')
            UNION ALL
            SELECT a.adrelid, pg_get_expr(a.adbin, a.adrelid) FROM members JOIN pg_attrdef a ON classid = 'pg_class'::regclass AND a.adrelid = objid)
        );
    is($cluster->sql(qq{$functions SELECT string_agg(f.oid::regprocedure::text, ' ' ORDER BY f.proname) FROM functions f
        WHERE f.schema = '_steadytext' AND f.is_everybodys AND NOT EXISTS (SELECT FROM said s WHERE s.by <> f.oid AND s.body ~ format('_steadytext[.]%s[(]', f.proname))}), '',
        'everybody may call no function of _steadytext that nobody needs');
    is($cluster->sql(qq($functions SELECT string_agg(oid::regprocedure::text, ' ') FROM functions WHERE is_fired AND is_everybodys)), '', 'nor a trigger\'s');
    is($cluster->sql(qq($functions SELECT string_agg(DISTINCT regexp_replace(proname, '^(steadytext|st)_', '') COLLATE "C", ' ' ORDER BY regexp_replace(proname, '^(steadytext|st)_', '') COLLATE "C")
        FROM functions WHERE schema = 'public' AND is_everybodys)),
        'agg cache_key cancel_async check_async check_async_batch classify classify_all config_get count_tokens daemon_status deduplicate_facts embed embed_async embed_batch embed_batch_async embed_cached enqueue explain extract extract_facts generate generate_async generate_batch generate_batch_async generate_cached generate_choice generate_choice_async generate_ex generate_json generate_json_async generate_prompt generate_prompt_ex generate_regex generate_regex_async generate_stream get_async_result get_async_results if models prompt_diff prompt_get prompt_label_history prompt_labels prompt_list prompt_render prompt_versions queue_requeue rerank rerank_async rerank_batch rerank_batch_async rerank_docs_only rerank_top_k score summarize summarize_accumulate summarize_combine summarize_combine_states summarize_final summarize_finalize summarize_partial summarize_text try_classify try_embed try_extract try_generate try_if validate_endpoint validate_table_name version',
        'of the others what asks, and what shows one\'s own');
}

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

# The type of embeddings is pgvector's, whatever the owner of a database, to whom public belongs, puts there beforehand.
{
    $cluster->sql(q(CREATE ROLE landlord LOGIN; CREATE DATABASE let OWNER landlord));
    my $in = { database => 'let' };
    my $landlord = { %$in, user => 'landlord' };
    $cluster->sql('ALTER SCHEMA public OWNER TO landlord; CREATE SCHEMA elsewhere AUTHORIZATION landlord', %$in);
    my $create = 'CREATE EXTENSION pg_steadytext';
    # Without pgvector, and with it in another schema, where the extension is the owner's: it is trusted in some distributions.
    for my $pgvector ('', q(CREATE EXTENSION vector SCHEMA elsewhere; UPDATE pg_extension SET extowner = 'landlord'::regrole WHERE extname = 'vector')) {
        for my $planted ('TYPE public.vector AS (a int)', q(TYPE public.vector AS ENUM ('a')), 'TYPE public.vector AS RANGE (subtype = float8)', 'DOMAIN public.vector AS float8[]', 'DOMAIN public.vector AS elsewhere.vector',
            'TABLE public.vector (a int)', 'VIEW public.vector AS SELECT 1 AS a') {
            next if $planted =~ /elsewhere/ && !$pgvector;
            my $drop = 'DROP ' . ($planted =~ /^(\w+ \S+)/)[0];
            $cluster->sql($pgvector, %$in);
            $cluster->sql("CREATE $planted", %$landlord);
            for my $how ($create, "$create CASCADE") {
                my $got = $cluster->try_sql($how, %$in);
                like($got->{state}, qr/^(55000|42710|42704)$/, "$how after CREATE $planted" . ($pgvector && ', pgvector elsewhere')) or diag $got->{err};
            }
            # What the owner's own extension has for a member is no type of pgvector's either: a superuser made that.
            if ($pgvector && $cluster->try_sql("ALTER EXTENSION vector ADD $planted" =~ s/(public\.vector).*/$1/r, %$landlord)->{err} eq '') {
                is($cluster->try_sql($create, %$in)->{state}, '55000', "  not if it is made a member of pgvector: $planted");
                $cluster->sql("ALTER EXTENSION vector DROP $planted" =~ s/(public\.vector).*/$1/r, %$landlord);
            }
            $cluster->sql("$drop; DROP EXTENSION IF EXISTS vector", %$in);
        }
    }
    # Another extension's.
    $cluster->sql('CREATE EXTENSION vector SCHEMA elsewhere; CREATE TYPE public.vector; ALTER EXTENSION plpgsql ADD TYPE public.vector', %$in);
    is($cluster->try_sql($create, %$in)->{state}, '55000', 'a type of another extension is refused');
    # A function of this name on the right type.
    $cluster->sql('ALTER EXTENSION plpgsql DROP TYPE public.vector; DROP TYPE public.vector; DROP EXTENSION vector; CREATE EXTENSION vector; ALTER EXTENSION vector DROP FUNCTION vector_dims(vector);
        ALTER FUNCTION vector_dims(vector) SET SCHEMA elsewhere', %$in);
    $cluster->sql(q(CREATE FUNCTION public.vector_dims(public.vector) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE LOG 'planted ran'; RETURN 1; END $$), %$landlord);
    is($cluster->try_sql($create, %$in)->{state}, '55000', 'a function of the owner\'s in the place of pgvector\'s is refused');
    $cluster->sql('DROP FUNCTION public.vector_dims(public.vector); DROP EXTENSION vector CASCADE; DROP FUNCTION IF EXISTS elsewhere.vector_dims', %$in);
    # The way out is what the message says.
    $cluster->sql('CREATE EXTENSION vector SCHEMA elsewhere', %$in);
    my $refused = $cluster->try_sql($create, %$in);
    is($refused->{state}, '55000', 'pgvector in another schema is refused');
    like($refused->{err}, qr/HINT:.*ALTER EXTENSION vector SET SCHEMA public/, '  and the message tells what to do');
    $cluster->sql("ALTER EXTENSION vector SET SCHEMA public; $create", %$in);
    my $finding = sub { $cluster->sql(q(SELECT status, details FROM steadytext_selfcheck() WHERE check_name = 'pgvector'), %$in) };
    is($finding->(), 'ok|the type of embeddings is pgvector\'s, in schema public', 'then it is made');

    # Afterwards pgvector may go where it likes, and another be put in its place: everything is bound to the type itself. Only a dump is not restored so.
    $cluster->sql(q(SELECT steadytext_embed('before')), %$in);
    $cluster->sql('ALTER EXTENSION vector SET SCHEMA elsewhere', %$in);
    is($finding->(), 'warning|the type of embeddings is elsewhere.vector', 'selfcheck tells that pgvector has been moved');
    $cluster->sql('CREATE TYPE public.vector AS (a int); CREATE FUNCTION public.vector_dims(public.vector) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE LOG \'planted ran\'; RETURN 1; END $$', %$landlord);
    is($finding->(), 'warning|the type of embeddings is elsewhere.vector, type public.vector is not pgvector\'s', '  and what has come in its place');
    $cluster->sql(q(SELECT steadytext_frecency_refresh(); SELECT steadytext_embed('after'); SELECT steadytext_frecency_refresh()), %$in);
    is($cluster->sql(q(SELECT string_agg(concat_ws(' ', prompt, elsewhere.vector_dims(embedding), entry_bytes > 1000), ', ' ORDER BY prompt) FROM steadytext_cache), %$in), 'after 384 t, before 384 t', 'embeddings are stored as before');
    is($cluster->sql(q(SELECT pg_typeof(steadytext_embed('after')), (SELECT cached FROM steadytext_embed_batch(ARRAY['after']))), %$in), 'elsewhere.vector|t', '  and answered');
    my $id = $cluster->sql(q(SELECT steadytext_embed_async('queued')), %$in);
    $cluster->sql("SELECT steadytext_get_async_result('$id', 20)", %$in);
    is($cluster->sql("SELECT elsewhere.vector_dims(embedding) FROM steadytext_check_async('$id')", %$in), 1024, '  also from the queue');
    $cluster->sql(q(SELECT steadytext_embed_batch_async(ARRAY['x', 'y']); SELECT steadytext_cache_clear()), %$in);
    unlike($cluster->log, qr/planted ran/, 'nothing that was planted runs');
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
    my $bodies = qq(FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang JOIN ($members) m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid WHERE l.lanname <> 'c' AND p.prokind <> 'a');
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
              UNION SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a JOIN ($members) m ON m.objid = a.adrelid))), 'vector_dims(vector) vector_send(vector)',
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
        q(SELECT * FROM steadytext_config));
    is($cluster->try_sql($_, user => 'alice')->{state}, '42501', "refused: $_") for @admin;
    $cluster->sql(q(SELECT steadytext_admin_grant('ops'); SELECT steadytext_config_set('default_seed', '42')));
    $cluster->sql(q(SELECT steadytext_generate(E'rung\x07')), user => 'bob');
    is($cluster->try_sql($_, user => 'alice')->{err}, '', "an administrator may: $_") for @admin;
    # What shows no prompt shows an administrator what it shows who watches the server; what does, no more than anybody.
    $cluster->sql(q(SELECT steadytext_rate_limit_set('bob', requests => 1000), steadytext_rate_limit_set('*', tokens => 1000000)));
    $cluster->sql(q(SELECT steadytext_generate('counted'), steadytext_generate_async('queued by bob')), user => 'bob');
    my %rows = map { my $role = $_; ($role => { map { ($_ => $cluster->sql("SELECT count(*) FROM $_", user => $role)) } qw(steadytext_rate_limit_status steadytext_queue) }) } qw(alice monitor bob);
    cmp_ok($rows{monitor}{steadytext_rate_limit_status}, '>', 0, 'who watches the server sees limits of all');
    is($rows{alice}{steadytext_rate_limit_status}, $rows{monitor}{steadytext_rate_limit_status}, 'so does an administrator');
    is(join(' ', map { $rows{$_}{steadytext_queue} } qw(alice monitor bob)), '0 0 1', 'asynchronous calls are their role\'s alone');
    $cluster->sql(q(SELECT steadytext_rate_limit_remove('bob'), steadytext_rate_limit_remove('*')));
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_audit_log WHERE user_id = 'bob'), 1), "a role's bell is audited");
    is($cluster->sql(q(SELECT string_agg(DISTINCT user_id, ' ' ORDER BY user_id) FROM steadytext_audit_log), user => 'alice'), 'alice bob postgres', 'sees all audit rows');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'admin_grant')), 1, 'that there are administrators is audited');
    is($cluster->try_sql($_, user => 'alice')->{state}, '42501', "an administrator may not: $_") for q(DELETE FROM steadytext_audit_log),
        q(UPDATE steadytext_audit_log SET user_id = 'bob'), q(INSERT INTO steadytext_audit_log (event_type, user_id) VALUES ('x', 'bob')),
        q(SELECT steadytext_daemon_register('tcp://127.0.0.1:5999')), q(SELECT steadytext_config_set('daemon_port', '5999')),
        q(SELECT steadytext_admin_grant('bob')), q(SELECT steadytext_admin_revoke('ops')), q(SHOW steadytext.daemons),
        q(SELECT _steadytext.follow_daemon_address('daemon_port', '5999')), q(SELECT steadytext_stat_reset()), q(SELECT steadytext_daemon_trip('x')),
        q(SELECT steadytext_daemon_reset('x')), q(SELECT steadytext_daemon_start()), q(SELECT steadytext_daemon_stop()), q(SELECT st_daemon_stop()),
        q(SELECT steadytext_daemon_drain('x')), q(SELECT steadytext_daemon_undrain('x')), q(SELECT steadytext_daemon_set_weight('x', 2)),
        q(SELECT steadytext_daemon_unregister('x'));

    like($cluster->try_sql(q(SELECT steadytext_config_set('daemon_port', '5999')), user => 'alice')->{err}, qr/must be superuser to set daemon_port/, 'and is told who may set the address');

    # What an administrator writes into the tables by hand is what the functions would take, or is refused; and it is audited.
    my $last = sub { $cluster->sql("SELECT user_id, event_type, details FROM steadytext_audit_log WHERE event_type ~ '^(config|rate_limit|budget)' ORDER BY id DESC LIMIT 1") };
    for my $bad (q(UPDATE steadytext_config SET value = '"a:5555 key_file=/etc/passwd, tcp://b"' WHERE key = 'daemon_host'),
        q(UPDATE steadytext_config SET value = '"a,tcp://b:5555"' WHERE key = 'daemon_host'), q(UPDATE steadytext_config SET value = '"169.254.169.254"' WHERE key = 'daemon_host'),
        q(UPDATE steadytext_config SET value = '"5555, tcp://b:1"' WHERE key = 'daemon_port'), q(UPDATE steadytext_config SET key = 'daemon_port' WHERE key = 'daemon_host'),
        q(UPDATE steadytext_config SET value = '1e10' WHERE key = 'cache_max_entries'), q(UPDATE steadytext_config SET value = '{"a": 1}' WHERE key = 'default_seed'),
        q(UPDATE steadytext_config SET value = 'null' WHERE key = 'default_seed'), q(INSERT INTO steadytext_config VALUES ('DEFAULT_SEED', '"many"')),
        qq(INSERT INTO steadytext_config VALUES (E'a\\nb', '1')), qq(COPY steadytext_config (key, value) FROM STDIN;\ndefault_max_tokens\t"\x{7f}"\n\\.\n)) {
        is($cluster->try_sql("BEGIN; DELETE FROM steadytext_config WHERE key = 'default_max_tokens'; $bad", user => $bad =~ /COPY/ ? 'postgres' : 'alice')->{state}, '22023', "refused by the table: $bad");
    }
    is($cluster->try_sql($_, user => 'alice')->{state}, '22023', "refused by the table: $_")
        for q(INSERT INTO steadytext_rate_limits (user_id, requests_per_minute) VALUES ('bob', -1)), q(INSERT INTO steadytext_rate_limits (user_id) VALUES ('')),
        q(INSERT INTO steadytext_rate_limit_rules (role_name, operation, requests) VALUES ('bob', 'daemon:tcp://169.254.169.254:5555', 1)),
        q(INSERT INTO steadytext_rate_limit_rules (role_name, operation, requests) VALUES ('bob', 'sing', 1)),
        q(INSERT INTO steadytext_budgets VALUES ('bob', '1 hour', 5, 'warn')), q(INSERT INTO steadytext_budgets VALUES ('bob', '1 day', 5, 'perhaps'));
    my $audited = sub { my ($sql, $expected) = @_; $cluster->sql($sql, user => 'alice'); is($last->(), $expected, "audited: $sql") };
    $audited->(q(INSERT INTO steadytext_config (key, value, updated_by) VALUES ('mine', '1', 'bob')), 'alice|config_change|{"key": "mine", "value": "1"}');
    $audited->(q(UPDATE steadytext_config SET value = '"two"' WHERE key = 'mine'), 'alice|config_change|{"key": "mine", "value": "two"}');
    $audited->(q(UPDATE steadytext_config SET description = 'x', updated_at = now() WHERE key = 'mine'), 'alice|config_change|{"key": "mine", "value": "two"}');
    $audited->(q(UPDATE steadytext_config SET key = 'other' WHERE key = 'mine'), 'alice|config_change|{"key": "other", "value": "two"}');
    $audited->(q(DELETE FROM steadytext_config WHERE key = 'other'), 'alice|config_remove|{"key": "other"}');
    $audited->(q(INSERT INTO steadytext_config SELECT 'k' || i, '1' FROM generate_series(1, 101) i), 'alice|config_change|{"rows": 101, "table": "steadytext_config"}');
    $audited->(q(DELETE FROM steadytext_config WHERE key ~ '^k\d'), 'alice|config_remove|{"rows": 101, "table": "steadytext_config"}');
    $audited->(q(INSERT INTO steadytext_rate_limits (user_id, requests_per_minute, requests_per_hour, requests_per_day) VALUES ('bob', 5, NULL, 7)),
        'alice|rate_limit_set|{"role": "bob", "operation": "*", "requests_per_day": 7, "requests_per_hour": null, "requests_per_minute": 5}');
    $audited->(q(DELETE FROM steadytext_rate_limits), 'alice|rate_limit_remove|{"role": "bob", "operation": "*"}');
    $audited->(q(INSERT INTO steadytext_budgets VALUES ('bob', '1 day', 500000, 'warn')), 'alice|budget_set|{"mode": "warn", "role": "bob", "period": "1 day", "tokens": 500000}');
    $audited->(q(SELECT steadytext_budget_remove('bob')), 'alice|budget_remove|{"role": "bob", "period": "1 day"}');
    for (['config', q((key, value, updated_by, updated_at) VALUES ('forged', '1', 'bob', '2001-01-01'))], ['rate_limit_rules', q((role_name, requests, updated_by, updated_at) VALUES ('bob', 1, 'bob', '2001-01-01'))],
         ['budgets', q((role_name, period, tokens, mode, updated_by, updated_at) VALUES ('bob', '1 day', 5, 'warn', 'bob', '2001-01-01'))]) {
        my ($table, $row) = ("steadytext_$_->[0]", $_->[1]);
        my $named = sub { $cluster->sql("SELECT DISTINCT updated_by || (updated_at > '2020-01-01') FROM $table WHERE updated_by IN ('bob', 'alice')") };
        $cluster->sql("INSERT INTO $table $row", user => 'alice');
        is($named->(), 'alicetrue', "INSERT: $table names who wrote the row, and when");
        $cluster->sql("UPDATE $table SET updated_by = 'bob', updated_at = '2001-01-01' WHERE updated_by = 'alice'", user => 'alice');
        is($named->(), 'alicetrue', '  UPDATE too');
        $cluster->sql("DELETE FROM $table WHERE updated_by = 'alice'", user => 'alice');
    }
    $cluster->sql(q(SELECT steadytext_config_set('mine', '3')), user => 'alice');
    is($cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE details = '{"key": "mine", "value": "3"}')), 1, 'what comes by a function has one row');
    $cluster->sql(q(TRUNCATE steadytext_budgets));
    is($last->(), 'postgres|budget_remove|{"table": "steadytext_budgets", "truncated": true}', 'TRUNCATE has one');
    is($cluster->try_sql(q(CREATE TABLE mine (a int); CREATE TRIGGER t AFTER INSERT ON mine EXECUTE FUNCTION _steadytext.audit_change()), user => 'alice')->{state}, '42501', 'the trigger is for these tables only');

    # What the extension keeps for itself is only to be read, and an answer is not made up for others, also by a role that was granted more.
    is($cluster->sql(q(SELECT string_agg(DISTINCT a.privilege_type, ' ') FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.relnamespace = '_steadytext'::regnamespace AND a.grantee = 'ops'::regrole)), 'SELECT', 'an administrator reads the tables of internals');
    is($cluster->sql(q(SELECT string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'steadytext_cache'::regclass AND a.grantee = 'ops'::regrole)), 'DELETE SELECT', 'and deletes answers');
    is($cluster->try_sql($_, user => 'alice')->{state}, '42501', "an administrator may not: $_") for q(INSERT INTO _steadytext.cache_ledger VALUES (0, 1, 1)), q(DELETE FROM _steadytext.cache_ledger),
        q(UPDATE _steadytext.cache_ledger SET entries = 9223372036854775807),
        q(INSERT INTO steadytext_cache (cache_key, prompt, response) VALUES ('k', 'p', 'r')), q(UPDATE steadytext_cache SET response = 'forged');
    {
        $cluster->sql(q(SELECT steadytext_generate('whose?'); SELECT steadytext_embed('whose?')), user => $_) for qw(alice bob);
        $cluster->sql(q(SELECT steadytext_frecency_refresh(); GRANT ALL ON steadytext_cache, steadytext_cache_id_seq TO alice));
        my $row = sub { my ($scope, $fingerprint) = @_; "INSERT INTO steadytext_cache (cache_key, prompt, response, scope, fingerprint) VALUES (md5(random()::text), 'p', 'r', $scope, $fingerprint)" };
        my $copy = sub { "COPY steadytext_cache (cache_key, prompt, response, scope, fingerprint) FROM STDIN;\nc$_[0]\tp\tr\tsteadytext/$_[0]\tf\n\\.\n" };
        is($cluster->try_sql($_, user => 'alice')->{state}, '42501', 'refused by the table: ' . s/\s+/ /gr) for map({ $row->(@$_) } [ q('steadytext/bob'), q('f') ], [ q('steadytext/postgres'), q('f') ],
                [ q('steadytext/nobody'), q('f') ], [ q('steadytext'), q('f') ], [ q(''), q('legacy') ], [ 'NULL', q('f') ], [ 'NULL', 'NULL' ], [ q('steadytext/alice'), 'NULL' ], [ q('steadytext/%62ob'), q('f') ]),
            $copy->('bob'), q(UPDATE steadytext_cache SET response = 'forged' WHERE scope = 'steadytext/bob'), q(UPDATE steadytext_cache SET embedding = array_fill(1, ARRAY[384])::vector WHERE scope ~ 'bob'),
            q(UPDATE steadytext_cache SET scope = 'steadytext/bob' WHERE scope = 'steadytext/alice'), q(UPDATE steadytext_cache SET scope = 'steadytext/alice' WHERE scope = 'steadytext/bob'),
            q(UPDATE steadytext_cache SET fingerprint = NULL WHERE scope = 'steadytext/alice'), q(UPDATE steadytext_cache SET cache_key = 'taken' WHERE scope = 'steadytext/bob');
        is($cluster->try_sql($_, user => 'alice')->{err}, '', 'its own is its own to write: ' . s/\s+/ /gr) for $row->(q('steadytext/alice'), q('f')), $copy->('alice'), q(UPDATE steadytext_cache SET response = 'mine' WHERE scope = 'steadytext/alice'),
            # Gives way to the row that has the key.
            $row->(q('steadytext/alice'), q('f')) =~ s/md5\(random\(\)::text\)/(SELECT min(cache_key) FROM steadytext_cache WHERE scope ~ 'bob')/r . q( ON CONFLICT (cache_key) DO UPDATE SET response = 'forged');
        is($cluster->sql(q(SELECT steadytext_generate('whose?')), user => 'bob'), 'whose?', 'another role\'s answer is what it was');
        $cluster->sql(q(REVOKE ALL ON steadytext_cache, steadytext_cache_id_seq FROM alice));

        # Rows of the original are migrated, merged and trusted by the functions, which change nothing else.
        $cluster->sql(q(INSERT INTO steadytext_cache (cache_key, prompt, response, model_name, generation_params, fingerprint)
            VALUES ('an old one', 'an old one', 'an old answer', 'steadytext-default', '{"max_tokens": 5}', 'untrusted'),
                   ('an old one::EOS::[EOS]', 'an old one', 'an old answer', 'steadytext-default', '{"max_tokens": 5}', 'untrusted'), ('strange', 'an old one', 'x', 'y', '{}', 'untrusted');
            UPDATE steadytext_cache SET eos_string = '[EOS]' WHERE cache_key ~ 'EOS'));
        is($cluster->sql(q(SELECT steadytext_cache_trust_legacy()), user => 'alice'), 3, 'an administrator trusts answers of the original');
        is($cluster->sql(q(SELECT * FROM steadytext_cache_migrate_keys(2)), user => 'alice'), '1|1|0|1', '  and migrates them: two with one key are merged');
        is($cluster->sql(q(SELECT * FROM steadytext_cache_migrate_keys()), user => 'alice'), '0|0|1|0', '  one that does not say enough is skipped');
        is($cluster->sql(q(SELECT steadytext_generate('an old one', 5)), user => 'bob'), 'an old answer', '  they answer');
        is($cluster->sql(q(SELECT user_id FROM steadytext_audit_log WHERE event_type = 'cache_trust_legacy')), 'alice', '  and who did it is in the audit log');
    }

    # A row from before counts for nothing where it is not what it must be.
    $cluster->sql(q(ALTER TABLE steadytext_config DISABLE TRIGGER check_row; UPDATE steadytext_config SET value = '"x, tcp://evil:6666 key_file=/etc/passwd"' WHERE key = 'daemon_host';
        UPDATE steadytext_config SET value = '"12 monkeys"' WHERE key = 'default_max_tokens'; ALTER TABLE steadytext_config ENABLE TRIGGER check_row));
    is($cluster->sql(q(SELECT string_agg(DISTINCT cache_key, ' ') = max(cache_key) FROM (SELECT cache_key FROM steadytext_generate_ex('how many?') UNION ALL SELECT cache_key FROM steadytext_generate_ex('how many?', '{"max_tokens": 512}')) k)),
        't', 'a number that is none is left out');
    # The port of the first daemon is set: nothing else of the table gets into the server's list of daemons.
    my $daemons = $cluster->sql('SHOW steadytext.daemons');
    my $in_file = sub { $cluster->sql(q(SELECT setting FROM pg_file_settings WHERE name = 'steadytext.daemons' ORDER BY seqno DESC LIMIT 1)) };
    $cluster->sql(q(SELECT steadytext_config_set('daemon_port', '5999')));
    is($in_file->(), "tcp://localhost:5999, $daemons", 'a superuser sets a port: an administrator\'s host is not in the list');
    $cluster->sql(q(SELECT steadytext_config_set('daemon_host', '::1')));
    is($in_file->(), "tcp://[::1]:5999, $daemons", 'a host: the port is the one that was there');
    $cluster->sql(q(SELECT steadytext_config_set('default_max_tokens', '512'); SELECT steadytext_daemon_unregister('tcp://[::1]:5999')));
    is($in_file->(), $daemons, 'and the list is as it was');

    # The server's own: superusers, and members of one role.
    $cluster->sql(q(CREATE ROLE captain LOGIN IN ROLE steadytext_server_admin));
    my $endpoint = $cluster->sql('SELECT endpoint FROM steadytext_daemons');
    is($cluster->try_sql("BEGIN; SELECT $_; ROLLBACK", user => 'captain')->{err}, '', "a server's administrator may: $_") for "steadytext_daemon_trip('$endpoint')", "steadytext_daemon_reset('$endpoint')", 'steadytext_stat_reset()';
    is($cluster->try_sql($_, user => 'captain')->{state}, '42501', "but not: $_") for q(SELECT steadytext_daemon_register('tcp://127.0.0.1:5999')), q(SELECT steadytext_config_set('default_seed', '1')), q(SELECT * FROM steadytext_cache);
    is($cluster->sql('SELECT endpoint FROM steadytext_daemons', user => 'captain'), $endpoint, 'it sees the daemons that it may trip');
    like($cluster->try_sql("SELECT steadytext_daemon_$_", user => 'captain')->{err}, qr/must be superuser to change steadytext.daemons/, "and is told who may: $_")
        for q(register('tcp://127.0.0.1:5999')), "drain('$endpoint')", "undrain('$endpoint')";
    ok($cluster->poll_until(q(SELECT string_agg(concat_ws(' ', user_id, success, details ->> 'function', details ->> 'argument'), ', ' ORDER BY id) FROM steadytext_audit_log WHERE event_type = 'server_action' AND user_id = 'captain'),
        "captain t steadytext_daemon_trip $endpoint, captain t steadytext_daemon_reset $endpoint, captain t steadytext_stat_reset"), 'each use has an audit row, although rolled back') or diag $cluster->{last_poll}{out};
    like($cluster->log, qr/role "captain" called steadytext_daemon_trip\n.*Its argument was "\Q$endpoint\E"/, 'and a line in the log');
    ok($cluster->poll_until(q(SELECT string_agg(details ->> 'function' || ' ' || (details ->> 'argument'), ', ' ORDER BY id) FROM steadytext_audit_log WHERE event_type = 'server_action' AND user_id = 'postgres'),
        'steadytext_config_set(daemon_port) 5999, steadytext_config_set(daemon_host) ::1, steadytext_daemon_unregister tcp://[::1]:5999'), 'a superuser\'s too') or diag $cluster->{last_poll}{out};

    # What GRANT takes for a role and is none.
    is($cluster->try_sql("SELECT steadytext_admin_$_->[0]('$_->[1]')")->{state}, $_->[2], "steadytext_admin_$_->[0]('$_->[1]') is refused") for map { my $what = $_; map { [ $what, $_, /^steadytext/ ? '42501' : '42704' ] }
        qw(public PUBLIC current_user session_user current_role none steadytext_owner steadytext_server_admin) } qw(grant revoke);
    is($cluster->try_sql("SELECT steadytext_${_}")->{state}, '42704', "steadytext_$_ is refused") for q(rate_limit_set('public', requests => 1)), q(budget_set('public', '1 day', 5)), q(rate_limit_set('current_user', requests => 1));
    is($cluster->sql(q(SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) a WHERE p.proname = 'steadytext_config_set' AND a.grantee = 0)), 0, 'nothing was granted to PUBLIC');
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

# ---- sequences -----------------------------------------------------------------------------------------------------------------------
# Whoever may use one can take numbers without end: none of them has one that anybody would see, and nobody sets one.
{
    $cluster->sql(q(CREATE ROLE seq_admin; SELECT steadytext_admin_grant('seq_admin')));
    my $own = q(SELECT c.oid, c.relname, a.attrelid, s.seqtypid, s.seqmax, s.seqcycle, t.atttypid
        FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid JOIN pg_depend a ON a.classid = 'pg_class'::regclass AND a.objid = c.oid AND a.deptype IN ('a', 'i') AND a.refobjsubid > 0
             JOIN pg_attribute t ON t.attrelid = a.refobjid AND t.attnum = a.refobjsubid
             JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = a.refobjid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_steadytext' OFFSET 0) =~ s/a\.attrelid/a.refobjid AS of/r;
    cmp_ok($cluster->sql("SELECT count(*) FROM ($own) s"), '>', 0, 'sequences');
    is($cluster->sql("SELECT string_agg(relname, ' ') FROM ($own) s WHERE (seqtypid, atttypid) <> ('int8'::regtype, 'int8'::regtype) OR seqmax <> 9223372036854775807 OR seqcycle"), '', 'have no end, nor have their columns');
    my $roles = q(SELECT oid, rolname FROM pg_roles WHERE NOT rolsuper AND rolname <> 'steadytext_owner' AND rolname !~ '^pg_' UNION ALL SELECT 0, 'public');
    is($cluster->sql("SELECT string_agg(rolname || ' ' || relname, ', ') FROM ($own) s, ($roles) r WHERE has_sequence_privilege(r.rolname::name, s.oid, 'UPDATE')"), '', 'nobody sets them');
    is($cluster->sql("SELECT string_agg(rolname || ' ' || relname, ', ') FROM ($own) s, ($roles) r WHERE has_sequence_privilege(r.rolname::name, s.oid, 'USAGE') AND NOT has_any_column_privilege(r.rolname::name, s.of, 'INSERT')"), '',
        'nobody uses one who may not add rows');
    cmp_ok($cluster->sql("SELECT count(*) FROM ($own) s WHERE has_sequence_privilege('seq_admin', s.oid, 'USAGE')"), '>', 0, 'an administrator uses some');
    $cluster->sql(q(SELECT steadytext_admin_revoke('seq_admin'); DROP ROLE seq_admin));
}

done_testing;
