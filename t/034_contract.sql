-- What the original exposes: names, arguments, defaults and results are those its users' queries were written for. A function of the
-- original that is missing here, or differs in any of them, fails; so does one that is called by its argument names.
BEGIN;

CREATE TEMP TABLE contract (function text, arguments text, result text, volatility text);

-- Arguments as PostgreSQL writes them, less the casts of defaults; what several functions share stands in braces.
INSERT INTO contract VALUES
  ('steadytext_generate', '{list}', 'text', 'immutable'),
  ('st_generate', '{list}', 'text', 'immutable'),
  ('steadytext_generate_cached', 'prompt text, max_tokens integer DEFAULT NULL, seed integer DEFAULT 42', 'text', 'volatile'),
  ('st_generate_cached', 'prompt text, max_tokens integer DEFAULT NULL, seed integer DEFAULT 42', 'text', 'volatile'),
  ('steadytext_generate_json', 'prompt text, schema jsonb, {tail}, model text DEFAULT NULL', 'text', 'immutable'),
  ('steadytext_generate_regex', 'prompt text, pattern text, {tail}, model text DEFAULT NULL', 'text', 'immutable'),
  ('steadytext_generate_choice', 'prompt text, choices text[], {tail}, model text DEFAULT NULL', 'text', 'immutable'),
  ('st_generate_json', 'prompt text, schema jsonb, {tail}', 'text', 'immutable'),
  ('st_generate_regex', 'prompt text, pattern text, {tail}', 'text', 'immutable'),
  ('st_generate_choice', 'prompt text, choices text[], {tail}', 'text', 'immutable'),
  ('steadytext_embed', 'text_input text, use_cache boolean DEFAULT true, seed integer DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'vector', 'immutable'),
  ('st_embed', 'text_input text, use_cache boolean DEFAULT true, seed integer DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'vector', 'immutable'),
  ('steadytext_embed_cached', 'text_input text, seed integer DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'vector', 'volatile'),
  ('st_embed_cached', 'text_input text, seed integer DEFAULT 42, model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'vector', 'volatile'),
  ('steadytext_rerank', 'query text, documents text[], {task}, return_scores boolean DEFAULT true, seed integer DEFAULT 42', 'TABLE(document text, score double precision)', 'immutable'),
  ('st_rerank', 'query text, documents text[], {task}, return_scores boolean DEFAULT true, seed integer DEFAULT 42', 'TABLE(document text, score double precision)', 'immutable'),
  ('steadytext_rerank_docs_only', 'query text, documents text[], {task}, seed integer DEFAULT 42', 'TABLE(document text)', 'immutable'),
  ('st_rerank_docs_only', 'query text, documents text[], {task}, seed integer DEFAULT 42', 'TABLE(document text)', 'immutable'),
  ('steadytext_rerank_top_k', 'query text, documents text[], top_k integer, {task}, return_scores boolean DEFAULT true, seed integer DEFAULT 42', 'TABLE(document text, score double precision)', 'immutable'),
  ('st_rerank_top_k', 'query text, documents text[], k integer DEFAULT 5, {task}, return_scores boolean DEFAULT true, seed integer DEFAULT 42', 'TABLE(document text, score double precision)', 'immutable'),
  ('steadytext_rerank_batch', 'queries text[], documents text[], {task}, return_scores boolean DEFAULT true, seed integer DEFAULT 42', 'TABLE(query_index integer, document text, score double precision)', 'immutable'),
  ('st_rerank_batch', 'queries text[], documents text[], {task}, return_scores boolean DEFAULT true, seed integer DEFAULT 42', 'TABLE(query_index integer, document text, score double precision)', 'immutable'),
  ('steadytext_extract_facts', 'input_text text, max_facts integer DEFAULT 10', 'jsonb', 'immutable'),
  ('st_extract_facts', 'input_text text, max_facts integer DEFAULT 10', 'jsonb', 'immutable'),
  ('steadytext_deduplicate_facts', 'facts_array jsonb, similarity_threshold double precision DEFAULT 0.85', 'jsonb', 'immutable'),
  ('st_deduplicate_facts', 'facts jsonb, similarity_threshold double precision DEFAULT 0.8', 'jsonb', 'immutable'),
  ('steadytext_summarize_accumulate', 'state jsonb, value text, metadata jsonb DEFAULT ''{}''', 'jsonb', 'immutable'),
  ('steadytext_summarize_combine', 'state1 jsonb, state2 jsonb', 'jsonb', 'immutable'),
  ('steadytext_summarize_combine_states', 'state1 jsonb, partial_state jsonb', 'jsonb', 'immutable'),
  ('steadytext_summarize_finalize', 'state jsonb', 'text', 'immutable'),
  ('steadytext_summarize_text', 'input_text text, metadata jsonb DEFAULT ''{}'', model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'text', 'immutable'),
  ('st_summarize_text', 'input_text text, metadata jsonb DEFAULT ''{}'', model text DEFAULT NULL, unsafe_mode boolean DEFAULT false', 'text', 'immutable'),
  ('steadytext_summarize', 'text, jsonb', 'text', 'immutable'),
  ('steadytext_summarize_partial', 'text, jsonb', 'jsonb', 'immutable'),
  ('steadytext_summarize_final', 'jsonb', 'text', 'immutable'),
  ('st_summarize', 'text, jsonb', 'text', 'immutable'),
  ('steadytext_cache_stats', '', 'TABLE(total_entries bigint, total_size_mb double precision, cache_hit_rate double precision, avg_access_count double precision, oldest_entry timestamp with time zone, newest_entry timestamp with time zone)', 'stable'),
  ('steadytext_cache_clear', '', 'bigint', 'volatile'),
  ('steadytext_cache_evict_by_age', '{evict}, min_age_hours integer DEFAULT 1', '{evicted}', 'volatile'),
  ('steadytext_cache_evict_by_frecency', '{evict}, min_access_count integer DEFAULT 2, min_age_hours integer DEFAULT 1', '{evicted}', 'volatile'),
  ('steadytext_cache_scheduled_eviction', '', 'void', 'volatile'),
  ('steadytext_cache_preview_eviction', 'preview_count integer DEFAULT 10', 'TABLE(cache_key text, prompt text, access_count integer, last_accessed timestamp with time zone, created_at timestamp with time zone, age_days double precision, size_bytes bigint)', 'stable'),
  ('steadytext_cache_analyze_usage', '', 'TABLE(age_bucket text, entry_count bigint, avg_access_count double precision, total_size_mb double precision, percentage_of_cache double precision)', 'stable'),
  ('steadytext_config_get', 'config_key text', 'text', 'stable'),
  ('st_config_get', 'key text', 'text', 'stable'),
  ('steadytext_config_set', 'config_key text, config_value text', 'void', 'volatile'),
  ('st_config_set', 'key text, value text', 'void', 'volatile'),
  ('steadytext_version', '', 'text', 'immutable'),
  ('steadytext_prompt_create', 'slug text, template text, description text DEFAULT NULL, metadata jsonb DEFAULT ''{}''', 'uuid', 'volatile'),
  ('steadytext_prompt_update', 'slug text, template text, metadata jsonb DEFAULT ''{}''', 'uuid', 'volatile'),
  ('steadytext_prompt_get', 'slug text, version integer DEFAULT NULL', 'TABLE(prompt_id uuid, version_num integer, template text, required_variables text[], metadata jsonb, created_at timestamp with time zone, created_by text)', 'volatile'),
  ('steadytext_prompt_render', 'slug text, variables jsonb, version integer DEFAULT NULL, strict boolean DEFAULT true', 'text', 'volatile'),
  ('steadytext_prompt_list', '', 'TABLE(prompt_id uuid, slug text, description text, latest_version_num integer, total_versions integer, created_at timestamp with time zone, updated_at timestamp with time zone)', 'stable'),
  ('steadytext_prompt_versions', 'slug text', 'TABLE(version_num integer, template text, required_variables text[], metadata jsonb, created_at timestamp with time zone, created_by text, is_active boolean)', 'volatile'),
  ('steadytext_prompt_delete', 'slug text', 'boolean', 'volatile'),
  ('_validate_jinja2_template', 'template text', 'TABLE(is_valid boolean, required_variables text[], error_message text)', 'volatile'),
  ('_get_next_version', 'p_prompt_id uuid', 'integer', 'stable'),
  ('steadytext_daemon_start', '', 'boolean', 'volatile'),
  ('steadytext_daemon_stop', '', 'boolean', 'volatile'),
  ('steadytext_daemon_status', '', 'TABLE(daemon_id text, status text, endpoint text, last_heartbeat timestamp with time zone, uptime_seconds integer)', 'volatile');

-- An alias has the arguments of what it stands for.
INSERT INTO contract
SELECT replace(function, 'steadytext_', 'st_'), arguments, result, volatility FROM contract
WHERE function IN ('steadytext_cache_stats', 'steadytext_cache_clear', 'steadytext_cache_evict_by_age', 'steadytext_cache_preview_eviction',
                   'steadytext_cache_analyze_usage', 'steadytext_cache_scheduled_eviction', 'steadytext_version', 'steadytext_daemon_start',
                   'steadytext_daemon_stop', 'steadytext_daemon_status') OR function LIKE 'steadytext_prompt_%';

CREATE TEMP TABLE shared (name text, arguments text);
INSERT INTO shared VALUES
  ('{list}', 'prompt text, max_tokens integer DEFAULT NULL, use_cache boolean DEFAULT true, seed integer DEFAULT 42, eos_string text DEFAULT ''[EOS]'', model text DEFAULT NULL, model_repo text DEFAULT NULL, model_filename text DEFAULT NULL, size text DEFAULT NULL, unsafe_mode boolean DEFAULT false'),
  ('{tail}', 'max_tokens integer DEFAULT NULL, use_cache boolean DEFAULT true, seed integer DEFAULT 42, unsafe_mode boolean DEFAULT false'),
  ('{task}', 'task text DEFAULT ''Given a web search query, retrieve relevant passages that answer the query'''),
  ('{evict}', 'target_entries integer DEFAULT NULL, target_size_mb double precision DEFAULT NULL, batch_size integer DEFAULT 100'),
  ('{evicted}', 'TABLE(evicted_count integer, freed_size_mb double precision, remaining_entries bigint, remaining_size_mb double precision)');
UPDATE contract SET arguments = replace(contract.arguments, name, shared.arguments) FROM shared WHERE position(name IN contract.arguments) > 0;
UPDATE contract SET result = shared.arguments FROM shared WHERE result = name;

CREATE FUNCTION pg_temp.found(name text) RETURNS SETOF pg_proc LANGUAGE sql STABLE AS
  $$SELECT * FROM pg_proc WHERE proname = name AND pronamespace = 'public'::regnamespace$$;
CREATE FUNCTION pg_temp.arguments(proc oid) RETURNS text LANGUAGE sql STABLE AS
  $$SELECT regexp_replace(pg_get_function_arguments(proc), '::(text|integer|double precision|jsonb)', '', 'g')$$;

SELECT plan((SELECT count(*)::int * 2 FROM contract) + 10);

SELECT results_eq($$SELECT function::text FROM contract, pg_temp.found(function) GROUP BY function HAVING count(*) > 1 ORDER BY function$$,
    ARRAY['st_generate_json', 'steadytext_generate_json'], 'only a schema is taken in forms that the original did not have');

-- Of several forms, the one that has its arguments; which have several is told below.
SELECT is((SELECT format('%s(%s) %s', proname, pg_temp.arguments(oid), pg_get_function_result(oid)) FROM pg_temp.found(function)
           ORDER BY pg_temp.arguments(oid) <> contract.arguments LIMIT 1),
          format('%s(%s) %s', function, arguments, result), function || ' is called as ever')
FROM contract;

-- The one alias of another volatility than its target is the status: reading it changes nothing here.
SELECT is((SELECT string_agg(DISTINCT CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END, ', ') FROM pg_temp.found(function)),
          CASE WHEN function = 'st_daemon_status' THEN 'stable' WHEN function = 'steadytext_daemon_status' THEN 'volatile' ELSE volatility END,
          function || ' may be planned as ever')
FROM contract;

SELECT is((SELECT string_agg(proname, ', ') FROM pg_proc JOIN pg_language l ON l.oid = prolang
           WHERE proname ~ '^st_' AND lanname = 'sql' AND prosrc !~ '\m_steadytext\.'), NULL,
          'an alias finds what it stands for whatever the search_path');
SELECT is((SELECT string_agg(short.proname, ', ') FROM pg_proc short
           WHERE short.proname ~ '^st_' AND short.pronamespace = 'public'::regnamespace AND NOT EXISTS (
               SELECT FROM pg_temp.found(replace(short.proname, 'st_', 'steadytext_')) long
               WHERE position(short.proargtypes::text IN long.proargtypes::text) = 1 AND long.prorettype = short.prorettype
                 AND (long.prolang, long.probin, long.proisstrict, long.proparallel, long.procost, long.prorows, long.proconfig, long.proacl)
                     IS NOT DISTINCT FROM
                     (short.prolang, short.probin, short.proisstrict, short.proparallel, short.procost, short.prorows, short.proconfig, short.proacl)
                 AND (long.prosrc = short.prosrc OR short.proname ~ '^st_config_'))), NULL,
          'a short name does what the long one does, for the same roles');
SELECT is((SELECT array_agg(steadytext_config_get(key)) FROM unnest(ARRAY['default_max_tokens', 'default_seed', 'cache_eviction_enabled']) key),
          ARRAY['512', '42', 'true'], 'the configuration begins as the original''s did');
SELECT matches(steadytext_version(), '^20\d\d\.\d+\.\d+$', 'the version is a date');
SELECT is(steadytext_version(), (SELECT extversion FROM pg_extension WHERE extname = 'pg_steadytext'), 'and that of the extension');
SELECT is((SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'pg_steadytext'), 'public', 'the schema is public');
SELECT is(steadytext_generate(prompt => 'by name', max_tokens => 8, use_cache => false, seed => 1, eos_string => '[EOS]', model => NULL,
                              model_repo => NULL, model_filename => NULL, size => NULL, unsafe_mode => false), 'by name', 'arguments go by their names');
SELECT columns_are('public', 'steadytext_cache_with_frecency', (SELECT array_agg(attname) || '{frecency_score}'::name[] FROM pg_attribute
  WHERE attrelid = 'public.steadytext_cache'::regclass AND attnum > 0 AND NOT attisdropped), 'the view has the columns of the cache and its score');
SELECT results_eq($$SELECT steadytext_embed(text_input => 'a') = st_embed(text_input => 'a')$$, $$VALUES (true)$$, 'an alias answers as what it stands for');

SELECT * FROM finish();
ROLLBACK;
