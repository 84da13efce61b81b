-- From the PL/Python original (2025.11.25) to this version, in place. The Makefile puts pg_steadytext.sql where the line with the arrow
-- is, with CREATE made to spare what is there; so there is one source of every definition. t/135_upgrade.pl holds the result against a
-- fresh installation.
--
-- Tables keep their rows and what depends on them; functions keep their names, arguments and results, so views, generated columns and
-- indexes over them stay. What the original has and this version has not (prompts, summaries, facts) stays as it was, in Python.
\echo Use "ALTER EXTENSION pg_steadytext UPDATE" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- The original let everybody read and change its tables, other people's prompts and the daemon's address among them.
REVOKE ALL ON public.steadytext_cache, public.steadytext_queue, public.steadytext_config, public.steadytext_daemon_health,
    public.steadytext_rate_limits, public.steadytext_audit_log, public.steadytext_prompts, public.steadytext_prompt_versions FROM PUBLIC;
REVOKE ALL ON SEQUENCE public.steadytext_cache_id_seq, public.steadytext_queue_id_seq, public.steadytext_audit_log_id_seq FROM PUBLIC;

-- Its columns are those of the table and one more at the end; the new one has new columns in between.
DROP VIEW public.steadytext_cache_with_frecency;

-- ---- steadytext_config: the original stored every value that was set as a string -------------------------------------------

UPDATE public.steadytext_config SET value = (value #>> '{}')::jsonb
WHERE key IN ('daemon_port', 'cache_enabled', 'cache_eviction_enabled', 'cache_max_entries', 'cache_max_size_mb', 'default_max_tokens',
              'default_seed', 'daemon_auto_start')
  AND jsonb_typeof(value) = 'string' AND value #>> '{}' ~ '^(-?(0|[1-9][0-9]*)(\.[0-9]+)?|true|false)$';

-- ---- steadytext_cache ------------------------------------------------------------------------------------------------

DROP INDEX public.idx_steadytext_cache_key;
DROP INDEX public.idx_steadytext_cache_last_accessed;
DROP INDEX public.idx_steadytext_cache_access_count;
ALTER TABLE public.steadytext_cache RENAME CONSTRAINT steadytext_cache_cache_key_key TO idx_steadytext_cache_key;
ALTER TABLE public.steadytext_cache
    ALTER embedding TYPE public.vector,
    ADD operation text,
    ADD scope text,
    ADD fingerprint text,
    ADD prompt_tokens int,
    ADD completion_tokens int,
    ADD finish_reason text,
    ADD expires_at timestamptz,
    ADD entry_bytes int GENERATED ALWAYS AS (
        160 + octet_length(cache_key) + octet_length(prompt) + coalesce(octet_length(response), 0)
        + coalesce(8 + 4 * public.vector_dims(embedding), 0)) STORED,
    ADD frecency_rank float8 GENERATED ALWAYS AS (
        CASE WHEN access_count > 0 AND last_accessed IS NOT NULL
             THEN ln(access_count::float8) + CASE WHEN isfinite(last_accessed)
                  THEN extract(epoch FROM last_accessed AT TIME ZONE 'UTC')::float8 / 86400 ELSE 0 END
             ELSE '-infinity' END) STORED;

-- ---- steadytext_queue ------------------------------------------------------------------------------------------------
-- The original did not write down who made a call; such rows are the owner's. What its worker had begun begins anew.

DROP INDEX public.idx_steadytext_queue_status_priority_created;
DROP INDEX public.idx_steadytext_queue_request_id;
DROP INDEX public.idx_steadytext_queue_user_created;
DROP INDEX public.idx_steadytext_queue_session;
UPDATE public.steadytext_queue SET
    request_id = coalesce(request_id, gen_random_uuid()),
    priority = coalesce(priority, 5),
    user_id = coalesce(user_id, (SELECT relowner::regrole::text FROM pg_class WHERE oid = 'public.steadytext_queue'::regclass)),
    status = CASE WHEN status IS NULL OR status = 'processing' THEN 'pending' ELSE status END,
    started_at = CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN started_at END,
    completed_at = CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN coalesce(completed_at, created_at, now()) END,
    created_at = coalesce(created_at, now()),
    retry_count = coalesce(retry_count, 0),
    max_retries = greatest(coalesce(max_retries, 3), 0);
ALTER TABLE public.steadytext_queue
    DROP CONSTRAINT steadytext_queue_request_type_check,
    ADD CONSTRAINT steadytext_queue_request_type_check CHECK (request_type IN (
        'generate', 'generate_json', 'generate_regex', 'generate_choice', 'batch_generate', 'embed', 'batch_embed', 'rerank', 'batch_rerank')),
    ADD CONSTRAINT steadytext_queue_max_retries_check CHECK (max_retries >= 0),
    ALTER id TYPE bigint,
    ALTER request_id SET NOT NULL,
    ALTER request_type SET NOT NULL,
    ALTER priority SET NOT NULL,
    ALTER user_id SET NOT NULL, ALTER user_id SET DEFAULT current_user,
    ALTER status SET NOT NULL,
    ALTER embedding TYPE public.vector,
    ALTER embeddings TYPE public.vector[],
    ALTER created_at SET NOT NULL,
    ALTER retry_count SET NOT NULL,
    ALTER max_retries SET NOT NULL,
    ADD callback text,
    ADD callback_error text,
    ADD run_at timestamptz NOT NULL DEFAULT now(),
    ADD worker_pid int,
    ADD lease_until timestamptz,
    ADD lost_count int NOT NULL DEFAULT 0,
    SET (fillfactor = 50);
ALTER TABLE public.steadytext_queue
    ADD rank float8 NOT NULL GENERATED ALWAYS AS (priority - extract(epoch FROM run_at AT TIME ZONE 'UTC')::float8 / 60) STORED;
ALTER SEQUENCE public.steadytext_queue_id_seq AS bigint;

-- ---- steadytext_audit_log ----------------------------------------------------------------------------------------------

DROP INDEX public.idx_steadytext_audit_timestamp;
DROP INDEX public.idx_steadytext_audit_user;

-- ---- everything else -----------------------------------------------------------------------------------------------------

-- <=== pg_steadytext.sql

-- What the triggers would have counted.
INSERT INTO _steadytext.cache_ledger SELECT count(*), coalesce(sum(entry_bytes), 0) FROM public.steadytext_cache;

SELECT _steadytext.queue_look();

-- Daemons are a setting of the server now, which no script may change.
DO $$
DECLARE
    address text := format('tcp://%s:%s', _steadytext.config_get('daemon_host'), _steadytext.config_get('daemon_port'));
BEGIN
    IF current_setting('steadytext.daemons', true) = '' AND current_setting('steadytext.embedded_model', true) = '' THEN
        RAISE WARNING 'no daemon is configured: steadytext_config named %', address
            USING HINT = format('To go on with it: SELECT steadytext_daemon_register(%L).', address);
    END IF;
END
$$;
