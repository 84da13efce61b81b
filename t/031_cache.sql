-- The cache: what is kept, found, counted, ranked, evicted and forgotten. The daemon's own answers tell a hit from a miss.
BEGIN;
SELECT plan(65);
COMMIT;
SET steadytext.on_failure = 'error';

-- An answer is kept with what it came from, and found again.
SELECT is(steadytext_generate('first', max_tokens => 7, seed => 3), 'first', 'asked');
SELECT is(cached, true, 'then cached') FROM steadytext_generate_ex('first', '{"max_tokens": 7, "seed": 3}');
SELECT is(cached, false, 'another seed is another call') FROM steadytext_generate_ex('first', '{"max_tokens": 7, "seed": 4}');
SELECT is(cached, false, 'use_cache => false reads nothing') FROM steadytext_generate_ex('first', '{"max_tokens": 7, "seed": 3, "use_cache": false}');
SELECT ok(steadytext_embed('first') IS NOT NULL, 'a vector too');
SELECT cmp_ok(steadytext_frecency_refresh(), '>=', 1::bigint, 'the keeper writes what waits and folds hits in');
SELECT is(count(*), 3::bigint, 'a row for each') FROM steadytext_cache;
SELECT results_eq($$ SELECT prompt, response, model_name, seed, generation_params, operation, scope, fingerprint, finish_reason, access_count,
                            steadytext_cache_hit
                     FROM steadytext_cache WHERE seed = 3 $$,
                  $$ VALUES ('first', 'first', 'echo', 3, '{"max_tokens": 7, "seed": 3, "temperature": 0.0}'::jsonb, 'generate',
                             format('%s/%s', current_database(), current_user) COLLATE "default", 'echo:1', 'stop', 2, true) $$, 'its columns say what it is');
SELECT is(c.cache_key, e.cache_key, 'under the key steadytext_generate_ex tells')
    FROM steadytext_cache c, steadytext_generate_ex('first', '{"max_tokens": 7, "seed": 3}') e WHERE c.seed = 3;
SELECT is(cache_key, steadytext_cache_key('first', jsonb_build_object('eos_string', '[EOS]', 'fingerprint', fingerprint, 'max_tokens', 7, 'model', '',
    'scope', scope, 'seed', 3, 'size', '', 'temperature', 0.0), 'generate:'), 'which anybody can compute') FROM steadytext_cache WHERE seed = 3;
SELECT is(vector_dims(embedding), 384, 'vectors are kept in the model''s own dimensions') FROM steadytext_cache WHERE operation = 'embed';
SELECT is(response IS NULL, true, 'and no text') FROM steadytext_cache WHERE operation = 'embed';

-- use_cache => false writes nothing, a fallback is no answer.
SELECT is(steadytext_generate('unwritten', use_cache => false), 'unwritten', 'answered');
SET steadytext.on_failure = 'fallback';
SET client_min_messages = error;
SELECT isnt(steadytext_generate('!fault:error failing'), NULL, 'a fallback text');
RESET client_min_messages;
SET client_min_messages = warning;
SET steadytext.on_failure = 'error';
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
SELECT is(count(*), 0::bigint, 'neither is kept') FROM steadytext_cache WHERE prompt LIKE '%unwritten%' OR prompt LIKE '%failing%';

-- The table answers what shared memory has forgotten; read-only transactions and rolled back ones are served and remembered.
SELECT is(steadytext_generate('lasting'), 'lasting', 'asked');
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
UPDATE steadytext_cache SET response = 'from the table' WHERE prompt = 'lasting';
SELECT is(steadytext_generate('lasting'), 'from the table', 'a row changed by hand answers at once');
BEGIN READ ONLY;
SELECT is(steadytext_generate('read only'), 'read only', 'a read-only transaction is answered');
COMMIT;
BEGIN;
SELECT is(steadytext_generate('rolled back'), 'rolled back', 'so is one that rolls back');
ROLLBACK;
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
SELECT is(count(*), 2::bigint, 'both answers are kept') FROM steadytext_cache WHERE prompt IN ('read only', 'rolled back');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(count(*) > 0, true, 'an old snapshot') FROM steadytext_cache;
SELECT is(steadytext_generate('asked meanwhile'), 'asked meanwhile', 'in which a call is made');
COMMIT;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE TABLE many AS SELECT i FROM generate_series(1, 2000) i;
ANALYZE many;
SELECT is(count(DISTINCT steadytext_generate('lasting', 512, true, 42 + 0 * i)), 1::bigint, 'parallel workers read the cache') FROM many;

-- Frecency: access_count * exp(-age / 86400), its order by an index at any time.
TRUNCATE steadytext_cache;
INSERT INTO steadytext_cache (cache_key, prompt, response, access_count, last_accessed)
SELECT 'k' || i, 'p' || i, 'r', 1 + i % 7, now() - make_interval(hours => i) FROM generate_series(1, 300) i;
SELECT is(count(*), 0::bigint, 'the view''s score is the formula''s') FROM steadytext_cache_with_frecency
    WHERE abs(frecency_score - access_count * exp(-extract(epoch FROM now() - last_accessed)::float8 / 86400)) > 1e-9;
SELECT results_eq('SELECT cache_key FROM steadytext_cache_with_frecency ORDER BY frecency_rank DESC LIMIT 50',
                  'SELECT cache_key FROM steadytext_cache_with_frecency ORDER BY frecency_score DESC LIMIT 50', 'rank and score give one order');
SELECT results_eq('SELECT cache_key FROM steadytext_cache_top(5)',
                  'SELECT cache_key FROM steadytext_cache_with_frecency ORDER BY frecency_score DESC LIMIT 5', 'steadytext_cache_top()');
INSERT INTO steadytext_cache (cache_key, prompt, access_count, last_accessed) VALUES
    ('ancient', 'x', 5, '1900-01-01'), ('never', 'x', 0, now()), ('timeless', 'x', 3, '-infinity'), ('unknown', 'x', NULL, NULL),
    ('tomorrow', 'x', 1, now() + interval '3000 days'), ('end', 'x', 1, 'infinity');
SELECT lives_ok('SELECT sum(frecency_score), sum(frecency_rank) FROM steadytext_cache_with_frecency', 'no row makes it fail');
SELECT is(frecency_score, 0::float8, cache_key || ' scores 0') FROM steadytext_cache_with_frecency
    WHERE cache_key IN ('ancient', 'never', 'timeless', 'unknown') ORDER BY cache_key;
ANALYZE steadytext_cache;
SET enable_seqscan = off;
SET enable_sort = off;
CREATE FUNCTION pg_temp.plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE plan text;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan;
END $$;
SELECT matches(pg_temp.plan_of('SELECT * FROM steadytext_cache_with_frecency ORDER BY frecency_rank DESC LIMIT 10'), 'idx_steadytext_cache_frecency',
    'the top is read from an index');
RESET enable_seqscan;
RESET enable_sort;

-- Eviction: exact to the row, rarely read ones first, then the others.
TRUNCATE steadytext_cache;
INSERT INTO steadytext_cache (cache_key, prompt, response, access_count, last_accessed, created_at)
SELECT 'k' || i, 'p' || i, 'r', 1 + i % 3, now() - make_interval(mins => i), now() - interval '2 hours' - make_interval(mins => i)
FROM generate_series(1, 1000) i;
SELECT is(total_entries, 1000::bigint, 'stats count the rows') FROM steadytext_cache_stats();
SELECT is(total_size_mb, (SELECT sum(entry_bytes) / 1048576.0::float8 FROM steadytext_cache), 'and their bytes') FROM steadytext_cache_stats();
SELECT is(evicted_count, 1, 'one over the target: one goes') FROM steadytext_cache_evict_by_age(999);
SELECT is(count(*), 0::bigint, 'the oldest one') FROM steadytext_cache WHERE cache_key = 'k1000';
SELECT is(evicted_count, 0, 'at the target none goes') FROM steadytext_cache_evict_by_age(999);
SELECT results_eq($$ SELECT evicted_count, remaining_entries FROM steadytext_cache_evict_by_frecency(800, batch_size => 7) $$,
                  $$ VALUES (199, 800::bigint) $$, 'exact also where batches do not fit');
SELECT is(min(access_count), 1, 'rows read often are kept while others last') FROM steadytext_cache;
SELECT is(evicted_count, 600, 'the target is reached by the others too') FROM steadytext_cache_evict_by_frecency(200);
SELECT is(min(access_count), 2, 'when all below min_access_count are gone') FROM steadytext_cache;
SELECT cmp_ok(remaining_size_mb, '<=', 0.01::float8, 'a target of megabytes is met') FROM steadytext_cache_evict_by_frecency(target_size_mb => 0.01);
SELECT cmp_ok((SELECT sum(entry_bytes) FROM steadytext_cache) + (SELECT max(entry_bytes) FROM steadytext_cache), '>', (0.01 * 1048576)::bigint,
    'by not a row too many');
UPDATE steadytext_cache SET created_at = now();
SELECT is(evicted_count, 0, 'rows younger than min_age_hours stay') FROM steadytext_cache_evict_by_frecency(0);
SELECT is(remaining_entries, 0::bigint, 'unless it is 0') FROM steadytext_cache_evict_by_frecency(0, min_age_hours => 0);
SELECT cmp_ok(count(*), '>=', 4::bigint, 'evictions are in the audit log') FROM steadytext_audit_log WHERE event_type = 'cache_eviction';
SELECT throws_ok('SELECT * FROM steadytext_cache_evict_by_age(-1)', '22023', NULL, 'a negative target is an error');

-- The schedule: limits of this database, and expired rows.
INSERT INTO steadytext_cache (cache_key, prompt, expires_at) SELECT 's' || i, 'x', CASE WHEN i <= 3 THEN now() - interval '1 s' END
FROM generate_series(1, 20) i;
SELECT steadytext_config_set('cache_max_entries', '10') IS NULL AS done \gset
SELECT steadytext_config_set('cache_eviction_enabled', 'false') IS NULL AS done \gset
SELECT steadytext_cache_scheduled_eviction() IS NULL AS done \gset
SELECT is(count(*), 17::bigint, 'cache_eviction_enabled = false: only what expired goes') FROM steadytext_cache;
SELECT steadytext_config_set('cache_eviction_enabled', 'true') IS NULL AS done \gset
SELECT steadytext_cache_scheduled_eviction() IS NULL AS done \gset
SELECT is(count(*), 10::bigint, 'else as many as cache_max_entries of this database stay') FROM steadytext_cache;

-- Preview and analysis.
UPDATE steadytext_cache SET created_at = now();
UPDATE steadytext_cache SET access_count = 3, last_accessed = now() - interval '30 days' WHERE id IN (SELECT id FROM steadytext_cache LIMIT 1);
CREATE TEMP TABLE first_to_go AS SELECT * FROM steadytext_cache_preview_eviction(4);
SELECT is(count(*), 4::bigint, 'a preview has answers of this hour') FROM first_to_go;
SELECT steadytext_config_set('cache_max_entries', '6') IS NULL AS done \gset
SELECT steadytext_cache_scheduled_eviction() IS NULL AS done \gset
SELECT is(count(*), 0::bigint, 'they are those that the schedule takes') FROM first_to_go JOIN steadytext_cache USING (cache_key);
SELECT is(count(*), 6::bigint, 'and all of them') FROM steadytext_cache;
INSERT INTO steadytext_cache (cache_key, prompt) SELECT 'p' || i, 'x' FROM generate_series(1, 4) i;
SELECT steadytext_config_set('cache_max_entries', '10') IS NULL AS done \gset
UPDATE steadytext_cache SET created_at = now() - interval '3 hours', prompt = repeat('long ', 20);
SELECT results_eq('SELECT count(*), max(length(prompt)) FROM steadytext_cache_preview_eviction(5)', 'VALUES (5::bigint, 53)', 'a preview');
SELECT results_eq('SELECT age_bucket, entry_count, percentage_of_cache FROM steadytext_cache_analyze_usage()',
                  $$ VALUES ('1 hour - 1 day', 10::bigint, 100::float8) $$, 'an analysis');
-- A dump may bring any times.
SET session_replication_role = replica;
UPDATE steadytext_cache SET created_at = CASE id % 2 WHEN 0 THEN '-infinity' ELSE 'infinity' END::timestamptz, expires_at = '-infinity'
WHERE id IN (SELECT id FROM steadytext_cache ORDER BY id LIMIT 4);
RESET session_replication_role;
SELECT results_eq('SELECT age_bucket, entry_count FROM steadytext_cache_analyze_usage()',
                  $$ VALUES ('1 hour - 1 day', 6::bigint), ('> 30 days', 2) $$, 'an analysis of answers whose times are infinite');
SELECT is(array_agg(DISTINCT age_days ORDER BY age_days), '{-infinity,infinity}', 'and a preview of them') FROM steadytext_cache_preview_eviction(4);

-- Invalidation and clearing: gone from shared memory too.
TRUNCATE steadytext_cache;
SELECT is(steadytext_generate('doomed'), 'doomed', 'asked');
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
SELECT is(steadytext_cache_invalidate(prompt => 'doomed'), 1::bigint, 'invalidated by prompt');
SELECT is(cached, false, 'it is asked anew') FROM steadytext_generate_ex('doomed');
SELECT throws_ok('SELECT steadytext_cache_invalidate()', '22004', 'nothing to invalidate', 'nothing named is an error');
SELECT steadytext_frecency_refresh() IS NOT NULL AS done \gset
SELECT is(steadytext_cache_clear(), 1::bigint, 'cleared');
SELECT is(cached, false, 'and asked anew') FROM steadytext_generate_ex('doomed');
SELECT is(sum(entries), (SELECT count(*) FROM steadytext_cache)::numeric, 'the ledger agrees with the table') FROM _steadytext.cache_ledger;

-- A time to live.
SET steadytext.cache_ttl = '1 s';
SELECT is(steadytext_generate('short-lived'), 'short-lived', 'asked');
SELECT ok(pg_sleep(0) IS NOT NULL AND (SELECT bool_or(NOT cached) FROM generate_series(1, 400) n (i),
    LATERAL (SELECT pg_sleep(0.005), n.i) s, LATERAL steadytext_generate_ex('short-lived', jsonb_build_object('max_tokens', 512 + 0 * n.i)) e), 'expired after its time');
SELECT * FROM finish();
