-- Metrics, health and incidents.

-- Each incident, and the time when it was over. The keeper writes the rows.
CREATE TABLE public.steadytext_incidents (
    id bigserial PRIMARY KEY,
    condition text NOT NULL,
    subject text NOT NULL DEFAULT '',
    severity text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    value float8 NOT NULL,
    response text
);
CREATE UNIQUE INDEX steadytext_incidents_open ON public.steadytext_incidents (condition, subject) WHERE closed_at IS NULL;
COMMENT ON TABLE public.steadytext_incidents IS
    'What went wrong with the whole server, as each database with calls heard of it; subject is a daemon or empty. docs/runbooks.md says what to do.';
COMMENT ON COLUMN public.steadytext_incidents.value IS 'What the condition measured when the incident opened.';
COMMENT ON COLUMN public.steadytext_incidents.response IS 'What was done about it automatically (steadytext.incident_*).';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_incidents', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_incidents_id_seq', '');

CREATE FUNCTION public.steadytext_metrics()
RETURNS TABLE (name text, labels jsonb, value float8)
AS 'MODULE_PATHNAME', 'steadytext_metrics' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION public.steadytext_metrics() IS
    'Counters, gauges and histograms of the whole server since steadytext_stat_reset(); times in seconds.';
REVOKE ALL ON FUNCTION public.steadytext_metrics() FROM PUBLIC;

CREATE FUNCTION public.steadytext_prometheus() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_prometheus' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_prometheus() IS
    'What steadytext_metrics() shows in Prometheus''s text format, version 0.0.4.';
REVOKE ALL ON FUNCTION public.steadytext_prometheus() FROM PUBLIC;

CREATE FUNCTION public.steadytext_response_times()
RETURNS TABLE (finished_at timestamptz, operation text, response_time_ms float8, success boolean)
AS 'MODULE_PATHNAME', 'steadytext_response_times' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION public.steadytext_response_times() IS
    'The last 1000 calls of the whole server, latest first; success: a real answer, from a daemon or the cache.';
REVOKE ALL ON FUNCTION public.steadytext_response_times() FROM PUBLIC;

CREATE FUNCTION _steadytext.stat_statements()
RETURNS TABLE (userid oid, dbid oid, queryid bigint, model text, operation text, calls bigint, hits bigint, failures bigint,
               limited bigint, total_time float8, min_time float8, max_time float8, mean_time float8, prompt_tokens bigint,
               completion_tokens bigint, saved_tokens bigint)
AS 'MODULE_PATHNAME', 'steadytext_stat_statements' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;
REVOKE ALL ON FUNCTION _steadytext.stat_statements() FROM PUBLIC;

CREATE VIEW public.pg_stat_steadytext AS
SELECT s.userid, r.rolname, s.dbid, d.datname, s.queryid, s.model, s.operation, s.calls, s.hits, s.failures, s.limited, s.total_time,
       s.min_time, s.max_time, s.mean_time, s.prompt_tokens, s.completion_tokens, s.saved_tokens
FROM _steadytext.stat_statements() s
LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.userid
LEFT JOIN pg_catalog.pg_database d ON d.oid = s.dbid;
COMMENT ON VIEW public.pg_stat_steadytext IS
    'Calls by role, database, query id (of pg_stat_statements; NULL without compute_query_id), model and operation; times in milliseconds. Holds steadytext.stat_statements_max rows, the least used make room.';

CREATE FUNCTION _steadytext.health() RETURNS TABLE (component text, status text, details jsonb)
AS 'MODULE_PATHNAME', 'steadytext_health' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 10;
REVOKE ALL ON FUNCTION _steadytext.health() FROM PUBLIC;

-- The state of the cache, from its tables. If another transaction has locked a table exclusively, the function does not
-- wait: the state is degraded.
CREATE FUNCTION _steadytext.cache_health(OUT status text, OUT details jsonb)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lookups record;
BEGIN
    SELECT hits, misses INTO lookups FROM _steadytext.cache_lookups();
    details := jsonb_build_object('total_entries', NULL, 'hit_rate',
        coalesce(lookups.hits::float8 / nullif(lookups.hits + lookups.misses, 0), 0));
    LOCK TABLE public.steadytext_cache, _steadytext.cache_ledger IN ACCESS SHARE MODE NOWAIT;
    status := 'healthy';
    details := details || (SELECT jsonb_build_object('total_entries', s.entries, 'total_size_mb', s.bytes / 1048576.0)
                           FROM _steadytext.cache_size() s);
EXCEPTION
    WHEN lock_not_available THEN
        status := 'degraded';
        details := details || '{"reason": "table steadytext_cache is locked"}';
    WHEN undefined_table THEN
        status := 'degraded';
        details := details || '{"reason": "table steadytext_cache is missing"}';
END
$$;
REVOKE ALL ON FUNCTION _steadytext.cache_health() FROM PUBLIC;

CREATE FUNCTION public.steadytext_health_check()
RETURNS TABLE (component text, status text, details jsonb)
LANGUAGE sql VOLATILE SECURITY DEFINER ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
    WITH parts AS (
        SELECT * FROM _steadytext.health()
        UNION ALL
        SELECT 'cache', c.status, c.details FROM _steadytext.cache_health() c
        UNION ALL
        SELECT 'version', CASE WHEN e.extversion = _steadytext.version() THEN 'healthy' ELSE 'degraded' END,
               jsonb_build_object('extension', e.extversion, 'library', _steadytext.version())
        FROM pg_extension e WHERE e.extname = 'pg_steadytext'
    )
    SELECT 'overall',
           -- Calls get no answers without the gateway, a daemon that may be asked, and room for requests.
           CASE WHEN count(*) FILTER (WHERE p.component IN ('gateway', 'queue') AND p.status = 'unhealthy') > 0
                  OR count(*) FILTER (WHERE p.component = 'daemon' AND p.status <> 'unhealthy') = 0 THEN 'unhealthy'
                WHEN count(*) FILTER (WHERE p.status <> 'healthy') > 0 THEN 'degraded'
                ELSE 'healthy' END,
           jsonb_build_object('checked_at', clock_timestamp(),
               'not_healthy', coalesce(jsonb_agg(DISTINCT p.component) FILTER (WHERE p.status <> 'healthy'), '[]'))
    FROM parts p
    UNION ALL
    SELECT * FROM parts
$$;
COMMENT ON FUNCTION public.steadytext_health_check() IS
    'The state of each part, first of all ''overall'': healthy, degraded or unhealthy. Waits for nothing and nobody.';
REVOKE ALL ON FUNCTION public.steadytext_health_check() FROM PUBLIC;

CREATE FUNCTION _steadytext.incident_notify() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_incident_notify' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.incident_notify() IS
    'NOTIFY steadytext_incident at commit, without a payload, unless the server''s queue of notifications is nearly full.';
REVOKE ALL ON FUNCTION _steadytext.incident_notify() FROM PUBLIC;

-- Opens an incident, unless it is open already (since an earlier run of the server), or closes it. Sessions that listen
-- are notified.
CREATE FUNCTION _steadytext.incident_note(
    condition text, subject text, severity text, opens boolean, at timestamptz, value float8, response text
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    incident record;  -- not a row type in public: PL/pgSQL resolves that name when it compiles this function
BEGIN
    PERFORM _steadytext.check('_steadytext.incident_note', condition, subject, severity, opens, at, value, response);
    IF opens THEN
        -- A restore may have brought this incident from another database of this server.
        INSERT INTO public.steadytext_incidents (condition, subject, severity, opened_at, value, response)
            SELECT incident_note.condition, incident_note.subject, incident_note.severity, at,
                   incident_note.value, nullif(incident_note.response, '')
            WHERE NOT EXISTS (SELECT FROM public.steadytext_incidents i
                              WHERE i.condition = incident_note.condition AND i.subject = incident_note.subject AND i.opened_at = at)
            ON CONFLICT DO NOTHING RETURNING * INTO incident;
    ELSE
        UPDATE public.steadytext_incidents i SET closed_at = at
            WHERE i.condition = incident_note.condition AND i.subject = incident_note.subject
              AND i.closed_at IS NULL
            RETURNING * INTO incident;
    END IF;
    IF incident.id IS NOT NULL THEN
        PERFORM _steadytext.incident_notify();
    END IF;
END
$$;
REVOKE ALL ON FUNCTION _steadytext.incident_note(text, text, text, boolean, timestamptz, float8, text) FROM PUBLIC;

-- Closes each incident that an earlier run of the server left open and that this run does not report.
CREATE FUNCTION _steadytext.incidents_settle(conditions text[], subjects text[], at timestamptz) RETURNS void
LANGUAGE sql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.incident_note(i.condition, i.subject, i.severity, false, at, i.value, '')
    FROM public.steadytext_incidents i
    WHERE i.closed_at IS NULL AND i.opened_at < at
      AND (i.condition, i.subject) NOT IN (SELECT * FROM unnest(conditions, subjects))
$$;
REVOKE ALL ON FUNCTION _steadytext.incidents_settle(text[], text[], timestamptz) FROM PUBLIC;

CREATE FUNCTION public.steadytext_stat_reset() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_stat_reset' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_stat_reset() IS
    'Begins counting anew: steadytext_metrics(), steadytext_response_times() and pg_stat_steadytext. What steadytext_daemons counts is left.';
REVOKE ALL ON FUNCTION public.steadytext_stat_reset() FROM PUBLIC;
