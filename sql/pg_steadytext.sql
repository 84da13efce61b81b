-- pg_steadytext: every SQL object of the extension. The one source: the Makefile copies it to pg_steadytext--VERSION.sql.
\echo Use "CREATE EXTENSION pg_steadytext CASCADE" to load this file. \quit

-- ---- tables ------------------------------------------------------------------------------------------------------
-- Names and columns are those of the original (pg_steadytext 2025.11.25); nothing is granted to PUBLIC.

CREATE TABLE public.steadytext_config (
    key text PRIMARY KEY,
    value jsonb NOT NULL,
    description text,
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user
);
COMMENT ON TABLE public.steadytext_config IS
    'Settings of one database. A row overrides the setting of the same meaning in postgresql.conf if its value differs from the one seeded here.';

INSERT INTO public.steadytext_config (key, value, description) VALUES
    ('daemon_host', '"localhost"', 'host of the first daemon'),
    ('daemon_port', '5555', 'port of the first daemon'),
    ('cache_enabled', 'false', 'answer repeated calls from the cache (steadytext.cache_enabled)'),
    ('cache_eviction_enabled', 'true', 'evict cached answers on schedule'),
    ('cache_max_entries', '10000', 'cached answers kept'),
    ('cache_max_size_mb', '100', 'megabytes of cached answers kept'),
    ('default_max_tokens', '512', 'tokens generated when a call does not say (steadytext.default_max_tokens)'),
    ('default_seed', '42', 'seed used when a call passes NULL (steadytext.default_seed)'),
    ('daemon_auto_start', 'true', 'start the embedded daemon with the server (steadytext.embedded_daemon)');

CREATE TABLE public.steadytext_daemon_health (
    daemon_id text PRIMARY KEY DEFAULT 'default',
    endpoint text NOT NULL,
    last_heartbeat timestamptz DEFAULT now(),
    uptime_seconds int DEFAULT 0,
    status text DEFAULT 'unknown' CHECK (status IN ('healthy', 'unhealthy', 'starting', 'stopping', 'unknown')),
    version text,
    models_loaded text[],
    memory_usage_mb int,
    active_connections int DEFAULT 0,
    total_requests bigint DEFAULT 0,
    error_count int DEFAULT 0,
    avg_response_time_ms int
);
INSERT INTO public.steadytext_daemon_health (daemon_id, endpoint, status, uptime_seconds)
    VALUES ('default', 'tcp://localhost:5555', 'unknown', 0);

CREATE TABLE public.steadytext_audit_log (
    id serial PRIMARY KEY,
    event_id uuid DEFAULT gen_random_uuid(),
    event_type text NOT NULL,
    user_id text DEFAULT current_user,
    request_id uuid,
    details jsonb,
    created_at timestamptz DEFAULT now(),
    ip_address inet,
    success boolean DEFAULT true,
    error_message text
);
CREATE INDEX idx_steadytext_audit_timestamp ON public.steadytext_audit_log (created_at DESC);
CREATE INDEX idx_steadytext_audit_user ON public.steadytext_audit_log (user_id, created_at DESC);

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_config', '');

-- ---- generation --------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_generate(
    prompt text,
    max_tokens int DEFAULT NULL,
    use_cache boolean DEFAULT true,
    seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]',
    model text DEFAULT NULL,
    model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL,
    size text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_generate(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'Text generated for a prompt: the same key gives the same answer.';

CREATE FUNCTION public.steadytext_generate_ex(
    prompt text,
    options jsonb DEFAULT '{}'
) RETURNS TABLE (
    response text,
    cache_key text,
    model text,
    fingerprint text,
    daemon text,
    prompt_tokens int,
    completion_tokens int,
    finish_reason text,
    cached boolean,
    degraded boolean,
    queue_ms float8,
    engine_ms float8,
    total_ms float8
)
AS 'MODULE_PATHNAME', 'steadytext_generate_ex'
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1 COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_ex(text, jsonb) IS
    'Generated text with how it came about. Options: max_tokens, seed, temperature, eos_string, model, size, use_cache, unsafe_mode.';

-- ---- embeddings --------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_embed(
    text_input text,
    use_cache boolean DEFAULT true,
    seed int DEFAULT 42,
    model text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS public.vector
AS 'MODULE_PATHNAME', 'steadytext_embed'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_embed(text, boolean, int, text, boolean) IS
    'Unit vector of steadytext.embedding_dimensions for a text; NULL, never zeros, when no daemon can answer.';

-- ---- daemons -----------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_daemon_start() RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_start' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_daemon_start() IS
    'Lets the embedded daemon run and waits until it answers; false, with a warning, if it does not.';

CREATE FUNCTION public.steadytext_daemon_stop() RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_stop' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_daemon_stop() IS
    'Stops the embedded daemon until steadytext_daemon_start() or a restart of the server.';

CREATE FUNCTION public.steadytext_daemon_status()
RETURNS TABLE (daemon_id text, status text, endpoint text, last_heartbeat timestamptz, uptime_seconds int)
AS 'MODULE_PATHNAME', 'steadytext_daemon_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION public.steadytext_daemon_status() IS
    'What the gateway knows of each daemon now; the first is called ''default''.';

CREATE FUNCTION public.steadytext_models()
RETURNS TABLE (role text, model text, fingerprint text, dimensions int, is_default boolean, served boolean)
AS 'MODULE_PATHNAME', 'steadytext_models' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION public.steadytext_models() IS
    'The models daemons serve or served; a cached answer is found by its model''s fingerprint.';

-- ---- monitoring --------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_metrics() RETURNS TABLE (name text, labels jsonb, value float8)
AS 'MODULE_PATHNAME', 'steadytext_metrics' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 40;
COMMENT ON FUNCTION public.steadytext_metrics() IS 'Counters and gauges of the whole server since it started.';

-- ---- configuration -----------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_version() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_version' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_version() IS 'Version of the loaded library.';

CREATE FUNCTION public.steadytext_config_get(config_key text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT value #>> '{}' FROM public.steadytext_config WHERE key = config_key $$;
COMMENT ON FUNCTION public.steadytext_config_get(text) IS 'A setting of this database as text, or NULL.';

CREATE FUNCTION public.steadytext_config_set(config_key text, config_value text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := lower(config_key);
    typed jsonb;
BEGIN
    IF name = 'daemon_host' AND config_value !~ '^[A-Za-z0-9._-]+$' THEN
        RAISE EXCEPTION 'Invalid host format' USING ERRCODE = '22023';
    END IF;
    IF name = 'daemon_port'
       AND NOT (CASE WHEN config_value ~ '^[0-9]{1,5}$' THEN config_value::int BETWEEN 1 AND 65535 ELSE false END) THEN
        RAISE EXCEPTION 'Invalid port format' USING ERRCODE = '22023';
    END IF;
    IF name = 'model_path' AND (config_value ~ '^/' OR config_value ~ '[;|]' OR config_value ~ '(^|/)\.\.(/|$)') THEN
        RAISE EXCEPTION 'Invalid file path' USING ERRCODE = '22023';
    END IF;
    IF name = 'daemon_command' AND config_value ~ '[;&|[:space:]]' THEN
        RAISE EXCEPTION 'Invalid command format' USING ERRCODE = '22023';
    END IF;
    IF name LIKE '%table\_name' AND config_value !~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN
        RAISE EXCEPTION 'Invalid table name' USING ERRCODE = '22023';
    END IF;
    -- A number stays a number and a boolean a boolean; all else is text.
    typed := CASE
        WHEN config_value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?$' OR config_value IN ('true', 'false') THEN config_value::jsonb
        ELSE to_jsonb(config_value)
    END;
    INSERT INTO public.steadytext_config (key, value) VALUES (config_key, typed)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now(), updated_by = current_user;
    INSERT INTO public.steadytext_audit_log (event_type, details)
        VALUES ('config_change', jsonb_build_object('key', config_key, 'value', config_value));
    IF name IN ('daemon_host', 'daemon_port') THEN
        PERFORM public._steadytext_follow_daemon_address();
    END IF;
END
$$;
COMMENT ON FUNCTION public.steadytext_config_set(text, text) IS
    'Changes a setting of this database; daemon_host and daemon_port change steadytext.daemons for the whole server.';

CREATE FUNCTION public._steadytext_follow_daemon_address() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_follow_daemon_address' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public._steadytext_follow_daemon_address() IS
    'Makes steadytext.daemons name the address in steadytext_config (superusers only).';

-- Tells every session, at commit, that its copy of steadytext_config is stale.
CREATE FUNCTION public._steadytext_config_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_config_changed' LANGUAGE C;
CREATE TRIGGER steadytext_config_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_config
    FOR EACH STATEMENT EXECUTE FUNCTION public._steadytext_config_changed();

-- ---- short names -------------------------------------------------------------------------------------------------

CREATE FUNCTION public.st_generate(
    prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]', model text DEFAULT NULL, model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_embed(
    text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS public.vector
AS 'MODULE_PATHNAME', 'steadytext_embed' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_daemon_start() RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_start' LANGUAGE C VOLATILE;

CREATE FUNCTION public.st_daemon_stop() RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_stop' LANGUAGE C VOLATILE;

CREATE FUNCTION public.st_daemon_status()
RETURNS TABLE (daemon_id text, status text, endpoint text, last_heartbeat timestamptz, uptime_seconds int)
AS 'MODULE_PATHNAME', 'steadytext_daemon_status' LANGUAGE C STABLE PARALLEL SAFE ROWS 4;

CREATE FUNCTION public.st_version() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_version' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION public.st_config_get(key text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.steadytext_config_get(key) $$;

CREATE FUNCTION public.st_config_set(key text, value text) RETURNS void
LANGUAGE sql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT public.steadytext_config_set(key, value) $$;

-- ---- privileges --------------------------------------------------------------------------------------------------
-- Asking is for everyone; what changes the server, or shows what others did, is for the owner until granted.

REVOKE ALL ON FUNCTION
    public.steadytext_daemon_start(), public.steadytext_daemon_stop(),
    public.st_daemon_start(), public.st_daemon_stop(),
    public.steadytext_config_set(text, text), public.st_config_set(text, text),
    public._steadytext_follow_daemon_address(), public._steadytext_config_changed(),
    public.steadytext_metrics()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.steadytext_metrics() TO pg_monitor;
