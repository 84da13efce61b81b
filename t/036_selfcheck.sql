-- steadytext_selfcheck(): silent where nothing is wrong; each thing that is, is found.
BEGIN;
SELECT plan(17);

CREATE FUNCTION says(which text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(status || ': ' || details, '; ') FROM public.steadytext_selfcheck() WHERE check_name = which $$;
CREATE ROLE check_ann;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

SELECT is((SELECT string_agg(check_name, ' ' ORDER BY check_name) FROM steadytext_selfcheck()),
    'administrators allow_plaintext cache_scope fingerprints installed_version public_grants row_security schema_public search_paths '
    'shared_memory_version sql_version trigger_grants triggers', 'all checks');
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
