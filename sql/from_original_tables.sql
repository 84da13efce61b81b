-- What becomes of the original's tables: their rights, columns and rows. The Makefile puts it into from_original.sql.

-- ---- tables that everybody could write ------------------------------------------------------------------------------
-- The original let everybody read and change its tables, with other roles' prompts and the daemon's address. If an
-- administrator took that right back before the update, the rows come from roles that the administrator let write.

CREATE TEMP TABLE upgrade_everybodys AS
SELECT c.relname::text AS table_name FROM pg_class c
WHERE c.oid IN (SELECT to_regclass('public.' || table_name) FROM upgrade_columns)
  AND (has_any_column_privilege('public', c.oid, 'INSERT, UPDATE') OR has_table_privilege('public', c.oid, 'DELETE, TRUNCATE'));

-- upgrade_taken: rows that are taken out of a table; they end in the audit log. upgrade_counts: numbers of rows that
-- are kept or changed, for the warning.
CREATE TEMP TABLE upgrade_taken (table_name text, reason text, was jsonb);
CREATE TEMP TABLE upgrade_counts (place int, said text, rows bigint);

-- Takes back every grant option, with the grants that came of it. Takes back TRIGGER and REFERENCES: with these a role
-- could have its own code run by each role that writes.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e'),
        granted (object, owner, acl) AS (
            SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass, c.relowner, l.acl
            FROM members JOIN pg_class c ON classid = 'pg_class'::regclass AND c.oid = objid,
                 LATERAL (SELECT c.relacl UNION ALL SELECT a.attacl FROM pg_attribute a WHERE a.attrelid = c.oid) l (acl)
            UNION ALL
            SELECT 'ROUTINE ' || p.oid::regprocedure, p.proowner, p.proacl
            FROM members JOIN pg_proc p ON classid = 'pg_proc'::regclass AND p.oid = objid)
        SELECT DISTINCT format('REVOKE %s ON %s FROM %s CASCADE', w.what, g.object, x.grantee::regrole)
        FROM granted g, aclexplode(g.acl) x,
             LATERAL (SELECT 'GRANT OPTION FOR ALL' WHERE x.is_grantable
                      UNION ALL SELECT x.privilege_type WHERE x.privilege_type IN ('TRIGGER', 'REFERENCES')) w (what)
        WHERE x.grantee NOT IN (0, g.owner)
    LOOP
        EXECUTE command;
    END LOOP;
    FOR command IN
        SELECT format('ALTER ROUTINE %s OWNER TO CURRENT_USER', p.oid::regprocedure)
        FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
        WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
          AND p.proowner <> current_user::regrole
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;
REVOKE ALL ON public.steadytext_cache, public.steadytext_queue, public.steadytext_config, public.steadytext_daemon_health,
    public.steadytext_rate_limits, public.steadytext_audit_log, public.steadytext_prompts, public.steadytext_prompt_versions FROM PUBLIC;
REVOKE ALL ON SEQUENCE public.steadytext_cache_id_seq, public.steadytext_queue_id_seq, public.steadytext_audit_log_id_seq FROM PUBLIC;

-- ---- all tables -----------------------------------------------------------------------------------------------------
-- Defaults, checks and row security become like in a fresh installation; the old expressions are not evaluated any
-- more.

DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        SELECT format('ALTER TABLE public.%I ALTER %I %s', u.table_name, u.name, coalesce('SET DEFAULT ' || u.initial, 'DROP DEFAULT'))
        FROM upgrade_columns u
        UNION ALL
        SELECT DISTINCT format('ALTER TABLE public.%I DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', table_name) FROM upgrade_columns
        UNION ALL
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
        FROM pg_constraint c
        WHERE c.contype = 'c' AND c.conrelid IN (SELECT to_regclass('public.' || table_name) FROM upgrade_columns)
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

-- A row may have any number as its id. An id that the sequence cannot have given becomes a new id, and the sequence
-- goes on after the highest id.
DO $$
DECLARE
    name text;
    moved bigint;
BEGIN
    FOREACH name IN ARRAY ARRAY['steadytext_cache', 'steadytext_queue', 'steadytext_audit_log'] LOOP
        EXECUTE format($f$
            WITH odd AS (SELECT id, row_number() OVER (ORDER BY id) AS n FROM public.%1$I WHERE id NOT BETWEEN 1 AND 1000000000),
            free AS (SELECT g AS id, row_number() OVER (ORDER BY g) AS n
                     FROM (SELECT coalesce(max(id), 0) AS last FROM public.%1$I WHERE id BETWEEN 1 AND 1000000000) l,
                          generate_series(l.last + 1, l.last + 2 * (SELECT count(*) FROM odd)) g
                     WHERE NOT EXISTS (SELECT FROM public.%1$I t WHERE t.id = g))
            UPDATE public.%1$I t SET id = free.id FROM odd JOIN free USING (n) WHERE t.id = odd.id$f$, name);
        GET DIAGNOSTICS moved = ROW_COUNT;
        IF moved > 0 THEN
            INSERT INTO upgrade_counts VALUES (9, format('%s rows of %s have new ids', moved, name), moved);
        END IF;
        EXECUTE format($f$
            SELECT setval('public.%1$s_id_seq', greatest(t.last, s.last, 1), t.last IS NOT NULL OR s.is_called)
            FROM (SELECT max(id)::bigint AS last FROM public.%1$I) t,
                 (SELECT CASE WHEN last_value BETWEEN 1 AND 1000000000 THEN last_value END AS last, is_called FROM public.%1$I_id_seq) s$f$, name);
        EXECUTE format('ALTER SEQUENCE public.%I_id_seq AS bigint INCREMENT 1 MINVALUE 1 NO MAXVALUE START 1 CACHE 1 NO CYCLE', name);
    END LOOP;
END
$$;

-- ---- steadytext_config ----------------------------------------------------------------------------------------------
-- The table starts like a fresh table. At the end the old values are put back, as far as they are valid.

CREATE TEMP TABLE upgrade_config AS SELECT key, value, description, updated_at, updated_by FROM public.steadytext_config;
DELETE FROM public.steadytext_config;

-- ---- steadytext_cache -----------------------------------------------------------------------------------------------
-- The old view has the table's columns, then the score. The new view has more columns before the score, so it cannot
-- replace the old view.
DROP VIEW public.steadytext_cache_with_frecency;

DROP INDEX IF EXISTS public.idx_steadytext_cache_key, public.idx_steadytext_cache_last_accessed, public.idx_steadytext_cache_access_count;
ALTER TABLE public.steadytext_cache RENAME CONSTRAINT steadytext_cache_cache_key_key TO idx_steadytext_cache_key;

-- Corrects times that would keep a row from ever being evicted, and sizes that the new check refuses.
UPDATE public.steadytext_cache SET
    created_at = greatest(least(created_at, now()), 'epoch'),
    last_accessed = least(last_accessed, now()),
    model_size = CASE WHEN model_size IN ('small', 'medium', 'large') THEN model_size END
WHERE created_at IS NULL OR created_at > now() OR created_at < 'epoch' OR last_accessed > now()
   OR model_size NOT IN ('small', 'medium', 'large');

-- An answer that any role may have written answers nobody. The mark is the column's default for a moment, so no row is
-- rewritten for it.
DO $$
BEGIN
    EXECUTE format('ALTER TABLE public.steadytext_cache ADD operation text, ADD scope text, ADD fingerprint text DEFAULT %L',
                   (SELECT 'untrusted' FROM upgrade_everybodys WHERE table_name = 'steadytext_cache'));
    ALTER TABLE public.steadytext_cache ALTER fingerprint DROP DEFAULT;
    INSERT INTO upgrade_counts
        SELECT 1, format('%s cached answers are kept but not served', count(*)), count(*)
        FROM public.steadytext_cache WHERE fingerprint IS NOT NULL HAVING count(*) > 0;
END
$$;
ALTER TABLE public.steadytext_cache
    ADD CONSTRAINT steadytext_cache_model_size_check CHECK (model_size IN ('small', 'medium', 'large')),
    ALTER cache_key SET NOT NULL,
    ALTER prompt SET NOT NULL,
    ALTER created_at SET NOT NULL,
    ALTER model_name SET NOT NULL,
    ALTER embedding TYPE public.vector,
    ALTER id TYPE bigint,
    ADD prompt_tokens int,
    ADD completion_tokens int,
    ADD finish_reason text,
    ADD expires_at timestamptz,
    ADD entry_bytes int GENERATED ALWAYS AS (least(
        160::bigint + octet_length(cache_key) + octet_length(prompt) + coalesce(octet_length(response), 0)
        + coalesce(8 + 4 * public.vector_dims(embedding), 0), 2147483647)) STORED,
    ADD frecency_rank float8 GENERATED ALWAYS AS (
        CASE WHEN access_count > 0 AND last_accessed IS NOT NULL
             THEN ln(access_count::float8) + CASE WHEN isfinite(last_accessed)
                  THEN extract(epoch FROM last_accessed AT TIME ZONE 'UTC')::float8 / 86400 ELSE 0 END
             ELSE '-infinity' END) STORED;

-- ---- steadytext_queue -----------------------------------------------------------------------------------------------
-- The original did not record the role that made a call: any text may be in user_id. If everybody could write the
-- table, no row belongs to a caller, and waiting calls are cancelled. Else rows without a name belong to the owner, and
-- calls that the original's worker had begun start anew.

DROP INDEX IF EXISTS public.idx_steadytext_queue_status_priority_created, public.idx_steadytext_queue_request_id,
    public.idx_steadytext_queue_user_created, public.idx_steadytext_queue_session;
INSERT INTO upgrade_counts
    SELECT CASE WHEN ended THEN 3 ELSE 2 END,
           format(CASE WHEN ended THEN '%s finished calls of steadytext_queue are kept, but are nobody''s'
                       ELSE '%s queued calls are cancelled' END, count(*)), count(*)
    FROM (SELECT coalesce(status IN ('completed', 'failed', 'cancelled'), false) AS ended FROM public.steadytext_queue) q
    WHERE EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_queue')
    GROUP BY ended;
UPDATE public.steadytext_queue q SET
    request_id = CASE WHEN n.copy = 1 AND q.request_id IS NOT NULL THEN q.request_id ELSE gen_random_uuid() END,
    request_type = CASE WHEN n.is_known THEN q.request_type ELSE 'generate' END,
    priority = least(greatest(coalesce(q.priority, 5), 1), 10),
    user_id = CASE WHEN n.untrusted OR octet_length(q.user_id) > 63 THEN 'steadytext_owner' ELSE coalesce(q.user_id, 'steadytext_owner') END,
    session_id = left(q.session_id, 63),
    status = CASE WHEN n.ended THEN q.status WHEN n.cancel THEN 'cancelled' ELSE 'pending' END,
    error = CASE WHEN n.cancel THEN
                'cancelled by the update of pg_steadytext: '
                || CASE WHEN n.untrusted THEN 'everybody could write this table, so nobody knows who made the call' ELSE 'there is no such type of request' END
            ELSE q.error END,
    created_at = greatest(least(q.created_at, now()), 'epoch'),
    started_at = CASE WHEN n.ended AND q.started_at IS NOT NULL THEN greatest(least(q.started_at, now()), 'epoch') END,
    completed_at = CASE WHEN n.ended THEN greatest(least(coalesce(q.completed_at, q.created_at), now()), 'epoch')
                        WHEN n.cancel THEN now() END,
    processing_time_ms = greatest(q.processing_time_ms, 0),
    retry_count = least(greatest(coalesce(q.retry_count, 0), 0), 1000),
    max_retries = least(greatest(coalesce(q.max_retries, 3), 0), 1000)
FROM (SELECT e.*, NOT e.ended AND (e.untrusted OR NOT e.is_known) AS cancel
      FROM (SELECT id, row_number() OVER (PARTITION BY request_id ORDER BY id) AS copy,
                   coalesce(status IN ('completed', 'failed', 'cancelled'), false) AS ended,
                   coalesce(request_type IN ('generate', 'embed', 'batch_embed', 'rerank', 'batch_rerank'), false) AS is_known,
                   EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_queue') AS untrusted
            FROM public.steadytext_queue) e) n
WHERE n.id = q.id;
ALTER TABLE public.steadytext_queue
    ADD CONSTRAINT steadytext_queue_request_type_check CHECK (request_type IN (
        'generate', 'generate_json', 'generate_regex', 'generate_choice', 'batch_generate', 'embed', 'batch_embed', 'rerank', 'batch_rerank')),
    ADD CONSTRAINT steadytext_queue_priority_check CHECK (priority BETWEEN 1 AND 10),
    ADD CONSTRAINT steadytext_queue_status_check CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    ADD CONSTRAINT steadytext_queue_max_retries_check CHECK (max_retries >= 0),
    ALTER id TYPE bigint,
    ALTER request_id SET NOT NULL,
    ALTER request_type SET NOT NULL,
    ALTER priority SET NOT NULL,
    ALTER user_id SET NOT NULL,
    ALTER status SET NOT NULL,
    ALTER embedding TYPE public.vector,
    ALTER embeddings TYPE public.vector[],
    ALTER created_at SET NOT NULL,
    ALTER retry_count SET NOT NULL,
    ALTER max_retries SET NOT NULL,
    ADD callback text,
    ADD callback_error text,
    ADD callback_state text CHECK (callback_state IN ('due', 'running', 'done', 'failed', 'held')),
    ADD callback_began timestamptz,
    ADD callback_tries int NOT NULL DEFAULT 0,
    ADD callback_pid int,
    ADD run_at timestamptz NOT NULL DEFAULT now(),
    ADD worker_pid int,
    ADD lease_until timestamptz,
    ADD lost_count int NOT NULL DEFAULT 0,
    ADD kill_count int NOT NULL DEFAULT 0,
    ADD user_oid regrole,  -- NULL until the names are known to be true: see the end
    ADD session_user_oid regrole CONSTRAINT steadytext_queue_session_user_oid_check CHECK (session_user_oid IS NOT NULL OR user_oid IS NULL),
    ALTER user_oid SET DEFAULT quote_ident(current_user)::regrole,
    ALTER session_user_oid SET DEFAULT quote_ident(session_user)::regrole,
    SET (fillfactor = 50);
ALTER TABLE public.steadytext_queue
    ADD rank float8 NOT NULL GENERATED ALWAYS AS (priority - extract(epoch FROM run_at AT TIME ZONE 'UTC')::float8 / 60) STORED;

-- ---- steadytext_daemon_health ---------------------------------------------------------------------------------------
-- The keeper writes it anew.

DELETE FROM public.steadytext_daemon_health;
ALTER TABLE public.steadytext_daemon_health
    ALTER endpoint SET NOT NULL,
    ADD CONSTRAINT steadytext_daemon_health_status_check CHECK (status IN ('healthy', 'unhealthy', 'starting', 'stopping', 'unknown'));

-- ---- steadytext_rate_limits -----------------------------------------------------------------------------------------
-- The original never read this table, but this version does. If any role may have written a limit, it is removed. A
-- limit with a name that is too long for a role is removed too: cut to the length of a name, it would be another role's
-- name.

WITH gone AS (
    DELETE FROM public.steadytext_rate_limits
    WHERE octet_length(user_id) > 63 OR EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_rate_limits')
    RETURNING *)
INSERT INTO upgrade_taken
    SELECT 'steadytext_rate_limits', 'everybody could write it, or it is no name of a role',
           jsonb_build_object('user_id', left(user_id, 100), 'requests_per_minute', requests_per_minute,
                              'requests_per_hour', requests_per_hour, 'requests_per_day', requests_per_day)
    FROM gone;
UPDATE public.steadytext_rate_limits SET
    requests_per_minute = greatest(requests_per_minute, 0), requests_per_hour = greatest(requests_per_hour, 0),
    requests_per_day = greatest(requests_per_day, 0)
WHERE least(requests_per_minute, requests_per_hour, requests_per_day) < 0;
ALTER TABLE public.steadytext_rate_limits
    ADD CONSTRAINT steadytext_rate_limits_user_id_check CHECK (octet_length(user_id) <= 63),
    ADD CONSTRAINT steadytext_rate_limits_requests_per_minute_check CHECK (requests_per_minute >= 0),
    ADD CONSTRAINT steadytext_rate_limits_requests_per_hour_check CHECK (requests_per_hour >= 0),
    ADD CONSTRAINT steadytext_rate_limits_requests_per_day_check CHECK (requests_per_day >= 0);

-- ---- steadytext_audit_log -------------------------------------------------------------------------------------------
-- Any role may have written or changed any row, if everybody could write the table: then each row is marked
-- before_upgrade.

DROP INDEX IF EXISTS public.idx_steadytext_audit_timestamp, public.idx_steadytext_audit_user;
WITH marked AS (
    UPDATE public.steadytext_audit_log SET
        event_type = left(event_type, 255),
        user_id = CASE WHEN octet_length(user_id) > 63 THEN left(user_id, 60) || '...' ELSE user_id END,
        details = CASE WHEN details IS NULL THEN '{}'
                       WHEN pg_column_size(details) > 100000 THEN jsonb_build_object('too_large', pg_column_size(details))
                       WHEN jsonb_typeof(details) = 'object' THEN details
                       ELSE jsonb_build_object('details', details) END
                  || '{"before_upgrade": true}'
                  || CASE WHEN created_at BETWEEN 'epoch' AND now() THEN '{}' ELSE jsonb_build_object('created_at', created_at::text) END,
        created_at = greatest(least(created_at, now()), 'epoch')
    WHERE EXISTS (SELECT FROM upgrade_everybodys WHERE table_name = 'steadytext_audit_log')
    RETURNING 1)
INSERT INTO upgrade_counts
    SELECT 8, format('%s rows of steadytext_audit_log are marked before_upgrade', count(*)), count(*) FROM marked HAVING count(*) > 0;
ALTER TABLE public.steadytext_audit_log ALTER event_type SET NOT NULL, ALTER id TYPE bigint;

-- ---- steadytext_prompts, steadytext_prompt_versions -------------------------------------------------------------------
-- A prompt that everybody could write is kept, but is answered by no call that names no version of it.

DROP INDEX IF EXISTS public.idx_steadytext_prompts_slug, public.idx_steadytext_prompts_created_at,
    public.idx_steadytext_prompt_versions_prompt_id_active, public.idx_steadytext_prompt_versions_created_at;
UPDATE public.steadytext_prompts SET
    created_at = greatest(least(coalesce(created_at, now()), now()), 'epoch'), updated_at = greatest(least(coalesce(updated_at, now()), now()), 'epoch'),
    created_by = left(coalesce(created_by, current_user), 63), updated_by = left(coalesce(updated_by, current_user), 63);
UPDATE public.steadytext_prompt_versions v SET
    created_at = greatest(least(coalesce(created_at, now()), now()), 'epoch'), created_by = left(coalesce(created_by, current_user), 63),
    is_active = coalesce(is_active, false)
        AND NOT EXISTS (SELECT FROM upgrade_everybodys WHERE table_name IN ('steadytext_prompts', 'steadytext_prompt_versions'))
        AND NOT EXISTS (SELECT FROM public.steadytext_prompt_versions later WHERE later.prompt_id = v.prompt_id AND later.is_active AND later.version > v.version);
INSERT INTO upgrade_counts
    SELECT 7, format('%s prompts have no active version', count(*)), count(*) FROM public.steadytext_prompts
    WHERE EXISTS (SELECT FROM upgrade_everybodys WHERE table_name IN ('steadytext_prompts', 'steadytext_prompt_versions')) HAVING count(*) > 0;
ALTER TABLE public.steadytext_prompts
    ADD CONSTRAINT steadytext_prompts_slug_check CHECK (slug ~ '^[a-z0-9]+(?:-[a-z0-9]+)*$' AND length(slug) BETWEEN 3 AND 100),
    ADD CONSTRAINT steadytext_prompts_description_check CHECK (length(description) <= 500),
    ALTER slug SET NOT NULL, ALTER created_at SET NOT NULL, ALTER created_by SET NOT NULL, ALTER updated_at SET NOT NULL, ALTER updated_by SET NOT NULL;
ALTER TABLE public.steadytext_prompt_versions
    DROP CONSTRAINT IF EXISTS steadytext_prompt_versions_prompt_id_fkey,
    ADD CONSTRAINT steadytext_prompt_versions_version_check CHECK (version > 0),
    ADD CONSTRAINT steadytext_prompt_versions_template_check CHECK (length(template) > 0),
    ALTER prompt_id SET NOT NULL, ALTER version SET NOT NULL, ALTER template SET NOT NULL, ALTER created_at SET NOT NULL, ALTER created_by SET NOT NULL,
    ALTER is_active SET NOT NULL;
