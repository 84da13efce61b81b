-- pg_steadytext: every SQL object of the extension. The one source: the Makefile copies it to pg_steadytext--VERSION.sql.
\echo Use "CREATE EXTENSION pg_steadytext CASCADE" to load this file. \quit

-- A name without a schema below is PostgreSQL's own, whatever lies in public.
SET LOCAL search_path TO pg_catalog, pg_temp;

-- Columns of the tables are of pgvector's type and computed by its functions; the owner of the database, to whom public belongs, may have put
-- others there.
DO $$
DECLARE
    vector CONSTANT oid := (
        SELECT t.oid FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'vector'
        JOIN pg_roles r ON r.oid = t.typowner AND r.rolsuper
        WHERE t.typname = 'vector' AND t.typnamespace = 'public'::regnamespace AND t.typtype = 'b');
BEGIN
    IF vector IS NULL
       OR NOT EXISTS (SELECT FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner AND r.rolsuper JOIN pg_language l ON l.oid = p.prolang
                      WHERE p.pronamespace = 'public'::regnamespace AND p.proname = 'vector_dims' AND p.pronargs = 1 AND p.proargtypes[0] = vector
                        AND l.lanname = 'c') THEN
        RAISE EXCEPTION 'the type "vector" in schema public is not that of the extension vector' USING ERRCODE = '55000',
            HINT = 'Install it there: CREATE EXTENSION vector SCHEMA public, or ALTER EXTENSION vector SET SCHEMA public.';
    END IF;
END
$$;

-- ---- who owns what -----------------------------------------------------------------------------------------------
-- What runs with more rights than its caller names only PostgreSQL's schema, this one, and the extension's own tables. Nobody but the
-- installing superuser may create here, and the statement fails if the schema is there already: no object in it is anybody else's.
CREATE SCHEMA _steadytext;
COMMENT ON SCHEMA _steadytext IS 'What pg_steadytext is made of: not to be called by hand.';
GRANT USAGE ON SCHEMA _steadytext TO PUBLIC;

-- The tables and all that runs as their owner belong to a role that can do nothing else. A role of this name that can is refused.
DO $$
DECLARE
    owner pg_roles;
BEGIN
    SELECT * INTO owner FROM pg_roles WHERE rolname = 'steadytext_owner';
    IF NOT FOUND THEN
        CREATE ROLE steadytext_owner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        COMMENT ON ROLE steadytext_owner IS 'Owns the tables of pg_steadytext; its background workers are this role.';
    ELSIF owner.rolcanlogin OR owner.rolsuper OR owner.rolcreatedb OR owner.rolcreaterole OR owner.rolreplication OR owner.rolbypassrls
          OR EXISTS (SELECT FROM pg_auth_members m WHERE owner.oid IN (m.roleid, m.member)) THEN
        RAISE EXCEPTION 'role "steadytext_owner" may do more than own the tables of pg_steadytext' USING ERRCODE = '42710',
            DETAIL = 'It may log in, has an attribute, is a member of a role, or has members.',
            HINT = 'Rename that role, or take these rights away: pg_steadytext makes the role it needs by itself.';
    END IF;
    IF NOT has_schema_privilege('steadytext_owner', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO steadytext_owner;
    END IF;
END
$$;

-- What acts on the whole server is for superusers and members of this role; administrators of one database have no part in it.
DO $$
DECLARE
    admin pg_roles;
BEGIN
    SELECT * INTO admin FROM pg_roles WHERE rolname = 'steadytext_server_admin';
    IF NOT FOUND THEN
        CREATE ROLE steadytext_server_admin NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
        COMMENT ON ROLE steadytext_server_admin IS 'Its members may do in every database what acts on the whole server: stop the daemon, trip breakers, reset statistics.';
    ELSIF admin.rolcanlogin OR admin.rolsuper OR admin.rolcreatedb OR admin.rolcreaterole OR admin.rolreplication OR admin.rolbypassrls THEN
        RAISE EXCEPTION 'role "steadytext_server_admin" may do more than administer pg_steadytext' USING ERRCODE = '42710',
            DETAIL = 'It may log in or has an attribute.', HINT = 'Rename that role: pg_steadytext makes the role it needs by itself.';
    END IF;
END
$$;

-- ---- arguments ---------------------------------------------------------------------------------------------------
-- The one table of what arguments, options and settings must be is in src/core/parameters.cpp.

CREATE FUNCTION _steadytext.check(function text, VARIADIC arguments "any") RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_check' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION _steadytext.check(text, "any") IS
    'What an SQL function says first: its name and all its arguments; an error unless they are what they must be.';

CREATE FUNCTION _steadytext.check_config(config_key text, config_value text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_check_config' LANGUAGE C STABLE STRICT PARALLEL SAFE;

CREATE FUNCTION _steadytext.parameters()
RETURNS TABLE (owner text, name text, kind text, form text, needed boolean, lowest bigint, highest bigint, words text, setting text,
               null_element text, sample text, bad_sample text, on_null text, on_below text, on_above text, on_malformed text,
               is_distinct boolean)
AS 'MODULE_PATHNAME', 'steadytext_parameters' LANGUAGE C STABLE PARALLEL SAFE ROWS 300;
COMMENT ON FUNCTION _steadytext.parameters() IS
    'Each argument of each function, each option, key of steadytext_config and setting: its bounds, and how others are refused.';

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

CREATE VIEW _steadytext.config_seed (key, value, description) AS
SELECT key, value::jsonb, description FROM (VALUES
    ('daemon_host', '"localhost"', 'host of the first daemon'),
    ('daemon_port', '5555', 'port of the first daemon'),
    ('cache_enabled', 'true', 'answer repeated calls from the cache (steadytext.cache_enabled)'),
    ('cache_eviction_enabled', 'true', 'evict cached answers on schedule'),
    ('cache_max_entries', '10000', 'cached answers kept'),
    ('cache_max_size_mb', '100', 'megabytes of cached answers kept'),
    ('default_max_tokens', '512', 'tokens generated when a call does not say (steadytext.default_max_tokens)'),
    ('default_seed', '42', 'seed used when a call passes NULL, or cannot pass one (steadytext.default_seed)'),
    ('daemon_auto_start', 'true', 'start the embedded daemon with the server (steadytext.embedded_daemon)')) seed (key, value, description);
COMMENT ON VIEW _steadytext.config_seed IS 'The first values of steadytext_config.';
GRANT SELECT ON _steadytext.config_seed TO PUBLIC;
INSERT INTO public.steadytext_config (key, value, description) SELECT * FROM _steadytext.config_seed
    ON CONFLICT DO NOTHING;

-- Not immutable in truth: what it says is true when a row is written, which is what the generated column is to keep.
CREATE FUNCTION _steadytext.scope_role(scope text) RETURNS oid
AS 'MODULE_PATHNAME', 'steadytext_scope_role' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION _steadytext.scope_role(text) IS 'The OID of the role that a scope ends with; NULL if it names none, or none that exists.';

-- Cached answers. Written by the keeper (a background worker) only; sessions read it by cache_key.
CREATE TABLE public.steadytext_cache (
    id bigserial PRIMARY KEY,
    cache_key text NOT NULL CONSTRAINT idx_steadytext_cache_key UNIQUE,
    prompt text NOT NULL,
    response text,
    embedding public.vector,
    access_count int DEFAULT 1,
    last_accessed timestamptz DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    steadytext_cache_hit boolean DEFAULT false,
    model_name text NOT NULL DEFAULT 'qwen3-1.7b',
    model_size text CHECK (model_size IN ('small', 'medium', 'large')),
    seed int DEFAULT 42,
    eos_string text,
    generation_params jsonb,
    response_size int,
    generation_time_ms int,
    operation text,
    scope text,
    fingerprint text,
    prompt_tokens int,
    completion_tokens int,
    finish_reason text,
    expires_at timestamptz,
    -- Bytes of the row, as eviction counts them.
    entry_bytes int GENERATED ALWAYS AS (least(
        160::bigint + octet_length(cache_key) + octet_length(prompt) + coalesce(octet_length(response), 0)
        + coalesce(8 + 4 * public.vector_dims(embedding), 0), 2147483647)) STORED,
    -- The frecency score without its dependence on now(): ln(count * exp(-age/86400)) = rank - now/86400.
    -- So its order is that of the score at any time, and an index keeps it.
    frecency_rank float8 GENERATED ALWAYS AS (
        CASE WHEN access_count > 0 AND last_accessed IS NOT NULL
             THEN ln(access_count::float8) + CASE WHEN isfinite(last_accessed)
                  THEN extract(epoch FROM last_accessed AT TIME ZONE 'UTC')::float8 / 86400 ELSE 0 END
             ELSE '-infinity' END) STORED
);
-- Which role had the name in `scope` when the row was written, or restored: a role made anew has another OID, and finds nothing.
ALTER TABLE public.steadytext_cache ADD scope_role oid GENERATED ALWAYS AS (_steadytext.scope_role(scope)) STORED;
-- The last two let eviction pass over rows without looking at the table.
CREATE INDEX idx_steadytext_cache_frecency ON public.steadytext_cache (frecency_rank, id, access_count, created_at);
CREATE INDEX idx_steadytext_cache_created_at ON public.steadytext_cache (created_at, id);
CREATE INDEX idx_steadytext_cache_expires_at ON public.steadytext_cache (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE public.steadytext_cache IS
    'Cached answers of this database, written by the keeper. cache_key is steadytext_cache_key() of the prompt and all parameters.';
COMMENT ON COLUMN public.steadytext_cache.embedding IS 'In the model''s own dimensions; steadytext_embed() pads or cuts it.';
COMMENT ON COLUMN public.steadytext_cache.scope IS 'Whose answer it is: database/role, or database; NULL or empty for rows of the original.';
COMMENT ON COLUMN public.steadytext_cache.scope_role IS 'The role in scope by its number, when the row was written: who finds it. NULL: all roles of the database, or none.';
COMMENT ON COLUMN public.steadytext_cache.entry_bytes IS 'Bytes of the row, as eviction counts them.';
COMMENT ON COLUMN public.steadytext_cache.frecency_rank IS 'ln(access_count) + last_accessed in days since 1970: the order of frecency_score at any time.';

-- How many rows and bytes steadytext_cache has: the sum of all rows here. Every statement that changes it adds a row, so that
-- no writer waits for another; the keeper sums them up now and then.
CREATE TABLE _steadytext.cache_ledger (entries bigint NOT NULL, bytes bigint NOT NULL);
COMMENT ON TABLE _steadytext.cache_ledger IS 'Changes of the size of steadytext_cache; their sum is its size.';

CREATE FUNCTION _steadytext.cache_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO _steadytext.cache_ledger SELECT count(*), coalesce(sum(entry_bytes), 0) FROM new_rows HAVING count(*) > 0;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO _steadytext.cache_ledger SELECT -count(*), -coalesce(sum(entry_bytes), 0) FROM old_rows HAVING count(*) > 0;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO _steadytext.cache_ledger VALUES (0, NEW.entry_bytes - OLD.entry_bytes);
    ELSE
        DELETE FROM _steadytext.cache_ledger;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_inserted AFTER INSERT ON public.steadytext_cache REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_count();
CREATE TRIGGER count_deleted AFTER DELETE ON public.steadytext_cache REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_count();
CREATE TRIGGER count_resized AFTER UPDATE ON public.steadytext_cache
    FOR EACH ROW WHEN (OLD.entry_bytes <> NEW.entry_bytes) EXECUTE FUNCTION _steadytext.cache_count();
CREATE TRIGGER count_truncated AFTER TRUNCATE ON public.steadytext_cache
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_count();

-- An answer is found by a role because its row says so: nobody but the keeper and superusers, who restore dumps, says it for another role,
-- or for all, whatever rights on the table have been granted.
CREATE FUNCTION _steadytext.cache_row_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- No query: it would be planned, and begun, for each row of a restore.
    IF NOT pg_has_role('steadytext_owner', 'USAGE')
       AND (NEW.fingerprint IS NULL OR _steadytext.scope_role(NEW.scope) IS DISTINCT FROM quote_ident(current_user)::regrole::oid
            OR TG_OP = 'UPDATE' AND OLD.scope IS DISTINCT FROM NEW.scope) THEN
        RAISE EXCEPTION 'cached answer for others than role "%" cannot be written', current_user USING ERRCODE = '42501',
            DETAIL = 'Its row needs a fingerprint, and a scope that ends with the role that writes it.',
            HINT = 'Cached answers are written by pg_steadytext.';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_cache FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.cache_row_check();

-- A row changed or deleted by hand is not answered from shared memory any longer. (The keeper's own changes, and eviction, let
-- what is there be.)
CREATE FUNCTION _steadytext.cache_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_cache_changed' LANGUAGE C;
CREATE TRIGGER hold_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON public.steadytext_cache
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_changed();
CREATE TRIGGER forget_changed AFTER UPDATE OR DELETE OR TRUNCATE ON public.steadytext_cache
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.cache_changed();

CREATE FUNCTION _steadytext.cache_hold() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_cache_hold' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.cache_hold() IS
    'Before a statement that deletes cached answers, for who may: until the transaction ends the keeper writes none, and none older after it.';

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
    VALUES ('default', '', 'unknown', 0) ON CONFLICT DO NOTHING;

-- Rate limits. The first table is the original's; the second says what it cannot: by operation or model, any interval, tokens,
-- concurrency. Both bind.
CREATE TABLE public.steadytext_rate_limits (
    user_id text PRIMARY KEY CHECK (octet_length(user_id) <= 63),
    requests_per_minute int DEFAULT 60 CHECK (requests_per_minute >= 0),
    requests_per_hour int DEFAULT 1000 CHECK (requests_per_hour >= 0),
    requests_per_day int DEFAULT 10000 CHECK (requests_per_day >= 0),
    current_minute_count int DEFAULT 0,
    current_hour_count int DEFAULT 0,
    current_day_count int DEFAULT 0,
    last_reset timestamptz DEFAULT now(),
    last_reset_minute timestamptz DEFAULT now(),
    last_reset_hour timestamptz DEFAULT now(),
    last_reset_day timestamptz DEFAULT now(),
    created_at timestamptz DEFAULT now()
);
COMMENT ON TABLE public.steadytext_rate_limits IS
    'Requests a role may make in any minute, hour and day; NULL is no limit. user_id is a role, ''*'' (each role without a row) or ''@database''.';

CREATE TABLE public.steadytext_rate_limit_rules (
    role_name name NOT NULL,
    operation text NOT NULL DEFAULT '*' CHECK (
        operation IN ('*', 'generate', 'embed', 'rerank', 'json', 'regex', 'choice', 'stream') OR operation ~ '^(model|daemon):.'),
    requests int CHECK (requests >= 0),
    per interval NOT NULL DEFAULT '1 min' CHECK (per BETWEEN '10 milliseconds' AND '366 days'),
    tokens bigint CHECK (tokens >= 0),
    concurrency int CHECK (concurrency >= 0),
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user,
    CONSTRAINT steadytext_rate_limit_rules_pkey PRIMARY KEY (role_name, operation),
    CHECK (concurrency IS NULL OR operation !~ '^daemon:')
);
COMMENT ON TABLE public.steadytext_rate_limit_rules IS
    'Limits of roles by operation: ''*'', a kind of call (''generate'': all that generates text), ''model:NAME'' or ''daemon:ENDPOINT''. Written by steadytext_rate_limit_set().';
COMMENT ON COLUMN public.steadytext_rate_limit_rules.role_name IS
    'A role with all its members, ''*'' (each role no row speaks of, by itself), or ''@database'' (all calls in this database together).';

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_rate_limits', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_rate_limit_rules', '');

-- Tells every session, at commit, that its copy of the limits is stale.
CREATE FUNCTION _steadytext.rate_limits_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_rate_limits_changed' LANGUAGE C;
CREATE TRIGGER rate_limits_changed AFTER INSERT OR DELETE OR TRUNCATE
    OR UPDATE OF user_id, requests_per_minute, requests_per_hour, requests_per_day ON public.steadytext_rate_limits
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.rate_limits_changed();
CREATE TRIGGER rate_limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_rate_limit_rules
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.rate_limits_changed();

-- What went wrong, and when it was over; written by the keeper.
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

-- What roles have used, written by the keeper every few seconds. Names, so that it can be read after a role has gone.
CREATE TABLE public.steadytext_usage (
    day date NOT NULL,
    role_name name NOT NULL,
    database_name name NOT NULL,
    model text NOT NULL,
    prompt_tokens bigint NOT NULL DEFAULT 0,
    completion_tokens bigint NOT NULL DEFAULT 0,
    saved_tokens bigint NOT NULL DEFAULT 0,
    calls bigint NOT NULL DEFAULT 0,
    hits bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    limited bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, role_name, database_name, model)
);
COMMENT ON TABLE public.steadytext_usage IS
    'Calls and tokens of each role by model and day (UTC), a few seconds old. Tokens are those daemons made; saved_tokens those the cache spared.';

CREATE TABLE public.steadytext_budgets (
    role_name name NOT NULL,
    period interval NOT NULL CHECK (period BETWEEN '1 day' AND '366 days'),
    tokens bigint NOT NULL CHECK (tokens >= 0),
    mode text NOT NULL CHECK (mode IN ('warn', 'enforce')),
    updated_at timestamptz DEFAULT now(),
    updated_by text DEFAULT current_user,
    CONSTRAINT steadytext_budgets_pkey PRIMARY KEY (role_name, period)
);
COMMENT ON TABLE public.steadytext_budgets IS
    'Tokens that roles may use in any period; they last over restarts. Written by steadytext_budget_set().';
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_usage', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_incidents', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_incidents_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_budgets', '');
CREATE TRIGGER rate_limits_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_budgets
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.rate_limits_changed();
-- Asynchronous calls. Sessions add rows through functions, the queue worker (a background worker) carries them out.
CREATE TABLE public.steadytext_queue (
    id bigserial PRIMARY KEY,
    request_id uuid NOT NULL DEFAULT gen_random_uuid(),
    request_type text NOT NULL CHECK (request_type IN ('generate', 'generate_json', 'generate_regex', 'generate_choice', 'batch_generate',
                                                       'embed', 'batch_embed', 'rerank', 'batch_rerank')),
    prompt text,
    prompts text[],
    params jsonb,
    priority int NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 10),
    user_id text NOT NULL DEFAULT current_user,
    session_id text,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    result text,
    results text[],
    embedding public.vector,
    embeddings public.vector[],
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    completed_at timestamptz,
    processing_time_ms int,
    retry_count int NOT NULL DEFAULT 0,
    max_retries int NOT NULL DEFAULT 3 CHECK (max_retries >= 0),
    daemon_endpoint text,
    callback text,
    callback_error text,
    callback_state text CHECK (callback_state IN ('due', 'running', 'done', 'failed')),
    callback_began timestamptz,
    callback_tries int NOT NULL DEFAULT 0,
    callback_pid int,
    run_at timestamptz NOT NULL DEFAULT now(),
    worker_pid int,
    lease_until timestamptz,
    lost_count int NOT NULL DEFAULT 0,
    kill_count int NOT NULL DEFAULT 0,
    user_oid regrole DEFAULT quote_ident(current_user)::regrole,
    session_user_oid regrole DEFAULT quote_ident(session_user)::regrole,
    -- A minute's wait outweighs one step of priority; the order of two rows does not change with time, so an index keeps it.
    rank float8 NOT NULL GENERATED ALWAYS AS (priority - extract(epoch FROM run_at AT TIME ZONE 'UTC')::float8 / 60) STORED
-- Beside each row there is room for the one that says who works on it; as no index knows of the status, that one is in none (HOT).
-- The one that says what came of it is in all of them, which is most of what a job costs: so they are few.
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX idx_steadytext_queue_request_id ON public.steadytext_queue (request_id);
CREATE INDEX idx_steadytext_queue_user_created ON public.steadytext_queue (user_id, created_at DESC);
CREATE INDEX idx_steadytext_queue_callbacks ON public.steadytext_queue (user_oid, id) WHERE callback_state IN ('due', 'running');
CREATE INDEX idx_steadytext_queue_next ON public.steadytext_queue (user_oid, rank DESC, id) WHERE completed_at IS NULL;
COMMENT ON TABLE public.steadytext_queue IS
    'Asynchronous calls: seen by the role that made them, carried out by the queue worker once committed, kept for steadytext.queue_retention.';
COMMENT ON COLUMN public.steadytext_queue.session_id IS 'The session that made the call, as %c in log_line_prefix.';
COMMENT ON COLUMN public.steadytext_queue.completed_at IS 'When it ended, however; NULL as long as it is pending or processing.';
COMMENT ON COLUMN public.steadytext_queue.user_id IS 'The name of the role that made the call, whose limits, cache and statistics are used.';
COMMENT ON COLUMN public.steadytext_queue.run_at IS 'Not before this time: put off by a failed attempt or a rate limit.';
COMMENT ON COLUMN public.steadytext_queue.worker_pid IS 'The worker that has the row, while it renews the lease.';
COMMENT ON COLUMN public.steadytext_queue.lost_count IS 'How often a worker died while it had the row.';
COMMENT ON COLUMN public.steadytext_queue.callback IS 'Function called with the request_id, by a session of user_oid, once the result is recorded.';
COMMENT ON COLUMN public.steadytext_queue.callback_error IS 'SQLSTATE and message of why the callback failed.';
COMMENT ON COLUMN public.steadytext_queue.callback_state IS
    'NULL until the result is recorded, or without a callback; then due, running, and done or failed. done commits with what the callback did.';
COMMENT ON COLUMN public.steadytext_queue.callback_began IS 'When the callback was last begun.';
COMMENT ON COLUMN public.steadytext_queue.callback_tries IS 'How often it was begun: again only if its worker was ended.';
COMMENT ON COLUMN public.steadytext_queue.callback_pid IS 'The callback worker that has it.';
COMMENT ON COLUMN public.steadytext_queue.kill_count IS 'How often a worker died while at work on this very row; the second time it is failed.';
COMMENT ON COLUMN public.steadytext_queue.user_oid IS
    'The role that made the call, which sees it, and as which it is carried out; user_id is its name then. A role that has gone is a number here, and a new one of its name another role.';
COMMENT ON COLUMN public.steadytext_queue.session_user_oid IS 'The role that had connected: the limit of "*" counts by it.';

ALTER TABLE public.steadytext_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_requests ON public.steadytext_queue FOR SELECT USING (user_oid = quote_ident(current_user)::regrole);

-- A dump has the role's name, or, of a role that has gone, its number: which may be anybody's where the dump is restored.
CREATE FUNCTION _steadytext.queue_row_check() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_queue_row_check' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.queue_row_check() IS 'Makes a row of steadytext_queue nobody''s if its user_oid is not the role that user_id names.';
REVOKE ALL ON FUNCTION _steadytext.queue_row_check() FROM PUBLIC;
CREATE TRIGGER queue_row_check BEFORE INSERT ON public.steadytext_queue
    FOR EACH ROW EXECUTE FUNCTION _steadytext.queue_row_check();

-- Whoever writes steadytext_queue could name any role and any function. So what a role asked for is here, where only the C code of
-- steadytext_enqueue() adds rows, and superusers: a callback without its row is not called.
CREATE TABLE _steadytext.queue_callbacks (request_id uuid PRIMARY KEY, role regrole NOT NULL, callback text NOT NULL, owner regrole NOT NULL) USING heap;
COMMENT ON TABLE _steadytext.queue_callbacks IS
    'Which role asked for which callback of which request: the proof without which a callback is not called. It belongs to a superuser.';
COMMENT ON COLUMN _steadytext.queue_callbacks.owner IS 'Whose function it was: another role''s of the same name is not called.';

CREATE VIEW public.steadytext_queue_dead WITH (security_barrier) AS
    SELECT request_id, request_type, user_id, prompt, prompts, params, priority, error, retry_count, lost_count, created_at, started_at,
           completed_at
    FROM public.steadytext_queue
    WHERE status = 'failed'
      AND (user_oid = quote_ident(current_user)::regrole OR (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user));
COMMENT ON VIEW public.steadytext_queue_dead IS
    'Asynchronous calls that were given up; steadytext_queue_requeue() gives them another chance. A role sees its own.';

CREATE TABLE public.steadytext_audit_log (
    id bigserial PRIMARY KEY,
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
COMMENT ON TABLE public.steadytext_audit_log IS
    'Changes of settings and limits, evictions, and suspicious input. Whoever may SELECT from it sees its own rows, an administrator all.';
ALTER TABLE public.steadytext_audit_log ENABLE ROW LEVEL SECURITY;
-- An administrator is who may change settings; nobody but the owner changes rows, or writes them in another's name.
CREATE POLICY own_rows ON public.steadytext_audit_log FOR SELECT
    USING (user_id = current_user::text OR (SELECT has_function_privilege('_steadytext.config_set(pg_catalog.text, pg_catalog.text)', 'EXECUTE')));
CREATE POLICY own_name ON public.steadytext_audit_log FOR INSERT WITH CHECK (user_id = current_user::text);

-- ---- changes of settings and limits ------------------------------------------------------------------------------
-- Whoever changes a row, by a function or by hand, by COPY too: it must be what the function would take, and the change is audited.
-- Whether a role exists is not asked: a dump may be restored where it does not yet.

CREATE FUNCTION _steadytext.config_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check_config(NEW.key, coalesce(NEW.value #>> '{}', 'null'));
    RETURN NEW;
END
$$;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE OF key, value ON public.steadytext_config
    FOR EACH ROW EXECUTE FUNCTION _steadytext.config_check();

CREATE FUNCTION _steadytext.rate_limit_check() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most int;
BEGIN
    IF TG_TABLE_NAME = 'steadytext_budgets' THEN
        PERFORM _steadytext.check('steadytext_budget_set', NEW.role_name, NEW.period, NEW.tokens, NEW.mode);
    ELSIF TG_TABLE_NAME = 'steadytext_rate_limit_rules' THEN
        PERFORM _steadytext.check('steadytext_rate_limit_set', NEW.role_name, NEW.operation, NEW.requests, NEW.per, NEW.tokens, NEW.concurrency);
    ELSE
        FOREACH most IN ARRAY ARRAY[NEW.requests_per_minute, NEW.requests_per_hour, NEW.requests_per_day] LOOP
            PERFORM _steadytext.check('steadytext_rate_limit_set', NEW.user_id::name, '*'::text, most, interval '1 min', NULL::bigint, NULL::int);
        END LOOP;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_rate_limit_rules
    FOR EACH ROW EXECUTE FUNCTION _steadytext.rate_limit_check();
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE ON public.steadytext_budgets
    FOR EACH ROW EXECUTE FUNCTION _steadytext.rate_limit_check();
CREATE TRIGGER check_row BEFORE INSERT OR UPDATE OF user_id, requests_per_minute, requests_per_hour, requests_per_day
    ON public.steadytext_rate_limits
    FOR EACH ROW EXECUTE FUNCTION _steadytext.rate_limit_check();

CREATE FUNCTION _steadytext.audit_change() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_audit_change' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.audit_change() IS
    'Writes who changed which rows to steadytext_audit_log, as the owner of that table; of more than a hundred rows how many.';
DO $$
DECLARE
    name text;
    event text[];
BEGIN
    FOREACH name IN ARRAY ARRAY['steadytext_config', 'steadytext_rate_limits', 'steadytext_rate_limit_rules', 'steadytext_budgets'] LOOP
        FOREACH event SLICE 1 IN ARRAY ARRAY[
            ['audit_inserted', 'INSERT', 'REFERENCING NEW TABLE AS new_rows'],
            ['audit_updated', 'UPDATE', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'],
            ['audit_deleted', 'DELETE', 'REFERENCING OLD TABLE AS old_rows'],
            ['audit_truncated', 'TRUNCATE', '']] LOOP
            EXECUTE format('CREATE TRIGGER %I AFTER %s ON public.%I %s FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.audit_change()',
                           event[1], event[2], name, event[3]);
        END LOOP;
    END LOOP;
END
$$;

SELECT pg_catalog.pg_extension_config_dump('public.steadytext_config', '');
-- Answers whose role is gone, or made anew, stay behind: a restore goes by names.
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_cache',
    'WHERE scope_role IS NOT DISTINCT FROM _steadytext.scope_role(scope)');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_queue', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_queue_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_steadytext.queue_callbacks', '');
SELECT pg_catalog.pg_extension_config_dump('public.steadytext_cache_id_seq', '');

-- ---- restores ----------------------------------------------------------------------------------------------------
-- A dump brings rows into tables that are not empty: CREATE EXTENSION has put the settings' first values there, and while the restore
-- goes on the keeper writes what it has to. So a row that comes by hand makes room for itself, or gives way, instead of failing.

-- Its plans are made while the table has few rows, and last for a restore of many; no row is worth parallel workers.
CREATE FUNCTION _steadytext.make_room() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'steadytext_config' THEN
        -- A first value that nobody has changed; what somebody has is a conflict as always.
        WITH gone AS (DELETE FROM public.steadytext_config c USING _steadytext.config_seed s
                      WHERE c.key = NEW.key AND s.key = c.key AND s.value = c.value RETURNING c.description)
        SELECT coalesce(NEW.description, (SELECT description FROM gone)) INTO NEW.description;
    WHEN 'steadytext_cache' THEN
        IF EXISTS (SELECT FROM public.steadytext_cache WHERE cache_key = NEW.cache_key) THEN
            RETURN NULL;
        ELSIF EXISTS (SELECT FROM public.steadytext_cache WHERE id = NEW.id) THEN
            NEW.id := nextval('public.steadytext_cache_id_seq');
        END IF;
    WHEN 'steadytext_usage' THEN
        UPDATE public.steadytext_usage u
        SET prompt_tokens = u.prompt_tokens + NEW.prompt_tokens, completion_tokens = u.completion_tokens + NEW.completion_tokens,
            saved_tokens = u.saved_tokens + NEW.saved_tokens, calls = u.calls + NEW.calls, hits = u.hits + NEW.hits,
            failures = u.failures + NEW.failures, limited = u.limited + NEW.limited
        WHERE u.day = NEW.day AND u.role_name = NEW.role_name AND u.database_name = NEW.database_name AND u.model = NEW.model;
        IF FOUND THEN
            RETURN NULL;
        END IF;
    WHEN 'steadytext_incidents' THEN
        -- The server's own, which the keeper has written into this database too, or one of another server.
        IF EXISTS (SELECT FROM public.steadytext_incidents i
                   WHERE i.condition = NEW.condition AND i.subject = NEW.subject AND i.opened_at = NEW.opened_at) THEN
            RETURN NULL;
        ELSIF NEW.closed_at IS NULL AND EXISTS (SELECT FROM public.steadytext_incidents i
                                             WHERE i.condition = NEW.condition AND i.subject = NEW.subject AND i.closed_at IS NULL) THEN
            RETURN NULL;
        ELSIF EXISTS (SELECT FROM public.steadytext_incidents WHERE id = NEW.id) THEN
            NEW.id := nextval('public.steadytext_incidents_id_seq');
        END IF;
    END CASE;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION _steadytext.make_room() IS
    'Lets a row that is restored take the place of one that CREATE EXTENSION or the keeper has written, or join it.';
CREATE FUNCTION _steadytext.keep_keeper_out() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_keep_keeper_out' LANGUAGE C;
COMMENT ON FUNCTION _steadytext.keep_keeper_out() IS
    'Before rows are restored: until the transaction ends the keeper writes none into the table.';
CREATE TRIGGER keep_keeper_out BEFORE INSERT ON public.steadytext_cache FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.keep_keeper_out();
CREATE TRIGGER keep_keeper_out BEFORE INSERT ON public.steadytext_usage FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.keep_keeper_out();
CREATE TRIGGER keep_keeper_out BEFORE INSERT ON public.steadytext_incidents FOR EACH STATEMENT
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.keep_keeper_out();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_config FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.make_room();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_cache FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.make_room();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_usage FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.make_room();
CREATE TRIGGER make_room BEFORE INSERT ON public.steadytext_incidents FOR EACH ROW
    WHEN (current_user <> 'steadytext_owner') EXECUTE FUNCTION _steadytext.make_room();

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

-- A body that calls a function names it in _steadytext, where nobody can put an overload that fits better; so there is each of these twice.
CREATE FUNCTION _steadytext.generate(
    prompt text, max_tokens int, use_cache boolean, seed int, eos_string text, model text, model_repo text, model_filename text,
    size text, unsafe_mode boolean
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

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
    total_ms float8,
    reasoning text
)
AS 'MODULE_PATHNAME', 'steadytext_generate_ex'
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1 COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_ex(text, jsonb) IS
    'Generated text with how it came about. Options: max_tokens, seed, temperature, eos_string, model, size, use_cache, unsafe_mode.';

-- A set-returning function in C streams where it is in a target list. In FROM its rows would be collected first; a function in SQL
-- that is not VOLATILE is inlined there, and so streams in both places.
CREATE FUNCTION _steadytext.generate_stream(
    prompt text, max_tokens int, use_cache boolean, seed int, eos_string text, model text, model_repo text, model_filename text,
    size text, unsafe_mode boolean
) RETURNS SETOF text
AS 'MODULE_PATHNAME', 'steadytext_generate_stream' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION _steadytext.generate_stream(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'What steadytext_generate_stream() is made of.';
CREATE FUNCTION public.steadytext_generate_stream(
    prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]', model text DEFAULT NULL, model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 ROWS 100
AS $$
    SELECT _steadytext.generate_stream(
        prompt, max_tokens, use_cache, seed, eos_string, model, model_repo, model_filename, size, unsafe_mode)
$$;
COMMENT ON FUNCTION public.steadytext_generate_stream(text, int, boolean, int, text, text, text, text, text, boolean) IS
    'Generated text piece by piece, as it is made; together the rows are what steadytext_generate() gives.';

-- ---- structured output -------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_generate_json(
    prompt text, schema jsonb, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_json(text, jsonb, int, boolean, int, boolean, text) IS
    'JSON that satisfies the schema, whatever max_tokens is; 54000 if none fits into it, NULL when no daemon can answer. jsonb forgets the order of members: theirs is that of required.';

CREATE FUNCTION public.steadytext_generate_json(
    prompt text, schema json, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json_written' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_json(text, json, int, boolean, int, boolean, text) IS
    'The same, its members in the order of the schema''s.';

CREATE FUNCTION public.steadytext_generate_json(
    prompt text, schema text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json_written' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_json(text, text, int, boolean, int, boolean, text) IS
    'The same of a schema written as a literal or text, its members in its order.';

CREATE FUNCTION public.steadytext_generate_regex(
    prompt text, pattern text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_regex' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_regex(text, text, int, boolean, int, boolean, text) IS
    'A text that the pattern matches as a whole; 54000 if none fits into max_tokens, NULL when no daemon can answer.';

CREATE FUNCTION public.steadytext_generate_choice(
    prompt text, choices text[], max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_choice' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION public.steadytext_generate_choice(text, text[], int, boolean, int, boolean, text) IS
    'One of the choices, word for word; 54000 if none fits into max_tokens, NULL when no daemon can answer.';

CREATE FUNCTION _steadytext.extract_json(
    input text, row_type oid, max_tokens int, use_cache boolean, seed int, unsafe_mode boolean, model text
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_extract_json' LANGUAGE C STABLE PARALLEL SAFE COST 1000;

-- Casts with the rights of who calls.
CREATE FUNCTION _steadytext.extract_row(row_type anyelement, answer text) RETURNS anyelement
AS 'MODULE_PATHNAME', 'steadytext_extract_row' LANGUAGE C STABLE PARALLEL SAFE COST 10;

-- Not IMMUTABLE: it depends on the type's columns.
CREATE FUNCTION public.steadytext_extract(
    input text, row_type anyelement, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false, model text DEFAULT NULL
) RETURNS anyelement
LANGUAGE sql STABLE PARALLEL SAFE COST 1000
AS $$
    SELECT _steadytext.extract_row(row_type, _steadytext.extract_json(
        input, pg_catalog.pg_typeof(row_type)::pg_catalog.oid, max_tokens, use_cache, seed, unsafe_mode, model))
$$;
COMMENT ON FUNCTION public.steadytext_extract(text, anyelement, int, boolean, int, boolean, text) IS
    'A row of a composite type, given as NULL::my_type, with what the text says; NULL when no daemon can answer, or with a value that PostgreSQL refuses.';

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

CREATE FUNCTION _steadytext.embed(text_input text, use_cache boolean, seed int, model text, unsafe_mode boolean) RETURNS public.vector
AS 'MODULE_PATHNAME', 'steadytext_embed' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

-- ---- reranking ---------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_rerank(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000;
COMMENT ON FUNCTION public.steadytext_rerank(text, text[], text, boolean, int) IS
    'Documents by how well they answer the query, best first, with scores from 0 to 1; by their words when no daemon can answer.';

CREATE FUNCTION _steadytext.rerank(query text, documents text[], task text, return_scores boolean, seed int)
RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000;

CREATE FUNCTION public.steadytext_rerank_docs_only(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    seed int DEFAULT 42
) RETURNS TABLE (document text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000
AS $$ SELECT r.document FROM _steadytext.rerank(query, documents, task, false, seed) r $$;
COMMENT ON FUNCTION public.steadytext_rerank_docs_only(text, text[], text, int) IS
    'Documents by how well they answer the query, best first.';

CREATE FUNCTION public.steadytext_rerank_top_k(
    query text, documents text[], top_k int, task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank_top_k' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 5 COST 1000;
COMMENT ON FUNCTION public.steadytext_rerank_top_k(text, text[], int, text, boolean, int) IS
    'The top_k documents that answer the query best.';

CREATE FUNCTION public.steadytext_rerank_batch(
    queries text[], documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (query_index int, document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank_batch' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 100 COST 1000;
COMMENT ON FUNCTION public.steadytext_rerank_batch(text[], text[], text, boolean, int) IS
    'The same documents ranked for each query (query_index counts from 0); queries that are NULL or blank are skipped.';

-- ---- batches ------------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_generate_batch(prompts text[], max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true)
RETURNS TABLE (prompt text, response text, cached boolean, processing_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_generate_batch' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 COST 100000;
COMMENT ON FUNCTION public.steadytext_generate_batch(text[], int, boolean) IS
    'A text for each prompt, in their order, as many at once as the daemons work on; equal prompts are asked once.';

CREATE FUNCTION public.steadytext_embed_batch(texts text[], use_cache boolean DEFAULT true)
RETURNS TABLE (text_input text, embedding public.vector, cached boolean, processing_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_embed_batch' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 COST 100000;
COMMENT ON FUNCTION public.steadytext_embed_batch(text[], boolean) IS
    'An embedding for each text, in their order, as many at once as the daemons work on; equal texts are asked once.';

CREATE FUNCTION _steadytext.progress()
RETURNS TABLE (pid int, operation text, total bigint, done bigint, cached bigint, failed bigint, started timestamptz)
AS 'MODULE_PATHNAME', 'steadytext_progress' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;

CREATE VIEW public.steadytext_progress AS SELECT * FROM _steadytext.progress();
COMMENT ON VIEW public.steadytext_progress IS
    'Batches under way: of one''s own roles, all of the database for administrators, and all for pg_read_all_stats. What is cached or failed is among what is done.';

-- ---- cache -------------------------------------------------------------------------------------------------------

-- Not IMMUTABLE: it obeys steadytext.normalize_prompts.
CREATE FUNCTION public.steadytext_cache_key(prompt text, params jsonb DEFAULT '{}', prefix text DEFAULT '') RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_cache_key' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_cache_key(text, jsonb, text) IS
    'SHA-256 of prefix, prompt (in NFC), ''|'' and params as Python''s json.dumps(params, sort_keys=True) writes them, in hexadecimal.';

CREATE FUNCTION _steadytext.cache_key(prompt text, params jsonb, prefix text) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_cache_key' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION public.steadytext_generate_cached(prompt text, max_tokens int DEFAULT NULL, seed int DEFAULT 42) RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT _steadytext.generate(prompt, max_tokens, true, seed, '[EOS]', NULL, NULL, NULL, NULL, false) $$;
COMMENT ON FUNCTION public.steadytext_generate_cached(text, int, int) IS
    'steadytext_generate() by its old name: every call is cached.';

CREATE FUNCTION public.steadytext_embed_cached(
    text_input text, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS public.vector
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT _steadytext.embed(text_input, true, seed, model, unsafe_mode) $$;
COMMENT ON FUNCTION public.steadytext_embed_cached(text, int, text, boolean) IS
    'steadytext_embed() by its old name: every call is cached.';

CREATE VIEW public.steadytext_cache_with_frecency AS
SELECT c.*,
       -- exp() of less than -700 is an underflow, an error in PostgreSQL; the score is 0 long before.
       CASE WHEN isfinite(c.last_accessed) AND c.last_accessed > now() - interval '700 days' AND c.access_count > 0
            THEN c.access_count * exp(-greatest(extract(epoch FROM now() - c.last_accessed)::float8, 0) / 86400)
            ELSE 0 END AS frecency_score
FROM public.steadytext_cache c;
COMMENT ON VIEW public.steadytext_cache_with_frecency IS
    'frecency_score = access_count * exp(-seconds since last_accessed / 86400). ORDER BY frecency_rank gives the same order by index.';

CREATE FUNCTION public.steadytext_cache_top(n int DEFAULT 10) RETURNS SETOF public.steadytext_cache_with_frecency
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('steadytext_cache_top', n);
    SELECT * FROM public.steadytext_cache_with_frecency ORDER BY frecency_rank DESC, id DESC LIMIT n
$$;
COMMENT ON FUNCTION public.steadytext_cache_top(int) IS 'The n cached answers of the highest frecency.';

CREATE FUNCTION public.steadytext_frecency_refresh() RETURNS bigint
AS 'MODULE_PATHNAME', 'steadytext_frecency_refresh' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_frecency_refresh() IS
    'Has the keeper write what waits and fold in all hits now, and waits for it; returns the rows whose hits were folded in.';

CREATE FUNCTION public.steadytext_frecency_status()
RETURNS TABLE (refreshed_at timestamptz, lag_seconds float8, duration_ms float8, rows_refreshed bigint, pending_hits bigint,
               pending_writes int)
AS 'MODULE_PATHNAME', 'steadytext_frecency_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION public.steadytext_frecency_status() IS
    'The last refresh of this database: when, how long it took; and what the next will fold in. NULLs: there was none yet.';

-- Whether the ledger's sums can be those of a table: every row has 160 bytes at least, and its entry_bytes is an int.
CREATE FUNCTION _steadytext.cache_ledger_holds(entries numeric, bytes numeric) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(entries BETWEEN 0 AND 4294967296 AND bytes BETWEEN 160 * entries AND 2147483647 * entries, false) $$;

-- By the ledger; one that cannot be true counts for nothing, and the table's rows are counted.
CREATE FUNCTION _steadytext.cache_size(OUT entries bigint, OUT bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH told AS (SELECT coalesce(sum(l.entries), 0) AS entries, coalesce(sum(l.bytes), 0) AS bytes FROM _steadytext.cache_ledger l)
    SELECT t.entries::bigint, t.bytes::bigint FROM told t WHERE _steadytext.cache_ledger_holds(t.entries, t.bytes)
    UNION ALL
    SELECT count(*), coalesce(sum(c.entry_bytes), 0) FROM public.steadytext_cache c
    WHERE NOT (SELECT _steadytext.cache_ledger_holds(t.entries, t.bytes) FROM told t)
    HAVING NOT (SELECT _steadytext.cache_ledger_holds(t.entries, t.bytes) FROM told t)
$$;

CREATE FUNCTION _steadytext.cache_lookups(OUT hits bigint, OUT misses bigint)
AS 'MODULE_PATHNAME', 'steadytext_cache_lookups' LANGUAGE C VOLATILE PARALLEL SAFE;

CREATE FUNCTION _steadytext.cache_stats()
RETURNS TABLE (total_entries bigint, total_size_mb float8, cache_hit_rate float8, avg_access_count float8,
               oldest_entry timestamptz, newest_entry timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Bound to the table when it is made: public belongs to the owner of the database, who may rename it and put another in its place.
BEGIN ATOMIC
    SELECT size.entries, size.bytes / 1048576.0::float8,
           coalesce(lookups.hits::float8 / nullif(lookups.hits + lookups.misses, 0), 0),
           coalesce((SELECT avg(access_count)::float8 FROM public.steadytext_cache), 0),
           (SELECT min(created_at) FROM public.steadytext_cache), (SELECT max(created_at) FROM public.steadytext_cache)
    FROM _steadytext.cache_size() size, _steadytext.cache_lookups() lookups;
END;

CREATE FUNCTION public.steadytext_cache_stats()
RETURNS TABLE (total_entries bigint, total_size_mb float8, cache_hit_rate float8, avg_access_count float8,
               oldest_entry timestamptz, newest_entry timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_stats() $$;
COMMENT ON FUNCTION public.steadytext_cache_stats() IS
    'The cache of this database; cache_hit_rate is that of all lookups since the server started.';

CREATE FUNCTION _steadytext.cache_clear() RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.cache_hold();
    WITH gone AS (DELETE FROM public.steadytext_cache RETURNING 1) SELECT count(*) FROM gone
$$;

CREATE FUNCTION public.steadytext_cache_clear() RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.cache_clear() $$;
COMMENT ON FUNCTION public.steadytext_cache_clear() IS 'Deletes all cached answers of this database; returns how many.';

CREATE FUNCTION public.steadytext_cache_invalidate(
    cache_key text DEFAULT NULL, prompt text DEFAULT NULL, model text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    deleted bigint;
BEGIN
    PERFORM _steadytext.inspect('model', model);
    PERFORM _steadytext.check('steadytext_cache_invalidate', cache_key, prompt, model);
    IF cache_key IS NULL AND prompt IS NULL AND model IS NULL THEN
        RAISE EXCEPTION 'nothing to invalidate'
            USING ERRCODE = '22004', HINT = 'Give a cache_key, a prompt or a model; steadytext_cache_clear() deletes all.';
    END IF;
    PERFORM _steadytext.cache_hold();
    DELETE FROM public.steadytext_cache c
    WHERE (steadytext_cache_invalidate.cache_key IS NULL OR c.cache_key = steadytext_cache_invalidate.cache_key)
      AND (steadytext_cache_invalidate.prompt IS NULL OR c.prompt = steadytext_cache_invalidate.prompt)
      AND (steadytext_cache_invalidate.model IS NULL OR c.model_name = steadytext_cache_invalidate.model);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
COMMENT ON FUNCTION public.steadytext_cache_invalidate(text, text, text) IS
    'Deletes the cached answers that meet all conditions given; returns how many.';

-- ---- eviction ----------------------------------------------------------------------------------------------------

-- Deletes rows in the given order until both targets are met, exact to the row. Sweeps along an index in keyset order, so that no
-- row is looked at twice; rows changed under its hands are left, and made up for by the next in order.
CREATE FUNCTION _steadytext.cache_evict(
    by text, target_entries bigint, target_bytes bigint, batch_size int, below_count bigint, older_than timestamptz,
    INOUT evicted bigint, INOUT freed bigint
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    entries bigint;
    bytes bigint;
    chosen tid[];
    last_id bigint := '-9223372036854775808';
    last_rank float8 := '-infinity';
    last_time timestamptz := '-infinity';
    looked int;
    gone bigint;
    gone_bytes bigint;
BEGIN
    PERFORM _steadytext.check('_steadytext.cache_evict', by, target_entries, target_bytes, batch_size, below_count, older_than,
                                     evicted, freed);
    SELECT s.entries, s.bytes INTO entries, bytes FROM _steadytext.cache_size() s;
    LOOP
        EXIT WHEN entries <= target_entries AND bytes <= target_bytes;
        IF by = 'frecency' THEN
            SELECT array_agg(c.ctid) FILTER (WHERE c.n <= entries - target_entries OR c.before < bytes - target_bytes),
                   count(*), max(c.frecency_rank), (array_agg(c.id))[count(*)]
            INTO chosen, looked, last_rank, last_id
            FROM (SELECT r.*, row_number() OVER w AS n, sum(r.entry_bytes) OVER w - r.entry_bytes AS before
                  FROM (SELECT t.ctid, t.id, t.frecency_rank, t.entry_bytes FROM public.steadytext_cache t
                        WHERE (t.frecency_rank, t.id) > (last_rank, last_id)
                          AND t.created_at < older_than AND t.access_count < below_count
                        ORDER BY t.frecency_rank, t.id LIMIT batch_size) r
                  WINDOW w AS (ORDER BY r.frecency_rank, r.id ROWS UNBOUNDED PRECEDING)) c;
        ELSE
            SELECT array_agg(c.ctid) FILTER (WHERE c.n <= entries - target_entries OR c.before < bytes - target_bytes),
                   count(*), max(c.created_at), (array_agg(c.id))[count(*)]
            INTO chosen, looked, last_time, last_id
            FROM (SELECT r.*, row_number() OVER w AS n, sum(r.entry_bytes) OVER w - r.entry_bytes AS before
                  FROM (SELECT t.ctid, t.id, t.created_at, t.entry_bytes FROM public.steadytext_cache t
                        WHERE (t.created_at, t.id) > (last_time, last_id) AND t.created_at < older_than
                        ORDER BY t.created_at, t.id LIMIT batch_size) r
                  WINDOW w AS (ORDER BY r.created_at, r.id ROWS UNBOUNDED PRECEDING)) c;
        END IF;
        EXIT WHEN looked = 0;
        WITH deleted AS (DELETE FROM public.steadytext_cache WHERE ctid = ANY (chosen) RETURNING entry_bytes)
        SELECT count(*), coalesce(sum(entry_bytes), 0) INTO gone, gone_bytes FROM deleted;
        evicted := evicted + gone;
        freed := freed + gone_bytes;
        entries := entries - gone;
        bytes := bytes - gone_bytes;
        EXIT WHEN looked < batch_size;
    END LOOP;
END
$$;

-- What the keeper and both public functions share: targets from arguments, then steadytext_config, then postgresql.conf.
CREATE FUNCTION _steadytext.cache_evict_to(
    by text, target_entries int, target_size_mb float8, batch_size int, min_access_count int, min_age_hours int,
    OUT evicted_count int, OUT freed_size_mb float8, OUT remaining_entries bigint, OUT remaining_size_mb float8
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most_entries bigint := coalesce(target_entries, _steadytext.cache_limit('cache_max_entries', 10000, 'steadytext.cache_max_entries'));
    most_bytes bigint;
    older_than timestamptz := 'infinity';
    batch int := coalesce(batch_size, 100);
    evicted bigint := 0;
    freed bigint := 0;
BEGIN
    PERFORM _steadytext.check('_steadytext.cache_evict_to', by, target_entries, target_size_mb, batch_size, min_access_count,
                                     min_age_hours);
    most_bytes := coalesce(target_size_mb, _steadytext.cache_limit('cache_max_size_mb', 100, 'steadytext.cache_max_size')) * 1048576;
    IF min_age_hours > 0 THEN
        older_than := now() - make_interval(hours => min_age_hours);
    END IF;
    PERFORM _steadytext.cache_quietly(true);
    IF by = 'frecency' AND min_access_count > 0 THEN
        SELECT e.evicted, e.freed INTO evicted, freed
        FROM _steadytext.cache_evict(by, most_entries, most_bytes, batch, min_access_count, older_than, evicted, freed) e;
    END IF;
    SELECT e.evicted, e.freed INTO evicted, freed
    FROM _steadytext.cache_evict(by, most_entries, most_bytes, batch, 2147483648, older_than, evicted, freed) e;
    PERFORM _steadytext.cache_quietly(false);
    evicted_count := evicted;
    freed_size_mb := freed / 1048576.0::float8;
    SELECT s.entries, s.bytes / 1048576.0::float8 INTO remaining_entries, remaining_size_mb FROM _steadytext.cache_size() s;
    IF evicted > 0 THEN
        INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('cache_eviction', jsonb_build_object(
            'evicted_count', evicted, 'freed_size_mb', freed_size_mb,
            'eviction_type', CASE by WHEN 'age' THEN 'age_based' ELSE 'frecency_based' END));
    END IF;
END
$$;

-- A limit of this database: the table's value if it differs from the one seeded, else postgresql.conf's; 0 there is no limit.
CREATE FUNCTION _steadytext.cache_limit(config_key text, seeded float8, setting text) RETURNS float8
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('_steadytext.cache_limit', config_key, seeded, setting);
    SELECT coalesce(
        (SELECT nullif((CASE WHEN value #>> '{}' ~ '^[0-9]{1,15}(\.[0-9]{1,15})?$' THEN value #>> '{}' END)::float8, seeded)
         FROM public.steadytext_config WHERE key = config_key),
        (SELECT nullif(s.setting, '0')::float8 FROM pg_settings s WHERE s.name = cache_limit.setting),
        1e12)
$$;

CREATE FUNCTION _steadytext.cache_quietly(quietly boolean) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_cache_quietly' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION _steadytext.cache_quietly(boolean) IS
    'While on, and at most until the transaction ends, deleted rows may go on being answered from shared memory.';

CREATE FUNCTION public.steadytext_cache_evict_by_age(
    target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100, min_age_hours int DEFAULT 1
) RETURNS TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM _steadytext.cache_evict_to('age', target_entries, target_size_mb, batch_size, 0, min_age_hours) $$;
COMMENT ON FUNCTION public.steadytext_cache_evict_by_age(int, float8, int, int) IS
    'Deletes the oldest cached answers, older than min_age_hours, until both targets are met, exact to the row.';

CREATE FUNCTION public.steadytext_cache_evict_by_frecency(
    target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100,
    min_access_count int DEFAULT 2, min_age_hours int DEFAULT 1
) RETURNS TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM _steadytext.cache_evict_to('frecency', target_entries, target_size_mb, batch_size, min_access_count, min_age_hours) $$;
COMMENT ON FUNCTION public.steadytext_cache_evict_by_frecency(int, float8, int, int, int) IS
    'Deletes the cached answers of the lowest frecency until both targets are met; those read min_access_count times or more go last.';

CREATE FUNCTION _steadytext.cache_scheduled_eviction() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done record;
    size bigint := (SELECT s.bytes FROM _steadytext.cache_size() s);
    takes bigint := pg_relation_size('public.steadytext_cache');
BEGIN
    IF takes > greatest(8 * size, 16 * 1048576) THEN
        RAISE WARNING 'table public.steadytext_cache takes % for % of answers', pg_size_pretty(takes), pg_size_pretty(size)
            USING HINT = 'VACUUM FULL public.steadytext_cache gives the room back; calls do not wait for it.';
    END IF;
    DELETE FROM public.steadytext_cache WHERE expires_at <= now();
    IF (SELECT value #>> '{}' FROM public.steadytext_config WHERE key = 'cache_eviction_enabled') IN ('false', 'off', 'no', '0') THEN
        RETURN;
    END IF;
    SELECT * INTO done FROM _steadytext.cache_evict_to('frecency', NULL, NULL, 1000, 2, 0);
    IF done.evicted_count > 0 THEN
        RAISE NOTICE 'evicted % cached answers (% MB); % remain', done.evicted_count, round(done.freed_size_mb::numeric, 1), done.remaining_entries;
    END IF;
END
$$;

CREATE FUNCTION public.steadytext_cache_scheduled_eviction() RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.cache_scheduled_eviction() $$;
COMMENT ON FUNCTION public.steadytext_cache_scheduled_eviction() IS
    'What the keeper runs after each refresh: expired answers go, then those of the lowest frecency until cache_max_entries and cache_max_size hold.';

CREATE FUNCTION _steadytext.cache_preview_eviction(preview_count int)
RETURNS TABLE (cache_key text, prompt text, access_count int, last_accessed timestamptz, created_at timestamptz,
               age_days float8, size_bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.check('steadytext_cache_preview_eviction', preview_count);
    SELECT c.cache_key, CASE WHEN length(c.prompt) > 50 THEN left(c.prompt, 50) || '...' ELSE c.prompt END,
           c.access_count, c.last_accessed, c.created_at,
           extract(epoch FROM now() - c.created_at)::float8 / 86400, c.entry_bytes::bigint
    FROM public.steadytext_cache c
    WHERE c.created_at < now() - interval '1 hour'
    ORDER BY c.frecency_rank, c.id LIMIT preview_count
$$;

CREATE FUNCTION public.steadytext_cache_preview_eviction(preview_count int DEFAULT 10)
RETURNS TABLE (cache_key text, prompt text, access_count int, last_accessed timestamptz, created_at timestamptz,
               age_days float8, size_bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_preview_eviction(preview_count) $$;
COMMENT ON FUNCTION public.steadytext_cache_preview_eviction(int) IS
    'The answers that would go first: older than an hour, lowest frecency first.';

CREATE FUNCTION _steadytext.cache_analyze_usage()
RETURNS TABLE (age_bucket text, entry_count bigint, avg_access_count float8, total_size_mb float8, percentage_of_cache float8)
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH buckets (position, bucket, least, most) AS (VALUES
        (1, '< 1 hour', interval '0', interval '1 hour'), (2, '1 hour - 1 day', interval '1 hour', interval '1 day'),
        (3, '1 day - 7 days', interval '1 day', interval '7 days'), (4, '7 days - 30 days', interval '7 days', interval '30 days'),
        (5, '> 30 days', interval '30 days', interval '100 years')),
    found AS (
        SELECT b.position, b.bucket, count(*) AS entries, avg(c.access_count)::float8 AS average,
               sum(c.entry_bytes) / 1048576.0::float8 AS megabytes
        FROM public.steadytext_cache c JOIN buckets b
          ON now() - c.created_at >= b.least AND now() - c.created_at < b.most
        GROUP BY b.position, b.bucket)
    SELECT bucket, entries, average, megabytes, 100 * entries / sum(entries) OVER ()::float8 FROM found ORDER BY position
$$;

CREATE FUNCTION public.steadytext_cache_analyze_usage()
RETURNS TABLE (age_bucket text, entry_count bigint, avg_access_count float8, total_size_mb float8, percentage_of_cache float8)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_analyze_usage() $$;
COMMENT ON FUNCTION public.steadytext_cache_analyze_usage() IS 'Cached answers by age: how many, how often read, how large.';

-- ---- keys of the original ----------------------------------------------------------------------------------------

-- The standard key of a row that the original left; NULL if the row does not say enough, or is none of its.
CREATE FUNCTION _steadytext.cache_migrated_key(entry public.steadytext_cache) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    model text := CASE WHEN entry.model_name IN ('steadytext-default', 'steadytext-embedding', 'qwen3-1.7b') THEN '' ELSE entry.model_name END;
BEGIN
    IF entry.fingerprint IS NOT NULL THEN
        RETURN NULL;
    END IF;
    IF entry.embedding IS NOT NULL THEN
        RETURN _steadytext.cache_key(entry.prompt, jsonb_build_object(
            'fingerprint', 'legacy', 'model', model, 'scope', '', 'seed', coalesce(entry.seed, 42)), 'embed:');
    END IF;
    IF entry.cache_key IN (entry.prompt, entry.prompt || '::EOS::' || entry.eos_string)
       AND entry.generation_params ->> 'max_tokens' ~ '^[0-9]{1,9}$' THEN
        RETURN _steadytext.cache_key(entry.prompt, jsonb_build_object(
            'eos_string', coalesce(entry.eos_string, '[EOS]'), 'fingerprint', 'legacy',
            'max_tokens', (entry.generation_params ->> 'max_tokens')::int, 'model', model, 'scope', '',
            'seed', coalesce(entry.seed, 42), 'size', '', 'temperature', 0.0), 'generate:');
    END IF;
    RETURN NULL;
END
$$;

-- Answers are the owner's to change, so administrators do it by these. Of rows that come to one key the first stays.
CREATE FUNCTION _steadytext.cache_migrate(most int, OUT migrated bigint, OUT merged bigint, OUT skipped bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Bound to the table when it is made, as is cache_stats().
BEGIN ATOMIC
    SELECT _steadytext.check('_steadytext.cache_migrate', most);
    WITH batch AS MATERIALIZED (
        SELECT c.id, _steadytext.cache_migrated_key(c) AS key FROM public.steadytext_cache c
        WHERE c.fingerprint IS NULL ORDER BY c.id LIMIT most FOR UPDATE SKIP LOCKED),
    ranked AS MATERIALIZED (
        SELECT b.id, b.key, b.key IS NOT NULL AND (row_number() OVER (PARTITION BY b.key ORDER BY b.id) > 1
               OR EXISTS (SELECT FROM public.steadytext_cache c WHERE c.cache_key = b.key)) AS is_there
        FROM batch b),
    gone AS (DELETE FROM public.steadytext_cache c USING ranked r WHERE c.id = r.id AND r.is_there RETURNING 1),
    kept AS (
        UPDATE public.steadytext_cache c
        SET cache_key = coalesce(r.key, c.cache_key), fingerprint = CASE WHEN r.key IS NULL THEN 'unknown' ELSE 'legacy' END,
            scope = CASE WHEN r.key IS NULL THEN c.scope ELSE '' END,
            operation = CASE WHEN r.key IS NULL THEN c.operation WHEN c.embedding IS NULL THEN 'generate' ELSE 'embed' END
        FROM ranked r WHERE c.id = r.id AND NOT r.is_there RETURNING r.key)
    SELECT (SELECT count(key) FROM kept), (SELECT count(*) FROM gone), (SELECT count(*) FROM kept WHERE key IS NULL);
END;
CREATE FUNCTION _steadytext.cache_trust() RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH trusted AS (UPDATE public.steadytext_cache SET fingerprint = NULL WHERE fingerprint = 'untrusted' RETURNING 1)
    SELECT count(*) FROM trusted;
END;

CREATE FUNCTION public.steadytext_cache_migrate_keys(batch_size int DEFAULT 1000)
RETURNS TABLE (migrated bigint, merged bigint, skipped bigint, remaining bigint)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_cache_migrate_keys', batch_size);
    PERFORM _steadytext.cache_quietly(true);
    SELECT m.migrated, m.merged, m.skipped INTO migrated, merged, skipped FROM _steadytext.cache_migrate(coalesce(batch_size, 1000)) m;
    PERFORM _steadytext.cache_quietly(false);
    SELECT count(*) INTO remaining FROM public.steadytext_cache WHERE fingerprint IS NULL;
    IF remaining > 0 THEN
        RAISE NOTICE '% rows have new keys, % remain', migrated + merged, remaining USING HINT = 'Call steadytext_cache_migrate_keys() again.';
    END IF;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION public.steadytext_cache_migrate_keys(int) IS
    'Gives up to batch_size rows of the original their standard keys; call it, each time in a transaction of its own, until remaining is 0.';

CREATE FUNCTION public.steadytext_cache_clear_legacy() RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.cache_hold();
    WITH gone AS (DELETE FROM public.steadytext_cache
                  WHERE fingerprint IS NULL OR fingerprint IN ('legacy', 'unknown', 'untrusted') RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION public.steadytext_cache_clear_legacy() IS
    'Deletes all answers that the original left. Afterwards steadytext.legacy_cache_keys = off saves a look for them.';

CREATE FUNCTION public.steadytext_cache_trust_legacy() RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trusted bigint := _steadytext.cache_trust();
BEGIN
    INSERT INTO public.steadytext_audit_log (event_type, details)
        VALUES ('cache_trust_legacy', jsonb_build_object('answers', trusted));
    RETURN trusted;
END
$$;
COMMENT ON FUNCTION public.steadytext_cache_trust_legacy() IS
    'Lets answers of the original be served which everybody could have written (fingerprint ''untrusted''), to every role; returns how many.';

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
    'What the gateway knows of each daemon now; the first is called ''default''. Without any there is that row too, with no endpoint.';

-- What the keeper writes into steadytext_daemon_health, column by column.
CREATE FUNCTION _steadytext.daemon_health()
RETURNS TABLE (daemon_id text, endpoint text, last_heartbeat timestamptz, uptime_seconds int, status text, version text,
               models_loaded text[], memory_usage_mb int, active_connections int, total_requests bigint, error_count int,
               avg_response_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_daemon_health' LANGUAGE C VOLATILE ROWS 4;
COMMENT ON TABLE public.steadytext_daemon_health IS
    'The daemons as steadytext_daemon_status() tells of them, kept by a background worker in each database that uses them; counts are up to a minute old.';
CREATE FUNCTION _steadytext.daemons()
RETURNS TABLE (endpoint text, kind text, weight bigint, state text, breaker text, reason text, until timestamptz, in_flight bigint,
               pool_in_use bigint, requests bigint, failures bigint, late_replies bigint, avg_ms float8, p99_ms float8,
               last_ok timestamptz, fingerprint text)
AS 'MODULE_PATHNAME', 'steadytext_daemons' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;

CREATE VIEW public.steadytext_daemons AS SELECT * FROM _steadytext.daemons();
COMMENT ON VIEW public.steadytext_daemons IS
    'Every daemon as the gateway sees it now. state: invalid, connecting, ready, draining; breaker: closed, open (until), half_open.';

CREATE FUNCTION public.steadytext_daemon_register(endpoint text, weight int DEFAULT 1) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_daemon_register' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_register(text, int) IS
    'Adds a daemon to steadytext.daemons for good; false if it was there already: then it has this weight now.';

CREATE FUNCTION public.steadytext_daemon_unregister(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_unregister' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_unregister(text) IS
    'Takes a daemon out of steadytext.daemons; it finishes what it has.';

CREATE FUNCTION public.steadytext_daemon_set_weight(endpoint text, weight int) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_set_weight' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_set_weight(text, int) IS
    'Changes the share of requests a daemon gets (1 to 1000).';

CREATE FUNCTION public.steadytext_daemon_drain(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_drain' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_drain(text) IS
    'A daemon finishes what it has and gets nothing new, until steadytext_daemon_undrain().';

CREATE FUNCTION public.steadytext_daemon_undrain(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_undrain' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_undrain(text) IS
    'A drained daemon gets requests again.';

CREATE FUNCTION public.steadytext_daemon_trip(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_trip' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_trip(text) IS
    'Opens a daemon''s circuit breaker at once; it is tried again after steadytext.breaker_recovery.';

CREATE FUNCTION public.steadytext_daemon_reset(endpoint text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_daemon_reset' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_daemon_reset(text) IS
    'Closes a daemon''s circuit breaker at once.';

CREATE FUNCTION public.steadytext_models()
RETURNS TABLE (role text, model text, fingerprint text, dimensions int, is_default boolean, served boolean)
AS 'MODULE_PATHNAME', 'steadytext_models' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 4;
COMMENT ON FUNCTION public.steadytext_models() IS
    'The models daemons serve or served; a cached answer is found by its model''s fingerprint.';

-- ---- rate limits -------------------------------------------------------------------------------------------------

CREATE FUNCTION _steadytext.rate_limit_set(role name, operation text, requests int, per interval, tokens bigint, concurrency int) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.inspect('role', role), _steadytext.inspect('operation', operation);
    PERFORM _steadytext.check('steadytext_rate_limit_set', role, operation, requests, per, tokens, concurrency);
    IF num_nonnulls(requests, tokens, concurrency) = 0 THEN
        RAISE EXCEPTION 'a rate limit needs requests, tokens or concurrency' USING ERRCODE = '22023',
            HINT = 'steadytext_rate_limit_remove() takes a limit away.';
    END IF;
    IF concurrency IS NOT NULL AND operation ~ '^daemon:' THEN
        RAISE EXCEPTION 'the calls a daemon works on at once are not limited by role' USING ERRCODE = '22023',
            HINT = 'Limit requests or tokens there, or concurrency for another operation.';
    END IF;
    IF role NOT IN ('*', '@database') AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704',
            HINT = 'Use ''*'' for each role without limits of its own, ''@database'' for all calls in this database together.';
    END IF;
    INSERT INTO public.steadytext_rate_limit_rules AS rule (role_name, operation, requests, per, tokens, concurrency)
        VALUES (role, rate_limit_set.operation, rate_limit_set.requests, rate_limit_set.per,
                rate_limit_set.tokens, rate_limit_set.concurrency)
        ON CONFLICT ON CONSTRAINT steadytext_rate_limit_rules_pkey DO UPDATE
        SET requests = excluded.requests, per = excluded.per, tokens = excluded.tokens, concurrency = excluded.concurrency,
            updated_at = now(), updated_by = current_user;
END
$$;

CREATE FUNCTION public.steadytext_rate_limit_set(
    role name, operation text DEFAULT '*', requests int DEFAULT NULL, per interval DEFAULT '1 min',
    tokens bigint DEFAULT NULL, concurrency int DEFAULT NULL
) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rate_limit_set(role, operation, requests, per, tokens, concurrency) $$;
COMMENT ON FUNCTION public.steadytext_rate_limit_set(name, text, int, interval, bigint, int) IS
    'Limits a role in this database to so many requests and tokens in any interval `per`, and calls at once; replaces what was set for the operation.';

CREATE FUNCTION _steadytext.rate_limit_get(role name)
RETURNS TABLE (operation text, requests int, per interval, tokens bigint, concurrency int)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT operation, requests, per, tokens, concurrency FROM public.steadytext_rate_limit_rules WHERE role_name = role
    UNION ALL
    SELECT '*', each.requests, each.per, NULL, NULL
    FROM public.steadytext_rate_limits,
         LATERAL (VALUES (requests_per_minute, interval '1 min'), (requests_per_hour, '1 hour'), (requests_per_day, '1 day'))
             AS each (requests, per)
    WHERE user_id = role::text AND each.requests IS NOT NULL
    ORDER BY 1, 3
$$;

CREATE FUNCTION public.steadytext_rate_limit_get(role name)
RETURNS TABLE (operation text, requests int, per interval, tokens bigint, concurrency int)
LANGUAGE sql STABLE STRICT
AS $$ SELECT * FROM _steadytext.rate_limit_get(role) $$;
COMMENT ON FUNCTION public.steadytext_rate_limit_get(name) IS
    'The limits set for a role, ''*'' or ''@database'' in this database; those of roles it is a member of bind it too.';

CREATE FUNCTION _steadytext.rate_limit_remove(role name, operation text) RETURNS boolean
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    any_rule boolean;
    any_row boolean;
BEGIN
    DELETE FROM public.steadytext_rate_limit_rules rule
        WHERE rule.role_name = role AND rule.operation = rate_limit_remove.operation;
    any_rule := FOUND;
    DELETE FROM public.steadytext_rate_limits WHERE user_id = role::text AND operation = '*';
    any_row := FOUND;
    -- What was removed, the table's trigger has audited.
    IF NOT (any_rule OR any_row) THEN
        INSERT INTO public.steadytext_audit_log (event_type, details, success)
            VALUES ('rate_limit_remove', jsonb_build_object('role', role, 'operation', operation), false);
    END IF;
    RETURN any_rule OR any_row;
END
$$;

CREATE FUNCTION public.steadytext_rate_limit_remove(role name, operation text DEFAULT '*') RETURNS boolean
LANGUAGE sql VOLATILE STRICT
AS $$ SELECT _steadytext.rate_limit_remove(role, operation) $$;
COMMENT ON FUNCTION public.steadytext_rate_limit_remove(name, text) IS
    'Removes a role''s limits for an operation, for ''*'' its row of steadytext_rate_limits too; false if there were none.';

CREATE FUNCTION public.steadytext_rate_limit_reset(role name) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_rate_limit_reset' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION public.steadytext_rate_limit_reset(name) IS
    'Forgets what a role (or ''@database'', or with ''*'' everyone) has used in this database; how many meters that were.';

CREATE FUNCTION _steadytext.rate_limit_status()
RETURNS TABLE (role text, rule text, operation text, unit text, per interval, most bigint, used bigint, remaining bigint,
               retry_after_ms bigint, refused bigint)
AS 'MODULE_PATHNAME', 'steadytext_rate_limit_status' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 10;

CREATE VIEW public.steadytext_rate_limit_status AS SELECT * FROM _steadytext.rate_limit_status();
COMMENT ON VIEW public.steadytext_rate_limit_status IS
    'What is left of each limit now; looking uses nothing. Everyone sees their own, administrators and pg_read_all_stats all. `rule` is the row''s role.';

-- ---- budgets -----------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_budget_set(role name, period interval, tokens bigint, mode text DEFAULT 'enforce') RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_budget_set', role, period, tokens, mode);
    IF role NOT IN ('*', '@database') AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704',
            HINT = 'Use ''*'' for each role without limits of its own, ''@database'' for all calls in this database together.';
    END IF;
    INSERT INTO public.steadytext_budgets AS budget (role_name, period, tokens, mode)
        VALUES (role, steadytext_budget_set.period, steadytext_budget_set.tokens, steadytext_budget_set.mode)
        ON CONFLICT ON CONSTRAINT steadytext_budgets_pkey DO UPDATE
        SET tokens = excluded.tokens, mode = excluded.mode, updated_at = now(), updated_by = current_user;
END
$$;
COMMENT ON FUNCTION public.steadytext_budget_set(name, interval, bigint, text) IS
    'Gives a role (all its members together), ''*'' or ''@database'' so many tokens in any period; beyond them calls are warned of, or refused.';

CREATE FUNCTION public.steadytext_budget_remove(role name, period interval DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    any_budget boolean;
BEGIN
    DELETE FROM public.steadytext_budgets b
        WHERE b.role_name = role AND (steadytext_budget_remove.period IS NULL OR b.period = steadytext_budget_remove.period);
    any_budget := FOUND;
    IF NOT any_budget THEN
        INSERT INTO public.steadytext_audit_log (event_type, details, success)
            VALUES ('budget_remove', jsonb_build_object('role', role, 'period', period), false);
    END IF;
    RETURN any_budget;
END
$$;
COMMENT ON FUNCTION public.steadytext_budget_remove(name, interval) IS
    'Removes a role''s budget of this period, or all it has; false if there was none.';

-- Tokens of the days a budget's period touches, of the roles it counts together.
CREATE FUNCTION _steadytext.budget_used(role name, period interval) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE counted AS (
        SELECT oid FROM pg_roles WHERE rolname = role
        UNION SELECT m.member FROM pg_auth_members m JOIN counted c ON m.roleid = c.oid)
    SELECT coalesce(sum(u.prompt_tokens + u.completion_tokens), 0)::bigint
    FROM public.steadytext_usage u
    WHERE u.day >= (now() AT TIME ZONE 'UTC' - period)::date
      AND (role = '@database' OR u.role_name IN (SELECT r.rolname FROM pg_roles r JOIN counted USING (oid)))
$$;

CREATE FUNCTION _steadytext.budget_list()
RETURNS TABLE (role name, period interval, tokens bigint, mode text, used bigint, remaining bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.role_name, b.period, b.tokens, b.mode, u.used, greatest(b.tokens - u.used, 0)
    FROM public.steadytext_budgets b,
         LATERAL (SELECT CASE WHEN b.role_name <> '*' THEN _steadytext.budget_used(b.role_name, b.period) END) AS u (used)
    ORDER BY 1, 2
$$;

CREATE FUNCTION public.steadytext_budget_list()
RETURNS TABLE (role name, period interval, tokens bigint, mode text, used bigint, remaining bigint)
LANGUAGE sql STABLE
AS $$ SELECT * FROM _steadytext.budget_list() $$;
COMMENT ON FUNCTION public.steadytext_budget_list() IS
    'All budgets of this database with what steadytext_usage says was used; of ''*'', which each role has by itself, the view steadytext_rate_limit_status tells.';

CREATE FUNCTION public.steadytext_budget_get(role name)
RETURNS TABLE (period interval, tokens bigint, mode text, used bigint, remaining bigint)
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.period, b.tokens, b.mode, b.used, b.remaining FROM _steadytext.budget_list() b
    WHERE b.role = steadytext_budget_get.role
$$;
COMMENT ON FUNCTION public.steadytext_budget_get(name) IS 'The budgets set for a role, ''*'' or ''@database''; those of roles it is a member of bind it too.';

-- ---- monitoring --------------------------------------------------------------------------------------------------

CREATE FUNCTION public.steadytext_metrics()
RETURNS TABLE (name text, labels jsonb, value float8)
AS 'MODULE_PATHNAME', 'steadytext_metrics' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION public.steadytext_metrics() IS
    'Counters, gauges and histograms of the whole server since steadytext_stat_reset(); times in seconds.';

CREATE FUNCTION public.steadytext_prometheus() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_prometheus' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_prometheus() IS
    'What steadytext_metrics() shows in Prometheus''s text format, version 0.0.4.';

CREATE FUNCTION public.steadytext_response_times()
RETURNS TABLE (finished_at timestamptz, operation text, response_time_ms float8, success boolean)
AS 'MODULE_PATHNAME', 'steadytext_response_times' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION public.steadytext_response_times() IS
    'The last 1000 calls of the whole server, latest first; success: a real answer, from a daemon or the cache.';

CREATE FUNCTION _steadytext.stat_statements()
RETURNS TABLE (userid oid, dbid oid, queryid bigint, model text, operation text, calls bigint, hits bigint, failures bigint,
               limited bigint, total_time float8, min_time float8, max_time float8, mean_time float8, prompt_tokens bigint,
               completion_tokens bigint, saved_tokens bigint)
AS 'MODULE_PATHNAME', 'steadytext_stat_statements' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;

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

-- The cache as its tables show it; whoever has one of them locked is not waited for.
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

CREATE FUNCTION _steadytext.incident_notify() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_incident_notify' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.incident_notify() IS
    'NOTIFY steadytext_incident at commit, without a payload, unless the server''s queue of notifications is nearly full.';

-- An incident opens, unless it is open already (since an earlier life of the server), or closes; whoever listens hears of it.
CREATE FUNCTION _steadytext.incident_note(
    condition text, subject text, severity text, opens boolean, at timestamptz, value float8, response text
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    incident record;  -- no type of public's: what that name means there is looked up when this is compiled
BEGIN
    PERFORM _steadytext.check('_steadytext.incident_note', condition, subject, severity, opens, at, value, response);
    IF opens THEN
        -- A restore may have brought it from another database of this server.
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

-- What an earlier life of the server left open and this one does not know is over.
CREATE FUNCTION _steadytext.incidents_settle(conditions text[], subjects text[], at timestamptz) RETURNS void
LANGUAGE sql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT _steadytext.incident_note(i.condition, i.subject, i.severity, false, at, i.value, '')
    FROM public.steadytext_incidents i
    WHERE i.closed_at IS NULL AND i.opened_at < at
      AND (i.condition, i.subject) NOT IN (SELECT * FROM unnest(conditions, subjects))
$$;

CREATE FUNCTION public.steadytext_stat_reset() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_stat_reset' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_stat_reset() IS
    'Begins counting anew: steadytext_metrics(), steadytext_response_times() and pg_stat_steadytext. What steadytext_daemons counts is left.';

-- ---- asynchronous calls ------------------------------------------------------------------------------------------
-- A row is added as the table's owner, whoever calls; who that is stands in user_id. Everything else a role may read itself.

CREATE FUNCTION _steadytext.queue_add(
    request_type text, prompt text, prompts text[], params jsonb, priority int, max_retries int, callback regprocedure, channel text
) RETURNS uuid
AS 'MODULE_PATHNAME', 'steadytext_queue_add' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.queue_add(text, text, text[], jsonb, int, int, regprocedure, text) IS
    'Adds a row to steadytext_queue for the current role, and wakes the worker at commit.';

CREATE FUNCTION _steadytext.queue_look() RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_queue_look' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.queue_look() IS
    'Makes the worker look at the queue once this transaction has committed: rows have come by another way than the functions.';

CREATE FUNCTION _steadytext.queue_wait(request_ids uuid[], timeout_seconds int) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_queue_wait' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION _steadytext.queue_wait(uuid[], int) IS
    'Waits until all have ended; false if they have not in time. Raises at once where they cannot: added by this transaction.';

CREATE FUNCTION _steadytext.queue_check(request_type text, params jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_queue_check' LANGUAGE C IMMUTABLE;
COMMENT ON FUNCTION _steadytext.queue_check(text, jsonb) IS
    'Raises unless params are arguments of the function that the type of request stands for, each as it takes them.';

CREATE FUNCTION public.steadytext_enqueue(
    request_type text, params jsonb, priority int DEFAULT 5, max_retries int DEFAULT 3, callback regprocedure DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_enqueue', request_type, params, priority, max_retries, callback);
    PERFORM _steadytext.queue_check(request_type, params);
    RETURN _steadytext.queue_add(request_type, params ->> 'prompt',
        CASE WHEN request_type IN ('batch_generate', 'batch_embed')
             THEN ARRAY(SELECT jsonb_array_elements_text(coalesce(params -> 'prompts', params -> 'texts'))) END,
        CASE WHEN request_type IN ('batch_generate', 'batch_embed') THEN params - 'prompts' - 'texts' ELSE params END,
        priority, max_retries, callback, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_enqueue(text, jsonb, int, int, regprocedure) IS
    'Queues a call of any kind; its callback, a function of one uuid, is called as the caller once it has ended.';

CREATE FUNCTION _steadytext.generate_async(prompt text, max_tokens int) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_async', prompt, max_tokens);
    RETURN _steadytext.queue_add('generate', prompt, NULL,
        jsonb_build_object('max_tokens', max_tokens, 'use_cache', true, 'seed', NULL), NULL, NULL, NULL, 'steadytext_queue');
END
$$;

CREATE FUNCTION public.steadytext_generate_async(prompt text, max_tokens int DEFAULT 512) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.generate_async(prompt, max_tokens) $$;
COMMENT ON FUNCTION public.steadytext_generate_async(text, int) IS 'Queues a generation; it begins once the transaction commits.';

CREATE FUNCTION _steadytext.generate_batch_async(prompts text[], max_tokens int) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_batch_async', prompts, max_tokens);
    RETURN ARRAY(SELECT _steadytext.generate_async(p, max_tokens) FROM unnest(prompts) WITH ORDINALITY u (p, n) ORDER BY n);
END
$$;

CREATE FUNCTION public.steadytext_generate_batch_async(prompts text[], max_tokens int DEFAULT 512) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.generate_batch_async(prompts, max_tokens) $$;
COMMENT ON FUNCTION public.steadytext_generate_batch_async(text[], int) IS 'Queues up to 100 generations, one request each.';

CREATE FUNCTION public.steadytext_generate_json_async(
    prompt text, schema jsonb, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_json_async', prompt, schema, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_json', prompt, NULL,
        jsonb_build_object('schema', schema, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_json_async(text, jsonb, int, boolean, int) IS 'Queues a generation of JSON that satisfies the schema.';

CREATE FUNCTION public.steadytext_generate_json_async(
    prompt text, schema json, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_json_async', prompt, schema::text, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_json', prompt, NULL,
        jsonb_build_object('schema', schema::text, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_json_async(text, json, int, boolean, int) IS 'The same, its members in the order of the schema''s.';

CREATE FUNCTION public.steadytext_generate_json_async(
    prompt text, schema text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_json_async', prompt, schema, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_json', prompt, NULL,
        jsonb_build_object('schema', schema::json::text, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_json_async(text, text, int, boolean, int) IS 'The same of a schema written as a literal or text, its members in its order.';

CREATE FUNCTION public.steadytext_generate_regex_async(
    prompt text, pattern text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_regex_async', prompt, pattern, max_tokens, use_cache, seed);
    RETURN _steadytext.queue_add('generate_regex', prompt, NULL,
        jsonb_build_object('pattern', pattern, 'max_tokens', max_tokens, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_regex_async(text, text, int, boolean, int) IS 'Queues a generation of a text that the pattern matches.';

CREATE FUNCTION public.steadytext_generate_choice_async(
    prompt text, choices text[], use_cache boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_generate_choice_async', prompt, choices, use_cache, seed);
    RETURN _steadytext.queue_add('generate_choice', prompt, NULL,
        jsonb_build_object('choices', choices, 'use_cache', use_cache, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue');
END
$$;
COMMENT ON FUNCTION public.steadytext_generate_choice_async(text, text[], boolean, int) IS 'Queues a choice.';

CREATE FUNCTION _steadytext.embed_async(text_input text, use_cache boolean, seed int, model text, unsafe_mode boolean) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    params CONSTANT jsonb := jsonb_build_object('text_input', text_input, 'use_cache', use_cache, 'seed', seed, 'model', model,
                                                'unsafe_mode', unsafe_mode);
BEGIN
    PERFORM _steadytext.check('steadytext_embed_async', text_input, use_cache, seed, model, unsafe_mode);
    PERFORM _steadytext.queue_check('embed', params);
    RETURN _steadytext.queue_add('embed', NULL, NULL, params, NULL, NULL, NULL, 'steadytext_async');
END
$$;

CREATE FUNCTION public.steadytext_embed_async(
    text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.embed_async(text_input, use_cache, seed, model, unsafe_mode) $$;
COMMENT ON FUNCTION public.steadytext_embed_async(text, boolean, int, text, boolean) IS 'Queues an embedding; steadytext_check_async() has it.';

CREATE FUNCTION _steadytext.embed_batch_async(texts text[]) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_embed_batch_async', texts);
    RETURN ARRAY(SELECT _steadytext.queue_add('embed', t, NULL, NULL, NULL, NULL, NULL, 'steadytext_queue')
                 FROM unnest(texts) WITH ORDINALITY u (t, n) ORDER BY n);
END
$$;

CREATE FUNCTION public.steadytext_embed_batch_async(texts text[]) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.embed_batch_async(texts) $$;
COMMENT ON FUNCTION public.steadytext_embed_batch_async(text[]) IS 'Queues embeddings, one request each.';

CREATE FUNCTION _steadytext.rerank_async(query text, documents text[], task text, return_scores boolean, seed int) RETURNS uuid
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_rerank_async', query, documents, task, return_scores, seed);
    RETURN _steadytext.queue_add('rerank', NULL, NULL, jsonb_build_object('query', query, 'documents', documents, 'task', task,
        'return_scores', return_scores, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue_notify');
END
$$;

CREATE FUNCTION public.steadytext_rerank_async(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rerank_async(query, documents, task, return_scores, seed) $$;
COMMENT ON FUNCTION public.steadytext_rerank_async(text, text[], text, boolean, int) IS
    'Queues a ranking; its result is a JSON array of [document, score], or of documents.';

CREATE FUNCTION _steadytext.rerank_batch_async(queries text[], documents text[], task text, return_scores boolean, seed int) RETURNS uuid[]
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_rerank_batch_async', queries, documents, task, return_scores, seed);
    RETURN ARRAY(SELECT _steadytext.queue_add('batch_rerank', NULL, NULL, jsonb_build_object('query', q, 'documents', documents,
                     'task', task, 'return_scores', return_scores, 'seed', seed), NULL, NULL, NULL, 'steadytext_queue_notify')
                 FROM unnest(queries) WITH ORDINALITY u (q, n) ORDER BY n);
END
$$;

CREATE FUNCTION public.steadytext_rerank_batch_async(
    queries text[], documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rerank_batch_async(queries, documents, task, return_scores, seed) $$;
COMMENT ON FUNCTION public.steadytext_rerank_batch_async(text[], text[], text, boolean, int) IS 'Queues a ranking for each query.';

CREATE FUNCTION _steadytext.check_async(request_id uuid)
RETURNS TABLE (status text, result text, results text[], embedding public.vector, embeddings public.vector[], error text,
               created_at timestamptz, completed_at timestamptz, processing_time_ms int, request_type text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT q.status, q.result, q.results, q.embedding, q.embeddings, q.error, q.created_at, q.completed_at, q.processing_time_ms, q.request_type
    FROM public.steadytext_queue q WHERE q.request_id = check_async.request_id
$$;

CREATE FUNCTION public.steadytext_check_async(request_id uuid)
RETURNS TABLE (status text, result text, results text[], embedding public.vector, embeddings public.vector[], error text,
               created_at timestamptz, completed_at timestamptz, processing_time_ms int, request_type text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$ SELECT * FROM _steadytext.check_async(request_id) $$;
COMMENT ON FUNCTION public.steadytext_check_async(uuid) IS 'What has become of an asynchronous call of one''s own; no row if it is unknown.';

-- VOLATILE, so that it sees what the same statement has queued.
CREATE FUNCTION _steadytext.check_async_batch(request_ids uuid[])
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT q.request_id, q.status, q.result, q.error, q.completed_at
    FROM unnest(request_ids) WITH ORDINALITY u (wanted, n) JOIN public.steadytext_queue q ON q.request_id = u.wanted ORDER BY n
$$;

CREATE FUNCTION public.steadytext_check_async_batch(request_ids uuid[])
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE sql VOLATILE
AS $$ SELECT * FROM _steadytext.check_async_batch(request_ids) $$;
COMMENT ON FUNCTION public.steadytext_check_async_batch(uuid[]) IS 'What has become of several asynchronous calls, in the order asked.';

CREATE FUNCTION _steadytext.get_async_result(request_id uuid, timeout_seconds int) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seconds CONSTANT int := coalesce(timeout_seconds, 30);
    found_row record;
BEGIN
    PERFORM _steadytext.check('steadytext_get_async_result', request_id, timeout_seconds);
    PERFORM _steadytext.queue_wait(ARRAY[request_id], seconds);
    SELECT q.status, q.result, q.error INTO found_row
        FROM public.steadytext_queue q WHERE q.request_id = get_async_result.request_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Request ID % not found', request_id USING ERRCODE = 'P0002';
    END IF;
    CASE found_row.status
        WHEN 'completed' THEN RETURN found_row.result;
        WHEN 'failed' THEN RAISE EXCEPTION 'Async request failed: %', found_row.error USING ERRCODE = '38000';
        WHEN 'cancelled' THEN RAISE EXCEPTION 'Async request was cancelled' USING ERRCODE = '38000';
        ELSE RAISE EXCEPTION 'Timeout waiting for async result (% seconds)', seconds USING ERRCODE = 'HYT00';
    END CASE;
END
$$;

CREATE FUNCTION public.steadytext_get_async_result(request_id uuid, timeout_seconds int DEFAULT 30) RETURNS text
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.get_async_result(request_id, timeout_seconds) $$;
COMMENT ON FUNCTION public.steadytext_get_async_result(uuid, int) IS
    'Waits for an asynchronous call and gives its text; not in the transaction that queued it, which nobody else can see.';

CREATE FUNCTION public.steadytext_get_async_results(request_ids uuid[], timeout_seconds int DEFAULT 30)
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.check('steadytext_get_async_results', request_ids, timeout_seconds);
    PERFORM _steadytext.queue_wait(request_ids, coalesce(timeout_seconds, 30));
    RETURN QUERY SELECT * FROM _steadytext.check_async_batch(request_ids);
END
$$;
COMMENT ON FUNCTION public.steadytext_get_async_results(uuid[], int) IS
    'Waits until all have ended or the time is over; then what steadytext_check_async_batch() gives.';

CREATE FUNCTION public.steadytext_cancel_async(request_id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_queue_cancel' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_cancel_async(uuid) IS
    'Cancels an asynchronous call of one''s own, also at the daemon; false if it has ended or is unknown.';

CREATE FUNCTION public.steadytext_queue_requeue(request_ids uuid[]) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_queue_requeue' LANGUAGE C VOLATILE;
COMMENT ON FUNCTION public.steadytext_queue_requeue(uuid[]) IS
    'Queues failed and cancelled calls of one''s own anew, with all their attempts; how many.';

-- ---- configuration -----------------------------------------------------------------------------------------------

CREATE FUNCTION _steadytext.inspect(parameter text, name text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_inspect' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION _steadytext.inspect(text, text) IS
    'Logs and audits a name that looks like an attack, given as one of a few parameters.';

CREATE FUNCTION public.steadytext_validate_endpoint(host text, port int) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_validate_endpoint' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_validate_endpoint(text, int) IS
    'Whether a daemon may be there: an address or name that is not link-local or a cloud''s metadata, and a port from 1024 on. Names are not looked up.';

CREATE FUNCTION public.steadytext_validate_table_name(name text) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_validate_table_name' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_validate_table_name(text) IS
    'Whether it is table or schema.table in letters, digits and underscores, none of them reserved or the system''s own.';

CREATE FUNCTION public.steadytext_version() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_version' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION public.steadytext_version() IS 'Version of the loaded library.';

CREATE FUNCTION _steadytext.version() RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_version' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION _steadytext.config_get(config_key text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Bound to the table when it is made, as is cache_stats().
BEGIN ATOMIC
    SELECT _steadytext.check('steadytext_config_get', config_key);
    SELECT value #>> '{}' FROM public.steadytext_config WHERE key = config_key;
END;

CREATE FUNCTION public.steadytext_config_get(config_key text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
AS $$ SELECT _steadytext.config_get(config_key) $$;
COMMENT ON FUNCTION public.steadytext_config_get(text) IS 'A setting of this database as text, or NULL.';

CREATE FUNCTION _steadytext.config_set(config_key text, config_value text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := lower(config_key);
    typed jsonb;
BEGIN
    PERFORM _steadytext.check('steadytext_config_set', config_key, config_value);
    PERFORM _steadytext.inspect('config_key', config_key);
    IF name ~ '(host|name)$' THEN
        PERFORM _steadytext.inspect(CASE name WHEN 'daemon_host' THEN name ELSE 'config_value' END, config_value);
    END IF;
    PERFORM _steadytext.check_config(config_key, config_value);
    IF name IN ('daemon_host', 'daemon_port') AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'must be superuser to set %', config_key USING ERRCODE = 'insufficient_privilege', DETAIL = 'It changes steadytext.daemons, for all databases.';
    END IF;
    -- A number stays a number and a boolean a boolean; all else is text.
    typed := CASE
        WHEN config_value ~ '^-?(0|[1-9][0-9]*)(\.[0-9]+)?$' OR config_value IN ('true', 'false') THEN config_value::jsonb
        ELSE to_jsonb(config_value)
    END;
    INSERT INTO public.steadytext_config (key, value) VALUES (config_key, typed)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = now(), updated_by = current_user;
    IF NOT EXISTS (SELECT FROM _steadytext.config_seed s WHERE s.key = config_key) THEN
        RAISE NOTICE '"%" is no setting of pg_steadytext', config_key
            USING DETAIL = 'The row is kept for whoever reads it.', HINT = 'The view steadytext_config_settings has those there are.';
    END IF;
    IF name IN ('daemon_host', 'daemon_port') THEN
        PERFORM _steadytext.follow_daemon_address(name, config_value);
    END IF;
END
$$;

CREATE FUNCTION public.steadytext_config_set(config_key text, config_value text) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.config_set(config_key, config_value) $$;
COMMENT ON FUNCTION public.steadytext_config_set(text, text) IS
    'Changes a setting of this database; daemon_host and daemon_port change steadytext.daemons for the whole server. The view steadytext_config_settings tells which setting a key stands for.';

CREATE FUNCTION _steadytext.follow_daemon_address(config_key text, config_value text) RETURNS void
AS 'MODULE_PATHNAME', 'steadytext_follow_daemon_address' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION _steadytext.follow_daemon_address(text, text) IS
    'Makes this the host or the port of the first daemon of steadytext.daemons (superusers only); nothing else of the table gets there.';

-- Tells every session, at commit, that its copy of steadytext_config is stale.
CREATE FUNCTION _steadytext.config_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'steadytext_config_changed' LANGUAGE C;
CREATE TRIGGER steadytext_config_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON public.steadytext_config
    FOR EACH STATEMENT EXECUTE FUNCTION _steadytext.config_changed();

CREATE VIEW public.steadytext_config_settings AS
SELECT coalesce(c.key, known.name) AS key, c.value #>> '{}' AS value, known.setting,
       CASE known.setting WHEN 'steadytext.daemons' THEN 'server' WHEN 'steadytext.embedded_daemon' THEN 'none'
            ELSE CASE WHEN known.name IS NOT NULL THEN 'database' END END AS scope,
       s.setting || CASE WHEN s.setting = '0' THEN '' ELSE coalesce(s.unit, '') END AS setting_value
FROM public.steadytext_config c
     FULL JOIN (SELECT name, setting FROM _steadytext.parameters()
                WHERE owner = 'steadytext_config' AND (setting IS NOT NULL OR name = 'cache_eviction_enabled')) known
         ON known.name = c.key
     LEFT JOIN pg_settings s ON s.name = known.setting;
COMMENT ON VIEW public.steadytext_config_settings IS
    'Keys of steadytext_config with the setting in postgresql.conf of the same meaning. scope: ''database'': the row counts here, before the setting, if its value differs from the one installed; ''server'': steadytext_config_set() changes the setting for all databases; ''none'': only the setting counts; NULL: a key of your own.';

-- ---- administrators ----------------------------------------------------------------------------------------------

-- What an administrator is granted: all functions that PUBLIC has not but trigger functions, those that make administrators, and those
-- that act on the whole server; the tables they work on, of which the audit log is not to be changed, answers are not to be made up, and
-- those in _steadytext are only to be read. A sequence may be used where rows may be added, and set nowhere; it is a bigint, so that nobody comes to
-- its end.
CREATE FUNCTION _steadytext.admin_grants() RETURNS SETOF text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH members AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e')
    SELECT format('EXECUTE ON FUNCTION %s', p.oid::regprocedure)
    FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
    WHERE p.prorettype <> 'trigger'::regtype AND p.proname !~ '^(steadytext_)?admin_' AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
      AND (p.oid = '_steadytext.daemons()'::regprocedure
           OR NOT EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 'steadytext_server_admin'::regrole))
    UNION ALL
    SELECT format(CASE WHEN c.relkind = 'S' AND c.relname = 'steadytext_cache_id_seq' THEN 'SELECT ON SEQUENCE %s'
                       WHEN c.relkind = 'S' THEN 'USAGE, SELECT ON SEQUENCE %s'
                       WHEN c.relkind = 'v' OR c.relnamespace <> 'public'::regnamespace THEN 'SELECT ON %s'
                       WHEN c.relname = 'steadytext_audit_log'
                           THEN 'SELECT, INSERT (event_type, user_id, request_id, details, ip_address, success, error_message) ON %s'
                       WHEN c.relname = 'steadytext_cache' THEN 'SELECT, DELETE ON %s' ELSE 'SELECT, INSERT, UPDATE, DELETE ON %s' END,
                  c.oid::regclass)
    FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
    WHERE c.relkind IN ('r', 'p', 'v') AND c.relname <> 'queue_callbacks'
       OR c.relkind = 'S' AND EXISTS (SELECT FROM members owner JOIN pg_depend d ON d.refobjid = owner.objid WHERE d.objid = c.oid)
$$;

-- A role is one that exists: what GRANT takes for one besides (public, however it is quoted) is none.
CREATE FUNCTION _steadytext.admin_check(role name) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM _steadytext.inspect('role', role);
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    ELSIF role IN ('steadytext_owner', 'steadytext_server_admin') THEN
        RAISE EXCEPTION 'role "%" is not for administrators', role USING ERRCODE = '42501',
            HINT = 'Grant to a role of your own.';
    END IF;
END
$$;

CREATE FUNCTION public.steadytext_admin_grant(role name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    each text;
BEGIN
    PERFORM _steadytext.admin_check(role);
    FOR each IN SELECT * FROM _steadytext.admin_grants() LOOP
        EXECUTE format('GRANT %s TO %I', each, role);
    END LOOP;
    INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('admin_grant', jsonb_build_object('role', role));
END
$$;
COMMENT ON FUNCTION public.steadytext_admin_grant(name) IS
    'Lets a role and its members administer pg_steadytext in this database, beside the owner. Daemons remain the superuser''s.';

CREATE FUNCTION public.steadytext_admin_revoke(role name) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    each text;
BEGIN
    PERFORM _steadytext.admin_check(role);
    FOR each IN SELECT * FROM _steadytext.admin_grants() LOOP
        EXECUTE format('REVOKE %s FROM %I', each, role);
    END LOOP;
    INSERT INTO public.steadytext_audit_log (event_type, details) VALUES ('admin_revoke', jsonb_build_object('role', role));
END
$$;
COMMENT ON FUNCTION public.steadytext_admin_revoke(name) IS 'Takes back what steadytext_admin_grant() granted.';

CREATE FUNCTION _steadytext.selfcheck() RETURNS TABLE (check_name text, status text, details text, hint text)
AS 'MODULE_PATHNAME', 'steadytext_selfcheck' LANGUAGE C VOLATILE ROWS 4;

CREATE FUNCTION public.steadytext_selfcheck()
RETURNS TABLE (check_name text, status text, details text, hint text)
LANGUAGE sql VOLATILE ROWS 20
SET search_path = pg_catalog, pg_temp
AS $$
    WITH extension AS (SELECT * FROM pg_extension WHERE extname = 'pg_steadytext'),
    members AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN extension e ON e.oid = d.refobjid
        WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'),
    objects (classid, oid, name, acl, owner) AS (
        SELECT classid, p.oid, p.oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)), proowner
        FROM members JOIN pg_proc p ON p.oid = objid AND classid = 'pg_proc'::regclass
        UNION ALL
        SELECT classid, c.oid, c.oid::regclass::text, relacl, relowner
        FROM members JOIN pg_class c ON c.oid = objid AND classid = 'pg_class'::regclass),
    public_grants AS (
        SELECT o.classid, o.oid, format('%s on %s', a.privilege_type, o.name) AS said, a.privilege_type
        FROM objects o, aclexplode(o.acl) a
        WHERE a.grantee = 0 AND a.privilege_type NOT IN (
            SELECT i.privilege_type FROM pg_init_privs p, aclexplode(p.initprivs) i
            WHERE p.classoid = o.classid AND p.objoid = o.oid AND p.objsubid = 0 AND i.grantee = 0)
          -- A function whose privileges were never touched is everybody's from the start.
          AND (o.classid <> 'pg_proc'::regclass OR EXISTS (SELECT FROM pg_init_privs p WHERE p.classoid = o.classid AND p.objoid = o.oid))),
    triggers AS (
        SELECT format('%s on %s', t.tgname, o.name) AS said FROM pg_trigger t JOIN objects o ON o.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_proc'::regclass AND objid = t.tgfoid)
        UNION ALL
        SELECT format('rule %s on %s', r.rulename, o.name) FROM pg_rewrite r JOIN objects o ON o.oid = r.ev_class WHERE r.rulename <> '_RETURN'),
    -- What checks, audits and counts the tables' rows.
    own_triggers AS (
        SELECT format('%s on %s', t.tgname, o.name) AS said FROM pg_trigger t JOIN objects o ON o.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND t.tgenabled NOT IN ('O', 'A')),
    trigger_grants AS (
        SELECT format('TRIGGER on %s to %s', o.name, a.grantee::regrole) AS said FROM objects o, aclexplode(o.acl) a
        WHERE a.privilege_type = 'TRIGGER' AND a.grantee NOT IN (o.owner, 0)),
    unpinned AS (
        SELECT o.name AS said FROM objects o JOIN pg_proc p ON p.oid = o.oid
        WHERE o.classid = 'pg_proc'::regclass AND p.prosecdef AND p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']),
    row_security AS (
        SELECT o.name AS said FROM objects o JOIN pg_class c ON c.oid = o.oid
        WHERE o.classid = 'pg_class'::regclass AND c.relname IN ('steadytext_audit_log', 'steadytext_queue') AND NOT c.relrowsecurity
        UNION ALL
        SELECT format('policy %s on %s', p.polname, o.name) FROM pg_policy p JOIN objects o ON o.oid = p.polrelid
        WHERE (o.name, p.polname) NOT IN (('public.steadytext_audit_log', 'own_rows'), ('public.steadytext_audit_log', 'own_name'),
                                          ('public.steadytext_queue', 'own_requests'))),
    -- Two roles that may do nothing else; the first has no members either.
    owner_role AS (
        SELECT format('role %s has attributes', rolname) AS said FROM pg_roles
        WHERE rolname IN ('steadytext_owner', 'steadytext_server_admin')
          AND (rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
        UNION ALL
        SELECT format('%s is a member of %s', m.member::regrole, m.roleid::regrole) FROM pg_auth_members m
        WHERE m.roleid = to_regrole('steadytext_owner') OR m.member IN (to_regrole('steadytext_owner'), to_regrole('steadytext_server_admin'))),
    owners AS (
        SELECT format('%s owns %s', o.owner::regrole, o.name) AS said
        FROM objects o LEFT JOIN pg_proc p ON p.oid = o.oid AND o.classid = 'pg_proc'::regclass JOIN pg_roles r ON r.oid = o.owner
        WHERE CASE WHEN (o.classid = 'pg_class'::regclass AND o.name <> '_steadytext.queue_callbacks') OR p.prosecdef
                   THEN r.rolname <> 'steadytext_owner' ELSE NOT r.rolsuper END
          AND EXISTS (SELECT FROM members m WHERE m.objid = '_steadytext'::regnamespace)
        UNION ALL
        SELECT format('%s owns schema %s', r.rolname, n.nspname) FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
        WHERE n.nspname = '_steadytext' AND NOT r.rolsuper),
    schema_internals AS (
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END || ' may create in schema _steadytext' AS said
        FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = '_steadytext' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
        UNION ALL
        SELECT format('%s is not the extension''s', p.oid::regprocedure) FROM pg_proc p
        WHERE p.pronamespace = '_steadytext'::regnamespace AND NOT EXISTS (SELECT FROM objects o WHERE o.oid = p.oid)),
    default_privileges AS (
        SELECT format('%s on new objects of %s to %s', a.privilege_type, d.defaclrole::regrole,
                      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END) AS said
        FROM pg_default_acl d, aclexplode(d.defaclacl) a
        WHERE (d.defaclnamespace = '_steadytext'::regnamespace OR d.defaclrole = to_regrole('steadytext_owner')) AND a.grantee <> d.defaclrole),
    -- What a session may take for a function or table of the extension. The extension itself calls none of them.
    namesakes AS (
        SELECT format('function %s', p.oid::regprocedure) AS said FROM pg_proc p
        WHERE p.pronamespace <> '_steadytext'::regnamespace AND NOT EXISTS (SELECT FROM objects o WHERE o.oid = p.oid)
          AND p.proname IN (SELECT f.proname FROM pg_proc f JOIN objects o ON o.oid = f.oid AND f.pronamespace = 'public'::regnamespace)
        UNION ALL
        SELECT format('relation %s', c.oid::regclass) FROM pg_class c
        WHERE NOT EXISTS (SELECT FROM objects o WHERE o.oid = c.oid) AND NOT pg_is_other_temp_schema(c.relnamespace)
          AND c.relname IN (SELECT t.relname FROM pg_class t JOIN objects o ON o.oid = t.oid AND t.relnamespace = 'public'::regnamespace)),
    -- What a session whose search_path has the schema before pg_catalog may take for PostgreSQL's own.
    trojans AS (
        SELECT format('operator %s', p.oid::regoperator) AS said FROM pg_operator p
        WHERE p.oid >= 16384 AND 'pg_catalog'::regnamespace = ALL (SELECT t.typnamespace FROM pg_type t WHERE t.oid IN (p.oprleft, p.oprright))
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_operator'::regclass AND d.objid = p.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('cast from %s to %s', c.castsource::regtype, c.casttarget::regtype) FROM pg_cast c
        WHERE c.oid >= 16384 AND 'pg_catalog'::regnamespace = ALL (SELECT t.typnamespace FROM pg_type t WHERE t.oid IN (c.castsource, c.casttarget))
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'e')
        UNION ALL
        SELECT format('type %I.%I', n.nspname, t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE t.oid >= 16384 AND t.typelem = 0 AND EXISTS (SELECT FROM pg_type b WHERE b.typname = t.typname AND b.typnamespace = 'pg_catalog'::regnamespace)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')),
    -- The columns are bound to the type; a dump names it by its schema.
    vectors AS (
        SELECT format('the type of embeddings is %I.%I', n.nspname, t.typname) AS said
        FROM pg_attribute a JOIN objects o ON o.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE o.name = 'public.steadytext_cache' AND a.attname = 'embedding' AND (n.nspname, t.typname) <> ('public', 'vector')
        UNION ALL
        SELECT 'type public.vector is not pgvector''s' FROM pg_type t
        WHERE t.typname = 'vector' AND t.typnamespace = to_regnamespace('public') AND NOT EXISTS (
            SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'vector'
            WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')),
    administrators AS (
        SELECT a.grantee::regrole::text AS said FROM objects o, aclexplode(o.acl) a
        WHERE o.oid = '_steadytext.config_set(text, text)'::regprocedure AND a.grantee NOT IN (o.owner, 0, 'steadytext_owner'::regrole)),
    findings (place, check_name, bad, said, good, hint) AS (
        SELECT 1, 'public_grants', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM public_grants),
               'PUBLIC has no more than at installation', 'REVOKE what PUBLIC need not have.'
        UNION ALL
        SELECT 2, 'trigger_grants', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM trigger_grants),
               'no role but the owner may add triggers', 'REVOKE TRIGGER: what a trigger says runs with the rights of steadytext_owner.'
        UNION ALL
        SELECT 3, 'triggers', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM triggers),
               'the tables have only their own triggers and no rules', 'Make sure of them: background workers run them as steadytext_owner.'
        UNION ALL
        SELECT 4, 'search_paths', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM unpinned),
               'all SECURITY DEFINER functions pin search_path', 'ALTER FUNCTION ... SET search_path = pg_catalog, pg_temp.'
        UNION ALL
        SELECT 5, 'row_security', 'error', (SELECT string_agg(said, ', ') FROM row_security),
               'rows of the audit log and the queue are visible as at installation',
               'ALTER TABLE ... ENABLE ROW LEVEL SECURITY; drop policies that were not there at installation.'
        UNION ALL
        SELECT 6, 'schema_public', 'warning', (SELECT 'PUBLIC may create objects in schema public' WHERE has_schema_privilege('public', 'public', 'CREATE')),
               'PUBLIC may not create objects in schema public', 'REVOKE CREATE ON SCHEMA public FROM PUBLIC.'
        UNION ALL
        SELECT 7, 'sql_version', 'error', (SELECT format('the SQL objects are of version %s, the library is %s', e.extversion, _steadytext.version())
                                           FROM extension e WHERE e.extversion <> _steadytext.version()),
               'SQL objects and library are of one version', 'ALTER EXTENSION pg_steadytext UPDATE, or restart the server with the library of that version.'
        UNION ALL
        SELECT 8, 'installed_version', 'warning', (SELECT format('version %s is installed, %s is running', a.default_version, _steadytext.version())
                                                   FROM pg_available_extensions a WHERE a.name = 'pg_steadytext' AND a.default_version <> _steadytext.version()),
               'the running library is the one installed', 'Restart the server.'
        UNION ALL
        SELECT 9, 'owner_role', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM owner_role),
               'steadytext_owner and steadytext_server_admin may do nothing else', 'Take these rights and memberships away.'
        UNION ALL
        SELECT 10, 'owners', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM owners),
               'steadytext_owner owns the tables and what runs with its rights, superusers the rest', 'ALTER ... OWNER TO.'
        UNION ALL
        SELECT 11, 'schema_internals', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM schema_internals),
               'nobody but a superuser creates in schema _steadytext', 'REVOKE CREATE ON SCHEMA _steadytext; drop what is not the extension''s.'
        UNION ALL
        SELECT 12, 'own_triggers', 'error', (SELECT string_agg(said, ', ' ORDER BY said) FROM own_triggers),
               'the triggers that check, audit and count rows are enabled', 'ALTER TABLE ... ENABLE TRIGGER.'
        UNION ALL
        SELECT 13, 'default_privileges', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM default_privileges),
               'new objects of the extension will be nobody else''s', 'ALTER DEFAULT PRIVILEGES ... REVOKE.'
        UNION ALL
        SELECT 14, 'namesakes', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM namesakes),
               'nothing else is called like a function or table of the extension',
               'A session may find them first, by its search_path or by the types of arguments: drop them, or make sure whose they are.'
        UNION ALL
        SELECT 15, 'trojans', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM trojans),
               'no operator, cast or type stands for one of PostgreSQL''s',
               'A session whose search_path has their schema before pg_catalog calls them: make sure whose they are.'
        UNION ALL
        SELECT 16, 'pgvector', 'warning', (SELECT string_agg(said, ', ' ORDER BY said) FROM vectors),
               'the type of embeddings is pgvector''s, in schema public',
               'ALTER EXTENSION vector SET SCHEMA public, or a dump of this database cannot be restored.')
    SELECT f.check_name, CASE WHEN f.said IS NULL THEN 'ok' ELSE f.bad END, coalesce(f.said, f.good), CASE WHEN f.said IS NOT NULL THEN f.hint END
    FROM (SELECT * FROM findings ORDER BY place) f
    UNION ALL
    SELECT 'administrators', 'ok', coalesce((SELECT string_agg(said, ', ' ORDER BY said) FROM administrators), 'nobody but the owner'), NULL
    UNION ALL
    SELECT 'server_administrators', 'ok', coalesce((SELECT string_agg(m.member::regrole::text, ', ' ORDER BY m.member::regrole::text)
        FROM pg_auth_members m WHERE m.roleid = to_regrole('steadytext_server_admin')), 'nobody but superusers'), NULL
    UNION ALL
    SELECT * FROM _steadytext.selfcheck()
$$;
COMMENT ON FUNCTION public.steadytext_selfcheck() IS
    'Risky grants, triggers and settings, versions that differ between library, SQL and shared memory, daemons that mean different models: ok, warning or error.';

-- ---- short names -------------------------------------------------------------------------------------------------

CREATE FUNCTION public.st_generate(
    prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]', model text DEFAULT NULL, model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_generate_stream(
    prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    eos_string text DEFAULT '[EOS]', model text DEFAULT NULL, model_repo text DEFAULT NULL,
    model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000 ROWS 100
AS $$
    SELECT _steadytext.generate_stream(
        prompt, max_tokens, use_cache, seed, eos_string, model, model_repo, model_filename, size, unsafe_mode)
$$;

CREATE FUNCTION public.st_generate_json(
    prompt text, schema jsonb, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_generate_json(
    prompt text, schema json, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json_written' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_generate_json(
    prompt text, schema text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_json_written' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_generate_regex(
    prompt text, pattern text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_regex' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_generate_choice(
    prompt text, choices text[], max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42,
    unsafe_mode boolean DEFAULT false
) RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_generate_choice' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_embed(
    text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL,
    unsafe_mode boolean DEFAULT false
) RETURNS public.vector
AS 'MODULE_PATHNAME', 'steadytext_embed' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

CREATE FUNCTION public.st_rerank(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000;

CREATE FUNCTION public.st_rerank_docs_only(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    seed int DEFAULT 42
) RETURNS TABLE (document text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 10 COST 1000
AS $$ SELECT r.document FROM _steadytext.rerank(query, documents, task, false, seed) r $$;

CREATE FUNCTION public.st_rerank_top_k(
    query text, documents text[], k int DEFAULT 5, task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank_top_k' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 5 COST 1000;

CREATE FUNCTION public.st_rerank_batch(
    queries text[], documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS TABLE (query_index int, document text, score float8)
AS 'MODULE_PATHNAME', 'steadytext_rerank_batch' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 100 COST 1000;

CREATE FUNCTION public.st_generate_batch(prompts text[], max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true)
RETURNS TABLE (prompt text, response text, cached boolean, processing_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_generate_batch' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 COST 100000;

CREATE FUNCTION public.st_embed_batch(texts text[], use_cache boolean DEFAULT true)
RETURNS TABLE (text_input text, embedding public.vector, cached boolean, processing_time_ms int)
AS 'MODULE_PATHNAME', 'steadytext_embed_batch' LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 100 COST 100000;

CREATE FUNCTION public.st_generate_cached(prompt text, max_tokens int DEFAULT NULL, seed int DEFAULT 42) RETURNS text
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT _steadytext.generate(prompt, max_tokens, true, seed, '[EOS]', NULL, NULL, NULL, NULL, false) $$;

CREATE FUNCTION public.st_embed_cached(
    text_input text, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS public.vector
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$ SELECT _steadytext.embed(text_input, true, seed, model, unsafe_mode) $$;

CREATE FUNCTION public.st_generate_async(prompt text, max_tokens int DEFAULT NULL) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.generate_async(prompt, max_tokens) $$;

CREATE FUNCTION public.st_generate_batch_async(prompts text[], max_tokens int DEFAULT 512) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.generate_batch_async(prompts, max_tokens) $$;

CREATE FUNCTION public.st_embed_async(
    text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false
) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.embed_async(text_input, use_cache, seed, model, unsafe_mode) $$;

CREATE FUNCTION public.st_embed_batch_async(texts text[]) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.embed_batch_async(texts) $$;

CREATE FUNCTION public.st_rerank_async(
    query text, documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rerank_async(query, documents, task, return_scores, seed) $$;

CREATE FUNCTION public.st_rerank_batch_async(
    queries text[], documents text[], task text DEFAULT 'Given a web search query, retrieve relevant passages that answer the query',
    return_scores boolean DEFAULT true, seed int DEFAULT 42
) RETURNS uuid[]
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rerank_batch_async(queries, documents, task, return_scores, seed) $$;

CREATE FUNCTION public.st_check_async(request_id uuid)
RETURNS TABLE (status text, result text, results text[], embedding public.vector, embeddings public.vector[], error text,
               created_at timestamptz, completed_at timestamptz, processing_time_ms int, request_type text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$ SELECT * FROM _steadytext.check_async(request_id) $$;

CREATE FUNCTION public.st_check_async_batch(request_ids uuid[])
RETURNS TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)
LANGUAGE sql VOLATILE
AS $$ SELECT * FROM _steadytext.check_async_batch(request_ids) $$;

CREATE FUNCTION public.st_get_async_result(request_id uuid, timeout_seconds int DEFAULT 30) RETURNS text
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.get_async_result(request_id, timeout_seconds) $$;

CREATE FUNCTION public.st_cancel_async(request_id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'steadytext_queue_cancel' LANGUAGE C VOLATILE;

CREATE FUNCTION public.st_cache_key(prompt text, params jsonb DEFAULT '{}', prefix text DEFAULT '') RETURNS text
AS 'MODULE_PATHNAME', 'steadytext_cache_key' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION public.st_cache_stats()
RETURNS TABLE (total_entries bigint, total_size_mb float8, cache_hit_rate float8, avg_access_count float8,
               oldest_entry timestamptz, newest_entry timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_stats() $$;

CREATE FUNCTION public.st_cache_clear() RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.cache_clear() $$;

CREATE FUNCTION public.st_cache_evict_by_age(
    target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100, min_age_hours int DEFAULT 1
) RETURNS TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM _steadytext.cache_evict_to('age', target_entries, target_size_mb, batch_size, 0, min_age_hours) $$;

CREATE FUNCTION public.st_cache_evict_by_frecency(
    target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100,
    min_access_count int DEFAULT 2, min_age_hours int DEFAULT 1
) RETURNS TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT * FROM _steadytext.cache_evict_to('frecency', target_entries, target_size_mb, batch_size, min_access_count, min_age_hours) $$;

CREATE FUNCTION public.st_cache_preview_eviction(preview_count int DEFAULT 10)
RETURNS TABLE (cache_key text, prompt text, access_count int, last_accessed timestamptz, created_at timestamptz,
               age_days float8, size_bytes bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_preview_eviction(preview_count) $$;

CREATE FUNCTION public.st_cache_analyze_usage()
RETURNS TABLE (age_bucket text, entry_count bigint, avg_access_count float8, total_size_mb float8, percentage_of_cache float8)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT * FROM _steadytext.cache_analyze_usage() $$;

CREATE FUNCTION public.st_cache_scheduled_eviction() RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.cache_scheduled_eviction() $$;

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
AS $$ SELECT _steadytext.config_get(key) $$;

CREATE FUNCTION public.st_config_set(key text, value text) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.config_set(key, value) $$;

CREATE FUNCTION public.st_rate_limit_set(
    role name, operation text DEFAULT '*', requests int DEFAULT NULL, per interval DEFAULT '1 min',
    tokens bigint DEFAULT NULL, concurrency int DEFAULT NULL
) RETURNS void
LANGUAGE sql VOLATILE
AS $$ SELECT _steadytext.rate_limit_set(role, operation, requests, per, tokens, concurrency) $$;

CREATE FUNCTION public.st_rate_limit_get(role name)
RETURNS TABLE (operation text, requests int, per interval, tokens bigint, concurrency int)
LANGUAGE sql STABLE STRICT
AS $$ SELECT * FROM _steadytext.rate_limit_get(role) $$;

CREATE FUNCTION public.st_rate_limit_remove(role name, operation text DEFAULT '*') RETURNS boolean
LANGUAGE sql VOLATILE STRICT
AS $$ SELECT _steadytext.rate_limit_remove(role, operation) $$;

CREATE FUNCTION public.st_rate_limit_reset(role name) RETURNS int
AS 'MODULE_PATHNAME', 'steadytext_rate_limit_reset' LANGUAGE C VOLATILE STRICT;

-- ---- privileges --------------------------------------------------------------------------------------------------
-- Asking is for everyone; what changes the server, or shows what others did, is for the owner until granted. That holds whatever
-- ALTER DEFAULT PRIVILEGES gives on what the installing role creates: with TRIGGER on a table, CREATE in _steadytext or EXECUTE of
-- steadytext_config_set() a role would be more than an administrator.
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e'),
        objects (kind, rights, name, owner) AS (
            SELECT CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END,
                   CASE c.relkind WHEN 'S' THEN 'ALL ON SEQUENCE' ELSE 'ALL ON TABLE' END, c.oid::regclass::text, c.relowner
            FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass AND c.relkind IN ('r', 'v', 'S')
            UNION ALL
            SELECT 'f', 'ALL ON ROUTINE', p.oid::regprocedure::text, p.proowner
            FROM members JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
            UNION ALL
            SELECT 'n', 'CREATE ON SCHEMA', nspname::text, nspowner FROM pg_namespace WHERE nspname = '_steadytext')
        SELECT DISTINCT format('REVOKE %s %s FROM %s', o.rights, o.name, CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
        FROM pg_default_acl d, aclexplode(d.defaclacl) g, objects o
        WHERE d.defaclrole = current_user::regrole AND d.defaclobjtype::text = o.kind AND g.grantee <> o.owner
          AND d.defaclnamespace IN (0, 'public'::regnamespace) AND NOT (o.kind = 'f' AND g.grantee = 0)
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION
    _steadytext.queue_look(), _steadytext.make_room(), _steadytext.keep_keeper_out(), _steadytext.cache_hold(),
    _steadytext.cache_key(text, jsonb, text), _steadytext.version(),
    public.steadytext_daemon_start(), public.steadytext_daemon_stop(),
    public.st_daemon_start(), public.st_daemon_stop(),
    _steadytext.config_set(text, text), public.steadytext_config_set(text, text), public.st_config_set(text, text),
    _steadytext.selfcheck(), public.steadytext_selfcheck(),
    _steadytext.admin_grants(), _steadytext.admin_check(name), public.steadytext_admin_grant(name), public.steadytext_admin_revoke(name),
    _steadytext.inspect(text, text), _steadytext.follow_daemon_address(text, text), _steadytext.config_changed(),
    _steadytext.config_check(), _steadytext.rate_limit_check(), _steadytext.audit_change(), _steadytext.cache_row_check(),
    _steadytext.daemon_health(), _steadytext.daemons(),
    public.steadytext_daemon_register(text, int), public.steadytext_daemon_unregister(text),
    public.steadytext_daemon_set_weight(text, int), public.steadytext_daemon_drain(text), public.steadytext_daemon_undrain(text),
    public.steadytext_daemon_trip(text), public.steadytext_daemon_reset(text),
    public.steadytext_metrics(), public.steadytext_prometheus(), public.steadytext_response_times(),
    _steadytext.stat_statements(), public.steadytext_stat_reset(),
    _steadytext.parameters(), _steadytext.rate_limits_changed(),
    _steadytext.rate_limit_set(name, text, int, interval, bigint, int), _steadytext.rate_limit_get(name),
    _steadytext.rate_limit_remove(name, text),
    public.steadytext_rate_limit_set(name, text, int, interval, bigint, int), public.steadytext_rate_limit_get(name),
    public.steadytext_rate_limit_remove(name, text), public.steadytext_rate_limit_reset(name),
    public.st_rate_limit_set(name, text, int, interval, bigint, int), public.st_rate_limit_get(name),
    public.st_rate_limit_remove(name, text), public.st_rate_limit_reset(name),
    public.steadytext_budget_set(name, interval, bigint, text), public.steadytext_budget_remove(name, interval),
    public.steadytext_budget_get(name), _steadytext.budget_list(), public.steadytext_budget_list(), _steadytext.budget_used(name, interval),
    _steadytext.incident_note(text, text, text, boolean, timestamptz, float8, text),
    _steadytext.incidents_settle(text[], text[], timestamptz), _steadytext.incident_notify(),
    _steadytext.health(), _steadytext.cache_health(), public.steadytext_health_check(),
    public.steadytext_frecency_refresh(), public.steadytext_frecency_status(), public.steadytext_cache_top(int),
    _steadytext.cache_count(), _steadytext.cache_changed(), _steadytext.cache_size(),
    _steadytext.cache_ledger_holds(numeric, numeric), _steadytext.cache_migrate(int), _steadytext.cache_trust(),
    _steadytext.cache_lookups(), _steadytext.cache_stats(), public.steadytext_cache_stats(),
    _steadytext.cache_clear(), public.steadytext_cache_clear(),
    public.steadytext_cache_invalidate(text, text, text),
    _steadytext.cache_evict(text, bigint, bigint, int, bigint, timestamptz, bigint, bigint),
    _steadytext.cache_evict_to(text, int, float8, int, int, int),
    _steadytext.cache_limit(text, float8, text), _steadytext.cache_quietly(boolean),
    public.steadytext_cache_evict_by_age(int, float8, int, int),
    public.steadytext_cache_evict_by_frecency(int, float8, int, int, int),
    _steadytext.cache_scheduled_eviction(), public.steadytext_cache_scheduled_eviction(),
    _steadytext.cache_preview_eviction(int), public.steadytext_cache_preview_eviction(int),
    _steadytext.cache_analyze_usage(), public.steadytext_cache_analyze_usage(), _steadytext.cache_migrated_key(public.steadytext_cache),
    public.steadytext_cache_migrate_keys(int), public.steadytext_cache_clear_legacy(), public.steadytext_cache_trust_legacy(),
    public.st_cache_stats(), public.st_cache_clear(), public.st_cache_evict_by_age(int, float8, int, int),
    public.st_cache_evict_by_frecency(int, float8, int, int, int), public.st_cache_preview_eviction(int),
    public.st_cache_analyze_usage(), public.st_cache_scheduled_eviction()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.steadytext_frecency_status(), _steadytext.cache_stats(), public.steadytext_cache_stats(), public.st_cache_stats()
    TO pg_monitor;
GRANT EXECUTE ON FUNCTION public.steadytext_metrics(), public.steadytext_prometheus(), public.steadytext_response_times(),
    _steadytext.stat_statements(), _steadytext.daemons(), public.steadytext_health_check() TO pg_monitor;
GRANT SELECT ON public.steadytext_daemons, public.pg_stat_steadytext, public.steadytext_usage,
    public.steadytext_incidents TO pg_monitor;
GRANT EXECUTE ON FUNCTION _steadytext.selfcheck(), public.steadytext_selfcheck(), _steadytext.version() TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    public.steadytext_daemon_start(), public.steadytext_daemon_stop(), public.st_daemon_start(), public.st_daemon_stop(),
    public.steadytext_daemon_register(text, int), public.steadytext_daemon_unregister(text),
    public.steadytext_daemon_set_weight(text, int), public.steadytext_daemon_drain(text), public.steadytext_daemon_undrain(text),
    public.steadytext_daemon_trip(text), public.steadytext_daemon_reset(text), public.steadytext_stat_reset(),
    _steadytext.follow_daemon_address(text, text), _steadytext.daemons()
    TO steadytext_server_admin;
GRANT SELECT ON public.steadytext_daemons TO steadytext_server_admin;
-- A role's own quota and batches are its own to see; the functions behind the views leave out what is not.
GRANT SELECT ON public.steadytext_rate_limit_status, public.steadytext_progress, public.steadytext_queue, public.steadytext_queue_dead TO PUBLIC;

-- ---- owners ------------------------------------------------------------------------------------------------------
-- Background workers write the tables, and read what they must, as steadytext_owner. That a role asked for a callback is nothing it can write.
GRANT SELECT, DELETE ON _steadytext.queue_callbacks TO steadytext_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA _steadytext TO steadytext_owner;
DO $$
DECLARE
    command text;
BEGIN
    FOR command IN
        WITH members AS (
            SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
            WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'pg_steadytext' AND d.deptype = 'e')
        SELECT format('ALTER %s %s OWNER TO steadytext_owner', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
        FROM members JOIN pg_class c ON c.oid = objid WHERE classid = 'pg_class'::regclass AND c.relkind IN ('r', 'v')
          AND c.oid <> '_steadytext.queue_callbacks'::regclass
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO steadytext_owner', p.oid::regprocedure)
        FROM members JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass AND p.prosecdef
    LOOP
        EXECUTE command;
    END LOOP;
END
$$;

-- Shared memory may have answers that an extension of this database had which was dropped since.
SELECT _steadytext.cache_hold();
