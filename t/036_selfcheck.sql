-- steadytext_selfcheck(): silent where nothing is wrong; each thing that is, is found.
BEGIN;
SELECT no_plan();

CREATE FUNCTION says(which text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(status || ': ' || details, '; ') FROM public.steadytext_selfcheck() WHERE check_name = which $$;
CREATE ROLE check_ann;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

SELECT is((SELECT string_agg(check_name, ' ' ORDER BY check_name) FROM steadytext_selfcheck()),
    'administrators allow_plaintext cache_scope default_privileges fingerprints held_calls installed_version namesakes own_triggers owner_role owners pgvector public_grants '
    'row_security schema_internals schema_public search_paths server_administrators settings shared_memory_version sql_version trigger_grants triggers trojans', 'all checks');
SELECT is(ARRAY(SELECT check_name || ': ' || details FROM steadytext_selfcheck() WHERE status <> 'ok'), '{}', 'a fresh installation is well');
SELECT is((SELECT count(hint) FROM steadytext_selfcheck()), 0::bigint, 'and gets no hints');

GRANT EXECUTE ON FUNCTION steadytext_cache_clear() TO PUBLIC;
SELECT is(says('public_grants'), 'error: EXECUTE on public.steadytext_cache_clear()', 'a function for everybody');
GRANT SELECT ON steadytext_cache TO PUBLIC;
SELECT is(says('public_grants'), 'error: EXECUTE on public.steadytext_cache_clear(), SELECT on public.steadytext_cache', 'and a table');
SELECT isnt((SELECT hint FROM steadytext_selfcheck() WHERE check_name = 'public_grants'), NULL, 'with a hint');

GRANT TRIGGER ON steadytext_cache TO check_ann;
SELECT is(says('trigger_grants'), 'error: TRIGGER on public.steadytext_cache to check_ann', 'who may add triggers');
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER foreign_one AFTER INSERT ON steadytext_cache EXECUTE FUNCTION noop();
SELECT is(says('triggers'), 'warning: foreign_one on public.steadytext_cache', 'a trigger of others');

ALTER FUNCTION _steadytext.cache_stats() RESET search_path;
SELECT is(says('search_paths'), 'error: _steadytext.cache_stats()', 'a search_path that is not pinned');
ALTER TABLE steadytext_audit_log DISABLE ROW LEVEL SECURITY;
SELECT is(says('row_security'), 'error: public.steadytext_audit_log', 'no row security');
GRANT CREATE ON SCHEMA public TO PUBLIC;
SELECT alike(says('schema_public'), 'warning: PUBLIC may create%', 'a public schema');
SELECT steadytext_admin_grant('check_ann');
SELECT is(says('administrators'), 'ok: check_ann', 'who administers');

-- Who owns and who may create; what stands for what is the extension's, or PostgreSQL's.
CREATE SCHEMA check_else;
CREATE FUNCTION steadytext_generate(uuid) RETURNS text LANGUAGE sql AS 'SELECT NULL';
CREATE FUNCTION check_else.st_embed(text) RETURNS text LANGUAGE sql AS 'SELECT NULL';
CREATE TABLE check_else.steadytext_config (key text);
SELECT is(says('namesakes'), 'warning: function check_else.st_embed(text), function public.steadytext_generate(uuid), relation check_else.steadytext_config', 'namesakes and overloads');
CREATE FUNCTION check_else.same(uuid, uuid) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR check_else.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = check_else.same);
CREATE FUNCTION check_else.cast(uuid) RETURNS name LANGUAGE sql AS 'SELECT NULL::name';
CREATE CAST (uuid AS name) WITH FUNCTION check_else.cast(uuid);
CREATE DOMAIN check_else.jsonb AS jsonb;
SELECT is(says('trojans'), 'warning: cast from uuid to name, operator check_else.=(uuid,uuid), type check_else.jsonb', 'operators, casts and types in PostgreSQL''s place');
GRANT CREATE ON SCHEMA _steadytext TO check_ann;
CREATE FUNCTION _steadytext.generate(uuid) RETURNS text LANGUAGE sql AS 'SELECT NULL';
SELECT is(says('schema_internals'), 'error: _steadytext.generate(uuid) is not the extension''s, check_ann may create in schema _steadytext', 'who may create among the internals');
ALTER TABLE steadytext_cache OWNER TO check_ann;
ALTER FUNCTION _steadytext.config_get(text) OWNER TO check_ann;
ALTER FUNCTION steadytext_cache_clear() OWNER TO check_ann;
SELECT matches(says('owners'), '^error: check_ann owns _steadytext.config_get\(text\), check_ann owns public.steadytext_cache, .*check_ann owns public.steadytext_cache_clear\(\)', 'owners that are others');
ALTER ROLE steadytext_owner CREATEDB;
GRANT steadytext_owner TO check_ann;
GRANT steadytext_server_admin TO check_ann;
SELECT is(says('owner_role'), 'error: check_ann is a member of steadytext_owner, role steadytext_owner has attributes', 'an owner role that may do more');
SELECT is(says('server_administrators'), 'ok: check_ann', 'who administers the server');
ALTER TABLE steadytext_config DISABLE TRIGGER check_row;
SELECT is(says('own_triggers'), 'error: check_row on public.steadytext_config', 'a check that is off');
ALTER TABLE steadytext_queue ENABLE TRIGGER ALL;
SELECT is(says('own_triggers'), 'error: check_row on public.steadytext_config, hold_replicated on public.steadytext_queue, queue_row_check on public.steadytext_queue', 'as pg_dump --disable-triggers leaves them');
UPDATE steadytext_config SET value = '"many"' WHERE key = 'default_seed';
SELECT is(says('settings'), 'warning: rows of steadytext_config count for nothing: default_seed', 'and what came by');
CREATE RULE astray AS ON UPDATE TO steadytext_budgets DO INSTEAD NOTHING;
SELECT alike(says('triggers'), '%rule astray on public.steadytext_budgets', 'a rule');
CREATE POLICY everybody ON steadytext_queue USING (true);
SELECT alike(says('row_security'), '%policy everybody on public.steadytext_queue', 'a policy');
ALTER DEFAULT PRIVILEGES IN SCHEMA _steadytext GRANT ALL ON TABLES TO check_ann;
SELECT alike(says('default_privileges'), 'warning: %INSERT on new objects of % to check_ann%', 'default privileges');

UPDATE pg_extension SET extversion = '2000.1.1' WHERE extname = 'pg_steadytext';
SELECT is(says('sql_version'), 'error: the SQL objects are of version 2000.1.1, the library is ' || steadytext_version(), 'SQL of another version');
SET LOCAL steadytext.cache_scope = 'database';
SELECT alike(says('cache_scope'), 'warning:%', 'a shared cache');

SELECT ok(NOT has_function_privilege('check_ann', 'steadytext_admin_grant(name)', 'EXECUTE'), 'administrators make no administrators');
CREATE ROLE check_bob;
SELECT ok(NOT has_function_privilege('check_bob', 'steadytext_selfcheck()', 'EXECUTE'), 'not for everybody');
SELECT ok(has_function_privilege('pg_monitor', 'steadytext_selfcheck()', 'EXECUTE'), 'but for monitors');

SELECT * FROM finish();
ROLLBACK;
