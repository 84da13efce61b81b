-- Questions about a text that have few answers (steadytext_if, _classify, _classify_all, _score) and calls whose failure is a row
-- (steadytext_try_*). The echo daemon answers a prompt with <say>ANSWER</say> in it by ANSWER, and any other by the prompt itself.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = error;

CREATE FUNCTION said(answer text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'A text. <say>' || answer || '</say>' $$;

-- ---- answers ---------------------------------------------------------------------------------------------------------------
SELECT is(steadytext_if('it rains', said('yes')), true, 'yes is true');
SELECT is(steadytext_if('it rains', said('no')), false, 'no is false');
SELECT is(st_if('it rains', said('no')), false, 'by its short name too');
SELECT is(steadytext_classify(said('b, c'), ARRAY['a', 'b, c']), 'b, c', 'a label, word for word');
SELECT is(steadytext_score('Is it wet?', said(mark::text)), (mark / 10.0)::float8, mark || ' of 10') FROM generate_series(0, 10) mark;
SELECT is(steadytext_classify_all(said('{"größe": true, "a\"b": false, "c": true}'), ARRAY['größe', 'a"b', 'c']), ARRAY['größe', 'c'], 'the labels that apply, in their order');
SELECT is(steadytext_classify_all(said('{"a": false, "b": false}'), ARRAY['a', 'b']), '{}', 'none of them is an empty array');

-- ---- what is asked: the question first, the text last, so that rows share their beginning ---------------------------------
SELECT is(steadytext_if(said('no'), said('yes')), true, 'steadytext_if');
SELECT is(steadytext_classify(said('a'), ARRAY['<say>b</say>', 'a', 'b']), 'a', 'steadytext_classify');
SELECT is(steadytext_score(said('1'), said('10')), 1.0::float8, 'steadytext_score');

-- ---- NULL in, NULL out, without a call -------------------------------------------------------------------------------------
SET LOCAL steadytext.on_failure = 'error';
CREATE FUNCTION calls() RETURNS float8 LANGUAGE sql AS $$ SELECT sum(value) FROM steadytext_metrics() WHERE name = 'steadytext_requests_total' $$;
CREATE TEMP TABLE before AS SELECT calls();
SELECT is(steadytext_if(c, i), NULL, 'steadytext_if of NULL') FROM (VALUES (NULL, 'a'), ('a', NULL), (NULL, NULL)) v (c, i);
SELECT is(steadytext_classify(i, l), NULL, 'steadytext_classify of NULL') FROM (VALUES (NULL, ARRAY['a', 'b']), ('a', NULL)) v (i, l);
SELECT is(steadytext_classify_all(i, l), NULL, 'steadytext_classify_all of NULL') FROM (VALUES (NULL, ARRAY['a', 'b']), ('a', NULL)) v (i, l);
SELECT is(steadytext_score(q, i), NULL, 'steadytext_score of NULL') FROM (VALUES (NULL, 'a'), ('a', NULL)) v (q, i);

SELECT is(calls(), before.calls, 'no call was made') FROM before;

-- ---- refusals --------------------------------------------------------------------------------------------------------------
SELECT throws_ok($$SELECT steadytext_if('', 'a')$$, '22023', 'Condition cannot be empty');
SELECT throws_ok($$SELECT steadytext_if('a', ' ')$$, '22023', 'Input cannot be empty');
SELECT throws_ok($$SELECT steadytext_score('', 'a')$$, '22023', 'Question cannot be empty');
SELECT throws_ok($$SELECT steadytext_classify('a', '{}')$$, '22023', 'Labels must contain at least 2 texts');
SELECT throws_ok($$SELECT steadytext_classify('a', ARRAY['a'])$$, '22023', 'Labels must contain at least 2 texts');
SELECT throws_ok($$SELECT steadytext_classify('a', ARRAY['a', 'a'])$$, '22023', 'Labels cannot contain duplicates');
SELECT throws_ok($$SELECT steadytext_classify('a', ARRAY['a', ' '])$$, '22023', 'Label cannot be empty');
SELECT throws_ok($$SELECT steadytext_classify('a', ARRAY[['a', 'b'], ['c', 'd']])$$, '22023', 'Labels must be an array of one dimension');
SELECT throws_ok($$SELECT steadytext_classify_all('a', ARRAY['a', NULL])$$, '22004', 'Labels cannot contain nulls');
SELECT throws_ok($$SELECT steadytext_if('a', 'no answer of this form')$$, '08P01', 'the answer is none of the choices');

-- ---- tokens: of the echo daemon, words -------------------------------------------------------------------------------------
SELECT is(steadytext_count_tokens('three little words'), 3, 'the daemon counts');
SELECT is(st_count_tokens('two words', 'echo'), 2, 'for a model by its name');
SELECT is(steadytext_count_tokens('two words', 'echo-embedding'), 2, 'that of embeddings too');
SELECT is(steadytext_count_tokens(''), 0, 'no text has no tokens');
SELECT is(steadytext_count_tokens(NULL), NULL, 'NULL in, NULL out');
SELECT throws_ok($$SELECT steadytext_count_tokens('!fault:error=refused')$$, '38000', NULL, 'a daemon that fails is a failure');

-- ---- a failure is a row ----------------------------------------------------------------------------------------------------
SELECT is(steadytext_try_generate('hello'), ROW('hello'::text, NULL::text, NULL::text), 'an answer, and no error');
SELECT is(steadytext_try_if('it rains', said('yes')), ROW(true, NULL::text, NULL::text), 'of a question');
SELECT is((st_try_if('it rains', NULL)).value, NULL, 'NULL in, NULL out');
SELECT is(steadytext_try_if('a', 'neither'), ROW(NULL::boolean, 'the answer is none of the choices'::text, '08P01'::text), 'the reason of a failure');
SELECT is((steadytext_try_generate('')).sqlstate, '22023', 'an argument that is refused is one');
SELECT is((steadytext_try_if('it rains', ' ')).error, 'Input cannot be empty (nullif(btrim(..., E'' \t\r\n''), '''') makes it NULL, which is not asked and gives NULL.)', 'with what to do');
SELECT is(steadytext_if('it rains', nullif(btrim(E' \n ', E' \t\r\n'), '')), NULL, 'which it does');
SELECT is((steadytext_try_embed(NULL)).sqlstate, '22004', 'of embeddings too');
SELECT ok((steadytext_try_embed('a')).value = steadytext_embed('a'), 'whose value is the same vector');
CREATE TYPE animal AS (name text, legs int);
SELECT is((steadytext_try_extract(said('{"name": "cat", "legs": 4}'), NULL::animal)).value, ROW('cat', 4)::animal, 'a row of the type');
SELECT is((steadytext_try_extract(said('{"name": "cat", "legs": 99999999999}'), NULL::animal)).error IS NOT NULL, true, 'or why it is none');
SELECT is(t.sqlstate, CASE WHEN answer = 'maybe' THEN '08P01' END, 'a failed row leaves its neighbours: ' || answer)
FROM unnest(ARRAY['yes', 'maybe', 'no']) answer, steadytext_try_if('it rains', said(answer)) t;
SET LOCAL steadytext.on_failure = 'fallback';
SELECT is((steadytext_try_if('a', 'neither')).sqlstate, '08P01', 'whatever steadytext.on_failure says');
SELECT is(current_setting('steadytext.on_failure'), 'fallback', 'which stays as it was');
CREATE TABLE kept (value boolean, error text);
INSERT INTO kept SELECT t.value, t.error FROM unnest(ARRAY[said('yes'), 'neither']) input, steadytext_try_if('it rains', input) t;
SELECT is(array_agg(value ORDER BY value), ARRAY[true, NULL], 'in a statement that stores its rows too') FROM kept;

-- ---- what is declared ------------------------------------------------------------------------------------------------------
SELECT is(format('%s %s', provolatile, proparallel), CASE WHEN proname ~ 'try' THEN 'v u' ELSE 'i s' END, proname) FROM pg_proc
WHERE proname ~ '^(steadytext|st)_(if|classify|classify_all|score|try_\w+)$' ORDER BY proname;

SELECT * FROM finish();
ROLLBACK;
