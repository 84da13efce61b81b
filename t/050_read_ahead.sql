-- Read-ahead: which plans have it, and that nobody could tell from the rows. t/250_read_ahead.pl sees it from the daemon's side, t/251_read_ahead_queries.pl
-- compares many queries.
BEGIN;
SELECT plan(64);

CREATE TABLE docs (id int PRIMARY KEY, body text, answer text);
INSERT INTO docs SELECT i, 'text ' || i FROM generate_series(1, 200) i;
CREATE TABLE notes (doc int, note text);
INSERT INTO notes SELECT i % 50, 'note ' || i FROM generate_series(1, 100) i;
ANALYZE docs, notes;
SET LOCAL enable_sort = off;  -- by id, the rows come from the index as they are asked for
SET LOCAL max_parallel_workers_per_gather = 0;

CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; lines text := '';
BEGIN FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP lines := lines || line || E'\n'; END LOOP; RETURN lines; END $$;
CREATE FUNCTION reads_ahead(query text) RETURNS boolean LANGUAGE sql AS $$ SELECT plan_of(query) ~ 'SteadyText Read Ahead' $$;
CREATE FUNCTION opaque(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1; END $$;
CREATE FUNCTION counted(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; BEGIN FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ' || query LOOP
    IF line ~ 'Steadytext:' THEN RETURN substring(line FROM 'calls=\d+ hits=\d+ failures=\d+'); END IF; END LOOP; END $$;

-- Where a statement makes a call for each row.
SELECT ok(reads_ahead(query), query) FROM (VALUES
    ('SELECT steadytext_generate(body) FROM docs'),
    ('SELECT st_generate(body, 10), id FROM docs'),
    ('SELECT steadytext_embed(body) FROM docs'),
    ('SELECT steadytext_generate_json(body, ''{"type": "object"}''::jsonb) FROM docs'),
    ('SELECT steadytext_generate_json(body, ''{"type": "object"}''::json) FROM docs'),
    ('SELECT steadytext_generate_regex(body, ''.*'') FROM docs'),
    ('SELECT steadytext_generate_choice(body, ARRAY[''a'', ''b'']) FROM docs'),
    ('SELECT steadytext_if(''it is short'', body) FROM docs'),
    ('SELECT steadytext_classify(body, ARRAY[''a'', ''b'']), steadytext_score(''Is it short?'', body) FROM docs'),
    ('SELECT st_classify_all(body, ARRAY[''a'', ''b'']) FROM docs'),
    ('SELECT id FROM docs WHERE steadytext_if(''it is short'', body)'),
    ('SELECT steadytext_generate_cached(body) FROM docs'),
    ('SELECT id FROM docs WHERE id < 100 AND steadytext_generate(body) = ''x'''),
    ('SELECT steadytext_generate(''About '' || upper(body) || id) FROM docs WHERE body LIKE ''%1%'''),
    ('SELECT max(steadytext_generate(body)) FROM docs'),
    ('SELECT id % 3, count(steadytext_generate(body)) FROM docs GROUP BY 1'),
    ('SELECT steadytext_generate(d.body || n.note) FROM docs d JOIN notes n ON n.doc = d.id'),
    ('SELECT steadytext_generate(''row '' || i) FROM generate_series(1, 10) i'),
    ('SELECT steadytext_generate(v) FROM (VALUES (''a''), (''b'')) x(v)'),
    ('WITH w AS MATERIALIZED (SELECT body FROM docs) SELECT steadytext_generate(body) FROM w'),
    ('SELECT ARRAY(SELECT steadytext_generate(body) FROM docs)'),
    ('SELECT steadytext_generate(body) FROM docs ORDER BY id LIMIT 5'),
    ('SELECT steadytext_generate(body) FROM docs UNION ALL SELECT note FROM notes'),
    ('SELECT steadytext_generate(body) FROM docs FOR UPDATE'),
    ('INSERT INTO notes SELECT id, steadytext_generate(body) FROM docs'),
    ('UPDATE docs SET answer = steadytext_generate(body)'),
    ('DELETE FROM docs WHERE steadytext_generate(body) = ''x'''),
    ('SELECT id FROM docs WHERE id < 5 OR steadytext_generate(body) = ''x'''),
    ('SELECT id < 5 AND steadytext_generate(body) = ''x'' FROM docs'),
    ('SELECT n.note FROM docs d JOIN notes n ON n.doc = d.id AND steadytext_generate(d.body || n.note) = ''x''')) q(query);

-- Not where the call might not be made, or where reading a row early might be noticed.
SELECT ok(NOT reads_ahead(query), query) FROM (VALUES
    ('SELECT body FROM docs'),
    ('SELECT CASE WHEN id < 5 THEN steadytext_generate(body) END FROM docs'),
    ('SELECT coalesce(answer, steadytext_generate(body)) FROM docs'),
    ('SELECT id FROM docs WHERE opaque(body) = ''x'' OR steadytext_generate(body) = ''x'''),
    ('SELECT steadytext_generate(opaque(body)) FROM docs'),
    ('SELECT steadytext_generate(body || random()) FROM docs'),
    ('SELECT steadytext_generate(body, id) FROM docs'),
    ('SELECT steadytext_if(body, ''a text'') FROM docs'),
    ('SELECT steadytext_generate(body) FROM docs WHERE 10 / (id - 100) < 5'),
    ('SELECT steadytext_generate(body) FROM (SELECT opaque(body) AS body FROM docs OFFSET 0) q'),
    ('SELECT 1 WHERE EXISTS (SELECT 1 FROM docs WHERE steadytext_generate(body) = ''x'')'),
    ('SELECT count(steadytext_generate(body)) FILTER (WHERE id < 5) FROM docs'),
    ('SELECT n.note FROM docs d JOIN notes n ON n.doc = d.id AND steadytext_generate(d.body) = ''x'''),  -- one row for each note
    ('DECLARE c CURSOR FOR SELECT steadytext_generate(body) FROM docs')) q(query);
SET LOCAL steadytext.read_ahead = off;
SELECT ok(NOT reads_ahead('SELECT steadytext_generate(body) FROM docs'), 'nor where it is off');
SET LOCAL steadytext.read_ahead = on;

SELECT matches(plan_of('SELECT id FROM docs WHERE body LIKE ''t%'' AND steadytext_embed(body) IS NULL'),
    'Filter: \(steadytext_embed\(body, .*\n *Asks Ahead: steadytext_embed\(body, .*\n.*Scan.*docs\n *Filter: \(body ~~', 'the scan keeps what is cheap, and EXPLAIN says what is asked ahead');

-- The same rows, in order.
SELECT results_eq($$SELECT id, steadytext_generate(body) FROM docs ORDER BY id$$, $$SELECT id, body FROM docs ORDER BY id$$, 'rows have their own answers');
SELECT results_eq($$SELECT id FROM docs WHERE id % 7 = 0 AND steadytext_generate(body || '!') LIKE '%1!' ORDER BY id$$,
    $$SELECT id FROM docs WHERE id % 7 = 0 AND body LIKE '%1' ORDER BY id$$, 'a filter lets the right rows through');
SELECT results_eq($$UPDATE docs SET answer = steadytext_generate(body || ' answer') WHERE id < 20 RETURNING id, answer$$, $$SELECT id, body || ' answer' FROM docs WHERE id < 20$$, 'UPDATE');
SELECT is((SELECT count(*) FROM docs WHERE answer = body || ' answer'), 19::bigint, 'of the rows it is about');
SELECT results_eq($$SELECT (SELECT string_agg(steadytext_generate(n.note || d.body), ',' ORDER BY n.note) FROM notes n WHERE n.doc = d.id) FROM docs d WHERE id < 5 ORDER BY id$$,
    $$SELECT (SELECT string_agg(n.note || d.body, ',' ORDER BY n.note) FROM notes n WHERE n.doc = d.id) FROM docs d WHERE id < 5 ORDER BY id$$, 'a subplan that is run for each row');

-- In a parallel plan each process reads ahead.
CREATE TABLE many AS SELECT i AS id, 'many ' || i AS body FROM generate_series(1, 3000) i;
ANALYZE many;
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT matches(plan_of('SELECT steadytext_generate(body) FROM many'), 'Gather\n.*\n *-> +Parallel Custom Scan|Gather\n.*\n *-> +Custom Scan \(SteadyText Read Ahead\)', 'the workers have it');
SELECT is((SELECT count(*) FROM (SELECT body, steadytext_generate(body) AS answer FROM many OFFSET 0) q WHERE answer = body), 3000::bigint, 'rows have their own answers');
SELECT is((SELECT string_agg(answer, ',' ORDER BY answer) FROM (SELECT steadytext_generate(body || '?') AS answer FROM many WHERE id % 100 = 0) q),
    (SELECT string_agg(body || '?', ',' ORDER BY body || '?') FROM many WHERE id % 100 = 0), 'behind a filter');
SET LOCAL max_parallel_workers_per_gather = 0;

-- The same counts: equal texts are asked once, and then found.
SELECT is(counted($$SELECT steadytext_generate('fresh ' || id % 50) FROM docs$$), 'calls=200 hits=150 failures=0', 'each call is counted once');
SET LOCAL steadytext.read_ahead = off;
SELECT is(counted($$SELECT steadytext_generate('new ' || id % 50) FROM docs$$), 'calls=200 hits=150 failures=0', 'as without');
SET LOCAL steadytext.read_ahead = on;

-- The same errors, those of the first row first.
PREPARE broken AS SELECT steadytext_generate(CASE id WHEN 100 THEN ' ' WHEN 101 THEN NULL ELSE body END) FROM docs ORDER BY id;
SELECT throws_ok('EXECUTE broken', '22023', 'Prompt cannot be empty', 'a bad argument');
SELECT throws_ok($$SELECT steadytext_generate(body, 0) FROM docs$$, '22023', 'max_tokens must be at least 1', 'a constant that is bad');
SET LOCAL steadytext.on_failure = 'error';
SELECT throws_ok($$SELECT steadytext_generate(CASE id WHEN 50 THEN '!fault:delay=300' WHEN 51 THEN '!fault:error=second' WHEN 49 THEN '!fault:error=first' ELSE body END) FROM docs ORDER BY id$$,
    '38000', 'the daemon reported an error: first', 'the first call that fails, whichever fails first');
SELECT lives_ok($$SELECT steadytext_generate(CASE id WHEN 50 THEN '!fault:error=behind' ELSE body END) FROM docs ORDER BY id LIMIT 49$$, 'a row behind the LIMIT is of no account');
SELECT lives_ok($$SELECT steadytext_generate(body) FROM docs WHERE steadytext_generate(CASE id WHEN 50 THEN '!fault:error=behind' ELSE body END) <> '' ORDER BY id LIMIT 49$$, 'nor one behind a filter');

-- As roles and settings stand when the row is computed.
CREATE FUNCTION sets(tokens text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('steadytext.default_max_tokens', tokens, true); RETURN tokens; END $$;
SELECT results_eq($$SELECT sets('7') || steadytext_generate(body || ' set') FROM docs WHERE id < 30$$, $$SELECT '7' || body || ' set' FROM docs WHERE id < 30$$, 'a setting that changes under way');
-- Questions: each row gets its own answer, NULL gets none and asks nothing.
SELECT is(array_agg(steadytext_if('it is odd', '<say>' || CASE WHEN id % 5 = 0 THEN NULL WHEN id % 2 = 1 THEN 'yes' ELSE 'no' END || '</say> ' || id) ORDER BY id),
          array_agg(CASE WHEN id % 5 <> 0 THEN id % 2 = 1 END ORDER BY id), 'steadytext_if, with a NULL for each fifth row') FROM docs;
SELECT is(array_agg(steadytext_classify_all('<say>{"a": true, "b": ' || (id % 2 = 1)::text || '}</say>' || id, ARRAY['a', 'b'])::text ORDER BY id),
          array_agg(CASE id % 2 WHEN 1 THEN '{a,b}' ELSE '{a}' END ORDER BY id), 'steadytext_classify_all') FROM docs;

SELECT * FROM finish();
ROLLBACK;
