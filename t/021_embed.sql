-- steadytext_embed: unit vectors of the wanted dimensions, or NULL; never zeros.
BEGIN;
SELECT plan(18);

SELECT is(vector_dims(steadytext_embed('hello')), 1024, 'a vector has embedding_dimensions');
SELECT is(round(vector_norm(steadytext_embed('hello'))::numeric, 5), 1.00000, 'and length 1');
SELECT is(steadytext_embed('hello'), steadytext_embed('hello'), 'the same text gives the same vector');
SELECT is(steadytext_embed('hello'), st_embed('hello'), 'the short name is the same function');
SELECT isnt(steadytext_embed('hello'), steadytext_embed('world'), 'another text another one');
SELECT is(steadytext_embed(E'e\u0301t\u00e9'), steadytext_embed(E'\u00e9t\u00e9'), 'two spellings of one text are one text');

-- Padding keeps every cosine; cutting keeps the length.
SELECT is(round((steadytext_embed('a') <=> steadytext_embed('b'))::numeric, 5), (SELECT round((a <=> b)::numeric, 5) FROM
    (SELECT set_config('steadytext.embedding_dimensions', '384', true)) c,
    LATERAL (SELECT steadytext_embed('a') AS a, steadytext_embed('b') AS b WHERE c IS NOT NULL) v), 'padding with zeros keeps the cosine');
SET LOCAL steadytext.embedding_dimensions = 100;
SELECT is(vector_dims(steadytext_embed('hello again')), 100, 'fewer dimensions when asked');
SELECT is(round(vector_norm(steadytext_embed('hello again'))::numeric, 5), 1.00000, 'still of length 1');
RESET steadytext.embedding_dimensions;

SELECT throws_ok($$SELECT steadytext_embed(NULL)$$, '22004', 'Text cannot be null');
SELECT throws_ok($$SELECT steadytext_embed('  ')$$, '22023', 'Text cannot be empty');
SELECT throws_ok($$SELECT steadytext_embed('x', model => 'voyageai:v')$$, '22023',
    'Remote models (containing '':'' ) require unsafe_mode=TRUE');
SELECT lives_ok($$SELECT steadytext_embed('x', unsafe_mode => true)$$, 'unsafe_mode without a model is allowed here');
SELECT throws_ok($$SELECT steadytext_embed(repeat('x', 1048577))$$, '54000', 'Text is too long');

-- Promises that rest on IMMUTABLE and PARALLEL SAFE.
CREATE TABLE notes (body text, embedding vector GENERATED ALWAYS AS (steadytext_embed(body)) STORED);
INSERT INTO notes (body) SELECT 'note ' || i FROM generate_series(1, 500) i;
SELECT is(count(*), 500::bigint, 'a generated column embeds each row') FROM notes WHERE embedding IS NOT NULL;
SELECT is((SELECT body FROM notes ORDER BY embedding <=> steadytext_embed('note 77') LIMIT 1), 'note 77', 'the nearest to a text is itself');
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || query; END $$;
SELECT matches((SELECT string_agg(line, E'\n') FROM plan_of('SELECT count(steadytext_embed(body)) FROM notes') line), 'Parallel',
    'a plan may run it in parallel workers');
SELECT is(count(steadytext_embed(body || ' once more', use_cache => false)), 500::bigint, 'and parallel workers get their answers') FROM notes;

SELECT * FROM finish();
ROLLBACK;
