-- steadytext_generate_stream: rows as they are made, and what becomes of a stream that is not read to its end.
BEGIN;
SELECT plan(29);

-- The echo daemon makes a token of each word; `!fault:delay=N` puts so many milliseconds before each.
SELECT is((SELECT array_agg(s) FROM steadytext_generate_stream('one two three') s), ARRAY['one', ' two', ' three'], 'one row per token');
SELECT is((SELECT array_agg(s) FROM st_generate_stream('four five') s), ARRAY['four', ' five'], 'the short name is the same');
SELECT is((SELECT string_agg(s, '') FROM steadytext_generate_stream('größer 日本語 🙂 "x" \ y') s), 'größer 日本語 🙂 "x" \ y',
    'together they are the answer');
SELECT is((SELECT string_agg(s, '') FROM (SELECT steadytext_generate_stream('in the target list') AS s) x), 'in the target list',
    'in the target list too');
SELECT is((SELECT string_agg(s, '' ORDER BY p, o) FROM unnest(ARRAY['a b', 'c d']) WITH ORDINALITY AS u(p, n),
    LATERAL steadytext_generate_stream(p) WITH ORDINALITY AS t(s, o)), 'a bc d', 'and for each row of a query');
SELECT is((SELECT string_agg(s, '') FROM steadytext_generate_stream('   blanks at its ends   ') s), 'blanks at its ends',
    'without white space at its ends, as a daemon''s whole answer');

-- A piece longer than the ring takes, cut between characters; and more than the ring holds.
SELECT is((SELECT string_agg(s, '') FROM steadytext_generate_stream(repeat('x€🙂', 2000)) s), repeat('x€🙂', 2000), 'a long token comes whole');
SELECT is((SELECT string_agg(s, '') FROM steadytext_generate_stream(repeat('wort für wort ', 5000) || 'z') s), repeat('wort für wort ', 5000) || 'z',
    'so do many');

SELECT throws_ok($$SELECT steadytext_generate_stream(NULL)$$, '22004', 'Prompt cannot be null');
SELECT throws_ok($$SELECT * FROM steadytext_generate_stream('')$$, '22023', 'Prompt cannot be empty');
SELECT throws_ok($$SELECT * FROM steadytext_generate_stream('x', max_tokens => 0)$$, '22023', 'max_tokens must be at least 1');
SELECT throws_ok($$SELECT * FROM steadytext_generate_stream('x', model => 'openai:gpt')$$, '22023',
    'Remote models (containing '':'' ) require unsafe_mode=TRUE');

-- The cache: an answer is one row; a stream that came to its end is remembered, and no other.
SELECT is((SELECT count(*)::int FROM steadytext_generate_stream('one two three')), 1, 'a cached answer is one row');
SELECT is((SELECT cached FROM steadytext_generate_ex('four five')), true, 'others find it too');
SELECT is(steadytext_generate('six seven eight'), 'six seven eight', 'a whole answer');
SELECT is((SELECT array_agg(s) FROM steadytext_generate_stream('six seven eight') s), ARRAY['six seven eight'], 'is found by streams');
SELECT is((SELECT count(*)::int FROM steadytext_generate_stream('six seven eight', use_cache => false)), 3, 'unless the caller insists');
SELECT is((SELECT s FROM steadytext_generate_stream('!fault:delay=20 read only the first') s LIMIT 1), '!fault:delay=20', 'LIMIT 1');
SELECT is((SELECT cached FROM steadytext_generate_ex('!fault:delay=20 read only the first')), false, 'a part is never cached');

-- Cursors: a row is there when it is made.
DECLARE words CURSOR FOR SELECT s, clock_timestamp() AS at FROM steadytext_generate_stream('!fault:delay=50 first second third fourth') s;
CREATE TEMPORARY TABLE seen (s text, at timestamptz);
CREATE FUNCTION look(how_many int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE c refcursor := 'words'; row record;
BEGIN
    FOR i IN 1 .. how_many LOOP
        FETCH c INTO row;
        INSERT INTO seen VALUES (row.s, row.at);
    END LOOP;
END $$;
SELECT look(3);
SELECT is((SELECT array_agg(s) FROM seen), ARRAY['!fault:delay=50', ' first', ' second'], 'a cursor in FROM gives rows one by one');
SELECT cmp_ok((SELECT max(at) - min(at) FROM seen), '>=', interval '50 ms', 'as they are made');
CREATE FUNCTION in_use() RETURNS float8 LANGUAGE sql AS
    $$SELECT value::float8 FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'$$;
SELECT is(in_use(), 1::float8, 'until it is closed its slot is held');
CLOSE words;
CREATE FUNCTION becomes_idle() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 200 LOOP
        IF in_use() = 0 THEN RETURN true; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN false;
END $$;
SELECT ok(becomes_idle(), 'then no more');

-- Failures: before the first row as on_failure says, after it an error.
SET LOCAL client_min_messages = error;
SET LOCAL steadytext.on_failure = 'fallback';  -- not auto: pgTAP writes down what it compared
SELECT is((SELECT array_agg(s) FROM steadytext_generate_stream('!fault:error') s), ARRAY['[steadytext: no answer available]'], 'a fallback is one row');
SET LOCAL steadytext.on_failure = 'null';
SELECT is((SELECT array_agg(s) FROM steadytext_generate_stream('!fault:error') s), ARRAY[NULL::text], 'or one that is NULL');
SELECT throws_ok($$SELECT * FROM steadytext_generate_stream('!fault:error-after=2 a b c')$$, '38000',
    'the daemon reported an error: Echo was told to fail', 'after the first row it is an error');
SELECT throws_ok($$SELECT * FROM steadytext_generate_stream('!fault:garbage-after=2 a b c')$$, '08P01');
SET LOCAL steadytext.on_failure = 'error';
SELECT throws_ok($$SELECT * FROM steadytext_generate_stream('!fault:error')$$, '38000');
SELECT ok(becomes_idle(), 'no failure keeps a slot');

SELECT * FROM finish();
ROLLBACK;
