-- Everybody could write rows of the original's tables, and a role that owned a table, or had ALL on it, could make it
-- run code. The update works on these tables as a superuser. So before its first statement that reads or writes a row,
-- this block compares every object on the tables with the original's objects, and checks that every name that the
-- update takes is free. Any other object is an error that names it. The Makefile puts this file into from_original.sql,
-- together with the names that the installation script creates. The tables are locked before.
DO $$
DECLARE
    control CONSTANT text := '[\x01-\x1f\x7f]';
    many bigint;
    what text;
    remedies text;
BEGIN
    -- The catalogs must be read as of now, not as of a snapshot from before the locks.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the update of pg_steadytext needs isolation level READ COMMITTED' USING ERRCODE = '25001',
            HINT = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED in the transaction that runs it.';
    END IF;
    WITH members AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e'),
    made (kind, name) AS (VALUES
-- <=== names
        ('INDEX', 'idx_steadytext_cache_key')),
    taken (name) AS (
        SELECT name FROM made WHERE kind <> 'FUNCTION'
        UNION SELECT name || suffix FROM made, (VALUES ('_pkey'), ('_id_seq')) s (suffix)
        WHERE kind = 'TABLE' AND name NOT IN (SELECT table_name FROM upgrade_columns)),
    tables (name, oid) AS (SELECT DISTINCT table_name, to_regclass('public.' || table_name)::oid FROM upgrade_columns),
    original_keys (table_name, name, kind, columns) AS (VALUES
        ('steadytext_cache', 'steadytext_cache_pkey', 'p', '{id}'), ('steadytext_cache', 'steadytext_cache_cache_key_key', 'u', '{cache_key}'),
        ('steadytext_queue', 'steadytext_queue_pkey', 'p', '{id}'), ('steadytext_config', 'steadytext_config_pkey', 'p', '{key}'),
        ('steadytext_daemon_health', 'steadytext_daemon_health_pkey', 'p', '{daemon_id}'),
        ('steadytext_rate_limits', 'steadytext_rate_limits_pkey', 'p', '{user_id}'),
        ('steadytext_audit_log', 'steadytext_audit_log_pkey', 'p', '{id}'),
        ('steadytext_prompts', 'steadytext_prompts_pkey', 'p', '{id}'), ('steadytext_prompts', 'steadytext_prompts_slug_key', 'u', '{slug}'),
        ('steadytext_prompt_versions', 'steadytext_prompt_versions_pkey', 'p', '{id}'),
        ('steadytext_prompt_versions', 'steadytext_prompt_versions_prompt_id_version_key', 'u', '{prompt_id,version}')),
    original_references AS (
        SELECT c.oid FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
        WHERE c.contype = 'f' AND c.conname = 'steadytext_prompt_versions_prompt_id_fkey' AND a.attname = 'prompt_id' AND c.confdeltype = 'c'
          AND NOT c.condeferrable AND c.convalidated AND c.conrelid = to_regclass('public.steadytext_prompt_versions')
          AND c.confrelid = to_regclass('public.steadytext_prompts')
          AND c.confkey = ARRAY(SELECT k.attnum FROM pg_attribute k WHERE k.attrelid = c.confrelid AND k.attname = 'id')),
    keys AS (
        SELECT c.oid, t.name AS table_name, c.conname::text AS name, c.contype::text AS kind, c.conindid,
               ARRAY(SELECT a.attname::text FROM unnest(c.conkey) k JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k)::text AS columns
        FROM tables t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype IN ('p', 'u') AND NOT c.condeferrable),
    -- The update drops these without looking into them, and a fresh installation's are made anew.
    passing (name) AS (VALUES
        ('steadytext_cache_model_size_check'), ('steadytext_queue_request_type_check'), ('steadytext_queue_priority_check'),
        ('steadytext_queue_status_check'), ('steadytext_daemon_health_status_check'),
        ('idx_steadytext_cache_key'), ('idx_steadytext_cache_last_accessed'), ('idx_steadytext_cache_access_count'),
        ('idx_steadytext_queue_status_priority_created'), ('idx_steadytext_queue_request_id'), ('idx_steadytext_queue_user_created'),
        ('idx_steadytext_queue_session'), ('idx_steadytext_audit_timestamp'), ('idx_steadytext_audit_user'),
        ('steadytext_prompts_slug_check'), ('steadytext_prompts_description_check'), ('steadytext_prompt_versions_version_check'),
        ('steadytext_prompt_versions_template_check'), ('idx_steadytext_prompts_slug'), ('idx_steadytext_prompts_created_at'),
        ('idx_steadytext_prompt_versions_prompt_id_active'), ('idx_steadytext_prompt_versions_created_at')),
    findings (said, remedy) AS (
        SELECT format('public.%s is not the table that the original made', t.name), NULL
        FROM tables t LEFT JOIN pg_class c ON c.oid = t.oid
        WHERE c.relkind IS DISTINCT FROM 'r' OR NOT EXISTS (SELECT FROM members WHERE classid = 'pg_class'::regclass AND objid = t.oid)
        UNION ALL
        SELECT format('column %I of table %s is not as the original made it', a.attname, t.oid::regclass),
               CASE WHEN u.name IS NULL THEN format('ALTER TABLE %s DROP COLUMN %I', t.oid::regclass, a.attname) END
        FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN upgrade_columns u ON u.table_name = t.name AND u.name = a.attname
        WHERE a.attgenerated <> '' OR a.attidentity <> '' OR a.attcollation NOT IN (0, 100)
           OR (u.type IS DISTINCT FROM a.atttypid
               -- These columns are read by their numbers.
               OR (t.name = 'steadytext_config' OR t.name = 'steadytext_rate_limits' AND u.place <= 4) AND u.place <> a.attnum)
        UNION ALL
        SELECT format('column %I of table public.%s is missing', u.name, u.table_name), NULL
        FROM upgrade_columns u JOIN tables t ON t.name = u.table_name
        WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attname = u.name AND NOT a.attisdropped)
        UNION ALL
        SELECT format('sequence public.%s_id_seq does not belong to column id of its table', t.name), NULL
        FROM tables t
        WHERE t.name IN ('steadytext_cache', 'steadytext_queue', 'steadytext_audit_log') AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'
              AND d.objid = to_regclass(format('public.%s_id_seq', t.name)) AND d.refobjid = t.oid AND a.attname = 'id')
        UNION ALL
        SELECT format('constraint %I of table public.%s is missing', o.name, o.table_name),
               format('ALTER TABLE public.%s ADD CONSTRAINT %I %s (%s)', o.table_name, o.name,
                      CASE o.kind WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, trim(o.columns, '{}'))
        FROM original_keys o WHERE (o.table_name, o.name, o.kind, o.columns) NOT IN (SELECT table_name, name, kind, columns FROM keys)
        UNION ALL
        SELECT format('constraint %I of table %s', c.conname, c.conrelid::regclass),
               format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
        FROM pg_constraint c JOIN tables t ON t.oid = c.conrelid
        WHERE c.contype <> 'n' AND NOT (c.contype = 'c' AND c.conname IN (SELECT name FROM passing))
          AND c.oid NOT IN (SELECT k.oid FROM keys k JOIN original_keys USING (table_name, name, kind, columns) UNION SELECT oid FROM original_references)
        UNION ALL
        SELECT format('foreign key %I of table %s refers to table %s', c.conname, c.conrelid::regclass, c.confrelid::regclass),
               format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
        FROM pg_constraint c JOIN tables t ON t.oid = c.confrelid AND c.conrelid <> c.confrelid AND c.oid NOT IN (SELECT oid FROM original_references)
        UNION ALL
        SELECT format('trigger %I on table %s', g.tgname, t.oid::regclass), format('DROP TRIGGER %I ON %s', g.tgname, t.oid::regclass)
        FROM pg_trigger g JOIN tables t ON t.oid = g.tgrelid WHERE NOT g.tgisinternal
        UNION ALL
        SELECT format('rule %I on table %s', r.rulename, t.oid::regclass), format('DROP RULE %I ON %s', r.rulename, t.oid::regclass)
        FROM pg_rewrite r JOIN tables t ON t.oid = r.ev_class
        UNION ALL
        SELECT format('policy %I on table %s', p.polname, t.oid::regclass), format('DROP POLICY %I ON %s', p.polname, t.oid::regclass)
        FROM pg_policy p JOIN tables t ON t.oid = p.polrelid
        UNION ALL
        SELECT format('table %s inherits from table %s', i.inhrelid::regclass, i.inhparent::regclass),
               format('ALTER TABLE %s NO INHERIT %s', i.inhrelid::regclass, i.inhparent::regclass)
        FROM pg_inherits i WHERE i.inhrelid IN (SELECT oid FROM tables) OR i.inhparent IN (SELECT oid FROM tables)
        UNION ALL
        -- Indexes of plain columns with PostgreSQL's own operators may stay.
        SELECT format('index %s on table %s', i.indexrelid::regclass, t.oid::regclass), format('DROP INDEX %s', i.indexrelid::regclass)
        FROM pg_index i JOIN tables t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
        WHERE i.indexrelid NOT IN (SELECT conindid FROM keys) AND c.relname <> 'idx_steadytext_prompt_versions_prompt_id_active'
          AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR i.indisunique
               OR EXISTS (SELECT FROM unnest(i.indclass) used JOIN pg_opclass o ON o.oid = used WHERE o.opcnamespace <> 'pg_catalog'::regnamespace))
        UNION ALL
        SELECT format('statistics %I.%I on table %s', s.stxnamespace::regnamespace, s.stxname, t.oid::regclass),
               format('DROP STATISTICS %s.%I', s.stxnamespace::regnamespace, s.stxname)
        FROM pg_statistic_ext s JOIN tables t ON t.oid = s.stxrelid WHERE s.stxexprs IS NOT NULL
        UNION ALL
        SELECT 'schema _steadytext', 'ALTER SCHEMA _steadytext RENAME TO not_steadytext' WHERE to_regnamespace('_steadytext') IS NOT NULL
        UNION ALL
        SELECT format('function %s', p.oid::regprocedure), format('DROP ROUTINE %s', p.oid::regprocedure)
        FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.proname IN (SELECT name FROM made WHERE kind = 'FUNCTION')
          AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
        UNION ALL
        SELECT format('%s %s', kind, c.oid::regclass), format('DROP %s %s', upper(kind), c.oid::regclass)
        FROM pg_class c, LATERAL (SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
            WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'table' END) k (kind)
        WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN (SELECT name FROM taken)
          AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_class'::regclass AND objid = c.oid)
          AND NOT EXISTS (SELECT FROM pg_index i JOIN tables t ON t.oid = i.indrelid JOIN passing p ON p.name = c.relname WHERE i.indexrelid = c.oid)
        UNION ALL
        SELECT format('type %s', y.oid::regtype), format('DROP TYPE %s', y.oid::regtype)
        FROM pg_type y
        WHERE y.typnamespace = 'public'::regnamespace AND y.typname IN (SELECT name FROM taken) AND y.typrelid = 0
          AND (y.typelem = 0 OR y.typtype <> 'b'))
    -- A name may have lines of its own: it is shown, but in no statement.
    SELECT count(*), string_agg(regexp_replace(f.said, control, '?', 'g'), '; ' ORDER BY f.place) FILTER (WHERE f.place <= 50),
           string_agg(CASE WHEN f.remedy ~ control THEN '-- (? is a control character) ' || regexp_replace(f.remedy, control, '?', 'g')
                           ELSE f.remedy || ';' END, E'\n' ORDER BY f.place) FILTER (WHERE f.place <= 50)
    INTO many, what, remedies
    FROM (SELECT *, row_number() OVER (ORDER BY said) AS place FROM findings) f;
    IF many > 0 THEN
        RAISE EXCEPTION 'the original''s tables, or names that pg_steadytext needs, have % objects that are not the original''s', many
            USING ERRCODE = '55000', DETAIL = what || CASE WHEN many > 50 THEN '; ...' ELSE '.' END,
            HINT = concat('They would be run, or taken for the extension''s own. Look at each; drop or rename it, and make it again afterwards',
                          E' if it is wanted:\n' || remedies);
    END IF;
END
$$;
