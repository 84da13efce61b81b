-- Facts and summaries: what they give, what they refuse and with which words, and that a state does not depend on the order or division of
-- its rows. The echo daemon answers with the prompt, so an answer shows what was asked; as a list of facts it gives what stands between
-- the marks.
BEGIN;
SELECT no_plan();
SET LOCAL client_min_messages = 'error';

CREATE FUNCTION said(answer text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT '<json-output>' || answer || '</json-output>' $$;
-- The error of a statement.
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'none';
EXCEPTION WHEN OTHERS OR query_canceled THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;

-- ---- facts -----------------------------------------------------------------------------------------------------------------
SELECT is(steadytext_extract_facts(said('{"facts": ["One is odd.", "Two is even."]}')), '{"facts": ["One is odd.", "Two is even."]}', 'the facts that the model lists');
SELECT is(st_extract_facts(said('{"facts": ["A", "A", "  A ", "B"]}')), '{"facts": ["A", "B"]}', 'each once, by the short name too');
SELECT is(steadytext_extract_facts(t, 0), '{"facts": []}', 'nothing is asked about nothing, before max_facts is looked at') FROM unnest(ARRAY[NULL, '', E' \n\t', U&'\3000']) t;
SELECT is(refusal(format('SELECT steadytext_extract_facts(''a'', %s)', n)), '22023 max_facts must be between 1 and 50', n) FROM unnest(ARRAY['0', '-1', '51', 'NULL']) n;
SET LOCAL steadytext.on_failure = 'null';
SELECT is(steadytext_extract_facts(repeat('Sunny. ', 3000) || said('{"facts": ["It is sunny."]}'), 50) -> 'facts' ->> 0, NULL, 'a part that gives no list leaves nothing of the others');
SELECT is(steadytext_extract_facts(string_agg(said(format('{"facts": ["Fact %s."]}', i)) || repeat(' and so on', 350), E'\n' ORDER BY i), 3), NULL, 'nor does one at the end')
FROM generate_series(1, 4) i;

-- Without an answer that is a list: sentences.
SET LOCAL steadytext.on_failure = 'fallback';
SELECT is(steadytext_extract_facts(said('{"facts": []}') || ' it is.'), jsonb_build_object('facts', ARRAY[said('{"facts": []}') || ' it is.']), 'a model is to list at least one');
SELECT is(steadytext_extract_facts(t, n), jsonb_build_object('facts', facts), t) FROM (VALUES
    ('The first is here. The second! And a third? Rest', 10, '["The first is here.", "The second!", "And a third?", "Rest"]'::jsonb),
    ('The first is here. The second! And a third? Rest', 2, '["The first is here.", "The second!"]'),
    ('No. Yes. Perhaps it is.', 10, '["No. Yes. Perhaps it is."]'), ('Größer als nötig. Ende', 10, '["Größer als nötig.", "Ende"]'),
    ('0123456789. 1234567890. ', 10, '["0123456789.", "1234567890."]'), ('012345678. 12345678', 10, '["012345678. 12345678"]')) v (t, n, facts);
SET LOCAL steadytext.on_failure = 'null';
SELECT is(steadytext_extract_facts('no list'), NULL, 'or NULL');
SET LOCAL steadytext.on_failure = 'error';
SELECT is(left(refusal($$SELECT steadytext_extract_facts('no list')$$), 5), '08P01', 'or an error');
SET LOCAL steadytext.on_failure = 'auto';
CREATE TABLE kept (facts jsonb);
SELECT is(left(refusal($$INSERT INTO kept SELECT steadytext_extract_facts('no list')$$), 5), '08P01', 'which a statement that stores always gets');

-- ---- duplicates --------------------------------------------------------------------------------------------------------------
SET LOCAL steadytext.on_failure = 'error';
SELECT is(steadytext_deduplicate_facts(given::jsonb, 0.85), left_over::jsonb, given) FROM (VALUES
    ('["A", "b", "A"]', '["A", "b"]'), ('[{"fact": "zz"}, "A", "A", "b"]', '[{"fact": "zz"}, "A", "b"]'),
    ('[1, {"text": "A", "n": 1}, "A", null, {"text": "A"}, 1]', '[1, {"text": "A", "n": 1}, null, 1]'), ('[]', '[]'), ('[[["A"]], "A", ["A"]]', '[[["A"]], "A", ["A"]]'),
    ('["", " ", "A"]', '["", " ", "A"]'), ('[{"text": 1}, {"text": 1}]', '[{"text": 1}, {"text": 1}]'), ('["A", "a"]', '["A", "a"]')) v (given, left_over);
SELECT is(steadytext_deduplicate_facts('["A", "A"]', 1), '["A", "A"]', 'nothing is closer than equal');
SELECT is(st_deduplicate_facts(facts => '["A", "A"]'), '["A"]', 'by the short name');
SELECT is(steadytext_deduplicate_facts(NULL), '[]', 'NULL has none');
SELECT is(refusal(format('SELECT steadytext_deduplicate_facts(%L)', given)), '22023 facts must be a JSON array', given) FROM unnest(ARRAY['"AAb"', '1', 'null', '{"facts": ["A"]}']) given;
SELECT is(refusal(format('SELECT steadytext_deduplicate_facts(''[]'', %s)', t)), '22023 similarity_threshold must be between 0.0 and 1.0', t)
FROM unnest(ARRAY['-0.1', '1.1', '''NaN''', '''Infinity''', 'NULL']) t;
SELECT is(left(refusal($$SELECT steadytext_deduplicate_facts((SELECT jsonb_agg('x' || i) FROM generate_series(1, 10001) i))$$), 5), '54000', 'there is a limit');
SET LOCAL steadytext.on_failure = 'fallback';
SELECT is(steadytext_deduplicate_facts('["!fault:error", " Same ", "sAME", "other"]'), '["!fault:error", " Same ", "other"]', 'without embeddings: equal but for case and white space around');
SET LOCAL steadytext.on_failure = 'null';
SELECT is(steadytext_deduplicate_facts('["!fault:error", "A", "A"]'), NULL, 'or NULL');
SET LOCAL steadytext.on_failure = 'error';
SELECT is(left(refusal($$SELECT steadytext_deduplicate_facts('["!fault:error", "A", "A"]')$$), 5), '38000', 'or an error');

-- ---- states ------------------------------------------------------------------------------------------------------------------
SELECT is(steadytext_summarize_accumulate(NULL, 'One is odd. Two', '{"about": "numbers"}'),
    '{"facts": ["One is odd.", "Two"], "samples": ["One is odd. Two"], "stats": {"row_count": 1, "total_chars": 15, "min_length": 15, "max_length": 15}, "metadata": {"about": "numbers"}}',
    'a value is a sample, and its first sentences are facts');
CREATE TEMP TABLE nothing AS SELECT steadytext_summarize_accumulate(NULL, NULL) AS state;
SELECT is(state, '{"facts": [], "samples": [], "stats": {"row_count": 0, "total_chars": 0, "min_length": null, "max_length": 0}, "metadata": {}}', 'NULL gives the state of nothing') FROM nothing;
SELECT is(steadytext_summarize_accumulate(state, t, '{"a": 1}'), state, 'which NULL and an empty text leave as it is') FROM nothing, unnest(ARRAY[NULL, '']) t;
SELECT is(steadytext_summarize_combine(state, s), s, 'combined with another it is the other') FROM nothing, steadytext_summarize_accumulate(NULL, 'one') s;
SELECT is(ARRAY[steadytext_summarize_combine(NULL, s), steadytext_summarize_combine(s, NULL), steadytext_summarize_combine(NULL, NULL)], ARRAY[s, s, NULL], 'as NULL is')
FROM steadytext_summarize_accumulate(NULL, 'one') s;
SELECT is(steadytext_summarize_combine_states(a, b), steadytext_summarize_combine(b, a), 'either order, either name')
FROM steadytext_summarize_accumulate(NULL, 'one', '{"a": 1, "b": 2}') a, steadytext_summarize_accumulate(NULL, 'three', '{"a": 2}') b;
SELECT is(steadytext_summarize_combine(a, b) -> 'metadata', '{"a": 1, "b": 2}', 'of several values of a key the one whose text is least')
FROM steadytext_summarize_accumulate(NULL, 'one', '{"a": 1, "b": 2}') a, steadytext_summarize_accumulate(NULL, 'three', '{"a": 2}') b;
SELECT is(steadytext_summarize_accumulate(steadytext_summarize_accumulate(NULL, 'x'), 'x') -> 'samples', '["x"]', 'an equal value is no further sample');

-- Rows of all kinds; most of their text is beyond what a state keeps.
CREATE TABLE rows AS SELECT i, CASE WHEN i % 97 = 0 THEN NULL WHEN i % 89 = 0 THEN '' ELSE format('Row %s says: %s. Number %s! ', i, repeat(md5(i::text), i % 17), i % 1000) END AS value,
    jsonb_build_object('part', i % 3, 'kind', 'x') AS metadata FROM generate_series(1, 100000) i;
ANALYZE rows;
CREATE TEMP TABLE whole AS SELECT steadytext_summarize_partial(value, metadata) AS state FROM rows;
SELECT is(state -> 'stats', (SELECT jsonb_build_object('row_count', count(*), 'total_chars', sum(length(value)), 'min_length', min(length(value)), 'max_length', max(length(value)))
    FROM rows WHERE value <> ''), 'all rows are counted') FROM whole;
SELECT is(state -> 'metadata', '{"kind": "x", "part": 0}', 'and their metadata is known') FROM whole;
SELECT is(jsonb_array_length(state -> 'facts'), 100, 'a hundred facts are kept') FROM whole;
SELECT cmp_ok(octet_length(state ->> 'samples'), '<', 400000, 'and samples up to a size') FROM whole;
SELECT is(ARRAY(SELECT jsonb_array_elements_text(state -> key)), ARRAY(SELECT t COLLATE "C" FROM jsonb_array_elements_text(state -> key) t ORDER BY t COLLATE "C"), key || ' are in order')
FROM whole, unnest(ARRAY['samples', 'facts']) key;
SELECT is_empty($$SELECT jsonb_array_elements_text(state -> 'samples') FROM whole EXCEPT SELECT btrim(value) FROM rows$$, 'a sample is a whole value');
SELECT is((SELECT steadytext_summarize_partial(value, metadata ORDER BY i DESC) FROM rows), state, 'backwards it is the same') FROM whole;
SELECT is((SELECT steadytext_summarize_partial(value, metadata ORDER BY md5(i::text)) FROM rows), state, 'and in any other order') FROM whole;
CREATE TEMP TABLE parts AS SELECT i % 7 AS part, steadytext_summarize_partial(value, metadata) AS state FROM rows GROUP BY 1;
CREATE AGGREGATE combined(jsonb) (SFUNC = steadytext_summarize_combine, STYPE = jsonb);
SELECT is((SELECT combined(state ORDER BY part) FROM parts), state, 'combined of parts') FROM whole;
SELECT is((SELECT combined(state ORDER BY part DESC) FROM parts), state, 'in any order') FROM whole;
SELECT is((SELECT steadytext_summarize_final(state) FROM parts), steadytext_summarize_finalize(state), 'and so is the text') FROM whole;
CREATE AGGREGATE accumulated(text, jsonb) (SFUNC = steadytext_summarize_accumulate, STYPE = jsonb);
SELECT is((SELECT accumulated(value, metadata) FROM rows WHERE i <= 300), (SELECT steadytext_summarize_partial(value, metadata) FROM rows WHERE i <= 300), 'the function for one row is the aggregate''s');

-- In parallel.
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 3;
CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
SELECT ok(EXISTS (SELECT FROM plan_of('SELECT steadytext_summarize_partial(value, metadata), steadytext_summarize(value, metadata) FROM rows') line WHERE line LIKE '%Partial Aggregate%'), 'workers do a part each');
SELECT is((SELECT steadytext_summarize_partial(value, metadata) FROM rows), state, 'their states make the same state') FROM whole;
SELECT is((SELECT steadytext_summarize(value, metadata) FROM rows), steadytext_summarize_finalize(state), 'and the same text') FROM whole;
SELECT is((SELECT steadytext_agg('Which?', value) FROM rows), (SELECT steadytext_agg('Which?', value ORDER BY i) FROM rows), 'as do those of steadytext_agg()');
SELECT is(refusal($$SELECT steadytext_agg('Which ' || i % 2, value) FROM rows$$), '22023 prompt of steadytext_agg must be the same in all rows of a group', 'whose instruction is one');
SET LOCAL max_parallel_workers_per_gather = 0;

-- ---- the text -----------------------------------------------------------------------------------------------------------------
SELECT is(steadytext_summarize(v, '{"source": "log", "day": 3}'),
    E'Write a short summary of the following texts. There are 2 texts, of 7 to 8 characters. Context: {"day": 3, "source": "log"}. Say what matters most, in one paragraph.\n\n- a first\n- a second',
    'a few texts are one request, with counts and metadata') FROM unnest(ARRAY['a second', NULL, 'a first', '']) v;
SELECT is(st_summarize(v, NULL), steadytext_summarize(v, '{}'), 'metadata is optional') FROM unnest(ARRAY['a', 'b']) v;
SELECT is(steadytext_summarize(v, '{}'), 'No data to summarize', 'no data') FROM (SELECT NULL::text WHERE false) v (v);
SELECT is(steadytext_summarize(v, '{}'), 'No data to summarize', 'nor any') FROM unnest(ARRAY[NULL, '']) v;
SELECT is(steadytext_summarize_finalize(s::jsonb), 'No data to summarize', coalesce(s, 'NULL'))
FROM unnest(ARRAY[NULL, '{}', '{"facts": ["A"], "stats": {}}', '{"facts": ["A"], "stats": {"row_count": 0}}', '{"facts": ["A"], "stats": null}', '{"stats": {"row_count": 3}}']) s;
SELECT is(steadytext_summarize_finalize('{"facts": ["The model said so.", {"text": "And so."}], "samples": ["cut off at"], "stats": {"row_count": 7, "total_chars": 900, "min_length": 3, "max_length": 500, "combine_depth": 2}, "metadata": {}}'),
    E'Write a short summary of the following texts. There are 7 texts, of 3 to 500 characters. Say what matters most, in one paragraph.\n\n- cut off at\n- And so.\n- The model said so.', 'a state that the original has left is of use');
SELECT is((SELECT steadytext_summarize_final(state) FROM nothing), 'No data to summarize', 'the final of nothing');
SELECT is((SELECT steadytext_summarize_final(NULL) FROM nothing), 'No data to summarize', 'or of NULL');
SELECT is(steadytext_agg('Which of these?', v), E'Which of these?\n\n- a\n- b', 'one''s own instruction') FROM unnest(ARRAY['b', 'a']) v;
SELECT is(steadytext_agg('Which of these?', v), NULL, 'about nothing nothing is asked') FROM unnest(ARRAY[NULL, '']) v;
SELECT is(refusal($$SELECT steadytext_agg(NULL, 'a')$$), '22004 Prompt cannot be null', 'there must be one');
SELECT is(refusal($$SELECT steadytext_agg(' ', 'a')$$), '22023 Prompt cannot be empty', 'with words in it');

-- A thousand rows, twenty windows of 2048 tokens.
CREATE TEMP TABLE long AS SELECT format('Report %s: %s', i, repeat(md5(i::text) || ' ', 5)) AS v FROM generate_series(1, 1000) i;
SELECT cmp_ok(sum(length(v)), '>', 160000::bigint, 'a thousand rows') FROM long;
SELECT matches(steadytext_summarize(v, '{}'), '^These are summaries of parts of the following texts\. There are 1000 texts, of \d+ to \d+ characters\. Write one', 'are summarised in parts') FROM long;
SELECT cmp_ok(length(steadytext_summarize(v, '{}')), '<', 5000, 'and no request is long') FROM long;
SELECT matches(steadytext_agg('How many?', v), '^How many\?\n\nThe input was too long for one request', 'so is what one asks oneself') FROM long;
SELECT matches(steadytext_summarize_text(repeat('A long story. ', 2000), model => 'echo'), '^These are summaries of parts of the following text\. Write one', 'and a text');

-- When no daemon answers.
SET LOCAL steadytext.on_failure = 'fallback';
SELECT is(steadytext_summarize(v, '{"model": "!fault"}') LIKE 'Write a short%', true, 'a model that nobody has is the default') FROM unnest(ARRAY['a']) v;
SELECT is(refusal($$SELECT steadytext_summarize('a', '{"model": "openai:x"}')$$), '22023 Remote models (containing '':'' ) require unsafe_mode=TRUE', 'the metadata''s model is a parameter');
SELECT is(refusal($$SELECT steadytext_summarize('a', '{"model": 1}')$$), '22023 "model" in the metadata of a summary must be a string', 'which has a name');
SELECT is(refusal($$SELECT steadytext_summarize('a', '{"unsafe_mode": 1}')$$), '22023 "unsafe_mode" in the metadata of a summary must be true or false', 'as is unsafe_mode');
SELECT is(refusal($$SELECT steadytext_agg('!fault:error', 'a')$$), 'none', 'a fallback is no error');
SELECT is(steadytext_agg('!fault:error', 'a'), '[steadytext: no answer available]', 'of one''s own instruction: steadytext.fallback_text');
SET LOCAL steadytext.on_failure = 'null';
SELECT is(steadytext_agg('!fault:error', 'a'), NULL, 'or NULL');
SET LOCAL steadytext.on_failure = 'auto';
CREATE TABLE answers (answer text);
SELECT is(left(refusal($$INSERT INTO answers SELECT steadytext_agg('!fault:error', 'a')$$), 5), '38000', 'what is stored is an answer');

-- ---- a text by itself -----------------------------------------------------------------------------------------------------------
SELECT is(steadytext_summarize_text(t), expected, 'no model is asked: ' || coalesce(left(t, 20), 'NULL')) FROM (VALUES
    ('short', 'Summary: short'), (repeat('é', 100), 'Summary: ' || repeat('é', 100)), (repeat('é', 101), 'Summary: ' || repeat('é', 100) || '...'),
    ('', 'No text to summarize'), (NULL, 'No text to summarize')) v (t, expected);
SELECT is(st_summarize_text('a text', '{"from": "me"}', 'echo'), E'Write a short summary of the following text. Context: {"from": "me"}. Say what matters most, in one paragraph.\n\na text', 'unless one is named');
SELECT is(steadytext_summarize_text(t, model => 'echo'), 'No text to summarize', 'about a text') FROM unnest(ARRAY[NULL, '', '  ']) t;
SELECT is(refusal($$SELECT steadytext_summarize_text('a', model => 'x:y')$$), '22023 Remote models (containing '':'' ) require unsafe_mode=TRUE', 'a remote one needs unsafe_mode');

-- ---- states that are none ---------------------------------------------------------------------------------------------------------
CREATE TEMP TABLE hostile (state text, refusal text);
INSERT INTO hostile VALUES
    ('[]', 'state of a summary must be a JSON object'), ('"x"', 'state of a summary must be a JSON object'), ('1', 'state of a summary must be a JSON object'), ('null', 'state of a summary must be a JSON object'),
    ('{"facts": {}}', 'facts of a summary''s state must be a JSON array'), ('{"samples": "x"}', 'samples of a summary''s state must be a JSON array'),
    ('{"facts": ["a", 1]}', 'element 2 of "facts" of a summary''s state must be a string'), ('{"samples": [[]]}', 'element 1 of "samples" of a summary''s state must be a string'),
    ('{"facts": [{"text": {}}]}', 'element 1 of "facts" of a summary''s state must be a string'), ('{"facts": [null]}', 'element 1 of "facts" of a summary''s state must be a string'),
    ('{"stats": []}', '"stats" of a summary''s state must be a JSON object'), ('{"metadata": []}', '"metadata" of a summary''s state must be a JSON object'), ('{"metadata": "x"}', '"metadata" of a summary''s state must be a JSON object'),
    ('{"cut": 1}', '"cut" of a summary''s state must be a JSON object'), ('{"cut": {"facts": "xyz"}}', '"facts" in "cut" of a summary''s state must be a string of 16 hexadecimal digits'),
    ('{"cut": {"samples": 5}}', '"samples" in "cut" of a summary''s state must be a string of 16 hexadecimal digits');
INSERT INTO hostile SELECT format('{"stats": {"%s": %s}}', name, value), format('"%s" of a summary''s state must be a whole number from 0 to 1000000000000000', name)
    FROM unnest(ARRAY['row_count', 'total_chars', 'min_length', 'max_length']) name, unnest(ARRAY['"1"', '-1', '1.5', '1e300', '1e16', repeat('9', 1000), 'true', '[]']) value;
INSERT INTO hostile VALUES ('{"facts": ' || repeat('[', 3000) || repeat(']', 3000) || '}', 'element 1 of "facts" of a summary''s state must be a string'),
    ('{"metadata": {"a": "' || repeat('x', 70000) || '"}}', 'metadata of a summary is too long');
SELECT is(regexp_replace(refusal(format(call, quote_literal(state) || '::jsonb')), '^(22023|54000) ', ''), refusal, left(format(call, state), 150))
FROM hostile, unnest(ARRAY['SELECT steadytext_summarize_accumulate(%s, ''x'')', 'SELECT steadytext_summarize_combine(%s, ''{}'')', 'SELECT steadytext_summarize_combine(NULL, %s)',
    'SELECT steadytext_summarize_combine_states(''{}'', %s)', 'SELECT steadytext_summarize_finalize(%s)', 'SELECT steadytext_summarize_final(%s)']) call;
-- What is odd and still a state.
SELECT is(refusal(format('SELECT steadytext_summarize_combine(%L, %L), steadytext_summarize_finalize(%1$L)', state, state)), 'none', left(state, 100)) FROM unnest(ARRAY[
    '{}', '{"facts": null, "samples": null, "stats": null, "metadata": null, "cut": null}', '{"facts": [""], "samples": ["", " "], "stats": {"row_count": 1}}',
    '{"stats": {"row_count": 1000000000000000, "total_chars": 1000000000000000, "min_length": 9, "max_length": 1}, "facts": ["a"]}',
    '{"metadata": {"deep": ' || repeat('[', 3000) || repeat(']', 3000) || '}, "stats": {"row_count": 1}, "facts": ["a"]}', '{"cut": {"samples": "0000000000000000", "facts": "ffffffffffffffff"}}',
    '{"samples": ["' || repeat('é', 100000) || '"], "facts": ["' || repeat('é', 100000) || '"], "stats": {"row_count": 1}}']) state;
SELECT is(steadytext_summarize_combine(s, s) -> 'stats' -> 'row_count', '1000000000000000', 'counts stay where they can be read again') FROM (VALUES ('{"stats": {"row_count": 1000000000000000}}'::jsonb)) v (s);
SELECT is(refusal(format('SELECT steadytext_summarize_accumulate(NULL, ''x'', %L)', metadata)), '22023 metadata must be a JSON object', metadata) FROM unnest(ARRAY['[]', '1', '"x"', 'null']) metadata;
SELECT is(refusal(format('SELECT steadytext_summarize_text(''x'', %L)', metadata)), '22023 metadata must be a JSON object', metadata) FROM unnest(ARRAY['[]', '1', '"x"', 'null']) metadata;
SELECT matches(refusal('SELECT _steadytext.summary_text(NULL::internal)'), '^(42846|0A000) ', 'nobody has a state of the aggregates themselves');

-- A statement with such a state ends in time.
CREATE TEMP TABLE huge AS SELECT jsonb_build_object('samples', jsonb_agg(md5(i::text)), 'stats', '{"row_count": 1}'::jsonb) AS state FROM generate_series(1, 100000) i;
SET LOCAL statement_timeout = '1s';
SELECT alike(refusal('SELECT steadytext_summarize_combine(a.state, b.state), steadytext_summarize_combine(c.state, a.state) FROM huge a, huge b, huge c, generate_series(1, 100)'), '57014%', 'statement_timeout holds');
SET LOCAL statement_timeout = 0;

-- ---- what the planner is told ------------------------------------------------------------------------------------------------------
SELECT is((SELECT string_agg(DISTINCT concat_ws(' ', provolatile, proparallel), ',') FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname ~ '_(summarize.*|extract_facts|deduplicate_facts|agg)$'),
    'i s', 'all are immutable and parallel safe');
SELECT is_empty($$SELECT p.oid::regprocedure FROM pg_proc p WHERE proname ~ '_(summarize.*|extract_facts|deduplicate_facts|agg)$|^summary_' AND obj_description(p.oid, 'pg_proc') IS NULL$$, 'and each says what it is');
CREATE INDEX ON answers ((steadytext_extract_facts(answer)));
INSERT INTO answers SELECT said(format('{"facts": ["Fact %s."]}', i)) FROM generate_series(1, 5) i;
SELECT lives_ok('ANALYZE answers', 'ANALYZE');

SELECT * FROM finish();
ROLLBACK;
