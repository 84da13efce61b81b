-- Upgrades the PL/Python original (2025.11.25) to this version, in place. The Makefile puts the installation script
-- where the line with the arrow is. It relaxes CREATE for the original's tables (IF NOT EXISTS) and for functions (OR
-- REPLACE), and changes nothing else; so every definition has a single source. t/135_upgrade.pl compares the result
-- with a fresh installation. t/137_hostile_upgrade.pl tests objects and rows that other roles have left.
--
-- Tables keep their rows and the objects that depend on them. Functions keep their names, arguments and results, so the
-- views, generated columns and indexes over them stay. Of two helpers of the original that this version lacks,
-- _steadytext_raise_p0001 stays as it was, and _steadytext_init_python goes: it would keep plpython3u.
--
-- A superuser runs this script, and everybody could write the original's tables. So the script first makes sure that no
-- object on them runs code (from_original_check.sql). Then it keeps each row of a table that everybody could write, but
-- such a row is neither served, carried out nor obeyed.
\echo Use "ALTER EXTENSION pg_steadytext UPDATE" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- Before anything is changed, and while all that asks goes on to be answered by the original.
DO $$
BEGIN
    IF current_setting('shared_preload_libraries') !~ 'pg_steadytext' THEN
        RAISE EXCEPTION 'pg_steadytext is not loaded' USING ERRCODE = '55000',
            HINT = 'Add pg_steadytext to shared_preload_libraries and restart the server, then update.';
    END IF;
END
$$;

LOCK TABLE public.steadytext_cache, public.steadytext_queue, public.steadytext_config, public.steadytext_daemon_health,
    public.steadytext_rate_limits, public.steadytext_audit_log, public.steadytext_prompts, public.steadytext_prompt_versions
    IN ACCESS EXCLUSIVE MODE;
-- Who owns the database may rename the schema public. From here on nobody can, so that what is looked at below is what is
-- changed; and it is locked by the name that it has now.
LOCK TABLE pg_catalog.pg_namespace IN SHARE MODE;
LOCK TABLE public.steadytext_cache, public.steadytext_queue, public.steadytext_config, public.steadytext_daemon_health,
    public.steadytext_rate_limits, public.steadytext_audit_log, public.steadytext_prompts, public.steadytext_prompt_versions
    IN ACCESS EXCLUSIVE MODE;

-- The original's columns: name, type, and the default that a fresh installation has.
CREATE TEMP TABLE upgrade_columns AS
SELECT t.table_name, c.place, split_part(c.said, ' ', 1) AS name, split_part(c.said, ' ', 2)::regtype AS type,
       nullif(split_part(c.said, ' ', 3), '') AS initial
FROM (VALUES
    ('steadytext_cache', ARRAY['id int nextval(''public.steadytext_cache_id_seq'')', 'cache_key text', 'prompt text', 'response text',
        'embedding public.vector', 'access_count int 1', 'last_accessed timestamptz now()', 'created_at timestamptz now()',
        'steadytext_cache_hit boolean false', 'model_name text ''qwen3-1.7b''', 'model_size text', 'seed int 42', 'eos_string text',
        'generation_params jsonb', 'response_size int', 'generation_time_ms int']),
    ('steadytext_queue', ARRAY['id int nextval(''public.steadytext_queue_id_seq'')', 'request_id uuid gen_random_uuid()',
        'request_type text', 'prompt text', 'prompts text[]', 'params jsonb', 'priority int 5', 'user_id text current_user',
        'session_id text', 'status text ''pending''', 'result text', 'results text[]', 'embedding public.vector',
        'embeddings public.vector[]', 'error text', 'created_at timestamptz now()', 'started_at timestamptz',
        'completed_at timestamptz', 'processing_time_ms int', 'retry_count int 0', 'max_retries int 3', 'daemon_endpoint text']),
    ('steadytext_config', ARRAY['key text', 'value jsonb', 'description text', 'updated_at timestamptz now()',
        'updated_by text current_user']),
    ('steadytext_daemon_health', ARRAY['daemon_id text ''default''', 'endpoint text', 'last_heartbeat timestamptz now()',
        'uptime_seconds int 0', 'status text ''unknown''', 'version text', 'models_loaded text[]', 'memory_usage_mb int',
        'active_connections int 0', 'total_requests bigint 0', 'error_count int 0', 'avg_response_time_ms int']),
    ('steadytext_rate_limits', ARRAY['user_id text', 'requests_per_minute int 60', 'requests_per_hour int 1000',
        'requests_per_day int 10000', 'current_minute_count int 0', 'current_hour_count int 0', 'current_day_count int 0',
        'last_reset timestamptz now()', 'last_reset_minute timestamptz now()', 'last_reset_hour timestamptz now()',
        'last_reset_day timestamptz now()', 'created_at timestamptz now()']),
    ('steadytext_audit_log', ARRAY['id int nextval(''public.steadytext_audit_log_id_seq'')', 'event_id uuid gen_random_uuid()',
        'event_type text', 'user_id text current_user', 'request_id uuid', 'details jsonb', 'created_at timestamptz now()',
        'ip_address inet', 'success boolean true', 'error_message text']),
    ('steadytext_prompts', ARRAY['id uuid gen_random_uuid()', 'slug text', 'description text', 'created_at timestamptz now()',
        'created_by text current_user', 'updated_at timestamptz now()', 'updated_by text current_user']),
    ('steadytext_prompt_versions', ARRAY['id uuid gen_random_uuid()', 'prompt_id uuid', 'version int', 'template text',
        'required_variables text[]', 'metadata jsonb ''{}''', 'created_at timestamptz now()', 'created_by text current_user',
        'is_active boolean false'])) t (table_name, columns),
    unnest(t.columns) WITH ORDINALITY c (said, place);

-- A database that began with a version before 2025.10.28 has three tables as that version made them: the original's own
-- updates did not touch them. So they are checked as they were made there, and then get these names and columns.
CREATE TEMP TABLE upgrade_older AS
SELECT u.*, CASE u.name WHEN 'created_at' THEN 'timestamp' WHEN 'event_type' THEN 'action' END AS older
FROM upgrade_columns u
WHERE (u.table_name, u.name) IN (('steadytext_audit_log', 'created_at'), ('steadytext_audit_log', 'event_type'), ('steadytext_audit_log', 'event_id'),
                                 ('steadytext_daemon_health', 'uptime_seconds'), ('steadytext_rate_limits', 'last_reset'))
  AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('public.' || u.table_name) AND a.attname = u.name AND NOT a.attisdropped);
DELETE FROM upgrade_columns u USING upgrade_older o WHERE u.table_name = o.table_name AND u.name = o.name AND o.older IS NULL;
UPDATE upgrade_columns u SET name = o.older FROM upgrade_older o WHERE u.table_name = o.table_name AND u.name = o.name;

-- <=== from_original_check.sql

DO $$
DECLARE
    command text;
BEGIN
    FOR command IN SELECT format(CASE WHEN older IS NULL THEN 'ALTER TABLE public.%1$I ADD COLUMN %2$I %4$s DEFAULT %5$s' ELSE 'ALTER TABLE public.%1$I RENAME COLUMN %3$I TO %2$I' END,
                                 table_name, name, older, type, initial) FROM upgrade_older LOOP
        EXECUTE command;
    END LOOP;
END
$$;
DELETE FROM upgrade_columns u USING upgrade_older o WHERE u.table_name = o.table_name AND u.name = o.older;
INSERT INTO upgrade_columns SELECT table_name, place, name, type, initial FROM upgrade_older;

-- <=== from_original_tables.sql

-- ---- everything else ------------------------------------------------------------------------------------------------

DROP FUNCTION IF EXISTS public._steadytext_init_python();

-- <=== pg_steadytext.sql

-- Who could read the table steadytext_daemon_health, or write it, can do so by the view.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('GRANT %s ON public.steadytext_daemon_health TO %s', a.privilege_type, a.grantee::regrole)
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid = '_steadytext.steadytext_daemon_health'::regclass AND a.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

-- The count that the triggers would have made.
INSERT INTO _steadytext.cache_ledger SELECT coalesce(scope_role, 0), count(*), sum(entry_bytes) FROM public.steadytext_cache GROUP BY 1;

-- A call belongs to the role that it names, unless everybody could write the names.
UPDATE public.steadytext_queue q SET user_oid = r.oid::regrole, session_user_oid = r.oid::regrole
FROM pg_roles r
WHERE r.rolname = q.user_id AND NOT EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_queue');
SELECT _steadytext.queue_look();

-- Puts the configuration back, as far as it is valid. If everybody could write it, only known keys come back, and not
-- the daemon's address, which decides where prompts go. The original stored every value as a string; a string with a
-- number or a boolean becomes a number or a boolean. The audit triggers are off, because nobody changes a value that is
-- only put back. The original's first value of cache_enabled was false, which does not mean that anybody wanted no
-- cache.
ALTER TABLE public.steadytext_config DISABLE TRIGGER audit_inserted, DISABLE TRIGGER audit_updated;
DO $$
DECLARE
    everybodys CONSTANT boolean := EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_config');
    row record;
    said text;
    reason text;
BEGIN
    FOR row IN SELECT c.*, pg_column_size(c.value) <= 8000 AND jsonb_typeof(c.value) IN ('string', 'number', 'boolean') AS is_scalar,
                      EXISTS (SELECT FROM public.steadytext_config s WHERE s.key = c.key) AS is_seeded
               FROM upgrade_config c
               WHERE NOT EXISTS (SELECT FROM public.steadytext_config s WHERE s.key = c.key AND s.value = c.value)
                 AND NOT (c.key = 'cache_enabled' AND c.value IN ('false', '"false"'))
    LOOP
        said := CASE WHEN row.is_scalar THEN row.value #>> '{}' END;
        reason := CASE WHEN said IS NULL THEN 'no text, number or boolean of sensible size'
                       WHEN everybodys AND row.key IN ('daemon_host', 'daemon_port')
                            AND said IS DISTINCT FROM (SELECT s.value #>> '{}' FROM public.steadytext_config s WHERE s.key = row.key)
                            THEN 'everybody could write it'
                       WHEN everybodys AND NOT row.is_seeded THEN 'everybody could write it, and the key means nothing' END;
        IF reason IS NULL THEN
            BEGIN
                PERFORM _steadytext.check_config(row.key, said);
                INSERT INTO public.steadytext_config AS c (key, value, description, updated_at, updated_by)
                    VALUES (row.key,
                            CASE WHEN said ~ '^-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?$' OR said IN ('true', 'false') THEN said::jsonb
                                 ELSE to_jsonb(said) END,
                            CASE WHEN octet_length(row.description) <= 10000 THEN row.description END,
                            greatest(least(row.updated_at, now()), 'epoch'), left(row.updated_by, 63))
                    ON CONFLICT (key) DO UPDATE SET value = excluded.value, description = coalesce(excluded.description, c.description),
                        updated_at = excluded.updated_at, updated_by = excluded.updated_by;
            EXCEPTION WHEN data_exception OR program_limit_exceeded OR integrity_constraint_violation THEN
                reason := sqlerrm;
            END;
        END IF;
        IF reason IS NOT NULL THEN
            INSERT INTO upgrade_taken VALUES ('steadytext_config', reason,
                jsonb_build_object('key', left(row.key, 255), 'value', CASE WHEN row.is_scalar THEN row.value END));
        END IF;
    END LOOP;
END
$$;
ALTER TABLE public.steadytext_config ENABLE TRIGGER audit_inserted, ENABLE TRIGGER audit_updated;

-- Templates that Python's jinja2 renders and this version does not.
DO $$
DECLARE
    refused text := (SELECT string_agg(format('%s (version %s): %s', p.slug, v.version, t.error_message), E';\n' ORDER BY p.slug, v.version)
                     FROM public.steadytext_prompt_versions v JOIN public.steadytext_prompts p ON p.id = v.prompt_id,
                          LATERAL _steadytext.jinja_check(v.template) t WHERE NOT t.is_valid);
BEGIN
    IF refused IS NOT NULL THEN
        RAISE WARNING 'some prompts cannot be rendered by this version' USING DETAIL = left(refused, 2000) || '.',
            HINT = 'docs/prompts.md has what templates may say. They are kept; steadytext_prompt_update() makes a new version.';
    END IF;
END
$$;

-- Removed rows go into the audit log. A warning counts the rows and keys that were kept, changed or removed.
INSERT INTO public.steadytext_audit_log (event_type, details)
    SELECT 'upgrade_removed', jsonb_build_object('table', table_name, 'row', was, 'reason', reason) FROM upgrade_taken;
INSERT INTO upgrade_counts
    SELECT 4, format('of steadytext_config the keys %s are as in a fresh installation, or gone',
                     string_agg(said, ', ' ORDER BY n) FILTER (WHERE n <= 20) || CASE WHEN count(*) > 20 THEN ', ...' ELSE '' END), count(*)
    FROM (SELECT format('%s (was %s)', was -> 'key', left(coalesce((was -> 'value')::text, 'null'), 100)) AS said,
                 row_number() OVER (ORDER BY s.key, was ->> 'key') AS n
          FROM upgrade_taken LEFT JOIN public.steadytext_config s ON s.key = was ->> 'key'
          WHERE table_name = 'steadytext_config') t HAVING count(*) > 0
    UNION ALL
    SELECT 5, format('%s rows of steadytext_rate_limits are gone', count(*)), count(*)
    FROM upgrade_taken WHERE table_name = 'steadytext_rate_limits' HAVING count(*) > 0;
DO $$
DECLARE
    said text := (SELECT string_agg(said, E';\n' ORDER BY place, said) FROM upgrade_counts);
BEGIN
    IF said IS NOT NULL THEN
        RAISE WARNING 'not all that the original left is trusted'
            USING DETAIL = coalesce('Everybody could write ' || (SELECT string_agg(table_name, ', ' ORDER BY table_name) FROM upgrade_everybodys)
                                    || E':\n', '') || said || '.',
            HINT = 'steadytext_audit_log has what was removed (event_type upgrade_removed). If you trust the answers: SELECT steadytext_cache_trust_legacy(). docs/upgrading.md tells about the others.';
    END IF;
END
$$;

-- The list of daemons is a setting of the server now, and no script may change it.
DO $$
DECLARE
    host text := (SELECT value #>> '{}' FROM upgrade_config WHERE key = 'daemon_host' AND pg_column_size(value) <= 8000 AND jsonb_typeof(value) = 'string');
    port text := (SELECT value #>> '{}' FROM upgrade_config WHERE key = 'daemon_port' AND pg_column_size(value) <= 8000);
    address text;
BEGIN
    IF current_setting('steadytext.daemons', true) <> '' OR current_setting('steadytext.embedded_model', true) <> '' THEN
        RETURN;
    END IF;
    PERFORM _steadytext.check_config('daemon_host', host), _steadytext.check_config('daemon_port', port);
    address := format('tcp://%s:%s', coalesce(host, 'localhost'), coalesce(port, '5555'));
    RAISE WARNING 'no daemon is configured: steadytext_config named %', address
        USING HINT = format('To go on with it: SELECT steadytext_daemon_register(%L).', address)
            || CASE WHEN EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_config')
                    THEN ' Everybody could write that address: make sure that it is yours.' ELSE '' END;
EXCEPTION WHEN data_exception THEN
    RAISE WARNING 'no daemon is configured' USING HINT = 'The address in steadytext_config was not valid.';
END
$$;

-- The original evicted only if a job of pg_cron did; this version does so by itself, at once. It does not begin with
-- answers that the original had kept.
DO $$
DECLARE
    has record;
    kept record;
BEGIN
    SELECT sum(entries) AS entries, sum(bytes) / 1048576 AS megabytes INTO has FROM _steadytext.cache_ledger;
    SELECT max(most) FILTER (WHERE key = 'cache_max_entries') AS entries, max(most) FILTER (WHERE key = 'cache_max_size_mb') AS megabytes INTO kept
    FROM (SELECT c.key, CASE WHEN c.value = seed.value THEN s.setting ELSE c.value #>> '{}' END::bigint AS most
          FROM public.steadytext_config c JOIN _steadytext.config_seed seed USING (key)
          JOIN (VALUES ('cache_max_entries', 'steadytext.cache_max_entries'), ('cache_max_size_mb', 'steadytext.cache_max_size')) n (key, name) USING (key)
          JOIN pg_settings s ON s.name = n.name) k;
    IF (SELECT value FROM public.steadytext_config WHERE key = 'cache_eviction_enabled') IS DISTINCT FROM 'false'
       AND (kept.entries BETWEEN 1 AND has.entries - 1 OR kept.megabytes BETWEEN 1 AND has.megabytes - 1) THEN
        INSERT INTO public.steadytext_config (key, value) VALUES ('cache_eviction_enabled', 'false') ON CONFLICT (key) DO UPDATE SET value = excluded.value;
        RAISE WARNING 'eviction is switched off in this database: steadytext_cache has more answers than it keeps'
            USING DETAIL = format('It has %s answers in %s MB; %s answers and %s MB are kept.', has.entries, round(has.megabytes), kept.entries, kept.megabytes),
            -- Not the settings of postgresql.conf, which a row of another value overrides.
            HINT = 'To keep more, SELECT steadytext_config_set(''cache_max_entries'', ''...''), and ''cache_max_size_mb'' likewise. Then SELECT steadytext_config_set(''cache_eviction_enabled'', ''true''): the answers used least go.';
    END IF;
END
$$;

-- Before 14.5, CREATE OR REPLACE in an extension's script takes over a function that somebody made meanwhile, and
-- leaves its owner.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
               WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
                 AND p.proowner NOT IN (current_user::regrole, 'steadytext_owner'::regrole)) THEN
        RAISE EXCEPTION 'a function of pg_steadytext belongs to another role' USING ERRCODE = '55000', HINT = 'Try again.';
    END IF;
END
$$;

DROP TABLE pg_temp.upgrade_columns, pg_temp.upgrade_older, pg_temp.upgrade_everybodys, pg_temp.upgrade_taken, pg_temp.upgrade_counts, pg_temp.upgrade_config;
