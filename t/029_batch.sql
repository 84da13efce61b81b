-- steadytext_generate_batch and steadytext_embed_batch: what goes in, what comes out, in which order.
BEGIN;
SELECT plan(29);

SELECT results_eq($$SELECT prompt, response, cached FROM steadytext_generate_batch(ARRAY['b', 'a', 'c'])$$,
    $$VALUES ('b', 'b', false), ('a', 'a', false), ('c', 'c', false)$$, 'a row for each prompt, in their order');
SELECT results_eq($$SELECT prompt, response, cached FROM st_generate_batch(ARRAY['c', 'new'], 512, true)$$,
    $$VALUES ('c', 'c', true), ('new', 'new', false)$$, 'what is in the cache comes from there; the short name');
SELECT is((SELECT bool_and(processing_time_ms BETWEEN 0 AND 30000) FROM steadytext_generate_batch(ARRAY['timed', 'timed'])), true, 'with the time it took');
SELECT results_eq($$SELECT prompt, response, cached FROM steadytext_generate_batch(ARRAY['twice', 'once', 'twice'])$$,
    $$VALUES ('twice', 'twice', false), ('once', 'once', false), ('twice', 'twice', true)$$, 'equal prompts are asked once');
SELECT results_eq($$SELECT response, cached FROM steadytext_generate_batch(ARRAY['twice', 'twice'], use_cache => false)$$,
    $$VALUES ('twice', false), ('twice', true)$$, 'also where the cache is not asked');
SELECT results_eq($$SELECT prompt, response, cached, processing_time_ms IS NULL FROM steadytext_generate_batch(ARRAY['before', NULL, 'after'])$$,
    $$VALUES ('before', 'before', false, false), (NULL, NULL, NULL, true), ('after', 'after', false, false)$$, 'NULL is not asked about');
SELECT is_empty($$SELECT * FROM steadytext_generate_batch('{}')$$, 'nothing comes of nothing');
SELECT results_eq($$SELECT response FROM steadytext_generate_batch(ARRAY[ARRAY['x', 'y'], ARRAY['z', 'x']])$$,
    $$VALUES ('x'), ('y'), ('z'), ('x')$$, 'dimensions are of no account');
SELECT is((SELECT count(*) FROM unnest(ARRAY[ARRAY['p'], ARRAY['q']]) u, steadytext_generate_batch(ARRAY[u || '1', u || '2']) b WHERE b.response = b.prompt), 4::bigint,
    'once for each row of a join');
SELECT results_eq($$SELECT (steadytext_generate_batch(ARRAY['s', 't'])).response$$, $$VALUES ('s'), ('t')$$, 'in a select list');
SELECT is((SELECT count(*) FROM (SELECT prompt, response, row_number() OVER () AS i FROM steadytext_generate_batch(
        ARRAY(SELECT 'row ' || i FROM generate_series(1, 5000) i))) b WHERE prompt = 'row ' || i AND response = prompt), 5000::bigint,
    'five thousand, in order');

SELECT throws_ok($$SELECT * FROM steadytext_generate_batch(NULL)$$, '22004', 'Prompts cannot be null');
SELECT throws_ok($$SELECT * FROM steadytext_generate_batch(ARRAY['good', ' '])$$, '22023', 'Prompt cannot be empty');
SELECT throws_ok($$SELECT * FROM steadytext_generate_batch(ARRAY['good'], 0)$$, '22023', 'max_tokens must be at least 1');
SELECT results_eq($$SELECT response FROM steadytext_generate_batch(ARRAY['good'], NULL, NULL)$$, $$VALUES ('good')$$, 'NULL is the setting''s tokens, and no cache');

-- The same answers as one by one, and the same place in the cache.
SELECT results_eq($$SELECT text_input, embedding, cached FROM steadytext_embed_batch(ARRAY['e1', 'e2', 'e1'])$$,
    $$VALUES ('e1', steadytext_embed('e1', false), false), ('e2', steadytext_embed('e2', false), false), ('e1', steadytext_embed('e1', false), true)$$,
    'embeddings as one by one');
SELECT results_eq($$SELECT embedding, cached FROM st_embed_batch(ARRAY['e2'])$$, $$VALUES (steadytext_embed('e2'), true)$$, 'in the cache; the short name');
SELECT results_eq($$SELECT text_input, embedding IS NULL FROM steadytext_embed_batch(ARRAY['e3', NULL])$$, $$VALUES ('e3', false), (NULL, true)$$, 'NULL is not asked about');
SELECT is_empty($$SELECT * FROM steadytext_embed_batch('{}')$$, 'nothing comes of nothing');
SELECT throws_ok($$SELECT * FROM steadytext_embed_batch(NULL)$$, '22004', 'Texts cannot be null');
SELECT throws_ok($$SELECT * FROM steadytext_embed_batch(ARRAY[''])$$, '22023', 'Text cannot be empty');
SET LOCAL work_mem = '64kB';
SELECT is((SELECT count(*) FROM steadytext_embed_batch(ARRAY(SELECT 'spilled ' || i % 400 FROM generate_series(1, 800) i)) b
    WHERE b.embedding = steadytext_embed(b.text_input, false)), 800::bigint, 'answers beyond work_mem come back from a file');

-- A row that fails is its own affair, as steadytext.on_failure says.
SET LOCAL client_min_messages = 'error';
SET LOCAL steadytext.on_failure = 'fallback';  -- not auto: pgTAP writes down what it compared
SELECT results_eq($$SELECT response, cached FROM steadytext_generate_batch(ARRAY['fine', '!fault:error=broken', 'too', '!fault:error=broken'])$$,
    $$VALUES ('fine', false), ('[steadytext: no answer available]', false), ('too', false), ('[steadytext: no answer available]', false)$$, 'a fallback for the row that fails');
SET LOCAL steadytext.on_failure = 'null';
SELECT results_eq($$SELECT response FROM steadytext_generate_batch(ARRAY['fine', '!fault:error=broken'])$$, $$VALUES ('fine'), (NULL)$$, 'or NULL');
SELECT results_eq($$SELECT embedding IS NULL FROM steadytext_embed_batch(ARRAY['fine', '!fault:error=broken'])$$, $$VALUES (false), (true)$$, 'also for an embedding');
SET LOCAL steadytext.on_failure = 'error';
SELECT throws_ok($$SELECT * FROM steadytext_generate_batch(ARRAY['fine', '!fault:error=broken'])$$, '38000', 'the daemon reported an error: broken');

SELECT is_empty($$SELECT * FROM steadytext_progress$$, 'with no batch under way there is no progress');
SELECT is((SELECT count(*) FROM pg_proc WHERE proname ~ '_batch$' AND provolatile = 'v' AND proname ~ 'generate|embed'), 4::bigint, 'all are VOLATILE');
SELECT is((SELECT prompt FROM steadytext_generate_batch(ARRAY['größer', 'naïve']) WHERE response = 'naïve'), 'naïve', 'any letters');
SELECT * FROM finish();
ROLLBACK;
