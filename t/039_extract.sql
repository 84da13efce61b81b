-- steadytext_extract and PostgreSQL's own say about a value: what a type refuses names its column, what CHECKs and defaults say is known
-- before. The echo daemon answers with what stands between the marks.
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

SELECT * FROM finish();
ROLLBACK;
