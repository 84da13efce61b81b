-- The PL/Python original, pg_steadytext 2025.11.25, as a database has it: its tables with their rows at installation, and every function
-- with its name, arguments and result. What the functions did is left out: nobody calls them here. t/135_upgrade.pl installs this as
-- pg_steadytext--2025.11.25.sql.

CREATE TABLE public.steadytext_cache (
    id serial PRIMARY KEY, cache_key text UNIQUE NOT NULL, prompt text NOT NULL, response text, embedding vector(1024),
    access_count int DEFAULT 1, last_accessed timestamptz DEFAULT now(), created_at timestamptz DEFAULT now(),
    steadytext_cache_hit boolean DEFAULT false, model_name text NOT NULL DEFAULT 'qwen3-1.7b',
    model_size text CHECK (model_size IN ('small', 'medium', 'large')), seed int DEFAULT 42, eos_string text, generation_params jsonb,
    response_size int, generation_time_ms int);
CREATE INDEX idx_steadytext_cache_key ON public.steadytext_cache (cache_key);
CREATE INDEX idx_steadytext_cache_last_accessed ON public.steadytext_cache (last_accessed);
CREATE INDEX idx_steadytext_cache_access_count ON public.steadytext_cache (access_count);

CREATE TABLE public.steadytext_queue (
    id serial PRIMARY KEY, request_id uuid DEFAULT gen_random_uuid(),
    request_type text CHECK (request_type IN ('generate', 'embed', 'batch_embed', 'rerank', 'batch_rerank')),
    prompt text, prompts text[], params jsonb, priority int DEFAULT 5 CHECK (priority BETWEEN 1 AND 10), user_id text, session_id text,
    status text DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    result text, results text[], embedding vector(1024), embeddings vector(1024)[], error text,
    created_at timestamptz DEFAULT now(), started_at timestamptz, completed_at timestamptz, processing_time_ms int,
    retry_count int DEFAULT 0, max_retries int DEFAULT 3, daemon_endpoint text);
CREATE INDEX idx_steadytext_queue_status_priority_created ON public.steadytext_queue (status, priority DESC, created_at);
CREATE INDEX idx_steadytext_queue_request_id ON public.steadytext_queue (request_id);
CREATE INDEX idx_steadytext_queue_user_created ON public.steadytext_queue (user_id, created_at DESC);
CREATE INDEX idx_steadytext_queue_session ON public.steadytext_queue (session_id);

CREATE TABLE public.steadytext_config (
    key text PRIMARY KEY, value jsonb NOT NULL, description text, updated_at timestamptz DEFAULT now(), updated_by text DEFAULT current_user);
INSERT INTO public.steadytext_config (key, value, description) VALUES
    ('daemon_host', '"localhost"', 'Daemon host'), ('daemon_port', '5555', 'Daemon port'), ('cache_enabled', 'false', 'Caching'),
    ('cache_eviction_enabled', 'true', 'Eviction'), ('cache_max_entries', '10000', 'Entries'), ('cache_max_size_mb', '100', 'Size'),
    ('default_max_tokens', '512', 'Tokens'), ('default_seed', '42', 'Seed'), ('daemon_auto_start', 'true', 'Start');

CREATE TABLE public.steadytext_daemon_health (
    daemon_id text PRIMARY KEY DEFAULT 'default', endpoint text NOT NULL, last_heartbeat timestamptz DEFAULT now(),
    uptime_seconds int DEFAULT 0,
    status text DEFAULT 'unknown' CHECK (status IN ('healthy', 'unhealthy', 'starting', 'stopping', 'unknown')),
    version text, models_loaded text[], memory_usage_mb int, active_connections int DEFAULT 0, total_requests bigint DEFAULT 0,
    error_count int DEFAULT 0, avg_response_time_ms int);
INSERT INTO public.steadytext_daemon_health (daemon_id, endpoint, status, uptime_seconds) VALUES ('default', 'tcp://localhost:5555', 'unknown', 0);

CREATE TABLE public.steadytext_rate_limits (
    user_id text PRIMARY KEY, requests_per_minute int DEFAULT 60, requests_per_hour int DEFAULT 1000, requests_per_day int DEFAULT 10000,
    current_minute_count int DEFAULT 0, current_hour_count int DEFAULT 0, current_day_count int DEFAULT 0,
    last_reset timestamptz DEFAULT now(), last_reset_minute timestamptz DEFAULT now(), last_reset_hour timestamptz DEFAULT now(),
    last_reset_day timestamptz DEFAULT now(), created_at timestamptz DEFAULT now());

CREATE TABLE public.steadytext_audit_log (
    id serial PRIMARY KEY, event_id uuid DEFAULT gen_random_uuid(), event_type text NOT NULL, user_id text DEFAULT current_user,
    request_id uuid, details jsonb, created_at timestamptz DEFAULT now(), ip_address inet, success boolean DEFAULT true, error_message text);
CREATE INDEX idx_steadytext_audit_timestamp ON public.steadytext_audit_log (created_at DESC);
CREATE INDEX idx_steadytext_audit_user ON public.steadytext_audit_log (user_id, created_at DESC);

CREATE FUNCTION public._steadytext_raise_p0001(message text) RETURNS void
LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '%', message; END$$;

-- Each function: name, arguments, result, volatility; {s} stands for both steadytext_ and st_.
DO $$
DECLARE
    list CONSTANT text := 'prompt text, max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42, eos_string text DEFAULT ''[EOS]'', model text DEFAULT NULL, model_repo text DEFAULT NULL, model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false';
    tail CONSTANT text := 'max_tokens int DEFAULT NULL, use_cache boolean DEFAULT true, seed int DEFAULT 42, unsafe_mode boolean DEFAULT false';
    task CONSTANT text := 'task text DEFAULT ''Given a web search query, retrieve relevant passages that answer the query''';
    scores CONSTANT text := 'return_scores boolean DEFAULT true, seed int DEFAULT 42';
    evict CONSTANT text := 'target_entries int DEFAULT NULL, target_size_mb float8 DEFAULT NULL, batch_size int DEFAULT 100';
    evicted CONSTANT text := 'TABLE (evicted_count int, freed_size_mb float8, remaining_entries bigint, remaining_size_mb float8)';
    ranked CONSTANT text := 'TABLE (document text, score float8)';
    each record;
BEGIN
    FOR each IN SELECT * FROM (VALUES
        ('{s}generate', list, 'text', 'IMMUTABLE'),
        ('{s}generate_stream', list, 'SETOF text', 'IMMUTABLE'),
        ('{s}generate_cached', 'prompt text, max_tokens int DEFAULT NULL, seed int DEFAULT 42', 'text', 'VOLATILE'),
        ('steadytext_generate_json', 'prompt text, schema jsonb, ' || tail || ', model text DEFAULT NULL', 'text', 'IMMUTABLE'),
        ('steadytext_generate_regex', 'prompt text, pattern text, ' || tail || ', model text DEFAULT NULL', 'text', 'IMMUTABLE'),
        ('steadytext_generate_choice', 'prompt text, choices text[], ' || tail || ', model text DEFAULT NULL', 'text', 'IMMUTABLE'),
        ('st_generate_json', 'prompt text, schema jsonb, ' || tail, 'text', 'IMMUTABLE'),
        ('st_generate_regex', 'prompt text, pattern text, ' || tail, 'text', 'IMMUTABLE'),
        ('st_generate_choice', 'prompt text, choices text[], ' || tail, 'text', 'IMMUTABLE'),
        ('{s}embed', 'text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'vector', 'IMMUTABLE'),
        ('{s}embed_cached', 'text_input text, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'vector', 'VOLATILE'),
        ('{s}rerank', 'query text, documents text[], ' || task || ', ' || scores, ranked, 'IMMUTABLE'),
        ('{s}rerank_docs_only', 'query text, documents text[], ' || task || ', seed int DEFAULT 42', 'TABLE (document text)', 'IMMUTABLE'),
        ('steadytext_rerank_top_k', 'query text, documents text[], top_k int, ' || task || ', ' || scores, ranked, 'IMMUTABLE'),
        ('st_rerank_top_k', 'query text, documents text[], k int DEFAULT 5, ' || task || ', ' || scores, ranked, 'IMMUTABLE'),
        ('{s}rerank_batch', 'queries text[], documents text[], ' || task || ', ' || scores, 'TABLE (query_index int, document text, score float8)', 'IMMUTABLE'),
        ('steadytext_generate_async', 'prompt text, max_tokens int DEFAULT 512', 'uuid', 'VOLATILE'),
        ('st_generate_async', 'prompt text, max_tokens int DEFAULT NULL', 'uuid', 'VOLATILE'),
        ('steadytext_generate_batch_async', 'prompts text[], max_tokens int DEFAULT 512', 'uuid[]', 'VOLATILE'),
        ('{s}embed_async', 'text_input text, use_cache boolean DEFAULT true, seed int DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'uuid', 'VOLATILE'),
        ('steadytext_embed_batch_async', 'texts text[]', 'uuid[]', 'VOLATILE'),
        ('{s}rerank_async', 'query text, documents text[], ' || task || ', ' || scores, 'uuid', 'VOLATILE'),
        ('{s}rerank_batch_async', 'queries text[], documents text[], ' || task || ', ' || scores, 'uuid[]', 'VOLATILE'),
        ('{s}check_async', 'request_id uuid', 'TABLE (status text, result text, results text[], embedding vector, embeddings vector[], error text, created_at timestamptz, completed_at timestamptz, processing_time_ms int, request_type text)', 'STABLE'),
        ('steadytext_check_async_batch', 'request_ids uuid[]', 'TABLE (request_id uuid, status text, result text, error text, completed_at timestamptz)', 'STABLE'),
        ('{s}get_async_result', 'request_id uuid, timeout_seconds int DEFAULT 30', 'text', 'VOLATILE'),
        ('steadytext_cancel_async', 'request_id uuid', 'boolean', 'VOLATILE'),
        ('{s}extract_facts', 'input_text text, max_facts int DEFAULT 10', 'jsonb', 'IMMUTABLE'),
        ('steadytext_deduplicate_facts', 'facts_array jsonb, similarity_threshold float8 DEFAULT 0.85', 'jsonb', 'IMMUTABLE'),
        ('st_deduplicate_facts', 'facts jsonb, similarity_threshold float8 DEFAULT 0.8', 'jsonb', 'IMMUTABLE'),
        ('steadytext_summarize_accumulate', 'state jsonb, value text, metadata jsonb DEFAULT ''{}''', 'jsonb', 'IMMUTABLE'),
        ('steadytext_summarize_combine', 'state1 jsonb, state2 jsonb', 'jsonb', 'IMMUTABLE'),
        ('steadytext_summarize_combine_states', 'state1 jsonb, partial_state jsonb', 'jsonb', 'IMMUTABLE'),
        ('steadytext_summarize_finalize', 'state jsonb', 'text', 'IMMUTABLE'),
        ('{s}summarize_text', 'input_text text, metadata jsonb DEFAULT ''{}'', model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'text', 'IMMUTABLE'),
        ('{s}cache_stats', '', 'TABLE (total_entries bigint, total_size_mb float8, cache_hit_rate float8, avg_access_count float8, oldest_entry timestamptz, newest_entry timestamptz)', 'STABLE'),
        ('{s}cache_clear', '', 'bigint', 'VOLATILE'),
        ('{s}cache_evict_by_age', evict || ', min_age_hours int DEFAULT 1', evicted, 'VOLATILE'),
        ('steadytext_cache_evict_by_frecency', evict || ', min_access_count int DEFAULT 2, min_age_hours int DEFAULT 1', evicted, 'VOLATILE'),
        ('{s}cache_scheduled_eviction', '', 'void', 'VOLATILE'),
        ('{s}cache_preview_eviction', 'preview_count int DEFAULT 10', 'TABLE (cache_key text, prompt text, access_count int, last_accessed timestamptz, created_at timestamptz, age_days float8, size_bytes bigint)', 'STABLE'),
        ('{s}cache_analyze_usage', '', 'TABLE (age_bucket text, entry_count bigint, avg_access_count float8, total_size_mb float8, percentage_of_cache float8)', 'STABLE'),
        ('steadytext_config_get', 'config_key text', 'text', 'STABLE STRICT'),
        ('st_config_get', 'key text', 'text', 'STABLE STRICT'),
        ('steadytext_config_set', 'config_key text, config_value text', 'void', 'VOLATILE STRICT'),
        ('st_config_set', 'key text, value text', 'void', 'VOLATILE STRICT'),
        ('{s}version', '', 'text', 'IMMUTABLE'),
        ('{s}daemon_start', '', 'boolean', 'VOLATILE'),
        ('{s}daemon_stop', '', 'boolean', 'VOLATILE'),
        ('steadytext_daemon_status', '', 'TABLE (daemon_id text, status text, endpoint text, last_heartbeat timestamptz, uptime_seconds int)', 'VOLATILE'),
        ('st_daemon_status', '', 'TABLE (daemon_id text, status text, endpoint text, last_heartbeat timestamptz, uptime_seconds int)', 'STABLE'),
        ('_steadytext_init_python', '', 'void', 'VOLATILE'),
        ('{s}prompt_create', 'slug text, template text, description text DEFAULT NULL, metadata jsonb DEFAULT ''{}''', 'uuid', 'VOLATILE'),
        ('{s}prompt_update', 'slug text, template text, metadata jsonb DEFAULT ''{}''', 'uuid', 'VOLATILE'),
        ('{s}prompt_get', 'slug text, version int DEFAULT NULL', 'TABLE (prompt_id uuid, version_num int, template text, required_variables text[], metadata jsonb, created_at timestamptz, created_by text)', 'VOLATILE'),
        ('{s}prompt_render', 'slug text, variables jsonb, version int DEFAULT NULL, strict boolean DEFAULT true', 'text', 'VOLATILE'),
        ('{s}prompt_list', '', 'TABLE (prompt_id uuid, slug text, description text, latest_version_num int, total_versions int, created_at timestamptz, updated_at timestamptz)', 'STABLE'),
        ('{s}prompt_versions', 'slug text', 'TABLE (version_num int, template text, required_variables text[], metadata jsonb, created_at timestamptz, created_by text, is_active boolean)', 'VOLATILE'),
        ('{s}prompt_delete', 'slug text', 'boolean', 'VOLATILE'),
        ('_validate_jinja2_template', 'template text', 'TABLE (is_valid boolean, required_variables text[], error_message text)', 'VOLATILE'),
        ('_get_next_version', 'p_prompt_id uuid', 'int', 'IMMUTABLE')
    ) f (name, arguments, result, volatility), (VALUES ('steadytext_'), ('st_')) s (prefix)
    WHERE f.name LIKE '{s}%' OR s.prefix = 'st_'
    LOOP
        EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql %s PARALLEL SAFE AS $body$BEGIN RAISE EXCEPTION USING MESSAGE = current_query(); END$body$',
                       replace(each.name, '{s}', each.prefix), each.arguments, each.result, each.volatility);
    END LOOP;
END
$$;

CREATE AGGREGATE public.steadytext_summarize(text, jsonb) (
    SFUNC = public.steadytext_summarize_accumulate, STYPE = jsonb, COMBINEFUNC = public.steadytext_summarize_combine,
    FINALFUNC = public.steadytext_summarize_finalize, PARALLEL = SAFE);
CREATE AGGREGATE public.steadytext_summarize_partial(text, jsonb) (
    SFUNC = public.steadytext_summarize_accumulate, STYPE = jsonb, COMBINEFUNC = public.steadytext_summarize_combine, PARALLEL = SAFE);
CREATE AGGREGATE public.steadytext_summarize_final(jsonb) (
    SFUNC = public.steadytext_summarize_combine_states, STYPE = jsonb, FINALFUNC = public.steadytext_summarize_finalize, PARALLEL = SAFE);
CREATE AGGREGATE public.st_summarize(text, jsonb) (
    SFUNC = public.steadytext_summarize_accumulate, STYPE = jsonb, COMBINEFUNC = public.steadytext_summarize_combine,
    FINALFUNC = public.steadytext_summarize_finalize, PARALLEL = SAFE);

CREATE VIEW public.steadytext_cache_with_frecency AS
    SELECT *, (extract(epoch FROM now() - created_at) / 86400)::float8 AS frecency_score FROM public.steadytext_cache;

GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO PUBLIC;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;

CREATE TABLE public.steadytext_prompts (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), slug text UNIQUE NOT NULL CHECK (slug ~ '^[a-z0-9]+(?:-[a-z0-9]+)*$' AND length(slug) BETWEEN 3 AND 100),
    description text CHECK (length(description) <= 500), created_at timestamptz DEFAULT now(), created_by text DEFAULT current_user,
    updated_at timestamptz DEFAULT now(), updated_by text DEFAULT current_user);
CREATE TABLE public.steadytext_prompt_versions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), prompt_id uuid NOT NULL REFERENCES public.steadytext_prompts ON DELETE CASCADE,
    version int NOT NULL CHECK (version > 0), template text NOT NULL CHECK (length(template) > 0), required_variables text[],
    metadata jsonb DEFAULT '{}', created_at timestamptz DEFAULT now(), created_by text DEFAULT current_user, is_active boolean DEFAULT false,
    UNIQUE (prompt_id, version));
CREATE INDEX idx_steadytext_prompts_slug ON public.steadytext_prompts (slug);
CREATE INDEX idx_steadytext_prompts_created_at ON public.steadytext_prompts (created_at DESC);
CREATE INDEX idx_steadytext_prompt_versions_prompt_id_active ON public.steadytext_prompt_versions (prompt_id, is_active) WHERE is_active;
CREATE INDEX idx_steadytext_prompt_versions_created_at ON public.steadytext_prompt_versions (created_at DESC);
