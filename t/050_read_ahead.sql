-- Read-ahead: which plans have it, and that nobody could tell from the rows. t/250_read_ahead.pl sees it from the daemon's side, t/251_read_ahead_queries.pl
-- compares many queries.
BEGIN;
SELECT plan(119);

CREATE TABLE docs (id int PRIMARY KEY, body text, answer text);
INSERT INTO docs SELECT i, 'text ' || i FROM generate_series(1, 200) i;
CREATE TABLE notes (doc int, note text);
INSERT INTO notes SELECT i % 50, 'note ' || i FROM generate_series(1, 100) i;
CREATE TYPE kind AS ENUM ('open', 'closed');
CREATE TABLE typed (id int, body text, kind kind, data jsonb, tags text[], seen timestamptz);
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
    ('SELECT CASE WHEN id < 5 THEN steadytext_generate(body) END FROM docs'),
    ('SELECT CASE WHEN steadytext_if(''it is short'', body) THEN ''short'' ELSE steadytext_generate(body) END FROM docs'),
    ('SELECT coalesce(answer, steadytext_generate(body)) FROM docs'),
    ('SELECT count(steadytext_generate(body)) FILTER (WHERE id < 5) FROM docs'),
    ('SELECT steadytext_generate(''again: '' || steadytext_generate(body)) FROM docs'),
    ('SELECT string_agg(steadytext_generate(body), '','') FROM docs WHERE steadytext_if(''it is short'', body)'),
    ('SELECT n.note FROM docs d JOIN notes n ON n.doc = d.id AND steadytext_generate(d.body || n.note) = ''x''')) q(query);

-- Not where the call might not be made, or where reading a row early might be noticed.
SELECT ok(NOT reads_ahead(query), query) FROM (VALUES
    ('SELECT body FROM docs'),
    ('SELECT CASE id WHEN 5 THEN steadytext_generate(body) END FROM docs'),
    ('SELECT CASE WHEN opaque(body) = ''x'' THEN steadytext_generate(body) END FROM docs'),
    ('SELECT coalesce(opaque(answer), steadytext_generate(body)) FROM docs'),
    ('SELECT id FROM docs WHERE opaque(body) = ''x'' OR steadytext_generate(body) = ''x'''),
    ('SELECT steadytext_generate(opaque(body)) FROM docs'),
    ('SELECT steadytext_generate(body || random()) FROM docs'),
    ('SELECT steadytext_generate(body, id) FROM docs'),
    ('SELECT steadytext_if(body, ''a text'') FROM docs'),
    ('SELECT steadytext_generate(body) FROM docs WHERE 10 / (id - 100) < 5'),
    ('SELECT steadytext_generate(body) FROM (SELECT opaque(body) AS body FROM docs OFFSET 0) q'),
    ('SELECT 1 WHERE EXISTS (SELECT 1 FROM docs WHERE steadytext_generate(body) = ''x'')'),
    ('SELECT count(steadytext_generate(body)) FILTER (WHERE opaque(body) = ''x'') FROM docs'),
    ('SELECT n.note FROM docs d JOIN notes n ON n.doc = d.id AND steadytext_generate(d.body) = ''x'''),  -- one row for each note
    ('DECLARE c CURSOR FOR SELECT steadytext_generate(body) FROM docs')) q(query);
SET LOCAL steadytext.read_ahead = off;
SELECT ok(NOT reads_ahead('SELECT steadytext_generate(body) FROM docs'), 'nor where it is off');
SET LOCAL steadytext.read_ahead = on;

SELECT matches(plan_of('SELECT id FROM docs WHERE body LIKE ''t%'' AND steadytext_embed(body) IS NULL'),
    'Filter: \(steadytext_embed\(body, .*\n *Asks Ahead: steadytext_embed\(body, .*\n.*Scan.*docs\n *Filter: \(body ~~', 'the scan keeps what is cheap, and EXPLAIN says what is asked ahead');

-- Why calls are asked row by row.
SELECT is((SELECT string_agg(substring(call FROM '^\w+') || ': ' || row_by_row, '; ') FROM steadytext_explain(query)), reason, query) FROM (VALUES
    ('SELECT steadytext_generate(body) FROM docs', NULL),
    ('SELECT steadytext_generate(opaque(body)) FROM docs', 'steadytext_generate: in its text, opaque() might raise an error'),
    ('SELECT steadytext_generate(body) FROM docs WHERE 10 / (id - 100) < 5', 'steadytext_generate: among the conditions before it, the operator / might raise an error'),
    ('SELECT count(steadytext_generate(body)) FROM (SELECT opaque(body) AS body FROM docs OFFSET 0) q', 'steadytext_generate: below it in the plan, opaque() might raise an error'),
    ('SELECT steadytext_generate(body || random()) FROM docs', 'steadytext_generate: in its text, random() is volatile'),
    ('SELECT greatest(steadytext_score(''is it short'', body), 0.5), nullif(steadytext_if(''it is short'', body), false) FROM docs', NULL),
    ('SELECT steadytext_generate(body, id) FROM docs', 'steadytext_generate: an argument beside its text is not the same for all rows'),
    ('SELECT steadytext_generate(''text'') || body FROM docs', NULL),
    ('SELECT steadytext_if(body, ''a text'') FROM docs', 'steadytext_if: an argument beside its text is not the same for all rows'),
    ('SELECT CASE WHEN opaque(body) = ''x'' THEN steadytext_generate(body) END FROM docs', 'steadytext_generate: whether it is made, or with which text, is known in its turn only'),
    ('UPDATE docs SET body = body RETURNING steadytext_generate(body)', 'steadytext_generate: a row is known once it has been written'),
    ('SELECT steadytext_generate(body), steadytext_if(''it is short'', opaque(body)) FROM docs', 'steadytext_if: in its text, opaque() might raise an error')) q(query, reason);
SELECT matches(plan_of('SELECT steadytext_generate(opaque(body)) FROM docs'), 'Asked Row by Row: steadytext_generate\(opaque\(body\), .*\): in its text, opaque\(\) might raise an error', 'EXPLAIN says it too');

CREATE FUNCTION explained(query text) RETURNS json LANGUAGE plpgsql AS $$ DECLARE plan json; BEGIN EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan; RETURN plan; END $$;
SELECT matches(explained('SELECT steadytext_generate(opaque(body)), steadytext_generate(body) FROM docs LIMIT 3') -> 0 ->> 'Asked Row by Row', 'in its text, opaque\(\) might', 'in JSON too');

-- Conditions and texts that raise no error, with their constants.
SELECT ok(reads_ahead(query), query) FROM (SELECT format('SELECT steadytext_generate(body) FROM typed WHERE %s', c) FROM (VALUES
    ('seen > now() - interval ''1 day'''), ('seen > current_date - 7'), ('seen::date = current_date'), ('seen >= date_trunc(''month'', now())'), ('body ~ ''\S'''), ('body !~* ''^(spam|mail)'''), ('id / 10 = 3'),
    ('kind = ''open'''), ('kind IN (''open'', ''closed'')'), ('data @> ''{"a": 1}'''), ('data ? ''a'''), ('data #>> ''{a,b}'' = ''x'''), ('tags && ARRAY[''x'']'), ('tags[1] = ''x''')) x(c)) q(query);
SELECT ok(reads_ahead(query), query) FROM (SELECT format('SELECT steadytext_generate(%s) FROM typed', c) FROM (VALUES
    ('concat(''a'', body)'), ('concat_ws('' '', ''Title:'', body, id)'), ('format(''Title: %s. 100%%'', body)'), ('substring(body FROM 1 FOR 10)'), ('split_part(body, '','', 2)'), ('kind::text'), ('array_to_string(tags, '', '')'),
    ('tags::text'), ('regexp_replace(body, ''<[^>]+>'', '''', ''g'')'), ('body || (data #>> ''{a}'')')) x(c)) q(query);
SELECT ok(NOT reads_ahead(query), query) FROM (SELECT format('SELECT steadytext_generate(body) FROM typed WHERE %s', c) FROM (VALUES
    ('seen > seen - interval ''1 day'''), ('seen > now() - interval ''2000 years'''), ('body ~ body'), ('body ~ ''(a)\1'''), ('body ~ ''a{3}'''), ('id / (id - 3) = 3'), ('split_part(body, '','', 0) = ''x'''),
    ('substring(body FROM 1 FOR id) = ''x'''), ('format(''%s %s'', body) = ''x'''), ('format(''%I'', body) = ''x''')) x(c)) q(query);

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
