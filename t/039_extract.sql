-- steadytext_extract and PostgreSQL's own say about a value: what a type refuses names its column, what CHECKs and defaults say is in
-- the schema. The echo daemon answers with what stands between the marks.
BEGIN;
SELECT no_plan();
SET LOCAL steadytext.on_failure = 'error';
SET LOCAL timezone = 'UTC';

CREATE FUNCTION said(answer text) RETURNS text LANGUAGE sql AS $$ SELECT '<json-output>' || answer || '</json-output>' $$;
-- What became of an extraction of such an answer: the row, or the error with its detail.
CREATE FUNCTION outcome(row_type text, answer text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    row text;
    details text;
BEGIN
    EXECUTE format('SELECT steadytext_extract(said($1), NULL::%s)::text', row_type) INTO row USING answer;
    RETURN row;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS details = PG_EXCEPTION_DETAIL;
    RETURN concat_ws('|', SQLSTATE, SQLERRM, nullif(details, ''));
END $$;

-- ---- what PostgreSQL refuses names the column and the value ------------------------------------------------------------------
CREATE TYPE trip AS (day timestamptz, host inet, note text);
CREATE TYPE travel AS (name text, first trip, others trip[]);
CREATE DOMAIN odd AS int CHECK (VALUE % 2 = 1);
CREATE TYPE lucky AS (number odd);
SELECT is(outcome('trip', '{"day": "2024-02-29T12:00:00Z", "host": "::1", "note": null}'), '("2024-02-29 12:00:00+00",::1,)', 'what it takes is a row');
SELECT is(outcome('trip', '{"day": "2024-01-01T00:00:00+23:00", "host": null, "note": null}'),
    '08P01|the answer''s value of "day" cannot be cast to type timestamp with time zone|Value "2024-01-01T00:00:00+23:00": time zone displacement out of range: "2024-01-01T00:00:00+23:00".',
    'a time that is none to PostgreSQL');
SELECT is(outcome('trip', '{"day": null, "host": "home", "note": null}'),
    '08P01|the answer''s value of "host" cannot be cast to type inet|Value "home": invalid input syntax for type inet: "home".', 'a type of which no schema tells');
SELECT is(outcome('travel', '{"name": "x", "first": {"day": null, "host": "home", "note": null}, "others": null}'),
    '08P01|the answer''s value of "first.host" cannot be cast to type inet|Value "home": invalid input syntax for type inet: "home".', 'in a column of a column');
SELECT is(outcome('travel', '{"name": "x", "first": null, "others": [{"day": null, "host": "home", "note": null}]}'),
    '08P01|the answer''s value of "others" cannot be cast to type trip[]|Value [{"day": null, "host": "home", "note": null}]: invalid input syntax for type inet: "home".',
    'in an array');
SELECT is(outcome('lucky', '{"number": 2}'),
    '08P01|the answer''s value of "number" cannot be cast to type odd|Value 2: value for domain odd violates check constraint "odd_check".', 'what the CHECK of a domain says');
SELECT alike(outcome('trip', format('{"day": null, "host": "%s", "note": null}', repeat('é', 10000))), '%|Value "' || repeat('é', 49) || '...: %', 'of a long value its beginning');
CREATE DOMAIN round_trip AS trip CHECK ((VALUE).note <> '');
SELECT is(outcome('round_trip', '{"day": null, "host": null, "note": ""}'),
    '08P01|the answer cannot be cast to type round_trip|value for domain round_trip violates check constraint "round_trip_check".', 'a domain of rows speaks of all of it');
SELECT is(outcome('round_trip', '{"day": null, "host": null, "note": "x"}'), '(,,x)', '  and takes what it takes');
SELECT is((steadytext_extract(said('{"day": null, "host": "::2", "note": "n"}'), ROW('2024-01-01', '::1', 'old')::trip))::text, '(,::2,n)', 'what the answer says counts, not the row that was given');

-- A row is a row: columns dropped, added, generated from text.
CREATE TABLE changed (a int, gone text, b text);
ALTER TABLE changed DROP COLUMN gone;
SELECT is(outcome('changed', '{"a": 1, "b": "x"}'), '(1,x)', 'a dropped column is not there');

-- ---- what CHECKs say is in the schema -------------------------------------------------------------------------------------
-- How an answer of one value is judged: taken, refused by the schema, or by PostgreSQL when it makes the row.
CREATE FUNCTION judged(row_type text, value text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN o LIKE '08P01|the answer does not satisfy the schema%' THEN 'schema' WHEN o ~ '^[0-9A-Z]{5}\|' THEN o ELSE 'taken' END
    FROM public.outcome(row_type, CASE WHEN value LIKE '{%' THEN value ELSE '{"v": ' || value || '}' END) o
$$;
CREATE FUNCTION make_domain(name text, base text, condition text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE DOMAIN public.%1$s AS %2$s CHECK (%3$s); CREATE TYPE public.%1$s_row AS (v public.%1$s); CREATE TABLE public.%1$s_table (v %2$s CHECK (%4$s))',
        name, base, condition, replace(condition, 'VALUE', 'v'));
END $$;
CREATE TYPE size AS ENUM ('small', 'medium', 'large');
CREATE TEMP TABLE shapes (name text, base text, condition text, good text[], bad text[]);
INSERT INTO shapes VALUES
    ('email', 'text', $$VALUE ~ '^[^@ ]+@[^@ ]+$'$$, '{"\"a@b\""}', '{"\"a b@c\"","\"ab\""}'),
    ('has_digit', 'text', $$VALUE ~ '[0-9]'$$, '{"\"a1b\"","\"1\""}', '{"\"ab\"","\"\""}'),
    ('mail_of', 'varchar(255)', $$VALUE ~ '^\w+@[[:alnum:].]+$'$$, '{"\"josé@größe.de\""}', '{"\"a\""}'),
    ('country', 'char(2)', $$VALUE ~ '^[A-Z]{2}$'$$, '{"\"IT\""}', '{"\"it\"","\"I\"","\"ITA\""}'),
    ('lines', 'text', $$VALUE ~ '^a.b$'$$, '{"\"a\\nb\""}', '{"\"ab\""}'),
    ('brackets', 'text', $$VALUE ~ '^[]x[]+{?$'$$, '{"\"][x{\""}', '{"\"y\""}'),
    ('short_code', 'varchar(5)', $$VALUE ~ '^[a-z]{1,5}$'$$, '{"\"abcde\""}', '{"\"abcdef\"","\"1\""}'),
    ('positive', 'int', 'VALUE > 0', '{1}', '{0,-1}'),
    ('mirrored', 'int', '0 < VALUE', '{1}', '{0}'),
    ('narrow', 'smallint', 'VALUE >= 10 AND VALUE < 20::bigint', '{10,19}', '{9,20}'),
    ('percent', 'int', 'VALUE BETWEEN 0 AND 100', '{0,100}', '{-1,101}'),
    ('negative', 'bigint', 'VALUE <= -5', '{-5}', '{-4}'),
    ('half', 'int', 'VALUE > 0.5', '{1}', '{0}'),
    ('price', 'numeric(8, 2)', 'VALUE > 0 AND VALUE <= 99.5', '{0.01,99.5}', '{0,99.51}'),
    ('share', 'float8', 'VALUE >= 0 AND VALUE <= 0.5', '{0,0.5}', '{-0.1,0.51}'),
    ('share4', 'real', 'VALUE >= 0 AND VALUE <= 1', '{0,1}', '{-0.1,1.1}'),
    ('exactly', 'int', 'VALUE = 7', '{7}', '{8}'),
    ('one_of', 'int', 'VALUE IN (1, 2, 3)', '{2}', '{4}'),
    ('one_word', 'text', $$VALUE = 'a"b'$$, '{"\"a\\\"b\""}', '{"\"b\""}'),
    ('word_of', 'text', $$VALUE IN ('new', 'old')$$, '{"\"new\""}', '{"\"neu\""}'),
    ('varchar_of', 'varchar(10)', $$VALUE IN ('new', 'old')$$, '{"\"old\""}', '{"\"neu\""}'),
    ('char_of', 'char(3)', $$VALUE = ANY (ARRAY['x', 'yy'])$$, '{"\"x\""}', '{"\"z\""}'),
    ('enum_of', 'size', $$VALUE IN ('small', 'large')$$, '{"\"small\""}', '{"\"medium\""}'),
    ('enum_is', 'size', $$VALUE = 'large'$$, '{"\"large\""}', '{"\"small\""}'),
    ('long', 'text', 'length(VALUE) >= 3 AND char_length(VALUE) < 6', '{"\"äöü\"","\"abcde\""}', '{"\"ab\"","\"abcdef\""}'),
    ('long_varchar', 'varchar(9)', 'length(VALUE) > 2', '{"\"abc\""}', '{"\"ab\"","\"abcdefghij\""}'),
    ('octets', 'text', 'octet_length(VALUE) <= 4', '{"\"abcd\""}', '{"\"abcde\""}'),
    ('not_empty', 'text', $$VALUE <> ''$$, '{"\"x\""}', '{"\"\""}'),
    ('not_blank', 'text', 'length(btrim(VALUE)) > 0', '{"\" x \""}', '{"\"\""}'),
    ('there', 'int', 'VALUE IS NOT NULL AND VALUE > 3', '{4}', '{"null",3}'),
    ('both_ways', 'int', 'VALUE > 0 AND VALUE % 2 = 1', '{3}', '{0}'),
    ('like_begin', 'text', $$VALUE LIKE 'AB-%'$$, '{"\"AB-1\"","\"AB-\"","\"AB-é\\n日\""}', '{"\"AC-1\"","\"xAB-1\""}'),
    ('like_end', 'varchar(12)', $$VALUE LIKE '%.pdf'$$, '{"\"a.pdf\""}', '{"\"a.pdfx\"","\"apdf\"","\"0123456789.pdf\""}'),
    ('like_one', 'text', $$VALUE LIKE 'a_c'$$, '{"\"abc\"","\"aéc\"","\"a\\nc\""}', '{"\"ac\"","\"abbc\""}'),
    ('like_escaped', 'text', $$VALUE LIKE '10\%\_%'$$, '{"\"10%_off\""}', '{"\"10x_\"","\"10%x\""}'),
    ('like_literal', 'text', $$VALUE LIKE '(a.b)*+[c]'$$, '{"\"(a.b)*+[c]\""}', '{"\"axb\""}'),
    ('like_short', 'text', $$VALUE LIKE 'a%' AND length(VALUE) <= 3$$, '{"\"a\"","\"abc\""}', '{"\"abcd\"","\"b\""}'),
    ('short_mail', 'varchar(9)', $$VALUE ~ '^[^@ ]+@[^@ ]+$'$$, '{"\"a@b\""}', '{"\"01234567@b\"","\"a\""}'),
    ('least_mail', 'text', $$VALUE ~ '@' AND length(VALUE) >= 3$$, '{"\"a@b\""}', '{"\"@\"","\"abc\""}'),
    ('since', 'date', $$VALUE >= '2020-03-15'$$, '{"\"2020-03-15\"","\"2021-01-01\""}', '{"\"2020-03-14\"","\"2019-12-31\"","\"0999-12-31\""}'),
    ('after_day', 'date', $$VALUE > '1999-12-31'$$, '{"\"2000-01-01\""}', '{"\"1999-12-31\""}'),
    ('before_day', 'date', $$VALUE < '2000-01-01'$$, '{"\"1999-12-31\""}', '{"\"2000-01-01\""}'),
    ('this_year', 'date', $$VALUE BETWEEN '2024-01-01' AND '2024-12-31'$$, '{"\"2024-01-01\"","\"2024-02-29\"","\"2024-12-31\""}', '{"\"2023-12-31\"","\"2025-01-01\""}'),
    ('on_day', 'date', $$VALUE = '2024-02-29'$$, '{"\"2024-02-29\""}', '{"\"2024-02-28\""}'),
    ('not_endless', 'date', $$VALUE <= 'infinity' AND VALUE > '0044-03-15 BC'$$, '{"\"0001-01-01\"","\"9999-12-31\""}', '{"\"2024-02-30\""}'),
    ('to_midnight', 'timestamp', $$VALUE < '2024-01-01'$$, '{"\"2023-12-31T23:59:59\""}', '{"\"2024-01-01T00:00:00\""}'),
    ('from_noon', 'timestamp(0)', $$VALUE >= '2024-02-29 12:00'$$, '{"\"2024-02-29T12:00:00\""}', '{"\"2024-02-28T23:00:00\""}'),
    ('from_date', 'timestamp', $$VALUE > '2024-02-29'::date$$, '{"\"2024-02-29T00:00:01\""}', '{"\"2024-02-28T23:00:00\""}'),
    ('zoned', 'timestamptz', $$VALUE >= '2024-03-01 00:00+00'$$, '{"\"2024-02-29T20:00:00-05:00\"","\"2024-03-01T00:00:00Z\""}', '{"\"2024-02-28T23:59:59Z\""}');
SELECT lives_ok(format('SELECT make_domain(%L, %L, %L)', name, base, condition), format('%s CHECK (%s)', base, condition)) FROM shapes;
SELECT is(judged(name || kind, value), 'taken', format('%s CHECK (%s) takes %s: %s', base, condition, value, kind))
FROM shapes, unnest(good) value, unnest(ARRAY['_row', '_table']) kind;
SELECT is(judged(name || kind, value), 'schema', format('%s CHECK (%s) has not %s: %s', base, condition, value, kind))
FROM shapes, unnest(bad) value, unnest(ARRAY['_row', '_table']) kind;

-- Whatever PostgreSQL matches is let in, in this database's locale: every pattern with every text.
CREATE FUNCTION narrower() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    pattern text;
BEGIN
    FOREACH pattern IN ARRAY ARRAY['^\w+$', '\w', '\W', '^\S+$', '\s', '^.$', '^.*$', '^[[:alpha:]]+$', '^[^[:digit:]]+$', '^[^\w]$', '[]]', '^[^]]+$', '^a|b$', '^(a|b)$', '^a{2}$', '^a{1,2}?$', '\.', '^\d+$',
            '^[\w.-]+@[\w-]+(\.[\w-]+)+$', '^$', '', '^[A-ZÄ]', 'a{b', '}', '^(?:ab)+$', '\u00e9', '^[[:upper:]][[:lower:]]*$', '^(a|)$', '^\(', '[^\n]', '^[ -~]*$'] LOOP
        EXECUTE format('CREATE TABLE public.pattern (v text CHECK (v ~ %L))', pattern);
        RETURN QUERY SELECT pattern || ' has not ' || t FROM unnest(ARRAY['a', 'é', 'José', 'JOSÉ', '日本', '7', ' ', '', E'\n', E'a\nb', ']', 'b', 'ab', 'aa', 'a.b', 'josé.x@größe.de', '{', 'a{b', '}', '(x', '-', '_', E'\u00a0', '€', '𝒳', E'a\u2028b', E'\u2029']) t
            WHERE t ~ pattern AND public.judged('pattern', to_json(t)::text) IS DISTINCT FROM 'taken';
        DROP TABLE public.pattern;
    END LOOP;
END $$;
SELECT is_empty('SELECT narrower()', 'no pattern is narrower than PostgreSQL has it');

-- Domains of domains, in arrays and rows, and tables of such columns.
CREATE DOMAIN small_percent AS percent CHECK (VALUE < 10);
CREATE TYPE nest AS (v small_percent[]);
CREATE TYPE deep AS (v nest);
SELECT is(judged('nest', '[0, 9]'), 'taken', 'an array of a domain of a domain');
SELECT is(judged('nest', v), 'schema', '  has not ' || v) FROM unnest(ARRAY['[-1]', '[10]']) v;
SELECT is(judged('deep', '{"v": {"v": [10]}}'), 'schema', '  nor has a row in a row');
CREATE TABLE ranges (low int CHECK (low > 0), high percent CHECK (high > 50), CHECK (low < high), CHECK (high < 90 AND low < 20));
SELECT is(judged('ranges', '{"low": 1, "high": 51}'), 'taken', 'conditions of one column, on the column or on the table');
SELECT is(judged('ranges', v), 'schema', '  not ' || v) FROM unnest(ARRAY['{"low": 0, "high": 51}', '{"low": 1, "high": 50}', '{"low": 1, "high": 90}', '{"low": 20, "high": 51}']) v;
SELECT is(judged('ranges', '{"low": 19, "high": null}'), 'taken', '  NULL passes a CHECK');

-- ---- what is left to PostgreSQL -----------------------------------------------------------------------------------------
SELECT lives_ok(format('SELECT make_domain(%L, %L, %L)', name, base, condition), name) FROM (VALUES
    ('odd_one', 'int', 'VALUE % 2 = 1'), ('either', 'int', 'VALUE < 0 OR VALUE > 9'), ('neither', 'int', 'NOT VALUE = 2'), ('lower_case', 'text', 'VALUE = lower(VALUE)'),
    ('insensitive', 'text', $$VALUE ~* '^a$'$$), ('not_like', 'text', $$VALUE !~ 'x'$$), ('look_ahead', 'text', $$VALUE ~ '^(?!x)a'$$), ('option', 'text', $$VALUE ~ '(?i)^a$'$$),
    ('ordered', 'text', $$VALUE > 'm'$$), ('like_any_case', 'text', $$VALUE ILIKE 'a'$$), ('unlike', 'text', $$VALUE NOT LIKE 'a'$$), ('like_padded', 'char(4)', $$VALUE LIKE 'a_  '$$),
    ('recent', 'date', 'VALUE >= CURRENT_DATE - 7'), ('never_day', 'date', $$VALUE > 'infinity'$$), ('no_day', 'date', $$VALUE > '2024-01-02' AND VALUE < '2024-01-01'$$), ('with_null', 'int', 'VALUE IN (1, NULL)'), ('nothing', 'int', 'VALUE > 5 AND VALUE < 3'), ('nothing_listed', 'text', $$VALUE IN ('a') AND VALUE IN ('b')$$),
    ('dear', 'text', $$VALUE ~ '^([^x]{0,250}[^y]{0,250}[^z]{0,250}){30}$'$$), ('endless', 'text', 'VALUE IN (' || (SELECT string_agg(quote_literal(repeat(i::text, 100)), ', ') FROM generate_series(1, 900) i) || ')'))
    s(name, base, condition);
SELECT is(judged(name || '_table', value), 'taken', name || ': the CHECK of a table is for the INSERT')
FROM (VALUES ('odd_one', '2'), ('either', '5'), ('neither', '2'), ('lower_case', '"A"'), ('insensitive', '"b"'), ('not_like', '"x"'), ('look_ahead', '"xa"'), ('option', '"b"'), ('ordered', '"a"'), ('like_any_case', '"b"'), ('unlike', '"a"'), ('like_padded', '"a"'), ('recent', '"2001-01-01"'), ('never_day', '"2001-01-01"'), ('no_day', '"2001-01-01"'),
             ('with_null', '7'), ('nothing', '7'), ('nothing_listed', '"c"'), ('dear', '"d"'), ('endless', '"e"')) v(name, value);
SELECT is(judged('from_noon_row', '"2024-02-29T11:59:00"'),
    '08P01|the answer''s value of "v" cannot be cast to type from_noon|Value "2024-02-29T11:59:00": value for domain from_noon violates check constraint "from_noon_check".', 'the time of a day is looked at when the row is made');
SELECT is(judged('either_row', '5'), '08P01|the answer''s value of "v" cannot be cast to type either|Value 5: value for domain either violates check constraint "either_check".', 'that of a domain for the row');
-- Operators of others that look the same say something else.
CREATE SCHEMA theirs;
CREATE FUNCTION theirs.anything(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR theirs.> (FUNCTION = theirs.anything, LEFTARG = int, RIGHTARG = int);
CREATE FUNCTION theirs.length(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE TABLE lookalike (v int CHECK (v OPERATOR(theirs.>) 0), w text CHECK (theirs.length(w) < 2));
SELECT is(judged('lookalike', '{"v": -1, "w": "long"}'), 'taken', 'an operator or function of another schema is another one');
-- Nothing of a table's CHECKs is run.
CREATE FUNCTION explode() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE 'ran'; END $$;
CREATE TABLE trapped (v int CHECK (v > explode()), w int CHECK (w > 1 / 0));
SELECT is(judged('trapped', '{"v": 1, "w": 1}'), 'taken', 'no function in the CHECK of a table is run');
-- One CHECK that is of no use takes none of the others with it.
CREATE TABLE mixed (a text CHECK (a ~ '^([^x]{0,250}[^y]{0,250}[^z]{0,250}){30}$'), b int CHECK (b > 0));
SELECT is(judged('mixed', '{"a": "d", "b": 1}'), 'taken', 'a dear CHECK is left out');
SELECT is(judged('mixed', '{"a": "d", "b": 0}'), 'schema', '  and the one beside it is not');
CREATE TABLE dear_length (a varchar(500) CHECK (a ~ '^([^x]{0,100}[^y]{0,100}){4}$'));
SELECT is(judged('dear_length', to_json(repeat('xy', 200))::text), 'schema', 'a pattern that is dear beside a length is there without it');

-- ---- NULL ---------------------------------------------------------------------------------------------------------------
CREATE DOMAIN needed AS int NOT NULL;
CREATE TABLE nulls (a int NOT NULL, b needed, c positive, d odd_one);
SELECT is(judged('nulls', '{"a": 1, "b": 1, "c": null, "d": 1}'), 'taken', 'NULL where no constraint minds');
SELECT is(judged('nulls', v), 'schema', '  not where one does, or may: ' || v)
FROM unnest(ARRAY['{"a": null, "b": 1, "c": 1, "d": 1}', '{"a": 1, "b": null, "c": 1, "d": 1}', '{"a": 1, "b": 1, "c": 1, "d": null}']) v;

-- ---- what a table fills by itself is not asked for ----------------------------------------------------------------------------
CREATE TABLE filled (id int GENERATED ALWAYS AS IDENTITY, other int GENERATED BY DEFAULT AS IDENTITY, number serial, name text NOT NULL, at timestamptz DEFAULT now(),
    upper_name text GENERATED ALWAYS AS (upper(name)) STORED, must needed DEFAULT 5, maybe positive DEFAULT 5);
SELECT is(outcome('filled', '{"name": "x", "must": 1}'), '(,,,x,,,1,)', 'identity, generated and defaulted columns are NULL; not those whose domain refuses that');
SELECT is(judged('filled', '{"name": "x", "must": 1, "id": 7}'), 'schema', '  and no answer');
SELECT is((steadytext_extract(said('{"name": "x", "must": 1}'), ROW(7, NULL, NULL, NULL, '2024-01-01 00:00Z', NULL, 9, 2)::filled))::text, '(7,,,x,"2024-01-01 00:00:00+00",,1,2)',
    '  they keep what the row that is given has');
CREATE TABLE visits (visit filled);
SELECT is(outcome('visits', '{"visit": {"name": "x", "must": 1}}'), '("(,,,x,,,1,)")', '  also of a row in a column');
INSERT INTO filled (name, must) SELECT (e).name, (e).must FROM (SELECT steadytext_extract(said('{"name": "x", "must": 1}'), NULL::filled) AS e OFFSET 0) s;
SELECT is((SELECT count(*) FROM filled WHERE id = 1 AND at IS NOT NULL AND upper_name = 'X'), 1::bigint, '  and an INSERT that leaves them out fills them');
CREATE TABLE all_filled (id serial);
SELECT is(outcome('all_filled', '{}'), '()', 'a table that fills all of itself');

-- ---- steadytext.on_failure -----------------------------------------------------------------------------------------------
SET LOCAL client_min_messages = 'error';
SET LOCAL steadytext.on_failure = 'fallback';
SELECT is(outcome('trip', '{"day": "2024-01-01T00:00:00+23:00", "host": null, "note": null}'), NULL, 'fallback: NULL');
SELECT is(steadytext_extract(said('{"day": "2024-01-01T00:00:00+23:00", "host": null, "note": null}'), ROW('2024-01-01', NULL, 'old')::trip), NULL, '  also where a row was given');
SET LOCAL steadytext.on_failure = 'null';
SELECT is(outcome('trip', '{"day": "2024-01-01T00:00:00+23:00", "host": null, "note": null}'), NULL, 'null: NULL');
SET LOCAL steadytext.on_failure = 'auto';
CREATE TABLE trips (trip trip);
SELECT throws_ok($$INSERT INTO trips SELECT steadytext_extract(said('{"day": "2024-01-01T00:00:00+23:00", "host": null, "note": null}'), NULL::trip)$$, '08P01', NULL, 'auto: an error where it would be stored');
-- The transaction goes on, and what is no fault of the data is no failure of the answer.
CREATE FUNCTION forbidden() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE insufficient_privilege USING MESSAGE = 'not for you'; END $$;
CREATE DOMAIN guarded AS int CHECK (VALUE > forbidden());
CREATE TYPE guarded_row AS (a guarded);
SET LOCAL steadytext.on_failure = 'fallback';
SELECT is(outcome('guarded_row', '{"a": 1}'), '42501|not for you', 'an error of the CHECK''s own code is raised as it is');
CREATE FUNCTION fussy(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'too fussy for %', $1; END $$;
CREATE DOMAIN fussy AS int CHECK (fussy(VALUE));
CREATE TYPE fussy_row AS (a fussy);
SELECT is(outcome('fussy_row', '{"a": 1}'), NULL, 'but one that it raises to refuse the value is a refusal');
SET LOCAL steadytext.on_failure = 'error';
SELECT is(outcome('fussy_row', '{"a": 1}'), '08P01|the answer''s value of "a" cannot be cast to type fussy|Value 1: too fussy for 1.', '  with its words');
RESET client_min_messages;

-- In a parallel query there are no subtransactions before PostgreSQL 17.
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'on', true) \gset
SET LOCAL steadytext.on_failure = 'fallback';
CREATE FUNCTION state_in_parallel(host text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$SELECT steadytext_extract('<json-output>{"day": null, "host": "%s", "note": null}</json-output>', NULL::trip)$q$, host);
    RETURN 'none';
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT is(state_in_parallel('::1'), 'none', 'a row in a parallel query');
SELECT is(state_in_parallel('home'), CASE WHEN current_setting('server_version_num')::int < 170000 THEN '08P01 the answer''s value of "host" cannot be cast to type inet' ELSE 'none' END,
    'what is refused there is an error where it cannot be caught');
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'off', true) \gset
SET LOCAL steadytext.on_failure = 'error';

-- With the rights of who calls.
CREATE ROLE extractor;
CREATE FUNCTION whoever(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN current_user = 'extractor'; END $$;
CREATE DOMAIN mine AS int CHECK (whoever(VALUE));
CREATE TYPE mine_row AS (a mine);
SET LOCAL ROLE extractor;
CREATE TEMP TABLE seen AS SELECT steadytext_extract(said('{"a": 1}'), NULL::mine_row)::text AS row;
RESET ROLE;
SELECT is((SELECT row FROM seen), '(1)', 'a CHECK runs as who calls');

-- By hand.
SELECT throws_ok($$SELECT _steadytext.extract_row('a'::text, '{}')$$, '42804', 'text is not a composite type');
SELECT throws_ok($$SELECT _steadytext.extract_row(NULL::trip, '[]')$$, '08P01', 'the answer cannot be cast to type trip');
SELECT throws_ok($$SELECT _steadytext.extract_row(NULL::trip, '{')$$, '08P01', 'the answer cannot be cast to type trip');
SELECT is(_steadytext.extract_row(NULL::trip, NULL), NULL, 'of nothing comes nothing');

-- A member that is missing and may not be, however deep: what is told of it is read when the frames that made the row are gone.
CREATE FUNCTION refuse_null(i int) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN IF i IS NULL THEN RAISE EXCEPTION 'no %', repeat('x', 3000); END IF; RETURN true; END $$;
CREATE DOMAIN deep_check AS int CHECK (refuse_null(VALUE));
CREATE DOMAIN deep_need AS int NOT NULL;
CREATE FUNCTION refusal(type text, answer text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE said text; detail text;
BEGIN
    EXECUTE format('SELECT _steadytext.extract_row(NULL::%I, %L)', type, answer);
    RETURN 'none';
EXCEPTION WHEN protocol_violation THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
    RETURN said || ' / ' || left(detail, 11);
END $$;
DO $$
BEGIN
    FOR depth IN 0 .. 5 LOOP
        EXECUTE format('CREATE TYPE deep_check_%s AS (x int, v %s)', depth, CASE depth WHEN 0 THEN 'deep_check' ELSE 'deep_check_' || depth - 1 END);
        EXECUTE format('CREATE TYPE deep_need_%s AS (x int, v %s)', depth, CASE depth WHEN 0 THEN 'deep_need' ELSE 'deep_need_' || depth - 1 END);
    END LOOP;
END $$;
SELECT is(refusal(kind || '_' || depth, repeat('{"v": ', depth) || '{"x": 1}' || repeat('}', depth)),
          format('the answer''s value of "%s" cannot be cast to type %s / Value null:', repeat('v.', depth) || 'v', kind), format('%s, %s rows deep', kind, depth))
FROM unnest(ARRAY['deep_check', 'deep_need']) kind, generate_series(0, 5) depth;

SELECT * FROM finish();
ROLLBACK;
