# From the PL/Python original to this version by ALTER EXTENSION ... UPDATE: rows, grants to roles, and what users built on functions and
# tables stay; all else is as a fresh installation has it. Here an administrator had taken its tables from everybody before; what becomes of
# rows that everybody could write is in t/137_hostile_upgrade.pl.
use strict;
use warnings;
use SteadyText::Cluster;
use SteadyText::Original;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'" ]);
sub in { my ($database, $sql) = @_; return $cluster->sql($sql, database => $database) }

$cluster->sql("CREATE DATABASE $_") for qw(fresh old);
in(fresh => 'CREATE EXTENSION pg_steadytext CASCADE');
in(old => q(CREATE EXTENSION vector; CREATE EXTENSION pg_steadytext VERSION '2025.11.25'));

# ---- a database that has been in use ---------------------------------------------------------------------------------------
in(old => q(
    INSERT INTO steadytext_cache (cache_key, prompt, response, access_count, model_name, generation_params)
        SELECT 'question ' || i, 'question ' || i, 'old answer ' || i, i, 'steadytext-default', '{"max_tokens": 512, "seed": 42}' FROM generate_series(1, 50) i;
    INSERT INTO steadytext_cache (cache_key, prompt, embedding)
        SELECT encode(sha256('embed:old text'), 'hex'), 'old text', array_agg(CASE WHEN i = 3 THEN 1 ELSE 0 END ORDER BY i)::vector FROM generate_series(1, 1024) i;
    INSERT INTO steadytext_queue (request_type, prompt, params, status) VALUES ('generate', 'waits', '{"max_tokens": 5, "use_cache": true, "seed": 42}', 'pending'),
        ('generate', 'was begun', '{"max_tokens": null, "use_cache": true, "seed": 42}', 'processing'), ('embed', NULL, '{"text_input": "a text", "use_cache": true, "seed": 42, "model": null, "unsafe_mode": false}', 'pending');
    INSERT INTO steadytext_queue (request_type, prompt, status, result, completed_at, user_id) VALUES ('generate', 'done', 'completed', 'its result', now(), 'reader');
    UPDATE steadytext_config SET value = '"77"' WHERE key = 'default_max_tokens';
    UPDATE steadytext_config SET value = '"true"' WHERE key = 'cache_enabled';
    INSERT INTO steadytext_audit_log (event_type) VALUES ('config_change');
    INSERT INTO steadytext_rate_limits (user_id) VALUES ('somebody');
    WITH p AS (INSERT INTO steadytext_prompts (slug) VALUES ('a-prompt') RETURNING id)
        INSERT INTO steadytext_prompt_versions (prompt_id, version, template, is_active) SELECT id, 1, 'Hello {{ name }}', true FROM p;
    CREATE ROLE reader LOGIN; GRANT SELECT ON steadytext_cache, steadytext_daemon_health TO reader;
    CREATE VIEW my_answers AS SELECT steadytext_generate('question 7', max_tokens => 512) AS answer;
    CREATE VIEW my_prompts AS SELECT prompt, response FROM steadytext_cache;
    CREATE VIEW my_daemons AS SELECT daemon_id, last_heartbeat FROM steadytext_daemon_health;
    CREATE TABLE documents (body text, embedding vector GENERATED ALWAYS AS (steadytext_embed(body)) STORED);
    CREATE FUNCTION my_facts(t text) RETURNS jsonb LANGUAGE sql AS 'SELECT steadytext_extract_facts(t)'));

# Nobody but the owner writes it: its rows are trusted.
in(old => 'REVOKE INSERT, UPDATE ON ALL TABLES IN SCHEMA public FROM PUBLIC');

# ---- the update ------------------------------------------------------------------------------------------------------------
in(old => 'CREATE VIEW in_the_way AS SELECT frecency_score FROM steadytext_cache_with_frecency');
my $refused = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'old');
is($refused->{state}, '2BP01', 'a view over one that changes its columns is not dropped along with it');
like($refused->{err}, qr/view public.in_the_way depends on view public.steadytext_cache_with_frecency/, '  but named');
is(in(old => q(SELECT extversion FROM pg_extension WHERE extname = 'pg_steadytext')), '2025.11.25', '  and all is as it was');
in(old => 'DROP VIEW in_the_way');
my $done = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'old');
is($done->{err}, '', 'the update goes through');
is(in(old => q(SELECT extversion = steadytext_version() FROM pg_extension WHERE extname = 'pg_steadytext')), 't', 'to this version');

# ---- as a fresh installation, but for what is only in the original ------------------------------------------------------------
my %compare = (
    functions => q(SELECT regexp_replace(pg_get_functiondef(p.oid), '\s+', ' ', 'g') || ' ' ||
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(proacl, acldefault('f', proowner))) a) FROM members JOIN pg_proc p ON p.oid = objid
        WHERE classid = 'pg_proc'::regclass AND prokind = 'f'),
    relations => q(SELECT c.oid::regclass || ' ' || relkind::text || ' ' || relrowsecurity || ' ' || coalesce(reloptions::text, '') || ' ' || coalesce(obj_description(c.oid, 'pg_class'), '') || ' ' ||
        (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) a
         WHERE a::text NOT LIKE 'reader=%') FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass),
    columns => q(SELECT format('%s.%s %s %s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attgenerated, pg_get_expr(adbin, adrelid),
        col_description(attrelid, attnum)) FROM members JOIN pg_attribute ON attrelid = objid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE classid = 'pg_class'::regclass AND attnum > 0 AND NOT attisdropped),
    constraints => q(SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(c.oid) FROM members JOIN pg_constraint c ON conrelid = objid WHERE classid = 'pg_class'::regclass),
    indexes  => q(SELECT pg_get_indexdef(indexrelid) FROM members JOIN pg_index ON indrelid = objid WHERE classid = 'pg_class'::regclass),
    triggers => q(SELECT pg_get_triggerdef(t.oid) FROM members JOIN pg_trigger t ON tgrelid = objid WHERE classid = 'pg_class'::regclass AND NOT tgisinternal),
    policies => q(SELECT format('%s %s %s %s %s', polrelid::regclass, polname, polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM members JOIN pg_policy ON polrelid = objid),
    owners   => q(SELECT p.oid::regprocedure || ' ' || proowner::regrole FROM members JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
        UNION ALL SELECT c.oid::regclass || ' ' || relowner::regrole FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass),
    views    => q(SELECT c.oid::regclass || ' ' || pg_get_viewdef(c.oid) FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass AND relkind = 'v'),
    dumped   => q(SELECT table_oid::regclass || ' ' || filter FROM pg_extension, unnest(extconfig, extcondition) t (table_oid, filter) WHERE extname = 'pg_steadytext'),
    sequences => q(SELECT s.seqrelid::regclass || ' ' || seqtypid::regtype FROM members JOIN pg_sequence s ON seqrelid = objid),
);
my $members = q(WITH members AS (SELECT classid, objid FROM pg_depend JOIN pg_extension e ON e.oid = refobjid WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND extname = 'pg_steadytext'));
my $ours_not = qr/_steadytext_raise_p0001/;
for my $what (sort keys %compare) {
    # One line each; functions of many lines are one string.
    my %is = map { my $database = $_; $database => [ sort grep { $database eq 'fresh' || !/^\S*(?:\s+OR REPLACE FUNCTION )?(?:public\.)?$ours_not/ && !/ (?:FUNCTION |ON )(?:public\.)?\w*$ours_not/ }
        split /\x1e/, in($database, "$members SELECT string_agg(l, E'\\x1e') FROM ($compare{$what}) c (l)") ] } qw(fresh old);
    cmp_ok(scalar @{ $is{fresh} }, '>', 0, "$what: there are some");
    my %fresh = map { $_ => 1 } @{ $is{fresh} };
    my %old   = map { $_ => 1 } @{ $is{old} };
    is(join("\n", grep { !$fresh{$_} } @{ $is{old} }), '', "$what: none differs from a fresh installation");
    is(join("\n", grep { !$old{$_} } @{ $is{fresh} }), '', "$what: none is missing");
}
is(in(old => q(SELECT string_agg(check_name || ': ' || details, '; ') FROM steadytext_selfcheck() WHERE check_name IN ('sql_version', 'public_grants', 'row_security', 'triggers') AND status <> 'ok')),
    '', 'the self-check has nothing to say');

# ---- what was there is there and of use ------------------------------------------------------------------------------------
ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'a daemon, which would give back what it is asked');
is(in(old => q(SELECT total_entries - (SELECT count(*) FROM steadytext_cache) FROM steadytext_cache_stats())), 0, 'the size of the cache is known');
is(in(old => q(SELECT steadytext_generate('question 3', max_tokens => 512))), 'old answer 3', 'an answer of the original is served');
is(in(old => q(SELECT response || ' ' || (model IS NULL) || ' ' || fingerprint || ' ' || cached FROM steadytext_generate_ex('question 3', '{"max_tokens": 512}'))), 'old answer 3 true legacy true', '  from shared memory too, as the original\'s');
is(in(old => q(SELECT steadytext_embed('old text') <=> (SELECT embedding FROM steadytext_cache WHERE prompt = 'old text'))), 0, 'an embedding too');
is(in(old => 'SELECT answer FROM my_answers'), 'old answer 7', 'a view over a function goes on');
is(in(old => 'SELECT count(*) FROM my_prompts WHERE prompt ~ $$question|old text$$'), 51, 'one over a table too');
ok($cluster->wait_for(sub { in(old => q(SELECT count(*) FROM my_daemons WHERE daemon_id = 'default' AND last_heartbeat IS NOT NULL)) eq '1' }), 'and one over the table of daemons, behind a view now');
is($cluster->sql(q(SELECT count(*) FROM steadytext_daemon_health), database => 'old', user => 'reader'), 1, 'which shows it to whom the table was granted');
is(in(old => q(INSERT INTO documents VALUES ('body') RETURNING vector_dims(embedding))), 1024, 'a generated column');
is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt LIKE 'question %'), database => 'old', user => 'reader'), '50', 'what a role was granted');
is($cluster->try_sql(q(SELECT count(*) FROM steadytext_config), database => 'old', user => 'reader')->{state}, '42501', 'and nothing that everybody was');
is(in(old => q(SELECT prompt FROM steadytext_cache_top(1))), 'question 50', 'and its order');
is(in(old => q(SELECT jsonb_typeof(value) || ' ' || steadytext_config_get('default_max_tokens') FROM steadytext_config WHERE key = 'default_max_tokens')), 'number 77', 'a setting is the number it was meant to be');
is(in(old => q(SELECT value FROM steadytext_config WHERE key = 'cache_enabled')), 'true', 'or the boolean');
is(in(old => q(SELECT (SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'config_change') || ' ' || (SELECT count(*) FROM steadytext_rate_limits) || ' ' ||
    (SELECT template FROM steadytext_prompt_versions JOIN steadytext_prompts p ON p.id = prompt_id WHERE slug = 'a-prompt'))), '1 1 Hello {{ name }}', 'rows of other tables');
ok($cluster->wait_for(sub { in(old => q(SELECT count(*) FROM steadytext_queue WHERE status = 'completed')) == 4 }, 60), 'what was queued is carried out')
    or diag in(old => 'SELECT * FROM steadytext_queue');
is(in(old => q(SELECT string_agg(coalesce(result, vector_dims(embedding)::text), ', ' ORDER BY id) FROM steadytext_queue)), 'waits, was begun, 1024, its result', 'with results');
is($cluster->sql(q(SELECT result FROM steadytext_queue), database => 'old', user => 'reader'), 'its result', 'each is seen by whom it is of');

in(old => 'DROP VIEW my_answers; DROP TABLE documents; DROP VIEW my_prompts; DROP VIEW my_daemons; DROP EXTENSION pg_steadytext');
is(in(old => q(SELECT count(*) FROM pg_class WHERE relname LIKE '%steadytext%')), 0, 'dropped, nothing is left behind');

# Without a daemon the update says where the original's was.
in(old => q(CREATE EXTENSION pg_steadytext VERSION '2025.11.25'));
$cluster->sql(q(ALTER SYSTEM SET steadytext.daemons = ''; SELECT pg_reload_conf()));
ok($cluster->poll_until('SELECT count(*) FROM steadytext_daemons', 0), 'no daemon');
like($cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'old')->{err},
    qr{WARNING:.*no daemon is configured: steadytext_config named tcp://localhost:5555\nHINT:\s+To go on with it: SELECT steadytext_daemon_register\('tcp://localhost:5555'\)}, 'no daemon: the hint names the original\'s');

isnt($cluster->try_sql(q(SET steadytext.legacy_cache_keys = off; SET steadytext.on_failure = 'null'; SELECT steadytext_generate('question 3', max_tokens => 512)), database => 'old')->{out}, 'old answer 3', 'an answer of the original is not served where its keys are switched off');

# Without the library the original goes on.
$cluster->append_conf("shared_preload_libraries = ''");
ok($cluster->restart, 'the server starts without the library');
my $witness = $cluster->session;
is($witness->ask('SELECT 1;'), 1, 'a session');
$cluster->sql('CREATE DATABASE unloaded');
$cluster->sql(q(CREATE EXTENSION vector; CREATE EXTENSION pg_steadytext VERSION '2025.11.25'), database => 'unloaded');
my $update = $cluster->try_sql('ALTER EXTENSION pg_steadytext UPDATE', database => 'unloaded');
is($update->{state}, '55000', 'an update is refused');
like($update->{err}, qr/pg_steadytext is not loaded.*HINT:.*shared_preload_libraries and restart the server, then update/s, '  with what to do');
is($cluster->sql(q(SELECT extversion FROM pg_extension WHERE extname = 'pg_steadytext'), database => 'unloaded'), '2025.11.25', '  and nothing has changed');
is($witness->ask('SELECT 2;'), 2, 'no other session has noticed');
$witness->finish;

done_testing;
